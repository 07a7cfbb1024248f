// x86_avx512bw.hpp — the two products of x86_avx2.hpp on 512 bits, for CPUs with AVX-512 but without VNNI.
//
//     vpmaddubsw vpmaddwd vpaddd zmm   1 uop, p05     vpmovsxbw zmm, m256   1 uop p5 + load
//
// chain: 64 products in 3 uops on two ports; words: 32 in 2. words with 12 rows x 16 columns: 24 accumulators, 2 of rhs, lhs, a
// temporary; 24 + 24 + 2 uops for 768 products, 96 % of vpmaddwd + vpaddd alone. chain with 12 rows x 2 panels likewise.
#pragma once

#include "../simd/x86_avx512.hpp"
#include "kernel_set.hpp"

#if QUERN_X86_64
#include <immintrin.h>

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx512bw {

namespace simd = ::quern::avx512bw;
using vec = __m512i;
QUERN_INLINE vec zero() { return _mm512_setzero_si512(); }
QUERN_INLINE vec add(vec a, vec b) { return _mm512_add_epi32(a, b); }
/// GCC would add the products of two steps to each other first, keep them all and run out of registers.
QUERN_INLINE vec in_order(vec x) {
  asm("" : "+v"(x));
  return x;
}
QUERN_INLINE vec load(std::int32_t const* p) { return _mm512_loadu_si512(p); }
QUERN_INLINE void store(std::int32_t* p, vec x) { _mm512_storeu_si512(p, x); }

struct chain {
  using rhs_type = __m512i;
  static constexpr int columns = 16, partial_sums = 1, lhs_bytes = 4;
  QUERN_INLINE static rhs_type load_rhs(unsigned char const* p) { return _mm512_loadu_si512(p); }
  QUERN_INLINE static vec load_lhs(unsigned char const* p) {
    std::int32_t four = 0;
    __builtin_memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
  }
  QUERN_INLINE static vec dot(vec c, vec a, vec b) {
    return in_order(add(c, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), _mm512_set1_epi16(1))));
  }
  QUERN_INLINE static void load_nibbles(unsigned char const* p, rhs_type& low, rhs_type& high) {
    __m512i const both = _mm512_loadu_si512(p), mask = _mm512_set1_epi8(15);
    low = _mm512_and_si512(both, mask);
    high = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
  }
};

struct words {
  using rhs_type = __m512i;
  static constexpr int columns = 8, partial_sums = 2, lhs_bytes = 8;
  QUERN_INLINE static rhs_type load_rhs(unsigned char const* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)));
  }
  QUERN_INLINE static vec load_lhs(unsigned char const* p) {
    long long four = 0;
    __builtin_memcpy(&four, p, 8);
    return _mm512_set1_epi64(four);
  }
#ifdef __clang__
  /// Both products of a row, then both sums, as GCC has them by itself: Zen 4 then gives the products more of their two ports (196
  /// GOPS; each product with its sum 171).
  QUERN_INLINE static void add_products(vec (&c)[2], vec x, rhs_type const (&b)[2]) {
    vec p = _mm512_madd_epi16(x, b[0]), q = _mm512_madd_epi16(x, b[1]);
    asm volatile("" : "+v"(p), "+v"(q));
    c[0] = add(c[0], p), c[1] = add(c[1], q);
    asm volatile("" : "+v"(c[0]), "+v"(c[1]));
  }
#endif
  QUERN_INLINE static vec dot(vec c, vec a, vec b) { return in_order(add(c, _mm512_madd_epi16(a, b))); }
  /// (0a 0b .. 7a 7b), (8a .. 15b) to 0 .. 15.
  QUERN_INLINE static vec folded(vec x, vec y) {
    __m512i const even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512i const odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return add(_mm512_permutex2var_epi32(x, even, y), _mm512_permutex2var_epi32(x, odd, y));
  }
  QUERN_INLINE static void load_nibbles(unsigned char const* p, rhs_type& low, rhs_type& high) {
    __m256i const both = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)), mask = _mm256_set1_epi8(15);
    low = _mm512_cvtepu8_epi16(_mm256_and_si256(both, mask));
    high = _mm512_cvtepu8_epi16(_mm256_and_si256(_mm256_srli_epi16(both, 4), mask));
  }
};

#include "tile.inl"

/// The sum of the lanes modulo 2^32 (what vpsadbw left in 64-bit lanes fits, so those may be added as 32-bit ones).
/// _mm512_reduce_add_epi32 makes GCC 12 warn about its own header.
QUERN_INLINE std::int32_t sum_of(__m512i x) {
  __m256i const h = _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_maskz_extracti64x4_epi64(0xff, x, 1));
  __m128i const s = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  __m128i const t = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1)));
}

/// u8 as it is, s8 + 128. Sums in a second pass, since few products need them.
inline void copy_bytes(lhs_rows const& from, index_t padded, unsigned char* to, std::int32_t* sums) {
  index_t const count = from.count, whole = count / 64 * 64;
  __mmask64 const rest = whole < count ? ~0ull >> (64 - (count - whole)) : 0;
  __m512i const none = _mm512_setzero_si512(), flip = _mm512_set1_epi8(from.kind == 1 ? static_cast<char>(0x80) : 0);
  __m512i const flip_rest = _mm512_maskz_mov_epi8(rest, flip);
  auto const* src = static_cast<unsigned char const*>(from.src);
  for (index_t r = 0; r < from.rows; ++r, src += from.stride, to += from.to_stride) {
    index_t i = 0;
    for (; i < whole; i += 64) _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_loadu_si512(src + i), flip));
    if (rest != 0) {
      _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, src + i), flip_rest));
      i += 64;
    }
    for (; i < padded; i += 64) _mm512_storeu_si512(to + i, none);
    if (sums != nullptr) {
      __m512i sum = none;
      for (i = 0; i < count; i += 64) sum = _mm512_add_epi64(sum, _mm512_sad_epu8(_mm512_loadu_si512(to + i), none));
      sums[r] = sum_of(sum);
    }
  }
}

/// Any kind, widened. Sums in a second pass, since few products need them.
inline void copy_words(lhs_rows const& from, index_t padded, unsigned char* to, std::int32_t* sums) {
  auto const* src = static_cast<unsigned char const*>(from.src);
  index_t const count = from.count, whole = count / 32 * 32;
  int const kind = from.kind;
  __mmask32 const rest = count > whole ? ~0u >> (32 - (count - whole)) : 0;
  for (index_t r = 0; r < from.rows; ++r, src += from.stride, to += from.to_stride) {
    auto* const dst = reinterpret_cast<std::int16_t*>(to);
    index_t i = 0;
    if (kind == 0)
      for (; i < whole; i += 32) _mm512_storeu_si512(dst + i, _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(src + i))));
    else if (kind == 1)
      for (; i < whole; i += 32) _mm512_storeu_si512(dst + i, _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(src + i))));
    else
      for (; i < whole; i += 32) _mm512_storeu_si512(dst + i, _mm512_loadu_si512(src + 2 * i));
    if (rest != 0) {
      __m512i x;
      if (kind == 2) {
        x = _mm512_maskz_loadu_epi16(rest, src + 2 * i);
      } else {
        __m256i const bytes = _mm256_maskz_loadu_epi8(rest, src + i);
        x = kind == 1 ? _mm512_cvtepi8_epi16(bytes) : _mm512_cvtepu8_epi16(bytes);
      }
      _mm512_storeu_si512(dst + i, x);
      i += 32;
    }
    for (; i < padded; i += 32) _mm512_storeu_si512(dst + i, _mm512_setzero_si512());
    if (sums != nullptr) {
      __m512i sum = _mm512_setzero_si512();
      for (i = 0; i < count; i += 32) sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_loadu_si512(dst + i), _mm512_set1_epi16(1)));
      sums[r] = sum_of(sum);
    }
  }
}

inline void unpack(unsigned char const* src, index_t rows, unsigned char* dst) {
  for (index_t i = 0; i < rows; ++i) {
    __m512i low, high;
    chain::load_nibbles(src + i * 64, low, high);
    _mm512_storeu_si512(dst + i * 128, low);
    _mm512_storeu_si512(dst + i * 128 + 64, high);
  }
}

}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

namespace quern::kernel {
inline namespace QUERN_ABI {

inline kernel_set const& avx512bw_words_kernels() noexcept {
  using namespace avx512bw;
  static constexpr tile_kernel tiles[] = {
      {1, 1, &avx512bw::tile<words, 1, 1, 2>}, {2, 1, &avx512bw::tile<words, 2, 1, 2>}, {3, 1, &avx512bw::tile<words, 3, 1, 2>},
      {4, 1, &avx512bw::tile<words, 4, 1, 2>}, {5, 1, &avx512bw::tile<words, 5, 1, 2>}, {6, 1, &avx512bw::tile<words, 6, 1, 2>},
      {8, 1, &avx512bw::tile<words, 8, 1, 2>}, {10, 1, &avx512bw::tile<words, 10, 1, 2>}, {12, 1, &avx512bw::tile<words, 12, 1, 2>}};
  static constexpr tile_kernel nibble_tiles[] = {
      {1, 1, &avx512bw::nibble_tile<words, 1, 1, 2, 2, 1>}, {2, 1, &avx512bw::nibble_tile<words, 2, 1, 2, 2, 1>},
      {3, 1, &avx512bw::nibble_tile<words, 3, 1, 2, 1, 1>}, {4, 1, &avx512bw::nibble_tile<words, 4, 1, 2, 1, 1>}};
  static constexpr kernel_set set{.name = "avx512bw_words",
                                  .needs = isa::avx512bw,
                                  .form = lhs_form::words,
                                  .scales = true,
                                  .tiles = tiles,
                                  .tile_count = sizeof(tiles) / sizeof(tiles[0]),
                                  .nibble_tiles = nibble_tiles,
                                  .nibble_tile_count = sizeof(nibble_tiles) / sizeof(nibble_tiles[0]),
                                  .copy = &avx512bw::copy_words,
                                  .unpack = &avx512bw::unpack};
  return set;
}

inline kernel_set const& avx512bw_chain_kernels() noexcept {
  using namespace avx512bw;
  static constexpr tile_kernel tiles[] = {
      {1, 1, &avx512bw::tile<chain, 1, 1, 1, 4>}, {2, 1, &avx512bw::tile<chain, 2, 1, 1>}, {3, 1, &avx512bw::tile<chain, 3, 1, 1>},
      {4, 1, &avx512bw::tile<chain, 4, 1, 1>},    {6, 1, &avx512bw::tile<chain, 6, 1, 1>}, {12, 1, &avx512bw::tile<chain, 12, 1, 1>},
      {2, 2, &avx512bw::tile<chain, 2, 2, 2>},    {4, 2, &avx512bw::tile<chain, 4, 2, 2>}, {6, 2, &avx512bw::tile<chain, 6, 2, 2>},
      {8, 2, &avx512bw::tile<chain, 8, 2, 2>},    {10, 2, &avx512bw::tile<chain, 10, 2, 2>}, {12, 2, &avx512bw::tile<chain, 12, 2, 2>}};
  static constexpr tile_kernel nibble_tiles[] = {
      {1, 1, &avx512bw::nibble_tile<chain, 1, 1, 1, 4, 1>}, {2, 1, &avx512bw::nibble_tile<chain, 2, 1, 1, 2, 1>},
      {3, 1, &avx512bw::nibble_tile<chain, 3, 1, 1, 2, 1>}, {4, 1, &avx512bw::nibble_tile<chain, 4, 1, 1, 2, 1>}};
  static constexpr kernel_set set{.name = "avx512bw_chain",
                                  .needs = isa::avx512bw,
                                  .form = lhs_form::bytes,
                                  .needs_proof = true,
                                  .scales = true,
                                  .tiles = tiles,
                                  .tile_count = sizeof(tiles) / sizeof(tiles[0]),
                                  .nibble_tiles = nibble_tiles,
                                  .nibble_tile_count = sizeof(nibble_tiles) / sizeof(nibble_tiles[0]),
                                  .copy = &avx512bw::copy_bytes,
                                  .unpack = &avx512bw::unpack};
  return set;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
#endif
