// vector_x86.hpp — the vocabularies of vector_madd.inl, vector_vnni.inl and vector_float.inl for each x86 instruction set, and the choice among them.
//
//     per 64 bytes of a pair     widening (madd)                       vpdpbusd
//     shuffles (port 5 on Intel) 4 with 512 bits, 8 with 256           none
//     multiplies                 2, 4                                  1, and 1 for the sum of the query
#pragma once

#include "../cpu/detect.hpp"
#include "vector_portable.hpp"

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
#include <immintrin.h>

namespace quern {
namespace detail {
// 32 bytes from keep_last + left are a mask of their last `left` bytes; 16 from keep_last + 16 + left, 8 from keep_last + 24 + left.
inline constexpr std::uint8_t keep_last[64] = {
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

inline namespace QUERN_ABI {
/// The `left` bytes at p at the end of `size` zeros: for vectors shorter than a register.
QUERN_INLINE void copy_last(std::uint8_t* to, int size, std::uint8_t const* p, index_t left) noexcept {
  for (int i = 0; i < size; ++i) to[i] = i >= size - left ? p[i - (size - left)] : std::uint8_t{0};
}
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern

// ---- SSE4.1 ----------------------------------------------------------------------------------------------------------------
QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
namespace detail {
inline namespace QUERN_ABI {
namespace vectors_sse41 {
constexpr isa target = isa::sse41;
constexpr int step = 8, tile_queries = 2;
using words = __m128i;

template <bool Signed>
QUERN_INLINE words extend(__m128i x) {
  if constexpr (Signed)
    return _mm_cvtepi8_epi16(x);
  else
    return _mm_cvtepu8_epi16(x);
}
template <bool Signed>
QUERN_INLINE words widen(std::uint8_t const* p) {
  return extend<Signed>(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(p)));
}
template <bool Signed>
QUERN_INLINE words widen_last(std::uint8_t const* p, index_t left, bool whole) {
  if (whole) {
    auto const* const mask = reinterpret_cast<__m128i const*>(keep_last + 24 + left);
    return extend<Signed>(_mm_and_si128(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(p + left - step)), _mm_loadl_epi64(mask)));
  }
  std::uint8_t copy[step];
  copy_last(copy, step, p, left);
  return widen<Signed>(copy);
}
QUERN_INLINE words zero() { return _mm_setzero_si128(); }
QUERN_INLINE words one() { return _mm_set1_epi16(1); }
QUERN_INLINE words add32(words a, words b) { return _mm_add_epi32(a, b); }
QUERN_INLINE words sub16(words a, words b) { return _mm_sub_epi16(a, b); }
QUERN_INLINE words madd(words a, words b) { return _mm_madd_epi16(a, b); }
QUERN_INLINE std::int32_t sum1(words a) {
  a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1)));
}
QUERN_INLINE void sum4(words a, words b, words c, words d, std::int32_t* out) {
  words const r = _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), r);
}
constexpr bool has_sum16 = false;
#include "vector_madd.inl"

constexpr int lanes = 4, float_rows = 1;
using floats = __m128;
QUERN_INLINE floats load(float const* p) { return _mm_loadu_ps(p); }
template <bool Signed>
QUERN_INLINE floats codes(std::uint8_t const* p) {
  std::int32_t four = 0;
  __builtin_memcpy(&four, p, 4);
  __m128i const x = _mm_cvtsi32_si128(four);
  if constexpr (Signed)
    return _mm_cvtepi32_ps(_mm_cvtepi8_epi32(x));
  else
    return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(x));
}
QUERN_INLINE floats zero_float() { return _mm_setzero_ps(); }
QUERN_INLINE floats muladd(floats acc, floats a, floats b) {
  floats product = _mm_mul_ps(a, b);
  asm("" : "+x"(product));  // two roundings, also where the compiler knows of FMA
  return _mm_add_ps(product, acc);
}
QUERN_INLINE float fold4(floats s) {
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
QUERN_INLINE float fold(floats const (&a)[8]) {
  floats const s0 = _mm_add_ps(_mm_add_ps(a[0], a[4]), _mm_add_ps(a[2], a[6]));
  floats const s1 = _mm_add_ps(_mm_add_ps(a[1], a[5]), _mm_add_ps(a[3], a[7]));
  return fold4(_mm_add_ps(s0, s1));
}
#include "vector_float.inl"
}  // namespace vectors_sse41
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
QUERN_TARGET_END

// ---- AVX2 ------------------------------------------------------------------------------------------------------------------
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
namespace detail {
inline namespace QUERN_ABI {
namespace vectors_avx2 {
constexpr isa target = isa::avx2;
constexpr int step = 16, tile_queries = 2;
using words = __m256i;

template <bool Signed>
QUERN_INLINE words extend(__m128i x) {
  if constexpr (Signed)
    return _mm256_cvtepi8_epi16(x);
  else
    return _mm256_cvtepu8_epi16(x);
}
template <bool Signed>
QUERN_INLINE words widen(std::uint8_t const* p) {
  return extend<Signed>(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p)));
}
template <bool Signed>
QUERN_INLINE words widen_last(std::uint8_t const* p, index_t left, bool whole) {
  if (whole) {
    auto const* const mask = reinterpret_cast<__m128i const*>(keep_last + 16 + left);
    return extend<Signed>(_mm_and_si128(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p + left - step)), _mm_loadu_si128(mask)));
  }
  std::uint8_t copy[step];
  copy_last(copy, step, p, left);
  return widen<Signed>(copy);
}
QUERN_INLINE words zero() { return _mm256_setzero_si256(); }
QUERN_INLINE words one() { return _mm256_set1_epi16(1); }
QUERN_INLINE words add32(words a, words b) { return _mm256_add_epi32(a, b); }
QUERN_INLINE words sub16(words a, words b) { return _mm256_sub_epi16(a, b); }
QUERN_INLINE words madd(words a, words b) { return _mm256_madd_epi16(a, b); }
QUERN_INLINE __m128i halves(words a) { return _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)); }
QUERN_INLINE std::int32_t sum1(words a) {
  __m128i s = halves(a);
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
QUERN_INLINE void sum4(words a, words b, words c, words d, std::int32_t* out) {
  words const r = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), halves(r));
}
constexpr bool has_sum16 = false;
#include "vector_madd.inl"

constexpr int lanes = 8, float_rows = 2;
using floats = __m256;
QUERN_INLINE floats load(float const* p) { return _mm256_loadu_ps(p); }
template <bool Signed>
QUERN_INLINE floats codes(std::uint8_t const* p) {
  __m128i const x = _mm_loadl_epi64(reinterpret_cast<__m128i const*>(p));
  if constexpr (Signed)
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x));
  else
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x));
}
QUERN_INLINE floats zero_float() { return _mm256_setzero_ps(); }
QUERN_INLINE floats muladd(floats acc, floats a, floats b) {
  floats product = _mm256_mul_ps(a, b);
  asm("" : "+x"(product));  // two roundings: FMA would give other bits than SSE4.1
  return _mm256_add_ps(product, acc);
}
QUERN_INLINE float fold(floats const (&a)[4]) {
  floats const s = _mm256_add_ps(_mm256_add_ps(a[0], a[2]), _mm256_add_ps(a[1], a[3]));
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_shuffle_ps(t, t, 1)));
}
#include "vector_float.inl"
}  // namespace vectors_avx2
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
QUERN_TARGET_END

// ---- AVX-VNNI --------------------------------------------------------------------------------------------------------------
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX_VNNI)
namespace quern {
namespace detail {
inline namespace QUERN_ABI {
namespace vectors_avx_vnni {
constexpr isa target = isa::avx_vnni;
constexpr int step = 32, tile_queries = 2;  // eight sums, two queries, and a vector: what sixteen registers hold
using bytes = __m256i;

QUERN_INLINE bytes load(std::uint8_t const* p) { return _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)); }
QUERN_INLINE bytes load_last(std::uint8_t const* p, index_t left, bool whole) {
  if (whole) return _mm256_and_si256(load(p + left - step), load(keep_last + left));
  std::uint8_t copy[step];
  copy_last(copy, step, p, left);
  return load(copy);
}
QUERN_INLINE bytes flip(bytes x) { return _mm256_xor_si256(x, _mm256_set1_epi8(-128)); }
QUERN_INLINE bytes dp(bytes acc, bytes u, bytes s) { return _mm256_dpbusd_avx_epi32(acc, u, s); }
QUERN_INLINE bytes zero() { return _mm256_setzero_si256(); }
QUERN_INLINE bytes one() { return _mm256_set1_epi8(1); }
QUERN_INLINE bytes add32(bytes a, bytes b) { return _mm256_add_epi32(a, b); }
QUERN_INLINE bytes sub32(bytes a, bytes b) { return _mm256_sub_epi32(a, b); }
QUERN_INLINE bytes times128(bytes a) { return _mm256_slli_epi32(a, 7); }
template <bool Signed>
QUERN_INLINE bytes distance(bytes a, bytes b) {
  if constexpr (Signed)
    return _mm256_sub_epi8(_mm256_max_epi8(a, b), _mm256_min_epi8(a, b));
  else
    return _mm256_sub_epi8(_mm256_max_epu8(a, b), _mm256_min_epu8(a, b));
}
QUERN_INLINE __m128i halves(bytes a) { return _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)); }
QUERN_INLINE std::int32_t sum1(bytes a) {
  __m128i s = halves(a);
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
QUERN_INLINE void sum4(bytes a, bytes b, bytes c, bytes d, std::int32_t* out) {
  bytes const r = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), halves(r));
}
constexpr bool has_sum16 = false;
#include "vector_vnni.inl"
}  // namespace vectors_avx_vnni
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
QUERN_TARGET_END

#if !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12's own undefined registers
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
// ---- AVX-512BW -------------------------------------------------------------------------------------------------------------
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
namespace detail {
inline namespace QUERN_ABI {
namespace vectors_avx512bw {
constexpr isa target = isa::avx512bw;
constexpr int step = 32, tile_queries = 4;
using words = __m512i;

template <bool Signed>
QUERN_INLINE words extend(__m256i x) {
  if constexpr (Signed)
    return _mm512_cvtepi8_epi16(x);
  else
    return _mm512_cvtepu8_epi16(x);
}
template <bool Signed>
QUERN_INLINE words widen(std::uint8_t const* p) {
  return extend<Signed>(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)));
}
template <bool Signed>
QUERN_INLINE words widen_last(std::uint8_t const* p, index_t left, bool) {
  return extend<Signed>(_mm256_maskz_loadu_epi8(static_cast<__mmask32>((1ull << left) - 1), p));
}
QUERN_INLINE words zero() { return _mm512_setzero_si512(); }
QUERN_INLINE words one() { return _mm512_set1_epi16(1); }
QUERN_INLINE words add32(words a, words b) { return _mm512_add_epi32(a, b); }
QUERN_INLINE words sub16(words a, words b) { return _mm512_sub_epi16(a, b); }
QUERN_INLINE words madd(words a, words b) { return _mm512_madd_epi16(a, b); }
QUERN_INLINE __m256i halves(words a) { return _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1)); }
QUERN_INLINE std::int32_t sum1(words a) {
  __m256i const h = halves(a);
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
QUERN_INLINE void sum4(words a, words b, words c, words d, std::int32_t* out) {
  __m256i const r = _mm256_hadd_epi32(_mm256_hadd_epi32(halves(a), halves(b)), _mm256_hadd_epi32(halves(c), halves(d)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_add_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1)));
}
constexpr bool has_sum16 = true;
/// out[i * stride + r] = the sum of a[i][r] + add[i]: three rounds of transposing additions, a third of sixteen separate sums.
QUERN_INLINE void sum16(__m512i const (&a)[4][4], std::int32_t const* add, std::int32_t* out, index_t stride) {
  __m512i u[4];
#pragma GCC unroll 8
  for (int i = 0; i < 4; ++i) {
    __m512i const ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a[i][0], a[i][1]), _mm512_unpackhi_epi32(a[i][0], a[i][1]));
    __m512i const cd = _mm512_add_epi32(_mm512_unpacklo_epi32(a[i][2], a[i][3]), _mm512_unpackhi_epi32(a[i][2], a[i][3]));
    u[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));  // a b c d in each lane
  }
  __m512i const u01 = _mm512_add_epi32(_mm512_shuffle_i64x2(u[0], u[1], 0x44), _mm512_shuffle_i64x2(u[0], u[1], 0xee));
  __m512i const u23 = _mm512_add_epi32(_mm512_shuffle_i64x2(u[2], u[3], 0x44), _mm512_shuffle_i64x2(u[2], u[3], 0xee));
  __m512i sums = _mm512_add_epi32(_mm512_shuffle_i64x2(u01, u23, 0x88), _mm512_shuffle_i64x2(u01, u23, 0xdd));  // query i in lane i
  __m512i const lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  sums = _mm512_add_epi32(sums, _mm512_permutexvar_epi32(lane, _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<__m128i const*>(add)))));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_castsi512_si128(sums));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + stride), _mm512_extracti32x4_epi32(sums, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * stride), _mm512_extracti32x4_epi32(sums, 2));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * stride), _mm512_extracti32x4_epi32(sums, 3));
}
#include "vector_madd.inl"

constexpr int lanes = 16, float_rows = 4;
using floats = __m512;
QUERN_INLINE floats load(float const* p) { return _mm512_loadu_ps(p); }
template <bool Signed>
QUERN_INLINE floats codes(std::uint8_t const* p) {
  __m128i const x = _mm_loadu_si128(reinterpret_cast<__m128i const*>(p));
  if constexpr (Signed)
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(x));
  else
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(x));
}
QUERN_INLINE floats zero_float() { return _mm512_setzero_ps(); }
QUERN_INLINE floats muladd(floats acc, floats a, floats b) {
  floats product = _mm512_mul_ps(a, b);
  asm("" : "+v"(product));  // two roundings: FMA would give other bits than SSE4.1
  return _mm512_add_ps(product, acc);
}
QUERN_INLINE float fold(floats const (&a)[2]) {
  floats const s = _mm512_add_ps(a[0], a[1]);
  __m256 const h = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_shuffle_ps(t, t, 1)));
}
#include "vector_float.inl"
}  // namespace vectors_avx512bw
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
QUERN_TARGET_END

// ---- AVX-512 VNNI ----------------------------------------------------------------------------------------------------------
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512_VNNI)
namespace quern {
namespace detail {
inline namespace QUERN_ABI {
namespace vectors_avx512_vnni {
constexpr isa target = isa::avx512_vnni;
constexpr int step = 64, tile_queries = 4;
using bytes = __m512i;

QUERN_INLINE bytes load(std::uint8_t const* p) { return _mm512_loadu_si512(p); }
QUERN_INLINE bytes load_last(std::uint8_t const* p, index_t left, bool) {
  return _mm512_maskz_loadu_epi8(static_cast<__mmask64>((1ull << left) - 1), p);
}
QUERN_INLINE bytes flip(bytes x) { return _mm512_xor_si512(x, _mm512_set1_epi8(-128)); }
QUERN_INLINE bytes dp(bytes acc, bytes u, bytes s) { return _mm512_dpbusd_epi32(acc, u, s); }
QUERN_INLINE bytes zero() { return _mm512_setzero_si512(); }
QUERN_INLINE bytes one() { return _mm512_set1_epi8(1); }
QUERN_INLINE bytes add32(bytes a, bytes b) { return _mm512_add_epi32(a, b); }
QUERN_INLINE bytes sub32(bytes a, bytes b) { return _mm512_sub_epi32(a, b); }
QUERN_INLINE bytes times128(bytes a) { return _mm512_slli_epi32(a, 7); }
template <bool Signed>
QUERN_INLINE bytes distance(bytes a, bytes b) {
  if constexpr (Signed)
    return _mm512_sub_epi8(_mm512_max_epi8(a, b), _mm512_min_epi8(a, b));
  else
    return _mm512_sub_epi8(_mm512_max_epu8(a, b), _mm512_min_epu8(a, b));
}
QUERN_INLINE __m256i halves(bytes a) { return _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1)); }
QUERN_INLINE std::int32_t sum1(bytes a) {
  __m256i const h = halves(a);
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
QUERN_INLINE void sum4(bytes a, bytes b, bytes c, bytes d, std::int32_t* out) {
  __m256i const r = _mm256_hadd_epi32(_mm256_hadd_epi32(halves(a), halves(b)), _mm256_hadd_epi32(halves(c), halves(d)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_add_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1)));
}
constexpr bool has_sum16 = true;
/// out[i * stride + r] = the sum of a[i][r] + add[i]: three rounds of transposing additions, a third of sixteen separate sums.
QUERN_INLINE void sum16(__m512i const (&a)[4][4], std::int32_t const* add, std::int32_t* out, index_t stride) {
  __m512i u[4];
#pragma GCC unroll 8
  for (int i = 0; i < 4; ++i) {
    __m512i const ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a[i][0], a[i][1]), _mm512_unpackhi_epi32(a[i][0], a[i][1]));
    __m512i const cd = _mm512_add_epi32(_mm512_unpacklo_epi32(a[i][2], a[i][3]), _mm512_unpackhi_epi32(a[i][2], a[i][3]));
    u[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));  // a b c d in each lane
  }
  __m512i const u01 = _mm512_add_epi32(_mm512_shuffle_i64x2(u[0], u[1], 0x44), _mm512_shuffle_i64x2(u[0], u[1], 0xee));
  __m512i const u23 = _mm512_add_epi32(_mm512_shuffle_i64x2(u[2], u[3], 0x44), _mm512_shuffle_i64x2(u[2], u[3], 0xee));
  __m512i sums = _mm512_add_epi32(_mm512_shuffle_i64x2(u01, u23, 0x88), _mm512_shuffle_i64x2(u01, u23, 0xdd));  // query i in lane i
  __m512i const lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  sums = _mm512_add_epi32(sums, _mm512_permutexvar_epi32(lane, _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<__m128i const*>(add)))));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_castsi512_si128(sums));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + stride), _mm512_extracti32x4_epi32(sums, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * stride), _mm512_extracti32x4_epi32(sums, 2));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * stride), _mm512_extracti32x4_epi32(sums, 3));
}
#include "vector_vnni.inl"
}  // namespace vectors_avx512_vnni
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
QUERN_TARGET_END
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif  // QUERN_X86_64

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// The best kernels under a cap: where they are, since a copy of them all takes longer than a dot product of 64 dimensions.
template <vector_op Op, bool QuerySigned, bool CorpusSigned>
#if QUERN_DETAIL_KERNELS_HERE
vector_kernels const& choose_vector_kernels(isa cap) {
#if QUERN_X86_64
  unsigned const allowed = allowed_isas(cap);
  if ((allowed & bit_of(isa::avx512_vnni)) != 0) return vectors_avx512_vnni::kernels<Op, QuerySigned, CorpusSigned>;
  if ((allowed & bit_of(isa::avx512bw)) != 0) return vectors_avx512bw::kernels<Op, QuerySigned, CorpusSigned>;
  if ((allowed & bit_of(isa::avx_vnni)) != 0) return vectors_avx_vnni::kernels<Op, QuerySigned, CorpusSigned>;
  if ((allowed & bit_of(isa::avx2)) != 0) return vectors_avx2::kernels<Op, QuerySigned, CorpusSigned>;
  if ((allowed & bit_of(isa::sse41)) != 0) return vectors_sse41::kernels<Op, QuerySigned, CorpusSigned>;
#else
  (void)cap;
#endif
  return vectors_portable::kernels<Op, QuerySigned, CorpusSigned>;
}
#else
vector_kernels const& choose_vector_kernels(isa cap);
#endif

/// The best float kernel under a cap.
template <bool CorpusSigned>
#if QUERN_DETAIL_KERNELS_HERE
float_dots_kernel choose_float_dots(isa cap) {
#if QUERN_X86_64
  unsigned const allowed = allowed_isas(cap);
  if ((allowed & bit_of(isa::avx512bw)) != 0) return vectors_avx512bw::float_dots<CorpusSigned>;
  if ((allowed & bit_of(isa::avx2)) != 0) return vectors_avx2::float_dots<CorpusSigned>;
  if ((allowed & bit_of(isa::sse41)) != 0) return vectors_sse41::float_dots<CorpusSigned>;
#else
  (void)cap;
#endif
  return vectors_portable::float_dots<CorpusSigned>;
}
#else
float_dots_kernel choose_float_dots(isa cap);
#endif

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
