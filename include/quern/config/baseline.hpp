// baseline.hpp — what the vector vocabulary of isa::baseline is made of: simd/baseline.hpp has all three.
//
// On x86-64 it is SSE2, which every such CPU has; elsewhere xsimd where it is on the include path, else plain C++. A program may
// choose another one for all of its files by defining QUERN_BASELINE; results are the same bits
// (docs/decisions/0006-baseline.md).
#pragma once

#include "compiler.hpp"
#include "kernels.hpp"

#define QUERN_BASELINE_PLAIN 1
#define QUERN_BASELINE_XSIMD 2
#define QUERN_BASELINE_SSE2 3

#if !defined(QUERN_BASELINE)
#if QUERN_COMPILED_KERNELS == 1 || QUERN_COMPILED_KERNELS == 2  // no intrinsics in the files that link them
#define QUERN_BASELINE QUERN_BASELINE_PLAIN
#elif QUERN_X86_64
#define QUERN_BASELINE QUERN_BASELINE_SSE2
#elif defined(__has_include)
#if __has_include(<xsimd/xsimd.hpp>)
#define QUERN_BASELINE QUERN_BASELINE_XSIMD
#endif
#endif
#endif
#if !defined(QUERN_BASELINE)
#define QUERN_BASELINE QUERN_BASELINE_PLAIN
#endif

#if QUERN_BASELINE < QUERN_BASELINE_PLAIN || QUERN_BASELINE > QUERN_BASELINE_SSE2
#error "QUERN_BASELINE must be QUERN_BASELINE_PLAIN, QUERN_BASELINE_XSIMD or QUERN_BASELINE_SSE2."
#endif
#if QUERN_BASELINE == QUERN_BASELINE_SSE2 && !QUERN_X86_64
#error "QUERN_BASELINE_SSE2 is for x86-64 only."
#endif
