#include <quern/reference/quantize.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace quern;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

template <class Scheme, class Rounding = round_to::half_even, class T = float>
std::vector<int> quantized(std::vector<T> x, float scale, std::int32_t zero_point, reference::form f = reference::form::divide,
                           reference::counts* seen = nullptr) {
  std::vector<typename Scheme::storage> q(x.size());
  params<Scheme> const p{scale, zero_point};
  auto const n = static_cast<index_t>(x.size());
  auto const counts = reference::quantize<Scheme, Rounding>(matrix_view<T const>{x.data(), 1, n, n, 1}, p.view(),
                                                            row_major(q.data(), 1, n), f);
  if (seen != nullptr) *seen = counts;
  return {q.begin(), q.end()};
}

}  // namespace

TEST_CASE("reference quantize: the vectors of ONNX, TFLite and FBGEMM", "[reference][quantize]") {
  using v = std::vector<int>;
  CHECK(quantized<asymmetric<u8>>({0, 2, 3, 1000, -254, -1000}, 2, 128) == v{128, 129, 130, 255, 1, 0});  // ONNX, numerics.md 4.1
  CHECK(quantized<symmetric<s8>>({.5f, 1.5f, 2.5f, -.5f, -1.5f, 127.5f, 126.5f}, 1, 0) == v{0, 2, 2, 0, -2, 127, 126});
  CHECK(quantized<asymmetric<u8>>({.5f, 1.5f, 2.5f, -.5f, -1.5f, 127.5f, 126.5f}, 1, 3) == v{3, 5, 5, 3, 1, 131, 129});
  CHECK(quantized<symmetric<s8>, round_to::half_away>({-1.25f, 1.25f, 0.75f, -0.25f}, 0.5f, 0) == v{-3, 3, 2, -1});  // TFLite 2.4
  // the case where x / scale and x * (1 / scale) differ (FBGEMM's comment; numerics.md 6.1)
  CHECK(quantized<asymmetric<u8>>({0.273939937f}, 0.00214854861f, 0) == v{127});
  CHECK(quantized<asymmetric<u8>>({0.273939937f}, 0.00214854861f, 0, reference::form::reciprocal) == v{128});
}

TEST_CASE("reference quantize: NaN, infinities and huge values are counted and land on an end", "[reference][quantize]") {
  reference::counts seen;
  using v = std::vector<int>;
  CHECK(quantized<asymmetric<u8>>({not_a_number, inf, -inf, 3e38f, -3e38f, 1.0f}, 1e-30f, 7, reference::form::divide, &seen) ==
        v{0, 255, 0, 255, 0, 255});
  CHECK(seen == reference::counts{3, 3});
  CHECK(quantized<symmetric<s8, per_tensor, narrow_range>>({not_a_number, -inf, -500.0f}, 1, 0, reference::form::divide, &seen) ==
        v{-127, -127, -127});
  CHECK(seen == reference::counts{1, 2});
}

TEST_CASE("reference quantize: half a step at most, zero exactly, monotone, for every rounding to nearest", "[reference][quantize]") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 30);
  std::vector<float> x(2000);
  for (auto& e : x) e = normal(random);
  x.push_back(0.0f);
  x.push_back(-0.0f);
  std::sort(x.begin(), x.end());
  for (float scale : {1.0f, 0.37f, 1.5f}) {
    auto const q = quantized<asymmetric<u8>>(x, scale, 100);
    CHECK(std::is_sorted(q.begin(), q.end()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      float const back = reference::dequantize_one<float>(q[i], scale, 100);
      if (x[i] == 0) CHECK(back == 0);
      if (q[i] > 0 && q[i] < 255) REQUIRE(std::fabs(back - x[i]) <= scale * 0.500001f);
    }
  }
}

TEST_CASE("reference quantize: each element uses the scale of its group", "[reference][quantize]") {
  float const x[] = {1, 2, 3, 4, 5, 6};
  std::int8_t q[6];
  static_params<symmetric<s8, per_group<2>>, 4> const groups{{1, 0.5f, 0.25f, 2}, {}};
  reference::quantize<symmetric<s8, per_group<2>>>(row_major(x, 2, 3), groups.view(), row_major(q, 2, 3));
  CHECK(std::vector<int>(q, q + 6) == std::vector<int>{1, 2, 6, 16, 20, 3});
  float back[6];
  reference::dequantize<symmetric<s8, per_group<2>>>(matrix_view<std::int8_t const>(row_major(q, 2, 3)), groups.view(), row_major(back, 2, 3));
  CHECK(std::vector<float>(back, back + 6) == std::vector<float>(x, x + 6));
}

TEST_CASE("reference dequantize: one rounding, to the type of the result", "[reference][quantize]") {
  CHECK(reference::dequantize_one<float>(255, 0.1f, 0) == 25.5f);
  CHECK(reference::dequantize_one<double>(3, 0.1f, 0) == 3 * static_cast<double>(0.1f));
  CHECK(static_cast<float>(reference::dequantize_one<half>(127, 1000.0f, -128)) == inf);
  CHECK(static_cast<float>(reference::dequantize_one<bfloat16>(3, 0.1f, 0)) == static_cast<float>(bfloat16(0.3f)));
  static_assert(reference::dequantize_one<float>(0, 2.0f, 128) == -256.0f);
}

TEST_CASE("reference requantize: from one grid to another", "[reference][requantize]") {
  std::uint8_t const x[] = {0, 100, 128, 200, 255};
  std::int8_t y[5];
  using P = rescale::float_multiply<>;
  auto const saturated = reference::requantize<asymmetric<s8>, P>(row_major(x, 1, 5), 128, P::from_real(2.0), -1, row_major(y, 1, 5));
  CHECK(std::vector<int>(y, y + 5) == std::vector<int>{-128, -57, -1, 127, 127});
  CHECK(saturated == 3);
  std::int32_t const acc[] = {-2147483647 - 1, 2147483647, 0};
  CHECK(reference::requantize<symmetric<s8>, P>(row_major(acc, 1, 3), 0, P::from_real(1e-9), 0, row_major(y, 1, 3)) == 0);
  CHECK(std::vector<int>(y, y + 3) == std::vector<int>{-2, 2, 0});
}
