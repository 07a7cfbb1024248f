// smooth.hpp — SmoothQuant: move the difficulty of quantizing from activations with outlier channels into the weights.
//
//     s_j = max|x_j|^alpha / max|w_j|^(1 - alpha)          y = (x / s) (W diag(s))ᵀ = x Wᵀ
//
// 1 / s is folded into whatever makes x (a layer's rows, a normalization's gain). With powers of two every product is exact and
// the float function stays the same bit for bit; otherwise to rounding.
//
// @source  Xiao et al. 2022, arXiv:2211.10438 (alpha 0.5, s at least 1e-5).
#pragma once

#include "../core/elementary.hpp"
#include "quantized_weights.hpp"

namespace quern::compress {

struct smooth_options {
  double alpha = 0.5;          ///< 0: all difficulty stays in the activations, 1: all moves into the weights
  bool powers_of_two = false;  ///< s rounded to the nearest power of two: the float function does not change at all
};

inline namespace QUERN_ABI {

/// max|v| of each column. @errors argument for non-finite values.
inline buffer<float> column_absmax(char const* who, matrix_view<float const> m) {
  check_weights(who, m);
  buffer<float> largest(m.cols);
  for (index_t i = 0; i < m.rows; ++i)
    for (index_t j = 0; j < m.cols; ++j)
      if (abs_of(m(i, j)) > largest[j]) largest[j] = abs_of(m(i, j));
  return largest;
}

/// s for each input channel. Channels that are 0 on either side keep s = 1.
/// @errors shape; argument for alpha outside of [0, 1] or values that are negative or not finite.
inline buffer<float> smooth_scales(vector_view<float const> activation_absmax, matrix_view<float const> w, smooth_options options = {}) {
  if (activation_absmax.size != w.cols)
    fail(errc::shape, "smooth_scales: there are ", activation_absmax.size, " channels of activations, the weights have ", w.cols, " inputs; they must be equal.");
  if (!(options.alpha >= 0 && options.alpha <= 1)) fail(errc::argument, "smooth_scales: alpha is ", options.alpha, "; it must be 0 to 1.");
  buffer<float> const weight_absmax = column_absmax("smooth_scales", w);
  buffer<float> s(w.cols, 1.0f);
  for (index_t j = 0; j < w.cols; ++j) {
    float const a = activation_absmax[j], b = weight_absmax[j];
    if (!(a >= 0) || !is_finite(a))
      fail(errc::argument, "smooth_scales: the largest activation of channel ", j, " is ", static_cast<double>(a), "; it must be finite and not negative.");
    if (a == 0 || b == 0) continue;
    double const exact = pow_of(a, options.alpha) / pow_of(b, 1 - options.alpha);
    double const kept = exact < 1e-5 ? 1e-5 : exact > 1e18 ? 1e18 : exact;  // weights of 1e-45 would ask for infinity
    s[j] = options.powers_of_two ? ldexp_of(1.0f, static_cast<int>(nearest_integer(log2_of(kept)))) : static_cast<float>(kept);
  }
  return s;
}

/// W diag(s). @errors shape.
inline void scale_columns(matrix_view<float> w, vector_view<float const> s) {
  if (s.size != w.cols) fail(errc::shape, "scale_columns: there are ", s.size, " scales for ", w.cols, " columns; they must be equal.");
  for (index_t i = 0; i < w.rows; ++i)
    for (index_t j = 0; j < w.cols; ++j) w(i, j) *= s[j];
}
/// diag(1 / s) W and b / s: what makes x makes x / s afterwards. An empty bias is left alone. @errors shape.
inline void divide_rows(matrix_view<float> w, vector_view<float> bias, vector_view<float const> s) {
  if (s.size != w.rows) fail(errc::shape, "divide_rows: there are ", s.size, " scales for ", w.rows, " rows; they must be equal.");
  if (!bias.empty() && bias.size != w.rows) fail(errc::shape, "divide_rows: the bias has ", bias.size, " values for ", w.rows, " rows; they must be equal.");
  for (index_t i = 0; i < w.rows; ++i) {
    for (index_t j = 0; j < w.cols; ++j) w(i, j) /= s[i];
    if (!bias.empty()) bias[i] /= s[i];
  }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress
