// x86_sse41.hpp — int16 products on 128 bits, for CPUs without AVX2.
//
//     pmaddwd  1 uop, p01     paddd  1 uop, p015     pmovsxbw xmm, m64  1 uop p5 + load     movddup xmm, m64  load only
//
// Two columns in a vector, two sums a column. 6 rows x 4 columns at a time: 12 accumulators, 2 of rhs, lhs and its copy, since
// pmaddwd overwrites an operand. 12 + 12 + 2 uops and 6 eliminated moves for 96 products: 9.5 cycles at four uops a cycle.
#pragma once

#include "../simd/x86_sse41.hpp"
#include "kernel_set.hpp"

#if QUERN_X86_64
#include <immintrin.h>

QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace sse41 {

namespace simd = ::quern::sse41;
using vec = __m128i;
QUERN_INLINE vec zero() { return _mm_setzero_si128(); }
QUERN_INLINE vec add(vec a, vec b) { return _mm_add_epi32(a, b); }
/// GCC would add the products of two steps to each other first, keep them all and run out of registers.
QUERN_INLINE vec in_order(vec x) {
  asm("" : "+x"(x));
  return x;
}
QUERN_INLINE vec load(std::int32_t const* p) { return _mm_loadu_si128(reinterpret_cast<__m128i const*>(p)); }
QUERN_INLINE void store(std::int32_t* p, vec x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }

struct words {
  using rhs_type = __m128i;
  static constexpr int columns = 2, partial_sums = 2, lhs_bytes = 8;
  QUERN_INLINE static rhs_type load_rhs(unsigned char const* p) {
    return _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(p)));
  }
  QUERN_INLINE static vec load_lhs(unsigned char const* p) {
    double four = 0;
    __builtin_memcpy(&four, p, 8);
    return _mm_castpd_si128(_mm_set1_pd(four));
  }
  QUERN_INLINE static vec dot(vec c, vec a, vec b) {
#ifdef __clang__  // would add to the product, and copy or spill each sum: 7 % slower
    asm("paddd {%1, %0|%0, %1}" : "+x"(c) : "x"(_mm_madd_epi16(a, b)));
    return c;
#else
    return in_order(add(c, _mm_madd_epi16(a, b)));
#endif
  }
  QUERN_INLINE static vec folded(vec x, vec y) { return _mm_hadd_epi32(x, y); }
  QUERN_INLINE static void load_nibbles(unsigned char const* p, rhs_type& low, rhs_type& high) {
    __m128i const both = _mm_loadl_epi64(reinterpret_cast<__m128i const*>(p)), mask = _mm_set1_epi8(15);
    low = _mm_cvtepu8_epi16(_mm_and_si128(both, mask));
    high = _mm_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(both, 4), mask));
  }
};

#include "tile.inl"

QUERN_INLINE void store_words(std::int16_t* p, vec x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }

/// Any kind, widened. Sums in a second pass, since few products need them.
inline void copy_words(lhs_rows const& from, index_t padded, unsigned char* to, std::int32_t* sums) {
  auto const* src = static_cast<unsigned char const*>(from.src);
  index_t const count = from.count, whole = count / 8 * 8;
  int const kind = from.kind;
  for (index_t r = 0; r < from.rows; ++r, src += from.stride, to += from.to_stride) {
    auto* const dst = reinterpret_cast<std::int16_t*>(to);
    index_t i = 0;
    if (kind == 0)
      for (; i < whole; i += 8) store_words(dst + i, _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(src + i))));
    else if (kind == 1)
      for (; i < whole; i += 8) store_words(dst + i, _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(src + i))));
    else
      for (; i < whole; i += 8) store_words(dst + i, _mm_loadu_si128(reinterpret_cast<__m128i const*>(src + 2 * i)));
    for (; i < count; ++i) dst[i] = one_word(src, i, kind);
    for (; i < padded; ++i) dst[i] = 0;
    if (sums != nullptr) {
      __m128i v = _mm_setzero_si128();
      for (i = 0; i < whole; i += 8) v = _mm_add_epi32(v, _mm_madd_epi16(_mm_loadu_si128(reinterpret_cast<__m128i const*>(dst + i)), _mm_set1_epi16(1)));
      v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
      std::int32_t sum = _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
      for (; i < count; ++i) sum += dst[i];
      sums[r] = sum;
    }
  }
}

inline void unpack(unsigned char const* src, index_t rows, unsigned char* dst) {
  __m128i const mask = _mm_set1_epi8(15);
  for (index_t i = 0; i < rows; ++i)
    for (int part = 0; part < 64; part += 16) {
      __m128i const both = _mm_loadu_si128(reinterpret_cast<__m128i const*>(src + i * 64 + part));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i * 128 + part), _mm_and_si128(both, mask));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i * 128 + 64 + part), _mm_and_si128(_mm_srli_epi16(both, 4), mask));
    }
}

}  // namespace sse41
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

namespace quern::kernel {
inline namespace QUERN_ABI {

inline kernel_set const& sse41_kernels() noexcept {
  using namespace sse41;
  static constexpr tile_kernel tiles[] = {
      {1, 1, &sse41::tile<words, 1, 1, 4>}, {2, 1, &sse41::tile<words, 2, 1, 4>}, {3, 1, &sse41::tile<words, 3, 1, 4>},
      {4, 1, &sse41::tile<words, 4, 1, 2>}, {5, 1, &sse41::tile<words, 5, 1, 2>}, {6, 1, &sse41::tile<words, 6, 1, 2>}};
  static constexpr tile_kernel nibble_tiles[] = {
      {1, 1, &sse41::nibble_tile<words, 1, 1, 4, 2, 1>}, {2, 1, &sse41::nibble_tile<words, 2, 1, 4, 1, 1>},
      {3, 1, &sse41::nibble_tile<words, 3, 1, 2, 1, 1>}, {4, 1, &sse41::nibble_tile<words, 4, 1, 2, 1, 1>}};
  static constexpr kernel_set set{.name = "sse41",
                                  .needs = isa::sse41,
                                  .form = lhs_form::words,
                                  .scales = true,
                                  .tiles = tiles,
                                  .tile_count = sizeof(tiles) / sizeof(tiles[0]),
                                  .nibble_tiles = nibble_tiles,
                                  .nibble_tile_count = sizeof(nibble_tiles) / sizeof(nibble_tiles[0]),
                                  .copy = &sse41::copy_words,
                                  .unpack = &sse41::unpack};
  return set;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
#endif
