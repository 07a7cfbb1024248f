// conv16x8.hpp — int16 activations, int8 weights, int64 accumulators: TFLite's 16-bit convolutions and fully connected layers.
//
//     dst[p, o] = clamp( Rescale::apply( sum over taps t, channels i of src[at(p, t), i] * weights[o, t, i] + bias[o] ) )
//
// Zero points are 0 on both sides. With a 64-bit bias TFLite rescales by tflite_s64 (a 16-bit multiplier), with a 32-bit bias, or
// none, by its 32-bit arithmetic on the sum modulo 2^32 (`Rescale` not wide): pass the one the model was made for.
//
// One vpmaddwd adds two products of up to 2^15 * 2^7 into an int32; 256 of them fit, so 512 taps are summed in 32 bits before they
// are widened. Definition: reference/conv.hpp with requantized<Rescale, Bias, true>.
#pragma once

#include "../kernel/dot16.hpp"
#include "../kernel/sums.hpp"
#include "conv2d.hpp"

namespace quern {

/// int8 weights widened to int16 and padded to whole vectors, once.
class packed_conv16 {
 public:
  conv_options options{};
  filter_shape filter{};
  bool transposed = false, depthwise = false;
  index_t depth = 0, padded = 0;   // taps * inputs; rounded up to 32
  buffer<std::int16_t> rows{};     // outputs x padded; depthwise: taps x outputs
};

/// What becomes of a 64-bit accumulator. `bias` may be null; `rescale` has one entry (step 0) or one a channel (step 1).
template <class Rescale = rescale::tflite_s64, class Bias = std::int64_t>
struct wide_output {
  Bias const* bias = nullptr;
  typename Rescale::parameters const* rescale = nullptr;
  index_t step = 1;
  std::int32_t min = -32768, max = 32767;

  QUERN_INLINE std::int16_t operator()(std::int64_t acc, index_t o) const noexcept {
    if (bias != nullptr)  // modulo 2^64, as a damaged model's bias needs
      acc = static_cast<std::int64_t>(static_cast<std::uint64_t>(acc) + static_cast<std::uint64_t>(std::int64_t{bias[o]}));
    std::int32_t y = 0;
    if constexpr (wide_rescale_policy<Rescale>)
      y = Rescale::apply(acc, rescale[o * step]);
    else
      y = Rescale::apply(wrap32(acc), rescale[o * step]);
    return static_cast<std::int16_t>(clamp(y, min, max));
  }
};

namespace detail {
inline namespace QUERN_ABI {
/// The window at output (y, x), row-major, `channels` from `channel` on of each tap; 0 outside of the image.
inline void copy_taps(tensor_view<std::int16_t const> src, window const& w, index_t b, index_t y, index_t x, index_t channel,
                      index_t channels, std::int16_t* dst) {
  for (index_t ky = 0; ky < w.h.kernel; ++ky)
    for (index_t kx = 0; kx < w.w.kernel; ++kx, dst += channels) {
      index_t const sy = w.h.at(y, ky), sx = w.w.at(x, kx);
      if (sy < 0 || sy >= src.h || sx < 0 || sx >= src.w)
        for (index_t i = 0; i < channels; ++i) dst[i] = 0;
      else if (src.c_stride == 1)
        __builtin_memcpy(dst, &src(b, sy, sx, channel), static_cast<std::size_t>(channels) * 2);
      else
        for (index_t i = 0; i < channels; ++i) dst[i] = src(b, sy, sx, channel + i);
    }
}
}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Packs OHWI weights. @errors shape, argument, null.
inline packed_conv16 pack_conv16(tensor_view<std::int8_t const> w, conv_options const& o = {}, bool transposed = false) {
  detail::check_filter("pack_conv16", w.c * o.groups, {w.n, {w.h, w.w, 1}, w.c}, o.groups);
  if (w.data == nullptr || w.empty()) fail(errc::shape, "pack_conv16: the weights are null or empty.");
  packed_conv16 p;
  p.options = o;
  p.filter = {w.n, {w.h, w.w, 1}, w.c};
  p.transposed = transposed;
  p.depth = w.h * w.w * w.c;
  p.padded = detail::round_up(p.depth, 32);
  p.rows = buffer<std::int16_t>(w.n * p.padded);
  for (index_t c = 0; c < w.n; ++c)
    for (index_t y = 0, i = 0; y < w.h; ++y)
      for (index_t x = 0; x < w.w; ++x)
        for (index_t k = 0; k < w.c; ++k) p.rows[c * p.padded + i++] = w(c, y, x, k);
  return p;
}

/// Packs 1 x H x W x O depthwise weights. @errors shape, null.
inline packed_conv16 pack_depthwise16(tensor_view<std::int8_t const> w, conv_options const& o = {}) {
  if (w.n != 1 || w.data == nullptr || w.empty()) fail(errc::shape, "pack_depthwise16: the weights must be 1 x H x W x O, and not empty.");
  packed_conv16 p;
  p.options = o;
  p.filter = {w.c, {w.h, w.w, 1}, 1};
  p.depthwise = true;
  p.depth = w.h * w.w;
  p.rows = buffer<std::int16_t>(p.depth * w.c);
  for (index_t y = 0, i = 0; y < w.h; ++y)
    for (index_t x = 0; x < w.w; ++x)
      for (index_t c = 0; c < w.c; ++c) p.rows[i++] = w(0, y, x, c);
  return p;
}

/// The convolution, grouped and dilated as packed. @errors shape, null, argument (packed for something else).
template <class Rescale, class Bias>
void conv2d_16x8(tensor_view<std::int16_t const> src, packed_conv16 const& p, tensor_view<std::int16_t> dst,
                 wide_output<Rescale, Bias> const& output, gemm_options const& options = {}) {
  auto const& o = p.options;
  if (p.transposed || p.depthwise) fail(errc::argument, "conv2d_16x8: the weights were packed for another kind of convolution.");
  window const w = sliding_window("conv2d_16x8", {src.h, src.w, 1}, p.filter.kernel, o.stride, o.dilation, o.padding);
  detail::check_conv_operands("conv2d_16x8", volume_view<std::int16_t const>(src), volume_view<std::int16_t>(dst), p.filter, o.groups, detail::outputs_of(w));
  if (output.rescale == nullptr) fail(errc::null, "conv2d_16x8: output.rescale is null.");
  index_t const outputs = p.filter.outputs / o.groups;
  isa const chosen = active_isa(options.max_isa);
  options.executor(src.n * w.h.out, [&](index_t row) {
    detail::scratch const memory(p.padded * 2 + 64);
    auto* const taps = reinterpret_cast<std::int16_t*>(memory.data());
    index_t const b = row / w.h.out, y = row % w.h.out;
    for (index_t x = 0; x < w.w.out; ++x)
      for (index_t g = 0; g < o.groups; ++g) {
        detail::copy_taps(src, w, b, y, x, g * p.filter.inputs, p.filter.inputs, taps);
        for (index_t i = p.depth; i < p.padded; ++i) taps[i] = 0;
        for (index_t c = 0; c < outputs; ++c) {
          index_t const channel = g * outputs + c;
          dst(b, y, x, channel) = output(detail::dot16(chosen, taps, p.rows.data() + channel * p.padded, p.padded), channel);
        }
      }
  });
}

/// The depthwise one. @errors as conv2d_16x8.
template <class Rescale, class Bias>
void depthwise_16x8(tensor_view<std::int16_t const> src, packed_conv16 const& p, tensor_view<std::int16_t> dst,
                    wide_output<Rescale, Bias> const& output, gemm_options const& options = {}) {
  auto const& o = p.options;
  if (!p.depthwise) fail(errc::argument, "depthwise_16x8: the weights were not packed by pack_depthwise16.");
  if (src.c < 1 || p.filter.outputs % src.c != 0)
    fail(errc::shape, "depthwise_16x8: src has ", src.c, " channels, the weights ", p.filter.outputs, " outputs; the outputs must be a multiple.");
  window const w = sliding_window("depthwise_16x8", {src.h, src.w, 1}, p.filter.kernel, o.stride, o.dilation, o.padding);
  if (src.n != dst.n || dst.h != w.h.out || dst.w != w.w.out || dst.c != p.filter.outputs)
    fail(errc::shape, "depthwise_16x8: dst is ", dst.h, " x ", dst.w, " x ", dst.c, "; it must be ", w.h.out, " x ", w.w.out, " x ", p.filter.outputs, ".");
  if (src.c > 1 && src.c_stride != 1) fail(errc::shape, "depthwise_16x8: the channels of src must be adjacent.");
  if (src.size() > 0 && (src.data == nullptr || dst.data == nullptr || output.rescale == nullptr)) fail(errc::null, "depthwise_16x8: an operand is null.");
  detail::check_conv_overlap("depthwise_16x8", src, dst);
  index_t const outputs = p.filter.outputs, multiplier = outputs / src.c;
  isa const chosen = active_isa(options.max_isa);
  bool const short_sums = multiplier == 1 && w.taps() <= 511;  // of products of up to 2^22
  options.executor(src.n * w.h.out, [&](index_t row) {
    detail::scratch const memory(outputs * 8);
    auto* const acc = reinterpret_cast<std::int64_t*>(memory.data());
    index_t const b = row / w.h.out, y = row % w.h.out;
    for (index_t x = 0; x < w.w.out; ++x) {
      if (short_sums) {
        auto* const sums = reinterpret_cast<std::int32_t*>(memory.data());
        for (index_t c = 0; c < outputs; ++c) sums[c] = 0;
        for (index_t ky = 0; ky < w.h.kernel; ++ky)
          for (index_t kx = 0; kx < w.w.kernel; ++kx) {
            index_t const sy = w.h.at(y, ky), sx = w.w.at(x, kx);
            if (sy < 0 || sy >= src.h || sx < 0 || sx >= src.w) continue;
            detail::add_product_line(chosen, &src(b, sy, sx, 0), p.rows.data() + (ky * w.w.kernel + kx) * outputs, sums, outputs);
          }
        for (index_t c = 0; c < outputs; ++c) dst(b, y, x, c) = output(sums[c], c);
        continue;
      }
      for (index_t c = 0; c < outputs; ++c) acc[c] = 0;
      for (index_t ky = 0; ky < w.h.kernel; ++ky)
        for (index_t kx = 0; kx < w.w.kernel; ++kx) {
          index_t const sy = w.h.at(y, ky), sx = w.w.at(x, kx);
          if (sy < 0 || sy >= src.h || sx < 0 || sx >= src.w) continue;
          std::int16_t const* const s = &src(b, sy, sx, 0);
          std::int16_t const* const k = p.rows.data() + (ky * w.w.kernel + kx) * outputs;
          if (multiplier == 1)
            for (index_t c = 0; c < outputs; ++c) acc[c] += static_cast<std::int32_t>(s[c]) * k[c];
          else
            for (index_t c = 0; c < outputs; ++c) acc[c] += static_cast<std::int32_t>(s[c / multiplier]) * k[c];
        }
      for (index_t c = 0; c < outputs; ++c) dst(b, y, x, c) = output(acc[c], c);
    }
  });
}

/// The transposed one (weights packed with transposed = true). @errors as conv2d_16x8.
template <class Rescale, class Bias>
void transposed_conv2d_16x8(tensor_view<std::int16_t const> src, packed_conv16 const& p, tensor_view<std::int16_t> dst,
                            wide_output<Rescale, Bias> const& output, gemm_options const& options = {}) {
  auto const& o = p.options;
  if (!p.transposed) fail(errc::argument, "transposed_conv2d_16x8: the weights were not packed for it.");
  window const w = detail::spreading_window({src.h, src.w, 1}, p.filter, o, {dst.h, dst.w, 1});
  detail::check_conv_operands("transposed_conv2d_16x8", volume_view<std::int16_t const>(src), volume_view<std::int16_t>(dst), p.filter, o.groups, {w.h.out, w.w.out, 1});
  index_t const outputs = p.filter.outputs / o.groups;
  isa const chosen = active_isa(options.max_isa);
  auto const source = [](axis const& a, index_t out, index_t k) {
    index_t const t = out + a.before - k * a.dilation;
    return t >= 0 && t % a.stride == 0 && t / a.stride < a.in ? t / a.stride : index_t{-1};
  };
  options.executor(src.n * w.h.out, [&](index_t row) {
    detail::scratch const memory(p.padded * 2 + 64);
    auto* const taps = reinterpret_cast<std::int16_t*>(memory.data());
    index_t const b = row / w.h.out, y = row % w.h.out;
    for (index_t x = 0; x < w.w.out; ++x)
      for (index_t g = 0; g < o.groups; ++g) {
        index_t i = 0;
        for (index_t ky = 0; ky < w.h.kernel; ++ky)
          for (index_t kx = 0; kx < w.w.kernel; ++kx) {
            index_t const sy = source(w.h, y, ky), sx = source(w.w, x, kx);
            for (index_t c = 0; c < p.filter.inputs; ++c)
              taps[i++] = sy < 0 || sx < 0 ? std::int16_t{0} : src(b, sy, sx, g * p.filter.inputs + c);
          }
        for (; i < p.padded; ++i) taps[i] = 0;
        for (index_t c = 0; c < outputs; ++c) {
          index_t const channel = g * outputs + c;
          dst(b, y, x, channel) = output(detail::dot16(chosen, taps, p.rows.data() + channel * p.padded, p.padded), channel);
        }
      }
  });
}

}  // inline namespace QUERN_ABI
}  // namespace quern
