// simd.hpp — the vector vocabulary of every instruction set that has one on this architecture: see vocabulary.md.
#pragma once

#include "baseline.hpp"
#include "x86_avx2.hpp"
#include "x86_avx512.hpp"
#include "x86_sse41.hpp"

/// return best::CALL, best being the namespace of the vocabulary for what `cap`, the environment and the CPU allow.
#if QUERN_X86_64
#define QUERN_DETAIL_BEST(cap, ...)                                     \
  isa const best = active_isa(cap);                                     \
  if (best >= isa::avx512bw) return avx512bw::__VA_ARGS__;              \
  if (best >= isa::avx2) return avx2::__VA_ARGS__;                      \
  if (best >= isa::sse41) return sse41::__VA_ARGS__;                    \
  return baseline::__VA_ARGS__;
#else
#define QUERN_DETAIL_BEST(cap, ...) \
  (void)cap;                        \
  return baseline::__VA_ARGS__;
#endif
