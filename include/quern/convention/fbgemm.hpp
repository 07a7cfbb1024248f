// fbgemm.hpp — FBGEMM: PyTorch's x86 server kernels.
//
//     quantize     q = clamp(zero_point + half_even(x * inverse)),  inverse = 1 / scale in float32: a reciprocal, not a division
//     accumulator  q = clamp(zero_point + half_even(f32(acc) * multiplier)); the fixed-point form is rescale::fbgemm_fixed
//
// The vectors differ from the scalar remainder on values that are no numbers: the AVX2 loop is the one meant here. There NaN and
// everything above 2^31 saturates to the highest code, and values below -2^31 become -2^31, to which the zero point is added
// modulo 2^32: with a negative zero point they wrap to the highest code, as in FBGEMM.
// Source: pytorch/FBGEMM include/fbgemm/QuantUtils.h, src/QuantUtils.cc, src/QuantUtilsAvx2.cc.
#pragma once

#include "convention.hpp"
#include "onnx.hpp"

QUERN_FP_BEGIN

namespace quern::convention {

/// What ChooseQuantizationParams is asked for beyond the range.
struct fbgemm_options {
  bool preserve_sparsity = false;    ///< 0.0 in the middle of the codes
  bool force_power_of_two = false;   ///< the scale rounded up to a power of two
};

/// The library itself; PyTorch over it is pytorch_fbgemm.
struct fbgemm {
  static constexpr char const* name = "fbgemm";
  using rounding = round_to::half_even;
  using rescaling = rescale::float_multiply<round_to::half_even>;
  static constexpr nan_code nan = nan_code::highest;
  static constexpr zero_point_place place = zero_point_place::after_rounding;
  static constexpr scale_form form = scale_form::reciprocal;

  /// ChooseQuantizationParams(min, max, qmin, qmax, options): PyTorch's dynamic quantization. Scales below 6.1e-5 are raised to it.
  QUERN_INLINE static constexpr scale_zero_point choose_quantization_params(float min, float max, std::int32_t qmin, std::int32_t qmax,
                                                                            fbgemm_options o = {}) noexcept {
    if (min < 0 && max > 0 && o.preserve_sparsity) {
      auto const symmetric_min = static_cast<float>(-((qmax - qmin) / 2 + 1)), symmetric_max = static_cast<float>((qmax - qmin) / 2);
      float const below = abs_of(min / symmetric_min), above = abs_of(max / symmetric_max);
      double const larger = static_cast<double>(below > above ? below : above);
      min = static_cast<float>(larger * static_cast<double>(symmetric_min));
      max = static_cast<float>(larger * static_cast<double>(symmetric_max));
    }
    min = min < 0 ? min : 0.0f;
    max = max > 0 ? max : 0.0f;
    double const lo = qmin, hi = qmax;
    float scale = static_cast<float>((static_cast<double>(max) - static_cast<double>(min)) / (hi - lo));
    if (scale == 0.0f || is_inf(1.0f / scale)) scale = 0.1f;
    if (o.force_power_of_two) {
      auto const [fraction, e] = frexp_of(scale);  // scale = fraction * 2^e: the next power is 2^e, or itself
      scale = ldexp_of(1.0f, fraction == 0.5f ? e - 1 : e);
    }
    constexpr float smallest = 6.1e-5f;
    if (scale < smallest) {
      float const grown = smallest / scale;
      scale = smallest;
      if (min == 0.0f) {
        max = smallest * static_cast<float>(qmax - qmin);
      } else if (max == 0.0f) {
        min = -smallest * static_cast<float>(qmax - qmin);
      } else {
        min = rounded(min * grown);
        max = rounded(max * grown);
      }
    }
    double const s = static_cast<double>(scale), from_min = lo - static_cast<double>(min) / s, from_max = hi - static_cast<double>(max) / s;
    double const min_error = abs_of(lo) + abs_of(static_cast<double>(min) / s), max_error = abs_of(hi) + abs_of(static_cast<double>(max) / s);
    double z = min_error < max_error ? from_min : from_max;
    if (min < 0 && max > 0 && o.preserve_sparsity) z = (qmin + qmax) / 2.0;
    return {scale, static_cast<std::int32_t>(z > lo ? z > hi ? hi : rounding::to_integral(z) : lo)};  // NaN of infinite ends: qmin
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    return choose_quantization_params(r.min < r.max ? r.min : 0.0f, r.min < r.max ? r.max : 0.0f, code_of_t<Code>::min, code_of_t<Code>::max);
  }

  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize(float x, affine p) noexcept {
    float const t = rounded(x * (1.0f / p.scale));
    // minps returns its second operand for NaN: the limit, the largest float below 2^31
    float const bounded = t < 2147483520.0f ? t : 2147483520.0f;
    auto const r = bounded < -2147483648.0f ? -2147483647 - 1 : static_cast<std::int32_t>(rounding::to_integral(bounded));
    std::int32_t const q = wrap32(static_cast<std::int64_t>(r) + p.zero_point);
    return static_cast<typename code_of_t<Code>::storage>(clamp<std::int64_t>(q, code_of_t<Code>::min, code_of_t<Code>::max));
  }
  QUERN_INLINE static constexpr float dequantize(std::int32_t q, affine p) noexcept {
    return p.scale * static_cast<float>(wrap32(static_cast<std::int64_t>(q) - p.zero_point));
  }
  QUERN_INLINE static constexpr float effective_scale(float src, float weight, float dst) noexcept { return rounded(src * weight) / dst; }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto output_stage(float src, float weight, affine y, limits l = limits_of<Code>) noexcept {
    return detail::rescale_stage<rescaling>{{effective_scale(src, weight, y.scale)}, y.zero_point, l};
  }
  /// The library has no elementwise kernels; these are PyTorch's over its quantize.
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_add<fbgemm, Code>{a, b, y, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mul(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_mul<fbgemm, Code>{a, b, y, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine x, affine y, limits l = limits_of<Code>) noexcept {
    return detail::float_average<fbgemm, Code>{x, y, l};
  }
};

/// FBGEMM's fused row-wise formats of embedding tables: codes, then a scale and the row's minimum (bias).
///
///     8 bits: scale = range / 255 and bias = min, float;  q = half_even((x - min) * 255 / (range + 1e-8));  x ~ q * scale + bias
///     2, 4:   bias = f16(min), scale = f16(range / (2^n - 1)), 1 where the range or the half is 0; q clamped; x ~ q * scale + bias
struct embedding_row {
  float scale = 0, bias = 0, inverse = 0;
  std::int32_t highest = 255;
  bool clamped = false;

  QUERN_INLINE static constexpr embedding_row eight_bits(float min, float max) noexcept {
    float const range = max - min;
    return {range / 255.0f, min, 255.0f / (range + 1e-8f), 255, false};
  }
  /// `Half` is quern::half: the storage type of scale and bias.
  template <class Half>
  QUERN_INLINE static constexpr embedding_row few_bits(float min, float max, int bits) noexcept {
    float const bias = Half(min), range = max - bias;
    std::int32_t const highest = (1 << bits) - 1;
    float scale = Half(range == 0 ? 1.0f : range / static_cast<float>(highest));
    if (scale == 0) scale = 1.0f;
    float inverse = 1.0f / scale;
    if (is_inf(inverse)) scale = inverse = 1.0f;
    return {scale, bias, inverse, highest, true};
  }
  QUERN_INLINE constexpr std::uint8_t quantize(float x) const noexcept {
    std::int32_t const q = rescale::detail::saturated_int32(round_to::half_even::to_integral(rounded((x - bias) * inverse)));
    return static_cast<std::uint8_t>(clamped ? clamp(q, 0, highest) : q);
  }
  QUERN_INLINE constexpr float dequantize(std::uint8_t q) const noexcept { return rounded(static_cast<float>(q) * scale) + bias; }
};

}  // namespace quern::convention

QUERN_FP_END
