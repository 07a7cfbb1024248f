// x86_sse41.hpp — the vector vocabulary on SSE4.1: 4 lanes, no fma, no shifts by lane. vocabulary.md says what each word means.
#pragma once

#include "../core/integers.hpp"
#include "../core/reals.hpp"
#include "../cpu/isa.hpp"
#include "../round/modes.hpp"

#if QUERN_X86_64
#include <immintrin.h>

QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
inline namespace QUERN_ABI {
namespace sse41 {
namespace inner {

QUERN_INLINE __m128i widen_s8(__m128i x) { return _mm_cvtepi8_epi32(x); }
QUERN_INLINE __m128i widen_u8(__m128i x) { return _mm_cvtepu8_epi32(x); }
QUERN_INLINE __m128i widen_s16(__m128i x) { return _mm_cvtepi16_epi32(x); }
QUERN_INLINE __m128i widen_u16(__m128i x) { return _mm_cvtepu16_epi32(x); }
QUERN_INLINE __m128i pack_u16(__m128i a, __m128i b) { return _mm_packus_epi32(a, b); }
QUERN_INLINE __m128i blend(__m128i no, __m128i yes, __m128i m) { return _mm_blendv_epi8(no, yes, m); }
QUERN_INLINE __m128i halves(__m128i a, __m128i b) { return _mm_blend_epi16(a, b, 0xf0); }
QUERN_INLINE __m128i odd_of_second(__m128i a, __m128i b) { return _mm_blend_epi16(a, b, 0xcc); }
QUERN_INLINE __m128i min32(__m128i a, __m128i b) { return _mm_min_epi32(a, b); }
QUERN_INLINE __m128i max32(__m128i a, __m128i b) { return _mm_max_epi32(a, b); }
QUERN_INLINE __m128i abs32(__m128i a) { return _mm_abs_epi32(a); }
QUERN_INLINE __m128i mul_low32(__m128i a, __m128i b) { return _mm_mullo_epi32(a, b); }
QUERN_INLINE __m128i mul_even(__m128i a, __m128i b) { return _mm_mul_epi32(a, b); }
QUERN_INLINE __m128i min8(__m128i a, __m128i b) { return _mm_min_epi8(a, b); }
QUERN_INLINE __m128i max8(__m128i a, __m128i b) { return _mm_max_epi8(a, b); }
QUERN_INLINE bool any_common(__m128i a, __m128i b) { return _mm_testz_si128(a, b) == 0; }
QUERN_INLINE __m128 nearest(__m128 a) { return _mm_round_ps(a, 0x08); }
QUERN_INLINE __m128 down(__m128 a) { return _mm_round_ps(a, 0x09); }
QUERN_INLINE __m128 up(__m128 a) { return _mm_round_ps(a, 0x0a); }
QUERN_INLINE __m128 cut(__m128 a) { return _mm_round_ps(a, 0x0b); }
QUERN_INLINE __m128d nearest(__m128d a) { return _mm_round_pd(a, 0x08); }
QUERN_INLINE __m128d down(__m128d a) { return _mm_round_pd(a, 0x09); }
QUERN_INLINE __m128d up(__m128d a) { return _mm_round_pd(a, 0x0a); }
QUERN_INLINE __m128d cut(__m128d a) { return _mm_round_pd(a, 0x0b); }

}  // namespace inner

#include "x86_xmm.inl"

}  // namespace sse41
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
#endif
