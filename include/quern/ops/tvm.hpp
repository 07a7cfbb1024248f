// tvm.hpp — Apache TVM's relay.qnn operators under their own names.
//
//     tvm::fixed_point_multiply(x, multiplier, shift)                                    relay.fixed_point_multiply, one element
//     tvm::requantize(nd(x, s), px, nd(y, s), py, tvm::rounding::upward)                 relay.qnn.requantize
//     tvm::dense(row_major(x, m, k), px, row_major(w, n, k), pw, row_major(acc, m, n))   relay.qnn.dense: int32
//
// Arithmetic: convention/tvm.hpp. @source apache/tvm src/relay/qnn/op/*.cc, src/target/intrin_rule.cc.
#pragma once

#include "onnx.hpp"

namespace quern::tvm {

/// The attribute `rounding` of requantize.
enum class rounding { upward, to_nearest };
/// The attribute `compute_dtype`.
enum class compute { int64, float32, float64 };

inline namespace QUERN_ABI {

/// x * multiplier * 2^(shift - 31), ties upward, int64 inside. `per_axis` is the form emitted for vectors of multipliers, which never
/// takes the short cut for powers of two.
QUERN_INLINE constexpr std::int32_t fixed_point_multiply(std::int32_t x, std::int32_t multiplier, std::int32_t shift, bool per_axis = false) noexcept {
  return per_axis ? rescale::tvm_upward_per_axis::apply(x, {multiplier, shift}) : rescale::tvm_upward::apply(x, {multiplier, shift});
}

/// GetFixedPointMultiplierShift.
constexpr rescale::multiplier_shift get_fixed_point_multiplier_shift(double scale) noexcept { return rescale::quantize_multiplier_tvm(scale); }

/// relay.qnn.quantize, relay.qnn.dequantize. `p`: one scale and zero point, or one for each index of `axis`.
/// @errors shape, null, argument (axis), scale, zero_point.
template <quantized_code Code>
void quantize(nd_view<float const> x, onnx::operand const& p, int axis, nd_view<typename code_of_t<Code>::storage> y, isa max_isa = isa::best) {
  quern::detail::for_each_channel<Code>("quantize", x, p, axis, y, [&](index_t first, index_t count, convention::affine c) {
    quantize_as<convention::tvm, Code>(view(x.data + first, count), c, view(y.data + first, count), max_isa);
  });
}
template <quantized_code Code>
void quantize(nd_view<float const> x, convention::affine p, nd_view<typename code_of_t<Code>::storage> y, isa max_isa = isa::best) {
  quantize<Code>(x, onnx::operand{p.scale, p.zero_point}, -1, y, max_isa);
}
template <class T>
void dequantize(nd_view<T> q, onnx::operand const& p, int axis, nd_view<float> y) {
  quern::detail::for_each_channel<s32>("dequantize", q, p, axis, y, [&](index_t first, index_t count, convention::affine c) {
    dequantize_as<convention::tvm>(view(q.data + first, count), c, view(y.data + first, count));
  });
}
template <class T>
void dequantize(nd_view<T> q, convention::affine p, nd_view<float> y) {
  dequantize(q, onnx::operand{p.scale, p.zero_point}, -1, y);
}

/// relay.qnn.requantize of int8, uint8 or int32 codes. @errors shape, null, scale, zero_point.
template <class X, class Y>
void requantize(nd_view<X> x, convention::affine px, nd_view<Y> y, convention::affine py, rounding r = rounding::upward, compute c = compute::int64) {
  using code = code_of_t<Y>;
  quern::detail::check_affine("requantize", "x", px, convention::limits_of<code_of_t<X>>);
  quern::detail::check_affine("requantize", "y", py, convention::limits_of<code>);
  using up = convention::tvm;
  using near = convention::tvm_to_nearest;
  if (c == compute::int64) return r == rounding::upward ? unary(x, y, up::requantize<code>(px, py)) : unary(x, y, near::requantize<code>(px, py));
  if (c == compute::float32)
    return r == rounding::upward ? unary(x, y, up::requantize_float<code, float>(px, py)) : unary(x, y, near::requantize_float<code, float>(px, py));
  r == rounding::upward ? unary(x, y, up::requantize_float<code, double>(px, py)) : unary(x, y, near::requantize_float<code, double>(px, py));
}

/// The same with a scale for each index of `axis`: the form for vectors, which takes neither equal scales nor powers of two another way.
/// (compute_dtype int64.) @errors shape, null, argument (axis), scale, zero_point.
template <class X, class Y>
void requantize(nd_view<X> x, onnx::operand const& px, int axis, nd_view<Y> y, convention::affine py, rounding r = rounding::upward) {
  using code = code_of_t<Y>;
  auto const limits = convention::limits_of<code>;
  quern::detail::check_affine("requantize", "y", py, limits);
  auto const parameters_of = [&](float scale) { return rescale::tvm_upward_per_axis::from_real(static_cast<double>(scale) / static_cast<double>(py.scale)); };
  for (index_t i = 0; i < px.scale.size; ++i)  // those that it refuses, before anything is written
    if (px.scale[i] > 0 && is_finite(px.scale[i])) static_cast<void>(parameters_of(px.scale[i]));
  quern::detail::for_each_channel<s32>("requantize", x, px, axis, y, [&](index_t first, index_t count, convention::affine c) {
    auto const m = parameters_of(c.scale);
    for (index_t i = first; i < first + count; ++i) {
      std::int32_t const v = wrap32(static_cast<std::int64_t>(x.data[i]) - c.zero_point);
      std::int32_t const q = r == rounding::upward ? rescale::tvm_upward_per_axis::apply(v, m) : rescale::tvm_to_nearest::apply(v, m);
      y.data[i] = static_cast<Y>(clamp(wrap32(static_cast<std::int64_t>(q) + py.zero_point), limits.min, limits.max));
    }
  });
}

/// relay.qnn.add, relay.qnn.mul, with broadcasting. @errors shape, null, scale.
template <class T>
void add(non_deduced<nd_view<T const>> a, convention::affine pa, non_deduced<nd_view<T const>> b, convention::affine pb, nd_view<T> y, convention::affine py, rounding r = rounding::upward) {
  r == rounding::upward ? quern::add<convention::tvm>(a, pa, b, pb, y, py) : quern::add<convention::tvm_to_nearest>(a, pa, b, pb, y, py);
}
template <class T>
void mul(non_deduced<nd_view<T const>> a, convention::affine pa, non_deduced<nd_view<T const>> b, convention::affine pb, nd_view<T> y, convention::affine py, rounding r = rounding::upward) {
  r == rounding::upward ? quern::mul<convention::tvm>(a, pa, b, pb, y, py) : quern::mul<convention::tvm_to_nearest>(a, pa, b, pb, y, py);
}

/// relay.qnn.dense: int32 sums, x m x k and w n x k. requantize follows. @errors as gemm.
template <class X, class W>
void dense(matrix_view<X> x, std::int32_t x_zero_point, matrix_view<W> w, std::int32_t w_zero_point, matrix_view<std::int32_t> y, gemm_options const& options = {}) {
  epilogue<> e{};
  e.lhs_zero_point = x_zero_point;
  e.rhs_zero_point = w_zero_point;
  gemm(x, pack(w.transposed()), y, e, options);
}

/// relay.qnn.conv2d (NCHW, OIHW): int32 sums, padding is the zero point of x. @errors as onnx::conv_integer.
template <class X, class W>
void conv2d(nd_view<X> x, std::int32_t x_zero_point, nd_view<W> w, std::int32_t w_zero_point, nd_view<std::int32_t> y, conv_options const& o = {},
            gemm_options const& options = {}) {
  onnx::conv_integer(x, x_zero_point, w, one_or_each<std::int32_t>(w_zero_point), y, o, options);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::tvm
