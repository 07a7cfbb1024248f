// by_remainder.hpp — a rounding mode from one sentence: when does the magnitude go up?
//
// Write x = ±(n + f) with n = floor(|x|) and 0 <= f < 1. Every mode of this room returns ±n or ±(n + 1), and which one depends
// on the sign, on whether n is odd, and on where f lies. A mode says just that (`away`); the three functions follow from it.
#pragma once

#include "../core/math.hpp"

namespace quern {

/// Where the fraction f lies between 0 and 1, in rising order.
enum class fraction : unsigned char { zero, below_half, half, above_half };

namespace detail {

/// Base of a stateless mode; `Mode::away(negative, odd, fraction)` says whether ±(n + f) becomes ±(n + 1).
template <class Mode>
struct rounding_by_remainder {
  /// x rounded to an integral value. NaN, infinities and the sign of zero pass through; exact for every x, because x - trunc(x)
  /// is (x - floor(x) is not: it rounds up to 1/2 just above -1/2).
  template <class F>
  QUERN_INLINE static constexpr F to_integral(F x) noexcept {
    F const t = trunc_of(x), f = abs_of(x - t);
    // For NaN and infinity f is NaN, every comparison fails, and t = x is returned.
    fraction const where = f > F{0.5}    ? fraction::above_half
                           : f == F{0.5} ? fraction::half
                           : f > F{0}    ? fraction::below_half
                                         : fraction::zero;
    if (!Mode::away(sign_bit(x), is_odd(t), where)) return t;
    return sign_bit(x) ? t - F{1} : t + F{1};
  }

  /// x / 2^s rounded, 0 <= s <= 62; no intermediate overflows for any x.
  QUERN_INLINE static constexpr std::int64_t shift_right(std::int64_t x, int s) noexcept {
    std::uint64_t const m = magnitude(x), n = m >> s, rest = m & ((std::uint64_t{1} << s) - 1);
    std::uint64_t const half = s == 0 ? 1 : std::uint64_t{1} << (s - 1);
    return signed_value(x < 0, n + (Mode::away(x < 0, (n & 1) != 0, compare(rest, half)) ? 1 : 0));
  }

  /// num / den rounded; den > 0.
  QUERN_INLINE static constexpr std::int64_t divide(std::int64_t num, std::int64_t den) noexcept {
    std::uint64_t const m = magnitude(num), d = static_cast<std::uint64_t>(den), n = m / d, rest = m % d;
    // rest against den / 2 without doubling: rest against den - rest.
    fraction const where = rest == 0         ? fraction::zero
                           : rest < d - rest ? fraction::below_half
                           : rest > d - rest ? fraction::above_half
                                             : fraction::half;
    return signed_value(num < 0, n + (Mode::away(num < 0, (n & 1) != 0, where) ? 1 : 0));
  }

 private:
  QUERN_INLINE static constexpr std::uint64_t magnitude(std::int64_t x) noexcept {
    return x < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(x) : static_cast<std::uint64_t>(x);
  }
  QUERN_INLINE static constexpr std::int64_t signed_value(bool negative, std::uint64_t m) noexcept {
    return static_cast<std::int64_t>(negative ? std::uint64_t{0} - m : m);
  }
  QUERN_INLINE static constexpr fraction compare(std::uint64_t rest, std::uint64_t half) noexcept {
    return rest == 0     ? fraction::zero
           : rest < half ? fraction::below_half
           : rest > half ? fraction::above_half
                         : fraction::half;
  }
  /// Whether the integral value t is odd; values of 2^(mantissa + 1) and more are even.
  template <class F>
  QUERN_INLINE static constexpr bool is_odd(F t) noexcept {
    F const m = abs_of(t);
    if (!(m < F(std::uint64_t{2} << ieee<F>::mantissa))) return false;
    return (static_cast<std::uint64_t>(m) & 1) != 0;
  }
};

}  // namespace detail
}  // namespace quern
