// walk.hpp — how a conversion goes through two views of any rank and stride: checks, then rectangles of contiguous rows.
//
// The axes of both views and of the grid of scales are cut (groups), merged (axes without a gap between them) and put in order
// (contiguous ones inside), so that the kernels see few and long rows: a whole NHWC tensor with one scale is a single row.
#pragma once

#include "../core/error.hpp"
#include "../core/reals.hpp"
#include "../core/views.hpp"
#include "../scheme/granularity.hpp"

namespace quern {
namespace detail {

/// A view without its rank.
template <class T>
struct any_view {
  T* data = nullptr;
  int rank = 1;
  index_t extent[4] = {1, 1, 1, 1};
  index_t stride[4] = {};
};

/// One axis of a conversion: strides of the source, the destination, the scales, and the row-major position.
struct walk_axis {
  index_t extent, src, dst, scale, index;
};

/// A conversion as axes. Cutting adds one for each axis that is grouped.
struct walk_box {
  walk_axis axis[8];
  int rank = 0;
  index_t src = 0, dst = 0, scale = 0, index = 0;  ///< of the first element
};

inline namespace QUERN_ABI {

template <class T>
QUERN_INLINE constexpr any_view<T> any_of(vector_view<T> v) noexcept {
  return {v.data, 1, {v.size}, {v.stride}};
}
template <class T>
QUERN_INLINE constexpr any_view<T> any_of(matrix_view<T> v) noexcept {
  return {v.data, 2, {v.rows, v.cols}, {v.row_stride, v.col_stride}};
}
template <class T>
QUERN_INLINE constexpr any_view<T> any_of(tensor_view<T> v) noexcept {
  return {v.data, 4, {v.n, v.h, v.w, v.c}, {v.n_stride, v.h_stride, v.w_stride, v.c_stride}};
}
template <class T>
QUERN_INLINE constexpr bool empty(any_view<T> const& v) noexcept {
  for (int a = 0; a < v.rank; ++a)
    if (v.extent[a] <= 0) return true;
  return false;
}
template <class T>
QUERN_INLINE constexpr index_t elements(any_view<T> const& v) noexcept {
  index_t n = 1;
  for (int a = 0; a < v.rank; ++a) n *= v.extent[a];
  return n;
}
template <class T>
QUERN_INLINE constexpr bool dense(any_view<T> const& v) noexcept {
  index_t next = 1;
  for (int a = v.rank - 1; a >= 0; --a) {
    if (v.extent[a] != 1 && v.stride[a] != next) return false;
    next *= v.extent[a];
  }
  return true;
}

/// The first and the last byte of a view that is not empty.
struct byte_span {
  std::uintptr_t first, last;
};
template <class T>
QUERN_INLINE byte_span span_of(any_view<T> const& v) noexcept {
  auto const base = reinterpret_cast<std::uintptr_t>(v.data);
  byte_span s{base, base + sizeof(T) - 1};
  for (int a = 0; a < v.rank; ++a) reach_of(v.extent[a], v.stride[a], sizeof(T), s.first, s.last);
  return s;
}

template <class T>
QUERN_COLD void append_shape(error& e, any_view<T> const& v) {
  for (int a = 0; a < v.rank; ++a) {
    if (a > 0) append_part(e, "x");
    append_part(e, v.extent[a]);
  }
}
template <class Src, class Dst>
[[noreturn]] QUERN_COLD void fail_shapes(char const* who, any_view<Src> const& src, any_view<Dst> const& dst) {
  error e(errc::shape);
  append_part(e, who);
  append_part(e, ": src is ");
  append_shape(e, src);
  append_part(e, " and dst is ");
  append_shape(e, dst);
  append_part(e, "; they must have the same extents.");
  raise(e);
}
[[noreturn]] QUERN_COLD inline void fail_null(char const* who, char const* what, index_t size) {
  fail(errc::null, who, ": ", what, " is null, but it has ", size, " elements.");
}
[[noreturn]] QUERN_COLD inline void fail_overlap(char const* who, bool same_size) {
  fail(errc::overlap, who, ": src and dst overlap; ",
       same_size ? "they must be apart, or be the same elements (same address, same strides)."
                 : "elements of different sizes must not share memory.");
}
template <class Src, class Dst>
[[noreturn]] QUERN_COLD void fail_views(char const* who, any_view<Src> const& src, any_view<Dst> const& dst) {
  for (int a = 0; a < src.rank; ++a)
    if (src.extent[a] != dst.extent[a]) fail_shapes(who, src, dst);
  for (int a = 0; a < src.rank; ++a)
    if (src.extent[a] < 0) fail(errc::shape, who, ": axis ", a, " has ", src.extent[a], " elements; an extent must not be negative.");
  if (src.data == nullptr) fail_null(who, "src", elements(src));
  if (dst.data == nullptr) fail_null(who, "dst", elements(dst));
  for (int a = 0; a < dst.rank; ++a)
    if (dst.extent[a] > 1 && dst.stride[a] == 0)
      fail(errc::shape, who, ": dst has stride 0 along axis ", a, " of ", dst.extent[a], " elements; each needs a place of its own.");
  fail_overlap(who, sizeof(Src) == sizeof(Dst));
}

enum class views_check : char { apart, same_place, nothing_to_do };

/// Same extents, nothing null, no overlap but of the same elements. @errors shape, null, overlap.
template <class Src, class Dst>
QUERN_INLINE views_check check_views(char const* who, any_view<Src> const& src, any_view<Dst> const& dst) {
  bool none = false, wrong = false, still = false, same = sizeof(Src) == sizeof(Dst);
  for (int a = 0; a < src.rank; ++a) {
    wrong = wrong || src.extent[a] != dst.extent[a] || src.extent[a] < 0;
    still = still || (dst.stride[a] == 0 && dst.extent[a] > 1);  // no mistake where there is nothing: rows of no columns are 0 apart
    none = none || src.extent[a] == 0;
    same = same && (src.stride[a] == dst.stride[a] || src.extent[a] == 1);
  }
  if (wrong) [[unlikely]]
    fail_views(who, src, dst);
  if (none) return views_check::nothing_to_do;
  if (still || src.data == nullptr || dst.data == nullptr) [[unlikely]]
    fail_views(who, src, dst);
  byte_span const s = span_of(src), d = span_of(dst);
  if (s.first > d.last || d.first > s.last) [[likely]]
    return views_check::apart;
  if (same && static_cast<void const*>(src.data) == static_cast<void const*>(dst.data)) return views_check::same_place;
  fail_views(who, src, dst);
}

/// The box of two views with the same extents and a grid of scales over them.
template <class Src, class Dst, int Rank>
constexpr walk_box box_of(any_view<Src> const& src, any_view<Dst> const& dst, scale_grid<Rank> const& grid) noexcept {
  walk_box box;
  box.rank = Rank;
  index_t scale = 1, index = 1;
  for (int a = Rank - 1; a >= 0; --a) {
    // The scale's stride here is that of one element; `block` says how many of them share it (see cut_groups).
    box.axis[a] = {src.extent[a], src.stride[a], dst.stride[a], grid.steps[a] == 1 ? 0 : scale, index};
    scale *= grid.steps[a];
    index *= src.extent[a];
  }
  return box;
}

/// Calls f(box) for boxes whose axes have no groups: a group axis becomes two, and a short last group a box of its own.
template <int Rank, class F>
void cut_groups(walk_box const& box, scale_grid<Rank> const& grid, int axis, F const& f) {
  for (; axis < Rank; ++axis) {
    index_t const block = grid.block[axis];
    if (block == 1 || grid.steps[axis] == 1) continue;
    walk_axis const whole = box.axis[axis];
    index_t const groups = whole.extent / block, rest = whole.extent % block;
    walk_box part = box;
    if (groups > 0) {
      part.axis[axis] = {block, whole.src, whole.dst, 0, whole.index};
      part.axis[part.rank++] = {groups, whole.src * block, whole.dst * block, whole.scale, whole.index * block};
      cut_groups(part, grid, axis + 1, f);
    }
    if (rest > 0) {
      part = box;
      part.axis[axis] = {rest, whole.src, whole.dst, 0, whole.index};
      part.src += groups * block * whole.src;
      part.dst += groups * block * whole.dst;
      part.scale += groups * whole.scale;
      part.index += groups * block * whole.index;
      cut_groups(part, grid, axis + 1, f);
    }
    return;
  }
  f(box);
}

QUERN_INLINE constexpr index_t magnitude(index_t x) noexcept { return x < 0 ? -x : x; }

/// Axes of one element dropped, the others from the outermost to the innermost, neighbours without a gap merged.
constexpr void simplify(walk_box& box) noexcept {
  int n = 0;
  for (int a = 0; a < box.rank; ++a)
    if (box.axis[a].extent != 1) box.axis[n++] = box.axis[a];
  box.rank = n;
  // Insertion sort by the larger of the strides, so that what is contiguous in both comes last.
  for (int a = 1; a < n; ++a)
    for (int b = a; b > 0; --b) {
      walk_axis &outer = box.axis[b - 1], &inner = box.axis[b];
      index_t const d = magnitude(outer.dst) - magnitude(inner.dst), s = magnitude(outer.src) - magnitude(inner.src);
      if (d > 0 || (d == 0 && s >= 0)) break;
      walk_axis const t = outer;
      outer = inner;
      inner = t;
    }
  for (int a = n - 1; a > 0; --a) {
    walk_axis const outer = box.axis[a - 1], inner = box.axis[a];
    if (outer.src != inner.src * inner.extent || outer.dst != inner.dst * inner.extent ||
        outer.scale != inner.scale * inner.extent || outer.index != inner.index * inner.extent)
      continue;
    box.axis[a - 1] = {outer.extent * inner.extent, inner.src, inner.dst, inner.scale, inner.index};
    for (int b = a; b + 1 < box.rank; ++b) box.axis[b] = box.axis[b + 1];
    --box.rank;
  }
  while (box.rank < 2) {  // at least rows and columns
    for (int b = box.rank; b > 0; --b) box.axis[b] = box.axis[b - 1];
    box.axis[0] = {1, 0, 0, 0, 0};
    ++box.rank;
  }
}

/// Calls f(src, dst, scale, index) with the offsets of every rectangle of the two innermost axes.
template <class F>
void for_each_rectangle(walk_box const& box, F const& f, int axis = 0, index_t src = 0, index_t dst = 0, index_t scale = 0,
                        index_t index = 0) {
  if (axis >= box.rank - 2) return f(box.src + src, box.dst + dst, box.scale + scale, box.index + index);
  walk_axis const a = box.axis[axis];
  for (index_t i = 0; i < a.extent; ++i)
    for_each_rectangle(box, f, axis + 1, src + i * a.src, dst + i * a.dst, scale + i * a.scale, index + i * a.index);
}

/// Columns that a kernel with a scale for each takes at once.
inline constexpr index_t most_columns = 512;

/// Several rows with few columns, a scale for each column and no gaps are longer rows whose scales repeat: how many of them fill
/// whole vectors of 64. 1 where that gains nothing.
QUERN_INLINE constexpr index_t rows_to_fold(index_t rows, index_t cols) noexcept {
  if (rows <= 1 || cols >= 256 || cols % 64 == 0) return 1;
  index_t step = 1;
  while (step * cols % 64 != 0) step *= 2;
  index_t const most = most_columns / cols;
  index_t const fold = step <= most ? step : most;
  return fold < rows ? fold : rows;
}

/// A rectangle whose rows are contiguous. Element (i, j) has the scale number scale + i * row_scale + (j % period) * col_scale; one of
/// row_scale and col_scale is 0, and where col_scale is not, cols <= most_columns unless it is 1 and the period is cols.
struct part_shape {
  index_t rows, cols, src_stride, dst_stride, scale, row_scale, col_scale, period;
};

/// Calls f(src, dst, shape) for parts that make up two axes. What is not contiguous goes through buffers on the stack.
template <class Src, class Dst, class F>
void for_each_part_of(Src const* src, Dst* dst, walk_axis row, walk_axis col, index_t scale, F& f) {
  if (col.src == 1 && col.dst == 1) {
    if (col.scale == 0) return void(f(src, dst, part_shape{row.extent, col.extent, row.src, row.dst, scale, row.scale, 0, 1}));
    index_t rows = row.extent, all = 1, up = 0;  // rows of a part; parts; scales from part to part
    if (row.scale != 0) all = rows, up = row.scale, rows = 1;
    for (index_t i = 0; i < all; ++i) {
      Src const* const s = src + i * row.src;
      Dst* const d = dst + i * row.dst;
      index_t const first = scale + i * up;
      index_t const fold = row.src == col.extent && row.dst == col.extent ? rows_to_fold(rows, col.extent) : 1;
      if (fold > 1) {
        index_t const whole = rows / fold, size = fold * col.extent, rest = (rows - whole * fold) * col.extent;
        f(s, d, part_shape{whole, size, size, size, first, 0, col.scale, col.extent});
        if (rest > 0) f(s + whole * size, d + whole * size, part_shape{1, rest, rest, rest, first, 0, col.scale, col.extent});
        continue;
      }
      for (index_t j = 0; j < col.extent; j += most_columns) {
        index_t const n = col.extent - j < most_columns ? col.extent - j : most_columns;
        f(s + j, d + j, part_shape{rows, n, row.src, row.dst, first + j * col.scale, 0, col.scale, n});
      }
    }
    return;
  }
  constexpr index_t most = most_columns;
  alignas(64) Src in[most];
  alignas(64) Dst out[most];
  for (index_t j = 0; j < col.extent; j += most)
    for (index_t i = 0; i < row.extent; ++i) {
      index_t const n = col.extent - j < most ? col.extent - j : most;
      Src const* const s = src + i * row.src + j * col.src;
      Dst* const d = dst + i * row.dst + j * col.dst;
      if (col.src != 1)
        for (index_t k = 0; k < n; ++k) in[k] = s[k * col.src];
      f(col.src == 1 ? s : static_cast<Src const*>(in), col.dst == 1 ? d : static_cast<Dst*>(out),
        part_shape{1, n, n, n, scale + i * row.scale + j * col.scale, 0, col.scale, n});
      if (col.dst != 1)
        for (index_t k = 0; k < n; ++k) d[k * col.dst] = out[k];
    }
}

/// The same for two views and a grid of scales over them.
template <class Src, class Dst, int Rank, class F>
void for_each_part(any_view<Src const> const& src, any_view<Dst> const& dst, scale_grid<Rank> const& grid, F& f) {
  cut_groups(box_of(src, dst, grid), grid, 0, [&](walk_box box) {
    simplify(box);
    for_each_rectangle(box, [&](index_t s, index_t d, index_t scale, index_t) {
      for_each_part_of(src.data + s, dst.data + d, box.axis[box.rank - 2], box.axis[box.rank - 1], scale, f);
    });
  });
}

template <class Granularity, class T>
QUERN_INLINE constexpr auto grid_over(any_view<T> const& v, std::integral_constant<int, 1>) noexcept {
  return grid_of<Granularity>(v.extent[0]);
}
template <class Granularity, class T>
QUERN_INLINE constexpr auto grid_over(any_view<T> const& v, std::integral_constant<int, 2>) noexcept {
  return grid_of<Granularity>(v.extent[0], v.extent[1]);
}
template <class Granularity, class T>
QUERN_INLINE constexpr auto grid_over(any_view<T> const& v, std::integral_constant<int, 4>) noexcept {
  return grid_of<Granularity>(v.extent[0], v.extent[1], v.extent[2], v.extent[3]);
}

template <class View>
inline constexpr int rank_of = 0;
template <class T>
inline constexpr int rank_of<vector_view<T>> = 1;
template <class T>
inline constexpr int rank_of<matrix_view<T>> = 2;
template <class T>
inline constexpr int rank_of<tensor_view<T>> = 4;

template <class View>
struct element_of;
template <template <class> class View, class T>
struct element_of<View<T>> {
  using type = T;
};
template <class View>
using element_t = typename element_of<View>::type;

/// The number of elements where src and dst are lines without gaps that share no memory, else 0.
template <class Src, class Dst>
QUERN_INLINE index_t line_apart(Src const* src, Dst const* dst, index_t n) noexcept {
  auto const s = reinterpret_cast<std::uintptr_t>(src), d = reinterpret_cast<std::uintptr_t>(dst);
  std::uintptr_t const size = static_cast<std::uintptr_t>(n);
  return n > 0 && s != 0 && d != 0 && (s + size * sizeof(Src) <= d || d + size * sizeof(Dst) <= s) ? n : 0;
}
template <class Src, class Dst>
QUERN_INLINE index_t line_of(vector_view<Src> src, vector_view<Dst> dst) noexcept {
  return src.size == dst.size && src.stride == 1 && dst.stride == 1 ? line_apart(src.data, dst.data, src.size) : 0;
}
template <class Src, class Dst>
QUERN_INLINE index_t line_of(matrix_view<Src> src, matrix_view<Dst> dst) noexcept {
  return src.rows == dst.rows && src.cols == dst.cols && src.rows > 0 && src.contiguous() && dst.contiguous()
             ? line_apart(src.data, dst.data, src.rows * src.cols)
             : 0;
}
template <class Src, class Dst>
QUERN_INLINE index_t line_of(tensor_view<Src> src, tensor_view<Dst> dst) noexcept {
  return src.n == dst.n && src.h == dst.h && src.w == dst.w && src.c == dst.c && !src.empty() && src.contiguous() && dst.contiguous()
             ? line_apart(src.data, dst.data, src.size())
             : 0;
}

/// The whole of two views as one part, if it is that simple: a scale for each row or column, contiguous rows, no memory shared, nothing
/// wrong. Otherwise no rows. (The general way costs 80 ns, as much as 2000 elements.)
template <class Granularity, class Src, class Dst>
QUERN_INLINE part_shape one_part_of(vector_view<Src>, vector_view<Dst>) noexcept {
  return {};
}
template <class Granularity, class Src, class Dst>
QUERN_INLINE part_shape one_part_of(matrix_view<Src> src, matrix_view<Dst> dst) noexcept {
  constexpr bool by_row = Granularity::block(0, 2) == 1 && Granularity::block(1, 2) == 0;
  constexpr bool by_column = Granularity::block(0, 2) == 0 && Granularity::block(1, 2) == 1;
  index_t const rows = src.rows, cols = src.cols;
  if constexpr (by_row || by_column) {
    if (rows != dst.rows || cols != dst.cols || rows <= 0 || cols <= 0 || src.col_stride != 1 || dst.col_stride != 1 ||
        src.row_stride < cols || dst.row_stride < cols || line_apart(src.data, dst.data, 1) == 0)
      return {};
    auto const s = reinterpret_cast<std::uintptr_t>(src.data), d = reinterpret_cast<std::uintptr_t>(dst.data);
    auto const s_size = static_cast<std::uintptr_t>((rows - 1) * src.row_stride + cols) * sizeof(Src);
    auto const d_size = static_cast<std::uintptr_t>((rows - 1) * dst.row_stride + cols) * sizeof(Dst);
    if (s + s_size > d && d + d_size > s) return {};
    index_t const fold = by_column && src.row_stride == cols && dst.row_stride == cols ? rows_to_fold(rows, cols) : 1;
    if (rows % fold != 0) return {};
    return {rows / fold, fold * cols, fold * src.row_stride, fold * dst.row_stride, 0, by_row ? 1 : 0, by_column ? 1 : 0, cols};
  } else {
    return {};
  }
}
template <class Granularity, class Src, class Dst>
QUERN_INLINE part_shape one_part_of(tensor_view<Src> src, tensor_view<Dst> dst) noexcept {
  auto const shared = [](bool n, bool h, bool w, bool c) {
    return (Granularity::block(0, 4) == 0) == n && (Granularity::block(1, 4) == 0) == h && (Granularity::block(2, 4) == 0) == w &&
           (Granularity::block(3, 4) == 0) == c;
  };
  if (line_of(src, dst) == 0) return {};
  index_t const images = src.n, pixels = src.n * src.h * src.w;
  auto const as_matrices = [&](index_t rows, auto part) {
    index_t const cols = src.size() / rows;
    return one_part_of<decltype(part)>(matrix_view<Src>{src.data, rows, cols, cols, 1}, matrix_view<Dst>{dst.data, rows, cols, cols, 1});
  };
  if (shared(true, true, true, false) && Granularity::block(3, 4) == 1) return as_matrices(pixels, per_channel<1>{});
  if (shared(false, false, false, true) && Granularity::block(0, 4) * Granularity::block(1, 4) * Granularity::block(2, 4) == 1)
    return as_matrices(pixels, per_row{});
  if (shared(false, true, true, true) && Granularity::block(0, 4) == 1) return as_matrices(images, per_row{});
  return {};
}

/// The same view of const elements.
template <class T>
  requires(!std::is_const_v<T>)
QUERN_INLINE constexpr any_view<T const> any_const(any_view<T> const& v) noexcept {
  any_view<T const> r{v.data, v.rank};
  for (int a = 0; a < 4; ++a) r.extent[a] = v.extent[a], r.stride[a] = v.stride[a];
  return r;
}
template <class T>
QUERN_INLINE constexpr any_view<T const> any_const(any_view<T const> const& v) noexcept {
  return v;
}

}  // inline namespace QUERN_ABI

/// vector_view, matrix_view or tensor_view.
template <class V>
concept strided_view = (rank_of<V> != 0);
/// The same of real numbers, or of codes.
template <class V>
concept real_view = strided_view<V> && real<std::remove_const_t<element_t<V>>>;
template <class V>
concept code_view = strided_view<V> && quantized_storage<std::remove_const_t<element_t<V>>>;

}  // namespace detail
}  // namespace quern
