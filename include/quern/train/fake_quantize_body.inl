// fake_quantize_body.inl — codes that never leave the registers. Included once per instruction set, in its namespace; see fake_quantize.hpp.
//
// What is beyond the end codes is brought to their values before it is divided: it then rounds to the end codes, and NaN to the
// lowest, as in quantize. Blocks in which that changed something are counted before they are overwritten.

namespace inner {

struct fake_constants {
  float scale, inverse, low;   // low: what inverse leaves out of 1 / scale, see exact_division.hpp
  float first, last;           // the end codes less the zero point
};

/// x / scale as an integer.
template <class Form, bool TwoSteps, class Rounding, class V>
QUERN_INLINE V fake_steps(V x, [[maybe_unused]] V scale, [[maybe_unused]] V inverse, [[maybe_unused]] V low) {
  if constexpr (!std::is_same_v<Form, divide>)
    return to_integral(mul(x, inverse), Rounding{});
  else if constexpr (TwoSteps)
    return to_integral(fma(x, inverse, mul(x, low)), Rounding{});
  else
    return to_integral(div(x, scale), Rounding{});
}

/// What quantize would count among n values.
template <class Form, bool TwoSteps, class Rounding>
QUERN_NOINLINE void fake_count(float const* src, index_t n, fake_constants const& c, conversion_counts& counts) {
  f32s const scale = broadcast(c.scale), inverse = broadcast(c.inverse), low = broadcast(c.low);
  f32s const first = broadcast(c.first), last = broadcast(c.last), infinity = broadcast(__builtin_inff());
  // two codes beyond the ends is as good as any further
  f32s const least = mul(broadcast(c.first - 2), scale), most = mul(broadcast(c.last + 2), scale);
  for (index_t j = 0; j < n; j += lanes) {
    index_t const live = n - j < lanes ? n - j : lanes;
    f32s const x = live == lanes ? load(src + j) : load_first(src + j, live);
    f32s const code = fake_steps<Form, TwoSteps, Rounding>(min(max(x, least), most), scale, inverse, low);
    mask const finite = less(abs(x), infinity);
    counts.saturated += __builtin_popcount(lane_bits(mask_and(finite, mask_or(less(code, first), less(last, code)))));
    counts.non_finite += lanes - __builtin_popcount(lane_bits(finite));
  }
}

template <class Form, bool TwoSteps, class Rounding>
QUERN_INLINE void fake_loop(float const* src, float* dst, index_t n, fake_constants const& c, conversion_counts& counts) {
  f32s const scale = broadcast(c.scale), inverse = broadcast(c.inverse), low = broadcast(c.low), zero = broadcast(0.0f);
  f32s const least = mul(broadcast(c.first), scale), most = mul(broadcast(c.last), scale);
  index_t j = 0;
  for (; j + 4 * lanes <= n; j += 4 * lanes) {
    f32s const x0 = load(src + j), x1 = load(src + j + lanes), x2 = load(src + j + 2 * lanes), x3 = load(src + j + 3 * lanes);
    f32s const k0 = min(max(x0, least), most), k1 = min(max(x1, least), most);  // max returns its second operand for NaN
    f32s const k2 = min(max(x2, least), most), k3 = min(max(x3, least), most);
    i32s const changed = or3(bit_xor(as_i32(k0), as_i32(x0)), bit_xor(as_i32(k1), as_i32(x1)),
                             or3(bit_xor(as_i32(k2), as_i32(x2)), bit_xor(as_i32(k3), as_i32(x3)), broadcast(std::int32_t{0})));
    if (any(mask_not(equal(changed, broadcast(std::int32_t{0}))))) [[unlikely]]
      fake_count<Form, TwoSteps, Rounding>(src + j, 4 * lanes, c, counts);
    // - 0.0 + 0.0 is 0.0: the code 0 has no sign
    store(dst + j, mul(add(fake_steps<Form, TwoSteps, Rounding>(k0, scale, inverse, low), zero), scale));
    store(dst + j + lanes, mul(add(fake_steps<Form, TwoSteps, Rounding>(k1, scale, inverse, low), zero), scale));
    store(dst + j + 2 * lanes, mul(add(fake_steps<Form, TwoSteps, Rounding>(k2, scale, inverse, low), zero), scale));
    store(dst + j + 3 * lanes, mul(add(fake_steps<Form, TwoSteps, Rounding>(k3, scale, inverse, low), zero), scale));
  }
  if (j < n) fake_count<Form, TwoSteps, Rounding>(src + j, n - j, c, counts);
  for (; j < n; j += lanes) {
    index_t const live = n - j < lanes ? n - j : lanes;
    f32s const kept = min(max(load_first(src + j, live), least), most);
    store_first(dst + j, mul(add(fake_steps<Form, TwoSteps, Rounding>(kept, scale, inverse, low), zero), scale), live);
  }
}

}  // namespace inner

/// n floats with one scale, there and back; first and last are the end codes less the zero point. 2^-60 <= scale <= 2^60, and
/// Rounding goes to a nearest integer: any other could leave the end codes.
template <class Form, class Rounding>
QUERN_NOINLINE conversion_counts fake_quantize_line(float const* src, float* dst, index_t n, float scale, std::int32_t first, std::int32_t last) {
  inner::fake_constants const c{scale, 1.0f / scale, quern::detail::low_part_of_inverse(scale, 1.0f / scale), static_cast<float>(first),
                                static_cast<float>(last)};
  conversion_counts counts;
  if constexpr (has_fma && std::is_same_v<Form, divide>) {
    if (quern::detail::exact_in_two_steps<Rounding>(scale, quern::detail::code_span(first, last).bits)) {
      inner::fake_loop<Form, true, Rounding>(src, dst, n, c, counts);
      return counts;
    }
  }
  inner::fake_loop<Form, false, Rounding>(src, dst, n, c, counts);
  return counts;
}
