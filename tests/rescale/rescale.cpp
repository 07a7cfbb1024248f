#include "support/catch.hpp"
#include "support/exact.hpp"

#include <quern/rescale/rescales.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

using namespace quern;
using namespace quern::rescale;
using exact::big;
using exact::tie;

namespace {

constexpr std::int32_t lowest32 = INT32_MIN, highest32 = INT32_MAX;

/// The corners of int32, small numbers, powers of two and their neighbours, then random ones of every magnitude.
std::vector<std::int32_t> accumulators(int random_count) {
  std::vector<std::int32_t> v;
  for (int i = -40; i <= 40; ++i) v.push_back(i);
  for (int e = 6; e < 32; ++e)
    for (std::int64_t d = -2; d <= 2; ++d)
      for (std::int64_t s : {-1, 1}) {
        std::int64_t const x = s * ((std::int64_t{1} << e) + d);
        if (x >= lowest32 && x <= highest32) v.push_back(static_cast<std::int32_t>(x));
      }
  std::mt19937 random(3);
  for (int i = 0; i < random_count; ++i) v.push_back(static_cast<std::int32_t>(random()) >> (random() % 28));
  return v;
}

/// Powers of two, halves, thirds, network-like and random scales of every magnitude below `below`.
std::vector<double> scales(double below) {
  std::vector<double> v = {1.0, 0.1, 1.0 / 3, 0.0039215686f, 0.007247427341846, 1 - 0x1p-33, 1 - 0x1p-32, 1 - 0x1p-31, 0.99999994f, 0x1.fffffep-1};
  for (int e = -31; e < 31; ++e) v.push_back(std::ldexp(1.0, e)), v.push_back(std::ldexp(1.5, e)), v.push_back(std::ldexp(0x1.fffffep0, e));
  std::mt19937_64 random(5);
  for (int i = 0; i < 60; ++i)
    v.push_back(std::ldexp(1.0 + static_cast<double>(random() >> 11) * 0x1p-53, static_cast<int>(random() % 31) - 28));
  std::erase_if(v, [&](double s) { return !(s < below); });
  return v;
}

big saturated_product(big a, big b, int n) {
  return exact::saturated(exact::nearest(a * b, exact::pow2(n - 1), tie::up), n);
}

/// multiplier and shift of a double: fraction to 31 bits, ties away.
multiplier_shift expected_multiplier(double scale, bool flush) {
  if (scale == 0) return {};
  exact::dyadic const d = exact::value_of(scale);
  big m = d.numerator < 0 ? -d.numerator : d.numerator;
  int bits = 0;
  while ((m >> bits) != 0) ++bits;
  big f = bits > 31 ? exact::nearest(m, exact::pow2(bits - 31), tie::away) : m << (31 - bits);
  int shift = d.exponent + bits;
  if (f == exact::pow2(31)) f /= 2, ++shift;
  if (flush && shift < -31) return {};
  return {static_cast<std::int32_t>(d.numerator < 0 ? -f : f), shift};
}

template <class Policy, class Expected>
void sweep(double below, Expected&& expected, int random_count = 300) {
  long cases = 0, wrong = 0;
  std::string first;
  for (double s : scales(below)) {
    auto const p = Policy::from_real(s);
    for (std::int32_t x : accumulators(random_count)) {
      ++cases;
      std::int64_t const want = static_cast<std::int64_t>(expected(x, s));
      std::int32_t const got = Policy::apply(x, p);
      if (got != want && wrong++ == 0)
        first = "x " + std::to_string(x) + " scale " + std::to_string(s) + ": " + std::to_string(got) + ", exact " + std::to_string(want);
    }
  }
  INFO(Policy::name << ": first of " << wrong << " of " << cases << ": " << first);
  CHECK(wrong == 0);
}

/// f32(x) * scale in binary32, then to an integer.
big float_product(std::int64_t x, float scale, tie t) {
  exact::dyadic const fx = exact::to_precision({x, 0}, 24);
  big const v = exact::nearest(exact::to_precision(exact::times(fx, exact::value_of(scale)), 24), t);
  return exact::saturated(v, 32);
}

}  // namespace

// ---- the specification's vectors -----------------------------------------------------------------------------------

TEST_CASE("srdhm: ties upward, one saturating case, 32 and 16 bits", "[rescale]") {
  static_assert(srdhm<std::int32_t>(1 << 30, 1) == 1 && srdhm<std::int32_t>(-(1 << 30), 1) == 0);
  static_assert(srdhm<std::int32_t>(1 << 30, 3) == 2 && srdhm<std::int32_t>(-(1 << 30), 3) == -1);
  static_assert(srdhm(lowest32, lowest32) == highest32 && srdhm(lowest32, highest32) == -highest32);
  static_assert(srdhm<std::int32_t>(-7, 1 << 30) == -3);
  using i16 = std::int16_t;
  static_assert(srdhm<i16>(16384, 1) == 1 && srdhm<i16>(-16384, 1) == 0 && srdhm<i16>(16384, 3) == 2 && srdhm<i16>(-16384, 3) == -1);
  static_assert(srdhm<i16>(-32768, -32768) == 32767 && srdhm<i16>(-32768, 32767) == -32767 && srdhm<i16>(12345, -23456) == -8837);
  for (std::int32_t a : accumulators(60))
    for (std::int32_t b : accumulators(60)) REQUIRE(srdhm(a, b) == static_cast<std::int64_t>(saturated_product(a, b, 32)));
  for (int a = -32768; a < 32768; a += 97)
    for (int b : {-32768, -32767, -16384, -1, 0, 1, 3, 16384, 23456, 32767})
      REQUIRE(srdhm(static_cast<i16>(a), static_cast<i16>(b)) == static_cast<std::int64_t>(saturated_product(a, b, 16)));
}

TEST_CASE("rounding_divide_by_pot: ties away from zero at every exponent", "[rescale]") {
  struct row {
    std::int32_t x;
    int e;
    std::int32_t want;
  };
  for (row r : {row{5, 1, 3}, row{-5, 1, -3}, row{3, 1, 2}, row{-3, 1, -2}, row{6, 2, 2}, row{-6, 2, -2}, row{7, 0, 7}, row{lowest32, 31, -1},
                row{highest32, 31, 1}, row{1 << 30, 31, 1}, row{-(1 << 30), 31, -1}, row{-1, 31, 0}})
    CHECK(rounding_divide_by_pot(r.x, r.e) == r.want);
  for (std::int32_t x : accumulators(200))
    for (int e = 0; e <= 31; ++e) REQUIRE(rounding_divide_by_pot(x, e) == static_cast<std::int64_t>(exact::nearest(x, exact::pow2(e), tie::away)));
  for (int x = -32768; x < 32768; ++x)
    for (int e = 0; e <= 15; ++e)
      if (rounding_divide_by_pot(static_cast<std::int16_t>(x), e) != static_cast<std::int64_t>(exact::nearest(x, exact::pow2(e), tie::away)))
        FAIL("int16 " << x << " / 2^" << e);
}

TEST_CASE("half sums and saturating shifts", "[rescale]") {
  for (std::int32_t a : accumulators(40))
    for (std::int32_t b : {lowest32, -3, -1, 0, 1, 2, 1 << 30, highest32})
      REQUIRE(rounding_half_sum(a, b) == static_cast<std::int64_t>(exact::nearest(big{a} + b, 2, tie::away)));
  for (std::int32_t a : accumulators(40))
    for (int e = 0; e <= 31; ++e) {
      REQUIRE(saturating_multiply_by_pot(a, e) == static_cast<std::int64_t>(exact::saturated(big{a} << e, 32)));
      REQUIRE(saturating_multiply_by_pot(a, -e) == rounding_divide_by_pot(a, e));
      REQUIRE(wrapping_shift_left(a, e) == exact::wrapped32(big{a} << e));
    }
  CHECK(wrapping_shift_left(1, 32) == 0);
}

TEST_CASE("quantize_multiplier: the specification's table", "[rescale]") {
  using m = multiplier_shift;
  constexpr std::int32_t one = 1 << 30;
  static_assert(quantize_multiplier(0) == m{0, 0});
  static_assert(quantize_multiplier(1.0) == m{one, 1} && quantize_multiplier(0.5) == m{one, 0} && quantize_multiplier(0.25) == m{one, -1} &&
                quantize_multiplier(2.0) == m{one, 2});
  static_assert(quantize_multiplier(1 - 0x1p-33) == m{one, 1} && quantize_multiplier(1 - 0x1p-32) == m{one, 1});
  static_assert(quantize_multiplier(1 - 0x1p-31) == m{2147483647, 0});
  static_assert(quantize_multiplier(0.1) == m{1717986918, -3});
  static_assert(quantize_multiplier(0.003921568859368563) == m{1077952640, -7});
  static_assert(quantize_multiplier(0.007247427341846) == m{1992157658, -7});
  static_assert(quantize_multiplier(0x1p-32) == m{one, -31} && quantize_multiplier(0x1p-33) == m{0, 0} && quantize_multiplier(1e-10) == m{0, 0});
  static_assert(quantize_multiplier(0x1p31) == m{one, 32} && quantize_multiplier_single_rounding(0x1p31) == m{2147483647, 30});
  static_assert(quantize_multiplier(-0.1) == m{-1717986918, -3} && quantize_multiplier(-(1 - 0x1p-33)) == m{-one, 1});
  // TVM keeps what TFLite flushes.
  static_assert(quantize_multiplier_tvm(0x1p-33) == m{one, -32} && quantize_multiplier_tvm(1e-10).multiplier != 0);
  // Non-finite scales are outside of TFLite's contract; here they are nothing.
  CHECK(quantize_multiplier(NAN) == m{});
  CHECK(quantize_multiplier(INFINITY) == m{});
  CHECK(quantize_multiplier_tvm(-INFINITY) == m{});
  // Smallest and largest doubles.
  CHECK(quantize_multiplier(4.9e-324) == m{});
  CHECK(quantize_multiplier_tvm(4.9e-324) == m{one, -1073});
  CHECK(quantize_multiplier(1.7976931348623157e308) == m{one, 1025});
  for (double s : scales(1e300)) {
    CAPTURE(s);
    CHECK(quantize_multiplier(s) == expected_multiplier(s, true));
    CHECK(quantize_multiplier_tvm(s * 1e-12) == expected_multiplier(s * 1e-12, false));
  }
}

TEST_CASE("integer_frexp: ties down, NaN and infinities by name", "[rescale]") {
  static_assert(integer_frexp(123.45).fraction == 2071147315 && integer_frexp(123.45).shift == 7);
  static_assert(integer_frexp(0.0).fraction == 0 && integer_frexp(0.0).shift == 0);
  static_assert(integer_frexp(1.0).fraction == 1 << 30 && integer_frexp(1.0).shift == 1);
  static_assert(integer_frexp(-0.75).fraction == -(3 << 29) && integer_frexp(-0.75).shift == 0);
  CHECK(integer_frexp(NAN).fraction == 0);
  CHECK(integer_frexp(NAN).shift == INT32_MAX);
  CHECK(integer_frexp(INFINITY).fraction == INT64_MAX);
  CHECK(integer_frexp(-INFINITY).fraction == INT64_MIN);
  CHECK(integer_frexp(-INFINITY).shift == INT32_MAX);
  // The only difference from frexp: exactly half of the last bit goes down.
  double const half = 1.0 + 0x1p-31;
  CHECK(integer_frexp(half).fraction == 1 << 30);
  CHECK(quantize_multiplier(half).multiplier == (1 << 30) + 1);
  CHECK(integer_frexp(1.0 + 0x1.00002p-31).fraction == (1 << 30) + 1);
  CHECK(quantize_multiplier_integer(1 - 0x1p-40) == multiplier_shift{1 << 30, 1});
  for (double s : scales(1e300)) {
    exact::dyadic const d = exact::value_of(s);
    big const dropped = d.numerator & 0x3fffff;
    CAPTURE(s);
    if (dropped != 0x200000) CHECK(quantize_multiplier_integer(s) == quantize_multiplier(s));
  }
}

TEST_CASE("choose_requantization_multiplier: FBGEMM's table", "[rescale]") {
  using m = multiplier_shift;
  static_assert(choose_requantization_multiplier(0.5f) == m{1 << 30, 31} && choose_requantization_multiplier(1.0f) == m{1 << 30, 30});
  static_assert(choose_requantization_multiplier(0.1f) == m{1717986944, 34} && choose_requantization_multiplier(0.0073f) == m{2006608768, 38});
  static_assert(choose_requantization_multiplier(1.7f) == m{1825361152, 30} && choose_requantization_multiplier(.99999994f) == m{2147483520, 31});
  CHECK(choose_requantization_multiplier(NAN) == m{});
  CHECK(choose_requantization_multiplier(0) == m{});
}

TEST_CASE("TFLite's three multiplications: the specification's table", "[rescale]") {
  struct row {
    std::int32_t x;
    multiplier_shift m;
    std::int32_t dbl, sgl, s64;
    bool dbl_given = true;
  };
  for (row r : {row{1, {1 << 30, -1}, 1, 0, 0}, row{5, {1 << 30, -1}, 2, 1, 1}, row{-6, {1 << 30, -1}, -2, -1, -1}, row{-2, {1 << 30, -1}, -1, 0, 0},
                row{-3, {1 << 30, 0}, -1, -1, -1}, row{2, {1610612736, -2}, 1, 0, 0}, row{10, {1610612736, -4}, 1, 0, 0},
                row{123456, {1717986918, -3}, 12346, 12346, 12345}, row{123456789, {1288490189, -7}, 0, 578704, 578710, false},
                row{1000, {1 << 30, 1}, 1000, 1000, 1000}}) {
    CAPTURE(r.x, r.m.multiplier, r.m.shift);
    if (r.dbl_given) CHECK(gemmlowp_double::apply(r.x, r.m) == r.dbl);
    if (r.dbl_given) CHECK(cmsis_nn::apply(r.x, r.m) == r.dbl);
    CHECK(tflite_single::apply(r.x, r.m) == r.sgl);
    CHECK(tflite_s64::apply(r.x, tflite_s64::from_multiplier(r.m)) == r.s64);
    CHECK(cmsis_nn_s64::apply(r.x, cmsis_nn_s64::from_multiplier(r.m)) == r.s64);
  }
}

TEST_CASE("vectors of QNNPACK, XNNPACK and TVM", "[rescale]") {
  auto const q = [](double s, int x) { return qnnpack::apply(x, qnnpack::from_real(s)) + 10; };
  CHECK(q(.5, 1) == 11);
  CHECK(q(.5, -1) == 10);
  CHECK(q(.5, 3) == 12);
  CHECK(q(.5, -3) == 9);
  CHECK(q(.25, 1) == 11);
  CHECK(q(.25, 10) == 13);
  CHECK(q(.3, -1) == 9);

  int const x[] = {1, -1, 3, -3, 5, -5}, ties_up[] = {1, 0, 2, -1, 3, -2}, to_even[] = {0, 0, 2, -2, 2, -2};
  for (int i = 0; i < 6; ++i) {
    CHECK(xnnpack_rndnu::apply(x[i], xnnpack_rndnu::from_real(.5)) == ties_up[i]);
    CHECK(xnnpack_fp32::apply(x[i], xnnpack_fp32::from_real(.5)) == to_even[i]);
  }

  auto const up = [](double s, int v) { return tvm_upward::apply(v, tvm_upward::from_real(s)); };
  auto const near = [](double s, int v) { return tvm_to_nearest::apply(v, tvm_to_nearest::from_real(s)); };
  CHECK(up(.5, 1) == 1);
  CHECK(near(.5, 1) == 1);
  CHECK(up(.5, -1) == 0);
  CHECK(near(.5, -1) == -1);
  CHECK(up(.5, -3) == -1);
  CHECK(near(.5, -3) == -2);
  CHECK(up(.25, 5) == 1);
  CHECK(near(.25, 5) == 1);
  CHECK(gemmlowp_double::apply(5, gemmlowp_double::from_real(.25)) == 2);
  CHECK(up(.3, 7) == 2);
  CHECK(near(.3, 7) == 2);
  CHECK(up(.3, -5) == -2);
  CHECK(near(.3, -5) == -2);
}

// ---- every policy against exact rationals ----------------------------------------------------------------------------

TEST_CASE("gemmlowp's and CMSIS-NN's double rounding equal two exact roundings", "[rescale]") {
  sweep<gemmlowp_double>(0x1p30, [](std::int32_t x, double s) {
    multiplier_shift const m = expected_multiplier(s, true);
    big const left = exact::wrapped32(big{x} * exact::pow2(m.shift > 0 ? m.shift : 0));
    return exact::nearest(saturated_product(left, m.multiplier, 32), exact::pow2(m.shift < 0 ? -m.shift : 0), tie::away);
  });
  sweep<cmsis_nn>(0x1p30, [](std::int32_t x, double s) {
    multiplier_shift const m = expected_multiplier(s, true);
    big const left = exact::wrapped32(big{x} * exact::pow2(m.shift > 0 ? m.shift : 0));
    return exact::nearest(exact::nearest(left * m.multiplier, exact::pow2(31), tie::up), exact::pow2(m.shift < 0 ? -m.shift : 0), tie::away);
  });
  // The one place where they part: MIN * MIN.
  CHECK(gemmlowp_double::apply(lowest32, {lowest32, 0}) == highest32);
  CHECK(cmsis_nn::apply(lowest32, {lowest32, 0}) == lowest32);
}

TEST_CASE("single rounding, TVM, FBGEMM's fixed point and rndnu equal one exact rounding", "[rescale]") {
  auto const general = [](std::int32_t x, multiplier_shift m, tie t) {
    int const left = m.shift > 0 ? m.shift : 0, right = m.shift < 0 ? -m.shift : 0;
    return exact::wrapped32(exact::nearest(big{x} * exact::pow2(left) * m.multiplier, exact::pow2(31 + right), t));
  };
  sweep<tflite_single>(0x1p30, [&](std::int32_t x, double s) { return general(x, expected_multiplier(s, true), tie::up); });
  CHECK(tflite_single::from_real(0x1p31) == multiplier_shift{2147483647, 30});
  // The product leaves int64 when x * scale leaves int32 by far; TVM's contract ends there.
  sweep<tvm_upward_per_axis>(1.0, [&](std::int32_t x, double s) { return general(x, expected_multiplier(s, false), tie::up); });
  sweep<tvm_to_nearest>(1.0, [&](std::int32_t x, double s) { return general(x, expected_multiplier(s, false), tie::away); });
  sweep<tvm_upward>(1.0, [&](std::int32_t x, double s) {
    multiplier_shift const m = expected_multiplier(s, false);
    if (m.multiplier != 1 << 30) return general(x, m, tie::up);
    int const right = 1 - m.shift;  // a power of two: 32-bit addition, which wraps
    if (right == 0) return std::int64_t{x};
    return static_cast<std::int64_t>(exact::floor_div(exact::wrapped32(big{x} + exact::pow2(right - 1)), exact::pow2(right)));
  });
  CHECK(tvm_upward::apply(highest32, tvm_upward::from_real(0.5)) == -(1 << 30));  // the wrap, on purpose
  CHECK(tvm_upward_per_axis::apply(highest32, tvm_upward_per_axis::from_real(0.5)) == 1 << 30);
  CHECK(tvm_upward::apply(5, tvm_upward::from_real(4.0)) == 20);
  CHECK(tvm_upward::apply(5, tvm_upward::from_real(0x1p-40)) == 0);
  CHECK(tvm_upward_per_axis::apply(lowest32, {highest32, -32}) == 0);
  CHECK(tvm_to_nearest::apply(highest32, {highest32, -1000}) == 0);

  sweep<fbgemm_fixed>(0x1p29, [](std::int32_t x, double s) {
    // The float's 24 bits are exact in 31, so the rounding is of the exact product.
    exact::dyadic const v = exact::times({x, 0}, exact::value_of(static_cast<float>(s)));
    return exact::wrapped32(exact::nearest(v, tie::up));
  });
  CHECK(fbgemm_fixed::apply(lowest32, fbgemm_fixed::from_real(0x1p-60)) == 0);
  CHECK(fbgemm_fixed::apply(123, fbgemm_fixed::from_real(0)) == 0);
  sweep<xnnpack_rndnu>(255.0, [](std::int32_t x, double s) {
    return exact::wrapped32(exact::nearest(exact::times({x, 0}, exact::value_of(static_cast<float>(s))), tie::up));
  });
}

TEST_CASE("the 64-bit rescales equal their 16-bit multiplier's exact product", "[rescale]") {
  std::mt19937_64 random(17);
  std::vector<std::int64_t> wide;
  for (std::int32_t x : accumulators(100)) wide.push_back(x);
  for (int i = 0; i < 400; ++i) wide.push_back(static_cast<std::int64_t>(random()) >> (17 + random() % 30));
  for (std::int64_t x : {(std::int64_t{1} << 47) - 1, -(std::int64_t{1} << 47) + 1}) wide.push_back(x);
  for (double s : scales(127.0)) {
    multiplier_shift const m = expected_multiplier(s, true);
    big const reduced = m.multiplier < 0x7fff0000 ? exact::floor_div(big{m.multiplier} + 32768, 65536) : 32767;
    for (std::int64_t x : wide) {
      big const want = exact::nearest(big{x} * reduced, exact::pow2(15 - m.shift), tie::up);
      if (tflite_s64::apply(x, tflite_s64::from_real(s)) != exact::wrapped32(want)) FAIL("tflite_s64 " << x << " * " << s);
      big const before = exact::wrapped32(exact::floor_div(big{x} * reduced, exact::pow2(14 - m.shift)));
      if (cmsis_nn_s64::apply(x, cmsis_nn_s64::from_real(s)) != exact::floor_div(before + 1, 2)) FAIL("cmsis_nn_s64 " << x << " * " << s);
    }
  }
}

TEST_CASE("QNNPACK's roundings equal exact ones of the float's 24 bits", "[rescale]") {
  sweep<qnnpack_precise>(0.9999999, [](std::int32_t x, double s) {
    return exact::nearest(exact::times({x, 0}, exact::value_of(static_cast<float>(s))), tie::away);
  });
  sweep<qnnpack>(0.9999999, [](std::int32_t x, double s) {
    exact::dyadic const v = exact::value_of(static_cast<float>(s));  // numerator in [2^23, 2^24)
    big const high = exact::nearest(big{x} * (v.numerator << 7), exact::pow2(31), tie::up);
    return exact::nearest(high, exact::pow2(-v.exponent - 24), tie::away);
  });
  CHECK(qnnpack::from_real(0.5) == multiplier_shift{1 << 30, 0});
  CHECK(qnnpack::from_real(0x1p-32) == multiplier_shift{1 << 30, 31});
  CHECK(qnnpack::from_real(0.99999994) == multiplier_shift{0x7fffff80, 0});
}

TEST_CASE("float rescales equal binary32 arithmetic done by hand; the magic number equals lrintf", "[rescale]") {
  sweep<float_multiply<>>(0x1p30, [](std::int32_t x, double s) { return float_product(x, static_cast<float>(s), tie::even); });
  sweep<float_multiply<round_to::half_away>>(0x1p30, [](std::int32_t x, double s) { return float_product(x, static_cast<float>(s), tie::away); });
  sweep<xnnpack_fp32>(255.0, [](std::int32_t x, double s) { return float_product(x, static_cast<float>(s), tie::even); });
  sweep<double_multiply<>>(0x1p30, [](std::int32_t x, double s) {
    exact::dyadic const v = exact::to_precision(exact::times({x, 0}, exact::value_of(s)), 53);
    return exact::saturated(exact::nearest(v, tie::away), 32);
  });
  for (double s : scales(255.0))
    for (std::int32_t x : accumulators(200))
      for (auto [zero_point, lo, hi] : {std::array{0, -128, 127}, std::array{-128, -128, 127}, std::array{127, -100, 100}, std::array{255, 0, 255}}) {
        auto const p = xnnpack_fp32::from_real(s);
        big const sum = float_product(x, p.scale, tie::even) + zero_point;
        if (xnnpack_fp32::magic_requantize(x, p, zero_point, lo, hi) != (sum < lo ? lo : sum > hi ? hi : sum)) FAIL("magic " << x << " * " << s);
      }
}

TEST_CASE("rndnu16 equals its three exact steps", "[rescale]") {
  sweep<xnnpack_rndnu16>(255.0, [](std::int32_t x, double s) {
    exact::dyadic const v = exact::value_of(static_cast<float>(s));
    int const e = v.exponent + 23;  // scale in [2^e, 2^(e+1))
    big q = exact::nearest(v.numerator, 512, tie::up);
    if (q > 32767) q = 32767;
    big const input = e + 1 >= 0 ? big{x} * exact::pow2(e + 1) : exact::nearest(x, exact::pow2(-e - 1), tie::up);
    return exact::nearest(exact::saturated(input, 16) * q, exact::pow2(15), tie::up);
  });
}

TEST_CASE("power_of_two shifts with every rounding, saturating to the left", "[rescale]") {
  auto const check = [](auto policy, auto&& expected) {
    using p = decltype(policy);
    for (int e = -62; e <= 62; ++e) {
      auto const parameters = p::from_real(std::ldexp(1.0, e));
      REQUIRE(parameters.shift == -e);
      for (std::int32_t x : accumulators(50)) {
        big const want = e >= 0 ? (x == 0 ? 0 : exact::saturated(big{x} * exact::pow2(e), 32)) : expected(x, exact::pow2(-e));
        if (p::apply(x, parameters) != want) FAIL(p::rounding::name << " " << x << " * 2^" << e);
      }
    }
    CHECK(p::apply(INT64_MAX, {40}) == static_cast<std::int64_t>(exact::saturated(expected(INT64_MAX, exact::pow2(40)), 32)));
    CHECK(p::apply(INT64_MIN, {0}) == lowest32);
    CHECK(p::apply(INT64_MAX, {-1}) == highest32);
  };
  check(power_of_two<round_to::half_even>{}, [](big x, big d) { return exact::nearest(x, d, tie::even); });
  check(power_of_two<round_to::half_away>{}, [](big x, big d) { return exact::nearest(x, d, tie::away); });
  check(power_of_two<round_to::half_up>{}, [](big x, big d) { return exact::nearest(x, d, tie::up); });
  check(power_of_two<round_to::half_toward_zero>{}, [](big x, big d) { return exact::nearest(x, d, tie::zero); });
  check(power_of_two<round_to::half_even_positive>{}, [](big x, big d) { return exact::nearest(x, d, tie::even_positive); });
  check(power_of_two<round_to::floor>{}, [](big x, big d) { return exact::directed(x, d, exact::direction::down); });
  check(power_of_two<round_to::ceil>{}, [](big x, big d) { return exact::directed(x, d, exact::direction::up); });
  check(power_of_two<round_to::toward_zero>{}, [](big x, big d) { return exact::directed(x, d, exact::direction::zero); });
}

TEST_CASE("a scale outside of a policy's contract is refused with a sentence", "[rescale]") {
  auto const refuses = [](auto policy, std::initializer_list<double> bad) {
    using p = decltype(policy);
    for (double s : bad) {
      CAPTURE(p::name, s);
      try {
        p::from_real(s);
        FAIL("accepted");
      } catch (error const& e) {
        CHECK(e.code() == errc::scale);
        CHECK(std::string(e.what()).find(p::name) == 0);
      }
    }
  };
  for_each_type<rescales>([&](auto tag) { refuses(typename decltype(tag)::type{}, {-1.0, NAN, INFINITY, -INFINITY}); });
  refuses(gemmlowp_double{}, {0x1p31, 2147483647.5});
  refuses(cmsis_nn{}, {0x1p31});
  refuses(tflite_s64{}, {128.0, 127.99999999});
  refuses(tvm_upward{}, {0x1p31});
  refuses(fbgemm_fixed{}, {0x1p30});
  refuses(qnnpack{}, {0.0, 1.0, 0x1p-33, 1 - 0x1p-30});
  refuses(qnnpack_precise{}, {0.0, 1.0, 0x1p-33});
  refuses(xnnpack_fp32{}, {0.0, 256.0, 0x1p-33});
  refuses(xnnpack_rndnu{}, {0.0, 256.0});
  refuses(xnnpack_rndnu16{}, {0.0, 256.0});
  refuses(float_multiply<>{}, {1e39});
  refuses(power_of_two<>{}, {0.0, 3.0, 0.1, 0x1p63, 0x1p-63});
  CHECK(gemmlowp_double::from_real(2147483647.0).shift == 31);
}

TEST_CASE("every listed rescale is a policy, and gives 2 for 8 * 0.25 at compile time", "[rescale]") {
  for_each_type<rescales>([](auto tag) {
    using p = typename decltype(tag)::type;
    require_rescale_policy<p>();
    static_assert(p::apply(std::int32_t{8}, p::from_real(0.25)) == 2);
  });
  static_assert(wide_rescale_policy<tflite_s64> && wide_rescale_policy<cmsis_nn_s64> && wide_rescale_policy<float_multiply<>>);
  static_assert(!wide_rescale_policy<gemmlowp_double>);
}
