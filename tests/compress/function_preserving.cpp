// What must not change the float function: equalization, smoothing, rotation. And what corrects it: biases, outlier channels.
#include "errors/refusal.hpp"
#include "support/catch.hpp"
#include "support.hpp"

#include <quern/compress/bias_correction.hpp>
#include <quern/compress/equalize.hpp>
#include <quern/compress/hadamard.hpp>
#include <quern/compress/outliers.hpp>
#include <quern/compress/smooth.hpp>

#include <algorithm>
#include <cstring>

using namespace quern;
using namespace quern::compress;
using namespace compress_test;

namespace {

struct network {
  std::vector<matrix> w;
  std::vector<std::vector<float>> b;
  std::vector<layer_view> layers() {
    std::vector<layer_view> l;
    for (std::size_t i = 0; i < w.size(); ++i) l.push_back({w[i].view(), view(b[i])});
    return l;
  }
  std::vector<float> run(std::vector<float> x) const {
    for (std::size_t l = 0; l < w.size(); ++l) {
      std::vector<float> y(static_cast<std::size_t>(w[l].rows));
      for (index_t i = 0; i < w[l].rows; ++i) {
        float sum = b[l][static_cast<std::size_t>(i)];
        for (index_t j = 0; j < w[l].cols; ++j) sum += rounded(w[l](i, j) * x[static_cast<std::size_t>(j)]);
        y[static_cast<std::size_t>(i)] = l + 1 < w.size() ? std::max(0.0f, sum) : sum;
      }
      x = y;
    }
    return x;
  }
};
network unbalanced(unsigned seed) {
  network n;
  index_t const sizes[] = {12, 30, 20, 5};
  for (int l = 0; l < 3; ++l) {
    n.w.push_back(gaussian(sizes[l + 1], sizes[l], seed + static_cast<unsigned>(l)));
    n.b.push_back(gaussian(1, sizes[l + 1], seed + 9).values);
  }
  std::mt19937 g(seed);
  for (int l = 0; l < 2; ++l)  // hidden units rescaled by up to 10^4: the same function
    for (index_t i = 0; i < n.w[l].rows; ++i) {
      float const s = std::pow(10.0f, std::uniform_real_distribution<float>(-2, 2)(g));
      for (index_t j = 0; j < n.w[l].cols; ++j) n.w[l](i, j) *= s;
      n.b[l][static_cast<std::size_t>(i)] *= s;
      for (index_t j = 0; j < n.w[l + 1].rows; ++j) n.w[l + 1](j, i) /= s;
    }
  return n;
}
double per_tensor_sqnr(matrix const& w) {
  float most = 0;
  double signal = 0, noise = 0;
  for (float v : w.values) most = std::max(most, std::fabs(v));
  for (float v : w.values) {
    double const e = std::nearbyint(v / (most / 127)) * (most / 127) - v;
    signal += static_cast<double>(v) * v;
    noise += e * e;
  }
  return 10 * std::log10(signal / noise);
}
}  // namespace

TEST_CASE("equalization leaves the float function as it was, bit for bit, and rescues per-tensor codes", "[compress][equalize]") {
  network const before = unbalanced(3);
  network exact = before, rounded_scales = before;
  equalize_result const r = equalize(exact.layers());
  equalize_result const s = equalize(rounded_scales.layers(), {.powers_of_two = false});
  CHECK(r.largest_ratio_before > 1000);
  CHECK(r.largest_ratio_after < 16);
  CHECK(s.largest_ratio_after < 8);
  std::mt19937 g(1);
  std::normal_distribution<float> d;
  for (int k = 0; k < 200; ++k) {
    std::vector<float> x(12);
    for (float& v : x) v = d(g);
    auto const want = before.run(x), got = exact.run(x), close = rounded_scales.run(x);
    REQUIRE(got == want);
    for (std::size_t i = 0; i < want.size(); ++i) REQUIRE(close[i] == Approx(want[i]).epsilon(1e-4).margin(1e-4));
  }
  // the first layer: every output channel has its own range
  double worst_before = 0, worst_after = 0;
  for (index_t i = 0; i < 30; ++i) {
    auto const range = [i](matrix const& w) {
      float m = 0, all = 0;
      for (index_t j = 0; j < w.cols; ++j) m = std::max(m, std::fabs(w(i, j)));
      for (float v : w.values) all = std::max(all, std::fabs(v));
      return static_cast<double>(all) / m;
    };
    worst_before = std::max(worst_before, range(before.w[0]));
    worst_after = std::max(worst_after, range(exact.w[0]));
  }
  CHECK(worst_before > 1000);
  CHECK(worst_after < 16);
  CHECK(per_tensor_sqnr(exact.w[1]) > per_tensor_sqnr(before.w[1]) + 3);
  network zero = before;
  for (index_t j = 0; j < 12; ++j) zero.w[0](4, j) = 0;
  equalize(zero.layers());
  for (float v : zero.w[1].values) CHECK(std::isfinite(v));
  network wrong = before;
  wrong.w[1] = gaussian(20, 29, 1);
  CHECK(refusal([&] { equalize(wrong.layers()); }).find("30 outputs, layer 1 29 inputs") != std::string::npos);
}

TEST_CASE("smoothing leaves the float function as it was and evens out the activations", "[compress][smooth]") {
  matrix const w = gaussian(8, 16, 1);
  matrix x = gaussian(50, 16, 2);
  for (index_t i = 0; i < 50; ++i) x(i, 6) *= 100;
  auto const absmax = column_absmax("test", x.view());
  for (bool powers : {true, false}) {
    buffer<float> const s = smooth_scales(view(absmax), w.view(), {.powers_of_two = powers});
    CHECK(s[6] > 4 * s[5]);
    matrix scaled = w;
    scale_columns(scaled.view(), view(s));
    matrix divided(16, 50);  // x as the output of a layer with one row a channel
    for (index_t i = 0; i < 50; ++i)
      for (index_t j = 0; j < 16; ++j) divided(j, i) = x(i, j);
    divide_rows(divided.view(), {}, view(s));
    for (index_t i = 0; i < 50; ++i)
      for (index_t o = 0; o < 8; ++o) {
        float a = 0, b = 0;
        for (index_t j = 0; j < 16; ++j) a += rounded(x(i, j) * w(o, j)), b += rounded(divided(j, i) * scaled(o, j));
        if (powers)
          REQUIRE(a == b);
        else
          REQUIRE(b == Approx(a).epsilon(1e-5).margin(1e-4));
      }
  }
  CHECK(refusal([&] { smooth_scales(view(absmax), w.view(), {.alpha = 2}); }).find("alpha is 2") != std::string::npos);
  buffer<float> bad = absmax;
  bad[3] = NAN;
  CHECK(refusal([&] { smooth_scales(view(bad), w.view()); }).find("channel 3 is NaN") != std::string::npos);
}

TEST_CASE("the Hadamard transform is the matrix, on every instruction set with the same bits", "[compress][hadamard]") {
  for (index_t n : {1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 12, 96, 80}) {
    index_t const span = hadamard_span(n);
    matrix const x = gaussian(1, n, static_cast<unsigned>(n));
    std::vector<float> first;
    for (isa cap : all_isas) {
      if (!supported(cap)) continue;
      std::vector<float> y = x.values;
      hadamard(view(y), {.normalize = false, .max_isa = cap});
      if (first.empty()) first = y;
      REQUIRE(std::memcmp(first.data(), y.data(), y.size() * 4) == 0);
      std::vector<float> back = x.values;
      hadamard(view(back), {.max_isa = cap});
      hadamard(view(back), {.max_isa = cap});
      for (index_t i = 0; i < n; ++i) REQUIRE(back[static_cast<std::size_t>(i)] == Approx(x.values[static_cast<std::size_t>(i)]).margin(3e-6));
    }
    for (index_t i = 0; i < n; ++i) {
      double sum = 0;
      for (index_t j = 0; j < span; ++j)
        sum += (__builtin_popcountll(static_cast<unsigned long long>((i % span) & j)) & 1 ? -1.0 : 1.0) * x.values[static_cast<std::size_t>(i / span * span + j)];
      REQUIRE(first[static_cast<std::size_t>(i)] == Approx(sum).margin(1e-4));
    }
  }
}

TEST_CASE("the Hadamard transform is exact on integers and refuses what could overflow", "[compress][hadamard]") {
  std::mt19937 g(2);
  for (index_t n : {4, 64, 512}) {
    std::vector<std::int32_t> x(static_cast<std::size_t>(n));
    for (auto& v : x) v = static_cast<std::int32_t>(g() % 255) - 127;
    for (isa cap : all_isas) {
      if (!supported(cap)) continue;
      std::vector<std::int32_t> y = x;
      hadamard(view(y), {.max_isa = cap});
      hadamard(view(y), {.max_isa = cap});
      for (std::size_t i = 0; i < x.size(); ++i) REQUIRE(y[i] == x[i] * n);
    }
  }
  std::vector<std::int32_t> most(4, 536870911);
  hadamard(view(most));
  CHECK(most[0] == 2147483644);
  std::vector<std::int32_t> too_much(4, 536870912);
  CHECK(refusal([&] { hadamard(view(too_much)); }).find("2147483648") != std::string::npos);
  CHECK(too_much[0] == 536870912);
}

TEST_CASE("rotation keeps products and spreads outliers as much as the table says", "[compress][hadamard]") {
  matrix x = gaussian(3, 96, 5), w = gaussian(4, 96, 6);
  matrix const x0 = x, w0 = w;
  rotate_rows(x.view(), 42);
  rotate_rows(w.view(), 42);
  for (index_t i = 0; i < 3; ++i)
    for (index_t o = 0; o < 4; ++o) {
      double a = 0, b = 0;
      for (index_t j = 0; j < 96; ++j) a += static_cast<double>(x0(i, j)) * w0(o, j), b += static_cast<double>(x(i, j)) * w(o, j);
      CHECK(b == Approx(a).margin(1e-4));
    }
  rotate_rows_back(x.view(), 42);
  for (std::size_t i = 0; i < x.values.size(); ++i) CHECK(x.values[i] == Approx(x0.values[i]).margin(1e-5));

  struct figure {
    float m;
    int bits;
    double plain, rotated;
  };
  for (figure f : {figure{10, 8, 30.2, 42.4}, {30, 8, 26.1, 44.0}, {100, 8, 25.0, 46.5}, {10, 4, 5.8, 17.1}, {30, 4, 6.9, 19.0}, {100, 4, 15.6, 21.4}}) {
    matrix t = gaussian(400, 1024, 77);
    for (index_t i = 0; i < t.rows; ++i)
      for (index_t j : {100, 301, 640, 1000}) t(i, j) *= f.m;
    auto const sqnr = [&](matrix const& a) {
      double signal = 0, noise = 0;
      for (index_t i = 0; i < a.rows; ++i) {
        float most = 0;
        for (index_t j = 0; j < a.cols; ++j) most = std::max(most, std::fabs(a(i, j)));
        float const s = most / static_cast<float>((1 << (f.bits - 1)) - 1);
        for (index_t j = 0; j < a.cols; ++j) {
          double const e = std::nearbyint(a(i, j) / s) * s - a(i, j);
          signal += static_cast<double>(a(i, j)) * a(i, j), noise += e * e;
        }
      }
      return 10 * std::log10(signal / noise);
    };
    double const plain = sqnr(t);
    rotate_rows(t.view(), 0x9e37);
    double const rotated = sqnr(t);
    INFO("outliers of " << f.m << ", int" << f.bits << ": " << plain << " -> " << rotated << " dB");
    CHECK(plain == Approx(f.plain).margin(0.5));
    CHECK(rotated == Approx(f.rotated).margin(0.5));
  }
}

TEST_CASE("bias correction removes the mean shift, measured or derived", "[compress][bias]") {
  std::mt19937 g(3);
  std::normal_distribution<double> d;
  for (auto [mean, sigma] : {std::pair{0.0, 1.0}, {0.7, 0.3}, {-1.0, 2.0}, {5.0, 3.0}, {2.0, 0.0}}) {
    double relu = 0, relu6 = 0;
    int const n = 400000;
    for (int i = 0; i < n; ++i) {
      double const v = std::max(0.0, mean + sigma * d(g));
      relu += v / n, relu6 += std::min(6.0, v) / n;
    }
    CHECK(mean_after_relu(mean, sigma) == Approx(relu).margin(5 * sigma / std::sqrt(n) + 1e-9));
    CHECK(mean_after_relu(mean, sigma, 6) == Approx(relu6).margin(5 * sigma / std::sqrt(n) + 1e-9));
  }
  matrix const w = gaussian(6, 20, 4);
  matrix x = gaussian(500, 20, 5);
  for (float& v : x.values) v = std::max(0.0f, v);
  quantized_weights const q = round_to_nearest(w.view(), {2, true, 0});
  std::vector<float> bias(6, 0.5f);
  auto const mean = column_means(x.view());
  correct_bias(w.view(), q, view(mean), view(bias));
  for (index_t o = 0; o < 6; ++o) {
    double shift = 0;
    for (index_t i = 0; i < 500; ++i) {
      double want = 0.5, got = bias[static_cast<std::size_t>(o)];
      for (index_t j = 0; j < 20; ++j) want += static_cast<double>(w(o, j)) * x(i, j), got += static_cast<double>(q(o, j)) * x(i, j);
      shift += (got - want) / 500;
    }
    CHECK(std::fabs(shift) < 1e-5);
  }
  std::vector<float> beta = {0.7f, -1.0f}, gamma = {0.3f, 2.0f};
  auto const expected = expected_inputs(view(beta), view(gamma));
  CHECK(expected[0] == Approx(mean_after_relu(0.7f, 0.3f)));
  CHECK(refusal([] { matrix empty(0, 3); column_means(empty.view()); }).find("no sample") != std::string::npos);
}

TEST_CASE("outlier channels in float keep the rest precise", "[compress][outliers]") {
  matrix const w = gaussian(24, 64, 7, 0.2f);
  matrix x = gaussian(30, 64, 8);
  for (index_t i = 0; i < 30; ++i)
    for (index_t j : {5, 33}) x(i, j) *= 60;
  auto const absmax = column_absmax("test", x.view());
  auto const sqnr = [&](float threshold) {
    split_linear const layer(w.view(), view(absmax), threshold);
    CHECK(layer.outliers().size() == (threshold < 100 ? 2u : 0u));
    matrix y(30, 24);
    layer.run(x.view(), y.view());
    double signal = 0, noise = 0;
    for (index_t i = 0; i < 30; ++i)
      for (index_t o = 0; o < 24; ++o) {
        double want = 0;
        for (index_t j = 0; j < 64; ++j) want += static_cast<double>(w(o, j)) * x(i, j);
        signal += want * want, noise += (y(i, o) - want) * (y(i, o) - want);
      }
    return 10 * std::log10(signal / noise);
  };
  double const split = sqnr(6), whole = sqnr(1e9f);
  CHECK(split > whole + 20);
  CHECK(split > 60);
  // in pieces: more samples than are done at a time, and a layer of outliers only
  matrix const many = gaussian(5000, 64, 9);
  split_linear const small(w.view(), view(absmax));
  matrix all(5000, 24), one(1, 24);
  small.run(many.view(), all.view());
  for (index_t i = 0; i < 5000; i += 499) {
    small.run(many.view().block(i, 0, 1, 64), one.view());
    for (index_t o = 0; o < 24; ++o) REQUIRE(one(0, o) == all(i, o));
  }
  split_linear const floats(w.view(), view(absmax), 0.001f);
  CHECK(floats.outliers().size() == 64);
  floats.run(many.view().block(3, 0, 1, 64), one.view());
  double exact = 0;
  for (index_t j = 0; j < 64; ++j) exact += static_cast<double>(w(2, j)) * many(3, j);
  CHECK(one(0, 2) == Approx(exact).margin(1e-5));
  matrix y(30, 23);
  split_linear const layer(w.view(), view(absmax));
  CHECK(refusal([&] { layer.run(x.view(), y.view()); }).find("24 outputs") != std::string::npos);
}

TEST_CASE("layers: scales, biases, rotations, outliers", "[errors][compress]") {
  using namespace compress;
  float w6[6] = {1, 2, 3, 4, 5, 6}, bias[3] = {7, 7, 7}, nan3[3] = {1, NAN, 2};
  std::int32_t ints[4] = {2000000000, 2000000000, 1, 1};
  matrix_view<float> const w = row_major(w6, 2, 3), down{w6, 3, 2, 1, 3};
  vector_view<float const> const three{w6, 3, 1}, two{w6, 2, 1};
  vector_view<float> const bias3 = view(bias), bias2{bias, 2, 1}, missing{nullptr, 4, 1};
  quantized_weights const q = round_to_nearest(w, {});
  std::vector<float> const wide(131072, 0.0f);
  refuse_all({
      {errc::shape, "smooth_scales: there are 2 channels of activations, the weights have 3 inputs; they must be equal.", [&] { smooth_scales(two, w); }},
      {errc::argument, "smooth_scales: alpha is 1.5; it must be 0 to 1.", [&] { smooth_scales(three, w, {.alpha = 1.5}); }},
      {errc::argument, "smooth_scales: the largest activation of channel 1 is NaN; it must be finite and not negative.", [&] { smooth_scales(view(nan3), w); }},
      {errc::shape, "scale_columns: there are 2 scales for 3 columns; they must be equal.", [&] { scale_columns(w, two); }},
      {errc::shape, "divide_rows: there are 3 scales for 2 rows; they must be equal.", [&] { divide_rows(w, {}, three); }},
      {errc::shape, "divide_rows: the bias has 3 values for 2 rows; they must be equal.", [&] { divide_rows(w, bias3, two); }},
      {errc::argument, "equalize: max_sweeps is 0; it must be at least 1.", [&] { equalize({{w, {}}}, {.max_sweeps = 0}); }},
      {errc::shape, "equalize: layer 0 has 3 biases for 2 outputs; they must be equal.", [&] { equalize({{w, bias3}}); }},
      {errc::shape, "equalize: layer 0 has 2 outputs, layer 1 3 inputs; they must be equal.", [&] { equalize({{w, {}}, {w, {}}}); }},
      {errc::shape, "absorb_bias: 3 biases, 2 means, 3 deviations and 2 next biases do not fit 2 x 3 weights.", [&] { absorb_bias(bias3, w, bias2, two, three); }},
      {errc::shape, "expected_inputs: there are 3 shifts and 2 gains; they must be equal.", [&] { expected_inputs(three, two); }},
      {errc::argument, "column_means: there is no sample; the empirical correction needs calibration data.", [&] { column_means(row_major<float const>(w6, 0, 3)); }},
      {errc::shape, "correct_bias: 2 x 3 weights, 2 x 3 quantized ones, 2 mean inputs and 2 biases do not fit.", [&] { correct_bias(w, q, two, bias2); }},
      {errc::null, "hadamard: x is null, but has 4 values.", [&] { hadamard(missing); }},
      {errc::null, "hadamard: x is null, but has 4 values.", [&] { hadamard(vector_view<std::int32_t>{nullptr, 4, 1}); }},
      {errc::argument, "hadamard: x has stride 2; it must be 1.", [&] { hadamard(vector_view<float>{w6, 2, 2}); }},
      {errc::argument, "hadamard: x has stride 2; it must be 1.", [&] { hadamard(vector_view<std::int32_t>{ints, 2, 2}); }},
      {errc::argument, "hadamard: the magnitudes of values 0 to 3 sum to 4000000002; beyond 2147483647 a sum may overflow.", [&] { hadamard(view(ints)); }},
      {errc::argument, "rotate_rows: the matrix has column stride 3; its rows must be contiguous.", [&] { rotate_rows(down, 1); }},
      {errc::argument, "rotate_rows_back: the matrix has column stride 3; its rows must be contiguous.", [&] { rotate_rows_back(down, 1); }},
      {errc::shape, "split_linear: there are 2 channels of activations, the weights have 3 inputs; they must be equal.", [&] { split_linear s(w, two); }},
      {errc::argument, "split_linear: the largest activation of channel 1 is NaN; it must not be negative, nor NaN.", [&] { split_linear s(w, view(nan3)); }},
      {errc::argument, "split_linear: threshold is 0; it must be positive.", [&] { split_linear s(w, three, 0.0f); }},
      {errc::depth, "split_linear: the layer has 131072 inputs; int32 sums are exact up to 131071.",
       [&] { split_linear s(row_major(wide.data(), 1, 131072), view(wide)); }},
      {errc::shape, "split_linear: x is 1 x 2, y 1 x 2, the layer has 3 inputs and 2 outputs.",
       [&] { split_linear(w, three).run(row_major<float const>(w6, 1, 2), row_major(bias, 1, 2)); }},
  });
  for (int i = 0; i < 6; ++i) CHECK(w6[i] == static_cast<float>(i + 1));
  for (float b : bias) CHECK(b == 7.0f);
  CHECK((ints[0] == 2000000000 && ints[3] == 1));
}
