// conv2d.hpp — convolutions of NHWC tensors by weights packed once: 1-d, 2-d, 3-d, grouped, dilated, transposed, any epilogue.
//
//     auto w = pack_conv(nhwc(weights, 64, 3, 3, 32), {.stride = {2, 2}, .padding = same});            // OHWI, once
//     conv2d(nhwc(x, 1, 56, 56, 32), w, nhwc(y, 1, 28, 28, 64), epilogue<to_real>{.lhs_zero_point = -3, ...});
//
//     dst[b, p, o] = epilogue( sum over taps t, channels i of (src[b, at(p, t), i] - lhs_zero_point) * (weights[o, t, i] - rhs_zero_point[o]) )
//
// over the taps inside of the image: padding is real 0.0. The epilogue is gemm's, with "row" = output position and "column" =
// output channel, so destinations, requantization, bias, residual and clamp are the same. How it runs: ops/conv_window.hpp.
// Definition: reference/conv.hpp. Channels must be innermost (c_stride 1); to_nhwc() brings NCHW there.
#pragma once

#include "conv_window.hpp"

namespace quern {

/// Weights of a convolution, packed for its product, with the geometry that they were packed for. Weight: std::int8_t,
/// std::uint8_t, s4 or u4.
template <class Weight>
class packed_conv {
 public:
  conv_options options{};
  filter_shape filter{};
  bool transposed = false;

  /// The weights of group g; of phase `phase` for transposed convolutions.
  QUERN_INLINE packed_matrix_view<Weight> group(index_t g, index_t phase = 0) const {
    return detail::view_of_blob<Weight>(data() + starts[phase] + g * steps[phase]);
  }
  QUERN_INLINE unsigned char const* data() const noexcept { return outside != nullptr ? outside : memory.data(); }
  /// Codes of a row of taps as packed.
  QUERN_INLINE index_t run() const noexcept { return detail::packed_run(filter, options); }
  QUERN_INLINE index_t phases() const noexcept { return starts.size(); }
  QUERN_INLINE extent phase_grid() const noexcept { return transposed ? options.stride : extent{}; }

  unsigned char const* outside = nullptr;  // memory of the caller
  buffer<unsigned char> memory{};
  buffer<index_t> starts{}, steps{};       // where each phase begins; bytes a group
  buffer<std::int32_t> tap_sums{};         // of stored codes, groups x taps x columns rounded up to 16: conv_direct.hpp's
};

namespace detail {
inline namespace QUERN_ABI {

/// One axis of a transposed convolution seen from the outputs first, first + stride, ...: an ordinary axis over the source, whose
/// taps are `count` of the kernel's, last first: kernel position = last - j * step.
struct phase_axis {
  axis forward{};
  index_t last = 0, step = 1;
};

constexpr index_t greatest_common_divisor(index_t a, index_t b) noexcept {
  while (b != 0) {
    index_t const t = a % b;
    a = b;
    b = t;
  }
  return a;
}

/// Output o reads source position (o + before - k * dilation) / stride for the k that make it whole.
constexpr phase_axis phase_of(axis const& a, index_t first) noexcept {
  phase_axis p;
  index_t const common = greatest_common_divisor(a.stride, a.dilation);
  p.step = a.stride / common;
  index_t k0 = -1;
  for (index_t k = 0; k < a.kernel && k < p.step && k0 < 0; ++k) {
    index_t const t = first + a.before - k * a.dilation;
    if ((t % a.stride + a.stride) % a.stride == 0) k0 = k;
  }
  index_t const count = k0 < 0 ? 0 : (a.kernel - 1 - k0) / p.step + 1;
  p.last = count > 0 ? k0 + (count - 1) * p.step : 0;
  p.forward = {a.in, count, 1, a.dilation / common, 0, first < a.out ? (a.out - first + a.stride - 1) / a.stride : 0};
  if (count > 0) p.forward.before = -((first + a.before - p.last * a.dilation) / a.stride);
  return p;
}

/// The spreading axes of a transposed convolution from its options; `out` of 0 leaves the size to them.
constexpr window spreading_window(extent in, filter_shape const& f, conv_options const& o, extent out) {
  auto const& p = o.padding;
  return {spreading_axis("transposed_conv2d", "depth", in.d, f.kernel.d, o.stride.d, o.dilation.d, p.rule, p.front, p.back, out.d),
          spreading_axis("transposed_conv2d", "height", in.h, f.kernel.h, o.stride.h, o.dilation.h, p.rule, p.top, p.bottom, out.h),
          spreading_axis("transposed_conv2d", "width", in.w, f.kernel.w, o.stride.w, o.dilation.w, p.rule, p.left, p.right, out.w)};
}

/// The taps of a phase do not depend on the image's size, only on `before`; phases are numbered from the output position whose
/// (position + before) is a multiple of the stride, so that weights can be packed before the image is known.
constexpr phase_axis phase_numbered(axis const& a, index_t phase) noexcept {
  index_t const first = ((phase - a.before) % a.stride + a.stride) % a.stride;
  return phase_of(a, first);
}

template <class Src, class Dst>
void check_conv_overlap(char const* op, Src const& src, Dst const& dst) {
  if (may_overlap(src, dst)) fail(errc::overlap, op, ": dst overlaps src; positions are written while others are still read.");
}

/// A residual may be the destination, element for element: each is read before it is written. Any other overlap is refused, as gemm's is.
template <class E, class Dst>
void check_conv_residual(char const* op, E const& e, volume_view<Dst> const& dst) {
  if constexpr (E::residual_type::present) {
    auto const& f = e.residual.from;
    if (f.empty()) return;
    index_t const size[4] = {dst.w, dst.h, dst.d, dst.n}, step[4] = {dst.w_stride, dst.h_stride, dst.d_stride, dst.n_stride};
    index_t expected = f.row_stride;
    bool is_dst = static_cast<void const*>(f.data) == static_cast<void const*>(dst.data) && sizeof(*f.data) == sizeof(Dst) && (dst.c == 1 || f.col_stride == dst.c_stride);
    for (int d = 0; d < 4; expected *= size[d++]) is_dst = is_dst && (size[d] == 1 || step[d] == expected);
    if (is_dst) return;
    if (may_overlap(f, dst))
      fail(errc::overlap, op, ": dst overlaps epilogue.residual; it may be the same, element for element, or apart.");
  }
}

template <class Src, class Dst>
void check_conv_operands(char const* op, volume_view<Src> const& src, volume_view<Dst> const& dst, filter_shape const& f, index_t groups,
                         extent out) {
  if (src.n < 0 || src.n != dst.n) fail(errc::shape, op, ": src has batch ", src.n, ", dst ", dst.n, "; they must be equal.");
  check_filter(op, src.c, f, groups);
  if (dst.d != out.d || dst.h != out.h || dst.w != out.w || dst.c != f.outputs)
    fail(errc::shape, op, ": dst is ", dst.d, " x ", dst.h, " x ", dst.w, " x ", dst.c, "; it must be ", out.d, " x ", out.h, " x ", out.w,
         " x ", f.outputs, " (depth, height, width, channels).");
  if (src.n > 0 && src.data == nullptr) fail(errc::null, op, ": src is null.");
  if (src.n > 0 && dst.data == nullptr) fail(errc::null, op, ": dst is null.");
  if (src.c > 1 && src.c_stride != 1)
    fail(errc::shape, op, ": the channels of src are ", src.c_stride, " elements apart; they must be adjacent (to_nhwc() copies NCHW).");
  check_conv_overlap(op, src, dst);
}

template <class E>
void check_conv_epilogue(char const* op, E const& e, index_t channels) {
  if (!e.lhs_zero_point.single())
    fail(errc::argument, op, ": epilogue.lhs_zero_point has ", e.lhs_zero_point.size, " values; a convolution's source has one zero point.");
  if constexpr (std::is_same_v<typename E::rescale_type, to_real>) {
    if (!e.rescale.rows.single()) fail(errc::argument, op, ": epilogue.rescale.rows has ", e.rescale.rows.size, " values; output positions share one.");
    if (misses(e.rescale.bias.size, channels) || misses(e.rescale.cols.size, channels))
      fail(errc::shape, op, ": epilogue.rescale has ", e.rescale.cols.size, " scales and ", e.rescale.bias.size, " biases; dst has ", channels, " channels.");
  } else if constexpr (!std::is_same_v<typename E::rescale_type, no_rescale>) {
    if (misses(e.rescale.size, channels))
      fail(errc::shape, op, ": epilogue.rescale has ", e.rescale.size, " entries; dst has ", channels, " channels.");
  }
  if (misses(e.bias.size, channels) || misses(e.rhs_zero_point.size, channels))
    fail(errc::shape, op, ": epilogue.bias has ", e.bias.size, " and rhs_zero_point ", e.rhs_zero_point.size, " values; dst has ", channels, " channels.");
}

inline void check_workspace(char const* op, workspace_view const& w, index_t needed) {
  if (w.data == nullptr) return;
  if (reinterpret_cast<std::uintptr_t>(w.data) % 64 != 0)
    fail(errc::argument, op, ": workspace starts ", reinterpret_cast<std::uintptr_t>(w.data) % 64, " bytes behind a 64-byte boundary; it must start on one.");
  if (w.bytes < needed) fail(errc::capacity, op, ": workspace has ", w.bytes, " bytes; this call needs ", needed, " (conv_workspace).");
}

/// The packed weights of each group, for run_conv.
template <class Weight>
struct group_weights {
  using code = Weight;
  packed_conv<Weight> const* packed;
  index_t phase;
  packed_matrix_view<Weight> operator()(index_t g) const { return packed->group(g, phase); }
  std::int32_t const* tap_sums(index_t g) const {
    auto const& f = packed->filter;
    return packed->tap_sums.empty() ? nullptr
                                    : packed->tap_sums.data() + g * f.kernel.d * f.kernel.h * f.kernel.w * round_up(f.outputs / packed->options.groups, 16);
  }
};

/// The sums of the codes of each tap. (4-bit weights have no kernel that wants them.)
template <class Weight, class T>
buffer<std::int32_t> sums_by_tap(volume_view<T const> const& w, index_t groups) {
  index_t const taps = w.d * w.h * w.w, columns = w.n / groups, step = round_up(columns, 16);
  buffer<std::int32_t> sums(code_of_t<Weight>::bits == 8 && w.h * w.w > 1 ? groups * taps * step : 0);
  if (sums.empty()) return sums;
  for (index_t o = 0; o < w.n; ++o)
    for (index_t t = 0; t < taps; ++t) {
      std::int32_t& sum = sums[(o / columns * taps + t) * step + o % columns];
      for (index_t i = 0; i < w.c; ++i) sum += w(o, t / (w.h * w.w), t / w.w % w.h, t % w.w, i) - packed_matrix_view<Weight>::offset;
    }
  return sums;
}

/// Packs the weights of all groups and phases; `blob` null only counts the bytes.
template <class Weight, class T>
index_t pack_conv_groups(volume_view<T const> const& w, conv_options const& o, bool transposed, index_t before_h, index_t before_w,
                         index_t before_d, packed_conv<Weight>& result, unsigned char* blob) {
  index_t const columns = w.n / o.groups;
  extent const phases = transposed ? o.stride : extent{};
  result.starts = buffer<index_t>(phases.d * phases.h * phases.w);
  result.steps = buffer<index_t>(phases.d * phases.h * phases.w);
  index_t at = 0, number = 0;
  for (index_t pz = 0; pz < phases.d; ++pz)
    for (index_t py = 0; py < phases.h; ++py)
      for (index_t px = 0; px < phases.w; ++px, ++number) {
        auto const part = [&](index_t kernel, index_t stride, index_t dilation, index_t before, index_t phase) {
          if (!transposed) return phase_axis{axis{1, kernel, 1, 1, 0, 1}, 0, -1};
          return phase_numbered({1, kernel, stride, dilation, before, 1}, phase);
        };
        auto const z = part(w.d, o.stride.d, o.dilation.d, before_d, pz), y = part(w.h, o.stride.h, o.dilation.h, before_h, py),
                   x = part(w.w, o.stride.w, o.dilation.w, before_w, px);
        index_t const codes = x.forward.kernel * w.c;
        index_t const run = transposed ? codes : packed_run({w.n, {w.h, w.w, w.d}, w.c}, o), depth = z.forward.kernel * y.forward.kernel * run;
        index_t const bytes = round_up(packed_size<Weight>(depth, columns), 64);
        result.starts[number] = at;
        result.steps[number] = bytes;
        buffer<T> rows(blob != nullptr ? columns * depth : 0);
        for (index_t g = 0; g < o.groups; ++g, at += bytes) {
          if (blob == nullptr) continue;
          index_t i = 0;
          for (index_t c = 0; c < columns; ++c)
            for (index_t kz = 0; kz < z.forward.kernel; ++kz)
              for (index_t ky = 0; ky < y.forward.kernel; ++ky) {
                for (index_t kx = 0; kx < x.forward.kernel; ++kx)
                  for (index_t k = 0; k < w.c; ++k)
                    rows[i++] = w(g * columns + c, z.last - kz * z.step, y.last - ky * y.step, x.last - kx * x.step, k);
                for (index_t k = codes; k < run; ++k) rows[i++] = static_cast<T>(packed_matrix_view<Weight>::offset);  // stored as 0
              }
          pack_into<Weight>(blob + at, bytes, row_major(static_cast<T const*>(rows.data()), columns, depth).transposed());
        }
      }
  return at;
}

template <class Weight, class T>
packed_conv<Weight> pack_conv_checked(char const* op, volume_view<T const> w, conv_options const& o, bool transposed, workspace_view memory) {
  if (w.d < 1 || w.h < 1 || w.w < 1) fail(errc::shape, op, ": the kernel is ", w.d, " x ", w.h, " x ", w.w, "; each size must be at least 1.");
  index_t const sizes[4] = {w.d, w.h, w.w, w.c};
  index_t depth = 1;
  for (index_t const size : sizes) {  // before their product, which may leave index_t
    if (size > max_packed_k / depth)
      fail(errc::depth, op, ": an output has ", w.d, " x ", w.h, " x ", w.w, " x ", w.c, " weights; packed weights hold at most ", max_packed_k, ".");
    depth *= size;
  }
  check_filter(op, o.groups <= w.n ? w.c * o.groups : w.c, {w.n, {w.h, w.w, w.d}, w.c}, o.groups);
  if (o.stride.d < 1 || o.stride.h < 1 || o.stride.w < 1 || o.dilation.d < 1 || o.dilation.h < 1 || o.dilation.w < 1)
    fail(errc::argument, op, ": stride and dilation must be at least 1 along every axis.");
  if (((o.stride.d | o.stride.h | o.stride.w | o.dilation.d | o.dilation.h | o.dilation.w) >> 31) != 0) fail_geometry(op, "kernel's axes");
  if (transposed && (o.stride.h > 65536 / o.stride.w || o.stride.d > 65536 / (o.stride.h * o.stride.w)))
    fail(errc::argument, op, ": the stride is ", o.stride.d, " x ", o.stride.h, " x ", o.stride.w, "; a transposed convolution packs weights for each of at most 65536 phases.");
  if (w.data == nullptr) fail(errc::null, op, ": the weights are null.");
  packed_conv<Weight> r;
  r.options = o;
  r.filter = {w.n, {w.h, w.w, w.d}, w.c};
  r.transposed = transposed;
  index_t const bytes = pack_conv_groups(w, o, transposed, 0, 0, 0, r, nullptr);
  unsigned char* blob = static_cast<unsigned char*>(memory.data);
  if (blob != nullptr) {
    if (memory.bytes < bytes) fail(errc::capacity, op, ": memory has ", memory.bytes, " bytes; these weights need ", bytes, ".");
    if (reinterpret_cast<std::uintptr_t>(blob) % 64 != 0) fail(errc::argument, op, ": memory must start on a 64-byte boundary.");
    r.outside = blob;
  } else {
    r.memory = buffer<unsigned char>(bytes);
    blob = r.memory.data();
  }
  pack_conv_groups(w, o, transposed, 0, 0, 0, r, blob);
  if (!transposed) r.tap_sums = sums_by_tap<Weight>(w, o.groups);
  return r;
}

template <class Weight, class T>
using conv_code = std::conditional_t<std::is_void_v<Weight>, std::remove_const_t<T>, Weight>;

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Packs OHWI weights (a tensor_view with n = outputs) or ODHWI ones (a volume_view). `pack_conv<s4>` takes a 4-bit code an element.
/// `memory`, when given, holds the result: 64-byte aligned, packed_conv_size() bytes, outliving it.
///
/// @errors  shape (outputs not divisible by groups, empty), argument (stride, dilation, groups below 1), null, capacity.
template <class Weight = void, class T>
packed_conv<detail::conv_code<Weight, T>> pack_conv(volume_view<T> weights, conv_options const& options = {}, workspace_view memory = {}) {
  return detail::pack_conv_checked<detail::conv_code<Weight, T>, std::remove_const_t<T>>("pack_conv", weights, options, false, memory);
}
template <class Weight = void, class T>
packed_conv<detail::conv_code<Weight, T>> pack_conv(tensor_view<T> weights, conv_options const& options = {}, workspace_view memory = {}) {
  return pack_conv<Weight>(volume_view<T>(weights), options, memory);
}

/// Bytes that pack_conv needs for these weights.
template <class Weight>
index_t packed_conv_size(filter_shape const& f, conv_options const& options = {}) {
  return options.groups * detail::round_up(packed_size<Weight>(f.kernel.d * f.kernel.h * detail::packed_run(f, options), f.outputs / options.groups), 64);
}

/// The same for a transposed convolution, whose weights are OHWI as well (TFLite's layout): O are the outputs of the layer.
template <class Weight = void, class T>
packed_conv<detail::conv_code<Weight, T>> pack_transposed_conv(tensor_view<T> weights, conv_options const& options = {},
                                                               workspace_view memory = {}) {
  return detail::pack_conv_checked<detail::conv_code<Weight, T>, std::remove_const_t<T>>("pack_transposed_conv", volume_view<T>(weights),
                                                                                         options, true, memory);
}

/// The general convolution; conv2d is this on images.
///
/// @shapes  src NDHWC with c = groups * inputs, dst NDHWC as output_shape says; rows, planes and batches may have any stride.
/// @types   src s8, u8; weights s8, u8, s4, u4; dst and epilogue as gemm's.
/// @range   exact while taps * inputs is within gemm's bound on k; refused otherwise.
/// @rounds  only in the epilogue.
/// @errors  shape, argument, null, overlap (dst with src; with a residual, unless that is dst element for element), capacity (workspace),
///          depth; nothing is written then.
template <class Src, class Weight, class Dst, class E = epilogue<>>
void conv3d(volume_view<Src> src, packed_conv<Weight> const& weights, volume_view<Dst> dst, E const& e = {},
            gemm_options const& options = {}) {
  auto const& o = weights.options;
  if (weights.transposed) fail(errc::argument, "conv: the weights were packed for transposed_conv2d; pack them with pack_conv.");
  if (weights.starts.empty()) fail(errc::null, "conv: the packed weights are empty; pack_conv makes them.");
  window const win = sliding_window("conv", {src.h, src.w, src.d}, weights.filter.kernel, o.stride, o.dilation, o.padding);
  detail::check_conv_operands("conv", src, dst, weights.filter, o.groups, detail::outputs_of(win));
  detail::check_conv_epilogue("conv", e, weights.filter.outputs);
  if (src.n == 0) return;
  detail::check_conv_stages<std::remove_const_t<Src>, Weight, Dst>("conv", e, src.n * win.positions(), weights.filter.outputs, options);
  detail::check_conv_residual("conv", e, dst);
  detail::conv_parts<std::remove_const_t<Src>, Dst> const parts(src, dst, win, o.groups, weights.filter.inputs, weights.filter.outputs, weights.run(), {detail::outputs_of(win)});
  detail::group_weights<Weight> const groups{&weights, 0};
  detail::check_conv_depth(parts, groups, e, options);
  if (options.workspace.data != nullptr) detail::check_workspace("conv", options.workspace, detail::run_conv(parts, groups, e, options, false));
  detail::run_conv(parts, groups, e, options, true);
}

/// dst = epilogue(convolution of src). 1-d: images of height 1. @errors as conv3d.
template <class Src, class Weight, class Dst, class E = epilogue<>>
void conv2d(tensor_view<Src> src, packed_conv<Weight> const& weights, tensor_view<Dst> dst, E const& e = {},
            gemm_options const& options = {}) {
  conv3d(volume_view<Src>(src), weights, volume_view<Dst>(dst), e, options);
}

/// Bytes of workspace with which conv3d, called with these arguments, allocates nothing. @errors shape, argument.
template <class Src, class Weight, class Dst, class E = epilogue<>>
index_t conv_workspace(volume_view<Src> src, packed_conv<Weight> const& weights, volume_view<Dst> dst, E const& e = {}, gemm_options const& options = {}) {
  auto const& o = weights.options;
  window const win = sliding_window("conv", {src.h, src.w, src.d}, weights.filter.kernel, o.stride, o.dilation, o.padding);
  detail::check_conv_operands("conv", src, dst, weights.filter, o.groups, detail::outputs_of(win));
  detail::check_conv_epilogue("conv", e, weights.filter.outputs);
  detail::conv_parts<std::remove_const_t<Src>, Dst> const parts(src, dst, win, o.groups, weights.filter.inputs, weights.filter.outputs, weights.run(), {detail::outputs_of(win)});
  return detail::run_conv(parts, detail::group_weights<Weight>{&weights, 0}, e, options, false);
}
/// The same for conv2d.
template <class Src, class Weight, class Dst, class E = epilogue<>>
index_t conv_workspace(tensor_view<Src> src, packed_conv<Weight> const& weights, tensor_view<Dst> dst, E const& e = {}, gemm_options const& options = {}) {
  return conv_workspace(volume_view<Src>(src), weights, volume_view<Dst>(dst), e, options);
}

}  // inline namespace QUERN_ABI

namespace detail {
inline namespace QUERN_ABI {

enum class phase_work { check, measure, run };

/// All phases of a transposed convolution: checks that they are exact, says how many bytes of workspace they take, or runs them.
template <class Src, class Weight, class Dst, class E>
index_t run_transposed(tensor_view<Src> src, packed_conv<Weight> const& weights, tensor_view<Dst> dst, window const& win, E const& e,
                       gemm_options const& options, phase_work work) {
  auto const& o = weights.options;
  index_t bytes = 0;
  for (index_t py = 0, number = 0; py < o.stride.h; ++py)
    for (index_t px = 0; px < o.stride.w; ++px, ++number) {
      auto const y = phase_numbered(win.h, py), x = phase_numbered(win.w, px);
      if (y.forward.out <= 0 || x.forward.out <= 0) continue;
      auto const first = [](axis const& a, index_t phase) { return ((phase - a.before) % a.stride + a.stride) % a.stride; };
      window const part{axis{}, y.forward, x.forward};
      output_grid const grid{{win.h.out, win.w.out, 1}, {first(win.h, py), first(win.w, px), 0}, {o.stride.h, o.stride.w, 1}};
      conv_parts<std::remove_const_t<Src>, Dst> const parts(src, dst, part, o.groups, weights.filter.inputs, weights.filter.outputs,
                                                            x.forward.kernel * weights.filter.inputs, grid);
      group_weights<Weight> const groups{&weights, number};
      if (work == phase_work::check) {
        check_conv_depth(parts, groups, e, options);
        continue;
      }
      index_t const needed = run_conv(parts, groups, e, options, work == phase_work::run);
      bytes = needed > bytes ? needed : bytes;
    }
  return bytes;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// The transposed convolution: every source pixel adds its weighted kernel to the destination, stride apart. It runs as
/// stride_h * stride_w ordinary convolutions, one for each phase of the destination, by sub-kernels that were packed once.
///
/// @shapes  dst as transposed_output_shape says, or any size for padding `same` (TFLite gives it).
/// @errors  as conv3d.
template <class Src, class Weight, class Dst, class E = epilogue<>>
void transposed_conv2d(tensor_view<Src> src, packed_conv<Weight> const& weights, tensor_view<Dst> dst, E const& e = {},
                       gemm_options const& options = {}) {
  auto const& o = weights.options;
  if (!weights.transposed) fail(errc::argument, "transposed_conv2d: the weights were packed for conv2d; pack them with pack_transposed_conv.");
  window const win = detail::spreading_window({src.h, src.w, 1}, weights.filter, o, {dst.h, dst.w, 1});
  detail::check_conv_operands("transposed_conv2d", volume_view<Src>(src), volume_view<Dst>(dst), weights.filter, o.groups, {win.h.out, win.w.out, 1});
  detail::check_conv_epilogue("transposed_conv2d", e, weights.filter.outputs);
  if (src.n == 0) return;
  using work = detail::phase_work;
  detail::check_conv_stages<std::remove_const_t<Src>, Weight, Dst>("transposed_conv2d", e, src.n * win.positions(), weights.filter.outputs, options);
  detail::check_conv_residual("transposed_conv2d", e, volume_view<Dst>(dst));
  detail::run_transposed(src, weights, dst, win, e, options, work::check);
  if (options.workspace.data != nullptr)
    detail::check_workspace("transposed_conv2d", options.workspace, detail::run_transposed(src, weights, dst, win, e, options, work::measure));
  detail::run_transposed(src, weights, dst, win, e, options, work::run);
}

/// Bytes of workspace with which transposed_conv2d, called with these arguments, allocates nothing. @errors as transposed_conv2d.
template <class Src, class Weight, class Dst, class E = epilogue<>>
index_t transposed_conv_workspace(tensor_view<Src> src, packed_conv<Weight> const& weights, tensor_view<Dst> dst, E const& e = {},
                                  gemm_options const& options = {}) {
  window const win = detail::spreading_window({src.h, src.w, 1}, weights.filter, weights.options, {dst.h, dst.w, 1});
  detail::check_conv_operands("transposed_conv2d", volume_view<Src>(src), volume_view<Dst>(dst), weights.filter, weights.options.groups, {win.h.out, win.w.out, 1});
  detail::check_conv_epilogue("transposed_conv2d", e, weights.filter.outputs);
  return detail::run_transposed(src, weights, dst, win, e, options, detail::phase_work::measure);
}

/// Copies a tensor of any layout, NCHW for instance (`nchw(data, n, c, h, w)`), into NHWC. @errors shape, null.
template <class T>
void to_nhwc(non_deduced<tensor_view<T const>> src, tensor_view<T> dst) {
  if (src.n != dst.n || src.h != dst.h || src.w != dst.w || src.c != dst.c) fail(errc::shape, "to_nhwc: src and dst differ in size.");
  if (!src.empty() && (src.data == nullptr || dst.data == nullptr)) fail(errc::null, "to_nhwc: ", src.data == nullptr ? "src" : "dst", " is null.");
  for (index_t b = 0; b < src.n; ++b)
    for (index_t y = 0; y < src.h; ++y)
      for (index_t x = 0; x < src.w; ++x)
        for (index_t i = 0; i < src.c; ++i) dst(b, y, x, i) = src(b, y, x, i);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
