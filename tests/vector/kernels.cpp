// Every vector kernel returns the integers of the definition, for every size, sign and instruction set, and reads nothing else.
#include "support/catch.hpp"
#include "support/isas.hpp"

#include <quern/ops/vector.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <vector>

using namespace quern;

namespace {

/// `bytes` bytes that end where a page begins that nobody may touch, or start where one ends.
class guarded {
 public:
  explicit guarded(std::size_t bytes) : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))), inner_((bytes + page_ - 1) / page_ * page_) {
    whole_ = static_cast<std::uint8_t*>(mmap(nullptr, inner_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(whole_ != MAP_FAILED);
    if (inner_ > 0) REQUIRE(mprotect(whole_ + page_, inner_, PROT_READ | PROT_WRITE) == 0);
  }
  guarded(guarded const&) = delete;
  ~guarded() { munmap(whole_, inner_ + 2 * page_); }
  std::uint8_t* ending(std::size_t bytes) const { return whole_ + page_ + inner_ - bytes; }
  std::uint8_t* beginning() const { return whole_ + page_; }

 private:
  std::size_t page_, inner_;
  std::uint8_t* whole_;
};

/// The extremes of both types more often than not: -128 (128), -1 (255), 127, 0.
std::vector<std::uint8_t> hostile(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  constexpr std::uint8_t extremes[] = {128, 255, 127, 0};
  std::vector<std::uint8_t> bytes(size);
  for (auto& b : bytes) b = (random() & 1u) ? extremes[random() & 3u] : static_cast<std::uint8_t>(random());
  return bytes;
}

template <bool Signed>
std::int64_t value(std::uint8_t x) {
  return Signed ? static_cast<std::int64_t>(static_cast<std::int8_t>(x)) : static_cast<std::int64_t>(x);
}

template <detail::vector_op Op, bool Q, bool C>
std::int64_t definition(std::uint8_t const* a, std::uint8_t const* b, index_t n) {
  std::int64_t sum = 0;
  for (index_t i = 0; i < n; ++i) {
    std::int64_t const x = value<Q>(a[i]), y = value<C>(b[i]);
    sum += Op == detail::vector_op::dot ? x * y : (x - y) * (x - y);
  }
  return sum;
}

constexpr int most_queries = 4;

/// Pair, rows, tile, sum of one size; operands as they are given, so that they may lie against a guard page.
template <detail::vector_op Op, bool Q, bool C>
void compare(detail::vector_kernels const& k, std::uint8_t const* a, std::uint8_t const* b, index_t n) {
  CAPTURE(name(k.target), n, Q, C);
  REQUIRE(k.queries <= most_queries);
  REQUIRE(k.pair(a, b, n) == definition<Op, Q, C>(a, b, n));
  std::int32_t corrections[most_queries], out[most_queries * 8];
  std::int64_t sum = 0;
  for (index_t i = 0; i < n; ++i) sum += value<Q>(a[i]);
  REQUIRE(k.sum(a, n) == sum);
  for (int i = 0; i < k.queries; ++i) corrections[i] = k.correct(a + i * n, n);
  k.rows(a, b, n, n, corrections[0], out);
  for (int r = 0; r < detail::vector_rows; ++r) REQUIRE(out[r] == definition<Op, Q, C>(a, b + r * n, n));
  k.tile(a, n, b, n, n, corrections, out, 8);
  for (int i = 0; i < k.queries; ++i)
    for (int r = 0; r < detail::vector_rows; ++r) REQUIRE(out[i * 8 + r] == definition<Op, Q, C>(a + i * n, b + r * n, n));
}

template <detail::vector_op Op, bool Q, bool C>
void every_size() {
  support::for_each_isa([](isa i) {
    auto const k = detail::choose_vector_kernels<Op, Q, C>(i);
    bool const emulated = k.target == isa::avx_vnni && !support::detail::in(detail::detect_isas(isa::best), isa::avx_vnni);
    for (index_t n = 0; n <= 300; n += emulated && n > 70 ? 23 : 1) {
      std::size_t const bytes = static_cast<std::size_t>(n) * most_queries;
      auto const a = hostile(bytes, static_cast<unsigned>(n)), b = hostile(bytes, static_cast<unsigned>(n) + 1000);
      compare<Op, Q, C>(k, a.data(), b.data(), n);
    }
  });
}

}  // namespace

TEST_CASE("vector: u8·u8 kernels equal the definition for 0 to 300 elements", "[vector][every]") { every_size<detail::vector_op::dot, false, false>(); }
TEST_CASE("vector: u8·s8 kernels equal the definition for 0 to 300 elements", "[vector][every]") { every_size<detail::vector_op::dot, false, true>(); }
TEST_CASE("vector: s8·u8 kernels equal the definition for 0 to 300 elements", "[vector][every]") { every_size<detail::vector_op::dot, true, false>(); }
TEST_CASE("vector: s8·s8 kernels equal the definition for 0 to 300 elements", "[vector][every]") { every_size<detail::vector_op::dot, true, true>(); }
TEST_CASE("vector: u8 distances equal the definition for 0 to 300 elements", "[vector][every]") { every_size<detail::vector_op::squared_l2, false, false>(); }
TEST_CASE("vector: s8 distances equal the definition for 0 to 300 elements", "[vector][every]") { every_size<detail::vector_op::squared_l2, true, true>(); }

TEST_CASE("vector: kernels read nothing before or behind their operands", "[vector][guard]") {
  guarded const left(most_queries * 200), right(most_queries * 200);
  support::for_each_isa([&](isa i) {
    auto const dot = detail::choose_vector_kernels<detail::vector_op::dot, true, true>(i);
    auto const l2 = detail::choose_vector_kernels<detail::vector_op::squared_l2, false, false>(i);
    for (index_t n : {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 200}) {
      auto const bytes = static_cast<std::size_t>(n) * most_queries;
      auto const data = hostile(2 * bytes, static_cast<unsigned>(n));
      for (bool ending : {true, false}) {
        std::uint8_t* const a = ending ? left.ending(bytes) : left.beginning();
        std::uint8_t* const b = ending ? right.ending(bytes) : right.beginning();
        std::memcpy(a, data.data(), bytes);
        std::memcpy(b, data.data() + bytes, bytes);
        compare<detail::vector_op::dot, true, true>(dot, a, b, n);
        compare<detail::vector_op::squared_l2, false, false>(l2, a, b, n);
      }
    }
  });
}

TEST_CASE("vector: sums at the bound of a block are exact with every element at its extreme", "[vector][bound]") {
  // -128·-128, 255·255, 255·-128, and (255 - 0)²: the largest sums that a block of 32,768 can have.
  std::vector<std::uint8_t> const low(detail::vector_block, 128), high(detail::vector_block, 255), none(detail::vector_block, 0);
  support::for_each_native_isa([&](isa i) {
    index_t const n = detail::vector_block;
    CAPTURE(name(i));
    auto const ss = detail::choose_vector_kernels<detail::vector_op::dot, true, true>(i);
    auto const uu = detail::choose_vector_kernels<detail::vector_op::dot, false, false>(i);
    auto const us = detail::choose_vector_kernels<detail::vector_op::dot, false, true>(i);
    auto const su = detail::choose_vector_kernels<detail::vector_op::dot, true, false>(i);
    auto const l2 = detail::choose_vector_kernels<detail::vector_op::squared_l2, false, false>(i);
    CHECK(ss.pair(low.data(), low.data(), n) == 16384 * n);
    CHECK(uu.pair(high.data(), high.data(), n) == 65025 * n);
    CHECK(us.pair(high.data(), low.data(), n) == -32640 * n);
    CHECK(su.pair(low.data(), high.data(), n) == -32640 * n);
    CHECK(l2.pair(high.data(), none.data(), n) == 65025 * n);
    CHECK(l2.pair(none.data(), high.data(), n) == 65025 * n);
    std::int32_t out[4];
    std::vector<std::uint8_t> const rows_low(4 * detail::vector_block, 128), rows_high(4 * detail::vector_block, 255);
    ss.rows(low.data(), rows_low.data(), n, n, ss.correct(low.data(), n), out);
    for (std::int32_t o : out) CHECK(o == 16384 * n);
    uu.rows(high.data(), rows_high.data(), n, n, uu.correct(high.data(), n), out);
    for (std::int32_t o : out) CHECK(o == 65025 * n);
  });
}

TEST_CASE("vector: the float kernel keeps one order of additions on every instruction set", "[vector][float]") {
  std::mt19937 random(7);
  for (index_t n : {0, 1, 15, 16, 31, 32, 33, 64, 100, 257, 768}) {
    std::vector<float> query(static_cast<std::size_t>(n) + 1);
    for (float& q : query) q = (static_cast<float>(random() & 0xffffu) / 257.0f - 100.0f) * (random() % 7 == 0 ? 1e6f : 1.0f);
    auto const codes = hostile(static_cast<std::size_t>(n) * 3 + 1, static_cast<unsigned>(n));
    float expected[2][3];
    detail::vectors_portable::float_dots<true>(query.data(), codes.data(), n, 3, n, expected[0]);
    detail::vectors_portable::float_dots<false>(query.data(), codes.data(), n, 3, n, expected[1]);
    support::for_each_native_isa([&](isa i) {
      CAPTURE(name(i), n);
      float got[3];
      detail::choose_float_dots<true>(i)(query.data(), codes.data(), n, 3, n, got);
      REQUIRE(std::memcmp(got, expected[0], sizeof got) == 0);
      detail::choose_float_dots<false>(i)(query.data(), codes.data(), n, 3, n, got);
      REQUIRE(std::memcmp(got, expected[1], sizeof got) == 0);
    });
  }
}

TEST_CASE("vector: every kernel of this machine, and the emulated ones, ran", "[vector][coverage]") {
  support::for_each_isa([](isa i) {
    auto const k = detail::choose_vector_kernels<detail::vector_op::dot, true, true>(i);
    CHECK(k.target == (i == isa::amx_int8 ? isa::avx512_vnni : i));  // tiles are of no use to vectors
  });
  CHECK(support::missed_isas() == "");
}
