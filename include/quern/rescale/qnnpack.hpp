// qnnpack.hpp — QNNPACK's requantizations for scales in [2^-32, 1), from the 24 significant bits of a float.
//
//     scale = m * 2^(e - 150), m the mantissa with its leading one, e the biased exponent field
//     qnnpack (Q31):     p = floor((x * (m << 7) + 2^30) / 2^31),  y = p / 2^(126 - e) rounded, ties away from zero
//     qnnpack_precise:   y = x * scale exactly, rounded once, ties away from zero
//
// Q31 rounds twice, as gemmlowp does, first upward and then away. The magic-number form of the PyTorch fork is xnnpack_fp32's
// (magic_requantize). Source: pytorch/QNNPACK src/qnnpack/requantization.h, src/requantization/precise-scalar.c.
#pragma once

#include "primitives.hpp"
#include "quantize_multiplier.hpp"

namespace quern::rescale {

/// A positive normal float as mantissa * 2^-shift, mantissa in [2^23, 2^24).
struct mantissa_shift {
  std::int32_t mantissa = 0;
  std::int32_t shift = 0;

  QUERN_INLINE static constexpr mantissa_shift of(float scale) noexcept {
    std::uint32_t const b = bits_of<std::uint32_t>(scale);
    return {static_cast<std::int32_t>((b & 0x7fffffu) | 0x800000u), 150 - static_cast<std::int32_t>(b >> 23)};
  }
};

namespace detail {
inline namespace QUERN_ABI {

/// A scale that must be a float in [2^-32, below).
constexpr bool is_float_scale(double scale, double below) noexcept {
  auto const s = static_cast<float>(scale);
  return s >= 2.3283064365386963e-10f && static_cast<double>(s) < below;
}
constexpr float checked_float_scale(char const* policy, double scale, double below) {
  auto const s = static_cast<float>(scale);
  if (!is_float_scale(scale, below))
    fail(errc::scale, policy, ": the scale is ", scale, "; it must be at least 2^-32 and, as a float, below ", below, ".");
  return s;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

struct qnnpack {
  static constexpr char const* name = "qnnpack";
  using parameters = multiplier_shift;  ///< multiplier in [2^30, 2^31), 0 <= shift <= 31, to the right

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return detail::is_float_scale(scale, 1.0); }
  /// @errors scale: as a float not in [2^-32, 1).
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    auto const m = mantissa_shift::of(detail::checked_float_scale(name, scale, 1.0));
    return {m.mantissa << 7, m.shift - 24};
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    auto const q31 = static_cast<std::int32_t>((static_cast<std::int64_t>(x) * p.multiplier + (std::int64_t{1} << 30)) >> 31);
    return rounding_divide_by_pot(q31, p.shift);
  }
};

struct qnnpack_precise {
  static constexpr char const* name = "qnnpack_precise";
  using parameters = multiplier_shift;  ///< multiplier in [2^23, 2^24), 24 <= shift <= 55, to the right

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return detail::is_float_scale(scale, 1.0); }
  /// @errors scale: as a float not in [2^-32, 1).
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    auto const m = mantissa_shift::of(detail::checked_float_scale(name, scale, 1.0));
    return {m.mantissa, m.shift};
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    std::int64_t const product = static_cast<std::int64_t>(x < 0 ? -static_cast<std::int64_t>(x) : x) * p.multiplier;
    auto const magnitude = static_cast<std::int32_t>((product + (std::int64_t{1} << (p.shift - 1))) >> p.shift);
    return x < 0 ? -magnitude : magnitude;
  }
};

}  // namespace quern::rescale
