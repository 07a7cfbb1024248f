// quantize_task.hpp — one rectangle of a tensor, as the kernels of quantize_body.inl take it.
#pragma once

#include "../core/views.hpp"
#include "form.hpp"
#include "params_kernels.hpp"

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
  bool unchecked = false;  ///< scales and zero points are looked at first: a scale for each row or column, the latter in order
  zero_point_limits zero_limits{};
  bool* far = nullptr;  ///< if not null, set where a value may be 2^15 steps away or more, or not finite
};

/// What the bits of u = q - q_min say about a range of codes: u is inside exactly if no bit above `bits` is set, and, where the
/// range is narrow (2^bits - 1 codes: -127..127), neither in u + 1.
struct code_span {
  int bits;
  bool narrow, told_by_bits;

  QUERN_INLINE constexpr code_span(std::int32_t q_min, std::int32_t q_max) noexcept {
    std::uint32_t const last = static_cast<std::uint32_t>(q_max) - static_cast<std::uint32_t>(q_min);
    bits = 32 - __builtin_clz(last | 1);
    narrow = ((last + 1) & last) != 0;
    told_by_bits = !narrow || ((last + 2) & (last + 1)) == 0;
  }
};

/// A destination of this many bytes leaves the caches anyway: it is written past them, which saves reading it first.
inline constexpr index_t streaming_bytes = index_t{8} << 20;

/// In which order rows go whose columns have scales. In the caches 64 rows share what a strip of columns is scaled by. Beyond them lines are
/// read as a whole, but those of several rows in turn that are far apart: from rows side by side the CPU does not see that each is read
/// from end to end. From row i on: for each r < apart the rows i + r + k * apart, k < together, and then from row next(i) on.
struct rows_in_turn {
  index_t rows, together, apart;

  QUERN_INLINE static constexpr bool in_caches(index_t elements) noexcept { return elements <= 1 << 16; }
  QUERN_INLINE constexpr rows_in_turn(index_t rows_, bool cached, bool past_caches, index_t most = 64) noexcept
      : rows(rows_), together(cached ? 64 : past_caches ? 8 : 4), apart(1) {
    if (together > most) together = most;
    if (together > rows) together = rows;
    if (!cached) apart = rows / together;
    if (apart > 3) apart = (apart - 1) | 1;  // a power of two would put them into the same sets of the first cache
  }
  /// Before what begins at row i: the last rows are fewer, and go side by side.
  QUERN_INLINE constexpr void begin(index_t i) noexcept {
    if (i + together * apart > rows) together = rows - i < together ? rows - i : together, apart = 1;
  }
  QUERN_INLINE constexpr index_t next(index_t i) const noexcept { return i + together * apart; }
};

}  // namespace quern::detail
