// half_away.hpp — to nearest, ties away from zero: C's round(), TFLite's float paths, TVM TONEAREST.
//
//     x      0.5   1.5   2.5  -0.5  -1.5  -2.5
//     result   1     2     3    -1    -2    -3
#pragma once

#include "by_remainder.hpp"

namespace quern::round_to {

/// To nearest, ties to the neighbour of greater magnitude.
struct half_away : detail::rounding_by_remainder<half_away> {
  static constexpr char const* name = "half_away";
  QUERN_INLINE static constexpr bool away(bool, bool, fraction f) noexcept {
    return f >= fraction::half;
  }
};

}  // namespace quern::round_to
