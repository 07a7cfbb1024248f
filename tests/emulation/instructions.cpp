// Every instruction of the emulator against a scalar model, written with the assembler's own encodings. On a CPU that has
// the instructions the same sequences run natively, which checks the model.
#include "emulator.hpp"
#include "support/catch.hpp"

#include <cstdint>
#include <cstring>
#include <random>
#include <string>

#if QUERN_TESTS_CAN_EMULATE

#include <sys/wait.h>

namespace {

using quern::isa;

bool runs(isa i) { return quern::supported(i); }

struct alignas(64) tile_config {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t colsb[16] = {};
  std::uint8_t rows[16] = {};
};

struct lanes {
  alignas(32) unsigned char bytes[32];
};

lanes random_lanes(std::mt19937& random) {
  lanes out;
  for (auto& b : out.bytes) b = static_cast<unsigned char>(random());
  return out;
}

// What a vpdp instruction does to the first `bytes` bytes.
lanes model(int opcode, lanes const& start, lanes const& lhs, lanes const& rhs, int bytes) {
  lanes acc = start;
  for (int lane = 0; lane < 32; lane += 4) {
    std::int32_t before;
    std::memcpy(&before, acc.bytes + lane, 4);
    std::int64_t sum = before;
    if (lane >= bytes) {
      sum = 0;
    } else if (opcode < 0x52) {
      for (int k = 0; k < 4; ++k) sum += lhs.bytes[lane + k] * static_cast<std::int8_t>(rhs.bytes[lane + k]);
    } else {
      std::int16_t a[2], b[2];
      std::memcpy(a, lhs.bytes + lane, 4);
      std::memcpy(b, rhs.bytes + lane, 4);
      sum += std::int64_t{a[0]} * b[0] + std::int64_t{a[1]} * b[1];
    }
    if (opcode & 1) sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
    auto const after = static_cast<std::int32_t>(static_cast<std::uint32_t>(sum));
    std::memcpy(acc.bytes + lane, &after, 4);
  }
  return acc;
}

// Assembler is in functions of its own: clang takes only the instructions of the function's target, and the rest of this file
// has to run on any CPU.
#define QUERN_ASM __attribute__((noinline, target("amx-tile,amx-int8,avxvnni,avx512f,avx512bw,avx512vl")))

#define QUERN_VNNI(name, text)                                                                              \
  QUERN_ASM lanes name(lanes const& before, lanes const& lhs, lanes const& rhs) {           \
    lanes acc = before;                                                                                     \
    asm volatile("vmovdqu (%0), %%ymm4\n vmovdqu (%1), %%ymm5\n vmovdqu (%2), %%ymm6\n" text                \
                 "\n vmovdqu %%ymm4, (%0)\n"                                                                \
                 :                                                                                          \
                 : "r"(acc.bytes), "r"(lhs.bytes), "r"(rhs.bytes)                                           \
                 : "xmm4", "xmm5", "xmm6", "xmm12", "xmm13", "memory");                                     \
    return acc;                                                                                             \
  }
QUERN_VNNI(vpdpbusd_ymm, "%{vex%} vpdpbusd %%ymm6, %%ymm5, %%ymm4")
QUERN_VNNI(vpdpbusds_ymm, "%{vex%} vpdpbusds %%ymm6, %%ymm5, %%ymm4")
QUERN_VNNI(vpdpwssd_ymm, "%{vex%} vpdpwssd %%ymm6, %%ymm5, %%ymm4")
QUERN_VNNI(vpdpwssds_ymm, "%{vex%} vpdpwssds %%ymm6, %%ymm5, %%ymm4")
QUERN_VNNI(vpdpbusd_xmm, "%{vex%} vpdpbusd %%xmm6, %%xmm5, %%xmm4")
QUERN_VNNI(vpdpwssds_xmm, "%{vex%} vpdpwssds %%xmm6, %%xmm5, %%xmm4")
QUERN_VNNI(vpdpbusd_memory, "%{vex%} vpdpbusd (%2), %%ymm5, %%ymm4")
QUERN_VNNI(vpdpbusd_high, "vmovdqa %%ymm4, %%ymm12\n vmovdqa %%ymm5, %%ymm13\n %{vex%} vpdpbusd (%2), %%ymm13, %%ymm12\n"
                          "vmovdqa %%ymm12, %%ymm4")

// Memory operands in every form of address, each pointing at `rhs`.
QUERN_ASM lanes vpdpbusd_addresses(lanes const& before, lanes const& lhs, lanes const& rhs) {
  lanes acc = before;
  unsigned char const* const base = rhs.bytes;
  std::uint64_t const index = 24;
  asm volatile(
      "vmovdqu (%0), %%ymm4\n vmovdqu (%1), %%ymm5\n"
      "%{vex%} vpdpbusd 100(%2), %%ymm5, %%ymm4\n"                 // disp8
      "%{vex%} vpdpbusd -100000(%3), %%ymm5, %%ymm4\n"             // disp32
      "%{vex%} vpdpbusd (%4,%5,4), %%ymm5, %%ymm4\n"               // base + index * 4
      "%{vex%} vpdpbusd -32(%4,%6,8), %%ymm5, %%ymm4\n"            // disp8, another index
      "mov %7, %%r12\n mov %5, %%r13\n"
      "%{vex%} vpdpbusd (%%r12), %%ymm5, %%ymm4\n"                 // r12 as base needs a SIB byte
      "lea (%7), %%r13\n %{vex%} vpdpbusd (%%r13), %%ymm5, %%ymm4\n"  // r13 as base needs a displacement
      "xor %%r12d, %%r12d\n %{vex%} vpdpbusd (%%r13,%%r12,1), %%ymm5, %%ymm4\n"  // r12 may be an index
      "%{vex%} vpdpbusd (,%%r13,1), %%ymm5, %%ymm4\n"              // no base
      "%{vex%} vpdpbusd (%%r13,%%r12), %%ymm5, %%ymm4\n"
      "vmovdqu %%ymm4, (%0)\n"
      :
      : "r"(acc.bytes), "r"(lhs.bytes), "r"(base - 100), "r"(base + 100000), "r"(base - 96), "r"(index), "r"(index - 8),
        "r"(base)
      : "xmm4", "xmm5", "r12", "r13", "memory");
  return acc;
}

alignas(32) unsigned char global_rhs[32];
QUERN_ASM lanes vpdpbusd_rip(lanes const& before, lanes const& lhs) {
  lanes acc = before;
  asm volatile("vmovdqu (%0), %%ymm4\n vmovdqu (%1), %%ymm5\n %{vex%} vpdpbusd %2, %%ymm5, %%ymm4\n vmovdqu %%ymm4, (%0)\n"
               :
               : "r"(acc.bytes), "r"(lhs.bytes), "m"(global_rhs)
               : "xmm4", "xmm5", "memory");
  return acc;
}

QUERN_ASM void through_zmm4(unsigned char (&whole)[64]) {
  asm volatile(
      "vmovdqu64 (%0), %%zmm4\n vpxor %%xmm5, %%xmm5, %%xmm5\n"
      "%{vex%} vpdpbusd %%ymm5, %%ymm5, %%ymm4\n vmovdqu64 %%zmm4, (%0)"
      :
      : "r"(whole)
      : "xmm4", "xmm5", "memory");
}

bool same(lanes const& a, lanes const& b) { return std::memcmp(a.bytes, b.bytes, 32) == 0; }

}  // namespace

TEST_CASE("AVX-VNNI instructions do what the scalar model says", "[emulation]") {
  emulation::scope const emulator;
  if (!runs(isa::avx_vnni)) {
    WARN("no AVX2: AVX-VNNI can be neither executed nor emulated");
    return;
  }
  unsigned long const before = emulation::executed().vnni;
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    lanes acc = random_lanes(random), lhs = random_lanes(random), rhs = random_lanes(random);
    if (round < 4) {  // the accumulator at its ends, so that the saturating forms differ from the others
      std::memset(lhs.bytes, round & 1 ? 0xff : 0x80, 32);
      std::memset(rhs.bytes, round & 2 ? 0x7f : 0x80, 32);
      for (int lane = 0; lane < 32; lane += 4) {
        std::int32_t const end = round & 2 ? INT32_MAX - 1 : INT32_MIN + 1;
        std::memcpy(acc.bytes + lane, &end, 4);
      }
    }
    CHECK(same(vpdpbusd_ymm(acc, lhs, rhs), model(0x50, acc, lhs, rhs, 32)));
    CHECK(same(vpdpbusds_ymm(acc, lhs, rhs), model(0x51, acc, lhs, rhs, 32)));
    CHECK(same(vpdpwssd_ymm(acc, lhs, rhs), model(0x52, acc, lhs, rhs, 32)));
    CHECK(same(vpdpwssds_ymm(acc, lhs, rhs), model(0x53, acc, lhs, rhs, 32)));
    CHECK(same(vpdpbusd_xmm(acc, lhs, rhs), model(0x50, acc, lhs, rhs, 16)));
    CHECK(same(vpdpwssds_xmm(acc, lhs, rhs), model(0x53, acc, lhs, rhs, 16)));
    CHECK(same(vpdpbusd_memory(acc, lhs, rhs), model(0x50, acc, lhs, rhs, 32)));
    CHECK(same(vpdpbusd_high(acc, lhs, rhs), model(0x50, acc, lhs, rhs, 32)));
    lanes nine = acc;
    for (int times = 0; times < 9; ++times) nine = model(0x50, nine, lhs, rhs, 32);
    CHECK(same(vpdpbusd_addresses(acc, lhs, rhs), nine));
    std::memcpy(global_rhs, rhs.bytes, 32);
    CHECK(same(vpdpbusd_rip(acc, lhs), model(0x50, acc, lhs, rhs, 32)));
  }
  if (emulator.which.avx_vnni) CHECK(emulation::executed().vnni - before == 200 * (9 + 9));
}

TEST_CASE("a VEX instruction zeroes the upper half of a zmm register", "[emulation]") {
  emulation::scope const emulator;
  if (!runs(isa::avx_vnni) || !runs(isa::avx512bw)) return;
  alignas(64) unsigned char whole[64];
  std::memset(whole, 0xa5, 64);
  through_zmm4(whole);
  for (int b = 0; b < 64; ++b) CHECK(whole[b] == (b < 32 ? 0xa5 : 0));
}

namespace {

// One product of tiles 0 += 1 x 2 with rows of 64 bytes in memory.
#define QUERN_TILES(name, product)                                                                        \
  QUERN_ASM void name(tile_config const& config, void* acc, void const* lhs, void const* rhs) { \
    std::uint64_t const stride = 64;                                                                      \
    asm volatile("ldtilecfg %0\n tilezero %%tmm7\n tileloadd (%1,%4,1), %%tmm0\n tileloadd (%2,%4), %%tmm1\n" \
                 "tileloaddt1 (%3,%4), %%tmm2\n" product " %%tmm2, %%tmm1, %%tmm0\n"                      \
                 "tilestored %%tmm0, (%1,%4)\n tilerelease"                                               \
                 :                                                                                        \
                 : "m"(config), "r"(acc), "r"(lhs), "r"(rhs), "r"(stride)                                 \
                 : "memory");                                                                             \
  }
QUERN_TILES(product_ss, "tdpbssd")
QUERN_TILES(product_su, "tdpbsud")
QUERN_TILES(product_us, "tdpbusd")
QUERN_TILES(product_uu, "tdpbuud")

struct alignas(64) tile {
  unsigned char bytes[16][64];
};

QUERN_ASM void copy_tile(tile_config const& config, tile_config& stored, tile const& in, tile& out) {
  std::uint64_t const stride = 64;
  asm volatile("ldtilecfg %1\n sttilecfg %0\n tileloadd (%2,%4), %%tmm0\n tilestored %%tmm0, (%3,%4)\n tilerelease"
               : "=m"(stored)
               : "m"(config), "r"(in.bytes), "r"(out.bytes), "r"(stride)
               : "memory");
}
QUERN_ASM void clear_tile(tile_config const& config, tile const& in, tile& out) {
  std::uint64_t const stride = 64;
  asm volatile("ldtilecfg %0\n tileloadd (%1,%3), %%tmm0\n tilezero %%tmm0\n tilestored %%tmm0, (%2,%3)\n tilerelease"
               :
               : "m"(config), "r"(in.bytes), "r"(out.bytes), "r"(stride)
               : "memory");
}
QUERN_ASM void store_config(tile_config& stored) { asm volatile("sttilecfg %0" : "=m"(stored)); }
QUERN_ASM void zero_without_config() { asm volatile("tilezero %tmm0"); }
QUERN_ASM void multiply_a_tile_by_itself(tile_config const& config) {
  asm volatile("ldtilecfg %0\n .byte 0xc4, 0xe2, 0x73, 0x5e, 0xc1"  // tdpbssd tmm0, tmm1, tmm1: no assembler takes it
               :
               : "m"(config));
}

std::int32_t number(unsigned char byte, bool is_signed) {
  return is_signed ? static_cast<std::int8_t>(byte) : static_cast<std::int32_t>(byte);
}

tile_config shape(int m, int n, int k4) {
  tile_config config;
  config.rows[0] = config.rows[1] = static_cast<std::uint8_t>(m);
  config.rows[2] = static_cast<std::uint8_t>(k4);
  config.colsb[0] = config.colsb[2] = static_cast<std::uint16_t>(4 * n);
  config.colsb[1] = static_cast<std::uint16_t>(4 * k4);
  config.rows[7] = 16;
  config.colsb[7] = 64;
  return config;
}

}  // namespace

TEST_CASE("AMX products of every sign and shape equal the scalar model", "[emulation]") {
  emulation::scope const emulator;
  if (!runs(isa::amx_int8)) {
    WARN("no AVX-512 VNNI: AMX can be neither executed nor emulated");
    return;
  }
  using function = void (*)(tile_config const&, void*, void const*, void const*);
  struct form {
    function run;
    bool lhs_signed, rhs_signed;
  };
  std::mt19937 random(11);
  for (form f : {form{product_ss, true, true}, form{product_su, true, false}, form{product_us, false, true},
                 form{product_uu, false, false}}) {
    for (int round = 0; round < 60; ++round) {
      int const m = round == 0 ? 16 : 1 + static_cast<int>(random() % 16), n = round == 0 ? 16 : 1 + static_cast<int>(random() % 16);
      int const k4 = round == 0 ? 16 : 1 + static_cast<int>(random() % 16);
      tile acc, lhs, rhs;
      for (tile* t : {&acc, &lhs, &rhs})
        for (auto& row : t->bytes)
          for (auto& b : row) b = round == 1 ? 0x80 : static_cast<unsigned char>(random());
      tile expected = acc;
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
          std::uint32_t sum;
          std::memcpy(&sum, &acc.bytes[i][4 * j], 4);
          for (int k = 0; k < 4 * k4; ++k)
            sum += static_cast<std::uint32_t>(number(lhs.bytes[i][k], f.lhs_signed) *
                                              number(rhs.bytes[k / 4][4 * j + k % 4], f.rhs_signed));
          std::memcpy(&expected.bytes[i][4 * j], &sum, 4);
        }
      f.run(shape(m, n, k4), acc.bytes, lhs.bytes, rhs.bytes);
      CHECK(std::memcmp(acc.bytes, expected.bytes, sizeof acc.bytes) == 0);
    }
  }
}

TEST_CASE("tile loads zero what lies beyond the configured rows and columns", "[emulation]") {
  emulation::scope const emulator;
  if (!runs(isa::amx_int8)) return;
  tile_config small = shape(3, 5, 2), stored;
  tile in, out;
  std::memset(in.bytes, 0x77, sizeof in.bytes);
  std::memset(out.bytes, 0x11, sizeof out.bytes);
  // Only 3 x 20 bytes of the tile may be read and written: out keeps its other bytes.
  copy_tile(small, stored, in, out);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 64; ++j) CHECK(out.bytes[i][j] == (i < 3 && j < 20 ? 0x77 : 0x11));
  CHECK(std::memcmp(&small, &stored, 64) == 0);

  tile_config none;
  store_config(none);
  unsigned char const zeros[64] = {};
  CHECK(std::memcmp(&none, zeros, 64) == 0);

  tile_config full = shape(16, 16, 16);
  std::memset(out.bytes, 0x11, sizeof out.bytes);
  clear_tile(full, in, out);
  tile const cleared{};
  CHECK(std::memcmp(out.bytes, cleared.bytes, sizeof out.bytes) == 0);
}

namespace {

// Runs `action` in a child, which must be stopped with `sentence` on its standard error.
template <class F>
std::string last_words(F&& action) {
  int ends[2];
  if (pipe(ends) != 0) return "pipe failed";
  pid_t const child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    action();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char chunk[256];
  for (ssize_t got; (got = read(ends[0], chunk, sizeof chunk)) > 0;) text.append(chunk, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? text : "the program went on: " + text;
}

bool says(std::string const& text, char const* words) { return text.find(words) != std::string::npos; }

}  // namespace

TEST_CASE("what AMX hardware refuses stops the emulator with a sentence", "[emulation]") {
  emulation::scope const emulator;
  if (!emulator.which.amx_int8) return;
  tile memory{};
  auto const product = [&memory](tile_config const& config) {
    return last_words([&] { product_ss(config, memory.bytes, memory.bytes, memory.bytes); });
  };
  CHECK(says(product(shape(16, 16, 16)), "the program went on"));

  tile_config c = shape(16, 16, 16);
  c.palette = 2;
  CHECK(says(product(c), "palette"));
  c = shape(16, 16, 16);
  c.reserved[3] = 1;
  CHECK(says(product(c), "reserved"));
  c = shape(16, 16, 16);
  c.rows[0] = 17;
  CHECK(says(product(c), "more than 16 rows"));
  c = shape(16, 16, 16);
  c.colsb[1] = 65;
  CHECK(says(product(c), "more than 64 bytes"));
  c = shape(16, 16, 16);
  c.rows[3] = 1;
  CHECK(says(product(c), "only one of rows and colsb"));
  c = shape(16, 16, 16);
  c.rows[9] = 1;
  CHECK(says(product(c), "above 7"));
  c = shape(16, 16, 16);
  c.rows[0] = 15;
  CHECK(says(product(c), "the destination's rows"));
  c = shape(16, 16, 16);
  c.rows[2] = 15;
  CHECK(says(product(c), "the second's rows"));
  c = shape(16, 16, 16);
  c.colsb[2] = 60;
  CHECK(says(product(c), "the destination's colsb"));
  c = shape(16, 16, 16);
  c.colsb[1] = 63;
  CHECK(says(product(c), "multiple of 4"));
  c = shape(16, 16, 16);
  c.rows[7] = 0;
  c.colsb[7] = 0;
  CHECK(says(product(c), "leaves out"));
  CHECK(says(last_words(zero_without_config), "before ldtilecfg"));
  CHECK(says(last_words([] { multiply_a_tile_by_itself(shape(16, 16, 16)); }), "the same"));
}

TEST_CASE("instructions that the emulator does not know go to the handler before", "[emulation]") {
  CHECK(says(last_words([] {
               signal(SIGILL, SIG_DFL);
               emulation::take_signal();
               asm volatile("ud2");
             }),
             "neither this CPU nor the emulator"));
}

TEST_CASE("the emulator leaves quern's idea of the machine as it found it", "[emulation]") {
  bool const amx = quern::supported(isa::amx_int8), vnni = quern::supported(isa::avx_vnni);
  {
    emulation::scope const outer;
    {
      emulation::scope const inner;
      CHECK(quern::supported(isa::amx_int8) == (amx || inner.which.amx_int8));
    }
    CHECK(quern::supported(isa::amx_int8) == (amx || outer.which.amx_int8));
    CHECK(quern::supported(isa::avx_vnni) == (vnni || outer.which.avx_vnni));
  }
  CHECK(quern::supported(isa::amx_int8) == amx);
  CHECK(quern::supported(isa::avx_vnni) == vnni);
}

#endif
