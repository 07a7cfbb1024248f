// peaks.hpp — what this core can do at most, measured: multiply-add instructions on registers, and reading memory.
#pragma once

#include <quern/cpu/isa.hpp>

#include <cstddef>

namespace quern::bench {

/// The instruction that carries an int8 (or float) product.
enum class instruction {
  tdpbssd,   ///< AMX
  vpdpbusd,  ///< VNNI: u8 x s8, four to an int32
  maddubs,   ///< vpmaddubsw + vpmaddwd + vpaddd: u8 x s8 where it cannot saturate
  madd,      ///< vpmaddwd + vpaddd: int16, what exact code without VNNI widens to
  fma,       ///< float: vfmadd, or mul + add before AVX2
};
char const* name(instruction i);

/// Billions of operations (a multiplication and an addition count two) a second of `what` in the registers of `i`: xmm for
/// sse41, ymm for avx2 and avx_vnni, zmm from avx512bw on. 0 where the machine lacks it. Measured once, then remembered.
double peak_gops(isa i, instruction what);

/// The best instruction for exact int8 products of arbitrary operands on `i`, and its peak.
instruction best_instruction(isa i);
double peak_gops(isa i);

/// GB/s at which one core reads `bytes` of memory over and over (one or four streams, whichever is faster), remembered.
double read_bandwidth(std::size_t bytes);
/// GB/s read + written of a memcpy of `bytes`.
double copy_bandwidth(std::size_t bytes);

}  // namespace quern::bench
