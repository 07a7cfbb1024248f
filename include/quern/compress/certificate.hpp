// certificate.hpp — how far a quantized network's output can be from the exact network's, proved for the sample at hand.
//
// x̂ is what the quantized layer read, x what the exact network would have fed it, |x - x̂| <= δ element by element. Then, W exact
// and Ŵ quantized,
//
//     |W x - Ŵ x̂|  <=  |W| δ + |(W - Ŵ) x̂|                                                      (worst case; the second term is known)
//
// A ReLU or clamp is 1-Lipschitz and does not add to δ; requantizing the output adds what it measurably moved, |ŷ - (Ŵ x̂ + b)|: no
// assumption, saturation included. Layers compose by feeding the bound on. If the best output stays ahead of every other
// one by more than both bounds, the exact network's argmax is the same: it cannot flip.
//
// Probabilistic: where codes are rounded stochastically, each rounding error is independent, has mean 0 and lies in an interval of
// length `step`, by construction. Hoeffding: with probability 1 - p, |Σ w_k e_k| <= sqrt( ½ ln(2/p) Σ (w_k step_k)² ), 6.6 times the
// RMS error at p = 1e-6 whatever k is, where the worst case grows as sqrt(k).
//
// Bounds are computed in double and widened by 1e-9 of themselves, 10⁵ times their rounding for a million terms; "exact network" means
// real arithmetic.
//
// @source  Hoeffding 1963. No assumption on the data anywhere.
#pragma once

#include "../core/elementary.hpp"
#include "../core/error.hpp"
#include "../core/views.hpp"

#include <vector>

QUERN_FP_BEGIN

namespace quern::compress {
inline namespace QUERN_ABI {

/// |w x + b - (ŵ x̂ + b)| per output. delta_in may be empty (the input is exact). @errors shape.
inline std::vector<double> linear_bound(matrix_view<float const> exact, matrix_view<float const> quantized, vector_view<float const> input,
                                        std::vector<double> const& delta_in) {
  if (exact.rows != quantized.rows || exact.cols != quantized.cols || input.size != exact.cols ||
      (!delta_in.empty() && static_cast<index_t>(delta_in.size()) != exact.cols))
    fail(errc::shape, "linear_bound: exact weights ", exact.rows, " x ", exact.cols, ", quantized ", quantized.rows, " x ", quantized.cols, ", input ",
         input.size, ", bounds ", delta_in.size(), "; they must fit.");
  std::vector<double> delta(static_cast<std::size_t>(exact.rows));
  for (index_t i = 0; i < exact.rows; ++i) {
    double known = 0, spread = 0, magnitude = 0;
    for (index_t j = 0; j < exact.cols; ++j) {
      double const term = rounded((static_cast<double>(exact(i, j)) - quantized(i, j)) * input[j]);
      known += term;
      magnitude += abs_of(term);
      if (!delta_in.empty()) spread += rounded(abs_of(static_cast<double>(exact(i, j))) * delta_in[static_cast<std::size_t>(j)]);
    }
    delta[static_cast<std::size_t>(i)] = (abs_of(known) + spread) * (1 + 1e-9) + magnitude * 1e-9;
  }
  return delta;
}

/// The same for a 2-D convolution without padding codes of its own: exact and quantized are out × kh × kw × in (OHWI), input and delta one
/// NHWC image; outputs oh × ow × out. Padding contributes 0 to both networks.
struct conv_shape {
  index_t stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0, out_h = 0, out_w = 0;
};
inline std::vector<double> conv_bound(tensor_view<float const> exact, tensor_view<float const> quantized, tensor_view<float const> input,
                                      std::vector<double> const& delta_in, conv_shape shape) {
  if (exact.n != quantized.n || exact.h != quantized.h || exact.w != quantized.w || exact.c != quantized.c || exact.c != input.c || input.n != 1 ||
      (!delta_in.empty() && static_cast<index_t>(delta_in.size()) != input.size()) || shape.stride_h < 1 || shape.stride_w < 1)
    fail(errc::shape, "conv_bound: filters ", exact.n, " x ", exact.h, " x ", exact.w, " x ", exact.c, " do not fit an input of ", input.n, " x ", input.h,
         " x ", input.w, " x ", input.c, " with ", delta_in.size(), " bounds; one image, equal channels, strides of at least 1.");
  std::vector<double> delta(static_cast<std::size_t>(shape.out_h * shape.out_w * exact.n));
  std::size_t at = 0;
  for (index_t oy = 0; oy < shape.out_h; ++oy)
    for (index_t ox = 0; ox < shape.out_w; ++ox)
      for (index_t o = 0; o < exact.n; ++o) {
        double known = 0, spread = 0, magnitude = 0;
        for (index_t ky = 0; ky < exact.h; ++ky)
          for (index_t kx = 0; kx < exact.w; ++kx) {
            index_t const y = oy * shape.stride_h + ky - shape.pad_top, x = ox * shape.stride_w + kx - shape.pad_left;
            if (y < 0 || x < 0 || y >= input.h || x >= input.w) continue;
            for (index_t c = 0; c < exact.c; ++c) {
              double const term = rounded((static_cast<double>(exact(o, ky, kx, c)) - quantized(o, ky, kx, c)) * input(0, y, x, c));
              known += term;
              magnitude += abs_of(term);
              if (!delta_in.empty())
                spread += rounded(abs_of(static_cast<double>(exact(o, ky, kx, c))) * delta_in[static_cast<std::size_t>((y * input.w + x) * input.c + c)]);
            }
          }
        delta[at++] = (abs_of(known) + spread) * (1 + 1e-9) + magnitude * 1e-9;
      }
  return delta;
}

/// Adds what requantization moved: delta_i += |after_i - before_i|, before = Ŵ x̂ + b through its activation, in real units, and after what the
/// next layer reads. @errors shape.
inline void add_moved(std::vector<double>& delta, vector_view<float const> before, vector_view<float const> after) {
  if (static_cast<index_t>(delta.size()) != before.size || before.size != after.size)
    fail(errc::shape, "add_moved: ", delta.size(), " bounds, ", before.size, " values before and ", after.size, " after; they must be equal.");
  for (index_t i = 0; i < before.size; ++i) delta[static_cast<std::size_t>(i)] += abs_of(static_cast<double>(after[i]) - before[i]) * (1 + 1e-9);
}

/// Without a sample: the worst a layer can do for inputs with |x_j| <= magnitude_j, quantized with steps step_j (errors up to half of one,
/// a whole one with stochastic rounding). What a data sheet may print. @errors shape.
inline std::vector<double> worst_case_bound(matrix_view<float const> exact, matrix_view<float const> quantized, vector_view<float const> magnitude,
                                            vector_view<float const> step, bool stochastic = false) {
  if (exact.rows != quantized.rows || exact.cols != quantized.cols || magnitude.size != exact.cols || step.size != exact.cols)
    fail(errc::shape, "worst_case_bound: weights ", exact.rows, " x ", exact.cols, " and ", quantized.rows, " x ", quantized.cols, ", ", magnitude.size,
         " magnitudes and ", step.size, " steps do not fit.");
  std::vector<double> delta(static_cast<std::size_t>(exact.rows));
  for (index_t i = 0; i < exact.rows; ++i) {
    double sum = 0;
    for (index_t j = 0; j < exact.cols; ++j)
      sum += rounded(abs_of(static_cast<double>(exact(i, j)) - quantized(i, j)) * magnitude[j]) +
             rounded(abs_of(static_cast<double>(quantized(i, j))) * step[j] * (stochastic ? 1.0 : 0.5));
    delta[static_cast<std::size_t>(i)] = sum * (1 + 1e-9);
  }
  return delta;
}

/// Hoeffding: with probability at least 1 - failure each, the rounding errors of stochastically rounded inputs move output i by no more than
/// this. `step` is the length of the interval that an input's error lies in (its scale). Several outputs: divide failure by their number.
/// @errors shape; argument unless 0 < failure < 1.
inline std::vector<double> hoeffding_bound(matrix_view<float const> quantized, vector_view<float const> step, double failure) {
  if (step.size != quantized.cols)
    fail(errc::shape, "hoeffding_bound: there are ", step.size, " steps for ", quantized.cols, " inputs; they must be equal.");
  if (!(failure > 0 && failure < 1)) fail(errc::argument, "hoeffding_bound: failure is ", failure, "; it must be between 0 and 1.");
  std::vector<double> delta(static_cast<std::size_t>(quantized.rows));
  double const factor = 0.5 * log_of(2 / failure);
  for (index_t i = 0; i < quantized.rows; ++i) {
    double sum = 0;
    for (index_t j = 0; j < quantized.cols; ++j) {
      double const length = static_cast<double>(quantized(i, j)) * step[j];
      sum += rounded(length * length);
    }
    delta[static_cast<std::size_t>(i)] = sqrt_of(factor * sum) * (1 + 1e-9);
  }
  return delta;
}

/// What a bound says about the winner.
struct argmax_verdict {
  index_t argmax = 0;
  bool cannot_flip = false;   ///< the exact network has the same argmax
  double margin = 0;          ///< the least of output[argmax] - output[j] - delta[argmax] - delta[j]: positive when it cannot flip
};
/// NaN among outputs or bounds: not certified, margin -infinity. @errors shape.
inline argmax_verdict certify_argmax(vector_view<float const> output, std::vector<double> const& delta) {
  if (output.size != static_cast<index_t>(delta.size()) || output.size == 0)
    fail(errc::shape, "certify_argmax: there are ", output.size, " outputs and ", delta.size(), " bounds; they must be equal, and some.");
  argmax_verdict v;
  for (index_t i = 1; i < output.size; ++i)
    if (output[i] > output[v.argmax]) v.argmax = i;
  v.margin = __builtin_inf();
  for (index_t i = 0; i < output.size; ++i) {
    if (i == v.argmax) continue;
    double const m = static_cast<double>(output[v.argmax]) - output[i] - delta[static_cast<std::size_t>(v.argmax)] - delta[static_cast<std::size_t>(i)];
    v.margin = m < v.margin ? m : v.margin;
    if (is_nan(m)) v.margin = -__builtin_inf();  // an output or a bound that is no number proves nothing
    if (v.margin == -__builtin_inf()) break;
  }
  v.cannot_flip = v.margin > 0;
  return v;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END
