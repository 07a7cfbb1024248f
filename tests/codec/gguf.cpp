// GGUF blocks: worked examples of the format, and errors within half a step.
#include "support/catch.hpp"

#include <quern/codec/gguf.hpp>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

using namespace quern;
using namespace quern::codec;

TEST_CASE("Q8_0 and Q4_0 make the bytes of the reference code", "[codec][gguf]") {
  float x[32] = {1, -.5f, .00394f};
  block_q8_0 b8;
  encode(x, b8);
  CHECK(b8.d.bits == 0x2008);
  CHECK(b8.q[0] == 127);
  CHECK(b8.q[1] == -64);  // -63.5 goes away from zero
  CHECK(b8.q[2] == 1);
  float y[32] = {1, -1, 0, .5f, -.5f, .0624f, .0626f};
  block_q4_0 b4;
  encode(y, b4);
  int const want[] = {0, 15, 8, 4, 12, 8, 7};
  for (int i = 0; i < 7; ++i) CHECK((b4.q[i] & 15) == want[i]);
  float back[32];
  decode(b4, back);
  CHECK(back[0] == 1);
  CHECK(back[1] == -.875f);
}

namespace {
template <class Block>
void check_round_trip(double steps_of_range) {
  std::mt19937 g(5);
  std::normal_distribution<float> d;
  for (int round = 0; round < 50; ++round) {
    std::vector<float> x(Block::size), y(Block::size);
    for (float& v : x) v = d(g) + (round % 3 ? 0.0f : 1.5f);
    if (round == 0) std::fill(x.begin(), x.end(), 0.0f);
    Block b;
    encode(x.data(), b);
    decode(b, y.data());
    float low = x[0], high = x[0], most = 0;
    for (float v : x) low = std::min(low, v), high = std::max(high, v), most = std::max(most, std::fabs(v));
    double const step = steps_of_range > 0 ? (high - low) / steps_of_range : most / -steps_of_range;
    for (int i = 0; i < Block::size; ++i) {
      // half a step, a whole one at the end that the signed forms lack; and f16's rounding of d over the codes
      REQUIRE(std::fabs(y[i] - x[i]) <= step * (steps_of_range > 0 || std::fabs(x[i]) < 0.93 * most ? 0.5 : 1.0) + most * 1.1e-3);
    }
  }
}
}  // namespace

TEST_CASE("GGUF blocks decode to within half a step", "[codec][gguf]") {
  check_round_trip<block_q8_0>(-127);
  check_round_trip<block_q4_0>(-8);
  check_round_trip<block_q4_1>(15);
  check_round_trip<block_q5_0>(-16);
  check_round_trip<block_q5_1>(31);
  check_round_trip<block_q8_k>(-127);
}

TEST_CASE("Q8_K keeps the sums of its codes", "[codec][gguf]") {
  std::vector<float> x(256);
  for (int i = 0; i < 256; ++i) x[i] = std::sin(static_cast<float>(i)) * (i == 200 ? -3.0f : 1.0f);
  block_q8_k b;
  encode(x.data(), b);
  int top = 0;
  for (int g = 0; g < 16; ++g) {
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += b.q[16 * g + i], top = std::max(top, std::abs(static_cast<int>(b.q[16 * g + i])));
    CHECK(sum == b.sums[g]);
  }
  CHECK(top == 127);
}

TEST_CASE("K-quants decode by their definition, whatever the bits", "[codec][gguf]") {
  std::mt19937 g(3);
  for (int round = 0; round < 20; ++round) {
    block_q4_k k4;
    block_q5_k k5;
    block_q6_k k6;
    for (auto* bytes : {reinterpret_cast<unsigned char*>(&k4)})
      for (std::size_t i = 0; i < sizeof k4; ++i) bytes[i] = static_cast<unsigned char>(g());
    for (std::size_t i = 0; i < sizeof k5; ++i) reinterpret_cast<unsigned char*>(&k5)[i] = static_cast<unsigned char>(g());
    for (std::size_t i = 0; i < sizeof k6; ++i) reinterpret_cast<unsigned char*>(&k6)[i] = static_cast<unsigned char>(g());
    k4.d = k5.d = k6.d = half(0.01f);
    k4.dmin = k5.dmin = half(0.3f);
    float y4[256], y5[256], y6[256];
    decode(k4, y4);
    decode(k5, y5);
    decode(k6, y6);
    for (int i = 0; i < 256; ++i) {
      int const sub = i / 32, within = i % 64;
      auto const six = [](std::uint8_t const* s, int j, bool minimum) {
        // 96 bits: eight scales then eight minima, the upper two bits of the last four of each lie above the first four
        if (j < 4) return static_cast<int>(s[j + (minimum ? 4 : 0)] & 63);
        int const low = minimum ? s[j + 4] >> 4 : s[j + 4] & 15, high = minimum ? s[j] >> 6 : s[j - 4] >> 6;
        return low + 16 * high;
      };
      int const nibble4 = within < 32 ? k4.q[i / 64 * 32 + within] & 15 : k4.q[i / 64 * 32 + within - 32] >> 4;
      float const d = half(0.01f), m = half(0.3f);
      CHECK(y4[i] == Approx(d * six(k4.scales, sub, false) * nibble4 - m * six(k4.scales, sub, true)).margin(1e-4));
      int const nibble5 = within < 32 ? k5.q[i / 64 * 32 + within] & 15 : k5.q[i / 64 * 32 + within - 32] >> 4;
      int const fifth = (k5.high[i % 32] >> sub) & 1;
      CHECK(y5[i] == Approx(d * six(k5.scales, sub, false) * (nibble5 + 16 * fifth) - m * six(k5.scales, sub, true)).margin(1e-4));
      int const part = i / 128, quarter = i % 128 / 32, l = i % 32;
      int const low = quarter == 0 ? k6.low[64 * part + l] & 15 : quarter == 1 ? k6.low[64 * part + 32 + l] & 15
                      : quarter == 2 ? k6.low[64 * part + l] >> 4 : k6.low[64 * part + 32 + l] >> 4;
      int const six_bits = low + 16 * ((k6.high[32 * part + l] >> (2 * quarter)) & 3);
      CHECK(y6[i] == Approx(d * k6.scales[i / 16] * (six_bits - 32)).margin(1e-4));
    }
  }
}
