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
  index_t low = 0, high = 0;
  for (int a = 0; a < v.rank; ++a) {
    index_t const reach = (v.extent[a] - 1) * v.stride[a];
    (reach < 0 ? low : high) += reach;
  }
  auto const base = reinterpret_cast<std::uintptr_t>(v.data);
  auto const size = static_cast<index_t>(sizeof(T));
  return {base + static_cast<std::uintptr_t>(low * size), base + static_cast<std::uintptr_t>(high * size + size - 1)};
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
  bool none = false, wrong = false, same = sizeof(Src) == sizeof(Dst);
  for (int a = 0; a < src.rank; ++a) {
    wrong = wrong || src.extent[a] != dst.extent[a] || src.extent[a] < 0 || (dst.stride[a] == 0 && dst.extent[a] > 1);
    none = none || src.extent[a] == 0;
    same = same && (src.stride[a] == dst.stride[a] || src.extent[a] == 1);
  }
  if (wrong) [[unlikely]]
    fail_views(who, src, dst);
  if (none) return views_check::nothing_to_do;
  if (src.data == nullptr || dst.data == nullptr) [[unlikely]]
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

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
