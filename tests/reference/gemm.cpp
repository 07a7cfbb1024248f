#include <quern/reference/linear.hpp>

#include "support/catch.hpp"

#include <random>
#include <vector>

using namespace quern;

namespace {

template <class T>
vector_view<T const> all(T const& value, index_t n) {
  return {&value, n, 0};
}
std::int32_t const zero = 0;
vector_view<std::int32_t const> const no_bias{};

}  // namespace

TEST_CASE("reference gemm: ONNX's MatMulInteger example", "[reference][gemm]") {
  std::uint8_t const a[] = {11, 7, 3, 10, 6, 2, 9, 5, 1, 8, 4, 0};
  std::uint8_t const b[] = {1, 4, 2, 5, 3, 6};
  std::int32_t const za = 12;
  std::int32_t y[8];
  reference::gemm<std::uint8_t, std::uint8_t>(row_major(a, 4, 3), all(za, 4), row_major(b, 3, 2), all(zero, 2), no_bias, row_major(y, 4, 2));
  CHECK(std::vector<int>(y, y + 8) == std::vector<int>{-38, -83, -44, -98, -50, -113, -56, -128});
}

TEST_CASE("reference gemm: zero points by row and column distribute over the product", "[reference][gemm]") {
  std::mt19937 random(3);
  index_t const m = 5, k = 7, n = 4;
  std::vector<std::uint8_t> a(35);
  std::vector<std::int8_t> b(28);
  for (auto& x : a) x = static_cast<std::uint8_t>(random());
  for (auto& x : b) x = static_cast<std::int8_t>(random());
  std::int32_t const za[] = {0, 255, 128, 3, 77}, zb[] = {0, -128, 127, 5}, bias[] = {1, -2, 1 << 30, -(1 << 30)};
  std::vector<std::int32_t> y(20), plain(20);
  auto const lhs = row_major<std::uint8_t const>(a.data(), m, k);
  auto const rhs = row_major<std::int8_t const>(b.data(), k, n);
  reference::gemm(lhs, view(za), rhs, view(zb), view(bias), row_major(y.data(), m, n));
  reference::gemm(lhs, all(zero, m), rhs, all(zero, n), no_bias, row_major(plain.data(), m, n));
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j) {
      std::int64_t rows = 0, cols = 0;
      for (index_t p = 0; p < k; ++p) rows += lhs(i, p), cols += rhs(p, j);
      CHECK(y[static_cast<std::size_t>(i * n + j)] ==
            wrap32(plain[static_cast<std::size_t>(i * n + j)] - rows * zb[j] - cols * za[i] + k * za[i] * std::int64_t{zb[j]} + bias[j]));
    }
}

TEST_CASE("reference gemm: accumulators wrap, as int32 hardware does", "[reference][gemm]") {
  index_t const k = 131073;  // 16,384 * 131,073 is 2^31 + 16,384
  std::vector<std::int8_t> low(static_cast<std::size_t>(k), -128);
  std::int32_t y = 0;
  reference::gemm<std::int8_t, std::int8_t>(row_major(low.data(), 1, k), all(zero, 1), row_major(low.data(), k, 1), all(zero, 1), no_bias, row_major(&y, 1, 1));
  CHECK(y == -2147483647 - 1 + 16384);
  reference::gemm<std::int8_t, std::int8_t>(row_major(low.data(), 1, 131071), all(zero, 1), row_major(low.data(), 131071, 1), all(zero, 1), no_bias, row_major(&y, 1, 1));
  CHECK(y == 2147467264);
}

TEST_CASE("reference gemm: rescale, zero point and clamp follow in this order", "[reference][gemm]") {
  std::int8_t const a[] = {1, 2, 3, 4}, b[] = {10, -10, 20, -20};
  using P = rescale::float_multiply<>;
  P::parameters const by_column[] = {P::from_real(0.5), P::from_real(0.25)};
  std::int32_t const bias[] = {1, 0};
  std::int8_t y[4];
  reference::gemm_rescaled<P>(row_major(a, 2, 2), all(zero, 2), row_major(b, 2, 2), all(zero, 2), view(bias), view(by_column), 3, 0, 50, row_major(y, 2, 2));
  // accumulators 51, -50 / 111, -110; half to even: 25.5 -> 26, -12.5 -> -12
  CHECK(std::vector<int>(y, y + 4) == std::vector<int>{29, 0, 50, 0});
  reference::linear<P>(row_major(a, 2, 2), 0, row_major(b, 2, 2).transposed(), all(zero, 2), view(bias), view(by_column), 3, -128, 127, row_major(y, 2, 2));
  CHECK(std::vector<int>(y, y + 4) == std::vector<int>{29, -9, 59, -25});
}

TEST_CASE("reference gemm: to real numbers, and to codes through them", "[reference][gemm]") {
  std::int8_t const a[] = {1, 2, 3, 4}, b[] = {10, -10, 20, -20};
  float const rows[] = {0.5f, 2.0f}, cols[] = {1.0f, 0.1f}, bias[] = {0.25f, 0.0f};
  float y[4];
  reference::gemm_to_real(row_major(a, 2, 2), all(zero, 2), row_major(b, 2, 2), all(zero, 2), view(rows), view(cols), view(bias), row_major(y, 2, 2));
  CHECK(std::vector<float>(y, y + 4) == std::vector<float>{25.25f, -50.0f * 0.05f, 220.25f, -110.0f * 0.2f});
  std::uint8_t q[4];
  reference::gemm_to_codes(row_major(a, 2, 2), all(zero, 2), row_major(b, 2, 2), all(zero, 2), no_bias, view(rows), view(cols), 100, 0, 255, row_major(q, 2, 2));
  CHECK(std::vector<int>(q, q + 4) == std::vector<int>{125, 98, 255, 78});
}

TEST_CASE("reference gemm is a constant expression", "[reference][constexpr]") {
  static_assert([] {
    std::int8_t const a[] = {1, 2}, b[] = {3, 4};
    std::int32_t const z = 0;
    std::int32_t y = 0;
    reference::gemm<std::int8_t, std::int8_t>(row_major(a, 1, 2), vector_view<std::int32_t const>{&z, 1, 0}, row_major(b, 2, 1),
                                              vector_view<std::int32_t const>{&z, 1, 0}, {}, row_major(&y, 1, 1));
    return y;
  }() == 11);
  SUCCEED();
}
