// Sums and products of every convention: all pairs of 8-bit codes, on every instruction set.
#include "support/catch.hpp"
#include "support/isas.hpp"

#include <quern/ops/convention.hpp>

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
  std::int32_t const zero = code_of_t<T>::min + static_cast<std::int32_t>(random() % 256);
  return {static_cast<float>(scale), random() % 4 == 0 ? 0 : zero};
}

template <class C, class T>
void compare(std::mt19937& random) {
  using code = code_of_t<T>;
  std::vector<T> a(65536 + 5), b(a.size()), y(a.size()), sum(a.size()), product(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<T>(i / 256), b[i] = static_cast<T>(i);
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

}  // namespace

TEST_CASE("sums and products of all pairs of codes equal the convention's elements on every instruction set", "[convention][elementwise]") {
  std::mt19937 random(4);
  for_each_type<conventions>([&](auto tag) {
    using c = typename decltype(tag)::type;
    // Those of fixed_point have tests of their own.
    if constexpr (!detail::is_fixed_point<decltype(c::template add<s8>({}, {}, {}))>) {
      compare<c, std::int8_t>(random);
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
