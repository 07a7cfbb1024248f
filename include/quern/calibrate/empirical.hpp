// empirical.hpp — a histogram seen as a density: even within each bin, cut at the smallest and largest value.
//
// This is what the exact-grid optimum (exact_grid.hpp) and predicted errors are computed from. A step narrower than two or three
// bins is beyond its resolution; with 2048 bins a side that is 10 bits and more.
#pragma once

#include "histogram.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {
inline namespace QUERN_ABI {

/// Meets the concept `distribution`; O(1) a question after one pass over the bins.
class empirical {
 public:
  /// @errors argument when the histogram holds no finite value.
  explicit empirical(histogram const& h)
      : half_(h.half_bins()), width_(h.width()), min_(h.range().min), max_(h.range().max), share_(2 * h.half_bins()), above_(2 * h.half_bins() + 1), moment_(2 * h.half_bins() + 1) {
    if (h.count() == 0) fail(errc::argument, "empirical: the histogram holds no finite value; observe some data first.");
    double const total = static_cast<double>(h.count());
    double above = 0, moment = 0, square = 0;
    for (index_t b = 2 * half_ - 1; b >= 0; --b) {
      share_[b] = static_cast<double>(h.bin(b - half_)) / total;
      above += share_[b];
      moment += rounded(share_[b] * (0.5 * (low(b) + high(b))));
      square += rounded(share_[b] * ((low(b) * low(b) + low(b) * high(b) + high(b) * high(b)) / 3));
      above_[b] = above;
      moment_[b] = moment;
    }
    // The density's own moments, not the histogram's exact ones: a predicted error is their small difference to sums over bins.
    mean_ = moment;
    second_moment_ = square;
  }

  double survival(double t) const noexcept {
    index_t const b = bin_of(t);
    if (b < 0) return 1.0;
    if (b >= 2 * half_) return 0.0;
    return above_[b + 1] + rounded(share_[b] * part_above(b, t));
  }
  double tail_moment(double t) const noexcept {
    index_t const b = bin_of(t);
    if (b < 0) return moment_[0];
    if (b >= 2 * half_) return 0.0;
    double const p = part_above(b, t), from = t > low(b) ? t : low(b);
    return moment_[b + 1] + rounded(share_[b] * p * (0.5 * (from + high(b))));
  }
  double mean() const noexcept { return mean_; }
  double second_moment() const noexcept { return second_moment_; }
  double reach() const noexcept { return -min_ > max_ ? -min_ : max_ > 0 ? max_ : width_; }
  double min() const noexcept { return min_; }
  double max() const noexcept { return max_; }
  /// The share of values outside of [from, to].
  double outside(double from, double to) const noexcept { return 1.0 - survival(from) + (to >= max_ ? 0.0 : survival(to)); }

 private:
  double low(index_t b) const noexcept {
    double const edge = static_cast<double>(b - half_) * width_;
    return edge > min_ ? edge : min_ < edge + width_ ? min_ : edge;
  }
  double high(index_t b) const noexcept {
    double const edge = static_cast<double>(b - half_ + 1) * width_;
    return edge < max_ ? edge : max_ > edge - width_ ? max_ : edge;
  }
  index_t bin_of(double t) const noexcept {
    if (t <= min_) return -1;
    if (t >= max_) return 2 * half_;
    return static_cast<index_t>(floor_of(t / width_)) + half_;
  }
  double part_above(index_t b, double t) const noexcept {
    double const from = low(b), to = high(b);
    return t <= from ? 1.0 : t >= to ? 0.0 : (to - t) / (to - from);
  }

  index_t half_;
  double width_, min_, max_, mean_ = 0, second_moment_ = 0;
  buffer<double> share_, above_, moment_;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
