// distribution.hpp — the shapes that tensors are modelled by, as much of each as an optimal quantizer asks for.
//
// The mean squared error of a scalar quantizer needs two functions of a density f and no more (see exact_grid.hpp):
//
//     survival(t) = ∫ f(x) dx from t to ∞        tail_moment(t) = ∫ x f(x) dx from t to ∞
//
// and the whole moments `mean` and `second_moment`. Every shape here has second_moment 1 (zero mean where it is two-sided), so
// a step found for it is in units of the data's root mean square.
#pragma once

#include "../core/elementary.hpp"
#include "../core/integers.hpp"
#include "../core/type_list.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {

/// A density with second moment 1, or an empirical one (histogram.hpp) with whatever it has.
template <class D>
concept distribution = requires(D const& d, double t) {
  { d.survival(t) } -> std::convertible_to<double>;
  { d.tail_moment(t) } -> std::convertible_to<double>;
  { d.mean() } -> std::convertible_to<double>;
  { d.second_moment() } -> std::convertible_to<double>;
  { d.reach() } -> std::convertible_to<double>;  // |x| beyond it has no weight that a search would notice
};

namespace detail {
inline constexpr double sqrt_half = 0.70710678118654752440, inverse_sqrt_2pi = 0.39894228040143267794;
}

/// N(0, 1): weights, pre-activations.
struct gaussian {
  static constexpr char const* name = "gaussian";
  QUERN_INLINE constexpr double density(double x) const noexcept {
    return detail::inverse_sqrt_2pi * exp_of(-0.5 * x * x);
  }
  QUERN_INLINE constexpr double survival(double t) const noexcept { return 0.5 * erfc_of(t * detail::sqrt_half); }
  QUERN_INLINE constexpr double tail_moment(double t) const noexcept { return density(t); }
  QUERN_INLINE constexpr double mean() const noexcept { return 0; }
  QUERN_INLINE constexpr double second_moment() const noexcept { return 1; }
  QUERN_INLINE constexpr double reach() const noexcept { return 9; }
};

/// Laplace with variance 1, that is with b = E|x| = 1/sqrt(2): activations and the weights of trained networks.
struct laplace {
  static constexpr char const* name = "laplace";
  static constexpr double b = detail::sqrt_half;
  QUERN_INLINE constexpr double density(double x) const noexcept { return exp_of(-abs_of(x) / b) / (2 * b); }
  QUERN_INLINE constexpr double survival(double t) const noexcept {
    double const half_tail = 0.5 * exp_of(-abs_of(t) / b);
    return t >= 0 ? half_tail : 1.0 - half_tail;
  }
  QUERN_INLINE constexpr double tail_moment(double t) const noexcept {
    return 0.5 * exp_of(-abs_of(t) / b) * (abs_of(t) + b);
  }
  QUERN_INLINE constexpr double mean() const noexcept { return 0; }
  QUERN_INLINE constexpr double second_moment() const noexcept { return 1; }
  QUERN_INLINE constexpr double reach() const noexcept { return 28; }
};

/// |N(0, 1)|: what a ReLU lets through, its zeros left out.
struct half_normal {
  static constexpr char const* name = "half_normal";
  QUERN_INLINE constexpr double density(double x) const noexcept { return x < 0 ? 0 : 2 * gaussian{}.density(x); }
  QUERN_INLINE constexpr double survival(double t) const noexcept { return t <= 0 ? 1.0 : erfc_of(t * detail::sqrt_half); }
  QUERN_INLINE constexpr double tail_moment(double t) const noexcept {
    return 2 * gaussian{}.density(t <= 0 ? 0.0 : t);
  }
  QUERN_INLINE constexpr double mean() const noexcept { return 2 * detail::inverse_sqrt_2pi; }
  QUERN_INLINE constexpr double second_moment() const noexcept { return 1; }
  QUERN_INLINE constexpr double reach() const noexcept { return 9; }
};

/// |Laplace|: an exponential density with second moment 1.
struct half_laplace {
  static constexpr char const* name = "half_laplace";
  static constexpr double b = detail::sqrt_half;
  QUERN_INLINE constexpr double density(double x) const noexcept { return x < 0 ? 0 : exp_of(-x / b) / b; }
  QUERN_INLINE constexpr double survival(double t) const noexcept { return t <= 0 ? 1.0 : exp_of(-t / b); }
  QUERN_INLINE constexpr double tail_moment(double t) const noexcept { return t <= 0 ? b : exp_of(-t / b) * (t + b); }
  QUERN_INLINE constexpr double mean() const noexcept { return b; }
  QUERN_INLINE constexpr double second_moment() const noexcept { return 1; }
  QUERN_INLINE constexpr double reach() const noexcept { return 28; }
};

/// Even between -sqrt(3) and sqrt(3): noise, images, the case without outliers in which n bits are worth 6.0206 n dB.
struct uniform {
  static constexpr char const* name = "uniform";
  static constexpr double edge = 1.73205080756887729353;
  QUERN_INLINE constexpr double density(double x) const noexcept { return abs_of(x) > edge ? 0 : 0.5 / edge; }
  QUERN_INLINE constexpr double survival(double t) const noexcept {
    return t <= -edge ? 1.0 : t >= edge ? 0.0 : 0.5 * (1.0 - t / edge);
  }
  QUERN_INLINE constexpr double tail_moment(double t) const noexcept {
    return abs_of(t) >= edge ? 0.0 : 0.25 * (edge - t * t / edge);
  }
  QUERN_INLINE constexpr double mean() const noexcept { return 0; }
  QUERN_INLINE constexpr double second_moment() const noexcept { return 1; }
  QUERN_INLINE constexpr double reach() const noexcept { return edge; }
};

using distributions = type_list<gaussian, laplace, half_normal, half_laplace, uniform>;

}  // namespace quern::calibrate

QUERN_FP_END
