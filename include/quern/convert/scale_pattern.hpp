// scale_pattern.hpp — the scales and zero points of a line, element by element, where each column has its own.
#pragma once

#include "../scheme/params.hpp"
#include "walk.hpp"

namespace quern::detail {

/// Copies that repeat with `period`; filled again only when another line needs others.
struct scale_pattern {
  alignas(64) float scales[most_columns];
  alignas(64) std::int32_t zeros[most_columns];
  index_t filled = 0, first = -1, step = 0, period = 0;

  /// Whether anything changed.
  QUERN_INLINE bool fill(params_view p, index_t n, index_t from, index_t by, index_t repeat) noexcept {
    if (from == first && by == step && repeat == period && n <= filled) return false;
    first = from, step = by, period = repeat, filled = n;
    for (index_t j = 0, k = 0; j < n; ++j) {
      scales[j] = p.scale(from + k * by);
      zeros[j] = p.zero_point(from + k * by);
      if (++k == repeat) k = 0;
    }
    return true;
  }
};

}  // namespace quern::detail
