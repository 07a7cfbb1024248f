// power_of_two.hpp — shifts only: Vitis AI's DPU and every accelerator that has no multiplier behind its accumulators.
//
//     shift >= 0:  y = round( x / 2^shift )            shift < 0:  y = sat32( x * 2^-shift )
#pragma once

#include "../core/error.hpp"
#include "../core/math.hpp"
#include "../core/saturate.hpp"
#include "../round/half_up.hpp"

namespace quern::rescale {

template <class Rounding = round_to::half_up>
struct power_of_two {
  static constexpr char const* name = "power_of_two";
  static constexpr int accumulator_bits = 64;
  using rounding = Rounding;
  /// scale = 2^-shift; -62 <= shift <= 62.
  struct parameters {
    std::int32_t shift = 0;
  };

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept {
    auto const [fraction, exponent] = frexp_of(scale);
    return fraction == 0.5 && exponent - 1 >= -62 && exponent - 1 <= 62;
  }
  /// @errors scale: not a power of two from 2^-62 to 2^62.
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    if (!accepts(scale))
      fail(errc::scale, "power_of_two: the scale is ", scale, "; it must be a power of two from 2^-62 to 2^62.");
    return {1 - frexp_of(scale).exponent};
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    return apply(static_cast<std::int64_t>(x), p);
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int64_t x, parameters p) noexcept {
    if (p.shift >= 0) return saturate<s32>(Rounding::shift_right(x, p.shift));
    if (x == 0) return 0;
    // Anything that is not 0 leaves int32 after 32 places.
    int const left = -p.shift < 32 ? -p.shift : 32;
    return saturate<s32>(clamp<std::int64_t>(x, -2147483648ll, 2147483647ll) * (std::int64_t{1} << left));
  }
};

}  // namespace quern::rescale
