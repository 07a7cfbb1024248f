// detect.hpp — what this CPU and operating system can run.
//
// x86: CPUID says what the CPU has, XCR0 which register files the system saves, and arch_prctl asks Linux for the AMX tiles
// (once a process; threads inherit it). __builtin_cpu_supports is avoided: it knows neither XCR0 for tiles nor, in older
// compilers, AVX-VNNI. Nothing runs before main: the first question is answered then and remembered.
#pragma once

#include "isa.hpp"

#include <cstdlib>

#if QUERN_X86_64
#include <cpuid.h>
#elif QUERN_AARCH64 && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace quern {
namespace detail {

// One bit for each isa; 0 is "not asked yet", since baseline is always there. Constant-initialized; the race of two first
// questions is harmless, both store the same word.
inline unsigned supported_isas = 0;
// Whether xors take no port that products need: 0 not asked yet, 1 no, 2 yes.
inline unsigned char spare_logic_ports = 0;
// The cap that set_max_isa() installed.
inline signed char program_cap = static_cast<signed char>(isa::best);

inline namespace QUERN_ABI {

constexpr unsigned bit_of(isa i) noexcept { return 1u << static_cast<unsigned>(i); }

#if QUERN_X86_64
inline unsigned long long read_xcr0() noexcept {
  unsigned lo = 0, hi = 0;
  asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (static_cast<unsigned long long>(hi) << 32) | lo;
}

// Linux keeps the 8 KB of tile state out of a process until it asks: ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA.
inline bool request_amx_tiles() noexcept {
#if defined(__linux__)
  long const arch_prctl = 158, get_permission = 0x1022, request_permission = 0x1023, tile_data = 18;
  long result = 0;
  asm volatile("syscall" : "=a"(result) : "a"(arch_prctl), "D"(request_permission), "S"(tile_data) : "rcx", "r11", "memory");
  if (result != 0) return false;
  unsigned long granted = 0;
  asm volatile("syscall" : "=a"(result) : "a"(arch_prctl), "D"(get_permission), "S"(&granted) : "rcx", "r11", "memory");
  return result == 0 && ((granted >> tile_data) & 1) != 0;
#elif defined(_WIN32)
  return true;
#else
  return false;
#endif
}

inline unsigned detect_isas(isa highest) noexcept {
  unsigned found = bit_of(isa::baseline);
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  bool const sse41 = ((c >> 19) & 1) && ((c >> 9) & 1);
  bool const fma = (c >> 12) & 1, osxsave = (c >> 27) & 1, avx = (c >> 28) & 1, f16c = (c >> 29) & 1;
  if (sse41) found |= bit_of(isa::sse41);
  unsigned long long const xcr0 = osxsave ? read_xcr0() : 0;
  bool const ymm = (xcr0 & 0x6) == 0x6, zmm = (xcr0 & 0xe6) == 0xe6, tiles = (xcr0 & 0x60000) == 0x60000;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  bool const avx2 = ymm && avx && fma && f16c && ((b >> 5) & 1);
  bool const avx512bw = avx2 && zmm && ((b >> 16) & 1) && ((b >> 17) & 1) && ((b >> 30) & 1) && ((b >> 31) & 1);
  bool const avx512_vnni = avx512bw && ((c >> 11) & 1);
  bool const amx = avx512_vnni && tiles && ((d >> 24) & 1) && ((d >> 25) & 1);
  unsigned const subleaves = a;
  bool avx_vnni = false;
  if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) avx_vnni = avx2 && ((a >> 4) & 1);
  if (avx2) found |= bit_of(isa::avx2);
  if (avx_vnni) found |= bit_of(isa::avx_vnni);
  if (avx512bw) found |= bit_of(isa::avx512bw);
  if (avx512_vnni) found |= bit_of(isa::avx512_vnni);
  if (amx && highest >= isa::amx_int8 && request_amx_tiles()) found |= bit_of(isa::amx_int8);
  return found;
}
#elif QUERN_AARCH64
inline unsigned detect_isas(isa) noexcept {
  unsigned found = bit_of(isa::baseline) | bit_of(isa::neon);
#if defined(__linux__)
  unsigned long const hwcap = getauxval(AT_HWCAP), hwcap2 = getauxval(AT_HWCAP2);
  if ((hwcap >> 20) & 1) {                                        // HWCAP_ASIMDDP
    found |= bit_of(isa::neon_dot);
    if ((hwcap2 >> 13) & 1) found |= bit_of(isa::neon_i8mm);      // HWCAP2_I8MM
  }
#elif defined(__APPLE__)
  found |= bit_of(isa::neon_dot);  // every Apple M-series core has it; I8MM only from M2 on
#endif
  return found;
}
#else
inline unsigned detect_isas(isa) noexcept { return bit_of(isa::baseline); }
#endif

/// The cap of the environment: QUERN_ISA=avx2. A name that is no instruction set is ignored here and told by isa_report().
inline isa environment_cap() noexcept { return isa_named(std::getenv("QUERN_ISA")).value; }

inline unsigned supported_mask() noexcept {
  unsigned known = __atomic_load_n(&supported_isas, __ATOMIC_RELAXED);
  if (known == 0) {
    isa const cap = environment_cap();
    known = detect_isas(cap);
    if (cap != isa::best) known &= (bit_of(cap) << 1) - 1;
    __atomic_store_n(&supported_isas, known, __ATOMIC_RELAXED);
  }
  return known;
}

/// AMD's cores have four vector ports and multiply on two of them, so that the others turn signs for nothing. On Intel's a 512-bit xor
/// takes one of the two ports that products need.
inline bool logic_ports_to_spare() noexcept {
  unsigned char known = __atomic_load_n(&spare_logic_ports, __ATOMIC_RELAXED);
  if (known == 0) {
    known = 1;
#if QUERN_X86_64
    unsigned a = 0, b = 0, c = 0, d = 0;
    // "AuthenticAMD", "HygonGenuine"
    if (__get_cpuid(0, &a, &b, &c, &d) && (b == 0x68747541u || b == 0x6f677948u)) known = 2;
#endif
    __atomic_store_n(&spare_logic_ports, known, __ATOMIC_RELAXED);
  }
  return known == 2;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Whether this CPU, this system and the QUERN_ISA environment variable allow `i`.
inline bool supported(isa i) noexcept {
  return i == isa::best || (detail::supported_mask() & detail::bit_of(i)) != 0;
}

/// Caps the whole program to `cap` and what comes before it; isa::best lifts the cap. Returns the cap before. What the CPU
/// lacks stays out of reach. Takes effect for calls that start afterwards. A shared library that hides its symbols
/// (-fvisibility=hidden) has a cap of its own; QUERN_ISA holds for all.
inline isa set_max_isa(isa cap) noexcept {
  return static_cast<isa>(__atomic_exchange_n(&detail::program_cap, static_cast<signed char>(cap), __ATOMIC_RELAXED));
}

/// The cap that set_max_isa() installed, isa::best when none.
inline isa max_isa() noexcept { return static_cast<isa>(__atomic_load_n(&detail::program_cap, __ATOMIC_RELAXED)); }

/// The instruction sets that a call capped to `call_cap` may use, a bit each; baseline is always among them.
inline unsigned allowed_isas(isa call_cap = isa::best) noexcept {
  isa const program = max_isa();
  isa const cap = call_cap < program ? call_cap : program;
  unsigned const known = detail::supported_mask();
  return cap == isa::best ? known : known & ((detail::bit_of(cap) << 1) - 1);
}

/// The most preferred instruction set that a call capped to `call_cap` may use.
inline isa active_isa(isa call_cap = isa::best) noexcept {
  unsigned const allowed = allowed_isas(call_cap);
  return static_cast<isa>(31 - __builtin_clz(allowed));
}

}  // inline namespace QUERN_ABI
}  // namespace quern
