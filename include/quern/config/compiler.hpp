// compiler.hpp — what the compiler is, what it may do to our arithmetic, and target regions.
//
// Every other header includes this one first. It refuses builds in which the promised bits could not be kept.
#pragma once

#if !defined(__cplusplus) || (__cplusplus < 202002L && !(defined(_MSVC_LANG) && _MSVC_LANG >= 202002L))
#error "quern needs C++20: compile with -std=c++20 or later."
#endif

// GCC announces each licence to change floating-point results with a macro of its own, clang only the whole of -ffast-math.
// Under any of them `x / scale`, NaN tests and signs of zero are the optimizer's choice, so the bits would silently differ.
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error "quern promises the same bits everywhere, which -ffast-math (or one of its parts) takes away: compile the files that include quern without it."
#endif

// The x87 unit (-mfpmath=387, -m32) keeps more than a float's or double's bits, until the optimizer happens to store them.
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "quern promises the same bits everywhere, which arithmetic wider than its types takes away: compile the files that include quern with -mfpmath=sse -msse2."
#endif
// -fsingle-precision-constant has no macro.
static_assert(0.1 != static_cast<double>(0.1f), "quern's double constants are double: compile the files that include quern without -fsingle-precision-constant.");

#if defined(__x86_64__) || defined(_M_X64)
#define QUERN_X86_64 1
#else
#define QUERN_X86_64 0
#endif

#if defined(__aarch64__)
#define QUERN_AARCH64 1
#else
#define QUERN_AARCH64 0
#endif

// Members of types that cross between translation units built with different -m flags are inlined at every call, -O0
// included, so that no weak copy of them, compiled for one unit's instruction set, can be linked into another (docs/decisions).
#define QUERN_INLINE [[gnu::always_inline]] inline
#define QUERN_NOINLINE [[gnu::noinline]]
// A kernel's helper of more than a few lines, inlined wherever it is called; without optimization, where inlining gains nothing and
// multiplies what is compiled, a function. Only for functions of an instruction set's namespace within QUERN_ABI.
#if defined(__OPTIMIZE__)
#define QUERN_INLINE_BODY QUERN_INLINE
#else
#define QUERN_INLINE_BODY inline
#endif
#define QUERN_COLD [[gnu::cold, gnu::noinline]]

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#define QUERN_EXCEPTIONS 1
#else
#define QUERN_EXCEPTIONS 0
#endif

#define QUERN_PRAGMA(x) _Pragma(#x)

// Functions between QUERN_TARGET_BEGIN("avx2,fma") and QUERN_TARGET_END are compiled for that instruction set, whatever the
// command line says. Regions hold only intrinsics and plain code: no #include, no lambda that takes vectors.
#if defined(__clang__)
#define QUERN_TARGET_BEGIN(features) \
  QUERN_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define QUERN_TARGET_END QUERN_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
// GCC 12's own headers make _mm512_undefined_* of `__Y = __Y` and then warn about it in whoever inlines them (GCC bug 105593).
#define QUERN_TARGET_BEGIN(features)                                                                      \
  QUERN_PRAGMA(GCC diagnostic push) QUERN_PRAGMA(GCC diagnostic ignored "-Wuninitialized")                \
  QUERN_PRAGMA(GCC diagnostic ignored "-Wmaybe-uninitialized") QUERN_PRAGMA(GCC push_options) QUERN_PRAGMA(GCC target(features))
#define QUERN_TARGET_END QUERN_PRAGMA(GCC pop_options) QUERN_PRAGMA(GCC diagnostic pop)
#else
#define QUERN_TARGET_BEGIN(features)
#define QUERN_TARGET_END
#endif

// clang lets -fassociative-math and -freciprocal-math through without a macro; between these two lines it does as written.
#if defined(__clang__) && QUERN_X86_64
#define QUERN_FP_BEGIN QUERN_PRAGMA(float_control(precise, on, push))
#define QUERN_FP_END QUERN_PRAGMA(float_control(pop))
#else
#define QUERN_FP_BEGIN
#define QUERN_FP_END
#endif
