// depthwise.hpp — depthwise convolutions: each channel by its own kernel, `multiplier` outputs a channel.
//
//     auto w = pack_depthwise(nhwc(weights, 1, 3, 3, 32), {.padding = same});                        // TFLite's 1 x H x W x O, once
//     depthwise_conv2d(nhwc(x, 1, 112, 112, 32), w, nhwc(y, 1, 112, 112, 32), epilogue<to_real>{...});
//
//     dst[b, p, o] = epilogue( sum over taps t of (src[b, at(p, t), o / multiplier] - lhs_zero_point) * (weights[t, o] - rhs_zero_point[o]) )
//
// over the taps inside of the image. Epilogues are gemm's: "row" = output position, "column" = output channel.
// Definition: reference/conv.hpp, with one input channel a group.
#pragma once

#include "conv2d.hpp"

namespace quern {

/// Weights of a depthwise convolution with the geometry that they were packed for. Weight: std::int8_t or std::uint8_t.
template <class Weight>
class packed_depthwise {
 public:
  conv_options options{};
  extent kernel{};
  index_t outputs = 0;
  buffer<Weight> taps{};  // h x w x outputs, as given
};

inline namespace QUERN_ABI {

/// Packs 1 x H x W x O weights.
/// @errors shape (n is not 1, empty), argument (stride, dilation), null.
template <class T>
packed_depthwise<std::remove_const_t<T>> pack_depthwise(tensor_view<T> weights, conv_options const& options = {}) {
  if (weights.n != 1 || weights.h < 1 || weights.w < 1 || weights.c < 1)
    fail(errc::shape, "pack_depthwise: the weights are ", weights.n, " x ", weights.h, " x ", weights.w, " x ", weights.c,
         "; they must be 1 x H x W x O, none of them empty.");
  if (weights.data == nullptr) fail(errc::null, "pack_depthwise: the weights are null.");
  if (options.stride.h < 1 || options.stride.w < 1 || options.dilation.h < 1 || options.dilation.w < 1)
    fail(errc::argument, "pack_depthwise: stride and dilation must be at least 1 along every axis.");
  packed_depthwise<std::remove_const_t<T>> p;
  p.options = options;
  p.kernel = {weights.h, weights.w, 1};
  p.outputs = weights.c;
  p.taps = buffer<std::remove_const_t<T>>(weights.h * weights.w * weights.c);
  index_t i = 0;
  for (index_t y = 0; y < weights.h; ++y)
    for (index_t x = 0; x < weights.w; ++x)
      for (index_t c = 0; c < weights.c; ++c) p.taps[i++] = weights(0, y, x, c);
  return p;
}

}  // inline namespace QUERN_ABI

namespace detail {
inline namespace QUERN_ABI {

/// acc[c] = init[c] + sum over the window's taps inside of the image, for all channels of one output position.
template <class Acc, class Src, class Weight>
void depthwise_position(tensor_view<Src const> const& src, window const& w, Weight const* taps, std::int32_t const* weight_zero_points,
                        index_t outputs, index_t multiplier, std::int32_t zero_point, index_t b, index_t y, index_t x, Acc* acc) noexcept {
  for (index_t ky = 0; ky < w.h.kernel; ++ky)
    for (index_t kx = 0; kx < w.w.kernel; ++kx) {
      index_t const sy = w.h.at(y, ky), sx = w.w.at(x, kx);
      if (sy < 0 || sy >= src.h || sx < 0 || sx >= src.w) continue;
      Src const* const p = src.data + b * src.n_stride + sy * src.h_stride + sx * src.w_stride;
      Weight const* const k = taps + (ky * w.w.kernel + kx) * outputs;
      if (weight_zero_points == nullptr && multiplier == 1) {
        for (index_t c = 0; c < outputs; ++c) acc[c] += static_cast<Acc>(p[c] - zero_point) * k[c];
      } else {
        for (index_t c = 0; c < outputs; ++c)
          acc[c] += static_cast<Acc>(p[c / multiplier] - zero_point) *
                    (k[c] - (weight_zero_points != nullptr ? weight_zero_points[c] : 0));
      }
    }
}

template <class Src, class Weight, class Dst>
window check_depthwise(tensor_view<Src> const& src, packed_depthwise<Weight> const& p, tensor_view<Dst> const& dst) {
  auto const& o = p.options;
  if (p.taps.empty()) fail(errc::null, "depthwise_conv2d: the packed weights are empty; pack_depthwise makes them.");
  if (src.c < 1 || p.outputs % src.c != 0)
    fail(errc::shape, "depthwise_conv2d: src has ", src.c, " channels, the weights ", p.outputs, " outputs; the outputs must be a multiple.");
  window const w = sliding_window("depthwise_conv2d", {src.h, src.w, 1}, p.kernel, o.stride, o.dilation, o.padding);
  if (src.n != dst.n || dst.h != w.h.out || dst.w != w.w.out || dst.c != p.outputs)
    fail(errc::shape, "depthwise_conv2d: dst is ", dst.n, " x ", dst.h, " x ", dst.w, " x ", dst.c, "; it must be ", src.n, " x ", w.h.out,
         " x ", w.w.out, " x ", p.outputs, ".");
  if (src.size() > 0 && (src.data == nullptr || dst.data == nullptr)) fail(errc::null, "depthwise_conv2d: ", src.data == nullptr ? "src" : "dst", " is null.");
  if (src.c > 1 && src.c_stride != 1)
    fail(errc::shape, "depthwise_conv2d: the channels of src are ", src.c_stride, " elements apart; they must be adjacent (to_nhwc() copies NCHW).");
  if (w.taps() > 33025) fail(errc::depth, "depthwise_conv2d: the kernel has ", w.taps(), " taps; int32 accumulators are exact up to 33025.");
  return w;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// dst = epilogue(depthwise convolution of src).
///
/// @shapes  src n x h x w x c, weights 1 x kh x kw x (c * multiplier), dst as depthwise_output_shape says; rows of any stride.
/// @types   src s8, u8; weights s8, u8; dst and epilogue as gemm's.
/// @range   exact to 33,025 taps.
/// @errors  shape, null, depth, zero_point, argument; nothing is written then.
template <class Src, class Weight, class Dst, class E = epilogue<>>
void depthwise_conv2d(tensor_view<Src> src, packed_depthwise<Weight> const& p, tensor_view<Dst> dst, E const& e = {},
                      gemm_options const& options = {}) {
  using src_type = std::remove_const_t<Src>;
  window const w = detail::check_depthwise(src, p, dst);
  detail::check_conv_epilogue("depthwise_conv2d", e, p.outputs);
  index_t const rows = src.n * w.h.out, multiplier = p.outputs / src.c;
  buffer<std::int32_t> zero_points;
  if (!e.rhs_zero_point.single() || e.rhs_zero_point.one != 0) {
    zero_points = buffer<std::int32_t>(p.outputs);
    for (index_t c = 0; c < p.outputs; ++c) zero_points[c] = e.rhs_zero_point[c];
  }
  options.executor(rows, [&](index_t row) {
    auto* const acc = reinterpret_cast<std::int32_t*>(detail::conv_scratch(p.outputs * 4));
    index_t const b = row / w.h.out, y = row % w.h.out;
    for (index_t x = 0; x < w.w.out; ++x) {
      for (index_t c = 0; c < p.outputs; ++c) acc[c] = e.bias.size > 0 ? e.bias[c] : 0;
      detail::depthwise_position<std::int32_t, src_type>(src, w, p.taps.data(), zero_points.data(), p.outputs, multiplier, e.lhs_zero_point[0], b, y, x, acc);
      index_t const position = row * w.w.out + x;
      for (index_t c = 0; c < p.outputs; ++c)
        detail::finish_one(e, acc[c], static_cast<float>(acc[c]), position, c, dst(b, y, x, c));
    }
  });
}

}  // inline namespace QUERN_ABI
}  // namespace quern
