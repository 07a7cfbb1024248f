// The words of every instruction set mean what simd/vocabulary.md says; rescaler<P> is P::apply. baseline_*.cpp include this file
// for the baselines that this machine's default is not, and then look at the baseline alone.
#include "support/catch.hpp"
#include "support/isas.hpp"

#include <quern/simd/rescale.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace quern;

// One body, once an instruction set, as the vocabulary is meant to be used: arrays in, arrays out.
#define QUERN_TEST_BODY                                                                                                  \
  template <class Mode>                                                                                                  \
  void integral(float const* x, float* r, double const* y, double* s, index_t n) {                                       \
    for (index_t i = 0; i < n; i += lanes) {                                                                             \
      store(r + i, to_integral(load(x + i), Mode{}));                                                                    \
      store(s + i, to_integral(load(y + i), Mode{}));                                                                    \
    }                                                                                                                    \
  }                                                                                                                      \
  template <class P>                                                                                                     \
  void rescale_all(std::int32_t const* x, std::int32_t* y, index_t n, typename P::parameters const* p, bool each) {      \
    rescaler<P> const one(p[0]);                                                                                         \
    for (index_t i = 0; i < n; i += lanes) {                                                                             \
      if (each)                                                                                                          \
        store(y + i, rescaler<P>(p + i, lanes)(load(x + i)));                                                            \
      else                                                                                                               \
        store(y + i, one(load(x + i)));                                                                                  \
    }                                                                                                                    \
  }                                                                                                                      \
  inline int lane_count() { return lanes; }                                                                              \
  inline void product_then_sum(float const* a, float const* b, float const* c, float* r, index_t n) {                    \
    for (index_t i = 0; i < n; i += lanes) store(r + i, add(mul(load(a + i), load(b + i)), load(c + i)));                \
  }                                                                                                                      \
  inline void min_then_max(float const* a, float const* b, float* lo, float* hi, index_t n) {                            \
    for (index_t i = 0; i < n; i += lanes) {                                                                             \
      store(lo + i, min(load(a + i), load(b + i)));                                                                      \
      store(hi + i, max(load(a + i), load(b + i)));                                                                      \
    }                                                                                                                    \
  }                                                                                                                      \
  template <class Code>                                                                                                  \
  void narrow(std::int32_t const* x, Code* r, index_t count) {                                                           \
    store_first(r, load(x), count);                                                                                      \
  }                                                                                                                      \
  template <class Real>                                                                                                  \
  void real_there_and_back(float const* x, Real* r, float* back) {                                                       \
    store(r, load(x));                                                                                                   \
    store(back, load(static_cast<Real const*>(r)));                                                                      \
  }                                                                                                                      \
  inline void convert_to_int(float const* x, std::int32_t* r) { store(r, to_i32(load(x))); }                             \
  inline float smallest(float const* x) { return reduce_min(load(x)); }                                                  \
  inline std::int32_t sum(std::int32_t const* x) { return reduce_add(load(x)); }

namespace quern {
inline namespace QUERN_ABI {
namespace baseline {
QUERN_TEST_BODY
}
}  // inline namespace QUERN_ABI
}  // namespace quern
#if QUERN_X86_64 && !defined(QUERN_TEST_BASELINE_ONLY)
QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
inline namespace QUERN_ABI {
namespace sse41 {
QUERN_TEST_BODY
}
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {
QUERN_TEST_BODY
}
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512bw {
QUERN_TEST_BODY
}
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
#define QUERN_TEST_CALL(which, call)                       \
  do {                                                     \
    if ((which) >= isa::avx512bw) {                        \
      using namespace quern::avx512bw;                     \
      call;                                                \
    } else if ((which) >= isa::avx2) {                     \
      using namespace quern::avx2;                         \
      call;                                                \
    } else if ((which) == isa::sse41) {                    \
      using namespace quern::sse41;                        \
      call;                                                \
    } else {                                               \
      using namespace quern::baseline;                     \
      call;                                                \
    }                                                      \
  } while (false)
#else
#define QUERN_TEST_CALL(which, call)  \
  do {                                \
    using namespace quern::baseline;  \
    (void)(which);                    \
    call;                             \
  } while (false)
#endif

#ifndef QUERN_TEST_BASELINE_ONLY
#define QUERN_TEST_BASELINE_ONLY ""
#endif

namespace {

template <class F>
void for_each_vocabulary(F&& f) {
  if (QUERN_TEST_BASELINE_ONLY[0] != '\0')
    f(isa::baseline);
  else
    support::for_each_native_isa(f);
}

std::vector<float> interesting() {
  std::mt19937 random(1);
  std::vector<float> x{0.0f,   -0.0f,  0.5f,     -0.5f,     1.5f,   -1.5f, 2.5f,  -2.5f,       0.49999997f,
                       -0.49999997f, 8388607.5f, -8388607.5f, 8388609.0f, 4194304.5f, 1e30f, -1e30f, 1e-45f, -1e-45f,
                       std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                       std::numeric_limits<float>::quiet_NaN()};
  while (x.size() < 4096) {
    auto const word = static_cast<std::uint32_t>(random());
    x.push_back(random() % 2 == 0 ? bits_of<float>(word) : static_cast<float>(static_cast<int>(word % 2001) - 1000) * 0.25f);
  }
  return x;
}

/// The same value; which zero does not matter, nor which NaN.
template <class T>
bool same(T a, T b) {
  return a == b || (a != a && b != b);
}

}  // namespace

TEST_CASE(QUERN_TEST_BASELINE_ONLY "simd: to_integral is Mode::to_integral, of floats and doubles", "[simd][round][every]") {
  auto const x = interesting();
  std::vector<double> y(x.begin(), x.end());
  for (std::size_t i = 0; i < y.size(); i += 3) y[i] *= 1.0 + 0x1p-40;
  auto const n = static_cast<index_t>(x.size());
  std::vector<float> r(x.size());
  std::vector<double> s(y.size());
  for_each_vocabulary([&](isa which) {
    for_each_type<rounding_modes>([&](auto tag) {
      using mode = typename decltype(tag)::type;
      QUERN_TEST_CALL(which, integral<mode>(x.data(), r.data(), y.data(), s.data(), n));
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (same(r[i], mode::to_integral(x[i])) && same(s[i], mode::to_integral(y[i]))) continue;
        CAPTURE(name(which), mode::name, x[i], y[i], r[i], s[i]);
        REQUIRE(same(r[i], mode::to_integral(x[i])));
        REQUIRE(same(s[i], mode::to_integral(y[i])));
      }
    });
  });
}

TEST_CASE(QUERN_TEST_BASELINE_ONLY "simd: a product is rounded before it is added, min and max return the second operand for NaN", "[simd]") {
  auto const a = interesting();
  auto b = a, c = a;
  std::rotate(b.begin(), b.begin() + 7, b.end());
  std::rotate(c.begin(), c.begin() + 1000, c.end());
  auto const n = static_cast<index_t>(a.size());
  std::vector<float> r(a.size()), lo(a.size()), hi(a.size());
  for_each_vocabulary([&](isa which) {
    QUERN_TEST_CALL(which, product_then_sum(a.data(), b.data(), c.data(), r.data(), n));
    QUERN_TEST_CALL(which, min_then_max(a.data(), b.data(), lo.data(), hi.data(), n));
    for (std::size_t i = 0; i < a.size(); ++i) {
      bool const all = same(r[i], rounded(a[i] * b[i]) + c[i]) && same(lo[i], a[i] < b[i] ? a[i] : b[i]) &&
                       same(hi[i], b[i] < a[i] ? a[i] : b[i]);
      if (all) continue;
      CAPTURE(name(which), a[i], b[i], c[i], r[i], lo[i], hi[i]);
      REQUIRE(all);
    }
  });
}

TEST_CASE(QUERN_TEST_BASELINE_ONLY "simd: stores saturate, and touch only the first lanes", "[simd]") {
  std::int32_t const x[16] = {-2147483647 - 1, 2147483647, -129, -128, 127, 128, 255, 256, -1, 0, 32767, 32768, -32769, 65535, 65536, 5};
  for_each_vocabulary([&](isa which) {
    int count = 0;
    QUERN_TEST_CALL(which, count = lane_count());
    for (int first = 0; first < 16; first += count)
      for (int n = 0; n <= count; ++n) {
        auto const check = [&](auto code) {
          using code_type = decltype(code);
          code_type r[16];
          for (code_type& e : r) e = 77;
          QUERN_TEST_CALL(which, narrow(x + first, r, n));
          for (int i = 0; i < count; ++i) REQUIRE(r[i] == (i < n ? saturate<code_type>(x[first + i]) : code_type{77}));
        };
        check(std::int8_t{});
        check(std::uint8_t{});
        check(std::int16_t{});
        check(std::uint16_t{});
        check(std::int32_t{});
      }
  });
}

TEST_CASE(QUERN_TEST_BASELINE_ONLY "simd: half and bfloat16 convert as core/reals.hpp does; what int32 cannot hold becomes INT_MIN", "[simd]") {
  auto const x = interesting();
  for_each_vocabulary([&](isa which) {
    int count = 0;
    QUERN_TEST_CALL(which, count = lane_count());
    for (std::size_t i = 0; i + 16 <= x.size(); i += static_cast<std::size_t>(count)) {
      half h[16];
      bfloat16 b[16];
      float from_half[16], from_bfloat16[16];
      std::int32_t whole[16];
      QUERN_TEST_CALL(which, real_there_and_back(x.data() + i, h, from_half));
      QUERN_TEST_CALL(which, real_there_and_back(x.data() + i, b, from_bfloat16));
      QUERN_TEST_CALL(which, convert_to_int(x.data() + i, whole));
      for (int k = 0; k < count; ++k) {
        float const v = x[i + static_cast<std::size_t>(k)], even = round_to::half_even::to_integral(v);
        bool const fits = even >= -2147483648.0f && even < 2147483648.0f;
        bool const all = h[k].bits == half(v).bits && b[k].bits == bfloat16(v).bits && same<float>(from_half[k], half(v)) &&
                         same<float>(from_bfloat16[k], bfloat16(v)) &&
                         whole[k] == (fits ? static_cast<std::int32_t>(even) : -2147483647 - 1);
        if (all) continue;
        CAPTURE(name(which), v, h[k].bits, b[k].bits, whole[k]);
        REQUIRE(all);
      }
    }
  });
}

TEST_CASE(QUERN_TEST_BASELINE_ONLY "simd: reductions", "[simd]") {
  float const x[16] = {3, -4, 5, 6, 7, -8, 9, 10, 11, 12, 13, 14, 15, 16, -17, 18};
  std::int32_t const y[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 2147483647};
  for_each_vocabulary([&](isa which) {
    int count = 0;
    float least = 0;
    std::int32_t all = 0;
    QUERN_TEST_CALL(which, count = lane_count());
    QUERN_TEST_CALL(which, least = smallest(x));
    QUERN_TEST_CALL(which, all = sum(y));
    CHECK(least == (count == 4 ? -4.0f : count == 8 ? -8.0f : -17.0f));
    std::uint32_t expected = 0;
    for (int i = 0; i < count; ++i) expected += static_cast<std::uint32_t>(y[i]);
    CHECK(static_cast<std::uint32_t>(all) == expected);
  });
}

namespace {

/// Every arithmetic, and shifts in every rounding mode.
template <class... P, class... Mode>
auto all_rescales(type_list<P...>, type_list<Mode...>) {
  return type_list<P..., rescale::power_of_two<Mode>..., rescale::double_multiply<round_to::half_even>,
                   rescale::float_multiply<round_to::half_away>>{};
}

/// Accumulators for one scale: the ends of int32, small ones, random ones of every length, and those whose product is a tie or
/// beside one, or beside where int32 ends.
std::int32_t accumulator(std::mt19937& random, double scale) {
  constexpr std::int32_t least = -2147483647 - 1, most = 2147483647;
  auto const near = [&](double x) {
    double const v = x / scale + static_cast<double>(random() % 5) - 2;
    return v > -2147483648.0 && v < 2147483647.0 ? static_cast<std::int32_t>(v) : static_cast<std::int32_t>(random());
  };
  switch (random() % 8) {
    case 0: return least + static_cast<std::int32_t>(random() % 3);
    case 1: return most - static_cast<std::int32_t>(random() % 3);
    case 2: return static_cast<std::int32_t>(random() % 9) - 4;
    case 3: return near(static_cast<double>(static_cast<int>(random() % 513) - 256) + 0.5);
    case 4: return near(static_cast<double>(static_cast<std::int32_t>(random()) >> (random() % 24)) + 0.5);
    case 5: return near(random() % 2 == 0 ? 2147483647.5 : -2147483648.5);
    default: return static_cast<std::int32_t>(random()) >> (random() % 31);
  }
}

}  // namespace

TEST_CASE(QUERN_TEST_BASELINE_ONLY "simd: rescaler<P> is P::apply, one scale for all lanes and one for each", "[simd][rescale][every]") {
  std::mt19937 random(2);
  for_each_type<decltype(all_rescales(rescales{}, rounding_modes{}))>([&](auto tag) {
    using policy = typename decltype(tag)::type;
    // Every exponent that a policy takes, as a power of two and as a number of 22 to 52 random bits.
    std::vector<double> scales;
    for (int e = -70; e <= 64; ++e)
      for (int bits : {0, 22, 22, 52}) {
        double const f = 1.0 + static_cast<double>((std::uint64_t{random()} << 32 | random()) >> 12 >> (52 - bits)) * std::ldexp(1.0, -bits);
        if (policy::accepts(std::ldexp(f, e))) scales.push_back(std::ldexp(f, e));
      }
    REQUIRE(scales.size() > 20);
    for (std::size_t round = 0; round < 20 * scales.size(); ++round) {
      std::int32_t x[64], y[64];
      typename policy::parameters p[64];
      for (std::size_t i = 0; i < 64; ++i) {
        double const scale = scales[i == 0 ? round / 20 : random() % scales.size()];
        p[i] = policy::from_real(scale);
        x[i] = accumulator(random, round % 2 == 0 ? scales[round / 20] : scale);
      }
      for_each_vocabulary([&](isa which) {
        for (bool each : {false, true}) {
          QUERN_TEST_CALL(which, rescale_all<policy>(x, y, 64, p, each));
          for (int i = 0; i < 64; ++i) {
            std::int32_t const expected = policy::apply(x[i], p[each ? i : 0]);
            if (y[i] == expected) continue;
            CAPTURE(name(which), policy::name, x[i], each, round, i);
            REQUIRE(y[i] == expected);
          }
        }
      });
    }
  });
}
