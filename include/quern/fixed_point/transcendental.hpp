// transcendental.hpp — gemmlowp's integer exp, reciprocal, logistic and tanh, and TFLite's inverse square root.
//
// Everything is int32 in Q format: Qm.n is a number of m integer and n fraction bits, m + n = 31. These are *definitions*: their
// error against the real function (exp 500, tanh 310, logistic 155 units of 2^-31 at most) is part of what TFLite computes.
// Source: google/gemmlowp fixedpoint/fixedpoint.h; tensorflow/lite/kernels/internal/common.h (GetInvSqrtQuantizedMultiplierExp).
#pragma once

#include "../rescale/primitives.hpp"
#include "../rescale/quantize_multiplier.hpp"

namespace quern::fixed_point {
inline namespace QUERN_ABI {

inline constexpr std::int32_t int32_max = 2147483647;

/// e^a for a in [-1/4, 0), argument and result Q0.31: a Taylor polynomial of degree 4 around -1/8.
constexpr std::int32_t exp_minus_quarter(std::int32_t a) noexcept {
  using namespace rescale;
  std::int32_t const e_eighth = 1895147668, third = 715827883;  // e^(-1/8), 1/3
  std::int32_t const x = a + (1 << 28);                         // a + 1/8
  std::int32_t const x2 = srdhm(x, x), x3 = srdhm(x2, x), x4 = srdhm(x2, x2);
  std::int32_t const tail = rounding_divide_by_pot(srdhm(rounding_divide_by_pot(x4, 2) + x3, third) + x2, 1);
  return e_eighth + srdhm(e_eighth, x + tail);
}

/// e^a for a <= 0 with `integer_bits` integer bits (0 to 30), result Q0.31; 1.0 is 2^31 - 1.
constexpr std::int32_t exp_on_negative(std::int32_t a, int integer_bits) noexcept {
  using namespace rescale;
  if (a == 0) return int32_max;
  int const fraction_bits = 31 - integer_bits;
  std::int32_t const quarter = 1 << (fraction_bits - 2);
  std::int32_t const within = (a & (quarter - 1)) - quarter;  // in [-1/4, 0)
  std::int32_t r = exp_minus_quarter(saturating_shift_left(within, integer_bits));
  std::int64_t const rest = static_cast<std::int64_t>(within) - a;  // a multiple of 1/4
  constexpr struct {
    int exponent;
    std::int32_t factor;  // e^(-2^exponent), Q0.31
  } steps[] = {{-2, 1672461947}, {-1, 1302514674}, {0, 790015084}, {1, 290630308}, {2, 39332535}, {3, 720401}, {4, 242}};
  for (auto const& step : steps)
    if (integer_bits > step.exponent && ((rest >> (fraction_bits + step.exponent)) & 1) != 0) r = srdhm(r, step.factor);
  if (integer_bits > 5 && a < -(std::int64_t{1} << (36 - integer_bits))) r = 0;  // below -32
  return r;
}

/// 2 / (1 + a) in Q2.29 for a in [0, 1) of Q0.31: three Newton steps.
constexpr std::int32_t two_over_one_plus(std::int32_t a) noexcept {
  using namespace rescale;
  std::int32_t const half_denominator = rounding_half_sum(a, int32_max);
  std::int32_t x = 1515870810 + srdhm(half_denominator, std::int32_t{-1010580540});  // 48/17 - 32/17 * half_denominator
  for (int i = 0; i < 3; ++i) {
    std::int32_t const error = (1 << 29) - srdhm(half_denominator, x);
    x += saturating_shift_left(srdhm(x, error), 2);
  }
  return x;
}

/// 1 / (1 + a), argument in [0, 1) and result Q0.31.
constexpr std::int32_t one_over_one_plus(std::int32_t a) noexcept { return rescale::saturating_shift_left(two_over_one_plus(a), 1); }

/// (1 - a) / (1 + a), argument in [0, 1) and result Q0.31.
constexpr std::int32_t one_minus_over_one_plus(std::int32_t a) noexcept {
  return rescale::saturating_shift_left(two_over_one_plus(a) - (1 << 29), 2);
}

namespace detail {
constexpr std::int32_t minus_magnitude(std::int32_t a) noexcept { return a > 0 ? -a : a; }
}  // namespace detail

/// 1 / (1 + e^-a), Q0.31; `a` has `integer_bits` integer bits.
constexpr std::int32_t logistic(std::int32_t a, int integer_bits) noexcept {
  if (a == 0) return 1 << 30;
  std::int32_t const p = one_over_one_plus(exp_on_negative(detail::minus_magnitude(a), integer_bits));
  return a > 0 ? p : int32_max - p;
}

/// tanh a, Q0.31; `a` has `integer_bits` integer bits (below 30): (1 - e^-2|a|) / (1 + e^-2|a|).
constexpr std::int32_t tanh(std::int32_t a, int integer_bits) noexcept {
  if (a == 0) return 0;
  std::int32_t const t = one_minus_over_one_plus(exp_on_negative(detail::minus_magnitude(a), integer_bits + 1));
  return a < 0 ? -t : t;
}

/// How far codes may be from the zero point before their product with multiplier * 2^shift leaves `most` (of `fraction_bits`): TFLite's
/// CalculateInputRadius. Scales so small that no code is that far have the largest int32, where TFLite's conversion is undefined.
constexpr std::int32_t input_radius(int most, int fraction_bits, int shift) noexcept {
  double const radius = floor_of(ldexp_of(static_cast<double>(most), fraction_bits - shift));
  return radius < 2147483647.0 ? static_cast<std::int32_t>(radius) : int32_max;
}

/// 1 / sqrt(v) as multiplier * 2^(-31 - right shift): {multiplier, right shift * reverse}. TFLite calls it with reverse = -1, so
/// that the shift is a left one; v <= 1 gives {2^31 - 1, 0}. Five Newton steps in Q3.28.
constexpr rescale::multiplier_shift inverse_sqrt_multiplier(std::int32_t v, int reverse = -1) noexcept {
  using namespace rescale;
  if (v <= 1) return {int32_max, 0};
  int shift = 11;
  while (v >= (1 << 29)) v /= 4, ++shift;
  int const left_pairs = (leading_zeros(static_cast<std::uint32_t>(v)) - 1) / 2 - 1;
  shift -= left_pairs;
  v <<= 2 * left_pairs;  // now 2^27 <= v < 2^29
  std::int32_t const x = v >> 1, half_x = rounding_divide_by_pot(x, 1), three_halves = (1 << 28) + (1 << 27);
  std::int32_t y = 1 << 28;
  for (int i = 0; i < 5; ++i) {
    std::int32_t const cube = saturating_shift_left(srdhm(srdhm(y, y), y), 6);  // Q3 * Q3 * Q3 = Q9, back to Q3
    y = saturating_shift_left(srdhm(three_halves, y) - srdhm(half_x, cube), 3);
  }
  y = srdhm(y, std::int32_t{1518500250});  // sqrt(1/2)
  if (shift < 0) {
    y <<= -shift;
    shift = 0;
  }
  return {y, shift * reverse};
}

}  // inline namespace QUERN_ABI
}  // namespace quern::fixed_point
