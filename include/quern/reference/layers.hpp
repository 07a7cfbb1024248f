// layers.hpp — the definition of the layers around the convolutions, in plain loops.
//
// The arithmetic of one element or row is a functor (fixed_point/ has TFLite's, a lambda does as well); these say which elements it
// is given.
#pragma once

#include "../core/geometry.hpp"
#include "../core/saturate.hpp"
#include "../core/shape.hpp"

namespace quern::reference {
inline namespace QUERN_ABI {

/// Calls f(index) for every element of `s`, row-major; index is an array of shape::max_rank positions.
template <class F>
constexpr void for_each_index(shape const& s, F&& f) {
  index_t at[shape::max_rank] = {};
  for (index_t i = 0, n = s.size(); i < n; ++i) {
    f(static_cast<index_t const*>(at));
    for (int d = s.rank - 1; d >= 0 && ++at[d] == s.dim[d]; --d) at[d] = 0;
  }
}

template <class T>
constexpr T& element(nd_view<T> const& v, index_t const* at) {
  index_t offset = 0;
  for (int d = 0; d < v.extents.rank; ++d) offset += at[d] * v.stride[d];
  return v.data[offset];
}

/// dst[i] = f(src[i])
template <class Src, class Dst, class F>
constexpr void unary(nd_view<Src const> src, nd_view<Dst> dst, F const& f) {
  for_each_index(dst.extents, [&](index_t const* at) { element(dst, at) = static_cast<Dst>(f(element(src, at))); });
}

/// dst[i] = f(lhs[i], rhs[i]), both broadcast to dst's shape.
template <class Lhs, class Rhs, class Dst, class F>
constexpr void binary(nd_view<Lhs const> lhs, nd_view<Rhs const> rhs, nd_view<Dst> dst, F const& f) {
  auto const a = broadcast(lhs, dst.extents);
  auto const b = broadcast(rhs, dst.extents);
  for_each_index(dst.extents, [&](index_t const* at) { element(dst, at) = static_cast<Dst>(f(element(a, at), element(b, at))); });
}

/// Calls output(b, y, x, c, codes, count) with the codes of the window's positions inside of the image, `count` of them.
template <class T, class Output>
constexpr void windows(tensor_view<T const> src, window const& win, Output&& output) {
  for (index_t b = 0; b < src.n; ++b)
    for (index_t y = 0; y < win.h.out; ++y)
      for (index_t x = 0; x < win.w.out; ++x)
        for (index_t c = 0; c < src.c; ++c) {
          std::int64_t sum = 0;
          std::int32_t count = 0, largest = code_of_t<T>::min;
          for (index_t ky = 0; ky < win.h.kernel; ++ky)
            for (index_t kx = 0; kx < win.w.kernel; ++kx) {
              index_t const sy = win.h.at(y, ky), sx = win.w.at(x, kx);
              if (sy < 0 || sy >= src.h || sx < 0 || sx >= src.w) continue;
              T const q = src(b, sy, sx, c);
              sum += q;
              largest = q > largest ? q : largest;
              ++count;
            }
          output(b, y, x, c, sum, largest, count);
        }
}

/// The average of the codes inside of the image, ties away from zero, clamped. No zero point is involved: source and destination
/// have the same parameters (TFLite AVERAGE_POOL_2D).
template <class T>
constexpr void average_pool(tensor_view<T const> src, window const& win, tensor_view<T> dst, std::int32_t min = code_of_t<T>::min,
                            std::int32_t max = code_of_t<T>::max) {
  windows(src, win, [&](index_t b, index_t y, index_t x, index_t c, std::int64_t sum, std::int32_t, std::int32_t n) {
    std::int64_t const average = sum > 0 ? (sum + n / 2) / n : (sum - n / 2) / n;
    dst(b, y, x, c) = static_cast<T>(clamp<std::int64_t>(average, min, max));
  });
}

/// The largest code inside of the image, clamped.
template <class T>
constexpr void max_pool(tensor_view<T const> src, window const& win, tensor_view<T> dst, std::int32_t min = code_of_t<T>::min,
                        std::int32_t max = code_of_t<T>::max) {
  windows(src, win, [&](index_t b, index_t y, index_t x, index_t c, std::int64_t, std::int32_t largest, std::int32_t) {
    dst(b, y, x, c) = static_cast<T>(clamp(largest, min, max));
  });
}

/// dst[kept dimensions] = f(sum of the codes over the dimensions whose bit in `axes` is set). dst has size 1 there.
template <class T, class Dst, class F>
constexpr void reduce(nd_view<T const> src, unsigned axes, nd_view<Dst> dst, F const& f) {
  shape inner = src.extents;
  for (int d = 0; d < inner.rank; ++d)
    if (((axes >> d) & 1) == 0) inner.dim[d] = 1;
  for_each_index(dst.extents, [&](index_t const* at) {
    std::int64_t sum = 0;
    for_each_index(inner, [&](index_t const* within) {
      index_t position[shape::max_rank] = {};
      for (int d = 0; d < inner.rank; ++d) position[d] = at[d] + within[d];
      sum += element(src, position);
    });
    element(dst, at) = static_cast<Dst>(f(wrap32(sum)));
  });
}

/// dst = value around a copy of src that starts at position before[d].
template <class T>
constexpr void pad(nd_view<T const> src, index_t const* before, T value, nd_view<T> dst) {
  for_each_index(dst.extents, [&](index_t const* at) {
    index_t position[shape::max_rank] = {};
    bool inside = true;
    for (int d = 0; d < dst.extents.rank; ++d) {
      position[d] = at[d] - before[d];
      inside = inside && position[d] >= 0 && position[d] < src.extents.dim[d];
    }
    element(dst, at) = inside ? element(src, position) : value;
  });
}

/// acc[i, j] = sum over k of (lhs[i, k] - lhs_zero_point) (rhs[k, j] - rhs_zero_point), handed to output(i, j, acc).
template <class Lhs, class Rhs, class Output>
constexpr void matrix_product(matrix_view<Lhs const> lhs, matrix_view<Rhs const> rhs, std::int32_t lhs_zero_point,
                              std::int32_t rhs_zero_point, Output&& output) {
  for (index_t i = 0; i < lhs.rows; ++i)
    for (index_t j = 0; j < rhs.cols; ++j) {
      std::int64_t acc = 0;
      for (index_t k = 0; k < lhs.cols; ++k)
        acc += static_cast<std::int64_t>(lhs(i, k) - lhs_zero_point) * (rhs(k, j) - rhs_zero_point);
      output(i, j, acc);
    }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::reference
