// pool.hpp — average and maximum over windows of NHWC codes.
//
//     average:  y = clamp(round(sum over the window's positions inside of the image / their number)), ties away from zero
//     maximum:  y = clamp(largest code inside of the image)
//
// Codes in, codes out: source and destination have the same parameters, so no zero point is involved (TFLite AVERAGE_POOL_2D,
// MAX_POOL_2D; CMSIS-NN). Definition: reference/layers.hpp.
#pragma once

#include "../cpu/detect.hpp"
#include "../fixed_point/elementwise.hpp"
#include "../fixed_point/normalize.hpp"
#include "../kernel/pool.hpp"
#include "shape.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

template <class T>
window check_pool(char const* op, non_deduced<tensor_view<T const>> src, pool_options const& o, tensor_view<T> dst) {
  window const w = sliding_window(op, {src.h, src.w, 1}, o.size, o.stride, {}, o.padding);
  if (dst.n != src.n || dst.h != w.h.out || dst.w != w.w.out || dst.c != src.c)
    fail(errc::shape, op, ": dst is ", dst.n, " x ", dst.h, " x ", dst.w, " x ", dst.c, "; it must be ", src.n, " x ", w.h.out, " x ", w.w.out, " x ", src.c, ".");
  if (src.size() > 0 && (src.data == nullptr || dst.data == nullptr)) fail(errc::null, op, ": ", src.data == nullptr ? "src" : "dst", " is null.");
  if ((src.c > 1 && src.c_stride != 1) || (dst.c > 1 && dst.c_stride != 1)) fail(errc::shape, op, ": channels must be adjacent (NHWC).");
  if (may_overlap(src, dst)) fail(errc::overlap, op, ": dst overlaps src; positions are written while others are still read.");
  // A window that lies in the padding alone has no average.
  auto const empty = [](axis const& a) { return a.before >= a.reach() || a.at(a.out - 1, 0) >= a.in; };
  if (empty(w.h) || empty(w.w)) fail(errc::shape, op, ": the padding is as large as the window, which would then hold no position of the image.");
  return w;
}

/// The taps [first, last) of output o that lie inside.
struct tap_range {
  index_t first, last;
};
constexpr tap_range taps_inside(axis const& a, index_t o) noexcept {
  index_t const at = a.at(o, 0);
  return {at < 0 ? -at : 0, at + a.kernel > a.in ? a.in - at : a.kernel};
}

template <bool Average, class T>
void pool(window const& w, non_deduced<tensor_view<T const>> src, tensor_view<T> dst, fixed_point::limits const& l, isa i) {
  pool_geometry const g{dst.w, src.w, w.w.kernel, w.w.stride, w.w.before, src.c, src.h_stride, src.w_stride, dst.w_stride, src.size() > index_t{4} << 20 ? w.h.stride : 0};
  for (index_t b = 0; b < src.n; ++b)
    for (index_t y = 0; y < dst.h; ++y) {
      auto const rows = taps_inside(w.h, y);
      pool_row<Average>(i, g, &src(b, w.h.at(y, rows.first), 0, 0), rows.last - rows.first, &dst(b, y, 0, 0), l.min, l.max);
    }
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// @types   s8, u8, s16. @errors shape (sizes, a window wholly inside of the padding), argument, null, overlap.
template <class T>
void average_pool2d(non_deduced<tensor_view<T const>> src, pool_options const& o, tensor_view<T> dst, fixed_point::limits l = {code_of_t<T>::min, code_of_t<T>::max},
                    isa max_isa = isa::best) {
  detail::pool<true>(detail::check_pool("average_pool2d", src, o, dst), src, dst, l, active_isa(max_isa));
}

/// @types   s8, u8, s16. @errors as average_pool2d.
template <class T>
void max_pool2d(non_deduced<tensor_view<T const>> src, pool_options const& o, tensor_view<T> dst, fixed_point::limits l = {code_of_t<T>::min, code_of_t<T>::max},
                isa max_isa = isa::best) {
  detail::pool<false>(detail::check_pool("max_pool2d", src, o, dst), src, dst, l, active_isa(max_isa));
}

/// Over the whole image: dst is n x 1 x 1 x c.
template <class T>
void global_average_pool(non_deduced<tensor_view<T const>> src, tensor_view<T> dst, fixed_point::limits l = {code_of_t<T>::min, code_of_t<T>::max}, isa max_isa = isa::best) {
  average_pool2d(src, {.size = {src.h, src.w, 1}}, dst, l, max_isa);
}
template <class T>
void global_max_pool(non_deduced<tensor_view<T const>> src, tensor_view<T> dst, fixed_point::limits l = {code_of_t<T>::min, code_of_t<T>::max}, isa max_isa = isa::best) {
  max_pool2d(src, {.size = {src.h, src.w, 1}}, dst, l, max_isa);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
