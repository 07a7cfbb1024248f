// packed_int.hpp — several small integers in a byte: two 4-bit or four 2-bit ones, the first in the lowest bits.
//
//     int4:  byte = e0 | e1 << 4              int2:  byte = e0 | e1 << 2 | e2 << 4 | e3 << 6
//
// Signed elements are two's complement, sign-extended when read. An odd length leaves the upper bits of the last byte zero
// (ONNX, TFLite and GGML's nibble order within a byte; ONNX Operators.md, "int4 storage").
#pragma once

#include "error.hpp"
#include "saturate.hpp"
#include "views.hpp"

namespace quern {

/// A code that shares its byte with others.
template <class Code>
concept sub_byte_code = quantized_code<Code> && (code_of_t<Code>::bits == 2 || code_of_t<Code>::bits == 4);

/// Bytes that `size` elements take.
template <sub_byte_code Code>
QUERN_INLINE constexpr index_t packed_bytes(index_t size) noexcept {
  constexpr index_t per_byte = 8 / code_of_t<Code>::bits;
  return size / per_byte + (size % per_byte > 0);
}

/// `size` packed elements; `Byte` is std::uint8_t or std::uint8_t const.
template <sub_byte_code Code, class Byte = std::uint8_t>
struct packed_view {
  using code_type = code_of_t<Code>;
  using storage = typename code_type::storage;
  static constexpr int bits = code_type::bits;
  static constexpr int per_byte = 8 / bits;

  Byte* data = nullptr;
  index_t size = 0;

  QUERN_INLINE constexpr storage get(index_t i) const noexcept {
    unsigned const raw = (static_cast<unsigned>(data[i / per_byte]) >> (bits * (i % per_byte))) & ((1u << bits) - 1u);
    if constexpr (code_type::is_signed)
      return static_cast<storage>(static_cast<int>(raw ^ (1u << (bits - 1))) - (1 << (bits - 1)));
    else
      return static_cast<storage>(raw);
  }
  /// Stores the low bits of `value`; the neighbours in its byte stay.
  QUERN_INLINE constexpr void set(index_t i, int value) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    unsigned const shift = static_cast<unsigned>(bits * (i % per_byte)), mask = ((1u << bits) - 1u) << shift;
    auto& byte = data[i / per_byte];
    byte = static_cast<std::uint8_t>((byte & ~mask) | ((static_cast<unsigned>(value) << shift) & mask));
  }
  QUERN_INLINE constexpr index_t bytes() const noexcept { return packed_bytes<Code>(size); }
  QUERN_INLINE constexpr operator packed_view<Code, std::uint8_t const>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return {data, size};
  }
};

inline namespace QUERN_ABI {

/// Packs one value a byte into several. Values outside of `Code` are saturated; unused upper bits of the last byte become 0.
/// @errors capacity when dst holds fewer than src.size elements; null.
template <sub_byte_code Code, class T>
constexpr void pack_codes(vector_view<T> src, packed_view<Code> dst) {
  if (dst.size < src.size)
    fail(errc::capacity, "pack_codes: dst holds ", dst.size, " elements, src has ", src.size, "; it must hold all of them.");
  if (src.size > 0 && (src.data == nullptr || dst.data == nullptr))
    fail(errc::null, "pack_codes: ", src.data == nullptr ? "src" : "dst", " is null, but ", src.size, " elements are to be packed.");
  index_t const bytes = packed_bytes<Code>(src.size);
  for (index_t b = 0; b < bytes; ++b) {
    unsigned byte = 0;
    for (index_t e = 0; e < packed_view<Code>::per_byte; ++e) {
      index_t const i = b * packed_view<Code>::per_byte + e;
      if (i < src.size)
        byte |= (static_cast<unsigned>(saturate<Code>(src[i])) & ((1u << packed_view<Code>::bits) - 1u))
                << (packed_view<Code>::bits * e);
    }
    dst.data[b] = static_cast<std::uint8_t>(byte);
  }
}

/// Unpacks into one value a byte. @errors capacity when dst is shorter than src; null.
template <sub_byte_code Code, class Byte, class T>
constexpr void unpack_codes(packed_view<Code, Byte> src, vector_view<T> dst) {
  if (dst.size < src.size)
    fail(errc::capacity, "unpack_codes: dst has ", dst.size, " elements, src ", src.size, "; it must have room for all of them.");
  if (src.size > 0 && (src.data == nullptr || dst.data == nullptr))
    fail(errc::null, "unpack_codes: ", src.data == nullptr ? "src" : "dst", " is null, but ", src.size, " elements are to be unpacked.");
  for (index_t i = 0; i < src.size; ++i) dst[i] = static_cast<T>(src.get(i));
}

}  // inline namespace QUERN_ABI
}  // namespace quern
