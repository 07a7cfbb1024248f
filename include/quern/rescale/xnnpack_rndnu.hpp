// xnnpack_rndnu.hpp — XNNPACK's integer requantizations: "round to nearest, ties up", with 24 and with 16 bits of multiplier.
//
//     rndnu:    y = low32( floor( (x * m + 2^(s-1)) / 2^s ) ),          scale = m * 2^-s exactly, 16 <= s <= 55
//     rndnu16:  y = floor( (sat16(x * 2^(e+1), rounded, ties up) * q + 2^14) / 2^15 ),   scale ~ q * 2^(e - 14), 2^14 <= q < 2^15
//
// Scales are floats in [2^-32, 256). rndnu16 is u8's on 32-bit Arm; its result saturates at 16 bits, which an 8-bit output cannot
// tell. Source: google/XNNPACK src/xnnpack/requantization.h.
#pragma once

#include "primitives.hpp"
#include "qnnpack.hpp"

namespace quern::rescale {

struct xnnpack_rndnu {
  static constexpr char const* name = "xnnpack_rndnu";
  using parameters = multiplier_shift;  ///< multiplier in [2^23, 2^24), 16 <= shift <= 55, to the right

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return detail::is_float_scale(scale, 256.0); }
  /// @errors scale: as a float not in [2^-32, 256).
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    auto const m = mantissa_shift::of(detail::checked_float_scale(name, scale, 256.0));
    return {m.mantissa, m.shift};
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    return wrap32((static_cast<std::int64_t>(x) * p.multiplier + (std::int64_t{1} << (p.shift - 1))) >> p.shift);
  }
};

struct xnnpack_rndnu16 {
  static constexpr char const* name = "xnnpack_rndnu16";
  using parameters = multiplier_shift;  ///< multiplier in [2^14, 2^15), -31 <= shift <= 8, to the left

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return detail::is_float_scale(scale, 256.0); }
  /// @errors scale: as a float not in [2^-32, 256).
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    auto const m = mantissa_shift::of(detail::checked_float_scale(name, scale, 256.0));
    std::int32_t const q15 = (m.mantissa + (1 << 8)) >> 9;
    return {q15 < 0x7fff ? q15 : 0x7fff, 24 - m.shift};
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    std::int64_t const wide = x;
    std::int64_t const shifted = p.shift >= 0 ? wide * (std::int64_t{1} << p.shift)
                                              : (wide + (std::int64_t{1} << (-p.shift - 1))) >> -p.shift;
    return (static_cast<std::int32_t>(clamp<std::int64_t>(shifted, -32768, 32767)) * p.multiplier + (1 << 14)) >> 15;
  }
};

}  // namespace quern::rescale
