// toward_zero.hpp — the fraction is dropped: a C cast; the last multiply of TFLite's hard-swish.
//
//     x      0.5   1.5   2.5  -0.5  -1.5  -2.5
//     result   0     1     2     0    -1    -2
#pragma once

#include "by_remainder.hpp"

namespace quern::round_to {

/// The integer part of x.
struct toward_zero : detail::rounding_by_remainder<toward_zero> {
  static constexpr char const* name = "toward_zero";
  QUERN_INLINE static constexpr bool away(bool, bool, fraction) noexcept {
    return false;
  }
};

}  // namespace quern::round_to
