// fbgemm_fixed.hpp — FBGEMM's fixed-point requantization, ties upward.
//
//     y = low32( floor( (x * multiplier + 2^(shift-1)) / 2^shift ) ),   shift >= 1 to the right, multiplier in [2^30, 2^31)
//
// Source: pytorch/FBGEMM src/QuantUtils.cc (ChooseRequantizationMultiplier), src/RefImplementations.cc.
#pragma once

#include "primitives.hpp"
#include "quantize_multiplier.hpp"

namespace quern::rescale {

struct fbgemm_fixed {
  static constexpr char const* name = "fbgemm_fixed";
  using parameters = multiplier_shift;  ///< multiplier * 2^-shift, 1 <= shift

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale > 0 && scale < 1073741792.0; }
  /// The scale is rounded to float first, as FBGEMM holds it. @errors scale: not positive, NaN, or 2^30 and above as a float (shift < 1).
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return choose_requantization_multiplier(static_cast<float>(detail::checked_scale(name, scale, 1073741792.0)));
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    if (p.shift > 62) return 0;  // |x * multiplier| < 2^62: the exact result
    if (p.shift < 1) return 0;   // only (0, 0), the multiplier of scale 0
    return wrap32((static_cast<std::int64_t>(x) * p.multiplier + (std::int64_t{1} << (p.shift - 1))) >> p.shift);
  }
};

}  // namespace quern::rescale
