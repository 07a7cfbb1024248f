// pool.hpp — one row of a pool's output: averages or maxima of all channels over rectangles of source pixels.
//
// 8-bit codes are summed in 16-bit words, which hold 255 signed or 128 unsigned ones, and divided by a multiplication. Larger
// windows, 16-bit codes and fewer channels than a register holds take the plain loop.
#pragma once

#include "../core/saturate.hpp"
#include "../cpu/isa.hpp"

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
#include <immintrin.h>
#endif

namespace quern {
namespace detail {

/// A row of `out` destination pixels, each of the window [x * stride - before, + kernel) of the `in` source pixels, as far as it lies
/// inside.
struct pool_geometry {
  index_t out, in, kernel, stride, before, channels;
  index_t row_stride, col_stride;  ///< of the source
  index_t dst_stride;              ///< from one destination pixel to the next
  index_t rows_ahead;              ///< source rows to fetch for the next row; 0 where the source fits into a cache
};
/// Sums of as many codes, and half of their number, are below 2^15.
template <class T>
inline constexpr index_t most_word_taps = std::is_signed_v<T> ? 255 : 128;

inline namespace QUERN_ABI {

/// rows x cols source pixels from `src`, `c` channels each, to one destination pixel. Channels go in blocks of 64 whose int32 sums
/// stay in registers or the first-level cache.
template <bool Average, class T>
void pool_pixel(T const* src, index_t row_stride, index_t col_stride, index_t rows, index_t cols, index_t c, std::int32_t min,
                std::int32_t max, T* dst) noexcept {
  std::int32_t acc[64];
  auto const n = static_cast<std::int32_t>(rows * cols);
  for (index_t c0 = 0; c0 < c; c0 += 64) {
    index_t const block = c - c0 < 64 ? c - c0 : 64;
    for (index_t i = 0; i < block; ++i) acc[i] = Average ? 0 : std::int32_t{code_of_t<T>::min};
    for (index_t y = 0; y < rows; ++y)
      for (index_t x = 0; x < cols; ++x) {
        T const* const p = src + y * row_stride + x * col_stride + c0;
        for (index_t i = 0; i < block; ++i) {
          if constexpr (Average)
            acc[i] += p[i];
          else
            acc[i] = acc[i] > p[i] ? acc[i] : p[i];
        }
      }
    for (index_t i = 0; i < block; ++i) {
      std::int32_t v = acc[i];
      if constexpr (Average) v = v > 0 ? (v + n / 2) / n : (v - n / 2) / n;
      dst[c0 + i] = static_cast<T>(clamp(v, min, max));
    }
  }
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
namespace detail {
inline namespace QUERN_ABI {
namespace pool_sse41 {
using words = __m128i;
using byte_vector = __m128i;
constexpr index_t word_lanes = 8;
QUERN_INLINE words every_word(int x) { return _mm_set1_epi16(static_cast<short>(x)); }
QUERN_INLINE byte_vector every_byte(int x) { return _mm_set1_epi8(static_cast<char>(x)); }
QUERN_INLINE words widen(std::int8_t const* p) { return _mm_cvtepi8_epi16(_mm_loadl_epi64(static_cast<__m128i const*>(static_cast<void const*>(p)))); }
QUERN_INLINE words widen(std::uint8_t const* p) { return _mm_cvtepu8_epi16(_mm_loadl_epi64(static_cast<__m128i const*>(static_cast<void const*>(p)))); }
QUERN_INLINE words add_words(words a, words b) { return _mm_add_epi16(a, b); }
QUERN_INLINE words magnitude(words a) { return _mm_abs_epi16(a); }
QUERN_INLINE words high_product(words a, words b) { return _mm_mulhi_epu16(a, b); }
QUERN_INLINE words shift_words(words a, __m128i n) { return _mm_srl_epi16(a, n); }
QUERN_INLINE words with_sign_of(words v, words sign) { return _mm_sign_epi16(v, sign); }
QUERN_INLINE byte_vector load_bytes(void const* p) { return _mm_loadu_si128(static_cast<__m128i const*>(static_cast<void const*>(p))); }
QUERN_INLINE void store_bytes(void* p, byte_vector v) { _mm_storeu_si128(static_cast<__m128i*>(static_cast<void*>(p)), v); }
QUERN_INLINE byte_vector larger(std::int8_t, byte_vector a, byte_vector b) { return _mm_max_epi8(a, b); }
QUERN_INLINE byte_vector larger(std::uint8_t, byte_vector a, byte_vector b) { return _mm_max_epu8(a, b); }
QUERN_INLINE byte_vector smaller(std::int8_t, byte_vector a, byte_vector b) { return _mm_min_epi8(a, b); }
QUERN_INLINE byte_vector smaller(std::uint8_t, byte_vector a, byte_vector b) { return _mm_min_epu8(a, b); }
QUERN_INLINE byte_vector interleave_low(byte_vector a, byte_vector b) { return _mm_unpacklo_epi8(a, b); }
QUERN_INLINE byte_vector interleave_high(byte_vector a, byte_vector b) { return _mm_unpackhi_epi8(a, b); }
QUERN_INLINE words sum_pairs(std::int8_t, byte_vector a) { return _mm_maddubs_epi16(every_byte(1), a); }
QUERN_INLINE words sum_pairs(std::uint8_t, byte_vector a) { return _mm_maddubs_epi16(a, every_byte(1)); }
QUERN_INLINE byte_vector pack_words(std::int8_t, words a, words b) { return _mm_packs_epi16(a, b); }
QUERN_INLINE byte_vector pack_words(std::uint8_t, words a, words b) { return _mm_packus_epi16(a, b); }
QUERN_INLINE void store_narrow(std::int8_t* p, words v, byte_vector lo, byte_vector hi) {
  _mm_storel_epi64(static_cast<__m128i*>(static_cast<void*>(p)), _mm_min_epi8(_mm_max_epi8(_mm_packs_epi16(v, v), lo), hi));
}
QUERN_INLINE void store_narrow(std::uint8_t* p, words v, byte_vector lo, byte_vector hi) {
  _mm_storel_epi64(static_cast<__m128i*>(static_cast<void*>(p)), _mm_min_epu8(_mm_max_epu8(_mm_packus_epi16(v, v), lo), hi));
}
#include "pool_row.inl"
}  // namespace pool_sse41
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
namespace detail {
inline namespace QUERN_ABI {
namespace pool_avx2 {
using words = __m256i;
using byte_vector = __m256i;
constexpr index_t word_lanes = 16;
QUERN_INLINE words every_word(int x) { return _mm256_set1_epi16(static_cast<short>(x)); }
QUERN_INLINE byte_vector every_byte(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
QUERN_INLINE words widen(std::int8_t const* p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128(static_cast<__m128i const*>(static_cast<void const*>(p)))); }
QUERN_INLINE words widen(std::uint8_t const* p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128(static_cast<__m128i const*>(static_cast<void const*>(p)))); }
QUERN_INLINE words add_words(words a, words b) { return _mm256_add_epi16(a, b); }
QUERN_INLINE words magnitude(words a) { return _mm256_abs_epi16(a); }
QUERN_INLINE words high_product(words a, words b) { return _mm256_mulhi_epu16(a, b); }
QUERN_INLINE words shift_words(words a, __m128i n) { return _mm256_srl_epi16(a, n); }
QUERN_INLINE words with_sign_of(words v, words sign) { return _mm256_sign_epi16(v, sign); }
QUERN_INLINE byte_vector load_bytes(void const* p) { return _mm256_loadu_si256(static_cast<__m256i const*>(static_cast<void const*>(p))); }
QUERN_INLINE void store_bytes(void* p, byte_vector v) { _mm256_storeu_si256(static_cast<__m256i*>(static_cast<void*>(p)), v); }
QUERN_INLINE byte_vector larger(std::int8_t, byte_vector a, byte_vector b) { return _mm256_max_epi8(a, b); }
QUERN_INLINE byte_vector larger(std::uint8_t, byte_vector a, byte_vector b) { return _mm256_max_epu8(a, b); }
QUERN_INLINE byte_vector smaller(std::int8_t, byte_vector a, byte_vector b) { return _mm256_min_epi8(a, b); }
QUERN_INLINE byte_vector smaller(std::uint8_t, byte_vector a, byte_vector b) { return _mm256_min_epu8(a, b); }
QUERN_INLINE byte_vector interleave_low(byte_vector a, byte_vector b) { return _mm256_unpacklo_epi8(a, b); }
QUERN_INLINE byte_vector interleave_high(byte_vector a, byte_vector b) { return _mm256_unpackhi_epi8(a, b); }
QUERN_INLINE words sum_pairs(std::int8_t, byte_vector a) { return _mm256_maddubs_epi16(every_byte(1), a); }
QUERN_INLINE words sum_pairs(std::uint8_t, byte_vector a) { return _mm256_maddubs_epi16(a, every_byte(1)); }
QUERN_INLINE byte_vector pack_words(std::int8_t, words a, words b) { return _mm256_packs_epi16(a, b); }
QUERN_INLINE byte_vector pack_words(std::uint8_t, words a, words b) { return _mm256_packus_epi16(a, b); }
QUERN_INLINE void store_narrow(std::int8_t* p, words v, byte_vector lo, byte_vector hi) {
  __m128i const x = _mm_packs_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  _mm_storeu_si128(static_cast<__m128i*>(static_cast<void*>(p)), _mm_min_epi8(_mm_max_epi8(x, _mm256_castsi256_si128(lo)), _mm256_castsi256_si128(hi)));
}
QUERN_INLINE void store_narrow(std::uint8_t* p, words v, byte_vector lo, byte_vector hi) {
  __m128i const x = _mm_packus_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  _mm_storeu_si128(static_cast<__m128i*>(static_cast<void*>(p)), _mm_min_epu8(_mm_max_epu8(x, _mm256_castsi256_si128(lo)), _mm256_castsi256_si128(hi)));
}
#include "pool_row.inl"
}  // namespace pool_avx2
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
namespace detail {
inline namespace QUERN_ABI {
namespace pool_avx512bw {
using words = __m512i;
using byte_vector = __m512i;
constexpr index_t word_lanes = 32;
QUERN_INLINE words every_word(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
QUERN_INLINE byte_vector every_byte(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
QUERN_INLINE words widen(std::int8_t const* p) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256(static_cast<__m256i const*>(static_cast<void const*>(p)))); }
QUERN_INLINE words widen(std::uint8_t const* p) { return _mm512_cvtepu8_epi16(_mm256_loadu_si256(static_cast<__m256i const*>(static_cast<void const*>(p)))); }
QUERN_INLINE words add_words(words a, words b) { return _mm512_add_epi16(a, b); }
QUERN_INLINE words magnitude(words a) { return _mm512_abs_epi16(a); }
QUERN_INLINE words high_product(words a, words b) { return _mm512_mulhi_epu16(a, b); }
QUERN_INLINE words shift_words(words a, __m128i n) { return _mm512_srl_epi16(a, n); }
QUERN_INLINE words with_sign_of(words v, words sign) { return _mm512_mask_sub_epi16(v, _mm512_movepi16_mask(sign), _mm512_setzero_si512(), v); }
QUERN_INLINE byte_vector load_bytes(void const* p) { return _mm512_loadu_si512(p); }
QUERN_INLINE void store_bytes(void* p, byte_vector v) { _mm512_storeu_si512(p, v); }
QUERN_INLINE byte_vector larger(std::int8_t, byte_vector a, byte_vector b) { return _mm512_max_epi8(a, b); }
QUERN_INLINE byte_vector larger(std::uint8_t, byte_vector a, byte_vector b) { return _mm512_max_epu8(a, b); }
QUERN_INLINE byte_vector smaller(std::int8_t, byte_vector a, byte_vector b) { return _mm512_min_epi8(a, b); }
QUERN_INLINE byte_vector smaller(std::uint8_t, byte_vector a, byte_vector b) { return _mm512_min_epu8(a, b); }
QUERN_INLINE byte_vector interleave_low(byte_vector a, byte_vector b) { return _mm512_unpacklo_epi8(a, b); }
QUERN_INLINE byte_vector interleave_high(byte_vector a, byte_vector b) { return _mm512_unpackhi_epi8(a, b); }
QUERN_INLINE words sum_pairs(std::int8_t, byte_vector a) { return _mm512_maddubs_epi16(every_byte(1), a); }
QUERN_INLINE words sum_pairs(std::uint8_t, byte_vector a) { return _mm512_maddubs_epi16(a, every_byte(1)); }
QUERN_INLINE byte_vector pack_words(std::int8_t, words a, words b) { return _mm512_packs_epi16(a, b); }
QUERN_INLINE byte_vector pack_words(std::uint8_t, words a, words b) { return _mm512_packus_epi16(a, b); }
QUERN_INLINE void store_narrow(std::int8_t* p, words v, byte_vector lo, byte_vector hi) {
  __m256i const x = _mm512_cvtepi16_epi8(v);
  _mm256_storeu_si256(static_cast<__m256i*>(static_cast<void*>(p)), _mm256_min_epi8(_mm256_max_epi8(x, _mm512_castsi512_si256(lo)), _mm512_castsi512_si256(hi)));
}
QUERN_INLINE void store_narrow(std::uint8_t* p, words v, byte_vector lo, byte_vector hi) {
  __m256i const x = _mm512_cvtepi16_epi8(v);
  _mm256_storeu_si256(static_cast<__m256i*>(static_cast<void*>(p)), _mm256_min_epu8(_mm256_max_epu8(x, _mm512_castsi512_si256(lo)), _mm512_castsi512_si256(hi)));
}
#include "pool_row.inl"
}  // namespace pool_avx512bw
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
QUERN_TARGET_END
#endif

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

#if QUERN_X86_64
/// pool_row on vectors, for 8-bit codes. Whether there were channels enough.
template <bool Average, class T>
bool pool_row_of_vectors(isa i, pool_geometry const& g, T const* src, index_t rows, T* dst, T lo, T hi) noexcept;

#if QUERN_DETAIL_KERNELS_HERE
template <bool Average, class T>
bool pool_row_of_vectors(isa i, pool_geometry const& g, T const* src, index_t rows, T* dst, T lo, T hi) noexcept {
  // The largest of many pixels out of memory: half as long loads keep the prefetcher going (64 Mi codes of 7 x 7 x 1280 take 1.2 times a
  // copy, with loads of whole lines 1.5, channel after channel 1.8).
  bool const in_order = !Average && g.rows_ahead > 0 && rows * g.kernel >= 16;
  if (i >= isa::avx512bw && g.channels >= (Average ? 32 : 64) && !in_order)
    pool_avx512bw::pool_row<Average>(g, src, rows, dst, lo, hi);
  else if (i >= isa::avx2 && g.channels >= (Average ? 16 : 32))
    pool_avx2::pool_row<Average>(g, src, rows, dst, lo, hi);
  else if (i >= isa::sse41)
    pool_sse41::pool_row<Average>(g, src, rows, dst, lo, hi);
  else
    return false;
  return true;
}
#endif
#endif

/// `src`: the row's first source pixel, of the `rows` rows inside of the image.
template <bool Average, class T>
void pool_row(isa i, pool_geometry const& g, T const* src, index_t rows, T* dst, std::int32_t min, std::int32_t max) noexcept {
#if QUERN_X86_64
  if constexpr (sizeof(T) == 1) {
    if (pool_row_of_vectors<Average>(i, g, src, rows, dst, saturate<T>(min), saturate<T>(max))) return;
  }
#endif
  static_cast<void>(i);
  for (index_t x = 0; x < g.out; ++x, dst += g.dst_stride) {
    index_t const at = x * g.stride - g.before, first = at < 0 ? -at : 0, last = at + g.kernel > g.in ? g.in - at : g.kernel;
    pool_pixel<Average>(src + (at + first) * g.col_stride, g.row_stride, g.col_stride, rows, last - first, g.channels, min, max, dst);
  }
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
