// views.hpp — non-owning, strided views: vector, matrix, NHWC tensor.
//
// Strides count elements, not bytes, and may be negative or zero. A view of T converts to a view of T const. Views are plain
// data and may cross translation units built with different flags.
#pragma once

#include "integers.hpp"

#include <type_traits>

namespace quern {

/// A parameter that deduces nothing: where dst tells T, a view of T serves for the view of T const that is read.
template <class View>
using non_deduced = std::type_identity_t<View>;

/// size elements, element i at data[i * stride].
template <class T>
struct vector_view {
  T* data = nullptr;
  index_t size = 0;
  index_t stride = 1;

  QUERN_INLINE constexpr T& operator[](index_t i) const noexcept { return data[i * stride]; }
  QUERN_INLINE constexpr bool contiguous() const noexcept { return stride == 1 || size <= 1; }
  QUERN_INLINE constexpr bool empty() const noexcept { return size <= 0; }
  QUERN_INLINE constexpr vector_view sub(index_t first, index_t count) const noexcept {
    return {data + first * stride, count, stride};
  }
  QUERN_INLINE constexpr operator vector_view<T const>() const noexcept
    requires(!std::is_const_v<T>)
  {
    return {data, size, stride};
  }
};

/// rows x cols elements, element (i, j) at data[i * row_stride + j * col_stride].
template <class T>
struct matrix_view {
  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t row_stride = 0;
  index_t col_stride = 1;

  QUERN_INLINE constexpr T& operator()(index_t i, index_t j) const noexcept {
    return data[i * row_stride + j * col_stride];
  }
  QUERN_INLINE constexpr vector_view<T> row(index_t i) const noexcept { return {data + i * row_stride, cols, col_stride}; }
  QUERN_INLINE constexpr vector_view<T> col(index_t j) const noexcept { return {data + j * col_stride, rows, row_stride}; }
  QUERN_INLINE constexpr matrix_view transposed() const noexcept { return {data, cols, rows, col_stride, row_stride}; }
  QUERN_INLINE constexpr matrix_view block(index_t i, index_t j, index_t r, index_t c) const noexcept {
    return {data + i * row_stride + j * col_stride, r, c, row_stride, col_stride};
  }
  QUERN_INLINE constexpr bool empty() const noexcept { return rows <= 0 || cols <= 0; }
  QUERN_INLINE constexpr bool row_major() const noexcept { return col_stride == 1; }
  QUERN_INLINE constexpr bool contiguous() const noexcept { return col_stride == 1 && (row_stride == cols || rows <= 1); }
  QUERN_INLINE constexpr operator matrix_view<T const>() const noexcept
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, row_stride, col_stride};
  }
};

/// n x h x w x c elements (batch, height, width, channels), element (b, y, x, i) at
/// data[b * n_stride + y * h_stride + x * w_stride + i * c_stride].
template <class T>
struct tensor_view {
  T* data = nullptr;
  index_t n = 0, h = 0, w = 0, c = 0;
  index_t n_stride = 0, h_stride = 0, w_stride = 0, c_stride = 1;

  QUERN_INLINE constexpr T& operator()(index_t b, index_t y, index_t x, index_t i) const noexcept {
    return data[b * n_stride + y * h_stride + x * w_stride + i * c_stride];
  }
  /// The channels of one pixel.
  QUERN_INLINE constexpr vector_view<T> pixel(index_t b, index_t y, index_t x) const noexcept {
    return {data + b * n_stride + y * h_stride + x * w_stride, c, c_stride};
  }
  QUERN_INLINE constexpr index_t size() const noexcept { return n * h * w * c; }
  QUERN_INLINE constexpr bool empty() const noexcept { return n <= 0 || h <= 0 || w <= 0 || c <= 0; }
  QUERN_INLINE constexpr bool contiguous() const noexcept {
    return c_stride == 1 && (w_stride == c || w <= 1) && (h_stride == w * c || h <= 1) && (n_stride == h * w * c || n <= 1);
  }
  QUERN_INLINE constexpr operator tensor_view<T const>() const noexcept
    requires(!std::is_const_v<T>)
  {
    return {data, n, h, w, c, n_stride, h_stride, w_stride, c_stride};
  }
};

inline namespace QUERN_ABI {

/// A view of `size` contiguous elements.
template <class T>
QUERN_INLINE constexpr vector_view<T> view(T* data, index_t size) noexcept {
  return {data, size, 1};
}
/// A view of a C array.
template <class T, std::size_t N>
QUERN_INLINE constexpr vector_view<T> view(T (&data)[N]) noexcept {
  return {data, static_cast<index_t>(N), 1};
}
/// A view of anything with data() and size(): std::vector, std::array, std::span, quern::buffer. What has more than one axis (an
/// Eigen matrix or tensor) is no list: quern/eigen/ sees it as it is.
template <class Container>
  requires requires(Container& c) {
    c.data();
    c.size();
  } && (!requires(Container& c) { c.rows(); }) && (!requires(Container& c) { c.dimensions(); })
QUERN_INLINE constexpr auto view(Container& c) noexcept {
  return vector_view<std::remove_pointer_t<decltype(c.data())>>{c.data(), static_cast<index_t>(c.size()), 1};
}
/// A row-major matrix without gaps.
template <class T>
QUERN_INLINE constexpr matrix_view<T> row_major(T* data, index_t rows, index_t cols) noexcept {
  return {data, rows, cols, cols, 1};
}
/// A row-major matrix whose rows start `row_stride` elements apart.
template <class T>
QUERN_INLINE constexpr matrix_view<T> row_major(T* data, index_t rows, index_t cols, index_t row_stride) noexcept {
  return {data, rows, cols, row_stride, 1};
}
/// A column-major matrix without gaps.
template <class T>
QUERN_INLINE constexpr matrix_view<T> col_major(T* data, index_t rows, index_t cols) noexcept {
  return {data, rows, cols, 1, rows};
}
/// A column-major matrix whose columns start `col_stride` elements apart.
template <class T>
QUERN_INLINE constexpr matrix_view<T> col_major(T* data, index_t rows, index_t cols, index_t col_stride) noexcept {
  return {data, rows, cols, 1, col_stride};
}
/// An NHWC tensor without gaps.
template <class T>
QUERN_INLINE constexpr tensor_view<T> nhwc(T* data, index_t n, index_t h, index_t w, index_t c) noexcept {
  return {data, n, h, w, c, h * w * c, w * c, c, 1};
}
/// An NCHW tensor without gaps, seen through NHWC indices.
template <class T>
QUERN_INLINE constexpr tensor_view<T> nchw(T* data, index_t n, index_t c, index_t h, index_t w) noexcept {
  return {data, n, h, w, c, c * h * w, w, 1, h * w};
}

}  // inline namespace QUERN_ABI

namespace detail {
inline namespace QUERN_ABI {

/// Addresses [first, last) between a view's first byte and its last.
struct address_span {
  std::uintptr_t first = 0, last = 0;
  QUERN_INLINE constexpr bool meets(address_span const& other) const noexcept { return first < other.last && other.first < last; }
};
struct axis_steps {
  index_t size, stride;
};
/// Widens addresses by an axis of `size` elements. Strides that no memory has wrap instead of overflowing.
QUERN_INLINE constexpr void reach_of(index_t size, index_t stride, std::size_t element, std::uintptr_t& first, std::uintptr_t& last) noexcept {
  (stride < 0 ? first : last) += static_cast<std::uintptr_t>(size - 1) * static_cast<std::uintptr_t>(stride) * element;
}
template <class T, class... Axes>
address_span addresses_along(T* data, Axes... axes) noexcept {
  if (((axes.size < 1) || ...)) return {};
  auto const base = reinterpret_cast<std::uintptr_t>(data);
  address_span s{base, base + sizeof(T)};
  (reach_of(axes.size, axes.stride, sizeof(T), s.first, s.last), ...);
  return s;
}
/// Of a vector, matrix, tensor, volume (geometry.hpp) or nd_view (shape.hpp).
template <class V>
address_span addresses_of(V const& v) noexcept {
  if constexpr (requires { v.extents; }) {
    if (v.size() < 1) return {};
    address_span s = addresses_along(v.data);
    for (int d = 0; d < v.extents.rank; ++d) {
      address_span const along = addresses_along(v.data, axis_steps{v.extents.dim[d], v.stride[d]}), one = addresses_along(v.data);
      s.first -= one.first - along.first, s.last += along.last - one.last;
    }
    return s;
  } else if constexpr (requires { v.d_stride; }) {
    return addresses_along(v.data, axis_steps{v.n, v.n_stride}, axis_steps{v.d, v.d_stride}, axis_steps{v.h, v.h_stride}, axis_steps{v.w, v.w_stride}, axis_steps{v.c, v.c_stride});
  } else if constexpr (requires { v.n_stride; }) {
    return addresses_along(v.data, axis_steps{v.n, v.n_stride}, axis_steps{v.h, v.h_stride}, axis_steps{v.w, v.w_stride}, axis_steps{v.c, v.c_stride});
  } else if constexpr (requires { v.row_stride; }) {
    return addresses_along(v.data, axis_steps{v.rows, v.row_stride}, axis_steps{v.cols, v.col_stride});
  } else {
    return addresses_along(v.data, axis_steps{v.size, v.stride});
  }
}

/// Whether two views may share a byte: by their first and last.
template <class A, class B>
bool may_overlap(A const& a, B const& b) noexcept {
  return addresses_of(a).meets(addresses_of(b));
}
/// The same of operands that may be one another element for element, of views without gaps: what overlaps among strided ones may
/// just be interleaved.
template <class A, class B>
bool overlaps_otherwise(A const& a, B const& b) noexcept {
  if (!a.contiguous() || !b.contiguous()) return false;
  address_span const x = addresses_of(a), y = addresses_of(b);
  return x.meets(y) && (x.first != y.first || x.last != y.last || sizeof(*a.data) != sizeof(*b.data));
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
