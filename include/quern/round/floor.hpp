// floor.hpp — toward -infinity: an arithmetic shift; Vitis AI method 4.
//
//     x      0.5   1.5   2.5  -0.5  -1.5  -2.5
//     result   0     1     2    -1    -2    -3
#pragma once

#include "by_remainder.hpp"

namespace quern::round_to {

/// The greatest integer <= x.
struct floor : detail::rounding_by_remainder<floor> {
  static constexpr char const* name = "floor";
  QUERN_INLINE static constexpr bool away(bool negative, bool, fraction f) noexcept {
    return negative && f != fraction::zero;
  }
};

}  // namespace quern::round_to
