// bytes.hpp — observers as bytes: little-endian on every machine, with a head that says what and which version it is.
//
//     "QOBS"  u8 kind  u8 version  u16 0  u64 bytes of the rest  ...the rest...  u32 checksum of everything before it (FNV-1a)
#pragma once

#include "../core/error.hpp"
#include "../core/math.hpp"
#include "../core/views.hpp"

namespace quern::calibrate {

/// What a blob holds. Numbers are for ever.
enum class observer_kind : std::uint8_t { histogram = 1, moving_average = 2, robust_min_max = 3, torch_histogram = 4, absolute_histogram = 5, min_max = 6, per_channel = 7 };

namespace detail {
inline namespace QUERN_ABI {

inline std::uint32_t fnv1a(std::uint8_t const* data, index_t size) noexcept {
  std::uint32_t h = 2166136261u;
  for (index_t i = 0; i < size; ++i) h = (h ^ data[i]) * 16777619u;
  return h;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

namespace detail {

inline constexpr index_t blob_frame = 20;  // head and checksum

inline namespace QUERN_ABI {

/// Writes a blob into memory of exactly the size that the observer announced.
class byte_writer {
 public:
  byte_writer(vector_view<std::uint8_t> dst, observer_kind kind, index_t needed) : dst_(dst) {
    if (dst.size < needed || dst.data == nullptr)
      fail(errc::capacity, "save: dst has ", dst.size, " bytes, the observer takes ", needed, "; ask serialized_size() first.");
    if (dst.stride != 1) fail(errc::argument, "save: dst has stride ", dst.stride, "; it must be 1.");
    for (int i = 0; i < 4; ++i) put8(static_cast<std::uint8_t>("QOBS"[i]));
    put8(static_cast<std::uint8_t>(kind));
    put8(1);
    put8(0), put8(0);
    u64(static_cast<std::uint64_t>(needed - blob_frame));
  }
  void u32(std::uint32_t v) {
    for (int i = 0; i < 4; ++i) put8(static_cast<std::uint8_t>(v >> (8 * i)));
  }
  void u64(std::uint64_t v) {
    for (int i = 0; i < 8; ++i) put8(static_cast<std::uint8_t>(v >> (8 * i)));
  }
  void f32(float v) { u32(bits_of<std::uint32_t>(v)); }
  void f64(double v) { u64(bits_of<std::uint64_t>(v)); }
  /// Room for n bytes that the caller writes.
  vector_view<std::uint8_t> space(index_t n) {
    vector_view<std::uint8_t> const room = dst_.sub(at_, n);
    at_ += n;
    return room;
  }
  void finish() { u32(fnv1a(dst_.data, at_)); }

 private:
  void put8(std::uint8_t v) { dst_.data[at_++] = v; }
  vector_view<std::uint8_t> dst_;
  index_t at_ = 0;
};

/// Reads a blob; anything that is not one, or is damaged, is refused by the constructor.
class byte_reader {
 public:
  byte_reader(vector_view<std::uint8_t const> src, observer_kind kind) : src_(src) {
    if (src.size < blob_frame || src.data == nullptr || src.stride != 1)
      fail(errc::format, "load: src has ", src.size, " bytes; a saved observer has at least ", blob_frame, ", contiguous.");
    if (src.data[0] != 'Q' || src.data[1] != 'O' || src.data[2] != 'B' || src.data[3] != 'S')
      fail(errc::format, "load: src does not begin with \"QOBS\"; it is no saved observer.");
    if (src.data[4] != static_cast<std::uint8_t>(kind))
      fail(errc::format, "load: src holds an observer of kind ", static_cast<int>(src.data[4]), "; this one is kind ", static_cast<int>(kind), ".");
    if (src.data[5] != 1) fail(errc::format, "load: src is of version ", static_cast<int>(src.data[5]), "; this library reads version 1.");
    at_ = 8;
    std::uint64_t const rest = u64();
    if (rest != static_cast<std::uint64_t>(src.size - blob_frame))
      fail(errc::format, "load: src has ", src.size, " bytes, its head says ", rest, " + ", blob_frame, "; it is cut off or too long.");
    end_ = src.size - 4;
    std::uint32_t sum = 0;
    for (int i = 0; i < 4; ++i) sum |= static_cast<std::uint32_t>(src.data[end_ + i]) << (8 * i);
    if (sum != fnv1a(src.data, end_)) fail(errc::format, "load: src's checksum is wrong; it was damaged.");
  }
  std::uint32_t u32() { return static_cast<std::uint32_t>(take(4)); }
  std::uint64_t u64() { return take(8); }
  float f32() { return bits_of<float>(u32()); }
  double f64() { return bits_of<double>(u64()); }
  /// The next n bytes. @errors format when there are fewer.
  vector_view<std::uint8_t const> space(std::uint64_t n) {
    if (n > static_cast<std::uint64_t>(left())) fail(errc::format, "load: src ends early: ", n, " bytes are announced, ", left(), " are left.");
    vector_view<std::uint8_t const> const part = src_.sub(at_, static_cast<index_t>(n));
    at_ += static_cast<index_t>(n);
    return part;
  }
  /// Bytes not read yet.
  index_t left() const { return end_ - at_; }

 private:
  std::uint64_t take(int n) {
    if (end_ != 0 && at_ + n > end_) fail(errc::format, "load: src ends early, at byte ", at_, ".");
    std::uint64_t v = 0;
    for (int i = 0; i < n; ++i) v |= static_cast<std::uint64_t>(src_.data[at_++]) << (8 * i);
    return v;
  }
  vector_view<std::uint8_t const> src_;
  index_t at_ = 0, end_ = 0;
};

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern::calibrate
