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
#include "../core/foreign.hpp"
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

  explicit torch_histogram(torch_bins places = torch_bins::truncated) : edges_(places), counts_(bins) {}

  template <class T>
    requires real<std::remove_const_t<T>>
  void observe(vector_view<T> batch, observe_options const& options) {
    detail::range_count<per_tensor>(batch);  // for its checks
    if (batch.size == 0) return;
    // Most batches lie within what was seen before. Then the bins are known before the batch is read, and reading it once is enough.
    if (!range_.empty() && range_.min != range_.max) {
      resampling const same = resample(range_);
      edges const e = edges_of(same.combined);
      if (!same.a_point && e.low != e.high) {
        detail::observed_extent seen;
        buffer<float> const counted = histc(batch, e, seen, options);
        if (seen.largest < 0x7f800000 && seen.least >= range_.min && seen.most <= range_.max) return add(counted, same);
      }
    }
    real_range const now = range_of(batch, options).range;
    if (now.empty()) return;
    auto const count = [&](real_range range) {
      edges e = edges_of(range);
      if (e.low == e.high) e = {now.min, now.max};
      if (e.low == e.high) e.low -= 1, e.high += 1;
      detail::observed_extent seen;
      return this->histc(batch, e, seen, options);
    };
    if (range_.empty() || range_.min == range_.max) {
      counts_ = count(now);
      range_ = now;
      return;
    }
    resampling const wider = resample(now);
    add(count(wider.combined), wider);
  }
  template <class T>
    requires real<std::remove_const_t<T>>
  void observe(vector_view<T> batch, isa max_isa = isa::best) {
    observe(batch, observe_options{.max_isa = max_isa});
  }
  /// An object of another library: an Eigen vector, matrix or tensor.
  template <foreign Object>
  void observe(Object const& batch, observe_options const& options) {
    observe(quern::detail::values_of("observe", foreign_view<Object>::of(batch)), options);
  }
  template <foreign Object>
  void observe(Object const& batch, isa max_isa = isa::best) {
    observe(batch, observe_options{.max_isa = max_isa});
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

  /// Where the old bins lie in new ones that span the old range and `now`. All in float, as PyTorch's 0-dimensional tensors compute.
  struct resampling {
    real_range combined;
    index_t down = 0, start = 0;
    bool a_point = false;  ///< the old range is a point of the new one (PyTorch would run out of memory)
  };
  resampling resample(real_range now) const noexcept {
    resampling r{{now.min < range_.min ? now.min : range_.min, now.max > range_.max ? now.max : range_.max}};
    float const fine = (range_.max - range_.min) / static_cast<float>(bins * upsample);
    float const ratio = (r.combined.max - r.combined.min) / (static_cast<float>(bins) * fine);
    r.a_point = !(ratio < 1e9f);
    if (r.a_point) return r;
    r.down = static_cast<index_t>(ceil_of(ratio));
    float const excess = rounded(static_cast<float>(r.down) * rounded(static_cast<float>(bins) * fine)) - (r.combined.max - r.combined.min);
    r.combined.max = r.combined.max + excess;
    r.start = static_cast<index_t>(nearest_even((range_.min - r.combined.min) / fine));
    return r;
  }
  /// Adds a batch's counts in the new bins, `sum`, to the old bins.
  void add(buffer<float> sum, resampling const& r) {
    if (r.a_point) {
      double old = 0;
      for (float c : counts_) old += c;
      double const at = (static_cast<double>(range_.min) - r.combined.min) / (static_cast<double>(r.combined.max) - r.combined.min) * static_cast<double>(bins);
      sum[at < static_cast<double>(bins) ? static_cast<index_t>(at) : bins - 1] += static_cast<float>(old);
    } else if (r.combined == range_) {
      for (index_t i = 0; i < bins; ++i) sum[i] += counts_[i];
    } else {
      // Old bins, each split into `upsample`, lie at `start`; every `down` of these make a new bin.
      double integral = 0, before = 0;
      for (index_t b = 0; b < bins; ++b) {
        index_t const from = b * r.down > r.start ? b * r.down - r.start : 0;
        index_t const to = (b + 1) * r.down - r.start < bins * upsample ? (b + 1) * r.down - r.start : bins * upsample;
        for (index_t old = from; old < to; ++old) integral += counts_[old / upsample];
        sum[b] += static_cast<float>((integral - static_cast<double>(static_cast<float>(before))) / static_cast<double>(upsample));
        before = integral;
      }
    }
    counts_.swap(sum);
    range_ = r.combined;
  }

  struct edges {
    float low, high;
  };
  edges edges_of(real_range range) const noexcept {
    return edges_ == torch_bins::truncated ? edges{trunc_of(range.min), trunc_of(range.max)} : edges{range.min, range.max};
  }
  /// torch.histc: equal bins from low to high, values outside are dropped, high itself is in the last bin. Also the batch's extremes.
  template <class T>
  buffer<float> histc(vector_view<T> batch, edges e, detail::observed_extent& seen, observe_options const& options) const {
    auto const kernels = detail::observe_kernels_for(options.max_isa);
    constexpr index_t cells = (bins + 1 + 7) & ~index_t{7};  // one more for what is dropped
    detail::work_shares const shares(options.executor, (batch.size + detail::observed_block - 1) / detail::observed_block, detail::values_a_share / detail::observed_block);
    buffer<std::uint64_t> counted(cells * shares.count);
    buffer<detail::observed_extent> extents(shares.count);
    options.executor(shares.count, [&](index_t s) {
      index_t const begin = shares.first(s) * detail::observed_block, end = begin + shares.size(s) * detail::observed_block;
      extents[s] = this->histc(batch.sub(begin, (end < batch.size ? end : batch.size) - begin), e, kernels, counted.data() + s * cells);
    });
    for (detail::observed_extent const& x : extents) seen.merge(x);
    buffer<float> counts(bins);
    for (index_t i = 0; i < bins; ++i) {
      std::uint64_t sum = 0;
      for (index_t s = 0; s < shares.count; ++s) sum += counted[s * cells + i];
      counts[i] = static_cast<float>(sum);
    }
    return counts;
  }
  template <class T>
  static detail::observed_extent histc(vector_view<T> batch, edges e, detail::observe_kernels const& kernels, std::uint64_t* counted) {
    detail::observe_tables_16 tables(bins + 1);
    detail::observed_extent seen;
    auto const bin_of = [e](float x) -> index_t {
      if (!(x >= e.low && x <= e.high)) return bins;
      float const at = (x - e.low) * static_cast<float>(bins) / (e.high - e.low);
      return at < static_cast<float>(bins - 1) ? static_cast<index_t>(at) : bins - 1;  // infinite or NaN for values beyond 1.7e35, too
    };
    detail::for_each_block(batch, [&](float const* x, index_t n) {
      index_t const whole = n & ~index_t{63};
      if (whole > 0) {
        tables.make_room(counted, kernels);
        seen.merge(kernels.histc(x, whole, e.low, e.high, static_cast<std::int32_t>(bins), static_cast<std::int32_t>(tables.table), tables.cells.data()));
        counted[bin_of(0)] += tables.take_zeros();
      }
      for (index_t l = whole; l < n; ++l) seen.see(x[l]), ++counted[bin_of(x[l])];
    });
    tables.flush(counted, kernels);
    return seen;
  }

  torch_bins edges_;
  real_range range_;
  buffer<float> counts_;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
