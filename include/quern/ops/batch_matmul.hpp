// batch_matmul.hpp — products of two computed operands, many at a time: attention scores, TFLite's BATCH_MATMUL.
//
//     dst[b, i, j] = output( sum over k of (lhs[b, i, k] - lhs_zero_point) * (rhs[b, k, j] - rhs_zero_point) )
//
// Leading dimensions broadcast. `output` turns an exact int64 accumulator into a code, or is gemm's epilogue (int8), which has it done
// where the products are: 1.7 to 3.6 times as fast. transposed() views make the adjoint forms. int8 products go through gemm, which
// packs the right operand on every call.
#pragma once

#include "../core/shape.hpp"
#include "../kernel/dot16.hpp"
#include "gemm.hpp"

namespace quern {
inline namespace QUERN_ABI {

/// @shapes  lhs ... x m x k, rhs ... x k x n, dst ... x m x n; leading dimensions broadcast to dst's. @types int8 or int16, alike.
///          An epilogue's own zero points of lhs and rhs do not count.
/// @range   int8: k within gemm's bound. @errors shape, null, overlap, depth.
template <class T, class Dst, class F>
void batch_matmul(nd_view<T> lhs, nd_view<T> rhs, std::int32_t lhs_zero_point, std::int32_t rhs_zero_point, nd_view<Dst> dst, F const& output,
                  gemm_options const& options = {}) {
  using code = std::remove_const_t<T>;
  int const rank = dst.extents.rank;
  if (lhs.extents.rank < 2 || rhs.extents.rank < 2 || rank < 2) fail(errc::shape, "batch_matmul: every operand must have at least two dimensions.");
  index_t const m = dst.extents.dim[rank - 2], n = dst.extents.dim[rank - 1], k = lhs.extents.dim[lhs.extents.rank - 1];
  if (lhs.extents.dim[lhs.extents.rank - 2] != m || rhs.extents.dim[rhs.extents.rank - 2] != k || rhs.extents.dim[rhs.extents.rank - 1] != n)
    fail(errc::shape, "batch_matmul: lhs is ", lhs.extents.dim[lhs.extents.rank - 2], " x ", k, ", rhs ", rhs.extents.dim[rhs.extents.rank - 2], " x ",
         rhs.extents.dim[rhs.extents.rank - 1], ", dst ", m, " x ", n, "; they must be m x k, k x n and m x n.");
  if (dst.size() == 0) return;
  if (lhs.data == nullptr || rhs.data == nullptr || dst.data == nullptr) fail(errc::null, "batch_matmul: an operand is null.");
  if (detail::may_overlap(lhs, dst) || detail::may_overlap(rhs, dst))
    fail(errc::overlap, "batch_matmul: dst overlaps ", detail::may_overlap(lhs, dst) ? "lhs" : "rhs", "; sums are written while others are still read.");
  shape a_shape = dst.extents, b_shape = dst.extents, batch = dst.extents;
  a_shape.dim[rank - 1] = k;
  b_shape.dim[rank - 2] = k;
  auto const a = broadcast(nd_view<T>(lhs), a_shape);
  auto const b = broadcast(nd_view<T>(rhs), b_shape);
  batch.rank = rank - 2;
  static_assert(sizeof(code) == 1 || !detail::is_epilogue<F>, "quern::batch_matmul: of int16, output must be a function of an int64 accumulator.");
  buffer<std::int32_t> acc(sizeof(code) == 1 && !detail::is_epilogue<F> ? m * n : 0);
  // int16 without zero points, as TFLite has it: columns of rhs, and a row of lhs, one behind the other.
  bool const in_lines = sizeof(code) == 2 && lhs_zero_point == 0 && rhs_zero_point == 0;
  index_t const line = detail::round_up(k, 16);
  buffer<std::int16_t> lines(in_lines ? (n + 1) * line : 0);
  [[maybe_unused]] isa const on = active_isa(options.max_isa);
  index_t at[shape::max_rank] = {};
  for (index_t i = 0, count = batch.size(); i < count; ++i) {
    index_t oa = 0, ob = 0, od = 0;
    for (int d = 0; d < batch.rank; ++d) oa += at[d] * a.stride[d], ob += at[d] * b.stride[d], od += at[d] * dst.stride[d];
    matrix_view<code const> const va{a.data + oa, m, k, a.stride[rank - 2], a.stride[rank - 1]};
    matrix_view<code const> const vb{b.data + ob, k, n, b.stride[rank - 2], b.stride[rank - 1]};
    Dst* const y = dst.data + od;
    if constexpr (detail::is_epilogue<F>) {
      F stages = output;
      stages.lhs_zero_point = lhs_zero_point, stages.rhs_zero_point = rhs_zero_point;
      gemm(va, vb, matrix_view<Dst>{y, m, n, dst.stride[rank - 2], dst.stride[rank - 1]}, stages, options);
    } else if constexpr (sizeof(code) == 1) {
      auto const product = row_major(acc.data(), m, n);
      gemm(va, vb, product, epilogue<>{.lhs_zero_point = lhs_zero_point, .rhs_zero_point = rhs_zero_point}, options);
      for (index_t r = 0; r < m; ++r)
        for (index_t c = 0; c < n; ++c) y[r * dst.stride[rank - 2] + c * dst.stride[rank - 1]] = static_cast<Dst>(output(std::int64_t{product(r, c)}));
    } else if (in_lines) {
      for (index_t j = 0; j < k; ++j)
        for (index_t c = 0; c < n; ++c) lines[c * line + j] = vb(j, c);
      for (index_t r = 0; r < m; ++r) {
        for (index_t j = 0; j < k; ++j) lines[n * line + j] = va(r, j);
        for (index_t c = 0; c < n; ++c)
          y[r * dst.stride[rank - 2] + c * dst.stride[rank - 1]] = static_cast<Dst>(output(detail::dot_words(on, lines.data() + n * line, lines.data() + c * line, line)));
      }
    } else {
      for (index_t r = 0; r < m; ++r)
        for (index_t c = 0; c < n; ++c) {
          std::int64_t sum = 0;
          for (index_t j = 0; j < k; ++j) sum += static_cast<std::int64_t>(va(r, j) - lhs_zero_point) * (vb(j, c) - rhs_zero_point);
          y[r * dst.stride[rank - 2] + c * dst.stride[rank - 1]] = static_cast<Dst>(output(sum));
        }
    }
    for (int d = batch.rank - 1; d >= 0 && ++at[d] == batch.dim[d]; --d) at[d] = 0;
  }
}

}  // inline namespace QUERN_ABI
}  // namespace quern
