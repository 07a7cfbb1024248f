// histogram.hpp — the observer behind all thresholds: one pass over the data, every question afterwards.
//
// A bin's width is a power of two and its edges are multiples of it, so that widening it merges neighbours without splitting
// a count. The width follows from the largest magnitude seen and nothing else. Hence the state depends only on *which* batches
// were observed: not on their order, not on the number of threads that each fed a histogram of its own and merged.
// (The frameworks' histograms depend on the first batch; see torch_histogram.hpp and absolute_histogram.hpp for theirs.)
//
//     bins        -half .. half - 1; bin i >= 0 counts x with i <= x / width < i + 1, bin i < 0 counts i < x / width <= i + 1, x < 0
//     width       the smallest 2^e >= 2^-125 with max|x| < half * 2^e: at least half / 2 bins are used on the wider side
#pragma once

#include "../core/buffer.hpp"
#include "../core/foreign.hpp"
#include "../core/reals.hpp"
#include "../scheme/scheme.hpp"
#include "bytes.hpp"
#include "distribution.hpp"
#include "exact_sum.hpp"
#include "observe.hpp"
#include "options.hpp"

namespace quern::calibrate {
inline namespace QUERN_ABI {

/// Counts, extremes and exact moments of every value observed. NaN and infinities are counted apart and left out of the rest.
class histogram {
 public:
  static constexpr char const* name = "histogram";
  static constexpr index_t default_half_bins = 2048;

  histogram() : histogram(default_half_bins) {}
  /// @errors argument unless half_bins is a power of two, 64 to 65,536.
  explicit histogram(index_t half_bins) : half_(half_bins) {
    if (half_bins < 64 || half_bins > 65536 || (half_bins & (half_bins - 1)) != 0)
      fail(errc::argument, "histogram: half_bins is ", half_bins, "; it must be a power of two from 64 to 65536.");
    counts_ = buffer<std::uint64_t>(2 * half_bins);
  }

  /// Adds a batch. Sums are rounded within the batch and exact across batches. @errors null.
  template <class T>
    requires real<std::remove_const_t<T>>
  void observe(vector_view<T> batch, observe_options const& options) {
    if (batch.size > 0 && batch.data == nullptr)
      fail(errc::null, "histogram: the batch is null, but has ", batch.size, " values.");
    batch_in_pieces all;
    detail::work_shares const shares(options.executor, (batch.size + piece - 1) / piece, detail::values_a_share / piece);
    if (shares.count > 1) {
      // A histogram for each share, and the sums of each piece apart, so that they can be added in one order.
      buffer<batch_in_pieces> pieces(shares.units);
      in_shares(shares, options.executor, [&](histogram& mine, index_t share) {
        batch_in_pieces* to = &pieces[shares.first(share)];
        index_t const begin = shares.first(share) * piece, end = begin + shares.size(share) * piece;
        detail::for_each_block(batch.sub(begin, (end < batch.size ? end : batch.size) - begin),
                               [&](float const* data, index_t n) { mine.observe(data, n, *to++, options.max_isa); });
      });
      for (batch_in_pieces const& p : pieces) all.sum += p.sum, all.squares += p.squares, all.values += p.values;
    } else {
      detail::for_each_block(batch, [&](float const* data, index_t n) { observe(data, n, all, options.max_isa); });
    }
    finish(all);
  }
  template <class T>
    requires real<std::remove_const_t<T>>
  void observe(vector_view<T> batch, isa max_isa = isa::best) {
    observe(batch, observe_options{.max_isa = max_isa});
  }
  /// A matrix is one batch for each of its rows, unless it has no gaps.
  template <class T>
  void observe(matrix_view<T> batch, observe_options const& options) {
    if (batch.contiguous()) return observe(vector_view<T>{batch.data, batch.rows * batch.cols, 1}, options);
    detail::work_shares const shares(options.executor, batch.rows, batch.cols > 0 ? detail::values_a_share / batch.cols : batch.rows);
    if (shares.count <= 1) {
      for (index_t i = 0; i < batch.rows; ++i) observe(batch.row(i), options.max_isa);
      return;
    }
    in_shares(shares, options.executor, [&](histogram& mine, index_t share) {
      for (index_t i = 0; i < shares.size(share); ++i) mine.observe(batch.row(shares.first(share) + i), options.max_isa);
    });
  }
  template <class T>
  void observe(matrix_view<T> batch, isa max_isa = isa::best) {
    observe(batch, observe_options{.max_isa = max_isa});
  }
  /// An object of another library: an Eigen vector, matrix or tensor.
  template <foreign Object>
  void observe(Object const& batch, observe_options const& options) {
    auto const seen = foreign_view<Object>::of(batch);
    if constexpr (requires { this->observe(seen, options); })
      observe(seen, options);
    else
      observe(quern::detail::values_of("observe", seen), options);
  }
  template <foreign Object>
  void observe(Object const& batch, isa max_isa = isa::best) {
    observe(batch, observe_options{.max_isa = max_isa});
  }

  /// A batch that comes in pieces of `piece` values, the last of up to as many (per_channel_observer): the same bits as in one.
  static constexpr index_t piece = detail::observed_block;
  struct batch_in_pieces {
    double sum = 0, squares = 0;
    index_t values = 0;
  };
  void observe(float const* data, index_t n, batch_in_pieces& batch, isa max_isa = isa::best) {
    batch.values += n;
    observe_block(data, n, batch, max_isa);
  }
  void finish(batch_in_pieces const& batch) {
    if (batch.values > 0) ++batches_;
    sum_.add(batch.sum);
    squares_.add(batch.squares);
  }

  /// Adds everything that `other` has seen. @errors shape when the numbers of bins differ.
  void merge(histogram const& other) {
    if (other.half_ != half_)
      fail(errc::shape, "histogram: merging ", 2 * other.half_, " bins into ", 2 * half_, "; the numbers must be equal.");
    if (other.count_ > 0) {
      if (count_ == 0 || other.exponent_ > exponent_) widen(other.exponent_);
      int const shift = exponent_ - other.exponent_;
      for (index_t i = -half_; i < half_; ++i) at(merged(i, shift)) += other.bin(i);
    }
    count_ += other.count_;
    batches_ += other.batches_;
    nan_ += other.nan_;
    inf_ += other.inf_;
    zeros_ += other.zeros_;
    if (other.min_ < min_) min_ = other.min_;
    if (other.max_ > max_) max_ = other.max_;
    sum_.add(other.sum_);
    squares_.add(other.squares_);
  }

  std::int64_t count() const noexcept { return count_; }      ///< finite values
  std::int64_t batches() const noexcept { return batches_; }
  std::int64_t nan_count() const noexcept { return nan_; }
  std::int64_t inf_count() const noexcept { return inf_; }
  std::int64_t zero_count() const noexcept { return zeros_; }
  /// The extremes of the finite values; empty() when there were none.
  real_range range() const noexcept { return count_ > 0 ? real_range{min_, max_} : real_range{}; }
  double mean() const noexcept { return count_ > 0 ? sum_.value() / static_cast<double>(count_) : 0; }
  double mean_square() const noexcept { return count_ > 0 ? squares_.value() / static_cast<double>(count_) : 0; }
  double variance() const noexcept {
    double const v = mean_square() - mean() * mean();
    return v > 0 ? v : 0;
  }
  index_t half_bins() const noexcept { return half_; }
  double width() const noexcept { return ldexp_of(1.0, exponent_); }
  /// Values in bin i, -half_bins() <= i < half_bins().
  std::uint64_t bin(index_t i) const noexcept {
    index_t const at = i + half_;
    return partial_.empty() ? counts_[at] : counts_[at] + static_cast<std::uint64_t>(partial_[at] + partial_[at + 2 * half_]);
  }

  /// The same batches were seen. (Bit for bit: sums too.)
  friend bool operator==(histogram const& a, histogram const& b) noexcept {
    if (a.half_ != b.half_ || a.count_ != b.count_ || a.batches_ != b.batches_ || a.nan_ != b.nan_ || a.inf_ != b.inf_ ||
        a.zeros_ != b.zeros_ || !(a.sum_ == b.sum_) || !(a.squares_ == b.squares_) || !(a.range() == b.range()))
      return false;
    for (index_t i = -a.half_; i < a.half_; ++i)
      if (a.bin(i) != b.bin(i)) return false;
    return a.exponent_ == b.exponent_ || a.count_ == 0;
  }

  index_t serialized_size() const noexcept {
    return detail::blob_frame + 8 * (7 + 2 * exact_sum::limbs) + 8 + 8 * 2 * half_;
  }
  /// @errors capacity when dst is shorter than serialized_size().
  void save(vector_view<std::uint8_t> dst) const {
    detail::byte_writer w(dst, observer_kind::histogram, serialized_size());
    std::int64_t const head[] = {half_, exponent_, count_, batches_, nan_, inf_, zeros_};
    for (std::int64_t v : head) w.u64(static_cast<std::uint64_t>(v));
    w.f32(min_);
    w.f32(max_);
    for (int i = 0; i < exact_sum::limbs; ++i) w.u64(static_cast<std::uint64_t>(sum_.limb(i)));
    for (int i = 0; i < exact_sum::limbs; ++i) w.u64(static_cast<std::uint64_t>(squares_.limb(i)));
    for (index_t i = -half_; i < half_; ++i) w.u64(bin(i));
    w.finish();
  }
  /// @errors format when src is not what save() wrote.
  static histogram load(vector_view<std::uint8_t const> src) {
    detail::byte_reader r(src, observer_kind::histogram);
    auto const half = static_cast<index_t>(r.u64());
    if (half < 64 || half > 65536 || (half & (half - 1)) != 0 || src.size != histogram(64).serialized_size() + 16 * (half - 64))
      fail(errc::format, "load: src says ", half, " bins a side, which does not fit its ", src.size, " bytes.");
    histogram h(half);
    h.exponent_ = static_cast<int>(static_cast<std::int64_t>(r.u64()));
    h.count_ = static_cast<std::int64_t>(r.u64());
    h.batches_ = static_cast<std::int64_t>(r.u64());
    h.nan_ = static_cast<std::int64_t>(r.u64());
    h.inf_ = static_cast<std::int64_t>(r.u64());
    h.zeros_ = static_cast<std::int64_t>(r.u64());
    h.min_ = r.f32();
    h.max_ = r.f32();
    for (int i = 0; i < exact_sum::limbs; ++i) h.sum_.set_limb(i, static_cast<std::int64_t>(r.u64()));
    for (int i = 0; i < exact_sum::limbs; ++i) h.squares_.set_limb(i, static_cast<std::int64_t>(r.u64()));
    std::uint64_t total = 0;
    for (auto& c : h.counts_) total += c = r.u64();
    double const end = ldexp_of(static_cast<double>(half), h.exponent_);
    if (total != static_cast<std::uint64_t>(h.count_) || h.count_ < 0 || h.batches_ < 0 || h.nan_ < 0 || h.inf_ < 0 || h.zeros_ < 0 || h.zeros_ > h.count_ || h.exponent_ < lowest_exponent || h.exponent_ > 128 ||
        (h.count_ > 0 && !(h.min_ <= h.max_ && -end <= h.min_ && h.max_ <= end)))
      fail(errc::format, "load: src's counts, range and width contradict each other.");
    return h;
  }

 private:
  /// f(a histogram of its own, share) for all shares; then this histogram has seen what all of them have.
  template <class F>
  void in_shares(detail::work_shares const& shares, executor_ref const& executor, F const& f) {
    struct parts {
      histogram* all;
      explicit parts(index_t n) : all(new histogram[static_cast<std::size_t>(n)]) {}
      parts(parts const&) = delete;
      ~parts() { delete[] all; }
    } const each(shares.count);
    executor(shares.count, [&](index_t share) {
      histogram mine(half_);
      mine.exponent_ = exponent_;  // nothing is counted twice where the batch is no wider than those before
      f(mine, share);
      each.all[share] = static_cast<histogram&&>(mine);
    });
    for (index_t s = 0; s < shares.count; ++s) merge(each.all[s]);
  }

  static constexpr int lowest_exponent = -125;  // 1 / width stays a float

  std::uint64_t& at(index_t i) noexcept { return counts_[i + half_]; }
  // Bin -1 is the mirror of bin 0: an arithmetic shift maps -2, -1 to -1 and 0, 1 to 0.
  static index_t merged(index_t i, int shift) noexcept { return i >> (shift < 40 ? shift : 40); }

  void widen(int exponent) {
    flush();
    if (count_ > 0) {
      int const shift = exponent - exponent_;
      for (index_t i = 0; i < half_; ++i) {  // outwards from the middle: a target is never right of its source
        std::uint64_t const up = at(i), down = at(-1 - i);
        at(i) = at(-1 - i) = 0;
        at(merged(i, shift)) += up;
        at(merged(-1 - i, shift)) += down;
      }
    }
    exponent_ = exponent;
  }

  /// The exponent that bins need for a magnitude: largest < 2^exponent = half * 2^needed.
  int exponent_for(float largest) const noexcept {
    int log_half = 0;
    while ((index_t{1} << log_half) < half_) ++log_half;
    int const needed = largest > 0 ? frexp_of(largest).exponent - log_half : lowest_exponent;
    return needed < lowest_exponent ? lowest_exponent : needed;
  }

  float to_bins() const noexcept { return ldexp_of(1.0f, -exponent_); }
  float bound() const noexcept { return ldexp_of(static_cast<float>(half_), exponent_); }  ///< magnitudes are below it; may be infinite

  void observe_block(float const* data, index_t n, batch_in_pieces& totals, isa max_isa) {
    detail::observed_lanes lanes;
    index_t done = n & ~index_t{63};
    if (done > 0 && !observe_whole(data, done, lanes, max_isa)) lanes = {}, done = 0;
    float scale = to_bins(), outside = bound();
    for (index_t i = done; i < n; ++i) {
      float const x = data[i], magnitude = abs_of(x);
      if (!is_finite(x)) {
        ++(is_nan(x) ? nan_ : inf_);
        continue;
      }
      lanes.see(i, x);
      zeros_ += x == 0;
      if (magnitude >= outside) {
        widen(exponent_for(magnitude));
        scale = to_bins(), outside = bound();
      }
      auto const bin = static_cast<index_t>(magnitude * scale);
      ++at(x < 0 ? -1 - bin : bin);
      ++count_;
    }
    lanes.finish();
    totals.sum += lanes.sum[0];
    totals.squares += lanes.squares[0];
    if (lanes.least < min_) min_ = lanes.least;
    if (lanes.most > max_) max_ = lanes.most;
  }
  /// n a multiple of 64. Counts in the hope that all fit into the bins, and takes it back where they do not: in the first block, where
  /// the range grows, and, with the answer false, where something is not finite.
  bool observe_whole(float const* data, index_t n, detail::observed_lanes& lanes, isa max_isa) {
    if (partial_.empty()) partial_ = buffer<std::uint16_t>(4 * half_ + 16);
    if (partial_used_ > 2 * (65535 - piece)) flush();  // half of the values may meet in one counter
    auto const kernels = detail::observe_kernels_for(max_isa);
    auto const binned = 4 * half_ + 16 <= 65536 ? kernels.binned : kernels.binned_wide;
    auto const half = static_cast<std::int32_t>(half_);
    for (;;) {
      lanes = {};
      std::int32_t const limit = bits_of<std::int32_t>(bound()) - 1;
      std::int32_t const largest = binned(data, n, to_bins(), limit, half, partial_.data(), 1, lanes);
      if (largest <= limit) break;
      binned(data, n, to_bins(), limit, half, partial_.data(), 0xffff, lanes);
      if (!is_finite(bits_of<float>(largest))) return false;
      widen(exponent_for(bits_of<float>(largest)));
    }
    partial_used_ += n;
    count_ += n;
    std::int64_t zeros = 0;
    for (index_t l = 4 * half_; l < partial_.size(); ++l) zeros += partial_[l], partial_[l] = 0;
    zeros_ += zeros;
    at(0) += static_cast<std::uint64_t>(zeros);
    return true;
  }
  /// Empties the 16-bit tables into the 64-bit one.
  void flush() noexcept {
    if (partial_used_ == 0) return;
    detail::observe_kernels_for(isa::best).flush(counts_.data(), partial_.data(), partial_.data() + 2 * half_, 2 * half_);
    partial_used_ = 0;
  }

  index_t half_;
  int exponent_ = lowest_exponent;
  std::int64_t count_ = 0, batches_ = 0, nan_ = 0, inf_ = 0, zeros_ = 0;
  float min_ = __builtin_inff(), max_ = -__builtin_inff();
  exact_sum sum_, squares_;
  buffer<std::uint64_t> counts_;
  buffer<std::uint16_t> partial_;
  index_t partial_used_ = 0;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate
