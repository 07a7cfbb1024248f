// Every destination and every stage, on every instruction set, against the scalar definition of the stages.
#include "problem.hpp"
#include "support/quick.hpp"

using namespace gemm_test;

namespace {

/// What gemm must store, from the exact accumulators.
template <class Dst, class P, class E>
std::vector<Dst> expected(P const& p, E const& e, std::vector<Dst> dst) {
  for (index_t i = 0; i < p.m; ++i)
    for (index_t j = 0; j < p.n; ++j) {
      auto const at = static_cast<std::size_t>(i * p.n + j);
      detail::finish_one(e, p.acc[at], static_cast<float>(p.acc[at]), i, j, dst[at]);
    }
  return dst;
}

template <class Dst, class Lhs, class Rhs, class E>
void check(problem<Lhs, Rhs> const& p, E e, std::string const& what) {
  p.fill_in(e);
  auto const rhs = pack(p.rhs_view());
  std::vector<Dst> const before = [&] {
    std::vector<Dst> v(p.acc.size());
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = Dst(static_cast<float>(i % 100));
    return v;
  }();
  auto const want = expected<Dst>(p, e, before);
  support::for_each_isa([&](isa i) {
    if (QUERN_QUICK_TESTS && p.m * p.n * p.k > 60000 && support::is_emulated(i)) return;
    auto got = before;
    gemm(p.lhs_view(), rhs, row_major(got.data(), p.m, p.n), e);
    if (__builtin_memcmp(got.data(), want.data(), want.size() * sizeof(Dst)) != 0)
      FAIL(name(i) << " " << what << " " << p.m << " x " << p.n << " x " << p.k << ": " << difference(got, want, p.n));
  });
}

/// Shapes with whole and partial vectors and tiles; zeros: 0 none, 1 one each, 2 by row and column.
struct shape {
  index_t m, n, k;
  int zeros;
};
constexpr shape shapes[] = {{1, 3, 5, 0}, {5, 37, 20, 2}, {13, 50, 9, 1}};

template <class F>
void for_each_problem(F&& f) {
  std::uint64_t seed = 7;
  // s8 * u8: the pair with an offset on either side. Types meet no epilogue otherwise, and each costs a second to compile.
  for (shape s : shapes)
    f(problem<std::int8_t, std::uint8_t>(s.m, s.n, s.k, fill::extremes, fill::full, s.zeros, s.zeros != 2, ++seed));
}

std::vector<float> scales(index_t n, double around) {
  std::vector<float> v(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(around * (1 + static_cast<double>(i % 17) / 5));
  return v;
}

template <class P, class Dst>
void check_policy() {
  for_each_problem([](auto const& p) {
    std::vector<typename P::parameters> each;
    for (index_t j = 0; j < p.n; ++j) each.push_back(P::from_real(std::is_same_v<P, rescale::power_of_two<>> ? 1.0 / (512 << j % 5) : 0.0009 * (1 + static_cast<double>(j % 13) / 3)));
    epilogue<P> e{.rescale = view(each), .dst_zero_point = 3, .max = 100};
    check<Dst>(p, e, P::name);
    epilogue<P> const one{.rescale = P::from_real(0.25)};
    check<Dst>(p, one, P::name);
  });
}

/// 8-bit codes of tiles without rare stages, which may be rounded in half steps (simd/rescale.inl): accumulators at half steps and
/// beside them, at the ends of int32 and anywhere; scales small, large and mixed; with and without what AMX has yet to add.
template <class P, class Dst>
void check_codes() {
  constexpr index_t m = 13, n = 112;
  using E = epilogue<P>;
  random_bits random(99);
  auto const below = [&](std::uint64_t limit) { return static_cast<std::int64_t>(random() % limit); };
  for (int round = 0; round < 6; ++round) {
    std::vector<double> scales(n, 0.0);
    std::vector<typename P::parameters> each;
    for (double& s : scales) {
      auto const index = static_cast<std::size_t>(&s - scales.data());
      // By pairs of vectors: below a quarter, around it, up to 64, down to 2^-32; then each by itself.
      int const most = round == 5 ? static_cast<int>(index / 32) : round, exponent = most == 0 ? -3 - static_cast<int>(below(14)) : most == 1 ? static_cast<int>(below(3)) - 3 : most == 2 ? static_cast<int>(below(9)) - 3 : -3 - static_cast<int>(below(29));
      bool const whole = std::is_same_v<P, rescale::power_of_two<>> || below(4) == 0;
      s = (whole ? 1.0 : 1.0 + static_cast<double>(below(1 << 20)) / (1 << 20)) * (exponent < 0 ? 1.0 / static_cast<double>(std::int64_t{1} << -exponent) : static_cast<double>(1 << exponent));
      if (!P::accepts(s)) s = 0.5;
      each.push_back(P::from_real(s));
    }
    std::vector<std::int32_t> acc(m * n), init(n);
    for (index_t i = 0; i < m * n; ++i) {
      std::int64_t x = static_cast<std::int32_t>(random());
      std::int64_t const ends[] = {-2147483648ll, -2147483647ll, 2147483647ll, 2147483646ll, 1 << 30, -(1 << 30), -1, 0};
      double const steps = static_cast<double>(below(2000) - 1000) / 2 / scales[static_cast<std::size_t>(i % n)];
      if (below(8) == 0) x = ends[below(8)];
      else if (steps < 2e9 && steps > -2e9) x = static_cast<std::int64_t>(steps) + below(3) - 1;
      acc[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(x);
    }
    for (auto& x : init) x = static_cast<std::int32_t>(below(2000)) - 1000;
    E const e{.dst_zero_point = std::is_signed_v<Dst> ? -5 : 117, .min = round % 2 == 0 ? -1e9 : -100.0, .max = round % 2 == 0 ? 1e9 : 101.0};
    auto const limits = detail::integer_limits<Dst>::of(e.min, e.max);
    for (bool const amx : {false, true})
      support::for_each_isa([&](isa i) {
        if (amx && i < isa::avx512bw) return;
        for (index_t const cols : {112, 37, 16})
          for (index_t const rows : {13, 1, 2}) {
            std::vector<Dst> got(m * n, Dst{77});
            detail::finish_context<Dst, E> context{&e, row_major(got.data(), m, n), {}, limits.min, limits.max};
            auto const body = detail::vector_body<Dst, E>(i, n);
            buffer<unsigned char> rescalers(body.bytes);
            body.prepare(each.data(), n, n, rescalers.data());
            context.columns.rescalers = rescalers.data();
            detail::tile_result const t{.acc = acc.data(), .ld = n, .init = amx ? init.data() : nullptr, .row = 0, .col = 0, .rows = rows, .cols = cols, .sums = nullptr, .lhs_offset = 0};
            body.finish(&context, t, nullptr, 0);
            for (index_t r = 0; r < m; ++r)
              for (index_t c = 0; c < n; ++c) {
                auto const at = static_cast<std::size_t>(r * n + c);
                std::int32_t const x = wrap32(std::int64_t{acc[at]} + (amx ? init[static_cast<std::size_t>(c)] : 0));
                Dst const want = r < rows && c < cols ? detail::finish_integer<Dst>(P::apply(x, each[static_cast<std::size_t>(c)]), e.dst_zero_point, limits.min, limits.max) : Dst{77};
                if (got[at] != want)
                  FAIL(name(i) << " " << P::name << ", round " << round << ", row " << r << ", column " << c << ": " << x << " times " << scales[static_cast<std::size_t>(c)] << " gave "
                               << int{got[at]} << ", not " << int{want});
              }
          }
      });
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("every rescale policy is exact in every epilogue body", "[epilogue]", support::rescales) {
  check_policy<TestType, std::int8_t>();
  check_codes<TestType, std::int8_t>();
}

TEST_CASE("a policy's result reaches every integer destination", "[epilogue]") {
  check_policy<rescale::gemmlowp_double, std::uint8_t>();
  check_codes<rescale::gemmlowp_double, std::uint8_t>();
  check_policy<rescale::tflite_single, std::int16_t>();
  check_policy<rescale::tflite_single, std::int32_t>();
  for_each_problem([](auto const& p) {
    epilogue<> const none{.dst_zero_point = -7, .min = -100, .max = 99.5};
    check<std::int8_t>(p, none, "no rescale");
    check<std::int32_t>(p, none, "clamped int32");
    epilogue<> const add{.accumulate = true};
    check<std::int32_t>(p, add, "accumulate");
  });
}

TEST_CASE("to_real: scales by column and by row, bias, clamp, to every destination", "[epilogue]") {
  for_each_problem([](auto const& p) {
    auto const cols = scales(p.n, 0.003), rows = scales(p.m, 1.5);
    std::vector<float> bias = scales(p.n, -4);
    epilogue<to_real> const e{.rescale = {.cols = view(cols), .bias = view(bias)}, .dst_zero_point = 11, .min = 5};
    check<std::int8_t>(p, e, "s8");
    check<std::uint8_t>(p, e, "u8");
    epilogue<to_real> const by_row{.rescale = {.cols = view(cols), .rows = view(rows), .bias = view(bias)}};
    check<float>(p, by_row, "f32 by row");
    check<bfloat16>(p, by_row, "bf16 by row");
    check<std::int16_t>(p, by_row, "s16 by row");
    check<std::int32_t>(p, by_row, "s32 by row");
    epilogue<to_real> const relu{.rescale = {.cols = 1e30f}, .min = 0, .max = 6.5};
    check<float>(p, relu, "relu6");
    epilogue<to_real> const huge{.rescale = {.cols = 3e38f, .rows = 1e30f}, .dst_zero_point = -100};
    check<std::int8_t>(p, huge, "infinite");
  });
}

namespace {

/// Symmetric weights, which tiles can finish in registers: whole and partial tiles, panels and blocks of k, read in place and copied.
template <class Lhs, class Dst>
void check_common() {
  struct size {
    index_t m, n, k;
  };
  for (size s : {size{1, 48, 64}, {2, 70, 37}, {4, 32, 96}, {5, 100, 32}, {6, 16, 1100}, {13, 64, 64}, {27, 112, 33}, {41, 37, 160}}) {
    auto const seed = static_cast<std::uint64_t>(s.m * 1000 + s.n);
    problem<Lhs, std::int8_t> const p(s.m, s.n, s.k, fill::full, s.m % 2 == 0 ? fill::full : fill::small, s.m % 3 == 0 ? 3 : 0, s.m % 2 != 0, seed);
    int const zero = std::is_signed_v<Dst> ? -3 : 131;
    auto const cols = scales(s.n, 0.002);
    check<Dst>(p, epilogue<to_real>{.rescale = {.cols = view(cols)}, .dst_zero_point = zero}, "scales below one");
    check<Dst>(p, epilogue<to_real>{.rescale = {.cols = view(cols), .rows = 0.7f}, .dst_zero_point = zero, .min = zero, .max = zero + 90}, "clamped");
    if (s.m % 2 != 0) continue;
    check<Dst>(p, epilogue<to_real>{.rescale = {.cols = 0.5f}, .dst_zero_point = zero}, "ties");
    auto const large = scales(s.n, 0.4), infinite = scales(s.n, 1e37);
    check<Dst>(p, epilogue<to_real>{.rescale = {.cols = view(large)}, .dst_zero_point = code_of_t<Dst>::min}, "scales above one");
    check<Dst>(p, epilogue<to_real>{.rescale = {.cols = view(infinite), .rows = 1e5f}, .dst_zero_point = code_of_t<Dst>::max, .max = code_of_t<Dst>::max - 1}, "infinite scales");
  }
}

}  // namespace

TEST_CASE("to_real without any other stage: tiles finish in registers", "[epilogue]") {
  check_common<std::uint8_t, std::int8_t>();
  check_common<std::uint8_t, std::uint8_t>();
  check_common<std::int8_t, std::int8_t>();
}

TEST_CASE("a NaN from a functor becomes min in every body", "[epilogue]") {
  for_each_problem([](auto const& p) {
    auto const nan = [](float x, index_t i, index_t j) { return (i + j) % 3 == 0 ? __builtin_nanf("") : x; };
    epilogue<to_real, no_residual, decltype(nan)> const e{.rescale = {.cols = 0.01f}, .then = nan, .dst_zero_point = 9, .min = -20};
    check<std::int8_t>(p, e, "NaN");
    check<float>(p, e, "NaN");
  });
}

TEST_CASE("residuals and functors run in their order", "[epilogue]") {
  for_each_problem([](auto const& p) {
    auto const other = codes<std::int8_t>(p.m * p.n, fill::full, 99);
    auto const from = row_major(other.data(), p.m, p.n);
    using real = residual<std::int8_t, to_real>;
    check<std::int8_t>(p, epilogue<to_real, real>{.rescale = {.cols = 0.004f}, .residual = {.from = from, .zero_point = 4, .rescale = 0.7f}}, "residual");
    using fixed = residual<std::int8_t, rescale::gemmlowp_double>;
    auto const twice = [](std::int32_t x, index_t, index_t j) { return j % 2 == 0 ? x : -x; };
    epilogue<rescale::gemmlowp_double, fixed, decltype(twice)> const e{
        .rescale = rescale::gemmlowp_double::from_real(0.002),
        .residual = {.from = from, .zero_point = -9, .rescale = rescale::gemmlowp_double::from_real(1.25)},
        .then = twice,
        .dst_zero_point = 1};
    check<std::int8_t>(p, e, "fixed-point residual and functor");
    check<std::uint8_t>(p, e, "fixed-point residual and functor");
    // A value that saturated must not wrap when the residual comes on top.
    epilogue<rescale::tflite_single, residual<std::int8_t, rescale::tflite_single>> const edge{
        .rescale = rescale::tflite_single::from_real(8e4), .residual = {.from = from, .rescale = rescale::tflite_single::from_real(3e7)}};
    check<std::int16_t>(p, edge, "saturated residual");
  });
}

TEST_CASE("destinations with gaps and residuals with gaps", "[epilogue]") {
  problem<std::uint8_t, std::int8_t> const p(7, 19, 30, fill::full, fill::full, 1, true, 5);
  auto const rhs = pack(p.rhs_view());
  epilogue<to_real> e{.rescale = {.cols = 0.01f}};
  p.fill_in(e);
  auto const want = expected<std::int8_t>(p, e, std::vector<std::int8_t>(p.acc.size()));
  support::for_each_isa([&](isa i) {
    INFO(name(i));
    std::vector<std::int8_t> wide(7 * 60, 77);
    gemm(p.lhs_view(), rhs, matrix_view<std::int8_t>{wide.data(), 7, 19, 60, 3}, e);
    bool same = true;
    for (index_t r = 0; r < 7; ++r)
      for (index_t c = 0; c < 60; ++c) {
        std::int8_t const x = wide[static_cast<std::size_t>(r * 60 + c)];
        same &= c % 3 == 0 && c / 3 < 19 ? x == want[static_cast<std::size_t>(r * 19 + c / 3)] : x == 77;
      }
    CHECK(same);
    std::vector<std::int8_t> columns(7 * 19);
    gemm(p.lhs_view(), rhs, col_major(columns.data(), 7, 19), e);
    same = true;
    for (index_t r = 0; r < 7; ++r)
      for (index_t c = 0; c < 19; ++c) same &= columns[static_cast<std::size_t>(c * 7 + r)] == want[static_cast<std::size_t>(r * 19 + c)];
    CHECK(same);
  });
}
