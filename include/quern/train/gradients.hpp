// gradients.hpp — what flows back through a fake quantization: one function an estimator, as pure functions over views.
//
// Forward: y = scale * (clamp(round(x / scale) + zero_point) - zero_point). Rounding has derivative 0 almost everywhere, which trains nothing;
// each estimator replaces it. With v = x / scale, q the unclamped code, "in range" meaning q_min <= q <= q_max:
//
//     straight_through   dx = dy
//     clipped            dx = dy in range, 0 outside                                        (PyTorch's fake_quantize)
//     lsq                the same dx, and for the scale and the zero point
//                        dscale = g Σ dy { round(v) - v in range;  q_min - zp below;  q_max - zp above }
//                        dzero  = g Σ dy { 0 in range;  -scale outside }                     (PyTorch's learnable fake_quantize)
//     power_of_two       d log2(threshold) = scale ln 2 Σ dy {...as dscale...}, scale = 2^ceil(log2 threshold) / 2^(bits-1)   (TQT)
//     pact               y = clip(x, 0, alpha):  dx = dy for 0 < x < alpha,  dalpha = Σ dy for x >= alpha
//     learned_range      dmin = Σ dy for x < min, dmax = Σ dy for x > max, dx = dy between         (TensorFlow's min-max variables)
//
// A value exactly on an end of the range counts as inside. NaN in x counts as below, as in the forward pass. Sums are in double, in order.
//
// @source  Bengio et al. 2013; LSQ: Esser et al. 2020, arXiv:1902.08153 (g = 1 / sqrt(N q_max)); TQT: Jain et al. 2020,
//          arXiv:1903.08066; PACT: Choi et al. 2018, arXiv:1805.06085; torch aten FakeQuantPerTensorAffine.
#pragma once

#include "../convert/form.hpp"
#include "../core/elementary.hpp"
#include "../core/error.hpp"
#include "../core/views.hpp"
#include "../scheme/params.hpp"

QUERN_FP_BEGIN

namespace quern::train {

/// Gradients of the parameters of one fake quantization.
struct parameter_gradient {
  double scale = 0;
  double zero_point = 0;
};

/// LSQ's gradient scale: 1 / sqrt(values * q_max).
inline double lsq_factor(index_t values, int q_max) noexcept {
  double const n = static_cast<double>(values) * q_max;
  return n > 0 ? 1.0 / sqrt_of(n) : 1.0;
}
/// LSQ's first scale: 2 mean|x| / sqrt(q_max).
inline double lsq_start(double mean_absolute, int q_max) noexcept {
  return q_max > 0 ? 2 * mean_absolute / sqrt_of(static_cast<double>(q_max)) : mean_absolute;
}

namespace detail {
inline namespace QUERN_ABI {

inline void check_gradient(char const* who, vector_view<float const> x, vector_view<float const> dy, vector_view<float> dx) {
  if (x.size != dy.size || dx.size != x.size)
    fail(errc::shape, who, ": x has ", x.size, " values, dy ", dy.size, ", dx ", dx.size, "; they must be equal.");
  if (x.size > 0 && (x.data == nullptr || dy.data == nullptr || dx.data == nullptr))
    fail(errc::null, who, ": ", x.data == nullptr ? "x" : dy.data == nullptr ? "dy" : "dx", " is null, but ", x.size, " values are to be read.");
}

/// The unclamped code, rounded half to even, as the forward pass computes it.
template <conversion_form Form>
QUERN_INLINE float rounded_code(float x, float scale, std::int32_t zero_point) noexcept {
  float const v = std::is_same_v<Form, divide> ? x / scale : rounded(x * rounded(1.0f / scale));
  return static_cast<float>(zero_point) + round_to::half_even::to_integral(v);
}
enum class side { below, inside, above };
template <class Scheme, conversion_form Form>
QUERN_INLINE side side_of(float x, float scale, std::int32_t zero_point) noexcept {
  float const q = rounded_code<Form>(x, scale, zero_point);
  if (!(q >= static_cast<float>(Scheme::q_min))) return side::below;
  return q > static_cast<float>(Scheme::q_max) ? side::above : side::inside;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// dx = dy. @errors shape; null.
inline void straight_through(vector_view<float const> dy, vector_view<float> dx) {
  detail::check_gradient("straight_through", dy, dy, dx);
  for (index_t i = 0; i < dy.size; ++i) dx[i] = dy[i];
}

/// dx = dy where x was in range. dx may be dy. @errors shape; null; scale; zero_point.
template <conversion_form Form = divide, class Scheme>
  requires Scheme::granularity::single
void clipped(vector_view<float const> x, params<Scheme> const& p, vector_view<float const> dy, vector_view<float> dx) {
  detail::check_gradient("clipped", x, dy, dx);
  check_params<Scheme>(p.view(), 1, "clipped");
  for (index_t i = 0; i < x.size; ++i)
    dx[i] = detail::side_of<Scheme, Form>(x[i], p.scale, p.zero_point) == detail::side::inside ? dy[i] : 0.0f;
}

/// LSQ: dx as clipped, and the gradients of scale and zero point, times `factor` (lsq_factor). @errors as clipped.
template <conversion_form Form = divide, class Scheme>
  requires Scheme::granularity::single
parameter_gradient lsq(vector_view<float const> x, params<Scheme> const& p, vector_view<float const> dy, vector_view<float> dx, double factor = 1) {
  detail::check_gradient("lsq", x, dy, dx);
  check_params<Scheme>(p.view(), 1, "lsq");
  parameter_gradient g;
  for (index_t i = 0; i < x.size; ++i) {
    float const up = dy[i];
    switch (detail::side_of<Scheme, Form>(x[i], p.scale, p.zero_point)) {
      case detail::side::inside: {
        float const y = rounded((detail::rounded_code<Form>(x[i], p.scale, p.zero_point) - static_cast<float>(p.zero_point)) * p.scale);
        g.scale += rounded(static_cast<double>(up) * ((y - x[i]) / p.scale));
        dx[i] = up;
        break;
      }
      case detail::side::below:
        g.scale += rounded(static_cast<double>(up) * (Scheme::q_min - p.zero_point));
        g.zero_point -= rounded(static_cast<double>(up) * p.scale);
        dx[i] = 0;
        break;
      case detail::side::above:
        g.scale += rounded(static_cast<double>(up) * (Scheme::q_max - p.zero_point));
        g.zero_point -= rounded(static_cast<double>(up) * p.scale);
        dx[i] = 0;
        break;
    }
  }
  g.scale *= factor;
  g.zero_point *= factor;
  return g;
}

/// TQT: the gradient of log2 of the threshold, for p.scale = 2^ceil(log2 threshold) / 2^(bits-1). @errors as clipped.
template <conversion_form Form = divide, class Scheme>
double power_of_two_threshold(vector_view<float const> x, params<Scheme> const& p, vector_view<float const> dy, vector_view<float> dx) {
  return lsq<Form>(x, p, dy, dx).scale * p.scale * ln2;
}

/// PACT: the gradient of alpha. dx may be dy. @errors shape; null; argument unless alpha is positive.
inline double pact(vector_view<float const> x, float alpha, vector_view<float const> dy, vector_view<float> dx) {
  detail::check_gradient("pact", x, dy, dx);
  if (!(alpha > 0) || !is_finite(alpha)) fail(errc::argument, "pact: alpha is ", static_cast<double>(alpha), "; it must be finite and positive.");
  double g = 0;
  for (index_t i = 0; i < x.size; ++i) {
    float const up = dy[i];
    bool const above = x[i] >= alpha;
    if (above) g += up;
    dx[i] = x[i] > 0 && !above ? up : 0.0f;
  }
  return g;
}

/// Gradients of the ends of a learned range. dx may be dy. @errors shape; null; argument unless min <= 0 <= max and min < max.
struct range_gradient {
  double min = 0, max = 0;
};
inline range_gradient learned_range(vector_view<float const> x, real_range range, vector_view<float const> dy, vector_view<float> dx) {
  detail::check_gradient("learned_range", x, dy, dx);
  if (!(range.min <= 0 && range.max >= 0 && range.min < range.max) || !is_finite(range.min) || !is_finite(range.max))
    fail(errc::argument, "learned_range: the range is ", static_cast<double>(range.min), " to ", static_cast<double>(range.max), "; it must be finite, not empty, and hold 0.");
  range_gradient g;
  for (index_t i = 0; i < x.size; ++i) {
    float const up = dy[i];
    if (x[i] > range.max)
      g.max += up, dx[i] = 0;
    else if (x[i] >= range.min)
      dx[i] = up;
    else
      g.min += up, dx[i] = 0;
  }
  return g;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::train

QUERN_FP_END
