// normalize.hpp — TFLite's integer mean and sum, L2 normalization and layer normalization, the average of a pool, and
// 1 / sqrt.
//
// Sources: tensorflow/lite/kernels/elementwise.cc, tensorflow/lite/kernels/internal/reference/{reduce.h,integer_ops/l2normalization.h,integer_ops/pooling.h},
// tensorflow/lite/kernels/internal/reference/portable_tensor_utils.cc (PortableApplyLayerNorm).
#pragma once

#include "../core/views.hpp"
#include "../rescale/gemmlowp_double.hpp"
#include "elementwise.hpp"
#include "transcendental.hpp"

QUERN_FP_BEGIN

namespace quern::fixed_point {

/// sum / n, ties away from zero; n > 0.
QUERN_INLINE constexpr std::int32_t rounded_average(std::int32_t sum, std::int32_t n) noexcept {
  return sum > 0 ? (sum + n / 2) / n : (sum - n / 2) / n;
}

/// y = clamp(rescale(sum - zx n) + zero_point). The multiplier of a mean is the sum's over n, truncated: not the exact average.
template <class Rescale = rescale::gemmlowp_double>
struct reduction {
  std::int32_t src_zero_point = 0, zero_point = 0;
  std::int64_t count = 1;
  rescale::multiplier_shift dst{};
  limits clamped{};

  QUERN_INLINE static constexpr reduction make(affine x, affine y, std::int64_t count, bool mean, limits l) {
    auto m = Rescale::from_real(static_cast<double>(x.scale) / static_cast<double>(y.scale));
    if (mean) {
      int shift = 63 - __builtin_clzll(static_cast<unsigned long long>(count));
      shift = shift < 32 ? shift : 32;
      shift = shift < 31 + m.shift ? shift : 31 + m.shift;
      m.multiplier = static_cast<std::int32_t>((static_cast<std::int64_t>(m.multiplier) << shift) / count);
      m.shift -= shift;
    }
    return {x.zero_point, y.zero_point, count, m, l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t sum) const noexcept {
    std::int32_t const centred = wrap32(sum - src_zero_point * count);
    return static_cast<std::int32_t>(clamp<std::int64_t>(static_cast<std::int64_t>(Rescale::apply(centred, dst)) + zero_point, clamped.min, clamped.max));
  }
};

/// y = clamp(rescale(rescale(1, 2^20 / sqrt(x - zx)), 2^-20 / (sqrt(Sx) Sy)) + zero_point), the largest code at x = zx: TFLite's RSQRT.
/// Below zx, where TFLite stops, the zero point.
template <class Rescale = rescale::gemmlowp_double>
struct inverse_sqrt {
  std::int32_t src_zero_point = 0, zero_point = 0;
  rescale::multiplier_shift dst{};
  limits clamped{};

  QUERN_INLINE static constexpr inverse_sqrt make(affine x, affine y, limits l) {
    return {x.zero_point, y.zero_point, Rescale::from_real(1.0 / (sqrt_of(static_cast<double>(x.scale)) * static_cast<double>(y.scale))), l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t x) const noexcept {
    std::int32_t const v = x - src_zero_point;
    if (v <= 0) return v == 0 ? clamped.max : zero_point;
    auto const inverse = inverse_sqrt_multiplier(v, -1);
    std::int32_t const scaled = Rescale::apply(1, {inverse.multiplier, inverse.shift + 20});
    return placed(dst.shift < -11 ? 0 : Rescale::apply(scaled, {dst.multiplier, dst.shift - 20}), zero_point, clamped);  // 0 beyond 31 bits
  }
};

/// One int8 row divided by its Euclidean norm; the destination has scale 1/128 and zero point 0.
template <class Rescale = rescale::gemmlowp_double>
struct l2_normalize {
  std::int32_t src_zero_point = 0;

  QUERN_INLINE constexpr void operator()(std::int8_t const* src, std::int8_t* dst, index_t n) const noexcept {
    std::int64_t squares = 0;
    for (index_t i = 0; i < n; ++i) squares += (src[i] - src_zero_point) * (src[i] - src_zero_point);
    // Beyond int32, which TFLite's sum leaves at 33,026 codes, a quarter of the squares has half the root.
    int halves = 0;
    for (; squares > int32_max; squares /= 4) ++halves;
    auto const inverse = inverse_sqrt_multiplier(static_cast<std::int32_t>(squares), -1);
    for (index_t i = 0; i < n; ++i)
      dst[i] = saturate<s8>(Rescale::apply(src[i] - src_zero_point, {inverse.multiplier, inverse.shift + 7 - halves}));
  }
};

/// One int16 row, normalized, times int16 weights plus int32 bias (TFLite's integer LSTM).
///
///     y = sat16(rescale(((x - mean) / sigma) * weight + bias, scale * 2^12))
///
/// in Q5.10 between; exact variance only when n divides 2^20, as in the original. `variance_limit` replaces variances below 1.
template <class Rescale = rescale::gemmlowp_double>
struct layer_norm {
  rescale::multiplier_shift scale{};
  std::int32_t variance_limit = 1;

  QUERN_INLINE constexpr void operator()(std::int16_t const* src, std::int16_t const* weights, std::int32_t const* bias,
                                         std::int16_t* dst, index_t n) const noexcept {
    std::int64_t sum = 0, squares = 0;
    for (index_t i = 0; i < n; ++i) {
      sum += src[i];
      squares += static_cast<std::int32_t>(src[i]) * src[i];
    }
    auto const mean = static_cast<std::int32_t>(sum * 1024 / n);
    std::int64_t const variance = squares * ((std::int64_t{1} << 20) / n) - static_cast<std::int64_t>(mean) * mean;
    auto const v = static_cast<std::int32_t>(variance / (1 << 20));
    auto const inverse = inverse_sqrt_multiplier(v < 1 ? variance_limit : v, -1);
    for (index_t i = 0; i < n; ++i) {
      std::int32_t const normalized = Rescale::apply(1024 * src[i] - mean, inverse);
      std::int64_t const weighted = static_cast<std::int64_t>(normalized) * weights[i] + bias[i];
      auto const back = static_cast<std::int32_t>((weighted > 0 ? weighted + 512 : weighted - 512) / 1024);
      dst[i] = saturate<s16>(Rescale::apply(back, {scale.multiplier, scale.shift + 12}));
    }
  }
};

}  // namespace quern::fixed_point

QUERN_FP_END
