// bias_correction.hpp — quantizing weights shifts a layer's mean output; the bias takes the shift back.
//
//     E[ŷ - y] = (Ŵ - W) E[x]          b ← b - (Ŵ - W) E[x]
//
// E[x] is measured (empirical) or follows from the batch normalization before the activation (analytic): the pre-activation of
// channel c is N(β, γ²), so with the standard normal density φ and distribution Φ
//
//     relu    E = γ φ(β/γ) + β Φ(β/γ)
//     clip at u (ReLU6: 6)    E = relu's - [γ φ((u-β)/γ) - (u - β) Φ(-(u-β)/γ)]
//
// @source  Nagel et al. 2019, arXiv:1906.04721, section 4.3 and appendix C.
#pragma once

#include "../core/elementary.hpp"
#include "quantized_weights.hpp"

QUERN_FP_BEGIN

namespace quern::compress {
inline namespace QUERN_ABI {

/// The mean of max(0, N(mean, deviation²)), and with an upper clip (positive; infinity for none) of min(that, clip).
inline double mean_after_relu(double mean, double deviation, double clip = __builtin_inf()) noexcept {
  auto const clipped_at = [](double value) { return value > 0 ? value : 0.0; };
  if (deviation == 0) return mean > clip ? clip : clipped_at(mean);
  double const gamma = abs_of(deviation);
  auto const excess = [gamma](double z) {  // E[max(0, N(z γ, γ²))]
    return gamma * (0.39894228040143267794 * exp_of(-0.5 * z * z) + rounded(z * 0.5 * erfc_of(-z * 0.70710678118654752440)));
  };
  double const whole = excess(mean / gamma);
  return is_inf(clip) ? whole : whole - excess((mean - clip) / gamma);
}

/// mean_after_relu for each channel of a batch normalization with shift beta and gain gamma. @errors shape.
inline buffer<float> expected_inputs(vector_view<float const> beta, vector_view<float const> gamma, double clip = __builtin_inf()) {
  if (beta.size != gamma.size)
    fail(errc::shape, "expected_inputs: there are ", beta.size, " shifts and ", gamma.size, " gains; they must be equal.");
  buffer<float> mean(beta.size);
  for (index_t c = 0; c < beta.size; ++c) mean[c] = static_cast<float>(mean_after_relu(beta[c], gamma[c], clip));
  return mean;
}

/// The mean of each column of the calibration data (samples in rows). @errors argument for no sample or non-finite values.
inline buffer<float> column_means(matrix_view<float const> x) {
  if (x.rows == 0) fail(errc::argument, "column_means: there is no sample; the empirical correction needs calibration data.");
  check_weights("column_means", x);
  buffer<float> mean(x.cols);
  for (index_t j = 0; j < x.cols; ++j) {
    double sum = 0;
    for (index_t i = 0; i < x.rows; ++i) sum += x(i, j);
    mean[j] = static_cast<float>(sum / static_cast<double>(x.rows));
  }
  return mean;
}

/// b -= (Ŵ - W) E[x]. @errors shape.
inline void correct_bias(matrix_view<float const> w, quantized_weights const& q, vector_view<float const> mean_input, vector_view<float> bias) {
  if (q.rows != w.rows || q.cols != w.cols || mean_input.size != w.cols || bias.size != w.rows)
    fail(errc::shape, "correct_bias: ", w.rows, " x ", w.cols, " weights, ", q.rows, " x ", q.cols, " quantized ones, ", mean_input.size,
         " mean inputs and ", bias.size, " biases do not fit.");
  for (index_t i = 0; i < w.rows; ++i) {
    double shift = 0;
    for (index_t j = 0; j < w.cols; ++j) shift += rounded((static_cast<double>(q(i, j)) - w(i, j)) * mean_input[j]);
    bias[i] = static_cast<float>(bias[i] - shift);
  }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END
