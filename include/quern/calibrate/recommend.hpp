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

}  // inline namespace QUERN_ABI
namespace detail {
inline namespace QUERN_ABI {
/// see(values, m) for a block with 0 in place of what is not finite and to fill it up to a multiple of 16: an error of 0. Returns how many
/// values are finite.
template <class See>
index_t see_finite(float const* x, index_t n, See const& see) {
  float values[512];
  index_t finite = 0;
  for (index_t i = 0; i < n; i += 512) {
    index_t const m = n - i < 512 ? n - i : 512, padded = (m + 15) & ~index_t{15};
    for (index_t l = 0; l < padded; ++l) {
      bool const kept = l < m && is_finite(x[i + l]);
      values[l] = kept ? x[i + l] : 0.0f;
      finite += kept;
    }
    see(static_cast<float const*>(values), padded);
  }
  return finite;
}
}  // inline namespace QUERN_ABI
}  // namespace detail
inline namespace QUERN_ABI {

/// Mean squared error and clipped share of quantizing `data` (finite values of it) with `q`, half to even.
struct measured_error {
  double mse = 0, signal = 0, clip_share = 0;
};
template <class T>
measured_error measure(vector_view<T> data, code_facts const& s, scale_zero_point q, isa max_isa = isa::best) {
  auto const errors = detail::observe_kernels_for(max_isa).errors;
  detail::observed_grid const grid{q.scale, static_cast<float>(q.zero_point), static_cast<float>(s.q_min), static_cast<float>(s.q_max)};
  double sum = 0, signal = 0;
  std::int64_t clipped = 0, count = 0;
  detail::for_each_block(data, [&](float const* x, index_t n) {
    index_t const whole = n & ~index_t{15};
    auto const see = [&](float const* values, index_t m) {
      detail::observed_error seen;
      errors(values, m, grid, seen);
      if (seen.largest >= 0x7f800000) return false;
      for (int half = 8; half >= 1; half /= 2)
        for (int l = 0; l < half; ++l) seen.errors[l] += seen.errors[l + half], seen.squares[l] += seen.squares[l + half];
      sum += seen.errors[0];
      signal += seen.squares[0];
      clipped += seen.clipped;
      return true;
    };
    if (whole > 0 && see(x, whole))
      count += whole;
    else if (whole > 0)
      count += detail::see_finite(x, whole, see);
    if (whole < n) count += detail::see_finite(x + whole, n - whole, see);
  });
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
    proposal const* same = nullptr;  // two that agree are measured once
    for (int i = 0; i < r.count; ++i)
      if (r.all[i].params.scale == p.params.scale && r.all[i].params.zero_point == p.params.zero_point) same = &r.all[i];
    if (data.size > 0 && same != nullptr) {
      p.measured_sqnr = same->measured_sqnr;
      p.clip_share = same->clip_share;
    } else if (data.size > 0) {
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
