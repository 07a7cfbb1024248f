// Live oracle: the real gemmlowp (libgemmlowp-dev), when its headers are on this machine. Random, tie-heavy and extreme cases.
#include "support/catch.hpp"

#include <quern/convention/tflite.hpp>

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <random>

#if __has_include(<gemmlowp/fixedpoint/fixedpoint.h>) && __has_include(<gemmlowp/public/output_stages.h>)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <gemmlowp/fixedpoint/fixedpoint.h>
#include <gemmlowp/public/gemmlowp.h>
#include <gemmlowp/public/output_stages.h>
#pragma GCC diagnostic pop

using namespace quern;

namespace {

/// Every kind of int32: small, any, powers of two and their neighbours, odd multiples of a half of one.
struct numbers {
  std::mt19937 random{20240229};
  std::int32_t operator()() {
    auto const r = static_cast<std::uint32_t>(random());
    switch (random() % 5) {
      case 0: return static_cast<std::int32_t>(r) >> (random() % 31);
      case 1: return static_cast<std::int32_t>(r);
      case 2: return static_cast<std::int32_t>((1u << (r % 32)) + (random() % 5) - 2);
      case 3: return static_cast<std::int32_t>(((r % 4096) * 2 + 1) << (random() % 20));
      default: return (r & 1) ? INT32_MIN + static_cast<std::int32_t>(r % 3) : INT32_MAX - static_cast<std::int32_t>(r % 3);
    }
  }
};

struct row {
  char const* operation;
  long cases = 0, mismatches = 0;
  void check(std::int64_t got, std::int64_t want) {
    ++cases;
    mismatches += got != want;
  }
  void report() const {
    std::printf("gemmlowp                 %-34s %9ld %9ld\n", operation, cases, mismatches);
    CAPTURE(operation);
    CHECK(mismatches == 0);
    CHECK(cases >= 100000);
  }
};

template <int IntegerBits>
void compare_functions(numbers& next, row& exponential, row& logistic, row& tanh, long count) {
  using fixed = gemmlowp::FixedPoint<std::int32_t, IntegerBits>;
  for (long i = 0; i < count; ++i) {
    std::int32_t const a = next(), negative = a > 0 ? -a : a;
    exponential.check(fixed_point::exp_on_negative(negative, IntegerBits), gemmlowp::exp_on_negative_values(fixed::FromRaw(negative)).raw());
    logistic.check(fixed_point::logistic(a, IntegerBits), gemmlowp::logistic(fixed::FromRaw(a)).raw());
    if constexpr (IntegerBits < 30) tanh.check(fixed_point::tanh(a, IntegerBits), gemmlowp::tanh(fixed::FromRaw(a)).raw());
  }
}

}  // namespace

TEST_CASE("quern equals the installed gemmlowp, bit for bit", "[oracles]") {
  numbers next;
  constexpr long n = 200000;

  row high{"srdhm int32"}, high16{"srdhm int16"}, divide{"rounding_divide_by_pot int32"}, divide16{"rounding_divide_by_pot int16"},
      half{"rounding_half_sum"}, pot{"saturating_multiply_by_pot"}, multiply{"rescale::gemmlowp_double"}, down{"output stage, fixed point"},
      scaled{"output stage, with exponent"}, legacy{"output stage, integer multiplier"};
  gemmlowp::OutputStageQuantizeDownInt32ByFixedPoint stage_down;
  gemmlowp::OutputStageScaleInt32ByFixedPointAndExponent stage_scaled;
  gemmlowp::OutputStageQuantizeDownInt32ToUint8Scale stage_legacy;
  for (long i = 0; i < n; ++i) {
    std::int32_t const a = next(), b = next();
    auto const a16 = static_cast<std::int16_t>(a), b16 = static_cast<std::int16_t>(b);
    int const e = static_cast<int>(next.random() % 32), e16 = e % 16;
    high.check(rescale::srdhm(a, b), gemmlowp::SaturatingRoundingDoublingHighMul(a, b));
    high16.check(rescale::srdhm(a16, b16), gemmlowp::SaturatingRoundingDoublingHighMul(a16, b16));
    divide.check(rescale::rounding_divide_by_pot(a, e), gemmlowp::RoundingDivideByPOT(a, e));
    divide16.check(rescale::rounding_divide_by_pot(a16, e16), gemmlowp::RoundingDivideByPOT(a16, e16));
    half.check(rescale::rounding_half_sum(a, b), gemmlowp::RoundingHalfSum(a, b));
    pot.check(rescale::saturating_multiply_by_pot(a, 3), gemmlowp::SaturatingRoundingMultiplyByPOT<3>(a));
    pot.check(rescale::saturating_multiply_by_pot(a, -5), gemmlowp::SaturatingRoundingMultiplyByPOT<-5>(a));
    // MultiplyByQuantizedMultiplier is TFLite's composition of gemmlowp's functions. Inputs are scaled so that the left shift fits.
    std::int32_t const multiplier = (b & 0x3fffffff) | 0x40000000, shift = static_cast<std::int32_t>(next.random() % 40) - 31;
    std::int32_t const x = shift > 0 ? a >> shift : a;
    int const left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    multiply.check(rescale::gemmlowp_double::apply(x, {multiplier, shift}),
                   gemmlowp::RoundingDivideByPOT(gemmlowp::SaturatingRoundingDoublingHighMul(x * (1 << left), multiplier), right));
    std::int32_t const offset = static_cast<std::int32_t>(next.random() % 512) - 256;
    stage_down.result_fixedpoint_multiplier = multiplier;
    stage_down.result_shift = e;
    stage_down.result_offset_after_shift = offset;
    using value = gemmlowp::RegisterBuffer<std::int32_t, 1>;
    auto const evaluated = [](auto const& stage, std::int32_t acc) {
      gemmlowp::OutputStageEvalBufferImpl<std::decay_t<decltype(stage)>, value> eval(stage);
      value in;
      in.reg[0] = acc;
      return eval.Eval(in).reg[0];
    };
    down.check(convention::gemmlowp::quantize_down_by_fixed_point(a / 2, multiplier, e, offset), evaluated(stage_down, a / 2));
    stage_scaled.result_fixedpoint_multiplier = multiplier;
    stage_scaled.result_exponent = shift;
    stage_scaled.result_offset_after_shift = offset;
    scaled.check(convention::gemmlowp::scale_by_fixed_point_and_exponent(x / 2, multiplier, shift, offset), evaluated(stage_scaled, x / 2));
    stage_legacy.result_offset = offset;
    stage_legacy.result_mult_int = static_cast<std::int32_t>(next.random() % 4096);
    stage_legacy.result_shift = e % 24;
    std::int32_t const small = a % (1 << 17);
    legacy.check(convention::gemmlowp::quantize_down_by_integer(small, offset, stage_legacy.result_mult_int, stage_legacy.result_shift),
                 evaluated(stage_legacy, small));
  }
  row exponential{"exp_on_negative"}, logistic{"logistic"}, tanh{"tanh"}, reciprocal{"one_over_one_plus"}, inverse{"one_minus_over_one_plus"};
  compare_functions<0>(next, exponential, logistic, tanh, 20000);
  compare_functions<2>(next, exponential, logistic, tanh, 20000);
  compare_functions<4>(next, exponential, logistic, tanh, 40000);
  compare_functions<5>(next, exponential, logistic, tanh, 20000);
  compare_functions<8>(next, exponential, logistic, tanh, 20000);
  using q0 = gemmlowp::FixedPoint<std::int32_t, 0>;
  for (long i = 0; i < 100000; ++i) {
    std::int32_t const a = next() & 0x7fffffff;
    reciprocal.check(fixed_point::one_over_one_plus(a), gemmlowp::one_over_one_plus_x_for_x_in_0_1(q0::FromRaw(a)).raw());
    inverse.check(fixed_point::one_minus_over_one_plus(a), gemmlowp::one_minus_x_over_one_plus_x_for_x_in_0_1(q0::FromRaw(a)).raw());
  }
  std::printf("system                   operator                               cases  mismatches\n");
  for (row const& r : {high, high16, divide, divide16, half, pot, multiply, down, scaled, legacy, exponential, logistic, tanh, reciprocal, inverse}) r.report();
}

#else

TEST_CASE("quern equals the installed gemmlowp, bit for bit", "[oracles]") {
  std::cout << "oracles/gemmlowp: NOT compared, libgemmlowp-dev is not installed\n";
  SUCCEED();
}

#endif
