// x86_avx512.hpp — the vector vocabulary on AVX-512 F, BW, DQ, VL: 16 lanes. vocabulary.md says what each word means.
//
// Every rounding is {rn-sae}: the user's MXCSR rounding mode does not matter here. (Denormal flushing it cannot override.)
//
//     instruction           uops, ports (Skylake-X .. Sapphire Rapids)     instruction      uops, ports
//     vmulps vfmadd vcvt    1, p05                                         vpackssdw        1, p5
//     vpaddsw vpminsw       1, p0 (p05 for vpadd)                          vpermd           1, p5
//     vpmovsxbd zmm         1, p5                                          vpmovsdb         2, p5: packs + permute is cheaper
#pragma once

#include "../core/integers.hpp"
#include "../core/reals.hpp"
#include "../cpu/isa.hpp"
#include "../round/modes.hpp"

#if QUERN_X86_64
#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"        // GCC 12's own _mm512_undefined_*
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512bw {

inline constexpr int lanes = 16;
inline constexpr bool has_fma = true;   // fma() exists
inline constexpr bool has_pack = true;  // pack(), adds(), bytes exist
inline constexpr bool has_wide_arithmetic_shift = true;

struct f32s {
  __m512 v;
};
struct i32s {
  __m512i v;
};
struct f64s {
  __m512d lo, hi;
};
struct mask {
  __mmask16 v;
};
/// Products of the even and of the odd lanes.
struct wides {
  __m512i even, odd;
};
/// 32 words in the order that packing leaves them in.
struct words {
  __m512i v;
};
/// 64 bytes in order.
struct bytes {
  __m512i v;
};

// ---- broadcast, load, store ----------------------------------------------------------------------------------------------

QUERN_INLINE f32s broadcast(float x) { return {_mm512_set1_ps(x)}; }
QUERN_INLINE f64s broadcast(double x) { return {_mm512_set1_pd(x), _mm512_set1_pd(x)}; }
QUERN_INLINE i32s broadcast(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
QUERN_INLINE mask first_lanes(index_t n) { return {static_cast<__mmask16>((1u << n) - 1u)}; }

QUERN_INLINE f32s load(float const* p) { return {_mm512_loadu_ps(p)}; }
QUERN_INLINE f32s load(half const* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)))};
}
QUERN_INLINE f32s load(bfloat16 const* p) {
  __m512i const x = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(x, 16))};
}
QUERN_INLINE f64s load(double const* p) { return {_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)}; }
QUERN_INLINE i32s load(std::int8_t const* p) {
  return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p)))};
}
QUERN_INLINE i32s load(std::uint8_t const* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p)))};
}
QUERN_INLINE i32s load(std::int16_t const* p) {
  return {_mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)))};
}
QUERN_INLINE i32s load(std::uint16_t const* p) {
  return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)))};
}
QUERN_INLINE i32s load(std::int32_t const* p) { return {_mm512_loadu_si512(p)}; }

QUERN_INLINE f32s load_first(float const* p, index_t n) { return {_mm512_maskz_loadu_ps(first_lanes(n).v, p)}; }
QUERN_INLINE f32s load_first(half const* p, index_t n) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n).v, p))};
}
QUERN_INLINE f32s load_first(bfloat16 const* p, index_t n) {
  __m512i const x = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(n).v, p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(x, 16))};
}
QUERN_INLINE f64s load_first(double const* p, index_t n) {
  unsigned const m = first_lanes(n).v;
  return {_mm512_maskz_loadu_pd(static_cast<__mmask8>(m), p), _mm512_maskz_loadu_pd(static_cast<__mmask8>(m >> 8), p + 8)};
}
QUERN_INLINE i32s load_first(std::int8_t const* p, index_t n) {
  return {_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first_lanes(n).v, p))};
}
QUERN_INLINE i32s load_first(std::uint8_t const* p, index_t n) {
  return {_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_lanes(n).v, p))};
}
QUERN_INLINE i32s load_first(std::int16_t const* p, index_t n) {
  return {_mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(first_lanes(n).v, p))};
}
QUERN_INLINE i32s load_first(std::uint16_t const* p, index_t n) {
  return {_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(n).v, p))};
}
QUERN_INLINE i32s load_first(std::int32_t const* p, index_t n) {
  return {_mm512_maskz_loadu_epi32(first_lanes(n).v, p)};
}

namespace inner {
/// float to bfloat16 bits in the low half of each lane, to nearest even, NaN quiet.
QUERN_INLINE __m512i bfloat16_bits(f32s x) {
  __m512i const b = _mm512_castps_si512(x.v), high = _mm512_srli_epi32(b, 16);
  __m512i const odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  __m512i const r = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(b, _mm512_set1_epi32(0x7fff)), odd), 16);
  __mmask16 const nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(r, nan, high, _mm512_set1_epi32(0x40));
}
QUERN_INLINE __m256i half_bits(f32s x) { return _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
}  // namespace inner

QUERN_INLINE void store(float* p, f32s x) { _mm512_storeu_ps(p, x.v); }
QUERN_INLINE void store(half* p, f32s x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), inner::half_bits(x)); }
QUERN_INLINE void store(bfloat16* p, f32s x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(inner::bfloat16_bits(x)));
}
QUERN_INLINE void store(double* p, f64s x) {
  _mm512_storeu_pd(p, x.lo);
  _mm512_storeu_pd(p + 8, x.hi);
}
QUERN_INLINE void store(std::int8_t* p, i32s x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(x.v));
}
QUERN_INLINE void store(std::uint8_t* p, i32s x) {
  __m512i const floor = _mm512_max_epi32(x.v, _mm512_setzero_si512());  // vpmovusdb reads its operand as unsigned
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(floor));
}
QUERN_INLINE void store(std::int16_t* p, i32s x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(x.v));
}
QUERN_INLINE void store(std::uint16_t* p, i32s x) {
  __m512i const floor = _mm512_max_epi32(x.v, _mm512_setzero_si512());
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtusepi32_epi16(floor));
}
QUERN_INLINE void store(std::int32_t* p, i32s x) { _mm512_storeu_si512(p, x.v); }

QUERN_INLINE void store_first(float* p, f32s x, index_t n) { _mm512_mask_storeu_ps(p, first_lanes(n).v, x.v); }
QUERN_INLINE void store_first(half* p, f32s x, index_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n).v, inner::half_bits(x));
}
QUERN_INLINE void store_first(bfloat16* p, f32s x, index_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n).v, _mm512_cvtepi32_epi16(inner::bfloat16_bits(x)));
}
QUERN_INLINE void store_first(double* p, f64s x, index_t n) {
  unsigned const m = first_lanes(n).v;
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(m), x.lo);
  _mm512_mask_storeu_pd(p + 8, static_cast<__mmask8>(m >> 8), x.hi);
}
QUERN_INLINE void store_first(std::int8_t* p, i32s x, index_t n) {
  _mm_mask_storeu_epi8(p, first_lanes(n).v, _mm512_cvtsepi32_epi8(x.v));
}
QUERN_INLINE void store_first(std::uint8_t* p, i32s x, index_t n) {
  __m512i const floor = _mm512_max_epi32(x.v, _mm512_setzero_si512());
  _mm_mask_storeu_epi8(p, first_lanes(n).v, _mm512_cvtusepi32_epi8(floor));
}
QUERN_INLINE void store_first(std::int16_t* p, i32s x, index_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes(n).v, _mm512_cvtsepi32_epi16(x.v));
}
QUERN_INLINE void store_first(std::uint16_t* p, i32s x, index_t n) {
  __m512i const floor = _mm512_max_epi32(x.v, _mm512_setzero_si512());
  _mm256_mask_storeu_epi16(p, first_lanes(n).v, _mm512_cvtusepi32_epi16(floor));
}
QUERN_INLINE void store_first(std::int32_t* p, i32s x, index_t n) { _mm512_mask_storeu_epi32(p, first_lanes(n).v, x.v); }

QUERN_INLINE void stream(float* p, f32s x) { _mm512_stream_ps(p, x.v); }
QUERN_INLINE void fence() { _mm_sfence(); }
QUERN_INLINE void prefetch(void const* p) { _mm_prefetch(static_cast<char const*>(p), _MM_HINT_T0); }

// ---- real arithmetic -----------------------------------------------------------------------------------------------------

#define QUERN_DETAIL_RN (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
QUERN_INLINE f32s add(f32s a, f32s b) { return {_mm512_add_round_ps(a.v, b.v, QUERN_DETAIL_RN)}; }
QUERN_INLINE f32s sub(f32s a, f32s b) { return {_mm512_sub_round_ps(a.v, b.v, QUERN_DETAIL_RN)}; }
QUERN_INLINE f32s mul(f32s a, f32s b) { return {_mm512_mul_round_ps(a.v, b.v, QUERN_DETAIL_RN)}; }
QUERN_INLINE f32s div(f32s a, f32s b) { return {_mm512_div_round_ps(a.v, b.v, QUERN_DETAIL_RN)}; }
QUERN_INLINE f32s fma(f32s a, f32s b, f32s c) { return {_mm512_fmadd_round_ps(a.v, b.v, c.v, QUERN_DETAIL_RN)}; }
/// 1 / a of a normal one, off by at most 2^-14 of it.
QUERN_INLINE f32s inverse_estimate(f32s a) { return {_mm512_rcp14_ps(a.v)}; }
QUERN_INLINE f32s min(f32s a, f32s b) { return {_mm512_min_ps(a.v, b.v)}; }
QUERN_INLINE f32s max(f32s a, f32s b) { return {_mm512_max_ps(a.v, b.v)}; }
QUERN_INLINE f32s abs(f32s a) { return {_mm512_abs_ps(a.v)}; }
QUERN_INLINE f32s copysign(f32s magnitude, f32s sign) {
  __m512i const bit = _mm512_set1_epi32(static_cast<int>(0x80000000u));
  return {_mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(bit, _mm512_castps_si512(sign.v), _mm512_castps_si512(magnitude.v), 0xca))};
}
QUERN_INLINE mask less(f32s a, f32s b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
QUERN_INLINE mask less_equal(f32s a, f32s b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
QUERN_INLINE mask equal(f32s a, f32s b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
QUERN_INLINE mask is_nan(f32s a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
QUERN_INLINE f32s select(mask m, f32s yes, f32s no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }

QUERN_INLINE f32s nearest_even(f32s a) { return {_mm512_roundscale_ps(a.v, 0x08)}; }
QUERN_INLINE f32s round_down(f32s a) { return {_mm512_roundscale_ps(a.v, 0x09)}; }
QUERN_INLINE f32s round_up(f32s a) { return {_mm512_roundscale_ps(a.v, 0x0a)}; }
QUERN_INLINE f32s truncate(f32s a) { return {_mm512_roundscale_ps(a.v, 0x0b)}; }

QUERN_INLINE i32s to_i32(f32s a) { return {_mm512_cvt_roundps_epi32(a.v, QUERN_DETAIL_RN)}; }
QUERN_INLINE i32s truncate_to_i32(f32s a) { return {_mm512_cvttps_epi32(a.v)}; }
QUERN_INLINE f32s to_f32(i32s a) { return {_mm512_cvt_roundepi32_ps(a.v, QUERN_DETAIL_RN)}; }
QUERN_INLINE f64s to_f64(i32s a) {
  return {_mm512_cvtepi32_pd(_mm512_castsi512_si256(a.v)), _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(a.v, 1))};
}
QUERN_INLINE f64s to_f64(f32s a) {
  return {_mm512_cvtps_pd(_mm512_castps512_ps256(a.v)),
          _mm512_cvtps_pd(_mm256_castsi256_ps(_mm512_extracti64x4_epi64(_mm512_castps_si512(a.v), 1)))};
}
QUERN_INLINE f32s to_f32(f64s a) {
  __m256 const lo = _mm512_cvt_roundpd_ps(a.lo, QUERN_DETAIL_RN), hi = _mm512_cvt_roundpd_ps(a.hi, QUERN_DETAIL_RN);
  return {_mm512_insertf32x8(_mm512_castps256_ps512(lo), hi, 1)};
}
QUERN_INLINE i32s to_i32(f64s a) {
  __m256i const lo = _mm512_cvt_roundpd_epi32(a.lo, QUERN_DETAIL_RN), hi = _mm512_cvt_roundpd_epi32(a.hi, QUERN_DETAIL_RN);
  return {_mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1)};
}
QUERN_INLINE i32s truncate_to_i32(f64s a) {
  __m256i const lo = _mm512_cvttpd_epi32(a.lo), hi = _mm512_cvttpd_epi32(a.hi);
  return {_mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1)};
}

#define QUERN_DETAIL_BOTH(op) {op(a.lo, b.lo, QUERN_DETAIL_RN), op(a.hi, b.hi, QUERN_DETAIL_RN)}
QUERN_INLINE f64s add(f64s a, f64s b) { return QUERN_DETAIL_BOTH(_mm512_add_round_pd); }
QUERN_INLINE f64s sub(f64s a, f64s b) { return QUERN_DETAIL_BOTH(_mm512_sub_round_pd); }
QUERN_INLINE f64s mul(f64s a, f64s b) { return QUERN_DETAIL_BOTH(_mm512_mul_round_pd); }
QUERN_INLINE f64s div(f64s a, f64s b) { return QUERN_DETAIL_BOTH(_mm512_div_round_pd); }
#undef QUERN_DETAIL_BOTH
QUERN_INLINE f64s min(f64s a, f64s b) { return {_mm512_min_pd(a.lo, b.lo), _mm512_min_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s max(f64s a, f64s b) { return {_mm512_max_pd(a.lo, b.lo), _mm512_max_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s abs(f64s a) { return {_mm512_abs_pd(a.lo), _mm512_abs_pd(a.hi)}; }
QUERN_INLINE f64s copysign(f64s magnitude, f64s sign) {
  __m512i const bit = _mm512_set1_epi64(static_cast<long long>(0x8000000000000000ull));
  return {_mm512_castsi512_pd(_mm512_ternarylogic_epi64(bit, _mm512_castpd_si512(sign.lo), _mm512_castpd_si512(magnitude.lo), 0xca)),
          _mm512_castsi512_pd(_mm512_ternarylogic_epi64(bit, _mm512_castpd_si512(sign.hi), _mm512_castpd_si512(magnitude.hi), 0xca))};
}
namespace inner {
QUERN_INLINE mask joined(__mmask8 lo, __mmask8 hi) {
  return {static_cast<__mmask16>(static_cast<unsigned>(lo) | (static_cast<unsigned>(hi) << 8))};
}
}  // namespace inner
#define QUERN_DETAIL_COMPARE(how) \
  inner::joined(_mm512_cmp_pd_mask(a.lo, b.lo, how), _mm512_cmp_pd_mask(a.hi, b.hi, how))
QUERN_INLINE mask less(f64s a, f64s b) { return QUERN_DETAIL_COMPARE(_CMP_LT_OQ); }
QUERN_INLINE mask less_equal(f64s a, f64s b) { return QUERN_DETAIL_COMPARE(_CMP_LE_OQ); }
QUERN_INLINE mask equal(f64s a, f64s b) { return QUERN_DETAIL_COMPARE(_CMP_EQ_OQ); }
QUERN_INLINE mask is_nan(f64s a) {
  f64s const b = a;
  return QUERN_DETAIL_COMPARE(_CMP_UNORD_Q);
}
#undef QUERN_DETAIL_COMPARE
QUERN_INLINE f64s select(mask m, f64s yes, f64s no) {
  return {_mm512_mask_blend_pd(static_cast<__mmask8>(m.v), no.lo, yes.lo),
          _mm512_mask_blend_pd(static_cast<__mmask8>(m.v >> 8), no.hi, yes.hi)};
}
QUERN_INLINE f64s nearest_even(f64s a) { return {_mm512_roundscale_pd(a.lo, 0x08), _mm512_roundscale_pd(a.hi, 0x08)}; }
QUERN_INLINE f64s round_down(f64s a) { return {_mm512_roundscale_pd(a.lo, 0x09), _mm512_roundscale_pd(a.hi, 0x09)}; }
QUERN_INLINE f64s round_up(f64s a) { return {_mm512_roundscale_pd(a.lo, 0x0a), _mm512_roundscale_pd(a.hi, 0x0a)}; }
QUERN_INLINE f64s truncate(f64s a) { return {_mm512_roundscale_pd(a.lo, 0x0b), _mm512_roundscale_pd(a.hi, 0x0b)}; }
#undef QUERN_DETAIL_RN

QUERN_INLINE float reduce_min(f32s a) { return _mm512_reduce_min_ps(a.v); }
QUERN_INLINE float reduce_max(f32s a) { return _mm512_reduce_max_ps(a.v); }
/// Modulo 2^32; _mm512_reduce_add_epi32 of GCC ends in the sum of two ints.
QUERN_INLINE std::int32_t reduce_add(i32s a) {
  __m256i const s = _mm256_add_epi32(_mm512_castsi512_si256(a.v), _mm512_extracti64x4_epi64(a.v, 1));
  __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
  t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1)));
}
QUERN_INLINE std::int32_t reduce_min(i32s a) { return _mm512_reduce_min_epi32(a.v); }
QUERN_INLINE std::int32_t reduce_max(i32s a) { return _mm512_reduce_max_epi32(a.v); }

// ---- integers ------------------------------------------------------------------------------------------------------------

QUERN_INLINE i32s add(i32s a, i32s b) { return {_mm512_add_epi32(a.v, b.v)}; }
QUERN_INLINE i32s sub(i32s a, i32s b) { return {_mm512_sub_epi32(a.v, b.v)}; }
QUERN_INLINE i32s mul_low(i32s a, i32s b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
QUERN_INLINE i32s mul_words(i32s a, i32s b) { return {_mm512_madd_epi16(a.v, b.v)}; }
QUERN_INLINE i32s min(i32s a, i32s b) { return {_mm512_min_epi32(a.v, b.v)}; }
QUERN_INLINE i32s max(i32s a, i32s b) { return {_mm512_max_epi32(a.v, b.v)}; }
QUERN_INLINE i32s abs(i32s a) { return {_mm512_abs_epi32(a.v)}; }
QUERN_INLINE i32s copysign(i32s magnitude, i32s sign) {
  return {_mm512_mask_sub_epi32(magnitude.v, _mm512_movepi32_mask(sign.v), _mm512_setzero_si512(), magnitude.v)};
}
QUERN_INLINE i32s bit_and(i32s a, i32s b) { return {_mm512_and_si512(a.v, b.v)}; }
QUERN_INLINE i32s bit_or(i32s a, i32s b) { return {_mm512_or_si512(a.v, b.v)}; }
QUERN_INLINE i32s bit_xor(i32s a, i32s b) { return {_mm512_xor_si512(a.v, b.v)}; }
QUERN_INLINE i32s or3(i32s a, i32s b, i32s c) { return {_mm512_ternarylogic_epi32(a.v, b.v, c.v, 0xfe)}; }
QUERN_INLINE i32s shift_left(i32s a, i32s s) { return {_mm512_sllv_epi32(a.v, s.v)}; }
QUERN_INLINE i32s shift_right(i32s a, i32s s) { return {_mm512_srav_epi32(a.v, s.v)}; }
QUERN_INLINE i32s shift_right_logical(i32s a, i32s s) { return {_mm512_srlv_epi32(a.v, s.v)}; }
QUERN_INLINE i32s shift_right(i32s a, int s) { return {_mm512_srai_epi32(a.v, static_cast<unsigned>(s))}; }
QUERN_INLINE mask less(i32s a, i32s b) { return {_mm512_cmplt_epi32_mask(a.v, b.v)}; }
QUERN_INLINE mask equal(i32s a, i32s b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
QUERN_INLINE i32s select(mask m, i32s yes, i32s no) { return {_mm512_mask_blend_epi32(m.v, no.v, yes.v)}; }
QUERN_INLINE i32s as_i32(f32s a) { return {_mm512_castps_si512(a.v)}; }
QUERN_INLINE f32s as_f32(i32s a) { return {_mm512_castsi512_ps(a.v)}; }

QUERN_INLINE mask mask_and(mask a, mask b) { return {static_cast<__mmask16>(a.v & b.v)}; }
QUERN_INLINE mask mask_or(mask a, mask b) { return {static_cast<__mmask16>(a.v | b.v)}; }
QUERN_INLINE mask mask_not(mask a) { return {static_cast<__mmask16>(~a.v)}; }
QUERN_INLINE bool any(mask a) { return a.v != 0; }
QUERN_INLINE unsigned lane_bits(mask a) { return a.v; }

// ---- 64-bit products for fixed-point rescaling ------------------------------------------------------------------------------

namespace inner {
/// The odd lanes in the place of the even ones, by a shuffle: products and shifts share other ports.
QUERN_INLINE __m512i odd_lanes(__m512i a) { return _mm512_shuffle_epi32(a, static_cast<_MM_PERM_ENUM>(0xf5)); }
}  // namespace inner
QUERN_INLINE wides mul_wide(i32s a, i32s b) {
  return {_mm512_mul_epi32(a.v, b.v), _mm512_mul_epi32(inner::odd_lanes(a.v), inner::odd_lanes(b.v))};
}
QUERN_INLINE wides mul_wide_unsigned(i32s a, i32s b) {
  return {_mm512_mul_epu32(a.v, b.v), _mm512_mul_epu32(inner::odd_lanes(a.v), inner::odd_lanes(b.v))};
}
QUERN_INLINE wides broadcast_wide(std::int64_t x) { return {_mm512_set1_epi64(x), _mm512_set1_epi64(x)}; }
/// Lanes of `a`, zero-extended.
QUERN_INLINE wides zero_extend(i32s a) {
  return {_mm512_and_si512(a.v, _mm512_set1_epi64(0xffffffffll)), _mm512_srli_epi64(a.v, 32)};
}
QUERN_INLINE wides add(wides a, wides b) { return {_mm512_add_epi64(a.even, b.even), _mm512_add_epi64(a.odd, b.odd)}; }
QUERN_INLINE wides sub(wides a, wides b) { return {_mm512_sub_epi64(a.even, b.even), _mm512_sub_epi64(a.odd, b.odd)}; }
QUERN_INLINE wides bit_and(wides a, wides b) { return {_mm512_and_si512(a.even, b.even), _mm512_and_si512(a.odd, b.odd)}; }
QUERN_INLINE wides shift_left(wides a, wides s) { return {_mm512_sllv_epi64(a.even, s.even), _mm512_sllv_epi64(a.odd, s.odd)}; }
QUERN_INLINE wides shift_right(wides a, wides s) { return {_mm512_srav_epi64(a.even, s.even), _mm512_srav_epi64(a.odd, s.odd)}; }
QUERN_INLINE wides shift_right_logical(wides a, wides s) { return {_mm512_srlv_epi64(a.even, s.even), _mm512_srlv_epi64(a.odd, s.odd)}; }
/// -1 where negative, else 0.
QUERN_INLINE wides sign_of(wides a) { return {_mm512_srai_epi64(a.even, 63), _mm512_srai_epi64(a.odd, 63)}; }
/// The low halves, in order.
QUERN_INLINE i32s low_halves(wides a) {
  return {_mm512_mask_shuffle_epi32(a.even, 0xaaaa, a.odd, static_cast<_MM_PERM_ENUM>(0xa0))};
}
/// The high halves, in order.
QUERN_INLINE i32s high_halves(wides a) {
  return {_mm512_mask_shuffle_epi32(a.odd, 0x5555, a.even, static_cast<_MM_PERM_ENUM>(0xf5))};
}
/// The high halves of 2a, in order.
QUERN_INLINE i32s high_halves_of_double(wides a) {
  return {_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(a.even, 31), _mm512_add_epi64(a.odd, a.odd))};
}

/// x * scale toward zero, less 1 for a negative x; 0 <= scale < 1. |x| below 2^52 is a double whose low half it is, a product that
/// is rounded down at 2^52 likewise: conversions have half the speed, and scatter even and odd.
struct away_product {
  __m512d even, odd, even_less, odd_less;
  QUERN_INLINE explicit away_product(f64s scale)
      : even(_mm512_permutex2var_pd(scale.lo, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), scale.hi)),
        odd(_mm512_permutex2var_pd(scale.lo, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), scale.hi)),
        even_less(_mm512_mul_pd(even, _mm512_set1_pd(-0x1p52))), odd_less(_mm512_mul_pd(odd, _mm512_set1_pd(-0x1p52))) {}
  QUERN_INLINE i32s operator()(i32s x) const {
    __m512i const zero = _mm512_castpd_si512(_mm512_set1_pd(0x1p52)), magnitude = _mm512_abs_epi32(x.v);
    __m512i const e = _mm512_mask_blend_epi32(0x5555, zero, magnitude);
    __m512i const o = _mm512_mask_shuffle_epi32(zero, 0x5555, magnitude, static_cast<_MM_PERM_ENUM>(0xf5));
    // (2^52 + |x|) * scale - 2^52 * scale is rounded once, as |x| * scale is.
    __m512d const pe = _mm512_fmadd_round_pd(_mm512_castsi512_pd(e), even, even_less, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512d const po = _mm512_fmadd_round_pd(_mm512_castsi512_pd(o), odd, odd_less, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    wides const t{_mm512_castpd_si512(_mm512_add_round_pd(pe, _mm512_castsi512_pd(zero), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)),
                  _mm512_castpd_si512(_mm512_add_round_pd(po, _mm512_castsi512_pd(zero), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC))};
    return bit_xor(low_halves(t), shift_right(x, 31));
  }
};

// ---- packing to 16 and 8 bits, saturating -----------------------------------------------------------------------------------

QUERN_INLINE words pack_signed(i32s a, i32s b) { return {_mm512_packs_epi32(a.v, b.v)}; }
QUERN_INLINE words pack_unsigned(i32s a, i32s b) { return {_mm512_packus_epi32(a.v, b.v)}; }
QUERN_INLINE words as_words(i32s a) { return {a.v}; }
QUERN_INLINE i32s as_i32(words a) { return {a.v}; }
QUERN_INLINE words broadcast_word(std::int16_t x) { return {_mm512_set1_epi16(x)}; }
QUERN_INLINE words adds(words a, words b) { return {_mm512_adds_epi16(a.v, b.v)}; }
/// a * b / 2^15, ties upward; b >= 0.
QUERN_INLINE words mul_high_half_up(words a, words b) { return {_mm512_mulhrs_epi16(a.v, b.v)}; }
/// (a + 1) / 2 rounded down: vpmulhrsw by 2^14.
QUERN_INLINE words half_up(words a) { return {_mm512_mulhrs_epi16(a.v, _mm512_set1_epi16(0x4000))}; }
QUERN_INLINE words or3(words a, words b, words c) { return {_mm512_ternarylogic_epi32(a.v, b.v, c.v, 0xfe)}; }
QUERN_INLINE words min_signed(words a, words b) { return {_mm512_min_epi16(a.v, b.v)}; }
QUERN_INLINE words max_signed(words a, words b) { return {_mm512_max_epi16(a.v, b.v)}; }
QUERN_INLINE int count_equal(words a, words b) { return __builtin_popcount(_mm512_cmpeq_epi16_mask(a.v, b.v)); }
/// How many words were 0 .. last.
struct word_count {
  int n;
};
QUERN_INLINE word_count no_words() { return {0}; }
QUERN_INLINE void count_within(word_count& c, words a, words b, words last) {
  c.n += __builtin_popcount(_mm512_cmple_epu16_mask(a.v, last.v)) + __builtin_popcount(_mm512_cmple_epu16_mask(b.v, last.v));
}
QUERN_INLINE index_t total(word_count c) { return c.n; }
QUERN_INLINE bool any_bit(words a, words bits) { return _mm512_test_epi32_mask(a.v, bits.v) != 0; }
QUERN_INLINE bytes pack_signed(words a, words b) {
  __m512i const order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return {_mm512_permutexvar_epi32(order, _mm512_packs_epi16(a.v, b.v))};
}
QUERN_INLINE bytes pack_unsigned(words a, words b) {
  __m512i const order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return {_mm512_permutexvar_epi32(order, _mm512_packus_epi16(a.v, b.v))};
}
/// 2 * lanes bfloat16, in an order that packing twice and joining the halves undoes: half of the shuffles that load takes.
struct f32s_pair {
  f32s first, second;
};
QUERN_INLINE f32s_pair load_private(bfloat16 const* p) {
  __m512i const x = _mm512_loadu_si512(p), zero = _mm512_setzero_si512();
  return {{_mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, x))}, {_mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, x))}};
}
QUERN_INLINE bytes pack_signed_private(words a, words b) {
  return {_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), _mm512_packs_epi16(a.v, b.v))};
}
QUERN_INLINE bytes pack_unsigned_private(words a, words b) {
  return {_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), _mm512_packus_epi16(a.v, b.v))};
}
QUERN_INLINE bytes broadcast_byte(std::int8_t x) { return {_mm512_set1_epi8(x)}; }
QUERN_INLINE bytes bit_xor(bytes a, bytes b) { return {_mm512_xor_si512(a.v, b.v)}; }
QUERN_INLINE bytes min_signed(bytes a, bytes b) { return {_mm512_min_epi8(a.v, b.v)}; }
QUERN_INLINE bytes max_signed(bytes a, bytes b) { return {_mm512_max_epi8(a.v, b.v)}; }
QUERN_INLINE void store(void* p, bytes a) { _mm512_storeu_si512(p, a.v); }
QUERN_INLINE void stream(void* p, bytes a) { _mm512_stream_si512(static_cast<__m512i*>(p), a.v); }
QUERN_INLINE void store(void* p, words a) {
  _mm512_storeu_si512(p, _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), a.v));
}
QUERN_INLINE void stream(void* p, words a) {
  _mm512_stream_si512(static_cast<__m512i*>(p), _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), a.v));
}
/// Wrapping.
QUERN_INLINE words add(words a, words b) { return {_mm512_add_epi16(a.v, b.v)}; }
QUERN_INLINE bytes add(bytes a, bytes b) { return {_mm512_add_epi8(a.v, b.v)}; }
QUERN_INLINE void store_first(void* p, bytes a, index_t n) {
  _mm512_mask_storeu_epi8(p, n > 63 ? ~__mmask64{0} : (__mmask64{1} << n) - 1, a.v);
}
QUERN_INLINE void store_first(void* p, words a, index_t n) {
  _mm512_mask_storeu_epi16(p, n > 31 ? ~__mmask32{0} : (__mmask32{1} << n) - 1,
                           _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), a.v));
}

/// A half, a quarter: 2 * lanes and `lanes` bytes.
template <int Half>
QUERN_INLINE void store_half(void* p, bytes a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), Half == 0 ? _mm512_castsi512_si256(a.v) : _mm512_extracti64x4_epi64(a.v, 1));
}
template <int Quarter>
QUERN_INLINE void store_quarter(void* p, bytes a) {
  if constexpr (Quarter == 0)
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_castsi512_si128(a.v));
  else
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_extracti32x4_epi32(a.v, Quarter));
}

#include "rounding.inl"

}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif
