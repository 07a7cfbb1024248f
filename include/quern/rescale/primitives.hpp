// primitives.hpp — the two instructions that fixed-point rescaling is made of, and saturating shifts.
//
//     srdhm(a, b)         = sat( floor( (a*b + 2^(n-2)) / 2^(n-1) ) )      a*b * 2^(1-n), ties toward +infinity (half_up)
//     rounding_divide_by_pot(x, e) = x / 2^e, ties away from zero (half_away), 0 <= e <= n - 1
//
// for n = 32 and 16. They break ties differently, which is why double rounding is not single rounding. srdhm is Arm's
// SQRDMULH exactly; only MIN*MIN saturates. gemmlowp writes its rounding term as a nudge by sign and a truncating division,
// which is the same function (google/gemmlowp, fixedpoint/fixedpoint.h: SaturatingRoundingDoublingHighMul, RoundingDivideByPOT).
#pragma once

#include "../core/saturate.hpp"

namespace quern::rescale {

namespace detail {
template <class Int>
using wider = std::conditional_t<sizeof(Int) == 2, std::int32_t, std::int64_t>;
template <class Int>
inline constexpr int bits = 8 * static_cast<int>(sizeof(Int));
template <class Int>
inline constexpr Int highest = static_cast<Int>((wider<Int>{1} << (bits<Int> - 1)) - 1);
template <class Int>
inline constexpr Int lowest = static_cast<Int>(-highest<Int> - 1);
template <class Int>
concept word = std::same_as<Int, std::int16_t> || std::same_as<Int, std::int32_t>;
}  // namespace detail

inline namespace QUERN_ABI {

/// Saturating rounding doubling high multiply: a*b / 2^(n-1), ties upward. MIN*MIN gives MAX.
template <detail::word Int>
QUERN_INLINE constexpr Int srdhm(Int a, Int b) noexcept {
  using wide = detail::wider<Int>;
  constexpr int n = detail::bits<Int>;
  if (a == detail::lowest<Int> && b == detail::lowest<Int>) return detail::highest<Int>;
  return static_cast<Int>((static_cast<wide>(a) * b + (wide{1} << (n - 2))) >> (n - 1));
}

/// x / 2^e, ties away from zero; 0 <= e < n.
template <detail::word Int>
QUERN_INLINE constexpr Int rounding_divide_by_pot(Int x, int e) noexcept {
  using wide = detail::wider<Int>;
  wide const mask = (wide{1} << e) - 1, rest = x & mask, threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return static_cast<Int>((static_cast<wide>(x) >> e) + (rest > threshold ? 1 : 0));
}

/// x * 2^e, saturated; 0 <= e < n.
template <detail::word Int>
QUERN_INLINE constexpr Int saturating_shift_left(Int x, int e) noexcept {
  using wide = detail::wider<Int>;
  wide const v = static_cast<wide>(x) * (wide{1} << e);  // |v| <= 2^(2n - 2)
  return static_cast<Int>(clamp<wide>(v, detail::lowest<Int>, detail::highest<Int>));
}

/// x * 2^e for either sign of e: saturating to the left, rounding (ties away) to the right. |e| < n.
template <detail::word Int>
QUERN_INLINE constexpr Int saturating_multiply_by_pot(Int x, int e) noexcept {
  return e >= 0 ? saturating_shift_left(x, e) : rounding_divide_by_pot(x, -e);
}

/// (a + b) / 2, ties away from zero; the sum does not overflow.
template <detail::word Int>
QUERN_INLINE constexpr Int rounding_half_sum(Int a, Int b) noexcept {
  using wide = detail::wider<Int>;
  wide const s = static_cast<wide>(a) + b;
  return static_cast<Int>((s + (s >= 0 ? 1 : -1)) / 2);
}

/// x * 2^e modulo 2^32, e >= 0.
QUERN_INLINE constexpr std::int32_t wrapping_shift_left(std::int32_t x, int e) noexcept {
  return e > 31 ? 0 : static_cast<std::int32_t>(static_cast<std::uint32_t>(x) << e);
}

/// The leading zero bits of x; 32 for 0.
QUERN_INLINE constexpr int leading_zeros(std::uint32_t x) noexcept { return x == 0 ? 32 : __builtin_clz(x); }

}  // inline namespace QUERN_ABI
}  // namespace quern::rescale
