// half_toward_zero.hpp — to nearest, ties toward zero: Vitis AI method 6.
//
//     x      0.5   1.5   2.5  -0.5  -1.5  -2.5
//     result   0     1     2     0    -1    -2
#pragma once

#include "by_remainder.hpp"

namespace quern::round_to {

/// To nearest, ties to the neighbour of smaller magnitude.
struct half_toward_zero : detail::rounding_by_remainder<half_toward_zero> {
  static constexpr char const* name = "half_toward_zero";
  QUERN_INLINE static constexpr bool away(bool, bool, fraction f) noexcept {
    return f == fraction::above_half;
  }
};

}  // namespace quern::round_to
