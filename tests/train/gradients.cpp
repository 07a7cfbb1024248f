// Gradients against finite differences of the function that each estimator claims to differentiate, away from its kinks.
#include "errors/refusal.hpp"
#include "support/catch.hpp"

#include <quern/train/batch_norm.hpp>
#include <quern/train/gradients.hpp>
#include <quern/train/noise.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

using namespace quern;
using namespace quern::train;

namespace {

std::vector<float> normal(std::size_t n, unsigned seed, float sigma) {
  std::mt19937 g(seed);
  std::normal_distribution<float> d(0, sigma);
  std::vector<float> x(n);
  for (float& v : x) v = d(g);
  return x;
}
double derivative(std::function<double(double)> const& f, double at, double h) { return (f(at + h) - f(at - h)) / (2 * h); }
template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (error const& e) {
    return e.what();
  }
  return "";
}

// What straight-through differentiates: rounding moves v by a residual that is held fixed.
template <class Scheme>
double surrogate(double x, double scale, double zero, double residual) {
  double const q = x / scale + residual + zero;
  return scale * (std::min<double>(Scheme::q_max, std::max<double>(Scheme::q_min, q)) - zero);
}

template <class Scheme>
void check_lsq(float scale, std::int32_t zero_point) {
  auto const x = normal(300, 7, 40 * scale);
  auto const dy = normal(300, 8, 1);
  std::vector<float> dx(300), dx_clipped(300);
  params<Scheme> const p{.scale = scale, .zero_point = zero_point};
  double const factor = lsq_factor(300, Scheme::q_max);
  parameter_gradient const g = lsq(view(x), p, view(dy), view(dx), factor);
  clipped(view(x), p, view(dy), view(dx_clipped));
  CHECK(dx == dx_clipped);
  double want_scale = 0, want_zero = 0;
  int kinks = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    double const v = static_cast<double>(x[i]) / scale, residual = std::nearbyint(v) - v;
    double const q = v + residual + zero_point;
    // q is an integer: the surrogate's clamp bends exactly at the end codes. Such points belong to the inside, one-sided.
    bool const at_end = q == Scheme::q_min || q == Scheme::q_max;
    kinks += at_end;
    double const h = 1e-6;
    if (!at_end) {
      CHECK(dx[i] == Approx(dy[i] * derivative([&](double t) { return surrogate<Scheme>(t, scale, zero_point, residual); }, x[i], h * scale)).margin(1e-6));
      want_scale += dy[i] * derivative([&](double t) { return surrogate<Scheme>(x[i], t, zero_point, residual); }, scale, h * scale);
      want_zero += dy[i] * derivative([&](double t) { return surrogate<Scheme>(x[i], scale, t, residual); }, zero_point, h);
    } else {
      CHECK(dx[i] == dy[i]);
      want_scale += dy[i] * residual;
    }
  }
  CHECK(kinks < 20);
  CHECK(g.scale == Approx(factor * want_scale).epsilon(1e-4).margin(1e-4));
  CHECK(g.zero_point == Approx(factor * want_zero).epsilon(1e-4).margin(1e-5));
}
}  // namespace

TEST_CASE("LSQ's gradients are those of the surrogate, for input, scale and zero point", "[train][lsq]") {
  check_lsq<symmetric<s4>>(0.1f, 0);
  check_lsq<symmetric<s8>>(0.3f, 0);
  check_lsq<asymmetric<u4>>(0.7f, 5);
  check_lsq<asymmetric<u8>>(0.02f, 100);
  check_lsq<symmetric<s4, per_tensor, narrow_range>>(2.5f, 0);
  CHECK(lsq_factor(100, 4) == 0.05);
  CHECK(lsq_start(1.0, 4) == 1.0);
}

TEST_CASE("the threshold's gradient is that of its logarithm", "[train][tqt]") {
  auto const x = normal(200, 3, 1);
  auto const dy = normal(200, 4, 1);
  std::vector<float> dx(200);
  params<symmetric<s4>> const p{.scale = 0.25f};
  double const g = power_of_two_threshold(view(x), p, view(dy), view(dx));
  std::vector<float> unused(200);
  CHECK(g == Approx(lsq(view(x), p, view(dy), view(unused)).scale * 0.25 * std::log(2.0)));
}

TEST_CASE("PACT and learned ranges differentiate their clips", "[train][pact]") {
  auto const x = normal(500, 5, 2);
  auto const dy = normal(500, 6, 1);
  std::vector<float> dx(500);
  float const alpha = 1.5f;
  double const g = pact(view(x), alpha, view(dy), view(dx));
  double want = 0;
  auto const clip = [](double v, double a) { return std::min(a, std::max(0.0, v)); };
  for (std::size_t i = 0; i < x.size(); ++i) {
    want += dy[i] * derivative([&](double a) { return clip(x[i], a); }, alpha, 1e-7);
    CHECK(dx[i] == Approx(dy[i] * derivative([&](double v) { return clip(v, alpha); }, x[i], 1e-7)).margin(1e-5));
  }
  CHECK(g == Approx(want).epsilon(1e-5));
  real_range const range{-0.7f, 1.2f};
  range_gradient const r = learned_range(view(x), range, view(dy), view(dx));
  double low = 0, high = 0;
  auto const between = [](double v, double a, double b) { return std::min(b, std::max(a, v)); };
  for (std::size_t i = 0; i < x.size(); ++i) {
    low += dy[i] * derivative([&](double a) { return between(x[i], a, range.max); }, range.min, 1e-7);
    high += dy[i] * derivative([&](double b) { return between(x[i], range.min, b); }, range.max, 1e-7);
    CHECK(dx[i] == Approx(dy[i] * derivative([&](double v) { return between(v, range.min, range.max); }, x[i], 1e-7)).margin(1e-5));
  }
  CHECK(r.min == Approx(low).epsilon(1e-5));
  CHECK(r.max == Approx(high).epsilon(1e-5));
  straight_through(view(dy), view(dx));
  CHECK(dx == dy);
}

TEST_CASE("NaN and infinities have gradient 0 where they are clipped", "[train][lsq]") {
  std::vector<float> const x = {NAN, INFINITY, -INFINITY, 0.0f}, dy(4, 1.0f);
  std::vector<float> dx(4);
  params<symmetric<>> const p{.scale = 0.5f};
  parameter_gradient const g = lsq(view(x), p, view(dy), view(dx));
  CHECK(dx == std::vector<float>{0, 0, 0, 1});
  CHECK(g.scale == -128 + 127 - 128);
  CHECK(refusal([&] { lsq(view(x), p, view(dy).sub(0, 3), view(dx)); }).find("dy 3") != std::string::npos);
  CHECK(refusal([&] { clipped(view(x), params<symmetric<>>{.scale = 0}, view(dy), view(dx)); }).find("scale 0 is 0") != std::string::npos);
  CHECK(refusal([&] { pact(view(x), -1, view(dy), view(dx)); }).find("alpha is -1") != std::string::npos);
  CHECK(refusal([&] { learned_range(view(x), {1, 2}, view(dy), view(dx)); }).find("hold 0") != std::string::npos);
}

TEST_CASE("a folded normalization computes what the layer and the normalization did", "[train][batch_norm]") {
  int const in = 7, out = 5;
  auto w = normal(in * out, 1, 1), b = normal(out, 2, 1), mean = normal(out, 3, 2), gain = normal(out, 4, 1), shift = normal(out, 5, 1);
  std::vector<float> variance = normal(out, 6, 1);
  for (float& v : variance) v = v * v + 0.1f;
  auto const x = normal(in, 9, 1);
  batch_norm const norm{view(mean), view(variance), view(gain), view(shift)};
  std::vector<double> want(out);
  for (int o = 0; o < out; ++o) {
    double y = b[o];
    for (int j = 0; j < in; ++j) y += static_cast<double>(w[o * in + j]) * x[j];
    want[o] = gain[o] * (y - mean[o]) / std::sqrt(variance[o] + 1e-5) + shift[o];
  }
  auto folded = w, bias = b;
  fold_batch_norm(row_major(folded.data(), out, in), view(bias), norm);
  for (int o = 0; o < out; ++o) {
    double y = bias[o];
    for (int j = 0; j < in; ++j) y += static_cast<double>(folded[o * in + j]) * x[j];
    CHECK(y == Approx(want[o]).epsilon(1e-5).margin(1e-5));
  }
  // Training: running statistics are off by anything, the corrected output is still the batch's normalization.
  std::vector<float> slow_mean(out, 0.3f), slow_variance(out, 4.0f);
  training_fold const f = fold_for_training({view(slow_mean), view(slow_variance), view(gain), view(shift)}, view(mean), view(variance), view(b));
  for (int o = 0; o < out; ++o) {
    double y = 0;
    for (int j = 0; j < in; ++j) y += static_cast<double>(w[o * in + j]) * f.weight_scale[o] * x[j];
    CHECK(y * f.correction[o] + f.bias[o] == Approx(want[o]).epsilon(1e-5).margin(1e-5));
  }
  // Frozen: batch statistics are the running ones, the correction is 1 and the bias the folded one's.
  training_fold const frozen = fold_for_training(norm, view(mean), view(variance), view(b));
  for (int o = 0; o < out; ++o) {
    CHECK(frozen.correction[o] == 1);
    CHECK(frozen.bias[o] == Approx(bias[o]).epsilon(1e-6).margin(1e-6));
  }
  update_running(view(slow_mean), view(mean), 0.25f);
  CHECK(slow_mean[0] == 0.3f + 0.25f * (mean[0] - 0.3f));
  variance[2] = -1;
  CHECK(refusal([&] { fold_batch_norm(row_major(folded.data(), out, in), view(bias), norm); }).find("channel 2") != std::string::npos);
  CHECK(refusal([&] { fold_batch_norm(row_major(folded.data(), out, in), view(bias).sub(0, 3), norm); }).find("3 biases for 5") != std::string::npos);
}

TEST_CASE("injected noise has the variance of rounding and stays within the codes", "[train][noise]") {
  params<symmetric<s8>> const p{.scale = 0.1f};
  auto const x = normal(100000, 12, 2);
  std::vector<float> y(x.size()), again(x.size());
  inject_noise(view(x), p, view(y), 5);
  inject_noise(view(x), p, view(again), 5);
  CHECK(y == again);
  double sum = 0, square = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += y[i] - x[i], square += (y[i] - x[i]) * (y[i] - x[i]);
  double const n = static_cast<double>(x.size()), variance = 0.01 / 12;
  CHECK(std::fabs(sum / n) < 5 * std::sqrt(variance / n));
  CHECK(square / n == Approx(variance).epsilon(0.02));
  std::vector<float> const far = {100, -100};
  std::vector<float> kept(2);
  inject_noise(view(far), p, view(kept), 1);
  CHECK(kept == std::vector<float>{0.1f * 127, -0.1f * 128});
  quantize_some(view(x), p, view(y), 0.3, 9);
  std::size_t changed = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    changed += y[i] != x[i];
    REQUIRE((y[i] == x[i] || y[i] == std::nearbyint(x[i] / 0.1f) * 0.1f));
  }
  CHECK(static_cast<double>(changed) / n == Approx(0.3).margin(0.01));
  CHECK(refusal([&] { quantize_some(view(x), p, view(y), 1.5, 9); }).find("share is 1.5") != std::string::npos);
}

TEST_CASE("gradients and folding refuse shapes, ranges and variances that do not fit", "[errors][train]") {
  using namespace train;
  float y[6] = {7.0f, 7.0f, 7.0f, 7.0f, 7.0f, 7.0f}, ones[] = {1.0f, 1.0f, 1.0f}, negative[] = {1.0f, -2.0f, 1.0f};
  vector_view<float const> const three{ones, 3, 1}, two{ones, 2, 1};
  vector_view<float> const dst{y, 3, 1}, short_dst{y, 2, 1};
  batch_norm const good{three, three}, wrong{three, three, {}, two}, dead{three, view(negative)};
  refuse_all({
      {errc::shape, "fold_batch_norm: there are 2 biases for 3 outputs; they must be equal.", [&] { fold_batch_norm(row_major(y, 3, 2), short_dst, good); }},
      {errc::shape, "fold_batch_norm: the normalization has 3 means, 3 variances, 0 gains and 2 shifts for 3 channels; they must be equal (gain and shift may be empty).",
       [&] { fold_batch_norm(row_major(y, 3, 2), dst, wrong); }},
      {errc::argument, "fold_batch_norm: variance + epsilon of channel 1 is -1.99999", [&] { fold_batch_norm(row_major(y, 3, 2), dst, dead); }},
      {errc::shape, "fold_for_training: there are 2 biases for 3 channels; they must be equal.", [&] { fold_for_training(good, three, three, two); }},
      {errc::shape, "update_running: 3 running values, 2 of the batch; they must be equal.", [&] { update_running(dst, two); }},
      {errc::shape, "pact: x has 3 values, dy 2, dx 3; they must be equal.", [&] { pact(three, 1.0f, two, dst); }},
      {errc::null, "pact: dy is null, but 3 values are to be read.", [&] { pact(three, 1.0f, {nullptr, 3, 1}, dst); }},
      {errc::argument, "pact: alpha is 0; it must be finite and positive.", [&] { pact(three, 0.0f, three, dst); }},
      {errc::argument, "learned_range: the range is 5e-1 to 2; it must be finite, not empty, and hold 0.", [&] { learned_range(three, {0.5f, 2.0f}, three, dst); }},
  });
  for (float v : y) CHECK(v == 7.0f);
}
