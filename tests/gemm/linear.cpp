// Fully connected layers, batches and lists: the same integers as gemm, whatever wraps them.
#include <quern/dispatch/thread_pool.hpp>
#include <quern/ops/gemm_batch.hpp>
#include <quern/ops/linear.hpp>

#include "problem.hpp"

#include <algorithm>
#include <cmath>

using namespace gemm_test;

namespace {

std::vector<float> reals(index_t size, std::uint64_t seed, float scale = 1) {
  std::vector<float> v(static_cast<std::size_t>(size));
  random_bits random(seed);
  for (auto& x : v) x = scale * (static_cast<float>(random.between(-1000, 1000)) / 500);
  return v;
}

/// The layer by the book: double sums of what the codes stand for.
template <class Rhs>
double layer(linear_weights<Rhs> const& w, std::vector<float> const& wf, std::vector<float> const& x, index_t i, index_t j, double step) {
  double sum = w.bias.empty() ? 0 : w.bias[j];
  (void)step;
  for (index_t k = 0; k < w.k(); ++k)
    sum += static_cast<double>(x[static_cast<std::size_t>(i * w.k() + k)]) * static_cast<double>(wf[static_cast<std::size_t>(k * w.n() + j)]);
  return sum;
}

}  // namespace

TEST_CASE("quantize_linear_weights: every column reaches its last code and dequantizes within half a step", "[linear]") {
  auto const wf = reals(40 * 9, 1);
  auto const w = quantize_linear_weights(row_major(wf.data(), 40, 9));
  for (index_t j = 0; j < 9; ++j) {
    int largest = 0;
    for (index_t k = 0; k < 40; ++k) {
      int const q = w.packed(k, j);
      largest = std::max(largest, std::abs(q));
      CHECK(std::abs(static_cast<float>(q) * w.scales[j] - wf[static_cast<std::size_t>(k * 9 + j)]) <= w.scales[j] * 0.5001f);
    }
    CHECK(largest == 127);
  }
  std::vector<float> const zeros(12);
  CHECK(quantize_linear_weights(row_major(zeros.data(), 4, 3)).scales[1] == 1.0f);
  auto const four = quantize_linear_weights<s4>(row_major(wf.data(), 40, 9), {}, {.group = 16});
  CHECK(four.scales.size() == 3 * 9);
  CHECK(four.packed.groups() == 3);
}

TEST_CASE("linear and dynamic_linear approximate the float layer, and give the same bits on every instruction set", "[linear]") {
  index_t const m = 19, k = 70, n = 37;
  auto const wf = reals(k * n, 2, 0.1f), x = reals(m * k, 3), bias = reals(n, 4);
  auto const w = quantize_linear_weights(row_major(wf.data(), k, n), vector_view<float const>{bias.data(), n, 1});
  std::vector<float> first, first_dynamic, first_tensor;
  support::for_each_isa([&](isa i) {
    INFO(name(i));
    std::vector<float> y(static_cast<std::size_t>(m * n)), z(y.size()), t(y.size());
    linear(row_major(x.data(), m, k), choose_params<asymmetric<s8>>({-2, 2}), w, row_major(y.data(), m, n));
    dynamic_linear(row_major(x.data(), m, k), w, row_major(z.data(), m, n));
    dynamic_linear(row_major(x.data(), m, k), w, row_major(t.data(), m, n), {.by_row = false});
    if (first.empty()) {
      first = y, first_dynamic = z, first_tensor = t;
      for (index_t r = 0; r < m; ++r)
        for (index_t c = 0; c < n; ++c) {
          auto const at = static_cast<std::size_t>(r * n + c);
          double const want = layer(w, wf, x, r, c, 0);
          // Steps are 4/255 in x and 0.2/127 in w; 70 products of random sign: three standard deviations are 0.1.
          CHECK(std::abs(y[at] - want) < 0.1);
          CHECK(std::abs(z[at] - want) < 0.1);
          CHECK(std::abs(t[at] - want) < 0.1);
        }
    }
    CHECK(difference(y, first, n) == "");
    CHECK(difference(z, first_dynamic, n) == "");
    CHECK(difference(t, first_tensor, n) == "");
  });
}

TEST_CASE("dynamic_linear is quantization by row, then gemm", "[linear]") {
  index_t const m = 5, k = 33, n = 20;
  auto const wf = reals(k * n, 5), x = reals(m * k, 6);
  auto const w = quantize_linear_weights(row_major(wf.data(), k, n));
  std::vector<std::int8_t> codes(static_cast<std::size_t>(m * k));
  std::vector<float> scales, y(static_cast<std::size_t>(m * n)), z(y.size());
  std::vector<std::int32_t> zero_points;
  for (index_t i = 0; i < m; ++i) {
    real_range range;
    for (index_t c = 0; c < k; ++c) {
      range.min = std::min(range.min, x[static_cast<std::size_t>(i * k + c)]);
      range.max = std::max(range.max, x[static_cast<std::size_t>(i * k + c)]);
    }
    auto const p = choose_params<asymmetric<s8>>(range);
    quantize(vector_view<float const>{x.data() + i * k, k, 1}, p, vector_view<std::int8_t>{codes.data() + i * k, k, 1});
    scales.push_back(p.scale);
    zero_points.push_back(p.zero_point);
  }
  gemm(row_major(codes.data(), m, k), w.packed, row_major(y.data(), m, n),
       epilogue<to_real>{.lhs_zero_point = view(zero_points), .rescale = {.cols = view(w.scales), .rows = view(scales)}});
  thread_pool pool(2);
  dynamic_linear(row_major(x.data(), m, k), w, row_major(z.data(), m, n), {.gemm = {.executor = pool}});
  CHECK(difference(z, y, n) == "");
}

TEST_CASE("weights in groups: float sums of exact groups, 8 and 4 bits, on every instruction set", "[linear][gemm]") {
  index_t const m = 18, n = 35;
  for (index_t k : {64, 200, 256})
    for (index_t group : {8, 32, 128}) {
      auto const lhs = codes<std::int8_t>(m * k, fill::full, 7);
      auto const rhs = codes<std::int8_t>(k * n, fill::full, 8, -8, 7);
      index_t const groups = (k + group - 1) / group;
      auto scales = reals(groups * n, 9);
      for (auto& s : scales) s = std::abs(s) + 0.1f;
      std::vector<std::int32_t> zeros(static_cast<std::size_t>(groups * n));
      for (std::size_t z = 0; z < zeros.size(); ++z) zeros[z] = static_cast<std::int32_t>(z % 5) - 2;
      auto const eight = pack(row_major(rhs.data(), k, n), {.group = group});
      auto const four = pack<s4>(row_major(rhs.data(), k, n), {.group = group});
      for (bool with_zeros : {false, true}) {
        epilogue<to_real> e{.lhs_zero_point = -5, .rescale = {.rows = 0.5f, .groups = row_major(scales.data(), groups, n)}};
        if (with_zeros) e.rescale.group_zero_points = row_major(zeros.data(), groups, n);
        std::vector<float> want(static_cast<std::size_t>(m * n));
        for (index_t i = 0; i < m; ++i)
          for (index_t j = 0; j < n; ++j) {
            float sum = 0;
            for (index_t g = 0; g < groups; ++g) {
              std::int32_t acc = 0;
              for (index_t q = g * group; q < std::min(k, (g + 1) * group); ++q)
                acc += (lhs[static_cast<std::size_t>(i * k + q)] + 5) *
                       (rhs[static_cast<std::size_t>(q * n + j)] - (with_zeros ? zeros[static_cast<std::size_t>(g * n + j)] : 0));
              float const part = rounded(static_cast<float>(acc) * scales[static_cast<std::size_t>(g * n + j)]);
              sum = g == 0 ? part : rounded(sum + part);
            }
            want[static_cast<std::size_t>(i * n + j)] = rounded(sum * 0.5f);
          }
        support::for_each_isa([&](isa i) {
          if (QUERN_QUICK_TESTS && k != 200 && support::is_emulated(i)) return;  // 200: the last group is a part of one
          INFO(name(i) << " k " << k << " group " << group << " zeros " << with_zeros);
          std::vector<float> y(want.size()), z(want.size());
          gemm(row_major(lhs.data(), m, k), eight, row_major(y.data(), m, n), e);
          CHECK(difference(y, want, n) == "");
          gemm(row_major(lhs.data(), 3, k), four, row_major(z.data(), 3, n), e);  // straight from nibbles
          z.resize(static_cast<std::size_t>(3 * n));
          CHECK(difference(z, std::vector<float>(want.begin(), want.begin() + 3 * n), n) == "");
          z.resize(want.size());
          gemm(row_major(lhs.data(), m, k), four, row_major(z.data(), m, n), e);
          CHECK(difference(z, want, n) == "");
        });
      }
    }
}

TEST_CASE("int4 weights: every row count, signed and unsigned, per column", "[gemm]") {
  for (index_t m : {1, 2, 3, 4, 5, 13, 33})
    for (index_t k : {1, 7, 8, 9, 64, 100}) {
      index_t const n = 40;
      auto const lhs = codes<std::uint8_t>(m * k, fill::extremes, 3);
      auto const s = codes<std::int8_t>(k * n, fill::full, 4, -8, 7);
      auto const u = codes<std::uint8_t>(k * n, fill::full, 5, 0, 15);
      std::vector<std::int32_t> want_s(static_cast<std::size_t>(m * n)), want_u(want_s.size());
      std::int32_t const z = 9, w = 3;
      reference::gemm<std::uint8_t, std::int8_t>({lhs.data(), m, k, k, 1}, {&z, m, 0}, {s.data(), k, n, n, 1}, {&w, n, 0}, {}, row_major(want_s.data(), m, n));
      reference::gemm<std::uint8_t, std::uint8_t>({lhs.data(), m, k, k, 1}, {&z, m, 0}, {u.data(), k, n, n, 1}, {&w, n, 0}, {}, row_major(want_u.data(), m, n));
      auto const ps = pack<s4>(row_major(s.data(), k, n));
      auto const pu = pack<u4>(row_major(u.data(), k, n));
      support::for_each_isa([&](isa i) {
        INFO(name(i) << " m " << m << " k " << k);
        std::vector<std::int32_t> y(want_s.size());
        epilogue<> const e{.lhs_zero_point = z, .rhs_zero_point = w};
        gemm(row_major(lhs.data(), m, k), ps, row_major(y.data(), m, n), e);
        CHECK(difference(y, want_s, n) == "");
        gemm(row_major(lhs.data(), m, k), pu, row_major(y.data(), m, n), e);
        CHECK(difference(y, want_u, n) == "");
      });
    }
}

TEST_CASE("linear from codes to codes", "[linear]") {
  index_t const m = 6, k = 24, n = 18;
  auto const wf = reals(k * n, 11), bias = reals(n, 12);
  auto const w = quantize_linear_weights(row_major(wf.data(), k, n), vector_view<float const>{bias.data(), n, 1});
  auto const x = codes<std::uint8_t>(m * k, fill::full, 13);
  std::vector<std::uint8_t> y(static_cast<std::size_t>(m * n));
  linear(row_major(x.data(), m, k), {0.02f, 100}, w, row_major(y.data(), m, n), {0.5f, 120});
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j) {
      std::int32_t acc = 0;
      for (index_t q = 0; q < k; ++q) acc += (x[static_cast<std::size_t>(i * k + q)] - 100) * w.packed(q, j);
      float const value = rounded(rounded(static_cast<float>(acc) * rounded((0.02f / 0.5f) * w.scales[j])) + bias[static_cast<std::size_t>(j)] / 0.5f);
      int const want = std::clamp(static_cast<int>(std::nearbyint(value)) + 120, 0, 255);
      CHECK(int{y[static_cast<std::size_t>(i * n + j)]} == want);
    }
}

TEST_CASE("batches and lists are gemm again and again", "[gemm][batch]") {
  index_t const m = 9, k = 20, n = 21, count = 5;
  auto const lhs = codes<std::uint8_t>(count * m * k, fill::full, 21);
  auto const rhs = codes<std::int8_t>(count * k * n, fill::full, 22);
  thread_pool pool(2);
  auto const shared = pack(row_major(rhs.data(), k, n));
  std::vector<std::int32_t> want(static_cast<std::size_t>(count * m * n)), got(want.size());
  for (index_t b = 0; b < count; ++b) gemm(row_major(lhs.data() + b * m * k, m, k), shared, row_major(want.data() + b * m * n, m, n));
  batch_view<std::uint8_t const> const x{row_major(lhs.data(), m, k), count, m * k};
  gemm_batch(x, shared, batch_view<std::int32_t>{row_major(got.data(), m, n), count, m * n}, {}, {.executor = pool});
  CHECK(got == want);

  for (index_t b = 0; b < count; ++b)
    gemm(row_major(lhs.data() + b * m * k, m, k), row_major(rhs.data() + b * k * n, k, n), row_major(want.data() + b * m * n, m, n));
  gemm_batch(x, batch_view<std::int8_t const>{row_major(rhs.data(), k, n), count, k * n},
             batch_view<std::int32_t>{row_major(got.data(), m, n), count, m * n}, {}, {.executor = pool});
  CHECK(got == want);

  std::vector<packed_matrix<std::int8_t>> weights;
  std::vector<gemm_problem_of<std::uint8_t, std::int8_t, std::int32_t>> problems;
  for (index_t b = 0; b < count; ++b) weights.push_back(pack(row_major(rhs.data() + b * k * n, k, n)));
  std::fill(got.begin(), got.end(), 0);
  for (index_t b = 0; b < count; ++b)
    problems.push_back({row_major(lhs.data() + b * m * k, m, k), weights[static_cast<std::size_t>(b)], row_major(got.data() + b * m * n, m, n), {}});
  gemm_list(problems.data(), count, {.executor = pool});
  CHECK(got == want);
}
