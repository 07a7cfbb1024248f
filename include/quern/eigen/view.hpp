// view.hpp — Eigen objects as quern views and back, without copying.
//
//     quern::gemm(view(x), pack(view(w)), view(y));             Matrix, Array, Map, Ref, Block, any storage order and strides
//     quern::calibrate::range_of(view(x.leftCols(3)));
//     Eigen::MatrixXf z = 2 * as_eigen(quern_view);              and the other way
//
// Every operation of quern takes views, so this header is all that is needed; operations.hpp spares writing view(). What is a vector at compile time becomes a vector_view, everything else a matrix_view; as_matrix(v) insists on
// the latter. An expression (2 * x, x.transpose() * y) has no memory: .eval() it into an object first.
#pragma once

#include "../core/error.hpp"
#include "../core/foreign.hpp"
#include "../core/packed_int.hpp"
#include "../core/shape.hpp"
#include "../core/views.hpp"

#include <Eigen/Core>

namespace quern {

namespace detail {
template <class D>
void derived_from_dense(Eigen::DenseBase<D> const&);

template <class M>
inline constexpr bool has_memory = (static_cast<int>(std::remove_cvref_t<M>::Flags) & Eigen::DirectAccessBit) != 0;
template <class M>
inline constexpr bool is_plain = std::is_base_of_v<Eigen::PlainObjectBase<std::remove_cvref_t<M>>, std::remove_cvref_t<M>>;
}  // namespace detail

/// Matrix, Array, Map, Ref, Block, or an expression of them.
template <class M>
concept eigen_dense = requires(std::remove_cvref_t<M> const& m) { detail::derived_from_dense(m); };

namespace detail {
inline namespace QUERN_ABI {

template <class M>
consteval void require_memory() {
  static_assert(has_memory<M>, "quern: this Eigen expression has no memory of its own; .eval() it into an object and pass that.");
}
/// Plain objects must be lvalues: a view of a temporary matrix would dangle. Maps, Refs and Blocks only point.
template <class M>
consteval void require_lasting() {
  require_memory<M>();
  static_assert(std::is_lvalue_reference_v<M> || !is_plain<M>,
                "quern: a view of a temporary Eigen matrix would dangle; keep the matrix in a variable.");
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// An Eigen object as a matrix_view, vectors included (a column vector is n x 1, a row vector 1 x n).
template <class M>
  requires eigen_dense<M>
auto as_matrix(M&& m) noexcept {
  detail::require_lasting<M>();
  using T = std::remove_pointer_t<decltype(m.data())>;
  index_t const inner = m.innerStride(), outer = m.outerStride();
  if constexpr (std::remove_cvref_t<M>::IsRowMajor)
    return matrix_view<T>{m.data(), m.rows(), m.cols(), outer, inner};
  else
    return matrix_view<T>{m.data(), m.rows(), m.cols(), inner, outer};
}

/// An Eigen object as a vector_view, if it is a vector at compile time, else as a matrix_view.
template <class M>
  requires eigen_dense<M>
auto view(M&& m) noexcept {
  if constexpr (std::remove_cvref_t<M>::IsVectorAtCompileTime) {
    detail::require_lasting<M>();
    return vector_view<std::remove_pointer_t<decltype(m.data())>>{m.data(), m.size(), m.innerStride()};
  } else {
    return as_matrix(std::forward<M>(m));
  }
}

/// An Eigen object as an nd_view of rank 2, vectors included: a row vector repeats over the rows of a matrix, a column vector over its columns.
template <class M>
  requires eigen_dense<M>
auto nd(M&& m) noexcept {
  auto const v = as_matrix(std::forward<M>(m));
  return nd_view<std::remove_pointer_t<decltype(v.data)>>{v.data, make_shape(v.rows, v.cols), {v.row_stride, v.col_stride}};
}

/// `size` 4- or 2-bit codes in the bytes of an Eigen vector without gaps: packed<s4>(bytes, size).
/// @errors capacity when there are fewer bytes; argument when they are not adjacent.
template <sub_byte_code Code, class M>
  requires eigen_dense<M>
auto packed(M&& bytes, index_t size) {
  auto const v = as_matrix(std::forward<M>(bytes));
  using byte = std::remove_pointer_t<decltype(v.data)>;
  static_assert(std::is_same_v<std::remove_const_t<byte>, std::uint8_t>, "quern: packed codes lie in bytes, Eigen objects of std::uint8_t.");
  if (v.rows * v.cols < packed_bytes<Code>(size))
    fail(errc::capacity, "packed: ", size, " codes need ", packed_bytes<Code>(size), " bytes, the Eigen object has ", v.rows * v.cols, ".");
  if (!v.contiguous() && !v.transposed().contiguous())
    fail(errc::argument, "packed: the bytes of the Eigen object are not adjacent.");
  return packed_view<Code, byte>{v.data, size};
}

/// A matrix_view as an Eigen::Map. @errors argument when a stride is negative, which Eigen does not have.
template <class T>
auto as_eigen(matrix_view<T> v) {
  using plain = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  if (v.row_stride < 0 || v.col_stride < 0)
    fail(errc::argument, "as_eigen: the strides are ", v.row_stride, " and ", v.col_stride, "; Eigen knows none below 0.");
  return Eigen::Map<std::conditional_t<std::is_const_v<T>, plain const, plain>, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>(
      v.data, v.rows, v.cols, {v.row_stride, v.col_stride});
}
/// A vector_view as an Eigen::Map of a column vector. @errors as above.
template <class T>
auto as_eigen(vector_view<T> v) {
  using plain = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, 1>;
  if (v.stride < 0) fail(errc::argument, "as_eigen: the stride is ", v.stride, "; Eigen knows none below 0.");
  return Eigen::Map<std::conditional_t<std::is_const_v<T>, plain const, plain>, 0, Eigen::InnerStride<>>(
      v.data, v.size, Eigen::InnerStride<>(v.stride));
}
/// An NHWC tensor as an Eigen::Map with a pixel a row and a channel a column, (n h w) x c.
/// @errors argument when the pixels do not follow each other evenly, or a stride is negative.
template <class T>
auto as_eigen(tensor_view<T> v) {
  bool const even = (v.h <= 1 || v.h_stride == v.w * v.w_stride) && (v.n <= 1 || v.n_stride == v.h * v.w * v.w_stride);
  if (!even)
    fail(errc::argument, "as_eigen: the strides of n, h, w are ", v.n_stride, ", ", v.h_stride, ", ", v.w_stride,
         "; pixels must follow each other evenly to be the rows of one matrix.");
  return as_eigen(matrix_view<T>{v.data, v.n * v.h * v.w, v.c, v.w_stride, v.c_stride});
}
/// The other way: the rows of a row-major Eigen object are the pixels of an NHWC tensor. @errors shape when n h w is not rows().
template <class M>
  requires eigen_dense<M>
auto nhwc(M&& m, index_t n, index_t h, index_t w) {
  auto const v = as_matrix(std::forward<M>(m));
  if (v.rows != n * h * w) fail(errc::shape, "nhwc: m has ", v.rows, " rows; ", n, " x ", h, " x ", w, " pixels need ", n * h * w, ".");
  return tensor_view<std::remove_pointer_t<decltype(v.data)>>{v.data, n, h, w, v.cols, h * w * v.row_stride, w * v.row_stride, v.row_stride, v.col_stride};
}

}  // inline namespace QUERN_ABI

namespace detail {

/// All views of one object at once, and the object.
template <class Object, class... Views>
struct every_view : Views... {
  Object* object;
  QUERN_INLINE constexpr operator Object&() const noexcept { return *object; }
};

}  // namespace detail

template <class M>
  requires eigen_dense<M>
struct foreign_view<M> {
  static constexpr bool known = true;

  /// As view(), temporaries included: for a call that ends before they do.
  template <class Object>
  static auto of(Object& m) noexcept {
    detail::require_memory<M>();
    return view(m);
  }
  template <class Object>
  static auto every(Object& m) noexcept {
    using T = std::remove_pointer_t<decltype(m.data())>;
    if constexpr (M::IsVectorAtCompileTime)
      return detail::every_view<Object, vector_view<T>, matrix_view<T>, nd_view<T>>{of(m), as_matrix(m), nd(m), &m};
    else
      return detail::every_view<Object, matrix_view<T>, nd_view<T>>{of(m), nd(m), &m};
  }
};

}  // namespace quern
