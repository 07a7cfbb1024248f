// geometry.hpp — how a window slides over an image: stride, dilation, padding, and the sizes that follow.
//
//     in(o, k) = o * stride - before + k * dilation        the input position that tap k of output position o reads
//     reach    = (kernel - 1) * dilation + 1                the input positions that a window spans
//
//            before                 in = 5                after
//              ┌─┐ ┌─────────────────────────────┐ ┌─┐
//              │·│ │ 0     1     2     3     4   │ │·│     kernel 3, stride 2, padding same: out = 3
//              └─┘ └─────────────────────────────┘ └─┘
//               └──── o = 0 ───┘     └── o = 2 ────┘
//
// The same for one, two and three dimensions: an axis that is not there has size 1 and kernel 1. Everything is constexpr.
#pragma once

#include "error.hpp"
#include "views.hpp"

namespace quern {

/// n x d x h x w x c elements (batch, depth, height, width, channels); c is the innermost.
template <class T>
struct volume_view {
  T* data = nullptr;
  index_t n = 0, d = 0, h = 0, w = 0, c = 0;
  index_t n_stride = 0, d_stride = 0, h_stride = 0, w_stride = 0, c_stride = 1;

  QUERN_INLINE constexpr volume_view() noexcept = default;
  /// NDHWC without gaps.
  QUERN_INLINE constexpr volume_view(T* p, index_t batch, index_t depth, index_t height, index_t width, index_t channels) noexcept
      : data(p), n(batch), d(depth), h(height), w(width), c(channels), n_stride(depth * height * width * channels),
        d_stride(height * width * channels), h_stride(width * channels), w_stride(channels), c_stride(1) {}
  QUERN_INLINE constexpr volume_view(T* p, index_t n_, index_t d_, index_t h_, index_t w_, index_t c_, index_t ns, index_t ds,
                                     index_t hs, index_t ws, index_t cs) noexcept
      : data(p), n(n_), d(d_), h(h_), w(w_), c(c_), n_stride(ns), d_stride(ds), h_stride(hs), w_stride(ws), c_stride(cs) {}
  /// An image is a volume of depth 1.
  template <class U>
    requires std::same_as<std::remove_const_t<U>, std::remove_const_t<T>> && std::is_convertible_v<U*, T*>
  QUERN_INLINE constexpr volume_view(tensor_view<U> const& t) noexcept
      : data(t.data), n(t.n), d(1), h(t.h), w(t.w), c(t.c), n_stride(t.n_stride), d_stride(0), h_stride(t.h_stride),
        w_stride(t.w_stride), c_stride(t.c_stride) {}
  template <class U>
    requires(!std::same_as<U, T>) && std::same_as<std::remove_const_t<U>, std::remove_const_t<T>> && std::is_convertible_v<U*, T*>
  QUERN_INLINE constexpr volume_view(volume_view<U> const& v) noexcept
      : data(v.data), n(v.n), d(v.d), h(v.h), w(v.w), c(v.c), n_stride(v.n_stride), d_stride(v.d_stride), h_stride(v.h_stride),
        w_stride(v.w_stride), c_stride(v.c_stride) {}

  QUERN_INLINE constexpr T& operator()(index_t b, index_t z, index_t y, index_t x, index_t i) const noexcept {
    return data[b * n_stride + z * d_stride + y * h_stride + x * w_stride + i * c_stride];
  }
  QUERN_INLINE constexpr index_t size() const noexcept { return n * d * h * w * c; }
  QUERN_INLINE constexpr bool empty() const noexcept { return n <= 0 || d <= 0 || h <= 0 || w <= 0 || c <= 0; }
  /// Rows of w * c elements without gaps.
  QUERN_INLINE constexpr bool dense_rows() const noexcept { return (c_stride == 1 || c <= 1) && (w_stride == c || w <= 1); }
  QUERN_INLINE constexpr bool contiguous() const noexcept {
    return dense_rows() && (h_stride == w * c || h <= 1) && (d_stride == h * w * c || d <= 1) && (n_stride == d * h * w * c || n <= 1);
  }
};

/// Height, width and depth of something; {2, 2} is two rows, two columns, one plane.
struct extent {
  index_t h = 1, w = 1, d = 1;
  QUERN_INLINE friend constexpr bool operator==(extent a, extent b) noexcept { return a.h == b.h && a.w == b.w && a.d == b.d; }
};

enum class padding_rule : signed char {
  given,       ///< the numbers below
  same,        ///< out = ceil(in / stride); an odd total puts the larger half at the end (TFLite and ONNX SAME_UPPER)
  same_lower,  ///< the larger half at the beginning (ONNX SAME_LOWER)
};

/// Positions around an image that count as real 0.0, i.e. as the zero point.
struct padding {
  padding_rule rule = padding_rule::given;
  index_t top = 0, bottom = 0, left = 0, right = 0, front = 0, back = 0;
};
inline constexpr padding valid{};
inline constexpr padding same{padding_rule::same};
inline constexpr padding same_lower{padding_rule::same_lower};

/// A window along one dimension, everything resolved.
struct axis {
  index_t in = 1, kernel = 1, stride = 1, dilation = 1, before = 0, out = 1;

  QUERN_INLINE constexpr index_t reach() const noexcept { return (kernel - 1) * dilation + 1; }
  QUERN_INLINE constexpr index_t at(index_t o, index_t k) const noexcept { return o * stride - before + k * dilation; }
  /// Whether every tap of every output position lies inside of the image.
  QUERN_INLINE constexpr bool inside() const noexcept { return before <= 0 && at(out - 1, kernel - 1) < in; }
};

/// What a convolution or pooling does along its three axes, without its types.
struct window {
  axis d, h, w;
  QUERN_INLINE constexpr index_t taps() const noexcept { return d.kernel * h.kernel * w.kernel; }
  QUERN_INLINE constexpr index_t positions() const noexcept { return d.out * h.out * w.out; }
};

namespace detail {
inline namespace QUERN_ABI {
/// Positions are index_t: their products must stay within it.
[[noreturn]] QUERN_COLD inline void fail_geometry(char const* op, char const* name) {
  fail(errc::shape, op, ": kernel, stride, dilation and padding along the ", name, " must be below 2^31.");
}
}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Padding by number: pad(top, bottom, left, right).
constexpr padding pad(index_t top, index_t bottom, index_t left, index_t right, index_t front = 0, index_t back = 0) noexcept {
  return {padding_rule::given, top, bottom, left, right, front, back};
}

/// Resolves one axis.
///
///     given:  out = floor((in + before + after - reach) / stride) + 1
///     same:   out = ceil(in / stride), total = max((out - 1) * stride + reach - in, 0), before = total / 2 (same_lower: the rest)
///
/// @errors argument when kernel, stride or dilation is below 1 or padding negative; shape when the window does not fit the
///         padded input. `op` and `name` head the sentence.
constexpr axis sliding_axis(char const* op, char const* name, index_t in, index_t kernel, index_t stride, index_t dilation,
                            padding_rule rule, index_t before, index_t after) {
  if (kernel < 1 || stride < 1 || dilation < 1)
    fail(errc::argument, op, ": kernel, stride and dilation along the ", name, " are ", kernel, ", ", stride, " and ", dilation,
         "; each must be at least 1.");
  if (in < 1) fail(errc::shape, op, ": the input's ", name, " is ", in, "; it must be at least 1.");
  if (((kernel | stride | dilation | in >> 29) >> 31) != 0) detail::fail_geometry(op, name);
  axis a{in, kernel, stride, dilation, 0, 0};
  if (rule == padding_rule::given) {
    if (before < 0 || after < 0)
      fail(errc::argument, op, ": the padding along the ", name, " is ", before, " before and ", after, " after; it must not be negative.");
    if (((before | after) >> 31) != 0) detail::fail_geometry(op, name);
    index_t const room = in + before + after - a.reach();
    if (room < 0)
      fail(errc::shape, op, ": along the ", name, " the window reaches over ", a.reach(), " positions, but the padded input has only ",
           in + before + after, ".");
    a.before = before;
    a.out = room / stride + 1;
  } else {
    a.out = (in + stride - 1) / stride;
    index_t const needed = (a.out - 1) * stride + a.reach() - in, total = needed > 0 ? needed : 0;
    a.before = rule == padding_rule::same ? total / 2 : total - total / 2;
  }
  return a;
}

/// Resolves all three axes of a window of size `kernel` over an image of size `in`. @errors as sliding_axis.
constexpr window sliding_window(char const* op, extent in, extent kernel, extent stride, extent dilation, padding const& p) {
  return {sliding_axis(op, "depth", in.d, kernel.d, stride.d, dilation.d, p.rule, p.front, p.back),
          sliding_axis(op, "height", in.h, kernel.h, stride.h, dilation.h, p.rule, p.top, p.bottom),
          sliding_axis(op, "width", in.w, kernel.w, stride.w, dilation.w, p.rule, p.left, p.right)};
}

/// Resolves one axis of a transposed convolution: `in` positions each spread over `kernel` outputs, `stride` apart.
///
///     out position = i * stride - before + k * dilation
///     given:  out = (in - 1) * stride + reach - before - after (+ extra)        same:  out = in * stride
///
/// `out` >= 1 gives the size where several are possible: those whose forward convolution has `in` positions (TFLite stores the
/// output's shape; PyTorch says output_padding). 0 is the smallest for given padding, in * stride for same.
constexpr axis spreading_axis(char const* op, char const* name, index_t in, index_t kernel, index_t stride, index_t dilation,
                              padding_rule rule, index_t before, index_t after, index_t out) {
  if (kernel < 1 || stride < 1 || dilation < 1)
    fail(errc::argument, op, ": kernel, stride and dilation along the ", name, " are ", kernel, ", ", stride, " and ", dilation,
         "; each must be at least 1.");
  if (in < 1) fail(errc::shape, op, ": the input's ", name, " is ", in, "; it must be at least 1.");
  if (((kernel | stride | dilation | in | (out > 0 ? out : 0)) >> 31) != 0) detail::fail_geometry(op, name);
  axis a{in, kernel, stride, dilation, before, out};
  if (rule == padding_rule::given) {
    if (before < 0 || after < 0)
      fail(errc::argument, op, ": the padding along the ", name, " is ", before, " before and ", after, " after; it must not be negative.");
    if (((before | after) >> 31) != 0) detail::fail_geometry(op, name);
    index_t const natural = (in - 1) * stride + a.reach() - before - after;
    if (out < 1) a.out = natural;
    if (a.out < natural || a.out >= natural + stride)
      fail(errc::shape, op, ": along the ", name, " the output has ", a.out, " positions; ", in, " inputs with this kernel, stride and padding give ",
           natural, " to ", natural + stride - 1, ".");
  } else {
    if (out < 1) a.out = in * stride;
    if (a.out <= (in - 1) * stride || a.out > in * stride)
      fail(errc::shape, op, ": along the ", name, " the output has ", a.out, " positions; ", in, " inputs with stride ", stride, " and padding `same` give ",
           (in - 1) * stride + 1, " to ", in * stride, ".");
    // The forward convolution of `out` positions with this stride, kernel and padding rule would give `in` positions.
    index_t const needed = (in - 1) * stride + a.reach() - a.out, total = needed > 0 ? needed : 0;
    a.before = rule == padding_rule::same ? total / 2 : total - total / 2;
  }
  if (a.out < 1)
    fail(errc::shape, op, ": along the ", name, ", ", in, " inputs with stride ", stride, " and padding ", before, " + ", after,
         " leave an output of ", a.out, "; it must be at least 1.");
  return a;
}

}  // inline namespace QUERN_ABI
}  // namespace quern
