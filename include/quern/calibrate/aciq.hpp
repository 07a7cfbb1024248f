// aciq.hpp — analytical clipping: the threshold that balances clipping against additive rounding noise, without looking at data.
//
//     Laplace(b):  MSE(a) = 2 b² e^(-a/b) + a² / (3 · 4^M)                                    minimum: a / (3 · 4^M) = b e^(-a/b)
//     N(0, σ²):    MSE(a) = (a² + σ²) erfc(a / (√2 σ)) - a σ √(2/π) e^(-a²/2σ²) + a² / (3 · 4^M)
//
// with clipping to [-a, a] and 2^M levels. After a ReLU the same levels serve half the range, which is M + 1 bits of the whole.
// The model has no level at zero; see exact_grid.hpp for what the integer grids really want (at 2 bits 40 to 63 % less).
//
// @source  Banner, Nahshan, Soudry, NeurIPS 2019, arXiv:1810.05723.
#pragma once

#include "../core/elementary.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {
inline namespace QUERN_ABI {

/// a*/b for a Laplace density with b = E|x - µ|: 2.83068 at 2 bits, 9.89676 at 8. @range 1 <= bits <= 24. @errors 1e-12.
constexpr double aciq_laplace(int bits) noexcept {
  double const noise = 1.0 / (3.0 * ldexp_of(1.0, 2 * bits));
  double low = 0, high = 64;
  for (int i = 0; i < 60; ++i) {
    double const a = 0.5 * (low + high);
    (rounded(a * noise) < exp_of(-a) ? low : high) = a;
  }
  return 0.5 * (low + high);
}

/// a*/σ for a Gaussian density: 1.71064 at 2 bits, 3.92403 at 8. @range 1 <= bits <= 24. @errors 1e-12.
constexpr double aciq_gaussian(int bits) noexcept {
  double const noise = 1.0 / (3.0 * ldexp_of(1.0, 2 * bits));
  double low = 0, high = 16;
  for (int i = 0; i < 60; ++i) {
    double const a = 0.5 * (low + high);
    // half of dMSE/da = a erfc(a/√2) - √(2/π) e^(-a²/2) + a noise
    double const slope = rounded(a * erfc_of(a * 0.70710678118654752440)) -
                         rounded(0.79788456080286535588 * exp_of(-0.5 * a * a)) + rounded(a * noise);
    (slope < 0 ? low : high) = a;
  }
  return 0.5 * (low + high);
}

/// a*/b for the half that a ReLU lets through (an exponential density with mean b).
constexpr double aciq_half_laplace(int bits) noexcept { return aciq_laplace(bits + 1); }
/// a*/σ for the half-normal density, σ = its root mean square.
constexpr double aciq_half_gaussian(int bits) noexcept { return aciq_gaussian(bits + 1); }

/// The model's mean squared error at a clip of `a` (both in units of b).
constexpr double aciq_laplace_mse(double a, int bits) noexcept {
  return 2 * exp_of(-a) + rounded(a * a) / (3.0 * ldexp_of(1.0, 2 * bits));
}
/// The model's mean squared error at a clip of `a` (both in units of σ).
constexpr double aciq_gaussian_mse(double a, int bits) noexcept {
  double const square = rounded(a * a);
  return rounded((square + 1) * erfc_of(a * 0.70710678118654752440)) -
         rounded(a * 0.79788456080286535588 * exp_of(-0.5 * square)) + square / (3.0 * ldexp_of(1.0, 2 * bits));
}

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
