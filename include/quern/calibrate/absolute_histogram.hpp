// absolute_histogram.hpp — NVIDIA's collector: |x| in bins whose width the first batch fixes, as many as later batches need.
//
// Depends on the first batch, as Model Optimizer's does; histogram.hpp is the observer to use unless the same numbers are wanted.
//
// @source  NVIDIA Model Optimizer, calib/histogram.py, HistogramCalibrator (numpy form): edges linspace(0, amax, bins + 1),
//          extended by arange(amax, new_amax + width, width).
#pragma once

#include "../core/buffer.hpp"
#include "../core/foreign.hpp"
#include "entropy.hpp"
#include "min_max.hpp"
#include "observe.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {
inline namespace QUERN_ABI {

/// See the head of this file. NaN and infinities are left out.
class absolute_histogram {
 public:
  static constexpr char const* name = "absolute_histogram";

  /// @errors argument unless 128 <= first_bins <= 65536.
  explicit absolute_histogram(index_t first_bins = 2048) : first_bins_(first_bins) {
    if (first_bins < 128 || first_bins > 65536)
      fail(errc::argument, "absolute_histogram: first_bins is ", first_bins, "; it must be 128 to 65536.");
  }

  template <class T>
    requires real<std::remove_const_t<T>>
  void observe(vector_view<T> batch, observe_options const& options) {
    detail::range_count<per_tensor>(batch);  // for its checks
    // Most batches lie within the bins that there are: reading them once is enough.
    if (width_ != 0 && count(batch, options)) return;
    real_range const now = range_of(batch, options).range;
    if (now.empty()) return;
    double const largest = -now.min > now.max ? -static_cast<double>(now.min) : now.max;
    if (width_ == 0) {
      if (largest == 0) return;  // a width of 0 would have to hold everything that follows
      *this = spanning(static_cast<float>(largest), first_bins_);
    } else if (largest > width_ * static_cast<double>(counts_.size())) {
      double const needed = ceil_of(largest / width_);
      if (needed > 16777216)
        fail(errc::argument, "absolute_histogram: ", largest, " is ", needed / static_cast<double>(first_bins_),
             " times the first batch's largest value; calibrate with a representative first batch, or use histogram.");
      grow(static_cast<index_t>(needed));
    }
    count(batch, options);
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

  /// Bins as if the first batch's largest magnitude had been `largest`: for observers that are merged. @errors argument.
  static absolute_histogram spanning(float largest, index_t first_bins = 2048) {
    if (!(largest > 0) || !is_finite(largest))
      fail(errc::argument, "absolute_histogram: largest is ", static_cast<double>(largest), "; it must be finite and positive.");
    absolute_histogram h(first_bins);
    h.width_ = largest / static_cast<double>(first_bins);
    h.counts_ = buffer<std::uint64_t>(first_bins);
    return h;
  }
  /// Adds what `other` has seen, which has bins of the same width (see spanning()). @errors argument when widths differ.
  void merge(absolute_histogram const& other) {
    if (other.width_ == 0) return;
    if (width_ == 0) {
      *this = other;
      return;
    }
    if (other.width_ != width_)
      fail(errc::argument, "absolute_histogram: merging bins of width ", other.width_, " into bins of ", width_,
           "; they must be equal: begin all with spanning(), or use histogram.");
    grow(other.counts_.size());
    for (index_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
  }

  index_t serialized_size() const noexcept { return detail::blob_frame + 24 + 8 * counts_.size(); }
  /// @errors capacity when dst is shorter than serialized_size().
  void save(vector_view<std::uint8_t> dst) const {
    detail::byte_writer w(dst, observer_kind::absolute_histogram, serialized_size());
    w.u64(static_cast<std::uint64_t>(first_bins_)), w.f64(width_), w.u64(static_cast<std::uint64_t>(counts_.size()));
    for (std::uint64_t c : counts_) w.u64(c);
    w.finish();
  }
  /// @errors format when src is not what save() wrote.
  static absolute_histogram load(vector_view<std::uint8_t const> src) {
    detail::byte_reader r(src, observer_kind::absolute_histogram);
    std::uint64_t const first = r.u64();
    double const width = r.f64();
    std::uint64_t const size = r.u64();
    if (first < 128 || first > 65536 || !(width >= 0) || !is_finite(width) || size > 16777216 || (width == 0) != (size == 0) ||
        (size != 0 && size < first) || static_cast<std::uint64_t>(r.left()) != 8 * size)
      fail(errc::format, "load: src says ", first, " first bins of width ", width, " and ", size, " in all, which contradict each other or its size.");
    absolute_histogram h(static_cast<index_t>(first));
    h.width_ = width;
    h.counts_ = buffer<std::uint64_t>(static_cast<index_t>(size));
    for (std::uint64_t& c : h.counts_) c = r.u64();
    return h;
  }

  index_t size() const noexcept { return counts_.size(); }
  double width() const noexcept { return width_; }
  std::uint64_t bin(index_t i) const noexcept { return counts_[i]; }

  /// amax by entropy: the edge of the best candidate. 0 before the first non-zero value.
  double entropy_amax(entropy_options options = {}) const {
    if (width_ == 0) return 0;
    return static_cast<double>(entropy_threshold({counts_.data(), counts_.size(), 1}, options).bins) * width_;
  }
  /// The left edge of the first bin at which the cumulated share reaches percent / 100.
  double percentile_amax(double percent = 99.99) const {
    double total = 0, sum = 0;
    for (std::uint64_t c : counts_) total += static_cast<double>(c);
    for (index_t i = 0; i < counts_.size(); ++i) {
      sum += static_cast<double>(counts_[i]) / total;
      if (sum >= percent / 100) return static_cast<double>(i) * width_;
    }
    return static_cast<double>(counts_.size()) * width_;
  }
  /// The middle of the bin, from first_candidate on, whose choice as amax has the least squared error over the bins' middles.
  double mse_amax(int bits = 8, index_t first_candidate = 128) const {
    if (width_ == 0) return 0;
    double const bound = static_cast<double>((1 << (bits - 1)) - 1);
    double least = __builtin_inf(), best = 0;
    for (index_t i = first_candidate; i < counts_.size(); ++i) {
      double const amax = (static_cast<double>(i) + 0.5) * width_, scale = bound / amax;
      double sum = 0;
      for (index_t j = 0; j < counts_.size() && sum < least; ++j) {
        if (counts_[j] == 0) continue;
        double const c = (static_cast<double>(j) + 0.5) * width_;
        double const q = nearest_integer(c * scale), kept = q > bound ? bound : q;
        double const e = kept / scale - c;
        sum += rounded(e * e * static_cast<double>(counts_[j]));
      }
      if (sum < least) least = sum, best = amax;
    }
    return best;
  }

 private:
  /// Counts a batch, or nothing, with the answer false, when it has a value beyond the bins.
  template <class T>
  bool count(vector_view<T> batch, observe_options const& options) {
    index_t const size = counts_.size(), cells = (size + 7) & ~index_t{7};
    detail::work_shares const shares(options.executor, (batch.size + detail::observed_block - 1) / detail::observed_block, detail::values_a_share / detail::observed_block);
    buffer<std::uint64_t> counted(cells * shares.count);
    buffer<std::uint8_t> within(shares.count);
    options.executor(shares.count, [&](index_t s) {
      index_t const begin = shares.first(s) * detail::observed_block, end = begin + shares.size(s) * detail::observed_block;
      within[s] = this->count(batch.sub(begin, (end < batch.size ? end : batch.size) - begin), counted.data() + s * cells, options.max_isa);
    });
    for (std::uint8_t ok : within)
      if (!ok) return false;
    for (index_t s = 0; s < shares.count; ++s)
      for (index_t i = 0; i < size; ++i) counts_[i] += counted[s * cells + i];
    return true;
  }
  /// Adds to `counted`, which has as many elements, rounded up to 8.
  template <class T>
  bool count(vector_view<T> batch, std::uint64_t* counted, isa max_isa) const {
    auto const kernels = detail::observe_kernels_for(max_isa);
    index_t const size = counts_.size();
    double const end = width_ * static_cast<double>(size);  // the last edge belongs to the last bin
    float limit = static_cast<float>(end);
    if (limit > end) limit = bits_of<float>(bits_of<std::int32_t>(limit) - 1);
    std::int32_t const top = is_finite(limit) ? bits_of<std::int32_t>(limit) : 0x7f7fffff;
    // What observe_magnitudes takes: a width that a float can hold, which that of 2^n bins is and that of most others not.
    float const width = static_cast<float>(width_);
    bool const fast = detail::observe_tables_16::fits(size) && width == width_ && width > 0x1p-100f;
    detail::observe_tables_16 tables(fast ? size : 0);
    bool beyond = false;
    detail::for_each_block(batch, [&](float const* x, index_t n) {
      if (beyond) return;
      index_t done = fast ? n & ~index_t{63} : 0;
      if (done > 0) {
        tables.make_room(counted, kernels);
        auto const counts = [&](int change) {
          return kernels.absolute(x, done, width, top, static_cast<std::int32_t>(size - 1), static_cast<std::int32_t>(tables.table), tables.cells.data(),
                                  static_cast<std::uint16_t>(change));
        };
        bool const inside = counts(1).largest <= top;
        if (!inside) counts(-1);
        counted[0] += tables.take_zeros();
        if (!inside) done = 0;
      }
      for (index_t i = done; i < n && !beyond; i += few) {
        float finite[few] = {};
        std::uint32_t at[few];
        index_t kept = 0;
        for (index_t l = i; l < n && l < i + few; ++l) {
          if (!is_finite(x[l])) continue;
          finite[kept++] = x[l];
          beyond |= abs_of(x[l]) > end;
        }
        if (beyond) return;
        kernels.absolute_any(finite, (kept + 15) & ~index_t{15}, width_, static_cast<std::uint32_t>(size - 1), at);
        for (index_t l = 0; l < kept; ++l) ++counted[at[l]];
      }
    });
    if (beyond) return false;
    if (fast) tables.flush(counted, kernels);
    return true;
  }
  static constexpr index_t few = 512;

  void grow(index_t size) {
    if (size <= counts_.size()) return;
    buffer<std::uint64_t> larger(size);
    for (index_t i = 0; i < counts_.size(); ++i) larger[i] = counts_[i];
    counts_.swap(larger);
  }

  index_t first_bins_;
  double width_ = 0;
  buffer<std::uint64_t> counts_;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
