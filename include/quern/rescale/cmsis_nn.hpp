// cmsis_nn.hpp — CMSIS-NN's arm_nn_requantize and arm_nn_requantize_s64.
//
//     cmsis_nn:      gemmlowp_double, but the high multiply does not saturate: MIN * MIN gives MIN, not MAX
//     cmsis_nn_s64:  y = floor( (low32( floor(x * m / 2^(14 - shift)) ) + 1) / 2 ), m reduced to 16 bits
//
// The build with CMSIS_NN_USE_SINGLE_ROUNDING is tflite_single. Source: ARM-software/CMSIS-NN Include/arm_nnsupportfunctions.h.
#pragma once

#include "tflite_s64.hpp"

namespace quern::rescale {

struct cmsis_nn {
  static constexpr char const* name = "cmsis_nn";
  using parameters = multiplier_shift;  ///< -31 <= shift <= 31

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale >= 0 && scale < 2147483647.5; }
  /// @errors scale: negative, NaN, or 2^31 and above.
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return quantize_multiplier(detail::checked_scale(name, scale, 2147483647.5));
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    std::int32_t const left = wrapping_shift_left(x, p.shift > 0 ? p.shift : 0);
    std::int32_t const high = wrap32((static_cast<std::int64_t>(left) * p.multiplier + (std::int64_t{1} << 30)) >> 31);
    return rounding_divide_by_pot(high, p.shift < 0 ? -p.shift : 0);
  }
};

struct cmsis_nn_s64 {
  static constexpr char const* name = "cmsis_nn_s64";
  static constexpr int accumulator_bits = 48;
  using parameters = tflite_s64::parameters;

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale >= 0 && scale < 127.99999997; }
  /// @errors scale: as tflite_s64.
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return from_multiplier(quantize_multiplier(detail::checked_scale(name, scale, 127.99999997)));
  }
  QUERN_INLINE static constexpr parameters from_multiplier(multiplier_shift m) noexcept {
    return tflite_s64::from_multiplier(m);
  }
  /// |x| < 2^47; beyond, the product is taken modulo 2^64.
  QUERN_INLINE static constexpr std::int32_t apply(std::int64_t x, parameters p) noexcept {
    std::int64_t const twice = wrap32(static_cast<std::int64_t>(tflite_s64::product(x, p)) >> (14 - p.shift));
    return static_cast<std::int32_t>((twice + 1) >> 1);
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    return apply(static_cast<std::int64_t>(x), p);
  }
};

}  // namespace quern::rescale
