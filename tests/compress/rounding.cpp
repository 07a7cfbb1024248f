// Methods that choose codes: plain rounding, GPTQ, AWQ, HQQ, AdaRound. Never worse than rounding on their own objective.
#include "errors/refusal.hpp"
#include "support/catch.hpp"
#include "support.hpp"

#include <quern/compress/adaround.hpp>
#include <quern/compress/awq.hpp>
#include <quern/compress/gptq.hpp>
#include <quern/compress/hqq.hpp>

#include <algorithm>
#include <thread>

using namespace quern;
using namespace quern::compress;
using namespace compress_test;

namespace {

row_major_matrix second_moments(matrix const& x) {
  hessian h(x.cols);
  h.add(x.view());
  return h.matrix();
}
bool same(quantized_weights const& a, quantized_weights const& b) {
  if (a.rows != b.rows || a.cols != b.cols || a.groups != b.groups) return false;
  for (index_t i = 0; i < a.codes.size(); ++i)
    if (a.codes[i] != b.codes[i]) return false;
  for (index_t i = 0; i < a.scales.size(); ++i)
    if (a.scales[i] != b.scales[i] || a.zeros[i] != b.zeros[i]) return false;
  return true;
}

// GPTQ as the paper writes it: rows of the inverse's upper Cholesky factor, column by column, in double. One group a row. The inverse is
// kept up by elimination: after column j it is that of the remaining columns.
std::vector<int> textbook_gptq(matrix const& w, row_major_matrix const& h, weight_grid grid, quantized_weights const& scales, double damping) {
  auto const n = static_cast<std::size_t>(w.cols);
  std::vector<std::vector<double>> a(n, std::vector<double>(2 * n));
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) mean += h(static_cast<index_t>(i), static_cast<index_t>(i)) / static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) a[i][j] = h(static_cast<index_t>(i), static_cast<index_t>(j)) + (i == j ? damping * mean : 0);
    a[i][n + i] = 1;
  }
  for (std::size_t p = 0; p < n; ++p) {  // Gauss-Jordan; H is positive definite, no pivoting
    for (std::size_t j = 2 * n; j-- > p;) a[p][j] /= a[p][p];
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 2 * n; i != p && j-- > p;) a[i][j] -= a[i][p] * a[p][j];
  }
  std::vector<int> codes;
  for (index_t i = 0; i < w.rows; ++i) {
    std::vector<std::vector<double>> inverse(n, std::vector<double>(n));
    std::vector<double> row(n);
    for (std::size_t j = 0; j < n; ++j) {
      row[j] = w(i, static_cast<index_t>(j));
      for (std::size_t k = 0; k < n; ++k) inverse[j][k] = a[j][n + k];
    }
    for (std::size_t j = 0; j < n; ++j) {
      double const s = scales.scale(i, 0), z = scales.zero(i, 0);
      double const q = std::min<double>(grid.top(), std::max<double>(grid.bottom(), std::nearbyint(row[j] / s + z)));
      codes.push_back(static_cast<int>(q));
      double const e = (row[j] - s * (q - z)) / inverse[j][j];
      std::vector<double> const pivot = inverse[j];
      for (std::size_t k = j; k < n; ++k) row[k] -= e * pivot[k];
      for (std::size_t b = j; b < n; ++b)
        for (std::size_t c = j; c < n; ++c) inverse[b][c] -= pivot[b] * pivot[c] / pivot[j];
    }
  }
  return codes;
}
}  // namespace

TEST_CASE("plain rounding is within half a step, whatever the group", "[compress][rtn]") {
  matrix const w = gaussian(9, 50, 1);
  for (int bits : {2, 3, 4, 8})
    for (bool symmetric : {true, false})
      for (index_t group : {0, 1, 7, 16, 50, 1000}) {
        quantized_weights const q = round_to_nearest(w.view(), {bits, symmetric, group});
        REQUIRE(q.groups == (group == 0 || group >= 50 ? 1 : (50 + group - 1) / group));
        for (index_t i = 0; i < 9; ++i)
          for (index_t j = 0; j < 50; ++j) REQUIRE(std::fabs(q(i, j) - w(i, j)) <= q.scale(i, j) * (symmetric ? 0.50001f : 1.0f));
      }
  auto const plain = squared_error(w.view(), round_to_nearest(w.view(), {3, true, 0}));
  auto const clipped = squared_error(w.view(), round_to_nearest(w.view(), {3, true, 0}, {.smallest_shrink = 0.5f}));
  CHECK(clipped < plain);
  matrix zeros(2, 8);
  quantized_weights const z = round_to_nearest(zeros.view(), {4, false, 4});
  for (index_t j = 0; j < 8; ++j) CHECK(z(1, j) == 0);
  CHECK(round_to_nearest({nullptr, 0, 5, 5, 1}, {4, true, 0}).codes.size() == 0);
}

TEST_CASE("GPTQ never does worse than rounding, and what it reports is the error of what it returns", "[compress][gptq]") {
  for (unsigned seed = 0; seed < 3; ++seed) {
    matrix const w = gaussian(20, 48, seed), x = correlated(300, 48, 100 + seed);
    row_major_matrix const h = second_moments(x);
    double const mean = h.diagonal().mean();
    for (int bits : {2, 3, 4, 8})
      for (bool act_order : {false, true})
        for (index_t group : {0, 7, 16}) {
          INFO(bits << " bits, act_order " << act_order << ", group " << group);
          gptq_result const r = gptq(w.view(), h, {bits, group != 16, group}, {.act_order = act_order, .block = group == 7 ? 5 : 16});
          CHECK(r.error <= r.rounded_error);
          CHECK(r.error < 0.9 * r.rounded_error);  // correlated inputs: it really gains
          row_major_matrix damped = h;
          for (index_t i = 0; i < 48; ++i) damped(i, i) += static_cast<float>(0.01 * mean);
          CHECK(output_error(w.view(), r.weights, damped) == Approx(r.error).epsilon(2e-3));  // permutations are undone
          CHECK(output_error(w.view(), round_to_nearest(w.view(), {bits, group != 16, group}), damped) == Approx(r.rounded_error).epsilon(2e-3));
        }
  }
}

TEST_CASE("GPTQ equals the paper's algorithm, and plain rounding for a diagonal Hessian", "[compress][gptq]") {
  matrix const w = gaussian(12, 32, 4), x = correlated(200, 32, 5);
  row_major_matrix const h = second_moments(x);
  for (int bits : {3, 4})
    for (index_t block : {1, 8, 32, 128}) {
      gptq_result const r = gptq(w.view(), h, {bits, false, 0}, {.block = block});
      auto const want = textbook_gptq(w, h, {bits, false, 0}, round_to_nearest(w.view(), {bits, false, 0}), 0.01);
      int differ = 0;
      for (std::size_t i = 0; i < want.size(); ++i) differ += want[i] != r.weights.codes[static_cast<index_t>(i)];
      CHECK(differ - r.rows_rounded * 32 <= 1);  // a tie that float and double break differently
    }
  row_major_matrix diagonal = row_major_matrix::Zero(32, 32);
  for (index_t i = 0; i < 32; ++i) diagonal(i, i) = 0.1f + static_cast<float>(i * i % 17);
  for (bool act_order : {false, true})
    for (index_t group : {0, 8, 5}) {
      gptq_result const r = gptq(w.view(), diagonal, {3, true, group}, {.act_order = act_order, .block = 7});
      CHECK(same(r.weights, round_to_nearest(w.view(), {3, true, group})));
      CHECK(r.error == Approx(r.rounded_error));
    }
}

TEST_CASE("GPTQ copes with singular Hessians, dead inputs and zero rows, and says what it cannot do", "[compress][gptq]") {
  matrix w = gaussian(6, 40, 8), x = gaussian(10, 40, 9);  // 10 samples cannot span 40 inputs
  for (index_t j = 0; j < 40; ++j) w(3, j) = 0;
  for (index_t i = 0; i < 10; ++i) x(i, 11) = 0;
  hessian accumulated(40), part(40);
  accumulated.add(x.view().block(0, 0, 4, 40));
  part.add(x.view().block(4, 0, 6, 40));
  accumulated.merge(part);
  CHECK(accumulated.samples() == 10);
  for (double damping : {0.01, 0.0}) {
    gptq_result const r = gptq(w.view(), accumulated.matrix(), {3, true, 0}, {.damping = damping});
    CHECK(r.dead_inputs == 1);
    CHECK(r.damping >= damping);
    CHECK(r.error <= r.rounded_error);
    for (index_t j = 0; j < 40; ++j) CHECK(r.weights(3, j) == 0);
  }
  row_major_matrix bad = accumulated.matrix();
  CHECK(refusal([&] { gptq(w.view(), row_major_matrix::Zero(40, 40), {4, true, 0}); }).find("calibration data all zero") != std::string::npos);
  bad(2, 2) = NAN;
  CHECK(refusal([&] { gptq(w.view(), bad, {4, true, 0}); }).find("must be finite") != std::string::npos);
  CHECK(refusal([&] { gptq(w.view(), row_major_matrix::Identity(39, 39), {4, true, 0}); }).find("have 40 inputs") != std::string::npos);
  CHECK(refusal([&] { gptq(w.view(), bad, {9, true, 0}); }).find("bits is 9") != std::string::npos);
  CHECK(refusal([&] { gptq(w.view(), bad, {4, true, -1}); }).find("negative") != std::string::npos);
  w(1, 2) = INFINITY;
  CHECK(refusal([&] { round_to_nearest(w.view(), {4, true, 0}); }).find("weight (1, 2) is infinity") != std::string::npos);
  CHECK(refusal([&] { hessian(40).matrix(); }).find("no sample") != std::string::npos);
  x(3, 3) = NAN;
  CHECK(refusal([&] { accumulated.add(x.view()); }).find("value (3, 3)") != std::string::npos);
  CHECK(accumulated.samples() == 10);
  row_major_matrix broken = row_major_matrix::Identity(40, 40);
  broken(30, 5) = broken(5, 30) = NAN;
  w(1, 2) = 0;
  CHECK(refusal([&] { gptq(w.view(), broken, {4, true, 0}); }).find("cannot be factored") != std::string::npos);
}

TEST_CASE("GPTQ gives the same codes on any executor, and reports its progress", "[compress][gptq]") {
  matrix const w = gaussian(70, 64, 12), x = correlated(200, 64, 13);
  auto const threads = [](index_t tasks, auto task) {
    std::vector<std::thread> pool;
    for (index_t i = 0; i < tasks; ++i) pool.emplace_back([=] { task(i); });
    for (auto& t : pool) t.join();
  };
  struct seen {
    index_t calls = 0, total = 0;
  } count;
  gptq_options serial_options{.block = 16};
  serial_options.progress = {[](void* c, index_t, index_t total) {
                               ++static_cast<seen*>(c)->calls;
                               static_cast<seen*>(c)->total = total;
                             }, &count};
  gptq_result const a = gptq(w.view(), second_moments(x), {4, true, 32}, serial_options);
  CHECK(count.calls == count.total);
  CHECK(count.total > 4);
  gptq_result const b = gptq(w.view(), second_moments(x), {4, true, 32}, {.block = 16, .executor = threads});
  CHECK(same(a.weights, b.weights));
  CHECK(a.error == b.error);
}

TEST_CASE("refitted scales never raise the error, and GPTQ with them lowers it again", "[compress][gptq]") {
  matrix const w = gaussian(10, 48, 50), x = correlated(300, 48, 51);
  row_major_matrix const h = second_moments(x);
  for (index_t group : {0, 16, 7}) {
    weight_grid const grid{2, true, group};
    quantized_weights q = gptq(w.view(), h, grid, {.act_order = true}).weights;
    double const first = output_error(w.view(), q, h);
    refit_scales(w.view(), h, q);
    double const refitted = output_error(w.view(), q, h);
    CHECK(refitted < first);
    gptq_result const again = gptq(w.view(), h, grid, {.act_order = true, .scales = &q});
    CHECK(output_error(w.view(), again.weights, h) < first);
    CHECK(again.error <= again.rounded_error);
    for (index_t i = 0; i < q.scales.size(); ++i) CHECK(again.weights.scales[i] == q.scales[i]);
  }
  quantized_weights const other = round_to_nearest(w.view(), {2, true, 8});
  CHECK(refusal([&] { gptq(w.view(), h, {2, true, 16}, {.scales = &other}); }).find("groups of 8") != std::string::npos);
}

TEST_CASE("AWQ never does worse than rounding and helps where activations have outlier channels", "[compress][awq]") {
  matrix const w = gaussian(32, 64, 20);
  matrix x = gaussian(400, 64, 21);
  for (index_t i = 0; i < 400; ++i)
    for (index_t j : {3, 17, 40}) x(i, j) *= 30;
  std::vector<float> mean(64);
  for (index_t j = 0; j < 64; ++j)
    for (index_t i = 0; i < 400; ++i) mean[static_cast<std::size_t>(j)] += std::fabs(x(i, j)) / 400;
  row_major_matrix const h = second_moments(x);
  for (int bits : {3, 4})
    for (index_t group : {0, 16}) {
      awq_result const r = awq(w.view(), view(mean), h, {bits, false, group});
      CHECK(r.error < 0.7 * r.rounded_error);
      CHECK(r.alpha > 0);
      // what it claims: the weights run on x / s
      double sum = 0;
      for (index_t i = 0; i < 400; ++i)
        for (index_t o = 0; o < 32; ++o) {
          double d = 0;
          for (index_t j = 0; j < 64; ++j) d += (static_cast<double>(w(o, j)) - static_cast<double>(r.weights(o, j)) / r.scales[j]) * x(i, j);
          sum += d * d;
        }
      CHECK(sum / 400 == Approx(r.error).epsilon(1e-3));
      CHECK(awq(w.view(), view(mean), h, {bits, false, group}, {.smallest_shrink = 0.5f}).error <= r.error);
    }
  std::vector<float> even(64, 1.0f);
  CHECK(awq(w.view(), view(even), row_major_matrix::Identity(64, 64), {4, true, 0}).error <=
        awq(w.view(), view(even), row_major_matrix::Identity(64, 64), {4, true, 0}).rounded_error);
  even[5] = NAN;
  CHECK(refusal([&] { awq(w.view(), view(even), h, {4, true, 0}); }).find("channel 5 is NaN") != std::string::npos);
}

TEST_CASE("HQQ lowers the absolute error without data", "[compress][hqq]") {
  matrix w = gaussian(16, 256, 30);
  for (index_t i = 0; i < 16; ++i) w(i, 7 * i) *= 4;
  auto const absolute = [&](quantized_weights const& q) {
    double sum = 0;
    for (index_t i = 0; i < 16; ++i)
      for (index_t j = 0; j < 256; ++j) sum += std::fabs(static_cast<double>(q(i, j)) - w(i, j));
    return sum;
  };
  for (int bits : {2, 3, 4})
    for (index_t group : {0, 64}) {
      double const plain = absolute(round_to_nearest(w.view(), {bits, false, group})), moved = absolute(hqq(w.view(), {bits, false, group}));
      CHECK(moved <= plain);
      CHECK(moved < 0.999 * plain);
    }
  matrix large = w;
  for (float& v : large.values) v *= 64;
  quantized_weights const a = hqq(w.view(), {3, false, 64}), b = hqq(large.view(), {3, false, 64});
  for (index_t i = 0; i < a.codes.size(); ++i) REQUIRE(a.codes[i] == b.codes[i]);
  CHECK(refusal([&] { hqq(w.view(), {4, true, 0}); }).find("must be asymmetric") != std::string::npos);
}

TEST_CASE("AdaRound never does worse than rounding and learns to do better", "[compress][adaround]") {
  matrix const w = gaussian(10, 24, 40), x = correlated(200, 24, 41);
  row_major_matrix const h = second_moments(x);
  for (int bits : {3, 4}) {
    adaround_result const r = adaround(w.view(), h, {bits, true, 0}, {.iterations = 400});
    CHECK(r.error < 0.7 * r.rounded_error);
    CHECK(output_error(w.view(), r.weights, h) == Approx(r.error).epsilon(1e-3));
    quantized_weights const plain = round_to_nearest(w.view(), {bits, true, 0});
    for (index_t i = 0; i < r.weights.codes.size(); ++i) CHECK(std::abs(r.weights.codes[i] - plain.codes[i]) <= 1);
  }
  row_major_matrix const diagonal = row_major_matrix::Identity(24, 24);
  CHECK(adaround(w.view(), diagonal, {4, true, 0}, {.iterations = 50}).error <= adaround(w.view(), diagonal, {4, true, 0}, {.iterations = 50}).rounded_error);
}

TEST_CASE("one scale for all channels costs each of them 20 log10 of what its range lacks; a scale each costs nothing", "[compress][per_channel]") {
  index_t const channels = 32, size = 1152;
  struct row {
    double ratio, mean, worst;
  };
  for (row want : {row{1, 39.9, 39.6}, {4, 35.9, 29.6}, {16, 30.2, 18.3}, {64, 24.2, 5.8}, {256, 18.4, 0.0}}) {
    double mean = 0, mean_own = 0, worst = 0;
    int const seeds = 10;
    for (unsigned seed = 0; seed < seeds; ++seed) {
      matrix w = gaussian(channels, size, seed);
      for (index_t c = 0; c < channels; ++c)
        for (index_t j = 0; j < size; ++j) w(c, j) *= static_cast<float>(std::pow(want.ratio, static_cast<double>(c) / 31));
      quantized_weights const whole = round_to_nearest({w.values.data(), 1, channels * size, channels * size, 1}, {8, true, 0});
      quantized_weights const each = round_to_nearest(w.view(), {8, true, 0});
      double least = 1e9;
      for (index_t c = 0; c < channels; ++c) {
        double signal = 0, with_one = 0, with_own = 0;
        for (index_t j = 0; j < size; ++j) {
          double const v = w(c, j), a = whole(0, c * size + j) - v, b = each(c, j) - v;
          signal += v * v, with_one += a * a, with_own += b * b;
        }
        double const one = 10 * std::log10(signal / with_one), own = 10 * std::log10(signal / with_own);
        if (one > 12) CHECK(own - one == Approx(20 * std::log10(whole.scales[0] / each.scales[c])).margin(0.6));
        mean += one / static_cast<double>(channels) / seeds;
        mean_own += own / static_cast<double>(channels) / seeds;
        least = std::min(least, one);
      }
      worst += least / seeds;
    }
    INFO("ratio " << want.ratio << ": mean " << mean << " dB, worst channel " << worst);
    CHECK(mean == Approx(want.mean).margin(0.4));
    CHECK(mean_own == Approx(42).margin(0.4));
    CHECK(worst == Approx(want.worst).margin(0.4));
  }
}

TEST_CASE("weights: grids, Hessians, options of each method", "[errors][compress]") {
  using namespace compress;
  float const w6[6] = {1, 2, 3, 4, 5, 6}, nan3[3] = {1, NAN, 2};
  matrix_view<float const> const w = row_major(w6, 2, 3), missing{nullptr, 2, 3, 3, 1}, other = row_major(w6, 3, 2);
  vector_view<float const> const three{w6, 3, 1}, two{w6, 2, 1};
  row_major_matrix const h = row_major_matrix::Identity(3, 3), small = row_major_matrix::Identity(2, 2);
  weight_grid const grid{};
  quantized_weights q = round_to_nearest(w, grid), flipped = round_to_nearest(other, grid);
  hessian seen(3);
  float y[6] = {7, 7, 7, 7, 7, 7};
  refuse_all({
      {errc::argument, "hqq: grid.bits is 9; it must be 2 to 8.", [&] { hqq(w, {.bits = 9, .symmetric = false}); }},
      {errc::argument, "awq: grid.group is -1; it must not be negative (0 is the whole row).", [&] { awq(w, three, h, {.group = -1}); }},
      {errc::null, "adaround: the weights are null, but 2 x 3.", [&] { adaround(missing, h, grid); }},
      {errc::shape, "squared_error: the weights are 3 x 2, the quantized ones 2 x 3.", [&] { squared_error(other, q); }},
      {errc::argument, "round_to_nearest: smallest_shrink is 0; it must be above 0 and at most 1.", [&] { round_to_nearest(w, grid, {.smallest_shrink = 0}); }},
      {errc::shape, "round_to_nearest: importance has 2 values for 3 columns; they must be equal.", [&] { round_to_nearest(w, grid, {.importance = two}); }},
      {errc::shape, "gptq: the Hessian is 2 x 2, the weights have 3 inputs; they must be equal.", [&] { gptq(w, small, grid); }},
      {errc::argument, "gptq: damping is -1; it must be 0 to 10.", [&] { gptq(w, h, grid, {.damping = -1}); }},
      {errc::argument, "gptq: block is 0; it must be at least 1.", [&] { gptq(w, h, grid, {.block = 0}); }},
      {errc::shape, "refit_scales: the weights are 3 x 2, the quantized ones 2 x 3, the Hessian 2 wide; they must fit.", [&] { refit_scales(other, small, q); }},
      {errc::argument, "hessian: inputs is 0; a layer has at least one.", [] { hessian none(0); }},
      {errc::shape, "hessian: a sample has 2 values, the layer 3 inputs; they must be equal.", [&] { seen.add(other); }},
      {errc::argument, "hessian: value (0, 1) of the calibration data is NaN; leave such samples out.", [&] { seen.add(row_major(nan3, 1, 3)); }},
      {errc::shape, "hessian: merging 2 inputs into 3; they must be equal.", [&] { seen.merge(hessian(2)); }},
      {errc::argument, "hessian: no sample was added; the method needs calibration data.", [&] { (void)seen.matrix(); }},
      {errc::shape, "compress::dequantize: dst is 3 x 2, the weights 2 x 3; they must be equal.", [&] { dequantize(q, row_major(y, 3, 2)); }},
      {errc::shape, "output_error: the weights are 3 x 2, the quantized ones 2 x 3, the Hessian 3 wide; they must fit.", [&] { output_error(other, q, h); }},
      {errc::shape, "adaround: the Hessian is 2 x 2, the weights have 3 inputs; they must be equal.", [&] { adaround(w, small, grid); }},
      {errc::argument, "adaround: iterations is 0 and learning_rate 3e-2; both must be positive.", [&] { adaround(w, h, grid, {.iterations = 0}); }},
      {errc::shape, "awq: the weights have 3 inputs, the activations 2 channels, the Hessian 3 rows; they must be equal.", [&] { awq(w, two, h, grid); }},
      {errc::argument, "awq: steps is 0; it must be at least 1.", [&] { awq(w, three, h, grid, {.steps = 0}); }},
      {errc::argument, "awq: mean|x| of channel 1 is NaN; it must be finite and not negative.", [&] { awq(w, view(nan3), h, grid); }},
      {errc::argument, "hqq: p is 2, beta 10, kappa 1.01, iterations 20; p must be above 0 and at most 1, beta positive, kappa at least 1, iterations not negative.",
       [&] { hqq(w, {.symmetric = false}, {.p = 2}); }},
  });
  CHECK(seen.samples() == 0);
  for (float v : y) CHECK(v == 7.0f);
  for (index_t i = 0; i < 6; ++i) CHECK(q.codes[i] == round_to_nearest(w, grid).codes[i]);
}
