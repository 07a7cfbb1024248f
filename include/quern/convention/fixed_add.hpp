// fixed_add.hpp — addition of codes with two integer multipliers and one shift: QNNPACK, XNNPACK, ONNX Runtime on Arm.
#pragma once

#include "convention.hpp"

QUERN_FP_BEGIN

namespace quern::convention::detail {

/// Two multipliers, the larger of `Bits` bits, and one rounding shift.
///
///     y = clamp( round((a * ma + b * mb - za * ma - zb * mb) / 2^shift) + zero_point ),  ma = half_even(Sa / Sy * 2^shift)
///
/// QNNPACK and ONNX Runtime's NEON: 22 bits, ties away from zero, ratios from 2^-14. XNNPACK: 21 bits, ties up, from 2^-10.
template <int Bits, bool TiesUp>
struct fixed_add {
  std::int32_t lhs_multiplier = 0, rhs_multiplier = 0, bias = 0, shift = 0, zero_point = 0;
  limits clamped{};

  /// @errors scale when the larger ratio is not in [2^-14, 2^8), or [2^-10, 2^8) with ties up.
  QUERN_INLINE static constexpr fixed_add make(affine a, affine b, affine y, limits l) {
    float const ra = a.scale / y.scale, rb = b.scale / y.scale, larger = ra > rb ? ra : rb;
    if (!(larger >= (TiesUp ? 0.0009765625f : 6.103515625e-05f) && larger < 256.0f))
      fail(errc::scale, "add: the larger ratio of an operand's scale to the result's is ", static_cast<double>(larger),
           "; this kernel takes ", TiesUp ? "2^-10" : "2^-14", " to 2^8.");
    int const shift = Bits - 1 - exponent_of(larger);
    auto const multiplier = [shift](float ratio) {
      return static_cast<std::int32_t>(round_to::half_even::to_integral(ldexp_of(static_cast<double>(ratio), shift)));
    };
    std::int32_t const ma = multiplier(ra), mb = multiplier(rb);
    return {ma, mb, wrap32(-static_cast<std::int64_t>(ma) * a.zero_point - static_cast<std::int64_t>(mb) * b.zero_point), shift, y.zero_point, l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    std::int32_t const acc = wrap32(std::int64_t{bias} + static_cast<std::int64_t>(a) * lhs_multiplier + static_cast<std::int64_t>(b) * rhs_multiplier);
    // QNNPACK's smallest ratios shift by up to 35; a quotient by 2^32 and more rounds to 0.
    std::int32_t const v = TiesUp      ? wrap32(std::int64_t{acc} + (1 << (shift - 1))) >> shift
                           : shift > 31 ? 0
                                        : rescale::rounding_divide_by_pot(acc, shift);
    return clamp(v + zero_point, clamped.min, clamped.max);
  }
};

}  // namespace quern::convention::detail

QUERN_FP_END
