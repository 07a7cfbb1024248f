// pytorch.hpp — PyTorch's quantized tensors, engine by engine.
//
//     quantize_per_tensor    q = clamp(int64(zero_point + half_even(x * (1 / f32(scale))))), the sum in float32
//     quantized::linear      q = clamp(half_even(f32(acc) * f32(Sa Sw) / Sy) + zero_point)
//     quantized::add         dequantize with one fused multiply-add, add in float32, quantize
//     quantized::mul         half_even((a-za)(b-zb) * m) + zero_point
//
//     pytorch           the generic x86 path (builds without FBGEMM, Debian's among them; engine "none"): the int64 conversion turns
//                       NaN, both infinities and everything beyond 2^63 into the lowest code
//     pytorch_onednn    engine "onednn": quantize and elementwise as above; linear and conv keep a float bias and add the zero point
//                       before the one rounding, with scales that are quotients of reciprocals
//     pytorch_fbgemm    engine "fbgemm" / "x86": FBGEMM's quantize (NaN to the highest code), the rest alike
//     pytorch_qnnpack   engine "qnnpack", what PyTorch Mobile runs: addition in 22-bit fixed point, pooling without the zero point
//
// PyTorch is not the same on every CPU: quantized::add is the vector loop of AVX2 and AVX-512, which dequantizes as
// fma(scale, q, -scale * zero_point); the last elements of a tensor, and CPUs without FMA, take scale * (q - zero_point), 1 code apart
// at times. The onednn arithmetic was determined by running PyTorch 1.13 (1.4 million outputs without a difference).
//
// Scales are stored as double and cast to float before use. Parameters: the observers' formula (torch.ao.quantization), with
// 127.5 steps to each side where symmetric. Sources: pytorch/pytorch aten/src/ATen/native/quantized/{AffineQuantizerBase,
// FakeQuantPerTensorAffine}.cpp, cpu/kernels/QuantizedOpKernels.cpp, cpu/qnnpack/src/qnnpack/requantization.h,
// torch/ao/quantization/{observer,utils}.py.
#pragma once

#include "fbgemm.hpp"
#include "fixed_add.hpp"

QUERN_FP_BEGIN

namespace quern::convention {

/// One element of fake quantization: the value, and whether its gradient passes.
struct fake_quantized {
  float value = 0;
  bool passes = false;
};

/// Learnable (LSQ) fake quantization of one element: its value, and what an incoming gradient becomes, before the caller's grad_factor.
struct fake_quantized_learnable {
  float value = 0;
  float dx = 0, dscale = 0, dzero_point = 0;
};

namespace detail {

/// quantized::mul: the multiplier is f32(f32(Sa Sb) * (1 / Sy)), the product exact.
template <class Code>
struct pytorch_mul {
  std::int32_t lhs_zero_point = 0, rhs_zero_point = 0;
  float multiplier = 0;
  std::int32_t zero_point = 0;
  limits clamped{};

  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    float const v = rounded(static_cast<float>(static_cast<std::int64_t>(a - lhs_zero_point) * (b - rhs_zero_point)) * multiplier);
    return rounded_code<round_to::half_even>(v, zero_point, clamped, clamped.min);
  }
};

/// quantized::add in vectors: dequantization premultiplies -scale * zero_point and fuses. The sum of product and offset is a multiple
/// of the scale's last place below 2^34 of them, so the double sum is exact and its conversion is the fused operation's one rounding.
template <class Convention, class Code>
struct pytorch_add {
  affine lhs{}, rhs{}, dst{};
  limits clamped{};

  QUERN_INLINE static constexpr float dequantized(std::int32_t q, affine p) noexcept {
    float const offset = rounded(p.scale * static_cast<float>(-p.zero_point));
    return static_cast<float>(rounded(static_cast<double>(p.scale) * static_cast<double>(q)) + static_cast<double>(offset));
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    float const sum = dequantized(a, lhs) + dequantized(b, rhs);
    return clamp<std::int32_t>(Convention::template quantize<Code>(sum, dst), clamped.min, clamped.max);
  }
};

/// oneDNN's output stage as PyTorch sets it up: half_even(f32((f32(acc) + bias) * scale) + zero_point), each operation rounded;
/// bias in steps of the accumulator but not rounded to integers.
struct onednn_stage {
  float scale = 1, bias = 0, zero_point = 0;
  limits clamped{};
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t acc) const noexcept {
    float const v = rounded(rounded(static_cast<float>(acc) + bias) * scale);
    return rounded_code<round_to::half_even>(v + zero_point, 0, clamped, clamped.min);
  }
};

/// avg_pool2d of the generic kernel: the mean of the raw codes, so the zero point is inside of the rounding.
struct raw_average {
  limits clamped{};
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t sum, std::int32_t n) const noexcept {
    float const v = rounded(static_cast<float>(sum) * (1.0f / static_cast<float>(n)));
    return rounded_code<round_to::half_even>(v, 0, clamped, clamped.min);
  }
};

/// avg_pool2d of QNNPACK: the mean without its zero point, which is added after the rounding.
struct centred_average {
  float ratio = 1;  ///< Sx / Sy, 1 for avg_pool2d
  std::int32_t src_zero_point = 0, zero_point = 0;
  limits clamped{};
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t sum, std::int32_t n) const noexcept {
    auto const centred = wrap32(static_cast<std::int64_t>(sum) - static_cast<std::int64_t>(n) * src_zero_point);
    float const v = rounded(static_cast<float>(centred) * (ratio / static_cast<float>(n)));
    return rounded_code<round_to::half_even>(v, zero_point, clamped, clamped.min);
  }
};

}  // namespace detail

struct pytorch {
  static constexpr char const* name = "pytorch";
  using rounding = round_to::half_even;
  using rescaling = rescale::float_multiply<round_to::half_even>;
  static constexpr nan_code nan = nan_code::lowest;
  static constexpr zero_point_place place = zero_point_place::after_rounding;
  static constexpr scale_form form = scale_form::reciprocal;

  /// _calculate_qparams of an affine observer over codes qmin..qmax: float32, eps = FLT_EPSILON, the quotient rounded and then
  /// subtracted. Nothing seen: {1, 0}.
  QUERN_INLINE static constexpr scale_zero_point calculate_qparams(real_range r, std::int32_t qmin, std::int32_t qmax) noexcept {
    if (r.empty()) return {};
    float const min = r.min < 0 ? r.min : 0.0f, max = r.max > 0 ? r.max : 0.0f;
    float scale = (max - min) / static_cast<float>(qmax - qmin);
    if (!(scale > 1.1920928955078125e-07f)) scale = 1.1920928955078125e-07f;
    float const steps = is_inf(scale) ? 0.0f : rounding::to_integral(min / scale);  // infinite: a range that no float is as wide as
    std::int64_t const z = qmin - static_cast<std::int64_t>(clamp(steps, -4e9f, 0.0f));
    return {scale, static_cast<std::int32_t>(clamp<std::int64_t>(z, qmin, qmax))};
  }
  /// The same of a symmetric one: (qmax - qmin) / 2 steps to each side, which is 127.5 for 8 bits. Zero point 0, 128 for quint8, or
  /// floor((qmin + qmax) / 2) of a range of your own.
  QUERN_INLINE static constexpr scale_zero_point calculate_qparams_symmetric(real_range r, std::int32_t qmin, std::int32_t qmax,
                                                                             std::int32_t zero_point) noexcept {
    if (r.empty()) return {};
    float const below = r.min < 0 ? -r.min : 0.0f, above = r.max > 0 ? r.max : 0.0f, largest = below > above ? below : above;
    float const scale = largest / (static_cast<float>(qmax - qmin) / 2);
    return {scale > 1.1920928955078125e-07f ? scale : 1.1920928955078125e-07f, zero_point};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    return calculate_qparams(r, code_of_t<Code>::min, code_of_t<Code>::max);
  }

  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize(float x, affine p) noexcept {
    return static_cast<typename code_of_t<Code>::storage>(clamp<std::int64_t>(
        converted(static_cast<float>(p.zero_point) + rounding::to_integral(rounded(x * (1.0f / p.scale)))), code_of_t<Code>::min, code_of_t<Code>::max));
  }
  /// Embedding weights have a float zero point, inside of the rounding: half_even(x * inverse + zero_point); scale 0 counts as 1.
  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize_float_qparams(float x, float scale, float zero_point) noexcept {
    float const inverse = scale == 0 ? 1.0f : 1.0f / scale;
    return static_cast<typename code_of_t<Code>::storage>(clamp<std::int64_t>(
        converted(rounding::to_integral(rounded(x * inverse) + zero_point)), code_of_t<Code>::min, code_of_t<Code>::max));
  }
  QUERN_INLINE static constexpr float dequantize(std::int32_t q, affine p) noexcept {
    return p.scale * static_cast<float>(static_cast<std::int64_t>(q) - p.zero_point);
  }
  QUERN_INLINE static constexpr float effective_scale(float src, float weight, float dst) noexcept { return rounded(src * weight) / dst; }
  /// quantized::linear's bias: int32 in steps of Sa Sw, by reciprocal.
  QUERN_INLINE static constexpr std::int32_t quantize_bias(float bias, float src, float weight) noexcept {
    return rescale::detail::saturated_int32(rounding::to_integral(rounded(bias * (1.0f / rounded(src * weight)))));
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto output_stage(float src, float weight, affine y, limits l = limits_of<Code>) noexcept {
    return detail::rescale_stage<rescaling>{{effective_scale(src, weight, y.scale)}, y.zero_point, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::pytorch_add<pytorch, Code>{a, b, y, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mul(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::pytorch_mul<Code>{a.zero_point, b.zero_point, rounded(rounded(a.scale * b.scale) * (1.0f / y.scale)), y.zero_point, l};
  }
  /// Of the codes; both sides share their quantization, as the operator has it.
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine, affine, limits l = limits_of<Code>) noexcept {
    return detail::raw_average{l};
  }
  QUERN_INLINE static constexpr std::int32_t relu(std::int32_t q, affine p) noexcept { return q > p.zero_point ? q : p.zero_point; }

  /// fake_quantize_per_tensor_affine: the gradient passes where the unclamped code is within qmin..qmax.
  /// `int64_first`: releases up to 2.1, which turn NaN and infinities into qmin; later ones clamp as floats (NaN to qmin, +inf to qmax).
  QUERN_INLINE static constexpr fake_quantized fake_quantize(float x, affine p, std::int32_t qmin, std::int32_t qmax,
                                                             bool int64_first = true) noexcept {
    float const q = static_cast<float>(p.zero_point) + rounding::to_integral(rounded(x * (1.0f / p.scale)));
    bool const passes = q >= static_cast<float>(qmin) && q <= static_cast<float>(qmax);
    std::int64_t const code = int64_first ? clamp<std::int64_t>(converted(q), qmin, qmax)
                              : is_nan(q) ? qmin
                                          : static_cast<std::int64_t>(clamp(q, static_cast<float>(qmin), static_cast<float>(qmax)));
    return {rounded(static_cast<float>(code - p.zero_point) * p.scale), passes};
  }
  /// _fake_quantize_learnable_per_tensor_affine with the incoming gradient dy. The zero point is a float parameter: the forward pass
  /// rounds it half to even, the backward pass adds 1/2 and truncates (so -71 counts as -70 there), and adds it to the quotient in one
  /// fused operation before it rounds; the error of the scale is fused too (kernels of CPUs with FMA; 1.13). Kept as PyTorch has it.
  QUERN_INLINE static constexpr fake_quantized_learnable fake_quantize_learnable(float x, float scale, float zero_point, std::int32_t qmin,
                                                                                 std::int32_t qmax, float dy = 1) noexcept {
    auto const within = [&](float z) { return static_cast<std::int64_t>(clamp(z, static_cast<float>(qmin), static_cast<float>(qmax))); };
    std::int64_t const forward = within(rounding::to_integral(zero_point)), backward = within(zero_point + 0.5f);
    float const inverse = 1.0f / scale;
    float const value = fake_quantize(x, {scale, static_cast<std::int32_t>(forward)}, qmin, qmax).value;
    std::int64_t const q = converted(rounding::to_integral(detail::fused(x, inverse, static_cast<float>(backward))));
    if (q < qmin) return {value, 0, rounded(dy * static_cast<float>(qmin - backward)), rounded(dy * -scale)};
    if (q > qmax) return {value, 0, rounded(dy * static_cast<float>(qmax - backward)), rounded(dy * -scale)};
    return {value, dy, rounded(rounded(dy * detail::fused(static_cast<float>(q - backward), scale, -x)) * inverse), 0};
  }

 private:
  /// float to int64 as x86 converts: everything outside, NaN included, is the lowest int64.
  QUERN_INLINE static constexpr std::int64_t converted(float v) noexcept {
    constexpr std::int64_t lowest = -0x7fffffffffffffff - 1;
    return v >= -9223372036854775808.0f && v < 9223372036854775808.0f ? static_cast<std::int64_t>(v) : lowest;
  }
};

struct pytorch_onednn : pytorch {
  static constexpr char const* name = "pytorch_onednn";

  /// (1 / Sy) / ((1 / Sx) (1 / Sw)), every operation in float32: oneDNN takes reciprocals.
  QUERN_INLINE static constexpr float effective_scale(float src, float weight, float dst) noexcept {
    return (1.0f / dst) / bias_scale(src, weight);
  }
  /// A float bias in steps of the accumulator is bias * bias_scale.
  QUERN_INLINE static constexpr float bias_scale(float src, float weight) noexcept { return rounded((1.0f / src) * (1.0f / weight)); }
  /// `bias`: a float, in real units.
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto output_stage(float src, float weight, affine y, limits l = limits_of<Code>, float bias = 0) noexcept {
    return detail::onednn_stage{effective_scale(src, weight, y.scale), rounded(bias * bias_scale(src, weight)), static_cast<float>(y.zero_point), l};
  }
};

struct pytorch_fbgemm : pytorch {
  static constexpr char const* name = "pytorch_fbgemm";
  static constexpr nan_code nan = fbgemm::nan;

  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize(float x, affine p) noexcept {
    return fbgemm::quantize<Code>(x, p);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::pytorch_add<pytorch_fbgemm, Code>{a, b, y, l};
  }
};

struct pytorch_qnnpack : pytorch {
  static constexpr char const* name = "pytorch_qnnpack";

  /// @errors scale when the larger ratio is not in [2^-14, 2^8).
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) {
    return detail::fixed_add<22, false>::make(a, b, y, l);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine x, affine y, limits l = limits_of<Code>) noexcept {
    return detail::centred_average{x.scale / y.scale, x.zero_point, y.zero_point, l};
  }
};

}  // namespace quern::convention

QUERN_FP_END
