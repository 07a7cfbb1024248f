// Packed weights: the layout's bytes, every source, saving and loading, damage, and the proof of depth.
#include <quern/pack/proof.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <string>
#include <vector>

using namespace quern;

namespace {

std::vector<std::int8_t> numbers(index_t size, int lo = -128, int hi = 127) {
  std::vector<std::int8_t> v(static_cast<std::size_t>(size));
  unsigned state = 12345;
  for (auto& x : v) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<std::int8_t>(lo + static_cast<int>((state >> 16) % static_cast<unsigned>(hi - lo + 1)));
  }
  return v;
}

template <class F>
errc code_of_error(F&& f, std::string const& part) {
  try {
    f();
  } catch (error const& e) {
    INFO(e.what());
    CHECK(std::string(e.what()).find(part) != std::string::npos);
    return e.code();
  }
  FAIL("no error: " << part);
  return errc::argument;
}

std::vector<unsigned char> bytes_of(unsigned char const* p, index_t n) { return {p, p + n}; }

}  // namespace

TEST_CASE("the layout is k4n16: four k of sixteen columns a row of 64 bytes", "[pack]") {
  // rhs(k, j) = 10 k + j of a 5 x 18 matrix.
  std::vector<std::int8_t> w;
  for (int k = 0; k < 5; ++k)
    for (int j = 0; j < 18; ++j) w.push_back(static_cast<std::int8_t>(10 * k + j));
  auto const p = pack(row_major(w.data(), 5, 18));
  auto const& h = *reinterpret_cast<packed_header const*>(p.bytes());
  CHECK(std::string(h.magic, 8) == std::string("quern\0pk", 8));
  CHECK(h.version == 1);
  CHECK(h.k == 5);
  CHECK(h.n == 18);
  CHECK(h.sums_at == 128);
  CHECK(h.positives_at == 128 + 32 * 4);
  CHECK(h.pairs_at == 128 + 2 * 32 * 4);
  CHECK(h.data_at == 128 + 2 * 32 * 4 + 64);
  CHECK(h.bytes == h.data_at + 2 * 2 * 64 + 1024);
  unsigned char const* const d = p.bytes() + h.data_at;
  CHECK(bytes_of(d, 8) == std::vector<unsigned char>{0, 10, 20, 30, 1, 11, 21, 31});
  CHECK(bytes_of(d + 64, 8) == std::vector<unsigned char>{40, 0, 0, 0, 41, 0, 0, 0});
  CHECK(bytes_of(d + 128 + 4, 8) == std::vector<unsigned char>{17, 27, 37, 47, 0, 0, 0, 0});  // panel 1: columns 16, 17, then zeros
  CHECK(p.sums_[3] == 3 + 13 + 23 + 33 + 43);
  // The same bytes on every machine: this number does not change without a new version.
  CHECK(h.checksum == detail::packed_checksum(p.bytes(), p.size()));
  CHECK(h.checksum == 0x305718593111fd68u);
}

TEST_CASE("4-bit codes share a byte with the code four k further", "[pack]") {
  std::int8_t const w[9] = {-8, -7, -6, -5, 1, 2, 3, 7, 4};
  auto const p = pack<s4>(row_major(w, 9, 1));
  unsigned char const* const d = p.data_;
  CHECK(bytes_of(d, 4) == std::vector<unsigned char>{0x90, 0xa1, 0xb2, 0xf3});
  CHECK(bytes_of(d + 64, 4) == std::vector<unsigned char>{12, 0, 0, 0});
  for (index_t k = 0; k < 9; ++k) CHECK(p(k, 0) == w[k]);
  std::uint8_t const big[2] = {15, 16};
  CHECK(code_of_error([&] { (void)pack<u4>(row_major(big, 2, 1)); }, "rhs(1, 0) is 16") == errc::argument);
}

TEST_CASE("every source packs to the same bytes", "[pack]") {
  index_t const k = 37, n = 21;
  auto const w = numbers(k * n);
  auto const p = pack(row_major(w.data(), k, n));
  std::vector<std::int8_t> columns(w.size()), gaps(static_cast<std::size_t>(3 * k * 50));
  for (index_t i = 0; i < k; ++i)
    for (index_t j = 0; j < n; ++j) {
      std::int8_t const x = w[static_cast<std::size_t>(i * n + j)];
      columns[static_cast<std::size_t>(j * k + i)] = x;
      gaps[static_cast<std::size_t>(i * 150 + j * 2)] = x;
      CHECK(p(i, j) == x);
    }
  auto const same = [&](packed_matrix_view<std::int8_t> const& q) { return q.size() == p.size() && __builtin_memcmp(q.bytes(), p.bytes(), static_cast<std::size_t>(p.size())) == 0; };
  CHECK(same(pack(col_major(columns.data(), k, n))));
  CHECK(same(pack(row_major(columns.data(), n, k).transposed())));
  CHECK(same(pack(matrix_view<std::int8_t>{gaps.data(), k, n, 150, 2})));
  // upside down, by negative strides
  std::vector<std::int8_t> reversed(w.rbegin(), w.rend());
  CHECK(same(pack(matrix_view<std::int8_t>{reversed.data() + k * n - 1, k, n, -n, -1})));
  buffer<unsigned char> memory(packed_size<std::int8_t>(k, n), 0xaa);
  CHECK(same(pack_into(memory.data(), memory.size(), row_major(w.data(), k, n))));
}

TEST_CASE("packed weights are copied, moved, saved and loaded", "[pack]") {
  auto const w = numbers(64 * 40);
  auto p = pack(row_major(w.data(), 64, 40));
  auto copy = p;
  CHECK(copy.bytes() != p.bytes());
  CHECK(copy(63, 39) == p(63, 39));
  auto const moved = std::move(copy);
  CHECK(moved(10, 10) == p(10, 10));
  CHECK(copy.bytes() == nullptr);
  copy = p;
  CHECK(copy(5, 6) == p(5, 6));
  std::vector<unsigned char> file(static_cast<std::size_t>(p.size() + 3));
  __builtin_memcpy(file.data() + 3, p.bytes(), static_cast<std::size_t>(p.size()));
  auto const loaded = load_packed_copy<std::int8_t>(file.data() + 3, p.size());  // at any address
  CHECK(__builtin_memcmp(loaded.bytes(), p.bytes(), static_cast<std::size_t>(p.size())) == 0);
  auto const view = load_packed<std::int8_t>(p.bytes(), p.size());
  CHECK(view(7, 8) == p(7, 8));
  std::int8_t const none = 0;
  auto const empty = pack(matrix_view<std::int8_t const>{&none, 0, 0, 0, 1});
  CHECK(load_packed<std::int8_t>(empty.bytes(), empty.size()).n() == 0);
}

TEST_CASE("a damaged, cut or foreign blob is refused", "[pack]") {
  auto const w = numbers(20 * 20);
  auto const p = pack(row_major(w.data(), 20, 20));
  auto const load = [](buffer<unsigned char> const& b, index_t size) { (void)load_packed<std::int8_t>(b.data(), size); };
  buffer<unsigned char> good(p.size());
  __builtin_memcpy(good.data(), p.bytes(), static_cast<std::size_t>(p.size()));
  // Any flipped bit of any byte is found.
  int missed = 0;
  for (index_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] = static_cast<unsigned char>(bad[i] ^ (1u << (i % 8)));
    try {
      load(bad, bad.size());
      ++missed;
    } catch (error const& e) {
      missed += e.code() != errc::format;
    }
  }
  CHECK(missed == 0);
  for (index_t size : {index_t{0}, index_t{50}, index_t{127}, index_t{128}, good.size() - 1}) {
    INFO(size);
    CHECK_THROWS_AS(load(good, size), error);
  }
  CHECK(code_of_error([&] { load(good, good.size() - 1); }, "the end is missing") == errc::format);
  CHECK(code_of_error([&] { load(good, 100); }, "too few") == errc::format);
  CHECK(code_of_error([&] { (void)load_packed<std::uint8_t>(good.data(), good.size()); }, "asked for are unsigned") == errc::format);
  CHECK(code_of_error([&] { (void)load_packed<s4>(good.data(), good.size()); }, "4 bits") == errc::format);
  auto bad = good;
  bad[0] = 'Q';
  CHECK(code_of_error([&] { load(bad, bad.size()); }, "not quern's packed weights") == errc::format);
  bad = good;
  bad[8] = 2;
  CHECK(code_of_error([&] { load(bad, bad.size()); }, "version 2") == errc::format);
  CHECK(code_of_error([&] { (void)load_packed<std::int8_t>(nullptr, 10); }, "null") == errc::null);
  CHECK(code_of_error([&] { (void)load_packed<std::int8_t>(good.data() + 1, 10); }, "64-byte boundary") == errc::argument);
}

TEST_CASE("packing refuses what cannot be packed", "[pack]") {
  auto const w = numbers(100);
  buffer<unsigned char> memory(packed_size<std::int8_t>(10, 10));
  CHECK(code_of_error([&] { (void)pack(matrix_view<std::int8_t const>{nullptr, 3, 4, 4, 1}); }, "rhs is null, but 3 x 4") == errc::null);
  CHECK(code_of_error([&] { (void)pack(row_major(w.data(), -1, 4)); }, "-1 x 4") == errc::shape);
  CHECK(code_of_error([&] { (void)packed_size<std::int8_t>(16'000'001, 1); }, "16000001") == errc::depth);
  CHECK(code_of_error([&] { (void)pack(row_major(w.data(), 10, 10), {.group = 6}); }, "multiple of 4") == errc::argument);
  CHECK(code_of_error([&] { (void)pack<s4>(row_major(w.data(), 10, 10), {.group = 4}); }, "multiple of 8") == errc::argument);
  CHECK(code_of_error([&] { (void)pack_into(memory.data(), memory.size() - 1, row_major(w.data(), 10, 10)); }, "packed_size") == errc::capacity);
  CHECK(code_of_error([&] { (void)pack_into(memory.data() + 8, memory.size(), row_major(w.data(), 5, 5)); }, "8 bytes behind") == errc::argument);
  CHECK(code_of_error([&] { (void)pack_into(nullptr, memory.size(), row_major(w.data(), 5, 5)); }, "memory is null") == errc::null);
}

TEST_CASE("max_depth is the deepest k whose worst product fits int32", "[pack][proof]") {
  STATIC_REQUIRE(max_depth<std::int8_t, std::int8_t>() == 131071);
  STATIC_REQUIRE(max_depth<std::uint8_t, std::int8_t>() == 65793);
  STATIC_REQUIRE(max_depth<std::uint8_t, std::uint8_t>() == 33025);
  STATIC_REQUIRE(max_depth<s8, s4>() == 2147483647 / (128 * 8));
  STATIC_REQUIRE(max_depth<std::int16_t, std::int8_t>() == 511);
}

TEST_CASE("prove gives bounds that some activations attain, and no activation exceeds", "[pack][proof]") {
  for (int round = 0; round < 20; ++round) {
    index_t const k = 1 + round, n = 1 + round % 5;
    auto const w = numbers(k * n, round % 3 == 0 ? 0 : -128, 127);
    auto const p = pack(row_major(w.data(), k, n));
    std::int32_t const lhs_zero = round % 2 == 0 ? 0 : 77, rhs_zero = round % 4 == 0 ? 0 : -3;
    depth_proof const proof = prove(p, {0, 255}, lhs_zero, rhs_zero);
    std::int64_t highest = INT64_MIN, lowest = INT64_MAX;
    for (index_t j = 0; j < n; ++j) {
      std::int64_t hi = 0, lo = 0;
      for (index_t q = 0; q < k; ++q) {
        std::int64_t const b = w[static_cast<std::size_t>(q * n + j)] - rhs_zero;
        hi += b * ((b > 0 ? 255 : 0) - lhs_zero);
        lo += b * ((b > 0 ? 0 : 255) - lhs_zero);
      }
      highest = std::max(highest, hi);
      lowest = std::min(lowest, lo);
    }
    CHECK(proof.highest == highest);
    CHECK(proof.lowest == lowest);
    CHECK(proof.fits_int32);
  }
  std::vector<std::int8_t> deep(70000, 127);
  CHECK_FALSE(prove(pack(row_major(deep.data(), 70000, 1)), {0, 255}).fits_int32);
  CHECK(prove(pack(row_major(deep.data(), 70000, 1)), {0, 200}).fits_int32);
}

TEST_CASE("the pair bound of a panel is exactly where vpmaddubsw saturates", "[pack][proof]") {
  // Every pair of weights, every worst pair of activations: exact for all u8 if and only if pairs[panel] <= 128.
  int wrong = 0;
  for (int b0 = -128; b0 <= 127; ++b0)
    for (int b1 = -128; b1 <= 127; ++b1) {
      std::int8_t const w[2] = {static_cast<std::int8_t>(b0), static_cast<std::int8_t>(b1)};
      alignas(64) unsigned char memory[2048];
      auto const p = pack_into(memory, sizeof(memory), row_major(w, 2, 1));
      int const hi = 255 * (b0 > 0 ? b0 : 0) + 255 * (b1 > 0 ? b1 : 0), lo = 255 * (b0 < 0 ? b0 : 0) + 255 * (b1 < 0 ? b1 : 0);
      bool const saturates = hi > 32767 || lo < -32768, proven = 255 * p.pairs_[0] <= 32767;
      wrong += saturates == proven;
    }
  CHECK(wrong == 0);
}
