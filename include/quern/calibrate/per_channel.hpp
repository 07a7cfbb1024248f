// per_channel.hpp — one observer for each channel: rows or columns of a matrix, or the channels of an NHWC tensor.
#pragma once

#include "../core/buffer.hpp"
#include "../core/error.hpp"
#include "../scheme/scheme.hpp"
#include "bytes.hpp"

namespace quern::calibrate {
inline namespace QUERN_ABI {

/// `Observer` is any of this room: histogram, moving_average, robust_min_max, torch_histogram.
///
///     per_channel_observer<histogram> o(channels);
///     o.observe_columns(batch);                       one channel a column
///     auto p = choose_params<symmetric<s8, per_channel<1>>>(view(o.ranges([](auto& h) { return by_mse{}.range<...>(h); })));
template <class Observer>
class per_channel_observer {
 public:
  /// @errors argument when channels is negative.
  explicit per_channel_observer(index_t channels) : size_(channels) {
    if (channels < 0) fail(errc::argument, "per_channel_observer: channels is ", channels, "; it must not be negative.");
    observers_ = new Observer[static_cast<std::size_t>(channels)];
  }
  per_channel_observer(per_channel_observer const& other) : per_channel_observer(other.size_) {
    for (index_t i = 0; i < size_; ++i) observers_[i] = other.observers_[i];
  }
  per_channel_observer(per_channel_observer&& other) noexcept : size_(other.size_), observers_(other.observers_) {
    other.size_ = 0;
    other.observers_ = nullptr;
  }
  per_channel_observer& operator=(per_channel_observer other) noexcept {
    Observer* const mine = observers_;
    observers_ = other.observers_, size_ = other.size_;
    other.observers_ = mine;
    return *this;
  }
  ~per_channel_observer() { delete[] observers_; }

  index_t size() const noexcept { return size_; }
  Observer& operator[](index_t i) noexcept { return observers_[i]; }
  Observer const& operator[](index_t i) const noexcept { return observers_[i]; }

  /// Row i feeds channel i. @errors shape.
  template <class T>
  void observe_rows(matrix_view<T> batch) {
    check(batch.rows, "rows");
    if (batch.row_stride == 1 && batch.col_stride != 1) return gather(batch.cols, [batch](index_t i, index_t c) { return &batch(c, i); });
    for (index_t i = 0; i < size_; ++i) observers_[i].observe(batch.row(i));
  }
  /// Column i feeds channel i. @errors shape.
  template <class T>
  void observe_columns(matrix_view<T> batch) {
    check(batch.cols, "columns");
    observe_rows(batch.transposed());
  }
  /// Channel c of every pixel feeds channel c, gathered into one batch. @errors shape.
  template <class T>
  void observe_channels(tensor_view<T> batch) {
    check(batch.c, "channels");
    if (batch.contiguous()) return observe_columns(matrix_view<T>{batch.data, batch.n * batch.h * batch.w, batch.c, batch.c, 1});
    gather(batch.n * batch.h * batch.w, [batch](index_t i, index_t c) {
      return &batch(i / (batch.h * batch.w), i / batch.w % batch.h, i % batch.w, c);
    });
  }
  /// @errors shape.
  void merge(per_channel_observer const& other) {
    check(other.size_, "channels");
    for (index_t i = 0; i < size_; ++i) observers_[i].merge(other.observers_[i]);
  }
  /// One range a channel: what `range_of` makes of its observer.
  template <class F>
  buffer<real_range> ranges(F&& range_of) const {
    buffer<real_range> r(size_);
    for (index_t i = 0; i < size_; ++i) r[i] = range_of(observers_[i]);
    return r;
  }
  buffer<real_range> ranges() const {
    return ranges([](Observer const& o) { return o.range(); });
  }

  index_t serialized_size() const noexcept {
    index_t bytes = detail::blob_frame + 8;
    for (index_t i = 0; i < size_; ++i) bytes += 8 + observers_[i].serialized_size();
    return bytes;
  }
  /// All channels as one blob. @errors capacity when dst is shorter than serialized_size().
  void save(vector_view<std::uint8_t> dst) const {
    detail::byte_writer w(dst, observer_kind::per_channel, serialized_size());
    w.u64(static_cast<std::uint64_t>(size_));
    for (index_t i = 0; i < size_; ++i) {
      index_t const n = observers_[i].serialized_size();
      w.u64(static_cast<std::uint64_t>(n));
      observers_[i].save(w.space(n));
    }
    w.finish();
  }
  /// @errors format when src is not what save() of the same kind of observer wrote.
  static per_channel_observer load(vector_view<std::uint8_t const> src) {
    detail::byte_reader r(src, observer_kind::per_channel);
    std::uint64_t const channels = r.u64();
    if (channels > static_cast<std::uint64_t>(r.left()) / (8 + detail::blob_frame))
      fail(errc::format, "load: src says ", channels, " channels, which does not fit its ", src.size, " bytes.");
    per_channel_observer o(static_cast<index_t>(channels));
    for (index_t i = 0; i < o.size_; ++i) {
      std::uint64_t const n = r.u64();
      o.observers_[i] = Observer::load(r.space(n));
    }
    if (r.left() != 0) fail(errc::format, "load: src has ", r.left(), " bytes behind its last channel.");
    return o;
  }

 private:
  /// *at(i, c) is value i of n of channel c, channels being evenly spaced and near: 16 of them at a time, a cache line of floats.
  template <class At>
  void gather(index_t n, At const& at) {
    using type = std::remove_cvref_t<decltype(*at(0, 0))>;
    constexpr index_t strip = 16, ahead = 32;
    index_t const pitch = n + strip;  // no power of two: 16 channels at the same place of a page share the few ways of one cache set
    if (n == 0 || size_ == 0) return;
    index_t const step = size_ > 1 ? at(0, 1) - at(0, 0) : 0;
    buffer<type> values(pitch * (size_ < strip ? size_ : strip));
    for (index_t first = 0; first < size_; first += strip) {
      index_t const channels = size_ - first < strip ? size_ - first : strip;
      for (index_t i = 0; i < n; ++i) {
        type const* from = at(i, first);
        if (i + ahead < n) __builtin_prefetch(at(i + ahead, first));  // a walk down columns is nothing that a CPU foresees
        for (index_t c = 0; c < channels; ++c, from += step) values[c * pitch + i] = *from;
      }
      for (index_t c = 0; c < channels; ++c) observers_[first + c].observe(vector_view<type const>{values.data() + c * pitch, n, 1});
    }
  }
  void check(index_t n, char const* what) const {
    if (n != size_) fail(errc::shape, "per_channel_observer: the batch has ", n, " ", what, ", the observer ", size_, "; they must be equal.");
  }
  index_t size_;
  Observer* observers_ = nullptr;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate
