// shape.hpp — shapes of any rank up to 6, and strided views of them.
//
// Convolutions name their dimensions (views.hpp, geometry.hpp); the layers around them do not care what a dimension means.
// Transposing, slicing, broadcasting, padding and concatenating are all a view with other strides, and one copy.
#pragma once

#include "error.hpp"
#include "integers.hpp"

namespace quern {

/// Up to six extents, outermost first.
struct shape {
  static constexpr int max_rank = 6;
  int rank = 0;
  index_t dim[max_rank] = {};

  QUERN_INLINE constexpr index_t& operator[](int i) noexcept { return dim[i]; }
  QUERN_INLINE constexpr index_t operator[](int i) const noexcept { return dim[i]; }
  /// Elements; 1 for a scalar (rank 0).
  QUERN_INLINE constexpr index_t size() const noexcept {
    index_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dim[i];
    return n;
  }
  QUERN_INLINE friend constexpr bool operator==(shape const& a, shape const& b) noexcept {
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; ++i)
      if (a.dim[i] != b.dim[i]) return false;
    return true;
  }
};

/// Element (i0, i1, ...) at data[sum of i_d * stride[d]]. Strides count elements and may be zero (broadcast) or negative.
template <class T>
struct nd_view {
  T* data = nullptr;
  quern::shape extents{};
  index_t stride[quern::shape::max_rank] = {};

  QUERN_INLINE constexpr index_t size() const noexcept { return extents.size(); }
  QUERN_INLINE constexpr bool contiguous() const noexcept {
    index_t expected = 1;
    for (int d = extents.rank - 1; d >= 0; expected *= extents.dim[d--])
      if (extents.dim[d] != 1 && stride[d] != expected) return false;
    return true;
  }
  QUERN_INLINE constexpr operator nd_view<T const>() const noexcept
    requires(!std::is_const_v<T>)
  {
    nd_view<T const> v{data, extents, {}};
    for (int d = 0; d < quern::shape::max_rank; ++d) v.stride[d] = stride[d];
    return v;
  }
};

inline namespace QUERN_ABI {

template <class... Dims>
constexpr shape make_shape(Dims... dims) noexcept {
  static_assert(sizeof...(Dims) <= shape::max_rank, "quern::make_shape: a shape has at most six dimensions.");
  shape s;
  ((s.dim[s.rank++] = static_cast<index_t>(dims)), ...);
  return s;
}

/// Row-major, without gaps.
template <class T>
constexpr nd_view<T> nd(T* data, shape const& s) noexcept {
  nd_view<T> v{data, s, {}};
  index_t step = 1;
  for (int d = s.rank - 1; d >= 0; step *= s.dim[d--]) v.stride[d] = step;
  return v;
}

/// Dimension d of the result is dimension permutation[d] of `v`. @errors argument when it is no permutation.
template <class T>
constexpr nd_view<T> transposed(nd_view<T> const& v, int const* permutation) {
  nd_view<T> r{v.data, v.extents, {}};
  unsigned seen = 0;
  for (int d = 0; d < v.extents.rank; ++d) {
    int const p = permutation[d];
    if (p < 0 || p >= v.extents.rank || ((seen >> p) & 1) != 0)
      fail(errc::argument, "transposed: entry ", d, " of the permutation is ", p, "; it must name each of the ", v.extents.rank,
           " dimensions once.");
    seen |= 1u << p;
    r.extents.dim[d] = v.extents.dim[p];
    r.stride[d] = v.stride[p];
  }
  return r;
}

/// `count` positions of dimension d, from `first`, `step` apart (which may be negative). @errors shape when one is outside.
template <class T>
constexpr nd_view<T> sliced(nd_view<T> v, int d, index_t first, index_t count, index_t step = 1) {
  index_t const last = first + (count - 1) * step;
  if (count < 0 || (count > 0 && (first < 0 || first >= v.extents.dim[d] || last < 0 || last >= v.extents.dim[d])))
    fail(errc::shape, "sliced: positions ", first, " to ", last, " of dimension ", d, " are outside of its ", v.extents.dim[d], ".");
  if (count > 0) v.data += first * v.stride[d];
  v.extents.dim[d] = count;
  v.stride[d] *= step;
  return v;
}

/// `v` repeated to shape `to`, as NumPy broadcasts: dimensions are aligned at the end, size 1 repeats. @errors shape.
template <class T>
constexpr nd_view<T> broadcast(nd_view<T> const& v, shape const& to) {
  nd_view<T> r{v.data, to, {}};
  for (int d = 0; d < to.rank; ++d) {
    int const from = d - (to.rank - v.extents.rank);
    if (from < 0) continue;
    if (v.extents.dim[from] == to.dim[d])
      r.stride[d] = v.stride[from];
    else if (v.extents.dim[from] != 1)
      fail(errc::shape, "broadcast: dimension ", from, " has size ", v.extents.dim[from], "; it must be 1 or ", to.dim[d], ".");
  }
  if (v.extents.rank > to.rank) fail(errc::shape, "broadcast: rank ", v.extents.rank, " does not fit rank ", to.rank, ".");
  return r;
}

/// The shape that broadcasting a and b together gives. @errors shape when they do not match.
constexpr shape broadcast_shape(shape const& a, shape const& b) {
  shape r = a.rank >= b.rank ? a : b;
  shape const& other = a.rank >= b.rank ? b : a;
  for (int d = 0; d < other.rank; ++d) {
    index_t& at = r.dim[d + r.rank - other.rank];
    if (at == other.dim[d]) continue;
    if (at != 1 && other.dim[d] != 1)
      fail(errc::shape, "broadcast: sizes ", at, " and ", other.dim[d], " meet in dimension ", d + r.rank - other.rank,
           "; they must be equal, or one of them 1.");
    if (at == 1) at = other.dim[d];
  }
  return r;
}


}  // inline namespace QUERN_ABI

namespace detail {
inline namespace QUERN_ABI {

/// Calls f(offsets) for every innermost run of `n` operands: offsets[o] is where operand o's run starts. Dimensions that every
/// operand walks without a gap are merged, so that the runs are as long as they can be.
template <int N>
struct runs {
  int rank = 0;                                    // outer dimensions, after merging
  index_t dim[shape::max_rank] = {}, length = 1;   // length of a run
  index_t stride[N][shape::max_rank] = {}, step[N] = {};

  template <class... Views>
  constexpr static runs of(shape const& s, Views const&... views) noexcept {
    runs r;
    index_t const* const strides[N] = {views.stride...};
    for (int d = 0; d < s.rank; ++d) {
      if (s.dim[d] == 1) continue;
      bool merge = r.rank > 0;
      for (int o = 0; o < N && merge; ++o) merge = r.stride[o][r.rank - 1] == strides[o][d] * s.dim[d];
      if (merge)
        r.dim[r.rank - 1] *= s.dim[d];
      else
        r.dim[r.rank++] = s.dim[d];
      for (int o = 0; o < N; ++o) r.stride[o][r.rank - 1] = strides[o][d];
    }
    if (r.rank > 0) {
      --r.rank;
      r.length = r.dim[r.rank];
      for (int o = 0; o < N; ++o) r.step[o] = r.stride[o][r.rank];
    } else {
      for (int o = 0; o < N; ++o) r.step[o] = 1;
    }
    return r;
  }
  template <class F>
  constexpr void for_each(F&& f) const {
    index_t at[shape::max_rank] = {}, offset[N] = {};
    for (;;) {
      f(offset);
      int d = rank - 1;
      for (; d >= 0; --d) {
        for (int o = 0; o < N; ++o) offset[o] += stride[o][d];
        if (++at[d] < dim[d]) break;
        for (int o = 0; o < N; ++o) offset[o] -= stride[o][d] * dim[d];
        at[d] = 0;
      }
      if (d < 0) return;
    }
  }
};

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
