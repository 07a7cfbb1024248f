// quantized_weights.hpp — what every weight compressor returns: codes, a scale and a zero for each group of each row.
//
// Weights are rows x cols: a row makes one output, a column belongs to one input channel (W of y = W x). A group is `group`
// neighbours in a row; the last group of a row may be short.
//
//     weight(i, j) ≈ scale(i, j / group) * (code(i, j) - zero(i, j / group))
#pragma once

#include "../core/buffer.hpp"
#include "../core/error.hpp"
#include "../core/math.hpp"
#include "../round/half_even.hpp"
#include "../scheme/params.hpp"

QUERN_FP_BEGIN

namespace quern::compress {

/// Which codes the weights may take.
struct weight_grid {
  int bits = 4;            ///< 2 to 8
  bool symmetric = true;   ///< -(2^(bits-1) - 1) .. 2^(bits-1) - 1 around 0; else all 2^bits codes and a zero
  index_t group = 0;       ///< inputs that share a scale; 0: the whole row

  QUERN_INLINE constexpr int top() const noexcept { return (1 << (bits - 1)) - 1; }
  QUERN_INLINE constexpr int bottom() const noexcept { return symmetric ? -top() : -top() - 1; }
  QUERN_INLINE constexpr index_t group_size(index_t cols) const noexcept { return group == 0 || group > cols ? (cols > 0 ? cols : 1) : group; }
};

/// Codes with their scales. Zeros are integers unless a method says otherwise (hqq).
struct quantized_weights {
  index_t rows = 0, cols = 0, group = 1, groups = 0;   ///< groups: of one row
  weight_grid grid;
  buffer<std::int8_t> codes;   ///< rows x cols, row-major
  buffer<float> scales;        ///< rows x groups
  buffer<float> zeros;         ///< rows x groups

  QUERN_INLINE float scale(index_t i, index_t j) const noexcept { return scales[i * groups + j / group]; }
  QUERN_INLINE float zero(index_t i, index_t j) const noexcept { return zeros[i * groups + j / group]; }
  QUERN_INLINE float operator()(index_t i, index_t j) const noexcept {
    return scale(i, j) * (static_cast<float>(codes[i * cols + j]) - zero(i, j));
  }
  /// Bits a weight, scales (16 bits each) and zeros (bits each, none when symmetric) included.
  QUERN_INLINE double bits_per_weight() const noexcept {
    if (rows * cols == 0) return 0;
    double const per_group = 16.0 + (grid.symmetric ? 0 : grid.bits);
    return grid.bits + per_group * static_cast<double>(rows * groups) / static_cast<double>(rows * cols);
  }
};

inline namespace QUERN_ABI {

inline void check_grid(char const* who, weight_grid grid) {
  if (grid.bits < 2 || grid.bits > 8) fail(errc::argument, who, ": grid.bits is ", grid.bits, "; it must be 2 to 8.");
  if (grid.group < 0) fail(errc::argument, who, ": grid.group is ", grid.group, "; it must not be negative (0 is the whole row).");
}
/// Weights must be there and finite: a NaN would spread over its whole group.
inline void check_weights(char const* who, matrix_view<float const> w) {
  if (w.rows < 0 || w.cols < 0) fail(errc::shape, who, ": the weights are ", w.rows, " x ", w.cols, "; sizes must not be negative.");
  if (!w.empty() && w.data == nullptr) fail(errc::null, who, ": the weights are null, but ", w.rows, " x ", w.cols, ".");
  for (index_t i = 0; i < w.rows; ++i)
    for (index_t j = 0; j < w.cols; ++j)
      if (!is_finite(w(i, j)))
        fail(errc::argument, who, ": weight (", i, ", ", j, ") is ", static_cast<double>(w(i, j)), "; all of them must be finite.");
}

/// Codes, scales of 1 and zeros of 0 for a matrix of this size.
inline quantized_weights empty_weights(index_t rows, index_t cols, weight_grid grid) {
  quantized_weights q;
  q.rows = rows;
  q.cols = cols;
  q.grid = grid;
  q.group = grid.group_size(cols);
  q.groups = cols > 0 ? (cols + q.group - 1) / q.group : 0;
  q.codes = buffer<std::int8_t>(rows * cols);
  q.scales = buffer<float>(rows * q.groups, 1.0f);
  q.zeros = buffer<float>(rows * q.groups);
  return q;
}

/// The scale and zero of one group: its extremes (0 among them) times `shrink`, spread over the codes. A group of zeros: 1 and 0.
///
///     symmetric   scale = max|w| / top                 asymmetric   scale = (max - min) / (2^bits - 1), zero = bottom - round(min / scale)
struct scale_and_zero {
  float scale, zero;
};
inline scale_and_zero choose_group(vector_view<float const> w, weight_grid grid, float shrink = 1.0f) noexcept {
  float low = 0, high = 0;
  for (index_t i = 0; i < w.size; ++i) {
    low = w[i] < low ? w[i] : low;
    high = w[i] > high ? w[i] : high;
  }
  low *= shrink;
  high *= shrink;
  if (grid.symmetric) {
    float const scale = (high > -low ? high : -low) / static_cast<float>(grid.top());
    return {scale >= 1.1754944e-38f ? scale : 1.0f, 0.0f};
  }
  float const scale = static_cast<float>((static_cast<double>(high) - static_cast<double>(low)) / (grid.top() - grid.bottom()));  // high - low may be infinite
  if (!(scale >= 1.1754944e-38f)) return {1.0f, 0.0f};
  return {scale, static_cast<float>(grid.bottom()) - round_to::half_even::to_integral(low / scale)};
}

/// round(w / scale + zero), half to even, kept within the grid. (Zeros may be real numbers: hqq.)
inline std::int8_t code_of_weight(float w, scale_and_zero s, weight_grid grid) noexcept {
  float const q = round_to::half_even::to_integral(w / s.scale + s.zero);
  float const bottom = static_cast<float>(grid.bottom()), top = static_cast<float>(grid.top());
  return static_cast<std::int8_t>(q < bottom ? bottom : q > top ? top : q);
}
inline float value_of(std::int8_t code, scale_and_zero s) noexcept { return s.scale * (static_cast<float>(code) - s.zero); }

/// dst = the weights that the codes stand for. @errors shape.
inline void dequantize(quantized_weights const& q, matrix_view<float> dst) {
  if (dst.rows != q.rows || dst.cols != q.cols)
    fail(errc::shape, "compress::dequantize: dst is ", dst.rows, " x ", dst.cols, ", the weights ", q.rows, " x ", q.cols, "; they must be equal.");
  for (index_t i = 0; i < q.rows; ++i)
    for (index_t j = 0; j < q.cols; ++j) dst(i, j) = q(i, j);
}

/// Sum of (w - ŵ)² over all weights. @errors shape.
inline double squared_error(matrix_view<float const> w, quantized_weights const& q) {
  if (w.rows != q.rows || w.cols != q.cols)
    fail(errc::shape, "squared_error: the weights are ", w.rows, " x ", w.cols, ", the quantized ones ", q.rows, " x ", q.cols, ".");
  double sum = 0;
  for (index_t i = 0; i < w.rows; ++i)
    for (index_t j = 0; j < w.cols; ++j) {
      double const e = static_cast<double>(w(i, j)) - q(i, j);
      sum += rounded(e * e);
    }
  return sum;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END
