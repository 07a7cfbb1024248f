// onnx.hpp — the ONNX standard, opsets 10 to 25: what its operator text says, in float32.
//
//     QuantizeLinear     y = saturate(half_even(x / scale) + zero_point)      a true division
//     DequantizeLinear   y = f32(q - zero_point) * scale                       the difference exact, one rounding above 2^24
//     QLinearMatMul/Conv y = saturate(half_even(f32(acc) * m) + zero_point),  m = x_scale * w_scale / y_scale in float32
//     DynamicQuantizeLinear   scale = (max - min) / 255;  zero_point = half_even(clamp(-min / scale, 0, 255))
//
// The standard leaves NaN and infinities of integer QuantizeLinear open; here NaN gives the lowest code (as ONNX Runtime does) and
// infinities saturate. Its reference casts to int32 before adding the zero point and is undefined beyond 2^31; this saturates.
// It defines no integer addition, multiplication or pooling: they are Dequantize, float, Quantize.
// Sources: onnx/onnx docs/Operators.md, onnx/reference/ops/op_{quantize,dequantize,dynamic_quantize}_linear.py, op_qlinear_{matmul,conv}.py.
#pragma once

#include "convention.hpp"

QUERN_FP_BEGIN

namespace quern::convention {

struct onnx {
  static constexpr char const* name = "onnx";
  using rounding = round_to::half_even;
  using rescaling = rescale::float_multiply<round_to::half_even>;
  static constexpr nan_code nan = nan_code::lowest;
  static constexpr zero_point_place place = zero_point_place::after_rounding;
  static constexpr scale_form form = scale_form::divide;

  /// DynamicQuantizeLinear, all in float32; defined for u8, continued to other codes by their limits. An all-zero tensor takes
  /// range 1: scale 1/255, as the reference implementation does (ONNX Runtime: scale 1). So does a range too narrow for a scale that is
  /// not 0 (theirs: 0, and a zero point from 0 / 0); one wider than the largest float has the scale infinity, as theirs, and the lowest code.
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    return choose_dynamic<Code>(r, 1.0f / (static_cast<float>(code_of_t<Code>::max) - static_cast<float>(code_of_t<Code>::min)));
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose_dynamic(real_range r, float scale_of_zero) noexcept {
    float const lo = static_cast<float>(code_of_t<Code>::min), hi = static_cast<float>(code_of_t<Code>::max);
    float const min = r.min < 0 ? r.min : 0.0f, max = r.max > 0 ? r.max : 0.0f;
    float const quotient = (max - min) / (hi - lo), scale = quotient > 0 ? quotient : scale_of_zero;
    float const z = is_inf(scale) ? lo : lo - min / scale;
    return {scale, static_cast<std::int32_t>(rounding::to_integral(clamp(z, lo, hi)))};
  }

  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize(float x, affine p) noexcept {
    return static_cast<typename code_of_t<Code>::storage>(detail::rounded_code<rounding>(
        x / p.scale, p.zero_point, limits_of<Code>, detail::code_of_nan<Code>(nan, p.zero_point)));
  }
  QUERN_INLINE static constexpr float dequantize(std::int32_t q, affine p) noexcept {
    return static_cast<float>(wrap32(static_cast<std::int64_t>(q) - p.zero_point)) * p.scale;
  }
  /// x_scale * w_scale / y_scale in float32, left to right.
  QUERN_INLINE static constexpr float effective_scale(float src, float weight, float dst) noexcept { return rounded(src * weight) / dst; }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto output_stage(float src, float weight, affine y, limits l = limits_of<Code>) noexcept {
    return detail::rescale_stage<rescaling>{{effective_scale(src, weight, y.scale)}, y.zero_point, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_add<onnx, Code>{a, b, y, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mul(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_mul<onnx, Code>{a, b, y, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine x, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_average<onnx, Code>{x, y, l};
  }
};

}  // namespace quern::convention

QUERN_FP_END
