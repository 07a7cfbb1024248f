// gemm_batch.hpp — many products in one call: a strided batch, or a list of independent problems.
//
// A batch of small products keeps all threads busy where one of them could not: each task is a whole product. Results are those of
// one gemm() after the other. Nothing is written unless every problem is sound.
#pragma once

#include "gemm.hpp"

namespace quern {

/// `count` matrices, `stride` elements apart. A stride of 0 is one matrix for all.
template <class T>
struct batch_view {
  matrix_view<T> first{};
  index_t count = 0;
  index_t stride = 0;

  QUERN_INLINE constexpr matrix_view<T> operator[](index_t i) const noexcept {
    matrix_view<T> m = first;
    if (m.data != nullptr) m.data += i * stride;
    return m;
  }
};

/// One of a list of problems.
template <class Lhs, class Rhs, class Dst, class Epilogue = epilogue<>>
struct gemm_problem_of {
  matrix_view<Lhs const> lhs{};
  packed_matrix_view<Rhs> rhs{};
  matrix_view<Dst> dst{};
  Epilogue stages{};
};

inline namespace QUERN_ABI {

/// Runs `count` problems, each the Epilogue, shapes and weights that it names; the executor gets one task a problem.
///
/// @errors as gemm, for the first problem that has one; argument when options.workspace is given (each problem brings its own
///         shape: use the threads' memory).
template <class Lhs, class Rhs, class Dst, class Epilogue>
void gemm_list(gemm_problem_of<Lhs, Rhs, Dst, Epilogue> const* problems, index_t count, gemm_options const& options = {}) {
  detail::require_gemm_types<Lhs, Dst, Epilogue>();
  if (count < 0) fail(errc::shape, "gemm_list: count is ", count, "; it must not be negative.");
  if (count > 0 && problems == nullptr) fail(errc::null, "gemm_list: problems is null, but count is ", count, ".");
  if (options.workspace.data != nullptr) fail(errc::argument, "gemm_list: takes no workspace; leave gemm_options.workspace empty.");
  for (index_t i = 0; i < count; ++i)
    detail::check_gemm<Lhs>(problems[i].lhs, problems[i].rhs, problems[i].dst, problems[i].stages, options);
  gemm_options one = options;
  one.executor = {};
  options.executor(count, [&](index_t i) { gemm(problems[i].lhs, problems[i].rhs, problems[i].dst, problems[i].stages, one); });
}

/// dst[i] = epilogue(lhs[i] * rhs) for i < count: one set of packed weights.
///
/// @errors as gemm; shape when the counts differ.
template <class Lhs, class Rhs, class Dst, class Epilogue = epilogue<>>
void gemm_batch(batch_view<Lhs> lhs, packed_matrix_view<Rhs> const& rhs, batch_view<Dst> dst, Epilogue const& e = {},
                gemm_options const& options = {}) {
  using lhs_type = std::remove_const_t<Lhs>;
  detail::require_gemm_types<lhs_type, Dst, Epilogue>();
  if (lhs.count != dst.count || lhs.count < 0)
    fail(errc::shape, "gemm_batch: lhs has ", lhs.count, " matrices, dst ", dst.count, "; they must be equal.");
  if (options.workspace.data != nullptr) fail(errc::argument, "gemm_batch: takes no workspace; leave gemm_options.workspace empty.");
  if (dst.count > 1 && dst.stride == 0 && !dst.first.empty())
    fail(errc::overlap, "gemm_batch: dst.stride is 0; every product needs a destination of its own.");
  for (index_t i = 0; i < lhs.count; ++i) detail::check_gemm<lhs_type>(lhs[i], rhs, dst[i], e, options);
  gemm_options one = options;
  one.executor = {};
  options.executor(lhs.count, [&](index_t i) { gemm(lhs[i], rhs, dst[i], e, one); });
}

/// dst[i] = epilogue(lhs[i] * rhs[i]), rhs[i] packed in the call: attention's products, where both sides are activations.
///
/// @errors as gemm; shape when the counts differ.
template <class Lhs, class Rhs, class Dst, class Epilogue = epilogue<>>
void gemm_batch(batch_view<Lhs> lhs, batch_view<Rhs> rhs, batch_view<Dst> dst, Epilogue const& e = {}, gemm_options const& options = {}) {
  using lhs_type = std::remove_const_t<Lhs>;
  detail::require_gemm_types<lhs_type, Dst, Epilogue>();
  if (lhs.count != dst.count || rhs.count != dst.count || lhs.count < 0)
    fail(errc::shape, "gemm_batch: lhs has ", lhs.count, " matrices, rhs ", rhs.count, ", dst ", dst.count, "; they must be equal.");
  if (options.workspace.data != nullptr) fail(errc::argument, "gemm_batch: takes no workspace; leave gemm_options.workspace empty.");
  if (dst.count > 1 && dst.stride == 0 && !dst.first.empty())
    fail(errc::overlap, "gemm_batch: dst.stride is 0; every product needs a destination of its own.");
  using code = std::remove_const_t<Rhs>;
  if (lhs.count > 0 && lhs.first.cols != rhs.first.rows)
    fail(errc::shape, "gemm_batch: lhs has ", lhs.first.cols, " columns, rhs ", rhs.first.rows, " rows; they must be equal.");
  // Weights matter to the checks only where a product is deeper than any types and zero points allow: 2^31 / (255 * 255, 65535 * 255).
  bool const deep = (!options.wide || !detail::rescales_int64<typename Epilogue::rescale_type>) && rhs.first.rows > (sizeof(lhs_type) == 2 ? 128 : 33025);
  for (index_t i = 0; i < lhs.count; ++i) {
    detail::check_pack_source<code>("gemm_batch", rhs[i], {});
    if (deep) {
      index_t const bytes = packed_size<code>(rhs.first.rows, rhs.first.cols);
      detail::scratch const memory(bytes);
      detail::check_gemm<lhs_type>(lhs[i], pack_into<code>(memory.data(), bytes, rhs[i]), dst[i], e, options);
    } else {
      packed_matrix_view<code> shape_only;
      shape_only.blob = reinterpret_cast<unsigned char const*>(&shape_only);
      shape_only.k_ = rhs.first.rows, shape_only.n_ = rhs.first.cols;
      detail::check_gemm<lhs_type>(lhs[i], shape_only, dst[i], e, options);
    }
  }
  gemm_options one = options;
  one.executor = {};
  options.executor(lhs.count, [&](index_t i) { gemm(lhs[i], rhs[i], dst[i], e, one); });
}

}  // inline namespace QUERN_ABI
}  // namespace quern
