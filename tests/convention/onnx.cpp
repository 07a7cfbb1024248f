#include "support/catch.hpp"
#include "support/exact.hpp"

#include <quern/convention/onnx_runtime.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

using namespace quern;
using std::int32_t;
using ort = convention::onnx_runtime;
using std_onnx = convention::onnx;

namespace {
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
}

TEST_CASE("QuantizeLinear: the standard's and ONNX Runtime's vectors", "[convention][onnx]") {
  float const x[] = {0, 2, 3, 1000, -254, -1000};
  int const want[] = {128, 129, 130, 255, 1, 0};
  for (int i = 0; i < 6; ++i) CHECK(std_onnx::quantize<u8>(x[i], {2, 128}) == want[i]);
  float const ties[] = {.5f, 1.5f, 2.5f, -.5f, -1.5f, 127.5f, 126.5f};
  int const s8_want[] = {0, 2, 2, 0, -2, 127, 126}, u8_want[] = {3, 5, 5, 3, 1, 131, 129};
  for (int i = 0; i < 7; ++i) {
    CHECK(std_onnx::quantize<s8>(ties[i], {1, 0}) == s8_want[i]);
    CHECK(std_onnx::quantize<u8>(ties[i], {1, 3}) == u8_want[i]);
  }
  static_assert(std_onnx::quantize<u8>(0.273939937f, {0.00214854861f, 0}) == 127);  // 128 by reciprocal
  CHECK(ort::quantize<s8>(nan_value, {1, 0}) == -128);
  CHECK(ort::quantize<u8>(nan_value, {1, 3}) == 0);
  CHECK(ort::quantize<s16>(nan_value, {1, 0}) == -32768);
  CHECK(ort::quantize<s8>(inf, {1, 0}) == 127);
  CHECK(ort::quantize<s8>(-inf, {1, 5}) == -128);
  CHECK(std_onnx::quantize<s16>(-1000, {2, 256}) == -244);
  CHECK(std_onnx::quantize<u4>(100, {2, 1}) == 15);
  CHECK(std_onnx::quantize<s2>(-100, {2, 0}) == -2);
}

TEST_CASE("DequantizeLinear: one exact difference, one product", "[convention][onnx]") {
  int const q[] = {0, 3, 128, 255};
  float const want[] = {-256, -250, 0, 254};
  for (int i = 0; i < 4; ++i) CHECK(std_onnx::dequantize(q[i], {2, 128}) == want[i]);
  CHECK(std_onnx::dequantize((1 << 24) + 1, {1, 0}) == 16777216.0f);  // rounds in the conversion
}

TEST_CASE("DynamicQuantizeLinear: the published parameters", "[convention][onnx]") {
  auto const p = [](float a, float b) { return ort::choose<u8>(real_range{a, b}); };
  CHECK(p(-1, 1).scale == 0.00784313771873712f);
  CHECK(p(-1, 1).zero_point == 127);
  CHECK(p(-1, 2.5f).zero_point == 73);
  CHECK(p(-1, 2.5f).scale == 0.01372549f);
  float const x[] = {-1, .3f, 2.5f};
  int const want[] = {0, 95, 255};
  for (int i = 0; i < 3; ++i) CHECK(ort::quantize<u8>(x[i], {p(-1, 2.5f).scale, 73}) == want[i]);
  CHECK(p(-1.5f, 3.7f).zero_point == 74);
  CHECK(p(-1.5f, 3.7f).scale == 0.0203921553f);
  CHECK(p(-3, -1).zero_point == 255);
  CHECK(p(-3, -1).scale == 3.0f / 255);
  CHECK(p(0, 0).scale == 1.0f);
  CHECK(p(0, 0).zero_point == 0);
  CHECK(std_onnx::choose<u8>(real_range{0, 0}).scale == 1.0f / 255);
}

TEST_CASE("QLinearMatMul's stage, QLinearAdd and QLinearMul place the zero point differently", "[convention][onnx]") {
  // products 1..8 times 0.5
  int const after7[] = {7, 8, 9, 9, 9, 10, 11, 11}, after6[] = {6, 7, 8, 8, 8, 9, 10, 10};
  int const mul6[] = {6, 7, 8, 8, 8, 9, 10, 10}, mul7[] = {8, 8, 8, 9, 10, 10, 10, 11};
  int const add6[] = {8, 8, 8, 9, 10, 10, 10, 11}, add7[] = {8, 9, 10, 10, 10, 11, 12, 12};
  auto const stage7 = ort::output_stage<u8>(.5f, 1, {1, 7}), stage6 = ort::output_stage<u8>(.5f, 1, {1, 6});
  auto const m6 = ort::mul<u8>({.5f, 0}, {1, 0}, {1, 6}), m7 = ort::mul<u8>({.5f, 0}, {1, 0}, {1, 7});
  auto const a6 = ort::add<u8>({.5f, 0}, {1, 0}, {1, 6}), a7 = ort::add<u8>({.5f, 0}, {1, 0}, {1, 7});
  for (int i = 1; i <= 8; ++i) {
    CHECK(stage7(i) == after7[i - 1]);
    CHECK(stage6(i) == after6[i - 1]);
    CHECK(m6(i, 1) == mul6[i - 1]);
    CHECK(m7(i, 1) == mul7[i - 1]);
    CHECK(a6(i, 1) == add6[i - 1]);
    CHECK(a7(i, 1) == add7[i - 1]);
  }
  // Pooling: {1, 2}, scale 1: 1.5 rounds to 2 before the zero point.
  CHECK(ort::average_pool<u8>({1, 0}, {1, 6})(3, 2) == 8);
  CHECK(ort::average_pool<u8>({1, 0}, {1, 7})(3, 2) == 9);
}

TEST_CASE("the fixed-point kernels for Arm round half away", "[convention][onnx]") {
  using arm = convention::onnx_runtime_arm;
  auto const add = arm::add<u8>({.5f, 0}, {1, 0}, {1, 6});
  int const away[] = {8, 8, 9, 9, 10, 10, 11, 11};  // 0.5 i + 1 + 6, ties up in magnitude
  for (int i = 1; i <= 8; ++i) CHECK(add(i, 1) == away[i - 1]);
  CHECK(arm::average_pool<u8>({1, 0}, {1, 7})(3, 2) == 9);
  CHECK(arm::average_pool<u8>({1, 0}, {1, 7})(5, 2) == 10);  // 2.5 -> 3; x86: 2
  CHECK(ort::average_pool<u8>({1, 0}, {1, 7})(5, 2) == 9);
  REQUIRE_THROWS_AS(arm::add<u8>({300, 0}, {1, 0}, {1, 0}), error);
}

TEST_CASE("compute_scale_zp: the offline tool's parameters", "[convention][onnx]") {
  auto const zero = ort::compute_scale_zp({0, 0}, -128, 127, false);
  CHECK(zero.scale == 1.0f);
  CHECK(zero.zero_point == 0);
  CHECK(ort::compute_scale_zp({-1, 1}, -128, 127, true).zero_point == 0);  // -0.5
  CHECK(ort::compute_scale_zp({-1, 1}, 0, 255, true).zero_point == 128);   // 127.5
  CHECK(ort::compute_scale_zp({-1, 1}, -127, 127, true).scale == static_cast<float>(2.0 / 254));
  CHECK(ort::compute_scale_zp({0.5f, 1}, 0, 255, false).zero_point == 0);
  CHECK(ort::compute_scale_zp({0, 1e-6f}, 0, 255, false, 1.0f).scale == static_cast<float>(1.0 / 255));
}

TEST_CASE("4-bit weight blocks: sign of the scale, ties, empty blocks", "[convention][onnx]") {
  using block = convention::weight_block<4>;
  auto const s = block::symmetric(-1.0f, 3.5f);
  CHECK(s.scale == -0.4375f);
  CHECK(s.quantize(3.5f) == 0);
  CHECK(s.quantize(0) == 8);
  CHECK(s.quantize(-1.0f) == 10);  // -1 / -0.4375 = 2.2857
  CHECK(block::symmetric(-2.0f, 2.0f).scale == 0.25f);  // a tie takes the minimum
  auto const a = block::asymmetric(-1.0f, 2.0f);
  CHECK(a.scale == 0.2f);
  CHECK(a.zero_point == 5);
  CHECK(a.quantize(2.0f) == 15);
  CHECK(a.dequantize(15) == 2.0f);
  CHECK(block::symmetric(0, 0).quantize(0) == 8);
  CHECK(block::asymmetric(0, 0).zero_point == 0);
  CHECK(convention::weight_block<2>::symmetric(-1, 0).zero_point == 2);
  CHECK(convention::weight_block<8>::symmetric(-1, 0).zero_point == 128);
}

TEST_CASE("the emulated fused multiply-add is one rounding, as the hardware's", "[convention][onnx]") {
  std::mt19937 random(5);
  auto const real = [&](std::uint32_t mask, std::uint32_t base) { return bits_of<float>((static_cast<std::uint32_t>(random()) & mask) | base); };
  for (int i = 0; i < 200000; ++i) {
    float const a = real(0x80ffffffu, 0x3e000000u), b = real(0x80ffffffu, 0x3e000000u);
    float c = real(0x83ffffffu, 0x3c000000u);
    if (i % 3 == 0) c = -a * b;  // cancellation
    if (i % 7 == 0) c = bits_of<float>(bits_of<std::uint32_t>(a * b) ^ 0x04000001u);
    float const want = std::fma(a, b, c), got = convention::detail::fused(a, b, c);
    if (!(got == want)) FAIL(a << " * " << b << " + " << c << ": " << got << ", fma " << want);
  }
}

TEST_CASE("QLinearSoftmax and sigmoid: rows sum to one, tables are monotonic", "[convention][onnx]") {
  std::vector<std::uint8_t> x = {255, 250, 245, 0, 255}, y(5);
  ort::softmax<u8>(0.05f, {1.0f / 256, 0}, 5)(x.data(), y.data(), 5);
  int sum = 0;
  for (int v : y) sum += v;
  CHECK(std::abs(sum - 256) <= 3);
  CHECK(y[0] == y[4]);
  CHECK(y[0] > y[1]);
  // A row of one: its exponential times 256 overflows to infinity, which x86 converts to the lowest int32; with the usual
  // zero point -128 that wraps to a large number and saturates.
  std::vector<std::int8_t> one = {127}, wrapped(1);
  ort::softmax<s8>(0.05f, {1.0f / 256, -128}, 1)(one.data(), wrapped.data(), 1);
  CHECK(wrapped[0] == 127);
  std::vector<std::uint8_t> alone = {200}, zero(1);
  ort::softmax<u8>(0.05f, {1.0f / 256, 0}, 1)(alone.data(), zero.data(), 1);
  CHECK(zero[0] == 0);
  auto const t = ort::sigmoid<u8>({0.05f, 128}, {1.0f / 256, 0});
  CHECK(t(128) == 128);
  for (int q = 0; q < 255; ++q) CHECK(t(static_cast<std::uint8_t>(q)) <= t(static_cast<std::uint8_t>(q + 1)));
  for (int q = 0; q < 256; ++q) {
    double const exact = 256 / (1 + std::exp(-0.05 * (q - 128)));
    CHECK(std::abs(t(static_cast<std::uint8_t>(q)) - exact) < 1.001);
  }
  auto const l = ort::leaky_relu<s8>({0.1f, 0}, {0.1f, 0}, 0.25f);
  CHECK(l(-4) == -1);
  CHECK(l(-6) == -2);  // -1.5, half to even
  CHECK(l(5) == 5);
}
