// finish.hpp — from a tile of accumulators to the destination: corrections, stages, segments.
#pragma once

#include "prepare.hpp"
#include "tile_result.hpp"

QUERN_FP_BEGIN

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// What finish and fold look at.
template <class Dst, class E>
struct finish_context {
  E const* e;
  matrix_view<Dst> dst;
  column_data columns;
  std::int32_t min = 0, max = 0;        ///< the clamp of an integer destination
};

/// Accumulator (i, j) with its zero-point terms. For one group of weights `group` >= 0.
template <class Wide>
QUERN_INLINE Wide corrected(Wide acc, std::int32_t lhs_zero, std::int64_t row_sum, index_t j,
                            bool lhs_term, std::int32_t rhs_zero, index_t k, std::int32_t const* sums) noexcept {
  std::int64_t const terms = (lhs_term ? static_cast<std::int64_t>(lhs_zero) * sums[j] : 0) +
                             static_cast<std::int64_t>(rhs_zero) * (row_sum - static_cast<std::int64_t>(k) * lhs_zero);
  if constexpr (sizeof(Wide) == 8)
    return acc - terms;
  else
    return wrap32(static_cast<std::int64_t>(acc) - terms);
}

/// The scalar path of every destination. Segments of to_real with groups are floats, those of wide accumulators int64.
template <class Dst, class E, bool Wide>
void finish_scalar(void const* context, tile_result const& t, void const* wide, index_t wide_ld) {
  auto const& c = *static_cast<finish_context<Dst, E> const*>(context);
  auto const& d = c.columns;
  E const& e = *c.e;
  for (index_t r = 0; r < t.rows; ++r) {
    index_t const i = t.row + r;
    std::int32_t const lhs_zero = e.lhs_zero_point[i] + t.lhs_offset;
    for (index_t q = 0; q < t.cols; ++q) {
      index_t const j = t.col + q;
      std::int32_t const rhs_zero = d.rhs_zero != nullptr ? d.rhs_zero[j] : d.uniform_rhs_zero;
      if constexpr (Wide) {
        std::int64_t const acc = static_cast<std::int64_t const*>(wide)[r * wide_ld + q] + (e.bias.size > 0 ? e.bias[j] : 0);
        finish_one(e, acc, static_cast<float>(acc), i, j, c.dst(i, j));
      } else if (wide != nullptr) {
        finish_one(e, std::int32_t{0}, static_cast<float const*>(wide)[r * wide_ld + q], i, j, c.dst(i, j));
      } else {
        std::int32_t const start = t.init == nullptr ? 0 : t.init[q];
        std::int32_t const acc = corrected(wrap32(std::int64_t{t.acc[r * t.ld + q]} + start), lhs_zero, t.sums == nullptr ? 0 : t.sums[r], j,
                                           d.lhs_zero_by_row, rhs_zero, d.k, d.sums);
        finish_one(e, acc, static_cast<float>(acc), i, j, c.dst(i, j));
      }
    }
  }
}

/// int64 sums: every segment's int32 with all of its corrections.
template <class Dst, class E>
void fold_wide(void const* context, tile_result const& t, index_t segment, bool first, void* wide, index_t wide_ld) {
  auto const& c = *static_cast<finish_context<Dst, E> const*>(context);
  auto const& d = c.columns;
  (void)segment;
  for (index_t r = 0; r < t.rows; ++r) {
    std::int32_t const lhs_zero = c.e->lhs_zero_point[t.row + r] + t.lhs_offset;
    for (index_t q = 0; q < t.cols; ++q) {
      index_t const j = t.col + q;
      std::int64_t& sum = static_cast<std::int64_t*>(wide)[r * wide_ld + q];
      // The terms of all of k are taken with the first segment, those of the row sums with each.
      std::int32_t const rhs_zero = d.rhs_zero != nullptr ? d.rhs_zero[j] : d.uniform_rhs_zero;
      std::int64_t value = t.acc[r * t.ld + q];
      if (t.sums != nullptr) value -= static_cast<std::int64_t>(rhs_zero) * t.sums[r];
      if (first)
        sum = value - static_cast<std::int64_t>(lhs_zero) * d.sums[j] +
              static_cast<std::int64_t>(rhs_zero) * static_cast<std::int64_t>(d.k) * lhs_zero;
      else
        sum += value;
    }
  }
}

/// Weights in groups: float sums of scaled groups, one after the other.
template <class Dst, class E>
void fold_groups(void const* context, tile_result const& t, index_t segment, bool first, void* wide, index_t wide_ld) {
  auto const& c = *static_cast<finish_context<Dst, E> const*>(context);
  auto const& d = c.columns;
  auto const& scales = c.e->rescale.groups;
  auto const& zeros = c.e->rescale.group_zero_points;
  index_t const k0 = segment * d.group, k = d.k - k0 < d.group ? d.k - k0 : d.group;
  std::int32_t const* const sums = d.sums + segment * d.columns;
  for (index_t r = 0; r < t.rows; ++r) {
    std::int32_t const lhs_zero = c.e->lhs_zero_point[t.row + r] + t.lhs_offset;
    for (index_t q = 0; q < t.cols; ++q) {
      index_t const j = t.col + q;
      std::int32_t const rhs_zero = zeros.rows > 0        ? zeros(segment, j) - d.packed_offset
                                    : d.rhs_zero != nullptr ? d.rhs_zero[j]
                                                            : d.uniform_rhs_zero;
      std::int32_t const acc =
          corrected(t.acc[r * t.ld + q], lhs_zero, t.sums == nullptr ? 0 : t.sums[r], j, true, rhs_zero, k, sums);
      float const value = rounded(static_cast<float>(acc) * scales(segment, j));
      float& sum = static_cast<float*>(wide)[r * wide_ld + q];
      sum = first ? value : rounded(sum + value);
    }
  }
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern

QUERN_FP_END
