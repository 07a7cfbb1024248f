// Every instruction set against reference/quantize.hpp, bit for bit: tails, strides, misalignment, ties, non-finite, denormals.
#include "support/catch.hpp"
#include "support/guarded.hpp"
#include "support/isas.hpp"
#include "support/quick.hpp"

#include <quern/convert/quantize.hpp>
#include <quern/reference/quantize.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace quern;

namespace {

template <class Form>
constexpr reference::form reference_form = std::is_same_v<Form, divide> ? reference::form::divide : reference::form::reciprocal;

/// wild: values that decide: halfway quotients and their neighbours, limits, everything that is not finite, denormals; then a spread.
/// tame: of those, what does not saturate. near: tame but for some that saturate, about which the loops that count differ: 2^15 steps and
/// 2^31 are their limits. rarely: of those only what is below 2^15 steps.
enum kind { wild, tame, near, rarely };
template <class T>
std::vector<T> adversarial(index_t n, float scale, std::mt19937& random, int what) {
  std::vector<T> x(static_cast<std::size_t>(n));
  float const special[] = {0.0f,
                           -0.0f,
                           std::numeric_limits<float>::quiet_NaN(),
                           -std::numeric_limits<float>::quiet_NaN(),
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::max(),
                           std::numeric_limits<float>::lowest(),
                           std::numeric_limits<float>::denorm_min(),
                           -std::numeric_limits<float>::denorm_min(),
                           1e-40f,
                           -1e-40f,
                           2147483648.0f * scale,
                           -2147483648.0f * scale};
  for (T& v : x) {
    int const halves = static_cast<int>(random() % 700) - 350;
    float y = 0.5f * static_cast<float>(halves) * scale;
    switch (random() % 8) {
      case 0: y = std::nextafter(y, 1e30f); break;
      case 1: y = std::nextafter(y, -1e30f); break;
      case 2: y = special[random() % (sizeof special / sizeof special[0])]; break;
      case 3: y = (static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f) * 200.0f * scale; break;
      default: break;
    }
    if (what != wild) y = std::fmin(std::fmax(y, -100.0f * scale), 100.0f * scale);
    float const steps[] = {300.0f, 32000.0f, 32767.49f, 32767.5f, 32768.0f, 32769.0f, 70000.0f, 2147483520.0f, 2147483648.0f, 1e12f};
    if (what == near && random() % 150 == 0) y = std::copysign(steps[random() % 10] * scale, y);
    if (what == rarely && random() % 500 == 0) y = std::copysign(steps[random() % 2] * scale, y);
    v = static_cast<T>(y);
  }
  return x;
}

template <class Scheme>
params<Scheme> any_params(std::mt19937& random, index_t count, bool awkward) {
  auto const one = [&]() -> scale_zero_point {
    auto mantissa = static_cast<std::uint32_t>(random() >> 9);
    if (awkward) mantissa = (mantissa & 0x7f0000u) | ((random() % 21 - 10) & 0xffffu);  // around where two steps are not exact
    float const scale = std::ldexp(bits_of<float>(0x3f800000u | mantissa), static_cast<int>(random() % 24) - 14);
    auto const codes = static_cast<unsigned>(Scheme::q_max - Scheme::q_min + 1);
    return {scale, Scheme::fixed_zero_point ? Scheme::q_middle : Scheme::q_min + static_cast<int>(random() % codes)};
  };
  if constexpr (Scheme::granularity::single) {
    scale_zero_point const p = one();
    return {p.scale, p.zero_point};
  } else {
    auto p = params<Scheme>::with_size(count);
    for (index_t i = 0; i < count; ++i) p.set(i, one());
    return p;
  }
}

/// Lines of every length up to 70 and a few longer ones, at odd offsets, on every instruction set.
template <class Scheme, class Rounding, class Form, class T>
void check_lines() {
  using code_type = typename Scheme::storage;
  std::mt19937 random(7);
  for (int round = 0; round < 90; ++round) {
    index_t const n = round <= 70 ? round : 200 + static_cast<index_t>(random() % 9000);
    auto const p = any_params<Scheme>(random, 1, round % 4 == 1);
    auto const source = adversarial<T>(n + 1, p.scale, random, (round + round / 4) % 4);
    T const* const x = source.data() + round % 2;
    std::vector<code_type> expected(static_cast<std::size_t>(n) + 2, code_type{77}), got;
    auto const want = reference::quantize<Scheme, Rounding>(matrix_view<T const>{x, 1, n, n, 1}, p.view(),
                                                            matrix_view<code_type>{expected.data() + 1, 1, n, n, 1}, reference_form<Form>);
    support::for_each_native_isa([&](isa which) {
      got.assign(expected.size(), code_type{77});
      auto const counts = quantize<Rounding, Form>(vector_view<T const>{x, n}, p, vector_view<code_type>{got.data() + 1, n});
      bool const same = got == expected && counts.saturated == want.saturated && counts.non_finite == want.non_finite;
      if (!same) {
        CAPTURE(name(which), Scheme::name, Rounding::name, Form::name, n, p.scale);
        CHECK(got == expected);
        CHECK(counts.saturated == want.saturated);
        CHECK(counts.non_finite == want.non_finite);
      }
      REQUIRE(same);
    });
  }
}

/// Matrices of every layout, with gaps, backwards, few and many columns.
template <class Scheme, class Form>
void check_matrices() {
  using code_type = typename Scheme::storage;
  std::mt19937 random(11);
  for (int round = 0; round < 60; ++round) {
    index_t const rows = 1 + static_cast<index_t>(random() % (round % 7 == 0 ? 40 : 12));
    index_t const cols = 1 + static_cast<index_t>(random() % (round % 3 == 0 ? 700 : 70));
    auto const grid = grid_of<typename Scheme::granularity>(rows, cols);
    auto const p = any_params<Scheme>(random, grid.count(), round % 5 == 4);
    auto const x = adversarial<float>(3 * rows * cols + 64, p.view().scale(0), random, (round / 2) % 4);
    index_t const gap = static_cast<index_t>(random() % 3);
    matrix_view<float const> src{x.data(), rows, cols, cols + gap, 1};
    if (round % 4 == 1) src = {x.data(), rows, cols, 1, rows + gap};
    if (round % 4 == 2) src = {x.data() + rows * (cols + gap) - 1, rows, cols, -(cols + gap), -1};
    bool const transposed = random() % 3 == 0;
    std::vector<code_type> expected(static_cast<std::size_t>(2 * rows * cols + 64), code_type{5}), got;
    auto const view_of = [&](std::vector<code_type>& v) {
      return transposed ? matrix_view<code_type>{v.data(), rows, cols, 1, rows + 1} : matrix_view<code_type>{v.data(), rows, cols, cols, 1};
    };
    auto const want = reference::quantize<Scheme>(src, p.view(), view_of(expected), reference_form<Form>);
    support::for_each_native_isa([&](isa which) {
      got.assign(expected.size(), code_type{5});
      auto const counts = quantize<round_to::half_even, Form>(src, p, view_of(got));
      CAPTURE(name(which), Scheme::name, rows, cols, round);
      REQUIRE(got == expected);
      REQUIRE(counts.saturated == want.saturated);
      REQUIRE(counts.non_finite == want.non_finite);
    });
  }
}

/// One kind of values for all: inside, ties and their neighbours of each one's own scale, some outside, far outside or not finite. Some scales
/// are the awkward ones, denormal, or too large to be inverted.
template <class Scheme, class Form>
void check_edges() {
  using code_type = typename Scheme::storage;
  std::mt19937 random(41);
  auto const check = [&](index_t rows, index_t cols, int kind, index_t gap) {
    bool const by_row = grid_of<typename Scheme::granularity>(2, 1).count() == 2;
    auto p = params<Scheme>::with_size(by_row ? rows : cols);
    for (index_t i = 0; i < p.size(); ++i) {
      auto mantissa = static_cast<std::uint32_t>(random() >> 9);
      if (kind >= 3 && random() % 90 == 0) mantissa = (mantissa & 0x7f0000u) | ((random() % 21 - 10) & 0xffffu);
      float scale = std::ldexp(bits_of<float>(0x3f800000u | mantissa), static_cast<int>(random() % 6) - 3);
      if (kind == 4 && random() % 90 == 0) scale = random() % 2 == 0 ? 1e-40f : 3e38f;
      auto const codes = static_cast<unsigned>(Scheme::q_max - Scheme::q_min + 1);
      p.set(i, {scale, Scheme::fixed_zero_point ? Scheme::q_middle : Scheme::q_min + static_cast<int>(random() % codes)});
    }
    index_t const stride = cols + gap;
    std::vector<float> x(static_cast<std::size_t>(rows * stride) + 1);
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < cols; ++j) {
        index_t const at = by_row ? i : j;
        // Codes q_min + 1 to q_max - 1 of a range, or of two.
        int const most = (kind == 0 || kind == 3 ? 1 : 2) * (Scheme::q_max - Scheme::q_min - 2);
        float const halves = static_cast<float>(2 * (Scheme::q_min + 1 - p.view().zero_point(at)) + static_cast<int>(random() % static_cast<unsigned>(2 * most)));
        float y = 0.5f * halves * p.scales[at];
        if (random() % 2 == 0) y = std::nextafter(y, random() % 2 == 0 ? 1e30f : -1e30f);
        float const far[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1e30f, 70000.0f * p.scales[at]};
        if (kind == 2 && random() % 300 == 0) y = far[random() % 4];
        x[static_cast<std::size_t>(i * stride + j) + 1] = y;
      }
    std::vector<code_type> expected(x.size() + 64, code_type{5}), got;
    matrix_view<float const> const src{x.data() + 1, rows, cols, stride, 1};
    auto const want =
        reference::quantize<Scheme>(src, p.view(), matrix_view<code_type>{expected.data() + 3, rows, cols, stride, 1}, reference_form<Form>);
    support::for_each_native_isa([&](isa which) {
      got.assign(expected.size(), code_type{5});
      auto const counts = quantize<round_to::half_even, Form>(src, p, matrix_view<code_type>{got.data() + 3, rows, cols, stride, 1});
      CAPTURE(name(which), Scheme::name, granularity_name<typename Scheme::granularity>, Form::name, rows, cols, gap, kind);
      REQUIRE(got == expected);
      REQUIRE(counts.saturated == want.saturated);
      REQUIRE(counts.non_finite == want.non_finite);
    });
  };
  for (index_t cols : {1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 256, 1000})
    for (index_t rows : {0, 1, 2, 3, 5, 18, 64})
      for (int kind = 0; kind < 5; ++kind)
        if (rows * cols < 4000 || kind == (cols + rows) % 5 || kind == 0) check(rows, cols, kind, kind % 2 == 0 ? 0 : cols % 3);
  for (int kind = 0; kind < 5; ++kind) check(17, 4160, kind, 0), check(300, 257, kind, 3), check(41, 1700, kind, 0);  // several rows at once
}

}  // namespace

TEST_CASE("quantize: a scale for each row or column is the definition at every edge of a block", "[convert][every]") {
  check_edges<symmetric<s8, per_channel<1>>, reciprocal>();
#if !QUERN_QUICK_TESTS  // 0.4 s each to compile
  check_edges<symmetric<s8, per_channel<1>>, divide>();
#endif
  check_edges<asymmetric<u8, per_channel<1>>, divide>();
  check_edges<symmetric<s8, per_channel<0>>, reciprocal>();
  check_edges<asymmetric<u8, per_channel<0>>, divide>();
}

TEST_CASE("quantize: s8 in the division form is the definition in every rounding mode", "[convert][every]") {
  for_each_type<support::rounding_modes>([](auto mode) { check_lines<symmetric<s8>, typename decltype(mode)::type, divide, float>(); });
}

TEST_CASE("quantize: the reciprocal form is the definition", "[convert]") {
  check_lines<asymmetric<s8>, round_to::half_even, reciprocal, float>();
  check_lines<asymmetric<u8>, round_to::half_away, reciprocal, float>();
}

TEST_CASE("quantize: every destination is the definition", "[convert][every]") {
  check_lines<asymmetric<u8>, round_to::half_even, divide, float>();
#if !QUERN_QUICK_TESTS
  check_lines<asymmetric<s8, per_tensor, narrow_range>, round_to::half_even, divide, float>();
  check_lines<asymmetric<u8, per_tensor, narrow_range>, round_to::half_even, divide, float>();
#endif
  check_lines<asymmetric<s16>, round_to::half_even, divide, float>();
  check_lines<asymmetric<u16, per_tensor, narrow_range>, round_to::half_even, divide, float>();
  check_lines<asymmetric<s4>, round_to::half_even, divide, float>();
}

TEST_CASE("quantize: double, half and bfloat16 sources are the definition", "[convert][every]") {
  check_lines<asymmetric<s8>, round_to::half_even, divide, double>();
  check_lines<asymmetric<s8>, round_to::half_even, divide, half>();
  check_lines<asymmetric<s8>, round_to::half_even, divide, bfloat16>();
}

TEST_CASE("quantize: every granularity, layout and stride is the definition", "[convert][every]") {
  check_matrices<symmetric<s8, per_channel<0>>, divide>();
  check_matrices<asymmetric<u8, per_channel<1>, narrow_range>, divide>();  // 0, which pads vectors of zero points, is no code of it
  check_matrices<asymmetric<u8, per_row>, reciprocal>();
  check_matrices<asymmetric<s8, per_group<5>>, divide>();
}

TEST_CASE("quantize: a symmetric scale for each column knows its zero points where codes are narrow or leave the caches", "[convert]") {
  // A call with zero points leaves them on the stack, where the next must not find them.
  params<asymmetric<s8, per_channel<1>>> stale{{4096, 0.01f}, {4096, -90}};
  std::vector<float> big(2304 * 4096);
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = 0.01f * static_cast<float>(static_cast<int>(i * 2654435761u % 201) - 100);
  buffer<std::int8_t> got(2304 * 4096);
  auto const check = [&]<class Scheme>(Scheme, index_t rows, index_t cols) {
    params<Scheme> p;
    p.scales = buffer<float>(cols, 0.01f);
    support::for_each_native_isa([&](isa i) {
      quantize(row_major(big.data(), 9, 4096), stale, row_major(got.data(), 9, 4096));
      quantize(row_major(big.data(), rows, cols), p, row_major(got.data(), rows, cols));
      index_t wrong = 0;
      for (index_t k = 0; k < rows * cols; ++k) wrong += got[k] != static_cast<int>(static_cast<std::size_t>(k) * 2654435761u % 201) - 100;
      INFO(name(i));
      CHECK(wrong == 0);
    });
  };
  check(symmetric<s8, per_channel<1>, narrow_range>{}, 9, 512);
  check(symmetric<s8, per_channel<1>>{}, 9, 512);
  check(symmetric<s8, per_channel<1>>{}, 2304, 4096);  // 9 MB
}

TEST_CASE("quantize: where there is nothing, nothing is wrong", "[convert]") {
  float const x = 1;
  std::int8_t y = 5;
  params<symmetric<s8>> const p{.scale = 0.5f};
  CHECK(quantize(row_major(&x, 5, 0), p, row_major(&y, 5, 0)) == conversion_counts{});  // rows of no columns are 0 apart
  CHECK(quantize(nhwc(&x, 3, 2, 4, 0), p, nhwc(&y, 3, 2, 4, 0)) == conversion_counts{});
  CHECK_THROWS_AS(quantize(row_major(&x, 5, 1), p, matrix_view<std::int8_t>{&y, 5, 1, 0, 1}), error);
  CHECK(y == 5);
}

TEST_CASE("quantize: scales at both ends of float, of values at both ends of float, are the definition", "[convert]") {
  float const most = std::numeric_limits<float>::max(), least = std::numeric_limits<float>::denorm_min();
  float const inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> scales{least, 1e-40f, std::numeric_limits<float>::min(), most, 0x1p127f};
  for (float e : {-126.0f, -61.0f, -60.0f, -59.0f, -30.0f, 0.0f, 30.0f, 59.0f, 60.0f, 61.0f, 125.0f})
    for (float m : {1.0f, 1.00001f, 1.3f, 1.9999f}) scales.push_back(std::ldexp(m, static_cast<int>(e)));
  std::mt19937 random(23);
  for (float scale : scales) {
    std::vector<float> x(200);
    for (std::size_t i = 0; i < x.size(); ++i) {
      float const any = bits_of<float>(static_cast<std::uint32_t>(random()));
      float const special[] = {most, -most, inf, -inf, nan, least, -least, 0.0f, any, scale * 3.0f, scale * -1e5f, scale * 1e5f};
      x[i] = special[random() % (i < 100 ? 12 : 4)];
    }
    auto const check = [&](auto form) {
      using form_type = decltype(form);
      params<asymmetric<u8>> const p{.scale = scale, .zero_point = 130};
      std::vector<std::uint8_t> expected(x.size()), got(x.size());
      auto const n = static_cast<index_t>(x.size());
      auto const want = reference::quantize<asymmetric<u8>>(matrix_view<float const>{x.data(), 1, n, n, 1}, p.view(),
                                                            matrix_view<std::uint8_t>{expected.data(), 1, n, n, 1}, reference_form<form_type>);
      support::for_each_native_isa([&](isa which) {
        auto const counts = quantize<round_to::half_even, form_type>(view(x), p, view(got));
        CAPTURE(name(which), scale, form_type::name);
        REQUIRE(got == expected);
        REQUIRE(counts.saturated == want.saturated);
        REQUIRE(counts.non_finite == want.non_finite);
      });
    };
    check(divide{});
    check(reciprocal{});
  }
}

TEST_CASE("quantize: what is written past the caches is the same, in rows, columns and unaligned lines", "[convert]") {
  index_t const rows = 8200, cols = 1024, n = rows * cols;  // a little more than streaming_bytes
  static_assert(rows * cols > detail::streaming_bytes);
  buffer<float> x(n);
  std::uint32_t state = 1;
  for (float& v : x) state = state * 1664525u + 1013904223u, v = static_cast<float>(state >> 8) * 0x1p-16f - 128.0f;
  for (index_t i = n / 4; i < n / 2; i += 777) x[i] = 150.0f;
  x[5] = 1000.0f, x[n / 2] = -std::numeric_limits<float>::infinity(), x[n - 1] = std::numeric_limits<float>::quiet_NaN();
  auto per_row_params = params<symmetric<s8, per_row>>::with_size(rows);
  auto per_column_params = params<symmetric<s8, per_channel<1>>>::with_size(cols);
  for (index_t i = 0; i < rows; ++i) per_row_params.set(i, {1.01f + 0.001f * static_cast<float>(i % 9), 0});
  for (index_t j = 0; j < cols; ++j) per_column_params.set(j, {1.01f + 0.001f * static_cast<float>(j % 9), 0});
  buffer<std::int8_t> expected(n), got(n + 64);
  auto const small_parts = [&](auto const& p, auto const& part_params) {  // in pieces that stay in the caches
    conversion_counts counts;
    for (index_t i = 0; i < rows; i += 100) {
      index_t const some = rows - i < 100 ? rows - i : 100;
      counts += quantize(row_major<float const>(x.data() + i * cols, some, cols), part_params(p, i, some),
                         row_major(expected.data() + i * cols, some, cols));
    }
    return counts;
  };
  auto const check = [&](auto const& p, auto const& part_params) {
    conversion_counts const want = small_parts(p, part_params);
    CHECK(want.non_finite == 2);
    support::for_each_native_isa([&](isa which) {
      for (index_t skew : {0, 3}) {
        CAPTURE(name(which), skew);
        __builtin_memset(got.data(), 99, static_cast<std::size_t>(n + 64));
        CHECK(quantize(row_major<float const>(x.data(), rows, cols), p, row_major(got.data() + skew, rows, cols)) == want);
        REQUIRE(std::equal(expected.begin(), expected.end(), got.data() + skew));
        REQUIRE(got[n + skew] == 99);
      }
    });
  };
  check(params<symmetric<s8>>{.scale = 1.013f}, [](auto const& p, index_t, index_t) { return p; });
  check(per_row_params, [](auto const& p, index_t first, index_t some) {
    auto part = params<symmetric<s8, per_row>>::with_size(some);
    for (index_t i = 0; i < some; ++i) part.set(i, {p.scales[first + i], 0});
    return part;
  });
  check(per_column_params, [](auto const& p, index_t, index_t) { return p; });
}

TEST_CASE("quantize: stochastic rounding draws by position, whatever the layout and instruction set", "[convert][round]") {
  index_t const rows = 7, cols = 53;
  std::vector<float> x(static_cast<std::size_t>(rows * cols));
  std::mt19937 random(3);
  for (float& v : x) v = static_cast<float>(random() >> 8) * 0x1p-17f - 64.0f;
  params<symmetric<s8>> const p{.scale = 0.75f};
  round_to::stochastic const rounding{.seed = 0x123456789abcdefull};
  std::vector<std::int8_t> expected(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    expected[i] = saturate<s8>(static_cast<std::int64_t>(rounding.to_integral(x[i] / p.scale, i)));
  support::for_each_native_isa([&](isa which) {
    CAPTURE(name(which));
    std::vector<std::int8_t> flat(x.size()), transposed(x.size());
    quantize<round_to::stochastic>(view(x), p, view(flat), {.rounding = rounding});
    CHECK(flat == expected);
    quantize<round_to::stochastic>(row_major<float const>(x.data(), rows, cols), p, col_major(transposed.data(), rows, cols),
                                   {.rounding = rounding});
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < cols; ++j)
        REQUIRE(transposed[static_cast<std::size_t>(j * rows + i)] == expected[static_cast<std::size_t>(i * cols + j)]);
  });
}

TEST_CASE("quantize: nothing is read or written beyond the ends", "[convert][memory]") {
  for (index_t n : {1, 3, 15, 16, 17, 63, 64, 65, 127, 130}) {
    for (bool at_end : {true, false}) {
      support::guarded<float> x(n, at_end);
      support::guarded<std::int8_t> q(n, at_end);
      for (index_t i = 0; i < n; ++i) x.data()[i] = static_cast<float>(i % 200) - 100.0f;
      support::for_each_native_isa([&](isa) {
        auto const counts = quantize(vector_view<float const>{x.data(), n}, params<symmetric<s8>>{.scale = 1.0f},
                                     vector_view<std::int8_t>{q.data(), n});
        REQUIRE(counts == conversion_counts{});
        for (index_t i = 0; i < n; ++i) REQUIRE(q.data()[i] == i % 200 - 100);
      });
    }
  }
}

TEST_CASE("quantize: int32 biases keep every bit that a float has", "[convert]") {
  float const scale = 1e-8f;
  std::vector<float> const x{-1.0f, 0.25f, 21.0f, 22.0f, -30.0f, std::numeric_limits<float>::quiet_NaN()};
  support::for_each_native_isa([&](isa) {
    std::vector<std::int32_t> b(x.size());
    auto const counts = quantize(view(x), params_view{&scale, nullptr, 1}, view(b));
    CHECK(b[0] == static_cast<std::int32_t>(-1.0f / scale));
    CHECK(b[1] == static_cast<std::int32_t>(0.25f / scale));
    CHECK(b[2] == static_cast<std::int32_t>(21.0f / scale));
    CHECK(b[3] == 2147483647);
    CHECK(b[4] == -2147483647 - 1);
    CHECK(b[5] == -2147483647 - 1);
    CHECK(counts == conversion_counts{2, 1});
  });
}

TEST_CASE("quantize: 16 Mi elements, written past the caches, are the same codes", "[.exhaustive][convert]") {
  index_t const n = (index_t{1} << 24) + 77;
  std::vector<float> x(static_cast<std::size_t>(n));
  std::mt19937 random(5);
  for (float& v : x) v = static_cast<float>(random() >> 8) * 0x1p-16f - 130.0f;
  params<asymmetric<u8>> const p{.scale = 0.91f, .zero_point = 131};
  std::vector<std::uint8_t> expected(x.size()), got(x.size() + 3);
  reference::quantize<asymmetric<u8>>(matrix_view<float const>{x.data(), 1, n, n, 1}, p.view(),
                                      matrix_view<std::uint8_t>{expected.data(), 1, n, n, 1});
  support::for_each_native_isa([&](isa) {
    quantize(view(x), p, vector_view<std::uint8_t>{got.data() + 3, n});
    REQUIRE(std::equal(expected.begin(), expected.end(), got.begin() + 3));
  });
}

TEST_CASE("division in two steps gives the codes of a true division on 4e8 random and halfway values", "[.exhaustive][convert]") {
  std::mt19937_64 random(17);
  index_t const n = 1 << 16;
  std::vector<float> x(static_cast<std::size_t>(n));
  std::vector<std::uint8_t> got(x.size());
  for (int round = 0; round < 6200; ++round) {
    std::uint32_t bits = static_cast<std::uint32_t>(random() >> 41);
    if (round % 3 == 0) bits = (bits & 0x7f0000u) | (static_cast<std::uint32_t>(random() % 64 - 32) & 0xffffu);
    float const scale = std::ldexp(bits_of<float>(0x3f800000u | (bits & 0x7fffffu)), static_cast<int>(random() % 120) - 60);
    for (float& v : x) {
      std::uint64_t const word = random();
      float const half = (static_cast<float>(static_cast<int>(word & 511) - 256) + 0.5f);
      float const near_tie = half * scale;
      float const moved = bits_of<float>(bits_of<std::uint32_t>(near_tie) + static_cast<std::uint32_t>((word >> 9) & 7) - 3u);
      v = (word >> 12) & 1 ? moved : bits_of<float>(static_cast<std::uint32_t>(word >> 32));
    }
    quantize(view(x), params<asymmetric<u8>>{.scale = scale, .zero_point = 128}, view(got));
    for (std::size_t i = 0; i < x.size(); ++i) {
      reference::counts seen;
      auto const expected = reference::quantize_one<asymmetric<u8>>(x[i], scale, 128, reference::form::divide, seen);
      if (got[i] != expected) {
        CAPTURE(scale, x[i]);
        REQUIRE(got[i] == expected);
      }
    }
  }
}

#if QUERN_EXCEPTIONS
namespace {
template <class F>
errc code_of_error(F&& f) {
  try {
    f();
  } catch (error const& e) {
    return e.code();
  }
  FAIL("no error was raised");
  return errc::argument;
}
}  // namespace

TEST_CASE("quantize: a caller's mistake is told before anything is written", "[convert][errors]") {
  std::vector<float> x(100, 1.0f);
  std::vector<std::int8_t> q(100, 42);
  params<symmetric<s8>> const good{.scale = 1.0f};
  float const nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  auto const untouched = [&] { return q == std::vector<std::int8_t>(100, 42); };

  CHECK(code_of_error([&] { quantize(view(x), good, vector_view<std::int8_t>{q.data(), 99}); }) == errc::shape);
  CHECK(code_of_error([&] { quantize(vector_view<float>{x.data(), -1}, good, vector_view<std::int8_t>{q.data(), -1}); }) == errc::shape);
  CHECK(code_of_error([&] { quantize(view(x), good, vector_view<std::int8_t>{q.data(), 100, 0}); }) == errc::shape);
  CHECK(code_of_error([&] { quantize(vector_view<float>{nullptr, 100}, good, view(q)); }) == errc::null);
  CHECK(code_of_error([&] { quantize(view(x), good, vector_view<std::int8_t>{nullptr, 100}); }) == errc::null);
  for (float scale : {0.0f, -1.0f, nan, inf})
    CHECK(code_of_error([&] { quantize(view(x), params<symmetric<s8>>{.scale = scale}, view(q)); }) == errc::scale);
  CHECK(code_of_error([&] { quantize(view(x), params<asymmetric<s8>>{.scale = 1, .zero_point = 128}, view(q)); }) == errc::zero_point);
  CHECK(code_of_error([&] { quantize(view(x), params<symmetric<s8>>{.scale = 1, .zero_point = 1}, view(q)); }) == errc::zero_point);
  CHECK(code_of_error([&] { quantize(view(x), params<power_of_two<s8>>{.scale = 0.3f}, view(q)); }) == errc::scale);
  auto* const inside = reinterpret_cast<std::int8_t*>(x.data()) + 40;
  CHECK(code_of_error([&] { quantize(view(x), good, vector_view<std::int8_t>{inside, 100}); }) == errc::overlap);
  // Where the kernel finds them: among many, in any place.
  for (index_t at : {0, 7, 24})
    for (float scale : {0.0f, -1.0f, nan, inf}) {
      auto rows = params<symmetric<s8, per_channel<0>>>::with_size(25);
      auto cols = params<symmetric<s8, per_channel<1>>>::with_size(25);
      rows.scales[at] = cols.scales[at] = scale;
      support::for_each_native_isa([&](isa) {
        CHECK(code_of_error([&] { quantize(row_major(x.data(), 25, 4), rows, row_major(q.data(), 25, 4)); }) == errc::scale);
        CHECK(code_of_error([&] { quantize(row_major(x.data(), 4, 25), cols, row_major(q.data(), 4, 25)); }) == errc::scale);
      });
    }
  for (std::int32_t zero_point : {-129, 128}) {
    auto rows = params<asymmetric<s8, per_channel<0>>>::with_size(25);
    auto cols = params<asymmetric<s8, per_channel<1>>>::with_size(25);
    rows.zero_points[17] = cols.zero_points[17] = zero_point;
    CHECK(code_of_error([&] { quantize(row_major(x.data(), 25, 4), rows, row_major(q.data(), 25, 4)); }) == errc::zero_point);
    CHECK(code_of_error([&] { quantize(row_major(x.data(), 4, 25), cols, row_major(q.data(), 4, 25)); }) == errc::zero_point);
  }
  auto few = params<symmetric<s8, per_channel<0>>>::with_size(3);
  CHECK(code_of_error([&] { quantize(row_major(x.data(), 4, 25), few, row_major(q.data(), 4, 25)); }) == errc::shape);
  CHECK(untouched());
  CHECK(x == std::vector<float>(100, 1.0f));

  CHECK(quantize(vector_view<float>{nullptr, 0}, good, vector_view<std::int8_t>{nullptr, 0}) == conversion_counts{});
}
#endif
