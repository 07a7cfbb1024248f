// calibrators.hpp — from a histogram to the range that choose_params takes: every way in use, one small struct each.
//
// All look at the same finished histogram, so trying all of them costs one pass over the data (see recommend.hpp). Each has
//
//     static constexpr char const* name;
//     template <scheme S> real_range range(histogram const&) const;      the range for S's codes, 0.0 inside or at an end
//     real_range range(histogram const&, code_facts const&) const;       the same; compiled once for all schemes
//
// Where the scheme is symmetric only max(-min, max) matters. A new calibrator is one struct and one line in the list below.
// All refuse a histogram without a finite value (errc::argument), and return {0, 0} when all values are 0.
#pragma once

#include "../core/type_list.hpp"
#include "../scheme/schemes.hpp"
#include "aciq.hpp"
#include "empirical.hpp"
#include "entropy.hpp"
#include "exact_grid.hpp"
#include "l2_search.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {

/// What a calibrator asks of a scheme.
struct code_facts {
  int bits;
  std::int32_t q_min, q_max;
  bool fixed_zero_point;
  scale_zero_point (*choose_with)(real_range);

  QUERN_INLINE scale_zero_point choose(real_range r) const { return choose_with(r); }
};

inline namespace QUERN_ABI {
template <scheme S>
inline constexpr code_facts facts_of{S::code::bits, S::q_min, S::q_max, S::fixed_zero_point,
                                     [](real_range r) { return S::choose(r, {}); }};
}  // inline namespace QUERN_ABI

namespace detail {
inline namespace QUERN_ABI {

inline void check_not_empty(char const* who, histogram const& h) {
  if (h.count() == 0)
    fail(errc::argument, who, ": the histogram holds no finite value (", h.nan_count(), " NaN, ", h.inf_count(),
         " infinite); observe some data first.");
}
inline float magnitude_of(real_range r) noexcept { return -r.min > r.max ? -r.min : r.max > 0 ? r.max : 0.0f; }

/// A percentage of x, also of one above 3.4e36, a hundred of which leave float.
inline float percent_of(float x, float percent) noexcept { return abs_of(x) < 1e36f ? x * percent / 100 : x * (percent / 100); }
/// The nearest finite float.
inline float finite_float(double x) noexcept {
  constexpr double most = 3.4028234663852886e38;
  return static_cast<float>(x < -most ? -most : x > most ? most : x);
}

/// Data on one side of 0.0 only.
inline bool one_sided(real_range r) noexcept { return r.min >= 0 || r.max <= 0; }

/// [-a, a], cut to the side that has data, so that an asymmetric scheme does not spend codes on nothing.
inline real_range around_zero(double a, real_range data) noexcept {
  float const clip = static_cast<float>(a);
  return {data.min >= 0 ? 0.0f : data.min > -clip ? data.min : -clip, data.max <= 0 ? 0.0f : data.max < clip ? data.max : clip};
}

/// Counts of |x|, bin by bin.
inline buffer<std::uint64_t> folded(histogram const& h) {
  buffer<std::uint64_t> counts(h.half_bins());
  for (index_t i = 0; i < h.half_bins(); ++i) counts[i] = h.bin(i) + h.bin(-1 - i);
  return counts;
}
/// Bins up to the last that is not empty.
inline index_t used(buffer<std::uint64_t> const& counts) {
  index_t n = counts.size();
  while (n > 1 && counts[n - 1] == 0) --n;
  return n;
}
/// The values that a density is fitted to. The zeros of one-sided data are what a ReLU cut off: no part of the remaining half.
inline double values_for_scale(histogram const& h) noexcept {
  std::int64_t const nonzero = h.count() - h.zero_count();
  return static_cast<double>(one_sided(h.range()) && nonzero > 0 ? nonzero : h.count());
}
/// Levels that S has for |x|, as bits of a symmetric code: 8 for s8 and for a signed range in u8, 9 for u8 on non-negative data.
inline int symmetric_bits(code_facts const& s, real_range data) noexcept {
  return s.bits + (!s.fixed_zero_point && one_sided(data) ? 1 : 0);
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Everything that was seen: nothing is clipped.
struct by_min_max {
  static constexpr char const* name = "min_max";
  template <scheme S>
  real_range range(histogram const& h) const {
    return range(h, facts_of<S>);
  }
  real_range range(histogram const& h, code_facts const&) const {
    detail::check_not_empty("by_min_max", h);
    return h.range();
  }
};

/// The smallest range that leaves at most (100 - percent) % of the values out: of |x| for symmetric schemes, half of it at
/// either end for asymmetric ones. Resolution: a bin; the threshold is the upper edge of the bin that holds the quantile.
/// Beware: 99.9 takes a vision transformer from 74.5 % to 6 % accuracy; outliers may be what matters.
struct by_percentile {
  static constexpr char const* name = "percentile";
  double percent = 99.99;

  template <scheme S>
  real_range range(histogram const& h) const {
    return range(h, facts_of<S>);
  }
  real_range range(histogram const& h, code_facts const& s) const {
    if (!(percent > 50 && percent <= 100))
      fail(errc::argument, "by_percentile: percent is ", percent, "; it must be above 50 and at most 100.");
    detail::check_not_empty("by_percentile", h);
    real_range const data = h.range();
    double const total = static_cast<double>(h.count());
    bool const fold = s.fixed_zero_point || detail::one_sided(data);
    double const allowed = total * (100 - percent) / 100 * (fold ? 1.0 : 0.5);
    auto const edge = [&](auto count_of) {  // going inwards, the last edge with at most `allowed` values outside
      double outside = 0;
      index_t i = h.half_bins();
      while (i > 1 && outside + count_of(i - 1) <= allowed) outside += count_of(--i);
      return static_cast<double>(i) * h.width();
    };
    auto const up = [&](index_t i) { return static_cast<double>(h.bin(i)); };
    auto const down = [&](index_t i) { return static_cast<double>(h.bin(-1 - i)); };
    if (fold) return detail::around_zero(edge([&](index_t i) { return up(i) + down(i); }), data);
    float const low = static_cast<float>(-edge(down)), high = static_cast<float>(edge(up));
    return {low < data.min ? data.min : low, high > data.max ? data.max : high};
  }
};

/// NVIDIA's entropy calibration (entropy.hpp), on |x|. Fewer than 8 values a level are no distribution to compare with: the divergence
/// is then that of single values in empty bins, and its minimum anywhere (26 dB for the 9 weights of a filter). All of them are kept.
struct by_entropy {
  static constexpr char const* name = "entropy";
  template <scheme S>
  real_range range(histogram const& h) const {
    return range(h, facts_of<S>);
  }
  real_range range(histogram const& h, code_facts const& s) const {
    detail::check_not_empty("by_entropy", h);
    real_range const data = h.range();
    buffer<std::uint64_t> const counts = detail::folded(h);
    index_t const size = detail::used(counts);
    int const bits = detail::symmetric_bits(s, data) < 12 ? detail::symmetric_bits(s, data) : 12;
    entropy_options o;
    o.bits = bits;
    o.first_candidate = index_t{1} << (bits - 1);
    if (o.first_candidate > size || detail::magnitude_of(data) == 0) return data;  // as fine as the bins: nothing to decide
    if (h.count() < (std::int64_t{8} << (bits - 1))) return data;
    auto const best = entropy_threshold(vector_view<std::uint64_t const>{counts.data(), size, 1}, o);
    return detail::around_zero(static_cast<double>(best.bins) * h.width(), data);
  }
};

/// PyTorch's search (l2_search.hpp), on this histogram. torch_histogram.hpp is PyTorch's own observer.
struct by_l2_search {
  static constexpr char const* name = "l2_search";
  template <scheme S>
  real_range range(histogram const& h) const {
    return range(h, facts_of<S>);
  }
  real_range range(histogram const& h, code_facts const& s) const {
    detail::check_not_empty("by_l2_search", h);
    real_range const data = h.range();
    if (detail::magnitude_of(data) == 0) return data;
    index_t first = -h.half_bins(), last = h.half_bins() - 1;
    while (h.bin(first) == 0) ++first;
    while (h.bin(last) == 0) --last;
    buffer<double> counts(last - first + 1);
    for (index_t i = first; i <= last; ++i) counts[i - first] = static_cast<double>(h.bin(i));
    bin_span const kept = l2_search(vector_view<double const>{counts.data(), counts.size(), 1}, h.width(), s.bits);
    float const low = static_cast<float>(static_cast<double>(first + kept.first) * h.width());
    float const high = static_cast<float>(static_cast<double>(first + kept.last + 1) * h.width());
    return {low < data.min ? data.min : low, high > data.max ? data.max : high};
  }
};

/// The ratio r of the full range, from 1 down to `lowest` in steps of 0.01, whose |error|^p is least on the histogram's bin
/// middles; the larger ratio on ties. p = 2 is the mean squared error, 2.4 a common choice that fears clipping more.
struct by_lp {
  static constexpr char const* name = "lp";
  double p = 2.4;
  double lowest = 0.2;

  template <scheme S>
  real_range range(histogram const& h) const {
    return range(h, facts_of<S>);
  }
  real_range range(histogram const& h, code_facts const& s) const {
    if (!(p >= 0.5 && p <= 16)) fail(errc::argument, "by_lp: p is ", p, "; it must be 0.5 to 16.");
    if (!(lowest > 0 && lowest <= 1)) fail(errc::argument, "by_lp: lowest is ", lowest, "; it must be above 0 and at most 1.");
    detail::check_not_empty("by_lp", h);
    real_range const data = h.range();
    if (detail::magnitude_of(data) == 0) return data;
    double least = 0;
    real_range best = data;
    for (int percent = 100; percent >= static_cast<int>(100 * lowest + 0.5); --percent) {
      float const hundredths = static_cast<float>(percent);
      real_range const candidate{detail::percent_of(data.min, hundredths), detail::percent_of(data.max, hundredths)};
      double const e = error(h, s, candidate, percent == 100 ? __builtin_inf() : least);
      if (percent == 100 || e < least) least = e, best = candidate;
    }
    return best;
  }

 private:
  double error(histogram const& h, code_facts const& s, real_range candidate, double give_up) const {
    scale_zero_point const q = s.choose(candidate);
    double const low = (static_cast<double>(s.q_min) - q.zero_point) * q.scale, high = (static_cast<double>(s.q_max) - q.zero_point) * q.scale;
    double sum = 0;
    for (index_t i = -h.half_bins(); i < h.half_bins() && sum < give_up; ++i) {
      if (h.bin(i) == 0) continue;
      double const x = (static_cast<double>(i) + 0.5) * h.width();
      double const back = x < low ? low : x > high ? high : nearest_integer(x / q.scale) * q.scale;
      double const e = abs_of(x - back);
      sum += rounded(static_cast<double>(h.bin(i)) * (p == 2 ? e * e : pow_of(e, p)));
    }
    return sum;
  }
};

/// by_lp with p = 2.
struct by_mse {
  static constexpr char const* name = "mse";
  template <scheme S>
  real_range range(histogram const& h) const {
    return range(h, facts_of<S>);
  }
  real_range range(histogram const& h, code_facts const& s) const {
    return by_lp{.p = 2}.range(h, s);
  }
};

/// ACIQ's threshold for a Laplace density around the mean, b = E|x - mean|.
struct by_aciq_laplace {
  static constexpr char const* name = "aciq_laplace";
  template <scheme S>
  real_range range(histogram const& h) const {
    return range(h, facts_of<S>);
  }
  real_range range(histogram const& h, code_facts const& s) const {
    detail::check_not_empty("by_aciq_laplace", h);
    real_range const data = h.range();
    if (s.fixed_zero_point || detail::one_sided(data)) {
      // around 0: E|x|, every bin at its middle
      double sum = 0;
      for (index_t i = 0; i < h.half_bins(); ++i)
        sum += rounded((static_cast<double>(i) + 0.5) * h.width() * static_cast<double>(h.bin(i) + h.bin(-1 - i)));
      double const b = sum / detail::values_for_scale(h);
      return detail::around_zero(b * aciq_laplace(detail::symmetric_bits(s, data)), data);
    }
    double const mean = h.mean();
    double sum = 0;
    for (index_t i = -h.half_bins(); i < h.half_bins(); ++i)
      sum += rounded(abs_of((static_cast<double>(i) + 0.5) * h.width() - mean) * static_cast<double>(h.bin(i)));
    double const clip = sum / static_cast<double>(h.count()) * aciq_laplace(s.bits);
    return cut(mean - clip, mean + clip, data);
  }
  static real_range cut(double low, double high, real_range data) noexcept {
    return {low < data.min ? data.min : static_cast<float>(low), high > data.max ? data.max : static_cast<float>(high)};
  }
};

/// ACIQ's threshold for a Gaussian density around the mean.
struct by_aciq_gaussian {
  static constexpr char const* name = "aciq_gaussian";
  template <scheme S>
  real_range range(histogram const& h) const {
    return range(h, facts_of<S>);
  }
  real_range range(histogram const& h, code_facts const& s) const {
    detail::check_not_empty("by_aciq_gaussian", h);
    real_range const data = h.range();
    if (s.fixed_zero_point || detail::one_sided(data)) {
      double const n = static_cast<double>(h.count()) / detail::values_for_scale(h);
      return detail::around_zero(sqrt_of(h.mean_square() * n) * aciq_gaussian(detail::symmetric_bits(s, data)), data);
    }
    double const clip = sqrt_of(h.variance()) * aciq_gaussian(s.bits);
    return by_aciq_laplace::cut(h.mean() - clip, h.mean() + clip, data);
  }
};

/// The step of least mean squared error on the histogram itself (exact_grid.hpp); for asymmetric schemes the zero point is
/// searched too, from the one of the full range in steps that halve from 2^(bits-3) to 1.
struct by_exact_grid {
  static constexpr char const* name = "exact_grid";
  template <scheme S>
  real_range range(histogram const& h) const {
    return range(h, facts_of<S>);
  }
  real_range range(histogram const& h, code_facts const& s) const {
    detail::check_not_empty("by_exact_grid", h);
    real_range const data = h.range();
    if (detail::magnitude_of(data) == 0) return data;
    empirical const density(h);
    auto const at = [&](int zero_point) {
      return optimal_grid(density, uniform_grid{static_cast<double>(s.q_min) - zero_point, s.q_max - s.q_min + 1});
    };
    int zero_point = s.choose(data).zero_point;
    grid_optimum best = at(zero_point);
    if (!s.fixed_zero_point) {
      for (int move = (s.q_max - s.q_min + 1) / 8; move >= 1; move /= 2) {
        for (bool better = true; better;) {
          better = false;
          for (int side = -1; side <= 1; side += 2) {
            int const candidate = zero_point + side * move;
            if (candidate < s.q_min || candidate > s.q_max) continue;
            grid_optimum const o = at(candidate);
            if (o.mse < best.mse) best = o, zero_point = candidate, better = true;
          }
        }
      }
    }
    return {detail::finite_float(best.step * (static_cast<double>(s.q_min) - zero_point)),
            detail::finite_float(best.step * (static_cast<double>(s.q_max) - zero_point))};
  }
};

/// In the order in which recommend() prefers them when they are equally good.
using calibrators = type_list<by_min_max, by_exact_grid, by_mse, by_lp, by_l2_search, by_percentile, by_aciq_laplace,
                              by_aciq_gaussian, by_entropy>;

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
