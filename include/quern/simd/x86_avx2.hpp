// x86_avx2.hpp — the vector vocabulary on AVX2 + FMA + F16C: 8 lanes. vocabulary.md says what each word means.
//
// mul() ends in an empty asm statement: GCC fuses _mm256_add_ps(_mm256_mul_ps(a, b), c) under its default -ffp-contract=fast.
// Rounding follows MXCSR, which is to nearest even unless the program changed it.
#pragma once

#include "../core/integers.hpp"
#include "../core/reals.hpp"
#include "../cpu/isa.hpp"
#include "../round/modes.hpp"

#if QUERN_X86_64
#include <immintrin.h>

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {

inline constexpr int lanes = 8;
inline constexpr bool has_fma = true;
inline constexpr bool has_pack = true;
inline constexpr bool has_wide_arithmetic_shift = false;

struct f32s {
  __m256 v;
};
struct i32s {
  __m256i v;
};
struct f64s {
  __m256d lo, hi;
};
/// All ones or all zeros in each lane.
struct mask {
  __m256i v;
};
struct wides {
  __m256i even, odd;
};
struct words {
  __m256i v;
};
struct bytes {
  __m256i v;
};

// ---- broadcast, load, store ----------------------------------------------------------------------------------------------

QUERN_INLINE f32s broadcast(float x) { return {_mm256_set1_ps(x)}; }
QUERN_INLINE f64s broadcast(double x) { return {_mm256_set1_pd(x), _mm256_set1_pd(x)}; }
QUERN_INLINE i32s broadcast(std::int32_t x) { return {_mm256_set1_epi32(x)}; }
QUERN_INLINE mask first_lanes(index_t n) {
  return {_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))};
}

QUERN_INLINE f32s load(float const* p) { return {_mm256_loadu_ps(p)}; }
QUERN_INLINE f32s load(half const* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p)))}; }
QUERN_INLINE f32s load(bfloat16 const* p) {
  __m256i const x = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p)));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(x, 16))};
}
QUERN_INLINE f64s load(double const* p) { return {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
QUERN_INLINE i32s load(std::int8_t const* p) {
  return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(p)))};
}
QUERN_INLINE i32s load(std::uint8_t const* p) {
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(p)))};
}
QUERN_INLINE i32s load(std::int16_t const* p) {
  return {_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p)))};
}
QUERN_INLINE i32s load(std::uint16_t const* p) {
  return {_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p)))};
}
QUERN_INLINE i32s load(std::int32_t const* p) { return {_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p))}; }

QUERN_INLINE f32s load_first(float const* p, index_t n) { return {_mm256_maskload_ps(p, first_lanes(n).v)}; }
QUERN_INLINE i32s load_first(std::int32_t const* p, index_t n) { return {_mm256_maskload_epi32(p, first_lanes(n).v)}; }
/// Narrower types have no masked load: through memory.
template <class T>
QUERN_INLINE auto load_first(T const* p, index_t n) {
  T all[lanes] = {};
  for (index_t i = 0; i < n; ++i) all[i] = p[i];
  return load(static_cast<T const*>(all));
}

namespace inner {
/// float to bfloat16 bits in the low half of each lane, to nearest even, NaN quiet.
QUERN_INLINE __m256i bfloat16_bits(f32s x) {
  __m256i const b = _mm256_castps_si256(x.v), high = _mm256_srli_epi32(b, 16);
  __m256i const odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  __m256i const r = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(b, _mm256_set1_epi32(0x7fff)), odd), 16);
  __m256i const nan = _mm256_castps_si256(_mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(r, _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan);
}
/// Two registers of words or dwords, packed lane by lane, in order.
QUERN_INLINE __m128i joined(__m256i packed) {  // packed with itself: quarters 0, 0, 1, 1
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}
}  // namespace inner

QUERN_INLINE void store(float* p, f32s x) { _mm256_storeu_ps(p, x.v); }
QUERN_INLINE void store(half* p, f32s x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT));
}
QUERN_INLINE void store(bfloat16* p, f32s x) {
  __m256i const b = inner::bfloat16_bits(x);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), inner::joined(_mm256_packus_epi32(b, b)));
}
QUERN_INLINE void store(double* p, f64s x) {
  _mm256_storeu_pd(p, x.lo);
  _mm256_storeu_pd(p + 4, x.hi);
}
QUERN_INLINE void store(std::int16_t* p, i32s x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), inner::joined(_mm256_packs_epi32(x.v, x.v)));
}
QUERN_INLINE void store(std::uint16_t* p, i32s x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), inner::joined(_mm256_packus_epi32(x.v, x.v)));
}
QUERN_INLINE void store(std::int8_t* p, i32s x) {
  __m128i const w = inner::joined(_mm256_packs_epi32(x.v, x.v));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(w, w));
}
QUERN_INLINE void store(std::uint8_t* p, i32s x) {
  __m128i const w = inner::joined(_mm256_packs_epi32(x.v, x.v));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(w, w));
}
QUERN_INLINE void store(std::int32_t* p, i32s x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.v); }

QUERN_INLINE void store_first(float* p, f32s x, index_t n) { _mm256_maskstore_ps(p, first_lanes(n).v, x.v); }
QUERN_INLINE void store_first(std::int32_t* p, i32s x, index_t n) { _mm256_maskstore_epi32(p, first_lanes(n).v, x.v); }
template <class T, class V>
QUERN_INLINE void store_first(T* p, V x, index_t n) {
  T all[lanes];
  store(static_cast<T*>(all), x);
  for (index_t i = 0; i < n; ++i) p[i] = all[i];
}

QUERN_INLINE void stream(float* p, f32s x) { _mm256_stream_ps(p, x.v); }
QUERN_INLINE void fence() { _mm_sfence(); }
QUERN_INLINE void prefetch(void const* p) { _mm_prefetch(static_cast<char const*>(p), _MM_HINT_T0); }

// ---- real arithmetic -----------------------------------------------------------------------------------------------------

QUERN_INLINE f32s add(f32s a, f32s b) { return {_mm256_add_ps(a.v, b.v)}; }
QUERN_INLINE f32s sub(f32s a, f32s b) { return {_mm256_sub_ps(a.v, b.v)}; }
QUERN_INLINE f32s mul(f32s a, f32s b) {
  __m256 r = _mm256_mul_ps(a.v, b.v);
  asm("" : "+x"(r));
  return {r};
}
QUERN_INLINE f32s div(f32s a, f32s b) { return {_mm256_div_ps(a.v, b.v)}; }
QUERN_INLINE f32s fma(f32s a, f32s b, f32s c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
QUERN_INLINE f32s min(f32s a, f32s b) { return {_mm256_min_ps(a.v, b.v)}; }
QUERN_INLINE f32s max(f32s a, f32s b) { return {_mm256_max_ps(a.v, b.v)}; }
QUERN_INLINE f32s abs(f32s a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
QUERN_INLINE f32s copysign(f32s magnitude, f32s sign) {
  __m256 const bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(bit, magnitude.v), _mm256_and_ps(bit, sign.v))};
}
QUERN_INLINE mask less(f32s a, f32s b) { return {_mm256_castps_si256(_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))}; }
QUERN_INLINE mask less_equal(f32s a, f32s b) { return {_mm256_castps_si256(_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ))}; }
QUERN_INLINE mask equal(f32s a, f32s b) { return {_mm256_castps_si256(_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ))}; }
QUERN_INLINE mask is_nan(f32s a) { return {_mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q))}; }
QUERN_INLINE f32s select(mask m, f32s yes, f32s no) { return {_mm256_blendv_ps(no.v, yes.v, _mm256_castsi256_ps(m.v))}; }

QUERN_INLINE f32s nearest_even(f32s a) { return {_mm256_round_ps(a.v, 0x08)}; }
QUERN_INLINE f32s round_down(f32s a) { return {_mm256_round_ps(a.v, 0x09)}; }
QUERN_INLINE f32s round_up(f32s a) { return {_mm256_round_ps(a.v, 0x0a)}; }
QUERN_INLINE f32s truncate(f32s a) { return {_mm256_round_ps(a.v, 0x0b)}; }

QUERN_INLINE i32s to_i32(f32s a) { return {_mm256_cvtps_epi32(a.v)}; }
QUERN_INLINE i32s truncate_to_i32(f32s a) { return {_mm256_cvttps_epi32(a.v)}; }
QUERN_INLINE f32s to_f32(i32s a) { return {_mm256_cvtepi32_ps(a.v)}; }
QUERN_INLINE f64s to_f64(i32s a) {
  return {_mm256_cvtepi32_pd(_mm256_castsi256_si128(a.v)), _mm256_cvtepi32_pd(_mm256_extracti128_si256(a.v, 1))};
}
QUERN_INLINE f64s to_f64(f32s a) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(a.v)), _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1))};
}
QUERN_INLINE f32s to_f32(f64s a) {
  return {_mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(a.lo)), _mm256_cvtpd_ps(a.hi), 1)};
}
QUERN_INLINE i32s to_i32(f64s a) {
  return {_mm256_inserti128_si256(_mm256_castsi128_si256(_mm256_cvtpd_epi32(a.lo)), _mm256_cvtpd_epi32(a.hi), 1)};
}
QUERN_INLINE i32s truncate_to_i32(f64s a) {
  return {_mm256_inserti128_si256(_mm256_castsi128_si256(_mm256_cvttpd_epi32(a.lo)), _mm256_cvttpd_epi32(a.hi), 1)};
}

QUERN_INLINE f64s add(f64s a, f64s b) { return {_mm256_add_pd(a.lo, b.lo), _mm256_add_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s sub(f64s a, f64s b) { return {_mm256_sub_pd(a.lo, b.lo), _mm256_sub_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s mul(f64s a, f64s b) {
  __m256d lo = _mm256_mul_pd(a.lo, b.lo), hi = _mm256_mul_pd(a.hi, b.hi);
  asm("" : "+x"(lo), "+x"(hi));
  return {lo, hi};
}
QUERN_INLINE f64s div(f64s a, f64s b) { return {_mm256_div_pd(a.lo, b.lo), _mm256_div_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s min(f64s a, f64s b) { return {_mm256_min_pd(a.lo, b.lo), _mm256_min_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s max(f64s a, f64s b) { return {_mm256_max_pd(a.lo, b.lo), _mm256_max_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s abs(f64s a) {
  __m256d const bit = _mm256_set1_pd(-0.0);
  return {_mm256_andnot_pd(bit, a.lo), _mm256_andnot_pd(bit, a.hi)};
}
QUERN_INLINE f64s copysign(f64s magnitude, f64s sign) {
  __m256d const bit = _mm256_set1_pd(-0.0);
  return {_mm256_or_pd(_mm256_andnot_pd(bit, magnitude.lo), _mm256_and_pd(bit, sign.lo)),
          _mm256_or_pd(_mm256_andnot_pd(bit, magnitude.hi), _mm256_and_pd(bit, sign.hi))};
}
namespace inner {
QUERN_INLINE mask joined(__m256d lo, __m256d hi) {
  __m256 const even = _mm256_shuffle_ps(_mm256_castpd_ps(lo), _mm256_castpd_ps(hi), 0x88);
  return {_mm256_permute4x64_epi64(_mm256_castps_si256(even), 0xd8)};
}
}  // namespace inner
#define QUERN_DETAIL_COMPARE(how) inner::joined(_mm256_cmp_pd(a.lo, b.lo, how), _mm256_cmp_pd(a.hi, b.hi, how))
QUERN_INLINE mask less(f64s a, f64s b) { return QUERN_DETAIL_COMPARE(_CMP_LT_OQ); }
QUERN_INLINE mask less_equal(f64s a, f64s b) { return QUERN_DETAIL_COMPARE(_CMP_LE_OQ); }
QUERN_INLINE mask equal(f64s a, f64s b) { return QUERN_DETAIL_COMPARE(_CMP_EQ_OQ); }
QUERN_INLINE mask is_nan(f64s a) {
  f64s const b = a;
  return QUERN_DETAIL_COMPARE(_CMP_UNORD_Q);
}
#undef QUERN_DETAIL_COMPARE
QUERN_INLINE f64s select(mask m, f64s yes, f64s no) {
  __m256i const lo = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(m.v));
  __m256i const hi = _mm256_cvtepi32_epi64(_mm256_extracti128_si256(m.v, 1));
  return {_mm256_blendv_pd(no.lo, yes.lo, _mm256_castsi256_pd(lo)), _mm256_blendv_pd(no.hi, yes.hi, _mm256_castsi256_pd(hi))};
}
QUERN_INLINE f64s nearest_even(f64s a) { return {_mm256_round_pd(a.lo, 0x08), _mm256_round_pd(a.hi, 0x08)}; }
QUERN_INLINE f64s round_down(f64s a) { return {_mm256_round_pd(a.lo, 0x09), _mm256_round_pd(a.hi, 0x09)}; }
QUERN_INLINE f64s round_up(f64s a) { return {_mm256_round_pd(a.lo, 0x0a), _mm256_round_pd(a.hi, 0x0a)}; }
QUERN_INLINE f64s truncate(f64s a) { return {_mm256_round_pd(a.lo, 0x0b), _mm256_round_pd(a.hi, 0x0b)}; }

#define QUERN_DETAIL_REDUCE_PS(op)                                                             \
  __m128 r = op(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));                   \
  r = op(r, _mm_movehl_ps(r, r));                                                              \
  return _mm_cvtss_f32(op(r, _mm_shuffle_ps(r, r, 1)))
QUERN_INLINE float reduce_min(f32s a) { QUERN_DETAIL_REDUCE_PS(_mm_min_ps); }
QUERN_INLINE float reduce_max(f32s a) { QUERN_DETAIL_REDUCE_PS(_mm_max_ps); }
#undef QUERN_DETAIL_REDUCE_PS
#define QUERN_DETAIL_REDUCE_I32(op)                                                            \
  __m128i r = op(_mm256_castsi256_si128(a.v), _mm256_extracti128_si256(a.v, 1));               \
  r = op(r, _mm_shuffle_epi32(r, 0x4e));                                                       \
  return _mm_cvtsi128_si32(op(r, _mm_shuffle_epi32(r, 0xb1)))
QUERN_INLINE std::int32_t reduce_add(i32s a) { QUERN_DETAIL_REDUCE_I32(_mm_add_epi32); }
QUERN_INLINE std::int32_t reduce_min(i32s a) { QUERN_DETAIL_REDUCE_I32(_mm_min_epi32); }
QUERN_INLINE std::int32_t reduce_max(i32s a) { QUERN_DETAIL_REDUCE_I32(_mm_max_epi32); }
#undef QUERN_DETAIL_REDUCE_I32

// ---- integers ------------------------------------------------------------------------------------------------------------

QUERN_INLINE i32s add(i32s a, i32s b) { return {_mm256_add_epi32(a.v, b.v)}; }
QUERN_INLINE i32s sub(i32s a, i32s b) { return {_mm256_sub_epi32(a.v, b.v)}; }
QUERN_INLINE i32s mul_low(i32s a, i32s b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
QUERN_INLINE i32s mul_words(i32s a, i32s b) { return {_mm256_madd_epi16(a.v, b.v)}; }
QUERN_INLINE i32s min(i32s a, i32s b) { return {_mm256_min_epi32(a.v, b.v)}; }
QUERN_INLINE i32s max(i32s a, i32s b) { return {_mm256_max_epi32(a.v, b.v)}; }
QUERN_INLINE i32s abs(i32s a) { return {_mm256_abs_epi32(a.v)}; }
QUERN_INLINE i32s copysign(i32s magnitude, i32s sign) { return {_mm256_sign_epi32(magnitude.v, sign.v)}; }
QUERN_INLINE i32s bit_and(i32s a, i32s b) { return {_mm256_and_si256(a.v, b.v)}; }
QUERN_INLINE i32s bit_or(i32s a, i32s b) { return {_mm256_or_si256(a.v, b.v)}; }
QUERN_INLINE i32s bit_xor(i32s a, i32s b) { return {_mm256_xor_si256(a.v, b.v)}; }
QUERN_INLINE i32s or3(i32s a, i32s b, i32s c) { return bit_or(bit_or(a, b), c); }
QUERN_INLINE i32s shift_left(i32s a, i32s s) { return {_mm256_sllv_epi32(a.v, s.v)}; }
QUERN_INLINE i32s shift_right(i32s a, i32s s) { return {_mm256_srav_epi32(a.v, s.v)}; }
QUERN_INLINE i32s shift_right_logical(i32s a, i32s s) { return {_mm256_srlv_epi32(a.v, s.v)}; }
QUERN_INLINE i32s shift_right(i32s a, int s) { return {_mm256_srai_epi32(a.v, s)}; }
QUERN_INLINE mask less(i32s a, i32s b) { return {_mm256_cmpgt_epi32(b.v, a.v)}; }
QUERN_INLINE mask equal(i32s a, i32s b) { return {_mm256_cmpeq_epi32(a.v, b.v)}; }
QUERN_INLINE i32s select(mask m, i32s yes, i32s no) { return {_mm256_blendv_epi8(no.v, yes.v, m.v)}; }
QUERN_INLINE i32s as_i32(f32s a) { return {_mm256_castps_si256(a.v)}; }
QUERN_INLINE f32s as_f32(i32s a) { return {_mm256_castsi256_ps(a.v)}; }

QUERN_INLINE mask mask_and(mask a, mask b) { return {_mm256_and_si256(a.v, b.v)}; }
QUERN_INLINE mask mask_or(mask a, mask b) { return {_mm256_or_si256(a.v, b.v)}; }
QUERN_INLINE mask mask_not(mask a) { return {_mm256_xor_si256(a.v, _mm256_set1_epi32(-1))}; }
QUERN_INLINE unsigned lane_bits(mask a) { return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(a.v))); }
QUERN_INLINE bool any(mask a) { return lane_bits(a) != 0; }

// ---- 64-bit products for fixed-point rescaling ------------------------------------------------------------------------------

namespace inner {
/// The odd lanes in the place of the even ones, by a shuffle: products and shifts share other ports.
QUERN_INLINE __m256i odd_lanes(__m256i a) { return _mm256_shuffle_epi32(a, 0xf5); }
}  // namespace inner
QUERN_INLINE wides mul_wide(i32s a, i32s b) {
  return {_mm256_mul_epi32(a.v, b.v), _mm256_mul_epi32(inner::odd_lanes(a.v), inner::odd_lanes(b.v))};
}
QUERN_INLINE wides mul_wide_unsigned(i32s a, i32s b) {
  return {_mm256_mul_epu32(a.v, b.v), _mm256_mul_epu32(inner::odd_lanes(a.v), inner::odd_lanes(b.v))};
}
QUERN_INLINE wides broadcast_wide(std::int64_t x) { return {_mm256_set1_epi64x(x), _mm256_set1_epi64x(x)}; }
QUERN_INLINE wides zero_extend(i32s a) {
  return {_mm256_and_si256(a.v, _mm256_set1_epi64x(0xffffffffll)), _mm256_srli_epi64(a.v, 32)};
}
QUERN_INLINE wides add(wides a, wides b) { return {_mm256_add_epi64(a.even, b.even), _mm256_add_epi64(a.odd, b.odd)}; }
QUERN_INLINE wides sub(wides a, wides b) { return {_mm256_sub_epi64(a.even, b.even), _mm256_sub_epi64(a.odd, b.odd)}; }
QUERN_INLINE wides bit_and(wides a, wides b) { return {_mm256_and_si256(a.even, b.even), _mm256_and_si256(a.odd, b.odd)}; }
QUERN_INLINE wides shift_left(wides a, wides s) { return {_mm256_sllv_epi64(a.even, s.even), _mm256_sllv_epi64(a.odd, s.odd)}; }
QUERN_INLINE wides sign_of(wides a) {
  __m256i const zero = _mm256_setzero_si256();
  return {_mm256_cmpgt_epi64(zero, a.even), _mm256_cmpgt_epi64(zero, a.odd)};
}
QUERN_INLINE wides shift_right_logical(wides a, wides s) {
  return {_mm256_srlv_epi64(a.even, s.even), _mm256_srlv_epi64(a.odd, s.odd)};
}
/// No 64-bit arithmetic shift before AVX-512: complement the negative ones, shift logically, complement back.
QUERN_INLINE wides shift_right(wides a, wides s) {
  wides const n = sign_of(a);
  return {_mm256_xor_si256(_mm256_srlv_epi64(_mm256_xor_si256(a.even, n.even), s.even), n.even),
          _mm256_xor_si256(_mm256_srlv_epi64(_mm256_xor_si256(a.odd, n.odd), s.odd), n.odd)};
}
QUERN_INLINE i32s low_halves(wides a) { return {_mm256_blend_epi32(a.even, _mm256_shuffle_epi32(a.odd, 0xa0), 0xaa)}; }
QUERN_INLINE i32s high_halves(wides a) { return {_mm256_blend_epi32(_mm256_srli_epi64(a.even, 32), a.odd, 0xaa)}; }
QUERN_INLINE i32s high_halves_of_double(wides a) {
  return {_mm256_blend_epi32(_mm256_srli_epi64(a.even, 31), _mm256_add_epi64(a.odd, a.odd), 0xaa)};
}

/// x * scale toward zero, less 1 for a negative x; 0 <= scale < 1.
struct away_product {
  f64s scale;
  QUERN_INLINE explicit away_product(f64s s) : scale(s) {}
  QUERN_INLINE i32s operator()(i32s x) const { return add(truncate_to_i32(mul(to_f64(x), scale)), shift_right(x, 31)); }
};

// ---- packing to 16 and 8 bits, saturating -----------------------------------------------------------------------------------

QUERN_INLINE words pack_signed(i32s a, i32s b) { return {_mm256_packs_epi32(a.v, b.v)}; }
QUERN_INLINE words pack_unsigned(i32s a, i32s b) { return {_mm256_packus_epi32(a.v, b.v)}; }
QUERN_INLINE words as_words(i32s a) { return {a.v}; }
QUERN_INLINE i32s as_i32(words a) { return {a.v}; }
QUERN_INLINE words broadcast_word(std::int16_t x) { return {_mm256_set1_epi16(x)}; }
QUERN_INLINE words adds(words a, words b) { return {_mm256_adds_epi16(a.v, b.v)}; }
/// a * b / 2^15, ties upward; b >= 0.
QUERN_INLINE words mul_high_half_up(words a, words b) { return {_mm256_mulhrs_epi16(a.v, b.v)}; }
/// (a + 1) / 2 rounded down: vpmulhrsw by 2^14.
QUERN_INLINE words half_up(words a) { return {_mm256_mulhrs_epi16(a.v, _mm256_set1_epi16(0x4000))}; }
QUERN_INLINE words or3(words a, words b, words c) { return {_mm256_or_si256(_mm256_or_si256(a.v, b.v), c.v)}; }
QUERN_INLINE words min_signed(words a, words b) { return {_mm256_min_epi16(a.v, b.v)}; }
QUERN_INLINE words max_signed(words a, words b) { return {_mm256_max_epi16(a.v, b.v)}; }
QUERN_INLINE int count_equal(words a, words b) {
  return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_epi8(_mm256_cmpeq_epi16(a.v, b.v)))) / 2;
}
/// How many words were 0 .. last, in each lane.
struct word_count {
  __m256i v;
};
QUERN_INLINE word_count no_words() { return {_mm256_setzero_si256()}; }
QUERN_INLINE void count_within(word_count& c, words a, words b, words last) {
  __m256i const zero = _mm256_setzero_si256();  // there is no unsigned comparison: a - last, not below 0
  c.v = _mm256_sub_epi16(c.v, _mm256_cmpeq_epi16(_mm256_subs_epu16(a.v, last.v), zero));
  c.v = _mm256_sub_epi16(c.v, _mm256_cmpeq_epi16(_mm256_subs_epu16(b.v, last.v), zero));
}
QUERN_INLINE index_t total(word_count c) { return reduce_add(i32s{_mm256_madd_epi16(c.v, _mm256_set1_epi16(1))}); }
QUERN_INLINE bool any_bit(words a, words bits) { return _mm256_testz_si256(a.v, bits.v) == 0; }
QUERN_INLINE bytes pack_signed(words a, words b) {
  __m256i const order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return {_mm256_permutevar8x32_epi32(_mm256_packs_epi16(a.v, b.v), order)};
}
QUERN_INLINE bytes pack_unsigned(words a, words b) {
  __m256i const order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return {_mm256_permutevar8x32_epi32(_mm256_packus_epi16(a.v, b.v), order)};
}
/// 2 * lanes bfloat16, in an order that packing twice and joining the halves undoes: half of the shuffles that load takes.
struct f32s_pair {
  f32s first, second;
};
QUERN_INLINE f32s_pair load_private(bfloat16 const* p) {
  __m256i const x = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)), zero = _mm256_setzero_si256();
  return {{_mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, x))}, {_mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, x))}};
}
QUERN_INLINE bytes pack_signed_private(words a, words b) { return {_mm256_permute4x64_epi64(_mm256_packs_epi16(a.v, b.v), 0xd8)}; }
QUERN_INLINE bytes pack_unsigned_private(words a, words b) { return {_mm256_permute4x64_epi64(_mm256_packus_epi16(a.v, b.v), 0xd8)}; }
QUERN_INLINE bytes broadcast_byte(std::int8_t x) { return {_mm256_set1_epi8(x)}; }
QUERN_INLINE bytes bit_xor(bytes a, bytes b) { return {_mm256_xor_si256(a.v, b.v)}; }
QUERN_INLINE bytes min_signed(bytes a, bytes b) { return {_mm256_min_epi8(a.v, b.v)}; }
QUERN_INLINE bytes max_signed(bytes a, bytes b) { return {_mm256_max_epi8(a.v, b.v)}; }
QUERN_INLINE void store(void* p, bytes a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a.v); }
QUERN_INLINE void stream(void* p, bytes a) { _mm256_stream_si256(static_cast<__m256i*>(p), a.v); }
QUERN_INLINE void store(void* p, words a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm256_permute4x64_epi64(a.v, 0xd8));
}
QUERN_INLINE void stream(void* p, words a) {
  _mm256_stream_si256(static_cast<__m256i*>(p), _mm256_permute4x64_epi64(a.v, 0xd8));
}
/// Wrapping.
QUERN_INLINE words add(words a, words b) { return {_mm256_add_epi16(a.v, b.v)}; }
QUERN_INLINE bytes add(bytes a, bytes b) { return {_mm256_add_epi8(a.v, b.v)}; }
QUERN_INLINE void store_first(void* p, bytes a, index_t n) {
  char all[sizeof a];
  store(static_cast<void*>(all), a);
  for (index_t i = 0; i < n; ++i) static_cast<char*>(p)[i] = all[i];
}
QUERN_INLINE void store_first(void* p, words a, index_t n) {
  std::int16_t all[sizeof a / 2];
  store(static_cast<void*>(all), a);
  __builtin_memcpy(p, all, static_cast<std::size_t>(n) * 2);
}

/// A half, a quarter: 2 * lanes and `lanes` bytes.
template <int Half>
QUERN_INLINE void store_half(void* p, bytes a) {
  _mm_storeu_si128(static_cast<__m128i*>(p), Half == 0 ? _mm256_castsi256_si128(a.v) : _mm256_extracti128_si256(a.v, 1));
}
template <int Quarter>
QUERN_INLINE void store_quarter(void* p, bytes a) {
  __m128i const half = Quarter < 2 ? _mm256_castsi256_si128(a.v) : _mm256_extracti128_si256(a.v, 1);
  if constexpr (Quarter % 2 == 0)
    _mm_storel_epi64(static_cast<__m128i*>(p), half);
  else {
    double const upper = _mm_castsi128_pd(half)[1];  // _mm_storeh_pd wants a double's alignment
    __builtin_memcpy(p, &upper, 8);
  }
}

#include "rounding.inl"

}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
#endif
