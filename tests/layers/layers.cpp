#include "support/catch.hpp"
#include "support/isas.hpp"

#include <quern/fixed_point/activation.hpp>
#include <quern/fixed_point/normalize.hpp>
#include <quern/fixed_point/softmax.hpp>
#include <quern/ops/arena.hpp>
#include <quern/ops/pool.hpp>
#include <quern/ops/rearrange.hpp>
#include <quern/ops/reduce.hpp>
#include <quern/ops/resize.hpp>
#include <quern/ops/shape.hpp>
#include <quern/reference/layers.hpp>

#include <algorithm>
#include <random>
#include <vector>

using namespace quern;

namespace {
std::vector<std::int8_t> codes(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::int8_t> v(n);
  for (auto& c : v) c = static_cast<std::int8_t>(random());
  return v;
}
}  // namespace

TEST_CASE("the transcendental functions give the specification's vectors", "[layers]") {
  using namespace fixed_point;
  STATIC_REQUIRE(exp_on_negative(-67108864, 5) == 790015308);
  STATIC_REQUIRE(exp_on_negative(-67109, 5) == 2145336761);
  STATIC_REQUIRE(logistic(1 << 26, 4) == 1336721090);
  STATIC_REQUIRE(logistic(-1060320051, 4) == 795873);
  STATIC_REQUIRE(fixed_point::tanh(1 << 26, 4) == 992388804);
  STATIC_REQUIRE(fixed_point::tanh(-1060320051, 4) == -2147483052);
  int sum = 0;
  for (auto const v : sigmoid_table.value) sum += v;
  REQUIRE(sum == 15670629);
}

TEST_CASE("elementwise layers give the specification's vectors", "[layers]") {
  auto const sum = fixed_point::add<>::make({1, 0}, {1, 0}, {2, 0}, {}, 20);
  CHECK(sum(1, 2) == 2);
  CHECK(sum(-1, -2) == -2);
  CHECK(fixed_point::add<>::make({0.1f, 0}, {0.2f, 0}, {0.1f, 0}, {}, 20)(127, 127) == 127);
  CHECK(fixed_point::add<>::make({0.5f, 0}, {0.5f, 0}, {1, 0}, {}, 20)(10, 20) == 15);
  auto const swish = fixed_point::hard_swish::make({4.0f / 127, 0}, {4.0f / 127, 0}, {});
  int const x[] = {-127, -96, -64, -1, 0, 1, 32, 64, 96, 127}, y[] = {0, 0, -11, 0, 0, 1, 21, 54, 96, 127};
  for (int i = 0; i < 10; ++i) CHECK(swish(x[i]) == y[i]);
  std::int8_t const scores[] = {1, 2, 3, 4, 5};
  std::int8_t out[5];
  fixed_point::softmax8<>::make(1.0f, 1.0f)(scores, out, 5);
  CHECK(std::vector<int>(out, out + 5) == std::vector<int>{-125, -120, -106, -68, 35});
  CHECK(fixed_point::rounded_average(3, 2) == 2);
  CHECK(fixed_point::rounded_average(-1, 2) == -1);
}

TEST_CASE("tables look up alike on every instruction set, at every length", "[layers]") {
  auto const table = table_of<std::int8_t, std::int8_t>([](int x) { return (x * 37 + 11) ^ 5; });
  auto const x = codes(400, 3);
  support::for_each_native_isa([&](isa i) {
    for (std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{15}, std::size_t{63}, std::size_t{64}, std::size_t{129}, x.size()}) {
      std::vector<std::int8_t> y(x.size(), 77);
      apply(table, vector_view<std::int8_t const>{x.data(), static_cast<index_t>(n), 1}, vector_view<std::int8_t>{y.data(), static_cast<index_t>(n), 1});
      INFO(name(i) << ", " << n);
      for (std::size_t k = 0; k < y.size(); ++k) REQUIRE(y[k] == (k < n ? table(x[k]) : 77));
    }
  });
  // As long as destinations are written past the caches, not on a line.
  std::size_t const n = (std::size_t{8} << 20) + 77;
  std::vector<std::int8_t> const all = codes(n, 4);
  std::vector<std::int8_t> y(n + 5), expected(n);
  for (std::size_t k = 0; k < n; ++k) expected[k] = table(all[k]);
  support::for_each_native_isa([&](isa i) {
    INFO(name(i));
    apply(table, view(all), vector_view<std::int8_t>{y.data() + 3, static_cast<index_t>(n), 1});
    REQUIRE(std::equal(expected.begin(), expected.end(), y.begin() + 3));
  });
}

namespace {
/// Both pools of windows of every shape, over c channels.
template <class T>
void check_pools(index_t c, std::initializer_list<index_t> kernels) {
  auto const bytes = codes(static_cast<std::size_t>(2 * 7 * 6 * c), 5);
  std::vector<T> const x(bytes.begin(), bytes.end());
  auto const src = nhwc(x.data(), 2, 7, 6, c);
  std::int32_t const low = code_of_t<T>::min + 28, high = code_of_t<T>::max - 37;
  for (auto const& p : {valid, same, same_lower})
    for (index_t const k : kernels)
      for (index_t s = 1; s <= 3; ++s) {
        pool_options const o{.size = {k, 5 - k, 1}, .stride = {s, 4 - s, 1}, .padding = p};
        window const w = sliding_window("test", {7, 6, 1}, o.size, o.stride, {}, p);
        std::vector<T> a(static_cast<std::size_t>(2 * w.positions() * c)), average(a.size()), most(a.size());
        auto const va = nhwc(a.data(), 2, w.h.out, w.w.out, c);
        reference::average_pool(src, w, nhwc(average.data(), 2, w.h.out, w.w.out, c), low, high);
        reference::max_pool(src, w, nhwc(most.data(), 2, w.h.out, w.w.out, c));
        support::for_each_native_isa([&](isa i) {
          INFO(name(i) << ", " << c << " channels, window " << k << " x " << 5 - k);
          average_pool2d(src, o, va, {low, high});
          REQUIRE(a == average);
          max_pool2d(src, o, va);
          REQUIRE(a == most);
        });
      }
}
}  // namespace

TEST_CASE("pools equal their definition", "[layers]") {
  check_pools<std::int8_t>(70, {1, 2, 3, 4});
  check_pools<std::uint8_t>(70, {1, 2, 3, 4});
  for (index_t const c : {1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 129}) check_pools<std::int8_t>(c, {2, 4});
  check_pools<std::int16_t>(9, {1, 2});
  // Global pools of ever more codes, all at one end of the range: words hold 255 of them (128 unsigned), and ties round away.
  auto const global = []<class T>(T) {
    for (int const code : {int{code_of_t<T>::min}, int{code_of_t<T>::max}, 1, 3})
      for (index_t const n : {2, 3, 6, 127, 128, 129, 254, 255, 256, 300}) {
        std::vector<T> x(static_cast<std::size_t>(n * 40), static_cast<T>(code));
        for (std::size_t i = 0; i < x.size(); i += 2) x[i] = static_cast<T>(code - (code > 1 ? 1 : -1));
        std::vector<T> a(40), b(40);
        reference::average_pool(nhwc<T const>(x.data(), 1, n, 1, 40), sliding_window("test", {n, 1, 1}, {n, 1, 1}, {}, {}, valid), nhwc(b.data(), 1, 1, 1, 40));
        support::for_each_native_isa([&](isa i) {
          INFO(name(i) << ", " << n << " codes " << code);
          global_average_pool(nhwc<T const>(x.data(), 1, n, 1, 40), nhwc(a.data(), 1, 1, 1, 40));
          REQUIRE(a == b);
        });
      }
  };
  global(std::int8_t{});
  global(std::uint8_t{});
  for (index_t const c : {16, 45, 2100}) {  // more than a cache holds
    index_t const n = (index_t{4} << 20) / (20 * c) + 1;
    auto const x = codes(static_cast<std::size_t>(n * 20 * c), 6);
    std::vector<std::int8_t> a(static_cast<std::size_t>(n * c)), b(a.size());
    reference::average_pool(nhwc(x.data(), n, 4, 5, c), sliding_window("test", {4, 5, 1}, {4, 5, 1}, {}, {}, valid), nhwc(b.data(), n, 1, 1, c), -100, 90);
    support::for_each_native_isa([&](isa i) {
      INFO(name(i) << ", " << c << " channels");
      global_average_pool(nhwc(x.data(), n, 4, 5, c), nhwc(a.data(), n, 1, 1, c), {-100, 90});
      REQUIRE(a == b);
    });
    reference::max_pool(nhwc(x.data(), n, 4, 5, c), sliding_window("test", {4, 5, 1}, {4, 5, 1}, {}, {}, valid), nhwc(b.data(), n, 1, 1, c));
    for (std::int8_t& v : b) v = std::min(std::max(v, std::int8_t{-100}), std::int8_t{120});
    support::for_each_native_isa([&](isa i) {
      INFO(name(i) << ", " << c << " channels");
      global_max_pool(nhwc(x.data(), n, 4, 5, c), nhwc(a.data(), n, 1, 1, c), {-100, 120});
      REQUIRE(a == b);
    });
  }
  auto const x = codes(70, 5);
  std::vector<std::int8_t> y(70);
  REQUIRE_THROWS_AS(max_pool2d(nhwc(x.data(), 1, 1, 1, 70), {.size = {2, 2}, .padding = pad(2, 2, 2, 2)}, nhwc(y.data(), 1, 1, 1, 70)), error);
  REQUIRE_THROWS_AS(max_pool2d(nhwc(x.data(), 1, 1, 2, 35), {.size = {1, 2}}, nhwc(y.data(), 1, 1, 2, 35)), error);
  REQUIRE_THROWS_AS(max_pool2d(nhwc(x.data(), 1, 1, 2, 35), {.size = {2, 2}}, nhwc(y.data(), 1, 1, 1, 35)), error);
  REQUIRE_THROWS_AS(max_pool2d(nhwc(x.data(), 1, 1, 2, 35), {.size = {1, 2}}, nhwc<std::int8_t>(nullptr, 1, 1, 1, 35)), error);
}

namespace {
/// f over every pair of codes (8 bits) or random ones (16), in several lengths, on every instruction set, and in place.
template <class T, class F>
void check_binary(F const& f) {
  static auto const a = [] {
    std::mt19937 random(3);
    std::vector<T> v(65536 + 77);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<T>(sizeof(T) == 1 ? i >> 8 : random());
    return v;
  }();
  static auto const b = [] {
    std::mt19937 random(4);
    std::vector<T> v(a.size());
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<T>(sizeof(T) == 1 ? i : random());
    return v;
  }();
  std::vector<T> expected(a.size()), y(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) expected[i] = static_cast<T>(f(a[i], b[i]));
  support::for_each_native_isa([&](isa i) {
    for (std::size_t const n : {a.size(), std::size_t{1}, std::size_t{15}, std::size_t{66}}) {
      INFO(name(i) << ", " << n);
      shape const s = make_shape(n);
      std::fill(y.begin(), y.end(), T{5});
      binary(nd(a.data(), s), nd(b.data(), s), nd(y.data(), s), f);
      REQUIRE(std::equal(y.begin(), y.begin() + static_cast<std::ptrdiff_t>(n), expected.begin()));
      REQUIRE((n == y.size() || y[n] == 5));
    }
    y = a;
    binary(nd<T const>(y.data(), make_shape(y.size())), nd(b.data(), make_shape(y.size())), nd(y.data(), make_shape(y.size())), f);
    REQUIRE(y == expected);
  });
}
}  // namespace

TEST_CASE("sums, products and PReLU on vectors equal their definition", "[layers]") {
  using namespace fixed_point;
  std::mt19937 random(6);
  for (int n = 0; n < 12; ++n) {
    auto const scale = [&] { return (1 + static_cast<float>(random() % 1000) / 1000) / static_cast<float>(1 << random() % 6); };
    auto const zero = [&](int middle) { return middle - 128 + static_cast<int>(random() % 256); };
    float const sa = scale(), sb = n % 3 == 0 ? sa : scale(), sy = n % 4 == 0 ? 2 * sa : scale();
    limits const l = n % 2 == 0 ? limits{-128, 127} : limits{-100, 90};
    affine const a{sa, zero(0)}, b{sb, zero(0)}, y{sy, zero(0)};
    check_binary<std::int8_t>(add<>::make(a, b, y, l, 20));
    check_binary<std::int8_t>(sub<>::make(a, b, y, l, 20, true));
    check_binary<std::int8_t>(mul<>::make(a, b, y, l));
    check_binary<std::int8_t>(prelu<>::make(a, b, y, l));
    check_binary<std::int8_t>(add<rescale::tflite_single>::make(a, b, y, l, 20));
    check_binary<std::uint8_t>(add<>::make({sa, zero(128)}, {sb, zero(128)}, {sy, zero(128)}, {l.min + 128, l.max + 128}, 20));
    check_binary<std::int16_t>(add<>::make({sa, 0}, {sb, 0}, {sy, 0}, {-32768, 32767 - 1000 * n}, 15));
    check_binary<std::int16_t>(mul<>::make({sa, 0}, {sb, 0}, {sy * 5000, 0}, {-32768, 32767}));
  }
}

TEST_CASE("products in words equal their definition for every kind of multiplier", "[layers]") {
  using namespace fixed_point;
  // Low halves of twice the multiplier on both sides of 2^15, at its ends, and multiples of 2^15, which know ties; every shift.
  std::int32_t const multipliers[] = {1 << 30, (1 << 30) + 1, (1 << 30) + 16383, (1 << 30) + 16384, (1 << 30) + 32767, (1 << 30) + 32768, 1518500250, 0x7fffbfff, 0x7fffc000, 0x7fffffff};
  int n = 0;
  for (std::int32_t const m : multipliers)
    for (int const shift : {0, -1, -3 - n % 5, -8 - n % 9, 1}) {
      ++n;
      int const za = n % 3 == 0 ? -128 : n % 3 == 1 ? 127 : n % 256 - 128, zb = n % 4 == 0 ? -128 : n % 4 == 1 ? 127 : 40 - n;
      limits const l = n % 2 == 0 ? limits{-128, 127} : limits{-100, 90};
      check_binary<std::int8_t>(mul<>{za, zb, n % 7 * 40 - 128, {m, shift}, l});
      if (n % 4 == 0) check_binary<std::uint8_t>(mul<>{za + 128, zb + 128, n % 7 * 40, {m, shift}, {l.min + 128, l.max + 128}});
      if (n % 16 == 0) check_binary<std::int8_t>(mul<>{za, zb, 300, {m, shift}, l}), check_binary<std::int8_t>(mul<>{za + 300, zb, 0, {m, shift}, l});
    }
  // As long as destinations written past the caches are, from an odd address on.
  auto const x = codes((1 << 23) + 333, 8);
  std::vector<std::int8_t> y(x.size());
  auto const f = mul<>::make({0.0472f, -3}, {0.0391f, 7}, {0.0149f, 2}, {});
  support::for_each_native_isa([&](isa) {
    shape const s = make_shape(x.size() - 1);
    binary(nd(x.data(), s), nd(x.data() + 1, s), nd(y.data() + 1, s), f);
    std::size_t wrong = 0;
    for (std::size_t k = 0; k + 1 < x.size(); k += k < 1000 || k + 1000 > x.size() ? 1 : 97) wrong += y[k + 1] != f(x[k], x[k + 1]);
    REQUIRE(wrong == 0);
  });
}

TEST_CASE("long sums equal their definition, with and without a linear form", "[layers]") {
  using namespace fixed_point;
  auto const x = codes((1 << 18) + 100, 8), z = codes(x.size(), 9);
  struct scales {
    float a, b, y;
    bool linear;  // whether one is known to agree
  };
  for (scales const s : {scales{0.1f, 0.1737f, 0.2193f, true}, scales{0.0235294122f, 0.0235294122f, 0.0235294122f, true}, scales{0.05f, 0.05f, 0.1f, true}, scales{0.1f, 0.17f, 0.2f, false}}) {
    auto const f = add<>::make({s.a, 3}, {s.b, -4}, {s.y, 5}, {-120, 127}, 20);
    std::vector<std::int8_t> expected(x.size() - 1), y(x.size());
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<std::int8_t>(f(x[i], z[i + 1]));
    support::for_each_native_isa([&](isa i) {
      INFO(name(i) << " " << s.b);
      binary(nd(x.data(), make_shape(expected.size())), nd(z.data() + 1, make_shape(expected.size())), nd(y.data() + 1, make_shape(expected.size())), f);
      REQUIRE(std::equal(expected.begin(), expected.end(), y.begin() + 1));
      // The form is known from now on, to short sums too; differences of the same parameters have their own.
      binary(nd(x.data(), make_shape(1000)), nd(z.data() + 1, make_shape(1000)), nd(y.data(), make_shape(1000)), f);
      REQUIRE(std::equal(y.begin(), y.begin() + 1000, expected.begin()));
      auto const difference = sub<>{f.lhs_zero_point, f.rhs_zero_point, f.zero_point, f.left_shift, f.lhs, f.rhs, f.dst, f.clamped};
      binary(nd(x.data(), make_shape(1000)), nd(z.data(), make_shape(1000)), nd(y.data(), make_shape(1000)), difference);
      for (std::size_t k = 0; k < 1000; ++k) REQUIRE(y[k] == difference(x[k], z[k]));
#if QUERN_X86_64
      if (i >= isa::sse41 && i < isa::neon) REQUIRE((quern::detail::proved_linear_form(i, f).shift >= 0) == s.linear);
#endif
    });
  }
}

TEST_CASE("broadcasting, reductions and copies equal their definition", "[layers]") {
  auto const x = codes(2 * 3 * 4 * 5, 7), z = codes(4, 9);
  shape const s = make_shape(2, 3, 4, 5), small = make_shape(4, 1);
  std::vector<std::int8_t> a(120), b(120);
  auto const f = fixed_point::add<>::make({0.02f, 3}, {0.03f, -7}, {0.04f, 1}, {}, 20);
  binary(nd(x.data(), s), nd(z.data(), small), nd(a.data(), s), f);
  reference::binary<std::int8_t, std::int8_t>(nd(x.data(), s), nd(z.data(), small), nd(b.data(), s), f);
  REQUIRE(a == b);
  for (unsigned axes = 1; axes < 16; ++axes) {
    shape const r = reduced_shape(s, axes);
    auto const mean = fixed_point::reduction<>::make({0.02f, 3}, {0.01f, -5}, s.size() / r.size(), true, {});
    std::vector<std::int8_t> p(static_cast<std::size_t>(r.size())), q(p.size());
    reduce(nd(x.data(), s), axes, nd(p.data(), r), mean);
    reference::reduce<std::int8_t>(nd(x.data(), s), axes, nd(q.data(), r), mean);
    REQUIRE(p == q);
  }
  int const order[] = {3, 0, 2, 1};
  auto const turned = transposed(nd(x.data(), s), order);
  copy(turned, nd(a.data(), turned.extents));
  reference::unary<std::int8_t>(turned, nd(b.data(), turned.extents), [](std::int8_t v) { return v; });
  REQUIRE(a == b);
  index_t const before[] = {0, 1, 2, 0};
  shape const wide = make_shape(2, 5, 7, 6);
  std::vector<std::int8_t> p(420), q(420);
  pad_tensor(nd(x.data(), s), before, std::int8_t{-9}, nd(p.data(), wide));
  reference::pad(nd(x.data(), s), before, std::int8_t{-9}, nd(q.data(), wide));
  REQUIRE(p == q);
  // Broadcast along every dimension, and a source with gaps: gathered for the kernel.
  for (shape const& part : {make_shape(1), make_shape(5), make_shape(4, 1), make_shape(2, 1, 1, 5), make_shape(2, 1, 1, 1)}) {
    support::for_each_native_isa([&](isa) {
      binary(nd(x.data(), part), nd(z.data(), make_shape(1)), nd(a.data(), s), f);
      reference::binary<std::int8_t, std::int8_t>(nd(x.data(), part), nd(z.data(), make_shape(1)), nd(b.data(), s), f);
      REQUIRE(a == b);
    });
  }
  auto const odd = sliced(nd(x.data(), s), 3, 4, 5, -1);
  binary(odd, nd(x.data(), s), nd(a.data(), s), f);
  reference::binary<std::int8_t, std::int8_t>(odd, nd(x.data(), s), nd(b.data(), s), f);
  REQUIRE(a == b);
  REQUIRE_THROWS_AS(binary(nd(x.data(), s), nd(z.data(), make_shape(3)), nd(a.data(), s), f), error);
  REQUIRE_THROWS_AS(binary(nd<std::int8_t const>(nullptr, s), nd(z.data(), small), nd(a.data(), s), f), error);
}

TEST_CASE("sums over long and short lines equal their definition", "[layers]") {
  auto const check = [](auto zero, shape const& s) {
    using T = decltype(zero);
    std::mt19937 random(12);
    std::vector<T> x(static_cast<std::size_t>(s.size()) + 1);
    for (auto& v : x) v = random() % 3 == 0 ? code_of_t<T>::min : static_cast<T>(random());
    auto const f = [](std::int32_t sum) { return sum; };
    for (unsigned axes = 1; axes < 8; ++axes) {
      shape const r = reduced_shape(s, axes);
      std::vector<std::int32_t> expected(static_cast<std::size_t>(r.size())), y(expected.size());
      int const turn[] = {2, 0, 1};
      for (bool const turned : {false, true}) {  // turned: the lines have gaps
        auto const src = turned ? transposed(nd<T const>(x.data() + 1, make_shape(s.dim[1], s.dim[2], s.dim[0])), turn) : nd<T const>(x.data() + 1, s);
        reference::reduce<T>(src, axes, nd(expected.data(), r), f);
        support::for_each_native_isa([&](isa i) {
          INFO(name(i) << ", axes " << axes << ", " << s.dim[2] << " last");
          std::fill(y.begin(), y.end(), 99);
          reduce(src, axes, nd(y.data(), r), f);
          REQUIRE(y == expected);
        });
      }
    }
  };
  for (index_t const last : {1, 15, 16, 63, 64, 131})
    for (index_t const middle : {1, 5}) {
      check(std::int8_t{}, make_shape(3, middle, last));
      check(std::uint8_t{}, make_shape(2, middle, last));
      check(std::int16_t{}, make_shape(3, middle, last));
    }
  std::vector<std::int16_t> const most(1 << 17, -32768);  // wraps
  std::int32_t sum = 0;
  reduce(nd(most.data(), make_shape(most.size())), 1, nd(&sum, make_shape(1)), [](std::int32_t v) { return v; });
  REQUIRE(sum == 0);
}

TEST_CASE("shapes and arenas are known at compile time", "[layers]") {
  STATIC_REQUIRE(output_shape(make_shape(1, 224, 224, 3), ohwi_shape(64, 7, 7, 3), {.stride = {2, 2}, .padding = same}) == make_shape(1, 112, 112, 64));
  STATIC_REQUIRE(depthwise_output_shape(make_shape(1, 96, 96, 1), {3, 3, 1}, 8, {.stride = {2, 2}, .padding = same}) == make_shape(1, 48, 48, 8));
  STATIC_REQUIRE(transposed_output_shape(make_shape(1, 9, 9, 9), ohwi_shape(3, 6, 6, 9), {.stride = {2, 2}, .padding = same}) == make_shape(1, 18, 18, 3));
  std::mt19937 random(1);
  for (int n = 0; n < 200; ++n) {
    std::vector<tensor_life> lives;
    for (int i = 0; i < 12; ++i) {
      index_t const first = static_cast<index_t>(random() % 10);
      lives.push_back({static_cast<index_t>(random() % 5000), first, first + static_cast<index_t>(random() % 4)});
    }
    std::vector<index_t> at(lives.size());
    auto const plan = plan_arena(lives.data(), 12, at.data());
    REQUIRE(plan.bytes >= plan.lower_bound);
    for (std::size_t i = 0; i < 12; ++i) {
      REQUIRE(at[i] % 64 == 0);
      REQUIRE(at[i] + lives[i].bytes <= plan.bytes);
      for (std::size_t j = 0; j < i; ++j)  // alive together, apart in memory
        if (lives[i].first <= lives[j].last && lives[j].first <= lives[i].last)
          REQUIRE((at[i] + lives[i].bytes <= at[j] || at[j] + lives[j].bytes <= at[i]));
    }
  }
  // No chain needs more than its largest pair of neighbours.
  constexpr tensor_life chain[] = {{10, 0, 1}, {1, 1, 2}, {0, 2, 2}, {3, 2, 3}, {9, 3, 4}};
  index_t offsets[5];
  arena_plan const plan = plan_arena(chain, 5, offsets, 1);
  CHECK(plan.lower_bound == 12);
  CHECK(plan.bytes == 12);
}

TEST_CASE("layers read views of data that is not const", "[layers]") {
  auto x = codes(2 * 4 * 4 * 5, 21);
  std::vector<std::int8_t> y(x.size(), 0);
  shape const s = make_shape(2, 4, 4, 5);
  auto const sum = fixed_point::add<>::make({1, 0}, {1, 0}, {2, 0}, {}, 20);
  binary(nd(x.data(), s), nd(x.data(), s), nd(y.data(), s), sum);
  CHECK(y == x);
  unary(nd(x.data(), s), nd(y.data(), s), [](std::int8_t v) { return v; });
  CHECK(y == x);
  copy(nd(x.data(), s), nd(y.data(), s));
  max_pool2d(nhwc(x.data(), 2, 4, 4, 5), {.size = {1, 1, 1}}, nhwc(y.data(), 2, 4, 4, 5));
  CHECK(y == x);
  apply(table_of<std::int8_t, std::int8_t>([](int v) { return v; }), view(x), view(y));
  CHECK(y == x);
}

TEST_CASE("products of absurd scales saturate alike on vectors", "[layers]") {
  auto const f = fixed_point::mul<rescale::tflite_single>::make({1.0f, 0}, {1.0f, 0}, {1e-6f, 100}, {-128, 127});
  auto const x = codes(130, 23), z = codes(130, 24);
  std::vector<std::int8_t> y(130);
  shape const s = make_shape(130);
  support::for_each_native_isa([&](isa i) {
    INFO(name(i));
    binary(nd(x.data(), s), nd(z.data(), s), nd(y.data(), s), f);
    for (std::size_t k = 0; k < y.size(); ++k) REQUIRE(y[k] == f(x[k], z[k]));
  });
}
