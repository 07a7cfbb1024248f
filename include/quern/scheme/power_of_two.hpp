// power_of_two.hpp — symmetric, with scales that are powers of two, so that rescaling is a shift.
#pragma once

#include "scheme.hpp"

namespace quern {

/// As symmetric, with the scale rounded up to the next power of two: nothing is clipped that symmetric would not clip.
///
///     scale = 2^ceil(log2(symmetric scale))
///
/// [-1, 1] takes 2^-6 for s8, [-1, 0.5] with full_range 2^-7. Vitis AI's guard of half a step is convention::vitis_ai's matter.
/// @rounds  nowhere: the power is found from the exponent bits of the double.
/// @source  AMD Vitis AI quantizers (fix position = -log2 scale); FBGEMM's force_scale_power_of_two rounds up too.
template <class Code = s8, class Granularity = per_tensor, class Range = full_range>
struct power_of_two : detail::scheme_base<Code, Granularity, Range> {
  static constexpr char const* name = "power_of_two";
  static constexpr bool fixed_zero_point = true;
  template <class C, class G, class R>
  using rebind = power_of_two<C, G, R>;

  /// Exactly 2^e, subnormal ones included.
  static constexpr char const* scale_rule = "power_of_two takes powers of two only.";
  QUERN_INLINE static constexpr bool valid_scale(float scale) noexcept { return frexp_of(scale).fraction == 0.5f; }
  QUERN_INLINE static constexpr scale_zero_point choose(real_range range, choose_options options = {}) noexcept {
    detail::usable_range const r(range);
    double scale = r.only_zero() ? options.scale_of_zero : detail::scale_around<power_of_two>(r);
    if (scale < options.smallest_scale) scale = options.smallest_scale;
    auto const [fraction, exponent] = frexp_of(scale);
    int const power = fraction == 0.5 ? exponent - 1 : exponent;
    return {ldexp_of(1.0f, power < 127 ? power : 127), power_of_two::q_middle};  // options may ask for more than 2^127
  }
};

}  // namespace quern
