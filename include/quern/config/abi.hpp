// abi.hpp — one inline namespace for each set of compile flags that changes what our inline functions compile to.
//
// Two translation units built with different -m flags would otherwise define the same inline function twice, and the linker
// would keep one of them: the AVX-512 one, say, for the program that checked the CPU first. Functions live in
// quern::QUERN_ABI, whose name spells the flags and QUERN_BASELINE. Plain data (views, params, packed weights) lives in quern itself,
// so that it can cross. tests/odr links such units and looks at the symbols.
#pragma once

#include "baseline.hpp"
#include "compiler.hpp"
#include "version.hpp"

#if defined(__SSE4_1__)
#define QUERN_DETAIL_ABI_A _sse41
#else
#define QUERN_DETAIL_ABI_A
#endif
#if defined(__AVX__)
#define QUERN_DETAIL_ABI_B _avx
#else
#define QUERN_DETAIL_ABI_B
#endif
#if defined(__AVX2__)
#define QUERN_DETAIL_ABI_C _avx2
#else
#define QUERN_DETAIL_ABI_C
#endif
#if defined(__FMA__)
#define QUERN_DETAIL_ABI_D _fma
#else
#define QUERN_DETAIL_ABI_D
#endif
#if defined(__BMI2__)
#define QUERN_DETAIL_ABI_E _bmi2
#else
#define QUERN_DETAIL_ABI_E
#endif
#if defined(__F16C__)
#define QUERN_DETAIL_ABI_F _f16c
#else
#define QUERN_DETAIL_ABI_F
#endif
#if defined(__AVXVNNI__)
#define QUERN_DETAIL_ABI_G _avxvnni
#else
#define QUERN_DETAIL_ABI_G
#endif
#if defined(__AVX512F__)
#define QUERN_DETAIL_ABI_H _avx512f
#else
#define QUERN_DETAIL_ABI_H
#endif
#if defined(__AVX512BW__)
#define QUERN_DETAIL_ABI_I _bw
#else
#define QUERN_DETAIL_ABI_I
#endif
#if defined(__AVX512VNNI__)
#define QUERN_DETAIL_ABI_J _vnni
#else
#define QUERN_DETAIL_ABI_J
#endif
#if defined(__AMX_INT8__)
#define QUERN_DETAIL_ABI_K _amx
#else
#define QUERN_DETAIL_ABI_K
#endif
#if defined(__ARM_FEATURE_DOTPROD)
#define QUERN_DETAIL_ABI_L _dot
#elif defined(__SSE3__) || defined(__SSSE3__) || defined(__POPCNT__)
#define QUERN_DETAIL_ABI_L _sse3
#else
#define QUERN_DETAIL_ABI_L
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define QUERN_DETAIL_ABI_M _i8mm
#elif defined(__AVX512VL__)
#define QUERN_DETAIL_ABI_M _vl
#else
#define QUERN_DETAIL_ABI_M
#endif
#if QUERN_BASELINE == QUERN_BASELINE_PLAIN
#define QUERN_DETAIL_ABI_N _plain
#elif QUERN_BASELINE == QUERN_BASELINE_XSIMD
#define QUERN_DETAIL_ABI_N _xsimd
#else
#define QUERN_DETAIL_ABI_N
#endif
#if QUERN_EXCEPTIONS
#define QUERN_DETAIL_ABI_X
#else
#define QUERN_DETAIL_ABI_X _noexcept
#endif

#define QUERN_DETAIL_PASTE_(v, a, b, c, d, e, f, g, h, i, j, k, l, m, n, x) v##a##b##c##d##e##f##g##h##i##j##k##l##m##n##x
#define QUERN_DETAIL_PASTE(v, a, b, c, d, e, f, g, h, i, j, k, l, m, n, x) \
  QUERN_DETAIL_PASTE_(v, a, b, c, d, e, f, g, h, i, j, k, l, m, n, x)

#define QUERN_ABI                                                                                             \
  QUERN_DETAIL_PASTE(v0, QUERN_DETAIL_ABI_A, QUERN_DETAIL_ABI_B, QUERN_DETAIL_ABI_C, QUERN_DETAIL_ABI_D,       \
                     QUERN_DETAIL_ABI_E, QUERN_DETAIL_ABI_F, QUERN_DETAIL_ABI_G, QUERN_DETAIL_ABI_H,           \
                     QUERN_DETAIL_ABI_I, QUERN_DETAIL_ABI_J, QUERN_DETAIL_ABI_K, QUERN_DETAIL_ABI_L,           \
                     QUERN_DETAIL_ABI_M, QUERN_DETAIL_ABI_N, QUERN_DETAIL_ABI_X)
