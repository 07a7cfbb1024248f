#include "support/catch.hpp"
#include "support/exact.hpp"

#include <quern/round/modes.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace quern;
using exact::big;

namespace {

/// num / den rounded by the mode with this name, from the definition.
big expected(std::string const& mode, big num, big den) {
  using namespace exact;
  if (mode == "half_even") return nearest(num, den, tie::even);
  if (mode == "half_away") return nearest(num, den, tie::away);
  if (mode == "half_up") return nearest(num, den, tie::up);
  if (mode == "half_toward_zero") return nearest(num, den, tie::zero);
  if (mode == "half_even_positive") return nearest(num, den, tie::even_positive);
  if (mode == "floor") return directed(num, den, direction::down);
  if (mode == "ceil") return directed(num, den, direction::up);
  if (mode == "toward_zero") return directed(num, den, direction::zero);
  throw std::logic_error("a mode without a definition in this test: " + mode);
}

template <class F>
std::vector<F> awkward() {
  using limits = std::numeric_limits<F>;
  F const integral_from = std::ldexp(F{1}, limits::digits - 1);
  std::vector<F> v = {F{0}, limits::denorm_min(), limits::min(), limits::epsilon(), limits::max(), F(1e10), F(2147483648.0)};
  for (int k = 0; k <= 40; ++k) {
    v.push_back(F(k) / 8);
    v.push_back(std::nextafter(F(k) / 2, F{0}));
    v.push_back(std::nextafter(F(k) / 2, limits::max()));
  }
  for (F near : {integral_from / 4, integral_from / 2, integral_from, integral_from * 2, integral_from * 4})
    for (F x : {std::nextafter(near, F{0}), near, std::nextafter(near, limits::max()), near + F{0.5}, near + F{1.5}}) v.push_back(x);
  for (std::size_t i = 0, n = v.size(); i < n; ++i) v.push_back(-v[i]);
  return v;
}

template <class Mode, class F>
void check_float() {
  for (F x : awkward<F>()) {
    F const y = Mode::to_integral(x);
    CAPTURE(Mode::name, x, y);
    exact::dyadic const d = exact::value_of(x);
    if (d.exponent >= 0) {
      CHECK(y == x);
    } else {
      // below 2^-100 only the sign and "not zero" matter
      bool const tiny = d.exponent < -110;
      big const num = tiny ? (d.numerator > 0) - (d.numerator < 0) : d.numerator;
      big const want = expected(Mode::name, num, exact::pow2(tiny ? 10 : -d.exponent));
      CHECK(static_cast<big>(y) == want);
    }
    if (y == 0) CHECK(std::signbit(y) == std::signbit(x));
  }
  F const inf = std::numeric_limits<F>::infinity();
  CHECK(Mode::to_integral(inf) == inf);
  CHECK(Mode::to_integral(-inf) == -inf);
  CHECK(std::isnan(Mode::to_integral(std::numeric_limits<F>::quiet_NaN())));
}

}  // namespace

TEST_CASE("every rounding mode gives its row of the table", "[round]") {
  struct row {
    char const* name;
    int want[6];
  };
  float const x[6] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f};
  std::vector<row> const rows = {
      {"half_even", {0, 2, 2, 0, -2, -2}},          {"half_away", {1, 2, 3, -1, -2, -3}},
      {"half_up", {1, 2, 3, 0, -1, -2}},            {"half_toward_zero", {0, 1, 2, 0, -1, -2}},
      {"half_even_positive", {0, 2, 2, 0, -1, -2}}, {"floor", {0, 1, 2, -1, -2, -3}},
      {"ceil", {1, 2, 3, 0, -1, -2}},               {"toward_zero", {0, 1, 2, 0, -1, -2}},
  };
  int seen = 0;
  for_each_type<rounding_modes>([&](auto tag) {
    using mode = typename decltype(tag)::type;
    for (row const& r : rows) {
      if (std::string(r.name) != mode::name) continue;
      ++seen;
      for (int i = 0; i < 6; ++i) {
        CAPTURE(r.name, x[i]);
        CHECK(mode::to_integral(x[i]) == static_cast<float>(r.want[i]));
        CHECK(mode::to_integral(static_cast<double>(x[i])) == r.want[i]);
        CHECK(mode::shift_right(static_cast<std::int64_t>(x[i] * 2), 1) == r.want[i]);
        CHECK(mode::divide(static_cast<std::int64_t>(x[i] * 14), 14) == r.want[i]);
      }
    }
  });
  CHECK(seen == static_cast<int>(rounding_modes::size));
}

TEST_CASE("to_integral equals the definition on ties, neighbours of ties, huge, tiny and non-finite values", "[round]") {
  for_each_type<rounding_modes>([](auto tag) {
    check_float<typename decltype(tag)::type, float>();
    check_float<typename decltype(tag)::type, double>();
  });
  // Just below one half: x - floor(x) would round to a tie.
  static_assert(round_to::half_up::to_integral(-0.49999997f) == 0.0f);
  static_assert(round_to::half_away::to_integral(0.49999999999999994) == 0.0);
}

TEST_CASE("to_integral agrees with the C library on random bits", "[round]") {
  std::mt19937 random(7);
  for (int i = 0; i < 200000; ++i) {
    float const x = bits_of<float>(static_cast<std::uint32_t>(random()));
    if (std::isnan(x)) continue;
    bool const same = round_to::half_even::to_integral(x) == std::nearbyint(x) &&
                      round_to::half_away::to_integral(x) == std::round(x) && round_to::floor::to_integral(x) == std::floor(x) &&
                      round_to::ceil::to_integral(x) == std::ceil(x) && round_to::toward_zero::to_integral(x) == std::trunc(x);
    if (!same) FAIL("x = " << x);
  }
}

TEST_CASE("shift_right and divide equal the exact quotient, extremes of int64 included", "[round]") {
  std::vector<std::int64_t> values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 0x40000000, 0x7fffffff, 0x80000000, INT64_MAX, INT64_MAX - 1, INT64_MIN + 1,
                                      INT64_MIN, std::int64_t{1} << 61, std::int64_t{3} << 60};
  std::mt19937_64 random(11);
  for (int i = 0; i < 300; ++i) values.push_back(static_cast<std::int64_t>(random()) >> (random() % 64));
  for (std::size_t i = 0, n = values.size(); i < n; ++i)
    if (values[i] != INT64_MIN) values.push_back(-values[i]);
  for_each_type<rounding_modes>([&](auto tag) {
    using mode = typename decltype(tag)::type;
    long wrong = 0;
    for (std::int64_t x : values) {
      for (int s = 0; s <= 62; ++s) wrong += mode::shift_right(x, s) != expected(mode::name, x, exact::pow2(s));
      for (std::int64_t d : {std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, std::int64_t{9}, std::int64_t{49}, std::int64_t{1} << 40,
                             INT64_MAX - 1, INT64_MAX})
        wrong += mode::divide(x, d) != expected(mode::name, x, d);
    }
    CAPTURE(mode::name);
    CHECK(wrong == 0);
  });
}

TEST_CASE("stochastic rounding is a function of seed and index, and unbiased", "[round]") {
  constexpr round_to::stochastic a{.seed = 1}, b{.seed = 2};
  // Pinned (from an evaluation in big integers), so that no build, compiler or machine may give others.
  static_assert(a.word(0) == 0x3a0c8c02u && a.word(1) == 0xdc563a79u && a.word(std::uint64_t{1} << 32) == 0x25c65c2bu &&
                b.word(0) == 0x8e00edd1u && round_to::stochastic{.seed = 0xfedcba9876543210ull}.word(123456789) == 0x172035d2u);

  for (float x : {0.0f, 1.0f, -3.0f, 8388609.0f}) CHECK(a.to_integral(x, 5) == x);
  CHECK(std::isnan(a.to_integral(std::numeric_limits<float>::quiet_NaN(), 0)));
  CHECK(a.to_integral(-std::numeric_limits<float>::infinity(), 0) == -std::numeric_limits<float>::infinity());

  // P(away) = f: within 5 standard deviations of the binomial, for several f, signs and seeds.
  constexpr int n = 40000;
  for (float f : {0.001f, 0.25f, 0.5f, 0.9f})
    for (float whole : {0.0f, 7.0f})
      for (std::uint64_t seed : {0ull, 1ull, 0x9e3779b97f4a7c15ull}) {
        round_to::stochastic const r{.seed = seed};
        int up = 0, down = 0;
        for (int i = 0; i < n; ++i) {
          float const x = whole + f, y = r.to_integral(x, static_cast<std::uint64_t>(i)), z = r.to_integral(-x, static_cast<std::uint64_t>(i) << 20);
          REQUIRE((y == whole || y == whole + 1));
          REQUIRE((z == -whole || z == -whole - 1));
          up += y > whole;
          down += z < -whole;
        }
        double const sigma = std::sqrt(n * static_cast<double>(f) * (1 - static_cast<double>(f)));
        CAPTURE(f, whole, seed, up, down);
        CHECK(std::abs(up - n * static_cast<double>(f)) < 5 * sigma);
        CHECK(std::abs(down - n * static_cast<double>(f)) < 5 * sigma);
      }
  // Neighbouring indices, and the same index under neighbouring seeds, are uncorrelated.
  for (int lag = 1; lag <= 3; ++lag) {
    double along = 0, across = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
      auto const centred = [](std::uint32_t w) { return (w - 2147483647.5) / 4294967296.0; };
      along += centred(a.word(i)) * centred(a.word(i + static_cast<std::uint64_t>(lag)));
      across += centred(a.word(i)) * centred(round_to::stochastic{.seed = 1 + static_cast<std::uint64_t>(lag)}.word(i));
    }
    double const sigma = std::sqrt(static_cast<double>(n)) / 12;
    CHECK(std::abs(along) < 5 * sigma);
    CHECK(std::abs(across) < 5 * sigma);
  }
}
