#include <quern/calibrate/min_max.hpp>
#include <quern/metric/report.hpp>
#include <quern/reference/quantize.hpp>

#include "support/catch.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace quern;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

std::vector<float> gaussian(std::size_t n, unsigned seed, float sigma = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<float> v(n);
  for (auto& x : v) x = normal(random);
  return v;
}

template <class Scheme>
struct quantized {
  params<Scheme> p;
  std::vector<typename Scheme::storage> codes;

  quantized(std::vector<float> const& x, index_t rows, index_t cols) : codes(x.size()) {
    calibrate::min_max<typename Scheme::granularity> seen;
    seen.observe(row_major(x.data(), rows, cols));
    if constexpr (Scheme::granularity::single)
      p = choose_params<Scheme>(seen.range());
    else
      p = choose_params<Scheme>(seen.ranges());
    reference::quantize<Scheme>(row_major(x.data(), rows, cols), p.view(), row_major(codes.data(), rows, cols));
  }
};

}  // namespace

TEST_CASE("metric: values computed by hand", "[metric]") {
  float const x[] = {1, -2, 3, 4}, y[] = {1, -1, 3, 2};
  auto const c = metric::compare(view(x), view(y));
  CHECK(c.values == 4);
  CHECK(c.noise == 5);
  CHECK(c.signal == 30);
  CHECK(c.mse() == 1.25);
  CHECK(c.max_error == 2);
  CHECK(c.sqnr_db() == Approx(10 * std::log10(6.0)).epsilon(1e-14));
  CHECK(c.cosine() == Approx(20 / std::sqrt(30.0 * 15.0)).epsilon(1e-14));
  CHECK(metric::mse(view(x), view(y)) == 1.25);
  CHECK(metric::max_error(view(x), view(y)) == 2);
}

TEST_CASE("metric: no values, no noise, no signal", "[metric]") {
  float const zeros[3] = {}, ones[] = {1, 1, 1};
  CHECK(metric::mse(vector_view<float const>{}, vector_view<float const>{}) == 0);
  CHECK(metric::sqnr_db(view(ones), view(ones)) == inf);
  CHECK(metric::sqnr_db(view(zeros), view(zeros)) == inf);
  CHECK(metric::sqnr_db(view(zeros), view(ones)) == -inf);
  CHECK(metric::cosine(view(zeros), view(zeros)) == 1);
  CHECK(metric::cosine(view(zeros), view(ones)) == 0);
  CHECK(metric::cosine(view(ones), view(ones)) == 1);
}

TEST_CASE("metric: pairs that are not finite are left out and counted", "[metric]") {
  float const bad = std::numeric_limits<float>::quiet_NaN(), big = std::numeric_limits<float>::infinity();
  float const x[] = {1, bad, 3, big, 5}, y[] = {1, 2, big, 4, 4};
  auto const c = metric::compare(view(x), view(y));
  CHECK(c.values == 5);
  CHECK(c.non_finite == 3);
  CHECK(c.noise == 1);
  CHECK(c.mse() == 0.5);
}

TEST_CASE("metric: sums are right to 1e-14 and do not depend on strides or types", "[metric]") {
  for (std::size_t n : {1u, 7u, 8u, 1023u, 1024u, 1025u, 5000u, 100001u}) {
    auto const x = gaussian(n, 1), noise = gaussian(n, 2, 0.01f);
    std::vector<float> y(n);
    long double signal = 0, error = 0, dot = 0;
    for (std::size_t i = 0; i < n; ++i) {
      y[i] = x[i] + noise[i];
      long double const a = x[i], b = y[i];
      signal += a * a, error += (a - b) * (a - b), dot += a * b;
    }
    auto const c = metric::compare(view(x), view(y));
    CHECK(c.signal == Approx(static_cast<double>(signal)).epsilon(1e-14));
    CHECK(c.noise == Approx(static_cast<double>(error)).epsilon(1e-14));
    CHECK(c.product == Approx(static_cast<double>(dot)).epsilon(1e-14));
    // spread out and as doubles: the same bits
    std::vector<double> wide(3 * n);
    for (std::size_t i = 0; i < n; ++i) wide[3 * i] = x[i];
    CHECK(metric::compare(vector_view<double const>{wide.data(), static_cast<index_t>(n), 3}, view(y)) == c);
  }
  auto const x = gaussian(12 * 50, 1), y = gaussian(12 * 50, 2);
  auto const rows = metric::compare(row_major(x.data(), 12, 50), row_major(y.data(), 12, 50));
  std::vector<float> turned(x.size());
  for (int i = 0; i < 12; ++i)
    for (int j = 0; j < 50; ++j) turned[static_cast<std::size_t>(j * 12 + i)] = x[static_cast<std::size_t>(i * 50 + j)];
  CHECK(metric::compare(col_major<float const>(turned.data(), 12, 50), row_major(y.data(), 12, 50)) == rows);
}

TEST_CASE("metric: known bits, the same from every compiler and with every flag", "[metric]") {
  std::vector<float> x(3000), y(3000);
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < x.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    x[i] = static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
    state = state * 1664525u + 1013904223u;
    y[i] = x[i] + static_cast<float>(state >> 8) / 16777216.0f / 100.0f;
  }
  auto const c = metric::compare(view(x), view(y));
  INFO(std::hexfloat << c.signal << ' ' << c.noise << ' ' << c.product << ' ' << c.sqnr_db() << ' ' << c.cosine());
  CHECK(c.signal == 0x1.f74b63331ee1bp+7);
  CHECK(c.noise == 0x1.99cb2fc6be30bp-4);
  CHECK(c.sqnr_db() == 0x1.100c04c40d63p+5);
  CHECK(c.cosine() == 0x1.ffe5f139ec42p-1);
}

TEST_CASE("metric: different shapes and null are refused", "[metric][errors]") {
  float const x[6] = {};
  auto const refused = [](auto call) {
    try {
      call();
    } catch (error const& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(refused([&] { (void)metric::mse(view(x), view(x, 5)); }) == "compare: x has 6 values, y has 5; they must agree.");
  CHECK(refused([&] { (void)metric::mse(row_major(x, 2, 3), row_major(x, 3, 2)); }) == "compare: x is 2 x 3, y is 3 x 2; they must agree.");
  CHECK(refused([&] { (void)metric::mse(view(x), vector_view<float const>{nullptr, 6}); }) ==
        "compare: y is null, but 6 values are to be compared.");
  std::int8_t const q[6] = {};
  CHECK(refused([&] { (void)metric::report(row_major(x, 2, 3), params<symmetric<>>{0.0f, 0}, row_major(q, 2, 3)); }) ==
        "report: scale 0 is 0; a scale must be finite and greater than zero.");
  CHECK(refused([&] { (void)metric::report(row_major(x, 2, 3), params<symmetric<>>{1.0f, 0}, row_major(q, 3, 2)); }) ==
        "report: original is 2 x 3, codes are 3 x 2; they must agree.");
}

TEST_CASE("metric: no quantizer beats 6.0206 dB a stored bit on Gaussian data, and int8 comes as near as theory says", "[metric][report]") {
  auto const x = gaussian(256 * 1024, 11);
  auto const check = [&](auto tag, double at_least) {
    using S = typename decltype(tag)::type;
    quantized<S> const q(x, 256, 1024);
    auto const r = metric::report(row_major(x.data(), 256, 1024), q.p, row_major(q.codes.data(), 256, 1024));
    INFO(metric::text(r).c_str());
    CHECK(r.error.sqnr_db() < r.limit_db);
    CHECK(r.error.sqnr_db() > at_least);
    CHECK(r.clipped == 0);
  };
  check(detail::type_tag<symmetric<s8>>{}, 38);
  check(detail::type_tag<asymmetric<u8>>{}, 38);
  check(detail::type_tag<symmetric<s8, per_row>>{}, 41);
  check(detail::type_tag<symmetric<s8, per_group<32>>>{}, 45);
  check(detail::type_tag<symmetric<s4, per_group<32>>>{}, 20);
  check(detail::type_tag<power_of_two<s8>>{}, 34);
  CHECK(metric::limit_db(256) == Approx(48.1648).epsilon(1e-5));
  CHECK(metric::limit_db(256, 1) == Approx(9 * 6.0206).epsilon(1e-5));
}

TEST_CASE("metric: uniform data reaches 6.02 dB a bit", "[metric][report]") {
  std::vector<float> x(65536);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = (static_cast<float>(i) + 0.5f) / 65536.0f * 255.0f;
  params<asymmetric<u8>> const p{1.0f, 0};
  std::vector<std::uint8_t> q(x.size());
  reference::quantize<asymmetric<u8>>(row_major<float const>(x.data(), 1, 65536), p.view(), row_major(q.data(), 1, 65536));
  // signal 255^2 / 3, noise 1 / 12
  CHECK(metric::report(view(x), p, view(q)).error.sqnr_db() == Approx(10 * std::log10(255.0 * 255 / 3 * 12)).margin(0.03));
}

TEST_CASE("metric: the line of a report", "[metric][report]") {
  float const x[] = {-0.5f, 0.25f, 0.75f, 4.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()};
  std::int8_t q[6];
  params<symmetric<s8>> const p{1.0f / 64, 0};
  reference::quantize<symmetric<s8>>(row_major(x, 1, 6), p.view(), row_major(q, 1, 6));
  auto const r = metric::report(view(x), p, view(q));
  CHECK(r.clipped == 2);
  CHECK(std::string(metric::text(r).c_str()) ==
        "1 x 6 symmetric<s8, per_tensor, full_range>: range -0.5 to 4, scale 0.0156, clipped 33.333 %, SQNR 6.2 dB (limit 80.3 dB), 2 NaN or infinite");
  std::int8_t const exact[] = {1, 2};
  float const on_grid[] = {1, 2};
  CHECK(std::string(metric::text(metric::report(view(on_grid), params<symmetric<s8>>{1, 0}, view(exact))).c_str()) ==
        "1 x 2 symmetric<s8, per_tensor, full_range>: range 1 to 2, scale 1, clipped 0.000 %, no error (limit 144.5 dB)");
}
