// asymmetric.hpp — a scale and a zero point: the codes cover just the range that the data has.
#pragma once

#include "../round/half_even.hpp"
#include "scheme.hpp"

namespace quern {

/// The range, extended to hold 0.0, is spread over all codes; the zero point is the code nearest to where 0.0 falls.
///
///     scale = (max - min) / (q_max - q_min)        zero_point = round(q_min - min / scale), within q_min..q_max
///
/// 0.0 is exact, because the zero point is a code. Rounding the zero point moves the ends by at most half a step.
/// A range that holds only 0.0 has zero point 0 (or the nearest code there is).
/// @rounds  the scale once, double to float; the zero point once, half to even, from the rounded scale.
/// @source  Jacob et al., CVPR 2018, section 3.1. The frameworks' own variants are in convention/.
template <class Code = u8, class Granularity = per_tensor, class Range = full_range>
struct asymmetric : detail::scheme_base<Code, Granularity, Range> {
  static constexpr char const* name = "asymmetric";
  static constexpr bool fixed_zero_point = false;
  template <class C, class G, class R>
  using rebind = asymmetric<C, G, R>;

  QUERN_INLINE static constexpr bool valid_scale(float) noexcept { return true; }
  QUERN_INLINE static constexpr scale_zero_point choose(real_range range, choose_options options = {}) noexcept {
    constexpr double lo = asymmetric::q_min, hi = asymmetric::q_max;
    detail::usable_range const r(range);
    if (r.only_zero()) return {options.scale_of_zero, lo > 0 ? asymmetric::q_min : 0};
    float scale = static_cast<float>((r.max - r.min) / (hi - lo));
    if (scale < options.smallest_scale) scale = options.smallest_scale;
    double const at = lo - r.min / static_cast<double>(scale);
    double const zero = round_to::half_even::to_integral(at);
    return {scale, static_cast<std::int32_t>(zero < lo ? lo : zero > hi ? hi : zero)};
  }
};

}  // namespace quern
