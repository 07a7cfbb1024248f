// half_even_positive.hpp — to nearest, ties to even above zero and upward below: Vitis AI method 5.
//
//     x      0.5   1.5   2.5  -0.5  -1.5  -2.5
//     result   0     2     2     0    -1    -2
#pragma once

#include "by_remainder.hpp"

namespace quern::round_to {

/// To nearest; a tie goes to the even neighbour where x > 0, and upward where x < 0.
struct half_even_positive : detail::rounding_by_remainder<half_even_positive> {
  static constexpr char const* name = "half_even_positive";
  QUERN_INLINE static constexpr bool away(bool negative, bool odd, fraction f) noexcept {
    return f == fraction::above_half || (f == fraction::half && !negative && odd);
  }
};

}  // namespace quern::round_to
