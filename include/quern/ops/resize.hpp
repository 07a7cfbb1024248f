// resize.hpp — nearest and bilinear resizing of NHWC codes, in TFLite's integer arithmetic.
//
// Positions are fixed point: the source coordinate of output o is o * scale (align_corners false), scale = in / out, or with
// half_pixel_centers (o + 1/2) * scale - 1/2. Bilinear weights have 10 bits, and the result is rounded from 20, ties away; nearest
// takes the floor (the nearest with align_corners or half pixel centres), in float32 as TFLite does.
// Source: tensorflow/lite/kernels/internal/reference/{resize_bilinear.h,resize_nearest_neighbor.h}.
#pragma once

#include "../core/geometry.hpp"
#include "../core/math.hpp"
#include "../core/saturate.hpp"
#include "../cpu/detect.hpp"
#include "../kernel/sums.hpp"

QUERN_FP_BEGIN

namespace quern {

struct resize_options {
  bool align_corners = false;
  bool half_pixel_centers = false;
};

namespace detail {
inline namespace QUERN_ABI {

template <class T>
void check_resize(char const* op, non_deduced<tensor_view<T const>> src, tensor_view<T> dst, resize_options o) {
  if (src.n != dst.n || src.c != dst.c) fail(errc::shape, op, ": src has batch ", src.n, " and ", src.c, " channels, dst ", dst.n, " and ", dst.c, "; they must be equal.");
  if (src.h < 1 || src.w < 1 || dst.h < 1 || dst.w < 1) fail(errc::shape, op, ": an image is empty.");
  if (src.data == nullptr || dst.data == nullptr) fail(errc::null, op, ": ", src.data == nullptr ? "src" : "dst", " is null.");
  if (may_overlap(src, dst)) fail(errc::overlap, op, ": dst overlaps src; pixels are written while others are still read.");
  if (o.align_corners && o.half_pixel_centers) fail(errc::argument, op, ": align_corners and half_pixel_centers exclude each other.");
}

/// Source coordinate in 1/1024, and its two neighbours.
struct bilinear_position {
  index_t fraction, lower, upper;
};
constexpr bilinear_position bilinear_at(index_t o, index_t in, index_t out, resize_options opt) noexcept {
  std::int32_t scale = static_cast<std::int32_t>((1024 * in + out / 2) / out);
  if (opt.align_corners && out > 1) scale = static_cast<std::int32_t>((1024 * (in - 1) + (out - 1) / 2) / (out - 1));
  index_t const at = opt.half_pixel_centers ? o * scale + scale / 2 - 512 : o * scale;
  // The rounded scale may carry the last outputs of a large magnification beyond the last pixel (2 to 110: 109 * 19 > 2 * 1024),
  // where TFLite reads what lies behind it.
  index_t const lower = at < 1024 ? 0 : at / 1024 < in - 1 ? at / 1024 : in - 1, upper = (at + 1023) / 1024;
  index_t const fraction = at - 1024 * lower;
  return {fraction < 1024 ? fraction : 1024, lower, upper < in - 1 ? upper : in - 1};
}

constexpr index_t nearest_at(index_t o, index_t in, index_t out, resize_options opt) noexcept {
  float const scale = opt.align_corners && out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1)
                                                   : static_cast<float>(in) / static_cast<float>(out);
  float const at = rounded((static_cast<float>(o) + (opt.half_pixel_centers ? 0.5f : 0.0f)) * scale);
  index_t i = static_cast<index_t>(opt.align_corners ? floor_of(at + 0.5f) : floor_of(at));
  i = i < in - 1 ? i : in - 1;
  return opt.half_pixel_centers && i < 0 ? 0 : i;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// @types any. @errors shape, null, overlap, argument.
template <class T>
void resize_nearest(non_deduced<tensor_view<T const>> src, tensor_view<T> dst, resize_options o = {}) {
  detail::check_resize("resize_nearest", src, dst, o);
  for (index_t b = 0; b < dst.n; ++b)
    for (index_t y = 0; y < dst.h; ++y) {
      index_t const sy = detail::nearest_at(y, src.h, dst.h, o);
      for (index_t x = 0; x < dst.w; ++x) {
        index_t const sx = detail::nearest_at(x, src.w, dst.w, o);
        if (src.c_stride == 1 && dst.c_stride == 1 && dst.c >= 8)
          __builtin_memcpy(&dst(b, y, x, 0), &src(b, sy, sx, 0), static_cast<std::size_t>(dst.c) * sizeof(T));
        else
          for (index_t c = 0; c < dst.c; ++c) dst(b, y, x, c) = src(b, sy, sx, c);
      }
    }
}

/// @types s8, u8, s16. @rounds once, half away from zero, from 20 fraction bits. @errors shape, null, overlap, argument.
template <class T>
void resize_bilinear(non_deduced<tensor_view<T const>> src, tensor_view<T> dst, resize_options o = {}, isa max_isa = isa::best) {
  detail::check_resize("resize_bilinear", src, dst, o);
  [[maybe_unused]] isa const on = active_isa(max_isa);
  for (index_t b = 0; b < dst.n; ++b)
    for (index_t y = 0; y < dst.h; ++y) {
      auto const py = detail::bilinear_at(y, src.h, dst.h, o);
      for (index_t x = 0; x < dst.w; ++x) {
        auto const px = detail::bilinear_at(x, src.w, dst.w, o);
        // Weights are below 1.5 * 2^10 each way, so sums of 8-bit codes stay below 2^30.
        using wide = std::conditional_t<sizeof(T) == 1, std::int32_t, std::int64_t>;
        auto const weight = [](index_t u, index_t v) { return static_cast<wide>(u * v); };
        wide const w00 = weight(1024 - py.fraction, 1024 - px.fraction), w10 = weight(py.fraction, 1024 - px.fraction);
        wide const w01 = weight(1024 - py.fraction, px.fraction), w11 = weight(py.fraction, px.fraction);
        T const *s00 = &src(b, py.lower, px.lower, 0), *s10 = &src(b, py.upper, px.lower, 0);
        T const *s01 = &src(b, py.lower, px.upper, 0), *s11 = &src(b, py.upper, px.upper, 0);
        T* to = &dst(b, y, x, 0);
#if QUERN_X86_64
        if constexpr (sizeof(T) == 1)
          if (on >= isa::sse41 && dst.c >= 16 && src.c_stride == 1 && dst.c_stride == 1) {
            detail::blend_line_of_vectors<T>(on, {s00, s10, s01, s11}, {w00, w10, w01, w11}, to, dst.c);
            continue;
          }
#endif
        for (index_t c = 0, from = 0; c < dst.c; ++c, from += src.c_stride, to += dst.c_stride) {
          wide const sum = s00[from] * w00 + s10[from] * w10 + s01[from] * w01 + s11[from] * w11;
          *to = saturate<T>((sum + (1 << 19) - (sum < 0)) >> 20);
        }
      }
    }
}

}  // inline namespace QUERN_ABI
}  // namespace quern

QUERN_FP_END
