// robust_min_max.hpp — the mean or the median of the batches' extremes, after those of odd batches are left out.
//
// Keeps two floats a batch. Before it answers they are sorted, so that neither the order of batches nor merging matters.
//
// @source  the aggregators MEAN_NO_OUTLIERS and MEDIAN_NO_OUTLIERS of NNCF: outliers lie outside of the quantiles
//          [outliers, 1 - outliers], interpolated linearly.
#pragma once

#include "../core/buffer.hpp"
#include "../core/foreign.hpp"
#include "moving_average.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {

/// How the batches' extremes become one.
enum class aggregate { mean, median };

inline namespace QUERN_ABI {

/// See the head of this file.
class robust_min_max {
 public:
  static constexpr char const* name = "robust_min_max";

  template <class T>
  void observe(vector_view<T> batch, observe_options const& options) {
    real_range const r = extremes(batch, options);
    if (!r.empty()) push(r);
  }
  template <class T>
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
  void merge(robust_min_max const& other) {
    for (index_t i = 0, n = other.size_; i < n; ++i) push(other.ranges_[i]);
  }
  std::int64_t batches() const noexcept { return size_; }

  /// `outliers`: the share of batches left out at either end, 0 for none. Empty without a batch.
  /// @errors argument unless 0 <= outliers < 0.5.
  real_range range(aggregate how = aggregate::mean, double outliers = 0.01) const {
    if (!(outliers >= 0 && outliers < 0.5))
      fail(errc::argument, "robust_min_max: outliers is ", outliers, "; it must be at least 0 and below 0.5.");
    if (size_ == 0) return {};
    buffer<float> v(size_);
    for (index_t i = 0; i < size_; ++i) v[i] = ranges_[i].min;
    float const low = aggregated(v, how, outliers);
    for (index_t i = 0; i < size_; ++i) v[i] = ranges_[i].max;
    return {low, aggregated(v, how, outliers)};
  }

  index_t serialized_size() const noexcept { return detail::blob_frame + 8 + 8 * size_; }
  void save(vector_view<std::uint8_t> dst) const {
    detail::byte_writer w(dst, observer_kind::robust_min_max, serialized_size());
    w.u64(static_cast<std::uint64_t>(size_));
    for (index_t i = 0; i < size_; ++i) w.f32(ranges_[i].min), w.f32(ranges_[i].max);
    w.finish();
  }
  static robust_min_max load(vector_view<std::uint8_t const> src) {
    detail::byte_reader r(src, observer_kind::robust_min_max);
    std::uint64_t const n = r.u64();
    if (static_cast<std::uint64_t>(r.left()) != 8 * n) fail(errc::format, "load: src says ", n, " batches, which does not fit its size.");
    robust_min_max m;
    for (std::uint64_t i = 0; i < n; ++i) {
      float const low = r.f32(), high = r.f32();
      if (!(low <= high)) fail(errc::format, "load: batch ", i, " of src is no range.");
      m.push({low, high});
    }
    return m;
  }

 private:
  void push(real_range r) {
    if (size_ == ranges_.size()) {
      buffer<real_range> larger(size_ < 8 ? 16 : 2 * size_);
      for (index_t i = 0; i < size_; ++i) larger[i] = ranges_[i];
      ranges_.swap(larger);
    }
    ranges_[size_++] = r;
  }
  static void sort(buffer<float>& v) noexcept {  // heap sort: no <algorithm> in this header
    index_t const n = v.size();
    auto const sink = [&](index_t i, index_t end) {
      for (index_t child; (child = 2 * i + 1) < end; i = child) {
        if (child + 1 < end && v[child] < v[child + 1]) ++child;
        if (!(v[i] < v[child])) return;
        float const t = v[i];
        v[i] = v[child], v[child] = t;
      }
    };
    for (index_t i = n / 2; i-- > 0;) sink(i, n);
    for (index_t end = n; end-- > 1;) {
      float const t = v[0];
      v[0] = v[end], v[end] = t;
      sink(0, end);
    }
  }
  static double quantile(buffer<float> const& sorted, double q) noexcept {
    double const at = q * static_cast<double>(sorted.size() - 1);
    auto const i = static_cast<index_t>(at);
    if (i + 1 >= sorted.size()) return sorted[sorted.size() - 1];
    return sorted[i] + rounded((at - static_cast<double>(i)) * (static_cast<double>(sorted[i + 1]) - sorted[i]));
  }
  static float aggregated(buffer<float>& v, aggregate how, double outliers) noexcept {
    sort(v);
    double const low = quantile(v, outliers), high = quantile(v, 1 - outliers);
    index_t first = 0, last = v.size() - 1;
    while (first < last && v[first] < low) ++first;
    while (last > first && v[last] > high) --last;
    index_t const n = last - first + 1;
    if (how == aggregate::median) {
      double const upper = v[first + n / 2], lower = v[first + (n - 1) / 2];
      return static_cast<float>((lower + upper) / 2);
    }
    double sum = 0;
    for (index_t i = first; i <= last; ++i) sum += v[i];
    return static_cast<float>(sum / static_cast<double>(n));
  }

  buffer<real_range> ranges_;
  index_t size_ = 0;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
