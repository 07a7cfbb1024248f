// reduce.hpp — mean and sum over any dimensions.
#pragma once

#include "../core/buffer.hpp"
#include "../core/shape.hpp"
#include "../cpu/detect.hpp"
#include "../fixed_point/normalize.hpp"
#include "../kernel/sums.hpp"

namespace quern {
inline namespace QUERN_ABI {

/// dst = f(sum of the codes over the dimensions whose bit is set in `axes`); fixed_point::reduction is TFLite's mean and sum.
///
/// @shapes  dst has size 1 in reduced dimensions (reduced_shape(s, axes)), src's size in others.
/// @range   sums are exact to 2^31 / 128 codes (int8), 65,536 (int16); they wrap beyond, as TFLite's do.
/// @errors  shape, null.
template <class From, class Dst, class F>
void reduce(nd_view<From> src, unsigned axes, nd_view<Dst> dst, F const& f, isa max_isa = isa::best) {
  if (src.extents.rank != dst.extents.rank) fail(errc::shape, "reduce: src has rank ", src.extents.rank, ", dst ", dst.extents.rank, "; reduced dimensions stay, with size 1.");
  for (int d = 0; d < src.extents.rank; ++d) {
    bool const gone = ((axes >> d) & 1) != 0;
    if (dst.extents.dim[d] != (gone ? 1 : src.extents.dim[d]))
      fail(errc::shape, "reduce: dst has ", dst.extents.dim[d], " in dimension ", d, "; it must have ", gone ? 1 : src.extents.dim[d], ".");
    if (src.extents.dim[d] < 1) fail(errc::shape, "reduce: dimension ", d, " of src is empty.");
  }
  if (src.data == nullptr || dst.data == nullptr) fail(errc::null, "reduce: ", src.data == nullptr ? "src" : "dst", " is null.");
  buffer<std::int32_t> sums(dst.size());
  nd_view<std::int32_t> total = nd(sums.data(), dst.extents);
  total.extents = src.extents;
  for (int d = 0; d < src.extents.rank; ++d)
    if (((axes >> d) & 1) != 0) total.stride[d] = 0;
  auto const walk = detail::runs<2>::of(src.extents, total, src);
  isa const on = active_isa(max_isa);
  walk.for_each([&](index_t const* at) {
    detail::add_line(on, static_cast<std::remove_const_t<From> const*>(src.data + at[1]), walk.step[1], walk.length, sums.data() + at[0], walk.step[0]);
  });
  auto const finish = detail::runs<2>::of(dst.extents, dst, nd(sums.data(), dst.extents));
  finish.for_each([&](index_t const* at) {
    for (index_t i = 0; i < finish.length; ++i) dst.data[at[0] + i * finish.step[0]] = static_cast<Dst>(f(sums[at[1] + i * finish.step[1]]));
  });
}

/// Calls row(src, dst, n) for every innermost row of two tensors of the same shape: softmax and normalizations
/// (fixed_point::softmax8, softmax16, l2_normalize). @errors shape, null, overlap.
template <class Src, class Dst, class F>
void by_rows(nd_view<Src> src, nd_view<Dst> dst, F const& row) {
  if (!(src.extents == dst.extents)) fail(errc::shape, "by_rows: the shapes of src and dst must be equal.");
  if (!src.contiguous() || !dst.contiguous()) fail(errc::shape, "by_rows: src and dst must be contiguous.");
  if (src.size() > 0 && (src.data == nullptr || dst.data == nullptr)) fail(errc::null, "by_rows: ", src.data == nullptr ? "src" : "dst", " is null.");
  if (detail::overlaps_otherwise(src, dst)) fail(errc::overlap, "by_rows: dst overlaps src; it may be the same, element for element, or apart.");
  index_t const n = src.extents.rank > 0 ? src.extents.dim[src.extents.rank - 1] : 1;
  auto const each = [&](auto const& f) {
    for (index_t at = 0; at < src.size(); at += n) f(static_cast<Src const*>(src.data + at), dst.data + at, n);
  };
  if constexpr (requires { row.prepared(); }) {
    if (src.size() >= 256) return each(row.prepared());
  }
  each(row);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
