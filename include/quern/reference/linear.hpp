// linear.hpp — the definition of a fully connected layer: y = W x + b for each row of src, weights row by output (n x k).
#pragma once

#include "gemm.hpp"

namespace quern::reference {
inline namespace QUERN_ABI {

/// Integer to integer. `rescale` and `weight_zero_points` have one value an output, or stride 0.
///
///     dst[i, o] = within min..max( Rescale(bias[o] + sum over k of (src[i,k] - src_zero_point) * (weights[o,k] - z[o])) + dst_zero_point )
template <rescale_policy Rescale, class Src, class Weight, class Dst>
constexpr void linear(matrix_view<Src const> src, std::int32_t src_zero_point, matrix_view<Weight const> weights,
                      vector_view<std::int32_t const> weight_zero_points, vector_view<std::int32_t const> bias,
                      vector_view<typename Rescale::parameters const> rescale, std::int32_t dst_zero_point, std::int32_t min,
                      std::int32_t max, matrix_view<Dst> dst) {
  gemm_rescaled<Rescale>(src, vector_view<std::int32_t const>{&src_zero_point, src.rows, 0}, weights.transposed(),
                         weight_zero_points, bias, rescale, dst_zero_point, min, max, dst);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::reference
