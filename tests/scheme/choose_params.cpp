#include <quern/scheme/choose_params.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <string>

using namespace quern;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

using codes = type_list<s2, u2, code<3, false>, s4, u4, code<5, true>, s8, u8, s16, u16>;

/// What the checks need to know of a scheme; they are compiled once, not once for each of the 60 schemes.
struct facts {
  std::string kind, name;
  int q_min, q_max, q_middle;
  bool fixed_zero_point;
  scale_zero_point (*choose)(real_range, choose_options);
  void (*check)(params_view);
};

/// Every scheme kind x code x range of codes, per tensor.
template <class F>
void for_each_scheme(F f) {
  for_each_type<schemes>([&](auto kind) {
    for_each_type<codes>([&](auto c) {
      for_each_type<code_ranges>([&](auto range) {
        using S = with_range<with_code<typename decltype(kind)::type, typename decltype(c)::type>, typename decltype(range)::type>;
        f(facts{S::name, scheme_name<S>, S::q_min, S::q_max, S::q_middle, S::fixed_zero_point,
                [](real_range r, choose_options o) {
                  auto const p = choose_params<S>(r, o);
                  return scale_zero_point{p.scale, p.zero_point};
                },
                [](params_view p) { check_params<S>(p, 1, "test"); }});
      });
    });
  });
}

float const ends[] = {0.0f,     -0.0f,    FLT_TRUE_MIN, 1e-42f,  FLT_MIN,  1e-30f, 1e-6f,   0.1f,  0.5f,     1.0f,
                      1.5f,     127.0f,   128.0f,       255.0f,  1000.5f,  6.0f,   3.3e10f, 1e38f, 1.8e38f,  FLT_MAX, inf};

double dequantize(double q, scale_zero_point p) { return p.scale * (q - p.zero_point); }

template <class Call>
std::string message(Call call) {
  try {
    call();
  } catch (error const& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("choose_params: every scheme, over every pair of ends, promises what its docstring says", "[scheme][every]") {
  for_each_scheme([](facts const& scheme) {
    INFO(scheme.name);
    bool const power = scheme.kind == "power_of_two";
    for (float a : ends)
      for (float b : ends)
        for (int signs = 0; signs < 3; ++signs) {
          float lo = signs == 2 ? a : -a, hi = signs == 1 ? -b : b;
          if (lo > hi) std::swap(lo, hi);
          INFO("range " << lo << " to " << hi);
          scale_zero_point const p = scheme.choose({lo, hi}, {});

          // a usable scale, a code for 0.0, and params that check_params lets pass
          REQUIRE(p.scale > 0.0f);
          REQUIRE(std::isnormal(p.scale));
          REQUIRE(std::isfinite(1.0f / p.scale));
          REQUIRE(p.zero_point >= scheme.q_min);
          REQUIRE(p.zero_point <= scheme.q_max);
          scheme.check({&p.scale, &p.zero_point, 1});  // throws otherwise

          // every code stands for a finite float
          REQUIRE(std::isfinite(p.scale * static_cast<float>(scheme.q_min - p.zero_point)));
          REQUIRE(std::isfinite(p.scale * static_cast<float>(scheme.q_max - p.zero_point)));

          // nothing in the range is clipped by more than half a step (plus the rounding of the scale)
          double const limit = std::ldexp(1.0, 126);
          double const low = std::max<double>(std::min(lo, 0.0f), -limit), high = std::min<double>(std::max(hi, 0.0f), limit);
          double const slack = p.scale * ((scheme.fixed_zero_point ? 0.0 : 0.5) + 6e-8 * (scheme.q_max - scheme.q_min));
          REQUIRE(dequantize(scheme.q_min, p) <= low + slack);
          REQUIRE(dequantize(scheme.q_max, p) >= high - slack);

          // and no smaller scale would do
          if ((low != 0 || high != 0) && p.scale > FLT_MIN) {
            double const smaller = power ? p.scale / 2 : p.scale * (1 - 1e-6);
            if (scheme.fixed_zero_point)
              REQUIRE((smaller * (scheme.q_min - scheme.q_middle) > low || smaller * (scheme.q_max - scheme.q_middle) < high));
            else
              REQUIRE(smaller * (scheme.q_max - scheme.q_min) < high - low);
          }
        }
  });
}

TEST_CASE("choose_params: known values", "[scheme]") {
  auto const is = [](auto p, float scale, int zero_point) { return p.scale == scale && p.zero_point == zero_point; };
  // numerics.md 2.3: where the real quotient is no tie, all frameworks agree
  CHECK(is(choose_params<asymmetric<u8>>({-10, 30}), static_cast<float>(40.0 / 255), 64));
  CHECK(is(choose_params<asymmetric<u8>>({0, 30}), static_cast<float>(30.0 / 255), 0));
  CHECK(is(choose_params<asymmetric<u8>>({-10, 0}), static_cast<float>(10.0 / 255), 255));
  CHECK(is(choose_params<asymmetric<u8>>({-0.1f, 6}), static_cast<float>((6.0 + 0.1f) / 255), 4));
  CHECK(is(choose_params<asymmetric<s8>>({-3, 1}), static_cast<float>(4.0 / 255), 63));
  CHECK(is(choose_params<asymmetric<u8>>({-1, 1}), 0x1.010102p-7f, 127));   // 2/255 rounds up: -min/scale is below 127.5
  CHECK(is(choose_params<asymmetric<s8>>({-1, 1}), 0x1.010102p-7f, -1));
  CHECK(is(choose_params<asymmetric<s8, per_tensor, narrow_range>>({-1, 1}), static_cast<float>(1.0 / 127), 0));
  CHECK(is(choose_params<asymmetric<u4>>({0, 15}), 1.0f, 0));
  CHECK(is(choose_params<asymmetric<u2>>({-1, 2}), 1.0f, 1));
  CHECK(is(choose_params<symmetric<s8>>({-1, 1}), static_cast<float>(1.0 / 127), 0));
  CHECK(is(choose_params<symmetric<s8>>({-1, 0.5f}), 1.0f / 128, 0));
  CHECK(is(choose_params<symmetric<s8, per_tensor, narrow_range>>({-1, 0.5f}), static_cast<float>(1.0 / 127), 0));
  CHECK(is(choose_params<symmetric<u8>>({-1, 1}), static_cast<float>(1.0 / 127), 128));
  CHECK(is(choose_params<symmetric<s4, per_tensor, narrow_range>>({-7, 3}), 1.0f, 0));
  CHECK(is(choose_params<symmetric<s2, per_tensor, narrow_range>>({-3, 1}), 3.0f, 0));
  CHECK(is(choose_params<symmetric<s16>>({-32768, 32767}), 1.0f, 0));
  CHECK(is(choose_params<power_of_two<s8>>({-1, 1}), 1.0f / 64, 0));
  CHECK(is(choose_params<power_of_two<s8>>({-1, 0.5f}), 1.0f / 128, 0));
  CHECK(is(choose_params<power_of_two<s8>>({-128, 127}), 1.0f, 0));
  CHECK(is(choose_params<power_of_two<s8>>({-128, 127.00001f}), 2.0f, 0));
  CHECK(is(choose_params<power_of_two<u8>>({-1, 1}), 1.0f / 64, 128));
}

TEST_CASE("choose_params: empty, all-zero and constant ranges", "[scheme][every]") {
  for_each_scheme([](facts const& scheme) {
    INFO(scheme.name);
    int const zero = scheme.fixed_zero_point ? scheme.q_middle : std::max(0, scheme.q_min);
    for (real_range r : {real_range{}, real_range{0, 0}, real_range{-0.0f, 0.0f}}) {
      auto const p = scheme.choose(r, {});
      CHECK(p.scale == 1.0f);
      CHECK(p.zero_point == zero);
      CHECK(scheme.choose(r, {.scale_of_zero = 0.25f}).scale == 0.25f);
    }
    for (float c : {1.0f, 0.3f, -7.7f, 1e-20f, -1e30f}) {
      auto const p = scheme.choose({c, c}, {});
      double const end = dequantize(c > 0 ? scheme.q_max : scheme.q_min, p);
      if (scheme.kind == "power_of_two")
        CHECK(std::fabs(end) >= std::fabs(c));
      else
        CHECK(std::fabs(end - c) <= std::ldexp(std::fabs(c), -24));
    }
  });
}

TEST_CASE("choose_params: NaN, reversed and useless arguments are refused", "[scheme][errors]") {
  using S = symmetric<>;
  CHECK(message([] { (void)choose_params<S>(real_range{not_a_number, 1}); }) ==
        "choose_params: range 0 is from NaN to 1; an end must not be NaN.");
  CHECK(message([] { (void)choose_params<S>(real_range{0, not_a_number}); }).find("must not be NaN") != std::string::npos);
  CHECK(message([] { (void)choose_params<S>(real_range{2, 1}); }) ==
        "choose_params: range 0 is from 2 to 1; its minimum must not exceed its maximum (an empty one is real_range{}).");
  CHECK(message([] { (void)choose_params<S>(real_range{0, 1}, {.smallest_scale = 0}); }) ==
        "choose_params: options.smallest_scale is 0; it must be finite and greater than zero.");
  CHECK(message([] { (void)choose_params<S>(real_range{0, 1}, {.scale_of_zero = -inf}); }) ==
        "choose_params: options.scale_of_zero is -infinity; it must be finite and greater than zero.");
  using C = symmetric<s8, per_channel<0>>;
  real_range const ranges[] = {{0, 1}, {not_a_number, not_a_number}};
  CHECK(message([&] { (void)choose_params<C>(view(ranges)); }) ==
        "choose_params: range 1 is from NaN to NaN; an end must not be NaN.");
  CHECK(message([&] { (void)choose_params<C>(vector_view<real_range>{nullptr, 3}); }) ==
        "choose_params: ranges is null, but its size is 3.");
}

TEST_CASE("choose_params: several ranges give what each would give alone", "[scheme]") {
  real_range const ranges[] = {{-1, 1}, {0, 6}, {}, {-3, -2}, {-inf, inf}};
  for_each_type<schemes>([&](auto kind) {
    using One = with_code<typename decltype(kind)::type, u8>;
    using Many = with_granularity<One, per_group<16>>;
    auto const many = choose_params<Many>(view(ranges));
    auto const fixed = choose_params<Many>(ranges);
    REQUIRE(many.size() == 5);
    for (index_t i = 0; i < 5; ++i) {
      auto const one = choose_params<One>(ranges[i]);
      CHECK(many.view().scale(i) == one.scale);
      CHECK(many.view().zero_point(i) == one.zero_point);
      CHECK(fixed.view().scale(i) == one.scale);
      CHECK(fixed.view().zero_point(i) == one.zero_point);
    }
  });
  // signed symmetric schemes store no zero points: all of them are 0
  CHECK(choose_params<symmetric<s8, per_row>>(view(ranges)).zero_points.empty());
}

TEST_CASE("choose_params: doubling the range doubles the scale and keeps the zero point", "[scheme][every]") {
  for_each_scheme([](facts const& scheme) {
    INFO(scheme.name);
    auto const before = scheme.choose({-0.7f, 1.9f}, {}), after = scheme.choose({-1.4f, 3.8f}, {});
    CHECK(after.scale == before.scale * 2);
    CHECK(after.zero_point == before.zero_point);
  });
}

TEST_CASE("choose_params and params are constant expressions", "[scheme][constexpr]") {
  constexpr auto one = choose_params<asymmetric<u8>>({-1.0f, 3.0f});
  static_assert(one.zero_point == 64 && one.scale == static_cast<float>(4.0 / 255));
  constexpr real_range ranges[] = {{-1, 1}, {0, 254}};
  constexpr auto many = choose_params<symmetric<s8, per_channel<0>>>(ranges);
  static_assert(many.scales[1] == 2.0f && many.zero_points[1] == 0);
  static_assert([] {
    real_range r[] = {{-1, 1}, {0, 254}};
    return choose_params<symmetric<s8, per_channel<0>>>(view(r)).scales[1];
  }() == 2.0f);
  static_assert(params<symmetric<>>{.scale = 0.5f}.view().count == 1);
  static_assert(params<symmetric<u8>>{}.zero_point == 128);
  SUCCEED();
}
