// dot16.hpp — sums of int16 * int8-sized products in 64 bits, and of int16 * int16.
//
// vpmaddwd adds two products into an int32 lane: at most 2 * 2^15 * 2^7 = 2^23, so 255 of them stay below 2^31 (256 would reach it
// at -32768 * -128 throughout). 2 x 124 steps are summed in 32 bits, then widened.
//
// Two products of int16 by int16 are above -2^31 and reach 2^31 only as (-32768)^2 twice, which vpmaddwd gives as INT_MIN: one less is
// an int32 always. Its halves are summed apart, which 2^14 of them allow.
#pragma once

#include "../core/integers.hpp"
#include "../cpu/isa.hpp"

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
#include <immintrin.h>

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {
inline std::int64_t dot16(std::int16_t const* a, std::int16_t const* b, index_t n) noexcept {
  __m256i total = _mm256_setzero_si256();
  for (index_t i = 0; i < n;) {
    index_t const end = n - i > 2 * 124 * 16 ? i + 2 * 124 * 16 : n;
    __m256i s0 = _mm256_setzero_si256(), s1 = s0;
    for (; i < end; i += 32) {
      s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(a + i)),
                                                  _mm256_loadu_si256(reinterpret_cast<__m256i const*>(b + i))));
      s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(a + i + 16)),
                                                  _mm256_loadu_si256(reinterpret_cast<__m256i const*>(b + i + 16))));
    }
    __m256i const s = _mm256_add_epi32(s0, s1);
    total = _mm256_add_epi64(total, _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(s)),
                                                     _mm256_cvtepi32_epi64(_mm256_extracti128_si256(s, 1))));
  }
  alignas(32) std::int64_t parts[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(parts), total);
  return parts[0] + parts[1] + parts[2] + parts[3];
}
inline std::int64_t dot_words(std::int16_t const* a, std::int16_t const* b, index_t n) noexcept {
  std::int64_t total = n / 2;  // what is subtracted below
  __m256i const one = _mm256_set1_epi32(1), low = _mm256_set1_epi32(65535);
  for (index_t i = 0; i < n;) {
    index_t const end = n - i > 16384 * 16 ? i + 16384 * 16 : n;
    __m256i highs = _mm256_setzero_si256(), lows = highs;
    for (; i < end; i += 16) {
      __m256i const p = _mm256_sub_epi32(_mm256_madd_epi16(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(a + i)),
                                                           _mm256_loadu_si256(reinterpret_cast<__m256i const*>(b + i))), one);
      highs = _mm256_add_epi32(highs, _mm256_srai_epi32(p, 16));
      lows = _mm256_add_epi32(lows, _mm256_and_si256(p, low));
    }
    alignas(32) std::int32_t high[8], rest[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(high), highs);
    _mm256_store_si256(reinterpret_cast<__m256i*>(rest), lows);
    for (int k = 0; k < 8; ++k) total += std::int64_t{high[k]} * 65536 + rest[k];
  }
  return total;
}
}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
#endif

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// sum of a[i] * b[i]; n is a multiple of 32, |b[i]| <= 128.
#if QUERN_DETAIL_KERNELS_HERE
QUERN_DETAIL_KERNEL_FUNCTION std::int64_t dot16(isa i, std::int16_t const* a, std::int16_t const* b, index_t n) noexcept {
#if QUERN_X86_64
  if (i >= isa::avx2) return avx2::dot16(a, b, n);
#endif
  static_cast<void>(i);
  std::int64_t sum = 0;
  for (index_t k = 0; k < n; k += 32) {
    std::int32_t part = 0;  // 32 products of up to 2^22
    for (index_t j = 0; j < 32; ++j) part += static_cast<std::int32_t>(a[k + j]) * b[k + j];
    sum += part;
  }
  return sum;
}
#else
QUERN_DETAIL_KERNEL_FUNCTION std::int64_t dot16(isa i, std::int16_t const* a, std::int16_t const* b, index_t n) noexcept;
#endif

/// sum of a[i] * b[i]; n is a multiple of 16.
#if QUERN_DETAIL_KERNELS_HERE
QUERN_DETAIL_KERNEL_FUNCTION std::int64_t dot_words(isa i, std::int16_t const* a, std::int16_t const* b, index_t n) noexcept {
#if QUERN_X86_64
  if (i >= isa::avx2) return avx2::dot_words(a, b, n);
#endif
  static_cast<void>(i);
  std::int64_t sum = 0;
  for (index_t k = 0; k < n; ++k) sum += std::int64_t{a[k]} * b[k];
  return sum;
}
#else
QUERN_DETAIL_KERNEL_FUNCTION std::int64_t dot_words(isa i, std::int16_t const* a, std::int16_t const* b, index_t n) noexcept;
#endif

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
