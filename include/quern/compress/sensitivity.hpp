// sensitivity.hpp — how much a layer minds being quantized, measured by callbacks: no framework, no graph.
//
// Three measures, from cheap to telling:
//
//     mse               Σ (w - ŵ)² of the layer's weights, or of its outputs
//     hessian_weighted  ½ mean curvature × Σ (w - ŵ)², the curvature from Hutchinson's trace estimator:  E[vᵀ H v] = tr H, v = ±1
//     output_kl         Kullback-Leibler divergence of the network's output distribution, float against that layer alone quantized
#pragma once

#include "../core/elementary.hpp"
#include "../core/error.hpp"
#include "../core/views.hpp"
#include "../round/stochastic.hpp"
#include "mixed_precision.hpp"

#include <vector>

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"  // vectors are indexed by index_t and int, whose values were checked
#endif

QUERN_FP_BEGIN

namespace quern::compress {
inline namespace QUERN_ABI {

/// loss[layer][i] = measure(layer, widths[i]); the callback quantizes that layer alone, measures, and puts it back.
/// @errors argument when a measurement is not finite.
template <class Measure>
std::vector<std::vector<double>> sensitivity(int layers, std::vector<int> const& widths, Measure&& measure) {
  std::vector<std::vector<double>> loss(static_cast<std::size_t>(layers));
  for (int l = 0; l < layers; ++l)
    for (int bits : widths) {
      double const v = measure(l, bits);
      if (!is_finite(v)) fail(errc::argument, "sensitivity: layer ", l, " at ", bits, " bits measures ", v, "; a measure must be finite.");
      loss[static_cast<std::size_t>(l)].push_back(v);
    }
  return loss;
}

/// The choices for pareto_front from measured losses and the costs of the same (layer, width).
inline std::vector<std::vector<layer_choice>> choices(std::vector<int> const& widths, std::vector<std::vector<double>> const& loss,
                                                      std::vector<std::vector<double>> const& cost) {
  if (loss.size() != cost.size()) fail(errc::shape, "choices: there are ", loss.size(), " layers of losses and ", cost.size(), " of costs.");
  std::vector<std::vector<layer_choice>> all(loss.size());
  for (std::size_t l = 0; l < loss.size(); ++l) {
    if (loss[l].size() != widths.size() || cost[l].size() != widths.size())
      fail(errc::shape, "choices: layer ", l, " has ", loss[l].size(), " losses and ", cost[l].size(), " costs for ", widths.size(), " widths.");
    for (std::size_t i = 0; i < widths.size(); ++i) all[l].push_back({widths[i], cost[l][i], loss[l][i]});
  }
  return all;
}

/// tr H by Hutchinson's estimator: `product(v, hv)` computes H v (two gradients' difference will do). ±1 vectors depend on seed alone.
/// @errors the estimate's standard deviation is at most sqrt(2 / probes) times the Frobenius norm of H without its diagonal.
template <class Product>
double hessian_trace(index_t size, int probes, std::uint64_t seed, Product&& product) {
  if (size <= 0 || probes <= 0) fail(errc::argument, "hessian_trace: size is ", size, " and probes ", probes, "; both must be positive.");
  round_to::stochastic const random{.seed = seed};
  std::vector<float> v(static_cast<std::size_t>(size)), hv(v.size());
  double sum = 0;
  for (int p = 0; p < probes; ++p) {
    for (index_t i = 0; i < size; ++i)
      v[i] = (random.word(static_cast<std::uint64_t>(p) * static_cast<std::uint64_t>(size) + static_cast<std::uint64_t>(i)) >> 31) != 0 ? 1.0f : -1.0f;
    product(vector_view<float const>{v.data(), size, 1}, vector_view<float>{hv.data(), size, 1});
    for (index_t i = 0; i < size; ++i) sum += rounded(static_cast<double>(v[i]) * hv[i]);
  }
  return sum / probes;
}

/// Σ p ln(p / q) in nats for one row of logits each, p = softmax(reference), q = softmax(quantized). Never negative.
/// @errors shape; argument for non-finite logits.
inline double output_kl(vector_view<float const> reference, vector_view<float const> quantized) {
  if (reference.size != quantized.size || reference.size == 0)
    fail(errc::shape, "output_kl: there are ", reference.size, " reference logits and ", quantized.size, " quantized ones; they must be equal, and some.");
  double top_p = reference[0], top_q = quantized[0];
  for (index_t i = 0; i < reference.size; ++i) {
    if (!is_finite(reference[i]) || !is_finite(quantized[i])) fail(errc::argument, "output_kl: logit ", i, " is not finite.");
    top_p = reference[i] > top_p ? reference[i] : top_p;
    top_q = quantized[i] > top_q ? quantized[i] : top_q;
  }
  double sum_p = 0, sum_q = 0;
  for (index_t i = 0; i < reference.size; ++i) sum_p += exp_of(reference[i] - top_p), sum_q += exp_of(quantized[i] - top_q);
  double const log_p = log_of(sum_p), log_q = log_of(sum_q);
  double kl = 0;
  for (index_t i = 0; i < reference.size; ++i) {
    double const lp = reference[i] - top_p - log_p, lq = quantized[i] - top_q - log_q;
    kl += rounded(exp_of(lp) * (lp - lq));
  }
  return kl > 0 ? kl : 0;
}
/// The mean over rows. @errors shape.
inline double output_kl(matrix_view<float const> reference, matrix_view<float const> quantized) {
  if (reference.rows != quantized.rows || reference.rows == 0)
    fail(errc::shape, "output_kl: there are ", reference.rows, " reference rows and ", quantized.rows, " quantized ones; they must be equal, and some.");
  double sum = 0;
  for (index_t i = 0; i < reference.rows; ++i) sum += output_kl(reference.row(i), quantized.row(i));
  return sum / static_cast<double>(reference.rows);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
