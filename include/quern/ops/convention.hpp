// convention.hpp — quern's fast operations in a framework's arithmetic: gemm<convention::tflite>(...), conv2d<...>, add<...>, ...
//
//     auto weights = pack(row_major(w, k, n));
//     gemm<convention::onnx_runtime>(row_major(x, m, k), weights, row_major(y, m, n),
//                                    {.src = {sx, zx}, .weight_scale = view(sw), .bias = view(bias), .dst = {sy, zy}});
//     conv2d<convention::tflite>(nhwc(x, 1, 28, 28, 8), packed, nhwc(y, 1, 28, 28, 16), {.src = ..., .weight_scale = view(sw), .dst = ...});
//     auto const layer = prepare_layer<convention::tflite>({.src = ...}, n);                 // its multipliers, once
//     gemm(row_major(x, m, k), weights, row_major(y, m, n), layer);
//     quantize_as<convention::pytorch, u8>(view(x), {scale, zero_point}, view(y));
//     add<convention::onnx_runtime>(nd(a, s), pa, nd(b, s), pb, nd(y, s), py);
//
// Each is the library's own operation with the convention's parameters: matrix products and convolutions through its rescale policy,
// quantize through its form and rounding, functions of codes through its function objects. Where a convention treats values that are
// no numbers in a way of its own, those few elements are done again by its definition.
#pragma once

#include "../calibrate/min_max.hpp"
#include "../convention/conventions.hpp"
#include "../convert/dequantize.hpp"
#include "../convert/quantize.hpp"
#include "../kernel/average.hpp"
#include "../kernel/convention_elementwise.hpp"
#include "batch_matmul.hpp"
#include "conv2d.hpp"
#include "depthwise.hpp"
#include "elementwise.hpp"
#include "pool.hpp"

namespace quern {

/// A layer's quantization: activations in, weights (one scale, or one an output channel), activations out.
struct layer_params {
  convention::affine src{};
  one_or_each<float> weight_scale = 1.0f;
  one_or_each<std::int32_t> weight_zero_point = 0;
  vector_view<std::int32_t const> bias{};  ///< in steps of src.scale * weight_scale; none, or one an output channel
  convention::affine dst{};
  convention::limits clamped{-2147483647 - 1, 2147483647};  ///< an activation's, in codes of the destination
};

/// A layer whose multipliers are computed: prepare_layer<C>() once, then gemm, conv2d and depthwise_conv2d as often as you like. Looks
/// at the memory that `params` looks at.
template <class C>
struct prepared_layer;

namespace detail {
inline namespace QUERN_ABI {

/// pytorch_onednn adds the zero point before it rounds, and a bias before the scale.
template <class C>
inline constexpr bool is_onednn = std::is_same_v<C, convention::pytorch_onednn>;
/// What the accumulators of a layer go through.
template <class C>
using layer_rescaling = std::conditional_t<is_onednn<C>, rescale::onednn, typename C::rescaling>;
template <class C>
using layer_parameters = typename layer_rescaling<C>::parameters;

/// Conventions whose quantize is quern's own with NaN as the lowest code.
template <class C>
inline constexpr bool saturates_plainly = C::nan == convention::nan_code::lowest && !std::is_base_of_v<convention::pytorch, C>;

template <class C>
inline constexpr bool narrow_codes = std::is_same_v<C, convention::model_optimizer>;

/// The accumulators' rescale parameters: one, or one for each of `n` output channels. `real_bias`: oneDNN's, in real units; else its
/// bias is p.bias, as the others' is.
template <class C>
buffer<layer_parameters<C>> layer_rescale(layer_params const& p, index_t n, [[maybe_unused]] vector_view<float const> real_bias = {}) {
  bool const biased = is_onednn<C> && (p.bias.size > 0 || real_bias.size > 0);
  buffer<layer_parameters<C>> each(p.weight_scale.single() && !biased ? 1 : n);
  for (index_t j = 0; j < each.size(); ++j) {
    if constexpr (is_onednn<C>) {
      auto const stage = C::template output_stage<u8>(p.src.scale, p.weight_scale[j], p.dst, convention::limits_of<u8>, real_bias.size > 0 ? real_bias[j] : 0.0f);
      each[j] = {stage.scale, p.bias.size > 0 ? static_cast<float>(p.bias[j]) : stage.bias, stage.zero_point};
    } else {
      each[j] = C::rescaling::from_real(static_cast<double>(C::effective_scale(p.src.scale, p.weight_scale[j], p.dst.scale)));
    }
  }
  return each;
}

/// A tensor's scale and zero point, the latter a code of `Code`. @errors scale, zero_point.
inline void check_affine(char const* op, char const* what, convention::affine p, convention::limits codes) {
  check_scale(p.scale, op, ": the scale of ", what);
  if (p.zero_point < codes.min || p.zero_point > codes.max)
    fail(errc::zero_point, op, ": the zero point of ", what, " is ", p.zero_point, "; it must be ", codes.min, " to ", codes.max, ".");
}

template <class T>
void check_both(char const* op, convention::affine px, convention::affine py) {
  check_affine(op, "x", px, convention::limits_of<code_of_t<T>>);
  check_affine(op, "y", py, convention::limits_of<code_of_t<T>>);
}

inline void check_layer(char const* op, layer_params const& p, index_t n) {
  check_scale(p.src.scale, op, ": src.scale");
  check_scale(p.dst.scale, op, ": dst.scale");
  if (!p.weight_scale.single() && p.weight_scale.size != n)
    fail(errc::shape, op, ": weight_scale has ", p.weight_scale.size, " values, the weights ", n, " outputs; there must be one, or one for each.");
  if (p.weight_scale.size > 0 && p.weight_scale.each == nullptr) fail(errc::null, op, ": weight_scale is null.");
  for (index_t j = 0; j < (p.weight_scale.single() ? 1 : n); ++j) check_scale(p.weight_scale[j], op, ": weight_scale");
  if (p.bias.size != 0 && p.bias.size != n)
    fail(errc::shape, op, ": bias has ", p.bias.size, " elements, the weights ", n, " outputs; there must be none, or one for each.");
  if (p.bias.size != 0 && p.bias.data == nullptr) fail(errc::null, op, ": bias is null.");
}

template <class C>
auto layer_epilogue(layer_params const& p, buffer<layer_parameters<C>> const& each) {
  epilogue<layer_rescaling<C>> e{};
  e.lhs_zero_point = p.src.zero_point;
  e.rhs_zero_point = p.weight_zero_point;
  if (each.size() == 1)
    e.rescale = each[0];
  else
    e.rescale = vector_view<layer_parameters<C> const>{each.data(), each.size(), 1};
  if constexpr (!is_onednn<C>) {
    e.bias = p.bias;
    e.dst_zero_point = p.dst.zero_point;
  }
  if (p.clamped.min > -2147483647 - 1) e.min = p.clamped.min;
  if (p.clamped.max < 2147483647) e.max = p.clamped.max;
  return e;
}

/// The limits of an operation that was given none.
template <class T>
constexpr convention::limits within(convention::limits l) noexcept {
  using c = code_of_t<T>;
  return {l.min > c::min ? l.min : c::min, l.max < c::max ? l.max : c::max};
}

template <class F>
inline constexpr bool is_fixed_point = false;
template <class R, bool Subtract>
inline constexpr bool is_fixed_point<fixed_point::add<R, Subtract>> = true;
template <class R>
inline constexpr bool is_fixed_point<fixed_point::mul<R>> = true;

/// binary() of a functor of fixed_point, which it knows, or of a convention.
template <class T, class F>
void binary_by_vectors(non_deduced<nd_view<T const>> a, non_deduced<nd_view<T const>> b, nd_view<T> dst, F const& f, isa max_isa) {
  if constexpr (is_fixed_point<F>)
    binary(a, b, dst, f, max_isa);
  else
    binary(a, b, dst, by_vectors<F>{f}, max_isa);
}

/// Scales and zero points that somebody else owns.
template <class Scheme>
struct borrowed_params {
  using scheme_type = Scheme;
  params_view each{};
  QUERN_INLINE params_view view() const noexcept { return each; }
};
/// Conventions whose quantize has a loop in quern, but for what is far out or no number.
template <class C, class Code>
inline constexpr bool quantizes_in_a_loop = C::place == convention::zero_point_place::after_rounding && code_of_t<Code>::bits <= 16 && rounding_mode<typename C::rounding>;
template <class C>
using form_of = std::conditional_t<C::form == convention::scale_form::divide, divide, reciprocal>;

/// quantize_as() of a matrix with a scale and zero point for each column, or no zero points. Returns whether something is far out or no
/// number. @errors scale, zero_point.
template <class C, class Code>
  requires(quantizes_in_a_loop<C, Code> && !narrow_codes<C>)
QUERN_NOINLINE bool quantize_by_columns(matrix_view<float const> src, params_view p, matrix_view<typename code_of_t<Code>::storage> dst, isa max_isa) {
  bool may_be_far = false;
  quantize_views<typename C::rounding, form_of<C>>(src, borrowed_params<asymmetric<code_of_t<Code>, per_channel<1>>>{p}, dst,
                                                   quantize_options<typename C::rounding>{.max_isa = max_isa}, &may_be_far);
  if constexpr (!saturates_plainly<C>)
    for (index_t i = 0; may_be_far && i < src.rows; ++i)
      for (index_t j = 0; j < src.cols; ++j) dst(i, j) = C::template quantize<code_of_t<Code>>(src(i, j), {p.scale(j), p.zero_point(j)});
  return may_be_far;
}

/// quantize_as() by the convention's definition of one element.
template <class C, class Code>
QUERN_NOINLINE void quantize_each(vector_view<float const> src, convention::affine p, vector_view<typename code_of_t<Code>::storage> dst) {
  if (src.size != dst.size) fail(errc::shape, "quantize_as: src has ", src.size, " elements, dst ", dst.size, "; they must be equal.");
  if (src.size > 0 && (src.data == nullptr || dst.data == nullptr)) fail(errc::null, "quantize_as: ", src.data == nullptr ? "src" : "dst", " is null.");
  if (!(p.scale > 0) || !is_finite(p.scale)) fail(errc::scale, "quantize_as: the scale is ", static_cast<double>(p.scale), "; it must be positive and finite.");
  for (index_t i = 0; i < src.size; ++i) dst[i] = C::template quantize<code_of_t<Code>>(src[i], p);
}
/// The values whose quotient leaves int32 once more: they may not saturate (x86 conversions give the lowest integer).
template <class C, class Code>
QUERN_NOINLINE void quantize_far(vector_view<float const> src, convention::affine p, vector_view<typename code_of_t<Code>::storage> dst, bool finite,
                                 isa max_isa) {
  float const far = 2147483000.0f * p.scale;  // below 2^31 steps; the few between are done again for nothing
  auto const r = finite ? calibrate::range_of(src, max_isa).range : real_range{-far, far};
  if (r.min > -far && r.max < far) return;
  for (index_t i = 0; i < src.size; ++i)
    if (!(src[i] > -far && src[i] < far)) dst[i] = C::template quantize<code_of_t<Code>>(src[i], p);
}

}  // inline namespace QUERN_ABI
}  // namespace detail

template <class C>
struct prepared_layer {
  using convention_type = C;
  layer_params params{};
  buffer<detail::layer_parameters<C>> each{};  ///< one, or one an output channel
};

inline constexpr convention::limits no_limits{-2147483647 - 1, 2147483647};

inline namespace QUERN_ABI {

/// dst = round(src / scale) + zero_point as the convention has it, bit for bit. `Code` may be narrower than its storage (s4 in int8).
/// @errors as quantize().
template <convention_policy C, quantized_code Code>
QUERN_INLINE void quantize_as(vector_view<float const> src, convention::affine p, vector_view<typename code_of_t<Code>::storage> dst,
                              isa max_isa = isa::best) {
  using code_type = code_of_t<Code>;
  if constexpr (detail::quantizes_in_a_loop<C, Code>) {
    using range = std::conditional_t<detail::narrow_codes<C> && code_type::is_signed, narrow_range, full_range>;
    using scheme_type = asymmetric<code_type, per_tensor, range>;
    using form = detail::form_of<C>;
    std::int32_t const zp = detail::narrow_codes<C> ? 0 : p.zero_point;
    quantize_options<typename C::rounding> const options{.max_isa = max_isa};
    if constexpr (detail::saturates_plainly<C>) {
      quantize<typename C::rounding, form>(src, params<scheme_type>{p.scale, zp}, dst, options);
    } else if (static_cast<void const*>(src.data) == static_cast<void const*>(dst.data)) {
      detail::quantize_each<C, Code>(src, p, dst);
    } else {
      bool may_be_far = false;
      auto const seen = detail::quantize_views<typename C::rounding, form>(src, params<scheme_type>{p.scale, zp}, dst, options, &may_be_far);
      if (may_be_far) detail::quantize_far<C, Code>(src, p, dst, seen.non_finite == 0, max_isa);
    }
  } else {
    detail::quantize_each<C, Code>(src, p, dst);
  }
}

/// dst = real value of each code. @errors shape, null, scale.
template <convention_policy C, class T>
void dequantize_as(vector_view<T> src, convention::affine p, vector_view<float> dst) {
  if (src.size != dst.size) fail(errc::shape, "dequantize_as: src has ", src.size, " elements, dst ", dst.size, "; they must be equal.");
  if (src.size > 0 && (src.data == nullptr || dst.data == nullptr)) fail(errc::null, "dequantize_as: ", src.data == nullptr ? "src" : "dst", " is null.");
  if (!(p.scale > 0) || !is_finite(p.scale)) fail(errc::scale, "dequantize_as: the scale is ", static_cast<double>(p.scale), "; it must be positive and finite.");
  using code = code_of_t<std::remove_const_t<T>>;
  if constexpr (sizeof(T) <= 2 && detail::is_listed<C, conventions>)
    // Their products round once from an exact difference, whatever type they pass through: all are the library's.
    if (p.zero_point >= code::min && p.zero_point <= code::max) {
      dequantize(vector_view<std::remove_const_t<T> const>(src), params<asymmetric<code>>{p.scale, p.zero_point}, dst);
      return;
    }
  for (index_t i = 0; i < src.size; ++i) dst[i] = C::dequantize(std::remove_const_t<T>(src[i]), p);
}

/// The multipliers of a layer with `outputs` channels: 20 ns each, which small products notice. @errors shape, null, scale.
template <convention_policy C>
prepared_layer<C> prepare_layer(layer_params const& p, index_t outputs) {
  detail::check_layer("prepare_layer", p, outputs);
  return {p, detail::layer_rescale<C>(p, outputs)};
}

/// dst = clamp(rescale(lhs * weights + bias) + zero_point). Otherwise as gemm(), whose errors it has, and scale.
template <class Lhs, class Rhs, class Dst, class C>
void gemm(matrix_view<Lhs> lhs, packed_matrix_view<Rhs> const& weights, matrix_view<Dst> dst, prepared_layer<C> const& layer,
          gemm_options const& options = {}) {
  gemm(lhs, weights, dst, detail::layer_epilogue<C>(layer.params, layer.each), options);
}
template <convention_policy C, class Lhs, class Rhs, class Dst>
void gemm(matrix_view<Lhs> lhs, packed_matrix_view<Rhs> const& weights, matrix_view<Dst> dst, layer_params const& p,
          gemm_options const& options = {}) {
  gemm(lhs, weights, dst, prepare_layer<C>(p, weights.n()), options);
}

/// Convolution of NHWC codes. Otherwise as conv2d(), whose errors it has, and scale.
template <class Src, class Weight, class Dst, class C>
void conv2d(tensor_view<Src> src, packed_conv<Weight> const& weights, tensor_view<Dst> dst, prepared_layer<C> const& layer,
            gemm_options const& options = {}) {
  conv2d(src, weights, dst, detail::layer_epilogue<C>(layer.params, layer.each), options);
}
template <convention_policy C, class Src, class Weight, class Dst>
void conv2d(tensor_view<Src> src, packed_conv<Weight> const& weights, tensor_view<Dst> dst, layer_params const& p,
            gemm_options const& options = {}) {
  conv2d(src, weights, dst, prepare_layer<C>(p, weights.filter.outputs), options);
}

/// Convolution of NDHWC codes. Otherwise as conv3d(), whose errors it has, and scale.
template <class Src, class Weight, class Dst, class C>
void conv3d(volume_view<Src> src, packed_conv<Weight> const& weights, volume_view<Dst> dst, prepared_layer<C> const& layer,
            gemm_options const& options = {}) {
  conv3d(src, weights, dst, detail::layer_epilogue<C>(layer.params, layer.each), options);
}
template <convention_policy C, class Src, class Weight, class Dst>
void conv3d(volume_view<Src> src, packed_conv<Weight> const& weights, volume_view<Dst> dst, layer_params const& p, gemm_options const& options = {}) {
  conv3d(src, weights, dst, prepare_layer<C>(p, weights.filter.outputs), options);
}

/// Transposed convolution of NHWC codes. Otherwise as transposed_conv2d(), whose errors it has, and scale.
template <convention_policy C, class Src, class Weight, class Dst>
void transposed_conv2d(tensor_view<Src> src, packed_conv<Weight> const& weights, tensor_view<Dst> dst, layer_params const& p,
                       gemm_options const& options = {}) {
  auto const layer = prepare_layer<C>(p, weights.filter.outputs);
  transposed_conv2d(src, weights, dst, detail::layer_epilogue<C>(layer.params, layer.each), options);
}

/// Depthwise convolution of NHWC codes. Otherwise as depthwise_conv2d(), whose errors it has, and scale.
template <class Src, class Weight, class Dst, class C>
void depthwise_conv2d(tensor_view<Src> src, packed_depthwise<Weight> const& weights, tensor_view<Dst> dst, prepared_layer<C> const& layer,
                      gemm_options const& options = {}) {
  depthwise_conv2d(src, weights, dst, detail::layer_epilogue<C>(layer.params, layer.each), options);
}
template <convention_policy C, class Src, class Weight, class Dst>
void depthwise_conv2d(tensor_view<Src> src, packed_depthwise<Weight> const& weights, tensor_view<Dst> dst, layer_params const& p,
                      gemm_options const& options = {}) {
  depthwise_conv2d(src, weights, dst, prepare_layer<C>(p, weights.outputs), options);
}

/// Products of two computed 8-bit operands, leading dimensions broadcast. Otherwise as batch_matmul(), whose errors it has, and scale.
template <convention_policy C, class Lhs, class Rhs, class Dst>
void batch_matmul(nd_view<Lhs> lhs, convention::affine pl, nd_view<Rhs> rhs, convention::affine pr, nd_view<Dst> dst, convention::affine py,
                  convention::limits l = no_limits, gemm_options const& options = {}) {
  static_assert(sizeof(Lhs) == 1 && sizeof(Rhs) == 1, "quern: batch_matmul in a convention takes 8-bit codes; the sums of 16-bit ones leave int32.");
  detail::check_layer("batch_matmul", {.src = pl, .weight_scale = pr.scale, .bias = {}, .dst = py}, 1);
  auto const stage = C::template output_stage<code_of_t<Dst>>(pl.scale, pr.scale, py, detail::within<Dst>(l));
  batch_matmul(lhs, rhs, pl.zero_point, pr.zero_point, dst, [&stage](std::int64_t acc) { return stage(static_cast<std::int32_t>(acc)); }, options);
}

/// dst = a + b, with broadcasting. @errors shape, null, scale (also ratios that the convention refuses), zero_point.
template <convention_policy C, class T>
void add(non_deduced<nd_view<T const>> a, convention::affine pa, non_deduced<nd_view<T const>> b, convention::affine pb, nd_view<T> dst, convention::affine py,
         convention::limits l = no_limits, isa max_isa = isa::best) {
  constexpr convention::limits codes = convention::limits_of<code_of_t<T>>;
  detail::check_affine("add", "a", pa, codes);
  detail::check_affine("add", "b", pb, codes);
  detail::check_affine("add", "dst", py, codes);
  detail::binary_by_vectors(a, b, dst, C::template add<code_of_t<T>>(pa, pb, py, detail::within<T>(l)), max_isa);
}

/// dst = a * b, with broadcasting. @errors shape, null, scale, zero_point.
template <convention_policy C, class T>
void mul(non_deduced<nd_view<T const>> a, convention::affine pa, non_deduced<nd_view<T const>> b, convention::affine pb, nd_view<T> dst, convention::affine py,
         convention::limits l = no_limits, isa max_isa = isa::best) {
  constexpr convention::limits codes = convention::limits_of<code_of_t<T>>;
  detail::check_affine("mul", "a", pa, codes);
  detail::check_affine("mul", "b", pb, codes);
  detail::check_affine("mul", "dst", py, codes);
  detail::binary_by_vectors(a, b, dst, C::template mul<code_of_t<T>>(pa, pb, py, detail::within<T>(l)), max_isa);
}

/// The average of each window's positions inside of the image. @errors as average_pool2d; scale, zero_point.
template <convention_policy C, class T>
void average_pool2d(non_deduced<tensor_view<T const>> src, convention::affine px, pool_options const& o, tensor_view<T> dst, convention::affine py,
                    convention::limits l = no_limits, isa max_isa = isa::best) {
  detail::check_affine("average_pool2d", "src", px, convention::limits_of<code_of_t<T>>);
  detail::check_affine("average_pool2d", "dst", py, convention::limits_of<code_of_t<T>>);
  auto const average = C::template average_pool<code_of_t<T>>(px, py, detail::within<T>(l));
  if constexpr (std::is_same_v<decltype(average), convention::integer_average const>) {
    average_pool2d(src, o, dst, average.clamped, max_isa);
  } else {
    window const w = detail::check_pool("average_pool2d", src, o, dst);
    using form = detail::average_form<std::remove_const_t<decltype(average)>>;
    isa const chosen = active_isa(max_isa);
    buffer<std::int32_t> sums(src.c);
    [[maybe_unused]] detail::scaled_average scaled{};
    [[maybe_unused]] std::int32_t known = 0;  // the count that `scaled` is for
    bool by_vectors = false;
    for (index_t b = 0; b < src.n; ++b)
      for (index_t y = 0; y < dst.h; ++y)
        for (index_t x = 0, together = 1; x < dst.w; x += together) {
          auto const ty = detail::taps_inside(w.h, y), tx = detail::taps_inside(w.w, x);
          detail::pixel_window const inside{ty.last - ty.first, tx.last - tx.first, src.h_stride, src.w_stride};
          auto const n = static_cast<std::int32_t>(inside.rows * inside.cols);
          T const* const from = &src(b, w.h.at(y, ty.first), w.w.at(x, tx.first), 0);
          T* const to = &dst(b, y, x, 0);
          together = 1;
          if constexpr (form::known) {
            if (n != known) by_vectors = form::template of<T>(average, n, scaled), known = n;
            if (by_vectors && inside.cols == w.w.kernel)  // windows wholly between the left and the right border are alike
              while (x + together < dst.w && w.w.at(x + together, w.w.kernel - 1) < src.w) ++together;
            if (by_vectors && detail::average_windows<typename form::rounding>(chosen, from, inside, src.c, together, w.w.stride * src.w_stride, scaled, to, dst.w_stride)) continue;
            together = 1;
          }
          detail::sum_window(chosen, from, inside, src.c, sums.data());
          for (index_t c = 0; c < src.c; ++c) to[c] = static_cast<T>(average(sums[c], n));
        }
  }
}

/// Over the whole image: dst is n x 1 x 1 x c.
template <convention_policy C, class T>
void global_average_pool(non_deduced<tensor_view<T const>> src, convention::affine px, tensor_view<T> dst, convention::affine py,
                         convention::limits l = no_limits, isa max_isa = isa::best) {
  average_pool2d<C>(src, px, pool_options{.size = {src.h, src.w, 1}}, dst, py, l, max_isa);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
