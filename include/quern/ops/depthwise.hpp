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

#include "../kernel/depthwise.hpp"
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

  // For the kernels: blocks of 16 outputs, zeros behind the last.
  index_t groups = 0;             // of four rows
  index_t rows_at_once = 1;       // output rows that one set of interleaved rows serves
  index_t blocks = 0, period = 16; // period < 16: channels repeat within a block
  buffer<std::int8_t> quads{};    // [block][output row][kx][group][16][4]
  buffer<std::int16_t> words{};   // [block][output row][kx][group][2][16][2]
  buffer<std::int32_t> sums{};    // of each output's weights; zeros up to a multiple of 16
};

namespace detail {
inline namespace QUERN_ABI {

/// Fills the kernels' forms of the weights.
inline void interleave_weights(packed_depthwise<std::int8_t>& p) {
  index_t const kh = p.kernel.h, kw = p.kernel.w, n = p.outputs, rounded_up = round_up(n, 16);
  p.groups = (kh + 3) / 4;
  p.rows_at_once = p.options.dilation.h == 1 ? (4 * p.groups - kh) / p.options.stride.h + 1 : 1;
  p.blocks = rounded_up / 16;
  p.period = n < 16 && 16 % n == 0 && p.options.stride.w == 1 ? n : 16;
  p.sums = buffer<std::int32_t>(rounded_up);
  for (index_t t = 0; t < kh * kw; ++t)
    for (index_t c = 0; c < n; ++c) p.sums[c] += p.taps[t * n + c];
  index_t const sets = p.blocks * p.rows_at_once * kw * p.groups;
  p.quads = buffer<std::int8_t>(sets * 64);
  p.words = buffer<std::int16_t>(sets * 64);
  index_t set = 0;
  for (index_t b = 0; b < p.blocks; ++b)
    for (index_t r = 0; r < p.rows_at_once; ++r)
      for (index_t x = 0; x < kw; ++x)
        for (index_t g = 0; g < p.groups; ++g, ++set)
          for (index_t c = 0; c < 16; ++c)
            for (index_t row = 0; row < 4; ++row) {
              index_t const ky = 4 * g + row - r * p.options.stride.h, output = b * 16 + (p.period < 16 ? c % p.period : c);
              std::int8_t const w = ky >= 0 && ky < kh && output < n ? p.taps[(ky * kw + x) * n + output] : std::int8_t{0};
              p.quads[set * 64 + c * 4 + row] = w;
              p.words[set * 64 + row / 2 * 32 + c * 2 + row % 2] = w;
            }
}

}  // inline namespace QUERN_ABI
}  // namespace detail

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
  if constexpr (std::is_same_v<std::remove_const_t<T>, std::int8_t>) detail::interleave_weights(p);
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

/// Copies the first `channels` channels of an interleaved group; `to` keeps what is behind them.
inline void copy_lanes(unsigned char const* from, index_t from_plane, unsigned char* to, index_t to_plane, index_t planes, index_t channels) noexcept {
  for (index_t p = 0; p < planes; ++p) __builtin_memcpy(to + p * to_plane, from + p * from_plane, static_cast<std::size_t>(4 * channels));
}

/// The pixels of a row that one phase of the stride sees: pixel, pixel + stride, ... in columns column, column + 1, ...
struct pixel_columns {
  index_t pixel = 0, column = 0, pixels = 0;
};
inline pixel_columns pixel_columns_of(window const& w, index_t phase, index_t columns, index_t width) noexcept {
  index_t const stride = w.w.stride, first = ((phase - w.w.before) % stride + stride) % stride;
  pixel_columns c{first, (first + w.w.before) / stride, first < width ? (width - first + stride - 1) / stride : 0};
  if (c.pixels > columns - c.column) c.pixels = columns - c.column;
  if (c.pixels < 0) c.pixels = 0;
  return c;
}

/// Zero points in `count` groups of 64 bytes.
inline void fill_groups(kernel::depthwise_form form, bool is_signed, std::int32_t zero_point, unsigned char* to, index_t count) noexcept {
  if (count <= 0) return;
  if (form == kernel::depthwise_form::quads) {
    __builtin_memset(to, (zero_point ^ (is_signed ? 0x80 : 0)) & 255, static_cast<std::size_t>(count * 64));
  } else {
    auto* const words = reinterpret_cast<std::int16_t*>(to);
    for (index_t i = 0; i < count * 32; ++i) words[i] = static_cast<std::int16_t>(zero_point);
  }
}

/// Shapes of the buffers that one task of the interleaved form works in.
struct depthwise_layout {
  index_t columns = 0;       // of the padded row, one phase of the stride
  index_t plane_bytes = 0, planes = 1;  // planes of a group of rows: one (quads) or two (words)
  index_t phase_bytes = 0;
  index_t rows_bytes = 0;    // of source rows repeated by the multiplier
  index_t bytes() const noexcept { return blank + phase_bytes * phases + rows_bytes + acc; }
  index_t phases = 1;
  static constexpr index_t blank = 64, chunk = 64, acc = chunk * 64 + 64;
};

inline depthwise_layout depthwise_layout_of(window const& w, index_t groups, index_t period, kernel::depthwise_form form, index_t expanded_channels) noexcept {
  depthwise_layout l;
  l.phases = w.w.stride;
  l.planes = kernel::depthwise_planes(form);
  index_t const all = (w.w.out - 1) * w.w.stride + w.w.reach();
  l.columns = (all + w.w.stride - 1) / w.w.stride;
  // Channels that repeat within a block: the row is one line of codes, 16 of them a group.
  if (period < 16) l.columns = (l.columns * period + 15) / 16 + 2;
  l.plane_bytes = (l.columns + 1) * 64;
  l.phase_bytes = l.plane_bytes * l.planes * groups;
  l.rows_bytes = expanded_channels > 0 ? round_up(4 * groups * w.w.in * expanded_channels + 64, 64) : 0;
  return l;
}

/// One task: a set of output rows (rows_at_once of them) of one image, all channels.
template <class Src, class Dst, class E>
void depthwise_rows(tensor_view<Src const> const& src, packed_depthwise<std::int8_t> const& p, window const& w, tensor_view<Dst> const& dst,
                    kernel::depthwise_kernel const& k, depthwise_layout const& l, epilogue_body const& body, finish_context<Dst, E> context,
                    std::int32_t zero_point, index_t b, index_t y0, unsigned char* memory) {
  constexpr int kind = std::is_signed_v<Src> ? 1 : 0;
  index_t const multiplier = p.outputs / src.c, channels = p.outputs, groups = p.groups, group_bytes = l.plane_bytes * l.planes;
  unsigned char* const blank = memory;
  unsigned char* const line = memory + l.blank;
  unsigned char* const repeated = line + l.phase_bytes * l.phases;
  auto* const acc = reinterpret_cast<std::int32_t*>(repeated + l.rows_bytes);
  bool const flat = p.period < 16;
  __builtin_memset(blank, static_cast<unsigned char>(zero_point), depthwise_layout::blank);
  // Zero points where no pixel will be written: the padding's columns, the same for every block of channels.
  for (index_t phase = 0; phase < l.phases; ++phase) {
    pixel_columns const c = pixel_columns_of(w, phase, l.columns, src.w);
    index_t const begin = flat ? w.w.before * channels / 16 : c.column, end = flat ? (w.w.before + src.w) * channels / 16 : c.column + c.pixels;
    for (index_t plane = 0; plane < l.planes * groups; ++plane) {
      unsigned char* const at = line + phase * l.phase_bytes + plane * l.plane_bytes;
      fill_groups(k.form, kind == 1, zero_point, at, begin + 1);
      fill_groups(k.form, kind == 1, zero_point, at + end * 64, l.columns + 1 - end);
    }
  }
  // The rows of the set: where they are, and how far their pixels lie apart (0: blank).
  index_t const count = 4 * groups, used = p.rows_at_once > 1 ? (p.rows_at_once - 1) * w.h.stride + w.h.kernel : w.h.kernel;
  unsigned char const* rows[64];
  index_t steps[64];
  for (index_t j = 0; j < count; ++j) {
    index_t const sy = y0 * w.h.stride - w.h.before + j * w.h.dilation;
    bool const there = j < used && sy >= 0 && sy < src.h;
    rows[j] = blank;
    steps[j] = 0;
    if (!there) continue;
    Src const* const from = src.data + b * src.n_stride + sy * src.h_stride;
    if (multiplier == 1) {
      rows[j] = reinterpret_cast<unsigned char const*>(from);
      steps[j] = src.w_stride;
    } else {
      auto* const to = reinterpret_cast<Src*>(repeated + j * src.w * channels);
      for (index_t x = 0; x < src.w; ++x)
        for (index_t c = 0; c < src.c; ++c)
          for (index_t m = 0; m < multiplier; ++m) to[x * channels + c * multiplier + m] = from[x * src.w_stride + c];
      rows[j] = reinterpret_cast<unsigned char const*>(to);
      steps[j] = channels;
    }
  }
  // Where each tap (kx, group) is, seen from an output's own column.
  index_t offsets[128];
  int taps = 0;
  for (index_t x = 0; x < w.w.kernel; ++x)
    for (index_t g = 0; g < groups; ++g) {
      index_t const column = x * w.w.dilation, phase = column % w.w.stride, at = column / w.w.stride;
      offsets[taps++] = phase * l.phase_bytes + g * group_bytes + (flat ? at * p.period * 4 : at * 64);
    }
  for (index_t block = 0; block < p.blocks; ++block) {
    index_t const first = block * 16, live = channels - first < 16 ? channels - first : 16;
    for (index_t g = 0; g < groups; ++g) {
      if (flat) {
        // The row is one line of src.w * period codes: 16 of them at a time, the last ones alone.
        index_t const codes = src.w * channels, whole = codes / 16, before = w.w.before * channels;
        unsigned char const* at[4];
        index_t step[4];
        bool dense = true;
        for (int r = 0; r < 4; ++r) {
          at[r] = rows[4 * g + r];
          step[r] = steps[4 * g + r] == 0 ? 0 : 16;
          dense = dense && (steps[4 * g + r] == 0 || steps[4 * g + r] == channels);
        }
        unsigned char* const to = line + before * 4 + g * group_bytes;
        if (dense) {
          k.interleave(at, step, whole, 16, kind, to, l.plane_bytes);
          for (int r = 0; r < 4; ++r) at[r] += whole * step[r];
          if (codes % 16 != 0) {
            // Behind the last code the group holds padding, which must stay: only whole channels of it are written.
            alignas(64) unsigned char last[128];
            k.interleave(at, step, 1, codes % 16, kind, last, 64);
            copy_lanes(last, 64, to + whole * 64, l.plane_bytes, l.planes, codes % 16);
          }
        } else {
          for (index_t x = 0; x < src.w; ++x) {
            alignas(64) unsigned char one[128];
            for (int r = 0; r < 4; ++r) at[r] = rows[4 * g + r] + x * steps[4 * g + r];
            k.interleave(at, step, 1, channels, kind, one, 64);
            copy_lanes(one, 64, to + x * channels * 4, l.plane_bytes, l.planes, channels);
          }
        }
        continue;
      }
      for (index_t phase = 0; phase < w.w.stride; ++phase) {
        pixel_columns const c = pixel_columns_of(w, phase, l.columns, src.w);
        if (c.pixels <= 0) continue;
        unsigned char const* at[4];
        index_t step[4];
        for (int r = 0; r < 4; ++r) {
          step[r] = steps[4 * g + r] * w.w.stride;
          at[r] = steps[4 * g + r] == 0 ? blank : rows[4 * g + r] + c.pixel * steps[4 * g + r] + first;
        }
        k.interleave(at, step, c.pixels, live, kind, line + phase * l.phase_bytes + g * group_bytes + c.column * 64, l.plane_bytes);
      }
    }
    for (index_t r = 0; r < p.rows_at_once && y0 + r < w.h.out; ++r) {
      index_t const y = y0 + r, position = (b * w.h.out + y) * w.w.out, set = (block * p.rows_at_once + r) * w.w.kernel * groups;
      unsigned char const* const weights = k.form == kernel::depthwise_form::quads ? reinterpret_cast<unsigned char const*>(p.quads.data() + set * 64)
                                                                                   : reinterpret_cast<unsigned char const*>(p.words.data() + set * 64);
      std::int32_t const* init = context.columns.init[k.form == kernel::depthwise_form::quads ? 0 : 1] + first;
      std::int32_t repeated_init[16];
      if (flat) {
        for (index_t c = 0; c < 16; ++c) repeated_init[c] = init[c % p.period];
        init = repeated_init;
      }
      context.dst.data = dst.data + b * dst.n_stride + y * dst.h_stride - position * dst.w_stride;
      index_t const per_vector = flat ? 16 / p.period : 1;
      for (index_t x = 0; x < w.w.out; x += depthwise_layout::chunk * per_vector) {
        index_t const rest = w.w.out - x, pixels = rest < depthwise_layout::chunk * per_vector ? rest : depthwise_layout::chunk * per_vector;
        k.taps(line + x / per_vector * 64, offsets, l.plane_bytes, taps, weights, init, (pixels + per_vector - 1) / per_vector, acc);
        tile_result const t{.acc = acc, .ld = flat ? p.period : 16, .init = nullptr, .row = position + x, .col = first, .rows = pixels, .cols = live, .sums = nullptr, .lhs_offset = 0};
        body.finish(&context, t, nullptr, 0);
      }
    }
  }
}

/// What a call shares between its tasks.
template <class Dst, class E>
struct depthwise_call {
  finish_context<Dst, E> context;
  epilogue_body body;
  packed_matrix_view<std::int8_t> columns;  // stands for the weights where an epilogue wants their sums
  kernel::depthwise_kernel kernel;
  depthwise_layout layout;
  index_t shared = 0;

  depthwise_call(packed_depthwise<std::int8_t> const& p, window const& w, index_t inputs, tensor_view<Dst> dst, E const& e, isa chosen)
      : context{&e, {dst.data, dst.n * dst.h * dst.w, dst.c, dst.w_stride, dst.c_stride}, {}}, kernel(quern::kernel::depthwise_for(chosen)) {
    if constexpr (std::is_integral_v<Dst>) {
      auto const limits = integer_limits<Dst>::of(e.min, e.max);
      context.min = limits.min;
      context.max = limits.max;
    }
    body = choose_body(context, chosen);
    columns.k_ = w.taps();
    columns.n_ = p.outputs;
    columns.sums_ = p.sums.data();
    layout = depthwise_layout_of(w, p.groups, p.period, kernel.form, inputs == p.outputs ? 0 : p.outputs);
    shared = round_up(column_bytes<typename E::rescale_type>(p.outputs), 64) + round_up(body.bytes, 64);
  }
};

template <class Src, class Dst, class E>
void depthwise_interleaved(tensor_view<Src const> src, packed_depthwise<std::int8_t> const& p, window const& w, tensor_view<Dst> dst, E const& e,
                           gemm_options const& options) {
  depthwise_call<Dst, E> call(p, w, src.c, dst, e, active_isa(options.max_isa));
  scratch const memory(call.shared);
  call.context.columns = prepare_columns(call.columns, e, false, std::is_signed_v<Src> ? 128 : 0, memory.data());
  if (call.body.prepare != nullptr) {
    unsigned char* const rescalers = memory.data() + round_up(column_bytes<typename E::rescale_type>(p.outputs), 64);
    call.body.prepare(call.context.columns.parameters, p.outputs, call.context.columns.columns, rescalers);
    call.context.columns.rescalers = rescalers;
  }
  index_t const sets = (w.h.out + p.rows_at_once - 1) / p.rows_at_once;
  options.executor(src.n * sets, [&](index_t task) {
    scratch const own(call.layout.bytes());
    depthwise_rows<Src, Dst, E>(src, p, w, dst, call.kernel, call.layout, call.body, call.context, e.lhs_zero_point[0], task / sets,
                                task % sets * p.rows_at_once, own.data());
  });
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
  index_t const multiplier = p.outputs / src.c;
  bool const symmetric = e.rhs_zero_point.single() && e.rhs_zero_point.one == 0;
  if (dst.size() == 0) return;
  if constexpr (std::is_same_v<Weight, std::int8_t>) {
    // Kernels of at most 16 groups of rows and 128 taps; beyond, and for asymmetric weights, the plain loops below.
    if (symmetric && p.groups <= 16 && p.groups * p.kernel.w <= 128) return detail::depthwise_interleaved<src_type>(src, p, w, dst, e, options);
  }
  buffer<std::int32_t> zero_points;
  if (!symmetric) {
    zero_points = buffer<std::int32_t>(p.outputs);
    for (index_t c = 0; c < p.outputs; ++c) zero_points[c] = e.rhs_zero_point[c];
  }
  options.executor(src.n * w.h.out, [&](index_t row) {
    detail::scratch const memory(p.outputs * 4);
    auto* const acc = reinterpret_cast<std::int32_t*>(memory.data());
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
