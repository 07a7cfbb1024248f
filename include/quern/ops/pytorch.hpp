// pytorch.hpp — PyTorch's quantized operators under their own names, for each engine.
//
//     pytorch::quantize_per_tensor<u8>(nd(x, s), 0.1, 3, nd(y, s));                             // the generic engine
//     pytorch::quantize_per_tensor<u8, convention::pytorch_fbgemm>(nd(x, s), 0.1, 3, nd(y, s));
//     pytorch::linear(row_major(x, m, k), px, row_major(w, n, k), {.scale = view(sw)}, view(bias), row_major(y, m, n), py);
//
// Thin functions over the library: the arithmetic is convention/pytorch.hpp's. Scales are doubles in PyTorch and floats in its kernels;
// the casts are here. Weights are packed on every call; a program that runs a layer twice packs once and calls gemm<convention::pytorch>.
//
// @source  pytorch/pytorch aten/src/ATen/native/quantized/{QTensor,FakeQuantPerTensorAffine,FakeQuantPerChannelAffine}.cpp.
#pragma once

#include "onnx.hpp"

QUERN_FP_BEGIN

namespace quern::pytorch {

/// Scales and zero points of a weight: one, or one an output channel.
using weight_qparams = onnx::operand;

inline namespace QUERN_ABI {

/// torch.quantize_per_tensor. @errors shape, null, scale, zero_point.
template <quantized_code Code, convention_policy Engine = convention::pytorch, class X>
void quantize_per_tensor(nd_view<X> x, double scale, std::int64_t zero_point, nd_view<typename code_of_t<Code>::storage> y, isa max_isa = isa::best) {
  if (!(x.extents == y.extents) || !x.contiguous() || !y.contiguous())
    fail(errc::shape, "quantize_per_tensor: x has ", x.size(), " elements, y ", y.size(), "; they must have the same shape, without gaps.");
  if (zero_point < code_of_t<Code>::min || zero_point > code_of_t<Code>::max)
    fail(errc::zero_point, "quantize_per_tensor: zero_point is ", zero_point, "; it must be ", code_of_t<Code>::min, " to ", code_of_t<Code>::max, ".");
  quantize_as<Engine, Code>(vector_view<float const>{x.data, x.size(), 1}, {static_cast<float>(scale), static_cast<std::int32_t>(zero_point)},
                            vector_view<typename code_of_t<Code>::storage>{y.data, y.size(), 1}, max_isa);
}

/// torch.quantize_per_channel along `axis`. @errors shape, null, argument (axis), scale, zero_point.
template <quantized_code Code, convention_policy Engine = convention::pytorch, class X>
void quantize_per_channel(nd_view<X> x_, vector_view<double const> scales, vector_view<std::int64_t const> zero_points, int axis,
                          nd_view<typename code_of_t<Code>::storage> y, isa max_isa = isa::best) {
  nd_view<std::remove_const_t<X> const> const x = x_;
  nd_view<double const> const s = nd(scales.data, make_shape(scales.size));
  auto const zeros = nd(zero_points.data, make_shape(zero_points.size));
  quern::detail::check_linear("quantize_per_channel", x, s, zeros, y);
  quern::detail::check_scales<Code>("quantize_per_channel", s, zeros);
  auto const stretch = [&](index_t first, index_t count, index_t c) {
    quantize_as<Engine, Code>(view(x.data + first, count), {static_cast<float>(scales[c]), static_cast<std::int32_t>(zero_points.data == nullptr ? 0 : zero_points[c])},
                              view(y.data + first, count), max_isa);
  };
  index_t const count = x.extents.rank > 0 ? scales.size : 1;
  if constexpr (std::is_same_v<std::remove_const_t<X>, float> && quern::detail::quantizes_in_a_loop<Engine, Code> && !quern::detail::narrow_codes<Engine>) {
    buffer<float> single(scales.size);
    for (index_t c = 0; c < scales.size; ++c) single[c] = static_cast<float>(scales[c]);
    auto const zero = quern::detail::widened_zero_points(zeros);
    quern::detail::for_each_scale("quantize_per_channel", x.extents, s.extents, count, {.axis = axis}, stretch, [&](index_t first, index_t rows, index_t cols, index_t c) {
      quern::detail::quantize_by_columns<Engine, Code>(row_major(x.data + first, rows, cols), {single.data() + c, zero.empty() ? nullptr : zero.data() + c, cols},
                                                    row_major(y.data + first, rows, cols), max_isa);
      return true;
    });
  } else {
    quern::detail::for_each_scale("quantize_per_channel", x.extents, s.extents, count, {.axis = axis}, stretch);
  }
}

/// Tensor.dequantize(). @errors shape, null.
template <class T>
void dequantize(nd_view<T> q, double scale, std::int64_t zero_point, nd_view<float> y) {
  if (!(q.extents == y.extents) || !q.contiguous() || !y.contiguous())
    fail(errc::shape, "dequantize: q has ", q.size(), " elements, y ", y.size(), "; they must have the same shape, without gaps.");
  dequantize_as<convention::pytorch>(vector_view<std::remove_const_t<T> const>{q.data, q.size(), 1}, {static_cast<float>(scale), static_cast<std::int32_t>(zero_point)}, view(y.data, y.size()));
}

namespace detail {
inline void check_fake_quantize(double scale, std::int32_t zero_point, std::int32_t qmin, std::int32_t qmax) {
  if (qmin > qmax || zero_point < qmin || zero_point > qmax)
    fail(errc::argument, "fake_quantize: zero_point is ", zero_point, ", the codes ", qmin, " to ", qmax, "; it must be one of them.");
  auto const single = static_cast<float>(scale);
  if (!(single > 0) || !is_finite(single)) fail(errc::scale, "fake_quantize: the scale is ", scale, "; it must be positive and finite, as a float.");
}
}  // namespace detail

/// torch.fake_quantize_per_tensor_affine; `mask`, when given, tells where the gradient passes. @errors shape, null, scale, argument.
template <class X>
void fake_quantize_per_tensor_affine(nd_view<X> x, double scale, std::int32_t zero_point, std::int32_t qmin, std::int32_t qmax, nd_view<float> y,
                                     bool* mask = nullptr, bool int64_first = true) {
  if (!(x.extents == y.extents) || !x.contiguous() || !y.contiguous()) fail(errc::shape, "fake_quantize: x has ", x.size(), " elements, y ", y.size(), "; they must have the same shape, without gaps.");
  detail::check_fake_quantize(scale, zero_point, qmin, qmax);
  if (x.size() > 0 && (x.data == nullptr || y.data == nullptr)) fail(errc::null, "fake_quantize: ", x.data == nullptr ? "x" : "y", " is null.");
  for (index_t i = 0; i < x.size(); ++i) {
    auto const r = convention::pytorch::fake_quantize(x.data[i], {static_cast<float>(scale), zero_point}, qmin, qmax, int64_first);
    y.data[i] = r.value;
    if (mask != nullptr) mask[i] = r.passes;
  }
}

/// The same with a scale and zero point for each index along `axis`.
template <class X>
void fake_quantize_per_channel_affine(nd_view<X> x_, vector_view<float const> scales, vector_view<std::int32_t const> zero_points, int axis,
                                      std::int32_t qmin, std::int32_t qmax, nd_view<float> y, bool* mask = nullptr, bool int64_first = true) {
  nd_view<std::remove_const_t<X> const> const x = x_;
  auto const s = nd(scales.data, make_shape(scales.size));
  quern::detail::check_linear("fake_quantize", x, s, nd(zero_points.data, make_shape(zero_points.size)), y);
  for (index_t c = 0; c < scales.size; ++c)  // all of them before anything is written
    detail::check_fake_quantize(static_cast<double>(scales[c]), zero_points.data == nullptr ? 0 : zero_points[c], qmin, qmax);
  quern::detail::for_each_scale("fake_quantize", x.extents, s.extents, scales.size, {.axis = axis}, [&](index_t first, index_t count, index_t c) {
    auto const part = make_shape(count);
    fake_quantize_per_tensor_affine(nd(x.data + first, part), static_cast<double>(scales[c]), zero_points.data == nullptr ? 0 : zero_points[c], qmin, qmax,
                                    nd(y.data + first, part), mask == nullptr ? nullptr : mask + first, int64_first);
  });
}

/// The straight-through gradient: dx = dy * mask (so that a masked negative dy gives -0, as PyTorch's product does).
inline void fake_quantize_backward(vector_view<float const> dy, bool const* mask, vector_view<float> dx) {
  if (dy.size != dx.size) fail(errc::shape, "fake_quantize_backward: dy has ", dy.size, " elements, dx ", dx.size, "; they must be equal.");
  if (dy.size > 0 && (dy.data == nullptr || dx.data == nullptr || mask == nullptr)) fail(errc::null, "fake_quantize_backward: an operand is null.");
  for (index_t i = 0; i < dy.size; ++i) dx[i] = dy[i] * (mask[i] ? 1.0f : 0.0f);
}

/// What learnable (LSQ) fake quantization sends back to its scale and zero point: sums over x, in double.
struct learnable_gradients {
  double scale = 0, zero_point = 0;
};
/// _fake_quantize_learnable_per_tensor_affine's backward. `grad_factor` multiplies both sums.
inline learnable_gradients fake_quantize_learnable_backward(vector_view<float const> x, vector_view<float const> dy, float scale, float zero_point,
                                                            std::int32_t qmin, std::int32_t qmax, float grad_factor, vector_view<float> dx) {
  if (x.size != dy.size || x.size != dx.size) fail(errc::shape, "fake_quantize_learnable_backward: x, dy and dx have ", x.size, ", ", dy.size, " and ", dx.size, " elements; they must be equal.");
  if (x.size > 0 && (x.data == nullptr || dy.data == nullptr || dx.data == nullptr)) fail(errc::null, "fake_quantize_learnable_backward: an operand is null.");
  if (!(scale > 0) || !is_finite(scale)) fail(errc::scale, "fake_quantize_learnable_backward: the scale is ", static_cast<double>(scale), "; it must be positive and finite.");
  learnable_gradients g;
  for (index_t i = 0; i < x.size; ++i) {
    auto const r = convention::pytorch::fake_quantize_learnable(x[i], scale, zero_point, qmin, qmax, dy[i]);
    dx[i] = r.dx;
    g.scale += static_cast<double>(rounded(r.dscale * grad_factor));
    g.zero_point += static_cast<double>(rounded(r.dzero_point * grad_factor));
  }
  return g;
}

/// quantized::add, quantized::mul (and their _relu forms), with broadcasting. @errors shape, null, scale (qnnpack's ratios).
template <convention_policy Engine = convention::pytorch, class T>
void add(non_deduced<nd_view<T const>> a, convention::affine pa, non_deduced<nd_view<T const>> b, convention::affine pb, nd_view<T> y, convention::affine py, bool relu = false) {
  convention::limits const l{relu ? py.zero_point : code_of_t<T>::min, code_of_t<T>::max};
  quern::add<Engine>(a, pa, b, pb, y, py, l);
}
template <convention_policy Engine = convention::pytorch, class T>
void mul(non_deduced<nd_view<T const>> a, convention::affine pa, non_deduced<nd_view<T const>> b, convention::affine pb, nd_view<T> y, convention::affine py, bool relu = false) {
  convention::limits const l{relu ? py.zero_point : code_of_t<T>::min, code_of_t<T>::max};
  quern::mul<Engine>(a, pa, b, pb, y, py, l);
}

/// The bias that quantized::linear and conv2d add: int32 in steps of Sx Sw (engine onednn: kept as float).
inline buffer<std::int32_t> quantize_bias(vector_view<float const> bias, float src_scale, weight_qparams const& w) {
  buffer<std::int32_t> q(bias.size);
  for (index_t j = 0; j < bias.size; ++j) q[j] = convention::pytorch::quantize_bias(bias[j], src_scale, w.scale[j]);
  return q;
}

/// quantized::linear: x m x k, w n x k (as torch.nn.Linear has it), y m x n. @errors shape, null, scale, zero_point, depth.
template <convention_policy Engine = convention::pytorch, class X, class W, class Y>
void linear(matrix_view<X> x, convention::affine px, matrix_view<W> w, weight_qparams const& pw, vector_view<float const> bias, matrix_view<Y> y,
            convention::affine py, bool relu = false, gemm_options const& options = {}) {
  if (bias.size != 0 && bias.size != w.rows) fail(errc::shape, "linear: bias has ", bias.size, " elements, w ", w.rows, " rows; they must be equal.");
  layer_params p{.src = px, .weight_scale = pw.scale, .weight_zero_point = pw.zero_point, .bias = {}, .dst = py};
  if (relu) p.clamped.min = py.zero_point;
  quern::detail::check_layer("linear", p, w.rows);
  auto const weights = pack(w.transposed());
  if constexpr (quern::detail::is_onednn<Engine>) {
    quern::gemm(x, weights, y, prepared_layer<Engine>{p, quern::detail::layer_rescale<Engine>(p, w.rows, bias)}, options);
  } else {
    auto const q = quantize_bias(bias, px.scale, pw);
    p.bias = {q.data(), q.size(), 1};
    quern::gemm<Engine>(x, weights, y, p, options);
  }
}

}  // inline namespace QUERN_ABI

namespace detail {
inline namespace QUERN_ABI {
template <class Engine, class X, class W, class Y>
void conv(char const* op, int rank, nd_view<X> x, convention::affine px, nd_view<W> w, weight_qparams const& pw, vector_view<float const> bias, nd_view<Y> y,
          convention::affine py, conv_options const& o, bool relu, gemm_options const& options) {
  if (w.extents.rank != rank || x.extents.rank != rank) fail(errc::shape, op, ": x and w have ranks ", x.extents.rank, " and ", w.extents.rank, "; both must be ", rank, ".");
  if (bias.size != 0 && bias.size != w.extents.dim[0]) fail(errc::shape, op, ": bias has ", bias.size, " elements; there must be one for each output of w.");
  layer_params p{.src = px, .weight_scale = pw.scale, .weight_zero_point = pw.zero_point, .bias = {}, .dst = py};
  if (relu) p.clamped.min = py.zero_point;
  quern::detail::check_layer(op, p, w.extents.dim[0]);
  buffer<std::int32_t> q;
  if constexpr (!quern::detail::is_onednn<Engine>) {
    q = quantize_bias(bias, px.scale, pw);
    p.bias = {q.data(), q.size(), 1};
  }
  prepared_layer<Engine> const layer{p, quern::detail::layer_rescale<Engine>(p, w.extents.dim[0], bias)};
  quern::detail::through_ndhwc(op, nd_view<std::remove_const_t<X> const>(x), nd_view<std::remove_const_t<W> const>(w), o, y,
                               [&](auto src, auto const& weights, auto dst) { quern::conv3d(src, weights, dst, layer, options); });
}
}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// quantized::conv1d, conv2d and conv3d: x NCW, NCHW, NCDHW, w OIW, OIHW, OIDHW, y as x. (PyTorch's own qnnpack engine has no conv3d; here it
/// is the same arithmetic.) @errors as linear, argument.
template <convention_policy Engine = convention::pytorch, class X, class W, class Y>
void conv1d(nd_view<X> x, convention::affine px, nd_view<W> w, weight_qparams const& pw, vector_view<float const> bias, nd_view<Y> y,
            convention::affine py, conv_options const& o = {}, bool relu = false, gemm_options const& options = {}) {
  detail::conv<Engine>("conv1d", 3, x, px, w, pw, bias, y, py, o, relu, options);
}
template <convention_policy Engine = convention::pytorch, class X, class W, class Y>
void conv2d(nd_view<X> x, convention::affine px, nd_view<W> w, weight_qparams const& pw, vector_view<float const> bias, nd_view<Y> y,
            convention::affine py, conv_options const& o = {}, bool relu = false, gemm_options const& options = {}) {
  detail::conv<Engine>("conv2d", 4, x, px, w, pw, bias, y, py, o, relu, options);
}
template <convention_policy Engine = convention::pytorch, class X, class W, class Y>
void conv3d(nd_view<X> x, convention::affine px, nd_view<W> w, weight_qparams const& pw, vector_view<float const> bias, nd_view<Y> y,
            convention::affine py, conv_options const& o = {}, bool relu = false, gemm_options const& options = {}) {
  detail::conv<Engine>("conv3d", 5, x, px, w, pw, bias, y, py, o, relu, options);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::pytorch

QUERN_FP_END
