// onednn.hpp — oneDNN's output stage as PyTorch sets it up: the bias before the scale, the zero point before the rounding.
//
//     y = sat32( half_even( f32( (f32(x) + bias) * scale ) + zero_point ) )       each operation rounded to float
//
// bias is in steps of the accumulator but no integer. NaN, from a bias or a scale, gives the lowest integer.
// Source: pytorch aten/src/ATen/native/quantized/cpu/qlinear.cpp (apply_impl of PackedLinearWeightsOnednn); oneDNN's attributes.
#pragma once

#include "float_multiply.hpp"

QUERN_FP_BEGIN

namespace quern::rescale {

struct onednn {
  static constexpr char const* name = "onednn";
  struct parameters {
    float scale = 0, bias = 0, zero_point = 0;
  };

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return float_multiply<>::accepts(scale); }
  /// No bias and no zero point. @errors scale: as float_multiply.
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return {static_cast<float>(detail::checked_scale(name, scale, 3.4028235677973366e38)), 0, 0};
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    float const v = rounded(rounded(static_cast<float>(x) + p.bias) * p.scale) + p.zero_point;
    return v == v ? detail::saturated_int32(round_to::half_even::to_integral(v)) : -2147483647 - 1;
  }
};

}  // namespace quern::rescale

QUERN_FP_END
