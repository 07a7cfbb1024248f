// activation.hpp — TFLite's logistic and tanh on int8 and int16 codes, without floating point.
//
// int8 goes through the Q4.27 functions of transcendental.hpp, int16 through a table of 256 entries with linear interpolation. The
// outputs' quantization is fixed: logistic 1/256, -128 (int8) or 1/32768, 0 (int16); tanh 1/128 or 1/32768, 0. Desktop TFLite uses
// a float-built 256-entry table for int8 instead (ops/table.hpp); the two differ by up to 1.
// Source: tensorflow/lite/kernels/internal/reference/integer_ops/{logistic,tanh}.h, tensorflow/lite/micro/kernels/{logistic,tanh}*.
#pragma once

#include "../core/elementary.hpp"
#include "../rescale/gemmlowp_double.hpp"
#include "transcendental.hpp"

QUERN_FP_BEGIN

namespace quern::fixed_point {

enum class sigmoid_kind : signed char { logistic, tanh };

/// int8 to int8: y = round(f(Sx (q - zx)) * 2^8 or 2^7) by exact integer arithmetic.
template <class Rescale = rescale::gemmlowp_double>
struct sigmoid8 {
  std::int32_t src_zero_point = 0, radius = 0;  ///< |x| >= radius saturates
  rescale::multiplier_shift input{};
  sigmoid_kind kind = sigmoid_kind::logistic;

  QUERN_INLINE static constexpr sigmoid8 make(float src_scale, std::int32_t src_zero_point, sigmoid_kind kind) {
    // frexp without the carry of quantize_multiplier: the fraction may round to 2^31 only for scales that no float32 is.
    auto const [fraction, shift] = frexp_of(static_cast<double>(src_scale) * 134217728.0);  // 2^27: Q4.27
    auto const m = static_cast<std::int32_t>(round_to::half_away::to_integral(fraction * 2147483648.0));
    return {src_zero_point, input_radius(15, 27, shift), shift < -31 ? rescale::multiplier_shift{} : rescale::multiplier_shift{m, shift}, kind};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t q) const noexcept {
    std::int32_t const x = q - src_zero_point;
    if (x <= -radius) return -128;
    if (x >= radius) return 127;
    std::int32_t const a = Rescale::apply(x, input);
    if (kind == sigmoid_kind::logistic)
      return clamp(rescale::rounding_divide_by_pot(logistic(a, 4), 23) - 128, -128, 127);
    return clamp(rescale::rounding_divide_by_pot(fixed_point::tanh(a, 4), 24), -128, 127);
  }
};

/// sigmoid(i / 24) in 0.16 fixed point. TFLite's shipped table is one above the rounded value at 44 indices; kept, because it is
/// the table that defines the result.
struct sigmoid_samples {
  std::uint16_t value[256] = {};
};
namespace detail {
constexpr sigmoid_samples make_sigmoid_samples() noexcept {
  constexpr unsigned char one_more[] = {4,  8,  12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27,  28,  29,
                                        30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46,  49,  50,
                                        54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255};
  sigmoid_samples t;
  for (int i = 0; i < 256; ++i)
    t.value[i] = static_cast<std::uint16_t>(65536.0 / (1.0 + exp_of(-static_cast<double>(i) / 24.0)) + 0.5);
  for (unsigned char i : one_more) ++t.value[i];
  return t;
}
}  // namespace detail
inline constexpr sigmoid_samples sigmoid_table = detail::make_sigmoid_samples();

/// int16 to int16.
struct sigmoid16 {
  std::int32_t multiplier = 0, shift = 0;
  sigmoid_kind kind = sigmoid_kind::logistic;

  /// A power-of-two scale of 2^-12 (logistic, tanh) or 2^-11 (tanh) multiplies by 3 and 6 exactly; others get a 15-bit multiplier.
  QUERN_INLINE static constexpr sigmoid16 make(float src_scale, sigmoid_kind kind) {
    auto const [fraction, exponent] = frexp_of(src_scale);
    if (fraction == 0.5f) {
      int const shift = exponent - 1 + 12;  // src_scale = 2^(shift - 12)
      if (shift == 0 || (kind == sigmoid_kind::tanh && shift == 1)) return {3 << shift, 0, kind};
    }
    double multiplier = static_cast<double>(src_scale) * 4096.0 * 3.0;
    std::int32_t shift = 0;
    while (multiplier <= 32767.0 / 2.0 && shift <= 30) multiplier *= 2, ++shift;
    return {multiplier < 2147483647.0 ? static_cast<std::int32_t>(multiplier) : int32_max, shift, kind};
  }
  QUERN_INLINE constexpr std::int16_t operator()(std::int32_t x) const noexcept {
    std::int32_t const round = shift > 0 ? 1 << (shift - 1) : 0;
    auto const v = static_cast<std::int32_t>(clamp<std::int64_t>((static_cast<std::int64_t>(x) * multiplier + round) >> shift, -int32_max, int32_max));
    auto const a = static_cast<std::uint32_t>(v < 0 ? -v : v);
    if (kind == sigmoid_kind::logistic) {
      std::uint32_t const i = a >> 9;
      std::uint32_t r = 0x7fffu << 10;
      if (i < 255) r = (std::uint32_t{sigmoid_table.value[i]} << 9) + (a & 511) * (sigmoid_table.value[i + 1] - std::uint32_t{sigmoid_table.value[i]});
      return static_cast<std::int16_t>(v >= 0 ? (r + 512) >> 10 : ((1u << 25) - r + 511) >> 10);
    }
    std::uint32_t const i = a >> 8;
    std::int32_t r = 0xffff << 8;
    if (i < 255) r = (sigmoid_table.value[i] << 8) + static_cast<std::int32_t>(a & 255) * (sigmoid_table.value[i + 1] - sigmoid_table.value[i]);
    return static_cast<std::int16_t>(v >= 0 ? (r - (1 << 23) + 128) >> 8 : (-r + (1 << 23) + 127) >> 8);
  }
};

}  // namespace quern::fixed_point

QUERN_FP_END
