// torch_histogram.hpp — PyTorch's HistogramObserver itself: the bins follow the first batch and are resampled when the range grows.
//
// Depends on the order of batches, as PyTorch's does; histogram.hpp is the observer to use unless the same numbers are wanted.
// Versions up to 1.13 bin between the *truncated* extremes, int(min) and int(max): values beyond them are not counted, and
// a batch within (-1, 1) is binned over its own range. `torch_bins::exact` is the repaired form of later versions.
//
// @errors  counts equal PyTorch's except for values within an ulp of a bin's edge; the searched range differs where PyTorch's float
//          sums decide a comparison the other way (tests/oracles compares).
// @source  torch/ao/quantization/observer.py, HistogramObserver (2048 bins, upsample rate 128); aten histc.
#pragma once

#include "../core/buffer.hpp"
#include "../core/elementary.hpp"
#include "l2_search.hpp"
#include "min_max.hpp"
#include "observe.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {

enum class torch_bins { truncated, exact };

inline namespace QUERN_ABI {

/// See the head of this file. NaN and infinities are left out (PyTorch refuses them).
class torch_histogram {
 public:
  static constexpr char const* name = "torch_histogram";
  static constexpr index_t bins = 2048, upsample = 128;

  explicit torch_histogram(torch_bins edges = torch_bins::truncated) : edges_(edges), counts_(bins) {}

  template <class T>
    requires real<std::remove_const_t<T>>
  void observe(vector_view<T> batch, isa max_isa = isa::best) {
    observed_range const seen = range_of(batch, max_isa);
    real_range const now = seen.range;
    if (now.empty()) return;
    auto const histc = [&](real_range range) { return this->histc(batch, seen, range, max_isa); };
    if (range_.empty() || range_.min == range_.max) {
      range_ = now;
      counts_ = histc(now);
      return;
    }
    real_range combined{now.min < range_.min ? now.min : range_.min, now.max > range_.max ? now.max : range_.max};
    // All in float, as PyTorch's 0-dimensional tensors compute.
    float const fine = (range_.max - range_.min) / static_cast<float>(bins * upsample);
    float const ratio = (combined.max - combined.min) / (static_cast<float>(bins) * fine);
    if (!(ratio < 1e9f)) {  // the old range is a point of the new one (PyTorch would run out of memory)
      buffer<float> sum = histc(combined);
      double old = 0;
      for (float c : counts_) old += c;
      double const at = (static_cast<double>(range_.min) - combined.min) / (static_cast<double>(combined.max) - combined.min) * static_cast<double>(bins);
      sum[at < static_cast<double>(bins) ? static_cast<index_t>(at) : bins - 1] += static_cast<float>(old);
      counts_ = sum;
      range_ = combined;
      return;
    }
    auto const down = static_cast<index_t>(ceil_of(ratio));
    float const excess = rounded(static_cast<float>(down) * rounded(static_cast<float>(bins) * fine)) - (combined.max - combined.min);
    combined.max = combined.max + excess;
    auto const start = static_cast<index_t>(nearest_even((range_.min - combined.min) / fine));
    buffer<float> sum = histc(combined);
    if (combined == range_) {
      for (index_t i = 0; i < bins; ++i) sum[i] += counts_[i];
    } else {
      // Old bins, each split into `upsample`, lie at `start`; every `down` of these make a new bin.
      double integral = 0, before = 0;
      for (index_t b = 0; b < bins; ++b) {
        index_t const from = b * down > start ? b * down - start : 0;
        index_t const to = (b + 1) * down - start < bins * upsample ? (b + 1) * down - start : bins * upsample;
        for (index_t old = from; old < to; ++old) integral += counts_[old / upsample];
        sum[b] += static_cast<float>((integral - static_cast<double>(static_cast<float>(before))) / static_cast<double>(upsample));
        before = integral;
      }
    }
    counts_ = sum;
    range_ = combined;
  }

  /// The range after PyTorch's search. Empty before the first batch.
  real_range range(int bits = 8) const {
    if (range_.empty()) return {};
    if (range_.min == range_.max) return range_;
    buffer<double> counts(bins);
    double total = 0;
    for (index_t i = 0; i < bins; ++i) total += counts[i] = counts_[i];
    if (!(total > 0)) return range_;
    float const width = (range_.max - range_.min) / static_cast<float>(bins);
    double const wide = (static_cast<double>(range_.max) - range_.min) / static_cast<double>(bins);
    bin_span const kept = l2_search(vector_view<double const>{counts.data(), bins, 1}, wide, bits);
    return {range_.min + rounded(width * static_cast<float>(kept.first)), range_.min + rounded(width * static_cast<float>(kept.last + 1))};
  }
  /// The extremes that the bins span.
  real_range span() const noexcept { return range_; }
  float bin(index_t i) const noexcept { return counts_[i]; }

  static constexpr index_t serialized_size() noexcept { return detail::blob_frame + 12 + 4 * bins; }
  void save(vector_view<std::uint8_t> dst) const {
    detail::byte_writer w(dst, observer_kind::torch_histogram, serialized_size());
    w.u32(static_cast<std::uint32_t>(edges_)), w.f32(range_.min), w.f32(range_.max);
    for (float c : counts_) w.f32(c);
    w.finish();
  }
  static torch_histogram load(vector_view<std::uint8_t const> src) {
    detail::byte_reader r(src, observer_kind::torch_histogram);
    if (src.size != serialized_size()) fail(errc::format, "load: src has ", src.size, " bytes; this observer takes ", serialized_size(), ".");
    torch_histogram h(r.u32() == 0 ? torch_bins::truncated : torch_bins::exact);
    h.range_.min = r.f32();
    h.range_.max = r.f32();
    for (float& c : h.counts_) c = r.f32();
    return h;
  }

 private:
  static float nearest_even(float x) noexcept { return static_cast<float>(nearest_integer(x)); }

  /// torch.histc: equal bins from low to high, values outside are dropped, high itself is in the last bin.
  template <class T>
  buffer<float> histc(vector_view<T> batch, observed_range const& seen, real_range range, isa max_isa) const {
    float low = range.min, high = range.max;
    if (edges_ == torch_bins::truncated) low = trunc_of(low), high = trunc_of(high);
    if (low == high) {
      low = seen.range.min, high = seen.range.max;
      if (low == high) low -= 1, high += 1;
    }
    auto const bins_of = detail::observe_kernels_for(max_isa).histc;
    constexpr index_t size = bins + 1;             // one more for what is dropped
    buffer<std::uint64_t> tables(2 * size);        // even and odd elements: equal neighbours do not wait for each other
    detail::for_each_finite_block(batch, seen.nan + seen.infinite == 0, [&](float const* x, index_t n) {
      std::uint32_t at[detail::observed_block];
      bins_of(x, (n + 15) & ~index_t{15}, low, high, static_cast<std::uint32_t>(bins), at);
      index_t i = 0;
      for (; i + 1 < n; i += 2) ++tables[at[i]], ++tables[size + at[i + 1]];
      if (i < n) ++tables[at[i]];
    });
    buffer<float> counts(bins);
    for (index_t i = 0; i < bins; ++i) counts[i] = static_cast<float>(tables[i] + tables[size + i]);
    return counts;
  }

  torch_bins edges_;
  real_range range_;
  buffer<float> counts_;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
