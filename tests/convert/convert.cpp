// dequantize, requantize, dynamic_quantize and packed codes against the definitions, on every instruction set.
#include "support/catch.hpp"
#include "support/guarded.hpp"
#include "support/isas.hpp"

#include <quern/convert/convert.hpp>
#include <quern/reference/quantize.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

using namespace quern;

namespace {

template <class Scheme>
params<Scheme> any_params(std::mt19937& random, index_t count) {
  auto const one = [&]() -> scale_zero_point {
    auto const codes = static_cast<unsigned>(Scheme::q_max - Scheme::q_min + 1);
    return {std::ldexp(bits_of<float>(0x3f800000u | static_cast<std::uint32_t>(random() >> 9)), static_cast<int>(random() % 8) - 8),
            Scheme::fixed_zero_point ? Scheme::q_middle : Scheme::q_min + static_cast<int>(random() % codes)};
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

template <class T>
bool same_bits(std::vector<T> const& a, std::vector<T> const& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class Scheme, class T>
void check_dequantize() {
  using code_type = typename Scheme::storage;
  std::mt19937 random(13);
  for (int round = 0; round < 50; ++round) {
    index_t const rows = 1 + static_cast<index_t>(random() % 9), cols = 1 + static_cast<index_t>(random() % (round % 3 == 0 ? 600 : 70));
    auto const p = any_params<Scheme>(random, grid_of<typename Scheme::granularity>(rows, cols).count());
    std::vector<code_type> q(static_cast<std::size_t>(rows * cols));
    for (code_type& v : q) v = static_cast<code_type>(random());
    auto const src = random() % 2 == 0 ? row_major<code_type const>(q.data(), rows, cols) : col_major<code_type const>(q.data(), rows, cols);
    index_t const stride = cols + static_cast<index_t>(random() % 3);
    std::vector<T> expected(static_cast<std::size_t>(rows * stride), T{}), got;
    reference::dequantize<Scheme, T>(src, p.view(), row_major(expected.data(), rows, cols, stride));
    support::for_each_native_isa([&](isa which) {
      got.assign(expected.size(), T{});
      dequantize(src, p, row_major(got.data(), rows, cols, stride));
      CAPTURE(name(which), Scheme::name, rows, cols);
      REQUIRE(same_bits(got, expected));
    });
  }
}

template <class Rescale, class From, class To>
void check_requantize() {
  using from_type = typename From::storage;
  using to_type = typename To::storage;
  std::mt19937 random(19);
  for (int round = 0; round < 40; ++round) {
    index_t const n = round < 20 ? 5 * round : static_cast<index_t>(random() % 5000);
    std::vector<from_type> q(static_cast<std::size_t>(n) + 1);
    for (from_type& v : q) v = static_cast<from_type>(random());
    auto const p = any_params<From>(random, 1);
    auto r = any_params<To>(random, 1);
    r.scale = p.scale * (1.1f + static_cast<float>(random() % 300) * 0.01f);  // some policies take ratios below 1 only
    auto const ratio = Rescale::from_real(static_cast<double>(p.scale) / static_cast<double>(r.scale));
    std::vector<to_type> expected(q.size()), got;
    auto const saturated = reference::requantize<To, Rescale>(matrix_view<from_type const>{q.data(), 1, n, n, 1}, p.zero_point, ratio,
                                                              r.zero_point, matrix_view<to_type>{expected.data(), 1, n, n, 1});
    support::for_each_native_isa([&](isa which) {
      got.assign(expected.size(), to_type{});
      auto const counts = requantize<Rescale>(vector_view<from_type const>{q.data(), n}, p, r, vector_view<to_type>{got.data(), n});
      CAPTURE(name(which), Rescale::name, n);
      REQUIRE(got == expected);
      REQUIRE(counts == conversion_counts{saturated, 0});
    });
  }
}

}  // namespace

TEST_CASE("dequantize is the definition for every granularity and layout", "[convert][every]") {
  check_dequantize<symmetric<s8>, float>();
  check_dequantize<asymmetric<u8, per_channel<1>>, float>();
  check_dequantize<asymmetric<s16, per_group<5>>, float>();
}

TEST_CASE("dequantize: a scale for each row or column is the definition at every edge of a block, and is checked", "[convert][every]") {
  std::mt19937 random(37);
  auto const check = [&]<class Scheme>(Scheme, index_t rows, index_t cols) {
    auto p = any_params<Scheme>(random, grid_of<typename Scheme::granularity>(rows, cols).count());
    std::vector<std::uint8_t> q(static_cast<std::size_t>(rows * cols));
    for (std::uint8_t& v : q) v = static_cast<std::uint8_t>(random());
    auto const src = row_major<std::uint8_t const>(q.data(), rows, cols);
    std::vector<float> expected(q.size() + 1, 3.0f), got;
    reference::dequantize<Scheme, float>(src, p.view(), row_major(expected.data(), rows, cols));
    support::for_each_native_isa([&](isa which) {
      got.assign(expected.size(), 3.0f);
      dequantize(src, p, row_major(got.data(), rows, cols));
      CAPTURE(name(which), granularity_name<typename Scheme::granularity>, rows, cols);
      REQUIRE(same_bits(got, expected));
    });
#if QUERN_EXCEPTIONS
    p.scales[p.size() - 1] = 0.0f;
    got.assign(expected.size(), 3.0f);
    CHECK_THROWS_AS(dequantize(src, p, row_major(got.data(), rows, cols)), error);
    CHECK(got == std::vector<float>(got.size(), 3.0f));
#endif
  };
  for (index_t cols : {1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129, 256, 1030})
    for (index_t rows : {1, 2, 5, 16}) {
      check(asymmetric<u8, per_channel<0>>{}, rows, cols);
      check(asymmetric<u8, per_channel<1>>{}, rows, cols);
    }
}

TEST_CASE("dequantize to double, half and bfloat16 is the definition", "[convert][every]") {
  check_dequantize<asymmetric<u16>, double>();
  check_dequantize<asymmetric<s8>, half>();
  check_dequantize<asymmetric<s8>, bfloat16>();
}

TEST_CASE("dequantize: an accumulator beyond 2^24 is rounded to float before the product", "[convert]") {
  std::vector<std::int32_t> const acc{16777217, -16777217, 2147483647, -2147483647 - 1, 0, 33554435, 7};
  float const scale = 0.1f;
  support::for_each_native_isa([&](isa) {
    std::vector<float> y(acc.size());
    dequantize(view(acc), params_view{&scale, nullptr, 1}, view(y));
    for (std::size_t i = 0; i < acc.size(); ++i) CHECK(y[i] == rounded(static_cast<float>(acc[i]) * scale));
  });
}

TEST_CASE("requantize is the definition for every form of policy", "[convert][every]") {
  check_requantize<rescale::float_multiply<>, asymmetric<s8>, asymmetric<u8, per_tensor, narrow_range>>();
  check_requantize<rescale::gemmlowp_double, asymmetric<u8>, symmetric<s8>>();
  check_requantize<rescale::tflite_single, asymmetric<s16>, asymmetric<s8, per_tensor, narrow_range>>();
  check_requantize<rescale::qnnpack_precise, symmetric<s8>, asymmetric<s16>>();
}

TEST_CASE("requantize: accumulators with a scale for each row or column", "[convert]") {
  std::mt19937 random(23);
  auto const check = [&]<class Policy>(Policy, index_t rows, index_t cols, bool by_row) {
    std::vector<std::int32_t> acc(static_cast<std::size_t>(rows * cols));
    bool const tame = random() % 2 == 0;
    for (auto& v : acc) v = tame ? static_cast<std::int32_t>(random() % 400000) - 200000 : static_cast<std::int32_t>(random()) >> (random() % 24);
    std::vector<float> scales(static_cast<std::size_t>(by_row ? rows : cols));
    for (float& s : scales) s = std::ldexp(bits_of<float>(0x3f800000u | static_cast<std::uint32_t>(random() >> 9)), tame ? -13 : -12);
    params<asymmetric<s8>> const to{.scale = 0.7f, .zero_point = -3};
    std::vector<std::int8_t> expected(acc.size()), got(acc.size());
    std::int64_t saturated = 0;
    for (std::size_t i = 0; i < acc.size(); ++i) {
      std::size_t const at = by_row ? i / static_cast<std::size_t>(cols) : i % scales.size();
      auto const ratio = Policy::from_real(static_cast<double>(scales[at]) / static_cast<double>(to.scale));
      std::int64_t const q = std::int64_t{Policy::apply(acc[i], ratio)} - 3;
      saturated += q < -128 || q > 127;
      expected[i] = saturate<s8>(q);
    }
    params_view const p{scales.data(), nullptr, static_cast<index_t>(scales.size())};
    auto const src = row_major<std::int32_t const>(acc.data(), rows, cols);
    support::for_each_native_isa([&](isa which) {
      CAPTURE(name(which), Policy::name, rows, cols, by_row);
      auto const dst = row_major(got.data(), rows, cols);
      auto const counts = by_row ? requantize<Policy, per_channel<0>>(src, p, to, dst) : requantize<Policy, per_channel<1>>(src, p, to, dst);
      REQUIRE(got == expected);
      REQUIRE(counts.saturated == saturated);
    });
#if QUERN_EXCEPTIONS
    for (float wrong : {0.0f, -1.0f, std::numeric_limits<float>::infinity()}) {
      if (by_row) break;
      scales[scales.size() / 2] = wrong;
      CHECK_THROWS_AS((requantize<Policy, per_channel<1>>(src, params_view{scales.data(), nullptr, cols}, to, row_major(got.data(), rows, cols))), error);
      CHECK(got == expected);
    }
#endif
  };
  for (int round = 0; round < 25; ++round)
    check(rescale::float_multiply<>{}, 1 + static_cast<index_t>(random() % 20), 1 + static_cast<index_t>(random() % 90), round % 2 == 0);
  for (index_t cols : {15, 16, 63, 64, 65, 256})
    for (bool by_row : {false, true}) check(rescale::float_multiply<>{}, 17, cols, by_row), check(rescale::gemmlowp_double{}, 18, cols, by_row);
  for (int round = 0; round < 2; ++round) check(rescale::float_multiply<>{}, 67, 1030, round == 0), check(rescale::float_multiply<>{}, 300, 257, round == 1);
}

namespace {
template <class Scheme>
index_t count_of(params<Scheme> const& p) {
  return p.view().count;
}
template <class Scheme>
float& scale_at(params<Scheme>& p, index_t i) {
  if constexpr (Scheme::granularity::single)
    return p.scale;
  else
    return p.scales[i];
}
template <class Scheme>
std::int32_t& zero_at(params<Scheme>& p, index_t i) {
  if constexpr (Scheme::granularity::single)
    return p.zero_point;
  else
    return p.zero_points[i];
}
/// Codes to codes, both in memory that ends where it may be touched.
template <class From, class To>
void check_requantize_channels(std::mt19937& random, index_t rows, index_t cols, bool tame) {
  using policy = rescale::float_multiply<>;
  using from_type = typename From::storage;
  using to_type = typename To::storage;
  auto p = any_params<From>(random, grid_of<typename From::granularity>(rows, cols).count());
  auto r = any_params<To>(random, grid_of<typename To::granularity>(rows, cols).count());
  index_t const n = rows * cols;
  for (index_t i = 0; i < count_of(p); ++i) scale_at(p, i) = 0.5f + static_cast<float>(random() % 1000) * 0.0003f;
  for (index_t i = 0; i < count_of(r); ++i) {
    scale_at(r, i) = (tame ? 2.0f : 0.3f) + static_cast<float>(random() % 1000) * 0.0005f;
    if (tame) zero_at(r, i) = To::q_middle;  // nothing saturates
  }
  support::guarded<from_type> src(n);
  support::guarded<to_type> dst(n);
  for (index_t i = 0; i < n; ++i) src[i] = static_cast<from_type>(tame ? 78 + random() % 100 : random());
  std::vector<to_type> expected(static_cast<std::size_t>(n));
  std::int64_t saturated = 0;
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < cols; ++j) {
      auto const at = [&]<class Granularity>(Granularity) { return Granularity::single ? 0 : Granularity::block(0, 2) == 1 ? i : j; };
      index_t const a = at(typename From::granularity{}), b = at(typename To::granularity{}), e = i * cols + j;
      std::int64_t const q = std::int64_t{policy::apply(
                                 std::int32_t{src[e]} - zero_at(p, a),
                                 policy::from_real(static_cast<double>(scale_at(p, a)) / static_cast<double>(scale_at(r, b))))} +
                             zero_at(r, b);
      saturated += q < To::q_min || q > To::q_max;
      expected[static_cast<std::size_t>(e)] = static_cast<to_type>(std::clamp<std::int64_t>(q, To::q_min, To::q_max));
    }
  auto const from = row_major<from_type const>(src.data(), rows, cols);
  auto const to = row_major(dst.data(), rows, cols);
  support::for_each_native_isa([&](isa which) {
    CAPTURE(name(which), granularity_name<typename From::granularity>, granularity_name<typename To::granularity>, rows, cols, tame);
    std::fill_n(dst.data(), n, to_type{});
    auto const counts = requantize(from, p, r, to);
    REQUIRE(std::equal(expected.begin(), expected.end(), dst.data()));
    REQUIRE(counts == conversion_counts{saturated, 0});
  });
#if QUERN_EXCEPTIONS
  auto const refuses = [&] {
    CHECK_THROWS_AS(requantize(from, p, r, to), error);
    CHECK(std::equal(expected.begin(), expected.end(), dst.data()));
  };
  for (float* last : {&scale_at(p, count_of(p) - 1), &scale_at(r, count_of(r) - 1)}) {
    float const right = std::exchange(*last, std::numeric_limits<float>::quiet_NaN());
    refuses();
    *last = right;
  }
  zero_at(r, count_of(r) - 1) = To::q_max + 1;
  refuses();
#endif
}
}  // namespace

TEST_CASE("requantize: codes with a scale and a zero point for each row or column, on either side or both", "[convert]") {
  std::mt19937 random(29);
  using row = per_channel<0>;
  using column = per_channel<1>;
  for (bool tame : {true, false}) {
    for (index_t cols : {1, 3, 31, 32, 63, 64, 65, 96, 200, 256, 4200})
      for (index_t rows : {2, 7, 68}) {
        if (rows * cols > 100000 && !tame) continue;
        check_requantize_channels<asymmetric<u8, row>, asymmetric<s8, per_tensor, narrow_range>>(random, rows, cols, tame);
        check_requantize_channels<asymmetric<u8, column>, asymmetric<s8>>(random, rows, cols, tame);
        check_requantize_channels<asymmetric<u8>, asymmetric<s8, column, narrow_range>>(random, rows, cols, tame);
        check_requantize_channels<asymmetric<u8, column>, asymmetric<s8, column>>(random, rows, cols, tame);
        check_requantize_channels<asymmetric<u8, row>, asymmetric<s8, row>>(random, rows, cols, tame);
      }
    check_requantize_channels<asymmetric<u8, row>, asymmetric<s8, row>>(random, 3, 5000, tame);
  }
}

TEST_CASE("requantize works in place where the sizes agree, and refuses any other overlap", "[convert][errors]") {
  std::vector<std::int8_t> codes(300);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::int8_t>(i * 7);
  params<asymmetric<s8>> const from{.scale = 0.5f, .zero_point = -128};
  params<asymmetric<u8>> const to{.scale = 0.5f, .zero_point = 0};
  support::for_each_native_isa([&](isa) {
    auto memory = codes;
    vector_view<std::uint8_t> const dst{reinterpret_cast<std::uint8_t*>(memory.data()), 300};
    CHECK(requantize(view(memory), from, to, dst) == conversion_counts{});
    for (std::size_t i = 0; i < codes.size(); ++i) REQUIRE(dst[static_cast<index_t>(i)] == codes[i] + 128);
    std::vector<std::int32_t> acc{1000, -1000, 2147483647, -2147483647 - 1, 5, 6, 7, 8, 9};
    CHECK(requantize(view(acc), 4.0f, 1.0f, view(acc)) == conversion_counts{});
    CHECK(acc == std::vector<std::int32_t>{4000, -4000, 2147483647, -2147483647 - 1, 20, 24, 28, 32, 36});
  });
#if QUERN_EXCEPTIONS
  auto memory = codes;
  CHECK_THROWS_AS(requantize(vector_view<std::int8_t>{memory.data(), 200}, from, to,
                             vector_view<std::uint8_t>{reinterpret_cast<std::uint8_t*>(memory.data()) + 1, 200}),
                  error);
  CHECK(memory == codes);
  float const wrong = 0.0f;
  std::vector<std::int32_t> acc(10);
  CHECK_THROWS_AS(requantize(view(acc), params_view{&wrong, nullptr, 1}, from, vector_view<std::int8_t>{memory.data(), 10}), error);
  CHECK(memory == codes);
#endif
}

TEST_CASE("dynamic_quantize is range, choose_params and quantize", "[convert]") {
  std::mt19937 random(29);
  index_t const rows = 5, cols = 77;
  std::vector<float> x(static_cast<std::size_t>(rows * cols));
  for (float& v : x) v = static_cast<float>(random() >> 8) * 0x1p-22f - 1.0f;
  x[40] = std::numeric_limits<float>::quiet_NaN();
  support::for_each_native_isa([&](isa) {
    std::vector<std::uint8_t> q(x.size()), expected(x.size());
    auto const result = dynamic_quantize(view(x), view(q));
    float lo = 0, hi = 0;
    for (float v : x) lo = v < lo ? v : lo, hi = v > hi ? v : hi;
    CHECK(result.quantized_with == choose_params<asymmetric<u8>>(real_range{lo, hi}));
    quantize(view(x), result.quantized_with, view(expected));
    CHECK(q == expected);
    CHECK(result.counts.non_finite == 1);

    std::vector<std::int8_t> per(x.size()), want(x.size());
    using rowwise = symmetric<s8, per_row>;
    auto const tokens = dynamic_quantize<rowwise>(row_major<float const>(x.data(), rows, cols), row_major(per.data(), rows, cols));
    REQUIRE(tokens.quantized_with.size() == rows);
    reference::quantize<rowwise>(row_major<float const>(x.data(), rows, cols), tokens.quantized_with.view(), row_major(want.data(), rows, cols));
    CHECK(per == want);
  });
}

TEST_CASE("packed codes are the codes of quantize, two or four in a byte", "[convert]") {
  std::mt19937 random(31);
  auto const check = [&]<class Code>(Code) {
    using scheme_type = asymmetric<Code, per_group<8>>;
    for (int round = 0; round < 30; ++round) {
      index_t const rows = 1 + static_cast<index_t>(random() % 5), cols = 1 + static_cast<index_t>(random() % 600), n = rows * cols;
      std::vector<float> x(static_cast<std::size_t>(n));
      for (float& v : x) v = static_cast<float>(static_cast<int>(random() % 2000) - 1000) * 0.001f;
      auto const p = any_params<scheme_type>(random, grid_of<per_group<8>>(rows, cols).count());
      std::vector<typename scheme_type::storage> codes(x.size());
      auto const want = reference::quantize<scheme_type>(row_major<float const>(x.data(), rows, cols), p.view(), row_major(codes.data(), rows, cols));
      std::vector<float> real(x.size()), back(x.size());
      reference::dequantize<scheme_type, float>(row_major<typename scheme_type::storage const>(codes.data(), rows, cols), p.view(),
                                                row_major(real.data(), rows, cols));
      support::for_each_native_isa([&](isa) {
        std::vector<std::uint8_t> memory(static_cast<std::size_t>(packed_bytes<Code>(n)), 0xff);
        packed_view<Code> const packed{memory.data(), n};
        auto const counts = quantize(row_major<float const>(x.data(), rows, cols), p, packed);
        REQUIRE(counts.saturated == want.saturated);
        for (index_t i = 0; i < n; ++i) REQUIRE(packed.get(i) == codes[static_cast<std::size_t>(i)]);
        index_t const used = n % packed_view<Code>::per_byte * Code::bits;
        if (used != 0) REQUIRE((memory.back() >> used) == 0);
        dequantize(packed, p, row_major(back.data(), rows, cols));
        REQUIRE(back == real);
      });
    }
  };
  check(s4{});
  check(u2{});
}

TEST_CASE("packed codes are requantized as plain ones, found by their own range, and lie in tensors", "[convert]") {
  std::mt19937 random(33);
  index_t const n = 2, h = 3, w = 2, c = 21, size = n * h * w * c;
  using channels = per_channel<3>;
  auto const p = any_params<asymmetric<u4, channels>>(random, c);
  params<asymmetric<s8>> const q{.scale = 0.31f, .zero_point = -9};
  params<symmetric<s4, per_tensor, narrow_range>> const narrow{.scale = 0.27f};
  std::vector<float> x(static_cast<std::size_t>(size)), real(x.size()), back(x.size());
  for (float& v : x) v = static_cast<float>(static_cast<int>(random() % 2000) - 1000) * 0.001f;
  auto const src = nchw<float const>(x.data(), n, c, h, w);
  std::vector<std::uint8_t> plain(x.size());
  std::vector<std::int8_t> wide(x.size()), expected(x.size()), few(x.size());
  auto const want = quantize(src, p, nhwc(plain.data(), n, h, w, c));
  dequantize(nhwc<std::uint8_t const>(plain.data(), n, h, w, c), p, nhwc(real.data(), n, h, w, c));
  auto const wanted = requantize(nhwc<std::uint8_t const>(plain.data(), n, h, w, c), p, q, nhwc(expected.data(), n, h, w, c));
  auto const fewer = requantize(view(expected), q, narrow, view(few));
  support::for_each_native_isa([&](isa) {
    std::vector<std::uint8_t> memory(static_cast<std::size_t>(packed_bytes<u4>(size)), 0xff), halves(memory.size(), 0xff);
    packed_view<u4> const packed{memory.data(), size};
    CHECK(quantize(src, p, packed) == want);
    for (index_t i = 0; i < size; ++i) REQUIRE(packed.get(i) == plain[static_cast<std::size_t>(i)]);
    dequantize(packed, p, nhwc(back.data(), n, h, w, c));
    CHECK(back == real);
    CHECK(requantize(packed, p, q, nhwc(wide.data(), n, h, w, c)) == wanted);
    CHECK(wide == expected);
    packed_view<s4> const small{halves.data(), size};
    CHECK(requantize(view(expected), q, narrow, small) == fewer);
    for (index_t i = 0; i < size; ++i) REQUIRE(small.get(i) == few[static_cast<std::size_t>(i)]);
    using rows = asymmetric<u4, per_row>;
    std::vector<std::uint8_t> codes(x.size());
    auto const a = dynamic_quantize<rows>(row_major<float const>(x.data(), 12, 21), row_major(codes.data(), 12, 21));
    auto const b = dynamic_quantize<rows>(row_major<float const>(x.data(), 12, 21), packed);
    CHECK(a.counts == b.counts);
    CHECK(same_bits(std::vector<float>(a.quantized_with.scales.begin(), a.quantized_with.scales.end()),
                    std::vector<float>(b.quantized_with.scales.begin(), b.quantized_with.scales.end())));
    for (index_t i = 0; i < size; ++i) REQUIRE(packed.get(i) == codes[static_cast<std::size_t>(i)]);
  });
#if QUERN_EXCEPTIONS
  std::vector<std::uint8_t> memory(static_cast<std::size_t>(packed_bytes<u4>(size)), 7);
  auto const before = memory;
  packed_view<u4> const packed{memory.data(), size};
  CHECK_THROWS_AS(requantize(view(expected), q, params<asymmetric<u4>>{.scale = 0.0f}, packed), error);
  CHECK_THROWS_AS(requantize<rescale::power_of_two<>>(view(expected), q, params<asymmetric<u4>>{.scale = 0.3f}, packed), error);
  CHECK_THROWS_AS(requantize(view(expected), q, params<asymmetric<u4>>{.scale = 0.3f}, packed_view<u4>{memory.data(), size - 1}), error);
  CHECK_THROWS_AS(dynamic_quantize<asymmetric<u4>>(view(x), packed_view<u4>{memory.data(), size - 1}), error);
  CHECK(memory == before);
#endif
}

TEST_CASE("packed codes: too little room", "[convert][errors]") {
#if QUERN_EXCEPTIONS
  std::vector<float> x(9);
  std::uint8_t memory[4] = {};
  CHECK_THROWS_AS(quantize(view(x), params<symmetric<s4>>{.scale = 1.0f}, packed_view<s4>{memory, 8}), error);
#endif
}

TEST_CASE("NHWC and NCHW tensors use the scale of their channel", "[convert]") {
  std::mt19937 random(37);
  index_t const n = 2, h = 3, w = 5, c = 7;
  std::vector<float> x(static_cast<std::size_t>(n * h * w * c));
  for (float& v : x) v = static_cast<float>(static_cast<int>(random() % 2000) - 1000) * 0.01f;
  auto const p = any_params<symmetric<s8, per_channel<3>>>(random, c);
  support::for_each_native_isa([&](isa) {
    std::vector<std::int8_t> a(x.size()), b(x.size());
    auto const src = nhwc<float const>(x.data(), n, h, w, c);
    auto const flat = nhwc(a.data(), n, h, w, c);
    auto const planes = nchw(b.data(), n, c, h, w);
    quantize(src, p, flat);
    quantize(src, p, planes);
    for (index_t i = 0; i < n; ++i)
      for (index_t y = 0; y < h; ++y)
        for (index_t z = 0; z < w; ++z)
          for (index_t k = 0; k < c; ++k) {
            reference::counts seen;
            auto const expected = reference::quantize_one<symmetric<s8>>(src(i, y, z, k), p.scales[k], 0, reference::form::divide, seen);
            REQUIRE(flat(i, y, z, k) == expected);
            REQUIRE(planes(i, y, z, k) == expected);
          }
  });
}
