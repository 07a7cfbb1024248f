// Codebooks, 8-bit optimizer states, narrow accumulators, bit allocation, sensitivity, adaptive widths.
#include "errors/refusal.hpp"
#include "support/catch.hpp"
#include "support.hpp"

#include <quern/compress/accumulator.hpp>
#include <quern/compress/adam8.hpp>
#include <quern/compress/adaptive.hpp>
#include <quern/compress/codebook.hpp>
#include <quern/compress/mixed_precision.hpp>
#include <quern/compress/sensitivity.hpp>
#include <quern/compress/latency.hpp>

#include <algorithm>
#include <functional>

using namespace quern;
using namespace quern::compress;
using namespace compress_test;

TEST_CASE("k-means finds the global optimum", "[compress][codebook]") {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 g(seed);
    std::vector<float> x(11);
    for (float& v : x) v = static_cast<float>(g() % 50) * 0.37f + (seed % 2 ? 1000.0f : 0.0f);
    std::vector<float> sorted = x;
    std::sort(sorted.begin(), sorted.end());
    for (int k = 1; k <= 4; ++k) {
      // every cut of the sorted values into k intervals
      std::function<double(std::size_t, int)> best = [&](std::size_t from, int parts) -> double {
        if (from == sorted.size()) return 0;
        if (parts == 0) return 1e30;
        double least = 1e30, s = 0, q = 0;
        for (std::size_t to = from; to < sorted.size(); ++to) {
          double const v = sorted[to] - sorted[5];
          s += v, q += v * v;
          least = std::min(least, std::max(0.0, q - s * s / static_cast<double>(to - from + 1)) + best(to + 1, parts - 1));
        }
        return least;
      };
      codebook const book = k_means(vector_view<float const>(view(x)), k);
      REQUIRE(book.mse == Approx(best(0, k) / 11).margin(1e-8));
      double error = 0;
      for (float v : x) {
        double const e = book.levels[static_cast<std::size_t>(code_in(book, v))] - v;
        error += e * e / 11;
      }
      REQUIRE(error == Approx(book.mse).margin(1e-5));
    }
  }
  matrix const w = gaussian(4, 2000, 3);
  codebook_weights const q = quantize_with_codebooks(w.view(), 16);
  double signal = 0, noise = 0;
  for (index_t i = 0; i < 4; ++i)
    for (index_t j = 0; j < 2000; ++j) signal += w(i, j) * w(i, j), noise += (q(i, j) - w(i, j)) * (q(i, j) - w(i, j));
  CHECK(10 * std::log10(signal / noise) == Approx(20.3).margin(0.3));  // a little above Lloyd-Max's 20.22: fitted to the sample
  CHECK(refusal([] { std::vector<float> x = {1, NAN}; k_means(vector_view<float const>(view(x)), 2); }).find("value 1 is NaN") != std::string::npos);
  CHECK(refusal([] { k_means({}, 2); }).find("no values") != std::string::npos);
  std::vector<float> same(100, 2.5f);
  CHECK(k_means(vector_view<float const>(view(same)), 8).levels == std::vector<float>{2.5f});
}

TEST_CASE("k-means and the nearest level keep their word where values differ by many orders of magnitude", "[compress][codebook]") {
  std::mt19937 g(17);
  std::normal_distribution<double> normal;
  for (int round = 0; round < 800; ++round) {
    std::vector<float> x(1 + g() % 9);
    std::size_t const k = 1 + g() % 5;
    for (float& v : x) {
      double const z = normal(g);
      switch (round % 5) {
        case 0: v = static_cast<float>(g() % 4); break;
        case 1: v = static_cast<float>(z * std::pow(10.0, static_cast<double>(g() % 16) - 8)); break;
        case 2: v = static_cast<float>((g() % 2 ? 1e6 : -1e6) + 0.1 * z); break;
        case 3: v = static_cast<float>(1e38 * z); break;
        default: v = g() % 3 ? static_cast<float>(1e-3 * z) : -1e7f; break;
      }
      v = std::clamp(v, -3.4e38f, 3.4e38f);
    }
    auto const book = k_means(vector_view<float const>(view(x)), static_cast<int>(k));
    std::sort(x.begin(), x.end());
    auto values = x;
    CHECK(book.levels.size() == std::min(k, static_cast<std::size_t>(std::unique(values.begin(), values.end()) - values.begin())));
    // every cut into at most k intervals, in extended precision
    std::size_t const n = x.size();
    std::vector<std::vector<long double>> best(k + 1, std::vector<long double>(n + 1, INFINITY));
    best[0][0] = 0;
    for (std::size_t c = 1; c <= k; ++c)
      for (std::size_t to = 1; to <= n; ++to)
        for (std::size_t from = 0; from < to; ++from) {
          long double mean = 0, cost = 0;
          for (std::size_t i = from; i < to; ++i) mean += x[i] / static_cast<long double>(to - from);
          for (std::size_t i = from; i < to; ++i) cost += (x[i] - mean) * (x[i] - mean);
          best[c][to] = std::min(best[c][to], best[c - 1][from] + cost);
        }
    long double least = INFINITY, mine = 0, largest = 0;
    for (std::size_t c = 1; c <= k; ++c) least = std::min(least, best[c][n]);
    for (float v : x) {
      long double nearest = INFINITY;
      for (float l : book.levels) {
        REQUIRE(std::isfinite(l));
        nearest = std::min(nearest, std::fabs(static_cast<long double>(v) - l));
      }
      long double const taken = std::fabs(static_cast<long double>(v) - book.levels[static_cast<std::size_t>(code_in(book, v))]);
      CHECK(taken <= nearest * (1 + 1e-6L));
      mine += nearest * nearest;
      largest = std::max(largest, static_cast<long double>(v) * v);
    }
    CHECK(mine <= least * 1.0001L + static_cast<long double>(n) * largest * 1e-14L);  // levels are floats
  }
}

TEST_CASE("Lloyd-Max levels have the table's signal to noise ratio", "[compress][codebook]") {
  double const gauss[] = {9.30, 14.62, 20.22, 26.01, 31.91, 37.87, 43.85}, laplacian[] = {7.54, 12.64, 18.13, 23.87, 29.74, 35.69, 41.67};
  for (int bits = 2; bits <= 8; ++bits) {
    CHECK(std::fabs(calibrate::decibel(1 / lloyd_max(calibrate::gaussian{}, 1 << bits).mse) - gauss[bits - 2]) < 0.01);
    CHECK(std::fabs(calibrate::decibel(1 / lloyd_max(calibrate::laplace{}, 1 << bits).mse) - laplacian[bits - 2]) < 0.01);
  }
}

TEST_CASE("Adam with 8-bit moments trains like Adam", "[compress][adam8]") {
  for (bool is_signed : {true, false}) {
    codebook const tree = dynamic_tree(is_signed);
    CHECK(tree.levels.size() == 256);
    CHECK(tree.levels.back() == 1);
    CHECK(tree.levels[static_cast<std::size_t>(code_in(tree, 0))] == 0);
    for (std::size_t i = 1; i < 256; ++i) CHECK(tree.levels[i] > tree.levels[i - 1]);
    for (float x = 1e-4f; x < 1; x *= 1.1f) CHECK(std::fabs(tree.levels[static_cast<std::size_t>(code_in(tree, x))] - x) < 0.27f * x);
    for (float x = 0.1f; x < 1; x *= 1.1f) CHECK(std::fabs(tree.levels[static_cast<std::size_t>(code_in(tree, x))] - x) < 0.036f * x);
  }
  index_t const n = 700;
  std::vector<float> target = gaussian(1, n, 5).values, p(n), q(n), g(n);
  adam8 small(n, {.learning_rate = 0.02});
  std::vector<double> m(n), v(n);
  double loss_small = 0, loss_full = 0;
  for (int step = 1; step <= 400; ++step) {
    for (index_t i = 0; i < n; ++i) g[i] = (p[i] - target[i]) * (i % 7 == 0 ? 10.0f : 0.1f);
    small.step(view(p), vector_view<float const>(view(g)));
    loss_small = loss_full = 0;
    for (index_t i = 0; i < n; ++i) {
      double const grad = (q[i] - target[i]) * (i % 7 == 0 ? 10.0 : 0.1);
      m[i] = 0.9 * m[i] + 0.1 * grad, v[i] = 0.999 * v[i] + 0.001 * grad * grad;
      q[i] -= static_cast<float>(0.02 * (m[i] / (1 - std::pow(0.9, step))) / (std::sqrt(v[i] / (1 - std::pow(0.999, step))) + 1e-8));
      loss_small += (p[i] - target[i]) * (p[i] - target[i]) / n, loss_full += (q[i] - target[i]) * (q[i] - target[i]) / n;
    }
  }
  CHECK(loss_full < 1e-3);
  CHECK(loss_small < 2e-3);
  CHECK(small.state_bytes() == 2 * (n + 3 * 4));
  g[3] = NAN;
  auto const before = p;
  CHECK(refusal([&] { small.step(view(p), vector_view<float const>(view(g))); }).find("gradient 3 is NaN") != std::string::npos);
  CHECK(p == before);
  CHECK(refusal([] { adam8 a(3, {.beta1 = 1}); }).find("betas") != std::string::npos);
}

TEST_CASE("Adam with 8-bit moments survives gradients of any size, and blocks with a tail", "[compress][adam8]") {
  for (float const size : {1e-44f, 1e-38f, 1e-30f, 1e-18f, 1e-9f, 1.0f, 1e10f, 1.8e19f})
    for (index_t const n : {index_t{1}, index_t{255}, index_t{257}, index_t{513}}) {
      adam8 optimizer(n);
      std::vector<float> p(static_cast<std::size_t>(n), 1.0f), gradient(p.size());
      std::vector<double> want(p.size(), 1.0), m(p.size()), v(p.size());
      for (int step = 1; step <= 20; ++step) {
        for (std::size_t i = 0; i < p.size(); ++i) {
          double const gi = gradient[i] = i % 7 == 3 ? 0.0f : i % 2 ? size : -0.5f * size;
          m[i] = 0.9 * m[i] + 0.1 * gi;
          v[i] = 0.999 * v[i] + 0.001 * gi * gi;
          want[i] -= 1e-3 * (m[i] / (1 - std::pow(0.9, step))) / (std::sqrt(v[i] / (1 - std::pow(0.999, step))) + 1e-8);
        }
        optimizer.step(view(p), view(gradient));
      }
      for (std::size_t i = 0; i < p.size(); ++i) REQUIRE(std::fabs(p[i] - want[i]) < 2e-3);
    }
  // A moment whose inverse is infinite: 0 stays 0.
  blockwise_bytes bytes(3, true);
  float x[3] = {1e-39f, 0.0f, -5e-40f}, y[3];
  bytes.store(0, x);
  bytes.load(0, y);
  CHECK((y[1] == 0 && std::fabs(y[0] - x[0]) < 1e-41f && std::fabs(y[2] - x[2]) < 2e-41f));
}

TEST_CASE("an accumulator that one input fills leaves nothing but zeros, and every narrow one holds", "[compress][accumulator]") {
  std::mt19937 g(18);
  for (int round = 0; round < 600; ++round) {
    index_t const cols = 1 + static_cast<index_t>(g() % 8);
    auto const w = gaussian(1, cols, static_cast<unsigned>(round), round % 5 ? 1.0f : 100.0f);
    input_range const ranges[] = {{0, 255}, {-128, 127}, {-255, 0}, {-static_cast<int>(g() % 20), 1 + static_cast<int>(g() % 300)}};
    input_range const x = ranges[round % 4];
    int const bits = 4 + static_cast<int>(g() % 16);
    auto const p = project_to_accumulator(w.view(), {.bits = 2 + static_cast<int>(g() % 7)}, x, bits);
    std::int64_t most = 0, least = 0;
    for (unsigned extremes = 0; extremes < 1u << cols; ++extremes) {
      std::int64_t sum = 0;
      for (index_t j = 0; j < cols; ++j) {
        sum += std::int64_t{(extremes >> j) & 1 ? x.high : x.low} * p.weights.codes[j];
        most = std::max(most, sum), least = std::min(least, sum);
      }
    }
    CHECK((most < std::int64_t{1} << (bits - 1) && least >= -(std::int64_t{1} << (bits - 1))));
    auto const proof = prove_accumulator(p.weights, x);
    CHECK((proof.most == most && proof.least == least && proof.bits <= bits));
  }
}

TEST_CASE("projected weights provably fit the accumulator, and the proof is exact", "[compress][accumulator]") {
  matrix const w = gaussian(12, 200, 6);
  for (input_range x : {input_range{0, 255}, {-128, 127}, {0, 15}, {-8, 7}})
    for (int bits : {12, 14, 16, 18, 24}) {
      projected_weights const r = project_to_accumulator(w.view(), {8, true, 0}, x, bits);
      accumulator_proof const proof = prove_accumulator(r.weights, x);
      REQUIRE(proof.bits <= bits);
      if (bits == 24) REQUIRE(r.rows_projected == 0);
      // the inputs that reach the extremes, met in the worst order: positive terms first, or negative first
      std::int64_t most = 0, least = 0;
      for (index_t i = 0; i < 12; ++i) {
        std::int64_t high = 0, low = 0;
        for (index_t j = 0; j < 200; ++j) {
          std::int64_t const c = r.weights.codes[i * 200 + j];
          high += std::max(c * x.high, c * x.low), low += std::min(c * x.high, c * x.low);
        }
        most = std::max(most, high), least = std::min(least, low);
      }
      REQUIRE(most == proof.most);
      REQUIRE(least == proof.least);
    }
  // a row of ones needs exactly what arithmetic says
  matrix ones(1, 65793);
  for (float& v : ones.values) v = 127;
  quantized_weights q = round_to_nearest(ones.view(), {8, true, 0});
  for (auto& c : q.codes) c = -128;
  CHECK(prove_accumulator(q, {0, 255}).bits == 32);
  // the projection is the nearest: less is lost with more bits
  double last = 1e30;
  for (int bits = 10; bits <= 20; ++bits) {
    double const lost = project_to_accumulator(w.view(), {8, true, 0}, {0, 255}, bits).squared_change;
    CHECK(lost <= last * (1 + 1e-9));
    last = lost;
  }
  CHECK(refusal([&] { project_to_accumulator(w.view(), {8, true, 32}, {}, 16); }).find("one group a row") != std::string::npos);
  CHECK(refusal([&] { project_to_accumulator(w.view(), {8, true, 0}, {3, 7}, 16); }).find("0 and something else") != std::string::npos);
  CHECK(refusal([&] { project_to_accumulator(w.view(), {8, true, 0}, {}, 60); }).find("4 to 48") != std::string::npos);
}

TEST_CASE("bit allocation is optimal for every budget", "[compress][mixed_precision]") {
  for (unsigned seed = 0; seed < 10; ++seed) {
    std::mt19937 g(seed);
    std::vector<std::vector<layer_choice>> layers;
    for (int l = 0; l < 5; ++l) {
      std::vector<layer_choice> c;
      for (int bits : {2, 4, 8}) c.push_back({bits, static_cast<double>(bits * (1 + g() % 20)), static_cast<double>(g() % 1000) / bits});
      layers.push_back(c);
    }
    auto const front = pareto_front(layers);
    for (std::size_t i = 1; i < front.size(); ++i) {
      REQUIRE(front[i].cost > front[i - 1].cost);
      REQUIRE(front[i].loss < front[i - 1].loss);
    }
    std::vector<std::pair<double, double>> all;
    for (int code = 0; code < 243; ++code) {
      double cost = 0, loss = 0;
      for (int l = 0, rest = code; l < 5; ++l, rest /= 3) cost += layers[l][rest % 3].cost, loss += layers[l][rest % 3].loss;
      all.push_back({cost, loss});
    }
    for (double budget = front.front().cost; budget < front.back().cost + 10; budget += 3.7) {
      double least = 1e30;
      for (auto [cost, loss] : all)
        if (cost <= budget) least = std::min(least, loss);
      pareto_point const p = allocate_bits(layers, budget);
      REQUIRE(p.loss == Approx(least));
      double cost = 0;
      for (int l = 0; l < 5; ++l) cost += layers[l][static_cast<std::size_t>(p.choice[l])].cost;
      REQUIRE(cost == p.cost);
      REQUIRE(cost <= budget);
    }
    CHECK(refusal([&] { allocate_bits(layers, front.front().cost - 1); }).find("cheapest choice of every layer") != std::string::npos);
  }
  CHECK(refusal([] { pareto_front({{}}); }).find("layer 0 has no choice") != std::string::npos);
  CHECK(refusal([] { pareto_front({{{8, NAN, 0}}}); }).find("cost NaN") != std::string::npos);
  CHECK(refusal([] { pareto_front({{{8, 1, 0}, {4, 2, 1}}}, 1); }).find("coarser unit") != std::string::npos);
  CHECK(pareto_front({}).size() == 1);
  CHECK(energy_picojoule(1e6, 1e3, 4, 8) < energy_picojoule(1e6, 2e3, 8, 8));
}

TEST_CASE("sensitivity measures what it says", "[compress][sensitivity]") {
  auto const loss = sensitivity(3, {2, 4, 8}, [](int layer, int bits) { return (layer + 1.0) / bits; });
  CHECK(loss[2][1] == 0.75);
  auto const c = choices({2, 4, 8}, loss, {{1, 2, 4}, {1, 2, 4}, {1, 2, 4}});
  CHECK(c[1][2].bits == 8);
  CHECK(c[1][2].cost == 4);
  CHECK(refusal([] { sensitivity(1, {8}, [](int, int) { return NAN; }); }).find("layer 0 at 8 bits measures NaN") != std::string::npos);
  // the trace of a symmetric matrix, exact for a diagonal one
  matrix a = gaussian(30, 30, 3);
  double trace = 0, off = 0;
  for (index_t i = 0; i < 30; ++i)
    for (index_t j = 0; j <= i; ++j) {
      a(i, j) = a(j, i) = 0.5f * (a(i, j) + a(j, i));
      if (i == j)
        trace += a(i, i);
      else
        off += 2.0 * a(i, j) * a(i, j);
    }
  auto const product = [](matrix const& m) {
    return [&m](vector_view<float const> v, vector_view<float> hv) {
      for (index_t i = 0; i < m.rows; ++i) {
        hv[i] = 0;
        for (index_t j = 0; j < m.cols; ++j) hv[i] += m(i, j) * v[j];
      }
    };
  };
  int const probes = 400;
  CHECK(std::fabs(hessian_trace(30, probes, 7, product(a)) - trace) < 5 * std::sqrt(2 * off / probes));
  matrix diagonal(10, 10);
  for (index_t i = 0; i < 10; ++i) diagonal(i, i) = static_cast<float>(i);
  CHECK(hessian_trace(10, 1, 3, product(diagonal)) == 45);
  std::vector<float> const p = {1, 2, 3}, q = {1.5f, 2, 2};
  double want = 0;
  for (int i = 0; i < 3; ++i) {
    auto const softmax = [&](std::vector<float> const& l) { return std::exp(l[i]) / (std::exp(l[0]) + std::exp(l[1]) + std::exp(l[2])); };
    want += softmax(p) * std::log(softmax(p) / softmax(q));
  }
  CHECK(output_kl(view(p), view(q)) == Approx(want).epsilon(1e-6));
  CHECK(output_kl(view(p), view(p)) == 0);
  std::vector<float> const huge = {1e38f, -1e38f, 0};
  CHECK(std::isfinite(output_kl(view(huge), view(p))));
}

TEST_CASE("the adaptive width is the least that meets the target, and its prediction holds", "[compress][adaptive]") {
  matrix const x = gaussian(1, 50000, 9, 0.02f);
  for (double target : {5.0, 20.0, 30.0, 38.0}) {
    adaptive_width const a = choose_width(view(x.values), target);
    CHECK(a.meets_target);
    auto const measured = [&](int bits) {
      float const s = a.absmax / static_cast<float>((1 << (bits - 1)) - 1);
      double signal = 0, noise = 0;
      for (float v : x.values) {
        double const e = std::nearbyint(v / s) * s - v;
        signal += static_cast<double>(v) * v, noise += e * e;
      }
      return 10 * std::log10(signal / noise);
    };
    CHECK(measured(a.bits) >= target - 0.1);
    if (a.bits >= 4) CHECK(measured(a.bits) == Approx(a.predicted_sqnr).margin(0.2));
    if (a.bits > 4) CHECK(measured(a.bits - 1) < target);
  }
  CHECK_FALSE(choose_width(view(x.values), 60).meets_target);
  CHECK(choose_width(view(x.values), 60).bits == 8);
  std::vector<float> const zeros(10), bad = {1, NAN};
  CHECK(choose_width(view(zeros), 100).bits == 2);
  CHECK(refusal([&] { choose_width(view(bad), 10); }).find("1 of 2 values") != std::string::npos);
}

TEST_CASE("codebooks, accumulators, optimizers, choices and latencies: options that are refused", "[errors][compress]") {
  using namespace compress;
  float const w6[6] = {1, 2, 3, 4, 5, 6}, nan3[3] = {1, NAN, 2};
  float bias[3] = {7, 7, 7};
  matrix_view<float const> const w = row_major(w6, 2, 3), other = row_major(w6, 3, 2);
  vector_view<float const> const three{w6, 3, 1}, two{w6, 2, 1}, missing{nullptr, 3, 1};
  vector_view<float> const bias3 = view(bias);
  weight_grid const grid{};
  quantized_weights const q = round_to_nearest(w, grid);
  quantized_weights real_zero = q;
  real_zero.zeros[1] = 0.5f;
  std::vector<std::vector<double>> const one_layer{{1.0}}, two_layers{{1.0}, {2.0}};
  int calls = 0;
  auto const product = [&](auto, auto) { ++calls; };
  refuse_all({
      {errc::argument, "k_means: k is 0; it must be 1 to 65536.", [&] { k_means(three, 0); }},
      {errc::argument, "k_means: value 1 is NaN; all of them must be finite.", [&] { k_means(view(nan3), 2); }},
      {errc::argument, "lloyd_max: k is 5000; it must be 1 to 4096.", [] { lloyd_max(calibrate::gaussian{}, 5000); }},
      {errc::argument, "quantize_with_codebooks: levels is 257; it must be 1 to 256.", [&] { quantize_with_codebooks(w, 257); }},
      {errc::argument, "prove_accumulator: inputs are 1 to 2; 0 must be among them.", [&] { prove_accumulator(q, {1, 2}); }},
      {errc::argument, "prove_accumulator: zero (1, 0) is no integer; such weights have no integer sum.", [&] { prove_accumulator(real_zero, {0, 2}); }},
      {errc::argument, "project_to_accumulator: accumulator_bits is 3; it must be 4 to 48.", [&] { project_to_accumulator(w, grid, {0, 255}, 3); }},
      {errc::argument, "project_to_accumulator: inputs are 0 to 0; 0 and something else must be among them.", [&] { project_to_accumulator(w, grid, {0, 0}, 16); }},
      {errc::argument, "adam8: size is -1; it must not be negative.", [] { adam8 a(-1); }},
      {errc::argument, "adam8: learning_rate 0, beta1 9e-1, beta2 9.99e-1, epsilon 1e-8; rates must be positive and betas in [0, 1).", [] { adam8 a(3, {.learning_rate = 0}); }},
      {errc::shape, "adam8::step: 3 parameters and 2 gradients, the optimizer was made for 3.", [&] { adam8 a(3); a.step(bias3, two); }},
      {errc::argument, "adam8::step: gradient 1 is NaN; magnitudes must be below 1.8e19, whose square a float holds: skip such steps, or scale the loss.", [&] { adam8 a(3); a.step(bias3, view(nan3)); }},
      {errc::shape, "choices: there are 1 layers of losses and 2 of costs.", [&] { choices({8}, one_layer, two_layers); }},
      {errc::shape, "choices: layer 0 has 1 losses and 1 costs for 2 widths.", [&] { choices({4, 8}, one_layer, one_layer); }},
      {errc::argument, "sensitivity: layer 0 at 4 bits measures NaN; a measure must be finite.", [] { sensitivity(1, {4}, [](int, int) { return std::nan(""); }); }},
      {errc::argument, "hessian_trace: size is 3 and probes 0; both must be positive.", [&] { hessian_trace(3, 0, 1, product); }},
      {errc::shape, "output_kl: there are 3 reference logits and 2 quantized ones; they must be equal, and some.", [&] { output_kl(three, two); }},
      {errc::argument, "output_kl: logit 1 is not finite.", [&] { output_kl(three, view(nan3)); }},
      {errc::shape, "output_kl: there are 2 reference rows and 3 quantized ones; they must be equal, and some.", [&] { output_kl(w, other); }},
      {errc::argument, "pareto_front: layer 1 has no choice; it needs at least one.", [] { pareto_front({{{8, 1, 1}}, {}}); }},
      {errc::argument, "pareto_front: layer 0 has a choice with cost -1 and loss 2; both must be finite, the cost not negative.", [] { pareto_front({{{8, -1, 2}}}); }},
      {errc::capacity, "pareto_front: 1 partial solutions times 2 choices of layer 0 exceed max_states = 1; round the costs to a coarser unit.",
       [] { pareto_front({{{8, 1, 2}, {4, 1, 3}}}, 1); }},
      {errc::argument, "allocate_bits: the budget is 1, but the cheapest choice of every layer together costs 3; no allocation fits.",
       [] { allocate_bits({{{8, 3, 2}}}, 1); }},
      {errc::argument, "choose_width: widths are 8 to 4; they must rise and be 2 to 16.", [&] { choose_width(three, 30, {.min_bits = 8, .max_bits = 4}); }},
      {errc::null, "choose_width: x is null, but has 3 values.", [&] { choose_width(missing, 30); }},
      {errc::argument, "choose_width: x has stride 2; it must be 1.", [&] { choose_width({w6, 3, 2}, 30); }},
      {errc::argument, "choose_width: 1 of 3 values are NaN or infinite; all must be finite.", [&] { choose_width(view(nan3), 30); }},
      {errc::argument, "measure_latency: weight_bits is 1; it must be 2 to 8.", [] { measure_latency({1, 8, 8}, 1); }},
      {errc::argument, "measure_latency: the shape is 1 x 0 x 8; sizes must be positive.", [] { measure_latency({1, 0, 8}, 8); }},
  });
  for (float b : bias) CHECK(b == 7.0f);
  CHECK(calls == 0);
}
