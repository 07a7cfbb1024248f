// rescale.inl — rescale policies on vectors. Included once per instruction set, in its namespace; see rescale.hpp.
//
//     rescaler<P> r(parameters)          one scale for all lanes
//     rescaler<P> r(parameters*, n)      one a lane, the first n <= lanes
//     i32s y = r(x)                      P::apply in every lane
//     auto f = r.half_steps()            a function: y = (f(x) + 1) / 2 rounded down, for words_in_half_steps
//
// Results of 8 bits are packed to words on their way, where saturating half steps loses nothing and halving them is one instruction
// for two vectors; and half steps need no term for the rounding. So one rounding of a 64-bit product takes six instructions instead
// of nine, gemmlowp's two eleven instead of fourteen, a shift one instead of four. They must fit an int32, and products are shifted by
// 32 bits for nothing: in_half_steps says that the scales (below 1/4, as those of layers are) allow it.

using namespace vector_rescale;

namespace inner {

/// `f` of each lane's parameters; behind the n-th those of the last.
template <class P, class F>
QUERN_INLINE_BODY i32s gather(typename P::parameters const* p, index_t n, F f) {
  std::int32_t all[lanes];
  for (index_t i = 0; i < lanes; ++i) all[i] = f(p[i < n ? i : n - 1]);
  return load(static_cast<std::int32_t const*>(all));
}

/// Without an arithmetic shift of 64 bits: 2^63 is added, shifted along as an unsigned number, and what became of it is
/// subtracted again from the 32 bits that are left.
inline constexpr bool biased = !has_wide_arithmetic_shift;
struct nothing {};

/// How many places P's multipliers can be moved to the left without leaving 31 bits.
template <class P>
consteval int spare_bits(P) {
  if (std::is_same_v<P, rescale::tflite_s64> || std::is_same_v<P, rescale::cmsis_nn_s64>) return 16;
  if (std::is_same_v<P, rescale::xnnpack_rndnu> || std::is_same_v<P, rescale::qnnpack_precise>) return 7;
  return 0;
}

template <class P>
struct single_rounding {
  i32s multiplier;
  wides right, half;
  std::conditional_t<adds_before(P{}), i32s, nothing> before;
  std::conditional_t<ties_away(P{}), wides, nothing> left;
  std::conditional_t<biased && !by_magnitude(P{}), i32s, nothing> bias;
  /// Its multiplier has 31 bits, its shift is less by 33.
  struct half_step_function {
    i32s multiplier, right, before, whole;
#if QUERN_DETAIL_PACKED
    QUERN_INLINE_BODY i32s operator()(i32s x) const {
      if constexpr (by_magnitude(P{}) || ties_away(P{})) {
        // -t - 1 for a negative x: (-t - 1 + 1) / 2 rounded down is -((t + 1) / 2).
        i32s const t = shift_right(high_halves(mul_wide_unsigned(abs(x), multiplier)), right);
        return bit_xor(t, shift_right(x, 31));
      } else if constexpr (adds_before(P{})) {
        return bit_and(shift_right(high_halves(mul_wide(add(x, before), multiplier)), right), whole);
      } else {
        return shift_right(high_halves(mul_wide(x, multiplier)), right);
      }
    }
#endif
  };
  i32s high_multiplier, high_right;
  std::conditional_t<adds_before(P{}), i32s, nothing> whole;
  bool in_half_steps = true;

  QUERN_INLINE explicit single_rounding(typename P::parameters p) : single_rounding(&p, 1) {}
  QUERN_INLINE_BODY single_rounding(typename P::parameters const* p, index_t n) {
    multiplier = gather<P>(p, n, [](auto e) { return single_form_of(P{}, e).multiplier; });
    i32s const shift = gather<P>(p, n, [](auto e) { return single_form_of(P{}, e).right; }), zero = broadcast(0);
    right = zero_extend(shift);
    high_multiplier = shift_left(multiplier, broadcast(spare_bits(P{})));
    high_right = add(shift, broadcast(spare_bits(P{}) - (by_half_steps(P{}) ? 32 : 33)));
    high_right = select(equal(multiplier, zero), zero, high_right);
    in_half_steps = !any(mask_or(less(broadcast(2147483647 >> spare_bits(P{})), multiplier), mask_or(less(multiplier, zero), less(high_right, zero))));
    if constexpr (adds_before(P{})) {
      before = gather<P>(p, n, [](auto e) { return single_form_of(P{}, e).before; });
      // What was rounded before the product is a whole result: an even number of half steps.
      whole = gather<P>(p, n, [](auto e) { return single_form_of(P{}, e).half ? -1 : -2; });
    }
    if constexpr (ties_away(P{})) {  // what p.shift is to the left; where that is above 30 there is nothing to round: no sign
      i32s const up = sub(broadcast(31), shift);
      left = zero_extend(select(less(broadcast(30), up), broadcast(64), max(up, zero)));
    }
    // 2^right / 2, which is 0 for right = 0.
    half = shift_right_logical(shift_left(broadcast_wide(1), right), broadcast_wide(1));
    if constexpr (by_half_steps(P{}))
      half = broadcast_wide(0);
    else if constexpr (adds_before(P{}))
      half = bit_and(half, mul_wide(sub(zero, bit_and(whole, broadcast(1))), broadcast(1)));
    if constexpr (biased && !by_magnitude(P{})) {
      wides const top = broadcast_wide(std::int64_t{-0x7fffffffffffffff - 1});
      half = add(half, top);
      bias = low_halves(shift_right_logical(top, right));
    }
  }
  QUERN_INLINE half_step_function half_steps() const {
    if constexpr (adds_before(P{}))
      return {high_multiplier, high_right, before, whole};
    else
      return {high_multiplier, high_right, high_right, high_right};  // the last two are not looked at
  }
  QUERN_INLINE_BODY i32s operator()(i32s x) const {
    if constexpr (by_magnitude(P{})) {
      wides const p = mul_wide_unsigned(abs(x), multiplier);  // |INT_MIN| is 2^31 there
      return copysign(low_halves(shift_right_logical(add(p, half), right)), x);
    } else {
      if constexpr (adds_before(P{})) x = add(x, before);
      wides const p = mul_wide(x, multiplier);
      wides sum = p;
      if constexpr (biased || !by_half_steps(P{})) sum = add(p, half);
      if constexpr (ties_away(P{})) sum = add(sum, sign_of(shift_left(p, left)));
      i32s y;
      if constexpr (biased)
        y = sub(low_halves(shift_right_logical(sum, right)), bias);
      else
        y = low_halves(shift_right(sum, right));
      if constexpr (by_half_steps(P{})) y = sub(y, shift_right(y, 1));  // (y + 1) / 2 rounded down, without the sum
      return y;
    }
  }
};

/// The high half of twice the product, ties upward; then a rounding shift e to the right, ties away. multiplier >= 0, which keeps
/// the high half v above INT_MIN and below INT_MAX: for e > 0 the result is ((v - (v < 0)) / 2^(e - 1) + 1) / 2, each rounded
/// down, and no step overflows (v + 2^(e - 1) might).
template <class P>
struct double_rounding {
  i32s multiplier, left, sign, right, last;
  bool in_half_steps = true;  // every e > 0, nothing to shift to the left, multipliers of 31 bits

  QUERN_INLINE explicit double_rounding(typename P::parameters p) : double_rounding(&p, 1) {}
  QUERN_INLINE_BODY double_rounding(typename P::parameters const* p, index_t n) {
    multiplier = gather<P>(p, n, [](auto e) { return e.multiplier; });
    i32s const shift = gather<P>(p, n, [](auto e) { return right_shift(P{}, e) - left_shift(P{}, e); }), zero = broadcast(0), one = broadcast(1);
    left = max(sub(zero, shift), zero);
    sign = select(less(zero, shift), broadcast(31), broadcast(32));
    right = max(sub(shift, one), zero);
    last = min(max(shift, zero), one);
    in_half_steps = !any(mask_or(less(shift, one), less(multiplier, broadcast(1 << 30))));
  }
#if QUERN_DETAIL_PACKED
  /// Twice the multiplier is 2^32 more than it is as an int32, so the high half of twice the product is short of x.
  struct half_step_function {
    i32s twice, right;
    QUERN_INLINE_BODY i32s operator()(i32s x) const {
      i32s const v = add(high_halves(add(mul_wide(x, twice), broadcast_wide(std::int64_t{1} << 31))), x);
      return shift_right(add(v, shift_right(v, 31)), right);
    }
  };
  QUERN_INLINE half_step_function half_steps() const { return {add(multiplier, multiplier), right}; }
#endif
  QUERN_INLINE_BODY i32s operator()(i32s x) const {
    if constexpr (!std::is_same_v<P, rescale::qnnpack>) x = shift_left(x, left);
    i32s const v = high_halves_of_double(add(mul_wide(x, multiplier), broadcast_wide(std::int64_t{1} << 30)));
    i32s const t = shift_right(sub(v, shift_right_logical(v, sign)), right);
    return shift_right(add(t, last), last);
  }
};

/// x / 2^s in any of rounding_modes, or x * 2^-s saturated. With t = x / 2^(s - 1) rounded down, its lowest bit is the half and
/// what was shifted out says whether there is more; from s = 33 on nothing changes.
template <class Rounding>
struct shifting {
  i32s first, last, rest;    // s - 1 and 1, or 0 and 0 for s <= 0; the bits below the half
  i32s left, least, most;    // what may be shifted to the left without leaving int32
  bool any_left = false, in_half_steps = std::is_same_v<Rounding, round_to::half_up>;

  template <class Parameters>
  QUERN_INLINE explicit shifting(Parameters p) : shifting(&p, 1) {}
  template <class Parameters>
  QUERN_INLINE_BODY shifting(Parameters const* p, index_t n) {
    using P = rescale::power_of_two<Rounding>;
    first = gather<P>(p, n, [](auto e) { return e.shift > 33 ? 32 : e.shift > 0 ? e.shift - 1 : 0; });
    last = gather<P>(p, n, [](auto e) { return e.shift > 0 ? 1 : 0; });
    rest = sub(shift_left(broadcast(1), first), broadcast(1));
    left = gather<P>(p, n, [](auto e) { return e.shift >= 0 ? 0 : e.shift < -31 ? 31 : -e.shift; });
    least = shift_right(broadcast(-2147483647 - 1), left);
    most = shift_right(broadcast(2147483647), left);
    for (index_t i = 0; i < n; ++i) any_left |= p[i].shift < 0, in_half_steps &= p[i].shift > 0;
  }
  struct half_step_function {
    i32s right;
    QUERN_INLINE i32s operator()(i32s x) const { return shift_right(x, right); }
  };
  QUERN_INLINE half_step_function half_steps() const { return {first}; }
  QUERN_INLINE_BODY i32s operator()(i32s x) const {
    if (any_left) [[unlikely]]
      x = select(less(most, x), broadcast(2147483647), shift_left(max(x, least), left));
    i32s const t = shift_right(x, first), q = shift_right(t, last);
    if constexpr (std::is_same_v<Rounding, round_to::floor>) return q;
    i32s up = bit_and(t, last);
    if constexpr (!std::is_same_v<Rounding, round_to::half_up>) {
      i32s const zero = broadcast(0), ones = broadcast(-1), one = broadcast(1);
      mask const exact = equal(bit_and(x, rest), zero);
      i32s const negative = shift_right(x, 31);
      if constexpr (std::is_same_v<Rounding, round_to::ceil>)
        up = bit_or(up, select(exact, zero, one));
      else if constexpr (std::is_same_v<Rounding, round_to::toward_zero>)
        up = bit_and(bit_or(up, select(exact, zero, one)), negative);
      else if constexpr (std::is_same_v<Rounding, round_to::half_even>)
        up = bit_and(up, select(exact, q, ones));
      else if constexpr (std::is_same_v<Rounding, round_to::half_even_positive>)
        up = bit_and(up, select(exact, bit_or(q, negative), ones));
      else if constexpr (std::is_same_v<Rounding, round_to::half_away>)
        up = bit_and(up, select(exact, bit_xor(negative, ones), ones));
      else
        up = bit_and(up, select(exact, negative, ones));  // half_toward_zero
    }
    return add(q, up);
  }
};

/// x * 2^(shift + 1) saturated to 16 bits, ties upward, times 15 bits. Clamping t = x / 2^(right - 1) to 17 bits first changes no
/// result, and keeps the shift to the left and the sum from overflowing.
struct words_product {
  i32s multiplier, first, left, last;
  bool in_half_steps;  // every shift goes to the right; what saturates on the way is far beyond 8 bits

  QUERN_INLINE explicit words_product(rescale::multiplier_shift p) : words_product(&p, 1) {}
  QUERN_INLINE_BODY words_product(rescale::multiplier_shift const* p, index_t n) {
    using P = rescale::xnnpack_rndnu16;
    multiplier = gather<P>(p, n, [](auto e) { return e.multiplier; });
    first = gather<P>(p, n, [](auto e) { return e.shift < 0 ? -e.shift - 1 : 0; });
    left = gather<P>(p, n, [](auto e) { return e.shift > 0 ? e.shift : 0; });
    last = gather<P>(p, n, [](auto e) { return e.shift < 0 ? 1 : 0; });
    in_half_steps = !any(mask_or(less(last, broadcast(1)), less(multiplier, broadcast(1 << 14))));
  }
#if QUERN_DETAIL_PACKED
  /// Half steps of the first product; words_in_half_steps has the second.
  struct half_step_function {
    i32s multiplier, right;
    QUERN_INLINE i32s operator()(i32s x) const { return shift_right(x, right); }
  };
  QUERN_INLINE half_step_function half_steps() const { return {multiplier, first}; }
#endif
  QUERN_INLINE_BODY i32s operator()(i32s x) const {
    i32s const t = min(max(shift_right(x, first), broadcast(-65536)), broadcast(65534));
    i32s const u = shift_right(add(shift_left(t, left), last), last);
    i32s const w = min(max(u, broadcast(-32768)), broadcast(32767));
    return shift_right(add(mul_words(w, multiplier), broadcast(1 << 14)), 15);
  }
};

/// Rounded to int32, saturated: what is too small is INT_MIN by itself.
template <class Rounding>
QUERN_INLINE i32s saturated(f32s v, Rounding mode) {
  return select(less_equal(constant_like(v, 2147483648.0), v), broadcast(std::int32_t{2147483647}), to_i32(v, mode));
}
template <class Rounding>
QUERN_INLINE i32s saturated(f64s v, Rounding mode) {
  return to_i32(min(v, broadcast(2147483647.0)), mode);
}

template <class Rounding>
struct float_product {
  f32s scale;
  QUERN_INLINE explicit float_product(f32s s) : scale(s) {}
  template <class Parameters>
  QUERN_INLINE explicit float_product(Parameters p) : scale(broadcast(p.scale)) {}
  template <class Parameters>
  QUERN_INLINE_BODY float_product(Parameters const* p, index_t n) {
    static_assert(sizeof(Parameters) == sizeof(float));
    if (n == lanes) {
      scale = load(&p->scale);
      return;
    }
    float all[lanes] = {};
    for (index_t i = 0; i < n; ++i) all[i] = p[i].scale;
    scale = load(static_cast<float const*>(all));
  }
  QUERN_INLINE i32s operator()(i32s x) const { return saturated(mul(to_f32(x), scale), Rounding{}); }
};

template <class Rounding>
struct double_product {
  f64s scale, twice;
  bool grows = false;  // below 1 no product leaves int32, which saves two of 16 operations
  bool in_half_steps = std::is_same_v<Rounding, round_to::half_away>;
  template <class Parameters>
  QUERN_INLINE explicit double_product(Parameters p) : double_product(&p, 1) {}
  template <class Parameters>
  QUERN_INLINE_BODY double_product(Parameters const* p, index_t n) {
    double all[lanes], doubled[lanes];
    for (index_t i = 0; i < lanes; ++i) {
      double const s = p[i < n ? i : n - 1].scale;
      all[i] = s, doubled[i] = s + s;
      grows |= !(s < 1), in_half_steps &= s < 0.5;
    }
    scale = load(static_cast<double const*>(all));
    twice = load(static_cast<double const*>(doubled));
  }
#if QUERN_DETAIL_PACKED
  /// Doubling a scale doubles its rounded products, or both are far below 1/2.
  QUERN_INLINE away_product half_steps() const { return away_product(twice); }
#endif
  QUERN_INLINE_BODY i32s operator()(i32s x) const {
    f64s const v = mul(to_f64(x), scale);
    if (grows) [[unlikely]]
      return saturated(v, Rounding{});
    return to_i32(v, Rounding{});
  }
};

/// oneDNN's, with a bias and a zero point.
struct biased_product {
  f32s scale, bias, zero_point;
  QUERN_INLINE explicit biased_product(rescale::onednn::parameters p) : biased_product(&p, 1) {}
  QUERN_INLINE_BODY biased_product(rescale::onednn::parameters const* p, index_t n) {
    float s[lanes], b[lanes], z[lanes];
    for (index_t i = 0; i < lanes; ++i) {
      auto const e = p[i < n ? i : n - 1];
      s[i] = e.scale, b[i] = e.bias, z[i] = e.zero_point;
    }
    scale = load(static_cast<float const*>(s));
    bias = load(static_cast<float const*>(b));
    zero_point = load(static_cast<float const*>(z));
  }
  QUERN_INLINE_BODY i32s operator()(i32s x) const {
    return saturated(add(mul(add(to_f32(x), bias), scale), zero_point), round_to::half_even{});
  }
};

/// Any other policy, lane by lane.
template <class P>
struct lanewise_rescale {
  typename P::parameters each[lanes];
  QUERN_INLINE explicit lanewise_rescale(typename P::parameters p) {
    for (auto& e : each) e = p;
  }
  QUERN_INLINE_BODY lanewise_rescale(typename P::parameters const* p, index_t n) {
    for (index_t i = 0; i < lanes; ++i) each[i] = p[i < n ? i : 0];
  }
  QUERN_INLINE_BODY i32s operator()(i32s x) const {
    std::int32_t all[lanes];
    store(static_cast<std::int32_t*>(all), x);
    for (int i = 0; i < lanes; ++i) all[i] = P::apply(all[i], each[i]);
    return load(static_cast<std::int32_t const*>(all));
  }
};

template <class P>
struct rescaler_of {
  using type = lanewise_rescale<P>;
};
template <class P>
  requires single_rounding_policy<P>
struct rescaler_of<P> {
  using type = single_rounding<P>;
};
template <class P>
  requires double_rounding_policy<P>
struct rescaler_of<P> {
  using type = double_rounding<P>;
};
template <class R>
struct rescaler_of<rescale::float_multiply<R>> {
  using type = float_product<R>;
};
template <class R>
struct rescaler_of<rescale::double_multiply<R>> {
  using type = double_product<R>;
};
template <class R>
  requires shift_rounding<R>
struct rescaler_of<rescale::power_of_two<R>> {
  using type = shifting<R>;
};
template <>
struct rescaler_of<rescale::xnnpack_rndnu16> {
  using type = words_product;
};
template <>
struct rescaler_of<rescale::onednn> {
  using type = biased_product;
};
template <>
struct rescaler_of<rescale::xnnpack_fp32> {
  using type = float_product<round_to::half_even>;
};
}  // namespace inner

template <class P>
using rescaler = typename inner::rescaler_of<P>::type;

#if QUERN_DETAIL_PACKED
/// Two vectors' results, saturated to words.
template <class F>
QUERN_INLINE words words_in_half_steps(F const& f0, i32s x0, F const& f1, i32s x1) {
  words const w = half_up(pack_signed(f0(x0), f1(x1)));
  if constexpr (std::is_same_v<F, inner::words_product::half_step_function>)
    return mul_high_half_up(w, pack_signed(f0.multiplier, f1.multiplier));
  else
    return w;
}
#endif

/// Whether a rescaler knows half steps, where shifts by a count a lane are one instruction.
template <class Rescaler>
inline constexpr bool rescales_in_half_steps = lanes > 4 && requires(Rescaler const r) { r.half_steps(); };
