// per_channel.hpp — one observer for each channel: rows or columns of a matrix, or the channels of an NHWC tensor.
#pragma once

#include "../core/buffer.hpp"
#include "../core/error.hpp"
#include "../scheme/scheme.hpp"

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
    for (index_t i = 0; i < size_; ++i) observers_[i].observe(batch.row(i));
  }
  /// Column i feeds channel i. @errors shape.
  template <class T>
  void observe_columns(matrix_view<T> batch) {
    observe_rows(batch.transposed());
  }
  /// Channel c of every pixel feeds channel c, gathered into one batch. @errors shape.
  template <class T>
  void observe_channels(tensor_view<T> batch) {
    check(batch.c, "channels");
    if (batch.contiguous()) return observe_columns(matrix_view<T>{batch.data, batch.n * batch.h * batch.w, batch.c, batch.c, 1});
    buffer<std::remove_const_t<T>> values(batch.n * batch.h * batch.w);
    for (index_t c = 0; c < size_; ++c) {
      index_t at = 0;
      for (index_t b = 0; b < batch.n; ++b)
        for (index_t y = 0; y < batch.h; ++y)
          for (index_t x = 0; x < batch.w; ++x) values[at++] = batch(b, y, x, c);
      observers_[c].observe(vector_view<std::remove_const_t<T>>{values.data(), at, 1});
    }
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

 private:
  void check(index_t n, char const* what) const {
    if (n != size_) fail(errc::shape, "per_channel_observer: the batch has ", n, " ", what, ", the observer ", size_, "; they must be equal.");
  }
  index_t size_;
  Observer* observers_ = nullptr;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate
