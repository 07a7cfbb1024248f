// tensor.hpp — Eigen's Tensor and TensorMap as quern views and back. Its own header, because Eigen's Tensor module takes
// seconds to compile.
//
// A tensor's axes are n, h, w, c in this order, whatever its storage order: Tensor<float, 4, RowMajor> lies as NHWC does,
// Tensor<float, 4> (column-major) has strides the other way round, and both are seen where they are. Rank 2 and 1 become
// matrix_view and vector_view.
#pragma once

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

/// An Eigen tensor of rank 4, 2 or 1 as a tensor_view, matrix_view or vector_view.
template <class M>
  requires eigen_tensor<M>
auto view(M& m) noexcept {
  using tensor = std::remove_cv_t<M>;
  constexpr int rank = tensor::NumDimensions;
  static_assert(rank == 4 || rank == 2 || rank == 1, "quern: Eigen tensors of rank 4 (n, h, w, c), 2 and 1 can be viewed.");
  using T = std::remove_pointer_t<decltype(m.data())>;
  auto const extent = [&m](int a) { return static_cast<index_t>(m.dimension(static_cast<std::size_t>(a))); };
  index_t stride[rank] = {};
  index_t step = 1;
  for (int a = 0; a < rank; ++a) {
    int const axis = static_cast<int>(tensor::Layout) == static_cast<int>(Eigen::RowMajor) ? rank - 1 - a : a;
    stride[axis] = step;
    step *= extent(axis);
  }
  if constexpr (rank == 4)
    return tensor_view<T>{m.data(), extent(0), extent(1), extent(2), extent(3), stride[0], stride[1], stride[2], stride[3]};
  else if constexpr (rank == 2)
    return matrix_view<T>{m.data(), extent(0), extent(1), stride[0], stride[1]};
  else
    return vector_view<T>{m.data(), extent(0), 1};
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
}  // namespace quern
