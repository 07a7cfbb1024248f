// exact_division.hpp — x / scale in two operations, where that is proved to give the same integer.
//
// A division costs ten times a multiplication. With 1 / s split into inverse + low (two floats),
//
//     q = fma(x, inverse, x * low)
//
// is x / s with a relative error below 3 * 2^-48 before its last rounding. It differs from the correctly rounded quotient only
// when x / s lies that close to the middle m of two neighbouring floats; and only an m beside a threshold of the integer rounding
// (h = k + 1/2, or k) matters. With x = X 2^a, s = S 2^b (S of 24 bits), such a middle is (H 2^t +- 1) 2^f for an integer H, where
// t >= 16 when |h| <= 2^8 and t >= 8 when |h| <= 2^16. Then x / s - m = D 2^f / S with an integer D != 0, D = -+S modulo 2^t,
// and the error can reach m only if |D| < 7. So if S modulo 2^t is 0, or at least 8 away from 0, the integers are the same
// for every x. That holds for all but 14 of 65536 scales (8-bit codes) or 14 of 256 (16-bit codes), which are divided.
// docs/division.md has the proof step by step, with the conditions on exponents.
#pragma once

#include "../core/math.hpp"
#include "../round/modes.hpp"

QUERN_FP_BEGIN

namespace quern {
namespace detail {

/// Modes that look at x / s only through its order against half-integers.
template <class R>
inline constexpr bool rounds_at_halves =
    std::is_same_v<R, round_to::half_even> || std::is_same_v<R, round_to::half_away> || std::is_same_v<R, round_to::half_up> ||
    std::is_same_v<R, round_to::half_toward_zero> || std::is_same_v<R, round_to::half_even_positive>;
/// Modes that look at x / s only through its order against integers, 0 included.
template <class R>
inline constexpr bool rounds_at_integers = std::is_same_v<R, round_to::floor> || std::is_same_v<R, round_to::ceil>;
/// The modes for which two operations can do: also toward_zero, whose thresholds are the integers without 0.
template <class R>
inline constexpr bool divides_in_two_steps =
    rounds_at_halves<R> || rounds_at_integers<R> || std::is_same_v<R, round_to::toward_zero>;

inline namespace QUERN_ABI {

/// Whether two operations give the integer that x / s gives, for every finite x and a code of `bits` <= 16 bits.
template <class Rounding>
QUERN_INLINE constexpr bool exact_in_two_steps(float s, int bits) noexcept {
  std::uint32_t const b = bits_of<std::uint32_t>(s), exponent = b >> 23;
  std::uint32_t const modulus = bits <= 8 ? 1u << 16 : 1u << 8, rest = b & (modulus - 1);
  // 2^-60 <= s < 2^61: nothing over- or underflows where |x / s| is near a threshold. Only the order against 0 looks at smaller
  // quotients, and for s <= 1 those do not vanish.
  bool const in_range = exponent >= 127 - 60 && exponent <= 127 + 60 && (!rounds_at_integers<Rounding> || s <= 1.0f);
  return in_range && (rest == 0 || rest - 8 <= modulus - 16);
}

/// The part of 1 / s that the float `inverse` = 1 / s leaves out.
QUERN_INLINE float low_part_of_inverse(float s, float inverse) noexcept {
  return static_cast<float>(1.0 / static_cast<double>(s) - static_cast<double>(inverse));
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern

QUERN_FP_END
