// foreign.hpp — where another library says how quern sees its objects. quern/eigen/ does so for Eigen's.
#pragma once

#include "error.hpp"
#include "views.hpp"

namespace quern {

/// To be specialized, with `known = true` and a static of(object) that returns a view of it.
template <class Object>
struct foreign_view {
  static constexpr bool known = false;
};

/// An object of another library that quern can see.
template <class Object>
concept foreign = foreign_view<std::remove_cvref_t<Object>>::known;

namespace detail {
inline namespace QUERN_ABI {

/// The values of a view, in the order of memory, for those whom the order does not concern. @errors argument when there are gaps.
template <class T>
vector_view<T> values_of(char const*, vector_view<T> v) {
  return v;
}
template <class T>
vector_view<T> values_of(char const* who, matrix_view<T> v) {
  if (!v.contiguous() && !v.transposed().contiguous())
    fail(errc::argument, who, ": the strides of a batch of ", v.rows, " x ", v.cols, " are ", v.row_stride, " and ", v.col_stride,
         "; it must be without gaps, or be given row by row.");
  return {v.data, v.rows * v.cols, 1};
}
template <class T>
vector_view<T> values_of(char const* who, tensor_view<T> v) {
  if (!v.contiguous()) fail(errc::argument, who, ": a tensor as batch must be NHWC without gaps; pass its parts.");
  return {v.data, v.size(), 1};
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
