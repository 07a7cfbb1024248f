// exact_grid.hpp — the step that minimizes the mean squared error of a uniform quantizer, exactly, for any grid and density.
//
// The usual theory (ACIQ, the 6 dB rule) adds noise of step²/12 to a clipped signal. An integer grid is not like that: it has a
// level at zero, and at 2 bits the thresholds differ by 40 % (symmetric) to 63 % (full range). Here nothing is modelled.
// For levels l_0 < l_1 < ... (consecutive ones 1 apart), thresholds t_j = step * (l_j + l_{j-1}) / 2, and a density with
// survival S and tail moment G (distribution.hpp), summation by parts gives
//
//     MSE(step) = E[x²] - 2 step B + step² A
//     A = l_0² + Σ_j (l_j² - l_{j-1}²) S(t_j)        B = l_0 E[x] + Σ_j G(t_j)
//
// with j = 1 .. levels - 1. The error is continuous across thresholds, so A and B count as constants in the derivative: the
// optimum is a root of step * A - B, Max's centroid condition.
#pragma once

#include "distribution.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {

/// The levels first, first + 1, ..., first + count - 1, in steps; `first` may be a half (mid-rise).
struct uniform_grid {
  double first = 0;
  int count = 0;

  QUERN_INLINE constexpr double last() const noexcept { return first + (count - 1); }
};

/// What the best step achieves.
struct grid_optimum {
  double step = 0;   ///< in the units of the density
  double clip = 0;   ///< the largest |level|, step * max(|first|, |last|)
  double mse = 0;    ///< mean squared error, clipping included
  double sqnr = 0;   ///< 10 log10(E[x²] / mse), dB
};

inline namespace QUERN_ABI {

/// -(2^(b-1) - 1) .. 2^(b-1) - 1: symmetric, narrow range (TFLite, TensorRT and ONNX weights).
constexpr uniform_grid symmetric_grid(int bits) noexcept {
  int const top = (1 << (bits - 1)) - 1;
  return {-static_cast<double>(top), 2 * top + 1};
}
/// -2^(b-1) .. 2^(b-1) - 1.
constexpr uniform_grid full_grid(int bits) noexcept { return {-static_cast<double>(1 << (bits - 1)), 1 << bits}; }
/// 0 .. 2^b - 1: after a ReLU.
constexpr uniform_grid unsigned_grid(int bits) noexcept { return {0.0, 1 << bits}; }
/// ±1/2, ±3/2, ...: no level at zero (Max 1960); the theory's grid, no integer scheme's.
constexpr uniform_grid mid_rise_grid(int bits) noexcept { return {0.5 - (1 << (bits - 1)), 1 << bits}; }
/// The grid of `Code` around a zero point.
template <quantized_code Code>
constexpr uniform_grid code_grid(std::int32_t zero_point = 0) noexcept {
  using c = code_of_t<Code>;
  return {static_cast<double>(c::min) - zero_point, static_cast<int>(std::int64_t{c::max} - c::min + 1)};
}

constexpr double decibel(double ratio) noexcept { return 10.0 * log10_of(ratio); }

}  // inline namespace QUERN_ABI

namespace detail {
inline namespace QUERN_ABI {
struct grid_sums {
  double a, b;
};
template <distribution D>
constexpr grid_sums sums_of(D const& d, uniform_grid grid, double step) noexcept {
  double a = grid.first * grid.first, b = grid.first * d.mean();
  for (int j = 1; j < grid.count; ++j) {
    double const middle = grid.first + (j - 0.5), t = step * middle;  // l_j² - l_{j-1}² = 2 middle
    a += rounded(2 * middle * d.survival(t));
    b += d.tail_moment(t);
  }
  return {a, b};
}
}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// The mean squared error of `grid` with `step` on density `d`. Cost: 2 evaluations of d a level.
template <distribution D>
constexpr double grid_mse(D const& d, uniform_grid grid, double step) noexcept {
  auto const [a, b] = detail::sums_of(d, grid, step);
  double const e = d.second_moment() - rounded(step * (2 * b - rounded(step * a)));
  return e > 0 ? e : 0;
}

/// The step with the least mean squared error: global over steps from reach / (64 levels) to 2 reach / levels, found by a scan of
/// 48 steps and bisected to 1e-13. Two steps of equal error: the larger.
///
/// @range  grids of 2 to 65,536 levels, at least one of them not zero.
/// @errors step relative 1e-8 (the minimum is flat; the root is not), sqnr 1e-6 dB up to 12 bits.
/// @source the conditions are Max 1960's; figures to compare with: NASA TN D-8384 (Jones 1977).
template <distribution D>
constexpr grid_optimum optimal_grid(D const& d, uniform_grid grid) noexcept {
  double const top = abs_of(grid.first) > abs_of(grid.last()) ? abs_of(grid.first) : abs_of(grid.last());
  double const widest = 1.5 * d.reach() / (top > 0 ? top : 1);
  constexpr int scan = 48;
  double const ratio = exp_of(log_of(96.0) / scan);
  double best = widest, best_mse = grid_mse(d, grid, widest), step = widest;
  for (int i = 1; i <= scan; ++i) {
    step /= ratio;
    double const e = grid_mse(d, grid, step);
    if (e < best_mse) best_mse = e, best = step;
  }
  // step * A - B is negative below the optimum, positive above it
  double low = best / ratio, high = best * ratio;
  for (int i = 0; i < 60 && high - low > 1e-13 * high; ++i) {
    double const middle = 0.5 * (low + high);
    auto const [a, b] = detail::sums_of(d, grid, middle);
    (rounded(middle * a) < b ? low : high) = middle;
  }
  double const refined = 0.5 * (low + high), refined_mse = grid_mse(d, grid, refined);
  if (refined_mse <= best_mse) best = refined, best_mse = refined_mse;
  double const floor = d.second_moment() * 1e-300;
  return {best, best * top, best_mse, decibel(d.second_moment() / (best_mse > floor ? best_mse : floor))};
}

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
