// adaround.hpp — learn for each weight whether it is rounded up or down, so that the layer's output changes least.
//
//     ŵ = scale * (clip(floor(w / scale) + h(v)) - zero)         h(v) = clip(σ(v) (ζ - γ) + γ, 0, 1), ζ 1.1, γ -0.1
//     minimize  ½ tr(D H Dᵀ) / ½ tr(D₀ H D₀ᵀ) + λ Σ (1 - |2 h - 1|^β) / size        D₀: plain rounding's error
//
// by Adam over all v at once; β goes from 20 down to 2, so that h is pressed towards 0 and 1 at the end. The Hessian replaces batches
// of inputs: its gradient is the mean over all of them. Afterwards single flips (up to down or back) that lower the error are taken
// until there are none: the result is a local optimum. A row that ends up worse than plain rounding keeps plain rounding.
//
// @source  Nagel et al. 2020, arXiv:2004.10568.
#pragma once

#include "../core/elementary.hpp"
#include "hessian.hpp"
#include "round_to_nearest.hpp"

QUERN_FP_BEGIN

namespace quern::compress {

struct adaround_options {
  int iterations = 400;
  double learning_rate = 0.03;
  double lambda = 1;            ///< weight of the regularizer
  double warm_up = 0.2;         ///< share of the iterations without it
  double beta_start = 20, beta_end = 2;
};

struct adaround_result {
  quantized_weights weights;
  double error = 0, rounded_error = 0;   ///< ½ tr(D H Dᵀ)
  index_t rows_rounded = 0;              ///< rows that kept plain rounding
};

inline namespace QUERN_ABI {

/// @cost   iterations × rows × cols² multiply-adds. @errors shape; argument.
inline adaround_result adaround(matrix_view<float const> w, row_major_matrix const& h, weight_grid grid, adaround_options options = {}) {
  check_grid("adaround", grid);
  check_weights("adaround", w);
  if (h.rows() != w.cols || h.cols() != w.cols)
    fail(errc::shape, "adaround: the Hessian is ", static_cast<index_t>(h.rows()), " x ", static_cast<index_t>(h.cols()), ", the weights have ", w.cols, " inputs; they must be equal.");
  if (options.iterations < 1 || !(options.learning_rate > 0))
    fail(errc::argument, "adaround: iterations is ", options.iterations, " and learning_rate ", options.learning_rate, "; both must be positive.");
  adaround_result r;
  r.weights = round_to_nearest(w, grid);
  if (w.empty()) return r;
  quantized_weights& q = r.weights;
  using matrix = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  constexpr float zeta = 1.1f, gamma = -0.1f;
  matrix low(w.rows, w.cols), v(w.rows, w.cols), m = matrix::Zero(w.rows, w.cols), s = m, d(w.rows, w.cols), gradient, soft;
  for (index_t i = 0; i < w.rows; ++i)
    for (index_t j = 0; j < w.cols; ++j) {
      float const x = w(i, j) / q.scale(i, j), below = floor_of(x);
      low(i, j) = below + q.zero(i, j);
      float const start = (x - below - gamma) / (zeta - gamma);  // h(v) = the fraction: the soft weight is the weight itself
      v(i, j) = static_cast<float>(log_of(start / (1.0f - start)));
      d(i, j) = w(i, j) - q(i, j);
    }
  Eigen::ArrayXd rounded_errors(w.rows), errors(w.rows);
  auto const rate = [&](Eigen::ArrayXd& into) {
    row_major_matrix const product = d.matrix() * h;
    into = 0.5 * product.cast<double>().cwiseProduct(d.matrix().cast<double>()).rowwise().sum().array();
    return product;
  };
  rate(rounded_errors);
  double const scale_of_error = rounded_errors.sum() > 0 ? rounded_errors.sum() : 1.0;
  float const bottom = static_cast<float>(grid.bottom()), top = static_cast<float>(grid.top());
  for (int k = 1; k <= options.iterations; ++k) {
    double const progress = static_cast<double>(k) / options.iterations;
    double const late = progress <= options.warm_up ? 0 : (progress - options.warm_up) / (1 - options.warm_up);
    double const beta = options.beta_start + (options.beta_end - options.beta_start) * late;
    matrix const sigmoid = (1 + (-v).exp()).inverse();
    soft = (sigmoid * (zeta - gamma) + gamma).max(0.0f).min(1.0f);
    matrix const slope = (soft > 0.0f && soft < 1.0f).select(sigmoid * (1 - sigmoid) * (zeta - gamma), 0.0f);
    matrix inside(w.rows, w.cols);
    for (index_t i = 0; i < w.rows; ++i)
      for (index_t j = 0; j < w.cols; ++j) {
        float const code = low(i, j) + soft(i, j), kept = code < bottom ? bottom : code > top ? top : code;
        inside(i, j) = code == kept ? -q.scale(i, j) : 0.0f;
        d(i, j) = w(i, j) - q.scale(i, j) * (kept - q.zero(i, j));
      }
    gradient = (d.matrix() * h).array() * inside * slope * static_cast<float>(1 / scale_of_error);
    if (late > 0) {
      matrix const centred = 2 * soft - 1;
      float const weight = static_cast<float>(-2 * options.lambda * beta / static_cast<double>(w.cols));
      gradient += weight * centred.sign() * centred.abs().pow(static_cast<float>(beta - 1)) * slope;
    }
    float const c1 = static_cast<float>(1 - pow_of(0.9, k)), c2 = static_cast<float>(1 - pow_of(0.999, k));
    m = 0.9f * m + 0.1f * gradient;
    s = 0.999f * s + 0.001f * gradient.square();
    v -= static_cast<float>(options.learning_rate) * (m / c1) / ((s / c2).sqrt() + 1e-12f);
  }
  soft = ((1 + (-v).exp()).inverse() * (zeta - gamma) + gamma);
  buffer<std::int8_t> codes(w.rows * w.cols);
  auto const clipped = [&](float code) { return code < bottom ? bottom : code > top ? top : code; };
  auto const assign = [&](index_t i, index_t j, bool up) {
    float const code = clipped(low(i, j) + (up ? 1.0f : 0.0f));
    codes[i * w.cols + j] = static_cast<std::int8_t>(code);
    d(i, j) = w(i, j) - q.scale(i, j) * (code - q.zero(i, j));
  };
  for (index_t i = 0; i < w.rows; ++i)
    for (index_t j = 0; j < w.cols; ++j) assign(i, j, soft(i, j) >= 0.5f);
  Eigen::RowVectorXf slope(w.cols);
  for (index_t i = 0; i < w.rows; ++i) {
    slope = d.matrix().row(i) * h;
    for (index_t flips = 0; flips < 4 * w.cols; ++flips) {  // the best flip each time; d changes by s: ½ s² H_jj + s slope_j
      index_t best = -1;
      float gain = -1e-6f * static_cast<float>(rounded_errors(i)), best_step = 0;
      for (index_t j = 0; j < w.cols; ++j) {
        float const now = static_cast<float>(codes[i * w.cols + j]), down = clipped(low(i, j)), up = clipped(low(i, j) + 1);
        float const step = q.scale(i, j) * (now - (now == down ? up : down));
        float const change = step * (slope(j) + 0.5f * step * h(j, j));
        if (change < gain) gain = change, best = j, best_step = step;
      }
      if (best < 0) break;
      assign(i, best, static_cast<float>(codes[i * w.cols + best]) == clipped(low(i, best)));
      slope += best_step * h.row(best);
    }
  }
  rate(errors);
  for (index_t i = 0; i < w.rows; ++i) {
    r.rounded_error += rounded_errors(i);
    if (!(errors(i) < rounded_errors(i))) {
      ++r.rows_rounded;
      r.error += rounded_errors(i);
      continue;
    }
    r.error += errors(i);
    for (index_t j = 0; j < w.cols; ++j) q.codes[i * w.cols + j] = codes[i * w.cols + j];
  }
  return r;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END
