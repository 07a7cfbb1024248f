// x86_sse2.hpp — the vector vocabulary of the baseline on x86-64: SSE2, which every such CPU has. vocabulary.md says what each
// word means; x86_xmm.inl has those that SSE4.1 shares.
//
// Not in a target region: it is compiled with the flags of the translation unit, as everything of the baseline is.
#pragma once

#include "../core/integers.hpp"
#include "../core/reals.hpp"
#include "../cpu/isa.hpp"
#include "../round/modes.hpp"

#if QUERN_X86_64
#include <immintrin.h>

namespace quern {
inline namespace QUERN_ABI {
namespace baseline {
namespace inner {

// The low 4 elements as int32.
QUERN_INLINE __m128i widen_s16(__m128i x) { return _mm_srai_epi32(_mm_unpacklo_epi16(x, x), 16); }
QUERN_INLINE __m128i widen_u16(__m128i x) { return _mm_unpacklo_epi16(x, _mm_setzero_si128()); }
QUERN_INLINE __m128i widen_s8(__m128i x) {
  __m128i const twice = _mm_unpacklo_epi8(x, x);
  return _mm_srai_epi32(_mm_unpacklo_epi16(twice, twice), 24);
}
QUERN_INLINE __m128i widen_u8(__m128i x) { return widen_u16(_mm_unpacklo_epi8(x, _mm_setzero_si128())); }

/// `yes` where the mask is all ones, `no` where it is all zeros.
QUERN_INLINE __m128i blend(__m128i no, __m128i yes, __m128i m) { return _mm_or_si128(_mm_and_si128(m, yes), _mm_andnot_si128(m, no)); }
/// The low half of a, the high half of b.
QUERN_INLINE __m128i halves(__m128i a, __m128i b) {
  return _mm_castpd_si128(_mm_shuffle_pd(_mm_castsi128_pd(a), _mm_castsi128_pd(b), 2));
}
/// The even int32 of a, the odd ones of b.
QUERN_INLINE __m128i odd_of_second(__m128i a, __m128i b) {
  __m128i const odd = _mm_set1_epi64x(static_cast<long long>(0xffffffff00000000ull));
  return blend(a, b, odd);
}
/// Saturating to 16 bits: packs_epi32 around the middle of u16, which a negative number would leave below INT_MIN.
QUERN_INLINE __m128i pack_u16(__m128i a, __m128i b) {
  __m128i const middle = _mm_set1_epi32(0x8000);
  __m128i const a0 = _mm_andnot_si128(_mm_srai_epi32(a, 31), a), b0 = _mm_andnot_si128(_mm_srai_epi32(b, 31), b);
  return _mm_xor_si128(_mm_packs_epi32(_mm_sub_epi32(a0, middle), _mm_sub_epi32(b0, middle)), _mm_set1_epi16(-0x8000));
}
QUERN_INLINE __m128i min32(__m128i a, __m128i b) { return blend(a, b, _mm_cmpgt_epi32(a, b)); }
QUERN_INLINE __m128i max32(__m128i a, __m128i b) { return blend(b, a, _mm_cmpgt_epi32(a, b)); }
QUERN_INLINE __m128i abs32(__m128i a) {
  __m128i const sign = _mm_srai_epi32(a, 31);
  return _mm_sub_epi32(_mm_xor_si128(a, sign), sign);
}
QUERN_INLINE __m128i mul_low32(__m128i a, __m128i b) {
  __m128i const even = _mm_mul_epu32(a, b), odd = _mm_mul_epu32(_mm_srli_epi64(a, 32), _mm_srli_epi64(b, 32));
  return odd_of_second(even, _mm_slli_epi64(odd, 32));
}
/// The signed products of the even int32: the unsigned ones, less 2^32 b where a < 0 and 2^32 a where b < 0.
QUERN_INLINE __m128i mul_even(__m128i a, __m128i b) {
  __m128i const excess = _mm_add_epi32(_mm_and_si128(_mm_srai_epi32(a, 31), b), _mm_and_si128(_mm_srai_epi32(b, 31), a));
  return _mm_sub_epi64(_mm_mul_epu32(a, b), _mm_slli_epi64(excess, 32));
}
QUERN_INLINE __m128i min8(__m128i a, __m128i b) { return blend(a, b, _mm_cmpgt_epi8(a, b)); }
QUERN_INLINE __m128i max8(__m128i a, __m128i b) { return blend(b, a, _mm_cmpgt_epi8(a, b)); }
QUERN_INLINE bool any_common(__m128i a, __m128i b) {
  return _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_and_si128(a, b), _mm_setzero_si128())) != 0xffff;
}

// From 2^31 (2^51) on, and for NaN, a number is returned as it is: it is integral, or nothing.
QUERN_INLINE __m128 nearest(__m128 a) {
  __m128 const small = _mm_cmplt_ps(_mm_andnot_ps(_mm_set1_ps(-0.0f), a), _mm_set1_ps(2147483648.0f));
  __m128 const r = _mm_cvtepi32_ps(_mm_cvtps_epi32(a));
  return _mm_or_ps(_mm_and_ps(small, r), _mm_andnot_ps(small, a));
}
QUERN_INLINE __m128 cut(__m128 a) {
  __m128 const small = _mm_cmplt_ps(_mm_andnot_ps(_mm_set1_ps(-0.0f), a), _mm_set1_ps(2147483648.0f));
  __m128 const r = _mm_cvtepi32_ps(_mm_cvttps_epi32(a));
  return _mm_or_ps(_mm_and_ps(small, r), _mm_andnot_ps(small, a));
}
QUERN_INLINE __m128 down(__m128 a) {
  __m128 const r = cut(a);
  return _mm_sub_ps(r, _mm_and_ps(_mm_cmplt_ps(a, r), _mm_set1_ps(1.0f)));
}
QUERN_INLINE __m128 up(__m128 a) {
  __m128 const r = cut(a);
  return _mm_add_ps(r, _mm_and_ps(_mm_cmplt_ps(r, a), _mm_set1_ps(1.0f)));
}
/// |a| + 2^52 has no bits left for a fraction.
QUERN_INLINE __m128d nearest(__m128d a) {
  __m128d const sign = _mm_set1_pd(-0.0), magnitude = _mm_andnot_pd(sign, a), big = _mm_set1_pd(4503599627370496.0);
  __m128d const small = _mm_cmplt_pd(magnitude, big);
  __m128d const r = _mm_or_pd(_mm_sub_pd(_mm_add_pd(magnitude, big), big), _mm_and_pd(sign, a));
  return _mm_or_pd(_mm_and_pd(small, r), _mm_andnot_pd(small, a));
}
QUERN_INLINE __m128d down(__m128d a) {
  __m128d const r = nearest(a);
  return _mm_sub_pd(r, _mm_and_pd(_mm_cmplt_pd(a, r), _mm_set1_pd(1.0)));
}
QUERN_INLINE __m128d up(__m128d a) {
  __m128d const r = nearest(a);
  return _mm_add_pd(r, _mm_and_pd(_mm_cmplt_pd(r, a), _mm_set1_pd(1.0)));
}
QUERN_INLINE __m128d cut(__m128d a) {
  __m128d const sign = _mm_set1_pd(-0.0);
  return _mm_or_pd(down(_mm_andnot_pd(sign, a)), _mm_and_pd(sign, a));
}

}  // namespace inner

#include "x86_xmm.inl"

}  // namespace baseline
}  // inline namespace QUERN_ABI
}  // namespace quern
#endif
