// xnnpack.hpp — XNNPACK, and TFLite's default delegate over it.
//
//     f32 -> qs8   half_even(clamp(x * (1 / scale), lo - zp, hi - zp)) + zp         a reciprocal
//     accumulator  half_even(f32(acc) * f32(Sx Sw) / Sy) + zp                       (rescale::xnnpack_fp32; Arm without it: rndnu)
//     vadd         21-bit fixed point, ties up;   vmul  half_even(f32((a-za)(b-zb)) * f32(Sa Sb) / Sy) + zp
//     qd8          dynamic int8 activations: the zero point from the end with the smaller error, in float32
//
// NaN is whatever the CPU's max instruction returns; here the lowest code. Ratios outside of a kernel's range are refused.
// Sources: google/XNNPACK src/xnnpack/{requantization,quantization}.h, src/microparams-init.c, src/operators/*-nc.c.
#pragma once

#include "fixed_add.hpp"
#include "pytorch.hpp"
#include "tflite.hpp"

QUERN_FP_BEGIN

namespace quern::convention {

struct xnnpack {
  static constexpr char const* name = "xnnpack";
  using rounding = round_to::half_even;
  using rescaling = rescale::xnnpack_fp32;
  static constexpr nan_code nan = nan_code::lowest;
  static constexpr zero_point_place place = zero_point_place::after_rounding;
  static constexpr scale_form form = scale_form::reciprocal;

  /// Parameters of a qd8 row: quantize multiplies by `inverse`; what is stored for dequantization is `scale` = 1 / inverse.
  struct dynamic_params {
    float inverse = 1, scale = 1;
    std::int32_t zero_point = 0;
  };
  /// The range extended to hold 0.0; an all-zero row has inverse 1.
  template <quantized_code Code = s8>
  QUERN_INLINE static constexpr dynamic_params choose_dynamic(real_range r) noexcept {
    float const lo = static_cast<float>(code_of_t<Code>::min), hi = static_cast<float>(code_of_t<Code>::max);
    float const min = r.min < 0 ? r.min : 0.0f, max = r.max > 0 ? r.max : 0.0f;
    float const inverse = min == max ? 1.0f : (hi - lo) / (max - min);
    float const at_min = rounded(min * inverse), at_max = rounded(max * inverse);
    float const z = (lo + at_min) + (hi + at_max) > 0 ? lo - at_min : hi - at_max;
    return {inverse, 1.0f / inverse, static_cast<std::int32_t>(z > lo ? rounding::to_integral(z < hi ? z : hi) : lo)};  // NaN: lo
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    auto const p = choose_dynamic<Code>(r);
    return {p.scale, p.zero_point};
  }

  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize(float x, affine p) noexcept {
    return quantize_by<Code>(x, 1.0f / p.scale, p.zero_point);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize_by(float x, float inverse, std::int32_t zero_point) noexcept {
    return static_cast<typename code_of_t<Code>::storage>(detail::rounded_code<rounding>(
        rounded(x * inverse), zero_point, limits_of<Code>, detail::code_of_nan<Code>(nan, zero_point)));
  }
  QUERN_INLINE static constexpr float dequantize(std::int32_t q, affine p) noexcept {
    return static_cast<float>(wrap32(static_cast<std::int64_t>(q) - p.zero_point)) * p.scale;
  }
  QUERN_INLINE static constexpr float effective_scale(float src, float weight, float dst) noexcept { return rounded(src * weight) / dst; }
  /// @errors scale when the effective one is not in [2^-32, 256).
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto output_stage(float src, float weight, affine y, limits l = limits_of<Code>) {
    return detail::rescale_stage<rescaling>{rescaling::from_real(static_cast<double>(effective_scale(src, weight, y.scale))), y.zero_point, l};
  }
  /// @errors scale when the larger ratio is not in [2^-10, 2^8).
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) {
    return detail::fixed_add<21, true>::make(a, b, y, l);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mul(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::pytorch_mul<Code>{a.zero_point, b.zero_point, rounded(a.scale * b.scale) / y.scale, y.zero_point, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine x, affine y, limits l = limits_of<Code>) noexcept {
    return pool{x.scale, y.scale, x.zero_point, y.zero_point, l};
  }
  /// half_even(f32(sum - n zx) * f32(Sx / f32(Sy n))) + zy.
  struct pool {
    float src_scale = 1, dst_scale = 1;
    std::int32_t src_zero_point = 0, zero_point = 0;
    limits clamped{};
    QUERN_INLINE constexpr std::int32_t operator()(std::int32_t sum, std::int32_t n) const noexcept {
      auto const centred = wrap32(static_cast<std::int64_t>(sum) - static_cast<std::int64_t>(n) * src_zero_point);
      float const scale = src_scale / rounded(dst_scale * static_cast<float>(n));
      return detail::rounded_code<rounding>(rounded(static_cast<float>(centred) * scale), zero_point, clamped, clamped.min);
    }
  };
};

/// TFLite's default CPU path for signed int8: parameters from TFLite's tools, arithmetic from XNNPACK.
struct tflite_xnnpack : xnnpack {
  static constexpr char const* name = "tflite_xnnpack";
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    return tflite::choose<Code>(r);
  }
};

}  // namespace quern::convention

QUERN_FP_END
