// round_to_nearest.hpp — each weight to its nearest code: the base line that every other method must beat.
#pragma once

#include "quantized_weights.hpp"

QUERN_FP_BEGIN

namespace quern::compress {

struct round_options {
  /// Per group, try extremes shrunk to 1, 0.95, 0.90, ... down to this and keep the least squared error; 1 tries nothing.
  float smallest_shrink = 1.0f;
  /// How much a column's squared error counts (say its Hessian's diagonal); empty: all the same.
  vector_view<float const> importance = {};
};

inline namespace QUERN_ABI {

/// The scale and zero of a group whose extremes, shrunk to 1, 0.95, ... `smallest`, cost the least weighted squared error.
inline scale_and_zero best_group(vector_view<float const> w, weight_grid grid, float smallest, vector_view<float const> importance) noexcept {
  scale_and_zero best = choose_group(w, grid);
  if (smallest >= 1) return best;
  double least = __builtin_inf();
  for (int step = 0;; ++step) {
    float const shrink = 1.0f - 0.05f * static_cast<float>(step);
    if (step > 0 && shrink < smallest - 1e-4f) return best;
    scale_and_zero const s = choose_group(w, grid, shrink);
    double error = 0;
    for (index_t j = 0; j < w.size; ++j) {
      double const e = static_cast<double>(w[j]) - value_of(code_of_weight(w[j], s, grid), s);
      error += rounded(e * e * (importance.empty() ? 1.0f : importance[j]));
    }
    if (error < least) least = error, best = s;
  }
}

/// @errors argument for non-finite weights or a wrong grid; null; shape. A group size that does not divide cols leaves a short group.
inline quantized_weights round_to_nearest(matrix_view<float const> w, weight_grid grid, round_options options = {}) {
  check_grid("round_to_nearest", grid);
  check_weights("round_to_nearest", w);
  if (!(options.smallest_shrink > 0 && options.smallest_shrink <= 1))
    fail(errc::argument, "round_to_nearest: smallest_shrink is ", static_cast<double>(options.smallest_shrink), "; it must be above 0 and at most 1.");
  if (!options.importance.empty() && options.importance.size != w.cols)
    fail(errc::shape, "round_to_nearest: importance has ", options.importance.size, " values for ", w.cols, " columns; they must be equal.");
  quantized_weights q = empty_weights(w.rows, w.cols, grid);
  for (index_t i = 0; i < w.rows; ++i)
    for (index_t g = 0; g < q.groups; ++g) {
      index_t const first = g * q.group, n = w.cols - first < q.group ? w.cols - first : q.group;
      vector_view<float const> const part = w.row(i).sub(first, n);
      scale_and_zero const best =
          best_group(part, grid, options.smallest_shrink, options.importance.empty() ? options.importance : options.importance.sub(first, n));
      q.scales[i * q.groups + g] = best.scale;
      q.zeros[i * q.groups + g] = best.zero;
      for (index_t j = 0; j < n; ++j) q.codes[i * q.cols + first + j] = code_of_weight(part[j], best, grid);
    }
  return q;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END
