// hqq.hpp — half-quadratic quantization: the zero of each group is moved until the large errors, not the many small ones, are rare.
//
//     minimize  φ((W - Ŵ(z)) / scale)  with  φ = |.|^p, p < 1, split into
//     e ← shrink((W - Ŵ(z)) / scale, β)          z ← mean(q - W / scale + e)          β ← κ β
//
// Residuals are taken in steps, so that scaling the weights changes nothing (the original takes them as they are, with β 10 for weights of
// size 0.02).
// Needs no data. The zeros are real numbers, not codes: the result suits weight-only kernels that dequantize, and it is not for
// integer arithmetic (round_to_nearest and gptq give integral zeros).
//
// @source  Badri, Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models": p 0.7, β 10, κ 1.01, 20 iterations.
#pragma once

#include "../core/elementary.hpp"
#include "round_to_nearest.hpp"

QUERN_FP_BEGIN

namespace quern::compress {

struct hqq_options {
  double p = 0.7, beta = 10, kappa = 1.01;
  int iterations = 20;
};

inline namespace QUERN_ABI {

/// Asymmetric codes with real zeros. Each group keeps the iterate with the least Σ|w - ŵ|, plain rounding's among them: never worse in
/// that measure. @errors argument for a symmetric grid, non-finite weights or wrong options.
inline quantized_weights hqq(matrix_view<float const> w, weight_grid grid, hqq_options options = {}) {
  check_grid("hqq", grid);
  check_weights("hqq", w);
  if (grid.symmetric) fail(errc::argument, "hqq: the grid is symmetric; the method moves zeros, so it must be asymmetric.");
  if (!(options.p > 0 && options.p <= 1) || !(options.beta > 0) || !(options.kappa >= 1) || options.iterations < 0)
    fail(errc::argument, "hqq: p is ", options.p, ", beta ", options.beta, ", kappa ", options.kappa, ", iterations ", options.iterations,
         "; p must be above 0 and at most 1, beta positive, kappa at least 1, iterations not negative.");
  quantized_weights q = round_to_nearest(w, grid);
  for (index_t i = 0; i < w.rows; ++i)
    for (index_t g = 0; g < q.groups; ++g) {
      index_t const first = g * q.group, n = w.cols - first < q.group ? w.cols - first : q.group;
      scale_and_zero s{q.scales[i * q.groups + g], q.zeros[i * q.groups + g]}, best = s;
      double least = __builtin_inf(), beta = options.beta;
      for (int k = 0; k <= options.iterations; ++k, beta *= options.kappa) {
        double error = 0, zero = 0;
        for (index_t j = 0; j < n; ++j) {
          float const x = w(i, first + j);
          std::int8_t const code = code_of_weight(x, s, grid);
          double const r = (static_cast<double>(x) - value_of(code, s)) / s.scale, a = abs_of(r);
          error += a;
          // the proximal step of |.|^p: small residuals become 0, large ones keep most of themselves
          double const kept = a == 0 ? 0 : a - pow_of(a, options.p - 1) / beta;
          double const e = kept > 0 ? (r < 0 ? -kept : kept) : 0;
          zero += code - static_cast<double>(x) / s.scale + e;
        }
        if (error < least) least = error, best = s;
        s.zero = static_cast<float>(zero / static_cast<double>(n));
      }
      q.scales[i * q.groups + g] = best.scale;
      q.zeros[i * q.groups + g] = best.zero;
      for (index_t j = 0; j < n; ++j) q.codes[i * q.cols + first + j] = code_of_weight(w(i, first + j), best, grid);
    }
  return q;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END
