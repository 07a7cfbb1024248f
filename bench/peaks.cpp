// peaks.cpp — register-only loops in assembly, so that no compiler merges the accumulators or moves the work out of the loop.
#include "peaks.hpp"

#include "support.hpp"

#include <cstring>
#include <map>
#include <memory>
#include <utility>

namespace quern::bench {
namespace {

// Twelve accumulators: two instructions a cycle times a latency of five leave two to spare.
#define EACH_12(op) op("0") op("1") op("2") op("3") op("4") op("5") op("6") op("7") op("8") op("9") op("10") op("11")
constexpr double accumulators = 12;

#define CLOBBER_16                                                                                                       \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
      "xmm14", "xmm15", "cc"

// clear: zero register r. The operands are zero, which is as fast as any other number on all cores known to us.
#define PEAK_LOOP(function, each, clear, end)                                                              \
  void function(long rounds) {                                                                             \
    asm volatile(EACH_12(clear) clear("12") clear("13") clear("14") clear("15")                            \
                 "1:\n" EACH_12(each) EACH_12(each) "dec %0\n jnz 1b\n" end : "+r"(rounds) : : CLOBBER_16); \
  }
constexpr double unrolled = 2 * accumulators;

#if QUERN_X86_64
#define CLEAR_X(r) "pxor %%xmm" r ",%%xmm" r "\n"
#define CLEAR_Y(r) "vpxor %%xmm" r ",%%xmm" r ",%%xmm" r "\n"
#define SSE_CHAIN(r) "movdqa %%xmm15,%%xmm13\n pmaddubsw %%xmm14,%%xmm13\n pmaddwd %%xmm12,%%xmm13\n paddd %%xmm13,%%xmm" r "\n"
#define SSE_MADD(r) "movdqa %%xmm15,%%xmm13\n pmaddwd %%xmm14,%%xmm13\n paddd %%xmm13,%%xmm" r "\n"
#define SSE_FLOAT(r) "movaps %%xmm15,%%xmm13\n mulps %%xmm14,%%xmm13\n addps %%xmm13,%%xmm" r "\n"
#define CHAIN(w, r) "vpmaddubsw %%" w "14,%%" w "15,%%" w "13\n vpmaddwd %%" w "12,%%" w "13,%%" w "13\n vpaddd %%" w "13,%%" w r ",%%" w r "\n"
#define MADD(w, r) "vpmaddwd %%" w "14,%%" w "15,%%" w "13\n vpaddd %%" w "13,%%" w r ",%%" w r "\n"
#define FMA(w, r) "vfmadd231ps %%" w "14,%%" w "15,%%" w r "\n"
#define CHAIN_Y(r) CHAIN("ymm", r)
#define MADD_Y(r) MADD("ymm", r)
#define FMA_Y(r) FMA("ymm", r)
#define VNNI_Y(r) "%{vex%} vpdpbusd %%ymm14,%%ymm15,%%ymm" r "\n"
#define CHAIN_Z(r) CHAIN("zmm", r)
#define MADD_Z(r) MADD("zmm", r)
#define FMA_Z(r) FMA("zmm", r)
#define VNNI_Z(r) "vpdpbusd %%zmm14,%%zmm15,%%zmm" r "\n"

PEAK_LOOP(sse_chain, SSE_CHAIN, CLEAR_X, "")
PEAK_LOOP(sse_madd, SSE_MADD, CLEAR_X, "")
PEAK_LOOP(sse_float, SSE_FLOAT, CLEAR_X, "")
PEAK_LOOP(ymm_chain, CHAIN_Y, CLEAR_Y, "vzeroupper\n")
PEAK_LOOP(ymm_madd, MADD_Y, CLEAR_Y, "vzeroupper\n")
PEAK_LOOP(ymm_fma, FMA_Y, CLEAR_Y, "vzeroupper\n")
PEAK_LOOP(ymm_vnni, VNNI_Y, CLEAR_Y, "vzeroupper\n")
PEAK_LOOP(zmm_chain, CHAIN_Z, CLEAR_Y, "vzeroupper\n")
PEAK_LOOP(zmm_madd, MADD_Z, CLEAR_Y, "vzeroupper\n")
PEAK_LOOP(zmm_fma, FMA_Z, CLEAR_Y, "vzeroupper\n")
PEAK_LOOP(zmm_vnni, VNNI_Z, CLEAR_Y, "vzeroupper\n")

// Six accumulator tiles of 16x16: one product may start every 16 cycles and takes 52.
void amx(long rounds) {
  alignas(64) unsigned char config[64] = {1};
  for (int t = 0; t < 8; ++t) config[16 + 2 * t] = 64, config[48 + t] = 16;
  asm volatile(
      "ldtilecfg %1\n tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3\n"
      "tilezero %%tmm4\n tilezero %%tmm5\n tilezero %%tmm6\n tilezero %%tmm7\n"
      "1:\n tdpbssd %%tmm7,%%tmm6,%%tmm0\n tdpbssd %%tmm7,%%tmm6,%%tmm1\n tdpbssd %%tmm7,%%tmm6,%%tmm2\n"
      "tdpbssd %%tmm7,%%tmm6,%%tmm3\n tdpbssd %%tmm7,%%tmm6,%%tmm4\n tdpbssd %%tmm7,%%tmm6,%%tmm5\n"
      "dec %0\n jnz 1b\n tilerelease\n"
      : "+r"(rounds) : "m"(config) : "cc", "memory");
}

#define READ_8(move, reg, pointer, bytes)                                                                            \
  move " 0*" bytes "(" pointer "),%%" reg "0\n" move " 1*" bytes "(" pointer "),%%" reg "1\n"                          \
  move " 2*" bytes "(" pointer "),%%" reg "2\n" move " 3*" bytes "(" pointer "),%%" reg "3\n"                          \
  move " 4*" bytes "(" pointer "),%%" reg "4\n" move " 5*" bytes "(" pointer "),%%" reg "5\n"                          \
  move " 6*" bytes "(" pointer "),%%" reg "6\n" move " 7*" bytes "(" pointer "),%%" reg "7\n"
// One stream of `lines` times 512 bytes; four streams of a quarter each.
void read_one(char const* p, long lines, bool zmm) {
  if (zmm)
    asm volatile("1:\n" READ_8("vmovups", "zmm", "%0", "64") "add $512,%0\n dec %1\n jnz 1b\n vzeroupper\n"
                 : "+r"(p), "+r"(lines) : : CLOBBER_16, "memory");
  else
    asm volatile("1:\n" READ_8("movups", "xmm", "%0", "16") "add $128,%0\n" READ_8("movups", "xmm", "%0", "16") "add $128,%0\n"
                 READ_8("movups", "xmm", "%0", "16") "add $128,%0\n" READ_8("movups", "xmm", "%0", "16") "add $128,%0\n"
                 "dec %1\n jnz 1b\n"
                 : "+r"(p), "+r"(lines) : : CLOBBER_16, "memory");
}
void read_four(char const* p, long lines, bool zmm) {
  long const quarter = lines / 4;
  char const *a = p, *b = p + 512 * quarter, *c = p + 1024 * quarter, *d = p + 1536 * quarter;
  long rounds = quarter * 4;
  if (zmm)
    asm volatile("1:\n vmovups (%0),%%zmm0\n vmovups 64(%0),%%zmm1\n vmovups (%1),%%zmm2\n vmovups 64(%1),%%zmm3\n"
                 "vmovups (%2),%%zmm4\n vmovups 64(%2),%%zmm5\n vmovups (%3),%%zmm6\n vmovups 64(%3),%%zmm7\n"
                 "add $128,%0\n add $128,%1\n add $128,%2\n add $128,%3\n dec %4\n jnz 1b\n vzeroupper\n"
                 : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(rounds) : : CLOBBER_16, "memory");
  else
    read_one(p, lines, false);
}
#endif

struct loop {
  void (*run)(long rounds);
  double ops;  // of one round
};

loop loop_of(isa i, instruction what) {
#if QUERN_X86_64
  bool const zmm = i >= isa::avx512bw, ymm = i >= isa::avx2;
  double const bytes = zmm ? 64 : ymm ? 32 : 16;
  switch (what) {
    case instruction::tdpbssd: return {i >= isa::amx_int8 ? amx : nullptr, 6 * 2 * 16 * 16 * 64.0};
    case instruction::vpdpbusd:
      return {i >= isa::avx512_vnni ? zmm_vnni : i == isa::avx_vnni ? ymm_vnni : nullptr, unrolled * 2 * bytes};
    case instruction::maddubs: return {zmm ? zmm_chain : ymm ? ymm_chain : sse_chain, unrolled * 2 * bytes};
    case instruction::madd: return {zmm ? zmm_madd : ymm ? ymm_madd : sse_madd, unrolled * bytes};
    case instruction::fma: return {zmm ? zmm_fma : ymm ? ymm_fma : sse_float, unrolled * bytes / 2};
  }
#else
  (void)i, (void)what;
#endif
  return {nullptr, 0};
}

}  // namespace

char const* name(instruction i) {
  switch (i) {
    case instruction::tdpbssd: return "tdpbssd";
    case instruction::vpdpbusd: return "vpdpbusd";
    case instruction::maddubs: return "maddubs";
    case instruction::madd: return "madd";
    case instruction::fma: return "fma";
  }
  return "";
}

double peak_gops(isa i, instruction what) {
  static std::map<std::pair<isa, instruction>, double> known;
  auto const at = known.find({i, what});
  if (at != known.end()) return at->second;
  double gops = 0;
  loop const l = supported(i) ? loop_of(i, what) : loop{nullptr, 0};
  if (l.run != nullptr) {
    long const rounds = 2000;
    gops = static_cast<double>(rounds) * l.ops / best_seconds([&] { l.run(rounds); }, 0.15) * 1e-9;
  }
  return known[{i, what}] = gops;
}

instruction best_instruction(isa i) {
  return i == isa::amx_int8                                ? instruction::tdpbssd
         : i == isa::avx512_vnni || i == isa::avx_vnni ? instruction::vpdpbusd
                                                           : instruction::madd;
}
double peak_gops(isa i) { return peak_gops(i, best_instruction(i)); }

double read_bandwidth(std::size_t bytes) {
  static std::map<std::size_t, double> known;
  auto const at = known.find(bytes);
  if (at != known.end()) return at->second;
  long const lines = static_cast<long>(std::max<std::size_t>(bytes / 2048, 1) * 4);  // of 512 bytes
  buffer<char> const memory(static_cast<index_t>(lines) * 512, 1);
  double gbps = 0;
#if QUERN_X86_64
  bool const zmm = supported(isa::avx512bw);
  for (auto* read : {read_one, read_four})
    gbps = std::max(gbps, static_cast<double>(lines) * 512e-9 / best_seconds([&] { read(memory.data(), lines, zmm); }, 0.15));
#else
  long sum = 0;
  gbps = static_cast<double>(lines) * 512e-9 / best_seconds([&] {
    auto const* words = reinterpret_cast<long const*>(memory.data());
    for (long i = 0; i < lines * 64; ++i) sum += words[i];
    keep(&sum);
  }, 0.15);
#endif
  return known[bytes] = gbps;
}

double copy_bandwidth(std::size_t bytes) {
  static std::map<std::size_t, double> known;
  auto const at = known.find(bytes);
  if (at != known.end()) return at->second;
  buffer<char> const from(static_cast<index_t>(bytes), 1);
  buffer<char> to(static_cast<index_t>(bytes));
  return known[bytes] = 2e-9 * static_cast<double>(bytes) / best_seconds([&] {
    std::memcpy(to.data(), from.data(), bytes);
    keep(to.data());
  }, 0.15);
}

namespace {
// The peaks are cases of their own too: `quern_bench --benchmark_filter=peak`.
void register_peaks() {
  for (isa i : isas())
    for (instruction what : {instruction::tdpbssd, instruction::vpdpbusd, instruction::maddubs, instruction::madd, instruction::fma}) {
      if (loop_of(i, what).run == nullptr || i == isa::baseline) continue;
      if (what == instruction::vpdpbusd && i == isa::amx_int8) continue;
      add({.name = std::string("peak/registers/") + name(i) + "/" + name(what) + "/all/threads:1",
           .ops = 2000 * loop_of(i, what).ops,
           .prepare = [=](check&) -> body { return [=] { loop_of(i, what).run(2000); }; }});
    }
  for (int kib : {16, 256, 1024, 4096, 16384, 65536}) {
    std::size_t const bytes = static_cast<std::size_t>(kib) * 1024;
    add({.name = "peak/read/memory/bytes/" + std::to_string(kib) + "KiB/threads:1",
         .bytes = static_cast<double>(bytes),
         .prepare = [=](check& c) -> body {
           double const gbps = read_bandwidth(bytes);
           c.say(std::to_string(static_cast<int>(gbps)) + " GB/s at best");
           auto memory = std::make_shared<buffer<char>>(static_cast<index_t>(bytes), 1);
#if QUERN_X86_64
           bool const zmm = supported(isa::avx512bw);
           return [=] { read_one(memory->data(), static_cast<long>(bytes / 512), zmm); };
#else
           return [=] { keep(memory->data()); };
#endif
         }});
  }
}
QUERN_BENCH_CASES(register_peaks);
}  // namespace
}  // namespace quern::bench
