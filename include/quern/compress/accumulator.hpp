// accumulator.hpp — weights that provably cannot overflow a narrow accumulator (A2Q), and the proof.
//
// With inputs in [lo, hi], lo <= 0 <= hi, the extremes of a sum over any subset of the inputs, in any order, are
//
//     most  = hi P - lo N          least = lo P - hi N          P = Σ positive codes, N = Σ |negative codes|
//
// because each term's extreme has the sign of the bound. A P-bit accumulator holds every partial sum iff both fit: exact, no slack.
//
// @source  Colbert et al. 2023, A2Q, arXiv:2308.13504 (L1 bound); the separate sums for unsigned inputs as in A2Q+ (2024). Projection
//          onto the L1 ball: Duchi et al. 2008.
#pragma once

#include "round_to_nearest.hpp"

#include <algorithm>
#include <vector>

QUERN_FP_BEGIN

namespace quern::compress {

/// The codes that inputs may have, zero point subtracted. 0 must be among them (it is padding's value).
struct input_range {
  std::int32_t low = 0, high = 255;
};

/// What the worst inputs reach.
struct accumulator_proof {
  std::int64_t least = 0, most = 0;   ///< over all rows, inputs, subsets and orders
  int bits = 0;                       ///< of the narrowest signed accumulator that holds them
  index_t row = -1;                   ///< one that needs that many
};

struct projected_weights {
  quantized_weights weights;
  index_t rows_projected = 0;   ///< rows that had to shrink
  double squared_change = 0;    ///< Σ (w - ŵ)²
};

inline namespace QUERN_ABI {

/// The exact extremes of every partial sum. Codes minus integral zeros are the weights. @errors argument unless low <= 0 <= high and the
/// zeros are integers.
inline accumulator_proof prove_accumulator(quantized_weights const& q, input_range x) {
  if (x.low > 0 || x.high < 0) fail(errc::argument, "prove_accumulator: inputs are ", x.low, " to ", x.high, "; 0 must be among them.");
  accumulator_proof proof;
  for (index_t i = 0; i < q.rows; ++i) {
    std::int64_t positive = 0, negative = 0;
    for (index_t j = 0; j < q.cols; ++j) {
      float const zero = q.zero(i, j);
      if (zero != trunc_of(zero)) fail(errc::argument, "prove_accumulator: zero (", i, ", ", j / q.group, ") is no integer; such weights have no integer sum.");
      std::int64_t const w = q.codes[i * q.cols + j] - static_cast<std::int64_t>(zero);
      (w > 0 ? positive : negative) += w > 0 ? w : -w;
    }
    std::int64_t const most = x.high * positive - x.low * negative, least = x.low * positive - x.high * negative;
    int bits = 1;
    while (most > (std::int64_t{1} << (bits - 1)) - 1 || least < -(std::int64_t{1} << (bits - 1))) ++bits;
    if (bits > proof.bits) proof.bits = bits, proof.row = i;
    proof.most = std::max(proof.most, most);
    proof.least = std::min(proof.least, least);
  }
  return proof;
}

namespace accumulator_detail {
/// Shrinks the magnitudes towards 0 by a common amount until they sum to at most `radius`: the nearest point of the L1 ball.
inline void project(std::vector<double>& magnitudes, double radius) {
  double sum = 0;
  for (double m : magnitudes) sum += m;
  if (sum <= radius) return;
  std::vector<double> sorted = magnitudes;
  std::sort(sorted.begin(), sorted.end(), [](double a, double b) { return a > b; });
  double cumulative = 0, threshold = sorted[0];  // a radius of 0 leaves nothing
  for (std::size_t k = 0; k < sorted.size(); ++k) {
    cumulative += sorted[k];
    double const t = (cumulative - radius) / static_cast<double>(k + 1);
    if (t < sorted[k]) threshold = t;
  }
  for (double& m : magnitudes) m = std::max(0.0, m - threshold);
}
}  // namespace accumulator_detail

/// Symmetric per-row codes of w whose partial sums fit `accumulator_bits`: rows that do not by themselves are projected onto the nearest
/// weights that do, and rounded towards zero where rounding to nearest would leave the bound again. Where the largest input alone fills the
/// accumulator, that is a row of zeros.
/// @errors argument for a grid with groups or zeros, accumulator_bits outside of 4 to 48, or inputs without 0.
inline projected_weights project_to_accumulator(matrix_view<float const> w, weight_grid grid, input_range x, int accumulator_bits) {
  check_grid("project_to_accumulator", grid);
  check_weights("project_to_accumulator", w);
  if (!grid.symmetric || grid.group != 0)
    fail(errc::argument, "project_to_accumulator: the grid must be symmetric with one group a row; products of several scales do not share an accumulator.");
  if (accumulator_bits < 4 || accumulator_bits > 48)
    fail(errc::argument, "project_to_accumulator: accumulator_bits is ", accumulator_bits, "; it must be 4 to 48.");
  if (x.low > 0 || x.high < 0 || x.low == x.high)
    fail(errc::argument, "project_to_accumulator: inputs are ", x.low, " to ", x.high, "; 0 and something else must be among them.");
  std::int64_t const limit = (std::int64_t{1} << (accumulator_bits - 1)) - 1;
  projected_weights r;
  r.weights = round_to_nearest(w, grid);
  quantized_weights& q = r.weights;
  std::vector<double> positive, negative;
  for (index_t i = 0; i < w.rows; ++i) {
    std::int8_t* const codes = q.codes.data() + i * q.cols;
    auto const fits = [&] {
      std::int64_t p = 0, n = 0;
      for (index_t j = 0; j < w.cols; ++j) (codes[j] > 0 ? p : n) += codes[j] > 0 ? codes[j] : -codes[j];
      return x.high * p - static_cast<std::int64_t>(x.low) * n <= limit && static_cast<std::int64_t>(x.high) * n - static_cast<std::int64_t>(x.low) * p <= limit;
    };
    if (fits()) continue;
    ++r.rows_projected;
    float const scale = q.scales[i];
    positive.assign(static_cast<std::size_t>(w.cols), 0.0);
    negative.assign(static_cast<std::size_t>(w.cols), 0.0);
    for (index_t j = 0; j < w.cols; ++j) {
      double const v = static_cast<double>(w(i, j)) / scale;
      (v > 0 ? positive : negative)[static_cast<std::size_t>(j)] = abs_of(v);
    }
    if (x.low == 0 || x.high == 0) {
      double const radius = static_cast<double>(limit / std::max<std::int64_t>(x.high, -static_cast<std::int64_t>(x.low)));
      accumulator_detail::project(positive, radius);
      accumulator_detail::project(negative, radius);
    } else {  // both signs of inputs: the sum of all magnitudes counts, against the larger bound
      std::vector<double> all(positive);
      for (std::size_t j = 0; j < all.size(); ++j) all[j] += negative[j];
      accumulator_detail::project(all, static_cast<double>(limit / std::max<std::int64_t>(x.high, -static_cast<std::int64_t>(x.low))));
      for (std::size_t j = 0; j < all.size(); ++j) (positive[j] > 0 ? positive : negative)[j] = all[j];
    }
    double const top = grid.top();
    auto const assign = [&](bool nearest) {
      for (index_t j = 0; j < w.cols; ++j) {
        double const m = std::max(positive[static_cast<std::size_t>(j)], negative[static_cast<std::size_t>(j)]);
        double const magnitude = std::min(top, nearest ? round_to::half_even::to_integral(m) : floor_of(m));
        codes[j] = static_cast<std::int8_t>(positive[static_cast<std::size_t>(j)] > 0 ? magnitude : -magnitude);
      }
    };
    assign(true);
    if (!fits()) assign(false);  // magnitudes only shrink: within the ball for certain
  }
  r.squared_change = squared_error(w, q);
  return r;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END
