// What a product must leave alone: memory behind its operands, MXCSR, another library's tiles; threads; which kernels ran.
#include <quern/dispatch/thread_pool.hpp>

#include "problem.hpp"
#include "support/guarded.hpp"

#include <set>
#include <thread>

using namespace gemm_test;

namespace {

template <class T>
struct guarded_copy : support::guarded<T> {
  explicit guarded_copy(std::vector<T> const& from) : support::guarded<T>(static_cast<index_t>(from.size())) {
    for (std::size_t i = 0; i < from.size(); ++i) (*this)[static_cast<index_t>(i)] = from[i];
  }
};

}  // namespace

TEST_CASE("no kernel touches memory behind lhs, rhs, dst, bias, scales or residual", "[gemm][guard]") {
  for (index_t m : {1, 4, 17, 33})
    for (index_t n : {1, 16, 33})
      for (index_t k : {1, 37, 64, 130}) {
        problem<std::int8_t, std::int8_t> const p(m, n, k, fill::full, fill::full, 1, true, static_cast<std::uint64_t>(m * n * k));
        std::vector<float> const scales(static_cast<std::size_t>(n), 0.01f);
        std::vector<std::int8_t> const other(static_cast<std::size_t>(m * n), 3);
        guarded_copy<std::int8_t> const lhs(p.lhs), rhs(p.rhs), from(other);
        guarded_copy<std::int32_t> const bias(p.bias);
        guarded_copy<float> const cols(scales);
        support::guarded<std::int8_t> const narrow(m * n);
        support::guarded<std::int32_t> const wide(m * n);
        auto const packed = pack(row_major(rhs.data(), k, n));
        using r = residual<std::int8_t, to_real>;
        epilogue<to_real, r> const e{.lhs_zero_point = 3,
                                     .bias = {bias.data(), n, 1},
                                     .rescale = {.cols = vector_view<float const>{cols.data(), n, 1}},
                                     .residual = {.from = row_major(from.data(), m, n), .rescale = 0.5f}};
        support::for_each_isa([&](isa) {
          gemm(row_major(lhs.data(), m, k), packed, row_major(narrow.data(), m, n), e);
          gemm(row_major(lhs.data(), m, k), packed, row_major(wide.data(), m, n));
        });
      }
  SUCCEED("no fault");
}

#if QUERN_X86_64
namespace {
unsigned mxcsr() {
  unsigned v = 0;
  asm volatile("stmxcsr %0" : "=m"(v));
  return v;
}
}  // namespace

TEST_CASE("MXCSR's control bits are as before, and a rounding mode of the caller's changes no int32 product", "[gemm][state]") {
  problem<std::uint8_t, std::int8_t> const p(18, 33, 70, fill::full, fill::full, 0, false, 5);
  auto const rhs = pack(p.rhs_view());
  support::for_each_isa([&](isa i) {
    INFO(name(i));
    unsigned const before = mxcsr() & ~0x3fu;
    std::vector<std::int32_t> y(p.acc.size());
    std::vector<float> z(p.acc.size());
    gemm(p.lhs_view(), rhs, row_major(y.data(), p.m, p.n));
    gemm(p.lhs_view(), rhs, row_major(z.data(), p.m, p.n), epilogue<to_real>{});
    CHECK((mxcsr() & ~0x3fu) == before);
    CHECK(difference(y, p.acc, p.n) == "");
  });
}

TEST_CASE("AMX: the tile configuration is what it was, none or another library's", "[gemm][state][amx]") {
  problem<std::uint8_t, std::int8_t> const p(40, 64, 130, fill::full, fill::full, 0, false, 6);
  auto const rhs = pack(p.rhs_view());
  emulation::scope const emulator;
  if (!supported(isa::amx_int8)) return;
  kernel::amx_int8::tile_config none{}, other{}, now{};
  none.palette = 0;
  __builtin_memset(static_cast<void*>(&none), 0, sizeof(none));
  other.rows[0] = 8;
  other.columns[3] = 32;
  auto const tiles_now = [&] { asm volatile("sttilecfg %0" : "=m"(now)); };
  auto const run = [&] {
    std::vector<std::int32_t> y(p.acc.size());
    gemm(p.lhs_view(), rhs, row_major(y.data(), p.m, p.n), {}, {.max_isa = isa::amx_int8});
    CHECK(difference(y, p.acc, p.n) == "");
  };
  tiles_now();
  CHECK(__builtin_memcmp(&now, &none, sizeof(now)) == 0);
  run();
  tiles_now();
  CHECK(__builtin_memcmp(&now, &none, sizeof(now)) == 0);
  asm volatile("ldtilecfg %0" : : "m"(other) : "memory");
  run();
  tiles_now();
  CHECK(__builtin_memcmp(&now, &other, sizeof(now)) == 0);
  asm volatile("ldtilecfg %0" : : "m"(kernel::amx_int8::config) : "memory");
  run();
  tiles_now();
  CHECK(__builtin_memcmp(&now, &kernel::amx_int8::config, sizeof(now)) == 0);
  asm volatile("tilerelease" : : : "memory");
}
#endif

TEST_CASE("every kernel of the list is chosen for some product, and the plan says why", "[gemm][plan]") {
  std::set<std::string> chosen;
  support::for_each_isa([&](isa i) {
    for (bool proven : {false, true})
      for (index_t m : {1, 64}) {
        auto const plan = gemm_plan<std::uint8_t, std::int8_t>(m, 128, 256, {.max_isa = i}, proven);
        chosen.insert(plan.kernel);
        CHECK(std::string(plan.why) != "");
        CHECK(plan.workspace > 0);
        CHECK(plan.tile_rows > 0);
        CHECK(plan.k_block > 0);
        CHECK(plan.instruction_set <= i);
      }
    auto const words = gemm_plan<std::int16_t, std::int8_t>(8, 16, 32, {.max_isa = i});
    CHECK(std::string(words.kernel).find("vnni") == std::string::npos);
  });
  for (auto const get : kernel::all_kernels) {
    INFO(get().name);
    if (supported(get().needs)) CHECK(chosen.count(get().name) == 1);
  }
  CHECK(std::string(gemm_plan(16, 64, 64, {.max_isa = isa::baseline}).kernel) == (QUERN_BASELINE == QUERN_BASELINE_SSE2 ? "sse2" : "generic"));
}

TEST_CASE("threads give the same bits as one, also on one packed object at the same time", "[gemm][threads]") {
  problem<std::uint8_t, std::int8_t> const p(150, 100, 300, fill::full, fill::full, 1, true, 8);
  auto const rhs = pack(p.rhs_view());
  epilogue<> e;
  p.fill_in(e);
  thread_pool pool(3);
  auto const once = [&](executor_ref const& run) {
    std::vector<std::int32_t> y(p.acc.size());
    gemm(p.lhs_view(), rhs, row_major(y.data(), p.m, p.n), e, {.executor = run});
    return y == p.acc;
  };
  CHECK(once(pool));
  CHECK(once([](index_t tasks, auto const& task) {  // any callable; backwards
    for (index_t i = tasks - 1; i >= 0; --i) task(i);
  }));
  bool good[2] = {true, true};
  std::thread threads[2];
  for (int t = 0; t < 2; ++t)
    threads[t] = std::thread([&, t] {
      for (int i = 0; i < 20; ++i) good[t] &= once({});
    });
  for (auto& t : threads) t.join();
  CHECK(good[0]);
  CHECK(good[1]);
  CHECK_THROWS_AS(gemm(p.lhs_view(), rhs, row_major(std::vector<std::int32_t>(p.acc.size()).data(), p.m, p.n), e,
                       {.executor = [](index_t, auto const&) { throw std::runtime_error("no threads today"); }}),
                  std::runtime_error);
  CHECK(once(pool));  // and the library is usable afterwards
}

TEST_CASE("empty products: no rows, no columns, no depth", "[gemm]") {
  std::int8_t const w[4] = {1, 2, 3, 4};
  std::uint8_t const x[4] = {1, 2, 3, 4};
  std::int32_t y[4] = {9, 9, 9, 9};
  std::int32_t const bias[2] = {5, -6};
  auto const none_deep = pack(matrix_view<std::int8_t const>{w, 0, 2, 2, 1});
  auto const no_columns = pack(matrix_view<std::int8_t const>{w, 2, 0, 0, 1});
  support::for_each_isa([&](isa) {
    gemm(matrix_view<std::uint8_t const>{x, 0, 2, 2, 1}, pack(row_major(w, 2, 2)), row_major(y, 0, 2));
    gemm(row_major(x, 2, 2), no_columns, row_major(y, 2, 0));
    CHECK(y[0] == 9);
    gemm(matrix_view<std::uint8_t const>{x, 2, 0, 0, 1}, none_deep, row_major(y, 2, 2), epilogue<>{.lhs_zero_point = 7, .bias = view(bias)});
    CHECK((y[0] == 5 && y[1] == -6 && y[2] == 5 && y[3] == -6));
    for (auto& v : y) v = 9;
  });
}
