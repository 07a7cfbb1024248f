// table_lookup.hpp — 256-entry byte tables by shuffles.
//
// A shuffle looks 16 entries up at once: the table is 16 such rows. pshufb takes the low four bits of an index byte, and writes 0
// where its top bit is set. With w = x mod 128, w - 16 r has its top bit clear from row r on, so that the XOR of the rows' look-ups
// is row w / 16 if row r holds the difference (XOR) to the one before. The same indices look both halves of the table up, and the
// top bit of x chooses. GCC would do all 32 shuffles of a step before the first XOR, and store what has no register: 32 stores, one a
// cycle. An empty asm after each row keeps their order, and costs nothing: 23 cycles for 64 bytes instead of 32 (AVX2, Zen 4).
//
//     instructions a row    sub, 2 shuffles, 2 xor for 2 * 16 entries and 16 (SSE) or 32 (AVX2) bytes: 80 for 64 bytes, 20 cycles
//     for 64 bytes          20 on AVX-512BW, which looks words up, 4 with VBMI
#pragma once

#include "../core/integers.hpp"
#include "../cpu/isa.hpp"

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// From as many codes on, destinations are written past the caches.
inline constexpr index_t streaming_codes = index_t{8} << 20;

inline void look_up_plain(std::uint8_t const* table, std::uint8_t const* src, std::uint8_t* dst, index_t n) noexcept {
  for (index_t i = 0; i < n; ++i) dst[i] = table[src[i]];
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES

QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
inline namespace QUERN_ABI {
namespace sse41 {
/// Row r's difference to the row before it; rows 0 and 8 begin anew.
inline void row_differences(std::uint8_t const* table, __m128i (&rows)[16]) noexcept {
  for (int r = 0; r < 16; ++r) {
    rows[r] = _mm_loadu_si128(reinterpret_cast<__m128i const*>(table + 16 * r));
    if (r % 8 != 0) rows[r] = _mm_xor_si128(rows[r], _mm_loadu_si128(reinterpret_cast<__m128i const*>(table + 16 * r - 16)));
  }
}
inline void look_up(std::uint8_t const* table, std::uint8_t const* src, std::uint8_t* dst, index_t n) noexcept {
  index_t i = 0;
  __m128i rows[16];
  __m128i const sixteen = _mm_set1_epi8(16), low_bits = _mm_set1_epi8(127);
  if (n >= 64) {
    row_differences(table, rows);
    for (; i + 32 <= n; i += 32) {  // two vectors: each row is loaded once for both
      __m128i const x0 = _mm_loadu_si128(reinterpret_cast<__m128i const*>(src + i)), x1 = _mm_loadu_si128(reinterpret_cast<__m128i const*>(src + i + 16));
      __m128i w0 = _mm_and_si128(x0, low_bits), w1 = _mm_and_si128(x1, low_bits);
      __m128i y0 = _mm_setzero_si128(), y1 = y0, z0 = y0, z1 = y0;
#pragma GCC unroll 8
      for (int r = 0; r < 8; ++r) {
        y0 = _mm_xor_si128(y0, _mm_shuffle_epi8(rows[r], w0)), z0 = _mm_xor_si128(z0, _mm_shuffle_epi8(rows[r + 8], w0));
        y1 = _mm_xor_si128(y1, _mm_shuffle_epi8(rows[r], w1)), z1 = _mm_xor_si128(z1, _mm_shuffle_epi8(rows[r + 8], w1));
        if (r == 7) break;
        w0 = _mm_sub_epi8(w0, sixteen), w1 = _mm_sub_epi8(w1, sixteen);
        asm("" : "+x"(y0), "+x"(z0), "+x"(y1), "+x"(z1), "+x"(w0), "+x"(w1));  // one row after another, see above
      }
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i), _mm_blendv_epi8(y0, z0, x0));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i + 16), _mm_blendv_epi8(y1, z1, x1));
    }
  }
  for (; i < n; ++i) dst[i] = table[src[i]];
}
}  // namespace sse41
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {
template <bool Stream>
inline index_t look_up_blocks(__m256i const (&rows)[16], std::uint8_t const* src, std::uint8_t* dst, index_t i, index_t n) noexcept {
  __m256i const sixteen = _mm256_set1_epi8(16), low_bits = _mm256_set1_epi8(127);
  for (; i + 64 <= n; i += 64) {
    __m256i const x0 = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(src + i)), x1 = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(src + i + 32));
    __m256i w0 = _mm256_and_si256(x0, low_bits), w1 = _mm256_and_si256(x1, low_bits);
    __m256i y0 = _mm256_setzero_si256(), y1 = y0, z0 = y0, z1 = y0;
#pragma GCC unroll 8
    for (int r = 0; r < 8; ++r) {
      y0 = _mm256_xor_si256(y0, _mm256_shuffle_epi8(rows[r], w0)), z0 = _mm256_xor_si256(z0, _mm256_shuffle_epi8(rows[r + 8], w0));
      y1 = _mm256_xor_si256(y1, _mm256_shuffle_epi8(rows[r], w1)), z1 = _mm256_xor_si256(z1, _mm256_shuffle_epi8(rows[r + 8], w1));
      if (r == 7) break;
      w0 = _mm256_sub_epi8(w0, sixteen), w1 = _mm256_sub_epi8(w1, sixteen);
      asm("" : "+x"(y0), "+x"(z0), "+x"(y1), "+x"(z1), "+x"(w0), "+x"(w1));  // one row after another, see above
    }
    y0 = _mm256_blendv_epi8(y0, z0, x0), y1 = _mm256_blendv_epi8(y1, z1, x1);
    if constexpr (Stream) {
      _mm256_stream_si256(reinterpret_cast<__m256i*>(dst + i), y0);
      _mm256_stream_si256(reinterpret_cast<__m256i*>(dst + i + 32), y1);
    } else {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + i), y0);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + i + 32), y1);
    }
  }
  return i;
}
inline void look_up(std::uint8_t const* table, std::uint8_t const* src, std::uint8_t* dst, index_t n) noexcept {
  index_t i = 0;
  if (n >= 128) {
    __m256i rows[16];  // sse41::row_differences, twice side by side
    for (int r = 0; r < 16; ++r) {
      rows[r] = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<__m128i const*>(table + 16 * r)));
      if (r % 8 != 0) rows[r] = _mm256_xor_si256(rows[r], _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<__m128i const*>(table + 16 * r - 16))));
    }
    if (n >= detail::streaming_codes) {  // past the caches, whole lines
      index_t const first = static_cast<index_t>(-reinterpret_cast<std::uintptr_t>(dst) % 64);
      for (; i < first; ++i) dst[i] = table[src[i]];
      i = look_up_blocks<true>(rows, src, dst, i, n);
      _mm_sfence();
    }
    i = look_up_blocks<false>(rows, src, dst, i, n);
  }
  for (; i < n; ++i) dst[i] = table[src[i]];
}
}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512bw {
// The table as 128 words in four registers: vpermi2w looks 64 of them up, so two and a blend give the word of x / 2; a shift by
// 8 * (x & 1) picks its byte. Even and odd source bytes go separately.
QUERN_INLINE __m512i look_up_words(__m512i t0, __m512i t1, __m512i t2, __m512i t3, __m512i x) noexcept {
  __m512i const index = _mm512_srli_epi16(x, 1);  // x in 0..255 in each word
  __m512i const low = _mm512_permutex2var_epi16(t0, index, t1), high = _mm512_permutex2var_epi16(t2, index, t3);
  __mmask32 const upper = _mm512_test_epi16_mask(x, _mm512_set1_epi16(128));
  __m512i const word = _mm512_mask_blend_epi16(upper, low, high);
  __mmask32 const odd = _mm512_test_epi16_mask(x, _mm512_set1_epi16(1));
  return _mm512_mask_srli_epi16(word, odd, word, 8);
}
inline void look_up(std::uint8_t const* table, std::uint8_t const* src, std::uint8_t* dst, index_t n) noexcept {
  using detail::streaming_codes;
  __m512i const t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64), t2 = _mm512_loadu_si512(table + 128),
                t3 = _mm512_loadu_si512(table + 192), low = _mm512_set1_epi16(255);
  index_t i = 0;
  if (n >= streaming_codes) {  // past the caches, whole lines
    index_t const first = static_cast<index_t>(-reinterpret_cast<std::uintptr_t>(dst) % 64);
    for (; i < first; ++i) dst[i] = table[src[i]];
    for (; i + 64 <= n; i += 64) {
      __m512i const x = _mm512_loadu_si512(src + i);
      __m512i const even = look_up_words(t0, t1, t2, t3, _mm512_and_si512(x, low)), odd = look_up_words(t0, t1, t2, t3, _mm512_srli_epi16(x, 8));
      _mm512_stream_si512(reinterpret_cast<__m512i*>(dst + i), _mm512_or_si512(_mm512_and_si512(even, low), _mm512_slli_epi16(odd, 8)));
    }
    _mm_sfence();
  }
  for (; i < n; i += 64) {
    __mmask64 const live = n - i >= 64 ? ~__mmask64{0} : (__mmask64{1} << (n - i)) - 1;
    __m512i const x = _mm512_maskz_loadu_epi8(live, src + i);
    __m512i const even = look_up_words(t0, t1, t2, t3, _mm512_and_si512(x, low));
    __m512i const odd = look_up_words(t0, t1, t2, t3, _mm512_srli_epi16(x, 8));
    _mm512_mask_storeu_epi8(dst + i, live, _mm512_or_si512(_mm512_and_si512(even, low), _mm512_slli_epi16(odd, 8)));
  }
}
}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

// VBMI (Ice Lake, Zen 4 and later) looks 64 bytes up in 128 at once.
#define QUERN_DETAIL_TARGET_VBMI "avx512vbmi," QUERN_TARGET_AVX512BW
QUERN_TARGET_BEGIN(QUERN_DETAIL_TARGET_VBMI)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512vbmi {
QUERN_INLINE __m512i look_up_bytes(__m512i t0, __m512i t1, __m512i t2, __m512i t3, __m512i x) noexcept {
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), _mm512_permutex2var_epi8(t0, x, t1), _mm512_permutex2var_epi8(t2, x, t3));
}
inline void look_up(std::uint8_t const* table, std::uint8_t const* src, std::uint8_t* dst, index_t n) noexcept {
  __m512i const t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64), t2 = _mm512_loadu_si512(table + 128),
                t3 = _mm512_loadu_si512(table + 192);
  index_t i = 0;
  if (n >= detail::streaming_codes) {
    index_t const first = static_cast<index_t>(-reinterpret_cast<std::uintptr_t>(dst) % 64);
    for (; i < first; ++i) dst[i] = table[src[i]];
    for (; i + 64 <= n; i += 64) _mm512_stream_si512(reinterpret_cast<__m512i*>(dst + i), look_up_bytes(t0, t1, t2, t3, _mm512_loadu_si512(src + i)));
    _mm_sfence();
  }
  for (; i < n; i += 64) {
    __mmask64 const live = n - i >= 64 ? ~__mmask64{0} : (__mmask64{1} << (n - i)) - 1;
    _mm512_mask_storeu_epi8(dst + i, live, look_up_bytes(t0, t1, t2, t3, _mm512_maskz_loadu_epi8(live, src + i)));
  }
}
}  // namespace avx512vbmi
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
#undef QUERN_DETAIL_TARGET_VBMI

namespace quern {
namespace detail {
inline signed char vbmi_known = 0;  // 0 not asked yet, 1 absent, 2 present; asking twice is harmless

inline namespace QUERN_ABI {
/// Whether this CPU has AVX512_VBMI, beyond what isa::avx512_vnni promises (Cascade Lake has none).
inline bool has_vbmi() noexcept {
  signed char known = __atomic_load_n(&vbmi_known, __ATOMIC_RELAXED);
  if (known == 0) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    known = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && ((c >> 1) & 1) != 0 ? 2 : 1;
    __atomic_store_n(&vbmi_known, known, __ATOMIC_RELAXED);
  }
  return known == 2;
}
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
#endif

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

#if QUERN_DETAIL_KERNELS_HERE
QUERN_DETAIL_KERNEL_FUNCTION void look_up(isa i, std::uint8_t const* table, std::uint8_t const* src, std::uint8_t* dst, index_t n) noexcept {
#if QUERN_X86_64
  if (i >= isa::avx512_vnni && has_vbmi()) return avx512vbmi::look_up(table, src, dst, n);
  if (i >= isa::avx512bw) return avx512bw::look_up(table, src, dst, n);
  if (i >= isa::avx2) return avx2::look_up(table, src, dst, n);
  if (i >= isa::sse41) return sse41::look_up(table, src, dst, n);
#endif
  static_cast<void>(i);
  look_up_plain(table, src, dst, n);
}
#else
QUERN_DETAIL_KERNEL_FUNCTION void look_up(isa i, std::uint8_t const* table, std::uint8_t const* src, std::uint8_t* dst, index_t n) noexcept;
#endif

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
