// report.hpp — which instruction set runs on this machine, and why.
#pragma once

#include "detect.hpp"

namespace quern {

/// A few lines of text, without allocation.
struct report_text {
  static constexpr int capacity = 2048;
  char text[capacity] = {};
  int size = 0;

  QUERN_INLINE char const* c_str() const noexcept { return text; }
  QUERN_INLINE report_text& operator<<(char const* s) noexcept {
    while (*s != '\0' && size < capacity - 1) text[size++] = *s++;
    text[size] = '\0';
    return *this;
  }
};

inline namespace QUERN_ABI {

/// What runs and why, a line each:
///
///     quern runs avx512_vnni
///       amx_int8     not on this CPU
///       avx512_vnni  chosen
///       avx512bw     available
inline report_text isa_report(isa call_cap = isa::best) {
  report_text out;
  unsigned const known = detail::supported_mask(), allowed = allowed_isas(call_cap);
  unsigned const hardware = detail::detect_isas(isa::best);
  isa const chosen = active_isa(call_cap);
  out << "quern runs " << name(chosen) << "\n";
  char const* const environment = std::getenv("QUERN_ISA");
  for (int k = static_cast<int>(sizeof(all_isas) / sizeof(all_isas[0])) - 1; k >= 0; --k) {
    isa const i = all_isas[k];
#if QUERN_X86_64
    if (i >= isa::neon) continue;
#elif QUERN_AARCH64
    if (i != isa::baseline && i < isa::neon) continue;
#endif
    out << "  " << name(i);
    for (int pad = static_cast<int>(__builtin_strlen(name(i))); pad < 13; ++pad) out << " ";
    if ((hardware & detail::bit_of(i)) == 0)
      out << "not on this CPU, or not enabled by its system";
    else if ((known & detail::bit_of(i)) == 0)
      out << "ruled out by QUERN_ISA=" << environment;
    else if ((allowed & detail::bit_of(i)) == 0)
      out << "ruled out by a cap in the program";
    else
      out << (i == chosen ? "chosen" : "available");
    if (i == isa::baseline)
      out << (QUERN_BASELINE == QUERN_BASELINE_SSE2    ? " (SSE2)"
              : QUERN_BASELINE == QUERN_BASELINE_XSIMD ? " (through xsimd)"
                                                       : " (plain C++, without xsimd)");
    out << "\n";
  }
  if (environment != nullptr && !isa_named(environment).found)
    out << "  QUERN_ISA=" << environment << " is not the name of an instruction set and is ignored\n";
#if QUERN_X86_64
  unsigned mxcsr = 0;
  asm volatile("stmxcsr %0" : "=m"(mxcsr));
  if ((mxcsr & 0xe040u) != 0)
    out << "  note: MXCSR flushes denormals or does not round to nearest (-ffast-math somewhere in this program?);\n"
           "  float steps of the SSE and AVX2 code follow it\n";
#endif
  return out;
}

}  // inline namespace QUERN_ABI
}  // namespace quern
