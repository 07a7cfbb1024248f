// xnnpack_fp32.hpp — XNNPACK's default: one float multiply, to nearest even; and the magic number that does it without lrintf.
//
//     y = half_even( f32(x) * scale ),  scale in [2^-32, 256)
//     magic_requantize: v = clamp(f32(x) * scale, min - zp, max - zp);  bits(v + 1.5 * 2^23) - (0x4b400000 - zp)
//
// Adding 1.5 * 2^23 to |v| <= 2^22 leaves the integer, rounded to even, in the low bits. f32(x) itself rounds above 2^24.
// Sources: google/XNNPACK src/xnnpack/requantization.h, src/microparams-init.c; PyTorch's QNNPACK fork, per channel.
#pragma once

#include "../round/half_even.hpp"
#include "float_multiply.hpp"
#include "qnnpack.hpp"

QUERN_FP_BEGIN

namespace quern::rescale {

struct xnnpack_fp32 {
  static constexpr char const* name = "xnnpack_fp32";
  using parameters = float_multiply<round_to::half_even>::parameters;

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return detail::is_float_scale(scale, 256.0); }
  /// @errors scale: as a float not in [2^-32, 256).
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return {detail::checked_float_scale(name, scale, 256.0)};
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    return float_multiply<round_to::half_even>::apply(x, p);
  }
  /// The whole output stage by the magic number. Requires |min - zero_point|, |max - zero_point| <= 2^22; equals
  /// clamp(apply(x, p) + zero_point, min, max).
  QUERN_INLINE static constexpr std::int32_t magic_requantize(std::int32_t x, parameters p, std::int32_t zero_point,
                                                              std::int32_t min, std::int32_t max) noexcept {
    float const v = clamp(rounded(static_cast<float>(x) * p.scale), static_cast<float>(min - zero_point),
                          static_cast<float>(max - zero_point));
    return bits_of<std::int32_t>(v + 12582912.0f) - (0x4b400000 - zero_point);
  }
};

}  // namespace quern::rescale

QUERN_FP_END
