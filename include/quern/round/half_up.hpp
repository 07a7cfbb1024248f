// half_up.hpp — to nearest, ties toward +infinity: floor(x + 1/2); Arm's VRSHL, TFLite single rounding, TVM UPWARD, Vitis DPU.
//
//     x      0.5   1.5   2.5  -0.5  -1.5  -2.5
//     result   1     2     3     0    -1    -2
#pragma once

#include "by_remainder.hpp"

namespace quern::round_to {

/// To nearest, ties upward.
struct half_up : detail::rounding_by_remainder<half_up> {
  static constexpr char const* name = "half_up";
  QUERN_INLINE static constexpr bool away(bool negative, bool, fraction f) noexcept {
    return f == fraction::above_half || (f == fraction::half && !negative);
  }
};

}  // namespace quern::round_to
