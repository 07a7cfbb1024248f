// quantize_multiplier.hpp — a real scale as a 31-bit multiplier and a shift.
//
//     scale ~ multiplier * 2^(shift - 31),   2^30 <= |multiplier| <= 2^31 - 1,   shift > 0 shifts to the left
//
// The fraction is rounded to 31 bits with ties away from zero (C's round), so the relative error is at most 2^-31; the one case
// where it rounds up to 1 is renormalized. Sources: tensorflow/lite/kernels/internal/quantization_util.cc (QuantizeMultiplier,
// IntegerFrExp), apache/tvm src/relay/qnn/utils.cc (GetFixedPointMultiplierShift), pytorch/FBGEMM src/QuantUtils.cc
// (ChooseRequantizationMultiplier).
#pragma once

#include "../core/error.hpp"
#include "../core/math.hpp"
#include "../round/half_away.hpp"
#include "../round/half_even.hpp"

namespace quern::rescale {

/// multiplier * 2^(shift - 31).
struct multiplier_shift {
  std::int32_t multiplier = 0;
  std::int32_t shift = 0;

  QUERN_INLINE constexpr bool operator==(multiplier_shift o) const noexcept {
    return multiplier == o.multiplier && shift == o.shift;
  }
};

namespace detail {
/// The fraction of frexp as a number of 2^-31, and its exponent; 2^31 is left for the caller to renormalize.
struct fraction_shift {
  std::int64_t fraction = 0;
  int shift = 0;
};

inline namespace QUERN_ABI {

constexpr multiplier_shift renormalized(fraction_shift f) noexcept {
  if (f.fraction == (std::int64_t{1} << 31)) f = {f.fraction / 2, f.shift + 1};
  if (f.fraction == -(std::int64_t{1} << 31)) f = {f.fraction / 2, f.shift + 1};
  return {static_cast<std::int32_t>(f.fraction), f.shift};
}
constexpr fraction_shift rounded_frexp(double scale) noexcept {
  auto const [fraction, exponent] = frexp_of(scale);
  return {static_cast<std::int64_t>(round_to::half_away::to_integral(fraction * 2147483648.0)), exponent};
}

/// A rescale policy's contract on its scale, refused with a sentence.
constexpr double checked_scale(char const* policy, double scale, double below) {
  if (!(scale >= 0) || !(scale < below))
    fail(errc::scale, policy, ": the scale is ", scale, "; it must be finite, at least 0 and below ", below, ".");
  return scale;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// TFLite's QuantizeMultiplier, double-rounding build. 0 and everything below 2^-32 in magnitude (shift < -31) become (0, 0);
/// a negative scale gives a negative multiplier. `scale` must be finite: NaN and infinities give (0, 0).
constexpr multiplier_shift quantize_multiplier(double scale) noexcept {
  if (scale == 0 || !is_finite(scale)) return {};
  multiplier_shift const m = detail::renormalized(detail::rounded_frexp(scale));
  return m.shift < -31 ? multiplier_shift{} : m;
}

/// The same of a single-rounding build (TFLITE_SINGLE_ROUNDING): shifts above 30 become (2^31 - 1, 30).
constexpr multiplier_shift quantize_multiplier_single_rounding(double scale) noexcept {
  multiplier_shift const m = quantize_multiplier(scale);
  return m.shift > 30 ? multiplier_shift{2147483647, 30} : m;
}

/// TVM's: small scales are kept, whatever their shift.
constexpr multiplier_shift quantize_multiplier_tvm(double scale) noexcept {
  if (scale == 0 || !is_finite(scale)) return {};
  return detail::renormalized(detail::rounded_frexp(scale));
}

/// IntegerFrExp: frexp from the bits of the double, for machines without floating point (TFLITE_EMULATE_FLOAT). The fraction
/// keeps 30 bits after the leading one and goes up only when the rest is *above* half (ties down, where frexp's form rounds them
/// away). NaN: 0 with shift INT_MAX; infinities: the int64 limits with shift INT_MAX. 2^31 is possible. Subnormals are read
/// with an implicit one, as the original does.
constexpr detail::fraction_shift integer_frexp(double x) noexcept {
  std::uint64_t const u = bits_of<std::uint64_t>(x);
  bool const negative = sign_bit(x);
  if ((u & 0x7fffffffffffffffull) == 0) return {0, 0};
  if (is_nan(x)) return {0, 0x7fffffff};
  if (is_inf(x)) {
    constexpr std::int64_t most = 0x7fffffffffffffff;
    return {negative ? -most - 1 : most, 0x7fffffff};
  }
  int const exponent = static_cast<int>((u >> 52) & 0x7ff) - 1023;
  std::uint64_t const mantissa = u & 0xfffffffffffffull;
  std::int64_t f = static_cast<std::int64_t>(mantissa >> 22) + (std::int64_t{1} << 30);
  if ((mantissa & 0x3fffff) > 0x200000) ++f;
  return {negative ? -f : f, exponent + 1};
}

/// quantize_multiplier over integer_frexp.
constexpr multiplier_shift quantize_multiplier_integer(double scale) noexcept {
  if (scale == 0 || !is_finite(scale)) return {};
  multiplier_shift const m = detail::renormalized(integer_frexp(scale));
  return m.shift < -31 ? multiplier_shift{} : m;
}

/// FBGEMM's ChooseRequantizationMultiplier: scale ~ multiplier * 2^-shift (a right shift), multiplier in (2^(p-2), 2^(p-1)) or
/// the power 2^(p-2), p = `precision` bits, ties to even; 1.0 counts as normalized, so powers of two are not halved twice.
/// `scale` must be positive and finite: anything else gives (0, 0).
constexpr multiplier_shift choose_requantization_multiplier(float scale, int precision = 32) noexcept {
  if (!(scale > 0) || !is_finite(scale)) return {};
  int shift = precision - 1;
  for (; scale < 0.5f; ++shift) scale *= 2;
  for (; scale > 1.0f; --shift) scale /= 2;
  std::int64_t const one = std::int64_t{1} << (precision - 1);
  auto q = static_cast<std::int64_t>(round_to::half_even::to_integral(static_cast<double>(scale) * static_cast<double>(one)));
  if (q == one) {
    q /= 2;
    --shift;
  }
  return {static_cast<std::int32_t>(q), shift};
}

/// Multipliers of 16 significant bits, of the 64-bit rescale and of hard-swish: multiplier / 2^16 rounded, at most 0x7fff.
constexpr std::int16_t reduced_multiplier(std::int32_t multiplier) noexcept {
  return static_cast<std::int16_t>(multiplier < 0x7fff0000 ? (multiplier + (1 << 15)) >> 16 : 0x7fff);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::rescale
