// How often runtimes disagree: TFLite's double rounding against its single one, float arithmetic and the exact product. By one step
// always, and in about 0.7 scale of the cases: one value of a hundred in a layer whose scales are near 1/70.
#include "support/catch.hpp"

#include <quern/rescale/rescales.hpp>

#include <algorithm>
#include <cmath>
#include <random>

using namespace quern;
using namespace quern::rescale;

namespace {
struct rates {
  double double_single = 0, double_exact = 0, single_exact = 0, single_float = 0, mean_scale = 0;
  int largest = 0;
};

// Scales log-uniform in [low, 10 low), accumulators uniform over what int8 results come from.
rates draw(double low, int n) {
  rates r;
  std::mt19937_64 random(7);
  auto const unit = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  for (int i = 0; i < n; ++i) {
    double const scale = low * std::pow(10.0, unit());
    auto const acc = static_cast<std::int32_t>(std::lround((2 * unit() - 1) * 127.5 / scale));
    std::int32_t const twice = gemmlowp_double::apply(acc, gemmlowp_double::from_real(scale));
    std::int32_t const once = tflite_single::apply(acc, tflite_single::from_real(scale));
    std::int32_t const floating = float_multiply<>::apply(acc, float_multiply<>::from_real(scale));
    auto const exact = static_cast<std::int32_t>(std::lrint(static_cast<long double>(scale) * acc));
    r.double_single += twice != once;
    r.double_exact += twice != exact;
    r.single_exact += once != exact;
    r.single_float += once != floating;
    r.mean_scale += scale / n;
    for (int d : {twice - once, twice - exact, once - exact, once - floating}) r.largest = std::max(r.largest, std::abs(d));
  }
  for (double* e : {&r.double_single, &r.double_exact, &r.single_exact, &r.single_float}) *e /= n;
  return r;
}
}  // namespace

TEST_CASE("double rounding differs from single rounding as often as the law says, and by one step", "[rescale][disagreement]") {
  struct row {
    double low, double_single;
  };
  for (row want : {row{1e-4, 2.7e-4}, {1e-3, 2.9e-3}, {1e-2, 2.8e-2}}) {
    rates const r = draw(want.low, 4'000'000);
    INFO("scales from " << want.low << ": double, single " << r.double_single << "; double, exact " << r.double_exact << "; single, exact "
                        << r.single_exact << "; single, float " << r.single_float);
    CHECK(r.largest == 1);
    CHECK(r.double_single == Approx(want.double_single).epsilon(0.1));
    CHECK(r.double_exact == Approx(r.double_single).epsilon(0.01));
    CHECK(r.double_single == Approx(0.7 * r.mean_scale).epsilon(0.1));
    CHECK(r.single_exact <= 1e-6);
    CHECK(r.single_float <= 5e-6);
  }
}
