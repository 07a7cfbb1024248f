// TFLite, gemmlowp: the vectors of their specification. The functions of one element are checked against exact arithmetic in
// tests/rescale and against the real gemmlowp in tests/oracles.
#include "support/catch.hpp"

#include <quern/convention/tflite.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

using namespace quern;
using convention::affine;
using tfl = convention::tflite;

namespace {

std::vector<int> softmax(double scale, std::vector<std::int8_t> const& x) {
  std::vector<std::int8_t> y(x.size());
  tfl::softmax(static_cast<float>(scale))(x.data(), y.data(), static_cast<index_t>(x.size()));
  return {y.begin(), y.end()};
}

}  // namespace

TEST_CASE("gemmlowp's exp, logistic and tanh give the published bits", "[convention][fixed_point]") {
  using namespace fixed_point;
  constexpr int q5 = 1 << 26;
  static_assert(exp_on_negative(-q5, 5) == 790015308 && exp_on_negative(-q5 / 2, 5) == 1302515042 && exp_on_negative(-q5 / 4, 5) == 1672462419);
  static_assert(exp_on_negative(-2 * q5, 5) == 290630390 && exp_on_negative(-8 * q5, 5) == 720401 && exp_on_negative(-67109, 5) == 2145336761);
  static_assert(exp_on_negative(0, 5) == 2147483647);
  constexpr int q4 = 1 << 27;
  static_assert(logistic(q4 / 2, 4) == 1336721090 && logistic(-q4 / 2, 4) == 810762557 && logistic(q4, 4) == 1569936226);
  static_assert(logistic(-q4, 4) == 577547421 && logistic(4 * q4, 4) == 2108858542 && logistic(-1060320051, 4) == 795873);
  static_assert(fixed_point::tanh(q4 / 2, 4) == 992388804 && fixed_point::tanh(q4, 4) == 1635510876);
  static_assert(fixed_point::tanh(4 * q4, 4) == 2146043336 && fixed_point::tanh(-1060320051, 4) == -2147483052);
}

TEST_CASE("the int16 sigmoid table has its checksum", "[convention][tflite]") {
  long sum = 0;
  for (auto v : fixed_point::sigmoid_table.value) sum += v;
  CHECK(sum == 15670629);
  CHECK(fixed_point::sigmoid_table.value[0] == 32768);
  CHECK(fixed_point::sigmoid_table.value[1] == 33451);
  CHECK(fixed_point::sigmoid_table.value[255] == 65535);
}

TEST_CASE("ChooseQuantizationParams: the specification's ranges", "[convention][tflite]") {
  auto const near = [](convention::real_params p, double scale, int zero_point) {
    return std::abs(p.scale - scale) < 1e-6 && p.zero_point == zero_point;
  };
  CHECK(near(tfl::choose_quantization_params<u8>(-10, 30), 0.156863, 64));
  CHECK(near(tfl::choose_quantization_params<u8>(0, 30), 0.117647, 0));
  CHECK(near(tfl::choose_quantization_params<u8>(-10, 0), 0.039216, 255));
  CHECK(near(tfl::choose_quantization_params<u8>(0, 0), 0, 0));
  static_assert(tfl::choose_quantization_params<s8>(-1, 1).scale == 0.00784313725490196 &&
                tfl::choose_quantization_params<s8>(-1, 1).zero_point == -1);
  static_assert(tfl::choose_quantization_params<s8>(-1, 1, true).scale == 0.007874015748031496 &&
                tfl::choose_quantization_params<s8>(-1, 1, true).zero_point == 0);
  static_assert(tfl::choose_quantization_params<u8>(-.1, 6).scale == 0.023921568627450977 &&
                tfl::choose_quantization_params<u8>(-.1, 6).zero_point == 4);
  static_assert(tfl::choose_quantization_params<s8>(-3, 1).scale == 0.01568627450980392 &&
                tfl::choose_quantization_params<s8>(-3, 1).zero_point == 63);
  CHECK(tfl::choose<s8>(real_range{2, 3}).zero_point == -128);  // extended to hold 0.0
}

TEST_CASE("quantize divides, rounds half away and adds the zero point; dequantize is in double", "[convention][tflite]") {
  static_assert(tfl::quantize<s8>(-1.25f, {.5f, 0}) == -3 && tfl::quantize<s8>(1.25f, {.5f, 0}) == 3);
  static_assert(tfl::quantize<s8>(.75f, {.5f, 0}) == 2 && tfl::quantize<s8>(-.25f, {.5f, 0}) == -1);
  static_assert(tfl::quantize<s8>(1e30f, {.5f, 5}) == 127 && tfl::quantize<s8>(-1e30f, {.5f, 5}) == -128);
  CHECK(tfl::quantize<u8>(std::numeric_limits<float>::quiet_NaN(), {1, 3}) == 0);
  CHECK(tfl::quantize<s8>(std::numeric_limits<float>::infinity(), {1, -3}) == 127);
  // 0.1f * 3 in double rounds differently from float: 0.30000000447 -> 0x3e99999a; float: 0x3e99999b
  CHECK(tfl::dequantize(3, {0.1f, 0}) == static_cast<float>(static_cast<double>(0.1f) * 3));
  CHECK(tfl::dequantize(3, {0.1f, 0}) == 0.3f);
}

TEST_CASE("add, sub and mul: the specification's elements", "[convention][tflite]") {
  CHECK(tfl::add<s8>({.5f, 0}, {.5f, 0}, {1, 0})(10, 20) == 15);
  CHECK(tfl::add<s8>({.1f, 0}, {.2f, 0}, {.1f, 0})(127, 127) == 127);
  CHECK(tfl::add<s8>({.05f, -128}, {.1f, 3}, {.12f, -10})(-128, 100) == 71);
  CHECK(tfl::add<s8>({1, 0}, {1, 0}, {2, 0})(1, 2) == 2);
  CHECK(tfl::add<s8>({1, 0}, {1, 0}, {2, 0})(-1, -2) == -2);
  CHECK(tfl::sub<s8>({.5f, 0}, {.5f, 0}, {1, 0})(10, 30) == -10);
  // Float ratios (TFLite Micro's SUB) and double ones are not the same function: some element of this sweep tells.
  long apart = 0;
  for (float s = 0.011f; s < 0.2f; s += 0.0137f) {
    auto const micro = tfl::sub<s8>({s, 0}, {0.0731f, 0}, {0.0529f, 0}), desktop = tfl::sub<s8>({s, 0}, {0.0731f, 0}, {0.0529f, 0}, {-128, 127}, false);
    for (int a = -128; a < 128; ++a)
      for (int b = -128; b < 128; ++b) {
        int const d = micro(a, b) - desktop(a, b);
        REQUIRE(std::abs(d) <= 1);
        apart += d != 0;
      }
  }
  CHECK(tfl::mul<s8>({.5f, 0}, {.5f, 0}, {.25f, 3})(4, 5) == 23);
  CHECK(tfl::add<s16>({1, 0}, {1, 0}, {2, 0})(30000, 10000) == 20000);
  INFO("elements that differ: " << apart);
  SUCCEED();
}

TEST_CASE("average pooling rounds ties away, for odd and even counts", "[convention][tflite]") {
  auto const pool = tfl::average_pool<s8>({}, {});
  CHECK(pool(3, 2) == 2);
  CHECK(pool(-3, 2) == -2);
  CHECK(pool(-1, 2) == -1);
  CHECK(pool(11, 4) == 3);
  CHECK(pool(-7, 5) == -1);
  CHECK(pool(4, 3) == 1);
}

TEST_CASE("softmax: the specification's rows", "[convention][tflite]") {
  CHECK(softmax(.1, {-128, -64, 0, 64, 127}) == std::vector<int>{-128, -128, -128, -128, 127});
  CHECK(softmax(.05, {10, 10, 10, 10}) == std::vector<int>{-64, -64, -64, -64});
  CHECK(softmax(1, {1, 2, 3, 4, 5}) == std::vector<int>{-125, -120, -106, -68, 35});
  CHECK(softmax(.02, {127, -128}) == std::vector<int>{126, -126});
  // Preprocessing: a huge scale is capped at the largest multiplier.
  CHECK(tfl::softmax(1e9f).input == rescale::multiplier_shift{2147483647, 31});
}

TEST_CASE("logistic and tanh: radius, saturation and symmetry", "[convention][tflite]") {
  // CalculateInputRadius(4, 27) = 15: a scale of 1/16 puts Q4.27 at shift 27 - 3
  auto const radius = [](int shift) {
    // scale * 2^27 = 2^(shift-1)  <=>  frexp exponent = shift
    return tfl::logistic({std::ldexp(1.0f, shift - 1 - 27), 0}).radius;
  };
  CHECK(radius(27) == 15);
  auto const f = tfl::logistic({0.1f, 5});
  CHECK(f(5) == 0);  // logistic(0) = 1/2
  CHECK(f(127) == 127);
  CHECK(f(-128) == -128);
  auto const t = tfl::tanh({0.05f, 0});
  CHECK(t(0) == 0);
  for (int q = 1; q < 128; ++q) CHECK(t(q) + t(-q) <= 1);
}

TEST_CASE("hard-swish: the specification's row, truncation included", "[convention][tflite]") {
  auto const h = tfl::hard_swish<s8>({4.0f / 127.0f, 0}, {4.0f / 127.0f, 0});
  int const q[] = {-127, -96, -64, -1, 0, 1, 32, 64, 96, 127}, want[] = {0, 0, -11, 0, 0, 1, 21, 54, 96, 127};
  for (int i = 0; i < 10; ++i) {
    CAPTURE(q[i]);
    CHECK(h(q[i]) == want[i]);
  }
}

TEST_CASE("hybrid kernels: symmetric and asymmetric, degenerate rows", "[convention][tflite]") {
  auto const p = tfl::choose_hybrid(2.0f);
  CHECK(p.scale == 2.0f / 127);
  CHECK(p.inverse == 63.5f);
  CHECK(tfl::quantize_hybrid(-2.0f, p) == -127);
  CHECK(tfl::quantize_hybrid(1.0f, p) == 64);  // 63.5, away
  CHECK(tfl::choose_hybrid(0.0f).scale == 1.0f);
  auto const a = tfl::choose_hybrid_asymmetric(-1.0f, 3.0f);
  CHECK(a.zero_point == -64);
  CHECK(tfl::quantize_hybrid_asymmetric(0.0f, a) == -64);
  CHECK(tfl::quantize_hybrid_asymmetric(3.0f, a) == 127);
  CHECK(tfl::quantize_hybrid_asymmetric(-1.0f, a) == -128);
  CHECK(tfl::choose_hybrid_asymmetric(0, 0).scale == 1.0f);
}

TEST_CASE("fake quantization nudges the range so that 0.0 is on the grid", "[convention][tflite]") {
  auto const n = tfl::nudge(-0.1f, 0.9f, 0, 255);
  CHECK(n.min <= 0);
  CHECK(std::abs(n.min + 0.1f) < n.scale);
  CHECK(std::abs(n(0.0f)) < 1e-6f);
  CHECK(n(5.0f) == n(n.max));
  CHECK(n(-5.0f) == n.min);
  CHECK(tfl::nudge(0, 1, 0, 255).min == 0);
}

TEST_CASE("effective scales: double, and the legacy product in float", "[convention][tflite]") {
  float const a = 0.0235f, b = 0.00371f, y = 0.1f;
  CHECK(tfl::effective_scale(a, b, y) == static_cast<double>(a) * static_cast<double>(b) / static_cast<double>(y));
  CHECK(tfl::effective_scale_legacy(a, b, y) == static_cast<double>(a * b) / static_cast<double>(y));
  // A quantized multiplier of each, and an accumulator through the output stage.
  auto const out = tfl::output_stage<s8>(a, b, {y, -5});
  CHECK(out(100000) == 82);
  CHECK(out(10000000) == 127);
}

TEST_CASE("a table is quantize of the function of every code", "[convention][tflite]") {
  auto const t = tfl::table<s8>({0.05f, 3}, {1.0f / 128, 0}, [](float v) { return std::tanh(v); });
  auto const fixed = tfl::tanh({0.05f, 3});
  for (int q = -128; q < 128; ++q) {
    float const exact = std::round(std::tanh(0.05f * static_cast<float>(q - 3)) * 128.0f);
    CAPTURE(q);
    CHECK(t(static_cast<std::int8_t>(q)) == static_cast<int>(std::fmin(127.0f, exact)));
    CHECK(std::abs(t(static_cast<std::int8_t>(q)) - fixed(q)) <= 1);  // desktop's table and Micro's integers: at most 1 apart
  }
}

TEST_CASE("gemmlowp's output stages, quantize and ranges", "[convention][gemmlowp]") {
  using g = convention::gemmlowp;
  CHECK(g::quantize_down_by_fixed_point(1000, 1 << 30, 2, 5) == 130);
  CHECK(g::scale_by_fixed_point_and_exponent(100, 1 << 30, 2, 1) == 201);
  CHECK(g::scale_by_fixed_point_and_exponent(100, 1 << 30, -2, 1) == 14);  // 12.5 away is 13
  CHECK(g::quantize_down_by_integer(100, 3, 7, 4) == 45);                  // (721 + 8) >> 4
  CHECK(g::quantize_down_by_integer(-100, 0, 1, 0) == -100);
  CHECK(g::quantize_down_by_integer(-6, 0, 1, 2) == -2);  // -1.5, away
  // The zero point is inside of the rounding: 0.5 + 3 rounds to 4, and -0.5 + 3 to 3, not 2.
  CHECK(g::quantize<u8>(.5f, {1, 3}) == 4);
  CHECK(g::quantize<u8>(-.5f, {1, 3}) == 3);
  CHECK(tfl::quantize<u8>(-.5f, {1, 3}) == 2);
  CHECK(g::choose<u8>(real_range{-10, 30}).zero_point == 64);
}
