// symmetric.hpp — a scale alone; 0.0 sits in the middle of the codes.
#pragma once

#include "scheme.hpp"

namespace quern {

/// Codes around a fixed zero point: 0 for signed codes, 2^(Bits-1) for unsigned ones.
///
///     scale = max(min / (q_min - middle), max / (q_max - middle))
///
/// the smallest scale at which neither end of the range is clipped: [-1, 1] takes 1/127 for s8, [-1, 0.5] 1/128 with
/// full_range and 1/127 with narrow_range. Non-negative data wants asymmetric<u8> instead, which gives it all codes.
/// @rounds  the scale once, double to float (nearest even).
/// @source  Krishnamoorthi 2018, section 2.2; the two-sided maximum as in FBGEMM's preserve_sparsity.
template <class Code = s8, class Granularity = per_tensor, class Range = full_range>
struct symmetric : detail::scheme_base<Code, Granularity, Range> {
  static constexpr char const* name = "symmetric";
  static constexpr bool fixed_zero_point = true;
  template <class C, class G, class R>
  using rebind = symmetric<C, G, R>;

  QUERN_INLINE static constexpr bool valid_scale(float) noexcept { return true; }
  QUERN_INLINE static constexpr scale_zero_point choose(real_range range, choose_options options = {}) noexcept {
    detail::usable_range const r(range);
    if (r.only_zero()) return {options.scale_of_zero, symmetric::q_middle};
    float const scale = static_cast<float>(detail::scale_around<symmetric>(r));
    return {scale < options.smallest_scale ? options.smallest_scale : scale, symmetric::q_middle};
  }
};

}  // namespace quern
