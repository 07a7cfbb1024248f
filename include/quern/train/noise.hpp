// noise.hpp — training with noise instead of rounding: differentiable everywhere, and reproducible from a seed.
//
//     additive     y = clamp(x + scale * u), u even in [-1/2, 1/2): the error model that rounding obeys on average (scale² / 12)
//     partial      each value is quantized with probability `share`, the others pass: gradients stay exact for most (Quant-Noise)
//
// The random numbers are round_to::stochastic's: a function of (seed, index), the same on every machine and thread count. Stochastic rounding
// itself is quantize<round_to::stochastic>, or fake_quantize with it.
//
// @source  Baskin et al. 2018, UNIQ, arXiv:1804.10969 (additive); Fan et al. 2020, arXiv:2004.07320 (partial).
#pragma once

#include "../round/stochastic.hpp"
#include "../scheme/params.hpp"
#include "gradients.hpp"

QUERN_FP_BEGIN

namespace quern::train {
inline namespace QUERN_ABI {

/// y_i = x_i + scale u(seed, i), kept within the values of the end codes. dy flows as in `clipped`. y may be x.
/// @errors shape; null; scale; zero_point.
template <class Scheme>
  requires Scheme::granularity::single
void inject_noise(vector_view<float const> x, params<Scheme> const& p, vector_view<float> y, std::uint64_t seed) {
  detail::check_gradient("inject_noise", x, x, y);
  check_params<Scheme>(p.view(), 1, "inject_noise");
  float const low = p.scale * static_cast<float>(Scheme::q_min - p.zero_point), high = p.scale * static_cast<float>(Scheme::q_max - p.zero_point);
  round_to::stochastic const random{.seed = seed};
  for (index_t i = 0; i < x.size; ++i) {
    float const u = static_cast<float>(random.word(static_cast<std::uint64_t>(i)) >> 8) * 5.9604644775390625e-8f - 0.5f;  // exact
    float const v = x[i] + rounded(p.scale * u);
    y[i] = v < low ? low : v > high ? high : v;
  }
}

/// y_i = the fake-quantized x_i with probability `share`, else x_i; dx = dy either way. y may be x. @errors as above; argument.
template <class Scheme>
  requires Scheme::granularity::single
void quantize_some(vector_view<float const> x, params<Scheme> const& p, vector_view<float> y, double share, std::uint64_t seed) {
  detail::check_gradient("quantize_some", x, x, y);
  check_params<Scheme>(p.view(), 1, "quantize_some");
  if (!(share >= 0 && share <= 1)) fail(errc::argument, "quantize_some: share is ", share, "; it must be 0 to 1.");
  auto const limit = static_cast<std::uint64_t>(share * 4294967296.0);
  round_to::stochastic const random{.seed = seed};
  for (index_t i = 0; i < x.size; ++i) {
    float const q = detail::rounded_code<divide>(x[i], p.scale, p.zero_point);
    float const low = static_cast<float>(Scheme::q_min), high = static_cast<float>(Scheme::q_max);
    float const kept = !(q >= low) ? low : q > high ? high : q;
    y[i] = random.word(static_cast<std::uint64_t>(i)) < limit ? rounded((kept - static_cast<float>(p.zero_point)) * p.scale) : x[i];
  }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::train

QUERN_FP_END
