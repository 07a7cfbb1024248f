// gemm.hpp — integer matrix multiplication: the same bits on every instruction set, thread count and compiler.
//
//     dst[i, j] = epilogue( sum over k of (lhs[i,k] - lhs_zero_point) * (rhs[k,j] - rhs_zero_point) )
//
// lhs is m x k (activations), rhs k x n (weights, packed once), dst m x n. The sum is exact; epilogue/epilogue.hpp says what
// happens to it. A layer from uint8 activations to int8, one scale a channel:
//
//     auto weights = pack(row_major(w, k, n));                                   // once
//     epilogue<to_real> const e{.lhs_zero_point = 128, .bias = view(bias), .rescale = {.cols = view(scales)}, .dst_zero_point = 3};
//     gemm(row_major(x, m, k), weights, row_major(y, m, n), e);                  // x: uint8, w: int8, y: int8
//
//     gemm(row_major(x, m, k), weights, row_major(acc, m, n));                   // acc: int32, the product itself
//     gemm(x_view, weights, y_view, e, {.executor = pool});                      // on a thread_pool
//     gemm(x_view, weights, y_view, e, {.max_isa = isa::avx2});                  // capped
//
// Which kernel runs, and why: gemm_plan(m, n, k). Fixed shapes are proved at compile time: `gemm_depth_check<Lhs, Rhs, K>`.
#pragma once

#include "gemm_checks.hpp"

namespace quern {
inline namespace QUERN_ABI {

/// dst = epilogue(lhs * rhs).
///
/// @shapes  lhs m x k, rhs k x n (packed), dst m x n; any strides; m, n, k >= 0 (k = 0 sums nothing).
/// @types   lhs s8, u8 (s16 with options.wide or a proof); rhs s8, u8, s4, u4; dst s32, s8, u8, s16, f32, bf16.
/// @range   exact while int32 accumulators cannot overflow: k <= max_depth<Lhs, Rhs>() without zero points. Deeper calls are
///          proved from the weights at hand or refused; options.wide sums in int64.
/// @rounds  only in the epilogue.
/// @errors  shape, null, overlap, zero_point, scale, depth, capacity (workspace), argument; nothing is written then.
template <class Lhs, class Rhs, class Dst, class Epilogue = epilogue<>>
void gemm(matrix_view<Lhs> lhs, packed_matrix_view<Rhs> const& rhs, matrix_view<Dst> dst, Epilogue const& e = {},
          gemm_options const& options = {}) {
  using lhs_type = std::remove_const_t<Lhs>;
  detail::require_gemm_types<lhs_type, Dst, Epilogue>();
  detail::check_gemm<lhs_type>(lhs, rhs, dst, e, options);
  for (index_t i = 0; i < lhs.rows; ++i)
    for (index_t j = 0; j < rhs.n(); ++j) {
      std::int64_t acc = e.bias.size > 0 ? e.bias[j] : 0;
      float real = 0;
      index_t const depth = rhs.group() > 0 ? rhs.group() : lhs.cols;
      for (index_t k0 = 0, g = 0; k0 < lhs.cols; k0 += depth, ++g) {
        std::int32_t zero = e.rhs_zero_point[j];
        if constexpr (std::is_same_v<typename Epilogue::rescale_type, to_real>) {
          if (e.rescale.group_zero_points.rows > 0) zero = e.rescale.group_zero_points(g, j);
          if (rhs.group() > 0) acc = 0;
        }
        for (index_t k = k0; k < k0 + depth && k < lhs.cols; ++k)
          acc += static_cast<std::int64_t>(lhs(i, k) - e.lhs_zero_point[i]) * (rhs(k, j) - zero);
        if constexpr (std::is_same_v<typename Epilogue::rescale_type, to_real>)
          if (rhs.group() > 0) real = rounded(real + rounded(static_cast<float>(acc) * e.rescale.groups(g, j)));
      }
      if (rhs.group() == 0) real = static_cast<float>(acc);
      if (options.wide)
        detail::finish_one(e, acc, real, i, j, dst(i, j));
      else
        detail::finish_one(e, wrap32(acc), real, i, j, dst(i, j));
    }
}

/// The same with weights that are not packed: they are packed on every call (O(k n), into the workspace).
template <class Lhs, class Rhs, class Dst, class Epilogue = epilogue<>>
  requires(std::is_integral_v<std::remove_const_t<Rhs>>)
void gemm(matrix_view<Lhs> lhs, matrix_view<Rhs> rhs, matrix_view<Dst> dst, Epilogue const& e = {},
          gemm_options const& options = {}) {
  gemm(lhs, static_cast<packed_matrix_view<std::remove_const_t<Rhs>> const&>(pack(rhs)), dst, e, options);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
