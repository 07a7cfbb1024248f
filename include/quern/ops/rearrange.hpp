// rearrange.hpp — layers that move codes without changing them: copy, transpose, slice, pad, concatenate, space to depth.
//
// Each is a strided view (core/shape.hpp) and one copy; concatenation of tensors with other parameters requantizes on the way.
#pragma once

#include "../core/geometry.hpp"
#include "elementwise.hpp"

namespace quern {
inline namespace QUERN_ABI {

/// dst = src, element by element, whatever their strides: transposed(v, permutation), sliced(v, ...) and broadcast(v, shape) make
/// the views. @errors shape when the extents differ; null, overlap.
template <class T>
void copy(non_deduced<nd_view<T const>> src, nd_view<T> dst) {
  if (!(src.extents == dst.extents)) fail(errc::shape, "copy: src has ", src.size(), " elements in rank ", src.extents.rank, ", dst ", dst.size(), " in rank ", dst.extents.rank, "; their shapes must be equal.");
  if (dst.size() == 0) return;
  if (src.data == nullptr || dst.data == nullptr) fail(errc::null, "copy: ", src.data == nullptr ? "src" : "dst", " is null.");
  if (detail::overlaps_otherwise(src, dst)) fail(errc::overlap, "copy: dst overlaps src; elements are written while others are still read.");
  auto const walk = detail::runs<2>::of(dst.extents, dst, src);
  walk.for_each([&](index_t const* at) {
    T* const d = dst.data + at[0];
    T const* const s = src.data + at[1];
    if (walk.step[0] == 1 && walk.step[1] == 1)
      __builtin_memcpy(d, s, static_cast<std::size_t>(walk.length) * sizeof(T));
    else
      for (index_t i = 0; i < walk.length; ++i) d[i * walk.step[0]] = s[i * walk.step[1]];
  });
}

/// dst[i] = value.
template <class T>
void fill(nd_view<T> dst, T value) {
  if (dst.size() > 0 && dst.data == nullptr) fail(errc::null, "fill: dst is null.");
  if (dst.size() == 0) return;
  auto const walk = detail::runs<1>::of(dst.extents, dst);
  walk.for_each([&](index_t const* at) {
    for (index_t i = 0; i < walk.length; ++i) dst.data[at[0] + i * walk.step[0]] = value;
  });
}

/// dst = `value` (the zero point, for real 0.0) around src, which begins at position before[d] of each dimension.
/// @errors shape when src does not fit; null.
template <class T>
void pad_tensor(non_deduced<nd_view<T const>> src, index_t const* before, T value, nd_view<T> dst) {
  if (src.extents.rank != dst.extents.rank) fail(errc::shape, "pad: src has rank ", src.extents.rank, ", dst ", dst.extents.rank, "; they must be equal.");
  if (src.size() > 0 && src.data == nullptr) fail(errc::null, "pad: src is null.");  // before dst is filled
  nd_view<T> inner = dst;
  for (int d = 0; d < dst.extents.rank; ++d) inner = sliced(inner, d, before[d], src.extents.dim[d]);
  fill(dst, value);
  copy(src, inner);
}

/// Copies one part of a concatenation along dimension d to positions from `first` on; f(code) maps its codes to the destination's
/// (fixed_point::requantize when the parameters differ). @errors shape, null.
template <class T, class F>
void place(non_deduced<nd_view<T const>> part, int d, index_t first, nd_view<T> dst, F const& f, isa max_isa = isa::best) {
  if (part.extents.rank != dst.extents.rank) fail(errc::shape, "place: part has rank ", part.extents.rank, ", dst ", dst.extents.rank, "; they must be equal.");
  unary(part, sliced(dst, d, first, part.extents.dim[d]), f, max_isa);
}
template <class T>
void place(non_deduced<nd_view<T const>> part, int d, index_t first, nd_view<T> dst) {
  copy(part, sliced(dst, d, first, part.extents.dim[d]));
}

/// NHWC blocks of `block` x `block` pixels become channels: dst(b, y, x, (dy * block + dx) * c + i) = src(b, y*block+dy, x*block+dx, i).
/// @errors shape when the sizes do not fit; argument.
template <class T>
void space_to_depth(non_deduced<tensor_view<T const>> src, index_t block, tensor_view<T> dst) {
  if (block < 1) fail(errc::argument, "space_to_depth: the block is ", block, "; it must be at least 1.");
  if (src.n != dst.n || src.h != dst.h * block || src.w != dst.w * block || src.c * block * block != dst.c)
    fail(errc::shape, "space_to_depth: src is ", src.h, " x ", src.w, " x ", src.c, ", dst ", dst.h, " x ", dst.w, " x ", dst.c,
         "; with block ", block, " they do not fit.");
  for (index_t dy = 0; dy < block; ++dy)
    for (index_t dx = 0; dx < block; ++dx) {
      nd_view<T const> const from{src.data + dy * src.h_stride + dx * src.w_stride, make_shape(dst.n, dst.h, dst.w, src.c),
                                  {src.n_stride, src.h_stride * block, src.w_stride * block, src.c_stride}};
      copy(from, nd_view<T>{dst.data + (dy * block + dx) * src.c * dst.c_stride, from.extents, {dst.n_stride, dst.h_stride, dst.w_stride, dst.c_stride}});
    }
}

/// The inverse of space_to_depth. @errors shape, argument.
template <class T>
void depth_to_space(non_deduced<tensor_view<T const>> src, index_t block, tensor_view<T> dst) {
  if (block < 1) fail(errc::argument, "depth_to_space: the block is ", block, "; it must be at least 1.");
  if (src.n != dst.n || dst.h != src.h * block || dst.w != src.w * block || dst.c * block * block != src.c)
    fail(errc::shape, "depth_to_space: src is ", src.h, " x ", src.w, " x ", src.c, ", dst ", dst.h, " x ", dst.w, " x ", dst.c,
         "; with block ", block, " they do not fit.");
  for (index_t dy = 0; dy < block; ++dy)
    for (index_t dx = 0; dx < block; ++dx) {
      nd_view<T const> const from{src.data + (dy * block + dx) * dst.c * src.c_stride, make_shape(src.n, src.h, src.w, dst.c),
                                  {src.n_stride, src.h_stride, src.w_stride, src.c_stride}};
      copy(from, nd_view<T>{dst.data + dy * dst.h_stride + dx * dst.w_stride, from.extents, {dst.n_stride, dst.h_stride * block, dst.w_stride * block, dst.c_stride}});
    }
}

}  // inline namespace QUERN_ABI
}  // namespace quern
