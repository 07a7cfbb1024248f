// proof.hpp — how deep a product may be before int32 can overflow: for all weights, and for the weights at hand.
//
// |sum of k products| <= k * max|lhs| * max|rhs|, which must stay within 2^31 - 1:
//
//     s8 * s8   131,071   (2^14 * 131,071 = 2^31 - 2^14)        u8 * s8    65,793   (255 * 128)        u8 * u8    33,025   (255^2)
//
// Weights that exist are smaller. prove() takes their positive and negative sums column by column and any range of activations
// and says what the accumulators can reach; gemm itself does so before it refuses a call that is too deep.
#pragma once

#include "../core/integers.hpp"
#include "packed_matrix.hpp"

namespace quern {

/// Activations are promised to lie within [min, max].
struct lhs_codes {
  std::int32_t min = 0, max = 0;
};

/// What prove() found.
struct depth_proof {
  std::int64_t lowest = 0, highest = 0;  ///< what an accumulator can reach; both bounds are attained
  index_t column = -1;                   ///< where the larger of the two is, -1 for no columns
  bool fits_int32 = true;
};

inline namespace QUERN_ABI {

/// The deepest k at which every product of a Lhs and a Rhs matrix fits an int32 accumulator, without zero points.
template <quantized_code Lhs, quantized_code Rhs>
consteval index_t max_depth() {
  using a = code_of_t<Lhs>;
  using b = code_of_t<Rhs>;
  std::int64_t const la = a::is_signed ? -std::int64_t{a::min} : std::int64_t{a::max};
  std::int64_t const lb = b::is_signed ? -std::int64_t{b::min} : std::int64_t{b::max};
  return static_cast<index_t>(std::int64_t{2147483647} / (la * lb));
}

/// The bounds of acc[i, j] = sum over k of (lhs[i,k] - lhs_zero_point) * (rhs[k,j] - rhs_zero_point) over every lhs within `range`.
///
/// Exact: some activations attain them. `rhs_zero_point` is one for all columns or one a column (pointer not null).
template <class Rhs>
depth_proof prove(packed_matrix_view<Rhs> const& rhs, lhs_codes range, std::int32_t lhs_zero_point = 0,
                  std::int32_t rhs_zero_point = 0, std::int32_t const* rhs_zero_points = nullptr) {
  depth_proof proof;
  std::int64_t const lo = std::int64_t{range.min} - lhs_zero_point, hi = std::int64_t{range.max} - lhs_zero_point;
  index_t const columns = detail::round_up(rhs.n(), 16);
  std::int64_t worst = 0;
  for (index_t j = 0; j < rhs.n(); ++j) {
    std::int64_t const zero = (rhs_zero_points == nullptr ? rhs_zero_point : rhs_zero_points[j]) - rhs.offset;
    std::int64_t positive = 0, negative = 0;  // sums of the positive and of the negative rhs - zero
    if (zero == 0) {
      std::int64_t total = 0;
      for (index_t g = 0; g < rhs.groups(); ++g) total += rhs.sums_[g * columns + j];
      positive = rhs.positives_[j];
      negative = total - positive;
    } else {
      for (index_t k = 0; k < rhs.k(); ++k) {
        std::int64_t const b = rhs(k, j) - rhs.offset - zero;
        (b > 0 ? positive : negative) += b;
      }
    }
    std::int64_t const highest = hi * positive + lo * negative, lowest = lo * positive + hi * negative;
    std::int64_t const reach = highest > -lowest ? highest : -lowest;
    if (proof.column < 0 || reach > worst) {
      worst = reach;
      proof.column = j;
    }
    proof.highest = j == 0 || highest > proof.highest ? highest : proof.highest;
    proof.lowest = j == 0 || lowest < proof.lowest ? lowest : proof.lowest;
  }
  proof.fits_int32 = proof.highest <= 2147483647 && proof.lowest >= -2147483648LL;
  return proof;
}

}  // inline namespace QUERN_ABI
}  // namespace quern
