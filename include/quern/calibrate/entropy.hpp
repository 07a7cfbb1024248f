// entropy.hpp — the threshold whose quantized distribution diverges least from the data's (Kullback-Leibler): NVIDIA's calibration.
//
// Input: counts of |x| in equal bins from 0. For each candidate i (bins kept), the reference P is H[0..i) with everything beyond
// folded into its last bin; Q spreads each of the 2^(bits-1) levels evenly over its non-empty bins. The candidate with the least
// D(P || Q) wins.
//
// @source  numerics of NVIDIA's Model Optimizer (calib/histogram.py), and S. Migacz, GTC 2017, "8-bit inference with TensorRT".
#pragma once

#include "../core/buffer.hpp"
#include "../core/elementary.hpp"
#include "../core/error.hpp"
#include "../core/views.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {

/// The variants of the same idea that are in use.
struct entropy_options {
  int bits = 8;
  bool is_unsigned = false;        ///< one more bit for |x|
  index_t first_candidate = 128;   ///< bins
  index_t stride = 1;
  bool clear_zero_bin = true;      ///< H[0] = H[1]: exact zeros (ReLU) would drown the rest
  bool fold_into_levels = false;   ///< Q from the folded P (Migacz) instead of from H (Model Optimizer)
  bool last_minimum = true;        ///< ties: the last candidate (Model Optimizer) or the first
};

struct entropy_result {
  index_t bins = 0;      ///< the candidate: keep [0, bins)
  double divergence = 0; ///< nats
};

inline namespace QUERN_ABI {

/// The best number of bins to keep; its edge, bins * width, is Model Optimizer's threshold, (bins - 1/2) * width TensorRT's.
/// O(bins²). @errors argument when counts is shorter than first_candidate or holds nothing.
inline entropy_result entropy_threshold(vector_view<std::uint64_t const> counts, entropy_options options = {}) {
  index_t const size = counts.size;
  if (options.bits < 2 || options.bits > 12)
    fail(errc::argument, "entropy_threshold: bits is ", options.bits, "; it must be 2 to 12.");
  if (options.first_candidate < 1 || options.stride < 1)
    fail(errc::argument, "entropy_threshold: first_candidate is ", options.first_candidate, " and stride ", options.stride, "; both must be at least 1.");
  if (size < options.first_candidate)
    fail(errc::argument, "entropy_threshold: there are ", size, " bins; at least first_candidate = ", options.first_candidate, " are needed.");
  index_t const levels = index_t{1} << (options.bits - 1 + (options.is_unsigned ? 1 : 0));
  buffer<double> h(size), p_log_p(size);
  double total = 0;
  for (index_t j = 0; j < size; ++j) {
    std::uint64_t const c = j == 0 && options.clear_zero_bin && size > 1 ? counts[1] : counts[j];
    h[j] = static_cast<double>(c);
    total += h[j];
  }
  if (total == 0) fail(errc::argument, "entropy_threshold: all counts are 0; observe some data first.");
  // D = Σ p/T ln((p/T) / (q/S)) = (Σ p ln p - Σ p ln q) / T - ln T + ln S, T = Σ p, S = Σ q over non-empty bins
  for (index_t j = 0; j < size; ++j) p_log_p[j] = h[j] > 0 ? rounded(h[j] * log_of(h[j])) : 0;

  entropy_result best;
  bool found = false;
  double inside = 0, p_log_p_inside = 0;
  index_t summed = 0;
  for (index_t i = options.first_candidate; i <= size; i += options.stride) {
    for (; summed < i; ++summed) inside += h[summed], p_log_p_inside += p_log_p[summed];
    double const tail = total - inside > 0 ? total - inside : 0;
    double const last = h[i - 1] + tail;
    double cross = 0, q_total = 0;
    bool impossible = false;
    index_t j = 0;
    for (index_t level = 0; level < levels && j < i; ++level) {
      // level's bins: integers j with level * i / levels <= j < (level + 1) * i / levels; the last level takes the rest
      index_t const end = level + 1 == levels ? i : ((level + 1) * i + levels - 1) / levels;
      double mass = 0, weight = 0;
      index_t nonempty = 0;
      for (; j < end; ++j) {
        double const source = options.fold_into_levels && j == i - 1 ? last : h[j];
        mass += source;
        nonempty += source > 0;
        weight += j == i - 1 ? last : h[j];
      }
      if (nonempty == 0) {
        impossible |= weight > 0;  // P has mass where Q has none: infinite divergence
        continue;
      }
      cross += rounded(weight * log_of(mass / static_cast<double>(nonempty)));
      q_total += mass;
    }
    // A bin that is empty in H but took the tail: Q is zero there.
    if (!options.fold_into_levels && h[i - 1] == 0 && tail > 0) impossible = true;
    if (impossible || q_total == 0) continue;
    double const p_total = inside + tail;
    double const p_sum = p_log_p_inside - p_log_p[i - 1] + (last > 0 ? rounded(last * log_of(last)) : 0);
    double const d = (p_sum - cross) / p_total - log_of(p_total) + log_of(q_total);
    if (!found || d < best.divergence || (options.last_minimum && d == best.divergence)) best = {i, d}, found = true;
  }
  if (!found) best = {size, 0};
  return best;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
