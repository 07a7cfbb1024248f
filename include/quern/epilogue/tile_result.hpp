// tile_result.hpp — what the loops hand to an epilogue.
#pragma once

#include "../core/integers.hpp"

namespace quern {
namespace detail {

/// A tile of accumulators on its way: rows [row, row + rows) and columns [col, col + cols) of the result.
struct tile_result {
  std::int32_t const* acc;
  index_t ld;
  std::int32_t const* init;   ///< to be added, for the tile's columns; null where accumulators started from it
  index_t row, col, rows, cols;
  std::int64_t const* sums;   ///< of the copied rows, all of k or of the segment; null unless asked for
  std::int32_t lhs_offset;    ///< what copied codes are above the caller's: 128 for s8 copied as u8
};

/// Adds the accumulators of one segment of k to `wide` (ld elements a row); sets it when `first`.
using fold_function = void (*)(void const* context, tile_result const& t, index_t segment, bool first, void* wide, index_t wide_ld);
/// From accumulators, or from what fold made of them (`wide` not null), to the destination.
using finish_function = void (*)(void const* context, tile_result const& t, void const* wide, index_t wide_ld);

}  // namespace detail
}  // namespace quern
