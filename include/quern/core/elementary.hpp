// elementary.hpp — exp, log, erf and their kin: constexpr, and the same bits on every compiler, library and machine.
//
// The C library's versions differ in the last bits between glibc releases, musl, MSVC and vendors; constants and tables that
// are computed here (clipping thresholds, codebooks, softmax tables) would differ with them. These are plain double
// arithmetic whose every operation is rounded on its own (`rounded`), so the bits depend on nothing.
//
// @errors  relative, measured against 80-bit long double by tests/calibrate/theory.cpp: exp_of 2.5e-16,
//          log_of 4e-16, erf_of 1.5e-15, erfc_of 1e-14 (up to x = 26, where it leaves the normal range).
#pragma once

#include "math.hpp"

QUERN_FP_BEGIN

namespace quern {
inline namespace QUERN_ABI {

inline constexpr double pi = 3.14159265358979323846;
inline constexpr double ln2 = 0.69314718055994530942;

/// The nearest integer to |x| < 2^51, ties to even.
QUERN_INLINE constexpr double nearest_integer(double x) noexcept {
  double const magic = 6755399441055744.0;  // 1.5 * 2^52: the sum's last bit counts 1
  return rounded(x + magic) - magic;
}

/// e^x. 0 below -745.2, infinity above 709.8, NaN for NaN.
constexpr double exp_of(double x) noexcept {
  if (is_nan(x)) return x;
  if (x > 709.79) return x > 1e300 ? bits_of<double>(std::uint64_t{0x7ff0000000000000u}) : ldexp_of(exp_of(x - ln2), 1);
  if (x < -745.2) return 0.0;
  // x = k ln 2 + r, |r| <= 0.35; ln 2 in two parts, the first with 11 trailing zeros so that k times it is exact.
  double const k = nearest_integer(rounded(x * 1.44269504088896340736));
  double const r_high = x - rounded(k * 6.93147180369123816490e-01), r_low = rounded(k * 1.90821492927058770002e-10);
  double const r = r_high - r_low;
  double p = 1.0 / 6227020800.0;  // Taylor to r^13 / 13!, the first dropped term is below 4e-18
  double factorial = 479001600.0;
  for (int n = 12; n >= 2; factorial /= n--) p = rounded(p * r) + 1.0 / factorial;
  double const tail = rounded(rounded(p * r) * r) + ((r_high - r) - r_low);
  return ldexp_of(1.0 + (r + tail), static_cast<int>(k));
}

/// Natural logarithm; -infinity for 0, NaN for negative values.
constexpr double log_of(double x) noexcept {
  if (is_nan(x) || x < 0) return bits_of<double>(std::uint64_t{0x7ff8000000000000u});
  if (x == 0) return bits_of<double>(std::uint64_t{0xfff0000000000000u});
  if (is_inf(x)) return x;
  auto [m, e] = frexp_of(x);
  if (m < 0.70710678118654752440) m *= 2, --e;
  // log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.1716
  double const s = (m - 1) / (m + 1), z = rounded(s * s);
  double p = 0;
  for (int n = 25; n >= 3; n -= 2) p = rounded((p + 1.0 / n) * z);
  double const k = static_cast<double>(e);
  return rounded(k * 6.93147180369123816490e-01) + (rounded(2 * s) + (rounded(rounded(2 * s) * p) + rounded(k * 1.90821492927058770002e-10)));
}

constexpr double log2_of(double x) noexcept { return log_of(x) / ln2; }
constexpr double log10_of(double x) noexcept { return log_of(x) / 2.30258509299404568402; }

/// x^y for x > 0 as exp(y log x); 0 for x = 0 and y > 0.
constexpr double pow_of(double x, double y) noexcept {
  if (x == 0) return y > 0 ? 0.0 : y == 0 ? 1.0 : bits_of<double>(std::uint64_t{0x7ff0000000000000u});
  return exp_of(rounded(y * log_of(x)));
}

}  // inline namespace QUERN_ABI

namespace detail {
inline namespace QUERN_ABI {
/// e^(-x*x), the rounding error of x*x repaired: without it the relative error at x = 26 would be 5e-14.
constexpr double exp_minus_square(double x) noexcept {
  double const high = bits_of<double>(bits_of<std::uint64_t>(x) & 0xfffffffff8000000u);  // 26 bits: high * high is exact
  double const low = x - high;
  return exp_of(-rounded(high * high)) * exp_of(-rounded(low * (x + high)));
}
/// erfc for x >= 1: the continued fraction, from its far end. 12 + 240 / x^2 levels reach 1e-16 for every such x.
constexpr double erfc_fraction(double x) noexcept {
  double const z = rounded(x * x);
  int const levels = 12 + static_cast<int>(240.0 / z);
  double f = 0;
  for (int n = levels; n >= 1; --n) f = rounded(0.5 * n) / (x + f);
  return exp_minus_square(x) / (rounded((x + f) * 1.77245385090551602730));
}
}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// 2/sqrt(pi) times the integral of e^(-t*t) from 0 to x.
constexpr double erf_of(double x) noexcept {
  if (is_nan(x)) return x;
  double const a = abs_of(x);
  double result = 1.0;
  if (a < 2) {
    // e^(-x*x) * 2x/sqrt(pi) * (1 + 2x²/3 + (2x²)²/15 + ...): every term is positive, nothing cancels
    double const z = rounded(2 * rounded(a * a));
    double term = 1, sum = 1;
    for (int n = 3; term > sum * 1e-17; n += 2) sum += term = rounded(term * z) / n;
    result = rounded(rounded(detail::exp_minus_square(a) * a) * 1.12837916709551257390) * sum;
  } else if (a < 6) {
    result = 1.0 - detail::erfc_fraction(a);
  }
  return sign_bit(x) ? -result : result;
}

/// 1 - erf(x), without the cancellation.
constexpr double erfc_of(double x) noexcept {
  if (is_nan(x)) return x;
  if (x < 1) return 1.0 - erf_of(x);  // at most a factor of 6.4 is cancelled
  if (x > 27.3) return 0.0;
  return detail::erfc_fraction(x);
}

}  // inline namespace QUERN_ABI
}  // namespace quern

QUERN_FP_END
