// ceil.hpp — toward +infinity: Vitis AI method 7.
//
//     x      0.5   1.5   2.5  -0.5  -1.5  -2.5
//     result   1     2     3     0    -1    -2
#pragma once

#include "by_remainder.hpp"

namespace quern::round_to {

/// The least integer >= x.
struct ceil : detail::rounding_by_remainder<ceil> {
  static constexpr char const* name = "ceil";
  QUERN_INLINE static constexpr bool away(bool negative, bool, fraction f) noexcept {
    return !negative && f != fraction::zero;
  }
};

}  // namespace quern::round_to
