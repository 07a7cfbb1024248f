// recommend.hpp — which scale and zero point to take, how good they are, and whether the data can be trusted.
//
// Every calibrator proposes a range; each proposal is rated by the mean squared error that the histogram predicts, and (when the
// data itself is given) by the error measured on it. The best one wins; on equal terms the earlier of `calibrators`.
#pragma once

#include "../round/half_even.hpp"
#include "../scheme/choose_params.hpp"
#include "calibrators.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {

/// What is suspicious about the data; a set of bits.
enum class concern : unsigned {
  none = 0,
  empty = 1,            ///< no finite value at all
  all_zero = 2,         ///< nothing but zeros
  constant = 4,         ///< one value only
  one_batch = 8,        ///< a single batch: its extremes are luck
  few_values = 16,      ///< fewer than 1000: quantiles and histograms mean little
  not_a_number = 32,    ///< NaN was seen
  infinite = 64,        ///< an infinity was seen
  outliers = 128,       ///< the extreme is more than 20 root mean squares out: min-max gives most codes to nothing
};
QUERN_INLINE constexpr concern operator|(concern a, concern b) noexcept { return static_cast<concern>(static_cast<unsigned>(a) | static_cast<unsigned>(b)); }
QUERN_INLINE constexpr concern operator&(concern a, concern b) noexcept { return static_cast<concern>(static_cast<unsigned>(a) & static_cast<unsigned>(b)); }
QUERN_INLINE constexpr concern& operator|=(concern& a, concern b) noexcept { return a = a | b; }
QUERN_INLINE constexpr bool any(concern c) noexcept { return c != concern::none; }

/// One calibrator's proposal.
struct proposal {
  char const* name = "";
  scale_zero_point params;
  double predicted_sqnr = 0;  ///< dB, from the histogram
  double measured_sqnr = 0;   ///< dB, on the data; 0 when no data was given
  double clip_share = 0;      ///< share of values beyond the codes
};

/// What recommend() found.
struct recommendation {
  static constexpr int capacity = 16;
  proposal best;
  proposal all[capacity];   ///< in the order of the list
  int count = 0;
  concern concerns = concern::none;
  std::int64_t values = 0, batches = 0;
};

inline namespace QUERN_ABI {

/// A sentence for one bit.
constexpr char const* text(concern c) noexcept {
  switch (c) {
    case concern::none: return "nothing suspicious";
    case concern::empty: return "no finite value was observed: scale 1 is a guess";
    case concern::all_zero: return "all values are 0: scale 1 is a guess";
    case concern::constant: return "all values are the same: the range says nothing about other data";
    case concern::one_batch: return "only one batch was observed: its extremes may not be those of the next";
    case concern::few_values: return "fewer than 1000 values were observed: quantiles are unreliable";
    case concern::not_a_number: return "NaN was observed and left out: look for its source";
    case concern::infinite: return "infinite values were observed and left out: they will saturate";
    case concern::outliers: return "the largest value is over 20 times the root mean square: prefer per-channel scales, smoothing or rotation";
  }
  return "several";
}

/// What is suspicious about the data behind a histogram.
inline concern concerns_of(histogram const& h) noexcept {
  concern c = concern::none;
  if (h.nan_count() > 0) c |= concern::not_a_number;
  if (h.inf_count() > 0) c |= concern::infinite;
  if (h.count() == 0) return c | concern::empty;
  if (h.batches() == 1) c |= concern::one_batch;
  if (h.count() < 1000) c |= concern::few_values;
  real_range const r = h.range();
  if (r.min == 0 && r.max == 0)
    c |= concern::all_zero;
  else if (r.min == r.max)
    c |= concern::constant;
  else if (detail::magnitude_of(r) > 20 * sqrt_of(h.mean_square()))
    c |= concern::outliers;
  return c;
}

/// Mean squared error and clipped share of quantizing `data` (finite values of it) with `q`, half to even.
struct measured_error {
  double mse = 0, signal = 0, clip_share = 0;
};
template <class T>
measured_error measure(vector_view<T> data, code_facts const& s, scale_zero_point q) {
  double sum = 0, signal = 0;
  std::int64_t clipped = 0, count = 0;
  for (index_t i = 0; i < data.size; ++i) {
    float const x = static_cast<float>(data[i]);
    if (!is_finite(x)) continue;
    float const code = round_to::half_even::to_integral(x / q.scale) + static_cast<float>(q.zero_point);
    float const kept = code < static_cast<float>(s.q_min) ? static_cast<float>(s.q_min) : code > static_cast<float>(s.q_max) ? static_cast<float>(s.q_max) : code;
    clipped += kept != code;
    double const e = rounded((static_cast<double>(kept) - q.zero_point) * q.scale) - x;
    sum += rounded(e * e);
    signal += rounded(static_cast<double>(x) * x);
    ++count;
  }
  if (count == 0) return {};
  double const n = static_cast<double>(count);
  return {sum / n, signal / n, static_cast<double>(clipped) / n};
}

/// Rates every calibrator on a histogram, and on `data` as well if it is not empty.
///
///     auto r = recommend<asymmetric<u8>>(h, activations);      r.best.params.scale, r.best.name, r.concerns
///
/// A histogram without values yields scale 1 and `concern::empty`: nothing is refused, everything is reported.
template <class T = float const>
recommendation recommend(histogram const& h, code_facts const& s, vector_view<T> data = {}) {
  recommendation r;
  r.concerns = concerns_of(h);
  r.values = h.count();
  r.batches = h.batches();
  if (any(r.concerns & (concern::empty | concern::all_zero))) {
    r.best = {"none", s.choose(real_range{}), 0, 0, 0};
    return r;
  }
  empirical const density(h);
  for_each_type<calibrators>([&](auto tag) {
    using calibrator = typename decltype(tag)::type;
    if (r.count == recommendation::capacity) return;
    proposal p;
    p.name = calibrator::name;
    p.params = s.choose(calibrator{}.range(h, s));
    uniform_grid const grid{static_cast<double>(s.q_min) - p.params.zero_point, s.q_max - s.q_min + 1};
    double const mse = grid_mse(density, grid, p.params.scale);
    p.predicted_sqnr = decibel(h.mean_square() / (mse > 0 ? mse : h.mean_square() * 1e-20));
    p.clip_share = density.outside((grid.first - 0.5) * p.params.scale, (grid.last() + 0.5) * p.params.scale);
    if (p.clip_share < 0) p.clip_share = 0;
    if (data.size > 0) {
      measured_error const m = measure(data, s, p.params);
      p.measured_sqnr = decibel(m.signal / (m.mse > 0 ? m.mse : m.signal * 1e-20));
      p.clip_share = m.clip_share;
    }
    double const rating = data.size > 0 ? p.measured_sqnr : p.predicted_sqnr;
    double const best = data.size > 0 ? r.best.measured_sqnr : r.best.predicted_sqnr;
    if (r.count == 0 || rating > best) r.best = p;
    r.all[r.count++] = p;
  });
  return r;
}

template <scheme S, class T = float const>
recommendation recommend(histogram const& h, vector_view<T> data = {}) {
  static_assert(S::granularity::single, "quern::calibrate::recommend: one histogram makes one scale; use per_tensor schemes, channel by channel.");
  return recommend(h, facts_of<S>, data);
}

/// The same from the data alone: observes it as one batch.
template <scheme S, class T>
  requires real<std::remove_const_t<T>>
recommendation recommend(vector_view<T> data) {
  histogram h;
  h.observe(data);
  return recommend<S>(h, data);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
