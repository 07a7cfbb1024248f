// shape.hpp — output_shape(...): what a layer will write, before it runs; constexpr, with the layer's own errors.
//
//     constexpr auto s = output_shape(make_shape(1, 224, 224, 3), ohwi_shape(64, 7, 7, 3), {.stride = {2, 2}, .padding = same});
//     static_assert(s == make_shape(1, 112, 112, 64));
#pragma once

#include "../core/geometry.hpp"
#include "../core/shape.hpp"

namespace quern {

/// How a convolution's window moves. A depth is only there for 3-d ones; 1-d ones have height 1.
struct conv_options {
  extent stride{1, 1, 1};
  extent dilation{1, 1, 1};
  quern::padding padding = valid;
  index_t groups = 1;
};

/// How a pool's window moves.
struct pool_options {
  extent size{1, 1, 1};
  extent stride{1, 1, 1};
  quern::padding padding = valid;
};

/// A convolution's weights: outputs x kernel x inputs of one group.
struct filter_shape {
  index_t outputs = 0;
  extent kernel{};
  index_t inputs = 0;
};

inline namespace QUERN_ABI {

constexpr filter_shape ohwi_shape(index_t o, index_t h, index_t w, index_t i) noexcept { return {o, {h, w, 1}, i}; }
constexpr filter_shape odhwi_shape(index_t o, index_t d, index_t h, index_t w, index_t i) noexcept { return {o, {h, w, d}, i}; }

}  // inline namespace QUERN_ABI

namespace detail {
inline namespace QUERN_ABI {

/// What groups, channels and filter must satisfy.
constexpr void check_filter(char const* op, index_t channels, filter_shape const& f, index_t groups) {
  if (groups < 1) fail(errc::argument, op, ": groups is ", groups, "; it must be at least 1.");
  if (f.outputs < 1 || f.inputs < 1)
    fail(errc::shape, op, ": the filter has ", f.outputs, " outputs and ", f.inputs, " inputs; each must be at least 1.");
  if (channels % groups != 0 || f.outputs % groups != 0)
    fail(errc::shape, op, ": ", channels, " input and ", f.outputs, " output channels are not divisible by ", groups, " groups.");
  if (channels / groups != f.inputs)
    fail(errc::shape, op, ": the source has ", channels, " channels in ", groups, " groups, but the filter takes ", f.inputs,
         " a group; it must take ", channels / groups, ".");
}

constexpr extent image_extent(char const* op, shape const& s) {
  if (s.rank == 4) return {s.dim[1], s.dim[2], 1};
  if (s.rank == 5) return {s.dim[2], s.dim[3], s.dim[1]};
  fail(errc::shape, op, ": the source has rank ", s.rank, "; it must be NHWC (4) or NDHWC (5).");
}
constexpr shape with_image(shape s, extent e, index_t channels) noexcept {
  if (s.rank == 5) s.dim[1] = e.d;
  s.dim[s.rank - 3] = e.h;
  s.dim[s.rank - 2] = e.w;
  s.dim[s.rank - 1] = channels;
  return s;
}
constexpr extent outputs_of(window const& w) noexcept { return {w.h.out, w.w.out, w.d.out}; }

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// A convolution's output. @errors shape, argument: as conv2d.
constexpr shape output_shape(shape const& src, filter_shape const& f, conv_options const& o = {}) {
  detail::check_filter("output_shape", src.dim[src.rank - 1], f, o.groups);
  auto const w = sliding_window("output_shape", detail::image_extent("output_shape", src), f.kernel, o.stride, o.dilation, o.padding);
  return detail::with_image(src, detail::outputs_of(w), f.outputs);
}

/// A depthwise convolution's: `multiplier` outputs a channel.
constexpr shape depthwise_output_shape(shape const& src, extent kernel, index_t multiplier, conv_options const& o = {}) {
  auto const w = sliding_window("output_shape", detail::image_extent("output_shape", src), kernel, o.stride, o.dilation, o.padding);
  if (multiplier < 1) fail(errc::argument, "output_shape: the multiplier is ", multiplier, "; it must be at least 1.");
  return detail::with_image(src, detail::outputs_of(w), src.dim[src.rank - 1] * multiplier);
}

/// A pool's.
constexpr shape output_shape(shape const& src, pool_options const& o) {
  auto const w = sliding_window("output_shape", detail::image_extent("output_shape", src), o.size, o.stride, {}, o.padding);
  return detail::with_image(src, detail::outputs_of(w), src.dim[src.rank - 1]);
}

/// A transposed convolution's, unless the caller fixes the size.
constexpr shape transposed_output_shape(shape const& src, filter_shape const& f, conv_options const& o = {}) {
  detail::check_filter("output_shape", src.dim[src.rank - 1], f, o.groups);
  extent const in = detail::image_extent("output_shape", src);
  auto const& p = o.padding;
  window const w{spreading_axis("output_shape", "depth", in.d, f.kernel.d, o.stride.d, o.dilation.d, p.rule, p.front, p.back, 0),
                 spreading_axis("output_shape", "height", in.h, f.kernel.h, o.stride.h, o.dilation.h, p.rule, p.top, p.bottom, 0),
                 spreading_axis("output_shape", "width", in.w, f.kernel.w, o.stride.w, o.dilation.w, p.rule, p.left, p.right, 0)};
  return detail::with_image(src, detail::outputs_of(w), f.outputs);
}

/// A reduction's over the dimensions whose bits are set in `axes`: size 1 there, or gone.
constexpr shape reduced_shape(shape const& src, unsigned axes, bool keep = true) noexcept {
  shape r;
  for (int d = 0; d < src.rank; ++d) {
    if (((axes >> d) & 1) == 0)
      r.dim[r.rank++] = src.dim[d];
    else if (keep)
      r.dim[r.rank++] = 1;
  }
  return r;
}

/// A concatenation's along dimension d. @errors shape when the others differ.
constexpr shape concatenated_shape(shape const* parts, int count, int d) {
  if (count < 1) fail(errc::argument, "concatenated_shape: there are ", count, " parts; there must be at least one.");
  shape r = parts[0];
  if (d < 0 || d >= r.rank) fail(errc::argument, "concatenated_shape: dimension ", d, " does not exist in rank ", r.rank, ".");
  for (int i = 1; i < count; ++i)
    for (int k = 0; k < r.rank || k < parts[i].rank; ++k) {
      if (parts[i].rank != r.rank || (k != d && parts[i].dim[k] != r.dim[k]))
        fail(errc::shape, "concatenated_shape: part ", i, " has ", parts[i].dim[k], " in dimension ", k, ", part 0 has ", r.dim[k],
             "; all but dimension ", d, " must be equal.");
      if (k == d) r.dim[k] += parts[i].dim[k];
    }
  return r;
}

}  // inline namespace QUERN_ABI
}  // namespace quern
