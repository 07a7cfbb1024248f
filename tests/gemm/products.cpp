// Every kernel against the definition: int32 accumulators of small products of every shape, type and zero point.
#include "problem.hpp"

using namespace gemm_test;

namespace {

template <class Lhs, class Rhs>
struct packed_problem : problem<Lhs, Rhs> {
  packed_matrix<Rhs> packed;
  packed_problem(index_t m, index_t n, index_t k, fill a, fill b, int zeros, bool bias, std::uint64_t seed)
      : problem<Lhs, Rhs>(m, n, k, a, b, zeros, bias, seed), packed(pack(this->rhs_view())) {}
  std::string wrong() const {
    std::vector<std::int32_t> dst(this->acc.size(), 12345);
    epilogue<> e;
    this->fill_in(e);
    gemm(this->lhs_view(), packed, row_major(dst.data(), this->m, this->n), e);
    std::string const d = difference(dst, this->acc, this->n);
    return d.empty() ? d : std::to_string(this->m) + " x " + std::to_string(this->n) + " x " + std::to_string(this->k) + ": " + d;
  }
};

constexpr fill fills[] = {fill::full, fill::lowest, fill::small, fill::highest, fill::alternating, fill::extremes, fill::small, fill::full};

template <class Lhs, class Rhs>
void sweep(std::vector<index_t> const& ms, std::vector<index_t> const& ns, std::vector<index_t> const& ks, std::uint64_t seed) {
  std::vector<packed_problem<Lhs, Rhs>> problems;
  for (index_t m : ms)
    for (index_t n : ns)
      for (index_t k : ks) {
        ++seed;
        problems.emplace_back(m, n, k, fills[seed % 8], fills[seed / 3 % 8], static_cast<int>(seed % 5), seed % 2 == 0, seed);
      }
  support::for_each_isa([&](isa i) {
    std::size_t at = 0, emulated = 0;
    bool const every = !QUERN_QUICK_TESTS || !support::is_emulated(i);
    for (auto const& p : problems) {
      if (!every && emulated++ % 7 != 0) continue;  // half of this room's time
      // The emulator takes 2 us an instruction: the larger half of the shapes is left to real hardware and [.exhaustive].
      if (i == isa::avx_vnni && p.m * p.n * p.k > 20000 && ++at % 16 != 0) continue;
      std::string const wrong = p.wrong();
      if (!wrong.empty()) FAIL(name(i) << " " << wrong);
    }
  });
}

std::vector<index_t> const small_k = {0, 1, 3, 4, 5, 8, 9, 31, 32, 33, 63, 64, 65, 127, 128, 129};
std::vector<index_t> range(index_t from, index_t to) {
  std::vector<index_t> v;
  for (; from <= to; ++from) v.push_back(from);
  return v;
}

}  // namespace

TEST_CASE("every kernel gives the exact int32 product for every small m", "[gemm][kernel]") {
  sweep<std::uint8_t, std::int8_t>(range(1, 33), {1, 16, 33, 50}, {1, 7, 64, 70}, 100);
  sweep<std::int8_t, std::int8_t>(range(1, 33), {1, 16, 33, 50}, {1, 7, 64, 70}, 20000);
}

TEST_CASE("every kernel gives the exact int32 product for every small n", "[gemm][kernel]") {
  sweep<std::uint8_t, std::uint8_t>({1, 3, 5, 12, 17, 25}, range(1, 65), {5, 66}, 300);
  sweep<std::int8_t, std::uint8_t>({1, 3, 5, 12, 17, 25}, range(1, 65), {5, 66}, 40000);
}

TEST_CASE("every kernel gives the exact int32 product for k around multiples of 4 and 64", "[gemm][kernel]") {
  sweep<std::uint8_t, std::int8_t>({1, 2, 4, 6, 18}, {1, 31, 49}, small_k, 500);
  sweep<std::int8_t, std::int8_t>({1, 2, 4, 6, 18}, {1, 31, 49}, small_k, 60000);
  sweep<std::uint8_t, std::uint8_t>({1, 2, 4, 6, 18}, {1, 31, 49}, small_k, 700);
  sweep<std::int8_t, std::uint8_t>({1, 2, 4, 6, 18}, {1, 31, 49}, small_k, 80000);
}

TEST_CASE("every kernel gives the exact int32 product across blocks of rows and of k", "[gemm][kernel]") {
  sweep<std::uint8_t, std::int8_t>({3, 40, 150}, {20, 70}, {511, 512, 1023, 1024, 1025, 2100}, 900);
  sweep<std::int8_t, std::int8_t>({3, 40, 150}, {20, 70}, {511, 512, 1023, 1024, 1025, 2100}, 1000);
}

// AVX-512 has blocks of up to 4,096 k, and reads lhs where it lies unless its rows are a multiple of 4 KB apart.
TEST_CASE("every kernel gives the exact int32 product beyond a block of 4,096 k", "[gemm][kernel]") {
  sweep<std::uint8_t, std::int8_t>({3, 40}, {33}, {4096, 4100, 4128, 8256}, 1100);
  sweep<std::int8_t, std::int8_t>({3, 40}, {33}, {4096, 4100, 4128, 8256}, 1200);
}

// AVX-512 VNNI turns the signs of s8 in registers on AMD's cores and in a copy on others: both ways on every machine.
TEST_CASE("signs turned in registers and in a copy give the same products", "[gemm][kernel]") {
  struct restored {
    ~restored() { quern::detail::spare_logic_ports = 0; }  // asks the CPU again
  } const at_end;
  packed_problem<std::int8_t, std::int8_t> const p(150, 100, 96, fill::full, fill::extremes, 1, true, 7);
  std::vector<float> const scale(100, 0.0003f);
  std::vector<std::int8_t> codes[2];
  for (unsigned char const ports : {1, 2}) {
    quern::detail::spare_logic_ports = ports;
    sweep<std::int8_t, std::int8_t>({25, 26, 31, 36, 37, 44, 100}, {15, 16, 17, 33, 49}, {32, 96, 128}, 1300);
    codes[ports - 1].resize(p.acc.size());
    epilogue<to_real> e{.rescale = {.cols = view(scale)}};
    p.fill_in(e);
    gemm(p.lhs_view(), p.packed, row_major(codes[ports - 1].data(), p.m, p.n), e);
  }
  CHECK(codes[0] == codes[1]);
}

TEST_CASE("exhaustive: m, n and k together", "[.exhaustive]") {
  for (index_t m = 1; m <= 33; ++m) {
    sweep<std::uint8_t, std::int8_t>({m}, range(1, 65), small_k, static_cast<std::uint64_t>(m) * 100000);
    sweep<std::int8_t, std::uint8_t>({m}, range(1, 65), small_k, static_cast<std::uint64_t>(m) * 200000);
  }
}

TEST_CASE("the tile in plain C++, which x86-64 does not choose, is exact too", "[gemm][kernel]") {
  kernel::kernel_set const& set = kernel::generic_kernels();
  index_t const m = 8, n = 16, k = 70;
  packed_problem<std::int8_t, std::int8_t> const p(m, n, k, fill::extremes, fill::full, 0, false, 77);
  packed_matrix_view<std::int8_t> const rhs = p.packed;
  std::vector<unsigned char> lhs(static_cast<std::size_t>(m * kernel::lhs_stride));
  set.copy({p.lhs.data(), k, m, k, 1}, 96, lhs.data(), nullptr);
  std::vector<std::int32_t> const init(16, -5);
  for (int i = 0; i < set.tile_count; ++i) {
    std::vector<std::int32_t> acc(static_cast<std::size_t>(m * n));
    set.tiles[i].run({.lhs = lhs.data(), .lhs_stride = kernel::lhs_stride, .rhs = rhs.data_, .steps = (k + 3) / 4, .count = m / set.tiles[i].rows,
                      .init = init.data(), .acc = acc.data(), .ld = n});
    std::vector<std::int32_t> want = p.acc;
    for (auto& x : want) x -= 5;
    CHECK(difference(acc, want, n) == "");
  }
}
