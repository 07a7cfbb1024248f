// conv_window.hpp — what all convolutions run through: blocks of output positions, gathered into rows, multiplied by the weights.
//
// A convolution is a matrix product whose left operand exists only in thought: one row an output position, one column a tap and
// channel. Building it whole (im2col) would cost kernel_h * kernel_w times the image. Here a block of positions at a time is
// gathered into a scratch that stays in the second-level cache, and handed to gemm with the packed weights and the fused epilogue:
//
//     scratch[p, (kz, ky, kx, i)] = src[b, at(p, k), i], the source's zero point where that is outside of the image
//
// Where the rows already lie in memory as the product wants them (1x1; 1xk along the width without padding; a kernel of the image's
// size) nothing is copied. Transposed convolutions come through here too, one phase of the output at a time.
#pragma once

#include "../core/geometry.hpp"
#include "../kernel/conv_gather.hpp"
#include "gemm.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// A functor of the caller sees the position in the whole output, not in a block.
template <class F>
struct moved_functor {
  static constexpr bool present = true;
  F f{};
  index_t row = 0, row_step = 1, column = 0;
  template <class V>
  QUERN_INLINE constexpr auto operator()(V value, index_t i, index_t j) const {
    return f(value, row + i * row_step, column + j);
  }
};

template <class T>
QUERN_INLINE constexpr one_or_each<T> columns_of(one_or_each<T> v, index_t first, index_t count) noexcept {
  if (v.single()) return v;
  v.each += first * v.stride;
  v.size = count;
  return v;
}
template <class T>
QUERN_INLINE constexpr vector_view<T> columns_of(vector_view<T> v, index_t first, index_t count) noexcept {
  return v.size == 0 ? v : v.sub(first, count);
}

/// The epilogue of the block of positions row, row + row_step, ... (`rows` of them) and of `columns` channels from `column`.
template <class R, class S, class T>
constexpr auto epilogue_block(epilogue<R, S, T> const& e, index_t row, index_t row_step, index_t rows, index_t column, index_t columns) {
  constexpr bool move = has_functor<T>;
  epilogue<R, S, std::conditional_t<move, moved_functor<T>, no_functor>> b{};
  b.lhs_zero_point = e.lhs_zero_point;
  b.rhs_zero_point = columns_of(e.rhs_zero_point, column, columns);
  b.bias = columns_of(e.bias, column, columns);
  if constexpr (std::is_same_v<R, to_real>) {
    b.rescale.cols = columns_of(e.rescale.cols, column, columns);
    b.rescale.rows = e.rescale.rows;
    b.rescale.bias = columns_of(e.rescale.bias, column, columns);
  } else if constexpr (!std::is_same_v<R, no_rescale>) {
    b.rescale = columns_of(e.rescale, column, columns);
  }
  b.residual = e.residual;
  if constexpr (S::present) {
    auto& f = b.residual.from;
    f.data += row * f.row_stride + column * f.col_stride;
    f.row_stride *= row_step;
    f.rows = rows;
    f.cols = columns;
  }
  if constexpr (move) b.then = {e.then, row, row_step, column};
  b.dst_zero_point = e.dst_zero_point;
  b.min = e.min;
  b.max = e.max;
  b.accumulate = e.accumulate;
  return b;
}

/// A grid of output positions inside of a larger destination: every one, or (transposed convolutions) each step-th from `first`.
struct output_grid {
  extent full{};              // the destination's size
  extent first{0, 0, 0};      // of this grid
  extent step{1, 1, 1};
};

/// What a convolution needs beside its operands, worked out once a call.
struct conv_plan {
  window win;
  index_t batch = 1, inputs = 0, outputs = 0, groups = 1;  // channels a group
  index_t depth = 0;                                       // taps * inputs: columns of a gathered row
  index_t block = 0;                                       // positions a block
  bool linear = false;                                     // blocks may run over the ends of output rows
  bool direct = false;                                     // the source is its own gathered matrix
  index_t blocks_a_row = 0, blocks = 0;
};

/// Bytes of gathered rows that stay in a second-level cache beside a panel of weights.
inline constexpr index_t conv_block_bytes = 160 * 1024;

constexpr index_t conv_block_rows(index_t depth_bytes, index_t rows) noexcept {
  index_t const fit = conv_block_bytes / (depth_bytes > 0 ? depth_bytes : 1);
  index_t block = fit < 48 ? 48 : fit > 480 ? 480 : fit / 48 * 48;  // 48: whole tiles of 4, 6, 8, 12 and 16 rows
  return block < rows ? block : rows;
}

/// Whether gathered rows lie in the source already: one run of taps along the width, or a single tap, and no padding.
template <class T>
constexpr bool taps_in_line(volume_view<T> const& src, window const& w, index_t groups) noexcept {
  if (src.c_stride != 1 || !w.d.inside() || !w.h.inside() || !w.w.inside()) return false;
  bool const one_row = w.d.kernel == 1 && w.h.kernel == 1;
  bool const one_pixel = one_row && w.w.kernel == 1;
  return one_pixel || (one_row && groups == 1 && w.w.dilation == 1 && src.w_stride == src.c);
}

template <class Src, class Dst>
constexpr conv_plan plan_conv(volume_view<Src> const& src, window const& win, index_t inputs, index_t outputs, index_t groups,
                              volume_view<Dst> const& dst, output_grid const& grid) noexcept {
  conv_plan p{win, src.n, inputs, outputs / groups, groups, win.taps() * inputs, 0, false, false, 0, 0};
  bool const whole = grid.step == extent{1, 1, 1};
  bool const dst_rows = dst.h_stride == dst.w * dst.w_stride || dst.h <= 1;
  p.linear = whole && dst_rows && (dst.d <= 1 || dst.d_stride == dst.h * dst.h_stride);
  p.direct = taps_in_line(src, win, groups);
  if (p.direct) {
    // Over the ends of rows only where the source has neither gaps nor skipped positions.
    bool const every = win.w.kernel == 1 && win.w.stride == 1 && win.h.stride == 1 && win.d.stride == 1 && win.w.out == src.w &&
                       win.h.out == src.h && (src.h <= 1 || src.h_stride == src.w * src.w_stride) &&
                       (src.d <= 1 || src.d_stride == src.h * src.h_stride);
    if (!every && win.w.out < 24 && win.h.out > 1) p.direct = false;  // short rows make poor products: gather whole blocks instead
    if (!every && p.direct) p.linear = false;
  }
  index_t const run = p.linear ? win.positions() : win.w.out;
  p.block = p.direct ? (run < 4096 ? run : 4096) : conv_block_rows(p.depth * static_cast<index_t>(sizeof(Src)), run);
  p.blocks_a_row = p.block > 0 ? (run + p.block - 1) / p.block : 0;
  p.blocks = p.blocks_a_row * (p.linear ? 1 : win.d.out * win.h.out) * p.batch;
  return p;
}

/// Tasks that a call is cut into: each owns a part of the workspace.
inline index_t conv_tasks(conv_plan const& p, executor_ref const& x) noexcept {
  index_t const wanted = x.is_serial() ? 1 : x.threads > 0 ? 2 * x.threads : 16, all = p.blocks * p.groups;
  return all < wanted ? all : wanted;
}

template <class Src>
constexpr index_t conv_slot_bytes(conv_plan const& p) noexcept {
  return p.direct ? 0 : round_up(p.block * p.depth * static_cast<index_t>(sizeof(Src)) + 64, 64);
}

/// Memory of this thread that grows when it must.
inline unsigned char* conv_scratch(index_t bytes) {
  thread_local buffer<unsigned char> memory;
  if (memory.size() < bytes) memory = buffer<unsigned char>(bytes);
  return memory.data();
}

/// Runs one window over the source. `weights(g)` are the packed weights of group g.
template <class Src, class Weights, class Dst, class E>
void run_conv(volume_view<Src const> const& src, conv_plan const& p, Weights const& weights, volume_view<Dst> const& dst,
              output_grid const& grid, E const& e, gemm_options const& options) {
  index_t const tasks = conv_tasks(p, options.executor), slot = conv_slot_bytes<Src>(p), all = p.blocks * p.groups;
  auto const fill = static_cast<Src>(e.lhs_zero_point[0]);
  isa const chosen = active_isa(options.max_isa);
  bool const alone = tasks == 1;  // then gemm may use the threads itself
  auto const run = [&](index_t task) {
    index_t const begin = all * task / tasks, end = all * (task + 1) / tasks;
    Src* scratch = nullptr;
    if (slot > 0)
      scratch = reinterpret_cast<Src*>(options.workspace.data != nullptr
                                           ? static_cast<unsigned char*>(options.workspace.data) + task * slot
                                           : conv_scratch(slot));
    gemm_options inner{.max_isa = options.max_isa, .wide = options.wide, .lhs_range = options.lhs_range};
    if (alone) inner.executor = options.executor;
    if (options.workspace.data != nullptr) {
      index_t const used = tasks * slot, share = (options.workspace.bytes - used) / tasks / 64 * 64;
      if (share > 0) inner.workspace = {static_cast<unsigned char*>(options.workspace.data) + used + task * share, share};
    }
    index_t gathered = -1;
    for (index_t at = begin; at < end; ++at) {
      index_t const block = at / p.groups, g = at % p.groups;
      index_t rest = block / p.blocks_a_row, x = block % p.blocks_a_row * p.block, y = 0, z = 0;
      index_t const run_length = p.linear ? p.win.positions() : p.win.w.out;
      index_t const rows = run_length - x < p.block ? run_length - x : p.block;
      if (p.linear) {
        z = x / (p.win.h.out * p.win.w.out);
        y = x / p.win.w.out % p.win.h.out;
        x %= p.win.w.out;
      } else {
        y = rest % p.win.h.out;
        rest /= p.win.h.out;
        z = rest % p.win.d.out;
        rest /= p.win.d.out;
      }
      index_t const b = rest;
      matrix_view<Src const> lhs{};
      if (p.direct) {
        lhs = {src.data + b * src.n_stride + p.win.d.at(z, 0) * src.d_stride + p.win.h.at(y, 0) * src.h_stride +
                   p.win.w.at(x, 0) * src.w_stride + g * p.inputs,
               rows, p.depth, p.win.w.stride * src.w_stride, 1};
      } else {
        // With several groups the taps of all channels are gathered group by group: group g's columns of block `block`.
        if (gathered != at) gather_rows(chosen, src, p.win, b, z, y, x, rows, g * p.inputs, p.inputs, fill, scratch);
        gathered = at;
        lhs = {scratch, rows, p.depth, p.depth, 1};
      }
      index_t const dz = grid.first.d + z * grid.step.d, dy = grid.first.h + y * grid.step.h, dx = grid.first.w + x * grid.step.w;
      matrix_view<Dst> const out{dst.data + b * dst.n_stride + dz * dst.d_stride + dy * dst.h_stride + dx * dst.w_stride +
                                     g * p.outputs * dst.c_stride,
                                 rows, p.outputs, grid.step.w * dst.w_stride, dst.c_stride};
      index_t const position = ((b * grid.full.d + dz) * grid.full.h + dy) * grid.full.w + dx;
      gemm(lhs, weights(g), out, epilogue_block(e, position, grid.step.w, rows, g * p.outputs, p.outputs), inner);
    }
  };
  if (alone)
    run(0);
  else
    options.executor(tasks, run);
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
