// float_multiply.hpp — one multiplication in floating point, then one rounding: ONNX Runtime, FBGEMM, PyTorch, oneDNN, TensorRT.
//
//     float_multiply:   y = sat32( round( f32(x) * scale ) )      f32(x) rounds to nearest even above 2^24, the product once more
//     double_multiply:  y = sat32( round( f64(x) * scale ) )      f64(x) is exact
//
// NaN cannot arise: x is an integer and scale finite. |y| above 2^31 saturates.
#pragma once

#include "../core/saturate.hpp"
#include "../round/half_away.hpp"
#include "../round/half_even.hpp"
#include "quantize_multiplier.hpp"

QUERN_FP_BEGIN

namespace quern {
namespace rescale {

namespace detail {
inline namespace QUERN_ABI {

/// An integral value as int32, saturated; NaN gives 0.
template <class F>
QUERN_INLINE constexpr std::int32_t saturated_int32(F v) noexcept {
  if (v >= F{2147483648.0}) return 2147483647;
  if (v <= F{-2147483648.0}) return -2147483647 - 1;
  return v == v ? static_cast<std::int32_t>(v) : 0;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

template <class Rounding = round_to::half_even>
struct float_multiply {
  static constexpr char const* name = "float_multiply";
  static constexpr int accumulator_bits = 64;
  using rounding = Rounding;
  struct parameters {
    float scale = 0;
  };

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale >= 0 && scale < 3.4028235677973366e38; }
  /// @errors scale: negative, NaN or infinite (as a float).
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return {static_cast<float>(detail::checked_scale(name, scale, 3.4028235677973366e38))};
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    return detail::saturated_int32(Rounding::to_integral(rounded(static_cast<float>(x) * p.scale)));
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int64_t x, parameters p) noexcept {
    return detail::saturated_int32(Rounding::to_integral(rounded(static_cast<float>(x) * p.scale)));
  }
};

template <class Rounding = round_to::half_away>
struct double_multiply {
  static constexpr char const* name = "double_multiply";
  using rounding = Rounding;
  struct parameters {
    double scale = 0;
  };

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale >= 0 && scale < 1.7976931348623157e308; }
  /// @errors scale: negative, NaN or infinite.
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return {detail::checked_scale(name, scale, 1.7976931348623157e308)};
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    return detail::saturated_int32(Rounding::to_integral(rounded(static_cast<double>(x) * p.scale)));
  }
};

}  // namespace rescale
}  // namespace quern

QUERN_FP_END
