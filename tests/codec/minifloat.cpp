// Small floats: every code, and rounding against the definition (the nearest of all codes, ties to the even code).
#include "support/catch.hpp"

#include <quern/codec/minifloat.hpp>
#include <quern/codec/mx.hpp>
#include <quern/codec/nf4.hpp>
#include <quern/codec/nvfp4.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

using namespace quern;
using namespace quern::codec;

namespace {

template <class F>
std::vector<double> positive_values() {
  std::vector<double> v;
  for (unsigned c = 0; c <= F::max_code; ++c) v.push_back(static_cast<double>(F::decode(c)));
  return v;
}
// The definition: the code of the nearest number, ties to the even code; beyond the last number by half a step or more: overflow.
template <class F>
unsigned nearest_code(std::vector<double> const& values, double magnitude, bool& over) {
  unsigned low = 0, high = static_cast<unsigned>(values.size()) - 1;
  double const last = values[high], step = last - values[high - 1];
  over = magnitude > last + step / 2 || (magnitude == last + step / 2 && (high & 1));
  if (magnitude >= last) return high;
  while (high - low > 1) {
    unsigned const middle = (low + high) / 2;
    (values[middle] <= magnitude ? low : high) = middle;
  }
  double const below = magnitude - values[low], above = values[high] - magnitude;
  return below < above ? low : above < below ? high : low & 1 ? high : low;
}
float of_bits(std::uint32_t b) {
  float f;
  std::memcpy(&f, &b, 4);
  return f;
}

template <class F>
void check_format() {
  auto const values = positive_values<F>();
  for (std::size_t i = 1; i < values.size(); ++i) REQUIRE(values[i] > values[i - 1]);
  // every code comes back from its value
  for (unsigned c = 0; c < 1u << F::total_bits; ++c) {
    float const x = F::decode(c);
    if (std::isnan(x)) {
      CHECK(std::isnan(F::decode(F::encode(x, overflow::to_special))));
    } else if (std::isinf(x)) {
      CHECK(F::encode(x, overflow::to_special) == c);
      CHECK(F::encode(x) == ((c & F::sign_mask) | F::max_code));
    } else {
      REQUIRE(F::encode(x) == c);
      REQUIRE(F::encode(x, overflow::to_special) == c);
    }
  }
  auto const check = [&](float x) {
    bool over = false;
    unsigned const magnitude = nearest_code<F>(values, std::fabs(static_cast<double>(x)), over);
    unsigned sign = std::signbit(x) ? F::sign_mask : 0;
    if (F::special_codes == specials::fnuz && magnitude == 0) sign = 0;
    REQUIRE(F::encode(x) == (sign | magnitude));
    unsigned const special = F::encode(x, overflow::to_special);
    if (!over || F::special_codes == specials::none)
      REQUIRE(special == (sign | magnitude));
    else if (F::special_codes == specials::ieee)
      REQUIRE(std::isinf(F::decode(special)));
    else
      REQUIRE(std::isnan(F::decode(special)));
  };
  for (std::uint32_t top = 0; top < 0x10000u; ++top)  // every bfloat16, all exponents and both signs
    if (std::isfinite(of_bits(top << 16))) check(of_bits(top << 16));
  for (std::size_t i = 1; i < values.size(); ++i) {  // every tie, and its neighbours
    float const tie = static_cast<float>((values[i] + values[i - 1]) / 2);
    for (float x : {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, 1e9f), -tie}) check(x);
  }
  check(std::numeric_limits<float>::max());
  check(-std::numeric_limits<float>::denorm_min());
}

}  // namespace

TEST_CASE("every minifloat code is exact and every rounding is to the nearest, ties to even", "[codec][minifloat]") {
  for_each_type<minifloats>([](auto tag) { check_format<typename decltype(tag)::type>(); });
}

TEST_CASE("the vendors' ties: away from zero, toward zero", "[codec][minifloat]") {
  for_each_type<minifloats>([](auto tag) {
    using f = typename decltype(tag)::type;
    auto const values = positive_values<f>();
    for (unsigned i = 1; i < values.size(); ++i) {
      float const tie = static_cast<float>((values[i] + values[i - 1]) / 2);
      for (unsigned sign : {0u, f::sign_mask}) {
        if (f::special_codes == specials::fnuz && sign != 0 && i == 1) continue;  // it has no -0
        float const s = sign != 0 ? -1.0f : 1.0f;
        REQUIRE(f::encode(s * tie, overflow::saturate, ties::away) == (sign | i));
        REQUIRE(f::encode(s * tie, overflow::saturate, ties::toward_zero) == (sign | (i - 1)));
        for (ties t : {ties::to_even, ties::away, ties::toward_zero}) {
          REQUIRE(f::encode(s * std::nextafter(tie, 0.0f), overflow::saturate, t) == (sign | (i - 1)));
          REQUIRE(f::encode(s * std::nextafter(tie, 1e9f), overflow::saturate, t) == (sign | i));
          REQUIRE(f::encode(s * static_cast<float>(values[i]), overflow::saturate, t) == (sign | i));
        }
      }
    }
  });
  for (int q = -127; q < 127; ++q) {
    float const tie = (static_cast<float>(q) + 0.5f) / 64.0f;
    int const outer = q < 0 ? q : q + 1, inner = q < 0 ? q + 1 : q;
    CHECK(static_cast<std::int8_t>(mx_int8::encode(tie, overflow::saturate, ties::away)) == outer);
    CHECK(static_cast<std::int8_t>(mx_int8::encode(tie, overflow::saturate, ties::toward_zero)) == inner);
    CHECK(static_cast<std::int8_t>(mx_int8::encode(tie)) == (q % 2 == 0 ? q : q + 1));
    CHECK(static_cast<std::int8_t>(mx_int8::encode(static_cast<float>(q) / 64.0f)) == q);
    CHECK(mx_int8::decode(static_cast<std::uint8_t>(q)) == static_cast<float>(q) / 64.0f);
  }
  CHECK(mx_int8::decode(0x80) == -2.0f);
  CHECK(static_cast<std::int8_t>(mx_int8::encode(-5.0f)) == -127);
}

TEST_CASE("minifloats have the limits of their specifications", "[codec][minifloat]") {
  CHECK(float8_e4m3fn::max() == 448);
  CHECK(float8_e5m2::max() == 57344);
  CHECK(float8_e4m3fnuz::max() == 240);
  CHECK(float8_e5m2fnuz::max() == 57344);
  CHECK(float6_e3m2::max() == 28);
  CHECK(float6_e2m3::max() == 7.5f);
  CHECK(float4_e2m1::max() == 6);
  CHECK(float8_e4m3fn::decode(1) == std::ldexp(1.0f, -9));
  CHECK(float8_e5m2::decode(1) == std::ldexp(1.0f, -16));
  CHECK(float8_e4m3fnuz::decode(1) == std::ldexp(1.0f, -10));
  CHECK(float8_e5m2fnuz::decode(1) == std::ldexp(1.0f, -17));
  CHECK(float6_e3m2::decode(1) == 0.0625f);
  CHECK(float6_e2m3::decode(1) == 0.125f);
  static_assert(float8_e4m3fn::max_exponent == 8 && float8_e5m2::max_exponent == 15 && float6_e3m2::max_exponent == 4 &&
                float6_e2m3::max_exponent == 2 && float4_e2m1::max_exponent == 2);

  float const x[] = {.3f, 1.0625f, 2.5f, 5, 17, 464, 500, .001f};
  float const e4m3[] = {.3125f, 1, 2.5f, 5, 16, 448, 448, .001953125f}, e2m1[] = {.5f, 1, 2, 4, 6, 6, 6, 0},
              e3m2[] = {.3125f, 1, 2.5f, 5, 16, 28, 28, 0}, e2m3[] = {.25f, 1, 2.5f, 5, 7.5f, 7.5f, 7.5f, 0};
  for (int i = 0; i < 8; ++i) {
    CHECK(float8_e4m3fn(x[i]) == e4m3[i]);
    CHECK(float4_e2m1(x[i]) == e2m1[i]);
    CHECK(float6_e3m2(x[i]) == e3m2[i]);
    CHECK(float6_e2m3(x[i]) == e2m3[i]);
  }
  CHECK(float4_e2m1(.25f) == 0);
  CHECK(float4_e2m1(.75f) == 1);
  CHECK(float4_e2m1(3.5f) == 4);
  CHECK(float8_e4m3fn::encode(464.0f, overflow::to_special) == 0x7e);
  CHECK(float8_e4m3fn::encode(464.1f, overflow::to_special) == 0x7f);
  CHECK(float4_e2m1::encode(NAN) == 8);
  CHECK(float8_e4m3fnuz::encode(-0.0f) == 0);
  CHECK(float8_e4m3fnuz::encode(NAN) == 0x80);
  static_assert(float8_e5m2(3.0f) == 3.0f, "constexpr both ways");
}

TEST_CASE("e8m0 is a power of two, rounded as asked", "[codec][e8m0]") {
  for (unsigned c = 0; c < 255; ++c) {
    float8_e8m0 const s = float8_e8m0::from_bits(c);
    CHECK(static_cast<double>(static_cast<float>(s)) == std::ldexp(1.0, static_cast<int>(c) - 127));
    for (auto r : {power_rounding::up, power_rounding::down, power_rounding::nearest}) CHECK(float8_e8m0::encode(s, r).bits == c);
  }
  CHECK(std::isnan(static_cast<float>(float8_e8m0::from_bits(255))));
  CHECK(float8_e8m0::encode(0.124f).bits == 124);
  CHECK(float8_e8m0::encode(1.1f).bits == 128);
  CHECK(float8_e8m0::encode(1.1f, power_rounding::down).bits == 127);
  CHECK(float8_e8m0::encode(1.5f, power_rounding::nearest).bits == 128);
  CHECK(float8_e8m0::encode(1.4999f, power_rounding::nearest).bits == 127);
  CHECK(float8_e8m0::encode(0).bits == 0);
  CHECK(float8_e8m0::encode(INFINITY).bits == 254);
  CHECK(float8_e8m0::encode(NAN).bits == 255);
  CHECK(float8_e8m0::encode(-1).bits == 255);
  CHECK(float8_e8m0::encode(0, power_rounding::nearest, overflow::to_special).bits == 255);
  CHECK(float8_e8m0::encode(INFINITY, power_rounding::nearest, overflow::to_special).bits == 255);
  CHECK(float8_e8m0::encode(3e38f, power_rounding::up, overflow::to_special).bits == 255);
  CHECK(float8_e8m0::encode(1e-45f).bits == 0);
}

namespace {
template <class Element>
std::vector<float> through_mx(std::vector<float> x, unsigned expected_scale, mx_scale rule = mx_scale::floor) {
  std::vector<std::uint8_t> codes(x.size());
  std::vector<float> y(x.size());
  auto const s = mx_encode<Element>(vector_view<float const>(view(x)), view(codes), rule);
  CHECK(s.bits == expected_scale);
  mx_decode<Element>(s, vector_view<std::uint8_t const>(view(codes)), view(y));
  return y;
}
}  // namespace

TEST_CASE("MX blocks take the scale of their largest value", "[codec][mx]") {
  CHECK(through_mx<float4_e2m1>({1, -3, 5.9f, .2f, 7}, 127) == std::vector<float>{1, -3, 6, 0, 6});
  CHECK(through_mx<float8_e4m3fn>({1, -3, 500, .2f}, 127) == std::vector<float>{1, -3, 448, .203125f});
  CHECK(through_mx<mx_int8>({1, -3, 3.99f, .01f, 3.97f}, 128) == std::vector<float>{1, -3, 3.96875f, 0, 3.96875f});
  CHECK(through_mx<float4_e2m1>({7.9f}, 127) == std::vector<float>{6});
  CHECK(through_mx<float4_e2m1>({7.9f}, 128, mx_scale::ceil) == std::vector<float>{8});
  CHECK(through_mx<float4_e2m1>({6.0f}, 127, mx_scale::ceil) == std::vector<float>{6});
  CHECK(through_mx<float4_e2m1>({0, -0.0f}, 0) == std::vector<float>{0, 0});
  CHECK(std::isnan(through_mx<float8_e4m3fn>({1, NAN}, 255)[0]));
  CHECK(through_mx<float4_e2m1>({1e-45f}, 0)[0] == 0);
  // e2m1's largest exponent is 2: the scale of FLT_MAX is 2^(127 - 2)
  CHECK(through_mx<float4_e2m1>({3.4028235e38f}, 252)[0] == 6 * std::ldexp(1.0f, 125));
  std::vector<float> long_block(33);
  std::vector<std::uint8_t> codes(33);
  CHECK_THROWS_AS(mx_encode<mx_int8>(vector_view<float const>(view(long_block)), view(codes)), error);
  CHECK_THROWS_AS(mx_encode<mx_int8>(vector_view<float const>(view(long_block)).sub(0, 8), view(codes).sub(0, 7)), error);
}

namespace {

/// OCP's conversion from its text, in doubles: the largest power of two in the block over the element's largest power, then the nearest
/// of all of the element's numbers.
template <class Element>
void check_mx_blocks(mx_scale rule, ties t) {
  std::vector<double> values;  // of every code
  int const codes_of = 1 << Element::total_bits;
  double top = 0;
  for (int c = 0; c < codes_of; ++c) {
    double const v = static_cast<double>(Element::decode(static_cast<unsigned>(c)));
    values.push_back(v);
    if (std::isfinite(v) && v > top) top = v;
  }
  double const largest_power = std::exp2(std::floor(std::log2(top)));
  std::uint32_t state = 77;
  auto const next = [&] { return state = state * 1664525u + 1013904223u; };
  for (int round = 0; round < 100; ++round) {
    std::vector<float> x(32), y(32);
    std::vector<std::uint8_t> codes(32);
    double most = 0;
    for (float& v : x) {
      // Multiples of a quarter of a power of two: many ties at every scale.
      v = std::ldexp(static_cast<float>(static_cast<int>(next() >> 20) - 2048), static_cast<int>(next() >> 29) - 4 - round % 20);
      if (next() >> 30 == 0) v *= 0.37f;
      most = std::max(most, std::fabs(static_cast<double>(v)));
    }
    int exponent = -127;
    if (rule == mx_scale::floor) {
      while (std::ldexp(largest_power, exponent + 1) <= most) ++exponent;
    } else {
      while (std::ldexp(top, exponent) < most) ++exponent;
    }
    auto const s = mx_encode<Element>(vector_view<float const>(view(x)), view(codes), rule, t);
    REQUIRE(static_cast<int>(s.bits) == exponent + 127);
    mx_decode<Element>(s, vector_view<std::uint8_t const>(view(codes)), view(y));
    for (std::size_t i = 0; i < 32; ++i) {
      double const v = std::ldexp(static_cast<double>(x[i]), -exponent), held = v > top ? top : v < -top ? -top : v;
      double const got = values[codes[i]], error = std::fabs(got - held);
      REQUIRE(static_cast<double>(y[i]) == std::ldexp(got, exponent));
      for (int c = 0; c < codes_of; ++c) {
        double const other = values[static_cast<std::size_t>(c)];
        if (!std::isfinite(other) || std::fabs(other) > top || other == got) continue;
        bool fine = std::fabs(other - held) >= error;
        if (std::fabs(other - held) == error)  // a tie
          fine = t == ties::away ? std::fabs(got) > std::fabs(other) : t == ties::toward_zero ? std::fabs(got) < std::fabs(other) : codes[i] % 2 == 0;
        if (!fine) FAIL(v << " became " << got << ", not " << other);
      }
    }
  }
}

}  // namespace

TEST_CASE("MX blocks of every element equal the specification's words, with OCP's rule and the vendors'", "[codec][mx]") {
  for_each_type<mx_elements>([](auto tag) {
    using e = typename decltype(tag)::type;
    check_mx_blocks<e>(mx_scale::floor, ties::to_even);     // OCP
    check_mx_blocks<e>(mx_scale::floor, ties::away);        // microxcaling
    check_mx_blocks<e>(mx_scale::ceil, ties::to_even);      // Model Optimizer, MXFP8
    check_mx_blocks<e>(mx_scale::floor, ties::toward_zero); // Model Optimizer and ggml, MXFP4
  });
  // Model Optimizer's and ggml's MXFP4: 0.75 becomes 0.5, OCP's 1.
  float const x[] = {0.75f, 4.0f};
  std::uint8_t codes[2];
  mx_encode<float4_e2m1>(vector_view<float const>(view(x)), view(codes), mx_scale::floor, ties::toward_zero);
  CHECK(float4_e2m1::decode(codes[0]) == 0.5f);
  mx_encode<float4_e2m1>(vector_view<float const>(view(x)), view(codes));
  CHECK(float4_e2m1::decode(codes[0]) == 1.0f);
}

TEST_CASE("NVFP4 scales, codes and ties are the toolkit's", "[codec][nvfp4]") {
  std::vector<float> x = {6, 0.75f, 1.75f, 3.5f, -0.25f, 1.25f, 5, 2.5f, -6, 0, 0.26f, -0.74f, 3, 1, 2, 4};
  float const s = nvfp4_tensor_scale(vector_view<float const>(view(x)));
  CHECK(s == 0.0022321429569274187f);
  std::vector<std::uint8_t> codes(16);
  auto const b = nvfp4_encode(vector_view<float const>(view(x)), s, view(codes));
  CHECK(static_cast<float>(b) == 448);
  std::vector<float> y(16);
  nvfp4_decode(b, s, vector_view<std::uint8_t const>(view(codes)), view(y));
  CHECK(y[0] == Approx(6).epsilon(1e-7));
  for (int i = 0; i < 16; ++i) CHECK(std::fabs(y[i] - x[i]) <= 1.0001f);
  CHECK(nvfp4_code(.75f) == 2);
  CHECK(nvfp4_code(1.75f) == 4);
  CHECK(nvfp4_code(3.5f) == 6);
  CHECK(nvfp4_code(-.25f) == 0);
  CHECK(nvfp4_code(NAN) == 7);
  // 4, 4, 4, ...: as sixes (0.67 of them) every value is exact either way; 4 beside 3 is exact only with a top of 4
  std::vector<float> flat = {4, 3, 2, 1}, back(4);
  float const tensor = 4.0f / (4 * 448);
  auto const four = nvfp4_encode(vector_view<float const>(view(flat)), tensor, view(codes), nvfp4_top::four_or_six);
  nvfp4_decode(four, tensor, vector_view<std::uint8_t const>(view(codes)).sub(0, 4), view(back));
  for (int i = 0; i < 4; ++i) CHECK(back[i] == Approx(flat[i]));
  CHECK_THROWS_AS(nvfp4_encode(vector_view<float const>(view(flat)), 0.0f, view(codes)), error);
}

TEST_CASE("NF4 levels are the normal quantiles they claim to be, and the nearest is taken", "[codec][nf4]") {
  auto const quantile = [](double p) {  // of N(0, 1), by bisection
    double low = -10, high = 10;
    for (int i = 0; i < 100; ++i) {
      double const middle = (low + high) / 2;
      (0.5 * erfc_of(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
    }
    return (low + high) / 2;
  };
  double const offset = 0.9677083, top = quantile(offset);
  for (int i = 0; i < 8; ++i) CHECK(nf4_levels[15 - i] == Approx(quantile(offset - i * (offset - 0.5) / 8) / top).margin(2e-6));
  for (int i = 0; i < 7; ++i) CHECK(nf4_levels[i] == Approx(-quantile(offset - i * (offset - 0.5) / 7) / top).margin(2e-6));
  for (int c = 0; c < 16; ++c) CHECK(nf4_code(nf4_levels[c]) == c);
  for (float x = -1.2f; x < 1.2f; x += 0.001f) {
    int best = 0;
    for (int c = 1; c < 16; ++c)
      if (std::fabs(nf4_levels[c] - x) < std::fabs(nf4_levels[best] - x)) best = c;
    CHECK(nf4_code(x) == best);
  }
  std::vector<float> zeros(5), back(5);
  std::vector<std::uint8_t> codes(5);
  nf4_decode(nf4_encode(vector_view<float const>(view(zeros)), view(codes)), vector_view<std::uint8_t const>(view(codes)), view(back));
  CHECK(back == zeros);
}
