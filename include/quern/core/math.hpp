// math.hpp — the few floating-point functions that quern needs, constexpr and exact, without <cmath>.
//
// <cmath> is not constexpr before C++23 and costs 0.1 s a translation unit. All of these are exact, so there is nothing to
// choose: they return what the C library returns.
#pragma once

#include "../config/abi.hpp"

#include <cstdint>
#include <type_traits>

namespace quern {
inline namespace QUERN_ABI {

/// The bits of `from` read as a `To` of the same size.
template <class To, class From>
QUERN_INLINE constexpr To bits_of(From const& from) noexcept {
  static_assert(sizeof(To) == sizeof(From));
  return __builtin_bit_cast(To, from);
}

QUERN_INLINE constexpr bool is_nan(float x) noexcept { return (bits_of<std::uint32_t>(x) & 0x7fffffffu) > 0x7f800000u; }
QUERN_INLINE constexpr bool is_nan(double x) noexcept {
  return (bits_of<std::uint64_t>(x) & 0x7fffffffffffffffull) > 0x7ff0000000000000ull;
}
QUERN_INLINE constexpr bool is_finite(float x) noexcept { return (bits_of<std::uint32_t>(x) & 0x7f800000u) != 0x7f800000u; }
QUERN_INLINE constexpr bool is_finite(double x) noexcept {
  return (bits_of<std::uint64_t>(x) & 0x7ff0000000000000ull) != 0x7ff0000000000000ull;
}
QUERN_INLINE constexpr bool is_inf(float x) noexcept { return (bits_of<std::uint32_t>(x) & 0x7fffffffu) == 0x7f800000u; }
QUERN_INLINE constexpr bool is_inf(double x) noexcept {
  return (bits_of<std::uint64_t>(x) & 0x7fffffffffffffffull) == 0x7ff0000000000000ull;
}
QUERN_INLINE constexpr bool sign_bit(float x) noexcept { return (bits_of<std::uint32_t>(x) >> 31) != 0; }
QUERN_INLINE constexpr bool sign_bit(double x) noexcept { return (bits_of<std::uint64_t>(x) >> 63) != 0; }

QUERN_INLINE constexpr float abs_of(float x) noexcept { return bits_of<float>(bits_of<std::uint32_t>(x) & 0x7fffffffu); }
QUERN_INLINE constexpr double abs_of(double x) noexcept {
  return bits_of<double>(bits_of<std::uint64_t>(x) & 0x7fffffffffffffffull);
}

/// `x` itself, as a value that the compiler must have rounded to its type: `rounded(a * b) + c` is two roundings under any
/// -ffp-contract (GCC's default is `fast`, which would fuse them where the target has FMA). The builtin, here as everywhere: with
/// clang 14, -std=c++2b and libstdc++ 12 std::is_constant_evaluated() is true at run time.
template <class T>
QUERN_INLINE constexpr T rounded(T x) noexcept {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
#if QUERN_X86_64
  if (!__builtin_is_constant_evaluated()) asm("" : "+x"(x));
#elif QUERN_AARCH64
  if (!__builtin_is_constant_evaluated()) asm("" : "+w"(x));
#else
  if (!__builtin_is_constant_evaluated()) {
    T volatile kept = x;
    x = kept;
  }
#endif
  return x;
}

}  // inline namespace QUERN_ABI

namespace detail {
template <class T>
struct ieee;
template <>
struct ieee<float> {
  using bits = std::uint32_t;
  static constexpr int mantissa = 23, exponent_mask = 0xff, bias = 127;
};
template <>
struct ieee<double> {
  using bits = std::uint64_t;
  static constexpr int mantissa = 52, exponent_mask = 0x7ff, bias = 1023;
};
}  // namespace detail

inline namespace QUERN_ABI {

/// Toward zero. NaN, infinities and the sign of zero pass through.
template <class T>
QUERN_INLINE constexpr T trunc_of(T x) noexcept {
  using f = detail::ieee<T>;
  using bits = typename f::bits;
  bits const b = bits_of<bits>(x);
  int const e = static_cast<int>((b >> f::mantissa) & f::exponent_mask) - f::bias;
  if (e >= f::mantissa) return x;
  bits const sign = b & (bits{1} << (sizeof(bits) * 8 - 1));
  if (e < 0) return bits_of<T>(sign);
  return bits_of<T>(static_cast<bits>(b & ~((bits{1} << (f::mantissa - e)) - 1)));
}

/// Toward minus infinity.
template <class T>
QUERN_INLINE constexpr T floor_of(T x) noexcept {
  T const t = trunc_of(x);
  return t > x ? t - T{1} : t;
}

/// Toward plus infinity.
template <class T>
QUERN_INLINE constexpr T ceil_of(T x) noexcept {
  T const t = trunc_of(x);
  return t < x ? t + T{1} : t;
}

/// A number as fraction * 2^exponent with 0.5 <= |fraction| < 1, exactly; fraction = x and exponent = 0 for 0, NaN, infinity.
template <class T>
struct fraction_exponent {
  T fraction;
  int exponent;
};

template <class T>
constexpr fraction_exponent<T> frexp_of(T x) noexcept {
  using f = detail::ieee<T>;
  using bits = typename f::bits;
  if (x == T{0} || !is_finite(x)) return {x, 0};
  int extra = 0;
  bits b = bits_of<bits>(x);
  if (((b >> f::mantissa) & f::exponent_mask) == 0) {  // subnormal: 2^64 brings every one of them into the normal range
    x *= T{18446744073709551616.0};
    extra = -64;
    b = bits_of<bits>(x);
  }
  int const e = static_cast<int>((b >> f::mantissa) & f::exponent_mask);
  bits const kept = b & ~(bits{f::exponent_mask} << f::mantissa);
  return {bits_of<T>(static_cast<bits>(kept | (bits{f::bias - 1} << f::mantissa))), e - (f::bias - 1) + extra};
}

/// x * 2^exponent, rounded once to nearest even where the result is subnormal.
template <class T>
constexpr T ldexp_of(T x, int exponent) noexcept {
  using f = detail::ieee<T>;
  using bits = typename f::bits;
  if (x == T{0} || !is_finite(x)) return x;
  auto const [fraction, e] = frexp_of(x);
  // fraction in [0.5, 1): the value is fraction * 2^(e + exponent).
  long const target = static_cast<long>(e) + exponent;
  if (target > f::bias + 1) return sign_bit(x) ? -bits_of<T>(static_cast<bits>(bits{f::exponent_mask} << f::mantissa))
                                               : bits_of<T>(static_cast<bits>(bits{f::exponent_mask} << f::mantissa));
  if (target < -(f::bias + f::mantissa + 2)) return sign_bit(x) ? -T{0} : T{0};
  auto const power = [](long p) {  // 2^p, p in the normal range
    return bits_of<T>(static_cast<bits>(static_cast<bits>(p + f::bias) << f::mantissa));
  };
  if (target - 1 >= -(f::bias - 1)) return (fraction * T{2}) * power(target - 1);
  // Subnormal result: one exact scaling into the lowest normal binade, then one rounded multiply.
  T const low = (fraction * T{2}) * power(-(f::bias - 1));
  return low * power(target - 1 + (f::bias - 1));
}

/// Correctly rounded square root, constexpr (bitwise) and at run time.
template <class T>
constexpr T sqrt_of(T x) noexcept {
  if (!__builtin_is_constant_evaluated()) {
    if constexpr (std::is_same_v<T, float>)
      return __builtin_sqrtf(x);
    else
      return __builtin_sqrt(x);
  }
  if (!(x > T{0}) || !is_finite(x)) return x == T{0} || (is_inf(x) && !sign_bit(x)) ? x : bits_of<T>(static_cast<typename detail::ieee<T>::bits>(~typename detail::ieee<T>::bits{0} >> 1));
  using f = detail::ieee<T>;
  auto [fraction, e] = frexp_of(x);
  if (e & 1) {
    fraction *= T{0.5};
    ++e;
  }
  // root of fraction in [0.25, 1): mantissa + 2 bits, the last one sticky
  int const n = f::mantissa + 2;
  __extension__ using wide = unsigned __int128;
  wide const value = static_cast<wide>(static_cast<std::uint64_t>(fraction * (T{2} * static_cast<T>(std::uint64_t{1} << f::mantissa))) ) << (2 * n - (f::mantissa + 1));
  std::uint64_t root = 0;
  for (int i = n - 1; i >= 0; --i) {
    std::uint64_t const candidate = root | (std::uint64_t{1} << i);
    if (static_cast<wide>(candidate) * candidate <= value) root = candidate;
  }
  bool const exact = static_cast<wide>(root) * root == value;
  // root has n bits (top bit set); keep mantissa + 1 of them
  std::uint64_t kept = root >> 1;
  bool const half = root & 1;
  if (half && (!exact || (kept & 1))) ++kept;
  return ldexp_of(static_cast<T>(kept), e / 2 - (f::mantissa + 1));
}

}  // inline namespace QUERN_ABI
}  // namespace quern
