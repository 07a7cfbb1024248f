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

#include "../epilogue/depthwise.hpp"
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
  buffer<std::int8_t> columns{};  // 3 x 3, whole 64 outputs: [64 outputs][kx][vector][lane][4 outputs][4 rows], depthwise3x3.inl's order
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

/// Fills the weights of 3 x 3 convolutions in the order in which 64 channels unpack.
inline void transpose_columns(packed_depthwise<std::int8_t>& p) {
  bool const fits = p.kernel.h == 3 && p.kernel.w == 3 && p.options.dilation.h == 1 && p.options.dilation.w == 1;
  index_t const n = p.outputs, wide = fits ? n / 64 : 0;
  p.columns = buffer<std::int8_t>(wide * 768);
  for (index_t i = 0; i < wide * 768; ++i) {
    index_t const row = i % 4, output = i / 768 * 64 + i % 64 / 16 * 16 + i % 256 / 64 * 4 + i % 16 / 4;
    if (row < 3) p.columns[i] = p.taps[(row * 3 + i % 768 / 256) * n + output];
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
  if (weights.h > detail::max_packed_k / weights.w || weights.c > (index_t{1} << 40) / (weights.h * weights.w))
    fail(errc::shape, "pack_depthwise: the weights are 1 x ", weights.h, " x ", weights.w, " x ", weights.c, "; they may be at most 2^40, of 16,000,000 taps.");
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
  if constexpr (std::is_same_v<std::remove_const_t<T>, std::int8_t>) {
    detail::interleave_weights(p);
    detail::transpose_columns(p);
  }
  return p;
}

}  // inline namespace QUERN_ABI

namespace detail {
inline namespace QUERN_ABI {

/// acc[c] = init[c] + sum over the window's taps inside of the image, for all channels of one output position.
template <class Acc, class Src, class Weight>
void depthwise_position(tensor_view<Src const> const& src, window const& w, Weight const* taps, one_or_each<std::int32_t> const& weight_zero_points,
                        index_t outputs, index_t multiplier, std::int32_t zero_point, index_t b, index_t y, index_t x, Acc* acc) noexcept {
  for (index_t ky = 0; ky < w.h.kernel; ++ky)
    for (index_t kx = 0; kx < w.w.kernel; ++kx) {
      index_t const sy = w.h.at(y, ky), sx = w.w.at(x, kx);
      if (sy < 0 || sy >= src.h || sx < 0 || sx >= src.w) continue;
      Src const* const p = src.data + b * src.n_stride + sy * src.h_stride + sx * src.w_stride;
      Weight const* const k = taps + (ky * w.w.kernel + kx) * outputs;
      for (index_t c = 0; c < outputs; ++c) acc[c] += static_cast<Acc>(p[c / multiplier] - zero_point) * (k[c] - weight_zero_points[c]);
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
  check_conv_overlap("depthwise_conv2d", src, dst);
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
  index_t phase_bytes = 0, phases = 1;
  index_t block_bytes = 0, together = 1;  // of 16 channels; blocks that are interleaved at once
  index_t rows_bytes = 0;    // of source rows repeated by the multiplier
  static constexpr index_t blank = 64, chunk = 64, acc = chunk * 64 + 64;
  index_t bytes() const noexcept { return blank + block_bytes * together + rows_bytes + acc; }
};

inline depthwise_layout depthwise_layout_of(window const& w, packed_depthwise<std::int8_t> const& p, kernel::depthwise_form form, index_t expanded_channels) noexcept {
  depthwise_layout l;
  l.phases = w.w.stride;
  l.planes = kernel::depthwise_planes(form);
  index_t const all = (w.w.out - 1) * w.w.stride + w.w.reach();
  l.columns = (all + w.w.stride - 1) / w.w.stride;
  // Channels that repeat within a block: the row is one line of codes, 16 of them a group.
  if (p.period < 16) l.columns = (l.columns * p.period + 15) / 16 + 2;
  l.plane_bytes = (l.columns + 1) * 64;
  l.phase_bytes = l.plane_bytes * l.planes * p.groups;
  l.block_bytes = l.phase_bytes * l.phases;
  // Up to a cache line of channels at once, while that leaves half of L1 to the image.
  while (l.together < 4 && 2 * l.together <= p.blocks && 2 * l.together * l.block_bytes <= 16 * 1024) l.together *= 2;
  l.rows_bytes = expanded_channels > 0 ? round_up(4 * p.groups * w.w.in * expanded_channels + 64, 64) : 0;
  return l;
}

/// A call's tasks: sets of rows_at_once output rows each.
struct depthwise_cut {
  index_t sets = 0, each = 0, tasks = 0;  // of an image; a task; in all
  static depthwise_cut of(index_t images, window const& w, index_t rows_at_once, executor_ref const& executor) noexcept {
    depthwise_cut c;
    c.sets = (w.h.out + rows_at_once - 1) / rows_at_once;
    index_t const wanted = executor.is_serial() ? 1 : 3 * (executor.threads > 0 ? executor.threads : 8), an_image = (wanted + images - 1) / images;
    c.each = (c.sets + an_image - 1) / an_image;
    c.tasks = images * ((c.sets + c.each - 1) / c.each);
    return c;
  }
};

/// One task: some sets of output rows of one image, all channels.
template <class Src, class Dst, class E>
struct depthwise_task {
  static constexpr int kind = std::is_signed_v<Src> ? 1 : 0;
  tensor_view<Src const> const& src;
  packed_depthwise<std::int8_t> const& p;
  window const& w;
  tensor_view<Dst> const& dst;
  kernel::depthwise_kernel const& k;
  depthwise_layout const& l;
  epilogue_body const& body;
  depthwise_row_function row_function;  // null: the epilogue is a pass of its own
  depthwise_image_kernel image;  // null: all channels go through lines
  finish_context<Dst, E> context;
  std::int32_t zero_point;
  index_t b;
  unsigned char *blank, *line, *repeated;
  std::int32_t* acc;
  unsigned char const* rows[64];  // of the set: where they are, and how far their pixels lie apart (0: blank)
  index_t steps[64];
  index_t offsets[128];           // where each tap (kx, group) is, seen from an output's own column
  int taps = 0;
  static constexpr index_t few_phases = 4;
  pixel_columns first_phases[few_phases];  // a division costs as much as a pixel

  pixel_columns columns_of(index_t phase) const noexcept { return phase < few_phases ? first_phases[phase] : pixel_columns_of(w, phase, l.columns, src.w); }
  index_t multiplier() const noexcept { return p.outputs / src.c; }
  bool flat() const noexcept { return p.period < 16; }

  void place(unsigned char* memory) {
    blank = memory;
    line = memory + l.blank;
    repeated = line + l.block_bytes * l.together;
    acc = reinterpret_cast<std::int32_t*>(repeated + l.rows_bytes);
    __builtin_memset(blank, static_cast<unsigned char>(zero_point), depthwise_layout::blank);
    for (index_t phase = 0; phase < l.phases && phase < few_phases; ++phase) first_phases[phase] = pixel_columns_of(w, phase, l.columns, src.w);
    // Zero points where no pixel will be written: the padding's columns, the same for all blocks and rows.
    for (index_t block = 0; block < l.together; ++block)
      for (index_t phase = 0; phase < l.phases; ++phase) {
        pixel_columns const c = pixel_columns_of(w, phase, l.columns, src.w);
        index_t const begin = flat() ? w.w.before * p.outputs / 16 : c.column, end = flat() ? (w.w.before + src.w) * p.outputs / 16 : c.column + c.pixels;
        for (index_t plane = 0; plane < l.planes * p.groups; ++plane) {
          unsigned char* const at = line + block * l.block_bytes + phase * l.phase_bytes + plane * l.plane_bytes;
          fill_groups(k.form, kind == 1, zero_point, at, begin + 1);
          fill_groups(k.form, kind == 1, zero_point, at + end * 64, l.columns + 1 - end);
        }
      }
    for (index_t x = 0; x < w.w.kernel; ++x)
      for (index_t g = 0; g < p.groups; ++g) {
        index_t const column = x * w.w.dilation, phase = column % w.w.stride, at = column / w.w.stride;
        offsets[taps++] = phase * l.phase_bytes + g * l.plane_bytes * l.planes + (flat() ? at * p.period * 4 : at * 64);
      }
  }

  /// Source rows of the set whose first output row is y0.
  void find_rows(index_t y0) {
    index_t const count = 4 * p.groups, used = p.rows_at_once > 1 ? (p.rows_at_once - 1) * w.h.stride + w.h.kernel : w.h.kernel;
    for (index_t j = 0; j < count; ++j) {
      index_t const sy = y0 * w.h.stride - w.h.before + j * w.h.dilation;
      rows[j] = blank;
      steps[j] = 0;
      // Rows behind the last have weight 0; where they exist they may as well be the next set's first.
      if ((j >= used && w.h.dilation > 1) || sy < 0 || sy >= src.h) continue;
      Src const* const from = src.data + b * src.n_stride + sy * src.h_stride;
      if (multiplier() == 1) {
        rows[j] = reinterpret_cast<unsigned char const*>(from);
        steps[j] = src.w_stride;
      } else {
        auto* const to = reinterpret_cast<Src*>(repeated + j * src.w * p.outputs);
        for (index_t x = 0; x < src.w; ++x)
          for (index_t c = 0; c < src.c; ++c)
            for (index_t m = 0; m < multiplier(); ++m) to[x * p.outputs + c * multiplier() + m] = from[x * src.w_stride + c];
        rows[j] = reinterpret_cast<unsigned char const*>(to);
        steps[j] = p.outputs;
      }
    }
  }

  /// The row is one line of src.w * period codes: 16 of them at a time, the last ones alone.
  void interleave_flat(index_t g) {
    index_t const channels = p.outputs, codes = src.w * channels, whole = codes / 16, before = w.w.before * channels;
    unsigned char const* at[4];
    index_t step[4];
    bool dense = true;
    for (int r = 0; r < 4; ++r) {
      at[r] = rows[4 * g + r];
      step[r] = steps[4 * g + r] == 0 ? 0 : 16;
      dense = dense && (steps[4 * g + r] == 0 || steps[4 * g + r] == channels);
    }
    unsigned char* const to = line + before * 4 + g * l.plane_bytes * l.planes;
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
  }

  /// Brings `count` blocks from `first_block` into the lines. `half`: words whose first two rows the last set has brought already;
  /// `swapped`: planes change places.
  void interleave(index_t first_block, index_t count, bool half, bool swapped) {
    for (index_t g = 0; g < p.groups; ++g) {
      if (flat()) {
        interleave_flat(g);
        continue;
      }
      for (index_t phase = 0; phase < w.w.stride; ++phase) {
        pixel_columns const c = columns_of(phase);
        if (c.pixels <= 0) continue;
        unsigned char const* at[4];
        index_t step[4];
        index_t const channel = first_block * 16;
        bool dense = true;  // neighbouring pixels touch
        for (int r = 0; r < 4; ++r) {
          step[r] = steps[4 * g + r] * w.w.stride;
          at[r] = steps[4 * g + r] == 0 ? blank : rows[4 * g + r] + c.pixel * steps[4 * g + r] + channel;
          dense = dense && (step[r] == 0 || step[r] == p.outputs);
        }
        unsigned char* const to = line + phase * l.phase_bytes + g * l.plane_bytes * l.planes + c.column * 64;
        index_t done = 0;  // pixels
        if (k.wide != nullptr && (count == 4 || (dense && count == p.blocks && count <= 2)) && p.outputs % 16 == 0) {
          // 64 codes: four blocks of a pixel, or the only one or two blocks of four or two pixels.
          index_t const pixels = 4 / count;
          index_t groups[4];
          for (index_t v = 0; v < 4; ++v) groups[v] = v % count * l.block_bytes + v / count * 64;
          index_t wide_step[4];
          for (int r = 0; r < 4; ++r) wide_step[r] = step[r] * pixels;
          k.wide(at, wide_step, c.pixels / pixels, kind, to, 64 * pixels, groups);
          done = c.pixels / pixels * pixels;
          if (done == c.pixels) continue;
        }
        for (index_t block = 0; block < count; ++block) {
          index_t const first = channel + block * 16, live = p.outputs - first < 16 ? p.outputs - first : 16;
          unsigned char const* from[4];
          for (int r = 0; r < 4; ++r) from[r] = step[r] == 0 ? blank : at[r] + done * step[r] + block * 16;
          unsigned char* const there = to + block * l.block_bytes + done * 64;
          if (half)
            k.pair(from + 2, step + 2, c.pixels - done, live, kind, there + (swapped ? 0 : l.plane_bytes), 0);
          else
            k.interleave(from, step, c.pixels - done, live, kind, there, l.plane_bytes);
        }
      }
    }
  }

  /// One output row of `blocks` blocks. `at`: the first one's line; `plane`: from there to the second plane.
  void finish_row(index_t block, index_t blocks, index_t r, index_t y, unsigned char const* at, index_t plane) {
    bool const quads = k.form == kernel::depthwise_form::quads;
    index_t const position = (b * w.h.out + y) * w.w.out, set_bytes = quads ? 64 : 128, a_row = w.w.kernel * p.groups * set_bytes;
    unsigned char const* weights = (quads ? reinterpret_cast<unsigned char const*>(p.quads.data()) : reinterpret_cast<unsigned char const*>(p.words.data())) +
                                   (block * p.rows_at_once + r) * a_row;
    std::int32_t const* const init = context.columns.init[quads ? 0 : 1] + block * 16;
    context.dst.data = dst.data + b * dst.n_stride + y * dst.h_stride - position * dst.w_stride;
    index_t done = 0;
    if (row_function != nullptr && !flat()) {
      done = (block + blocks) * 16 <= p.outputs ? blocks : blocks - 1;  // whole ones
      if (done > 0)
        row_function(&context, {at, static_cast<index_t const*>(offsets), plane, taps, weights, init, w.w.out, position, block * 16, done, l.block_bytes,
                                p.rows_at_once * a_row});
    }
    for (; done < blocks; ++done) finish_block(block + done, position, at + done * l.block_bytes, plane, weights + done * p.rows_at_once * a_row, init + done * 16);
  }

  /// The same of one block, with the epilogue as a pass of its own.
  void finish_block(index_t block, index_t position, unsigned char const* at, index_t plane, unsigned char const* weights, std::int32_t const* init) {
    index_t const first = block * 16, live = p.outputs - first < 16 ? p.outputs - first : 16;
    std::int32_t repeated_init[16];
    if (flat()) {
      for (index_t c = 0; c < 16; ++c) repeated_init[c] = init[c % p.period];
      init = repeated_init;
    }
    index_t const per_vector = flat() ? 16 / p.period : 1;
    for (index_t x = 0; x < w.w.out; x += depthwise_layout::chunk * per_vector) {
      index_t const rest = w.w.out - x, pixels = rest < depthwise_layout::chunk * per_vector ? rest : depthwise_layout::chunk * per_vector;
      k.taps(at + x / per_vector * 64, offsets, plane, taps, weights, init, (pixels + per_vector - 1) / per_vector, acc);
      tile_result const t{.acc = acc, .ld = flat() ? p.period : 16, .init = nullptr, .row = position + x, .col = first, .rows = pixels, .cols = live, .sums = nullptr, .lhs_offset = 0};
      body.finish(&context, t, nullptr, 0);
    }
  }

  /// Asks for the lines of dst that the set will write: pixels lie too far apart for the processor to guess them, and a store that
  /// misses L1 holds up those behind it. Measured: 2 % at 14 x 14 x 512, 6 % at stride 2.
  void fetch(index_t y0, index_t channel) const {
    for (index_t r = 0; r < p.rows_at_once && y0 + r < w.h.out; ++r) {
      Dst* to = dst.data + b * dst.n_stride + (y0 + r) * dst.h_stride + channel * dst.c_stride;
      for (index_t x = 0; x < w.w.out; ++x, to += dst.w_stride) __builtin_prefetch(to, 1);
    }
  }

  /// Sets [begin, end) of the image.
  void run(index_t begin, index_t end) {
    // Words: where a set begins two rows below the last one, its first two rows are the last one's last two, which are there.
    bool const rolls = k.pair != nullptr && k.form == kernel::depthwise_form::words && p.groups == 1 && p.rows_at_once * w.h.stride == 2 &&
                       w.h.dilation == 1 && !flat();
    index_t block = 0;
    if constexpr (sizeof(Src) == 1 && sizeof(Dst) == 1)
      if (image.run != nullptr && multiplier() == 1 && w.h.kernel == 3 && w.w.kernel == 3 && w.h.dilation == 1 && w.w.dilation == 1 && w.w.stride <= image.most_stride)
        for (index_t c = 0, n = 0; (n = (p.outputs - c < 64 ? p.outputs - c : 64) / image.channels * image.channels) > 0; c += n, block = c / 16)
          image.run(&context, {reinterpret_cast<unsigned char const*>(src.data + b * src.n_stride + c), src.h_stride, src.w_stride, src.h, src.w,
                               dst.data + b * dst.n_stride + c, dst.h_stride, dst.w_stride, w.w.out, begin * p.rows_at_once,
                               end * p.rows_at_once < w.h.out ? end * p.rows_at_once : w.h.out, w.h.stride, w.w.stride, w.h.before, w.w.before, blank,
                               reinterpret_cast<unsigned char const*>(p.columns.data() + c * 12), p.taps.data() + c, p.outputs, n,
                               context.columns.init[k.form == kernel::depthwise_form::quads ? 0 : 1] + c, c, kind == 1});
    for (; block < p.blocks; block += l.together) {
      index_t const count = p.blocks - block < l.together ? p.blocks - block : l.together;
      for (index_t set = begin; set < end; ++set) {
        bool const half = rolls && set > begin, swapped = rolls && (set - begin) % 2 == 1;
        index_t const y0 = set * p.rows_at_once;
        find_rows(y0);
        fetch(y0, block * 16);
        interleave(block, count, half, swapped);
        for (index_t r = 0; r < p.rows_at_once && y0 + r < w.h.out; ++r)
          finish_row(block, count, r, y0 + r, line + (swapped ? l.plane_bytes : 0), swapped ? -l.plane_bytes : l.plane_bytes);
      }
    }
  }
};

/// What a call shares between its tasks.
template <class Dst, class E>
struct depthwise_call {
  finish_context<Dst, E> context;
  epilogue_body body;
  depthwise_row_function row_function = nullptr;
  depthwise_image_kernel image;
  packed_matrix_view<std::int8_t> columns;  // stands for the weights where an epilogue wants their sums
  kernel::depthwise_kernel kernel;
  depthwise_layout layout;
  depthwise_cut cut;
  index_t shared = 0;

  depthwise_call(packed_depthwise<std::int8_t> const& p, window const& w, index_t inputs, tensor_view<Dst> dst, E const& e, gemm_options const& options)
      : context{&e, {dst.data, dst.n * dst.h * dst.w, dst.c, dst.w_stride, dst.c_stride}, {}} {
    isa const chosen = active_isa(options.max_isa);
    kernel = quern::kernel::depthwise_for(chosen);
    if constexpr (std::is_integral_v<Dst>) {
      auto const limits = integer_limits<Dst>::of(e.min, e.max);
      context.min = limits.min;
      context.max = limits.max;
    }
    body = choose_body(context, chosen);
    if constexpr (QUERN_DETAIL_KERNEL_BODIES || is_compiled_depthwise<Dst, E>) {
      row_function = depthwise_row_for(context, chosen);
      image = depthwise_image_for(context, chosen);
    }
    columns.k_ = w.taps();
    columns.n_ = p.outputs;
    columns.sums_ = p.sums.data();
    layout = depthwise_layout_of(w, p, kernel.form, inputs == p.outputs ? 0 : p.outputs);
    cut = depthwise_cut::of(dst.n, w, p.rows_at_once, options.executor);
    shared = round_up(column_bytes<typename E::rescale_type>(p.outputs), 64) + round_up(body.bytes, 64);
  }
  index_t task_bytes() const noexcept { return round_up(layout.bytes(), 64); }
  index_t bytes() const noexcept { return shared + cut.tasks * task_bytes(); }

  template <class Src>
  void run(tensor_view<Src const> src, packed_depthwise<std::int8_t> const& p, window const& w, tensor_view<Dst> dst, E const& e,
           executor_ref const& executor, unsigned char* memory, unsigned char* tasks) {
    context.columns = prepare_columns(columns, e, false, std::is_signed_v<Src> ? 128 : 0, memory);
    if (body.prepare != nullptr) {
      unsigned char* const rescalers = memory + round_up(column_bytes<typename E::rescale_type>(p.outputs), 64);
      body.prepare(context.columns.parameters, p.outputs, context.columns.columns, rescalers);
      context.columns.rescalers = rescalers;
    }
    index_t const an_image = cut.tasks / src.n;
    executor(cut.tasks, [&](index_t i) {
      scratch const own(tasks != nullptr ? 0 : layout.bytes());
      depthwise_task<Src, Dst, E> task{.src = src, .p = p, .w = w, .dst = dst, .k = kernel, .l = layout, .body = body, .row_function = row_function, .image = image,
                                       .context = context, .zero_point = e.lhs_zero_point[0], .b = i / an_image, .blank = nullptr, .line = nullptr,
                                       .repeated = nullptr, .acc = nullptr, .rows = {}, .steps = {}, .offsets = {}, .first_phases = {}};
      task.place(tasks != nullptr ? tasks + i * task_bytes() : own.data());
      index_t const begin = i % an_image * cut.each, end = begin + cut.each < cut.sets ? begin + cut.each : cut.sets;
      task.run(begin, end);
    });
  }
};

/// Kernels of at most 16 groups of rows and 128 taps, and symmetric weights; beyond, plain loops.
template <class E>
bool depthwise_interleaves(packed_depthwise<std::int8_t> const& p, E const& e) noexcept {
  return e.rhs_zero_point.single() && e.rhs_zero_point.one == 0 && p.groups <= 16 && p.groups * p.kernel.w <= 128;
}
template <class Weight, class E>
bool depthwise_interleaves(packed_depthwise<Weight> const&, E const&) noexcept {
  return false;
}

/// The plain loops' accumulators: one row of an executor's task.
inline index_t plain_depthwise_bytes(index_t outputs) noexcept { return round_up(outputs * 4, 64); }

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// dst = epilogue(depthwise convolution of src).
///
/// @shapes  src n x h x w x c, weights 1 x kh x kw x (c * multiplier), dst as depthwise_output_shape says; rows of any stride.
/// @types   src s8, u8; weights s8, u8; dst and epilogue as gemm's.
/// @range   exact to 33,025 taps.
/// @errors  shape, null, overlap, depth, zero_point, scale, argument, capacity (workspace); nothing is written then.
template <class Src, class Weight, class Dst, class E = epilogue<>>
void depthwise_conv2d(tensor_view<Src> src, packed_depthwise<Weight> const& p, tensor_view<Dst> dst, E const& e = {},
                      gemm_options const& options = {}) {
  using src_type = std::remove_const_t<Src>;
  window const w = detail::check_depthwise(src, p, dst);
  detail::check_conv_epilogue("depthwise_conv2d", e, p.outputs);
  detail::check_epilogue<std::remove_const_t<Src>, Weight, Dst>("depthwise_conv2d", e, dst.n * w.positions(), p.outputs);
  if (dst.size() == 0) return;
  detail::check_conv_residual("depthwise_conv2d", e, volume_view<Dst>(dst));
  auto* const memory = static_cast<unsigned char*>(options.workspace.data);
  if constexpr (std::is_same_v<Weight, std::int8_t>) {
    if (detail::depthwise_interleaves(p, e)) {
      detail::depthwise_call<Dst, E> call(p, w, src.c, dst, e, options);
      detail::check_workspace("depthwise_conv2d", options.workspace, call.bytes());
      detail::scratch const own(memory != nullptr ? 0 : call.shared);
      return call.template run<src_type>(src, p, w, dst, e, options.executor, memory != nullptr ? memory : own.data(),
                                         memory != nullptr ? memory + call.shared : nullptr);
    }
  }
  index_t const multiplier = p.outputs / src.c, bytes = detail::plain_depthwise_bytes(p.outputs);
  detail::check_workspace("depthwise_conv2d", options.workspace, src.n * w.h.out * bytes);
  options.executor(src.n * w.h.out, [&](index_t row) {
    detail::scratch const own(memory != nullptr ? 0 : bytes);
    auto* const acc = reinterpret_cast<std::int32_t*>(memory != nullptr ? memory + row * bytes : own.data());
    index_t const b = row / w.h.out, y = row % w.h.out;
    for (index_t x = 0; x < w.w.out; ++x) {
      for (index_t c = 0; c < p.outputs; ++c) acc[c] = e.bias.size > 0 ? e.bias[c] : 0;
      detail::depthwise_position<std::int32_t, src_type>(src, w, p.taps.data(), e.rhs_zero_point, p.outputs, multiplier, e.lhs_zero_point[0], b, y, x, acc);
      index_t const position = row * w.w.out + x;
      for (index_t c = 0; c < p.outputs; ++c)
        detail::finish_one(e, acc[c], static_cast<float>(acc[c]), position, c, dst(b, y, x, c));
    }
  });
}

/// Bytes of workspace with which depthwise_conv2d, called with these arguments, allocates nothing. @errors as depthwise_conv2d.
template <class Src, class Weight, class Dst, class E = epilogue<>>
index_t depthwise_workspace(tensor_view<Src> src, packed_depthwise<Weight> const& p, tensor_view<Dst> dst, E const& e = {},
                            gemm_options const& options = {}) {
  window const w = detail::check_depthwise(src, p, dst);
  detail::check_conv_epilogue("depthwise_conv2d", e, p.outputs);
  detail::check_epilogue<std::remove_const_t<Src>, Weight, Dst>("depthwise_conv2d", e, dst.n * w.positions(), p.outputs);
  if (dst.size() == 0) return 0;
  if constexpr (std::is_same_v<Weight, std::int8_t>)
    if (detail::depthwise_interleaves(p, e)) return detail::depthwise_call<Dst, E>(p, w, src.c, dst, e, options).bytes();
  return src.n * w.h.out * detail::plain_depthwise_bytes(p.outputs);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
