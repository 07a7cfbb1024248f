// cmsis_nn.hpp — CMSIS-NN's support functions under their own names; its layers are quern's in convention::cmsis_nn.
//
// @source  ARM-software/CMSIS-NN Include/arm_nnsupportfunctions.h.
#pragma once

#include "convention.hpp"

namespace quern::cmsis_nn {
inline namespace QUERN_ABI {

/// arm_nn_doubling_high_mult_no_sat: (a * b + 2^30) / 2^31, MIN * MIN wrapping to MIN.
QUERN_INLINE constexpr std::int32_t doubling_high_mult_no_sat(std::int32_t a, std::int32_t b) noexcept {
  return rescale::cmsis_nn::apply(a, {b, 0});
}
/// arm_nn_doubling_high_mult: the saturating one, of softmax.
QUERN_INLINE constexpr std::int32_t doubling_high_mult(std::int32_t a, std::int32_t b) noexcept { return rescale::srdhm(a, b); }

/// arm_nn_divide_by_power_of_two: ties away from zero.
QUERN_INLINE constexpr std::int32_t divide_by_power_of_two(std::int32_t x, std::int32_t exponent) noexcept {
  return rescale::rounding_divide_by_pot(x, exponent);
}

/// arm_nn_requantize; `single_rounding`: CMSIS_NN_USE_SINGLE_ROUNDING.
QUERN_INLINE constexpr std::int32_t requantize(std::int32_t x, std::int32_t multiplier, std::int32_t shift, bool single_rounding = false) noexcept {
  return single_rounding ? rescale::tflite_single::apply(x, {multiplier, shift}) : rescale::cmsis_nn::apply(x, {multiplier, shift});
}

/// arm_nn_requantize_s64: takes a multiplier that is already reduced to 16 bits (reduce_multiplier).
QUERN_INLINE constexpr std::int32_t requantize_s64(std::int64_t x, std::int32_t reduced_multiplier, std::int32_t shift) noexcept {
  return rescale::cmsis_nn_s64::apply(x, {reduced_multiplier, shift});
}
/// REDUCE_MULTIPLIER.
QUERN_INLINE constexpr std::int32_t reduce_multiplier(std::int32_t multiplier) noexcept { return rescale::reduced_multiplier(multiplier); }

}  // inline namespace QUERN_ABI
}  // namespace quern::cmsis_nn
