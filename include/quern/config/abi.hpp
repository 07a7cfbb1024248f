// abi.hpp — one inline namespace for each set of compile flags that changes what our inline functions compile to.
//
// Two translation units built with different -m flags would otherwise define the same inline function twice, and the linker
// would keep one of them: the AVX-512 one, say, for the program that checked the CPU first. Functions live in
// quern::QUERN_ABI, whose name spells the flags and QUERN_BASELINE. Plain data (views, params, packed weights) lives in quern itself,
// so that it can cross. tests/odr links such units and looks at the symbols.
//
// A flag is listed when a compiler makes its instructions of plain C++: lzcnt runs as bsr, with another result, where the CPU
// lacks it; two units of -march=cascadelake and -march=icelake-server differ in VBMI alone. AES, SHA, AMX and their like come of
// intrinsics only.
#pragma once

#include "baseline.hpp"
#include "compiler.hpp"
#include "version.hpp"

// QUERN_DETAIL_ABI_TAG(__BMI__, _bmi) is _bmi where __BMI__ is defined as 1, else nothing: what follows the comma that
// QUERN_DETAIL_ABI_IF_1 brings is the second argument.
#define QUERN_DETAIL_ABI_IF_1 ,
#define QUERN_DETAIL_ABI_IF_1000000 ,  // RISC-V: an extension's version 1.0
#define QUERN_DETAIL_ABI_SECOND_(first, second, ...) second
#define QUERN_DETAIL_ABI_SECOND(...) QUERN_DETAIL_ABI_SECOND_(__VA_ARGS__)
#define QUERN_DETAIL_ABI_TAG_(value, tag) QUERN_DETAIL_ABI_SECOND(QUERN_DETAIL_ABI_IF_##value tag, , )
#define QUERN_DETAIL_ABI_TAG(macro, tag) QUERN_DETAIL_ABI_TAG_(macro, tag)
#define QUERN_DETAIL_ABI_JOIN_(a, b, c, d, e, f, g, h) a##b##c##d##e##f##g##h
#define QUERN_DETAIL_ABI_JOIN(a, b, c, d, e, f, g, h) QUERN_DETAIL_ABI_JOIN_(a, b, c, d, e, f, g, h)

// The levels of the x86-64 psABI have a short name: -march=x86-64-v3 is v0_x86v2_x86v3.
#if defined(__SSE3__) && defined(__SSSE3__) && defined(__SSE4_1__) && defined(__SSE4_2__) && defined(__POPCNT__)
#define QUERN_DETAIL_ABI_2 _x86v2
#else
#define QUERN_DETAIL_ABI_2                                                                                                     \
  QUERN_DETAIL_ABI_JOIN(QUERN_DETAIL_ABI_TAG(__SSE3__, _sse3), QUERN_DETAIL_ABI_TAG(__SSSE3__, _ssse3),                        \
                        QUERN_DETAIL_ABI_TAG(__SSE4_1__, _sse41), QUERN_DETAIL_ABI_TAG(__SSE4_2__, _sse42),                    \
                        QUERN_DETAIL_ABI_TAG(__POPCNT__, _popcnt), , , )
#endif
#if defined(__AVX__) && defined(__AVX2__) && defined(__FMA__) && defined(__F16C__) && defined(__BMI__) && defined(__BMI2__) && \
    defined(__LZCNT__) && defined(__MOVBE__)
#define QUERN_DETAIL_ABI_3 _x86v3
#else
#define QUERN_DETAIL_ABI_3                                                                                                     \
  QUERN_DETAIL_ABI_JOIN(QUERN_DETAIL_ABI_TAG(__AVX__, _avx), QUERN_DETAIL_ABI_TAG(__AVX2__, _avx2),                            \
                        QUERN_DETAIL_ABI_TAG(__FMA__, _fma), QUERN_DETAIL_ABI_TAG(__F16C__, _f16c),                            \
                        QUERN_DETAIL_ABI_TAG(__BMI__, _bmi), QUERN_DETAIL_ABI_TAG(__BMI2__, _bmi2),                            \
                        QUERN_DETAIL_ABI_TAG(__LZCNT__, _lzcnt), QUERN_DETAIL_ABI_TAG(__MOVBE__, _movbe))
#endif
#if defined(__AVX512F__) && defined(__AVX512CD__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define QUERN_DETAIL_ABI_4 _x86v4
#else
#define QUERN_DETAIL_ABI_4                                                                                                     \
  QUERN_DETAIL_ABI_JOIN(QUERN_DETAIL_ABI_TAG(__AVX512F__, _avx512f), QUERN_DETAIL_ABI_TAG(__AVX512CD__, _cd),                  \
                        QUERN_DETAIL_ABI_TAG(__AVX512BW__, _bw), QUERN_DETAIL_ABI_TAG(__AVX512DQ__, _dq),                      \
                        QUERN_DETAIL_ABI_TAG(__AVX512VL__, _vl), , , )
#endif

// Beyond the levels.
#define QUERN_DETAIL_ABI_5                                                                                                     \
  QUERN_DETAIL_ABI_JOIN(QUERN_DETAIL_ABI_TAG(__AVX512VBMI__, _vbmi), QUERN_DETAIL_ABI_TAG(__AVX512VBMI2__, _vbmi2),            \
                        QUERN_DETAIL_ABI_TAG(__AVX512VNNI__, _vnni), QUERN_DETAIL_ABI_TAG(__AVX512BITALG__, _bitalg),          \
                        QUERN_DETAIL_ABI_TAG(__AVX512VPOPCNTDQ__, _vpopcnt), QUERN_DETAIL_ABI_TAG(__AVX512IFMA__, _ifma),      \
                        QUERN_DETAIL_ABI_TAG(__AVX512BF16__, _bf16), QUERN_DETAIL_ABI_TAG(__AVX512FP16__, _fp16))
#define QUERN_DETAIL_ABI_6                                                                                                     \
  QUERN_DETAIL_ABI_JOIN(QUERN_DETAIL_ABI_TAG(__AVXVNNI__, _avxvnni), QUERN_DETAIL_ABI_TAG(__AVXVNNIINT8__, _vnniint8),         \
                        QUERN_DETAIL_ABI_TAG(__AVXVNNIINT16__, _vnniint16), QUERN_DETAIL_ABI_TAG(__AVXIFMA__, _avxifma),       \
                        QUERN_DETAIL_ABI_TAG(__GFNI__, _gfni), QUERN_DETAIL_ABI_TAG(__FMA4__, _fma4),                          \
                        QUERN_DETAIL_ABI_TAG(__XOP__, _xop), QUERN_DETAIL_ABI_TAG(__TBM__, _tbm))
#define QUERN_DETAIL_ABI_7                                                                                                     \
  QUERN_DETAIL_ABI_JOIN(QUERN_DETAIL_ABI_TAG(__AVX10_1__, _avx101), QUERN_DETAIL_ABI_TAG(__AVX10_2__, _avx102),                \
                        QUERN_DETAIL_ABI_TAG(__APX_F__, _apx), QUERN_DETAIL_ABI_TAG(__riscv_vector, _v),                       \
                        QUERN_DETAIL_ABI_TAG(__riscv_zba, _zba), QUERN_DETAIL_ABI_TAG(__riscv_zbb, _zbb),                      \
                        QUERN_DETAIL_ABI_TAG(__wasm_simd128__, _simd128), QUERN_DETAIL_ABI_TAG(__wasm_relaxed_simd__, _relaxed))
#define QUERN_DETAIL_ABI_8                                                                                                     \
  QUERN_DETAIL_ABI_JOIN(                                                                                                       \
      QUERN_DETAIL_ABI_TAG(__ARM_FEATURE_DOTPROD, _dotprod), QUERN_DETAIL_ABI_TAG(__ARM_FEATURE_MATMUL_INT8, _i8mm),           \
      QUERN_DETAIL_ABI_TAG(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC, _fp16), QUERN_DETAIL_ABI_TAG(__ARM_FEATURE_BF16, _bf16),      \
      QUERN_DETAIL_ABI_TAG(__ARM_FEATURE_ATOMICS, _lse), QUERN_DETAIL_ABI_TAG(__ARM_FEATURE_SVE, _sve),                        \
      QUERN_DETAIL_ABI_TAG(__ARM_FEATURE_SVE2, _sve2), QUERN_DETAIL_ABI_TAG(__ARM_FEATURE_SME, _sme))

// What else our functions are compiled from.
#if QUERN_EXCEPTIONS
#define QUERN_DETAIL_ABI_X
#else
#define QUERN_DETAIL_ABI_X _noexcept
#endif
#if QUERN_BASELINE == QUERN_BASELINE_PLAIN
#define QUERN_DETAIL_ABI_Y _plain
#elif QUERN_BASELINE == QUERN_BASELINE_XSIMD
#define QUERN_DETAIL_ABI_Y _xsimd
#else
#define QUERN_DETAIL_ABI_Y
#endif
#if QUERN_COMPILED_KERNELS >= 3
#define QUERN_DETAIL_ABI_Z _untyped
#elif QUERN_COMPILED_KERNELS
#define QUERN_DETAIL_ABI_Z _linked
#else
#define QUERN_DETAIL_ABI_Z
#endif

#define QUERN_ABI                                                                                                              \
  QUERN_DETAIL_ABI_JOIN(                                                                                                       \
      QUERN_DETAIL_ABI_JOIN(v0, QUERN_DETAIL_ABI_2, QUERN_DETAIL_ABI_3, QUERN_DETAIL_ABI_4, QUERN_DETAIL_ABI_5, , , ),         \
      QUERN_DETAIL_ABI_6, QUERN_DETAIL_ABI_7, QUERN_DETAIL_ABI_8, QUERN_DETAIL_ABI_X, QUERN_DETAIL_ABI_Y, QUERN_DETAIL_ABI_Z, )
