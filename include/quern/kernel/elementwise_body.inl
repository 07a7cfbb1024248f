// elementwise_body.inl — functors of fixed_point/ on vectors. Included once per instruction set, in its namespace.
//
// Before it: `shift_count`, `count_of(n)`, `sra(a, n)`, `srl(a, n)`, shifts by the same count in all lanes.

namespace inner {

/// Rescale::apply where the policy is gemmlowp's, nothing is shifted to the left and |x| <= 2^30: doubling the product and adding half
/// to the quotient, which is one addition to the product, cannot overflow then. A third of rescaler's instructions less. Whether a
/// quotient is negative x tells as well: where it is 0, so is what remains of half less one.
template <class P>
struct bounded_double_rounding {
  i32s multiplier, half;
  wides nudge;
  shift_count right, sign;  // sign: 31, or 32 (nothing remains) where there is no second rounding

  QUERN_INLINE explicit bounded_double_rounding(typename P::parameters p)
      : multiplier(broadcast(p.multiplier)),
        half(broadcast(half_of(p))),
        nudge(broadcast_wide((std::int64_t{1} << 30) + (std::int64_t{half_of(p)} << 31))),
        right(count_of(right_shift(P{}, p))),
        sign(count_of(right_shift(P{}, p) > 0 ? 31 : 32)) {}
  QUERN_INLINE static std::int32_t half_of(typename P::parameters p) { return right_shift(P{}, p) > 0 ? 1 << (right_shift(P{}, p) - 1) : 0; }
  QUERN_INLINE i32s divided(i32s v) const { return sra(sub(add(v, half), srl(v, sign)), right); }
  QUERN_INLINE_BODY i32s operator()(i32s x) const { return sra(sub(high_halves_of_double(add(mul_wide(x, multiplier), nudge)), srl(x, sign)), right); }
};

/// The same of (q - zero_point) * 2^20 with |q - zero_point| <= 255 and no shift to the left. With M = 2^11 h + l, the high half of
/// twice the product is (x M + 2^10) / 2^11 = x h + (x l + 2^10) / 2^11: two 32-bit products instead of two 64-bit ones.
template <class P>
struct scaled_byte {
  i32s zero_point, high, low;
  bounded_double_rounding<P> second;

  QUERN_INLINE scaled_byte(std::int32_t zero, typename P::parameters p)
      : zero_point(broadcast(zero)), high(broadcast(p.multiplier >> 11)), low(broadcast(p.multiplier & 2047)), second(p) {}
  QUERN_INLINE_BODY i32s operator()(i32s q) const {
    i32s const x = sub(q, zero_point);
    i32s const rest = sra(add(mul_low(x, low), broadcast(1 << 10)), count_of(11));
    return second.divided(add(mul_low(x, high), rest));
  }
};
/// The same for the multiplier 1/2 (the operand of the larger scale always has it), which rounds nothing.
struct halved_byte {
  i32s zero_point;
  template <class Parameters>
  QUERN_INLINE halved_byte(std::int32_t zero, Parameters) : zero_point(broadcast(zero)) {}
  QUERN_INLINE i32s operator()(i32s q) const { return mul_low(sub(q, zero_point), broadcast(1 << 19)); }
};
/// Any policy, any type.
template <class P>
struct scaled_code {
  i32s zero_point, factor;
  rescaler<P> rescaled;
  QUERN_INLINE scaled_code(std::int32_t zero, std::int32_t left, typename P::parameters p)
      : zero_point(broadcast(zero)), factor(broadcast(1 << left)), rescaled(p) {}
  QUERN_INLINE i32s operator()(i32s q) const { return rescaled(mul_low(sub(q, zero_point), factor)); }
};

/// Whether q - zero_point is within -255 .. 255 for all codes q: what byte kernels count on.
template <class T>
QUERN_INLINE bool is_code(std::int32_t zero_point) {
  return zero_point >= quern::code_of_t<T>::min && zero_point <= quern::code_of_t<T>::max;
}
template <class P>
QUERN_INLINE bool is_half(typename P::parameters p) {
  return p.multiplier == 1 << 30 && left_shift(P{}, p) == 0 && right_shift(P{}, p) == 0;
}

template <class Lhs, class Rhs, class Out, bool Subtract>
struct vector_sum {
  Lhs lhs;
  Rhs rhs;
  Out out;
  QUERN_INLINE_BODY i32s operator()(i32s a, i32s b) const {
    if constexpr (Subtract)
      return out(sub(lhs(a), rhs(b)));
    else
      return out(add(lhs(a), rhs(b)));
  }
};
template <class Out>
struct vector_product {
  i32s lhs_zero_point, rhs_zero_point;
  Out out;
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return out(mul_low(sub(a, lhs_zero_point), sub(b, rhs_zero_point))); }
};
/// gemmlowp's rescaling of products |x| <= 2^16 - 511, not shifted to the left. With M = 2^16 h + l, |l| <= 2^15, both products stay
/// within int32, and (x M + 2^30) / 2^31 = (x h + (x l) / 2^16 + 2^14) / 2^15.
template <class P>
struct small_double_rounding {
  i32s high, low;
  bounded_double_rounding<P> second;
  QUERN_INLINE explicit small_double_rounding(typename P::parameters p)
      : high(broadcast(static_cast<std::int32_t>((std::int64_t{p.multiplier} + 32768) >> 16))), low(broadcast(std::int32_t{static_cast<std::int16_t>(p.multiplier)})), second(p) {}
  QUERN_INLINE_BODY i32s operator()(i32s x) const {
    i32s const rest = add(sra(mul_low(x, low), count_of(16)), broadcast(1 << 14));
    return second.divided(sra(add(mul_low(x, high), rest), count_of(15)));
  }
};

/// An 8-bit product of gemmlowp's arithmetic in words. |x z| <= 255 * 255 has 16 bits; with the multiplier M = 2^15 h + l / 2 the first
/// rounding, (|x z| M + 2^30) / 2^31, is the high half of |x z| h, and 1 more if its low half and the high half of |x z| l make 2^15.
/// A negative product rounds as its magnitude does, except in ties of this first rounding: |x z| M has none unless 2^15 divides M.
/// Everything stands on unsigned bytes: signed codes and zero points are flipped by 128.
///
/// `above`: l is negative, so that its product is subtracted; a difference of 2^15 exactly would be a tie, which there is none.
template <class R>
struct word_product {
  raw flipped, lhs_zero, rhs_zero, zero, lo, hi, high, low, one;
  __m128i half, right;
  bool above;

  template <class T>
  QUERN_INLINE static bool serves(T, quern::fixed_point::mul<R> const& f) {
    std::int32_t const m = f.dst.multiplier;
    return m >= 1 << 30 && m < 0x7fffc000 && m % 32768 != 0 && left_shift(R{}, f.dst) == 0 && right_shift(R{}, f.dst) >= 1 && right_shift(R{}, f.dst) <= 16 &&
           is_code<T>(f.lhs_zero_point) && is_code<T>(f.rhs_zero_point) && is_code<T>(f.zero_point) && is_code<T>(f.clamped.min) && is_code<T>(f.clamped.max);
  }
  template <class T>
  QUERN_INLINE word_product(T, quern::fixed_point::mul<R> const& f) {
    constexpr int shift = std::is_signed_v<T> ? 128 : 0;
    std::uint32_t const twice = 2 * static_cast<std::uint32_t>(f.dst.multiplier);
    above = (twice & 32768) != 0;
    flipped = raw_byte(128);
    lhs_zero = raw_byte(f.lhs_zero_point + shift), rhs_zero = raw_byte(f.rhs_zero_point + shift), zero = raw_byte(f.zero_point + shift);
    lo = raw_byte(f.clamped.min + shift), hi = raw_byte(f.clamped.max + shift);
    high = raw_word(static_cast<int>((twice >> 16) + above));
    low = raw_word(static_cast<int>(above ? 65536 - (twice & 65535) : twice & 65535));
    one = raw_word(1);
    half = _mm_cvtsi32_si128(15);
    right = _mm_cvtsi32_si128(right_shift(R{}, f.dst) - 1);
  }
  /// The rescaled magnitudes of 16-bit products.
  template <bool Above>
  QUERN_INLINE_BODY raw rescaled(raw p) const {
    raw const rest = product_words(p, high), more = product_high_words(p, low);
    raw const carry = Above ? difference_at_least_0(difference_at_least_0(rest, more), one) : sum_at_most(rest, more);
    return half_sum_up(srl_words(add_words(product_high_words(p, high), srl_words(carry, half)), right), raw_word(0));
  }
  template <class T, bool Above>
  QUERN_INLINE_BODY raw of(raw a, raw b) const {
    if constexpr (std::is_signed_v<T>) a = flip(a, flipped), b = flip(b, flipped);
    raw const x = distance(a, lhs_zero), z = distance(b, rhs_zero), none = raw_word(0);
    raw const y0 = rescaled<Above>(product_words(unpack_low(x, none), unpack_low(z, none)));
    raw const y1 = rescaled<Above>(product_words(unpack_high(x, none), unpack_high(z, none)));
    raw const y = between(moved(zero, pack_bytes(y0, y1), a, lhs_zero, b, rhs_zero), lo, hi);
    if constexpr (std::is_signed_v<T>)
      return flip(y, flipped);
    else
      return y;
  }
};
/// `n` codes, fewer than a register holds.
template <bool Above, class T, class Product>
QUERN_INLINE_BODY void product_few(T const* a, T const* b, T* dst, index_t n, Product const& f) {
  T x[4 * lanes] = {}, z[4 * lanes] = {}, y[4 * lanes];
  for (index_t k = 0; k < n; ++k) x[k] = a[k], z[k] = b[k];
  store_raw(y, f.template of<T, Above>(load_raw(x), load_raw(z)));
  for (index_t k = 0; k < n; ++k) dst[k] = y[k];
}
template <bool Above, class T, class Product>
QUERN_INLINE_BODY void product_blocks(T const* a, T const* b, T* dst, index_t n, Product const& f) {
  constexpr index_t at_once = 4 * lanes;
  index_t i = 0;
  if (n >= quern::detail::streaming_bytes) {
    i = (at_once - static_cast<index_t>(reinterpret_cast<std::uintptr_t>(dst) % at_once)) % at_once;
    product_few<Above>(a, b, dst, i, f);
    for (; i + at_once <= n; i += at_once) stream_raw(dst + i, f.template of<T, Above>(load_raw(a + i), load_raw(b + i)));
    fence();
  }
  for (; i + at_once <= n; i += at_once) store_raw(dst + i, f.template of<T, Above>(load_raw(a + i), load_raw(b + i)));
  if (i < n) product_few<Above>(a + i, b + i, dst + i, n - i, f);
}
template <class T, class Product>
QUERN_INLINE_BODY void product_loop(T const* a, T const* b, T* dst, index_t n, Product const& f) {
  if (f.above)
    product_blocks<true>(a, b, dst, n, f);
  else
    product_blocks<false>(a, b, dst, n, f);
}

template <class Identity, class Slope>
struct vector_prelu {
  i32s src_zero_point, alpha_zero_point;
  Identity identity;
  Slope slope;
  QUERN_INLINE_BODY i32s operator()(i32s q, i32s a) const {
    i32s const x = sub(q, src_zero_point);
    return select(less(x, broadcast(0)), slope(mul_low(x, sub(a, alpha_zero_point))), identity(x));
  }
};

/// Fewer than `lanes` codes.
template <class T, class Op>
QUERN_INLINE_BODY void binary_few(T const* a, T const* b, T* dst, index_t n, Op const& op, i32s lo, i32s hi, i32s zero) {
  std::int32_t x[lanes] = {}, y[lanes] = {};
  for (index_t k = 0; k < n; ++k) x[k] = a[k], y[k] = b[k];
  i32s const v = op(load(static_cast<std::int32_t const*>(x)), load(static_cast<std::int32_t const*>(y)));
  store_first(dst, add(min(max(v, lo), hi), zero), n);
}

/// dst = clamp(op(a, b) + zero_point) over n codes.
template <class T, class Op>
QUERN_INLINE_BODY void binary_loop(T const* a, T const* b, T* dst, index_t n, Op const& op, std::int32_t zero_point, quern::fixed_point::limits l) {
  index_t i = 0;
  i32s const lo = broadcast(l.min - zero_point), hi = broadcast(l.max - zero_point), zero = broadcast(zero_point);
  if constexpr (sizeof(T) == 1) {
    constexpr index_t at_once = 4 * lanes;
    bool const streaming = n >= quern::detail::streaming_bytes;
    if (streaming)  // up to the first whole register
      for (index_t const first = (at_once - static_cast<index_t>(reinterpret_cast<std::uintptr_t>(dst) % at_once)) % at_once; i < first;) {
        index_t const live = first - i < lanes ? first - i : lanes;
        binary_few(a + i, b + i, dst + i, live, op, lo, hi, zero);
        i += live;
      }
    words const zero_words = broadcast_word(static_cast<std::int16_t>(zero_point));
    bool const narrow = l.min > quern::code_of_t<T>::min || l.max < quern::code_of_t<T>::max;
    for (; i + at_once <= n; i += at_once) {
      i32s v0 = op(load(a + i), load(b + i)), v1 = op(load(a + i + lanes), load(b + i + lanes));
      i32s v2 = op(load(a + i + 2 * lanes), load(b + i + 2 * lanes)), v3 = op(load(a + i + 3 * lanes), load(b + i + 3 * lanes));
      if (narrow) v0 = min(max(v0, lo), hi), v1 = min(max(v1, lo), hi), v2 = min(max(v2, lo), hi), v3 = min(max(v3, lo), hi);
      words const w0 = adds(pack_signed(v0, v1), zero_words), w1 = adds(pack_signed(v2, v3), zero_words);
      bytes y;
      if constexpr (std::is_signed_v<T>)
        y = pack_signed(w0, w1);
      else
        y = pack_unsigned(w0, w1);
      if (streaming)
        stream(dst + i, y);
      else
        store(dst + i, y);
    }
    if (streaming) fence();
  }
  for (; i + lanes <= n; i += lanes) store(dst + i, add(min(max(op(load(a + i), load(b + i)), lo), hi), zero));
  if (i < n) binary_few(a + i, b + i, dst + i, n - i, op, lo, hi, zero);
}
}  // namespace inner

template <class T, class R, bool Subtract>
QUERN_NOINLINE void binary_line(T const* a, T const* b, T* dst, index_t n, quern::fixed_point::add<R, Subtract> const& f) {
  using namespace inner;
  if constexpr (double_rounding_policy<R> && sizeof(T) == 1) {
    if (is_code<T>(f.lhs_zero_point) && is_code<T>(f.rhs_zero_point) && f.left_shift == 20 && left_shift(R{}, f.lhs) == 0 &&
        left_shift(R{}, f.rhs) == 0 && left_shift(R{}, f.dst) == 0) {
      using out = bounded_double_rounding<R>;
      if (is_half<R>(f.lhs))
        return binary_loop(a, b, dst, n, vector_sum<halved_byte, scaled_byte<R>, out, Subtract>{{f.lhs_zero_point, f.lhs}, {f.rhs_zero_point, f.rhs}, out(f.dst)}, f.zero_point, f.clamped);
      if (is_half<R>(f.rhs))
        return binary_loop(a, b, dst, n, vector_sum<scaled_byte<R>, halved_byte, out, Subtract>{{f.lhs_zero_point, f.lhs}, {f.rhs_zero_point, f.rhs}, out(f.dst)}, f.zero_point, f.clamped);
    }
  }
  using in = scaled_code<R>;
  binary_loop(a, b, dst, n, vector_sum<in, in, rescaler<R>, Subtract>{{f.lhs_zero_point, f.left_shift, f.lhs}, {f.rhs_zero_point, f.left_shift, f.rhs}, rescaler<R>(f.dst)}, f.zero_point, f.clamped);
}

template <class T, class R>
QUERN_NOINLINE void binary_line(T const* a, T const* b, T* dst, index_t n, quern::fixed_point::mul<R> const& f) {
  using namespace inner;
  i32s const za = broadcast(f.lhs_zero_point), zb = broadcast(f.rhs_zero_point);
  if constexpr (double_rounding_policy<R> && sizeof(T) == 1) {
    if (word_product<R>::serves(static_cast<T>(0), f)) return product_loop(a, b, dst, n, word_product<R>(static_cast<T>(0), f));
    using out = small_double_rounding<R>;  // |products| <= 255 * 255
    if (is_code<T>(f.lhs_zero_point) && is_code<T>(f.rhs_zero_point) && left_shift(R{}, f.dst) == 0)
      return binary_loop(a, b, dst, n, vector_product<out>{za, zb, out(f.dst)}, f.zero_point, f.clamped);
  }
  binary_loop(a, b, dst, n, vector_product<rescaler<R>>{za, zb, rescaler<R>(f.dst)}, f.zero_point, f.clamped);
}

template <class T, class R>
QUERN_NOINLINE void binary_line(T const* a, T const* b, T* dst, index_t n, quern::fixed_point::prelu<R> const& f) {
  using namespace inner;
  binary_loop(a, b, dst, n, vector_prelu<rescaler<R>, rescaler<R>>{broadcast(f.src_zero_point), broadcast(f.alpha_zero_point), rescaler<R>(f.identity), rescaler<R>(f.slope)},
              f.zero_point, f.clamped);
}

namespace inner {
/// A functor on vectors, where `known`, for codes of `Bytes`; kernel/convention_elementwise.hpp has those of the conventions.
template <class F, int Bytes>
struct vector_function {
  static constexpr bool known = false;
};
template <class V, class F>
QUERN_INLINE quern::fixed_point::limits limits_of_function(F const& f) {
  if constexpr (requires { V::limits_of(f); })
    return V::limits_of(f);
  else if constexpr (requires { f.clamped; })
    return f.clamped;
  else
    return f.dst.clamped;
}
}  // namespace inner

template <class T, class F>
QUERN_NOINLINE void binary_line(T const* a, T const* b, T* dst, index_t n, quern::detail::by_vectors<F> const& by) {
  using namespace inner;
  F const& f = by.function;
  using vectors = vector_function<F, sizeof(T)>;
  if constexpr (vectors::known) {
    if (vectors::serves(f)) return binary_loop(a, b, dst, n, vectors(f), vectors::zero_point(f), limits_of_function<vectors>(f));
  }
  for (index_t k = 0; k < n; ++k) dst[k] = static_cast<T>(f(a[k], b[k]));
}

#include "linear_line.inl"
