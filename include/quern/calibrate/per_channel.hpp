// per_channel.hpp — one observer for each channel: rows or columns of a matrix, or the channels of an NHWC tensor.
#pragma once

#include "../core/buffer.hpp"
#include "../core/error.hpp"
#include "../core/foreign.hpp"
#include "../scheme/scheme.hpp"
#include "bytes.hpp"
#include "options.hpp"

namespace quern::calibrate::detail {
inline namespace QUERN_ABI {

/// to[c * pitch + r] = lines[r][c] for 16 rows; fetches lines[16] to lines[31]. T has four bytes.
template <class T>
void transpose_16(T const* const* lines, index_t channels, T* to, index_t pitch) {
  typedef std::int32_t four __attribute__((vector_size(16)));
  index_t c = 0;
  index_t row = 16, fetched = 0;  // rows one after the other, as memory likes it, while these are read side by side
  for (; c + 16 <= channels; c += 16) {
    for (int line = 0; line < 16; ++line) {
      __builtin_prefetch(lines[row] + fetched);
      fetched += 16;
      if (fetched >= channels && row < 31) fetched = 0, ++row;
    }
    for (index_t j = c; j < c + 16; j += 4) {
      T* const here = to + j * pitch;
      for (int k = 0; k < 4; ++k) __builtin_prefetch(here + k * pitch + 48, 1, 2);  // written soon
      for (index_t r = 0; r < 16; r += 4) {
        four w, x, y, z;
        __builtin_memcpy(&w, lines[r] + j, sizeof w);
        __builtin_memcpy(&x, lines[r + 1] + j, sizeof x);
        __builtin_memcpy(&y, lines[r + 2] + j, sizeof y);
        __builtin_memcpy(&z, lines[r + 3] + j, sizeof z);
        four const wx = __builtin_shufflevector(w, x, 0, 4, 1, 5), wx2 = __builtin_shufflevector(w, x, 2, 6, 3, 7);
        four const yz = __builtin_shufflevector(y, z, 0, 4, 1, 5), yz2 = __builtin_shufflevector(y, z, 2, 6, 3, 7);
        four const first = __builtin_shufflevector(wx, yz, 0, 1, 4, 5), second = __builtin_shufflevector(wx, yz, 2, 3, 6, 7);
        four const third = __builtin_shufflevector(wx2, yz2, 0, 1, 4, 5), fourth = __builtin_shufflevector(wx2, yz2, 2, 3, 6, 7);
        __builtin_memcpy(here + r, &first, sizeof first);
        __builtin_memcpy(here + pitch + r, &second, sizeof second);
        __builtin_memcpy(here + 2 * pitch + r, &third, sizeof third);
        __builtin_memcpy(here + 3 * pitch + r, &fourth, sizeof fourth);
      }
    }
  }
  for (; c < channels; ++c)
    for (index_t r = 0; r < 16; ++r) to[c * pitch + r] = lines[r][c];
}

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail

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
  void observe_rows(matrix_view<T> batch, observe_options const& options = {}) {
    check(batch.rows, "rows");
    if (batch.row_stride == 1 && batch.col_stride != 1) return gather(batch.cols, [batch](index_t i, index_t c) { return &batch(c, i); }, options);
    detail::work_shares const shares(options.executor, size_, batch.cols > 0 ? detail::values_a_share / batch.cols : size_);
    if (size_ == 1) return observers_[0].observe(batch.row(0), options);
    options.executor(shares.count, [&](index_t s) {
      for (index_t i = shares.first(s), n = i + shares.size(s); i < n; ++i) observers_[i].observe(batch.row(i), options.max_isa);
    });
  }
  template <foreign Object>
  void observe_rows(Object const& batch, observe_options const& options = {}) {
    observe_rows(foreign_view<Object>::of(batch), options);
  }
  /// Column i feeds channel i. @errors shape.
  template <class T>
  void observe_columns(matrix_view<T> batch, observe_options const& options = {}) {
    check(batch.cols, "columns");
    observe_rows(batch.transposed(), options);
  }
  template <foreign Object>
  void observe_columns(Object const& batch, observe_options const& options = {}) {
    observe_columns(foreign_view<Object>::of(batch), options);
  }
  /// Channel c of every pixel feeds channel c, gathered into one batch. @errors shape.
  template <class T>
  void observe_channels(tensor_view<T> batch, observe_options const& options = {}) {
    check(batch.c, "channels");
    if (batch.contiguous()) return observe_columns(matrix_view<T>{batch.data, batch.n * batch.h * batch.w, batch.c, batch.c, 1}, options);
    gather(batch.n * batch.h * batch.w, [batch](index_t i, index_t c) {
      return &batch(i / (batch.h * batch.w), i / batch.w % batch.h, i % batch.w, c);
    }, options);
  }
  template <foreign Object>
  void observe_channels(Object const& batch, observe_options const& options = {}) {
    observe_channels(foreign_view<Object>::of(batch), options);
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
  /// *at(i, c) is value i of n of channel c, channels being evenly spaced and near. Values of a channel are brought together first.
  template <class At>
  void gather(index_t n, At const& at, observe_options const& options) {
    if (n == 0 || size_ == 0) return;
    detail::work_shares const shares(options.executor, size_, detail::values_a_share / n, 16);  // a cache line of channels is not shared
    options.executor(shares.count, [&](index_t s) { this->gather(n, at, shares.first(s), shares.first(s) + shares.size(s), shares.count, options.max_isa); });
  }
  template <class At>
  void gather(index_t n, At const& at, index_t begin, index_t end, index_t shares, isa max_isa) {
    using type = std::remove_cvref_t<decltype(*at(0, 0))>;
    constexpr bool in_pieces = requires { Observer::piece; };  // a batch need not be all in one place
    using kept = std::conditional_t<in_pieces, float, type>;
    index_t const step = size_ > 1 ? at(0, 1) - at(0, 0) : 1;
    index_t length = n;
    if constexpr (in_pieces) length = n < Observer::piece ? n : Observer::piece;
    // 8 MB at most, and at least a cache line of floats: then a batch is read in the order in which it lies
    index_t const room = (index_t{1} << 21) / shares / length & ~index_t{15};
    index_t const strip = room < 16 ? 16 : room > 256 ? 256 : room;
    index_t const pitch = length + 16;  // no power of two: channels at the same place of a page share the few ways of one cache set
    buffer<kept> values(pitch * (end - begin < strip ? end - begin : strip));
    [[maybe_unused]] auto states = [&] {
      if constexpr (in_pieces)
        return buffer<typename Observer::batch_in_pieces>(end - begin);
      else
        return 0;
    }();
    for (index_t i = 0; i < n; i += length) {
      index_t const rows = n - i < length ? n - i : length;
      for (index_t first = begin; first < end; first += strip) {
        index_t const channels = end - first < strip ? end - first : strip;
        index_t done = 0;
        if constexpr (std::is_same_v<type, kept> && sizeof(type) == 4) {
          if (step == 1) {
            for (; done + 16 <= rows; done += 16) {
              type const* lines[32];  // of these rows and, to be fetched, the next
              for (index_t r = 0; r < 32; ++r) lines[r] = at(i + (done + r < rows ? done + r : rows - 1), first);
              detail::transpose_16(lines, channels, values.data() + done, pitch);
            }
          }
        }
        for (; done < rows; ++done) {
          type const* from = at(i + done, first);
          for (index_t c = 0; c < channels; ++c, from += step) values[c * pitch + done] = static_cast<kept>(*from);
        }
        for (index_t c = 0; c < channels; ++c) {
          if constexpr (in_pieces)
            observers_[first + c].observe(values.data() + c * pitch, rows, states[first + c - begin], max_isa);
          else
            observers_[first + c].observe(vector_view<type const>{values.data() + c * pitch, rows, 1}, max_isa);
        }
      }
    }
    if constexpr (in_pieces)
      for (index_t c = begin; c < end; ++c) observers_[c].finish(states[c - begin]);
  }
  void check(index_t n, char const* what) const {
    if (n != size_) fail(errc::shape, "per_channel_observer: the batch has ", n, " ", what, ", the observer ", size_, "; they must be equal.");
  }
  index_t size_;
  Observer* observers_ = nullptr;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate
