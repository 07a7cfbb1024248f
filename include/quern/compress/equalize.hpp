// equalize.hpp — cross-layer equalization: give the channels between two layers the same range on both sides, for free.
//
// relu(s x) = s relu(x) for s > 0, so channel i of the first layer may be divided by s_i and the second layer's inputs multiplied
// by it. With r1 = max|row i of W1|, r2 = max|column i of W2|,
//
//     s_i = r1 / sqrt(r1 r2)         makes both ranges sqrt(r1 r2)
//
// Per-tensor int8 goes from chance to float accuracy where channels differ by orders of magnitude. The float function is
// unchanged: exactly, with powers of two (and between sqrt(2) and 1/sqrt(2) of the ideal range); to rounding otherwise.
//
// @source  Nagel et al. 2019, Data-Free Quantization, arXiv:1906.04721: sections 4.1 (equalization) and 4.2 (high-bias absorption).
#pragma once

#include "smooth.hpp"

#include <vector>

QUERN_FP_BEGIN

namespace quern::compress {

/// One layer of a chain; its rows are the next one's columns. Activations between layers are ReLU, leaky ReLU or none.
struct layer_view {
  matrix_view<float> weights;
  vector_view<float> bias = {};
};

struct equalize_options {
  int max_sweeps = 100;          ///< over all pairs
  double tolerance = 1e-3;       ///< stop when no scale moves by more than this
  bool powers_of_two = true;     ///< the float function stays the same bit for bit
};

struct equalize_result {
  int sweeps = 0;
  double largest_ratio_before = 1;   ///< of the ranges of two channels between two layers
  double largest_ratio_after = 1;
};

inline namespace QUERN_ABI {

namespace equalize_detail {
inline float row_absmax(matrix_view<float const> w, index_t i) noexcept {
  float m = 0;
  for (index_t j = 0; j < w.cols; ++j) m = abs_of(w(i, j)) > m ? abs_of(w(i, j)) : m;
  return m;
}
inline double spread(std::vector<layer_view> const& layers) {
  double worst = 1;
  for (std::size_t l = 0; l + 1 < layers.size(); ++l) {
    float low = __builtin_inff(), high = 0;
    for (index_t i = 0; i < layers[l].weights.rows; ++i) {
      float const r = row_absmax(layers[l].weights, i);
      if (r == 0) continue;
      low = r < low ? r : low;
      high = r > high ? r : high;
    }
    if (high > 0 && static_cast<double>(high) / low > worst) worst = static_cast<double>(high) / low;
  }
  return worst;
}
}  // namespace equalize_detail

/// Equalizes every pair of neighbours, in place, until nothing moves. Channels that are 0 on either side are left alone.
/// @errors shape when a layer's rows are not the next one's columns; argument for weights that are not finite or wrong options.
inline equalize_result equalize(std::vector<layer_view> const& layers, equalize_options options = {}) {
  if (options.max_sweeps < 1) fail(errc::argument, "equalize: max_sweeps is ", options.max_sweeps, "; it must be at least 1.");
  for (std::size_t l = 0; l < layers.size(); ++l) {
    check_weights("equalize", layers[l].weights);
    if (!layers[l].bias.empty() && layers[l].bias.size != layers[l].weights.rows)
      fail(errc::shape, "equalize: layer ", l, " has ", layers[l].bias.size, " biases for ", layers[l].weights.rows, " outputs; they must be equal.");
    if (l > 0 && layers[l - 1].weights.rows != layers[l].weights.cols)
      fail(errc::shape, "equalize: layer ", l - 1, " has ", layers[l - 1].weights.rows, " outputs, layer ", l, " ", layers[l].weights.cols, " inputs; they must be equal.");
  }
  equalize_result r;
  r.largest_ratio_before = equalize_detail::spread(layers);
  for (; r.sweeps < options.max_sweeps; ++r.sweeps) {
    double moved = 0;
    for (std::size_t l = 0; l + 1 < layers.size(); ++l) {
      auto const& first = layers[l];
      auto const& second = layers[l + 1];
      for (index_t i = 0; i < first.weights.rows; ++i) {
        double const r1 = equalize_detail::row_absmax(first.weights, i), r2 = equalize_detail::row_absmax(second.weights.transposed(), i);
        if (r1 == 0 || r2 == 0) continue;
        double exact = sqrt_of(r1 / r2);
        if (options.powers_of_two) exact = ldexp_of(1.0, static_cast<int>(nearest_integer(log2_of(exact))));
        float const s = static_cast<float>(exact);
        if (s == 1 || !(s > 0) || !is_finite(s)) continue;
        double const move = s > 1 ? s - 1.0 : 1.0 / s - 1.0;
        moved = move > moved ? move : moved;
        for (index_t j = 0; j < first.weights.cols; ++j) first.weights(i, j) /= s;
        if (!first.bias.empty()) first.bias[i] /= s;
        for (index_t j = 0; j < second.weights.rows; ++j) second.weights(j, i) *= s;
      }
    }
    if (moved <= options.tolerance) break;
  }
  r.largest_ratio_after = equalize_detail::spread(layers);
  return r;
}

/// High-bias absorption: a channel whose pre-activation (mean beta, deviation gamma) is nearly always above c = max(0, beta - 3 gamma)
/// may pass c to the next layer's bias, so that its activation's range shrinks. Changes the function where the pre-activation is
/// below c, for 0.13 % of Gaussian data.
///
///     b1 -= c          b2 += W2 c                @errors shape.
inline void absorb_bias(vector_view<float> bias1, matrix_view<float const> w2, vector_view<float> bias2, vector_view<float const> beta,
                        vector_view<float const> gamma) {
  if (bias1.size != w2.cols || beta.size != w2.cols || gamma.size != w2.cols || bias2.size != w2.rows)
    fail(errc::shape, "absorb_bias: ", bias1.size, " biases, ", beta.size, " means, ", gamma.size, " deviations and ", bias2.size,
         " next biases do not fit ", w2.rows, " x ", w2.cols, " weights.");
  for (index_t j = 0; j < w2.cols; ++j) {
    float const c = beta[j] - rounded(3 * abs_of(gamma[j]));
    if (!(c > 0)) continue;
    bias1[j] -= c;
    for (index_t i = 0; i < w2.rows; ++i) bias2[i] += rounded(w2(i, j) * c);
  }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END
