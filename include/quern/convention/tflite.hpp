// tflite.hpp — TensorFlow Lite, LiteRT and TFLite Micro; and CMSIS-NN and gemmlowp, which share their arithmetic.
//
//     real = scale * (q - zero_point);   quantize: round(x / scale) + zero_point, ties away from zero
//     accumulators: a 31-bit multiplier and a shift from S_in * S_w / S_out in double
//
// "TensorFlow Lite" is four arithmetics; each has a type, because the same model may differ by one between them:
//
//     tflite           reference kernels, TFLite Micro: two roundings (gemmlowp_double) everywhere
//     tflite_single    built with TFLITE_SINGLE_ROUNDING: one rounding everywhere
//     tflite_ruy       desktop CPU kernels: convolution, fully connected and matmul through ruy (one rounding), elementwise with two
//     tflite_xnnpack   the default delegate: XNNPACK's float requantization (convention/xnnpack.hpp)
//     cmsis_nn         as tflite, with a high multiply that does not saturate; cmsis_nn_single: CMSIS_NN_USE_SINGLE_ROUNDING
//     gemmlowp         the library itself: its own rule for ranges, and the zero point inside of quantize's rounding
//
// quantize of NaN and of |x / scale| >= 2^31 is undefined in TFLite; here it gives the lowest code, and saturates.
// Sources: tensorflow/lite/kernels/internal/{quantization_util.cc,common.cc,reference/quantize.h,reference/dequantize.h},
// tensorflow/lite/kernels/internal/reference/portable_tensor_utils.cc, google/gemmlowp doc/quantization_example.cc,
// ARM-software/CMSIS-NN Include/arm_nnsupportfunctions.h.
#pragma once

#include "../core/elementary.hpp"
#include "../fixed_point/activation.hpp"
#include "../fixed_point/normalize.hpp"
#include "../fixed_point/softmax.hpp"
#include "convention.hpp"

QUERN_FP_BEGIN

namespace quern::convention {

/// A scale in double, as TFLite's tools hold it before it is stored as float.
struct real_params {
  double scale = 0;
  std::int32_t zero_point = 0;
};

/// NudgeQuantizationRange, for fake quantization: a float range that holds 0.0 on its grid.
struct nudged_range {
  float min = 0, max = 0, scale = 0;

  /// fake_quantize: the value that survives quantization to this range.
  QUERN_INLINE constexpr float operator()(float x) const noexcept {
    float const inverse = 1.0f / scale, c = clamp(x, min, max);
    return rounded(round_to::half_away::to_integral(rounded((c - min) * inverse)) * scale) + min;
  }
};

/// Codes of a tensor quantized at run time (hybrid kernels): q = ... * inverse; scale is what dequantizes.
struct hybrid_params {
  float scale = 1, inverse = 1;
  std::int32_t zero_point = 0;
};

/// Average of codes, ties away; the quantization of both sides is the same by contract.
struct integer_average {
  limits clamped{};
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t sum, std::int32_t n) const noexcept {
    return clamp(fixed_point::rounded_average(sum, n), clamped.min, clamped.max);
  }
};

/// y[byte(q)] for the 256 codes of an 8-bit type, indexed by the code's bits.
template <class Code>
struct code_table {
  typename code_of_t<Code>::storage value[256] = {};
  QUERN_INLINE constexpr typename code_of_t<Code>::storage operator()(typename code_of_t<Code>::storage q) const noexcept {
    return value[static_cast<std::uint8_t>(q)];
  }
};

/// `Accumulator` rescales matrix products, `Element` everything else.
template <class Accumulator, class Element = Accumulator>
struct tflite_with {
  using rounding = round_to::half_away;
  using rescaling = Accumulator;
  using element_rescaling = Element;
  static constexpr nan_code nan = nan_code::lowest;
  static constexpr zero_point_place place = zero_point_place::after_rounding;
  static constexpr scale_form form = scale_form::divide;

  /// ChooseQuantizationParams<T>(rmin, rmax, narrow), in double: of the two ends' zero points the one with the smaller error, the
  /// maximum's on a tie; rounded half away. rmin <= 0 <= rmax; rmin == rmax (both 0) gives scale 0, zero point 0.
  template <quantized_code Code>
  QUERN_INLINE static constexpr real_params choose_quantization_params(double rmin, double rmax, bool narrow = false) noexcept {
    double const qmin = code_of_t<Code>::min + (narrow ? 1 : 0), qmax = code_of_t<Code>::max;
    if (rmin == rmax) return {};
    double const scale = (rmax - rmin) / (qmax - qmin);
    double const from_min = qmin - rmin / scale, from_max = qmax - rmax / scale;
    bool const min_is_better = abs_of(qmin) + abs_of(rmin / scale) < abs_of(qmax) + abs_of(rmax / scale);
    double const z = min_is_better ? from_min : from_max;
    return {scale, static_cast<std::int32_t>(z > qmin ? z > qmax ? qmax : rounding::to_integral(z) : qmin)};  // NaN of infinite ends: qmin
  }
  /// The same with the range extended to hold 0.0 and the scale stored as float.
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    auto const p = choose_quantization_params<Code>(r.min < 0 ? static_cast<double>(r.min) : 0.0, r.max > 0 ? static_cast<double>(r.max) : 0.0);
    return {static_cast<float>(p.scale), p.zero_point};
  }
  /// The converter's scale of weights: symmetric, -127..127; 1 for a channel of zeros, whose codes are all 0.
  QUERN_INLINE static constexpr float choose_weight_scale(float largest_magnitude) noexcept {
    float const scale = largest_magnitude / 127.0f;  // 0 where the channel's values are subnormal
    return scale > 0 ? scale : 1.0f;
  }
  QUERN_INLINE static constexpr nudged_range nudge(float min, float max, std::int32_t qmin, std::int32_t qmax) noexcept {
    float const lo = static_cast<float>(qmin), hi = static_cast<float>(qmax), scale = (max - min) / (hi - lo);
    float const from_min = lo - min / scale;
    float const zero = from_min < lo ? lo : from_min > hi ? hi : rounding::to_integral(from_min);
    return {rounded((lo - zero) * scale), rounded((hi - zero) * scale), scale};
  }

  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize(float x, affine p) noexcept {
    return static_cast<typename code_of_t<Code>::storage>(detail::rounded_code<rounding>(
        x / p.scale, p.zero_point, limits_of<Code>, detail::code_of_nan<Code>(nan, p.zero_point)));
  }
  /// In double, one rounding to float. Per-channel tensors use dequantize_channel.
  QUERN_INLINE static constexpr float dequantize(std::int32_t q, affine p) noexcept {
    return static_cast<float>(static_cast<double>(p.scale) * static_cast<double>(static_cast<std::int64_t>(q) - p.zero_point));
  }
  QUERN_INLINE static constexpr float dequantize_channel(std::int32_t q, affine p) noexcept {
    return p.scale * static_cast<float>(q - p.zero_point);
  }

  /// Symmetric dynamic quantization of a row with this largest magnitude: codes -127..127.
  QUERN_INLINE static constexpr hybrid_params choose_hybrid(float largest_magnitude) noexcept {
    if (largest_magnitude == 0) return {1, 0, 0};
    return {largest_magnitude / 127.0f, 127.0f / largest_magnitude, 0};
  }
  QUERN_INLINE static constexpr std::int8_t quantize_hybrid(float x, hybrid_params p) noexcept {
    return static_cast<std::int8_t>(detail::rounded_code<rounding>(rounded(x * p.inverse), 0, {-127, 127}, -127));
  }
  /// Asymmetric: the range in double, the inverse from the float scale, and the zero point inside of the rounding.
  QUERN_INLINE static constexpr hybrid_params choose_hybrid_asymmetric(float min, float max) noexcept {
    double const rmin = min < 0 ? static_cast<double>(min) : 0.0, rmax = max > 0 ? static_cast<double>(max) : 0.0;
    if (rmin == rmax) return {1, 0, 0};
    double const scale = (rmax - rmin) / 255.0;
    double const from_min = -128 - rmin / scale, from_max = 127 - rmax / scale;
    double const z = 128 + abs_of(rmin / scale) < 127 + abs_of(rmax / scale) ? from_min : from_max;
    auto const zero = static_cast<std::int32_t>(z > -128 ? z >= 127 ? 127 : rounding::to_integral(z) : -128);
    return {static_cast<float>(scale), 1.0f / static_cast<float>(scale), zero};
  }
  QUERN_INLINE static constexpr std::int8_t quantize_hybrid_asymmetric(float x, hybrid_params p) noexcept {
    float const v = static_cast<float>(p.zero_point) + rounded(x * p.inverse);
    return static_cast<std::int8_t>(detail::rounded_code<rounding>(v, 0, {-128, 127}, -128));
  }

  /// S_in * S_w / S_out in double, left to right.
  QUERN_INLINE static constexpr double effective_scale(float src, float weight, float dst) noexcept {
    return static_cast<double>(src) * static_cast<double>(weight) / static_cast<double>(dst);
  }
  /// GetQuantizedConvolutionMultipler (uint8 and per-tensor fully connected): the product is rounded to float first.
  QUERN_INLINE static constexpr double effective_scale_legacy(float src, float weight, float dst) noexcept {
    return static_cast<double>(rounded(src * weight)) / static_cast<double>(dst);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto output_stage(float src, float weight, affine y, limits l = limits_of<Code>) {
    return detail::rescale_stage<Accumulator>{Accumulator::from_real(effective_scale(src, weight, y.scale)), y.zero_point, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto requantize(affine x, affine y, limits l = limits_of<Code>) {
    return fixed_point::requantize<Element>::make(x, y, l);
  }

  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) {
    return fixed_point::add<Element>::make(a, b, y, l, code_of_t<Code>::bits > 8 ? 15 : 20);
  }
  /// `micro`: TFLite Micro takes the scale ratios of SUB in float32; the desktop kernels in double.
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto sub(affine a, affine b, affine y, limits l = limits_of<Code>, bool micro = true) {
    return fixed_point::sub<Element>::make(a, b, y, l, code_of_t<Code>::bits > 8 ? 15 : 20, micro);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mul(affine a, affine b, affine y, limits l = limits_of<Code>) {
    return fixed_point::mul<Element>::make(a, b, y, l);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine, affine, limits l = limits_of<Code>) noexcept {
    return integer_average{l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mean(affine x, affine y, std::int64_t count, limits l = limits_of<Code>) {
    return fixed_point::reduction<Element>::make(x, y, count, true, l);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto leaky_relu(affine x, affine y, float alpha, limits l = limits_of<Code>) {
    return fixed_point::leaky_relu<Element>::make(x, y, alpha, l);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto hard_swish(affine x, affine y, limits l = limits_of<Code>) {
    return fixed_point::hard_swish::make(x, y, l);
  }
  /// int8 by integer arithmetic (TFLite Micro); the destination is 1/256, -128 and 1/128, 0. Desktop TFLite: table().
  QUERN_INLINE static constexpr auto logistic(affine x) {
    return fixed_point::sigmoid8<Element>::make(x.scale, x.zero_point, fixed_point::sigmoid_kind::logistic);
  }
  QUERN_INLINE static constexpr auto tanh(affine x) {
    return fixed_point::sigmoid8<Element>::make(x.scale, x.zero_point, fixed_point::sigmoid_kind::tanh);
  }
  QUERN_INLINE static constexpr auto logistic16(float src_scale) {
    return fixed_point::sigmoid16::make(src_scale, fixed_point::sigmoid_kind::logistic);
  }
  QUERN_INLINE static constexpr auto tanh16(float src_scale) {
    return fixed_point::sigmoid16::make(src_scale, fixed_point::sigmoid_kind::tanh);
  }
  /// Rows of int8 to int8 (1/256, -128) or int16 (1/32768, -32768); softmax16: int16 to int16 (1/32768, 0).
  QUERN_INLINE static constexpr auto softmax(float src_scale, float beta = 1) {
    return fixed_point::softmax8<Element>::make(src_scale, beta);
  }
  QUERN_INLINE static constexpr auto softmax16(float src_scale, float beta = 1) {
    return fixed_point::softmax16<Element>::make(src_scale, beta);
  }
  QUERN_INLINE static constexpr auto l2_normalize(std::int32_t src_zero_point) {
    return fixed_point::l2_normalize<Element>{src_zero_point};
  }

  /// LUTPopulateInt8: any function of a float, evaluated once a code; f32 everywhere, RHA, the zero point added as float.
  template <quantized_code Code, class F>
  QUERN_INLINE static constexpr code_table<Code> table(affine x, affine y, F const& f) {
    static_assert(code_of_t<Code>::bits == 8, "quern: a table has 256 entries, for 8-bit codes.");
    code_table<Code> t;
    float const inverse = 1.0f / y.scale;
    for (std::int32_t q = code_of_t<Code>::min; q <= code_of_t<Code>::max; ++q) {
      float const d = rounded(x.scale * static_cast<float>(q - x.zero_point));
      float const r = rounding::to_integral(rounded(f(d) * inverse)) + static_cast<float>(y.zero_point);
      t.value[static_cast<std::uint8_t>(q)] = static_cast<typename code_of_t<Code>::storage>(
          detail::rounded_code<round_to::toward_zero>(r, 0, limits_of<Code>, detail::code_of_nan<Code>(nan, y.zero_point)));
    }
    return t;
  }
  /// LUTPopulateInt16: 513 samples and interpolation.
  template <class F>
  QUERN_INLINE static constexpr auto table16(affine x, affine y, F const& f) {
    return fixed_point::interpolated_table::make(x.scale, x.zero_point, y.scale, y.zero_point, f);
  }
};

struct tflite : tflite_with<rescale::gemmlowp_double> {
  static constexpr char const* name = "tflite";
};
struct tflite_single : tflite_with<rescale::tflite_single> {
  static constexpr char const* name = "tflite_single";
};
struct tflite_ruy : tflite_with<rescale::tflite_single, rescale::gemmlowp_double> {
  static constexpr char const* name = "tflite_ruy";
};
struct cmsis_nn : tflite_with<rescale::cmsis_nn> {
  static constexpr char const* name = "cmsis_nn";
};
struct cmsis_nn_single : tflite_with<rescale::tflite_single> {
  static constexpr char const* name = "cmsis_nn_single";
};

/// gemmlowp's own pipeline for uint8.
struct gemmlowp : tflite_with<rescale::gemmlowp_double> {
  static constexpr char const* name = "gemmlowp";
  static constexpr zero_point_place place = zero_point_place::before_rounding;

  /// The range is extended to hold 0.0; (max - min) / 255 in float, the rest in double; the zero point from the minimum.
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    float const min = r.min < 0 ? r.min : 0.0f, max = r.max > 0 ? r.max : 0.0f;
    float const qmin = static_cast<float>(code_of_t<Code>::min), qmax = static_cast<float>(code_of_t<Code>::max);
    double const scale = static_cast<double>((max - min) / (qmax - qmin)), lo = static_cast<double>(qmin), hi = static_cast<double>(qmax);
    if (scale == 0) return {0, 0};
    double const z = lo - static_cast<double>(min) / scale;
    return {static_cast<float>(scale), static_cast<std::int32_t>(z > lo ? z > hi ? hi : rounding::to_integral(z) : lo)};
  }
  /// round(clamp(zero_point + x / scale)).
  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize(float x, affine p) noexcept {
    return static_cast<typename code_of_t<Code>::storage>(detail::rounded_code<rounding>(
        static_cast<float>(p.zero_point) + x / p.scale, 0, limits_of<Code>, detail::code_of_nan<Code>(nan, p.zero_point)));
  }
  QUERN_INLINE static constexpr float dequantize(std::int32_t q, affine p) noexcept {
    return p.scale * static_cast<float>(q - p.zero_point);
  }

  /// OutputStageQuantizeDownInt32ByFixedPoint: srdhm, rounding shift, offset.
  QUERN_INLINE static constexpr std::int32_t quantize_down_by_fixed_point(std::int32_t acc, std::int32_t multiplier, int right_shift,
                                                                          std::int32_t offset) noexcept {
    return wrap32(static_cast<std::int64_t>(rescale::rounding_divide_by_pot(rescale::srdhm(acc, multiplier), right_shift)) + offset);
  }
  /// OutputStageScaleInt32ByFixedPointAndExponent: a positive exponent shifts left before the multiply.
  QUERN_INLINE static constexpr std::int32_t scale_by_fixed_point_and_exponent(std::int32_t acc, std::int32_t multiplier, int exponent,
                                                                               std::int32_t offset) noexcept {
    return wrap32(static_cast<std::int64_t>(rescale::gemmlowp_double::apply(acc, {multiplier, exponent})) + offset);
  }
  /// OutputStageQuantizeDownInt32ToUint8Scale, the one before fixed point: (acc + offset) * multiplier / 2^shift, ties away from
  /// zero. (Its comment promises `+ 2^(shift-1) >> shift`, ties up; its code is this, and so is what it computes.)
  QUERN_INLINE static constexpr std::int32_t quantize_down_by_integer(std::int32_t acc, std::int32_t offset, std::int32_t multiplier,
                                                                      int shift) noexcept {
    std::int32_t const product = wrap32(static_cast<std::int64_t>(wrap32(static_cast<std::int64_t>(acc) + offset)) * multiplier);
    return rescale::rounding_divide_by_pot(product, shift);
  }
};

}  // namespace quern::convention

QUERN_FP_END
