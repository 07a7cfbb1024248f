// reals.hpp — the real types that are quantized and come back: double, float, IEEE half, bfloat16.
//
// half and bfloat16 are storage: arithmetic happens in float. Conversions to float are exact, conversions from float round
// to nearest even, NaN stays NaN (quiet, top payload bits kept), overflow goes to infinity.
#pragma once

#include "math.hpp"

#include <concepts>

namespace quern {

/// IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits.
struct half {
  std::uint16_t bits = 0;

  half() = default;
  /// Rounds to nearest even; |x| >= 65520 becomes infinity.
  QUERN_INLINE explicit constexpr half(float x) noexcept : bits(from_float(x)) {}
  QUERN_INLINE constexpr operator float() const noexcept { return to_float(bits); }
  QUERN_INLINE static constexpr half from_bits(std::uint16_t b) noexcept {
    half h;
    h.bits = b;
    return h;
  }

  QUERN_INLINE static constexpr std::uint16_t from_float(float x) noexcept {
    std::uint32_t const b = bits_of<std::uint32_t>(x);
    std::uint16_t const sign = static_cast<std::uint16_t>((b >> 16) & 0x8000u);
    std::uint32_t const a = b & 0x7fffffffu;
    if (a > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u | ((a >> 13) & 0x3ffu));
    if (a >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65520: halfway to 2^16
    if (a >= 0x38800000u) {                                                   // 2^-14: normal
      std::uint32_t const r = a - 0x38000000u;
      return static_cast<std::uint16_t>(sign | ((r + 0xfffu + ((r >> 13) & 1u)) >> 13));
    }
    if (a < 0x33000000u) return sign;  // below 2^-25: zero
    int const shift = 126 - static_cast<int>(a >> 23);  // subnormal: value is m * 2^-24
    std::uint32_t const m = (a & 0x7fffffu) | 0x800000u;
    std::uint32_t const q = m >> shift, rest = m & ((1u << shift) - 1u), tie = 1u << (shift - 1);
    return static_cast<std::uint16_t>(sign | (q + (rest > tie || (rest == tie && (q & 1u)) ? 1u : 0u)));
  }
  QUERN_INLINE static constexpr float to_float(std::uint16_t h) noexcept {
    std::uint32_t const sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
    std::uint32_t const e = (h >> 10) & 0x1fu, m = h & 0x3ffu;
    if (e == 0x1f) return bits_of<float>(sign | 0x7f800000u | (m << 13));
    if (e != 0) return bits_of<float>(sign | ((e + 112u) << 23) | (m << 13));
    float const magnitude = static_cast<float>(m) * 5.9604644775390625e-8f;  // m * 2^-24, exact
    return bits_of<float>(bits_of<std::uint32_t>(magnitude) | sign);
  }
};

/// The upper half of a binary32: 1 sign, 8 exponent, 7 fraction bits.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  /// Rounds to nearest even.
  QUERN_INLINE explicit constexpr bfloat16(float x) noexcept : bits(from_float(x)) {}
  QUERN_INLINE constexpr operator float() const noexcept { return bits_of<float>(static_cast<std::uint32_t>(bits) << 16); }
  QUERN_INLINE static constexpr bfloat16 from_bits(std::uint16_t b) noexcept {
    bfloat16 h;
    h.bits = b;
    return h;
  }
  QUERN_INLINE static constexpr std::uint16_t from_float(float x) noexcept {
    std::uint32_t const b = bits_of<std::uint32_t>(x);
    if ((b & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((b >> 16) | 0x40u);
    return static_cast<std::uint16_t>((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
  }
};

/// A type that holds real numbers.
template <class T>
concept real = std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, half> || std::same_as<T, bfloat16>;

/// The type that arithmetic on `T` happens in: double for double, float for the others.
template <real T>
using arithmetic_of = std::conditional_t<std::same_as<T, double>, double, float>;

}  // namespace quern
