// quantize.hpp — the definition of quantize, dequantize and requantize.
//
//     quantize      q    = within q_min..q_max( round(real / scale) + zero_point )       divide (ONNX, TFLite)
//                                               round(real * (1 / scale))                reciprocal (PyTorch, FBGEMM)
//     dequantize    real = scale * (q - zero_point)
//     requantize    q2   = within q_min..q_max( Rescale(q - zero_point) + zero_point2 )  scale / scale2 by any rescale policy
//
// Every operation on reals is rounded once, to float (double for double). NaN becomes q_min, infinities the end they point to.
#pragma once

#include "../core/reals.hpp"
#include "../core/saturate.hpp"
#include "../rescale/rescales.hpp"
#include "../round/modes.hpp"
#include "../scheme/params.hpp"

QUERN_FP_BEGIN

namespace quern::reference {

enum class form { divide, reciprocal };

/// What happened to the values, besides being rounded.
struct counts {
  std::int64_t saturated = 0;   ///< finite ones beyond q_min..q_max
  std::int64_t non_finite = 0;  ///< NaN and infinities

  friend constexpr bool operator==(counts const&, counts const&) = default;
};

inline namespace QUERN_ABI {

/// One value. `T` is float or double; half and bfloat16 convert to float exactly.
template <scheme Scheme, class Rounding = round_to::half_even, class T>
constexpr typename Scheme::storage quantize_one(T real, float scale, std::int32_t zero_point, form f, counts& seen) {
  using arithmetic = arithmetic_of<T>;
  arithmetic const x = static_cast<arithmetic>(real), s = scale;
  arithmetic const steps = f == form::divide ? rounded(x / s) : rounded(x * rounded(arithmetic{1} / s));
  if (!is_finite(x)) ++seen.non_finite;
  if (is_nan(steps)) return static_cast<typename Scheme::storage>(Scheme::q_min);  // also 0 * (1 / subnormal scale)
  // 2^32 is beyond every code and zero point, and the sum below stays an integer that a double holds
  double const q = clamp(static_cast<double>(Rounding::to_integral(steps)), -4294967296.0, 4294967296.0) + zero_point;
  if (is_finite(x) && (q < Scheme::q_min || q > Scheme::q_max)) ++seen.saturated;
  return static_cast<typename Scheme::storage>(clamp<double>(q, Scheme::q_min, Scheme::q_max));
}

template <class T>
constexpr T dequantize_one(std::int32_t q, float scale, std::int32_t zero_point) {
  using arithmetic = arithmetic_of<T>;
  return static_cast<T>(rounded(static_cast<arithmetic>(scale) * static_cast<arithmetic>(q - zero_point)));
}

/// A matrix; params in the order of grid_of<Scheme::granularity>(rows, cols). (A vector is a matrix of one row.)
template <scheme Scheme, class Rounding = round_to::half_even, class T>
constexpr counts quantize(matrix_view<T const> src, params_view p, matrix_view<typename Scheme::storage> dst,
                          form f = form::divide) {
  auto const grid = grid_of<typename Scheme::granularity>(src.rows, src.cols);
  counts seen;
  for (index_t i = 0; i < src.rows; ++i)
    for (index_t j = 0; j < src.cols; ++j) {
      index_t const g = grid.at(i, j);
      dst(i, j) = quantize_one<Scheme, Rounding>(src(i, j), p.scale(g), p.zero_point(g), f, seen);
    }
  return seen;
}

template <scheme Scheme, class T>
constexpr void dequantize(matrix_view<typename Scheme::storage const> src, params_view p, matrix_view<T> dst) {
  auto const grid = grid_of<typename Scheme::granularity>(src.rows, src.cols);
  for (index_t i = 0; i < src.rows; ++i)
    for (index_t j = 0; j < src.cols; ++j) {
      index_t const g = grid.at(i, j);
      dst(i, j) = dequantize_one<T>(src(i, j), p.scale(g), p.zero_point(g));
    }
}

/// From codes of one scheme to codes of another, both per tensor. An s32 source is an accumulator: its zero point is 0.
template <scheme To, rescale_policy Rescale, class From>
constexpr std::int64_t requantize(matrix_view<From const> src, std::int32_t src_zero_point,
                                  typename Rescale::parameters scale_ratio, std::int32_t dst_zero_point,
                                  matrix_view<typename To::storage> dst) {
  std::int64_t saturated = 0;
  for (index_t i = 0; i < src.rows; ++i)
    for (index_t j = 0; j < src.cols; ++j) {
      std::int64_t const q =
          std::int64_t{Rescale::apply(wrap32(std::int64_t{src(i, j)} - src_zero_point), scale_ratio)} + dst_zero_point;
      saturated += q < To::q_min || q > To::q_max;
      dst(i, j) = static_cast<typename To::storage>(clamp<std::int64_t>(q, To::q_min, To::q_max));
    }
  return saturated;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::reference

QUERN_FP_END
