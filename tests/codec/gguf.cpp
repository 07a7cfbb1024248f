// GGUF blocks: worked examples of the format, every byte and every value against a second implementation written from the format's
// description, and errors within half a step.
#include "support/catch.hpp"

#include <quern/codec/gguf.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
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

namespace {

// ---- a second implementation: plain lists of codes and bits, halves by search among all of them -----------------------------------

/// The positive finite halves in order, from their definition.
std::vector<float> const& halves() {
  static std::vector<float> const all = [] {
    std::vector<float> v;
    for (int e = 0; e < 31; ++e)
      for (int m = 0; m < 1024; ++m) v.push_back(e == 0 ? std::ldexp(static_cast<float>(m), -24) : std::ldexp(1.0f + static_cast<float>(m) / 1024, e - 15));
    return v;
  }();
  return all;
}
unsigned half_bits(float x) {
  auto const& all = halves();
  double const a = std::fabs(static_cast<double>(x));
  auto at = static_cast<std::size_t>(std::lower_bound(all.begin(), all.end(), static_cast<float>(a)) - all.begin());  // the first not below
  if (at > 0 && at < all.size()) {
    double const above = all[at] - a, below = a - all[at - 1];
    if (below < above || (below == above && (at - 1) % 2 == 0)) --at;
  }
  return static_cast<unsigned>(at) | (std::signbit(x) ? 0x8000u : 0u);
}
float half_value(unsigned bits) { return (bits & 0x8000 ? -1.0f : 1.0f) * halves()[bits & 0x7fff]; }

struct bytes {
  std::vector<std::uint8_t> all;
  void u16(unsigned v) { all.push_back(static_cast<std::uint8_t>(v)), all.push_back(static_cast<std::uint8_t>(v >> 8)); }
  /// Nibbles: the low ones of the first half of the codes, the high ones of the second.
  void nibbles(std::vector<int> const& codes) {
    for (std::size_t i = 0; i < 16; ++i) all.push_back(static_cast<std::uint8_t>(codes[i] % 16 + 16 * (codes[i + 16] % 16)));
  }
  void fifth_bits(std::vector<int> const& codes) {
    for (std::size_t byte = 0; byte < 4; ++byte) {
      int b = 0;
      for (std::size_t i = 0; i < 8; ++i) b += (codes[8 * byte + i] / 16) << i;
      all.push_back(static_cast<std::uint8_t>(b));
    }
  }
};

int cut(float v, int top) { return std::min(static_cast<int>(v), top); }

/// What `kind` makes of 32 values: "8_0", "4_0", "4_1", "5_0", "5_1".
bytes expected_block(std::string const& kind, std::vector<float> const& x) {
  bytes b;
  std::vector<int> codes;
  auto const extreme = *std::max_element(x.begin(), x.end(), [](float p, float q) { return std::fabs(p) < std::fabs(q); });  // the first of equals
  auto const [low, high] = std::minmax_element(x.begin(), x.end());
  bool const five = kind[0] == '5';
  if (kind == "8_0") {
    float const d = std::fabs(extreme) / 127.0f;
    b.u16(half_bits(d));
    for (float v : x) b.all.push_back(static_cast<std::uint8_t>(static_cast<int>(std::round(d == 0 ? 0.0f : v * (1.0f / d)))));
    return b;
  }
  if (kind[2] == '0') {  // the value of largest magnitude becomes the lowest code
    float const d = extreme / (five ? -16.0f : -8.0f), id = d == 0 ? 0.0f : 1.0f / d;
    b.u16(half_bits(d));
    for (float v : x) {
      float const steps = v * id;
      codes.push_back(cut(steps + (five ? 16.5f : 8.5f), five ? 31 : 15));
    }
  } else {
    float const d = (*high - *low) / (five ? 31.0f : 15.0f), id = d == 0 ? 0.0f : 1.0f / d;
    b.u16(half_bits(d));
    b.u16(half_bits(*low));
    for (float v : x) {
      float const steps = (v - *low) * id;
      codes.push_back(cut(steps + 0.5f, five ? 31 : 15));
    }
  }
  if (five) b.fifth_bits(codes);
  b.nibbles(codes);
  return b;
}
std::vector<float> expected_values(std::string const& kind, std::vector<std::uint8_t> const& b) {
  std::vector<float> y;
  auto const u16 = [&](std::size_t at) { return half_value(b[at] + 256u * b[at + 1]); };
  float const d = u16(0);
  if (kind == "8_0") {
    for (std::size_t i = 0; i < 32; ++i) y.push_back(static_cast<float>(b[2 + i] < 128 ? b[2 + i] : b[2 + i] - 256) * d);
    return y;
  }
  bool const five = kind[0] == '5', with_min = kind[2] == '1';
  std::size_t const high = with_min ? 4 : 2, nibbles = high + (five ? 4 : 0);
  for (std::size_t i = 0; i < 32; ++i) {
    int const byte = b[nibbles + i % 16], q = (i < 16 ? byte % 16 : byte / 16) + (five && (b[high + i / 8] >> (i % 8)) % 2 ? 16 : 0);
    float const product = static_cast<float>(with_min ? q : q - (five ? 16 : 8)) * d;
    y.push_back(with_min ? product + u16(2) : product);
  }
  return y;
}

/// 32 values: ordinary, all ties of a step, equal magnitudes of either sign, constants, zeros, tiny and huge ones.
std::vector<float> values_for_block(std::mt19937& g, int round, int levels) {
  std::normal_distribution<float> d;
  std::vector<float> x(32);
  float const step = std::ldexp(1.0f + (round % 2 ? 0.0f : static_cast<float>(g() % 1000) / 1000), static_cast<int>(g() % 24) - 16);
  for (float& v : x) {
    v = d(g) * step;
    if (round % 4 == 1) v = (static_cast<float>(g() % static_cast<unsigned>(2 * levels)) / 2 - static_cast<float>(levels) / 2) * step;
    if (round % 4 == 2) v = (g() % 2 ? 1.0f : -1.0f) * step * (g() % 3 ? 1.0f : 0.5f);
  }
  if (round % 4 == 1) x[g() % 32] = static_cast<float>(levels) * step, x[g() % 32] = -static_cast<float>(levels) * step;
  if (round % 97 == 3) std::fill(x.begin(), x.end(), round % 2 ? 0.0f : step);
  return x;
}

template <class Block>
void check_bytes(std::string const& kind, int levels) {
  INFO("Q" << kind);
  std::mt19937 g(11);
  for (int round = 0; round < 3200; ++round) {  // 102,400 values
    auto const x = values_for_block(g, round, levels);
    Block b;
    encode(x.data(), b);
    auto const want = expected_block(kind, x);
    REQUIRE(want.all.size() == sizeof b);
    if (std::memcmp(&b, want.all.data(), sizeof b) != 0) FAIL("round " << round << ": other bytes");
    float y[32];
    decode(b, y);
    auto const back = expected_values(kind, want.all);
    if (!std::equal(back.begin(), back.end(), y)) FAIL("round " << round << ": other values");
  }
}

}  // namespace

TEST_CASE("GGUF blocks of 32 have the bytes and values of a second implementation", "[codec][gguf]") {
  check_bytes<block_q8_0>("8_0", 127);
  check_bytes<block_q4_0>("4_0", 8);
  check_bytes<block_q4_1>("4_1", 15);
  check_bytes<block_q5_0>("5_0", 16);
  check_bytes<block_q5_1>("5_1", 31);
}

TEST_CASE("Q8_K has the codes of a second implementation", "[codec][gguf]") {
  std::mt19937 g(12);
  for (int round = 0; round < 400; ++round) {
    std::vector<float> x;
    while (x.size() < 256) {
      auto const part = values_for_block(g, round, 127);
      x.insert(x.end(), part.begin(), part.end());
    }
    block_q8_k b;
    encode(x.data(), b);
    float const extreme = *std::max_element(x.begin(), x.end(), [](float p, float q) { return std::fabs(p) < std::fabs(q); });
    float const inverse = extreme == 0 ? 0.0f : -127.0f / extreme;
    REQUIRE(b.d == (extreme == 0 ? 0.0f : 1.0f / inverse));
    float y[256];
    decode(b, y);
    for (std::size_t i = 0; i < 256; ++i) {
      float const steps = inverse * x[i];
      int const q = std::min(127, static_cast<int>(std::nearbyint(steps)));
      if (b.q[i] != q) FAIL("round " << round << ", value " << i << ": " << static_cast<int>(b.q[i]) << ", not " << q);
      if (y[i] != b.d * static_cast<float>(q)) FAIL("round " << round << ", value " << i << " decodes to " << y[i]);
    }
  }
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
      auto const scaled = [&](std::uint8_t const* s, int code) {  // three products and a difference in float
        float const scale = d * static_cast<float>(six(s, sub, false)), offset = m * static_cast<float>(six(s, sub, true)), product = scale * static_cast<float>(code);
        return product - offset;
      };
      CHECK(y4[i] == scaled(k4.scales, nibble4));
      int const nibble5 = within < 32 ? k5.q[i / 64 * 32 + within] & 15 : k5.q[i / 64 * 32 + within - 32] >> 4;
      int const fifth = (k5.high[i % 32] >> sub) & 1;
      CHECK(y5[i] == scaled(k5.scales, nibble5 + 16 * fifth));
      int const part = i / 128, quarter = i % 128 / 32, l = i % 32;
      int const low = quarter == 0 ? k6.low[64 * part + l] & 15 : quarter == 1 ? k6.low[64 * part + 32 + l] & 15
                      : quarter == 2 ? k6.low[64 * part + l] >> 4 : k6.low[64 * part + 32 + l] >> 4;
      int const six_bits = low + 16 * ((k6.high[32 * part + l] >> (2 * quarter)) & 3);
      float const scale6 = d * static_cast<float>(k6.scales[i / 16]);
      CHECK(y6[i] == scale6 * static_cast<float>(six_bits - 32));
    }
  }
}
