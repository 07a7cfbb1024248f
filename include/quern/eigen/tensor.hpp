// tensor.hpp — Eigen's Tensor and TensorMap as quern views and back. Its own header, because Eigen's Tensor module takes
// seconds to compile.
//
// A tensor's axes are n, h, w, c in this order, whatever its storage order: Tensor<float, 4, RowMajor> lies as NHWC does,
// Tensor<float, 4> (column-major) has strides the other way round, and both are seen where they are. Rank 5 (n, d, h, w, c), 2 and 1
// become volume_view, matrix_view and vector_view; nd(t) sees any rank up to 6. Included beside operations.hpp, in any order, tensors are
// arguments of every operation there.
#pragma once

#include "../core/geometry.hpp"
#include "view.hpp"

#include <unsupported/Eigen/CXX11/Tensor>

namespace quern {

namespace detail {
template <class T>
inline constexpr bool is_eigen_tensor = false;
template <class T, int Rank, int Options, class Index>
inline constexpr bool is_eigen_tensor<Eigen::Tensor<T, Rank, Options, Index>> = true;
template <class T, class Sizes, int Options, class Index>
inline constexpr bool is_eigen_tensor<Eigen::TensorFixedSize<T, Sizes, Options, Index>> = true;
template <class Plain, int Options, template <class> class MakePointer>
inline constexpr bool is_eigen_tensor<Eigen::TensorMap<Plain, Options, MakePointer>> = true;
}  // namespace detail

/// Tensor, TensorFixedSize or TensorMap.
template <class M>
concept eigen_tensor = detail::is_eigen_tensor<std::remove_cvref_t<M>>;

inline namespace QUERN_ABI {

/// An Eigen tensor of rank 0 to 6 as an nd_view.
template <class M>
  requires eigen_tensor<M>
auto nd(M& m) noexcept {
  using tensor = std::remove_cv_t<M>;
  constexpr int rank = tensor::NumDimensions;
  static_assert(rank <= shape::max_rank, "quern: Eigen tensors of up to six dimensions can be viewed.");
  nd_view<std::remove_pointer_t<decltype(m.data())>> v{m.data(), {rank, {}}, {}};
  index_t step = 1;
  for (int a = 0; a < rank; ++a) {
    int const axis = static_cast<int>(tensor::Layout) == static_cast<int>(Eigen::RowMajor) ? rank - 1 - a : a;
    v.extents.dim[axis] = static_cast<index_t>(m.dimensions()[static_cast<std::size_t>(axis)]);
    v.stride[axis] = step;
    step *= v.extents.dim[axis];
  }
  return v;
}

/// An Eigen tensor of rank 5, 4, 2 or 1 as a volume_view, tensor_view, matrix_view or vector_view.
template <class M>
  requires eigen_tensor<M>
auto view(M& m) noexcept {
  constexpr int rank = std::remove_cv_t<M>::NumDimensions;
  static_assert(rank == 5 || rank == 4 || rank == 2 || rank == 1,
                "quern: Eigen tensors of rank 5 (n, d, h, w, c), 4 (n, h, w, c), 2 and 1 can be viewed; others by nd(t).");
  auto const v = nd(m);
  using T = std::remove_pointer_t<decltype(v.data)>;
  index_t const *const n = v.extents.dim, *const s = v.stride;
  if constexpr (rank == 5)
    return volume_view<T>(v.data, n[0], n[1], n[2], n[3], n[4], s[0], s[1], s[2], s[3], s[4]);
  else if constexpr (rank == 4)
    return tensor_view<T>{v.data, n[0], n[1], n[2], n[3], s[0], s[1], s[2], s[3]};
  else if constexpr (rank == 2)
    return matrix_view<T>{v.data, n[0], n[1], s[0], s[1]};
  else
    return vector_view<T>{v.data, n[0], 1};
}

/// A tensor_view without gaps, in NHWC order, as a TensorMap. @errors argument when it has gaps or another order.
template <class T>
auto as_tensor(tensor_view<T> v) {
  if (!v.contiguous())
    fail(errc::argument, "as_tensor: the strides of n, h, w, c are ", v.n_stride, ", ", v.h_stride, ", ", v.w_stride, ", ", v.c_stride,
         "; a TensorMap needs NHWC order without gaps.");
  using plain = Eigen::Tensor<std::remove_const_t<T>, 4, Eigen::RowMajor, Eigen::Index>;
  return Eigen::TensorMap<std::conditional_t<std::is_const_v<T>, plain const, plain>>(v.data, v.n, v.h, v.w, v.c);
}

}  // inline namespace QUERN_ABI

template <class M>
  requires eigen_tensor<M>
struct foreign_view<M> {
  static constexpr bool known = true;

  template <class Object>
  static auto of(Object& t) noexcept {
    if constexpr (M::NumDimensions == 5 || M::NumDimensions == 4 || M::NumDimensions == 2 || M::NumDimensions == 1)
      return view(t);
    else
      return nd(t);
  }
  template <class Object>
  static auto every(Object& t) noexcept {
    using first = decltype(of(t));
    using all = decltype(nd(t));
    if constexpr (std::is_same_v<first, all>)
      return detail::every_view<Object, all>{nd(t), &t};
    else
      return detail::every_view<Object, first, all>{of(t), nd(t), &t};
  }
};

}  // namespace quern
