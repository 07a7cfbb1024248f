// tflite.hpp — TensorFlow Lite's quantization utilities and element functions under their own names.
//
// The layers are quern's (ops/*.hpp with fixed_point/), in the arithmetic of convention::tflite and its variants; these are the
// functions that people port by name. @source tensorflow/lite/kernels/internal/{quantization_util,common}.{h,cc}.
#pragma once

#include "onnx.hpp"

namespace quern::tflite {
inline namespace QUERN_ABI {

/// QuantizeMultiplier(double, &multiplier, &shift); `single_rounding`: as built with TFLITE_SINGLE_ROUNDING.
constexpr rescale::multiplier_shift quantize_multiplier(double scale, bool single_rounding = false) noexcept {
  return single_rounding ? rescale::quantize_multiplier_single_rounding(scale) : rescale::quantize_multiplier(scale);
}
/// QuantizeMultiplierSmallerThanOneExp and QuantizeMultiplierGreaterThanOne: the same within their ranges.
/// @errors argument when `scale` is not within (0, 1), or not above 1.
constexpr rescale::multiplier_shift quantize_multiplier_smaller_than_one_exp(double scale) {
  if (!(scale > 0 && scale < 1)) fail(errc::argument, "quantize_multiplier_smaller_than_one_exp: the scale is ", scale, "; it must be within (0, 1).");
  return rescale::quantize_multiplier(scale);
}
constexpr rescale::multiplier_shift quantize_multiplier_greater_than_one(double scale) {
  if (!(scale > 1) || !is_finite(scale)) fail(errc::argument, "quantize_multiplier_greater_than_one: the scale is ", scale, "; it must be finite and above 1.");
  return rescale::quantize_multiplier(scale);
}

/// MultiplyByQuantizedMultiplier of int32 accumulators, and of int64 ones (|x| < 2^47, a 16-bit multiplier inside).
QUERN_INLINE constexpr std::int32_t multiply_by_quantized_multiplier(std::int32_t x, std::int32_t multiplier, std::int32_t shift,
                                                                     bool single_rounding = false) noexcept {
  return single_rounding ? rescale::tflite_single::apply(x, {multiplier, shift}) : rescale::gemmlowp_double::apply(x, {multiplier, shift});
}
QUERN_INLINE constexpr std::int32_t multiply_by_quantized_multiplier(std::int64_t x, std::int32_t multiplier, std::int32_t shift) noexcept {
  return rescale::tflite_s64::apply(x, rescale::tflite_s64::from_multiplier({multiplier, shift}));
}

/// ChooseQuantizationParams<T>(rmin, rmax, narrow_range). rmin <= 0 <= rmax. @errors argument otherwise.
template <class T>
constexpr convention::real_params choose_quantization_params(double rmin, double rmax, bool narrow_range = false) {
  if (!(rmin <= 0 && rmax >= 0)) fail(errc::argument, "choose_quantization_params: the range is ", rmin, " to ", rmax, "; it must hold 0.");
  return convention::tflite::choose_quantization_params<code_of_t<T>>(rmin, rmax, narrow_range);
}

/// CalculateInputRadius: floor((2^bits - 1) * 2^(total - bits) / 2^shift), the largest input of a fixed-point function.
constexpr std::int32_t calculate_input_radius(int input_integer_bits, int input_left_shift, int total_signed_bits = 31) noexcept {
  double const largest = ldexp_of(static_cast<double>((std::int64_t{1} << input_integer_bits) - 1), total_signed_bits - input_integer_bits);
  return static_cast<std::int32_t>(floor_of(ldexp_of(largest, -input_left_shift)));
}

/// PreprocessSoftmaxScaling: the multiplier of softmax's input, in Q(integer_bits).
constexpr rescale::multiplier_shift preprocess_softmax_scaling(double beta, double input_scale, int input_integer_bits, bool single_rounding = false) noexcept {
  double const scaled = ldexp_of(beta * input_scale, 31 - input_integer_bits), cap = single_rounding ? 1073741823.0 : 2147483647.0;
  return quantize_multiplier(scaled < cap ? scaled : cap, single_rounding);
}

/// Quantize, Dequantize and Requantize of whole tensors; the first two with one scale and zero point, or one for each index of `axis`,
/// whose reals are products of floats. @errors shape, null, argument (axis), scale, zero_point.
template <quantized_code Code>
void quantize(nd_view<float const> x, onnx::operand const& p, int axis, nd_view<typename code_of_t<Code>::storage> y, isa max_isa = isa::best) {
  quern::detail::for_each_channel<Code>("quantize", x, p, axis, y, [&](index_t first, index_t count, convention::affine c) {
    quantize_as<convention::tflite, Code>(view(x.data + first, count), c, view(y.data + first, count), max_isa);
  });
}
template <quantized_code Code>
void quantize(nd_view<float const> x, convention::affine p, nd_view<typename code_of_t<Code>::storage> y, isa max_isa = isa::best) {
  quantize<Code>(x, {p.scale, p.zero_point}, -1, y, max_isa);
}
template <class T>
void dequantize(nd_view<T> q, onnx::operand const& p, int axis, nd_view<float> y) {
  quern::detail::for_each_channel<s32>("dequantize", q, p, axis, y, [&](index_t first, index_t count, convention::affine c) {
    for (index_t i = first; i < first + count; ++i) y.data[i] = convention::tflite::dequantize_channel(q.data[i], c);
  });
}
template <class T>
void dequantize(nd_view<T> q, convention::affine p, nd_view<float> y) {
  quern::detail::for_each_channel<s32>("dequantize", q, {p.scale, p.zero_point}, -1, y, [&](index_t first, index_t count, convention::affine c) {
    dequantize_as<convention::tflite>(view(q.data + first, count), c, view(y.data + first, count));
  });
}
template <class Rescale = rescale::gemmlowp_double, class X, class Y>
void requantize(nd_view<X> x, convention::affine px, nd_view<Y> y, convention::affine py, isa max_isa = isa::best) {
  quern::detail::check_affine("requantize", "x", px, convention::limits_of<code_of_t<X>>);
  quern::detail::check_affine("requantize", "y", py, convention::limits_of<code_of_t<Y>>);
  unary(x, y, fixed_point::requantize<Rescale>::make(px, py, convention::limits_of<code_of_t<Y>>), max_isa);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::tflite
