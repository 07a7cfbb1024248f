// onnx.hpp — the quantization operators of ONNX and of ONNX Runtime's com.microsoft domain, under their own names.
//
//     onnx::quantize_linear<u8>(nd(x, s), nd(scale, {}), nd(zero, {}), nd(y, s));
//     onnx::qlinear_matmul(nd(a, ...), {a_scale, a_zero}, nd(b, ...), {b_scales, b_zeros}, {y_scale, y_zero}, nd(y, ...));
//
// Thin functions over the library: operands and layouts are ONNX's (row-major tensors of any rank up to 6, convolutions NCHW and
// OIHW, with one to three spatial dimensions), the arithmetic is convention::onnx's and convention::onnx_runtime's. Weights given here are packed on every call; a program
// that runs a layer twice packs once and calls gemm<convention::onnx_runtime>. 2- and 4-bit codes take one element a byte here;
// core/packed_int.hpp packs and unpacks ONNX's storage. Optional inputs are views with data == nullptr.
//
// @source  onnx/onnx docs/Operators.md (opset 25), microsoft/onnxruntime docs/ContribOperators.md.
#pragma once

#include "../codec/minifloat.hpp"
#include "../core/packed_int.hpp"
#include "../core/reals.hpp"
#include "convention.hpp"
#include "rearrange.hpp"

QUERN_FP_BEGIN

namespace quern {

namespace onnx {

/// The type that QuantizeLinear divides in (opset 23).
enum class precision { of_scale, float32, float16, bfloat16 };

/// Of QuantizeLinear and DequantizeLinear. block_size 0: per tensor (one scale) or per axis.
struct quantize_attributes {
  int axis = 1;
  index_t block_size = 0;
  bool saturate = true;  ///< float8 only: overflow becomes the largest number, else NaN or infinity
  onnx::precision precision = onnx::precision::of_scale;  ///< QuantizeLinear's; DequantizeLinear's is the type of y
};

/// Scales and zero points of one operand: a scalar, or one a row (left operand) or column (right operand), the same for all matrices of
/// a batch or each matrix's own (an N-d tensor [D1, D2, M, 1] or [D1, D2, 1, N], seen as the vector that it is in memory).
struct operand {
  one_or_each<float> scale = 1.0f;
  one_or_each<std::int32_t> zero_point = 0;
};

/// Of Conv, ConvInteger, QLinearConv. `auto_pad` as padding rules: conv_options{.padding = same} is SAME_UPPER. The last spatial dimension
/// is the width, the one before it the height, a third the depth: strides [3, 2, 1] of a volume are .stride = {.h = 2, .w = 1, .d = 3}.
using conv_attributes = conv_options;

}  // namespace onnx

namespace detail {

template <class T>
inline constexpr bool is_minifloat = false;
template <int E, int M, int B, codec::specials S>
inline constexpr bool is_minifloat<codec::minifloat<E, M, B, S>> = true;

/// How a target's element lies in memory: codes in their storage, small floats as themselves.
template <class Target>
struct onnx_storage {
  using type = typename code_of_t<Target>::storage;
};
template <class Target>
  requires(is_minifloat<Target>)
struct onnx_storage<Target> {
  using type = Target;
};
template <class Target>
using onnx_storage_t = typename onnx_storage<Target>::type;

inline namespace QUERN_ABI {

/// Calls f(first element, elements, scale index) for each stretch of neighbouring elements that share a scale. Where stretches are of one
/// element, columns(first element, rows, columns, index of the first column's scale) is called for all of a matrix, if it says so by
/// returning true.
template <class F, class Columns>
void for_each_scale(char const* op, shape const& x, shape const& scale, index_t scales, onnx::quantize_attributes const& a, F const& f, Columns const& columns) {
  if (scales == 1 && a.block_size == 0) return f(index_t{0}, x.size(), index_t{0});
  if (a.block_size < 0) fail(errc::argument, op, ": block_size is ", a.block_size, "; it must not be negative.");
  int const axis = a.axis < 0 ? a.axis + x.rank : a.axis;
  if (axis < 0 || axis >= x.rank) fail(errc::argument, op, ": axis is ", a.axis, ", but x has rank ", x.rank, ".");
  index_t outer = 1, inner = 1;
  for (int d = 0; d < axis; ++d) outer *= x.dim[d];
  for (int d = axis + 1; d < x.rank; ++d) inner *= x.dim[d];
  index_t const extent = x.dim[axis];
  if (a.block_size == 0) {
    if (scales != extent) fail(errc::shape, op, ": there are ", scales, " scales, and axis ", axis, " has size ", extent, "; they must be equal.");
    if (inner == 1 && x.size() > 0 && columns(index_t{0}, outer, extent, index_t{0})) return;
    for (index_t o = 0; o < outer; ++o)
      for (index_t i = 0; i < extent; ++i) f((o * extent + i) * inner, inner, i);
    return;
  }
  index_t const blocks = (extent + a.block_size - 1) / a.block_size;
  bool fits = scale.rank == x.rank;
  for (int d = 0; fits && d < x.rank; ++d) fits = scale.dim[d] == (d == axis ? blocks : x.dim[d]);
  if (!fits) fail(errc::shape, op, ": with block_size ", a.block_size, " the scales must have x's shape with ", blocks, " in dimension ", axis, ".");
  for (index_t o = 0; o < outer; ++o)
    for (index_t i = 0; i < extent; i += a.block_size) {
      index_t const first = (o * extent + i) * inner, s = (o * blocks + i / a.block_size) * inner, count = extent - i < a.block_size ? extent - i : a.block_size;
      if (inner == 1)
        f(first, count, s);
      else if (inner > 0 && !columns(first, count, inner, s))
        for (index_t r = 0; r < count; ++r)
          for (index_t k = 0; k < inner; ++k) f(first + r * inner + k, index_t{1}, s + k);
    }
}
template <class F>
void for_each_scale(char const* op, shape const& x, shape const& scale, index_t scales, onnx::quantize_attributes const& a, F const& f) {
  for_each_scale(op, x, scale, scales, a, f, [](index_t, index_t, index_t, index_t) { return false; });
}
/// Zero points as quern's loops take them; null when there are none.
template <class Z>
buffer<std::int32_t> widened_zero_points(nd_view<Z> const& zero) {
  buffer<std::int32_t> r(zero.data == nullptr ? 0 : zero.size());
  for (index_t i = 0; i < r.size(); ++i) r[i] = static_cast<std::int32_t>(zero.data[i]);
  return r;
}

/// x / scale, rounded to T: float as it is; half and bfloat16 have at most 11 bits, for which the float quotient rounds innocuously.
template <class T>
QUERN_INLINE constexpr float quotient_in(float x, float scale) noexcept {
  if constexpr (std::is_same_v<T, float>)
    return x / scale;
  else
    return static_cast<float>(T(static_cast<float>(T(x)) / scale));
}

/// A float8 as ONNX Runtime's own conversion makes it of v, where that differs from `code`: it takes the mantissa of 480 for that of 448
/// before it rounds, and sets infinity's bits over the code of 57344.
template <class Float8>
QUERN_INLINE constexpr Float8 beyond_as_onnx_runtime(Float8 code, float v, bool saturate) noexcept {
  float const magnitude = abs_of(v);
  if (saturate) return code;
  if (std::is_same_v<Float8, codec::float8_e4m3fn> && magnitude >= 480 && magnitude < 496) return Float8::from_bits(v < 0 ? 0xfe : 0x7e);
  if (std::is_same_v<Float8, codec::float8_e5m2> && magnitude >= 61440 && magnitude < 65536) return Float8::from_bits(v < 0 ? 0xff : 0x7f);
  return code;
}

/// x_scale * w_scale / y_scale, every operation rounded to T.
template <class T>
QUERN_INLINE constexpr float effective_scale_in(float x, float w, float y) noexcept {
  return static_cast<float>(T(static_cast<float>(T(rounded(x * w))) / y));  // products of 11 bits are exact in a float
}

/// A small float in units of its smallest number, and of what power of two that is; 0 for what is no number.
template <class Float8>
QUERN_INLINE constexpr std::int64_t in_units(Float8 x) noexcept {
  float const v = ldexp_of(static_cast<float>(x), Float8::bias + Float8::mantissa_bits - 1);
  return is_finite(v) ? static_cast<std::int64_t>(v) : 0;
}
/// The sum of a_i b_i, exact, rounded once; infinity and NaN as a sum of floats has them.
template <class A, class B>
float exact_dot(vector_view<A> a, vector_view<B> b) noexcept {
  using small_a = std::remove_const_t<A>;
  using small_b = std::remove_const_t<B>;
  __extension__ using wide = __int128;  // 66 bits for products of e5m2, and those of k
  wide sum = 0;
  float beyond = 0;
  for (index_t i = 0; i < a.size; ++i) {
    sum += static_cast<wide>(in_units(a[i])) * in_units(b[i]);
    float const product = static_cast<float>(a[i]) * static_cast<float>(b[i]);
    if (!is_finite(product)) beyond += product;
  }
  if (!(beyond == 0)) return beyond;
  return ldexp_of(static_cast<float>(sum), 2 - small_a::bias - small_a::mantissa_bits - small_b::bias - small_b::mantissa_bits);
}

template <class X, class S, class Z, class Y>
void check_linear(char const* op, nd_view<X> const& x, nd_view<S> const& scale, nd_view<Z> const& zero, nd_view<Y> const& y) {
  if (!(x.extents == y.extents)) fail(errc::shape, op, ": x and y must have the same shape; they have ", x.size(), " and ", y.size(), " elements in ranks ", x.extents.rank, " and ", y.extents.rank, ".");
  if (!x.contiguous() || !y.contiguous() || !scale.contiguous()) fail(errc::shape, op, ": x, y and the scales must be row-major without gaps.");
  if (zero.data != nullptr && zero.size() != scale.size()) fail(errc::shape, op, ": there are ", scale.size(), " scales and ", zero.size(), " zero points; they must be equal.");
  if (scale.data == nullptr || (x.size() > 0 && (x.data == nullptr || y.data == nullptr))) fail(errc::null, op, ": ", scale.data == nullptr ? "the scale" : x.data == nullptr ? "x" : "y", " is null.");
}

/// Small floats and int32 have no zero point: where one is given, for its type, it is 0.
template <class Z>
void check_no_zero(char const* op, nd_view<Z> const& zero) {
  for (index_t i = 0; zero.data != nullptr && i < zero.size(); ++i)
    if (!(static_cast<double>(static_cast<float>(zero.data[i])) == 0))
      fail(errc::zero_point, op, ": zero_point ", i, " is ", static_cast<double>(static_cast<float>(zero.data[i])), "; codes of this type have none, it must be 0.");
}

/// Every scale and zero point, before anything is written.
template <class Code, class S, class Z>
void check_scales(char const* op, nd_view<S> const& scale, nd_view<Z> const& zero) {
  for (index_t i = 0; i < scale.size(); ++i) {
    auto const s = static_cast<double>(static_cast<float>(scale.data[i]));
    if (!(s > 0) || !is_finite(s)) fail(errc::scale, op, ": scale ", i, " is ", s, "; it must be positive and finite.");
  }
  if constexpr (is_minifloat<Code>)
    check_no_zero(op, zero);
  else
    for (index_t i = 0; zero.data != nullptr && i < zero.size(); ++i)
      if (zero.data[i] < code_of_t<Code>::min || zero.data[i] > code_of_t<Code>::max)
        fail(errc::zero_point, op, ": zero_point ", i, " is ", static_cast<std::int64_t>(zero.data[i]), "; it must be ", code_of_t<Code>::min, " to ", code_of_t<Code>::max, ".");
}

/// A scale and a zero point, or as many as there are rows or columns, in one matrix or in all, all of them before anything is written.
inline void check_operand(char const* op, char const* what, onnx::operand const& p, index_t n, std::int32_t min, std::int32_t max, index_t matrices = 1) {
  auto const count = [&](auto const& each, char const* name) {
    bool const fits = each.single() || each.size == n || each.size == n * matrices;
    if (!fits && matrices > 1)
      fail(errc::shape, op, ": ", what, " has ", each.size, " ", name, "; there must be one, ", n, ", or ", n * matrices, " for all ", matrices, " matrices.");
    if (!each.single() && (!fits || (each.size > 0 && each.each == nullptr)))
      fail(!fits ? errc::shape : errc::null, op, ": ", what, " has ", each.size, " ", name, "; there must be one, or ", n, ".");
    return each.single() ? index_t{1} : each.size;
  };
  for (index_t i = 0, e = count(p.scale, "scales"); i < e; ++i)
    if (!(p.scale[i] > 0) || !is_finite(p.scale[i]))
      fail(errc::scale, op, ": scale ", i, " of ", what, " is ", static_cast<double>(p.scale[i]), "; it must be positive and finite.");
  for (index_t i = 0, e = count(p.zero_point, "zero points"); i < e; ++i)
    if (p.zero_point[i] < min || p.zero_point[i] > max)
      fail(errc::zero_point, op, ": zero_point ", i, " of ", what, " is ", p.zero_point[i], "; it must be ", min, " to ", max, ".");
}

/// Calls f(first element, elements, {scale, zero point}) for each stretch of neighbours that share a scale of `p`: one, or one for each
/// index of `axis`. x and y lie without gaps. @errors shape, null, argument (axis), scale, zero_point: all before f is called.
template <class Code, class X, class Y, class F>
void for_each_channel(char const* op, nd_view<X> const& x, onnx::operand const& p, int axis, nd_view<Y> const& y, F const& f) {
  if (!(x.extents == y.extents) || !x.contiguous() || !y.contiguous())
    fail(errc::shape, op, ": x has ", x.size(), " elements, y ", y.size(), "; they must have the same shape, without gaps.");
  if (x.size() > 0 && (x.data == nullptr || y.data == nullptr)) fail(errc::null, op, ": ", x.data == nullptr ? "x" : "y", " is null.");
  int const at = axis < 0 ? axis + x.extents.rank : axis;
  bool const single = p.scale.single() && p.zero_point.single();
  if (!single && (at < 0 || at >= x.extents.rank)) fail(errc::argument, op, ": axis is ", axis, ", but x has rank ", x.extents.rank, ".");
  index_t const n = single ? 1 : x.extents.dim[at];
  check_operand(op, "x", p, n, code_of_t<Code>::min, code_of_t<Code>::max);
  if (single) return f(index_t{0}, x.size(), convention::affine{p.scale[0], p.zero_point[0]});
  index_t outer = 1, inner = 1;
  for (int d = 0; d < at; ++d) outer *= x.extents.dim[d];
  for (int d = at + 1; d < x.extents.rank; ++d) inner *= x.extents.dim[d];
  for (index_t o = 0; o < outer; ++o)
    for (index_t i = 0; i < n; ++i) f((o * n + i) * inner, inner, convention::affine{p.scale[i], p.zero_point[i]});
}

/// A batch of matrices: the last two dimensions; one-dimensional operands become a row or a column as in numpy's matmul.
struct matrix_batch {
  shape batch{};
  index_t rows = 1, cols = 1;
};
constexpr matrix_batch batch_of(shape const& s, bool left) noexcept {
  matrix_batch m;
  m.batch.rank = s.rank > 2 ? s.rank - 2 : 0;
  for (int d = 0; d < m.batch.rank; ++d) m.batch.dim[d] = s.dim[d];
  if (s.rank >= 2) m.rows = s.dim[s.rank - 2], m.cols = s.dim[s.rank - 1];
  if (s.rank == 1) (left ? m.cols : m.rows) = s.dim[0];
  return m;
}

/// What belongs to matrix number `at` of a batch, whose rows or columns are n.
template <class T>
one_or_each<T> of_matrix(one_or_each<T> const& p, index_t n, index_t at) noexcept {
  if (p.single() || p.size == n) return p;
  return vector_view<T const>{p.each + at * n * p.stride, n, p.stride};
}
inline onnx::operand of_matrix(onnx::operand const& p, index_t n, index_t at) noexcept { return {of_matrix(p.scale, n, at), of_matrix(p.zero_point, n, at)}; }

/// Calls f(a, b, y, number of a's matrix, of b's) for each product of a batched matmul with broadcast leading dimensions; everything row-major.
template <class A, class B, class Y, class F>
void for_each_product(char const* op, nd_view<A const> a, nd_view<B const> b, nd_view<Y> y, F const& f) {
  if (a.extents.rank < 1 || b.extents.rank < 1) fail(errc::shape, op, ": both operands must have a dimension.");
  if (!a.contiguous() || !b.contiguous() || !y.contiguous()) fail(errc::shape, op, ": operands must be row-major without gaps.");
  auto const ma = batch_of(a.extents, true), mb = batch_of(b.extents, false);
  if (ma.cols != mb.rows) fail(errc::shape, op, ": a has ", ma.cols, " columns, b ", mb.rows, " rows; they must be equal.");
  shape const batch = broadcast_shape(ma.batch, mb.batch);
  if (y.size() != batch.size() * ma.rows * mb.cols)
    fail(errc::shape, op, ": y has ", y.size(), " elements; the product has ", batch.size() * ma.rows * mb.cols, ".");
  if (y.size() == 0) return;
  if (y.data == nullptr || (a.size() > 0 && a.data == nullptr) || (b.size() > 0 && b.data == nullptr)) fail(errc::null, op, ": an operand is null.");
  auto const at_a = broadcast(nd(static_cast<index_t const*>(nullptr), ma.batch), batch), at_b = broadcast(nd(static_cast<index_t const*>(nullptr), mb.batch), batch);
  index_t i[shape::max_rank] = {};
  for (index_t p = 0; p < batch.size(); ++p) {
    index_t oa = 0, ob = 0;
    for (int d = 0; d < batch.rank; ++d) oa += i[d] * at_a.stride[d], ob += i[d] * at_b.stride[d];
    f(row_major(a.data + oa * ma.rows * ma.cols, ma.rows, ma.cols), row_major(b.data + ob * mb.rows * mb.cols, mb.rows, mb.cols),
      row_major(y.data + p * ma.rows * mb.cols, ma.rows, mb.cols), oa, ob);
    for (int d = batch.rank - 1; d >= 0 && ++i[d] == batch.dim[d]; --d) i[d] = 0;
  }
}

/// Activations N C (D (H)) W and weights O I (D (H)) W through conv3d's NDHWC, `run(src, packed weights, dst)` between; the copies are
/// O(size). What has fewer than three spatial dimensions is a volume of depth, or depth and height, 1.
template <class X, class W, class Y, class F>
void through_ndhwc(char const* op, nd_view<X const> x, nd_view<W const> w, onnx::conv_attributes const& a, nd_view<Y> y, F const& run) {
  int const rank = x.extents.rank;
  if (rank < 3 || rank > 5 || w.extents.rank != rank || y.extents.rank != rank)
    fail(errc::shape, op, ": x, w and y have ranks ", rank, ", ", w.extents.rank, " and ", y.extents.rank, "; all must be 3 (NCW), 4 (NCHW) or 5 (NCDHW).");
  if (w.data == nullptr || (x.data == nullptr && x.size() > 0) || (y.data == nullptr && y.size() > 0)) fail(errc::null, op, ": an operand is null.");
  auto const lifted = [rank](auto const& v) {  // N C W as N C 1 1 W
    auto r = v;
    r.extents.rank = 5;
    for (int d = 4; d >= 2; --d) {
      int const from = d - (5 - rank);
      r.extents.dim[d] = from >= 2 ? v.extents.dim[from] : 1;
      r.stride[d] = from >= 2 ? v.stride[from] : 0;
    }
    return r;
  };
  constexpr int channels_last[] = {0, 2, 3, 4, 1}, channels_first[] = {0, 4, 1, 2, 3};
  auto const lx = transposed(lifted(x), channels_last), lw = transposed(lifted(w), channels_last);
  auto const ly = transposed(lifted(y), channels_last);
  buffer<X> bx(lx.size());
  buffer<W> bw(lw.size());
  buffer<Y> by(ly.size());
  copy(lx, nd(bx.data(), lx.extents));
  copy(lw, nd(bw.data(), lw.extents));
  auto const volume = [](auto* data, shape const& s) { return volume_view(data, s.dim[0], s.dim[1], s.dim[2], s.dim[3], s.dim[4]); };
  run(volume(static_cast<X const*>(bx.data()), lx.extents), pack_conv(volume(static_cast<W const*>(bw.data()), lw.extents), a), volume(by.data(), ly.extents));
  copy(transposed(nd(static_cast<Y const*>(by.data()), ly.extents), channels_first), lifted(y));
}

}  // inline namespace QUERN_ABI
}  // namespace detail

namespace onnx {
inline namespace QUERN_ABI {

// ---- ai.onnx ---------------------------------------------------------------------------------------------------------

/// QuantizeLinear: y = saturate(half_even(x / scale) + zero_point), the quotient in the scale's type or `precision`; float8 and float4
/// targets are encoded from the quotient and have no zero point. X: float, half, bfloat16, std::int32_t; S: float, half, bfloat16,
/// codec::float8_e8m0 (x's type divides then); Target: an integer code of 2 to 16 bits or a codec minifloat.
/// @shapes  per tensor: one scale; per axis: as many as x has along `axis`; blocked: x's shape with ceil(D / block_size) there.
/// C: convention::onnx, or onnx_runtime, whose kernels differ (found by running them, 1.30):
///   - quotients of halves are floats;
///   - some convert to int32 before they saturate: for blocks along any but the last axis, for halves, for 2 bits, and for 4 bits the
///     element at either end of a stretch that shares its byte with another stretch. What lies beyond 2^31 steps (NaN too) is then the
///     lowest int32 plus the zero point modulo 2^32, the highest code if the zero point is negative;
///   - without `saturate`, e4m3fn gives 448 within [480, 496), and e5m2 NaN within [61440, 65536).
/// @errors  shape, null, argument (axis), scale, zero_point.
template <class Target, convention_policy C = convention::onnx, class X, class S>
void quantize_linear(nd_view<X> x_, nd_view<S> scale_, nd_view<detail::onnx_storage_t<Target> const> zero_point,
                     nd_view<detail::onnx_storage_t<Target>> y, quantize_attributes const& a = {}, isa max_isa = isa::best) {
  using real_type = std::remove_const_t<S>;
  constexpr bool ort = std::is_base_of_v<convention::onnx_runtime, C>;
  nd_view<std::remove_const_t<X> const> const x = x_;
  nd_view<real_type const> const scale = scale_;
  detail::check_linear("QuantizeLinear", x, scale, zero_point, y);
  detail::check_scales<Target>("QuantizeLinear", scale, zero_point);
  bool inner_blocks = false;  // blocks with elements behind their axis
  for (int d = (a.axis < 0 ? a.axis + x.extents.rank : a.axis) + 1; a.block_size > 0 && d >= 0 && d < x.extents.rank; ++d) inner_blocks |= x.extents.dim[d] > 1;
  using own_precision = std::conditional_t<!std::is_same_v<real_type, codec::float8_e8m0>, real_type, std::conditional_t<std::is_integral_v<X>, float, std::remove_const_t<X>>>;
  auto const quotient = [&a](auto element, float step) {
    auto const v = static_cast<float>(element);
    if (ort || a.precision == precision::float32) return v / step;
    if (a.precision == precision::float16) return detail::quotient_in<half>(v, static_cast<float>(half(step)));
    if (a.precision == precision::bfloat16) return detail::quotient_in<bfloat16>(v, static_cast<float>(bfloat16(step)));
    return detail::quotient_in<own_precision>(v, step);
  };
  [[maybe_unused]] bool const in_float = std::is_same_v<own_precision, float> && (a.precision == precision::of_scale || a.precision == precision::float32);
  constexpr bool floats = std::is_same_v<std::remove_const_t<X>, float>;
  // ONNX Runtime converts some elements to int32 before it saturates: all of a stretch, or those that share their byte with another.
  [[maybe_unused]] auto const converted_first = [&](index_t first, index_t count, index_t s) {
    if constexpr (ort && !detail::is_minifloat<Target>) {
      constexpr int bits = code_of_t<Target>::bits;
      float const step = static_cast<float>(scale.data[s]);
      std::int32_t const zero = zero_point.data == nullptr ? 0 : static_cast<std::int32_t>(zero_point.data[s]);
      auto const convert = [&](index_t from, index_t to) {
        for (index_t i = from; i < to; ++i)
          if (float const steps = round_to::half_even::to_integral(quotient(x.data[i], step)); !(steps >= -2147483648.0f && steps < 2147483648.0f))
            y.data[i] = saturate<Target>(wrap32(-2147483648ll + zero));
      };
      index_t const last = first + count;
      if (!floats || bits == 2 || inner_blocks)
        convert(first, last);
      else if (bits == 4 && count > 0) {
        if (first % 2 != 0) convert(first, first + 1);
        if (last % 2 != 0) convert(last - 1, last);
      }
    }
  };
  auto const stretch = [&](index_t first, index_t count, index_t s) {
    float const step = static_cast<float>(scale.data[s]);
    if constexpr (detail::is_minifloat<Target>) {
      for (index_t i = first; i < first + count; ++i) {
        float v = quotient(x.data[i], step);
        if (Target::total_bits == 4) v += 0.0f;  // float4 adds its zero point, which must be 0: -0 becomes +0
        y.data[i] = Target(v, a.saturate ? codec::overflow::saturate : codec::overflow::to_special);
        if constexpr (ort) y.data[i] = detail::beyond_as_onnx_runtime(y.data[i], v, a.saturate);
      }
    } else {
      convention::affine const p{step, zero_point.data == nullptr ? 0 : static_cast<std::int32_t>(zero_point.data[s])};
      bool fast = false;
      if constexpr (floats) {
        fast = in_float;
        if (fast) quantize_as<convention::onnx, Target>(view(x.data + first, count), p, view(y.data + first, count), max_isa);
      }
      for (index_t i = first; !fast && i < first + count; ++i)
        y.data[i] = convention::onnx::quantize<Target>(quotient(x.data[i], step), {1.0f, p.zero_point});
      converted_first(first, count, s);
    }
  };
  constexpr bool by_columns = [] {
    if constexpr (floats && std::is_same_v<real_type, float> && !detail::is_minifloat<Target>)
      return detail::quantizes_in_a_loop<convention::onnx, Target>;
    else
      return false;
  }();
  if constexpr (by_columns) {
    if (in_float) {
      auto const zeros = detail::widened_zero_points(zero_point);
      return detail::for_each_scale("QuantizeLinear", x.extents, scale.extents, scale.size(), a, stretch, [&](index_t first, index_t rows, index_t cols, index_t s) {
        params_view const p{scale.data + s, zeros.empty() ? nullptr : zeros.data() + s, cols};
        bool const far = detail::quantize_by_columns<convention::onnx, Target>(row_major(x.data + first, rows, cols), p, row_major(y.data + first, rows, cols), max_isa);
        for (index_t i = 0; ort && far && i < rows * cols; ++i) converted_first(first + i, 1, s + i % cols);
        return true;
      });
    }
  }
  detail::for_each_scale("QuantizeLinear", x.extents, scale.extents, scale.size(), a, stretch);
}

/// DequantizeLinear: y = (x - zero_point) * scale, the difference exact in int32, the product in the scale's type (Y may be another:
/// `output_dtype`). X: code storage of 2 to 16 bits, std::int32_t (no zero point) or a minifloat; S, Y: float, half, bfloat16.
/// C: convention::onnx, whose halves and bfloat16s round the difference before the product; or onnx_runtime, whose products are floats.
/// Scales may be negative: the symmetric 4-bit quantizer of ONNX Runtime makes such. @errors  shape, null, argument (axis), scale.
template <convention_policy C = convention::onnx, class X, class S, class Y>
void dequantize_linear(nd_view<X> x_, nd_view<S> scale_, nd_view<std::remove_const_t<X> const> zero_point, nd_view<Y> y,
                       quantize_attributes const& a = {}) {
  using code = std::remove_const_t<X>;
  using real_type = std::remove_const_t<S>;
  nd_view<code const> const x = x_;
  nd_view<real_type const> const scale = scale_;
  detail::check_linear("DequantizeLinear", x, scale, zero_point, y);
  for (index_t i = 0; i < scale.size(); ++i)
    if (float const v = static_cast<float>(scale.data[i]); !is_finite(v) || v == 0)
      fail(errc::scale, "DequantizeLinear: scale ", i, " is ", static_cast<double>(v), "; it must be finite and not 0.");
  if constexpr (detail::is_minifloat<code> || sizeof(code) == 4) detail::check_no_zero("DequantizeLinear", zero_point);
  constexpr bool in_float = std::is_same_v<Y, float> && std::is_same_v<real_type, float> && !detail::is_minifloat<code>;
  auto const stretch = [&](index_t first, index_t count, index_t s) {
    float const step = static_cast<float>(scale.data[s]);
    if constexpr (detail::is_minifloat<code>) {
      for (index_t i = first; i < first + count; ++i) y.data[i] = static_cast<Y>(static_cast<float>(x.data[i]) * step);
    } else {
      convention::affine const p{step, zero_point.data == nullptr ? 0 : static_cast<std::int32_t>(zero_point.data[s])};
      if constexpr (in_float)
        if (step > 0) return dequantize_as<convention::onnx>(view(x.data + first, count), p, view(y.data + first, count));
      for (index_t i = first; i < first + count; ++i) {
        // the difference in the type of the product: at most 17 bits before, so half and bfloat16 round it
        float const exact = static_cast<float>(static_cast<std::int32_t>(x.data[i]) - p.zero_point);
        float const difference = std::is_base_of_v<convention::onnx_runtime, C> ? exact : static_cast<float>(static_cast<Y>(exact));
        y.data[i] = static_cast<Y>(difference * step);
      }
    }
  };
  if constexpr (in_float && sizeof(code) <= 2) {
    bool positive = true;
    for (index_t i = 0; i < scale.size(); ++i) positive &= scale.data[i] > 0;
    if (positive) {
      auto const zeros = detail::widened_zero_points(zero_point);
      return detail::for_each_scale("DequantizeLinear", x.extents, scale.extents, scale.size(), a, stretch, [&](index_t first, index_t rows, index_t cols, index_t s) {
        using scheme = asymmetric<code_of_t<code>, per_channel<1>>;
        dequantize(row_major(x.data + first, rows, cols), detail::borrowed_params<scheme>{{scale.data + s, zeros.empty() ? nullptr : zeros.data() + s, cols}},
                   row_major(y.data + first, rows, cols));
        return true;
      });
    }
  }
  detail::for_each_scale("DequantizeLinear", x.extents, scale.extents, scale.size(), a, stretch);
}

/// DynamicQuantizeLinear: u8 codes with the scale and zero point of x's own range. NaN and infinities are not part of the range (in ONNX
/// Runtime an infinity makes the scale infinite). A range wider than the largest float has the scale infinity: every code is the zero point.
template <convention_policy C = convention::onnx>
scale_zero_point dynamic_quantize_linear(nd_view<float const> x, nd_view<std::uint8_t> y, isa max_isa = isa::best) {
  if (x.size() != y.size() || !x.contiguous() || !y.contiguous()) fail(errc::shape, "DynamicQuantizeLinear: x has ", x.size(), " elements, y ", y.size(), "; they must be equal, and without gaps.");
  if (x.size() > 0 && (x.data == nullptr || y.data == nullptr)) fail(errc::null, "DynamicQuantizeLinear: ", x.data == nullptr ? "x" : "y", " is null.");
  auto const p = C::template choose<u8>(calibrate::range_of(view(x.data, x.size()), max_isa).range);
  if (!is_finite(p.scale)) {
    for (index_t i = 0; i < y.size(); ++i) y.data[i] = static_cast<std::uint8_t>(p.zero_point);
    return p;
  }
  quantize_as<C, u8>(view(x.data, x.size()), {p.scale, p.zero_point}, view(y.data, y.size()), max_isa);
  return p;
}

/// Cast between real types, small floats and integer codes: to integers the fraction is dropped and the rest wraps to the code's
/// bits; to small floats half to even. To and from float8_e8m0: its own encode() has round_mode and saturate.
template <class Target, class X>
void cast(nd_view<X> x, nd_view<detail::onnx_storage_t<Target>> y, bool saturate = true) {
  if (!(x.extents == y.extents) || !x.contiguous() || !y.contiguous()) fail(errc::shape, "Cast: x and y must have the same shape, without gaps.");
  if (x.size() > 0 && (x.data == nullptr || y.data == nullptr)) fail(errc::null, "Cast: ", x.data == nullptr ? "x" : "y", " is null.");
  for (index_t i = 0; i < x.size(); ++i) {
    if constexpr (detail::is_minifloat<Target>) {
      y.data[i] = Target(static_cast<float>(x.data[i]), saturate ? codec::overflow::saturate : codec::overflow::to_special);
    } else {
      using code = code_of_t<Target>;
      float const t = trunc_of(static_cast<float>(x.data[i]));
      auto const v = static_cast<std::uint32_t>(wrap32(t > -9.2e18f && t < 9.2e18f ? static_cast<std::int64_t>(t) : 0));
      std::uint32_t const low = code::bits == 32 ? v : v & ((1u << code::bits) - 1u), sign = code::is_signed ? 1u << (code::bits - 1) : 0u;
      y.data[i] = static_cast<typename code::storage>(static_cast<std::int32_t>(low ^ sign) - static_cast<std::int32_t>(sign));
    }
  }
}

/// MatMulInteger: y = (a - a_zero)(b - b_zero) in int32. Zero points: one, or one a row of a, a column of b, of all matrices or of each.
/// @errors  shape, null, zero_point, depth (gemm_options.wide lifts it).
template <class A, class B>
void matmul_integer(nd_view<A> a, one_or_each<std::int32_t> a_zero_point, nd_view<B> b, one_or_each<std::int32_t> b_zero_point,
                    nd_view<std::int32_t> y, gemm_options const& options = {}) {
  auto const ma = detail::batch_of(a.extents, true), mb = detail::batch_of(b.extents, false);
  detail::check_operand("MatMulInteger", "a", {1.0f, a_zero_point}, ma.rows, code_of_t<A>::min, code_of_t<A>::max, ma.batch.size());
  detail::check_operand("MatMulInteger", "b", {1.0f, b_zero_point}, mb.cols, code_of_t<B>::min, code_of_t<B>::max, mb.batch.size());
  detail::for_each_product("MatMulInteger", nd_view<std::remove_const_t<A> const>(a), nd_view<std::remove_const_t<B> const>(b), y,
                           [&](auto va, auto vb, auto vy, index_t at_a, index_t at_b) {
                             epilogue<> e{};
                             e.lhs_zero_point = detail::of_matrix(a_zero_point, ma.rows, at_a);
                             e.rhs_zero_point = detail::of_matrix(b_zero_point, mb.cols, at_b);
                             gemm(va, pack(vb), vy, e, options);
                           });
}

/// QLinearMatMul: y = saturate(half_even(f32(acc) * f32(a_scale * b_scale) / y_scale) + y_zero). `scales`: the type of the three scales
/// (opset 21), whose product and quotient are rounded to it; given here as the floats that they are.
/// @errors  shape, null, scale, zero_point, depth.
template <convention_policy C = convention::onnx_runtime, class A, class B, class Y>
  requires(!detail::is_minifloat<std::remove_const_t<A>>)
void qlinear_matmul(nd_view<A> a, operand all_a, nd_view<B> b, operand all_b, convention::affine py, nd_view<Y> y, gemm_options const& options = {},
                    precision scales = precision::of_scale) {
  auto const ma = detail::batch_of(a.extents, true), mb = detail::batch_of(b.extents, false);
  detail::check_operand("QLinearMatMul", "a", all_a, ma.rows, code_of_t<A>::min, code_of_t<A>::max, ma.batch.size());
  detail::check_operand("QLinearMatMul", "b", all_b, mb.cols, code_of_t<B>::min, code_of_t<B>::max, mb.batch.size());
  detail::for_each_product(
      "QLinearMatMul", nd_view<std::remove_const_t<A> const>(a), nd_view<std::remove_const_t<B> const>(b), y,
      [&](auto va, auto vb, auto vy, index_t at_a, index_t at_b) {
        operand const pa = detail::of_matrix(all_a, ma.rows, at_a), pb = detail::of_matrix(all_b, mb.cols, at_b);
        auto const weights = pack(vb);
        bool const narrow = scales == precision::float16 || scales == precision::bfloat16;
        auto const p = [&](index_t i) {
          return layer_params{.src = {pa.scale[i], pa.zero_point[i]}, .weight_scale = pb.scale, .weight_zero_point = pb.zero_point, .bias = {}, .dst = py};
        };
        auto const multiply = [&](index_t i, auto lhs, auto dst) {
          if (!narrow) return gemm<C>(lhs, weights, dst, p(i), options);
          detail::check_layer("QLinearMatMul", p(i), weights.n());
          buffer<float> each(pb.scale.single() ? 1 : weights.n());
          for (index_t j = 0; j < each.size(); ++j)
            each[j] = scales == precision::float16 ? detail::effective_scale_in<half>(pa.scale[i], pb.scale[j], py.scale)
                                                   : detail::effective_scale_in<bfloat16>(pa.scale[i], pb.scale[j], py.scale);
          layer_params q = p(i);
          q.src.scale = q.dst.scale = 1.0f;
          q.weight_scale = vector_view<float const>{each.data(), each.size(), 1};
          if (each.size() == 1) q.weight_scale = each[0];
          gemm<C>(lhs, weights, dst, q, options);
        };
        if (pa.scale.single() && pa.zero_point.single()) return multiply(0, va, vy);
        for (index_t i = 0; i < va.rows; ++i)  // a scale a row: its products with the columns' round on their own
          multiply(i, va.block(i, 0, 1, va.cols), vy.block(i, 0, 1, vy.cols));
      });
}

/// QLinearMatMul of float8 (opset 21), whose zero points are 0: y = float8(f32(sum) * (f32(a_scale * b_scale) / y_scale)), saturating. The
/// standard leaves the sum open; here it is exact, rounded to float once, so that it does not depend on its order.
/// @errors  shape, null, scale, zero_point.
template <class A, class B, class Y>
  requires(detail::is_minifloat<std::remove_const_t<A>> && detail::is_minifloat<std::remove_const_t<B>> && detail::is_minifloat<Y>)
void qlinear_matmul(nd_view<A> a, operand all_a, nd_view<B> b, operand const& all_b, convention::affine py, nd_view<Y> y) {
  auto const ma = detail::batch_of(a.extents, true), mb = detail::batch_of(b.extents, false);
  detail::check_operand("QLinearMatMul", "a", all_a, ma.rows, 0, 0, ma.batch.size());
  detail::check_operand("QLinearMatMul", "b", all_b, mb.cols, 0, 0, mb.batch.size());
  detail::check_operand("QLinearMatMul", "y", {py.scale, py.zero_point}, 1, 0, 0);
  detail::for_each_product("QLinearMatMul", nd_view<std::remove_const_t<A> const>(a), nd_view<std::remove_const_t<B> const>(b), y, [&](auto va, auto vb, auto vy, index_t at_a, index_t at_b) {
    operand const pa = detail::of_matrix(all_a, ma.rows, at_a), pb = detail::of_matrix(all_b, mb.cols, at_b);
    for (index_t i = 0; i < vy.rows; ++i)
      for (index_t j = 0; j < vy.cols; ++j) {
        float const sum = detail::exact_dot(va.row(i), vb.col(j));
        vy(i, j) = Y(rounded(sum * (rounded(pa.scale[i] * pb.scale[j]) / py.scale)));
      }
  });
}

/// ConvInteger: int32 sums, padding counts as the zero point. x NCHW, NCW or NCDHW, w OIHW, OIW or OIDHW. @errors shape, null, argument, zero_point, depth.
template <class X, class W>
void conv_integer(nd_view<X> x, std::int32_t x_zero_point, nd_view<W> w, one_or_each<std::int32_t> w_zero_point, nd_view<std::int32_t> y,
                  conv_attributes const& a = {}, gemm_options const& options = {}) {
  epilogue<> e{};
  e.lhs_zero_point = x_zero_point;
  e.rhs_zero_point = w_zero_point;
  detail::through_ndhwc("ConvInteger", nd_view<std::remove_const_t<X> const>(x), nd_view<std::remove_const_t<W> const>(w), a, y,
                       [&](auto src, auto const& weights, auto dst) { conv3d(src, weights, dst, e, options); });
}

/// QLinearConv, layouts as ConvInteger's. Bias: int32 in steps of x_scale * w_scale. @errors shape, null, argument, scale, zero_point, depth.
template <convention_policy C = convention::onnx_runtime, class X, class W, class Y>
void qlinear_conv(nd_view<X> x, convention::affine px, nd_view<W> w, operand const& pw, convention::affine py, vector_view<std::int32_t const> bias,
                  nd_view<Y> y, conv_attributes const& a = {}, gemm_options const& options = {}) {
  layer_params const p{.src = px, .weight_scale = pw.scale, .weight_zero_point = pw.zero_point, .bias = bias, .dst = py};
  detail::through_ndhwc("QLinearConv", nd_view<std::remove_const_t<X> const>(x), nd_view<std::remove_const_t<W> const>(w), a, y,
                       [&](auto src, auto const& weights, auto dst) { conv3d<C>(src, weights, dst, p, options); });
}

}  // inline namespace QUERN_ABI

// ---- com.microsoft -----------------------------------------------------------------------------------------------------

namespace com_microsoft {
inline namespace QUERN_ABI {

/// QGemm's C: none, or int32 values that broadcast to m x n (a scalar, n, 1 x n, m x 1, m x n).
struct addend {
  nd_view<std::int32_t const> values{};

  QUERN_INLINE constexpr addend() noexcept = default;
  QUERN_INLINE constexpr addend(nd_view<std::int32_t const> v) noexcept : values(v) {}
  QUERN_INLINE constexpr addend(nd_view<std::int32_t> v) noexcept : values(v) {}
  QUERN_INLINE constexpr addend(vector_view<std::int32_t const> v) noexcept {
    if (v.size == 0) return;
    values.data = v.data;
    values.extents.rank = 1, values.extents.dim[0] = v.size, values.stride[0] = v.stride;
  }
  QUERN_INLINE constexpr addend(vector_view<std::int32_t> v) noexcept : addend(vector_view<std::int32_t const>(v)) {}
};
}  // inline namespace QUERN_ABI
}  // namespace com_microsoft
}  // namespace onnx

namespace detail {
inline namespace QUERN_ABI {
/// Calls run(rows of lhs, rows of dst, bias) once, or for each row where C has more than one.
template <class A, class Y, class F>
void with_addend(matrix_view<A> lhs, matrix_view<Y> y, onnx::com_microsoft::addend const& c, F const& run) {
  if (c.values.data == nullptr && c.values.extents.rank == 0) return run(lhs, y, vector_view<std::int32_t const>{});
  shape const all = make_shape(y.rows, y.cols);
  bool fits = c.values.extents.rank <= 2;
  for (int d = 0; fits && d < c.values.extents.rank; ++d) {
    index_t const extent = c.values.extents.dim[d], wanted = all.dim[d + 2 - c.values.extents.rank];
    fits = extent == 1 || extent == wanted;
  }
  if (!fits) fail(errc::shape, "QGemm: c has ", c.values.size(), " elements in rank ", c.values.extents.rank, "; it must broadcast to ", y.rows, " x ", y.cols, ".");
  if (c.values.data == nullptr && !y.empty()) fail(errc::null, "QGemm: c is null.");
  if (y.empty()) return run(lhs, y, vector_view<std::int32_t const>{});
  auto const each = broadcast(c.values, all);
  buffer<std::int32_t> bias(y.cols);
  bool const one = each.stride[0] == 0;
  for (index_t i = 0; i < (one ? 1 : y.rows); ++i) {
    for (index_t j = 0; j < y.cols; ++j) bias[j] = each.data[i * each.stride[0] + j * each.stride[1]];
    vector_view<std::int32_t const> const row{bias.data(), bias.size(), 1};
    one ? run(lhs, y, row) : run(lhs.block(i, 0, 1, lhs.cols), y.block(i, 0, 1, y.cols), row);
  }
}
}  // inline namespace QUERN_ABI
}  // namespace detail

namespace onnx {
namespace com_microsoft {
inline namespace QUERN_ABI {

/// QGemm with integer output: y = saturate(half_even(f32(acc + c) * (f32(alpha a_scale) b_scale / y_scale)) + y_zero).
/// a is m x k (`trans_a`: k x m), b k x n (`trans_b`: n x k). @errors as gemm, scale.
template <class A, class B, class Y>
void qgemm(matrix_view<A> a, convention::affine pa, matrix_view<B> b, operand const& pb, addend const& c, convention::affine py, matrix_view<Y> y,
           float alpha = 1, bool trans_a = false, bool trans_b = false, gemm_options const& options = {}) {
  auto const weights = pack(trans_b ? b.transposed() : b);
  // f32(alpha * a_scale) takes the place of the source's scale, so that the convention's own scale is QGemm's.
  convention::affine const src{rounded(alpha * pa.scale), pa.zero_point};
  detail::with_addend(trans_a ? a.transposed() : a, y, c, [&](auto lhs, auto dst, vector_view<std::int32_t const> bias) {
    gemm<convention::onnx_runtime>(lhs, weights, dst, {.src = src, .weight_scale = pb.scale, .weight_zero_point = pb.zero_point, .bias = bias, .dst = py}, options);
  });
}

/// QGemm with float output (no y_scale): y = f32(acc + c) * f32(f32(alpha a_scale) b_scale).
template <class A, class B>
void qgemm(matrix_view<A> a, convention::affine pa, matrix_view<B> b, operand const& pb, addend const& c, matrix_view<float> y, float alpha = 1,
           bool trans_a = false, bool trans_b = false, gemm_options const& options = {}) {
  epilogue<to_real> e{};
  e.lhs_zero_point = pa.zero_point;
  e.rhs_zero_point = pb.zero_point;
  e.rescale.rows = rounded(alpha * pa.scale);
  e.rescale.cols = pb.scale;
  auto const weights = pack(trans_b ? b.transposed() : b);
  detail::with_addend(trans_a ? a.transposed() : a, y, c, [&](auto lhs, auto dst, vector_view<std::int32_t const> bias) {
    e.bias = bias;
    gemm(lhs, weights, dst, e, options);
  });
}

/// QLinearAdd, QLinearMul, with numpy's broadcasting. `C`: onnx_runtime (x86), onnx_runtime_arm, onnx_runtime_portable.
/// @errors shape, null, scale (also ratios that the Arm kernel refuses), zero_point; the functions below too.
template <convention_policy C = convention::onnx_runtime, class T>
void qlinear_add(non_deduced<nd_view<T const>> a, convention::affine pa, non_deduced<nd_view<T const>> b, convention::affine pb, convention::affine py, nd_view<T> y) {
  quern::add<C>(a, pa, b, pb, y, py);
}
template <convention_policy C = convention::onnx_runtime, class T>
void qlinear_mul(non_deduced<nd_view<T const>> a, convention::affine pa, non_deduced<nd_view<T const>> b, convention::affine pb, convention::affine py, nd_view<T> y) {
  quern::mul<C>(a, pa, b, pb, y, py);
}

/// QLinearSigmoid. `Fused`: the FMA3 kernel's polynomial, which x86 CPUs since 2013 run.
template <class T, bool Fused = true>
void qlinear_sigmoid(non_deduced<nd_view<T const>> x, convention::affine px, convention::affine py, nd_view<T> y, isa max_isa = isa::best) {
  detail::check_both<T>("QLinearSigmoid", px, py);
  unary(x, y, convention::onnx_runtime::sigmoid<code_of_t<T>, Fused>(px, py), max_isa);
}
template <class T>
void qlinear_leaky_relu(non_deduced<nd_view<T const>> x, convention::affine px, float alpha, convention::affine py, nd_view<T> y, isa max_isa = isa::best) {
  detail::check_both<T>("QLinearLeakyRelu", px, py);
  unary(x, y, convention::onnx_runtime::leaky_relu<code_of_t<T>>(px, py, alpha), max_isa);
}

/// QLinearSoftmax along the last axis: rows of x.cols. (opset 12 and before flattens from `axis` on: pass that matrix.)
template <class T>
void qlinear_softmax(non_deduced<matrix_view<T const>> x, convention::affine px, convention::affine py, matrix_view<T> y) {
  if (x.rows != y.rows || x.cols != y.cols || (x.cols > 1 && (x.col_stride != 1 || y.col_stride != 1)))
    fail(errc::shape, "QLinearSoftmax: x is ", x.rows, " x ", x.cols, ", y ", y.rows, " x ", y.cols, "; they must be equal, rows without gaps.");
  if (!x.empty() && (x.data == nullptr || y.data == nullptr)) fail(errc::null, "QLinearSoftmax: ", x.data == nullptr ? "x" : "y", " is null.");
  detail::check_both<T>("QLinearSoftmax", px, py);
  if (x.empty()) return;
  auto const row = convention::onnx_runtime::softmax<code_of_t<T>>(px.scale, py, x.cols);
  for (index_t i = 0; i < x.rows; ++i) row(x.row(i).data, y.row(i).data, x.cols);
}

/// QLinearGlobalAveragePool and QLinearAveragePool of NHWC images (`channels_last`; nchw() views are NCHW's).
template <convention_policy C = convention::onnx_runtime, class T>
void qlinear_global_average_pool(non_deduced<tensor_view<T const>> x, convention::affine px, convention::affine py, tensor_view<T> y, isa max_isa = isa::best) {
  if (y.n != x.n || y.c != x.c || y.h != 1 || y.w != 1) fail(errc::shape, "QLinearGlobalAveragePool: y is ", y.n, " x ", y.h, " x ", y.w, " x ", y.c, "; it must be ", x.n, " x 1 x 1 x ", x.c, ".");
  if (x.h < 1 || x.w < 1) fail(errc::shape, "QLinearGlobalAveragePool: the image is ", x.h, " x ", x.w, "; it must not be empty.");
  if (!x.empty() && (x.data == nullptr || y.data == nullptr)) fail(errc::null, "QLinearGlobalAveragePool: ", x.data == nullptr ? "x" : "y", " is null.");
  detail::check_both<T>("QLinearGlobalAveragePool", px, py);
  if (x.empty()) return;
  if ((x.c_stride == 1 || x.c == 1) && (y.c_stride == 1 || y.c == 1)) return quern::global_average_pool<C>(x, px, y, py, no_limits, max_isa);
  auto const average = C::template average_pool<code_of_t<T>>(px, py);
  bool const adjacent = (x.w_stride == 1 || x.w == 1) && (x.h_stride == x.w || x.h == 1);
  isa const chosen = active_isa(max_isa);
  for (index_t b = 0; b < x.n; ++b)
    for (index_t c = 0; c < x.c; ++c) {
      std::int32_t sum = 0;
      if (adjacent)
        detail::add_line(chosen, &x(b, 0, 0, c), 1, x.h * x.w, &sum, 0);
      else
        for (index_t i = 0; i < x.h; ++i)
          for (index_t j = 0; j < x.w; ++j) sum += x(b, i, j, c);
      y(b, 0, 0, c) = static_cast<T>(average(sum, static_cast<std::int32_t>(x.h * x.w)));
    }
}
/// Dequantize, average in float (in the order of the window's rows), quantize with the zero point inside of the rounding.
/// `count_include_pad`: padding counts as 0.0.
template <class T>
void qlinear_average_pool(non_deduced<tensor_view<T const>> x, convention::affine px, pool_options const& o, convention::affine py, tensor_view<T> y,
                          bool count_include_pad = false, isa max_isa = isa::best) {
  window const w = sliding_window("QLinearAveragePool", {x.h, x.w, 1}, o.size, o.stride, {}, o.padding);
  if (w.h.before >= w.h.reach() || w.w.before >= w.w.reach() || w.h.at(w.h.out - 1, 0) >= w.h.in || w.w.at(w.w.out - 1, 0) >= w.w.in)
    fail(errc::shape, "QLinearAveragePool: the padding is as large as the window, which would then hold no position of the image.");
  if (y.n != x.n || y.h != w.h.out || y.w != w.w.out || y.c != x.c)
    fail(errc::shape, "QLinearAveragePool: y is ", y.n, " x ", y.h, " x ", y.w, " x ", y.c, "; it must be ", x.n, " x ", w.h.out, " x ", w.w.out, " x ", x.c, ".");
  if (!x.empty() && (x.data == nullptr || y.data == nullptr)) fail(errc::null, "QLinearAveragePool: ", x.data == nullptr ? "x" : "y", " is null.");
  detail::check_both<T>("QLinearAveragePool", px, py);
  if (x.empty()) return;
  using ort = convention::onnx_runtime;
  convention::detail::mlas_average const average{py, convention::limits_of<code_of_t<T>>};
  isa const chosen = active_isa(max_isa);
  // Vectors hold the channels of a pixel, or the pixels of a row whose windows have the same columns.
  bool const channels_last = (x.c_stride == 1 || x.c == 1) && x.c >= 4;
  for (index_t b = 0; b < x.n; ++b)
    for (index_t i = 0; i < y.h; ++i)
      for (index_t j = 0, together = 1; j < y.w; j += together) {
        auto const ty = detail::taps_inside(w.h, i), tx = detail::taps_inside(w.w, j);
        together = 1;
        if (!channels_last && tx.last - tx.first == w.w.kernel)
          while (j + together < y.w && w.w.at(j + together, w.w.kernel - 1) < x.w) ++together;
        detail::pixel_window const inside{ty.last - ty.first, tx.last - tx.first, x.h_stride, x.w_stride};
        index_t const n = count_include_pad ? w.h.kernel * w.w.kernel : inside.rows * inside.cols;
        detail::real_average const a{px.scale, static_cast<float>(n), py.scale, static_cast<float>(py.zero_point), px.zero_point, convention::limits_of<code_of_t<T>>};
        for (index_t c = 0; c < x.c; ++c) {
          T const* const from = &x(b, w.h.at(i, ty.first), w.w.at(j, tx.first), c);
          index_t const count = channels_last ? x.c : together;
          if (detail::real_average_line(chosen, from, inside, count, channels_last ? index_t{1} : w.w.stride * x.w_stride, a, &y(b, i, j, c), channels_last ? y.c_stride : y.w_stride)) {
            if (channels_last) break;
            continue;
          }
          for (index_t k = 0; k < together; ++k) {
            float sum = 0;
            for (index_t ky = ty.first; ky < ty.last; ++ky)
              for (index_t kx = tx.first; kx < tx.last; ++kx) sum += rounded(ort::dequantize(x(b, w.h.at(i, ky), w.w.at(j + k, kx), c), px));
            y(b, i, j + k, c) = static_cast<T>(average(sum, static_cast<std::int32_t>(n)));
          }
        }
      }
}

/// The same over volumes. @errors as over images.
template <class T>
void qlinear_average_pool(non_deduced<volume_view<T const>> x, convention::affine px, pool_options const& o, convention::affine py, volume_view<T> y,
                          bool count_include_pad = false, isa max_isa = isa::best) {
  window const w = sliding_window("QLinearAveragePool", {x.h, x.w, x.d}, o.size, o.stride, {}, o.padding);
  for (axis const& a : {w.d, w.h, w.w})
    if (a.before >= a.reach() || a.at(a.out - 1, 0) >= a.in)
      fail(errc::shape, "QLinearAveragePool: the padding is as large as the window, which would then hold no position of the image.");
  if (y.n != x.n || y.d != w.d.out || y.h != w.h.out || y.w != w.w.out || y.c != x.c)
    fail(errc::shape, "QLinearAveragePool: y is ", y.n, " x ", y.d, " x ", y.h, " x ", y.w, " x ", y.c, "; it must be ", x.n, " x ", w.d.out, " x ", w.h.out, " x ", w.w.out, " x ", x.c, ".");
  if (!x.empty() && (x.data == nullptr || y.data == nullptr)) fail(errc::null, "QLinearAveragePool: ", x.data == nullptr ? "x" : "y", " is null.");
  detail::check_both<T>("QLinearAveragePool", px, py);
  if (x.empty()) return;
  if (w.d.kernel == 1 && w.d.before == 0) {  // planes on their own
    for (index_t b = 0; b < x.n; ++b)
      for (index_t z = 0; z < y.d; ++z) {
        tensor_view<T const> const from{&x(b, w.d.at(z, 0), 0, 0, 0), 1, x.h, x.w, x.c, 0, x.h_stride, x.w_stride, x.c_stride};
        qlinear_average_pool(from, px, o, py, tensor_view<T>{&y(b, z, 0, 0, 0), 1, y.h, y.w, y.c, 0, y.h_stride, y.w_stride, y.c_stride}, count_include_pad, max_isa);
      }
    return;
  }
  using ort = convention::onnx_runtime;
  convention::detail::mlas_average const average{py, convention::limits_of<code_of_t<T>>};
  buffer<float> sums(x.c);
  for (index_t b = 0; b < x.n; ++b)
    for (index_t p = 0; p < y.d * y.h * y.w; ++p) {
      index_t const z = p / (y.h * y.w), i = p / y.w % y.h, j = p % y.w;
      auto const tz = detail::taps_inside(w.d, z), ty = detail::taps_inside(w.h, i), tx = detail::taps_inside(w.w, j);
      index_t const n = count_include_pad ? w.taps() : (tz.last - tz.first) * (ty.last - ty.first) * (tx.last - tx.first);
      for (float& s : sums) s = 0;
      for (index_t kz = tz.first; kz < tz.last; ++kz)
        for (index_t ky = ty.first; ky < ty.last; ++ky)
          for (index_t kx = tx.first; kx < tx.last; ++kx) {
            T const* const from = &x(b, w.d.at(z, kz), w.h.at(i, ky), w.w.at(j, kx), 0);
            for (index_t c = 0; c < x.c; ++c) sums[c] += rounded(ort::dequantize(from[c * x.c_stride], px));
          }
      for (index_t c = 0; c < x.c; ++c) y(b, z, i, j, c) = static_cast<T>(average(sums[c], static_cast<std::int32_t>(n)));
    }
}
template <convention_policy C = convention::onnx_runtime, class T>
void qlinear_global_average_pool(non_deduced<volume_view<T const>> x, convention::affine px, convention::affine py, volume_view<T> y, isa max_isa = isa::best) {
  if (x.d > 1 && x.h > 1 && x.d_stride != x.h * x.h_stride) fail(errc::shape, "QLinearGlobalAveragePool: the planes of x must follow each other without gaps.");
  if (y.d != 1) fail(errc::shape, "QLinearGlobalAveragePool: y has depth ", y.d, "; it must be 1.");
  // To a sum planes are more rows.
  index_t const row = x.h == 1 ? x.d_stride : x.h_stride;
  qlinear_global_average_pool<C>(tensor_view<T const>{x.data, x.n, x.d * x.h, x.w, x.c, x.n_stride, x.d == 1 ? x.h_stride : row, x.w_stride, x.c_stride}, px, py,
                                 tensor_view<T>{y.data, y.n, y.h, y.w, y.c, y.n_stride, y.h_stride, y.w_stride, y.c_stride}, max_isa);
}

/// What ceil_mode asks for: padding with which an image of `in` has ceil((in + before + after - size) / stride) + 1 positions, but for a
/// last one that would begin behind the image and its padding before. Means count what is inside, or with count_include_pad the window.
constexpr pool_options with_ceil_mode(extent in, pool_options o) {
  if (o.padding.rule != padding_rule::given) return o;  // SAME rounds up by itself
  auto const widen = [](index_t size, index_t window, index_t stride, index_t before, index_t& after) {
    index_t const room = size + before + after - window;
    if (room < 0 || stride < 1) return;  // sliding_window says what is wrong
    index_t last = (room + stride - 1) / stride;
    if (last * stride >= size + before) --last;
    after = last * stride + window - size - before > 0 ? last * stride + window - size - before : 0;
  };
  widen(in.h, o.size.h, o.stride.h, o.padding.top, o.padding.bottom);
  widen(in.w, o.size.w, o.stride.w, o.padding.left, o.padding.right);
  widen(in.d, o.size.d, o.stride.d, o.padding.front, o.padding.back);
  return o;
}

/// DynamicQuantizeMatMul: a quantized to u8 by its own range, y = f32(acc) * f32(a_scale b_scale) + bias. a m x k, b k x n.
/// @errors as gemm, scale.
template <class B>
void dynamic_quantize_matmul(matrix_view<float const> a, packed_matrix_view<B> const& b, operand const& pb, vector_view<float const> bias,
                             matrix_view<float> y, gemm_options const& options = {}) {
  if (!a.contiguous()) fail(errc::shape, "DynamicQuantizeMatMul: a must be row-major without gaps.");
  buffer<std::uint8_t> codes(a.rows * a.cols);
  shape const s = make_shape(a.rows, a.cols);
  auto const p = dynamic_quantize_linear<convention::onnx_runtime>(nd(a.data, s), nd(codes.data(), s), options.max_isa);
  epilogue<to_real> e{};
  e.lhs_zero_point = p.zero_point;
  e.rhs_zero_point = pb.zero_point;
  e.rescale = {.cols = pb.scale, .rows = p.scale, .bias = bias};
  gemm(row_major(static_cast<std::uint8_t const*>(codes.data()), a.rows, a.cols), b, y, e, options);
}

/// MatMulIntegerToFloat: y = f32(acc) * f32(a_scale b_scale) + bias.
template <class A, class B>
void matmul_integer_to_float(matrix_view<A> a, convention::affine pa, packed_matrix_view<B> const& b, operand const& pb, vector_view<float const> bias,
                             matrix_view<float> y, gemm_options const& options = {}) {
  epilogue<to_real> e{};
  e.lhs_zero_point = pa.zero_point;
  e.rhs_zero_point = pb.zero_point;
  e.rescale = {.cols = pb.scale, .rows = pa.scale, .bias = bias};
  gemm(a, b, y, e, options);
}

/// Weights of MatMulNBits: N rows of ceil(K / block) blocks of `Bits`-bit codes, low bits first; a scale a block, zero points packed
/// the same way (null: 2^(Bits-1)), or real ones. Scales, zero points and activations of half or bfloat16 are floats here, exactly.
template <int Bits>
struct n_bit_weights {
  static_assert(Bits == 2 || Bits == 4 || Bits == 8, "quern: MatMulNBits has 2, 4 or 8 bits.");
  index_t n = 0, k = 0, block = 32;
  std::uint8_t const* codes = nullptr;
  float const* scales = nullptr;
  std::uint8_t const* zero_points = nullptr;
  float const* real_zero_points = nullptr;     ///< in place of zero_points: n x blocks, of the scales' type, unpacked
  std::int32_t const* group_index = nullptr;   ///< g_idx: whose block's scale and zero point index i of k takes; null: i / block

  QUERN_INLINE constexpr index_t blocks() const noexcept { return (k + block - 1) / block; }
  /// Number `at` of codes that lie side by side.
  QUERN_INLINE static constexpr std::int32_t field(std::uint8_t const* packed, index_t at) noexcept {
    std::size_t const bit = static_cast<std::size_t>(at) * Bits;
    return (packed[bit / 8] >> (bit % 8)) & ((1 << Bits) - 1);
  }
  QUERN_INLINE constexpr std::int32_t code(index_t j, index_t i) const noexcept {
    return field(codes, j * blocks() * block + i);
  }
  QUERN_INLINE constexpr std::int32_t zero_point(index_t j, index_t g) const noexcept {
    if (zero_points == nullptr) return 1 << (Bits - 1);
    index_t const row = (blocks() * Bits + 7) / 8;
    return field(zero_points + j * row, g);
  }
  /// (code - zero point) * scale, in float32.
  QUERN_INLINE constexpr float operator()(index_t j, index_t i) const noexcept {
    index_t const g = group_index == nullptr ? i / block : group_index[i];
    float const scale = scales[j * blocks() + g];
    if (real_zero_points != nullptr) return rounded(static_cast<float>(code(j, i)) - real_zero_points[j * blocks() + g]) * scale;
    return static_cast<float>(code(j, i) - zero_point(j, g)) * scale;
  }
  /// f(i, code - zero point, block) for every i of output j, whose zero points are integers.
  template <class F>
  QUERN_INLINE constexpr void each(index_t j, F const& f) const {
    index_t const row = j * blocks() * block;
    for (index_t g = 0, i = 0; i < k; ++g) {
      std::int32_t const zero = zero_point(j, g);
      for (index_t last = i + block < k ? i + block : k; i < last; ++i) f(i, field(codes, row + i) - zero, g);
    }
  }
};

namespace n_bit_detail {
/// Outputs that are computed at once, in vectors that the compiler makes of whatever there is.
inline constexpr index_t together = 8;
using floats __attribute__((vector_size(together * 4))) = float;
using doubles __attribute__((vector_size(together * 8))) = double;
using shorts __attribute__((vector_size(together * 2))) = std::int16_t;
using integers __attribute__((vector_size(together * 4))) = std::int32_t;

template <class W>
void check_nbits(matrix_view<float const> a, W const& w, vector_view<float const> bias, matrix_view<float> y) {
  if (a.cols != w.k || y.rows != a.rows || y.cols != w.n)
    fail(errc::shape, "MatMulNBits: a is ", a.rows, " x ", a.cols, ", w ", w.k, " x ", w.n, ", y ", y.rows, " x ", y.cols, "; they must be m x k, k x n and m x n.");
  if (w.block < 1) fail(errc::argument, "MatMulNBits: the block is ", w.block, "; it must be at least 1.");
  if (bias.size != 0 && bias.size != w.n) fail(errc::shape, "MatMulNBits: bias has ", bias.size, " elements; y has ", w.n, " columns.");
  if (!y.empty() && (y.data == nullptr || w.codes == nullptr || w.scales == nullptr || (a.data == nullptr && w.k > 0) || (bias.data == nullptr && bias.size > 0)))
    fail(errc::null, "MatMulNBits: an operand is null.");
  for (index_t i = 0; i < w.n * w.blocks() && !y.empty(); ++i)  // the sign is free: -absmax / 8 is a scale of the symmetric quantizer
    if (!is_finite(w.scales[i])) fail(errc::scale, "MatMulNBits: scale ", i, " is ", static_cast<double>(w.scales[i]), "; it must be finite.");
  for (index_t i = 0; w.group_index != nullptr && i < w.k; ++i)
    if (w.group_index[i] < 0 || w.group_index[i] >= w.blocks())
      fail(errc::argument, "MatMulNBits: group_index ", i, " is ", w.group_index[i], "; it must be 0 to ", w.blocks() - 1, ".");
}
}  // namespace n_bit_detail

/// MatMulNBits with accuracy_level 0 to 3: y = a * dequantized(w)^T + bias, sums in double in order of k and rounded once, so that the
/// result does not depend on blocking. (The original sums in float32, in an order of its own.) a m x k, y m x n.
template <int Bits>
void matmul_nbits(matrix_view<float const> a, n_bit_weights<Bits> const& w, vector_view<float const> bias, matrix_view<float> y) {
  n_bit_detail::check_nbits(a, w, bias, y);
  // Eight outputs at once: the order of each one's sum stays, and none waits for its own last addition.
  using n_bit_detail::together;
  buffer<float> tile(w.k * together);
  for (index_t j = 0; j < w.n; j += together) {
    index_t const outputs = w.n - j < together ? w.n - j : together;
    for (index_t c = 0; c < outputs; ++c)
      if (w.group_index != nullptr || w.real_zero_points != nullptr) {
        for (index_t i = 0; i < w.k; ++i) tile[i * together + c] = w(j + c, i);
      } else {
        float const* const scales = w.scales + (j + c) * w.blocks();
        w.each(j + c, [&](index_t i, std::int32_t steps, index_t g) { tile[i * together + c] = static_cast<float>(steps) * scales[g]; });
      }
    for (index_t r = 0; r < a.rows; ++r) {
      n_bit_detail::doubles sum{};
      for (index_t c = 0; c < outputs && bias.size != 0; ++c) sum[c] = static_cast<double>(bias[j + c]);
      for (index_t i = 0; i < w.k; ++i) {
        n_bit_detail::floats weights;
        __builtin_memcpy(&weights, tile.data() + i * together, sizeof weights);
        sum += static_cast<double>(a(r, i)) * __builtin_convertvector(weights, n_bit_detail::doubles);  // products of floats are exact
      }
      for (index_t c = 0; c < outputs; ++c) y(r, j + c) = static_cast<float>(sum[c]);
    }
  }
}

/// The same with accuracy_level 4: a is quantized to int8 in the same blocks (absmax / 127, half to even), products are int32.
/// (ONNX Runtime 1.30 has no kernel of that level for 2 bits in blocks of 16: it takes matmul_nbits's arithmetic there.)
template <int Bits>
void matmul_nbits_int8(matrix_view<float const> a, n_bit_weights<Bits> const& w, vector_view<float const> bias, matrix_view<float> y) {
  n_bit_detail::check_nbits(a, w, bias, y);
  if (w.real_zero_points != nullptr || w.group_index != nullptr)
    fail(errc::argument, "MatMulNBits: accuracy_level 4 takes neither real_zero_points nor group_index; ONNX Runtime computes those as level 0, matmul_nbits.");
  using n_bit_detail::together;
  index_t const blocks = w.blocks();
  buffer<std::int8_t> codes(a.rows * w.k);
  buffer<float> scales(a.rows * blocks);
  for (index_t r = 0; r < a.rows; ++r)
    for (index_t g = 0; g < blocks; ++g) {
      index_t const first = g * w.block, last = first + w.block < w.k ? first + w.block : w.k;
      float largest = 0;
      for (index_t i = first; i < last; ++i) largest = abs_of(a(r, i)) > largest ? abs_of(a(r, i)) : largest;
      scales[r * blocks + g] = largest / 127.0f;
      float const inverse = largest != 0 ? 127.0f / largest : 0.0f;  // not 1 / scale: the last bit decides ties
      for (index_t i = first; i < last; ++i)
        codes[r * w.k + i] = static_cast<std::int8_t>(convention::detail::rounded_code<round_to::half_even>(rounded(a(r, i) * inverse), 0, {-128, 127}, -128));  // NaN: the lowest
    }
  buffer<std::int16_t> tile(w.k * together);
  for (index_t j = 0; j < w.n; j += together) {
    index_t const outputs = w.n - j < together ? w.n - j : together;
    for (index_t c = 0; c < outputs; ++c)
      w.each(j + c, [&](index_t i, std::int32_t steps, index_t) { tile[i * together + c] = static_cast<std::int16_t>(steps); });
    for (index_t r = 0; r < a.rows; ++r) {
      double sum[together] = {};
      for (index_t c = 0; c < outputs && bias.size != 0; ++c) sum[c] = static_cast<double>(bias[j + c]);
      for (index_t g = 0; g < blocks; ++g) {
        index_t const first = g * w.block, last = first + w.block < w.k ? first + w.block : w.k;
        n_bit_detail::integers acc{};
        for (index_t i = first; i < last; ++i) {
          n_bit_detail::shorts weights;
          __builtin_memcpy(&weights, tile.data() + i * together, sizeof weights);
          weights *= std::int16_t{codes[r * w.k + i]};  // at most 128 * 255
          acc += __builtin_convertvector(weights, n_bit_detail::integers);
        }
        for (index_t c = 0; c < outputs; ++c)
          sum[c] += rounded(static_cast<double>(acc[c]) * static_cast<double>(rounded(scales[r * blocks + g] * w.scales[(j + c) * blocks + g])));
      }
      for (index_t c = 0; c < outputs; ++c) y(r, j + c) = static_cast<float>(sum[c]);
    }
  }
}

}  // inline namespace QUERN_ABI
}  // namespace com_microsoft
}  // namespace onnx
}  // namespace quern

QUERN_FP_END
