// simd.hpp — the vector vocabulary of every instruction set that has one on this architecture: see vocabulary.md.
#pragma once

#include "baseline.hpp"
#if QUERN_DETAIL_KERNEL_BODIES
#include "x86_avx2.hpp"
#include "x86_avx512.hpp"
#include "x86_sse41.hpp"
#endif

/// return best::CALL, best being the namespace of the vocabulary for what `cap`, the environment and the CPU allow. `compiled`: whether
/// quern::kernels holds the body; in files that link it the baseline's is the only other one.
#if QUERN_X86_64
#define QUERN_DETAIL_BEST(compiled, cap, ...)                           \
  if constexpr (QUERN_DETAIL_KERNEL_BODIES || (compiled)) {             \
    isa const best = active_isa(cap);                                   \
    if (best >= isa::avx512bw) return avx512bw::__VA_ARGS__;            \
    if (best >= isa::avx2) return avx2::__VA_ARGS__;                    \
    if (best >= isa::sse41) return sse41::__VA_ARGS__;                  \
  }                                                                     \
  return baseline::__VA_ARGS__;
#else
#define QUERN_DETAIL_BEST(compiled, cap, ...) \
  (void)cap;                                  \
  return baseline::__VA_ARGS__;
#endif
