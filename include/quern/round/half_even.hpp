// half_even.hpp — to nearest, ties to even: IEEE 754's default, ONNX, PyTorch, FBGEMM, XNNPACK, TensorRT.
//
//     x      0.5   1.5   2.5  -0.5  -1.5  -2.5
//     result   0     2     2     0    -2    -2
#pragma once

#include "by_remainder.hpp"

namespace quern::round_to {

/// To nearest, ties to the even neighbour.
struct half_even : detail::rounding_by_remainder<half_even> {
  static constexpr char const* name = "half_even";
  QUERN_INLINE static constexpr bool away(bool, bool odd, fraction f) noexcept {
    return f == fraction::above_half || (f == fraction::half && odd);
  }
};

}  // namespace quern::round_to
