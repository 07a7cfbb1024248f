// quantize_body.inl — quantize on vectors. Included once per instruction set, in its namespace; see quantize_kernels.hpp.
//
// Two loops share the work. The plain one does what the definition says, lane by lane, and counts. The fast one does the least:
//
//     u = round(x / scale) + zero_point - q_min      in 16 (or 32) bits, saturating
//     dst = u + q_min                                where 0 <= u <= q_max - q_min
//
// and only collects the bits of all u. If a forbidden bit came up in a chunk, the chunk is done again by the plain loop. So a
// value that saturates or is not finite costs time, never exactness, and 64 elements take 15 instructions on the two vector
// ports of AVX-512: multiply 4, convert 4, pack 2 + 1, add 2, collect 1, order 1.

namespace inner {

QUERN_INLINE f32s real_of(f32s, i32s x) { return to_f32(x); }
QUERN_INLINE f64s real_of(f64s, i32s x) { return to_f64(x); }
/// What the limits are compared in: float holds every 16-bit code less a zero point, int32 needs double.
template <class Dst>
QUERN_INLINE f32s widened(f32s x)
  requires(sizeof(Dst) < 4)
{
  return x;
}
template <class Dst>
QUERN_INLINE f64s widened(f32s x)
  requires(sizeof(Dst) == 4)
{
  return to_f64(x);
}
template <class Dst>
QUERN_INLINE f64s widened(f64s x) {
  return x;
}

template <class V>
QUERN_INLINE mask finite_of(V x) {
  return less(abs(x), constant_like(x, __builtin_inf()));
}

/// h ^ h >> s.
QUERN_INLINE i32s fold(i32s h, int s) { return bit_xor(h, shift_right_logical(h, broadcast(std::int32_t{s}))); }
QUERN_INLINE i32s mix(i32s h) {
  h = mul_low(fold(h, 16), broadcast(static_cast<std::int32_t>(0x85ebca6bu)));
  h = mul_low(fold(h, 13), broadcast(static_cast<std::int32_t>(0xc2b2ae35u)));
  return fold(h, 16);
}
/// round_to::stochastic::to_integral with indices first, first + step, ...; lane by lane where they cross a multiple of 2^32.
template <class V>
QUERN_INLINE V to_integral_at(V v, round_to::stochastic r, std::uint64_t first, index_t step) {
  using scalar = decltype(scalar_of(v));
  std::uint64_t const last = first + static_cast<std::uint64_t>(step * (lanes - 1));
  if ((first >> 32) != (last >> 32)) {
    scalar x[lanes];
    store(static_cast<scalar*>(x), v);
    for (int i = 0; i < lanes; ++i) x[i] = r.to_integral(x[i], first + static_cast<std::uint64_t>(step * i));
    return load(static_cast<scalar const*>(x));
  }
  auto const low = [](std::uint64_t x) { return static_cast<std::int32_t>(static_cast<std::uint32_t>(x)); };
  std::int32_t count_up[lanes];
  for (int i = 0; i < lanes; ++i) count_up[i] = i;
  i32s const index = add(broadcast(low(first)), mul_low(load(static_cast<std::int32_t const*>(count_up)),
                                                        broadcast(low(static_cast<std::uint64_t>(step)))));
  i32s const draw = mix(bit_xor(
      add(mix(bit_xor(index, broadcast(low(r.seed)))), broadcast(low(std::uint64_t{0x9e3779b9u} * (first >> 32)))),
      broadcast(low((r.seed >> 32) ^ 0x5851f42du))));
  V const u = mul(real_of(v, shift_right_logical(draw, broadcast(std::int32_t{8}))), constant_like(v, 5.9604644775390625e-8));
  V const t = truncate(v);
  return away_if(less(u, fraction_of(v, t)), v, t);
}
template <class V, class Rounding>
QUERN_INLINE V to_integral_at(V v, Rounding mode, std::uint64_t, index_t) {
  return to_integral(v, mode);
}

/// The definition, a vector at a time. `scales` (or inverses) and `zeros` advance with the elements if `step` is 1; if it is 0
/// they hold `lanes` equal ones. With TwoSteps the quotient is x * inverse + x * low, which has the same integer.
template <class Form, bool TwoSteps = false, class Src, class Dst, class Rounding, class Real>
QUERN_NOINLINE void quantize_plainly(Src const* src, Dst* dst, index_t n, Real const* scales, [[maybe_unused]] Real const* lows,
                                     std::int32_t const* zeros, index_t step,
                                   std::int32_t q_min, std::int32_t q_max, Rounding rounding, std::uint64_t index,
                                   index_t index_step, conversion_counts& counts) {
  for (index_t j = 0; j < n; j += lanes) {
    index_t const rest = n - j;
    auto const x = rest >= lanes ? load(src + j) : load_first(src + j, rest);
    auto const s = load(scales + j * step);
    i32s const zero = load(zeros + j * step);
    decltype(load(scales)) v;
    if constexpr (TwoSteps)
      v = select(finite_of(x), fma(x, s, mul(x, load(lows + j * step))), x);  // infinity * low may be NaN
    else if constexpr (std::is_same_v<Form, divide>)
      v = div(x, s);
    else
      v = mul(x, s);
    auto const r = widened<Dst>(to_integral_at(v, rounding, index + static_cast<std::uint64_t>(j * index_step), index_step));
    auto const z = real_of(r, zero), lo = sub(constant_like(r, q_min), z), hi = sub(constant_like(r, q_max), z);
    mask const finite = finite_of(x);
    mask const outside = mask_or(less(r, lo), less(hi, r));
    counts.saturated += __builtin_popcount(lane_bits(mask_and(finite, outside)));
    counts.non_finite += lanes - __builtin_popcount(lane_bits(finite));
    i32s const q = to_i32(add(min(max(r, lo), hi), z));  // max returns its second operand for NaN: q_min
    if (rest >= lanes)
      store(dst + j, q);
    else
      store_first(dst + j, q, rest);
  }
}

#if QUERN_DETAIL_PACKED  // from here on: what has_pack is needed for

/// x * inverse, or x / scale: in two steps (exact_division.hpp) where there is an fma, else as it stands, with the scale in `low`.
template <class Form, class V>
QUERN_INLINE V scaled(V x, [[maybe_unused]] V inverse, [[maybe_unused]] V low) {
  if constexpr (!std::is_same_v<Form, divide>)
    return mul(x, inverse);
  else if constexpr (has_fma)
    return fma(x, inverse, mul(x, low));
  else
    return div(x, low);
}
/// What `inverse` leaves out of 1 / scale, to 2^-47 of it: the remainder 1 - scale * inverse is exact.
template <class V>
QUERN_INLINE V low_part(V scale, V inverse) {
  if constexpr (has_fma)
    return mul(fma(sub(constant_like(scale, 0), scale), inverse, constant_like(scale, 1)), inverse);
  else
    return scale;
}

/// round(src / scale) with one scale. `zero` is zero_point - q_min.
template <class Form, class Rounding>
struct one_scale {
  f32s inverse, low;
  std::int32_t zero;
  template <class Src>
  QUERN_INLINE i32s steps(Src const* src, index_t j) const {
    return to_i32(scaled<Form>(load(src + j), inverse, low), Rounding{});
  }
  QUERN_INLINE words zero_words(index_t) const { return broadcast_word(static_cast<std::int16_t>(zero)); }
  QUERN_INLINE i32s zero_dwords(index_t) const { return broadcast(zero); }
};
/// The same with a scale for each column; the words are in the private order of pack_signed.
template <class Form, class Rounding>
struct many_scales {
  float const *inverses, *lows;
  std::int32_t const* dwords;
  std::int16_t const* words_;
  template <class Src>
  QUERN_INLINE i32s steps(Src const* src, index_t j) const {
    return to_i32(scaled<Form>(load(src + j), load(inverses + j), load(lows + j)), Rounding{});
  }
  QUERN_INLINE words zero_words(index_t j) const { return load_private(words_ + j); }
  QUERN_INLINE i32s zero_dwords(index_t j) const { return load(dwords + j); }
};

/// Whole blocks of n elements; returns whether one may be outside of q_min .. q_max. `Centered`: s8 and no zero point, which
/// packing alone brings home. `narrow`: the range lacks one code. Only where Rare is set are narrow and streaming looked at: a
/// branch takes one of the two vector ports.
template <bool Centered, bool Rare, class Src, class Dst, class Scales>
QUERN_INLINE bool pack_blocks(Src const* src, Dst* dst, index_t n, Scales const& s, std::int32_t q_min, std::int32_t q_max,
                                  [[maybe_unused]] bool narrow, [[maybe_unused]] bool streaming) {
  std::int32_t const forbidden = ~((q_max - q_min) | (Rare && narrow ? 1 : 0));
  if constexpr (sizeof(Dst) == 1) {
    words seen = broadcast_word(0);
    words const one = broadcast_word(1);
    bytes const lowest = broadcast_byte(static_cast<std::int8_t>(q_min));
    for (index_t j = 0; j < n; j += 4 * lanes) {
      words const w0 = pack_signed(s.steps(src, j), s.steps(src, j + lanes));
      words const w1 = pack_signed(s.steps(src, j + 2 * lanes), s.steps(src, j + 3 * lanes));
      // Wrapping will do (and has two ports, saturating one): what overflows has its top bit set, which is forbidden.
      words const u0 = add(w0, s.zero_words(j)), u1 = add(w1, s.zero_words(j + 2 * lanes));
      seen = or3(seen, u0, u1);
      if (Rare && narrow)
        seen = or3(seen, add(u0, one), add(u1, one));
      bytes q;
      if constexpr (Centered)
        q = pack_signed(w0, w1);
      else
        q = pack_unsigned(u0, u1);
      if constexpr (!Centered && std::is_signed_v<Dst>) q = add(q, lowest);
      if (Rare && streaming)
        stream(dst + j, q);
      else
        store(static_cast<void*>(dst + j), q);
    }
    return any_bit(seen, broadcast_word(static_cast<std::int16_t>(forbidden)));
  } else {
    i32s seen = broadcast(std::int32_t{0});
    i32s const one = broadcast(std::int32_t{1});
    words const lowest = broadcast_word(static_cast<std::int16_t>(q_min));
    for (index_t j = 0; j < n; j += 4 * lanes)
      for (index_t k = j; k < j + 4 * lanes; k += 2 * lanes) {
        i32s const u0 = add(s.steps(src, k), s.zero_dwords(k));
        i32s const u1 = add(s.steps(src, k + lanes), s.zero_dwords(k + lanes));
        seen = or3(seen, u0, u1);
        if (Rare && narrow)
          seen = or3(seen, add(u0, one), add(u1, one));
        words q = pack_unsigned(u0, u1);
        if constexpr (std::is_signed_v<Dst>) q = add(q, lowest);
        if (Rare && streaming)
          stream(dst + k, q);
        else
          store(static_cast<void*>(dst + k), q);
      }
    return any(mask_not(equal(bit_and(seen, broadcast(forbidden)), broadcast(std::int32_t{0}))));
  }
}

/// Whether there is a fast loop, whatever the scale.
template <class Form, class Src, class Dst, class Rounding>
inline constexpr bool has_fast_loop =
    sizeof(Dst) < 4 && !std::is_same_v<Src, double> && rounding_mode<Rounding> &&
    (!std::is_same_v<Form, divide> || !has_fma || quern::detail::divides_in_two_steps<Rounding>);

/// What a line has in common. For a division without fma, `low` is the scale.
struct line_constants {
  float scale, inverse, low;
  std::int32_t zero_point, q_min, q_max;
};

/// The plain loop with one scale, in two steps where they are a division.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE void quantize_counted(Src const* src, Dst* dst, index_t n, line_constants c, Rounding rounding,
                                     conversion_counts& counts) {
  constexpr bool divides = std::is_same_v<Form, divide>, two_steps = divides && has_fma;
  float scales[lanes], lows[lanes];
  std::int32_t zeros[lanes];
  for (int i = 0; i < lanes; ++i) scales[i] = divides && !two_steps ? c.scale : c.inverse, lows[i] = c.low, zeros[i] = c.zero_point;
  quantize_plainly<Form, two_steps>(src, dst, n, static_cast<float const*>(scales), static_cast<float const*>(lows),
                                    static_cast<std::int32_t const*>(zeros), 0, c.q_min, c.q_max, rounding, 0, 0, counts);
}

/// A chunk in which something is outside: pieces of it are tried first, since as a rule few values saturate. Returns whether most
/// pieces had some, so that the next chunk need not be tried.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE bool quantize_again(Src const* src, Dst* dst, index_t n, line_constants c, bool narrow, bool hopeless,
                                   Rounding rounding, conversion_counts& counts) {
  constexpr index_t piece = 256;
  one_scale<Form, Rounding> const s{broadcast(c.inverse), broadcast(c.low), c.zero_point - c.q_min};
  std::int64_t const before = counts.saturated + counts.non_finite;
  for (index_t at = 0; at < n; at += piece) {
    index_t const size = n - at < piece ? n - at : piece;
    if (hopeless || pack_blocks<false, true>(src + at, dst + at, size, s, c.q_min, c.q_max, narrow, false))
      quantize_counted<Form>(src + at, dst + at, size, c, rounding, counts);
  }
  return counts.saturated + counts.non_finite - before > n / piece;
}
#endif

}  // namespace inner

/// n elements with one scale.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_line(Src const* src, Dst* dst, index_t n, float scale, std::int32_t zero_point,
                                               std::int32_t q_min, std::int32_t q_max, [[maybe_unused]] bool in_place, Rounding rounding = {},
                                               std::uint64_t index = 0, index_t index_step = 1) {
  using real = arithmetic_of<Src>;
  constexpr bool divides = std::is_same_v<Form, divide>;
  conversion_counts counts;
  index_t done = 0;
  auto const plainly = [&](index_t first, index_t size) {
    real scales[lanes];
    std::int32_t zeros[lanes];
    for (real& e : scales) e = divides ? static_cast<real>(scale) : real{1} / static_cast<real>(scale);
    for (std::int32_t& e : zeros) e = zero_point;
    inner::quantize_plainly<Form>(src + first, dst + first, size, static_cast<real const*>(scales), static_cast<real const*>(nullptr),
                                  static_cast<std::int32_t const*>(zeros), 0, q_min, q_max, rounding,
                                  index + static_cast<std::uint64_t>(first * index_step), index_step, counts);
  };
#if QUERN_DETAIL_PACKED
  if constexpr (inner::has_fast_loop<Form, Src, Dst, Rounding>) {
    constexpr index_t block = 4 * lanes, chunk = 4096;  // a chunk is still in the first cache when it has to be done again
    quern::detail::code_span const span(q_min, q_max);
    if (n >= block && span.told_by_bits && !in_place &&
        (!divides || !has_fma || quern::detail::exact_in_two_steps<Rounding>(scale, span.bits))) {
      float const inverse = 1.0f / scale;
      float const low = !divides ? 0.0f : has_fma ? quern::detail::low_part_of_inverse(scale, inverse) : scale;
      inner::line_constants const c{scale, inverse, low, zero_point, q_min, q_max};
      inner::one_scale<Form, Rounding> const s{broadcast(inverse), broadcast(low), zero_point - q_min};
      bool const streaming = n >= quern::detail::streaming_bytes / static_cast<index_t>(sizeof(Dst));
      bool const rare = streaming || span.narrow, centered = std::is_same_v<Dst, std::int8_t> && zero_point == 0;
      bool hopeless = false;
      if (streaming) {  // up to the first aligned element
        index_t const skew = static_cast<index_t>(reinterpret_cast<std::uintptr_t>(dst) & 63);
        done = skew == 0 ? 0 : (64 - skew) / static_cast<index_t>(sizeof(Dst));
        if (done > 0) inner::quantize_counted<Form>(src, dst, done, c, rounding, counts);
      }
      for (index_t size; (size = (n - done < chunk ? n - done : chunk) & ~(block - 1)) > 0; done += size) {
        bool outside = hopeless;
        if (hopeless) [[unlikely]] {
        } else if (centered && !rare) {
          outside = inner::pack_blocks<sizeof(Dst) == 1, false>(src + done, dst + done, size, s, q_min, q_max, false, false);
        } else if (!rare) {
          outside = inner::pack_blocks<false, false>(src + done, dst + done, size, s, q_min, q_max, false, false);
        } else {
          outside = inner::pack_blocks<false, true>(src + done, dst + done, size, s, q_min, q_max, span.narrow, streaming);
        }
        if (outside) [[unlikely]]
          hopeless = inner::quantize_again<Form>(src + done, dst + done, size, c, span.narrow, hopeless, rounding, counts);
      }
      if (streaming) fence();
      if (done < n) inner::quantize_counted<Form>(src + done, dst + done, n - done, c, rounding, counts);
      return counts;
    }
  }
#endif
  if (done < n) plainly(done, n - done);
  return counts;
}

/// A rectangle with a scale for each column.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_columns(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding) {
  using real = arithmetic_of<Src>;
  constexpr bool divides = std::is_same_v<Form, divide>;
  constexpr index_t block = 4 * lanes, most_columns = quern::detail::most_columns;
  std::int32_t const q_min = t.q_min, q_max = t.q_max;
  conversion_counts counts;
  alignas(64) float scales[most_columns + block];
  alignas(64) real plain_scales[most_columns + block];
  alignas(64) std::int32_t zeros[most_columns + block];
  for (index_t first = 0; first < t.cols; first += most_columns) {
    index_t const n = t.cols - first < most_columns ? t.cols - first : most_columns;
    [[maybe_unused]] index_t const whole = n & ~(block - 1);
    [[maybe_unused]] quern::detail::code_span const span(q_min, q_max);
    bool exact = true;
    for (index_t j = 0, k = first % t.period; j < n; ++j) {
      scales[j] = t.scales[k * t.col_scale];
      zeros[j] = t.zero_points == nullptr ? 0 : t.zero_points[k * t.col_scale];
      if constexpr (divides && has_fma) exact = exact && quern::detail::exact_in_two_steps<Rounding>(scales[j], span.bits);
      if (++k == t.period) k = 0;
    }
    for (index_t j = n; j < n + lanes; ++j) scales[j] = 1.0f, zeros[j] = 0;
    bool plain_ready = false;
    auto const plainly = [&](index_t i, index_t at, index_t size) {
      if (!plain_ready) {
        for (index_t j = 0; j < n + lanes; ++j)
          plain_scales[j] = divides ? static_cast<real>(scales[j]) : real{1} / static_cast<real>(scales[j]);
        plain_ready = true;
      }
      inner::quantize_plainly<Form>(t.src + i * t.src_stride + first + at, t.dst + i * t.dst_stride + first + at, size,
                                    plain_scales + at, static_cast<real const*>(nullptr), zeros + at, 1, q_min, q_max, rounding,
                                    t.first_index + static_cast<std::uint64_t>(i * t.row_index + (first + at) * t.col_index),
                                    t.col_index, counts);
    };
#if QUERN_DETAIL_PACKED
    if constexpr (inner::has_fast_loop<Form, Src, Dst, Rounding>) {
      if (span.told_by_bits && !t.in_place && exact && whole > 0) {
        alignas(64) float inverses[most_columns], lows[most_columns];
        alignas(64) std::int32_t dwords[most_columns];
        alignas(64) std::int16_t words_[most_columns];
        f32s const one = broadcast(1.0f);
        for (index_t j = 0; j < whole; j += lanes) {
          f32s const scale = load(scales + j), inverse = div(one, scale);
          store(inverses + j, inverse);
          if constexpr (divides) store(lows + j, inner::low_part(scale, inverse));
          store(dwords + j, sub(load(zeros + j), broadcast(q_min)));
        }
        for (index_t j = 0; j < whole && sizeof(Dst) == 1; j += 2 * lanes)
          store_private(words_ + j, pack_signed(load(dwords + j), load(dwords + j + lanes)));
        inner::many_scales<Form, Rounding> const s{inverses, divides ? lows : inverses, dwords, words_};
        for (index_t i = 0; i < t.rows; ++i) {
          Src const* const src = t.src + i * t.src_stride + first;
          Dst* const dst = t.dst + i * t.dst_stride + first;
          bool outside;
          if (!span.narrow)
            outside = inner::pack_blocks<false, false>(src, dst, whole, s, q_min, q_max, false, false);
          else
            outside = inner::pack_blocks<false, true>(src, dst, whole, s, q_min, q_max, true, false);
          if (outside) [[unlikely]]
            plainly(i, 0, whole);
          if (whole < n) plainly(i, whole, n - whole);
        }
        continue;
      }
    }
#endif
    for (index_t i = 0; i < t.rows; ++i) plainly(i, 0, n);
  }
  return counts;
}
