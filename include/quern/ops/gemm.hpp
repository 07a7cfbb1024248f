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

#include "../dispatch/gemm_driver.hpp"
#include "../epilogue/bodies.hpp"
#include "gemm_checks.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// Rows of a strided matrix.
template <class Lhs>
void read_matrix_rows(void const* context, kernel::copy_function copy, index_t row, index_t rows, index_t k0, index_t count,
                      index_t padded, unsigned char* dst, std::int32_t* sums) {
  auto const& lhs = *static_cast<matrix_view<Lhs const> const*>(context);
  constexpr int kind = sizeof(Lhs) == 2 ? 2 : std::is_signed_v<Lhs> ? 1 : 0;
  constexpr auto size = static_cast<index_t>(sizeof(Lhs));
  Lhs const* const src = lhs.data + row * lhs.row_stride + k0 * lhs.col_stride;
  if (lhs.col_stride == 1 || count <= 1) return copy({src, lhs.row_stride * size, rows, count, kind}, padded, dst, sums);
  Lhs gathered[kernel::lhs_block / size];
  for (index_t r = 0; r < rows; ++r) {
    for (index_t k = 0; k < count; ++k) gathered[k] = src[r * lhs.row_stride + k * lhs.col_stride];
    copy({gathered, 0, 1, count, kind}, padded, dst + r * kernel::lhs_stride, sums == nullptr ? nullptr : sums + r);
  }
}

/// A call, ready to run.
template <class Lhs, class Rhs, class Dst, class E>
struct gemm_call {
  using rescale = typename E::rescale_type;
  matrix_view<Lhs const> lhs;
  packed_matrix_view<Rhs> rhs;
  finish_context<Dst, E> context;
  gemm_problem problem;
  kernel_choice kernels;
  gemm_tasks cut;
  gemm_layout layout;
  void (*prepare_rescale)(void const*, index_t, index_t, unsigned char*) = nullptr;
  index_t rescale_bytes = 0;

  /// Everything but the columns, whose memory comes later.
  gemm_call(matrix_view<Lhs const> l, packed_matrix_view<Rhs> const& r, matrix_view<Dst> dst, E const& e, gemm_options const& options)
      : lhs(l), rhs(r), context{&e, dst, {}} {
    if constexpr (std::is_integral_v<Dst>) {
      auto const limits = integer_limits<Dst>::of(e.min, e.max);
      context.min = limits.min;
      context.max = limits.max;
    }
    gemm_problem& p = problem;
    p.m = lhs.rows;
    p.n = rhs.n();
    p.k = lhs.cols;
    p.kind = sizeof(Lhs) == 2 ? 2 : std::is_signed_v<Lhs> ? 1 : 0;
    p.read = &read_matrix_rows<Lhs>;
    p.lhs = &lhs;
    if (lhs.col_stride == 1 && sizeof(Lhs) == 1) {
      p.plain = reinterpret_cast<unsigned char const*>(lhs.data);
      p.plain_stride = lhs.row_stride;
    }
    p.rhs = rhs.data_;
    p.panel_bytes = rhs.rows_ * row_bytes;
    p.nibbles = code_of_t<Rhs>::bits == 4;
    p.pairs = rhs.pairs_;
    std::int32_t const promised = options.lhs_range.min <= options.lhs_range.max ? options.lhs_range.max : code_of_t<Lhs>::max;
    p.lhs_max = sizeof(Lhs) == 2 ? 32767 : promised + (p.kind == 1 ? 128 : 0);
    p.context = &context;
    p.sums = needs_row_sums(rhs, e);
    if (options.wide) {
      // In words of 8-bit codes 2^31 / 2^16 products fit an int32, of int16 codes 2^31 / 2^22. 4-bit codes lie eight k together.
      p.segment = sizeof(Lhs) == 2 ? (p.nibbles ? 504 : 508) : 16384;
      p.wide_bytes = 8;
    }
    if constexpr (std::is_same_v<rescale, to_real>)
      if (rhs.group() > 0 && rhs.k() > 0) {  // of no k there are no groups
        p.segment = rhs.group();
        p.wide_bytes = 4;
      }
    kernels = kernels_for(p, allowed_isas(options.max_isa));
    if (options.wide) {
      p.fold = &fold_wide<Dst, E>;
      p.finish = &finish_scalar<Dst, E, true>;
    } else {
      epilogue_body const body = choose_body(context, kernels.first->needs);
      p.finish = body.finish;
      p.fold = body.fold;
      prepare_rescale = body.prepare;
      rescale_bytes = body.bytes;
    }
    cut = cut_gemm(p, options.executor, kernels.first->tiled ? 16 : largest_tile_rows(*kernels.first));
    layout.plan(p, kernels, cut);
  }

  index_t shared_bytes() const noexcept { return round_up(column_bytes<rescale>(rhs.n()), 64) + rescale_bytes; }
  index_t task_bytes() const noexcept { return layout.task_bytes; }

  /// The columns, into shared_bytes() of memory.
  void prepare(unsigned char* shared) {
    E const& e = *context.e;
    unsigned const forms = kernels.first->tiled ? 2u  // AMX copies codes as they are: those of words
                           : 1u << static_cast<int>(kernels.first->form) | (kernels.second != nullptr ? 1u << static_cast<int>(kernels.second->form) : 0u);
    context.columns = prepare_columns(rhs, e, problem.segment > 0, problem.kind == 1 ? 128 : 0, shared, forms);
    if (prepare_rescale != nullptr) {
      unsigned char* const rescalers = shared + round_up(column_bytes<rescale>(rhs.n()), 64);
      prepare_rescale(context.columns.parameters, rhs.n(), context.columns.columns, rescalers);
      context.columns.rescalers = rescalers;
    }
    problem.init[0] = context.columns.init[0];
    problem.init[1] = context.columns.init[1];
    if constexpr (std::is_same_v<Dst, std::int32_t> && std::is_same_v<rescale, no_rescale> && !E::residual_type::present &&
                  !has_functor<typename E::then_type>) {
      bool const plain = !e.accumulate && e.dst_zero_point == 0 && context.min == code_of_t<Dst>::min && context.max == code_of_t<Dst>::max;
      // AMX sums from zero: what accumulators would start from is added by the epilogue.
      bool const starts = !kernels.first->tiled || (e.bias.size == 0 && e.lhs_zero_point.one == 0);
      if (plain && starts && context.dst.col_stride == 1 && !problem.sums && !context.columns.lhs_zero_by_row && problem.segment == 0) {
        problem.direct = context.dst.data;
        problem.direct_ld = context.dst.row_stride;
      }
    }
    if constexpr (sizeof(Dst) == 1 && (std::is_same_v<rescale, to_real> || is_one_product<rescale>) && !E::residual_type::present &&
                  !has_functor<typename E::then_type>) {
      column_data const& d = context.columns;
      constexpr int offset = std::is_signed_v<Dst> ? 0 : 128;
      problem.scaled = context.dst.col_stride == 1 && !problem.sums && !d.lhs_zero_by_row && d.real_bias == nullptr &&
                       d.scales_below_one && problem.segment == 0;
      if constexpr (std::is_same_v<rescale, to_real>) problem.scaled &= e.rescale.rows.single();
      bool const clamped = context.min != code_of_t<Dst>::min || context.max != code_of_t<Dst>::max || offset != 0;
      problem.scaling = {.clamped = clamped,
                         .shift = static_cast<std::int16_t>(e.dst_zero_point - offset),
                         .lo = static_cast<std::int8_t>(context.min - offset),
                         .hi = static_cast<std::int8_t>(context.max - offset),
                         .flip = static_cast<std::int8_t>(-offset),
                         .stride = context.dst.row_stride};
      problem.scales = d.scales;
      problem.scaled_dst = reinterpret_cast<unsigned char*>(context.dst.data);
    }
  }

  void run(executor_ref const& executor, unsigned char* shared, unsigned char* tasks) {
    prepare(shared);
    run_gemm(problem, kernels, cut, layout, executor, tasks);
  }
};

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// What gemm() will do with these arguments: kernel, blocks, tasks, workspace, and why.
template <class Lhs, class Rhs, class Dst, class Epilogue = epilogue<>>
gemm_plan_info gemm_plan(matrix_view<Lhs> lhs, packed_matrix_view<Rhs> const& rhs, matrix_view<Dst> dst, Epilogue const& e = {},
                         gemm_options const& options = {}) {
  detail::gemm_call<std::remove_const_t<Lhs>, Rhs, Dst, Epilogue> const call(lhs, rhs, dst, e, options);
  gemm_plan_info info = detail::describe(call.problem, call.kernels, call.cut);
  info.workspace = call.shared_bytes() + call.cut.count() * call.task_bytes();
  return info;
}

/// The same before there are operands: Lhs and Rhs products of m x n x k to an int8 destination. `proven` says whether the
/// weights will allow vpmaddubsw (pack/proof.hpp).
template <class Lhs = std::uint8_t, class Rhs = std::int8_t>
gemm_plan_info gemm_plan(index_t m, index_t n, index_t k, gemm_options const& options = {}, bool proven = false) {
  if (m < 0 || n < 0 || k < 0) fail(errc::shape, "gemm_plan: ", m, " x ", n, " x ", k, "; sizes must not be negative.");
  detail::gemm_problem p;
  p.m = m;
  p.n = n;
  p.k = k;
  p.kind = sizeof(Lhs) == 2 ? 2 : std::is_signed_v<Lhs> ? 1 : 0;
  p.plain = reinterpret_cast<unsigned char const*>(&p);  // rows without gaps
  p.plain_stride = k;
  p.nibbles = code_of_t<Rhs>::bits == 4;
  p.sums = !code_of_t<Rhs>::is_signed || code_of_t<Rhs>::bits == 4;
  auto const kernels = detail::kernels_for(p, allowed_isas(options.max_isa), proven ? 1 : -1);
  auto const cut = detail::cut_gemm(p, options.executor, kernels.first->tiled ? 16 : detail::largest_tile_rows(*kernels.first));
  gemm_plan_info info = detail::describe(p, kernels, cut);
  detail::gemm_layout layout;
  layout.plan(p, kernels, cut);
  info.workspace = detail::round_up(detail::column_bytes<to_real>(n), 64) + cut.count() * layout.task_bytes;
  return info;
}

/// Bytes of workspace that gemm() with these arguments needs: pass that many, 64-byte aligned, in options.workspace, and it
/// allocates nothing. @errors none: the arguments are checked by gemm().
template <class Lhs, class Rhs, class Dst, class Epilogue = epilogue<>>
index_t gemm_workspace(matrix_view<Lhs> lhs, packed_matrix_view<Rhs> const& rhs, matrix_view<Dst> dst, Epilogue const& e = {},
                       gemm_options const& options = {}) {
  detail::gemm_call<std::remove_const_t<Lhs>, Rhs, Dst, Epilogue> const call(lhs, rhs, dst, e, options);
  return call.shared_bytes() + call.cut.count() * call.task_bytes();
}

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
  if (dst.empty()) return;
  detail::gemm_call<lhs_type, Rhs, Dst, Epilogue> call(lhs, rhs, dst, e, options);
  index_t const shared = call.shared_bytes();
  if (options.workspace.data != nullptr) {
    index_t const bytes = shared + call.cut.count() * call.task_bytes();
    if (options.workspace.bytes < bytes)
      fail(errc::capacity, "gemm: workspace has ", options.workspace.bytes, " bytes; this product needs ", bytes, " (gemm_workspace).");
    auto* const memory = static_cast<unsigned char*>(options.workspace.data);
    call.run(options.executor, memory, memory + shared);
  } else {
    detail::scratch const memory(shared);
    call.run(options.executor, memory.data(), nullptr);
  }
}

/// The same with weights that are not packed: they are packed on every call, O(k n), into a buffer of the thread. Weights that are
/// used more than once are better packed once. @errors as above, and as pack.
template <class Lhs, class Rhs, class Dst, class Epilogue = epilogue<>>
  requires(std::is_integral_v<std::remove_const_t<Rhs>>)
void gemm(matrix_view<Lhs> lhs, matrix_view<Rhs> rhs, matrix_view<Dst> dst, Epilogue const& e = {},
          gemm_options const& options = {}) {
  using code = std::remove_const_t<Rhs>;
  index_t const bytes = packed_size<code>(rhs.rows, rhs.cols);
  detail::scratch const memory(bytes);
  gemm(lhs, pack_into<code>(memory.data(), bytes, rhs), dst, e, options);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
