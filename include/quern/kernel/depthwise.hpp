// depthwise.hpp — depthwise convolution on interleaved rows.
//
// A depthwise convolution has no reuse across channels: 9 products an output, against 9 loads. What it has is reuse along the
// image, so rows are brought once into a form in which dot-product instructions can take four taps at a time, and each vector then
// serves all taps of the kernel's width (and, stride 1, several output rows):
//
//     row y     a0 a1 a2 ..            quads:  a0 b0 c0 d0  a1 b1 c1 d1 ..      vpdpbusd: four rows x sixteen channels
//     row y+1   b0 b1 b2 ..            words:  a0 b0 a1 b1 ..  c0 d0 c1 d1 ..   vpmaddwd: two rows x eight channels (AVX2)
//     row y+2   c0 c1 c2 ..
//     row y+3   d0 d1 d2 ..            channels stay in order, so any offset along the row may be loaded
//
// Missing rows and columns are zero points: padding contributes exactly nothing. Rows of the group beyond the kernel have weight 0.
// A 3 x 3 kernel with stride 1 thus costs, for 16 channels of two output rows: one interleaved group (4 loads, 2 shuffles, 3 inserts
// on AVX-512) and 6 vpdpbusd.
#pragma once

#include "../core/integers.hpp"
#include "../cpu/isa.hpp"

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
#include <immintrin.h>
#endif

namespace quern::kernel {

enum class depthwise_form : unsigned char {
  quads,  ///< u8 (s8 codes as code + 128): one plane, 64 bytes for four rows of 16 channels
  words   ///< s16: two planes, 64 bytes for two rows of 16 channels each
};

/// Interleaves 16 bytes (channels) of four rows for `pixels` pixels: pixel x of row r lies at rows[r] + x * steps[r]; its group is
/// written to dst + 64 x, that of the last two rows (words) to dst + plane + 64 x. `live` < 16 channels exist, zeros stand for the
/// others. `kind`: 0 u8, 1 s8.
using depthwise_interleave = void (*)(unsigned char const* const* rows, index_t const* steps, index_t pixels, index_t live, int kind,
                                      unsigned char* dst, index_t plane);
/// acc[x][0..15] = init + taps.
using depthwise_taps_function = void (*)(unsigned char const* from, index_t const* offset, index_t plane, int taps, unsigned char const* weights,
                                         std::int32_t const* init, index_t pixels, std::int32_t* acc);

/// Interleaves four rows, 64 codes of each at a time: four groups. Group v of unit u is written to dst + u * unit_bytes + groups[v].
using depthwise_wide_interleave = void (*)(unsigned char const* const* rows, index_t const* steps, index_t units, int kind, unsigned char* dst,
                                           index_t unit_bytes, index_t const* groups);

struct depthwise_kernel {
  char const* name;
  depthwise_form form;
  depthwise_interleave interleave;
  depthwise_taps_function taps;
  depthwise_interleave pair = nullptr;       ///< words: the same for two rows and one plane
  depthwise_wide_interleave wide = nullptr;  ///< null: 16 channels at a time
};

inline namespace QUERN_ABI {

constexpr index_t depthwise_planes(depthwise_form f) noexcept { return f == depthwise_form::quads ? 1 : 2; }

/// The words form in plain C++, for every CPU.
namespace plain {
template <int Rows>
inline void interleave_words(unsigned char const* const* rows, index_t const* steps, index_t pixels, index_t live, int kind, unsigned char* dst,
                             index_t plane) {
  for (index_t x = 0; x < pixels; ++x) {
    for (int r = 0; r < Rows; ++r) {
      auto* const to = reinterpret_cast<std::int16_t*>(dst + x * 64 + r / 2 * plane);
      unsigned char const* const p = rows[r] + x * steps[r];
      for (index_t c = 0; c < live; ++c)
        to[c * 2 + r % 2] = kind == 1 ? static_cast<std::int16_t>(static_cast<signed char>(p[c])) : static_cast<std::int16_t>(p[c]);
      for (index_t c = live; c < 16; ++c) to[c * 2 + r % 2] = 0;
    }
  }
}
inline void taps_words(unsigned char const* from, index_t const* offset, index_t plane, int taps, unsigned char const* weights, std::int32_t const* init,
                       index_t pixels, std::int32_t* acc) {
  for (index_t x = 0; x < pixels; ++x, acc += 16) {
    for (int c = 0; c < 16; ++c) acc[c] = init[c];
    for (int t = 0; t < taps; ++t) {
      for (int half = 0; half < 2; ++half) {
        auto const* const a = reinterpret_cast<std::int16_t const*>(from + x * 64 + offset[t] + half * plane);
        auto const* const w = reinterpret_cast<std::int16_t const*>(weights + t * 128 + half * 64);
        for (int c = 0; c < 16; ++c) acc[c] += a[2 * c] * w[2 * c] + a[2 * c + 1] * w[2 * c + 1];
      }
    }
  }
}
}  // namespace plain

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES

QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace sse41 {
namespace depthwise_detail {
/// GCC would add the products to each other first, keep them all and run out of registers.
QUERN_INLINE __m128i in_order(__m128i x) {
  asm("" : "+x"(x));
  return x;
}
}  // namespace depthwise_detail

struct depthwise_words {
  static constexpr int columns = 4, weight_bytes = 128;
  struct weight {
    __m128i first, second;
  };
  QUERN_INLINE static __m128i load_acc(std::int32_t const* p) { return _mm_loadu_si128(reinterpret_cast<__m128i const*>(p)); }
  QUERN_INLINE static void store_acc(std::int32_t* p, __m128i x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }
  QUERN_INLINE static __m128i words(unsigned char const* p) { return _mm_loadu_si128(reinterpret_cast<__m128i const*>(p)); }
  QUERN_INLINE static weight load_weight(unsigned char const* p, int v) { return {words(p + 16 * v), words(p + 64 + 16 * v)}; }
  QUERN_INLINE static __m128i dot(__m128i c, unsigned char const* p, index_t plane, int v, weight w) {
    return depthwise_detail::in_order(_mm_add_epi32(depthwise_detail::in_order(_mm_add_epi32(c, _mm_madd_epi16(words(p + 16 * v), w.first))), _mm_madd_epi16(words(p + plane + 16 * v), w.second)));
  }
};
QUERN_INLINE __m128i channels16(unsigned char const* p, index_t live) {
  if (live == 16) return _mm_loadu_si128(reinterpret_cast<__m128i const*>(p));
  unsigned char bytes[16] = {};
  if (live >= 8) {  // two pieces that overlap: constant sizes are single instructions
    __builtin_memcpy(bytes, p, 8);
    __builtin_memcpy(bytes + live - 8, p + live - 8, 8);
  } else {
    for (index_t c = 0; c < live; ++c) bytes[c] = p[c];
  }
  return _mm_loadu_si128(reinterpret_cast<__m128i const*>(bytes));
}
template <int Rows>
inline void interleave_words(unsigned char const* const* rows, index_t const* steps, index_t pixels, index_t live, int kind, unsigned char* dst,
                             index_t plane) {
  for (index_t x = 0; x < pixels; ++x) {
    for (int half = 0; half < Rows / 2; ++half) {
      auto* const to = reinterpret_cast<__m128i*>(dst + x * 64 + half * plane);
      __m128i const a = channels16(rows[2 * half] + x * steps[2 * half], live), b = channels16(rows[2 * half + 1] + x * steps[2 * half + 1], live);
      __m128i const low = _mm_unpacklo_epi8(a, b), high = _mm_unpackhi_epi8(a, b);
      if (kind == 1) {
        _mm_storeu_si128(to, _mm_cvtepi8_epi16(low));
        _mm_storeu_si128(to + 1, _mm_cvtepi8_epi16(_mm_srli_si128(low, 8)));
        _mm_storeu_si128(to + 2, _mm_cvtepi8_epi16(high));
        _mm_storeu_si128(to + 3, _mm_cvtepi8_epi16(_mm_srli_si128(high, 8)));
      } else {
        __m128i const zero = _mm_setzero_si128();
        _mm_storeu_si128(to, _mm_unpacklo_epi8(low, zero));
        _mm_storeu_si128(to + 1, _mm_unpackhi_epi8(low, zero));
        _mm_storeu_si128(to + 2, _mm_unpacklo_epi8(high, zero));
        _mm_storeu_si128(to + 3, _mm_unpackhi_epi8(high, zero));
      }
    }
  }
}
#include "depthwise.inl"

}  // namespace sse41
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx2 {
namespace depthwise_detail {
/// GCC would add the products to each other first, keep them all and run out of registers.
QUERN_INLINE __m256i in_order(__m256i x) {
  asm("" : "+x"(x));
  return x;
}
}  // namespace depthwise_detail

struct depthwise_words {
  static constexpr int columns = 8, weight_bytes = 128;
  struct weight {
    __m256i first, second;
  };
  QUERN_INLINE static __m256i load_acc(std::int32_t const* p) { return _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)); }
  QUERN_INLINE static void store_acc(std::int32_t* p, __m256i x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  QUERN_INLINE static __m256i words(unsigned char const* p) { return _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)); }
  QUERN_INLINE static weight load_weight(unsigned char const* p, int v) { return {words(p + 32 * v), words(p + 64 + 32 * v)}; }
  QUERN_INLINE static __m256i dot(__m256i c, unsigned char const* p, index_t plane, int v, weight w) {
    return depthwise_detail::in_order(_mm256_add_epi32(depthwise_detail::in_order(_mm256_add_epi32(c, _mm256_madd_epi16(words(p + 32 * v), w.first))), _mm256_madd_epi16(words(p + plane + 32 * v), w.second)));
  }
  // For depthwise3x3_words.inl, 16 channels.
  using vec = __m256i;
  template <bool Signed>
  QUERN_INLINE static vec widened(unsigned char const* p) {
    __m128i const x = _mm_loadu_si128(reinterpret_cast<__m128i const*>(p));
    return Signed ? _mm256_cvtepi8_epi16(x) : _mm256_cvtepu8_epi16(x);
  }
  QUERN_INLINE static vec zero_words() { return _mm256_setzero_si256(); }
  QUERN_INLINE static vec unpack_low(vec a, vec b) { return _mm256_unpacklo_epi16(a, b); }
  QUERN_INLINE static vec unpack_high(vec a, vec b) { return _mm256_unpackhi_epi16(a, b); }
  QUERN_INLINE static vec add_product(vec c, vec a, vec b) { return depthwise_detail::in_order(_mm256_add_epi32(c, _mm256_madd_epi16(a, b))); }
};
QUERN_INLINE __m128i channels16(unsigned char const* p, index_t live) {
  if (live == 16) return _mm_loadu_si128(reinterpret_cast<__m128i const*>(p));
  if (live == 8) return _mm_loadl_epi64(reinterpret_cast<__m128i const*>(p));
  unsigned char bytes[16] = {};
  if (live >= 8) {  // two pieces that overlap: constant sizes are single instructions
    __builtin_memcpy(bytes, p, 8);
    __builtin_memcpy(bytes + live - 8, p + live - 8, 8);
  } else {
    for (index_t c = 0; c < live; ++c) bytes[c] = p[c];
  }
  return _mm_loadu_si128(reinterpret_cast<__m128i const*>(bytes));
}
template <bool Signed>
QUERN_INLINE __m256i widened(__m128i x) {
  return Signed ? _mm256_cvtepi8_epi16(x) : _mm256_cvtepu8_epi16(x);
}
template <bool Signed>
QUERN_INLINE void interleave_pair_of(unsigned char const* const* rows, index_t const* steps, index_t pixels, index_t live, unsigned char* dst) {
  unsigned char const *p = rows[0], *q = rows[1];
  index_t const sp = steps[0], sq = steps[1];
  for (index_t x = 0; x < pixels; ++x, p += sp, q += sq, dst += 64) {
    __m128i const a = live == 16 ? _mm_loadu_si128(reinterpret_cast<__m128i const*>(p)) : channels16(p, live);
    __m128i const b = live == 16 ? _mm_loadu_si128(reinterpret_cast<__m128i const*>(q)) : channels16(q, live);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), widened<Signed>(_mm_unpacklo_epi8(a, b)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + 32), widened<Signed>(_mm_unpackhi_epi8(a, b)));
  }
}
template <int Rows>
inline void interleave_words(unsigned char const* const* rows, index_t const* steps, index_t pixels, index_t live, int kind, unsigned char* dst,
                             index_t plane) {
  for (int r = 0; r < Rows; r += 2) {
    if (kind == 1)
      interleave_pair_of<true>(rows + r, steps + r, pixels, live, dst + r / 2 * plane);
    else
      interleave_pair_of<false>(rows + r, steps + r, pixels, live, dst + r / 2 * plane);
  }
}
inline void interleave_quads(unsigned char const* const* rows, index_t const* steps, index_t pixels, index_t live, int kind, unsigned char* dst,
                             index_t) {
  __m128i const flip = _mm_set1_epi8(kind == 1 ? static_cast<char>(0x80) : 0);
  for (index_t x = 0; x < pixels; ++x) {
    auto* const to = reinterpret_cast<__m128i*>(dst + x * 64);
    __m128i const a = _mm_xor_si128(channels16(rows[0] + x * steps[0], live), flip), b = _mm_xor_si128(channels16(rows[1] + x * steps[1], live), flip);
    __m128i const c = _mm_xor_si128(channels16(rows[2] + x * steps[2], live), flip), d = _mm_xor_si128(channels16(rows[3] + x * steps[3], live), flip);
    __m128i const ab0 = _mm_unpacklo_epi8(a, b), ab1 = _mm_unpackhi_epi8(a, b), cd0 = _mm_unpacklo_epi8(c, d), cd1 = _mm_unpackhi_epi8(c, d);
    _mm_storeu_si128(to, _mm_unpacklo_epi16(ab0, cd0));
    _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(ab0, cd0));
    _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(ab1, cd1));
    _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(ab1, cd1));
  }
}
#include "depthwise.inl"

}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX_VNNI)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx_vnni {

struct depthwise_quads {
  static constexpr int columns = 8, weight_bytes = 64;
  using weight = __m256i;
  QUERN_INLINE static __m256i load_acc(std::int32_t const* p) { return _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)); }
  QUERN_INLINE static void store_acc(std::int32_t* p, __m256i x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  QUERN_INLINE static weight load_weight(unsigned char const* p, int v) { return _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p + 32 * v)); }
  QUERN_INLINE static __m256i dot(__m256i c, unsigned char const* p, index_t, int v, weight w) {
    return _mm256_dpbusd_avx_epi32(c, _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p + 32 * v)), w);
  }
};
#include "depthwise.inl"

}  // namespace avx_vnni
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx512bw {
namespace depthwise_detail {
/// GCC would add the products to each other first, keep them all and run out of registers.
QUERN_INLINE __m512i in_order(__m512i x) {
  asm("" : "+v"(x));
  return x;
}
}  // namespace depthwise_detail

struct depthwise_words {
  static constexpr int columns = 16, weight_bytes = 128;
  struct weight {
    __m512i first, second;
  };
  QUERN_INLINE static __m512i load_acc(std::int32_t const* p) { return _mm512_loadu_si512(p); }
  QUERN_INLINE static void store_acc(std::int32_t* p, __m512i x) { _mm512_storeu_si512(p, x); }
  QUERN_INLINE static weight load_weight(unsigned char const* p, int) { return {_mm512_loadu_si512(p), _mm512_loadu_si512(p + 64)}; }
  QUERN_INLINE static __m512i dot(__m512i c, unsigned char const* p, index_t plane, int, weight const& w) {
    return depthwise_detail::in_order(_mm512_add_epi32(depthwise_detail::in_order(_mm512_add_epi32(c, _mm512_madd_epi16(_mm512_loadu_si512(p), w.first))), _mm512_madd_epi16(_mm512_loadu_si512(p + plane), w.second)));
  }
  // For depthwise3x3_words.inl, 32 channels.
  using vec = __m512i;
  template <bool Signed>
  QUERN_INLINE static vec widened(unsigned char const* p) {
    __m256i const x = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p));
    return Signed ? _mm512_cvtepi8_epi16(x) : _mm512_cvtepu8_epi16(x);
  }
  QUERN_INLINE static vec zero_words() { return _mm512_setzero_si512(); }
  QUERN_INLINE static vec unpack_low(vec a, vec b) { return _mm512_unpacklo_epi16(a, b); }
  QUERN_INLINE static vec unpack_high(vec a, vec b) { return _mm512_unpackhi_epi16(a, b); }
  QUERN_INLINE static vec add_product(vec c, vec a, vec b) { return depthwise_detail::in_order(_mm512_add_epi32(c, _mm512_madd_epi16(a, b))); }
};
template <bool Signed>
QUERN_INLINE __m512i widened(__m128i a, __m128i b) {
  __m256i const x = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi8(a, b)), _mm_unpackhi_epi8(a, b), 1);
  return Signed ? _mm512_cvtepi8_epi16(x) : _mm512_cvtepu8_epi16(x);
}
template <bool Signed>
QUERN_INLINE void interleave_pair_of(unsigned char const* const* rows, index_t const* steps, index_t pixels, __mmask16 live, unsigned char* dst) {
  unsigned char const *p = rows[0], *q = rows[1];
  index_t const sp = steps[0], sq = steps[1];
  for (index_t x = 0; x < pixels; ++x, p += sp, q += sq, dst += 64)
    _mm512_storeu_si512(dst, widened<Signed>(_mm_maskz_loadu_epi8(live, p), _mm_maskz_loadu_epi8(live, q)));
}
template <int Rows>
inline void interleave_words(unsigned char const* const* rows, index_t const* steps, index_t pixels, index_t live, int kind, unsigned char* dst,
                             index_t plane) {
  auto const mask = static_cast<__mmask16>((1u << live) - 1u);
  for (int r = 0; r < Rows; r += 2) {
    if (kind == 1)
      interleave_pair_of<true>(rows + r, steps + r, pixels, mask, dst + r / 2 * plane);
    else
      interleave_pair_of<false>(rows + r, steps + r, pixels, mask, dst + r / 2 * plane);
  }
}
/// 64 codes of four rows. Dwords are transposed first, so that unpacking leaves 16 codes of all rows in each register, in order: 3
/// shuffles for 16 codes instead of 5.
inline void interleave_quads_wide(unsigned char const* const* rows, index_t const* steps, index_t units, int kind, unsigned char* dst,
                                  index_t unit_bytes, index_t const* groups) {
  __m512i const flip = _mm512_set1_epi8(kind == 1 ? static_cast<char>(0x80) : 0);
  __m512i const dwords = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  unsigned char const *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
  index_t const sa = steps[0], sb = steps[1], sc = steps[2], sd = steps[3], g0 = groups[0], g1 = groups[1], g2 = groups[2], g3 = groups[3];
  for (index_t u = 0; u < units; ++u, a += sa, b += sb, c += sc, d += sd, dst += unit_bytes) {
    __m512i const va = _mm512_permutexvar_epi32(dwords, _mm512_xor_si512(_mm512_loadu_si512(a), flip));
    __m512i const vb = _mm512_permutexvar_epi32(dwords, _mm512_xor_si512(_mm512_loadu_si512(b), flip));
    __m512i const vc = _mm512_permutexvar_epi32(dwords, _mm512_xor_si512(_mm512_loadu_si512(c), flip));
    __m512i const vd = _mm512_permutexvar_epi32(dwords, _mm512_xor_si512(_mm512_loadu_si512(d), flip));
    __m512i const ab0 = _mm512_unpacklo_epi8(va, vb), ab1 = _mm512_unpackhi_epi8(va, vb);
    __m512i const cd0 = _mm512_unpacklo_epi8(vc, vd), cd1 = _mm512_unpackhi_epi8(vc, vd);
    _mm512_storeu_si512(dst + g0, _mm512_unpacklo_epi16(ab0, cd0));
    _mm512_storeu_si512(dst + g1, _mm512_unpackhi_epi16(ab0, cd0));
    _mm512_storeu_si512(dst + g2, _mm512_unpacklo_epi16(ab1, cd1));
    _mm512_storeu_si512(dst + g3, _mm512_unpackhi_epi16(ab1, cd1));
  }
}
/// Four rows side by side are a 4 x 4 matrix of dwords, which vpermd transposes, of 4 x 4 matrices of bytes, which vpshufb does.
inline void interleave_quads(unsigned char const* const* rows, index_t const* steps, index_t pixels, index_t live, int kind, unsigned char* dst,
                             index_t) {
  __m512i const flip = _mm512_set1_epi8(kind == 1 ? static_cast<char>(0x80) : 0);
  __m512i const dwords = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i const bytes = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  if (live == 16) {
    unsigned char const *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    index_t const sa = steps[0], sb = steps[1], sc = steps[2], sd = steps[3];
    for (index_t x = 0; x < pixels; ++x, a += sa, b += sb, c += sc, d += sd, dst += 64) {
      __m512i v = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<__m128i const*>(a)));
      v = _mm512_inserti32x4(v, _mm_loadu_si128(reinterpret_cast<__m128i const*>(b)), 1);
      v = _mm512_inserti32x4(v, _mm_loadu_si128(reinterpret_cast<__m128i const*>(c)), 2);
      v = _mm512_inserti32x4(v, _mm_loadu_si128(reinterpret_cast<__m128i const*>(d)), 3);
      v = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(dwords, v), bytes);
      _mm512_storeu_si512(dst, _mm512_xor_si512(v, flip));
    }
    return;
  }
  auto const mask = static_cast<__mmask16>((1u << live) - 1u);
  for (index_t x = 0; x < pixels; ++x) {
    __m512i v = _mm512_castsi128_si512(_mm_maskz_loadu_epi8(mask, rows[0] + x * steps[0]));
    v = _mm512_inserti32x4(v, _mm_maskz_loadu_epi8(mask, rows[1] + x * steps[1]), 1);
    v = _mm512_inserti32x4(v, _mm_maskz_loadu_epi8(mask, rows[2] + x * steps[2]), 2);
    v = _mm512_inserti32x4(v, _mm_maskz_loadu_epi8(mask, rows[3] + x * steps[3]), 3);
    v = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(dwords, v), bytes);
    _mm512_storeu_si512(dst + x * 64, _mm512_xor_si512(v, flip));
  }
}
#include "depthwise.inl"

}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512_VNNI)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx512_vnni {

struct depthwise_quads {
  static constexpr int columns = 16, weight_bytes = 64;
  using weight = __m512i;
  QUERN_INLINE static __m512i load_acc(std::int32_t const* p) { return _mm512_loadu_si512(p); }
  QUERN_INLINE static void store_acc(std::int32_t* p, __m512i x) { _mm512_storeu_si512(p, x); }
  QUERN_INLINE static weight load_weight(unsigned char const* p, int) { return _mm512_loadu_si512(p); }
  QUERN_INLINE static __m512i dot(__m512i c, unsigned char const* p, index_t, int, weight w) { return _mm512_dpbusd_epi32(c, _mm512_loadu_si512(p), w); }
};
#include "depthwise.inl"

}  // namespace avx512_vnni
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

#endif

namespace quern::kernel {
inline namespace QUERN_ABI {

/// The kernel for an instruction set.
#if QUERN_DETAIL_KERNELS_HERE
QUERN_DETAIL_KERNEL_FUNCTION depthwise_kernel depthwise_for(isa i) noexcept {
#if QUERN_X86_64
  if (i >= isa::avx512_vnni && i <= isa::amx_int8)
    return {"avx512_vnni", depthwise_form::quads, &avx512bw::interleave_quads, &avx512_vnni::depthwise<avx512_vnni::depthwise_quads>, nullptr,
            &avx512bw::interleave_quads_wide};
  if (i == isa::avx512bw)
    return {"avx512bw", depthwise_form::words, &avx512bw::interleave_words<4>, &avx512bw::depthwise<avx512bw::depthwise_words>, &avx512bw::interleave_words<2>};
  if (i == isa::avx_vnni) return {"avx_vnni", depthwise_form::quads, &avx2::interleave_quads, &avx_vnni::depthwise<avx_vnni::depthwise_quads>};
  if (i == isa::avx2)
    return {"avx2", depthwise_form::words, &avx2::interleave_words<4>, &avx2::depthwise<avx2::depthwise_words>, &avx2::interleave_words<2>};
  if (i == isa::sse41)
    return {"sse41", depthwise_form::words, &sse41::interleave_words<4>, &sse41::depthwise<sse41::depthwise_words>, &sse41::interleave_words<2>};
#endif
  static_cast<void>(i);
  return {"plain", depthwise_form::words, &plain::interleave_words<4>, &plain::taps_words, &plain::interleave_words<2>};
}
#else
QUERN_DETAIL_KERNEL_FUNCTION depthwise_kernel depthwise_for(isa i) noexcept;
#endif

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
