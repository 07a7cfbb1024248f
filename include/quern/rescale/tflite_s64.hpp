// tflite_s64.hpp — 48-bit accumulators and a multiplier of 16 bits: TFLite's 16x8 convolutions with an int64 bias.
//
//     y = wrap32( floor( (x * m + 2^(t-1)) / 2^t ) ),   m = reduced_multiplier(multiplier),   t = 15 - shift
//
// It is not tflite_single with more room: m has 15 significant bits, so y is off by up to 2^-15 of itself.
// Source: tensorflow/lite/kernels/internal/common.cc (the int64_t overload of MultiplyByQuantizedMultiplier).
#pragma once

#include "primitives.hpp"
#include "quantize_multiplier.hpp"

namespace quern::rescale {

struct tflite_s64 {
  static constexpr char const* name = "tflite_s64";
  static constexpr int accumulator_bits = 48;
  /// multiplier is the reduced one, 0 .. 0x7fff; -31 <= shift < 8.
  struct parameters {
    std::int32_t multiplier = 0;
    std::int32_t shift = 0;
  };

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale >= 0 && scale < 127.99999997; }
  /// @errors scale: negative, NaN, or above the contract's shift of 7 (about 2^7).
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return from_multiplier(quantize_multiplier(detail::checked_scale(name, scale, 127.99999997)));
  }
  QUERN_INLINE static constexpr parameters from_multiplier(multiplier_shift m) noexcept {
    return {reduced_multiplier(m.multiplier), m.shift};
  }
  /// x * multiplier modulo 2^64.
  QUERN_INLINE static constexpr std::uint64_t product(std::int64_t x, parameters p) noexcept {
    return static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(std::int64_t{p.multiplier});
  }
  /// |x| < 2^47; beyond, where a model's bias is nonsense, the product is taken modulo 2^64.
  QUERN_INLINE static constexpr std::int32_t apply(std::int64_t x, parameters p) noexcept {
    int const t = 15 - p.shift;  // 8 .. 46
    return wrap32(static_cast<std::int64_t>(product(x, p) + (std::uint64_t{1} << (t - 1))) >> t);
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    return apply(static_cast<std::int64_t>(x), p);
  }
};

}  // namespace quern::rescale
