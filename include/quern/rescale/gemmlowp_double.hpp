// gemmlowp_double.hpp — two roundings: high multiply, then rounding shift. TFLite's and TFLite Micro's default; gemmlowp.
//
//     y = rounding_divide_by_pot( srdhm( wrap32(x * 2^max(shift, 0)), multiplier ), max(-shift, 0) )
//
// The first rounding breaks ties upward, the second away from zero, so y can be 3/4 away from the exact product: 1 * 0.25 is 1.
// Source: tensorflow/lite/kernels/internal/common.h (MultiplyByQuantizedMultiplier without TFLITE_SINGLE_ROUNDING).
#pragma once

#include "primitives.hpp"
#include "quantize_multiplier.hpp"

namespace quern::rescale {

struct gemmlowp_double {
  static constexpr char const* name = "gemmlowp_double";
  using parameters = multiplier_shift;  ///< -31 <= shift <= 31

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale >= 0 && scale < 2147483647.5; }
  /// @errors scale: negative, NaN, or so large that its shift exceeds 31 (2^31 and above).
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return quantize_multiplier(detail::checked_scale(name, scale, 2147483647.5));
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    std::int32_t const left = wrapping_shift_left(x, p.shift > 0 ? p.shift : 0);
    return rounding_divide_by_pot(srdhm(left, p.multiplier), p.shift < 0 ? -p.shift : 0);
  }
};

}  // namespace quern::rescale
