// x86_sse2.hpp — int16 products on the registers that every x86-64 has: x86_sse41.hpp with two instructions to widen eight codes.
//
//     pmaddwd  1 uop, p01     paddd  1 uop, p015     punpcklbw + psraw  2 uops     movsd + unpcklpd  a load and p5
//
// Part of the baseline, so it is compiled with the flags of the translation unit. Copying lhs and unpacking nibbles is left to
// generic.hpp's plain loops: they touch each code once, the products n times.
#pragma once

#include "../simd/baseline.hpp"
#include "generic.hpp"

#if QUERN_BASELINE == QUERN_BASELINE_SSE2
#include <immintrin.h>

namespace quern::kernel {
inline namespace QUERN_ABI {
namespace sse2 {

namespace simd = ::quern::baseline;
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
    __m128i const x = _mm_loadl_epi64(reinterpret_cast<__m128i const*>(p));
    return _mm_srai_epi16(_mm_unpacklo_epi8(x, x), 8);
  }
  QUERN_INLINE static vec load_lhs(unsigned char const* p) {
    double four = 0;
    __builtin_memcpy(&four, p, 8);
    return _mm_castpd_si128(_mm_set1_pd(four));
  }
  QUERN_INLINE static vec dot(vec c, vec a, vec b) { return in_order(add(c, _mm_madd_epi16(a, b))); }
  /// (0a 0b 1a 1b), (2a 2b 3a 3b) to 0 .. 3.
  QUERN_INLINE static vec folded(vec x, vec y) {
    __m128 const a = _mm_castsi128_ps(x), b = _mm_castsi128_ps(y);
    return add(_mm_castps_si128(_mm_shuffle_ps(a, b, 0x88)), _mm_castps_si128(_mm_shuffle_ps(a, b, 0xdd)));
  }
  QUERN_INLINE static void load_nibbles(unsigned char const* p, rhs_type& low, rhs_type& high) {
    __m128i const x = _mm_loadl_epi64(reinterpret_cast<__m128i const*>(p)), mask = _mm_set1_epi8(15);
    low = _mm_unpacklo_epi8(_mm_and_si128(x, mask), zero());
    high = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(x, 4), mask), zero());
  }
};

#include "tile.inl"

}  // namespace sse2

inline kernel_set const& sse2_kernels() noexcept {
  using namespace sse2;
  static constexpr tile_kernel tiles[] = {
      {1, 1, &sse2::tile<words, 1, 1, 4>}, {2, 1, &sse2::tile<words, 2, 1, 4>}, {3, 1, &sse2::tile<words, 3, 1, 4>},
      {4, 1, &sse2::tile<words, 4, 1, 2>}, {5, 1, &sse2::tile<words, 5, 1, 2>}, {6, 1, &sse2::tile<words, 6, 1, 2>}};
  static constexpr tile_kernel nibble_tiles[] = {
      {1, 1, &sse2::nibble_tile<words, 1, 1, 4, 2, 1>}, {2, 1, &sse2::nibble_tile<words, 2, 1, 4, 1, 1>},
      {3, 1, &sse2::nibble_tile<words, 3, 1, 2, 1, 1>}, {4, 1, &sse2::nibble_tile<words, 4, 1, 2, 1, 1>}};
  static constexpr kernel_set set{.name = "sse2",
                                  .needs = isa::baseline,
                                  .form = lhs_form::words,
                                  .scales = true,
                                  .tiles = tiles,
                                  .tile_count = sizeof(tiles) / sizeof(tiles[0]),
                                  .nibble_tiles = nibble_tiles,
                                  .nibble_tile_count = sizeof(nibble_tiles) / sizeof(nibble_tiles[0]),
                                  .copy = &generic::copy,
                                  .unpack = &generic::unpack};
  return set;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
#endif
