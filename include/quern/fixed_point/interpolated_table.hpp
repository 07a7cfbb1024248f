// interpolated_table.hpp — a function of an int16 by a table of 513 samples and linear interpolation (TFLite's 16-bit LUT).
//
//     y = t[i] + floor(((t[i+1] - t[i]) * (x & 127) + 64) / 128),    i = 256 + floor(x / 128)
//
// The samples are moved by half of the interpolation error in the middle of their interval. Where the function is NaN, 0.
// Source: tensorflow/lite/kernels/internal/common.h (LUTPopulateInt16, LUTLookup).
#pragma once

#include "../core/math.hpp"
#include "../core/saturate.hpp"
#include "../round/half_away.hpp"

QUERN_FP_BEGIN

namespace quern::fixed_point {

struct interpolated_table {
  std::int16_t samples[513] = {};

  /// @range  every int16. @rounds half up, once.
  QUERN_INLINE constexpr std::int16_t operator()(std::int16_t x) const noexcept {
    int const i = 256 + (x >> 7), slope = samples[i + 1] - samples[i];
    return static_cast<std::int16_t>(samples[i] + ((slope * (x & 127) + 64) >> 7));
  }

  /// From `f`, float to float, all arithmetic in float32 as in TFLite. Input codes x mean src_scale * (x - src_zero_point), and
  /// the result y means dst_scale * (y - dst_zero_point).
  template <class F>
  QUERN_INLINE static constexpr interpolated_table make(float src_scale, std::int32_t src_zero_point, float dst_scale,
                                                        std::int32_t dst_zero_point, F const& f) {
    auto const round = [](float v) { return round_to::half_away::to_integral(v); };
    float const in_min = src_scale * static_cast<float>(-32768 - src_zero_point), in_max = src_scale * static_cast<float>(32767 - src_zero_point);
    float const out_min = dst_scale * static_cast<float>(-32768 - dst_zero_point), out_max = dst_scale * static_cast<float>(32767 - dst_zero_point);
    float const step = (rounded(in_max) - rounded(in_min)) / 512.0f, half_step = step / 2;
    float const inverse = 65536.0f / (rounded(out_max) - rounded(out_min));
    auto const stored = [](float v) { return is_nan(v) ? std::int16_t{0} : static_cast<std::int16_t>(clamp(v, -32768.0f, 32767.0f)); };
    interpolated_table t;
    for (int i = 0; i < 512; ++i) {
      float const x = rounded(in_min) + rounded(static_cast<float>(i) * step);
      float const sample = round(rounded(f(x) * inverse));
      float const next = rounded(f(rounded(in_min) + rounded(static_cast<float>(i + 1) * step)) * inverse);
      float const interpolated = round((next + sample) / 2), middle = round(rounded(f(x + half_step) * inverse));
      float const moved = sample - round((interpolated - middle) / 2);
      t.samples[i] = stored(is_nan(moved) ? sample : moved);  // infinities do not move
    }
    t.samples[512] = stored(round(rounded(f(in_max) * inverse)));
    return t;
  }
};

}  // namespace quern::fixed_point

QUERN_FP_END
