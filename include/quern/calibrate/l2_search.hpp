// l2_search.hpp — PyTorch's HistogramObserver: which part of the histogram to keep so that the quantization error is least.
//
// Bins are dropped from the thinner end, a quantile step of 1e-5 at a time, as long as the estimated error goes down. The estimate
// assumes an even density within bins and a step that divides the kept range into `levels` parts.
//
// @source  torch/ao/quantization/observer.py, HistogramObserver._non_linear_param_search and _compute_quantization_error.
#pragma once

#include "../core/buffer.hpp"
#include "../core/error.hpp"
#include "../core/math.hpp"
#include "../core/views.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {

/// The bins first..last, both included.
struct bin_span {
  index_t first = 0, last = 0;
};

inline namespace QUERN_ABI {

/// The error that keeping `span` costs, in squared units times counts. (PyTorch computes it in float; this in double.)
inline double l2_error(vector_view<double const> counts, double width, bin_span span, int levels) noexcept {
  double const step = width * static_cast<double>(span.last - span.first + 1) / levels;
  if (step == 0) return 0;
  auto const cube = [](double from, double to) { return (rounded(to * to * to) - rounded(from * from * from)) / 3; };
  auto const level_of = [&](double x) {
    double const l = floor_of(x / step);
    return l < 0 ? 0.0 : l > levels - 1 ? levels - 1.0 : l;
  };
  double norm = 0;
  for (index_t b = 0; b < counts.size; ++b) {
    if (counts[b] == 0) continue;
    double const begin = static_cast<double>(b - span.first) * width, end = begin + width;
    double const from = level_of(begin), to = level_of(end);
    double sum = 0;
    if (from == to) {
      double const centre = (from + 0.5) * step;
      sum = cube(begin - centre, end - centre);
    } else {
      sum = cube(begin - (from + 0.5) * step, step / 2) + rounded((to - from - 1) * cube(-step / 2, step / 2)) +
            cube(-step / 2, end - (rounded(to * step) + step / 2));
    }
    norm += rounded(counts[b] / width * sum);
  }
  return norm;
}

/// The bins to keep. @errors argument when there is no bin, or nothing in them.
inline bin_span l2_search(vector_view<double const> counts, double width, int bits) {
  double total = 0;
  buffer<float> cumulative(counts.size);  // PyTorch compares floats
  for (index_t i = 0; i < counts.size; ++i) cumulative[i] = static_cast<float>(total += counts[i]);
  if (!(total > 0)) fail(errc::argument, "l2_search: the ", counts.size, " bins hold nothing; observe some data first.");
  int const levels = 1 << bits;
  constexpr double quantile_step = 1e-5;
  double alpha = 0, beta = 1, least = __builtin_inf();
  bin_span kept{0, counts.size - 1};
  while (alpha < beta) {
    double const next_alpha = alpha + quantile_step, next_beta = beta - quantile_step;
    index_t l = kept.first, r = kept.last;
    while (l < kept.last && cumulative[l] < static_cast<float>(next_alpha * total)) ++l;
    while (r > kept.first && cumulative[r] > static_cast<float>(next_beta * total)) --r;
    bin_span next = kept;
    if (l - kept.first > kept.last - r) {
      next.first = l;
      alpha = next_alpha;
    } else {
      next.last = r;
      beta = next_beta;
    }
    if (next.first == kept.first && next.last == kept.last) continue;
    double const norm = l2_error(counts, width, next, levels);
    if (norm > least) break;
    least = norm;
    kept = next;
  }
  return kept;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
