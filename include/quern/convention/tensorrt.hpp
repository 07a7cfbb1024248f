// tensorrt.hpp — NVIDIA TensorRT's explicit quantization, and Model Optimizer's fake quantization.
//
//     Quantize     half_even(clip(x / scale, -128, 127)),  zero point 0;   Dequantize   q * scale
//     scales       max|x| / 127, of a tensor (activations) or an output channel (weights)
//     Model Optimizer   clamp(half_even(x * s), lo, hi) / s with s = bound / amax: it multiplies by that quotient and divides by it
//
// How TensorRT requantizes accumulators inside of a fused layer is not public; the float32 form of its operators is the contract.
// NaN gives the lowest code here. Sources: NVIDIA TensorRT documentation ("Quantization schemes", Quantize, Dequantize),
// NVIDIA/TensorRT-Model-Optimizer modelopt/torch/quantization/tensor_quant.py.
#pragma once

#include "onnx.hpp"

QUERN_FP_BEGIN

namespace quern::convention {

struct tensorrt : onnx {
  static constexpr char const* name = "tensorrt";

  /// Symmetric: the larger magnitude over the highest code. Zero point 0 (unsigned codes too: TensorRT has none of them). An
  /// all-zero tensor takes scale 1: scales must be positive.
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    float const below = r.min < 0 ? -r.min : 0.0f, above = r.max > 0 ? r.max : 0.0f, largest = below > above ? below : above;
    float const scale = largest / static_cast<float>(code_of_t<Code>::max);  // 0 where all values are subnormal
    return {scale > 0 ? scale : 1.0f, 0};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_add<tensorrt, Code>{a, b, y, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mul(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_mul<tensorrt, Code>{a, b, y, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine x, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_average<tensorrt, Code>{x, y, l};
  }
};

/// Its integers are those of x * (1 / scale) with -127..127 unless `narrow` is off.
struct model_optimizer : tensorrt {
  static constexpr char const* name = "model_optimizer";
  static constexpr scale_form form = scale_form::reciprocal;

  /// The value that stands for x once quantized: amax is the calibrated maximum. Up to 2^-24 everything becomes 0.
  template <quantized_code Code = s8>
  QUERN_INLINE static constexpr float fake_quantize(float x, float amax, bool narrow = true) noexcept {
    if (!(amax > 5.9604644775390625e-08f)) return 0.0f;
    float const bound = static_cast<float>(code_of_t<Code>::max), s = bound / amax;
    return static_cast<float>(code<Code>(rounded(x * s), narrow)) / s;
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize(float x, affine p) noexcept {
    return static_cast<typename code_of_t<Code>::storage>(code<Code>(rounded(x * (1.0f / p.scale)), true));
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_add<model_optimizer, Code>{a, b, y, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mul(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_mul<model_optimizer, Code>{a, b, y, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine x, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_average<model_optimizer, Code>{x, y, l};
  }

 private:
  template <quantized_code Code>
  QUERN_INLINE static constexpr std::int32_t code(float v, bool narrow) noexcept {
    limits l = limits_of<Code>;
    if (narrow && code_of_t<Code>::is_signed) ++l.min;
    return detail::rounded_code<rounding>(v, 0, l, l.min);
  }
};

}  // namespace quern::convention

QUERN_FP_END
