// conv_window.hpp — what all convolutions run through: a matrix product whose left operand is never built.
//
// A convolution is a product with one row an output position and one column a tap and channel:
//
//     lhs[p, (kz, ky, kx, i)] = src[b, at(p, k), i], the source's zero point where that lies outside of the image
//
// Building it (im2col) would cost kernel_h * kernel_w times the image. Where tiles can read the padded image itself they do
// (conv_direct.hpp). Elsewhere: gemm copies every row of lhs into its kernels' blocks anyway, to flip signs and to close gaps; that
// copy gathers the taps instead, so the convolution costs no pass of its own, and every kernel, epilogue and thread split is gemm's.
// Transposed convolutions come through here too, one phase of the output at a time.
//
// Where a row of taps is no multiple of four codes (3 channels) it is packed with zeros up to one: k is kernel_h rows of `run` codes.
#pragma once

#include "../core/geometry.hpp"
#include "../kernel/conv_gather.hpp"
#include "conv_direct.hpp"
#include "gemm.hpp"
#include "shape.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// A functor of the caller sees the position in the whole output, not in a part of it.
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

/// The epilogue of positions row, row + row_step, ... (`rows` of them) and of `columns` channels from `column`.
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

/// Division of numbers below 2^32 by one that stays: a multiplication by its reciprocal in 64 bits, rounded up, whose upper half is
/// the quotient (Lemire, Kaser, Kurz 2019). A row of lhs needs two of them; the divider would cost as much as copying the row.
struct fast_divider {
  std::uint64_t reciprocal = 0;
  std::uint32_t by = 1;
  QUERN_INLINE constexpr fast_divider(index_t d = 1) noexcept : reciprocal(~std::uint64_t{0} / static_cast<std::uint64_t>(d) + 1), by(static_cast<std::uint32_t>(d)) {}
  QUERN_INLINE constexpr index_t operator()(index_t n) const noexcept {
    if (by == 1) return n;
    __extension__ using wide = unsigned __int128;
    return static_cast<index_t>((static_cast<wide>(reciprocal) * static_cast<std::uint64_t>(n)) >> 64);
  }
};

/// Codes of one row of a filter's taps, as packed: a multiple of four if there are several rows, so that each begins where a row of
/// packed weights does. Dilated taps are not neighbours, so their rows are as long as they are.
constexpr index_t packed_run(filter_shape const& f, conv_options const& o) noexcept {
  index_t const codes = f.kernel.w * f.inputs;
  return f.kernel.d * f.kernel.h > 1 && (o.dilation.w == 1 || f.kernel.w == 1) ? round_up(codes, 4) : codes;
}

/// What the reader of lhs rows looks at. Row i is output position `first + i`.
template <class T>
struct conv_reader {
  volume_view<T const> src;  // of one group: data points at its first channel
  window win;
  index_t channels = 0;      // of the group
  index_t gap = 0;           // codes behind a row of taps whose weights are zero
  index_t first = 0;
  kernel::run_grid runs{};   // a window inside of the image; length 0: tap by tap
  fast_divider by_width, by_height, by_depth;
  T const* blank = nullptr;  // lhs_block zero points
  kernel::copy_function copies[2] = {};
  kernel::gather_function gathers[2] = {};
  bool as_they_are = false;  // no sign is flipped: AMX

  conv_reader(volume_view<T const> const& s, window const& w, index_t c, index_t run, T const* zero_points) noexcept
      : src(s), win(w), channels(c), gap(run - w.w.kernel * c), by_width(w.w.out), by_height(w.h.out), by_depth(w.d.out), blank(zero_points) {
    if (sizeof(T) != 1 || win.taps() == 0 || (win.d.kernel > 1 && win.h.kernel > 1 && win.w.kernel > 1)) return;
    bool const touch = win.w.kernel == 1 || (win.w.dilation == 1 && src.w_stride == channels);
    if (gap > 0 && !(touch && src.w_stride == channels)) return;  // what lies in the gap must be of the image
    if (win.d.kernel > 1 && win.h.kernel > 1) {  // a kernel without width: its rows take the place of columns
      runs = {channels + gap, win.h.kernel, win.h.dilation * src.h_stride, win.d.dilation * src.d_stride};
    } else {
      index_t const row_step = win.h.kernel > 1 ? win.h.dilation * src.h_stride : win.d.dilation * src.d_stride;
      if (touch)
        runs = {win.w.kernel * channels + gap, 1, 0, row_step};
      else
        runs = {channels, win.w.kernel, win.w.dilation * src.w_stride, row_step};
    }
  }
};

template <class T>
std::int32_t read_conv_row(void const* context, kernel::copy_function copy, index_t i, index_t k0, index_t count, index_t padded, unsigned char* dst) {
  auto const& c = *static_cast<conv_reader<T> const*>(context);
  constexpr int kind = sizeof(T) == 2 ? 2 : std::is_signed_v<T> ? 1 : 0;
  index_t const at = c.first + i;
  index_t const up = c.by_width(at), x = at - up * c.win.w.out;
  index_t const back = c.by_height(up), y = up - back * c.win.h.out;
  index_t const b = c.by_depth(back), z = back - b * c.win.d.out;
  index_t const sz = z * c.win.d.stride - c.win.d.before, sy = y * c.win.h.stride - c.win.h.before, sx = x * c.win.w.stride - c.win.w.before;
  T const* const image = c.src.data + b * c.src.n_stride;
  if constexpr (sizeof(T) == 1) {
    index_t const behind = c.gap == 0 ? 0 : (c.gap + c.channels - 1) / c.channels;  // pixels that the gap reaches over
    bool const inside = sz >= 0 && sz + c.win.d.reach() <= c.src.d && sy >= 0 && sy + c.win.h.reach() <= c.src.h && sx >= 0 &&
                        sx + c.win.w.reach() + behind <= c.src.w;
    int const which = copy == c.copies[0] ? 0 : 1;
    if (inside && c.runs.length > 0 && c.gathers[which] != nullptr) {
      T const* const from = image + sz * c.src.d_stride + sy * c.src.h_stride + sx * c.src.w_stride;
      c.gathers[which](reinterpret_cast<unsigned char const*>(from), c.runs, k0, count, c.as_they_are ? 0 : kind, dst);
      return 0;
    }
  }
  // Tap by tap into a row of codes: what is before k0 is skipped, and it ends after `count`.
  T row[kernel::lhs_block];
  T* to = row;
  index_t skip = k0, left = count;
  auto const take = [&](T const* from, index_t n) {  // null: blank
    if (skip >= n) {
      skip -= n;
      return;
    }
    index_t const live = n - skip < left ? n - skip : left;
    __builtin_memcpy(to, from != nullptr ? from + skip : c.blank, static_cast<std::size_t>(live) * sizeof(T));
    skip = 0;
    to += live;
    left -= live;
  };
  for (index_t kz = 0; kz < c.win.d.kernel && left > 0; ++kz)
    for (index_t ky = 0; ky < c.win.h.kernel && left > 0; ++ky) {
      index_t const tz = sz + kz * c.win.d.dilation, ty = sy + ky * c.win.h.dilation;
      bool const missing = tz < 0 || tz >= c.src.d || ty < 0 || ty >= c.src.h;
      for (index_t kx = 0; kx < c.win.w.kernel && left > 0; ++kx) {
        index_t const tx = sx + kx * c.win.w.dilation;
        take(missing || tx < 0 || tx >= c.src.w ? nullptr : image + tz * c.src.d_stride + ty * c.src.h_stride + tx * c.src.w_stride, c.channels);
      }
      if (left > 0) take(nullptr, c.gap);
    }
  std::int32_t sum = 0;
  copy({row, 0, 1, count, kind}, padded, dst, &sum);
  return sum;
}

/// The rows of one block.
template <class T>
void read_conv_rows(void const* context, kernel::copy_function copy, index_t row, index_t rows, index_t k0, index_t count,
                    index_t padded, unsigned char* dst, std::int32_t* sums) {
  for (index_t r = 0; r < rows; ++r) {
    std::int32_t const sum = read_conv_row<T>(context, copy, row + r, k0, count, padded, dst + r * kernel::lhs_stride);
    if (sums != nullptr) sums[r] = sum;
  }
}

/// A grid of output positions inside of a larger destination: every one, or (transposed convolutions) each step-th from `first`.
struct output_grid {
  extent full{};          // the destination's size
  extent first{0, 0, 0};  // of this grid
  extent step{1, 1, 1};
};

/// A convolution cut into products: as few as the destination's strides allow.
template <class Src, class Dst>
struct conv_parts {
  volume_view<Src const> src;
  volume_view<Dst> dst;
  window win;
  index_t groups = 1, inputs = 0, outputs = 0;  // channels a group
  index_t run = 0;        // codes of a row of taps, as packed
  output_grid grid;
  bool matrix = false;    // 1x1 over every pixel of a source without gaps: lhs is the source itself
  index_t rows = 0;       // positions a product
  index_t products = 0;   // for each group

  conv_parts(volume_view<Src const> s, volume_view<Dst> t, window const& w, index_t g, index_t in, index_t out, index_t packed_row, output_grid const& o)
      : src(s), dst(t), win(w), groups(g), inputs(in), outputs(out / g), run(packed_row), grid(o) {
    bool const every = grid.step == extent{1, 1, 1};
    bool const rows_touch = every && (dst.h <= 1 || dst.h_stride == dst.w * dst.w_stride);
    bool const planes_touch = rows_touch && (dst.d <= 1 || dst.d_stride == dst.h * dst.w * dst.w_stride);
    bool const images_touch = planes_touch && (dst.n <= 1 || dst.n_stride == dst.d * dst.h * dst.w * dst.w_stride);
    bool const source_dense = (src.h <= 1 || src.h_stride == src.w * src.w_stride) && (src.d <= 1 || src.d_stride == src.h * src.w * src.w_stride) &&
                              (src.n <= 1 || src.n_stride == src.d * src.h * src.w * src.w_stride);
    auto const still = [](axis const& a) { return a.kernel == 1 && a.stride == 1 && a.before == 0 && a.out == a.in; };
    matrix = images_touch && source_dense && still(win.d) && still(win.h) && still(win.w);
    index_t const plane = win.h.out * win.w.out, image = win.d.out * plane;
    rows = images_touch ? src.n * image : planes_touch ? image : rows_touch ? plane : win.w.out;
    products = rows > 0 ? src.n * image / rows : 0;
  }

  index_t depth() const noexcept { return win.d.kernel * win.h.kernel * run; }
  /// Where product q begins: its first position within src.n x win.
  index_t start(index_t q) const noexcept { return q * rows; }
  matrix_view<Dst> destination(index_t q, index_t g) const noexcept {
    index_t const at = start(q), x = at % win.w.out, up = at / win.w.out, y = up % win.h.out, back = up / win.h.out, z = back % win.d.out, b = back / win.d.out;
    return {dst.data + b * dst.n_stride + (grid.first.d + z * grid.step.d) * dst.d_stride + (grid.first.h + y * grid.step.h) * dst.h_stride +
                (grid.first.w + x * grid.step.w) * dst.w_stride + g * outputs * dst.c_stride,
            rows, outputs, grid.step.w * dst.w_stride, dst.c_stride};
  }
  /// The row of the whole output, n x d x h x w, that product q's first row is.
  index_t position(index_t q) const noexcept {
    index_t const at = start(q), x = at % win.w.out, up = at / win.w.out, y = up % win.h.out, back = up / win.h.out, z = back % win.d.out, b = back / win.d.out;
    return ((b * grid.full.d + grid.first.d + z * grid.step.d) * grid.full.h + grid.first.h + y * grid.step.h) * grid.full.w + grid.first.w + x * grid.step.w;
  }
};

/// Everything that can be wrong with the stages and the memory of a convolution with `positions` outputs of `channels`, told once for
/// all of its products.
template <class Src, class Weight, class Dst, class R, class S, class T>
void check_conv_stages(char const* op, epilogue<R, S, T> const& e, index_t positions, index_t channels, gemm_options const& options) {
  check_epilogue<Src, Weight, Dst>(op, e, positions, channels);
  check_lhs_range<Src>(op, "src", options);
}

/// Whether the accumulators of every group are exact. Costs a few comparisons a group, unless weights have to prove it.
template <class Src, class Dst, class Weights, class E>
void check_conv_depth(conv_parts<Src, Dst> const& p, Weights const& weights, E const& e, gemm_options const& options) {
  if ((options.wide && rescales_int64<typename E::rescale_type>) || p.products == 0) return;
  using a = code_of_t<Src>;
  for (index_t g = 0; g < p.groups; ++g)
    check_depth(lhs_codes{a::min, a::max}, weights(g), epilogue_block(e, 0, 1, p.rows, g * p.outputs, p.outputs), options, p.rows);
}

/// Runs a convolution product by product, all of it checked before; with `run` false it only says how many bytes of workspace that
/// takes.
template <class Src, class Weights, class Dst, class E>
index_t run_conv(conv_parts<Src, Dst> const& p, Weights const& weights, E const& e, gemm_options const& options, bool run) {
  if (p.products == 0) return 0;
  Src blank[kernel::lhs_block];
  for (auto& v : blank) v = static_cast<Src>(e.lhs_zero_point[0]);
  conv_reader<Src> reader(p.src, p.win, p.inputs, p.run, blank);
  bool const every = p.grid.step == extent{1, 1, 1};
  index_t bytes = 0;
  for (index_t g = 0; g < p.groups; ++g) {
    auto const rhs = weights(g);
    using weight = typename Weights::code;
    bool sums = false;  // gathering does not add up; asymmetric weights need it
    for (index_t j = 0; j < (e.rhs_zero_point.single() ? 1 : p.outputs); ++j)
      sums |= e.rhs_zero_point[e.rhs_zero_point.single() ? 0 : g * p.outputs + j] != rhs.offset;
    reader.src.data = p.src.data + g * p.inputs;
    for (index_t q = 0; q < p.products; ++q) {
      auto const block = epilogue_block(e, p.position(q), p.grid.step.w, p.rows, g * p.outputs, p.outputs);
      matrix_view<Src const> lhs{reader.src.data, p.rows, p.depth(), p.matrix ? p.src.w_stride : 0, p.matrix ? 1 : 0};
      gemm_call<Src, weight, Dst, std::remove_const_t<decltype(block)>> call(lhs, rhs, p.destination(q, g), block, options);
      direct_conv direct;
      if constexpr (sizeof(Src) == 1)
        if (every && !p.matrix) direct = direct_conv::of(call.problem, call.kernels, options.executor, p.win, p.inputs, p.run, p.src.w_stride);
      index_t const shared = call.shared_bytes();
      index_t const needed = shared + (direct.possible() ? direct.tasks() * direct.task_bytes : call.cut.count() * call.task_bytes());
      bytes = needed > bytes ? needed : bytes;
      if (!run) break;  // the products of a group are alike
      auto* const memory = static_cast<unsigned char*>(options.workspace.data);
      if (direct.possible()) {
        direct.src = reinterpret_cast<unsigned char const*>(reader.src.data);
        direct.zero_point = e.lhs_zero_point[0];
        direct.n_stride = p.src.n_stride;
        direct.h_stride = p.src.h_stride;
        direct.first_line = p.start(q) / p.win.w.out;
        direct.tap_sums = weights.tap_sums(g);
        direct.tap_columns = round_up(p.outputs, 16);
        scratch const own(memory != nullptr ? 0 : shared);
        call.prepare(memory != nullptr ? memory : own.data());
        direct.run(call.problem, options.executor, memory != nullptr ? memory + shared : nullptr);
        continue;
      }
      if (!p.matrix) {
        reader.first = p.start(q);
        reader.as_they_are = call.kernels.first->tiled;
        kernel::kernel_set const* const sets[2] = {call.kernels.first, call.kernels.second};
        for (int s = 0; s < 2; ++s) {
          reader.copies[s] = sets[s] != nullptr ? sets[s]->copy : nullptr;
          reader.gathers[s] = sums ? nullptr : kernel::gather_for(sets[s]);
        }
        call.problem.read = &read_conv_rows<Src>;
        call.problem.lhs = &reader;
      }
      if (memory != nullptr) {
        call.run(options.executor, memory, memory + shared);
      } else {
        scratch const own(shared);
        call.run(options.executor, own.data(), nullptr);
      }
    }
  }
  return bytes;
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
