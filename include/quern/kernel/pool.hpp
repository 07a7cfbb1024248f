// pool.hpp — one output pixel of a pool: all channels over a rectangle of source pixels.
#pragma once

#include "../core/saturate.hpp"
#include "../cpu/isa.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// rows x cols source pixels from `src`, `c` channels each, to one destination pixel. Channels go in blocks of 64 whose int32 sums
/// stay in registers or the first-level cache.
template <bool Average, class T>
void pool_pixel(isa, T const* src, index_t row_stride, index_t col_stride, index_t rows, index_t cols, index_t c, std::int32_t min,
                std::int32_t max, T* dst) noexcept {
  std::int32_t acc[64];
  auto const n = static_cast<std::int32_t>(rows * cols);
  for (index_t c0 = 0; c0 < c; c0 += 64) {
    index_t const block = c - c0 < 64 ? c - c0 : 64;
    for (index_t i = 0; i < block; ++i) acc[i] = Average ? 0 : std::int32_t{code_of_t<T>::min};
    for (index_t y = 0; y < rows; ++y)
      for (index_t x = 0; x < cols; ++x) {
        T const* const p = src + y * row_stride + x * col_stride + c0;
        for (index_t i = 0; i < block; ++i) {
          if constexpr (Average)
            acc[i] += p[i];
          else
            acc[i] = acc[i] > p[i] ? acc[i] : p[i];
        }
      }
    for (index_t i = 0; i < block; ++i) {
      std::int32_t v = acc[i];
      if constexpr (Average) v = v > 0 ? (v + n / 2) / n : (v - n / 2) / n;
      dst[c0 + i] = static_cast<T>(clamp(v, min, max));
    }
  }
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
