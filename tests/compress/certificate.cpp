// Error bounds: they hold for every sample, they are as tight as the theory says, and a certified argmax never flips.
#include "errors/refusal.hpp"
#include "support/catch.hpp"
#include "support.hpp"

#include <quern/compress/certificate.hpp>
#include <quern/compress/round_to_nearest.hpp>
#include <quern/round/stochastic.hpp>

#include <algorithm>

using namespace quern;
using namespace quern::compress;
using namespace compress_test;

namespace {
matrix dequantized(matrix const& w, int bits) {
  matrix q(w.rows, w.cols);
  dequantize(round_to_nearest(w.view(), {bits, true, 0}), q.view());
  return q;
}
}  // namespace

TEST_CASE("composed bounds hold for every sample, and a certified argmax is the float network's", "[compress][certificate]") {
  index_t const sizes[] = {16, 32, 24, 6};
  int certified = 0, agree = 0, samples = 400;
  std::vector<matrix> w, q;
  for (int l = 0; l < 3; ++l) {
    w.push_back(gaussian(sizes[l + 1], sizes[l], 10 + static_cast<unsigned>(l), 0.4f));
    q.push_back(dequantized(w.back(), 8));
  }
  std::mt19937 g(3);
  std::normal_distribution<float> d;
  for (int s = 0; s < samples; ++s) {
    std::vector<double> exact(16);
    std::vector<float> x(16);
    for (int i = 0; i < 16; ++i) exact[i] = static_cast<float>(d(g));
    // the input itself is quantized: step 1/128, saturating at ±3
    std::vector<double> delta(16);
    for (int i = 0; i < 16; ++i) {
      x[i] = std::min(3.0f, std::max(-3.0f, std::nearbyint(static_cast<float>(exact[i]) * 128) / 128));
      delta[i] = std::fabs(x[i] - exact[i]);
    }
    for (int l = 0; l < 3; ++l) {
      std::vector<double> next(static_cast<std::size_t>(w[l].rows));
      std::vector<float> before(next.size()), after(next.size());
      for (index_t i = 0; i < w[l].rows; ++i) {
        double sum = 0, low = 0;
        for (index_t j = 0; j < w[l].cols; ++j) sum += exact[j] * w[l](i, j), low += static_cast<double>(x[j]) * q[l](i, j);
        next[i] = l < 2 ? std::max(0.0, sum) : sum;
        before[i] = static_cast<float>(l < 2 ? std::max(0.0, low) : low);
        after[i] = l < 2 ? std::min(6.0f, std::nearbyint(before[i] * 64) / 64) : before[i];  // requantized; sometimes saturated
      }
      delta = linear_bound(w[l].view(), q[l].view(), view(x), delta);
      add_moved(delta, view(before), view(after));
      for (std::size_t i = 0; i < next.size(); ++i) REQUIRE(std::fabs(next[i] - after[i]) <= delta[i] + 1e-6);
      exact = next, x = after;
    }
    argmax_verdict const v = certify_argmax(view(x), delta);
    index_t const truth = std::max_element(exact.begin(), exact.end()) - exact.begin();
    if (v.cannot_flip) REQUIRE(v.argmax == truth);
    certified += v.cannot_flip;
    agree += v.argmax == truth;
  }
  CHECK(agree > samples * 9 / 10);
  CHECK(certified > samples / 6);  // three layers of random weights: loose, not useless
  CHECK(certified <= agree);
}

TEST_CASE("a convolution's bound is that of the matrix it stands for", "[compress][certificate]") {
  matrix const filters = gaussian(5, 3 * 3 * 4, 1);
  matrix const quantized = dequantized(filters, 4);
  matrix const image = gaussian(1, 6 * 7 * 4, 2);
  std::vector<double> delta_in(6 * 7 * 4);
  for (std::size_t i = 0; i < delta_in.size(); ++i) delta_in[i] = 0.01 * static_cast<double>(i % 5);
  conv_shape const shape{.stride_h = 2, .stride_w = 1, .pad_top = 1, .pad_left = 1, .out_h = 3, .out_w = 7};
  auto const bound = conv_bound(nhwc<float const>(filters.values.data(), 5, 3, 3, 4), nhwc<float const>(quantized.values.data(), 5, 3, 3, 4),
                                nhwc<float const>(image.values.data(), 1, 6, 7, 4), delta_in, shape);
  std::size_t at = 0;
  for (index_t oy = 0; oy < 3; ++oy)
    for (index_t ox = 0; ox < 7; ++ox) {
      std::vector<float> patch(36);
      std::vector<double> patch_delta(36);
      for (index_t k = 0; k < 36; ++k) {
        index_t const y = oy * 2 + k / 12 - 1, x = ox + k / 4 % 3 - 1;
        if (y < 0 || x < 0 || y >= 6 || x >= 7) continue;
        patch[k] = image.values[static_cast<std::size_t>((y * 7 + x) * 4 + k % 4)];
        patch_delta[k] = delta_in[static_cast<std::size_t>((y * 7 + x) * 4 + k % 4)];
      }
      for (double v : linear_bound(filters.view(), quantized.view(), view(patch), patch_delta)) REQUIRE(bound[at++] == Approx(v).epsilon(1e-9));
    }
}

TEST_CASE("Hoeffding's bound is never broken and about 12 times the RMS error, whatever k is", "[compress][certificate]") {
  double const failure = 1e-6;
  for (index_t k : {64, 1024}) {
    matrix const w = gaussian(4, k, static_cast<unsigned>(k));
    std::vector<float> const step(static_cast<std::size_t>(k), 0.05f), magnitude(static_cast<std::size_t>(k), 3.0f);
    auto const bound = hoeffding_bound(w.view(), view(step), failure);
    auto const worst = worst_case_bound(w.view(), w.view(), view(magnitude), view(step), true);
    std::vector<double> square(4);
    int const runs = 600;
    for (int r = 0; r < runs; ++r) {
      matrix const x = gaussian(1, k, 1000 + static_cast<unsigned>(r));
      round_to::stochastic const rounding{.seed = static_cast<std::uint64_t>(r)};
      for (index_t i = 0; i < 4; ++i) {
        double error = 0;
        for (index_t j = 0; j < k; ++j)
          error += static_cast<double>(w(i, j)) * (rounding.to_integral(x.values[j] / 0.05f, static_cast<std::uint64_t>(j)) * 0.05f - x.values[j]);
        REQUIRE(std::fabs(error) <= bound[i]);
        REQUIRE(bound[i] < worst[i]);
        square[i] += error * error / runs;
      }
    }
    // sqrt(½ ln(2/p)) step over step/sqrt(6), the RMS of stochastic rounding: 6.6; deterministic rounding's RMS is √2 smaller
    for (index_t i = 0; i < 4; ++i) CHECK(bound[i] / std::sqrt(square[i]) == Approx(6.6).epsilon(0.12));
  }
  std::vector<float> const step(3, 1.0f);
  matrix const w = gaussian(1, 3, 1);
  CHECK(refusal([&] { hoeffding_bound(w.view(), view(step), 0); }).find("between 0 and 1") != std::string::npos);
}

TEST_CASE("the worst case without a sample holds for the worst sample", "[compress][certificate]") {
  matrix const w = gaussian(3, 40, 5), q = dequantized(w, 4);
  std::vector<float> const magnitude(40, 2.0f), step(40, 0.1f);
  auto const bound = worst_case_bound(w.view(), q.view(), view(magnitude), view(step));
  for (index_t i = 0; i < 3; ++i) {
    double reached = 0;  // every input at its magnitude with the worst sign, every rounding error half a step the wrong way
    for (index_t j = 0; j < 40; ++j) reached += std::fabs(w(i, j) - q(i, j)) * 2.0 + std::fabs(q(i, j)) * 0.05;
    CHECK(bound[i] >= reached * (1 - 1e-7));
    CHECK(bound[i] <= reached * (1 + 1e-6));
  }
  CHECK(refusal([] { certify_argmax({}, {}); }).find("must be equal") != std::string::npos);
  std::vector<float> const tie = {1, 1};
  CHECK_FALSE(certify_argmax(view(tie), {0, 0}).cannot_flip);
  // What is no number proves nothing, wherever it is.
  float const unknown[] = {3, NAN, 1}, first[] = {NAN, 3}, known[] = {3, 1};
  CHECK_FALSE(certify_argmax(view(unknown), {0, 0, 0}).cannot_flip);
  CHECK_FALSE(certify_argmax(view(first), {0, 0}).cannot_flip);
  CHECK_FALSE(certify_argmax(view(known), {0, std::nan("")}).cannot_flip);
}

TEST_CASE("certificates: shapes that do not fit", "[errors][compress]") {
  using namespace compress;
  float const w6[6] = {1, 2, 3, 4, 5, 6};
  matrix_view<float const> const w = row_major(w6, 2, 3), other = row_major(w6, 3, 2);
  tensor_view<float const> const filters = nhwc(w6, 1, 1, 2, 3);
  vector_view<float const> const three{w6, 3, 1}, two{w6, 2, 1};
  std::vector<double> bounds(2, 7.0);
  refuse_all({
      {errc::shape, "linear_bound: exact weights 2 x 3, quantized 3 x 2, input 3, bounds 0; they must fit.", [&] { linear_bound(w, other, three, {}); }},
      {errc::shape, "conv_bound: filters 1 x 1 x 2 x 3 do not fit an input of 1 x 1 x 2 x 3 with 2 bounds; one image, equal channels, strides of at least 1.",
       [&] { conv_bound(filters, filters, filters, bounds, {}); }},
      {errc::shape, "add_moved: 2 bounds, 3 values before and 2 after; they must be equal.", [&] { add_moved(bounds, three, two); }},
      {errc::shape, "worst_case_bound: weights 2 x 3 and 2 x 3, 2 magnitudes and 3 steps do not fit.", [&] { worst_case_bound(w, w, two, three); }},
      {errc::shape, "hoeffding_bound: there are 2 steps for 3 inputs; they must be equal.", [&] { hoeffding_bound(w, two, 0.1); }},
      {errc::argument, "hoeffding_bound: failure is 1; it must be between 0 and 1.", [&] { hoeffding_bound(w, three, 1.0); }},
      {errc::shape, "certify_argmax: there are 3 outputs and 2 bounds; they must be equal, and some.", [&] { certify_argmax(three, bounds); }},
  });
  CHECK(bounds == std::vector<double>(2, 7.0));
}
