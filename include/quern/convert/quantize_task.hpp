// quantize_task.hpp — one rectangle of a tensor, as the kernels of quantize_body.inl take it.
#pragma once

#include "../core/views.hpp"
#include "form.hpp"

namespace quern::detail {

/// Rows of contiguous elements. Element (i, j) has scale number i * row_scale + (j % period) * col_scale and position
/// first_index + i * row_index + j * col_index (which stochastic rounding draws by). row_scale or col_scale is 0.
template <class Src, class Dst>
struct quantize_task {
  Src const* src;
  Dst* dst;
  index_t rows, cols;
  index_t src_stride, dst_stride;  ///< from row to row
  float const* scales;
  std::int32_t const* zero_points;  ///< null: all 0
  index_t row_scale, col_scale, period;
  std::int32_t q_min, q_max;
  bool in_place;  ///< dst is src: no element may be read again after it was written
  std::uint64_t first_index;
  index_t row_index, col_index;
};

/// A code's width in bits as far as its range says: 8 for -127..127.
QUERN_INLINE constexpr int bits_of_range(std::int32_t q_min, std::int32_t q_max) noexcept {
  int bits = 1;
  while (bits < 31 && (std::int64_t{q_max} - q_min) >> bits != 0) ++bits;
  return bits;
}

}  // namespace quern::detail
