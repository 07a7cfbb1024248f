// fake_quantize is dequantize(quantize(x)), bit for bit, for every scheme, granularity, rounding mode, form and stride.
#include "errors/refusal.hpp"
#include "support/catch.hpp"
#include "support/isas.hpp"

#include <quern/train/fake_quantize.hpp>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

using namespace quern;
using namespace quern::train;

namespace {

std::vector<float> values(index_t n) {
  std::vector<float> x(static_cast<std::size_t>(n));
  std::mt19937 g(static_cast<unsigned>(n));
  std::normal_distribution<float> d(0, 3);
  for (float& v : x) v = d(g);
  float const odd[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-40f, 3e38f, 0.25f, -0.75f};
  for (std::size_t i = 0; i < sizeof odd / sizeof *odd && i < x.size(); ++i) x[(i * 7919) % x.size()] = odd[i];
  return x;
}
template <class Scheme>
params<Scheme> some_params(index_t count) {
  auto p = params<Scheme>::with_size(count);
  for (index_t i = 0; i < count; ++i)
    p.set(i, {Scheme::name == power_of_two<>::name ? std::ldexp(1.0f, static_cast<int>(i % 5) - 6) : 0.01f * static_cast<float>(1 + i % 13),
              Scheme::fixed_zero_point ? Scheme::q_middle : Scheme::q_min + static_cast<std::int32_t>(i * 5 % 11)});
  return p;
}
template <class Scheme, class Rounding = round_to::half_even, class Form = divide>
void check_matrix(index_t rows, index_t cols) {
  auto const x = values(rows * cols);
  auto const grid = grid_of<typename Scheme::granularity>(rows, cols);
  auto const p = some_params<Scheme>(grid.count());
  std::vector<typename Scheme::storage> codes(x.size());
  std::vector<float> want(x.size()), got(x.size());
  quantize_options<Rounding> const options{};
  auto const counts = quantize<Rounding, Form>(row_major(x.data(), rows, cols), p, row_major(codes.data(), rows, cols), options);
  dequantize(row_major<typename Scheme::storage const>(codes.data(), rows, cols), p, row_major(want.data(), rows, cols));
  auto const seen = fake_quantize<Rounding, Form>(row_major(x.data(), rows, cols), p, row_major(got.data(), rows, cols), options);
  INFO(scheme_name<Scheme> << " " << rows << " x " << cols << ", " << Rounding::name);
  REQUIRE(seen == counts);
  REQUIRE(std::memcmp(want.data(), got.data(), want.size() * sizeof(float)) == 0);
  // strided, and in place
  std::vector<float> spread(2 * x.size() + 1), own = x;
  fake_quantize<Rounding, Form>(row_major(own.data(), rows, cols), p, row_major(own.data(), rows, cols), options);
  REQUIRE(std::memcmp(want.data(), own.data(), want.size() * sizeof(float)) == 0);
  fake_quantize<Rounding, Form>(row_major(x.data(), rows, cols), p, matrix_view<float>{spread.data(), rows, cols, 2 * cols, 2}, options);
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < cols; ++j) REQUIRE(std::memcmp(&spread[static_cast<std::size_t>(2 * (i * cols + j))], &want[static_cast<std::size_t>(i * cols + j)], 4) == 0);
}
template <class Scheme, class... More>
void check_shapes() {
  for (auto [rows, cols] : {std::pair<index_t, index_t>{1, 1}, {3, 5}, {70, 33}, {1, 5000}, {5, 2049}, {300, 64}, {3, 4096}})
    check_matrix<Scheme, More...>(rows, cols);
}
}  // namespace

TEST_CASE("fake quantization of matrices is there and back, block by block", "[train][fake_quantize]") {
  check_shapes<with_granularity<symmetric<>, per_channel<0>>>();
  check_shapes<with_granularity<asymmetric<u8>, per_channel<1>>>();
  check_shapes<with_granularity<asymmetric<u4>, per_row>, round_to::half_away>();
  check_shapes<with_granularity<symmetric<s4>, per_group<32>>, round_to::floor, reciprocal>();
  check_shapes<with_granularity<power_of_two<>, per_group<3, 0>>>();
  check_shapes<with_granularity<asymmetric<s8>, per_group<3000>>>();
}

namespace {
// Values around every threshold between two codes, their neighbours, and what lies beyond the codes.
std::vector<float> thresholds(float scale, std::int32_t first, std::int32_t last) {
  std::vector<float> x = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, -NAN, 1e-40f, -1e-40f, 3.4e38f, -3.4e38f, 1e30f, -1e-30f};
  for (std::int32_t k = first - 3; k <= last + 3; k += last - first > 300 ? 97 : 1)
    for (double at : {k + 0.0, k + 0.5}) {
      auto const v = static_cast<float>(at * scale);
      for (float n : {v, std::nextafter(v, INFINITY), std::nextafter(v, -INFINITY)}) x.push_back(n);
    }
  return x;
}
template <class Scheme, class Rounding, class Form>
void check_line(float scale, std::int32_t zero_point) {
  params<Scheme> const p{.scale = scale, .zero_point = zero_point};
  auto const x = thresholds(scale, Scheme::q_min - zero_point, Scheme::q_max - zero_point);
  auto const n = static_cast<index_t>(x.size());
  std::vector<typename Scheme::storage> codes(x.size());
  std::vector<float> want(x.size());
  auto const counts = quantize<Rounding, Form>(view(x), p, view(codes), {.max_isa = isa::baseline});
  dequantize(vector_view<typename Scheme::storage const>(view(codes)), p, view(want), {.max_isa = isa::baseline});
  INFO(scheme_name<Scheme> << " " << Rounding::name << " scale " << scale << " zero point " << zero_point);
  support::for_each_native_isa([&](isa i) {
    INFO(name(i));
    for (index_t size : {n, n - 1, index_t{5}, index_t{64}}) {
      std::vector<float> y(x.size(), 7.0f), own = x;
      auto const seen = fake_quantize<Rounding, Form>(view(x).sub(0, size), p, view(y).sub(0, size), {.max_isa = i});
      if (size == n) REQUIRE(seen == counts);
      REQUIRE(std::memcmp(y.data(), want.data(), static_cast<std::size_t>(size) * 4) == 0);
      for (index_t k = size; k < n; ++k) REQUIRE(y[static_cast<std::size_t>(k)] == 7.0f);
      REQUIRE(fake_quantize<Rounding, Form>(view(own).sub(0, size), p, view(own).sub(0, size), {.max_isa = i}) == seen);
      REQUIRE(std::memcmp(own.data(), want.data(), static_cast<std::size_t>(size) * 4) == 0);
    }
  });
}
template <class Rounding, class Form>
void check_lines() {
  // the third and fourth scale cannot be divided by in two operations; the last two are beyond what a line takes
  for (float scale : {0.037f, 1.0f, 1.00000024f, 0.50000006f, 3.0e17f, 1e-17f, 1e-30f, 1e30f}) {
    check_line<symmetric<s8>, Rounding, Form>(scale, 0);
    check_line<asymmetric<u8>, Rounding, Form>(scale, 0);
    check_line<asymmetric<u8>, Rounding, Form>(scale, 255);
    check_line<asymmetric<s8>, Rounding, Form>(scale, -37);
    check_line<symmetric<s4, per_tensor, narrow_range>, Rounding, Form>(scale, 0);
    check_line<symmetric<s16>, Rounding, Form>(scale, 0);
  }
}
}  // namespace

TEST_CASE("fake quantization in registers: every instruction set, around every threshold, with scales of every kind", "[train][fake_quantize][every]") {
  check_lines<round_to::half_even, divide>();
  check_lines<round_to::half_even, reciprocal>();
#if !QUERN_QUICK_TESTS  // 3 s to compile
  check_lines<round_to::half_away, divide>();
#endif
}

TEST_CASE("fake quantization of vectors and tensors is there and back", "[train][fake_quantize]") {
  auto const x = values(6000);
  std::vector<float> want(x.size()), got(x.size());
  std::vector<std::uint8_t> codes(x.size());
  params<asymmetric<u8>> const p{.scale = 0.05f, .zero_point = 31};
  quantize<round_to::half_even, reciprocal>(view(x), p, view(codes));
  dequantize(vector_view<std::uint8_t const>(view(codes)), p, view(want));
  fake_quantize<round_to::half_even, reciprocal>(view(x), p, view(got));
  CHECK(std::memcmp(want.data(), got.data(), 24000) == 0);
  // stochastic: the counter runs on across the whole vector
  round_to::stochastic const random{.seed = 77};
  quantize(view(x), p, view(codes), quantize_options<round_to::stochastic>{.rounding = random});
  dequantize(vector_view<std::uint8_t const>(view(codes)), p, view(want));
  fake_quantize(view(x), p, view(got), quantize_options<round_to::stochastic>{.rounding = random});
  CHECK(std::memcmp(want.data(), got.data(), 24000) == 0);
  // channels of an image
  auto const q = some_params<symmetric<s8, per_channel<3>>>(6);
  std::vector<std::int8_t> small(x.size());
  quantize(nhwc(x.data(), 2, 20, 25, 6), q, nhwc(small.data(), 2, 20, 25, 6));
  dequantize(nhwc<std::int8_t const>(small.data(), 2, 20, 25, 6), q, nhwc(want.data(), 2, 20, 25, 6));
  fake_quantize(nhwc(x.data(), 2, 20, 25, 6), q, nhwc(got.data(), 2, 20, 25, 6));
  CHECK(std::memcmp(want.data(), got.data(), 24000) == 0);
  // groups of a vector, longer than a block too
  auto const g = some_params<symmetric<s8, per_group<2500>>>(3);
  quantize(view(x), g, view(small));
  dequantize(vector_view<std::int8_t const>(view(small)), g, view(want));
  fake_quantize(view(x), g, view(got));
  CHECK(std::memcmp(want.data(), got.data(), 24000) == 0);
}

TEST_CASE("stochastic fake quantization is unbiased", "[train][fake_quantize]") {
  index_t const n = 200000;
  std::vector<float> const x(static_cast<std::size_t>(n), 0.37f);
  std::vector<float> y(x.size());
  params<symmetric<>> const p{.scale = 0.5f};
  fake_quantize(view(x), p, view(y), quantize_options<round_to::stochastic>{.rounding = {.seed = 5}});
  double sum = 0;
  for (float v : y) sum += static_cast<double>(v) - 0.37f;
  double const sigma = 0.5 * std::sqrt(0.74 * 0.26);
  CHECK(std::fabs(sum / n) < 5 * sigma / std::sqrt(static_cast<double>(n)));
}

TEST_CASE("fake quantization refuses what quantize refuses, before it writes", "[train][fake_quantize]") {
  std::vector<float> const x(10, 1.0f);
  std::vector<float> y(10, 7.0f);
  CHECK_THROWS_AS(fake_quantize(view(x), params<symmetric<>>{.scale = 0}, view(y)), error);
  CHECK_THROWS_AS(fake_quantize(view(x), params<symmetric<>>{.scale = 1}, view(y).sub(0, 9)), error);
  CHECK_THROWS_AS(fake_quantize(view(x), params<asymmetric<u8>>{.scale = 1, .zero_point = 256}, view(y)), error);
  CHECK_THROWS_AS(fake_quantize(view(y).sub(0, 9), params<symmetric<>>{.scale = 1}, view(y).sub(1, 9)), error);
  CHECK_THROWS_AS(fake_quantize(vector_view<float const>{nullptr, 10, 1}, params<symmetric<>>{.scale = 1}, view(y)), error);
  CHECK_THROWS_AS(fake_quantize(matrix_view<float const>{x.data(), -1, -1, -1, 1}, params<symmetric<>>{.scale = 1}, matrix_view<float>{y.data(), -1, -1, -1, 1}), error);
  CHECK(y == std::vector<float>(10, 7.0f));
  CHECK(fake_quantize(vector_view<float const>{}, params<symmetric<>>{}, vector_view<float>{}) == conversion_counts{});
}

TEST_CASE("fake_quantize: shapes", "[errors][train]") {
  using namespace train;
  float x[6] = {}, y[6] = {7.0f, 7.0f, 7.0f, 7.0f, 7.0f, 7.0f};
  params<symmetric<>> const p{.scale = 1.0f};
  vector_view<float> const dst{y, 3, 1};
  refuse_all({
      {errc::shape, "fake_quantize: x is 2 x 3, y 3 x 2; they must be equal.", [&] { fake_quantize(row_major(x, 2, 3), p, row_major(y, 3, 2)); }},
      {errc::shape, "fake_quantize: x has 6 values, y 3; they must be equal.", [&] { fake_quantize(view(x), p, dst); }},
      {errc::shape, "fake_quantize: x is 1 x 1 x 2 x 3, y 1 x 2 x 1 x 3; they must be equal and without gaps.",
       [&] { fake_quantize(nhwc(x, 1, 1, 2, 3), p, nhwc(y, 1, 2, 1, 3)); }},
  });
  for (float v : y) CHECK(v == 7.0f);
}
