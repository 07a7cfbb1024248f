// The figures of the literature, computed anew: elementary functions, optimal steps, ACIQ thresholds.
#include "support/catch.hpp"

#include <quern/calibrate/aciq.hpp>
#include <quern/calibrate/exact_grid.hpp>

#include <algorithm>
#include <cmath>

using namespace quern;
using namespace quern::calibrate;

namespace {
template <class F, class G>
double worst_relative(F ours, G exact, double from, double to, double step) {
  double worst = 0;
  for (double x = from; x < to; x += step) {
    long double const t = exact(static_cast<long double>(x));
    if (t != 0) worst = std::max(worst, static_cast<double>(std::fabs((ours(x) - t) / t)));
  }
  return worst;
}
}  // namespace

TEST_CASE("elementary functions keep the accuracy that their header states", "[calibrate][elementary]") {
  CHECK(worst_relative([](double x) { return exp_of(x); }, [](long double x) { return std::exp(x); }, -708, 709, 0.0331) < 2.5e-16);
  CHECK(worst_relative([](double x) { return log_of(x); }, [](long double x) { return std::log(x); }, 1e-3, 30, 7.7e-5) < 4e-16);
  CHECK(worst_relative([](double x) { return erf_of(x); }, [](long double x) { return std::erf(x); }, 1e-6, 7, 3.3e-5) < 1.5e-15);
  CHECK(worst_relative([](double x) { return erfc_of(x); }, [](long double x) { return std::erfc(x); }, -6, 26, 3.7e-4) < 1e-14);
  CHECK(exp_of(1e301) == INFINITY);
  CHECK(exp_of(-1e301) == 0);
  CHECK(exp_of(709.7827) == Approx(std::exp(709.7827)).epsilon(1e-13));
  CHECK(std::isnan(exp_of(NAN)));
  CHECK(log_of(0) == -INFINITY);
  CHECK(std::isnan(log_of(-1)));
  CHECK(log_of(5e-324) == Approx(std::log(5e-324)).epsilon(1e-15));
  CHECK(erf_of(-0.3) == -erf_of(0.3));
  CHECK(erfc_of(40) == 0);
  CHECK(pow_of(3, 4) == Approx(81).epsilon(1e-14));
  static_assert(exp_of(0) == 1.0 && log_of(1) == 0.0 && erf_of(0) == 0.0, "usable at compile time");
}

TEST_CASE("ACIQ thresholds equal the published constants to every printed digit", "[calibrate][aciq]") {
  double const from_laplace[] = {2.83068, 3.89723, 5.02864, 6.20477, 7.41313, 8.64562, 9.89676};
  double const from_gauss[] = {1.71064, 2.15159, 2.55914, 2.93620, 3.28691, 3.61511, 3.92403};
  for (int bits = 2; bits <= 8; ++bits) {
    INFO(bits << " bits");
    CHECK(aciq_laplace(bits) == Approx(from_laplace[bits - 2]).margin(1e-5));
    CHECK(aciq_gaussian(bits) == Approx(from_gauss[bits - 2]).margin(1e-5));
    CHECK(aciq_half_laplace(bits) == aciq_laplace(bits + 1));
    // a minimum: the model is worse on either side
    double const a = aciq_gaussian(bits), b = aciq_laplace(bits);
    CHECK(aciq_gaussian_mse(a, bits) < aciq_gaussian_mse(a * 1.01, bits));
    CHECK(aciq_gaussian_mse(a, bits) < aciq_gaussian_mse(a / 1.01, bits));
    CHECK(aciq_laplace_mse(b, bits) < aciq_laplace_mse(b * 1.01, bits));
    CHECK(aciq_laplace_mse(b, bits) < aciq_laplace_mse(b / 1.01, bits));
  }
  CHECK(aciq_half_laplace(8) == Approx(11.163).margin(1e-3));
  static_assert(aciq_laplace(4) > 5.0286 && aciq_laplace(4) < 5.0287, "a constant of the program, if wanted");
  // what the model promises at 2 bits and what it then is: toolkits that print the former mislead
  CHECK(aciq_gaussian_mse(aciq_gaussian(2), 2) == Approx(0.0871).margin(2e-4));
  CHECK(grid_mse(gaussian{}, mid_rise_grid(2), 0.99569) == Approx(0.1188).margin(1e-4));
  CHECK(grid_mse(gaussian{}, symmetric_grid(2), 1.22401) == Approx(0.1902).margin(1e-4));
}

namespace {
struct row {
  double step, clip, sqnr;
};
template <class D, class Grid>
void check_table(D d, Grid grid, row const (&rows)[7], double clip_levels_extra) {
  for (int bits = 2; bits <= 8; ++bits) {
    auto const best = optimal_grid(d, grid(bits));
    row const want = rows[bits - 2];
    INFO(D::name << ", " << bits << " bits: step " << best.step << ", sqnr " << best.sqnr);
    CHECK(std::fabs(best.step / want.step - 1) < 1e-4 + 0.5e-5 / want.step);  // the table prints 5 decimals
    CHECK(std::fabs(best.step * (grid(bits).last() + clip_levels_extra) - want.clip) < 6e-4);
    CHECK(std::fabs(best.sqnr - want.sqnr) < 0.01);
    CHECK(best.mse <= grid_mse(d, grid(bits), best.step * 1.001) * (1 + 1e-12));
    CHECK(best.mse <= grid_mse(d, grid(bits), best.step / 1.001) * (1 + 1e-12));
  }
}
}  // namespace

TEST_CASE("optimal steps and their SQNR equal the tables for Gaussian data", "[calibrate][exact_grid]") {
  row const mid_rise[7] = {{0.99569, 1.9914, 9.25},  {0.58602, 2.3441, 14.27}, {0.33520, 2.6816, 19.38}, {0.18814, 3.0102, 24.57},
                           {0.10406, 3.3300, 29.83}, {0.05687, 3.6395, 35.17}, {0.03076, 3.9376, 40.57}};
  row const symmetric[7] = {{1.22401, 1.2240, 7.21},  {0.65077, 1.9523, 13.29}, {0.35341, 2.4739, 18.90}, {0.19325, 2.8987, 24.33},
                            {0.10549, 3.2701, 29.71}, {0.05726, 3.6075, 35.11}, {0.03087, 3.9205, 40.54}};
  row const full[7] = {{1.04839, 1.0484, 8.26},  {0.60182, 1.8055, 13.91}, {0.33861, 2.3703, 19.26}, {0.18879, 2.8319, 24.53},
                       {0.10418, 3.2296, 29.82}, {0.05689, 3.5839, 35.16}, {0.03077, 3.9072, 40.57}};
  check_table(gaussian{}, mid_rise_grid, mid_rise, 0.5);  // the table's edge is half a step beyond the last level
  check_table(gaussian{}, symmetric_grid, symmetric, 0);
  check_table(gaussian{}, full_grid, full, 0);
}

TEST_CASE("optimal steps and their SQNR equal the tables for Laplacian data", "[calibrate][exact_grid]") {
  row const mid_rise[7] = {{1.08739, 2.1748, 7.07},  {0.73093, 2.9237, 11.44}, {0.46100, 3.6880, 15.96}, {0.27999, 4.4798, 20.60},
                           {0.16568, 5.3018, 25.36}, {0.09610, 6.1503, 30.23}, {0.05484, 7.0201, 35.21}};
  row const symmetric[7] = {{1.41421, 1.4142, 5.78},  {0.82175, 2.4653, 10.80}, {0.48688, 3.4082, 15.62}, {0.28746, 4.3120, 20.42},
                            {0.16785, 5.2033, 25.26}, {0.09673, 6.0937, 30.18}, {0.05502, 6.9881, 35.18}};
  row const full[7] = {{1.21413, 1.2141, 6.84},  {0.76245, 2.2874, 11.43}, {0.46765, 3.2735, 15.98}, {0.28128, 4.2191, 20.61},
                       {0.16592, 5.1434, 25.36}, {0.09614, 6.0568, 30.23}, {0.05485, 6.9661, 35.21}};
  check_table(laplace{}, mid_rise_grid, mid_rise, 0.5);
  check_table(laplace{}, symmetric_grid, symmetric, 0);
  check_table(laplace{}, full_grid, full, 0);
}

TEST_CASE("an unsigned grid after a ReLU is worth one bit", "[calibrate][exact_grid]") {
  double const sqnr[7] = {13.29, 18.90, 24.33, 29.71, 35.11, 40.54, 46.02};
  for (int bits = 2; bits <= 8; ++bits) {
    auto const unsigned_half = optimal_grid(half_normal{}, unsigned_grid(bits));
    CHECK(std::fabs(unsigned_half.sqnr - sqnr[bits - 2]) < 0.01);
    auto const signed_whole = optimal_grid(gaussian{}, symmetric_grid(bits + 1));
    CHECK(unsigned_half.step == Approx(signed_whole.step).epsilon(1e-7));
    CHECK(unsigned_half.mse == Approx(signed_whole.mse).epsilon(1e-9));
  }
  CHECK(optimal_grid(half_normal{}, unsigned_grid(8)).clip == Approx(4.2147).margin(1e-4));
}

TEST_CASE("uniform data on a mid-rise grid is worth 6.0206 dB a bit, and no density beats its rate-distortion bound",
          "[calibrate][exact_grid]") {
  for (int bits = 2; bits <= 10; ++bits) {
    CHECK(optimal_grid(uniform{}, mid_rise_grid(bits)).sqnr == Approx(6.0206 * bits).margin(1e-3));
    CHECK(optimal_grid(gaussian{}, full_grid(bits)).sqnr < 6.0206 * bits);
    CHECK(optimal_grid(laplace{}, full_grid(bits)).sqnr < 6.0206 * bits);
  }
  static_assert(optimal_grid(uniform{}, unsigned_grid(2)).step > 0, "usable at compile time");
}
