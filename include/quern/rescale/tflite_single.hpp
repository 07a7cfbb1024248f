// tflite_single.hpp — one rounding of the exact 64-bit product, ties upward: ruy, TFLITE_SINGLE_ROUNDING, CMSIS-NN's single.
//
//     y = wrap32( floor( (x * multiplier + 2^(t-1)) / 2^t ) ),   t = 31 - shift
//
// Sources: tensorflow/lite/kernels/internal/common.cc, google/ruy ruy/apply_multiplier.cc.
#pragma once

#include "primitives.hpp"
#include "quantize_multiplier.hpp"

namespace quern::rescale {

struct tflite_single {
  static constexpr char const* name = "tflite_single";
  using parameters = multiplier_shift;  ///< multiplier >= 0, -31 <= shift <= 30

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale >= 0 && scale < 1.7976931348623157e308; }
  /// Scales of 2^30 and above become (2^31 - 1, 30), as in TFLite. @errors scale: negative, NaN or infinite.
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return quantize_multiplier_single_rounding(detail::checked_scale(name, scale, 1.7976931348623157e308));
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    int const t = 31 - p.shift;  // 1 .. 62; |x * multiplier| < 2^62, so the sum fits
    return wrap32((static_cast<std::int64_t>(x) * p.multiplier + (std::int64_t{1} << (t - 1))) >> t);
  }
};

}  // namespace quern::rescale
