// x86_xmm.inl — the vector vocabulary on the 16-byte registers of x86: what SSE2 and SSE4.1 have in common. Included once for each,
// in its namespace, after the few operations that they do differently (see x86_sse2.hpp for the list). vocabulary.md says what
// each word means.
//
// Rounding follows MXCSR, which is to nearest even unless the program changed it. mul() ends in an empty asm statement because
// the translation unit may have FMA on, where GCC would fuse it with an addition.

inline constexpr int lanes = 4;
inline constexpr bool has_fma = false;
inline constexpr bool has_pack = true;
inline constexpr bool has_wide_arithmetic_shift = false;

struct f32s {
  __m128 v;
};
struct i32s {
  __m128i v;
};
struct f64s {
  __m128d lo, hi;
};
/// All ones or all zeros in each lane.
struct mask {
  __m128i v;
};
struct wides {
  __m128i even, odd;
};
struct words {
  __m128i v;
};
struct bytes {
  __m128i v;
};

// ---- broadcast, load, store ----------------------------------------------------------------------------------------------

QUERN_INLINE f32s broadcast(float x) { return {_mm_set1_ps(x)}; }
QUERN_INLINE f64s broadcast(double x) { return {_mm_set1_pd(x), _mm_set1_pd(x)}; }
QUERN_INLINE i32s broadcast(std::int32_t x) { return {_mm_set1_epi32(x)}; }
QUERN_INLINE mask first_lanes(index_t n) {
  return {_mm_cmpgt_epi32(_mm_set1_epi32(static_cast<int>(n)), _mm_setr_epi32(0, 1, 2, 3))};
}

namespace inner {
QUERN_INLINE __m128i load4(void const* p) {
  int x;
  __builtin_memcpy(&x, p, 4);
  return _mm_cvtsi32_si128(x);
}
QUERN_INLINE __m128i load8(void const* p) { return _mm_loadl_epi64(static_cast<__m128i const*>(p)); }
QUERN_INLINE void store4(void* p, __m128i x) {
  int const low = _mm_cvtsi128_si32(x);
  __builtin_memcpy(p, &low, 4);
}
QUERN_INLINE void store8(void* p, __m128i x) { _mm_storel_epi64(static_cast<__m128i*>(p), x); }
}  // namespace inner

QUERN_INLINE f32s load(float const* p) { return {_mm_loadu_ps(p)}; }
QUERN_INLINE f32s load(half const* p) { return {_mm_setr_ps(p[0], p[1], p[2], p[3])}; }
QUERN_INLINE f32s load(bfloat16 const* p) {
  return {_mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), inner::load8(p)))};
}
QUERN_INLINE f64s load(double const* p) { return {_mm_loadu_pd(p), _mm_loadu_pd(p + 2)}; }
QUERN_INLINE i32s load(std::int8_t const* p) { return {inner::widen_s8(inner::load4(p))}; }
QUERN_INLINE i32s load(std::uint8_t const* p) { return {inner::widen_u8(inner::load4(p))}; }
QUERN_INLINE i32s load(std::int16_t const* p) { return {inner::widen_s16(inner::load8(p))}; }
QUERN_INLINE i32s load(std::uint16_t const* p) { return {inner::widen_u16(inner::load8(p))}; }
QUERN_INLINE i32s load(std::int32_t const* p) { return {_mm_loadu_si128(reinterpret_cast<__m128i const*>(p))}; }

template <class T>
QUERN_INLINE auto load_first(T const* p, index_t n) {
  T all[lanes] = {};
  for (index_t i = 0; i < n; ++i) all[i] = p[i];
  return load(static_cast<T const*>(all));
}

QUERN_INLINE void store(float* p, f32s x) { _mm_storeu_ps(p, x.v); }
QUERN_INLINE void store(half* p, f32s x) {
  float all[lanes];
  _mm_storeu_ps(all, x.v);
  for (int i = 0; i < lanes; ++i) p[i] = half(all[i]);
}
QUERN_INLINE void store(bfloat16* p, f32s x) {
  __m128i const b = _mm_castps_si128(x.v), high = _mm_srli_epi32(b, 16), odd = _mm_and_si128(high, _mm_set1_epi32(1));
  __m128i const r = _mm_srli_epi32(_mm_add_epi32(_mm_add_epi32(b, _mm_set1_epi32(0x7fff)), odd), 16);
  __m128i const nan = _mm_castps_si128(_mm_cmpunord_ps(x.v, x.v));
  __m128i const bits = inner::blend(r, _mm_or_si128(high, _mm_set1_epi32(0x40)), nan);
  inner::store8(p, inner::pack_u16(bits, bits));
}
QUERN_INLINE void store(double* p, f64s x) {
  _mm_storeu_pd(p, x.lo);
  _mm_storeu_pd(p + 2, x.hi);
}
QUERN_INLINE void store(std::int16_t* p, i32s x) { inner::store8(p, _mm_packs_epi32(x.v, x.v)); }
QUERN_INLINE void store(std::uint16_t* p, i32s x) { inner::store8(p, inner::pack_u16(x.v, x.v)); }
QUERN_INLINE void store(std::int8_t* p, i32s x) {
  __m128i const w = _mm_packs_epi32(x.v, x.v);
  inner::store4(p, _mm_packs_epi16(w, w));
}
QUERN_INLINE void store(std::uint8_t* p, i32s x) {
  __m128i const w = _mm_packs_epi32(x.v, x.v);
  inner::store4(p, _mm_packus_epi16(w, w));
}
QUERN_INLINE void store(std::int32_t* p, i32s x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x.v); }
template <class T, class V>
QUERN_INLINE void store_first(T* p, V x, index_t n) {
  T all[lanes];
  store(static_cast<T*>(all), x);
  for (index_t i = 0; i < n; ++i) p[i] = all[i];
}

QUERN_INLINE void stream(float* p, f32s x) { _mm_stream_ps(p, x.v); }
QUERN_INLINE void fence() { _mm_sfence(); }
QUERN_INLINE void prefetch(void const* p) { _mm_prefetch(static_cast<char const*>(p), _MM_HINT_T0); }

// ---- real arithmetic -----------------------------------------------------------------------------------------------------

QUERN_INLINE f32s add(f32s a, f32s b) { return {_mm_add_ps(a.v, b.v)}; }
QUERN_INLINE f32s sub(f32s a, f32s b) { return {_mm_sub_ps(a.v, b.v)}; }
QUERN_INLINE f32s mul(f32s a, f32s b) {
  __m128 r = _mm_mul_ps(a.v, b.v);
  asm("" : "+x"(r));
  return {r};
}
QUERN_INLINE f32s div(f32s a, f32s b) { return {_mm_div_ps(a.v, b.v)}; }
QUERN_INLINE f32s min(f32s a, f32s b) { return {_mm_min_ps(a.v, b.v)}; }
QUERN_INLINE f32s max(f32s a, f32s b) { return {_mm_max_ps(a.v, b.v)}; }
QUERN_INLINE f32s abs(f32s a) { return {_mm_andnot_ps(_mm_set1_ps(-0.0f), a.v)}; }
QUERN_INLINE f32s copysign(f32s magnitude, f32s sign) {
  __m128 const bit = _mm_set1_ps(-0.0f);
  return {_mm_or_ps(_mm_andnot_ps(bit, magnitude.v), _mm_and_ps(bit, sign.v))};
}
QUERN_INLINE mask less(f32s a, f32s b) { return {_mm_castps_si128(_mm_cmplt_ps(a.v, b.v))}; }
QUERN_INLINE mask less_equal(f32s a, f32s b) { return {_mm_castps_si128(_mm_cmple_ps(a.v, b.v))}; }
QUERN_INLINE mask equal(f32s a, f32s b) { return {_mm_castps_si128(_mm_cmpeq_ps(a.v, b.v))}; }
QUERN_INLINE mask is_nan(f32s a) { return {_mm_castps_si128(_mm_cmpunord_ps(a.v, a.v))}; }
QUERN_INLINE f32s select(mask m, f32s yes, f32s no) { return {_mm_castsi128_ps(inner::blend(_mm_castps_si128(no.v), _mm_castps_si128(yes.v), m.v))}; }

QUERN_INLINE f32s nearest_even(f32s a) { return {inner::nearest(a.v)}; }
QUERN_INLINE f32s round_down(f32s a) { return {inner::down(a.v)}; }
QUERN_INLINE f32s round_up(f32s a) { return {inner::up(a.v)}; }
QUERN_INLINE f32s truncate(f32s a) { return {inner::cut(a.v)}; }

QUERN_INLINE i32s to_i32(f32s a) { return {_mm_cvtps_epi32(a.v)}; }
QUERN_INLINE i32s truncate_to_i32(f32s a) { return {_mm_cvttps_epi32(a.v)}; }
QUERN_INLINE f32s to_f32(i32s a) { return {_mm_cvtepi32_ps(a.v)}; }
QUERN_INLINE f64s to_f64(i32s a) { return {_mm_cvtepi32_pd(a.v), _mm_cvtepi32_pd(_mm_unpackhi_epi64(a.v, a.v))}; }
QUERN_INLINE f64s to_f64(f32s a) { return {_mm_cvtps_pd(a.v), _mm_cvtps_pd(_mm_movehl_ps(a.v, a.v))}; }
QUERN_INLINE f32s to_f32(f64s a) { return {_mm_movelh_ps(_mm_cvtpd_ps(a.lo), _mm_cvtpd_ps(a.hi))}; }
QUERN_INLINE i32s to_i32(f64s a) { return {_mm_unpacklo_epi64(_mm_cvtpd_epi32(a.lo), _mm_cvtpd_epi32(a.hi))}; }
QUERN_INLINE i32s truncate_to_i32(f64s a) { return {_mm_unpacklo_epi64(_mm_cvttpd_epi32(a.lo), _mm_cvttpd_epi32(a.hi))}; }

QUERN_INLINE f64s add(f64s a, f64s b) { return {_mm_add_pd(a.lo, b.lo), _mm_add_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s sub(f64s a, f64s b) { return {_mm_sub_pd(a.lo, b.lo), _mm_sub_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s mul(f64s a, f64s b) {
  __m128d lo = _mm_mul_pd(a.lo, b.lo), hi = _mm_mul_pd(a.hi, b.hi);
  asm("" : "+x"(lo), "+x"(hi));
  return {lo, hi};
}
QUERN_INLINE f64s div(f64s a, f64s b) { return {_mm_div_pd(a.lo, b.lo), _mm_div_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s min(f64s a, f64s b) { return {_mm_min_pd(a.lo, b.lo), _mm_min_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s max(f64s a, f64s b) { return {_mm_max_pd(a.lo, b.lo), _mm_max_pd(a.hi, b.hi)}; }
QUERN_INLINE f64s abs(f64s a) {
  __m128d const bit = _mm_set1_pd(-0.0);
  return {_mm_andnot_pd(bit, a.lo), _mm_andnot_pd(bit, a.hi)};
}
QUERN_INLINE f64s copysign(f64s magnitude, f64s sign) {
  __m128d const bit = _mm_set1_pd(-0.0);
  return {_mm_or_pd(_mm_andnot_pd(bit, magnitude.lo), _mm_and_pd(bit, sign.lo)),
          _mm_or_pd(_mm_andnot_pd(bit, magnitude.hi), _mm_and_pd(bit, sign.hi))};
}
namespace inner {
QUERN_INLINE mask joined(__m128d lo, __m128d hi) {
  return {_mm_castps_si128(_mm_shuffle_ps(_mm_castpd_ps(lo), _mm_castpd_ps(hi), 0x88))};
}
}  // namespace inner
QUERN_INLINE mask less(f64s a, f64s b) { return inner::joined(_mm_cmplt_pd(a.lo, b.lo), _mm_cmplt_pd(a.hi, b.hi)); }
QUERN_INLINE mask less_equal(f64s a, f64s b) { return inner::joined(_mm_cmple_pd(a.lo, b.lo), _mm_cmple_pd(a.hi, b.hi)); }
QUERN_INLINE mask equal(f64s a, f64s b) { return inner::joined(_mm_cmpeq_pd(a.lo, b.lo), _mm_cmpeq_pd(a.hi, b.hi)); }
QUERN_INLINE mask is_nan(f64s a) { return inner::joined(_mm_cmpunord_pd(a.lo, a.lo), _mm_cmpunord_pd(a.hi, a.hi)); }
QUERN_INLINE f64s select(mask m, f64s yes, f64s no) {
  __m128i const lo = _mm_unpacklo_epi32(m.v, m.v), hi = _mm_unpackhi_epi32(m.v, m.v);
  return {_mm_castsi128_pd(inner::blend(_mm_castpd_si128(no.lo), _mm_castpd_si128(yes.lo), lo)),
          _mm_castsi128_pd(inner::blend(_mm_castpd_si128(no.hi), _mm_castpd_si128(yes.hi), hi))};
}
QUERN_INLINE f64s nearest_even(f64s a) { return {inner::nearest(a.lo), inner::nearest(a.hi)}; }
QUERN_INLINE f64s round_down(f64s a) { return {inner::down(a.lo), inner::down(a.hi)}; }
QUERN_INLINE f64s round_up(f64s a) { return {inner::up(a.lo), inner::up(a.hi)}; }
QUERN_INLINE f64s truncate(f64s a) { return {inner::cut(a.lo), inner::cut(a.hi)}; }

QUERN_INLINE float reduce_min(f32s a) {
  __m128 const r = _mm_min_ps(a.v, _mm_movehl_ps(a.v, a.v));
  return _mm_cvtss_f32(_mm_min_ps(r, _mm_shuffle_ps(r, r, 1)));
}
QUERN_INLINE float reduce_max(f32s a) {
  __m128 const r = _mm_max_ps(a.v, _mm_movehl_ps(a.v, a.v));
  return _mm_cvtss_f32(_mm_max_ps(r, _mm_shuffle_ps(r, r, 1)));
}
#define QUERN_DETAIL_REDUCE_I32(op)                        \
  __m128i const r = op(a.v, _mm_shuffle_epi32(a.v, 0x4e)); \
  return _mm_cvtsi128_si32(op(r, _mm_shuffle_epi32(r, 0xb1)))
QUERN_INLINE std::int32_t reduce_add(i32s a) { QUERN_DETAIL_REDUCE_I32(_mm_add_epi32); }
QUERN_INLINE std::int32_t reduce_min(i32s a) { QUERN_DETAIL_REDUCE_I32(inner::min32); }
QUERN_INLINE std::int32_t reduce_max(i32s a) { QUERN_DETAIL_REDUCE_I32(inner::max32); }
#undef QUERN_DETAIL_REDUCE_I32

// ---- integers ------------------------------------------------------------------------------------------------------------

QUERN_INLINE i32s add(i32s a, i32s b) { return {_mm_add_epi32(a.v, b.v)}; }
QUERN_INLINE i32s sub(i32s a, i32s b) { return {_mm_sub_epi32(a.v, b.v)}; }
QUERN_INLINE i32s mul_low(i32s a, i32s b) { return {inner::mul_low32(a.v, b.v)}; }
QUERN_INLINE i32s mul_words(i32s a, i32s b) { return {_mm_madd_epi16(a.v, b.v)}; }
QUERN_INLINE i32s min(i32s a, i32s b) { return {inner::min32(a.v, b.v)}; }
QUERN_INLINE i32s max(i32s a, i32s b) { return {inner::max32(a.v, b.v)}; }
QUERN_INLINE i32s abs(i32s a) { return {inner::abs32(a.v)}; }
QUERN_INLINE i32s copysign(i32s magnitude, i32s sign) {
  __m128i const s = _mm_srai_epi32(sign.v, 31);
  return {_mm_sub_epi32(_mm_xor_si128(magnitude.v, s), s)};
}
QUERN_INLINE i32s bit_and(i32s a, i32s b) { return {_mm_and_si128(a.v, b.v)}; }
QUERN_INLINE i32s bit_or(i32s a, i32s b) { return {_mm_or_si128(a.v, b.v)}; }
QUERN_INLINE i32s bit_xor(i32s a, i32s b) { return {_mm_xor_si128(a.v, b.v)}; }
QUERN_INLINE i32s or3(i32s a, i32s b, i32s c) { return bit_or(bit_or(a, b), c); }
namespace inner {
template <class F>
QUERN_INLINE i32s each(i32s a, i32s b, F f) {
  alignas(16) std::int32_t x[4], y[4];
  _mm_store_si128(reinterpret_cast<__m128i*>(x), a.v);
  _mm_store_si128(reinterpret_cast<__m128i*>(y), b.v);
  for (int i = 0; i < 4; ++i) x[i] = f(x[i], y[i]);
  return {_mm_load_si128(reinterpret_cast<__m128i const*>(x))};
}
struct left {
  QUERN_INLINE std::int32_t operator()(std::int32_t a, std::int32_t s) const {
    return static_cast<unsigned>(s) > 31 ? 0 : static_cast<std::int32_t>(static_cast<std::uint32_t>(a) << s);
  }
};
struct right {
  QUERN_INLINE std::int32_t operator()(std::int32_t a, std::int32_t s) const {
    return a >> (static_cast<unsigned>(s) > 31 ? 31 : s);
  }
};
struct right_logical {
  QUERN_INLINE std::int32_t operator()(std::int32_t a, std::int32_t s) const {
    return static_cast<unsigned>(s) > 31 ? 0 : static_cast<std::int32_t>(static_cast<std::uint32_t>(a) >> s);
  }
};
}  // namespace inner
QUERN_INLINE i32s shift_left(i32s a, i32s s) { return inner::each(a, s, inner::left{}); }
QUERN_INLINE i32s shift_right(i32s a, i32s s) { return inner::each(a, s, inner::right{}); }
QUERN_INLINE i32s shift_right_logical(i32s a, i32s s) { return inner::each(a, s, inner::right_logical{}); }
QUERN_INLINE i32s shift_right(i32s a, int s) { return {_mm_srai_epi32(a.v, s)}; }
QUERN_INLINE mask less(i32s a, i32s b) { return {_mm_cmpgt_epi32(b.v, a.v)}; }
QUERN_INLINE mask equal(i32s a, i32s b) { return {_mm_cmpeq_epi32(a.v, b.v)}; }
QUERN_INLINE i32s select(mask m, i32s yes, i32s no) { return {inner::blend(no.v, yes.v, m.v)}; }
QUERN_INLINE i32s as_i32(f32s a) { return {_mm_castps_si128(a.v)}; }
QUERN_INLINE f32s as_f32(i32s a) { return {_mm_castsi128_ps(a.v)}; }

QUERN_INLINE mask mask_and(mask a, mask b) { return {_mm_and_si128(a.v, b.v)}; }
QUERN_INLINE mask mask_or(mask a, mask b) { return {_mm_or_si128(a.v, b.v)}; }
QUERN_INLINE mask mask_not(mask a) { return {_mm_xor_si128(a.v, _mm_set1_epi32(-1))}; }
QUERN_INLINE unsigned lane_bits(mask a) { return static_cast<unsigned>(_mm_movemask_ps(_mm_castsi128_ps(a.v))); }
QUERN_INLINE bool any(mask a) { return lane_bits(a) != 0; }

// ---- 64-bit products for fixed-point rescaling ------------------------------------------------------------------------------

QUERN_INLINE wides mul_wide(i32s a, i32s b) {
  return {inner::mul_even(a.v, b.v), inner::mul_even(_mm_srli_epi64(a.v, 32), _mm_srli_epi64(b.v, 32))};
}
QUERN_INLINE wides mul_wide_unsigned(i32s a, i32s b) {
  return {_mm_mul_epu32(a.v, b.v), _mm_mul_epu32(_mm_srli_epi64(a.v, 32), _mm_srli_epi64(b.v, 32))};
}
QUERN_INLINE wides broadcast_wide(std::int64_t x) { return {_mm_set1_epi64x(x), _mm_set1_epi64x(x)}; }
QUERN_INLINE wides zero_extend(i32s a) {
  return {_mm_and_si128(a.v, _mm_set1_epi64x(0xffffffffll)), _mm_srli_epi64(a.v, 32)};
}
QUERN_INLINE wides add(wides a, wides b) { return {_mm_add_epi64(a.even, b.even), _mm_add_epi64(a.odd, b.odd)}; }
QUERN_INLINE wides sub(wides a, wides b) { return {_mm_sub_epi64(a.even, b.even), _mm_sub_epi64(a.odd, b.odd)}; }
QUERN_INLINE wides bit_and(wides a, wides b) { return {_mm_and_si128(a.even, b.even), _mm_and_si128(a.odd, b.odd)}; }
QUERN_INLINE wides sign_of(wides a) {
  return {_mm_shuffle_epi32(_mm_srai_epi32(a.even, 31), 0xf5), _mm_shuffle_epi32(_mm_srai_epi32(a.odd, 31), 0xf5)};
}
namespace inner {
/// psllq and psrlq shift both halves by the low half of their count.
QUERN_INLINE __m128i left64(__m128i a, __m128i s) {
  __m128i const s1 = _mm_unpackhi_epi64(s, s);
  return inner::halves(_mm_sll_epi64(a, s), _mm_sll_epi64(a, s1));
}
QUERN_INLINE __m128i right64(__m128i a, __m128i s) {
  __m128i const s1 = _mm_unpackhi_epi64(s, s);
  return inner::halves(_mm_srl_epi64(a, s), _mm_srl_epi64(a, s1));
}
}  // namespace inner
QUERN_INLINE wides shift_left(wides a, wides s) { return {inner::left64(a.even, s.even), inner::left64(a.odd, s.odd)}; }
QUERN_INLINE wides shift_right_logical(wides a, wides s) { return {inner::right64(a.even, s.even), inner::right64(a.odd, s.odd)}; }
QUERN_INLINE wides shift_right(wides a, wides s) {
  wides const n = sign_of(a);
  return {_mm_xor_si128(inner::right64(_mm_xor_si128(a.even, n.even), s.even), n.even),
          _mm_xor_si128(inner::right64(_mm_xor_si128(a.odd, n.odd), s.odd), n.odd)};
}
QUERN_INLINE i32s low_halves(wides a) { return {inner::odd_of_second(a.even, _mm_slli_epi64(a.odd, 32))}; }
QUERN_INLINE i32s high_halves(wides a) { return {inner::odd_of_second(_mm_srli_epi64(a.even, 32), a.odd)}; }
QUERN_INLINE i32s high_halves_of_double(wides a) {
  return {inner::odd_of_second(_mm_srli_epi64(a.even, 31), _mm_add_epi64(a.odd, a.odd))};
}

/// x * scale toward zero, less 1 for a negative x; 0 <= scale < 1.
struct away_product {
  f64s scale;
  QUERN_INLINE explicit away_product(f64s s) : scale(s) {}
  QUERN_INLINE i32s operator()(i32s x) const { return add(truncate_to_i32(mul(to_f64(x), scale)), shift_right(x, 31)); }
};

// ---- packing to 16 and 8 bits, saturating -----------------------------------------------------------------------------------

QUERN_INLINE words pack_signed(i32s a, i32s b) { return {_mm_packs_epi32(a.v, b.v)}; }
QUERN_INLINE words pack_unsigned(i32s a, i32s b) { return {inner::pack_u16(a.v, b.v)}; }
QUERN_INLINE words as_words(i32s a) { return {a.v}; }
QUERN_INLINE i32s as_i32(words a) { return {a.v}; }
QUERN_INLINE words broadcast_word(std::int16_t x) { return {_mm_set1_epi16(x)}; }
QUERN_INLINE words adds(words a, words b) { return {_mm_adds_epi16(a.v, b.v)}; }
/// a * b / 2^15, ties upward; b >= 0. With h and l the halves of the product: 2 h and what the upper two bits of l make of it.
QUERN_INLINE words mul_high_half_up(words a, words b) {
  __m128i const h = _mm_mulhi_epi16(a.v, b.v), l = _mm_srli_epi16(_mm_mullo_epi16(a.v, b.v), 14);
  return {_mm_add_epi16(_mm_add_epi16(h, h), _mm_srli_epi16(_mm_add_epi16(l, _mm_set1_epi16(1)), 1))};
}
/// (a + 1) / 2 rounded down.
QUERN_INLINE words half_up(words a) { return {_mm_add_epi16(_mm_srai_epi16(a.v, 1), _mm_and_si128(a.v, _mm_set1_epi16(1)))}; }
QUERN_INLINE words or3(words a, words b, words c) { return {_mm_or_si128(_mm_or_si128(a.v, b.v), c.v)}; }
QUERN_INLINE words min_signed(words a, words b) { return {_mm_min_epi16(a.v, b.v)}; }
QUERN_INLINE words max_signed(words a, words b) { return {_mm_max_epi16(a.v, b.v)}; }
QUERN_INLINE int count_equal(words a, words b) {
  return __builtin_popcount(static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi16(a.v, b.v)))) / 2;
}
/// How many words were 0 .. last, in each lane.
struct word_count {
  __m128i v;
};
QUERN_INLINE word_count no_words() { return {_mm_setzero_si128()}; }
QUERN_INLINE void count_within(word_count& c, words a, words b, words last) {
  __m128i const zero = _mm_setzero_si128();  // there is no unsigned comparison: a - last, not below 0
  c.v = _mm_sub_epi16(c.v, _mm_cmpeq_epi16(_mm_subs_epu16(a.v, last.v), zero));
  c.v = _mm_sub_epi16(c.v, _mm_cmpeq_epi16(_mm_subs_epu16(b.v, last.v), zero));
}
QUERN_INLINE index_t total(word_count c) { return reduce_add(i32s{_mm_madd_epi16(c.v, _mm_set1_epi16(1))}); }
QUERN_INLINE bool any_bit(words a, words bits) { return inner::any_common(a.v, bits.v); }
QUERN_INLINE bytes pack_signed(words a, words b) { return {_mm_packs_epi16(a.v, b.v)}; }
QUERN_INLINE bytes pack_unsigned(words a, words b) { return {_mm_packus_epi16(a.v, b.v)}; }
/// 2 * lanes bfloat16; a register of 128 bits keeps them in order.
struct f32s_pair {
  f32s first, second;
};
QUERN_INLINE f32s_pair load_private(bfloat16 const* p) {
  __m128i const x = _mm_loadu_si128(reinterpret_cast<__m128i const*>(p)), zero = _mm_setzero_si128();
  return {{_mm_castsi128_ps(_mm_unpacklo_epi16(zero, x))}, {_mm_castsi128_ps(_mm_unpackhi_epi16(zero, x))}};
}
QUERN_INLINE bytes pack_signed_private(words a, words b) { return pack_signed(a, b); }
QUERN_INLINE bytes pack_unsigned_private(words a, words b) { return pack_unsigned(a, b); }
QUERN_INLINE bytes broadcast_byte(std::int8_t x) { return {_mm_set1_epi8(x)}; }
QUERN_INLINE bytes bit_xor(bytes a, bytes b) { return {_mm_xor_si128(a.v, b.v)}; }
QUERN_INLINE bytes min_signed(bytes a, bytes b) { return {inner::min8(a.v, b.v)}; }
QUERN_INLINE bytes max_signed(bytes a, bytes b) { return {inner::max8(a.v, b.v)}; }
QUERN_INLINE void store(void* p, bytes a) { _mm_storeu_si128(static_cast<__m128i*>(p), a.v); }
QUERN_INLINE void stream(void* p, bytes a) { _mm_stream_si128(static_cast<__m128i*>(p), a.v); }
QUERN_INLINE void store(void* p, words a) { _mm_storeu_si128(static_cast<__m128i*>(p), a.v); }
QUERN_INLINE void stream(void* p, words a) { _mm_stream_si128(static_cast<__m128i*>(p), a.v); }
/// Wrapping.
QUERN_INLINE words add(words a, words b) { return {_mm_add_epi16(a.v, b.v)}; }
QUERN_INLINE bytes add(bytes a, bytes b) { return {_mm_add_epi8(a.v, b.v)}; }
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
  if constexpr (Half == 0)
    _mm_storel_epi64(static_cast<__m128i*>(p), a.v);
  else {
    double const upper = _mm_castsi128_pd(a.v)[1];  // _mm_storeh_pd wants a double's alignment
    __builtin_memcpy(p, &upper, 8);
  }
}
template <int Quarter>
QUERN_INLINE void store_quarter(void* p, bytes a) {
  inner::store4(p, _mm_shuffle_epi32(a.v, Quarter));
}

#include "rounding.inl"
