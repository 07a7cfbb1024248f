#include "support/catch.hpp"
#include "support/isas.hpp"

#include "problem.hpp"

#include <quern/dispatch/thread_pool.hpp>
#include <quern/ops/conv16x8.hpp>

#include <algorithm>
#include <cmath>
#include <tuple>

using namespace conv_test;

namespace {

template <class Src, class Weight>
void compare(numbers& random, index_t c, index_t multiplier, index_t h, index_t w, extent kernel, conv_options const& o, index_t batch, index_t gap) {
  window win{};
  try {
    win = sliding_window("test", {h, w, 1}, kernel, o.stride, o.dilation, o.padding);
  } catch (error const&) {
    return;  // the kernel is larger than the image
  }
  index_t const outputs = c * multiplier, out = batch * win.h.out * win.w.out * outputs;
  bool const at_end = random(0, 1) == 0;
  support::guarded<Src> x(batch * h * w * (c + gap) - gap, at_end);
  support::guarded<Weight> taps(kernel.h * kernel.w * outputs, at_end);
  random.fill(x.data(), x.size());
  random.fill(taps.data(), taps.size());
  int const ends = random(0, 2);
  std::int32_t const zero = ends == 0 ? code_of_t<Src>::min : ends == 1 ? code_of_t<Src>::max : random(code_of_t<Src>::min, code_of_t<Src>::max);
  std::int32_t const weight_zero = std::is_same_v<Weight, std::uint8_t> ? random(0, 255) : 0;
  tensor_view<Src const> const src{x.data(), batch, h, w, c, h * w * (c + gap), w * (c + gap), c + gap, 1};
  output_stage const stage(random, outputs, kernel.h * kernel.w);
  std::vector<std::int32_t> acc(static_cast<std::size_t>(out));
  std::vector<std::int8_t> codes(acc.size());
  auto const acc_view = nhwc(acc.data(), batch, win.h.out, win.w.out, outputs);
  auto const code_view = nhwc(codes.data(), batch, win.h.out, win.w.out, outputs);
  reference::convolve<Src, Weight>(src, reference::hwo(static_cast<Weight const*>(taps.data()), kernel.h, kernel.w, outputs), win, c, zero,
                                   [&](index_t) { return weight_zero; },
                                   [&, slow = stage.slow()](index_t b, index_t, index_t y, index_t xx, index_t o_, std::int64_t a) {
                                     acc_view(b, y, xx, o_) = static_cast<std::int32_t>(a);
                                     code_view(b, y, xx, o_) = static_cast<std::int8_t>(slow(a, o_));
                                   });
  auto const packed = pack_depthwise(nhwc(static_cast<Weight const*>(taps.data()), 1, kernel.h, kernel.w, outputs), o);
  support::guarded<std::int32_t> y32(out, at_end);
  support::guarded<std::int8_t> y8(out, at_end);
  auto fused = stage.fast(zero);
  fused.rhs_zero_point = weight_zero;
  support::for_each_native_isa([&](isa i) {
    for (index_t k = 0; k < out; ++k) y32[k] = 77, y8[k] = 77;
    depthwise_conv2d(src, packed, nhwc(y32.data(), batch, win.h.out, win.w.out, outputs), epilogue<>{.lhs_zero_point = zero, .rhs_zero_point = weight_zero});
    depthwise_conv2d(src, packed, nhwc(y8.data(), batch, win.h.out, win.w.out, outputs), fused);
    INFO(name(i) << ": " << h << "x" << w << "x" << c << " times " << multiplier << ", kernel " << kernel.h << "x" << kernel.w << ", stride " << o.stride.h << ","
                 << o.stride.w << ", dilation " << o.dilation.h << "," << o.dilation.w << ", padding rule " << static_cast<int>(o.padding.rule) << ", zero point " << zero);
    REQUIRE(std::equal(acc.begin(), acc.end(), y32.data()));
    REQUIRE(std::equal(codes.begin(), codes.end(), y8.data()));
  });
}

void sweep(unsigned seed, int cases) {
  numbers random(seed);
  for (int n = 0; n < cases; ++n) {
    index_t const multiplier = random(1, 3);
    index_t c = n % 4 == 0 ? random(1, 70) : random(1, 20);
    extent kernel{random(1, 9), random(1, 5), 1};
    conv_options o{.stride = {random(1, 3), random(1, 3), 1}, .dilation = {random(1, 3), random(1, 3), 1}};
    if (n % 2 != 0) kernel = {3, 3, 1}, o.dilation = {};
    if (n % 8 == 1) c = 8 / multiplier, o.stride.w = 1;  // channels that repeat within a vector
    if (n % 8 == 2) c = 16 << random(0, 3);  // whole blocks of channels: several are interleaved at once
    switch (random(0, 3)) {
      case 0: o.padding = same; break;
      case 1: o.padding = same_lower; break;
      case 2: o.padding = pad(random(0, 2), random(0, 2), random(0, 2), random(0, 2)); break;
      default: break;
    }
    index_t const h = random(1, 9), w = random(1, 40), batch = random(1, 2), gap = random(0, 1) * 3;
    if (n % 3 == 0)
      compare<std::uint8_t, std::int8_t>(random, c, multiplier, h, w, kernel, o, batch, gap);
    else
      compare<std::int8_t, std::int8_t>(random, c, multiplier, h, w, kernel, o, batch, gap);
    if (n % 10 == 0) compare<std::uint8_t, std::uint8_t>(random, c, multiplier, h, w, kernel, o, batch, gap);
  }
}

}  // namespace

TEST_CASE("depthwise convolutions equal their definition on every instruction set", "[conv][depthwise]") { sweep(7, 250); }
TEST_CASE("depthwise convolutions equal their definition, at length", "[conv][depthwise][.exhaustive]") { sweep(8, 20000); }

TEST_CASE("every small geometry, every channel count up to two panels and one, every multiplier to 3", "[conv][depthwise]") {
  numbers random(13);
  std::set<std::pair<index_t, index_t>> channels;
  every_geometry(false, [&](int n, axis_case const& v, axis_case const& h, padding_rule rule) {
    index_t const c = 1 + n % 33, multiplier = 1 + n / 33 % 3;
    channels.insert({c, multiplier});
    conv_options const o{.stride = {v.stride, h.stride, 1}, .dilation = {v.dilation, h.dilation, 1}, .padding = {rule, v.before, v.after, h.before, h.after}};
    extent const kernel{v.kernel, h.kernel, 1};
    if (n % 3 == 0)
      compare<std::uint8_t, std::int8_t>(random, c, multiplier, v.in, h.in, kernel, o, 1, 0);
    else
      compare<std::int8_t, std::int8_t>(random, c, multiplier, v.in, h.in, kernel, o, 1 + (n % 31 == 0 ? 1 : 0), 0);
    if (n % 10 == 0) compare<std::uint8_t, std::uint8_t>(random, c, multiplier, v.in, h.in, kernel, o, 1, 0);
  });
  REQUIRE(channels.size() == 99);
}

TEST_CASE("64 channels at a time: every stride, padding and height of 3 x 3", "[conv][depthwise]") {
  numbers random(23);
  for (index_t stride = 1; stride <= 4; ++stride)
    for (index_t size = 1; size <= 5; ++size)
      for (auto const& p : {valid, same, pad(2, 1, 1, 2), pad(0, 3, 3, 0), pad(4, 5, 6, 5)}) {
        conv_options const o{.stride = {stride, 1 + (stride + size) % 4}, .padding = p};
        compare<std::int8_t, std::int8_t>(random, size % 2 == 0 ? 64 : 150, 1, size, 7 - size, {3, 3, 1}, o, 1 + size % 2, size % 3);
      }
  compare<std::uint8_t, std::int8_t>(random, 128, 1, 9, 8, {3, 3, 1}, {.padding = same}, 2, 0);
  compare<std::uint8_t, std::int8_t>(random, 32, 2, 9, 8, {3, 3, 1}, {.stride = {2, 2}, .padding = same}, 1, 0);
}

TEST_CASE("rows longer than a chunk of accumulators and kernels with many taps", "[conv][depthwise]") {
  numbers random(17);
  compare<std::int8_t, std::int8_t>(random, 16, 1, 5, 200, {3, 3, 1}, {.padding = same}, 1, 0);
  for (index_t const stride : {1, 2}) {  // and chunks of 64 outputs, of which the last is short
    compare<std::uint8_t, std::int8_t>(random, 48, 1, 4, stride * 129, {3, 3, 1}, {.stride = {stride, stride}, .padding = same}, 1, 2);
    compare<std::int8_t, std::int8_t>(random, 32, 1, 3, stride * 128, {3, 3, 1}, {.stride = {1, stride}, .padding = pad(0, 1, 3, 4)}, 2, 0);
  }
  compare<std::int8_t, std::int8_t>(random, 4, 1, 5, 300, {5, 5, 1}, {.padding = same}, 1, 0);
  compare<std::int8_t, std::int8_t>(random, 33, 1, 20, 20, {7, 7, 1}, {.stride = {2, 2}, .padding = same}, 1, 0);
  compare<std::int8_t, std::int8_t>(random, 3, 1, 70, 7, {65, 3, 1}, {.padding = same}, 1, 0);  // more rows than the kernels take
}

TEST_CASE("the emulated instruction sets convolve depthwise alike", "[conv][depthwise]") {
  numbers random(9);
  std::vector<std::int8_t> x(7 * 9 * 24), w(3 * 3 * 24);
  random.fill(x.data(), static_cast<index_t>(x.size()), -128, 127);
  random.fill(w.data(), static_cast<index_t>(w.size()), -128, 127);
  auto const packed = pack_depthwise(nhwc(w.data(), 1, 3, 3, 24), {.padding = same});
  std::vector<std::int32_t> first;
  support::for_each_isa([&](isa i) {
    std::vector<std::int32_t> y(7 * 9 * 24);
    depthwise_conv2d(nhwc(static_cast<std::int8_t const*>(x.data()), 1, 7, 9, 24), packed, nhwc(y.data(), 1, 7, 9, 24), epilogue<>{.lhs_zero_point = -77});
    if (first.empty()) first = y;
    INFO(name(i));
    REQUIRE(y == first);
  });
}

TEST_CASE("real scales and unsigned codes in the depthwise loop are those of the definition", "[conv][depthwise]") {
  numbers random(31);
  for (index_t c : {16, 40, 64}) {
    index_t const h = 5, w = 11;
    std::vector<std::uint8_t> x(static_cast<std::size_t>(h * w * c)), y(x.size()), wanted(x.size());
    std::vector<std::int8_t> taps(static_cast<std::size_t>(9 * c));
    std::vector<std::int32_t> acc(x.size());
    std::vector<float> scales;
    random.fill(x.data(), static_cast<index_t>(x.size()));
    random.fill(taps.data(), static_cast<index_t>(taps.size()));
    // Scales up to where real values leave int32, and down to where all are 0.
    for (index_t j = 0; j < c; ++j) scales.push_back(j % 7 == 0 ? 3e7f : j % 7 == 1 ? 1e-30f : 1e-3f * static_cast<float>(random(1, 3)));
    auto const packed = pack_depthwise(nhwc(taps.data(), 1, 3, 3, c), {.padding = same});
    auto const src = nhwc(static_cast<std::uint8_t const*>(x.data()), 1, h, w, c);
    depthwise_conv2d(src, packed, nhwc(acc.data(), 1, h, w, c), epilogue<>{.lhs_zero_point = 100});
    for (std::size_t i = 0; i < acc.size(); ++i) {
      double const real = static_cast<double>(static_cast<float>(acc[i]) * scales[i % static_cast<std::size_t>(c)]);
      wanted[i] = static_cast<std::uint8_t>(std::min(std::max(std::nearbyint(std::min(std::max(real, -1e6), 1e6)) + 7, 3.0), 250.0));
    }
    epilogue<to_real> const e{.lhs_zero_point = 100, .rescale = {.cols = view(scales.data(), c)}, .dst_zero_point = 7, .min = 3, .max = 250};
    support::for_each_native_isa([&](isa i) {
      INFO(name(i) << ", " << c << " channels");
      std::fill(y.begin(), y.end(), std::uint8_t{0});
      auto const dst = nhwc(y.data(), 1, h, w, c);
      depthwise_conv2d(src, packed, dst, e);
      REQUIRE(y == wanted);
      // In the caller's memory, exactly as much as was asked for, on several threads.
      thread_pool pool(3);
      index_t const bytes = depthwise_workspace(src, packed, dst, e, {.executor = pool});
      support::guarded<unsigned char> memory((bytes + 63) / 64 * 64);
      std::fill(y.begin(), y.end(), std::uint8_t{0});
      depthwise_conv2d(src, packed, dst, e, {.executor = pool, .workspace = {memory.data(), bytes}});
      REQUIRE(y == wanted);
      REQUIRE_THROWS_AS(depthwise_conv2d(src, packed, dst, e, {.executor = pool, .workspace = {memory.data(), bytes - 1}}), error);
    });
    REQUIRE_THROWS_AS(depthwise_conv2d(src, packed, nhwc(x.data(), 1, h, w, c), e), error);  // dst is src
  }
}

TEST_CASE("a depthwise convolution refuses what does not fit", "[conv][depthwise]") {
  std::vector<std::int8_t> x(4 * 4 * 6), w(3 * 3 * 9), y(4 * 4 * 9, 55);
  auto const src = nhwc(static_cast<std::int8_t const*>(x.data()), 1, 4, 4, 6);
  REQUIRE_THROWS_AS(depthwise_conv2d(src, pack_depthwise(nhwc(w.data(), 1, 3, 3, 9), {.padding = same}), nhwc(y.data(), 1, 4, 4, 9)), error);
  REQUIRE_THROWS_AS(pack_depthwise(nhwc(w.data(), 2, 3, 3, 4)), error);
  REQUIRE_THROWS_AS(pack_depthwise(tensor_view<std::int8_t const>{nullptr, 1, 3, 3, 3, 27, 9, 3, 1}), error);
  REQUIRE_THROWS_AS(depthwise_conv2d(src, packed_depthwise<std::int8_t>{}, nhwc(y.data(), 1, 4, 4, 6)), error);
  REQUIRE_THROWS_AS(depthwise_conv2d(src, pack_depthwise(nhwc(w.data(), 1, 3, 3, 6)), nhwc(y.data(), 1, 4, 4, 6)), error);
  auto const refused = [&](auto const& e) {
    try {
      depthwise_conv2d(src, pack_depthwise(nhwc(w.data(), 1, 3, 3, 6), {.padding = same}), nhwc(y.data(), 1, 4, 4, 6), e);
    } catch (error const& mistake) {
      return mistake.code();
    }
    throw std::runtime_error("nothing was refused");
  };
  float const scales[6] = {1, 1, 1, 1, 1, -1};
  CHECK(refused(epilogue<to_real>{.rescale = {.cols = view(scales)}}) == errc::scale);
  CHECK(refused(epilogue<to_real>{.lhs_zero_point = 128}) == errc::zero_point);
  CHECK(refused(epilogue<to_real>{.rhs_zero_point = -129}) == errc::zero_point);
  CHECK(refused(epilogue<to_real>{.dst_zero_point = 200}) == errc::zero_point);
  CHECK(refused(epilogue<to_real>{.min = 5, .max = 4}) == errc::argument);
  CHECK(refused(epilogue<>{.accumulate = true}) == errc::argument);
  for (auto v : y) REQUIRE(v == 55);
}

TEST_CASE("16x8: sums of products at their ends, on every instruction set", "[dw]") {
  numbers random(61);
  for (auto const& sizes : {std::tuple<index_t, index_t, index_t>{1, 1, 3}, {7, 1, 3}, {40, 1, 3}, {40, 2, 3}, {17, 1, 22}, {17, 1, 23}}) {
    index_t const c = std::get<0>(sizes), multiplier = std::get<1>(sizes), kernel = std::get<2>(sizes);  // clang 14 captures no bindings
    index_t const size = kernel + 1, outputs = c * multiplier;  // 22 x 22 products are summed in 32 bits, 23 x 23 in 64
    std::vector<std::int16_t> x(static_cast<std::size_t>(size * size * c), -32768), y(static_cast<std::size_t>(4 * outputs));
    std::vector<std::int8_t> w(static_cast<std::size_t>(kernel * kernel * outputs), -128);
    for (int kind = 0; kind < 2; ++kind) {
      std::vector<rescale::tflite_s64::parameters> scales;
      std::vector<std::int64_t> bias;
      for (index_t o = 0; o < outputs; ++o) scales.push_back(rescale::tflite_s64::from_real(1.0 / static_cast<double>(random(1 << 10, 1 << 18)))), bias.push_back(std::int64_t{random(-1 << 20, 1 << 20)} * 4096);
      wide_output<> const output{bias.data(), scales.data()};
      support::for_each_native_isa([&](isa i) {
        INFO(name(i) << ", " << c << " channels, kernel " << kernel);
        depthwise_16x8(nhwc<std::int16_t const>(x.data(), 1, size, size, c), pack_depthwise16(nhwc<std::int8_t const>(w.data(), 1, kernel, kernel, outputs)), nhwc(y.data(), 1, 2, 2, outputs), output);
        for (index_t p = 0; p < 4; ++p)
          for (index_t o = 0; o < outputs; ++o) {
            std::int64_t sum = 0;
            for (index_t k = 0; k < kernel * kernel; ++k) {
              index_t const at = (p / 2 + k / kernel) * size + p % 2 + k % kernel;
              sum += std::int64_t{x[static_cast<std::size_t>(at * c + o / multiplier)]} * w[static_cast<std::size_t>(k * outputs + o)];
            }
            REQUIRE(y[static_cast<std::size_t>(p * outputs + o)] == output(sum, o));
          }
      });
      for (auto& v : x) v = static_cast<std::int16_t>(random(-32768, 32767));
      for (auto& v : w) v = static_cast<std::int8_t>(random(-128, 127));
    }
  }
}
