// Sums, products and averages of every convention: all pairs of 8-bit codes, many of 16 bits, windows of all kinds, on every instruction set.
#include "support/catch.hpp"
#include "support/isas.hpp"
#include "support/quick.hpp"

#include <quern/ops/convention.hpp>
#include <quern/reference/layers.hpp>

#include <cmath>
#include <random>
#include <vector>

using namespace quern;

namespace {

using convention::affine;

/// Scales of a layer, powers of two (whose results are ties), and far apart; zero points up to the ends.
template <class T>
affine random_affine(std::mt19937& random, int kind) {
  double const e = std::ldexp(1.0, static_cast<int>(random() % 6) - 3);
  double const scale = kind == 0 ? e * (1 + random() % 1000 * 0.001) : kind == 1 ? e : std::ldexp(1 + random() % 1000 * 0.001, static_cast<int>(random() % 110) - 60);
  std::int32_t const zero = code_of_t<T>::min + static_cast<std::int32_t>(random() % (sizeof(T) == 1 ? 256 : 65536));
  return {static_cast<float>(scale), random() % 4 == 0 ? 0 : zero};
}

template <class C, class T>
void compare(std::mt19937& random) {
  using code = code_of_t<T>;
  std::vector<T> a(65536 + 5), b(a.size()), y(a.size()), sum(a.size()), product(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<T>(sizeof(T) == 1 ? i / 256 : i % 5 == 0 ? static_cast<unsigned>(code::min) : i % 5 == 1 ? code::max : random());
    b[i] = static_cast<T>(sizeof(T) == 1 ? i : i % 7 == 0 ? static_cast<unsigned>(code::min) : i % 7 == 1 ? code::max : random());
  }
  shape const s = make_shape(static_cast<index_t>(a.size()));
  auto const all = [&](std::vector<T> const& v) { return nd(v.data(), s); };
  for (int round = 0; round < 6; ++round) {
    // Integers wrap where scales are that far apart; floats say what becomes of it.
    int const kind = std::is_same_v<typename C::rescaling, rescale::float_multiply<>> && round == 5 ? 2 : round % 2;
    affine const pa = random_affine<T>(random, kind), pb = random_affine<T>(random, kind), py = random_affine<T>(random, kind);
    convention::limits const l = round == 3 ? convention::limits{code::min + 30, code::max - 40} : convention::limits_of<code>;
    bool sums = true, products = true;  // not every convention takes every scale
    try {
      auto const f = C::template add<code>(pa, pb, py, l);
      for (std::size_t i = 0; i < a.size(); ++i) sum[i] = static_cast<T>(f(a[i], b[i]));
    } catch (error const&) {
      sums = false;
    }
    try {
      auto const f = C::template mul<code>(pa, pb, py, l);
      for (std::size_t i = 0; i < a.size(); ++i) product[i] = static_cast<T>(f(a[i], b[i]));
    } catch (error const&) {
      products = false;
    }
    support::for_each_isa([&](isa i) {
      CAPTURE(C::name, name(i), round, pa.scale, pa.zero_point, pb.scale, pb.zero_point, py.scale, py.zero_point);
      if (sums) {
        add<C>(all(a), pa, all(b), pb, nd(y.data(), s), py, l);
        REQUIRE((y == sum));
      }
      if (products) {
        mul<C>(all(a), pa, all(b), pb, nd(y.data(), s), py, l);
        REQUIRE((y == product));
      }
    });
  }
}

/// The average of each window's positions, by the convention's element.
template <class C, class T>
void compare_averages(std::mt19937& random) {
  using code = code_of_t<T>;
  for (int round = 0; round < 8; ++round) {
    auto const below = [&](index_t n) { return static_cast<index_t>(random()) % n; };
    index_t const n = 2, h = 1 + below(9), w = 1 + below(9), c = round % 2 == 0 ? 1 + below(20) : 60 + below(40);
    index_t const kh = round == 3 ? h : 1 + below(h < 5 ? h : 5), kw = round == 3 ? w : 1 + below(w < 5 ? w : 5);
    std::vector<T> x(static_cast<std::size_t>(n * h * w * c));
    for (auto& v : x) v = round == 4 ? static_cast<T>(code::min) : round == 5 ? static_cast<T>(code::max) : static_cast<T>(random());
    int const kind = std::is_same_v<typename C::rescaling, rescale::float_multiply<>> && round == 7 ? 2 : std::is_same_v<typename C::rescaling, rescale::float_multiply<>> ? round % 2 : 1;
    affine const px = random_affine<T>(random, kind), py = random_affine<T>(random, kind);
    convention::limits const l = round == 6 ? convention::limits{code::min + 30, code::max - 40} : convention::limits_of<code>;
    pool_options const o{.size = {kh, kw, 1}, .stride = {1 + below(2), 1 + below(2), 1}, .padding = pad(kh / 2, 0, kw / 2, kw / 2)};
    window const win = sliding_window("test", {h, w, 1}, o.size, o.stride, {}, o.padding);
    auto const average = C::template average_pool<code>(px, py, l);
    auto const src = nhwc<T const>(x.data(), n, h, w, c);
    std::vector<T> want(static_cast<std::size_t>(n * win.h.out * win.w.out * c)), y(want.size());
    reference::windows(src, win, [&](index_t b, index_t i, index_t j, index_t k, std::int64_t sum, std::int32_t, std::int32_t count) {
      want[static_cast<std::size_t>(((b * win.h.out + i) * win.w.out + j) * c + k)] = count == 0 ? T{} : static_cast<T>(average(static_cast<std::int32_t>(sum), count));
    });
    bool empty = false;  // of positions: refused
    for (index_t i = 0; i < win.h.out; ++i) empty |= win.h.at(i, 0) >= h;
    for (index_t j = 0; j < win.w.out; ++j) empty |= win.w.at(j, 0) >= w;
    if (empty) continue;
    support::for_each_isa([&](isa i) {
      CAPTURE(C::name, name(i), round, n, h, w, c, kh, kw, px.scale, px.zero_point, py.scale, py.zero_point);
      average_pool2d<C>(src, px, o, nhwc(y.data(), n, win.h.out, win.w.out, c), py, l);
      REQUIRE((y == want));
    });
  }
}

}  // namespace

TEST_CASE("averages of windows equal the convention's element on every instruction set", "[convention][pool]") {
  std::mt19937 random(6);
  for_each_type<support::conventions>([&](auto tag) {
    using c = typename decltype(tag)::type;
    if constexpr (!std::is_same_v<decltype(c::template average_pool<s8>({}, {})), convention::integer_average>) compare_averages<c, std::int8_t>(random);
  });
  compare_averages<convention::onnx_runtime, std::uint8_t>(random);
  compare_averages<convention::vitis_ai, std::uint8_t>(random);
  compare_averages<convention::pytorch, std::int16_t>(random);
}

TEST_CASE("sums and products of all pairs of 8-bit codes, and of many 16-bit ones, equal the convention's elements on every instruction set", "[convention][elementwise]") {
  std::mt19937 random(4);
  for_each_type<support::conventions>([&](auto tag) {
    using c = typename decltype(tag)::type;
    // Those of fixed_point have tests of their own.
    if constexpr (!detail::is_fixed_point<decltype(c::template add<s8>({}, {}, {}))>) {
      compare<c, std::int8_t>(random);
    compare<c, std::int16_t>(random);
      if constexpr (std::is_same_v<typename c::rescaling, rescale::float_multiply<>>) compare<c, std::uint8_t>(random);
    }
  });
}

TEST_CASE("products of 16-bit codes beside far zero points, which leave int32, are the convention's elements", "[convention][elementwise]") {
  std::vector<std::int16_t> a(40), b(40), y(40);
  for (std::size_t i = 0; i < 40; ++i) a[i] = static_cast<std::int16_t>(i % 2 == 0 ? -32768 + static_cast<int>(i) : 32767), b[i] = static_cast<std::int16_t>(i % 3 == 0 ? 32767 : -32768);
  shape const s = make_shape(40);
  affine const pa{0.5f, 32767}, pb{1.0f, 32767}, py{0x1p16f, -3};
  auto const f = convention::pytorch::mul<s16>(pa, pb, py);
  auto const g = convention::onnx_runtime::mul<s16>(pa, pb, py);
  support::for_each_isa([&](isa) {
    mul<convention::pytorch>(nd<std::int16_t const>(a.data(), s), pa, nd<std::int16_t const>(b.data(), s), pb, nd(y.data(), s), py);
    for (std::size_t i = 0; i < 40; ++i) REQUIRE(y[i] == f(a[i], b[i]));
    mul<convention::onnx_runtime>(nd<std::int16_t const>(a.data(), s), pa, nd<std::int16_t const>(b.data(), s), pb, nd(y.data(), s), py);
    for (std::size_t i = 0; i < 40; ++i) REQUIRE(y[i] == g(a[i], b[i]));
  });
}
