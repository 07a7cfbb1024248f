// integers.hpp — the integer types that a real value is quantized to.
//
// code<8, true> is int8; code<4, false> is a 4-bit unsigned number. A code says its range and the smallest builtin type that
// holds one of them, `storage`. Several codes in a byte are core/packed_int.hpp's matter.
#pragma once

#include "../config/abi.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace quern {

/// Sizes, positions and strides. Signed, so that a negative one can be told and refused.
using index_t = std::ptrdiff_t;

/// An integer of `Bits` bits, 2 to 16 or 32.
///
///     signed:   -2^(Bits-1) .. 2^(Bits-1) - 1        unsigned:   0 .. 2^Bits - 1
template <int Bits, bool Signed>
struct code {
  static_assert((Bits >= 2 && Bits <= 16) || (Bits == 32 && Signed),
                "quern::code: Bits must be 2 to 16, or 32 and signed.");
  static constexpr int bits = Bits;
  static constexpr bool is_signed = Signed;
  using storage =
      std::conditional_t<Bits <= 8, std::conditional_t<Signed, std::int8_t, std::uint8_t>,
                         std::conditional_t<Bits <= 16, std::conditional_t<Signed, std::int16_t, std::uint16_t>,
                                            std::int32_t>>;
  static constexpr std::int32_t min =
      Signed ? static_cast<std::int32_t>(-(std::int64_t{1} << (Bits - 1))) : 0;
  static constexpr std::int32_t max =
      static_cast<std::int32_t>((std::int64_t{1} << (Signed ? Bits - 1 : Bits)) - 1);
};

using s2 = code<2, true>;
using u2 = code<2, false>;
using s4 = code<4, true>;
using u4 = code<4, false>;
using s8 = code<8, true>;
using u8 = code<8, false>;
using s16 = code<16, true>;
using u16 = code<16, false>;
using s32 = code<32, true>;

/// Builtin integers stand for their own code, so that `std::int8_t` may be written wherever `s8` may.
template <class T>
struct code_of {
  using type = T;
};
template <>
struct code_of<std::int8_t> {
  using type = s8;
};
template <>
struct code_of<std::uint8_t> {
  using type = u8;
};
template <>
struct code_of<std::int16_t> {
  using type = s16;
};
template <>
struct code_of<std::uint16_t> {
  using type = u16;
};
template <>
struct code_of<std::int32_t> {
  using type = s32;
};
template <class T>
using code_of_t = typename code_of<std::remove_cv_t<T>>::type;

namespace detail {
template <class T>
inline constexpr bool is_code = false;
template <int Bits, bool Signed>
inline constexpr bool is_code<code<Bits, Signed>> = true;
}  // namespace detail

/// `s8`, `u4`, `code<5, true>`, ... or a builtin integer of 8, 16 or 32 (signed) bits.
template <class T>
concept quantized_code = detail::is_code<code_of_t<T>>;

/// A builtin integer that stores codes.
template <class T>
concept quantized_storage = std::same_as<T, std::int8_t> || std::same_as<T, std::uint8_t> ||
                            std::same_as<T, std::int16_t> || std::same_as<T, std::uint16_t> ||
                            std::same_as<T, std::int32_t>;

}  // namespace quern
