// linear.hpp — a fully connected layer: float weights quantized once, integers inside, float or codes outside.
//
//     y[i, j] = sum over k of x[i, k] * w[k, j] + bias[j]
//
//     auto w = quantize_linear_weights(row_major(weights, k, n), view(bias));     // float, k x n; one scale a column
//     linear(x, choose_params<asymmetric<s8>>({-3, 5}), w, y);                    // float x and y; calibrated activations
//     dynamic_linear(x, w, y);                                                    // float x and y; a scale for each row of x
//     linear(xq, x_params, w, yq, y_params);                                      // codes in, codes out
//
// Weights are symmetric: stored code = half_even(w / scale), scale = max|w| / 127 of its column (7 for 4 bits), or of its group of
// k in the column. `quantize_linear_weights<s4>(w, bias, {.group = 64})` makes 4-bit weights with a scale for every 64 k.
// Activations are int8 codes, quantized by division, half to even (convert/quantize.hpp).
#pragma once

#include "../calibrate/min_max.hpp"
#include "../convert/quantize.hpp"
#include "../scheme/choose_params.hpp"
#include "gemm.hpp"

QUERN_FP_BEGIN

namespace quern {

struct linear_weight_options {
  index_t group = 0;  ///< k that share a scale; 0: a whole column
};

/// The weights of a layer: codes, scales, bias.
template <class Rhs = std::int8_t>
struct linear_weights {
  packed_matrix<Rhs> packed;
  buffer<float> scales;  ///< one a column; with groups one a (group, column), a group a row
  buffer<float> bias;    ///< real; empty: none

  QUERN_INLINE index_t k() const noexcept { return packed.k(); }
  QUERN_INLINE index_t n() const noexcept { return packed.n(); }
};

struct dynamic_linear_options {
  gemm_options gemm{};
  bool by_row = true;  ///< a scale and zero point for each row of x (token); false: one for all of x
};

namespace detail {
inline namespace QUERN_ABI {

/// The epilogue that brings accumulators of `w` back to real numbers: times rows[i] * scale of the weights, plus bias.
template <class Rhs>
epilogue<to_real> real_epilogue(linear_weights<Rhs> const& w) {
  epilogue<to_real> e;
  if (w.packed.group() > 0)
    e.rescale.groups = row_major(w.scales.data(), w.packed.groups(), w.n());
  else
    e.rescale.cols = vector_view<float const>{w.scales.data(), w.n(), 1};
  e.rescale.bias = {w.bias.data(), w.bias.size(), 1};
  return e;
}

template <class T, class Rhs, class Dst>
void check_linear(char const* who, matrix_view<T> x, linear_weights<Rhs> const& w, matrix_view<Dst> y) {
  if (x.rows < 0 || x.cols < 0) fail(errc::shape, who, ": x is ", x.rows, " x ", x.cols, "; sizes must not be negative.");
  if (x.cols != w.k()) fail(errc::shape, who, ": x has ", x.cols, " columns, the weights ", w.k(), " rows; they must be equal.");
  if (y.rows != x.rows || y.cols != w.n())
    fail(errc::shape, who, ": y is ", y.rows, " x ", y.cols, "; it must be ", x.rows, " x ", w.n(), ".");
  if (!x.empty() && x.data == nullptr) fail(errc::null, who, ": x is null, but ", x.rows, " x ", x.cols, ".");
  if (!y.empty() && y.data == nullptr) fail(errc::null, who, ": y is null, but ", y.rows, " x ", y.cols, ".");
}

inline void check_activation(char const* who, scale_zero_point p) {
  if (!(p.scale > 0) || !is_finite(p.scale))
    fail(errc::scale, who, ": the scale is ", static_cast<double>(p.scale), "; it must be positive and finite.");
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Quantizes and packs float weights, k x n (a matrix stored output by output is `row_major(w, n, k).transposed()`).
///
/// @errors  shape, null; argument for a weight that is not finite, and as pack.
template <class Rhs = std::int8_t, class T>
linear_weights<Rhs> quantize_linear_weights(matrix_view<T> w, vector_view<float const> bias = {}, linear_weight_options options = {}) {
  static_assert(code_of_t<Rhs>::is_signed, "quern::quantize_linear_weights: weights are symmetric; Rhs must be std::int8_t or s4.");
  if (w.rows < 0 || w.cols < 0) fail(errc::shape, "quantize_linear_weights: w is ", w.rows, " x ", w.cols, "; sizes must not be negative.");
  if (!w.empty() && w.data == nullptr) fail(errc::null, "quantize_linear_weights: w is null, but ", w.rows, " x ", w.cols, ".");
  if (bias.size != 0 && bias.size != w.cols)
    fail(errc::shape, "quantize_linear_weights: bias has ", bias.size, " elements, w ", w.cols, " columns; they must be equal.");
  if (bias.size != 0 && bias.data == nullptr) fail(errc::null, "quantize_linear_weights: bias is null, but has ", bias.size, " elements.");
  (void)packed_size<Rhs>(w.rows, w.cols, {options.group});
  index_t const group = options.group > 0 ? options.group : w.rows > 0 ? w.rows : 1;
  index_t const groups = detail::groups_of(w.rows, options.group);
  linear_weights<Rhs> out;
  out.scales = buffer<float>(groups * w.cols);
  buffer<std::int8_t> codes(w.rows * w.cols);
  float const most = static_cast<float>(code_of_t<Rhs>::max);
  for (index_t g = 0; g < groups; ++g)
    for (index_t j = 0; j < w.cols; ++j) {
      index_t const first = g * group, last = first + group < w.rows ? first + group : w.rows;
      float largest = 0;
      for (index_t k = first; k < last; ++k) {
        float const x = static_cast<float>(w(k, j));
        if (!is_finite(x)) fail(errc::argument, "quantize_linear_weights: w(", k, ", ", j, ") is ", static_cast<double>(x), "; weights must be finite.");
        largest = abs_of(x) > largest ? abs_of(x) : largest;
      }
      float scale = largest / most;
      if (!(scale >= 1.17549435e-38f)) scale = largest > 0 ? 1.17549435e-38f : 1.0f;  // 2^-126: 1 / scale stays finite
      out.scales[g * w.cols + j] = scale;
      for (index_t k = first; k < last; ++k)
        codes[k * w.cols + j] =
            static_cast<std::int8_t>(clamp(round_to::half_even::to_integral(static_cast<float>(w(k, j)) / scale), -most, most));
    }
  out.packed = pack<Rhs>(row_major(codes.data(), w.rows, w.cols), {options.group});
  if (bias.size > 0) {
    out.bias = buffer<float>(bias.size);
    for (index_t j = 0; j < bias.size; ++j) out.bias[j] = bias[j];
  }
  return out;
}

/// Float to float with activations quantized by `p` (calibrated): y = (q - p.zero_point) * w * p.scale + bias, q = quantize(x).
///
/// @shapes  x m x k, y m x n. @returns how many values of x were saturated or not finite. @errors  shape, null, scale, zero_point.
template <class T, class Rhs, class Dst>
conversion_counts linear(matrix_view<T> x, params<asymmetric<s8>> const& p, linear_weights<Rhs> const& w, matrix_view<Dst> y,
                         gemm_options const& options = {}) {
  detail::check_linear("linear", x, w, y);
  detail::check_activation("linear", {p.scale, p.zero_point});
  detail::scratch const memory(x.rows * x.cols);
  auto const codes = row_major(reinterpret_cast<std::int8_t*>(memory.data()), x.rows, x.cols);
  conversion_counts const counts = x.empty() ? conversion_counts{} : quantize(x, p, codes, {.max_isa = options.max_isa});
  auto e = detail::real_epilogue(w);
  e.lhs_zero_point = p.zero_point;
  e.rescale.rows = p.scale;
  gemm(codes, static_cast<packed_matrix_view<Rhs> const&>(w.packed), y, e, options);
  return counts;
}

/// Codes in, codes out: y = within dst( half_even( f32(acc) * f32(f32(x.scale / y.scale) * w.scale) + f32(bias / y.scale) ) + y.zero_point ).
///
/// @shapes  x m x k (s8 or u8), y m x n (s8, u8 or s16). @errors  shape, null, scale, zero_point.
template <class Lhs, class Rhs, class Dst>
  requires(std::is_integral_v<Dst>)
void linear(matrix_view<Lhs> x, scale_zero_point x_params, linear_weights<Rhs> const& w, matrix_view<Dst> y,
            scale_zero_point y_params, gemm_options const& options = {}) {
  detail::check_linear("linear", x, w, y);
  detail::check_activation("linear: x_params", x_params);
  detail::check_activation("linear: y_params", y_params);
  auto e = detail::real_epilogue(w);
  e.lhs_zero_point = x_params.zero_point;
  e.dst_zero_point = y_params.zero_point;
  e.rescale.rows = x_params.scale / y_params.scale;
  detail::scratch const memory(w.bias.size() * 4);
  auto* const bias = reinterpret_cast<float*>(memory.data());
  for (index_t j = 0; j < w.bias.size(); ++j) bias[j] = w.bias[j] / y_params.scale;
  e.rescale.bias = {bias, w.bias.size(), 1};
  gemm(x, static_cast<packed_matrix_view<Rhs> const&>(w.packed), y, e, options);
}

/// Float to float with activations quantized as they come: the range of each row of x (or of all of it) makes asymmetric int8
/// parameters (choose_params<asymmetric<s8>>), then as linear.
///
/// @shapes  x m x k, y m x n. NaN becomes the least code, infinities the ends of the range of what is finite. @errors  shape, null.
template <class T, class Rhs, class Dst>
void dynamic_linear(matrix_view<T> x, linear_weights<Rhs> const& w, matrix_view<Dst> y, dynamic_linear_options const& options = {}) {
  using scheme_type = asymmetric<s8>;
  detail::check_linear("dynamic_linear", x, w, y);
  if (y.empty()) return;
  index_t const codes_bytes = detail::round_up(x.rows * x.cols, 64), m = x.rows;
  detail::scratch const memory(codes_bytes + 2 * detail::round_up(m * 4, 64));
  auto const codes = row_major(reinterpret_cast<std::int8_t*>(memory.data()), m, x.cols);
  auto* const scales = reinterpret_cast<float*>(memory.data() + codes_bytes);
  auto* const zero_points = reinterpret_cast<std::int32_t*>(memory.data() + codes_bytes + detail::round_up(m * 4, 64));
  isa const cap = options.gemm.max_isa;
  auto const range_of = [&](index_t row, index_t rows) {
    calibrate::observed_range seen;
    real_range range;
    calibrate::detail::observe_plane<std::remove_const_t<T>>(x.block(row, 0, rows, x.cols), {&range, rows, 0, x.cols, 0}, seen,
                                                             calibrate::detail::min_max_kernels_for(cap));
    return scheme_type::choose(range, {});
  };
  auto const quantize_part = [&](index_t row, index_t rows, scale_zero_point p) {
    if (x.cols > 0) quantize(x.block(row, 0, rows, x.cols), params<scheme_type>{p.scale, p.zero_point}, codes.block(row, 0, rows, x.cols), {.max_isa = cap});
  };
  auto e = detail::real_epilogue(w);
  if (options.by_row) {
    index_t const step = 16;
    options.gemm.executor((m + step - 1) / step, [&](index_t t) {
      for (index_t i = t * step; i < m && i < (t + 1) * step; ++i) {
        scale_zero_point const p = range_of(i, 1);
        scales[i] = p.scale;
        zero_points[i] = p.zero_point;
        quantize_part(i, 1, p);
      }
    });
    e.lhs_zero_point = vector_view<std::int32_t const>{zero_points, m, 1};
    e.rescale.rows = vector_view<float const>{scales, m, 1};
  } else {
    scale_zero_point const p = range_of(0, m);
    quantize_part(0, m, p);
    e.lhs_zero_point = p.zero_point;
    e.rescale.rows = p.scale;
  }
  gemm(codes, static_cast<packed_matrix_view<Rhs> const&>(w.packed), y, e, options.gemm);
}

}  // inline namespace QUERN_ABI
}  // namespace quern

QUERN_FP_END
