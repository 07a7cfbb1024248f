// awq.hpp — activation-aware weight quantization: weights that meet large activations are scaled up before rounding, so that
// their relative error is smaller; the activations are scaled down in exchange.
//
//     s_j = mean|x_j|^alpha / sqrt(max s · min s)         Ŵ = Q(W diag(s)) diag(1 / s)
//
// alpha runs over 0, 0.05, ..., 1; the one with the least output error wins. alpha = 0 is plain rounding, so the result never is
// worse. The error is ½ tr((W - Ŵ) H (W - Ŵ)ᵀ), which equals the mean over the calibration samples that H was made from.
//
// @source  Lin et al. 2023, arXiv:2306.00978; clipping of the weights' extremes as in its code (round_options::smallest_shrink).
#pragma once

#include "../core/elementary.hpp"
#include "hessian.hpp"
#include "round_to_nearest.hpp"
#include "smooth.hpp"

namespace quern::compress {

struct awq_options {
  int steps = 20;                 ///< alpha = 0, 1/steps, ..., 1
  float smallest_shrink = 1.0f;   ///< below 1: also search how far a group's extremes are clipped (the paper: 0.5)
};

struct awq_result {
  quantized_weights weights;   ///< of W diag(s): run them on x / s
  buffer<float> scales;        ///< s, one an input
  double alpha = 0;
  double error = 0;            ///< ½ tr(D H Dᵀ) for D = W - Ŵ
  double rounded_error = 0;    ///< the same for alpha = 0
};

inline namespace QUERN_ABI {

/// `mean_absolute` is mean|x_j| of each input over the calibration data. @errors shape; argument.
inline awq_result awq(matrix_view<float const> w, vector_view<float const> mean_absolute, row_major_matrix const& h, weight_grid grid,
                      awq_options options = {}) {
  check_grid("awq", grid);
  check_weights("awq", w);
  if (mean_absolute.size != w.cols || h.rows() != w.cols || h.cols() != w.cols)
    fail(errc::shape, "awq: the weights have ", w.cols, " inputs, the activations ", mean_absolute.size, " channels, the Hessian ",
         static_cast<index_t>(h.rows()), " rows; they must be equal.");
  if (options.steps < 1) fail(errc::argument, "awq: steps is ", options.steps, "; it must be at least 1.");
  for (index_t j = 0; j < w.cols; ++j)
    if (!(mean_absolute[j] >= 0) || !is_finite(mean_absolute[j]))
      fail(errc::argument, "awq: mean|x| of channel ", j, " is ", static_cast<double>(mean_absolute[j]), "; it must be finite and not negative.");
  awq_result best;
  buffer<float> importance(w.cols);
  int const tries = options.smallest_shrink < 1 ? 2 : 1;  // each alpha without clipping first, then with
  for (int step = 0; step <= options.steps; ++step) {
    double const alpha = static_cast<double>(step) / options.steps;
    buffer<float> s(w.cols, 1.0f);
    if (step > 0) {
      double low = __builtin_inf(), high = 0;
      buffer<double> exact(w.cols);
      for (index_t j = 0; j < w.cols; ++j) {
        exact[j] = pow_of(mean_absolute[j] > 1e-4f ? mean_absolute[j] : 1e-4f, alpha);
        low = exact[j] < low ? exact[j] : low;
        high = exact[j] > high ? exact[j] : high;
      }
      for (index_t j = 0; j < w.cols; ++j) s[j] = static_cast<float>(exact[j] / sqrt_of(high * low));
    }
    for (index_t j = 0; j < w.cols; ++j) importance[j] = h(j, j) / (s[j] * s[j]);  // an error of w s counts 1 / s in w
    for (int t = 0; t < tries; ++t) {
      row_major_matrix scaled = copy_of(w);
      for (index_t j = 0; j < w.cols; ++j) scaled.col(j) *= s[j];
      quantized_weights q = round_to_nearest({scaled.data(), w.rows, w.cols, w.cols, 1}, grid,
                                             {.smallest_shrink = t == 0 ? 1.0f : options.smallest_shrink, .importance = view(importance)});
      for (index_t i = 0; i < w.rows; ++i)  // D = W - Ŵ
        for (index_t j = 0; j < w.cols; ++j) scaled(i, j) = w(i, j) - q(i, j) / s[j];
      double const error = 0.5 * (scaled * h).cast<double>().cwiseProduct(scaled.cast<double>()).sum();
      if (step == 0 && t == 0) best.rounded_error = error;
      if ((step == 0 && t == 0) || error < best.error) {
        best.weights = q;
        best.scales = s;
        best.alpha = alpha;
        best.error = error;
      }
    }
  }
  return best;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress
