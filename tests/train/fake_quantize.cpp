// fake_quantize is dequantize(quantize(x)), bit for bit, for every scheme, granularity, rounding mode, form and stride.
#include "support/catch.hpp"

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
  CHECK(y == std::vector<float>(10, 7.0f));
  CHECK(fake_quantize(vector_view<float const>{}, params<symmetric<>>{}, vector_view<float>{}) == conversion_counts{});
}
