// The fast operations in every convention, on every instruction set, equal the convention's definition of one element.
#include "support/catch.hpp"
#include "support/isas.hpp"
#include "support/quick.hpp"

#include <quern/ops/cmsis_nn.hpp>
#include <quern/ops/lstm.hpp>
#include <quern/ops/pytorch.hpp>
#include <quern/ops/tflite.hpp>
#include <quern/ops/tvm.hpp>
#include <quern/reference/lstm.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace quern;
using convention::affine;

namespace {

std::vector<std::int8_t> codes(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::int8_t> v(n);
  for (auto& x : v) x = static_cast<std::int8_t>(random());
  return v;
}

/// Ordinary values, ties, huge ones and what is no number.
std::vector<float> awkward(float scale, int specials = 14) {
  std::mt19937 random(9);
  std::vector<float> v(1500);
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(static_cast<int>(random() % 1200) - 600) * (i % 3 == 0 ? 0.37f : 0.5f) * scale;
  float const inf = std::numeric_limits<float>::infinity();
  float const special[] = {std::nanf(""), inf, -inf, 1e30f, -1e30f, 3e9f, -3e9f, 2147483648.0f, -2147483648.0f, 9.3e18f, -9.3e18f, 0.0f, -0.0f, 1e-40f};
  for (int i = 0; i < specials; ++i) v[static_cast<std::size_t>(i) * 97 + 5] = special[13 - i];
  return v;
}

/// Accumulators through a convention's output stage.
template <class C>
std::vector<std::int8_t> y_of(std::vector<std::int32_t> const& acc) {
  auto const stage = C::template output_stage<s8>(0.0625f, 0.03125f, affine{1.0f, -5});
  std::vector<std::int8_t> y;
  for (std::int32_t a : acc) y.push_back(static_cast<std::int8_t>(stage(a)));
  return y;
}

void expect_of(char const* name, bool ok, std::string const& what) {
  if (!ok) FAIL_CHECK(name << ": " << what);
}

}  // namespace

TEST_CASE("gemm, quantize and dequantize in every convention equal its elements on every instruction set", "[convention][fast]") {
  constexpr index_t m = 7, k = 70, n = 37;
  auto const x = codes(m * k, 1), w = codes(k * n, 2);
  auto const weights = pack(row_major(w.data(), k, n));
  std::vector<std::int32_t> acc(m * n), bias(n);
  for (index_t j = 0; j < n; ++j) bias[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(j * 53 - 900);
  gemm(row_major(x.data(), m, k), weights, row_major(acc.data(), m, n), epilogue<>{.lhs_zero_point = 3});
  std::vector<float> scales(n);
  for (index_t j = 0; j < n; ++j) scales[static_cast<std::size_t>(j)] = std::ldexp(1.0f, -static_cast<int>(j % 3) - 5);  // powers of two: for all conventions, and tie-heavy
  // All, none but what saturates, finite ones far out: each takes other loops.
  std::vector<float> const all_values[] = {awkward(0.5f), awkward(0.5f, 0), awkward(0.5f, 9)};
  for_each_type<support::conventions>([&](auto tag) {
    using c = typename decltype(tag)::type;
    std::vector<std::int8_t> q(all_values[0].size()), y(m * n);
    support::for_each_isa([&](isa i) {
      for (int zp : {0, -5}) for (auto const& values : all_values) {
        quantize_as<c, s8>(view(values), {0.5f, zp}, view(q), i);
        long wrong = 0;
        for (std::size_t e = 0; e < q.size(); ++e) wrong += q[e] != c::template quantize<s8>(values[e], {0.5f, zp});
        expect_of(c::name, wrong == 0, "quantize_as differs in " + std::to_string(wrong));
      }
      affine const src{0.0625f, 3}, dst{0.5f, -5};
      long wrong = 0;
      gemm<c>(row_major(x.data(), m, k), weights, row_major(y.data(), m, n), {.src = src, .weight_scale = view(scales), .bias = {bias.data(), n, 1}, .dst = dst}, {.max_isa = i});
      for (index_t r = 0; r < m * n; ++r) {
        std::int32_t const a = acc[static_cast<std::size_t>(r)] + bias[static_cast<std::size_t>(r % n)];
        auto stage = c::template output_stage<s8>(src.scale, scales[static_cast<std::size_t>(r % n)], dst);
        wrong += y[static_cast<std::size_t>(r)] != stage(a);
      }
      expect_of(c::name, wrong == 0, "gemm with a bias differs in " + std::to_string(wrong));
      wrong = 0;
      gemm<c>(row_major(x.data(), m, k), weights, row_major(y.data(), m, n), {.src = src, .weight_scale = 0.03125f, .dst = dst, .clamped = {-5, 100}}, {.max_isa = i});
      auto const stage = c::template output_stage<s8>(src.scale, 0.03125f, dst, convention::limits{-5, 100});
      for (index_t r = 0; r < m * n; ++r) wrong += y[static_cast<std::size_t>(r)] != stage(acc[static_cast<std::size_t>(r)]);
      expect_of(c::name, wrong == 0, "gemm with one scale differs in " + std::to_string(wrong));
    });
    std::vector<float> real(x.size());
    dequantize_as<c>(view(x), {0.3f, 3}, view(real));
    long wrong = 0;
    for (std::size_t e = 0; e < real.size(); ++e) wrong += !(real[e] == c::dequantize(x[e], {0.3f, 3}));
    expect_of(c::name, wrong == 0, "dequantize_as differs");
  });
}

TEST_CASE("convolutions, pools, sums and products in every convention equal its elements on every instruction set", "[convention][fast]") {
  auto const x = codes(1 * 6 * 6 * 8, 3), w = codes(4 * 3 * 3 * 8, 4), d = codes(3 * 3 * 8, 5);
  auto const src = nhwc(x.data(), 1, 6, 6, 8);
  auto const packed = pack_conv(nhwc(w.data(), 4, 3, 3, 8));
  auto const taps = pack_depthwise(nhwc(d.data(), 1, 3, 3, 8));
  std::vector<std::int32_t> acc(4 * 4 * 4), deep(4 * 4 * 8);
  conv2d(src, packed, nhwc(acc.data(), 1, 4, 4, 4), epilogue<>{.lhs_zero_point = 3});
  depthwise_conv2d(src, taps, nhwc(deep.data(), 1, 4, 4, 8), epilogue<>{.lhs_zero_point = 3});
  layer_params const p{.src = {0.0625f, 3}, .weight_scale = 0.03125f, .bias = {}, .dst = {1.0f, -5}};
  std::vector<std::int32_t> sums;
  for (std::size_t i = 0; i < 6; ++i)
    for (std::size_t j = 0; j < 4; ++j) {
      std::int32_t total = 0;
      for (std::size_t k = 0; k < 8; ++k) total += (x[i * 8 + k] - 3) * (w[k * 4 + j] + 7);
      sums.push_back(total);
    }
  affine const a{0.5f, 3}, b{0.25f, -7}, r{0.5f, 3};
  shape const s = make_shape(6, 6, 8);
  auto const row = make_shape(8);
  for_each_type<support::conventions>([&](auto tag) {
    using c = typename decltype(tag)::type;
    std::vector<std::int8_t> y(acc.size()), z(deep.size()), sum(x.size()), product(x.size()), pooled(3 * 3 * 8), whole(8);
    // What each should be, once.
    auto const want_y = y_of<c>(acc), want_z = y_of<c>(deep);
    std::vector<std::int8_t> products(2 * 3 * 4);
    auto const want_products = y_of<c>(sums);
    std::vector<std::int8_t> want_sum(x.size()), want_product(x.size()), want_pooled(pooled.size()), want_whole(8);
    auto const plus = c::template add<s8>(a, b, r);
    auto const times = c::template mul<s8>(a, b, r, convention::limits{-20, 20});
    auto const average = c::template average_pool<s8>(a, r);
    for (std::size_t i = 0; i < x.size(); ++i) {
      want_sum[i] = static_cast<std::int8_t>(plus(x[i], x[i % 8]));
      want_product[i] = static_cast<std::int8_t>(times(x[i], x[i % 8]));
    }
    for (index_t i = 0; i < 9 * 8; ++i) {
      index_t const px = i / 8 % 3 * 2, py = i / 24 * 2, ch = i % 8;
      std::int32_t const total = src(0, py, px, ch) + src(0, py, px + 1, ch) + src(0, py + 1, px, ch) + src(0, py + 1, px + 1, ch);
      want_pooled[static_cast<std::size_t>(i)] = static_cast<std::int8_t>(average(total, 4));
    }
    for (std::size_t ch = 0; ch < 8; ++ch) {
      std::int32_t total = 0;
      for (std::size_t i = 0; i < 36; ++i) total += x[i * 8 + ch];
      want_whole[ch] = static_cast<std::int8_t>(average(total, 36));
    }
    support::for_each_isa([&](isa) {
      conv2d<c>(src, packed, nhwc(y.data(), 1, 4, 4, 4), p);
      expect_of(c::name, y == want_y, "conv2d");
      depthwise_conv2d<c>(src, taps, nhwc(z.data(), 1, 4, 4, 8), p);
      expect_of(c::name, z == want_z, "depthwise_conv2d");
      batch_matmul<c>(nd(x.data(), make_shape(2, 3, 8)), affine{0.0625f, 3}, nd(w.data(), make_shape(8, 4)), affine{0.03125f, -7}, nd(products.data(), make_shape(2, 3, 4)), affine{1.0f, -5});
      expect_of(c::name, products == want_products, "batch_matmul");
      add<c>(nd(x.data(), s), a, nd(x.data(), row), b, nd(sum.data(), s), r);
      expect_of(c::name, sum == want_sum, "add");
      mul<c>(nd(x.data(), s), a, nd(x.data(), row), b, nd(product.data(), s), r, {-20, 20});
      expect_of(c::name, product == want_product, "mul");
      average_pool2d<c>(src, a, {.size = {2, 2}, .stride = {2, 2}}, nhwc(pooled.data(), 1, 3, 3, 8), r);
      expect_of(c::name, pooled == want_pooled, "average_pool2d");
      global_average_pool<c>(src, a, nhwc(whole.data(), 1, 1, 1, 8), r);
      expect_of(c::name, whole == want_whole, "global_average_pool");
    });
  });
}

TEST_CASE("transposed and three-dimensional convolutions take a convention", "[convention][fast]") {
  auto const x = codes(1 * 2 * 4 * 4 * 8, 6), w = codes(4 * 2 * 3 * 3 * 8, 7);
  layer_params const p{.src = {0.0625f, 3}, .weight_scale = 0.03125f, .bias = {}, .dst = {1.0f, -5}};
  auto const check = [&](auto convention_tag) {
    using c = decltype(convention_tag);
    auto const spread = pack_transposed_conv(nhwc(w.data(), 4, 3, 3, 8), {.stride = {2, 2}});
    std::vector<std::int32_t> acc(9 * 9 * 4), deep(1 * 2 * 2 * 4);
    std::vector<std::int8_t> y(acc.size()), z(deep.size());
    transposed_conv2d(nhwc(x.data(), 1, 4, 4, 8), spread, nhwc(acc.data(), 1, 9, 9, 4), epilogue<>{.lhs_zero_point = 3});
    transposed_conv2d<c>(nhwc(x.data(), 1, 4, 4, 8), spread, nhwc(y.data(), 1, 9, 9, 4), p);
    expect_of(c::name, y == y_of<c>(acc), "transposed_conv2d");
    volume_view<std::int8_t const> const volume(x.data(), 1, 2, 4, 4, 8);
    auto const solid = pack_conv(volume_view<std::int8_t const>(w.data(), 4, 2, 3, 3, 8));
    conv3d(volume, solid, volume_view<std::int32_t>(deep.data(), 1, 1, 2, 2, 4), epilogue<>{.lhs_zero_point = 3});
    conv3d<c>(volume, solid, volume_view<std::int8_t>(z.data(), 1, 1, 2, 2, 4), p);
    expect_of(c::name, z == y_of<c>(deep), "conv3d");
  };
  check(convention::tflite{});
  check(convention::pytorch_onednn{});
}

TEST_CASE("convolutions of one, two and three spatial dimensions, as ONNX and PyTorch lay them out", "[convention][operators]") {
  // NCDHW throughout; what has fewer dimensions has kernel 1, stride 1 and no padding in the others.
  constexpr index_t n = 2, groups = 2, ci = 3, co = 4;
  auto const check = [&](int spatial, extent in, extent kernel, extent stride, extent dilation, padding const& around) {
    CAPTURE(spatial);
    conv_options const o{.stride = stride, .dilation = dilation, .padding = around, .groups = groups};
    window const win = sliding_window("test", in, kernel, stride, dilation, around);
    auto const layout = [&](index_t outer, index_t channels, index_t d, index_t h, index_t w) {
      return spatial == 1 ? make_shape(outer, channels, w) : spatial == 2 ? make_shape(outer, channels, h, w) : make_shape(outer, channels, d, h, w);
    };
    shape const sx = layout(n, groups * ci, in.d, in.h, in.w), sw = layout(co, ci, kernel.d, kernel.h, kernel.w), sy = layout(n, co, win.d.out, win.h.out, win.w.out);
    auto const x = codes(static_cast<std::size_t>(sx.size()), 11), w = codes(static_cast<std::size_t>(sw.size()), 12);
    std::int32_t const zx = -7, zeros[co] = {0, 3, -128, 127};
    float const scales[co] = {0.02f, 0.5f, 0.03f, 0.0625f};
    std::int32_t const bias[co] = {100, -2000, 0, 77777};
    std::vector<std::int32_t> acc;
    for (index_t b = 0; b < n; ++b)
      for (index_t c = 0; c < co; ++c)
        for (index_t z = 0; z < win.d.out; ++z)
          for (index_t y = 0; y < win.h.out; ++y)
            for (index_t u = 0; u < win.w.out; ++u) {
              std::int32_t sum = 0;
              for (index_t i = 0; i < ci; ++i)
                for (index_t kz = 0; kz < kernel.d; ++kz)
                  for (index_t ky = 0; ky < kernel.h; ++ky)
                    for (index_t kx = 0; kx < kernel.w; ++kx) {
                      index_t const pz = win.d.at(z, kz), py = win.h.at(y, ky), px = win.w.at(u, kx), channel = c / (co / groups) * ci + i;
                      if (pz < 0 || pz >= in.d || py < 0 || py >= in.h || px < 0 || px >= in.w) continue;  // the zero point
                      auto const at = static_cast<std::size_t>((((b * groups * ci + channel) * in.d + pz) * in.h + py) * in.w + px);
                      auto const of = static_cast<std::size_t>((((c * ci + i) * kernel.d + kz) * kernel.h + ky) * kernel.w + kx);
                      sum += (x[at] - zx) * (w[of] - zeros[c]);
                    }
              acc.push_back(sum);
            }
    REQUIRE(static_cast<index_t>(acc.size()) == sy.size());
    onnx::operand const pw{vector_view<float const>(view(scales)), vector_view<std::int32_t const>(view(zeros))};
    affine const px{0.1f, zx}, py{9.0f, -5};
    auto const channel = [&](std::size_t i) { return i / (acc.size() / n / co) % co; };
    support::for_each_isa([&](isa) {
      std::vector<std::int32_t> sums(acc.size());
      onnx::conv_integer(nd(x.data(), sx), zx, nd(w.data(), sw), pw.zero_point, nd(sums.data(), sy), o);
      CHECK(sums == acc);
      std::vector<std::int8_t> y(acc.size()), want(acc.size());
      onnx::qlinear_conv(nd(x.data(), sx), px, nd(w.data(), sw), pw, py, view(bias), nd(y.data(), sy), o);
      for (std::size_t i = 0; i < want.size(); ++i)
        want[i] = static_cast<std::int8_t>(convention::onnx_runtime::output_stage<s8>(px.scale, scales[channel(i)], py)(acc[i] + bias[channel(i)]));
      CHECK(y == want);
      float const real_bias[co] = {1.0f, -20.0f, 0.05f, 7.5f};
      for (std::size_t i = 0; i < want.size(); ++i) {
        auto const c = channel(i);
        want[i] = static_cast<std::int8_t>(convention::pytorch_qnnpack::output_stage<s8>(px.scale, scales[c], py)(acc[i] + convention::pytorch::quantize_bias(real_bias[c], px.scale, scales[c])));
      }
      auto const run = [&](auto const& conv) { conv(nd(x.data(), sx), px, nd(w.data(), sw), pw, view(real_bias), nd(y.data(), sy), py, o); };
      using engine = convention::pytorch_qnnpack;
      if (spatial == 1) run([](auto... a) { pytorch::conv1d<engine>(a...); });
      if (spatial == 2) run([](auto... a) { pytorch::conv2d<engine>(a...); });
      if (spatial == 3) run([](auto... a) { pytorch::conv3d<engine>(a...); });
      CHECK(y == want);
    });
    std::vector<std::int8_t> y(acc.size(), 99);
    CHECK_THROWS_AS(onnx::qlinear_conv(nd(x.data(), sx), px, nd(w.data(), sw), pw, py, {}, nd(y.data(), make_shape(n, co)), o), error);
    if (spatial != 2) CHECK_THROWS_AS(pytorch::conv2d(nd(x.data(), sx), px, nd(w.data(), sw), pw, {}, nd(y.data(), sy), py, o), error);
    CHECK(y == std::vector<std::int8_t>(acc.size(), 99));
  };
  check(1, {1, 13, 1}, {1, 3, 1}, {1, 2, 1}, {1, 2, 1}, pad(0, 0, 2, 1));
  check(1, {1, 8, 1}, {1, 3, 1}, {1, 2, 1}, {1, 1, 1}, same_lower);
  check(2, {5, 6, 1}, {3, 2, 1}, {2, 1, 1}, {1, 3, 1}, pad(1, 0, 0, 2));
  check(3, {5, 4, 6}, {2, 3, 3}, {2, 1, 3}, {2, 1, 1}, pad(1, 0, 0, 1, 2, 1));
  check(3, {3, 4, 5}, {3, 1, 2}, {1, 3, 2}, {1, 1, 2}, same);
}

TEST_CASE("the LSTM equals its definition on every instruction set, in both systems, in one call and in two", "[convention][lstm]") {
  std::mt19937 random(31);
  auto const number = [&](int lo, int hi) { return lo + static_cast<int>(random() % static_cast<unsigned>(hi - lo + 1)); };
  auto const check = [&]<class T, class C>(T, C, int shift) {
    index_t const batch = number(1, 3), steps = number(1, 6), inputs = number(1, 40), units = number(1, 37);
    CAPTURE(C::name, sizeof(T), shift, batch, steps, inputs, units);
    using gate_type = fixed_point::lstm_gate<T>;
    fixed_point::lstm_params<T> p{.inputs = inputs, .units = units};
    std::vector<std::vector<std::int8_t>> weights;
    std::vector<std::vector<typename gate_type::bias_type>> biases;
    auto const multiplier = [&](int s) { return rescale::multiplier_shift{static_cast<std::int32_t>((1u << 30) + random() % (1u << 30)), s}; };
    for (gate_type* g : {&p.forget, &p.input, &p.cell, &p.output}) {
      weights.push_back(codes(static_cast<std::size_t>(units * inputs), random()));
      g->input = weights.back().data();
      weights.push_back(codes(static_cast<std::size_t>(units * units), random()));
      g->hidden = weights.back().data();
      biases.emplace_back(static_cast<std::size_t>(units));
      for (auto& v : biases.back()) v = number(-30000, 30000);
      if (random() % 4 != 0) g->bias = biases.back().data();
      g->input_rescale = multiplier(shift), g->hidden_rescale = multiplier(shift);
    }
    if (sizeof(T) == 1) p.src_zero_point = number(-128, 127), p.dst_zero_point = number(-128, 127);
    p.forget_to_cell = multiplier(-number(12, 15)), p.input_to_cell = multiplier(-number(12, 15)), p.output_to_dst = multiplier(sizeof(T) == 1 ? -22 : -15);
    p.cell_scale_power = -number(9, 15), p.cell_clip = random() % 2 == 0 ? 0 : number(1000, 32767);
    std::vector<T> x(static_cast<std::size_t>(batch * steps * inputs)), y(static_cast<std::size_t>(batch * steps * units)), want(y.size());
    for (auto& v : x) v = static_cast<T>(random());
    std::vector<T> hidden(static_cast<std::size_t>(batch * units), static_cast<T>(p.dst_zero_point)), last(hidden);
    std::vector<std::int16_t> cell(hidden.size()), last_cell(hidden.size());
    shape const sx = make_shape(batch, steps, inputs), sy = make_shape(batch, steps, units);
    reference::lstm<typename detail::lstm_arithmetic<C>::unit>(nd<T const>(x.data(), sx), p, nd(want.data(), sy), last.data(), last_cell.data());
    auto const layer = pack_lstm<C>(p);
    support::for_each_isa([&](isa i) {
      lstm(nd<T const>(x.data(), sx), layer, nd(y.data(), sy), {}, {.max_isa = i});
      REQUIRE(y == want);
      // Time-major, in two calls with a state between them.
      std::vector<T> xt(x.size()), yt(y.size());
      for (index_t b = 0; b < batch; ++b)
        for (index_t t = 0; t < steps; ++t)
          for (index_t k = 0; k < inputs; ++k) xt[static_cast<std::size_t>((t * batch + b) * inputs + k)] = x[static_cast<std::size_t>((b * steps + t) * inputs + k)];
      int const order[] = {1, 0, 2};
      auto const vx = transposed(nd<T const>(xt.data(), make_shape(steps, batch, inputs)), order);
      auto const vy = transposed(nd(yt.data(), make_shape(steps, batch, units)), order);
      auto h = hidden;
      auto c = cell;
      index_t const first = steps / 2;
      lstm(sliced(vx, 1, 0, first), layer, sliced(vy, 1, 0, first), {h.data(), c.data()}, {.max_isa = i});
      lstm(sliced(vx, 1, first, steps - first), layer, sliced(vy, 1, first, steps - first), {h.data(), c.data()}, {.max_isa = i});
      CHECK((h == last && c == last_cell));
      for (index_t b = 0; b < batch; ++b)
        for (index_t t = 0; t < steps; ++t)
          for (index_t u = 0; u < units; ++u) REQUIRE(vy.data[b * vy.stride[0] + t * vy.stride[1] + u] == want[static_cast<std::size_t>((b * steps + t) * units + u)]);
    });
    return want;
  };
  for (int round = 0; round < 4; ++round) {
    int const shift = round == 3 ? 2 : -3 - 2 * round;  // in the last, sums leave int16
    check(std::int8_t{}, convention::cmsis_nn{}, shift);
    check(std::int8_t{}, convention::tflite{}, shift);
    check(std::int16_t{}, convention::cmsis_nn{}, shift - 6);
    check(std::int16_t{}, convention::tflite{}, shift - 6);
  }
  // Where the systems differ: 32767 - 40000 is -7233 to one, -1 to the other.
  using joined = detail::lstm_arithmetic<convention::cmsis_nn>::unit;
  using separate = detail::lstm_arithmetic<convention::tflite>::unit;
  CHECK((joined::gate(32767, -40000) == -7233 && separate::gate(32767, -40000) == -1));

  std::int8_t const w[4] = {1, 2, 3, 4};
  std::int8_t y[2] = {55, 55};
  fixed_point::lstm_gate<std::int8_t> const g{w, w, nullptr, {1 << 30, 0}, {1 << 30, 0}};
  fixed_point::lstm_params<std::int8_t> const fine{.inputs = 2, .units = 2, .forget = g, .input = g, .cell = g, .output = g};
  auto const refused = [](auto p, auto const& change) {
    change(p);
    CHECK_THROWS_AS(pack_lstm<convention::cmsis_nn>(p), error);
  };
  refused(fine, [](auto& p) { p.units = 0; });
  refused(fine, [](auto& p) { p.cell.hidden = nullptr; });
  refused(fine, [](auto& p) { p.cell_scale_power = -16; });
  refused(fine, [](auto& p) { p.dst_zero_point = 128; });
  refused(fine, [](auto& p) { p.input.hidden_rescale.shift = 31; });
  refused(fine, [](auto& p) { p.output_to_dst.shift = 1; });
  refused(fixed_point::lstm_params<std::int16_t>{.inputs = 1, .units = 1, .src_zero_point = 1}, [](auto&) {});
  auto const layer = pack_lstm<convention::cmsis_nn>(fine);
  auto const run = [&](std::int8_t const* x, shape const& s, lstm_state<std::int8_t> state) { lstm(nd(x, s), layer, nd(y, make_shape(1, 1, 2)), state); };
  CHECK_THROWS_AS(run(w, make_shape(1, 1, 3), {}), error);
  CHECK_THROWS_AS(run(w, make_shape(1, 2, 2), {}), error);
  CHECK_THROWS_AS(run(nullptr, make_shape(1, 1, 2), {}), error);
  CHECK_THROWS_AS(run(w, make_shape(1, 1, 2), {y, nullptr}), error);
  CHECK((y[0] == 55 && y[1] == 55));
}

TEST_CASE("a layer's parameters are refused before anything is written", "[convention][fast]") {
  std::int8_t const x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::int8_t y[2] = {99, 99};
  auto const w = pack(row_major(x, 4, 2));
  auto const run = [&](layer_params const& p) { gemm<convention::tflite>(row_major(x, 1, 4), w, row_major(y, 1, 2), p); };
  float const scales[3] = {1, 1, 1};
  REQUIRE_THROWS_AS(run({.src = {0.0f, 0}}), error);
  REQUIRE_THROWS_AS(run({.src = {1.0f, 0}, .weight_scale = -1.0f}), error);
  REQUIRE_THROWS_AS(run({.src = {1.0f, 0}, .weight_scale = vector_view<float const>{scales, 3, 1}}), error);
  REQUIRE_THROWS_AS(run({.src = {1.0f, 0}, .dst = {std::nanf(""), 0}}), error);
  REQUIRE_THROWS_AS(run({.src = {1.0f, 500}}), error);
  CHECK(y[0] == 99);
  float f[2] = {1, 2};
  REQUIRE_THROWS_AS((quantize_as<convention::gemmlowp, s8>(vector_view<float const>{f, 2, 1}, {0.0f, 0}, view(y))), error);
  REQUIRE_THROWS_AS((quantize_as<convention::onnx, s8>(vector_view<float const>{f, 1, 1}, {1.0f, 0}, view(y))), error);
  CHECK(y[1] == 99);
}

TEST_CASE("frameworks' names for scalar functions", "[convention][operators]") {
  static_assert(tflite::calculate_input_radius(4, 27) == 15 && tflite::calculate_input_radius(3, 27) == 14 && tflite::calculate_input_radius(3, 28) == 7);
  static_assert(tflite::preprocess_softmax_scaling(1e6, 1e6, 5) == rescale::multiplier_shift{2147483647, 31});
  static_assert(tflite::multiply_by_quantized_multiplier(5, 1 << 30, -1) == 2 && tflite::multiply_by_quantized_multiplier(5, 1 << 30, -1, true) == 1);
  static_assert(tflite::multiply_by_quantized_multiplier(std::int64_t{123456789}, 1288490189, -7) == 578710);
  static_assert(cmsis_nn::requantize(5, 1 << 30, -1) == 2 && cmsis_nn::requantize(5, 1 << 30, -1, true) == 1);
  static_assert(cmsis_nn::doubling_high_mult_no_sat(INT32_MIN, INT32_MIN) == INT32_MIN && cmsis_nn::doubling_high_mult(INT32_MIN, INT32_MIN) == INT32_MAX);
  static_assert(tvm::fixed_point_multiply(-3, 1 << 30, 0) == -1 && tvm::fixed_point_multiply(INT32_MAX, 1 << 30, 0) == -(1 << 30) &&
                tvm::fixed_point_multiply(INT32_MAX, 1 << 30, 0, true) == 1 << 30);
  CHECK(tflite::choose_quantization_params<std::uint8_t>(-10, 30).zero_point == 64);
  REQUIRE_THROWS_AS(tflite::choose_quantization_params<std::int8_t>(1, 2), error);
  REQUIRE_THROWS_AS(tflite::quantize_multiplier_smaller_than_one_exp(1.0), error);
  REQUIRE_THROWS_AS(tflite::quantize_multiplier_greater_than_one(1.0), error);
}

TEST_CASE("PyTorch's and TVM's operators on small tensors", "[convention][operators]") {
  float const f[4] = {1.0f, 2.0f, -0.3f, 25.0f};
  std::uint8_t q[4];
  pytorch::quantize_per_tensor<u8>(nd(f, make_shape(4)), 0.1, 3, nd(q, make_shape(4)));
  CHECK(std::vector<int>(q, q + 4) == std::vector<int>{13, 23, 0, 253});
  REQUIRE_THROWS_AS(pytorch::quantize_per_tensor<u8>(nd(f, make_shape(4)), 0.1, 300, nd(q, make_shape(4))), error);
  double const scales[2] = {0.1, 0.5};
  std::int64_t const zeros[2] = {3, 1};
  pytorch::quantize_per_channel<u8>(nd(f, make_shape(2, 2)), view(scales), view(zeros), 0, nd(q, make_shape(2, 2)));
  CHECK(std::vector<int>(q, q + 4) == std::vector<int>{13, 23, 0, 51});
  std::uint8_t const a[2] = {13, 23};
  std::uint8_t y[2];
  pytorch::add(nd(a, make_shape(2)), {.1f, 3}, nd(a, make_shape(2)), {.1f, 3}, nd(y, make_shape(2)), {.2f, 5});
  CHECK(y[0] == 15);
  CHECK(y[1] == 25);
  std::int8_t const x[4] = {1, -1, -3, 5};
  std::int8_t r[4];
  tvm::requantize(nd(x, make_shape(4)), {.5f, 0}, nd(r, make_shape(4)), {1, 0});
  CHECK(std::vector<int>(r, r + 4) == std::vector<int>{1, 0, -1, 3});
  tvm::requantize(nd(x, make_shape(4)), {.5f, 0}, nd(r, make_shape(4)), {1, 0}, tvm::rounding::to_nearest);
  CHECK(std::vector<int>(r, r + 4) == std::vector<int>{1, -1, -2, 3});
  float dx[2];
  float const dy[2] = {-1.0f, 2.0f};
  bool const mask[2] = {false, true};
  pytorch::fake_quantize_backward(view(dy), mask, view(dx));
  CHECK(std::signbit(dx[0]));
  CHECK(dx[1] == 2.0f);
}

TEST_CASE("QuantizeLinear and DequantizeLinear of ONNX Runtime where they leave the standard", "[convention][operators]") {
  float const inf = std::numeric_limits<float>::infinity();
  auto const run = [&]<class Target, class C, class Real>(std::vector<Real> const& x, int zero_point, bool saturate = true) {
    using storage = quern::detail::onnx_storage_t<Target>;
    std::vector<storage> y(x.size());
    storage zero{};
    if constexpr (std::is_integral_v<storage>) zero = static_cast<storage>(zero_point);
    Real const step = static_cast<Real>(1.0f);
    onnx::quantize_linear<Target, C>(nd(x.data(), make_shape(static_cast<index_t>(x.size()))), nd(&step, make_shape()), nd(static_cast<storage const*>(&zero), make_shape()),
                                     nd(y.data(), make_shape(static_cast<index_t>(x.size()))), {.saturate = saturate});
    std::vector<int> r;
    for (storage v : y)
      if constexpr (std::is_integral_v<storage>)
        r.push_back(v);
      else
        r.push_back(v.bits);
    return r;
  };
  using standard = convention::onnx;
  using ort = convention::onnx_runtime;
  std::vector<float> const far = {3e9f, -3e9f, 1};
  // 2 bits: int32 first, so what is far is the lowest int32 plus the zero point: the highest code if that is negative.
  CHECK(run.operator()<s2, standard, float>(far, -1) == std::vector<int>{1, -2, 0});
  CHECK(run.operator()<s2, ort, float>(far, -1) == std::vector<int>{1, 1, 0});
  CHECK(run.operator()<s2, ort, float>(far, 1) == std::vector<int>{-2, -2, 1});
  // 4 bits: only the odd element at the end.
  CHECK(run.operator()<u4, ort, float>({3e9f, 3e9f, 3e9f}, 1) == std::vector<int>{15, 15, 0});
  // Without saturation: 480 to 496 stay at 448, 61440 to 65536 become NaN.
  CHECK(run.operator()<codec::float8_e4m3fn, ort, float>({464.5f, 480, 495.9f, 496, -490}, 0, false) == std::vector<int>{0x7f, 0x7e, 0x7e, 0x7f, 0xfe});
  CHECK(run.operator()<codec::float8_e4m3fn, standard, float>({464.5f, 480, 495.9f, 496, -490}, 0, false) == std::vector<int>{0x7f, 0x7f, 0x7f, 0x7f, 0xff});
  CHECK(run.operator()<codec::float8_e5m2, ort, float>({61439, 61440, 65535, 65536, -61440}, 0, false) == std::vector<int>{0x7b, 0x7f, 0x7f, 0x7c, 0xff});
  // Halves: float quotients, infinity through int32.
  std::vector<half> const halves = {half(inf), half(2.5f), half(-inf)};
  CHECK(run.operator()<u8, ort, half>(halves, 3) == std::vector<int>{0, 5, 0});
  CHECK(run.operator()<u8, standard, half>(halves, 3) == std::vector<int>{255, 5, 0});
  // The difference 4098 is no half: the standard's product is of 4096.
  std::int16_t const q[] = {30001}, zero[] = {25903};
  half const step[] = {half(0.1f)};
  half y[1];
  onnx::dequantize_linear(nd(q, make_shape(1)), nd(step, make_shape()), nd(zero, make_shape()), nd(y, make_shape(1)));
  CHECK(static_cast<float>(y[0]) == 409.5f);
  onnx::dequantize_linear<convention::onnx_runtime>(nd(q, make_shape(1)), nd(step, make_shape()), nd(zero, make_shape()), nd(y, make_shape(1)));
  CHECK(static_cast<float>(y[0]) == 409.75f);

  // The precision of the division: 2049 is no half and no bfloat16, 34.01 becomes the tie 34 in half.
  auto const divided_in = [](onnx::precision p) {
    float const x = 2049, s = 1;
    std::int16_t r = 0;
    onnx::quantize_linear<s16>(nd(&x, make_shape(1)), nd(&s, make_shape()), nd(static_cast<std::int16_t const*>(nullptr), make_shape()), nd(&r, make_shape(1)), {.precision = p});
    return r;
  };
  CHECK((divided_in(onnx::precision::of_scale) == 2049 && divided_in(onnx::precision::float32) == 2049));
  CHECK((divided_in(onnx::precision::float16) == 2048 && divided_in(onnx::precision::bfloat16) == 2048));
  auto const eighth_in = [](onnx::precision p) {
    half const x(-1.7f), s(0.05f);
    codec::float8_e4m3fn r{};
    onnx::quantize_linear<codec::float8_e4m3fn>(nd(&x, make_shape(1)), nd(&s, make_shape()), nd(static_cast<codec::float8_e4m3fn const*>(nullptr), make_shape()), nd(&r, make_shape(1)), {.precision = p});
    return static_cast<float>(r);
  };
  CHECK((eighth_in(onnx::precision::of_scale) == -32 && eighth_in(onnx::precision::float32) == -36));
  // Scales of float8_e8m0: powers of two.
  auto const power = codec::float8_e8m0::encode(4.0f);
  float const shifted[] = {10, 14, -1000};
  std::int8_t steps[3];
  onnx::quantize_linear<s8>(nd(shifted, make_shape(3)), nd(&power, make_shape()), nd(static_cast<std::int8_t const*>(nullptr), make_shape()), nd(steps, make_shape(3)));
  CHECK((steps[0] == 2 && steps[1] == 4 && steps[2] == -128));  // 2.5, 3.5, saturated
  float back[3];
  onnx::dequantize_linear(nd(static_cast<std::int8_t const*>(steps), make_shape(3)), nd(&power, make_shape()), nd(static_cast<std::int8_t const*>(nullptr), make_shape()), nd(back, make_shape(3)));
  CHECK((back[0] == 8 && back[1] == 16 && back[2] == -512));

  // A bad scale or zero point anywhere is told before anything is written.
  float const x[] = {1, 2}, scales[] = {1, 0};
  std::int8_t const zeros[] = {0, 9};
  std::int8_t codes[] = {55, 55};
  float const fine[] = {1, 1};
  auto const message = [&](auto tag, float const* s) -> std::string {
    try {
      onnx::quantize_linear<decltype(tag)>(nd(x, make_shape(2, 1)), nd(s, make_shape(2)), nd(zeros, make_shape(2)), nd(codes, make_shape(2, 1)), {.axis = 0});
    } catch (error const& e) {
      return e.what();
    }
    return "";
  };
  CHECK(message(s8{}, scales).find("scale 1 is 0; it must be positive and finite") != std::string::npos);
  CHECK(message(s4{}, fine).find("zero_point 1 is 9; it must be -8 to 7") != std::string::npos);
  CHECK((codes[0] == 55 && codes[1] == 55));
}

TEST_CASE("scales along the last axis and blocks along others go through columns, and are the elements", "[convention][onnx]") {
  std::mt19937 random(41);
  auto const check = [&]<class Target, class C>(Target, C) {
    using storage = typename code_of_t<Target>::storage;
    constexpr index_t outer = 3, extent = 7, inner = 37, block = 3, blocks = 3;
    std::vector<float> const x = [] {
      auto v = awkward(0.5f);
      v.resize(static_cast<std::size_t>(outer * extent * inner));
      return v;
    }();
    auto const per = [&](shape const& s, onnx::quantize_attributes const& a, auto const& scale_of) {
      shape const all = make_shape(outer, extent, inner);
      std::vector<float> scales(static_cast<std::size_t>(s.size()));
      for (auto& v : scales) v = std::ldexp(random() % 2 == 0 ? 1.0f : 1.3f, static_cast<int>(random() % 4) - 2);
      std::vector<storage> zeros(scales.size()), y(x.size());
      for (auto& v : zeros) v = static_cast<storage>(code_of_t<Target>::min + static_cast<int>(random() % 4));
      support::for_each_native_isa([&](isa i) {
        onnx::quantize_linear<Target, C>(nd(x.data(), all), nd(scales.data(), s), nd<storage const>(zeros.data(), s), nd(y.data(), all), a, i);
        long wrong = 0;
        for (index_t e = 0; e < all.size(); ++e) {
          auto const at = static_cast<std::size_t>(e), k = static_cast<std::size_t>(scale_of(e / inner / extent, e / inner % extent, e % inner));
          storage want = convention::onnx::quantize<Target>(x[at], {scales[k], zeros[k]});
          float const steps = std::nearbyint(x[at] / scales[k]);
          if (std::is_same_v<C, convention::onnx_runtime> && a.block_size > 0 && !(steps >= -2147483648.0f && steps < 2147483648.0f))
            want = saturate<Target>(wrap32(-2147483648ll + zeros[k]));
          wrong += y[at] != want;
        }
        CHECK(wrong == 0);
      });
      std::vector<float> real(x.size());
      onnx::dequantize_linear(nd<storage const>(y.data(), all), nd(scales.data(), s), nd<storage const>(zeros.data(), s), nd(real.data(), all), a);
      long wrong = 0;
      for (index_t e = 0; e < all.size(); ++e) {
        auto const at = static_cast<std::size_t>(e), k = static_cast<std::size_t>(scale_of(e / inner / extent, e / inner % extent, e % inner));
        wrong += real[at] != static_cast<float>(y[at] - zeros[k]) * scales[k];
      }
      CHECK(wrong == 0);
    };
    per(make_shape(outer, blocks, inner), {.axis = 1, .block_size = block}, [](index_t o, index_t e, index_t i) { return (o * blocks + e / block) * inner + i; });
    per(make_shape(inner), {.axis = -1}, [](index_t, index_t, index_t i) { return i; });
  };
  check(u8{}, convention::onnx{});
  check(s8{}, convention::onnx_runtime{});
  // Scales of the symmetric 4-bit quantizer are negative: DequantizeLinear takes them.
  std::int8_t const q[] = {3, -8};
  float const negative = -0.5f;
  float real[2];
  onnx::dequantize_linear(nd(q, make_shape(2)), nd(&negative, make_shape()), nd(static_cast<std::int8_t const*>(nullptr), make_shape()), nd(real, make_shape(2)));
  CHECK((real[0] == -1.5f && real[1] == 4.0f));
  double const scales[] = {0.1, 0.25, 3.0};
  std::int64_t const zeros[] = {0, -5, 100};
  std::vector<float> const x = awkward(0.5f);
  std::vector<std::int8_t> y(x.size());
  pytorch::quantize_per_channel<s8>(nd(x.data(), make_shape(500, 3)), view(scales), view(zeros), 1, nd(y.data(), make_shape(500, 3)));
  for (std::size_t i = 0; i < y.size(); ++i)
    REQUIRE(y[i] == convention::pytorch::quantize<s8>(x[i], {static_cast<float>(scales[i % 3]), static_cast<std::int32_t>(zeros[i % 3])}));
}

TEST_CASE("QLinearAveragePool and its global sister in both layouts equal their definition", "[convention][onnx]") {
  std::mt19937 random(43);
  for (int round = 0; round < 12; ++round) {
    bool const last = round % 2 == 0, include = round % 3 == 0;
    index_t const n = 2, c = 1 + static_cast<index_t>(random() % 40), h = 4 + static_cast<index_t>(random() % 6), w = 4 + static_cast<index_t>(random() % 40), k = 2 + round % 3, s = 1 + round % 2, p = k / 2;
    std::vector<std::uint8_t> x(static_cast<std::size_t>(n * c * h * w));
    for (auto& v : x) v = static_cast<std::uint8_t>(random());
    affine const px{0.03f, 7}, py{round % 4 == 0 ? 0.03f : 0.021f, 130};
    pool_options const o{.size = {k, k}, .stride = {s, s}, .padding = pad(p, p, p, p)};
    window const win = sliding_window("test", {h, w, 1}, o.size, o.stride, {}, o.padding);
    auto const placed = [last](auto* data, index_t b, index_t y, index_t z, index_t channels) { return last ? nhwc(data, b, y, z, channels) : nchw(data, b, channels, y, z); };
    auto const src = placed(static_cast<std::uint8_t const*>(x.data()), n, h, w, c);
    std::vector<std::uint8_t> y(static_cast<std::size_t>(n * c * win.h.out * win.w.out)), whole(static_cast<std::size_t>(n * c));
    auto const dst = placed(y.data(), n, win.h.out, win.w.out, c);
    auto const global = placed(whole.data(), n, 1, 1, c);
    support::for_each_native_isa([&](isa i) {
      onnx::com_microsoft::qlinear_average_pool(src, px, o, py, dst, include, i);
      onnx::com_microsoft::qlinear_global_average_pool(src, px, py, global, i);
      long wrong = 0;
      for (index_t b = 0; b < n; ++b)
        for (index_t ch = 0; ch < c; ++ch) {
          std::int32_t total = 0;
          for (index_t v = 0; v < h * w; ++v) total += src(b, v / w, v % w, ch);
          wrong += global(b, 0, 0, ch) != convention::onnx_runtime::average_pool<u8>(px, py)(total, static_cast<std::int32_t>(h * w));
          for (index_t v = 0; v < win.h.out * win.w.out; ++v) {
            float sum = 0;
            std::int32_t count = 0;
            for (index_t t = 0; t < k * k; ++t) {
              index_t const sy = win.h.at(v / win.w.out, t / k), sx = win.w.at(v % win.w.out, t % k);
              if (sy < 0 || sy >= h || sx < 0 || sx >= w) continue;
              float const real = convention::onnx_runtime::dequantize(src(b, sy, sx, ch), px);
              sum += real;
              ++count;
            }
            convention::detail::mlas_average const average{py, convention::limits_of<u8>};
            wrong += dst(b, v / win.w.out, v % win.w.out, ch) != average(sum, include ? static_cast<std::int32_t>(k * k) : count);
          }
        }
      CHECK(wrong == 0);
    });
  }
}

TEST_CASE("QLinearAveragePool of volumes and lines, in both layouts and with ceil_mode, equals its definition", "[convention][onnx]") {
  std::mt19937 random(44);
  auto const in = [&](int low, int high) { return static_cast<index_t>(low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1))); };
  long volumes = 0;
  for (int round = 0; round < 120; ++round) {
    bool const last = round % 2 == 0, include = round % 3 == 0, ceil = round % 5 < 2;
    index_t const n = 2, c = in(1, 6), d = round % 4 == 0 ? 1 : in(2, 6), h = round % 8 == 0 ? 1 : in(2, 7), w = in(3, 9);
    extent const size{h == 1 ? 1 : in(1, 3), in(1, 3), d == 1 ? 1 : in(1, 3)}, stride{in(1, 3), in(1, 3), in(1, 3)};
    pool_options o{.size = size, .stride = stride};
    if (round % 7 == 0)
      o.padding = round % 2 ? same : same_lower;
    else
      o.padding = pad(size.h / 2, size.h - 1 - size.h / 2, size.w / 2, size.w / 2, size.d / 2, 0);
    if (size.h > h + o.padding.top + o.padding.bottom || size.w > w + 2 * o.padding.left || size.d > d + o.padding.front) continue;
    // The definition, one position after the other: how many there are, and which places each sees.
    struct line {
      index_t out, before;
    };
    auto const places = [&](index_t size_, index_t kernel, index_t step, index_t before, index_t after) -> line {
      if (o.padding.rule != padding_rule::given) {
        index_t const out = (size_ + step - 1) / step, total = std::max<index_t>((out - 1) * step + kernel - size_, 0);
        return {out, o.padding.rule == padding_rule::same ? total / 2 : total - total / 2};
      }
      index_t out = 0;
      for (index_t at = -before; at + kernel <= size_ + after || (ceil && at + kernel - step < size_ + after && at < size_); at += step) ++out;
      return {out, before};
    };
    auto const ld = places(d, size.d, stride.d, o.padding.front, o.padding.back), lh = places(h, size.h, stride.h, o.padding.top, o.padding.bottom), lw = places(w, size.w, stride.w, o.padding.left, o.padding.right);
    auto const begins_behind = [](line l, index_t size_, index_t step) { return (l.out - 1) * step - l.before >= size_; };
    if (begins_behind(ld, d, stride.d) || begins_behind(lh, h, stride.h) || begins_behind(lw, w, stride.w)) continue;
    std::vector<std::uint8_t> x(static_cast<std::size_t>(n * c * d * h * w)), y(static_cast<std::size_t>(n * c * ld.out * lh.out * lw.out)), whole(static_cast<std::size_t>(n * c));
    for (auto& v : x) v = static_cast<std::uint8_t>(random());
    auto const placed = [&](auto* data, index_t depth, index_t height, index_t width) {
      if (last) return volume_view(data, n, depth, height, width, c);
      return volume_view(data, n, depth, height, width, c, c * depth * height * width, height * width, width, index_t{1}, depth * height * width);
    };
    auto const src = placed(static_cast<std::uint8_t const*>(x.data()), d, h, w);
    auto const dst = placed(y.data(), ld.out, lh.out, lw.out), global = placed(whole.data(), 1, 1, 1);
    affine const px{0.03f, 7}, py{round % 4 == 0 ? 0.03f : 0.021f, 130};
    onnx::com_microsoft::qlinear_average_pool(src, px, ceil ? onnx::com_microsoft::with_ceil_mode({h, w, d}, o) : o, py, dst, include);
    onnx::com_microsoft::qlinear_global_average_pool(src, px, py, global);
    convention::detail::mlas_average const average{py, convention::limits_of<u8>};
    long wrong = 0;
    for (index_t b = 0; b < n; ++b)
      for (index_t ch = 0; ch < c; ++ch) {
        std::int32_t total = 0;
        for (index_t v = 0; v < d * h * w; ++v) total += src(b, v / (h * w), v / w % h, v % w, ch);
        wrong += global(b, 0, 0, 0, ch) != convention::onnx_runtime::average_pool<u8>(px, py)(total, static_cast<std::int32_t>(d * h * w));
        for (index_t v = 0; v < ld.out * lh.out * lw.out; ++v) {
          index_t const oz = v / (lh.out * lw.out), oy = v / lw.out % lh.out, ox = v % lw.out;
          float sum = 0;
          std::int32_t count = 0;
          for (index_t t = 0; t < size.d * size.h * size.w; ++t) {
            index_t const z = oz * stride.d - ld.before + t / (size.h * size.w), i = oy * stride.h - lh.before + t / size.w % size.h, j = ox * stride.w - lw.before + t % size.w;
            if (z < 0 || z >= d || i < 0 || i >= h || j < 0 || j >= w) continue;
            float const real = convention::onnx_runtime::dequantize(src(b, z, i, j, ch), px);
            sum += real;
            ++count;
          }
          wrong += dst(b, oz, oy, ox, ch) != average(sum, include ? static_cast<std::int32_t>(size.d * size.h * size.w) : count);
        }
      }
    CHECK(wrong == 0);
    volumes += size.d > 1;
  }
  CHECK(volumes > 20);
}

TEST_CASE("products of batches take zero points and scales for each matrix, each row or column, or all", "[convention][onnx]") {
  std::mt19937 random(45);
  auto const some = [&](index_t n, int low, int high) {
    std::vector<std::int32_t> v(static_cast<std::size_t>(n));
    for (auto& x : v) x = low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
    return v;
  };
  struct ranks {
    shape a, b;
  };
  ranks const all[] = {{make_shape(2, 3, 4, 5), make_shape(2, 3, 5, 6)}, {make_shape(2, 1, 4, 5), make_shape(3, 5, 6)}, {make_shape(3, 4, 5), make_shape(5, 6)},
                       {make_shape(4, 5), make_shape(2, 2, 5, 6)}, {make_shape(5), make_shape(3, 5, 6)}, {make_shape(3, 4, 5), make_shape(5)}, {make_shape(5), make_shape(5)},
                       {make_shape(4, 5), make_shape(5, 1)}, {make_shape(1, 4, 5), make_shape(7, 1, 5, 6)}};
  for (int round = 0; round < 90; ++round) {
    auto const& s = all[round % 9];
    auto const at = [](shape const& t, int from_end) { return t.rank >= from_end ? t.dim[t.rank - from_end] : 1; };
    index_t const m = s.a.rank == 1 ? 1 : at(s.a, 2), k = at(s.a, 1), n = s.b.rank == 1 ? 1 : at(s.b, 1);
    auto const dim = [](shape const& t, int d) { return t.rank == 4 ? t.dim[d] : t.rank == 3 && d == 1 ? t.dim[0] : 1; };  // D1, D2 of any
    index_t const ba = dim(s.a, 0) * dim(s.a, 1), bb = dim(s.b, 0) * dim(s.b, 1), d0 = std::max(dim(s.a, 0), dim(s.b, 0)), d1 = std::max(dim(s.a, 1), dim(s.b, 1));
    auto const va = some(ba * m * k, 0, 255), vb = some(bb * k * n, -128, 127);
    std::vector<std::uint8_t> a(va.begin(), va.end());
    std::vector<std::int8_t> b(vb.begin(), vb.end());
    int const kind = round / 9 % 3;  // of zero points: one, a row's or column's, each matrix's
    index_t const many_a = kind == 0 ? 1 : kind == 1 ? m : ba * m, many_b = kind == 0 ? 1 : kind == 1 ? n : bb * n;
    auto const za = some(many_a, 0, 255), zb = some(many_b, -128, 127);
    std::vector<float> sa, sb;
    for (index_t i = 0; i < many_a; ++i) sa.push_back(0.001f * float(1 + random() % 50));
    for (index_t i = 0; i < many_b; ++i) sb.push_back(0.002f * float(1 + random() % 50));
    auto const of = [&](auto const& v) {
      using T = std::remove_cvref_t<decltype(v[0])>;
      return kind == 0 ? one_or_each<T>(v[0]) : one_or_each<T>(vector_view<T const>(view(v)));
    };
    std::vector<std::int32_t> y(static_cast<std::size_t>(d0 * d1 * m * n));
    std::vector<std::uint8_t> q(y.size());
    shape const sy = make_shape(d0, d1, m, n);
    onnx::matmul_integer(nd<std::uint8_t const>(a.data(), s.a), of(za), nd<std::int8_t const>(b.data(), s.b), of(zb), nd(y.data(), sy));
    affine const py{0.37f, 100};
    onnx::qlinear_matmul(nd<std::uint8_t const>(a.data(), s.a), {of(sa), of(za)}, nd<std::int8_t const>(b.data(), s.b), {of(sb), of(zb)}, py, nd(q.data(), sy));
    long wrong = 0;
    for (index_t p = 0; p < d0 * d1; ++p) {
      index_t const i0 = p / d1, i1 = p % d1;
      index_t const pa = (dim(s.a, 0) == 1 ? 0 : i0) * dim(s.a, 1) + (dim(s.a, 1) == 1 ? 0 : i1), pb = (dim(s.b, 0) == 1 ? 0 : i0) * dim(s.b, 1) + (dim(s.b, 1) == 1 ? 0 : i1);
      for (index_t i = 0; i < m; ++i)
        for (index_t j = 0; j < n; ++j) {
          auto const ia = static_cast<std::size_t>(kind == 0 ? 0 : kind == 1 ? i : pa * m + i), ib = static_cast<std::size_t>(kind == 0 ? 0 : kind == 1 ? j : pb * n + j);
          std::int64_t sum = 0;
          for (index_t t = 0; t < k; ++t) sum += std::int64_t{va[static_cast<std::size_t>((pa * m + i) * k + t)] - za[ia]} * (vb[static_cast<std::size_t>((pb * k + t) * n + j)] - zb[ib]);
          auto const to = static_cast<std::size_t>((p * m + i) * n + j);
          wrong += y[to] != sum;
          float const product = sa[ia] * sb[ib], scale = product / py.scale, real = static_cast<float>(sum) * scale;
          float const code = std::nearbyintf(real) + 100.0f;
          wrong += q[to] != static_cast<std::uint8_t>(code < 0 ? 0 : code > 255 ? 255 : code);
        }
    }
    CHECK(wrong == 0);
  }
  std::uint8_t a[24] = {};
  std::int32_t zero[12] = {}, y[24];
  CHECK_THROWS_WITH(onnx::matmul_integer(nd<std::uint8_t const>(a, make_shape(3, 2, 4)), vector_view<std::int32_t const>{zero, 5, 1}, nd<std::uint8_t const>(a, make_shape(4, 4)), 0, nd(y, make_shape(3, 2, 4))),
                    "MatMulInteger: a has 5 zero points; there must be one, 2, or 6 for all 3 matrices.");
  zero[5] = 256;
  CHECK_THROWS_WITH(onnx::matmul_integer(nd<std::uint8_t const>(a, make_shape(3, 2, 4)), vector_view<std::int32_t const>{zero, 6, 1}, nd<std::uint8_t const>(a, make_shape(4, 4)), 0, nd(y, make_shape(3, 2, 4))),
                    "MatMulInteger: zero_point 5 of a is 256; it must be 0 to 255.");
}

TEST_CASE("QLinearMatMul of float8 sums exactly; scales of halves are halves throughout", "[convention][onnx]") {
  std::mt19937 random(21);
  auto const check = [&]<class A, class B>(A, B) {
    index_t const m = 3, k = 17, n = 4;
    std::vector<A> a(static_cast<std::size_t>(m * k));
    std::vector<B> b(static_cast<std::size_t>(k * n));
    for (int round = 0; round < 40; ++round) {
      for (auto& v : a) v = A::from_bits(static_cast<unsigned>(random()) & (round % 4 == 0 ? 0xffu : 0xb7u));
      for (auto& v : b) v = B::from_bits(static_cast<unsigned>(random()) & (round % 4 == 0 ? 0xffu : 0xb7u));
      float const sa = 0.037f, sy = 3.1f;
      float const sb[] = {0.011f, 0.02f, 1.0f, 2e-5f};
      std::vector<codec::float8_e4m3fn> y(static_cast<std::size_t>(m * n));
      onnx::qlinear_matmul(nd<A const>(a.data(), make_shape(m, k)), {sa}, nd<B const>(b.data(), make_shape(k, n)), {vector_view<float const>(view(sb))}, {sy, 0}, nd(y.data(), make_shape(m, n)));
      for (index_t i = 0; i < m; ++i)
        for (index_t j = 0; j < n; ++j) {
          long double sum = 0;  // 64 bits: exact where the codes lie within 0xb7
          for (index_t t = 0; t < k; ++t) sum += static_cast<long double>(static_cast<float>(a[static_cast<std::size_t>(i * k + t)])) * static_cast<float>(b[static_cast<std::size_t>(t * n + j)]);
          float const v = static_cast<float>(sum) * (sa * sb[j] / sy);
          REQUIRE(y[static_cast<std::size_t>(i * n + j)].bits == codec::float8_e4m3fn(v).bits);
        }
    }
  };
  check(codec::float8_e4m3fn{}, codec::float8_e4m3fn{});
  check(codec::float8_e5m2fnuz{}, codec::float8_e4m3fnuz{});
  using e5m2 = codec::float8_e5m2;
  e5m2 const large[] = {e5m2(57344.0f), e5m2(0x1p-16f), e5m2(-57344.0f)}, same[] = {e5m2(57344.0f), e5m2(0x1p-16f), e5m2(57344.0f)};
  e5m2 tiny{};  // 2^31.6 + 2^-32 - 2^31.6: a sum of floats or doubles loses the middle one
  onnx::qlinear_matmul(nd(large, make_shape(1, 3)), {}, nd(same, make_shape(3, 1)), {}, {0x1p-32f, 0}, nd(&tiny, make_shape(1, 1)));
  CHECK(static_cast<float>(tiny) == 1.0f);

  std::int8_t const x[] = {100}, w[] = {3};
  half const sx(0.1f), sw(0.3f), sy(0.07f);
  std::int8_t in_float = 0, in_half = 0;
  onnx::operand const px{static_cast<float>(sx)}, pw{static_cast<float>(sw)};
  onnx::qlinear_matmul(nd(x, make_shape(1, 1)), px, nd(w, make_shape(1, 1)), pw, {static_cast<float>(sy), 0}, nd(&in_float, make_shape(1, 1)));
  onnx::qlinear_matmul(nd(x, make_shape(1, 1)), px, nd(w, make_shape(1, 1)), pw, {static_cast<float>(sy), 0}, nd(&in_half, make_shape(1, 1)), {}, onnx::precision::float16);
  half const scale(static_cast<float>(half(static_cast<float>(sx) * static_cast<float>(sw))) / static_cast<float>(sy));
  CHECK(in_half == saturate<s8>(static_cast<std::int64_t>(std::nearbyint(300.0f * static_cast<float>(scale)))));
  CHECK(in_float == 127);

  // The range of finite floats may be wider than the largest of them.
  float const wide[] = {3e38f, -3e38f, 1.0f};
  std::uint8_t codes_of_wide[] = {9, 9, 9};
  auto const p = onnx::dynamic_quantize_linear(nd(wide, make_shape(3)), nd(codes_of_wide, make_shape(3)));
  CHECK(std::isinf(p.scale));
  CHECK((p.zero_point == 0 && codes_of_wide[0] == 0 && codes_of_wide[1] == 0 && codes_of_wide[2] == 0));
}

TEST_CASE("scales along an axis: TVM's and TFLite's operators", "[convention][tvm][tflite]") {
  std::int32_t const acc[] = {1, -1, 3, -3, 5, -5, 2147483647, -2147483647 - 1};
  float const scales[] = {0.5f, 1.0f};
  std::int8_t y[8];
  onnx::operand const each{vector_view<float const>(view(scales))};
  tvm::requantize(nd(acc, make_shape(4, 2)), each, 1, nd(y, make_shape(4, 2)), {1.0f, 1});
  int const upward[] = {2, 0, 3, -2, 4, -4, 127, -128};  // 0.5, -1, 1.5, -3, 2.5, -5: ties up, plus 1
  for (int i = 0; i < 8; ++i) CHECK(y[i] == upward[i]);
  tvm::requantize(nd(acc, make_shape(4, 2)), each, -1, nd(y, make_shape(4, 2)), {1.0f, 1}, tvm::rounding::to_nearest);
  CHECK((y[0] == 2 && y[2] == 3 && y[4] == 4));
  std::int32_t const negative[] = {-1, -3};
  tvm::requantize(nd(negative, make_shape(2, 1)), {0.5f}, 0, nd(y, make_shape(2, 1)), {1.0f, 0}, tvm::rounding::to_nearest);
  CHECK((y[0] == -1 && y[1] == -2));

  float const x[] = {1.25f, 1.25f, -1.25f, -1.25f};
  std::int32_t const zeros[] = {0, 3};
  onnx::operand const both{vector_view<float const>(view(scales)), vector_view<std::int32_t const>(view(zeros))};
  tflite::quantize<s8>(nd(x, make_shape(2, 2)), both, 1, nd(y, make_shape(2, 2)));
  CHECK((y[0] == 3 && y[1] == 4 && y[2] == -3 && y[3] == 2));  // 2.5 away from zero; 1.25 + 3
  float back[4];
  tflite::dequantize(nd<std::int8_t const>(y, make_shape(2, 2)), both, 1, nd(back, make_shape(2, 2)));
  CHECK((back[0] == 1.5f && back[1] == 1.0f && back[2] == -1.5f && back[3] == -1.0f));
  tvm::quantize<s8>(nd(x, make_shape(2, 2)), both, 0, nd(y, make_shape(2, 2)));
  CHECK((y[0] == 3 && y[1] == 3 && y[2] == 2 && y[3] == 2));
  tvm::dequantize(nd<std::int8_t const>(y, make_shape(2, 2)), both, 0, nd(back, make_shape(2, 2)));
  CHECK((back[0] == 1.5f && back[2] == -1.0f));
}

TEST_CASE("QGemm's C broadcasts to m x n", "[convention][onnx]") {
  constexpr index_t m = 3, k = 5, n = 4;
  auto const a = codes(m * k, 51), b = codes(k * n, 52);
  std::vector<std::int32_t> const c = {100, -2000, 30, 7, 5000, 60, -70, 800, 9, -10, 11, 12};
  affine const pa{0.5f, 3}, py{40.0f, -5};
  auto const check = [&](onnx::com_microsoft::addend const& addend, auto const& value) {
    std::vector<std::int8_t> y(m * n);
    std::vector<float> real(m * n);
    onnx::com_microsoft::qgemm(row_major(a.data(), m, k), pa, row_major(b.data(), k, n), {0.25f, 2}, addend, py, row_major(y.data(), m, n), 0.7f);
    onnx::com_microsoft::qgemm(row_major(a.data(), m, k), pa, row_major(b.data(), k, n), {0.25f, 2}, addend, row_major(real.data(), m, n), 0.7f);
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < n; ++j) {
        std::int32_t acc = value(i, j);
        for (index_t t = 0; t < k; ++t) acc += (a[static_cast<std::size_t>(i * k + t)] - 3) * (b[static_cast<std::size_t>(t * n + j)] - 2);
        float const src = 0.7f * pa.scale, scale = src * 0.25f;
        CHECK(y[static_cast<std::size_t>(i * n + j)] == static_cast<std::int8_t>(convention::onnx_runtime::output_stage<s8>(src, 0.25f, py)(acc)));
        CHECK(real[static_cast<std::size_t>(i * n + j)] == static_cast<float>(acc) * scale);
      }
  };
  auto const at = [&](index_t i) { return c[static_cast<std::size_t>(i)]; };
  check({}, [](index_t, index_t) { return 0; });
  check(vector_view<std::int32_t const>{c.data(), n, 1}, [&](index_t, index_t j) { return at(j); });
  check(nd(c.data(), make_shape()), [&](index_t, index_t) { return at(0); });
  check(nd(c.data(), make_shape(1, n)), [&](index_t, index_t j) { return at(j); });
  check(nd(c.data(), make_shape(m, 1)), [&](index_t i, index_t) { return at(i); });
  check(nd(c.data(), make_shape(m, n)), [&](index_t i, index_t j) { return at(i * n + j); });
  std::vector<std::int8_t> y(m * n, 99);
  CHECK_THROWS_AS(onnx::com_microsoft::qgemm(row_major(a.data(), m, k), pa, row_major(b.data(), k, n), {0.25f, 2}, nd(c.data(), make_shape(2, n)), py, row_major(y.data(), m, n)), error);
  CHECK(y == std::vector<std::int8_t>(m * n, 99));
}

TEST_CASE("MatMulNBits: real zero points and g_idx", "[convention][onnx]") {
  std::uint8_t const packed[] = {0x21, 0x43, 0x65, 0x87};  // codes 1..8 of one output, two blocks of four
  float const scales[] = {0.5f, -0.25f}, real_zeros[] = {1.5f, 6.0f}, a[] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::int32_t const groups[] = {1, 0, 1, 0, 1, 0, 1, 0};
  onnx::com_microsoft::n_bit_weights<4> w{.n = 1, .k = 8, .block = 4, .codes = packed, .scales = scales};
  float y = 0, want = 0;
  for (int i = 0; i < 8; ++i) want += a[i] * (static_cast<float>(i + 1) - real_zeros[i / 4]) * scales[i / 4];
  w.real_zero_points = real_zeros;
  onnx::com_microsoft::matmul_nbits(row_major(a, 1, 8), w, {}, row_major(&y, 1, 1));
  CHECK(y == want);
  w.group_index = groups;
  want = 0;
  for (int i = 0; i < 8; ++i) want += a[i] * (static_cast<float>(i + 1) - real_zeros[groups[i]]) * scales[groups[i]];
  onnx::com_microsoft::matmul_nbits(row_major(a, 1, 8), w, {}, row_major(&y, 1, 1));
  CHECK(y == want);
}
