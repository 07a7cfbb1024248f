// gemm.hpp — the definition of the integer matrix product and of what follows it.
//
//     acc[i, j] = bias[j] + sum over k of (lhs[i, k] - lhs_zero_point[i]) * (rhs[k, j] - rhs_zero_point[j])     modulo 2^32
//
//     gemm            dst = acc
//     gemm_rescaled   dst = within min..max( Rescale(acc, rescale[j]) + dst_zero_point )
//     gemm_to_real    dst = f32(acc) * f32(row_scale[i] * col_scale[j]) + real_bias[j]           each operation rounded
//     gemm_to_codes   dst = within min..max( half_even(the above) + dst_zero_point )             scales over dst.scale
//
// lhs is m x k, rhs k x n, dst m x n. A vector_view with stride 0 is one value for all rows or columns; an empty bias is none.
#pragma once

#include "../core/math.hpp"
#include "../core/saturate.hpp"
#include "../core/views.hpp"
#include "../rescale/rescales.hpp"

QUERN_FP_BEGIN

namespace quern::reference {
inline namespace QUERN_ABI {

/// What each of the others does first; one accumulator, exactly.
template <class Lhs, class Rhs>
constexpr std::int64_t dot(matrix_view<Lhs const> lhs, matrix_view<Rhs const> rhs, index_t i, index_t j,
                           vector_view<std::int32_t const> lhs_zero_points, vector_view<std::int32_t const> rhs_zero_points) {
  std::int64_t sum = 0;
  for (index_t k = 0; k < lhs.cols; ++k)
    sum += (std::int64_t{lhs(i, k)} - lhs_zero_points[i]) * (std::int64_t{rhs(k, j)} - rhs_zero_points[j]);
  return sum;
}

template <class Lhs, class Rhs>
constexpr void gemm(matrix_view<Lhs const> lhs, vector_view<std::int32_t const> lhs_zero_points, matrix_view<Rhs const> rhs,
                    vector_view<std::int32_t const> rhs_zero_points, vector_view<std::int32_t const> bias,
                    matrix_view<std::int32_t> dst) {
  for (index_t i = 0; i < lhs.rows; ++i)
    for (index_t j = 0; j < rhs.cols; ++j)
      dst(i, j) = wrap32(dot(lhs, rhs, i, j, lhs_zero_points, rhs_zero_points) + (bias.empty() ? 0 : bias[j]));
}

template <rescale_policy Rescale, class Lhs, class Rhs, class Dst>
constexpr void gemm_rescaled(matrix_view<Lhs const> lhs, vector_view<std::int32_t const> lhs_zero_points,
                             matrix_view<Rhs const> rhs, vector_view<std::int32_t const> rhs_zero_points,
                             vector_view<std::int32_t const> bias, vector_view<typename Rescale::parameters const> rescale,
                             std::int32_t dst_zero_point, std::int32_t min, std::int32_t max, matrix_view<Dst> dst) {
  for (index_t i = 0; i < lhs.rows; ++i)
    for (index_t j = 0; j < rhs.cols; ++j) {
      std::int32_t const acc = wrap32(dot(lhs, rhs, i, j, lhs_zero_points, rhs_zero_points) + (bias.empty() ? 0 : bias[j]));
      dst(i, j) = static_cast<Dst>(clamp<std::int64_t>(std::int64_t{Rescale::apply(acc, rescale[j])} + dst_zero_point, min, max));
    }
}

template <class Lhs, class Rhs>
constexpr void gemm_to_real(matrix_view<Lhs const> lhs, vector_view<std::int32_t const> lhs_zero_points,
                            matrix_view<Rhs const> rhs, vector_view<std::int32_t const> rhs_zero_points,
                            vector_view<float const> row_scales, vector_view<float const> col_scales,
                            vector_view<float const> real_bias, matrix_view<float> dst) {
  for (index_t i = 0; i < lhs.rows; ++i)
    for (index_t j = 0; j < rhs.cols; ++j) {
      auto const acc = static_cast<float>(wrap32(dot(lhs, rhs, i, j, lhs_zero_points, rhs_zero_points)));
      float const product = rounded(acc * rounded(row_scales[i] * col_scales[j]));
      dst(i, j) = real_bias.empty() ? product : rounded(product + real_bias[j]);
    }
}

template <class Lhs, class Rhs, class Dst>
constexpr void gemm_to_codes(matrix_view<Lhs const> lhs, vector_view<std::int32_t const> lhs_zero_points,
                             matrix_view<Rhs const> rhs, vector_view<std::int32_t const> rhs_zero_points,
                             vector_view<std::int32_t const> bias, vector_view<float const> row_scales,
                             vector_view<float const> col_scales, std::int32_t dst_zero_point, std::int32_t min,
                             std::int32_t max, matrix_view<Dst> dst) {
  for (index_t i = 0; i < lhs.rows; ++i)
    for (index_t j = 0; j < rhs.cols; ++j) {
      auto const acc = static_cast<float>(
          wrap32(dot(lhs, rhs, i, j, lhs_zero_points, rhs_zero_points) + (bias.empty() ? 0 : bias[j])));
      double const steps = round_to::half_even::to_integral(rounded(acc * rounded(row_scales[i] * col_scales[j])));
      dst(i, j) = static_cast<Dst>(clamp<double>(steps + dst_zero_point, min, max));  // exact: |steps| rounds to a float
    }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::reference

QUERN_FP_END
