// conv.hpp — the definition of every convolution: what conv2d, depthwise, grouped, 1-d, 3-d and transposed ones return.
//
//     acc[b, p, o] = sum over taps t and channels i of (src[b, at(p, t), g*I + i] - src_zero_point) * (weights[o, t, i] - weights_zero_point[o])
//
// over the taps that lie inside of the image: padding is real 0.0, so it adds nothing. I = channels per group, g = o / (O / groups).
// Depthwise is the case of one input channel a group; its HWO weights are the same view with other strides.
#pragma once

#include "../core/geometry.hpp"
#include "../core/saturate.hpp"

namespace quern::reference {

/// Weights as (o, d, h, w, i) whatever their layout.
template <class T>
struct filter_view {
  T* data = nullptr;
  index_t o = 0, d = 1, h = 1, w = 1, i = 0;
  index_t o_stride = 0, d_stride = 0, h_stride = 0, w_stride = 0, i_stride = 1;

  QUERN_INLINE constexpr T& operator()(index_t oo, index_t z, index_t y, index_t x, index_t ii) const noexcept {
    return data[oo * o_stride + z * d_stride + y * h_stride + x * w_stride + ii * i_stride];
  }
};

inline namespace QUERN_ABI {

/// TFLite's convolution filter, O x H x W x I; O x D x H x W x I with `depth`.
template <class T>
constexpr filter_view<T> ohwi(T* data, index_t o, index_t h, index_t w, index_t i, index_t depth = 1) noexcept {
  return {data, o, depth, h, w, i, depth * h * w * i, h * w * i, w * i, i, 1};
}
/// TFLite's depthwise filter, 1 x H x W x O.
template <class T>
constexpr filter_view<T> hwo(T* data, index_t h, index_t w, index_t o) noexcept {
  return {data, o, 1, h, w, 1, 1, h * w * o, w * o, o, 1};
}

/// Calls output(b, z, y, x, o, acc) with every exact (int64) accumulator of a convolution.
template <class Src, class Weight, class ZeroPoint, class Output>
constexpr void convolve(volume_view<Src const> src, filter_view<Weight const> weights, window const& win, index_t groups,
                        std::int32_t src_zero_point, ZeroPoint const& weights_zero_point, Output&& output) {
  index_t const outputs_per_group = weights.o / groups;
  for (index_t b = 0; b < src.n; ++b)
    for (index_t z = 0; z < win.d.out; ++z)
      for (index_t y = 0; y < win.h.out; ++y)
        for (index_t x = 0; x < win.w.out; ++x)
          for (index_t o = 0; o < weights.o; ++o) {
            std::int64_t acc = 0;
            for (index_t kz = 0; kz < weights.d; ++kz)
              for (index_t ky = 0; ky < weights.h; ++ky)
                for (index_t kx = 0; kx < weights.w; ++kx) {
                  index_t const sz = win.d.at(z, kz), sy = win.h.at(y, ky), sx = win.w.at(x, kx);
                  if (sz < 0 || sz >= src.d || sy < 0 || sy >= src.h || sx < 0 || sx >= src.w) continue;
                  for (index_t i = 0; i < weights.i; ++i)
                    acc += static_cast<std::int64_t>(src(b, sz, sy, sx, o / outputs_per_group * weights.i + i) - src_zero_point) *
                           (weights(o, kz, ky, kx, i) - weights_zero_point(o));
                }
            output(b, z, y, x, o, acc);
          }
}

/// The transposed convolution: every input position adds its spread window to the output,
///
///     acc[b, i * stride - before + k * dilation, o] += src[b, i, c] * weights[o, k, c]
///
/// `win` holds spreading axes (spreading_axis): win.x.in is the source's size, win.x.out the result's.
template <class Src, class Weight, class Output>
constexpr void convolve_transposed(volume_view<Src const> src, filter_view<Weight const> weights, window const& win,
                                   index_t groups, std::int32_t src_zero_point, Output&& output) {
  index_t const outputs_per_group = weights.o / groups;
  auto const source = [](axis const& a, index_t out, index_t k) {  // the input position that tap k spreads to `out`, or -1
    index_t const t = out + a.before - k * a.dilation;
    return t >= 0 && t % a.stride == 0 && t / a.stride < a.in ? t / a.stride : index_t{-1};
  };
  for (index_t b = 0; b < src.n; ++b)
    for (index_t z = 0; z < win.d.out; ++z)
      for (index_t y = 0; y < win.h.out; ++y)
        for (index_t x = 0; x < win.w.out; ++x)
          for (index_t o = 0; o < weights.o; ++o) {
            std::int64_t acc = 0;
            for (index_t kz = 0; kz < weights.d; ++kz)
              for (index_t ky = 0; ky < weights.h; ++ky)
                for (index_t kx = 0; kx < weights.w; ++kx) {
                  index_t const sz = source(win.d, z, kz), sy = source(win.h, y, ky), sx = source(win.w, x, kx);
                  if (sz < 0 || sy < 0 || sx < 0) continue;
                  for (index_t i = 0; i < weights.i; ++i)
                    acc += static_cast<std::int64_t>(src(b, sz, sy, sx, o / outputs_per_group * weights.i + i) - src_zero_point) *
                           weights(o, kz, ky, kx, i);
                }
            output(b, z, y, x, o, acc);
          }
}

/// The weights' zero point when they are symmetric.
struct no_zero_point {
  QUERN_INLINE constexpr std::int32_t operator()(index_t) const noexcept { return 0; }
};

/// From an accumulator to a code: clamp(rescale(acc + bias[o]) + zero_point, min, max).
///
/// `multipliers` has one entry a channel, or one for all (`multiplier_step` 0). Bias may be null. The accumulator is reduced to
/// int32 first (`Rescale::apply(int32)`) unless Wide, when it stays int64 (TFLite's 16x8 convolutions).
template <class Rescale, class Bias = std::int32_t, bool Wide = false>
struct requantized {
  Bias const* bias = nullptr;
  typename Rescale::parameters const* multipliers = nullptr;
  index_t multiplier_step = 1;
  std::int32_t zero_point = 0, min = -128, max = 127;

  QUERN_INLINE constexpr std::int32_t operator()(std::int64_t acc, index_t o) const noexcept {
    if (bias != nullptr) acc += bias[o];
    auto const& m = multipliers[o * multiplier_step];
    std::int64_t scaled = 0;
    if constexpr (Wide)
      scaled = Rescale::apply(acc, m);
    else
      scaled = Rescale::apply(wrap32(acc), m);
    return static_cast<std::int32_t>(clamp<std::int64_t>(scaled + zero_point, min, max));
  }
};

}  // inline namespace QUERN_ABI
}  // namespace quern::reference
