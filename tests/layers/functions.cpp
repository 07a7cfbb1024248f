// functions.cpp — the arithmetic of single layers against the real functions they stand for, resizing by hand, and what is refused.
#include "support/catch.hpp"
#include "support/isas.hpp"

#include <quern/fixed_point/activation.hpp>
#include <quern/fixed_point/normalize.hpp>
#include <quern/fixed_point/softmax.hpp>
#include <quern/ops/arena.hpp>
#include <quern/ops/rearrange.hpp>
#include <quern/ops/reduce.hpp>
#include <quern/ops/resize.hpp>
#include <quern/ops/shape.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace quern;

namespace {
/// The nearest code, ties away, as the C library computes it.
int nearest(long double real, float scale, int zero_point, int low, int high) {
  return static_cast<int>(std::clamp<long double>(std::round(real / static_cast<long double>(scale)) + zero_point, low, high));
}
double logistic_of(double x) { return 1 / (1 + std::exp(-x)); }
}  // namespace

TEST_CASE("tables of real functions are correctly rounded", "[layers]") {
  struct {
    float scale;
    int zero_point;
  } const sources[] = {{0.0472f, -3}, {0.11f, 127}, {0.003f, -128}};
  auto const compare = [&](auto const& ours, auto const& libm, float scale, int zero_point) {
    for (auto const& s : sources) {
      auto const table = make_table<std::int8_t, std::int8_t>({s.scale, s.zero_point}, {scale, zero_point}, ours);
      auto const bytes = make_table<std::uint8_t, std::uint8_t>({s.scale, s.zero_point + 128}, {scale, zero_point + 128}, ours);
      for (int q = -128; q < 128; ++q) {
        long double const x = static_cast<long double>(s.scale) * (q - s.zero_point);
        int const expected = nearest(libm(x), scale, zero_point, -128, 127);
        REQUIRE(table(static_cast<std::int8_t>(q)) == expected);
        REQUIRE(bytes(static_cast<std::uint8_t>(q + 128)) == expected + 128);
      }
    }
  };
  using real = long double;
  compare(real_functions::logistic, [](real x) { return 1 / (1 + std::exp(-x)); }, 1.0f / 256, -128);
  compare(real_functions::tanh, [](real x) { return std::tanh(x); }, 1.0f / 128, 0);
  compare(real_functions::exp, [](real x) { return std::exp(x); }, 0.31f, -100);
  compare(real_functions::gelu, [](real x) { return 0.5L * x * (1 + std::erf(x / std::sqrt(2.0L))); }, 0.021f, -60);
  compare(real_functions::hard_swish, [](real x) { return x * std::clamp<real>(x + 3, 0, 6) / 6; }, 0.03f, -60);
  compare(real_functions::silu, [](real x) { return x / (1 + std::exp(-x)); }, 0.03f, -60);
  compare(real_functions::elu, [](real x) { return x < 0 ? std::expm1(x) : x; }, 0.03f, -60);
  auto const rsqrt = make_table<std::int8_t, std::int8_t>({0.1f, -10}, {0.05f, -128}, real_functions::rsqrt);
  CHECK(rsqrt(-10) == 127);  // infinite: saturated
  CHECK(rsqrt(-11) == -128);  // not a number: the zero point
  // TFLite's arithmetic is within a code of it: 12 bits of the root, two roundings.
  auto const fixed = fixed_point::inverse_sqrt<>::make({0.1f, -10}, {0.05f, -128}, {-128, 127});
  for (int q = -10; q < 128; ++q) REQUIRE(std::abs(fixed(q) - rsqrt(static_cast<std::int8_t>(q))) <= 1);
  CHECK(fixed(-11) == -128);
  for (int q = -9; q < 128; ++q) REQUIRE(rsqrt(static_cast<std::int8_t>(q)) == nearest(1 / std::sqrt(static_cast<long double>(0.1f) * (q + 10)), 0.05f, -128, -128, 127));
}

TEST_CASE("interpolated tables of 16-bit codes are near a smooth function", "[layers]") {
  float const in = 8.0f / 32768, out = 1.0f / 32768;
  auto const table = fixed_point::interpolated_table::make(in, 0, out, 0, [](float x) { return static_cast<float>(std::tanh(static_cast<double>(x))); });
  std::vector<std::int16_t> x(65536), y(65536);
  for (int q = -32768; q < 32768; ++q) x[static_cast<std::size_t>(q + 32768)] = static_cast<std::int16_t>(q);
  apply(table, vector_view<std::int16_t const>{x.data(), 65536, 1}, vector_view<std::int16_t>{y.data(), 65536, 1});
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    double const real = std::clamp(32768 * std::tanh(static_cast<double>(in) * x[i]), -32768.0, 32767.0);
    worst = std::max(worst, std::fabs(y[i] - real));
  }
  // TFLite's samples stand 65535 / 512 codes apart, its look-up counts 128: half a source code (here 4 of the destination) in the
  // middle. Interpolation adds h^2 f'' / 16 = 1.5, rounding 0.5.
  CHECK(worst <= 6.1);
  CHECK(worst > 4);
}

TEST_CASE("fixed-point activations and normalizations are near the real ones", "[layers]") {
  using namespace fixed_point;
  for (float const scale : {0.011f, 0.0472f, 0.125f}) {
    auto const sigmoid = sigmoid8<>::make(scale, -5, sigmoid_kind::logistic), tanh8 = sigmoid8<>::make(scale, -5, sigmoid_kind::tanh);
    for (int q = -128; q < 128; ++q) {
      double const x = static_cast<double>(scale) * (q + 5);
      REQUIRE(std::abs(sigmoid(q) - nearest(static_cast<long double>(logistic_of(x)), 1.0f / 256, -128, -128, 127)) <= 1);
      REQUIRE(std::abs(tanh8(q) - nearest(static_cast<long double>(std::tanh(x)), 1.0f / 128, 0, -128, 127)) <= 1);
    }
  }
  for (float const scale : {1.0f / 4096, 1.0f / 2048, 0.0003f}) {
    auto const sigmoid = sigmoid16::make(scale, sigmoid_kind::logistic), tanh16 = sigmoid16::make(scale, sigmoid_kind::tanh);
    for (int q = -32768; q < 32768; q += 7) {
      double const x = static_cast<double>(scale) * q;
      REQUIRE(std::fabs(sigmoid(q) - 32768 * logistic_of(x)) <= 12);
      REQUIRE(std::fabs(tanh16(q) - std::clamp(32768 * std::tanh(x), -32768.0, 32767.0)) <= 24);
    }
  }
  std::mt19937 random(2);
  std::vector<std::int16_t> wide(40), scores(40);
  std::vector<std::int8_t> narrow(40), unit(40);
  for (std::size_t i = 0; i < 40; ++i) wide[i] = static_cast<std::int16_t>(static_cast<int>(random() % 20000) - 10000), narrow[i] = static_cast<std::int8_t>(random());
  softmax16<>::make(0.0005f, 1)(wide.data(), scores.data(), 40);
  double sum = 0, squares = 0;
  for (auto const w : wide) sum += std::exp(static_cast<double>(0.0005f) * w);
  for (std::size_t i = 0; i < 40; ++i) CHECK(std::fabs(scores[i] - 32768 * std::exp(static_cast<double>(0.0005f) * wide[i]) / sum) <= 8);
  softmax8<>::make(0.05f, 1)(narrow.data(), scores.data(), 40);  // int8 in, int16 out: -32768 stands for 0
  sum = 0;
  for (auto const v : narrow) sum += std::exp(static_cast<double>(0.05f) * v);
  for (std::size_t i = 0; i < 40; ++i) CHECK(std::fabs(scores[i] + 32768 - 65536 * std::exp(static_cast<double>(0.05f) * narrow[i]) / sum) <= 8);

  // Rows of one tensor share their exponentials: the same codes as row by row, to int8 and to int16, for steep scales and flat ones.
  for (float const scale : {0.002f, 0.05f, 0.4f, 3.0f})
    for (index_t const n : {1, 7, 256}) {
      std::vector<std::int8_t> rows(static_cast<std::size_t>(20 * n)), by_row(rows.size()), together(rows.size());
      std::vector<std::int16_t> by_row16(rows.size()), together16(rows.size());
      for (auto& v : rows) v = static_cast<std::int8_t>(random() % 17 == 0 ? -128 : random());
      auto const f = softmax8<>::make(scale, 1);
      auto const single = softmax8<rescale::tflite_single>::make(scale, 1);
      shape const s = make_shape(20, n);
      for (index_t r = 0; r < 20; ++r) f(rows.data() + r * n, by_row.data() + r * n, n), single(rows.data() + r * n, by_row16.data() + r * n, n);
      by_rows(nd(rows.data(), s), nd(together.data(), s), f);
      by_rows(nd(rows.data(), s), nd(together16.data(), s), single);
      REQUIRE(by_row == together);
      REQUIRE(by_row16 == together16);
    }

  l2_normalize<> const normalize{7};
  normalize(narrow.data(), unit.data(), 40);
  for (auto const v : narrow) squares += (v - 7) * (v - 7);
  for (std::size_t i = 0; i < 40; ++i) CHECK(std::fabs(unit[i] - 128 * (narrow[i] - 7) / std::sqrt(squares)) <= 1);

  // 32 values, weights of scale 2^-10, destination of scale 2^-12.
  std::vector<std::int16_t> weights(32), normed(32);
  std::vector<std::int32_t> bias(32);
  for (std::size_t i = 0; i < 32; ++i) weights[i] = static_cast<std::int16_t>(200 + random() % 1000), bias[i] = static_cast<std::int32_t>(random() % 2000000) - 1000000;
  double mean = 0, variance = 0;
  for (std::size_t i = 0; i < 32; ++i) mean += wide[i] / 32.0;
  for (std::size_t i = 0; i < 32; ++i) variance += (wide[i] - mean) * (wide[i] - mean) / 32;
  layer_norm<>{rescale::quantize_multiplier(0.25 / 4096)}(wide.data(), weights.data(), bias.data(), normed.data(), 32);
  for (std::size_t i = 0; i < 32; ++i) {
    double const real = (1024 * (wide[i] - mean) / std::sqrt(variance) * weights[i] + bias[i]) / 1024 * 0.25;
    CHECK(std::fabs(normed[i] - std::clamp(real, -32768.0, 32767.0)) <= 2);
  }
}

TEST_CASE("fixed-point functions are defined for absurd scales and long rows", "[layers]") {
  using namespace fixed_point;
  // 4096 equal codes are the first whose exponentials sum to 2^31, which a signed Q12.19 cannot hold.
  std::vector<std::int8_t> const flat(8191, 5);
  std::vector<std::int16_t> soft(flat.size());
  softmax8<>::make(0.1f, 1.0f)(flat.data(), soft.data(), 4096);
  CHECK(soft[4095] == 65536 / 4096 - 32768);
  softmax8<>::make(0.1f, 1.0f)(flat.data(), soft.data(), 8191);
  CHECK(soft[8190] == 65536 / 8191 - 32768);
  // 33,026 squares of 255 leave int32.
  std::vector<std::int8_t> const far(40000, 127);
  std::vector<std::int8_t> unit(far.size());
  l2_normalize<>{-128}(far.data(), unit.data(), 40000);
  CHECK(unit[0] == 1);  // 128 / sqrt(40000) = 0.64
  // Scales so small that nothing saturates, and so large that everything does; constant evaluation stops at anything undefined.
  STATIC_REQUIRE(softmax8<>::make(1e-9f, 1.0f).diff_min == -2147483647);
  STATIC_REQUIRE(sigmoid8<>::make(1e-30f, 0, sigmoid_kind::logistic)(127) == 0);
  STATIC_REQUIRE(sigmoid8<rescale::tflite_single>::make(1e-30f, 0, sigmoid_kind::tanh)(127) == 0);
  STATIC_REQUIRE(sigmoid16::make(3e38f, sigmoid_kind::tanh)(-32768) == -32767);
  STATIC_REQUIRE(sigmoid16::make(3e38f, sigmoid_kind::logistic)(32767) == 32767);
  STATIC_REQUIRE(activation_limits({1e-30f, 3}, 0, 6, {-128, 127}).max == 127);
  STATIC_REQUIRE(hard_swish::make({3e8f, 0}, {3e8f, 0}, {-128, 127})(100) == 100);
  STATIC_REQUIRE(inverse_sqrt<rescale::tflite_single>::make({1e20f, 0}, {1.0f, 7}, {-128, 127})(100) == 7);
  CHECK_THROWS_AS(inverse_sqrt<>::make({1e-38f, 0}, {1e-38f, 0}, {-128, 127}), error);
  CHECK_THROWS_AS(reduction<>::make({1e38f, 0}, {1e-38f, 0}, 4, true, {-128, 127}), error);
  // Infinite samples do not become NaN, NaN becomes 0.
  auto const e = interpolated_table::make(1.0f, 0, 1.0f, 0, [](float x) { return x > 0 ? HUGE_VALF : 1.0f; });
  CHECK(e(32767) == 32767);
  CHECK(interpolated_table::make(1.0f, 0, 1.0f, 0, [](float) { return std::nanf(""); })(5) == 0);
}

TEST_CASE("resizing puts every pixel where TensorFlow Lite does", "[layers]") {
  std::vector<std::int8_t> const x = {0, 100};
  auto const wide = [&](index_t n, resize_options o, bool bilinear) {
    std::vector<std::int8_t> y(static_cast<std::size_t>(n));
    auto const src = nhwc(x.data(), 1, 1, 2, 1);
    bilinear ? resize_bilinear(src, nhwc(y.data(), 1, 1, n, 1), o) : resize_nearest(src, nhwc(y.data(), 1, 1, n, 1), o);
    return y;
  };
  using codes = std::vector<std::int8_t>;
  CHECK(wide(4, {}, true) == codes{0, 50, 100, 100});
  CHECK(wide(4, {.align_corners = true}, true) == codes{0, 33, 67, 100});
  CHECK(wide(4, {.half_pixel_centers = true}, true) == codes{0, 25, 75, 100});
  CHECK(wide(5, {}, false) == codes{0, 0, 0, 100, 100});
  CHECK(wide(3, {.align_corners = true}, false) == codes{0, 100, 100});
  CHECK(wide(3, {.half_pixel_centers = true}, false) == codes{0, 100, 100});
  // Magnified so far that the rounded scale would leave the image: the last pixel, not what lies behind it.
  STATIC_REQUIRE(detail::bilinear_at(109, 2, 110, {}).lower == 1);
  CHECK(wide(110, {}, true).back() == 100);
  // A plane is reproduced by interpolation, away from the far border, for every type.
  auto const plane = []<class T>(T) {
    std::vector<T> p(8 * 8 * 3), y(16 * 16 * 3);
    for (int h = 0; h < 8; ++h)
      for (int w = 0; w < 8; ++w)
        for (int c = 0; c < 3; ++c) p[static_cast<std::size_t>((h * 8 + w) * 3 + c)] = static_cast<T>(4 * h + 2 * w + 10 * c);
    resize_bilinear(nhwc<T const>(p.data(), 1, 8, 8, 3), nhwc(y.data(), 1, 16, 16, 3));
    for (int h = 0; h < 15; ++h)
      for (int w = 0; w < 15; ++w)
        for (int c = 0; c < 3; ++c) REQUIRE(y[static_cast<std::size_t>((h * 16 + w) * 3 + c)] == 2 * h + w + 10 * c);
  };
  plane(std::int8_t{});
  plane(std::uint8_t{});
  plane(std::int16_t{});
  // From 16 channels on by vectors: as each channel by itself.
  std::mt19937 random(5);
  auto const channels = [&]<class T>(T, index_t c) {
    index_t const h = 5, w = 4, oh = 9, ow = 11;
    std::vector<T> p(static_cast<std::size_t>(h * w * c)), y(static_cast<std::size_t>(oh * ow * c)), each(y.size());
    for (T& v : p) v = random() % 4 == 0 ? std::numeric_limits<T>::min() : static_cast<T>(random());
    for (resize_options const o : {resize_options{}, {.align_corners = true}, {.half_pixel_centers = true}}) {
      for (index_t k = 0; k < c; ++k)
        resize_bilinear({p.data() + k, 1, h, w, 1, 0, w * c, c, 1}, tensor_view<T>{each.data() + k, 1, oh, ow, 1, 0, ow * c, c, 1}, o);
      support::for_each_native_isa([&](isa i) {
        INFO(name(i) << ", " << c);
        std::fill(y.begin(), y.end(), T{});
        resize_bilinear(nhwc<T const>(p.data(), 1, h, w, c), nhwc(y.data(), 1, oh, ow, c), o);
        REQUIRE(y == each);
      });
    }
  };
  for (index_t const c : {15, 16, 17, 40, 64}) channels(std::int8_t{}, c), channels(std::uint8_t{}, c);
}

TEST_CASE("blocks of pixels become channels and come back", "[layers]") {
  std::vector<std::int8_t> x(2 * 4 * 6 * 3), d(x.size()), back(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::int8_t>(i);
  auto const src = nhwc<std::int8_t const>(x.data(), 2, 4, 6, 3);
  auto const deep = nhwc(d.data(), 2, 2, 3, 12);
  space_to_depth(src, 2, deep);
  for (index_t b = 0; b < 2; ++b)
    for (index_t h = 0; h < 4; ++h)
      for (index_t w = 0; w < 6; ++w)
        for (index_t c = 0; c < 3; ++c) REQUIRE(deep(b, h / 2, w / 2, (h % 2 * 2 + w % 2) * 3 + c) == src(b, h, w, c));
  depth_to_space(nhwc<std::int8_t const>(d.data(), 2, 2, 3, 12), 2, nhwc(back.data(), 2, 4, 6, 3));
  CHECK(back == x);
  // Concatenation on the way to other parameters.
  std::vector<std::int8_t> y(12);
  auto const f = fixed_point::requantize<>::make({0.1f, 0}, {0.2f, 5}, {});
  place(nd<std::int8_t const>(x.data(), make_shape(2, 3)), 1, 3, nd(y.data(), make_shape(2, 6)), f);
  CHECK(y == std::vector<std::int8_t>{0, 0, 0, 5, 6, 6, 0, 0, 0, 7, 7, 8});
}

TEST_CASE("layers refuse what does not fit, before they write", "[layers]") {
  std::vector<std::int8_t> x(64, 1), y(64, 77);
  auto const in = [&](auto... d) { return nd<std::int8_t const>(x.data(), make_shape(d...)); };
  auto const out = [&](auto... d) { return nd(y.data(), make_shape(d...)); };
  auto const image = [&](index_t h, index_t w, index_t c) { return nhwc<std::int8_t const>(x.data(), 1, h, w, c); };
  auto const picture = [&](index_t h, index_t w, index_t c) { return nhwc(y.data(), 1, h, w, c); };
  auto const same_code = [](std::int32_t q) { return q; };
  auto const table = table_of<std::int8_t, std::int8_t>(same_code);
  nd_view<std::int8_t> nowhere = nd<std::int8_t>(nullptr, make_shape(2, 3));
  CHECK_THROWS_AS(apply(table, vector_view<std::int8_t const>{x.data(), 4, 1}, vector_view<std::int8_t>{y.data(), 5, 1}), error);
  CHECK_THROWS_AS(apply(table, vector_view<std::int8_t const>{nullptr, 4, 1}, vector_view<std::int8_t>{y.data(), 4, 1}), error);
  CHECK_THROWS_AS(unary(in(2, 3), out(3, 2), same_code), error);
  CHECK_THROWS_AS(unary(in(2, 3), nowhere, same_code), error);
  CHECK_THROWS_AS(binary(in(2, 3), in(2, 2), out(2, 3), quern::maximum{}), error);
  CHECK_THROWS_AS(reduce(in(2, 3), 1, out(2, 3), same_code), error);
  CHECK_THROWS_AS(reduce(in(2, 3), 1, out(3), same_code), error);
  CHECK_THROWS_AS(reduce(in(0, 3), 1, out(1, 3), same_code), error);
  CHECK_THROWS_AS(by_rows(in(2, 3), out(3, 2), fixed_point::l2_normalize<>{}), error);
  int const order[] = {1, 0};
  CHECK_THROWS_AS(by_rows(transposed(in(2, 3), order), out(3, 2), fixed_point::l2_normalize<>{}), error);
  CHECK_THROWS_AS(copy(in(2, 3), out(3, 2)), error);
  CHECK_THROWS_AS(copy(in(2, 3), nowhere), error);
  index_t const before[] = {1, 1};
  CHECK_THROWS_AS(pad_tensor(in(2, 3), before, std::int8_t{0}, out(2, 4)), error);
  CHECK_THROWS_AS(pad_tensor(in(2, 3), before, std::int8_t{0}, out(12)), error);
  CHECK_THROWS_AS(place(in(2, 3), 1, 4, out(2, 6)), error);
  CHECK_THROWS_AS(space_to_depth(image(4, 4, 1), 0, picture(2, 2, 4)), error);
  CHECK_THROWS_AS(space_to_depth(image(4, 4, 1), 2, picture(2, 2, 3)), error);
  CHECK_THROWS_AS(depth_to_space(image(2, 2, 4), 2, picture(4, 4, 2)), error);
  CHECK_THROWS_AS(resize_nearest(image(2, 2, 4), picture(4, 4, 2)), error);
  CHECK_THROWS_AS(resize_bilinear(image(2, 2, 2), picture(4, 4, 2), {.align_corners = true, .half_pixel_centers = true}), error);
  CHECK_THROWS_AS(resize_bilinear(image(2, 0, 2), picture(4, 4, 2)), error);
  CHECK_THROWS_AS(fixed_point::hard_swish::make({1, 0}, {0.001f, 0}, {}), error);
  shape const parts[] = {make_shape(2, 3), make_shape(3, 3)};
  CHECK_THROWS_AS(concatenated_shape(parts, 2, 1), error);
  CHECK_THROWS_AS(concatenated_shape(parts, 2, 2), error);
  CHECK_THROWS_AS(concatenated_shape(parts, 0, 0), error);
  int const twice[] = {0, 0};
  CHECK_THROWS_AS(transposed(in(2, 3), twice), error);
  CHECK_THROWS_AS(sliced(in(2, 3), 1, 2, 2), error);
  CHECK_THROWS_AS(broadcast_shape(make_shape(2, 3), make_shape(2, 2)), error);
  index_t offsets[2];
  tensor_life const ends_early[] = {{8, 2, 1}}, negative[] = {{-8, 0, 1}}, fine[] = {{8, 0, 1}};
  CHECK_THROWS_AS(plan_arena(ends_early, 1, offsets), error);
  CHECK_THROWS_AS(plan_arena(negative, 1, offsets), error);
  CHECK_THROWS_AS(plan_arena(fine, 1, offsets, 48), error);
  CHECK(std::all_of(y.begin(), y.end(), [](std::int8_t v) { return v == 77; }));
}
