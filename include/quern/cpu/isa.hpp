// isa.hpp — the instruction sets that quern has code for, in order of preference.
#pragma once

#include "../config/abi.hpp"

namespace quern {

/// An instruction set. Later ones are preferred; a cap allows itself and everything before it.
enum class isa : signed char {
  baseline,     ///< what every CPU that the program was compiled for has: SSE2, or through xsimd, or plain C++ (config/baseline.hpp)
  sse41,        ///< SSE4.1
  avx2,         ///< AVX2 + FMA + F16C
  avx_vnni,     ///< the above + AVX-VNNI (256-bit vpdpbusd without AVX-512)
  avx512bw,     ///< AVX-512 F, BW, DQ, VL
  avx512_vnni,  ///< the above + AVX-512 VNNI
  amx_int8,     ///< the above + AMX-TILE and AMX-INT8
  neon,         ///< Armv8.0 Advanced SIMD
  neon_dot,     ///< + DotProd
  neon_i8mm,    ///< + I8MM
  best = 127    ///< no cap
};

/// All of them in order, for lists, tests and tables.
inline constexpr isa all_isas[] = {isa::baseline, isa::sse41,    isa::avx2, isa::avx_vnni, isa::avx512bw, isa::avx512_vnni,
                                   isa::amx_int8, isa::neon, isa::neon_dot, isa::neon_i8mm};

inline namespace QUERN_ABI {

/// "avx512_vnni": the name that QUERN_ISA takes and that reports and benchmarks print.
constexpr char const* name(isa i) noexcept {
  switch (i) {
    case isa::baseline: return "baseline";
    case isa::sse41: return "sse41";
    case isa::avx2: return "avx2";
    case isa::avx_vnni: return "avx_vnni";
    case isa::avx512bw: return "avx512bw";
    case isa::avx512_vnni: return "avx512_vnni";
    case isa::amx_int8: return "amx_int8";
    case isa::neon: return "neon";
    case isa::neon_dot: return "neon_dot";
    case isa::neon_i8mm: return "neon_i8mm";
    case isa::best: return "best";
  }
  return "unknown";
}

/// The instruction set of that name; `found` tells whether there is one.
struct named_isa {
  isa value;
  bool found;
};
constexpr named_isa isa_named(char const* text) noexcept {
  auto const equal = [](char const* a, char const* b) {
    while (*a != '\0' && *a == *b) ++a, ++b;
    return *a == *b;
  };
  if (text != nullptr) {
    for (isa i : all_isas)
      if (equal(text, name(i))) return {i, true};
    if (equal(text, "best")) return {isa::best, true};
  }
  return {isa::best, false};
}

}  // inline namespace QUERN_ABI
}  // namespace quern

// The features each instruction set's code is compiled with; see QUERN_TARGET_BEGIN.
#define QUERN_TARGET_SSE41 "sse4.1,ssse3"
#define QUERN_TARGET_AVX2 "avx2,fma,f16c"
#define QUERN_TARGET_AVX_VNNI "avx2,fma,f16c,avxvnni"
#define QUERN_TARGET_AVX512BW "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
#define QUERN_TARGET_AVX512_VNNI "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
#define QUERN_TARGET_AMX_INT8 "amx-tile,amx-int8,avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
