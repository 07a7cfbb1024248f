// x86_avx2.hpp — two exact products on 256 bits.
//
// chain: vpmaddubsw (u8 * s8, pairs summed into int16, saturating) + vpmaddwd by ones + vpaddd: 3 instructions for 32 products.
// Exact for every activation while each pair of weights is small enough, which pack/ has measured: a * |b0 + b1| <= 32767 for
// the largest activation a (255: 128 a pair; 127: always). Otherwise it is not used.
//
// words: both sides widened to int16, vpmaddwd + vpaddd: 2 instructions for 16 products, exact for everything.
//
//     vpmaddubsw vpmaddwd  1 uop, p01, latency 5     vpaddd  1 uop, p015     vpmovsxbw ymm, m128  1 uop p5 + load
//
// chain, 6 rows x 16 columns: 12 accumulators, ones, lhs, a temporary; rhs as memory operand. 36 uops on three ports, 12 cycles.
// words, 6 rows x 8 columns at a time: 12 accumulators that hold two sums each, 2 of rhs, 1 of lhs, 1 temporary: all 16
// registers. 12 + 12 + 2 uops for 192 products: 8.7 cycles, 92 % of what vpmaddwd + vpaddd alone reach.
// The loop-carried part is vpaddd's single cycle, so few chains suffice everywhere.
#pragma once

#include "../simd/x86_avx2.hpp"
#include "kernel_set.hpp"

#if QUERN_X86_64
#include <immintrin.h>

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx2 {

namespace simd = ::quern::avx2;
using vec = __m256i;
QUERN_INLINE vec zero() { return _mm256_setzero_si256(); }
QUERN_INLINE vec add(vec a, vec b) { return _mm256_add_epi32(a, b); }
/// GCC would add the products of two steps to each other first, keep them all and run out of registers.
QUERN_INLINE vec in_order(vec x) {
  asm("" : "+x"(x));
  return x;
}
QUERN_INLINE vec load(std::int32_t const* p) { return _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)); }
QUERN_INLINE void store(std::int32_t* p, vec x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
QUERN_INLINE __m256i load_bytes(void const* p) { return _mm256_loadu_si256(static_cast<__m256i const*>(p)); }
QUERN_INLINE void store_bytes(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

struct chain {
  using rhs_type = __m256i;
  static constexpr int columns = 8, partial_sums = 1, lhs_bytes = 4;
  QUERN_INLINE static rhs_type load_rhs(unsigned char const* p) { return load_bytes(p); }
  QUERN_INLINE static vec load_lhs(unsigned char const* p) {
    std::int32_t four = 0;
    __builtin_memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
  }
  QUERN_INLINE static vec dot(vec c, vec a, vec b) {
    return in_order(add(c, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1))));
  }
  QUERN_INLINE static void load_nibbles(unsigned char const* p, rhs_type& low, rhs_type& high) {
    __m256i const both = load_bytes(p), mask = _mm256_set1_epi8(15);
    low = _mm256_and_si256(both, mask);
    high = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
  }
};

struct words {
  using rhs_type = __m256i;
  static constexpr int columns = 4, partial_sums = 2, lhs_bytes = 8;
  QUERN_INLINE static rhs_type load_rhs(unsigned char const* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<__m128i const*>(p)));
  }
  QUERN_INLINE static vec load_lhs(unsigned char const* p) {
    long long four = 0;
    __builtin_memcpy(&four, p, 8);
    return _mm256_set1_epi64x(four);
  }
    /// Both products of a row, then both sums: 2 % faster than each product with its sum.
  QUERN_INLINE static void add_products(vec (&c)[2], vec x, rhs_type const (&b)[2]) {
    vec p = _mm256_madd_epi16(x, b[0]), q = _mm256_madd_epi16(x, b[1]);
    asm volatile("" : "+x"(p), "+x"(q));
    c[0] = add(c[0], p), c[1] = add(c[1], q);
    asm volatile("" : "+x"(c[0]), "+x"(c[1]));
  }
  QUERN_INLINE static vec dot(vec c, vec a, vec b) { return in_order(add(c, _mm256_madd_epi16(a, b))); }
  /// (0a 0b 1a 1b 2a 2b 3a 3b), (4a ... 7b) to 0 .. 7.
  QUERN_INLINE static vec folded(vec x, vec y) { return _mm256_permute4x64_epi64(_mm256_hadd_epi32(x, y), 0xd8); }
  QUERN_INLINE static void load_nibbles(unsigned char const* p, rhs_type& low, rhs_type& high) {
    __m128i const both = _mm_loadu_si128(reinterpret_cast<__m128i const*>(p)), mask = _mm_set1_epi8(15);
    low = _mm256_cvtepu8_epi16(_mm_and_si128(both, mask));
    high = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(both, 4), mask));
  }
};

#include "tile.inl"

QUERN_INLINE std::int32_t sum_of(__m256i x) {
  __m128i const s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  __m128i const t = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1)));
}

/// u8 as it is, s8 + 128.
inline void copy_bytes(lhs_rows const& from, index_t padded, unsigned char* to, std::int32_t* sums) {
  unsigned char const flip = from.kind == 1 ? 0x80 : 0;
  __m256i const flips = _mm256_set1_epi8(static_cast<char>(flip)), none = _mm256_setzero_si256();
  auto const* src = static_cast<unsigned char const*>(from.src);
  for (index_t r = 0; r < from.rows; ++r, src += from.stride, to += from.to_stride) {
    __m256i vector_sum = none;
    index_t i = 0;
    for (; i + 32 <= from.count; i += 32) {
      __m256i const x = _mm256_xor_si256(load_bytes(src + i), flips);
      store_bytes(to + i, x);
      vector_sum = _mm256_add_epi64(vector_sum, _mm256_sad_epu8(x, none));
    }
    std::int32_t sum = sum_of(vector_sum);
    for (; i < from.count; ++i) sum += to[i] = static_cast<unsigned char>(src[i] ^ flip);
    for (; i < padded; ++i) to[i] = 0;
    if (sums != nullptr) sums[r] = sum;
  }
}

/// Any kind, widened. Sums in a second pass, since few products need them.
inline void copy_words(lhs_rows const& from, index_t padded, unsigned char* to, std::int32_t* sums) {
  auto const* src = static_cast<unsigned char const*>(from.src);
  index_t const count = from.count, whole = count / 16 * 16;
  int const kind = from.kind;
  for (index_t r = 0; r < from.rows; ++r, src += from.stride, to += from.to_stride) {
    auto* const dst = reinterpret_cast<std::int16_t*>(to);
    index_t i = 0;
    if (kind == 0)
      for (; i < whole; i += 16) store_bytes(dst + i, _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<__m128i const*>(src + i))));
    else if (kind == 1)
      for (; i < whole; i += 16) store_bytes(dst + i, _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<__m128i const*>(src + i))));
    else
      for (; i < whole; i += 16) store_bytes(dst + i, load_bytes(src + 2 * i));
    for (; i < count; ++i) dst[i] = one_word(src, i, kind);
    for (; i < padded; ++i) dst[i] = 0;
    if (sums != nullptr) {
      __m256i vector_sum = _mm256_setzero_si256();
      for (i = 0; i < whole; i += 16) vector_sum = _mm256_add_epi32(vector_sum, _mm256_madd_epi16(load_bytes(dst + i), _mm256_set1_epi16(1)));
      std::int32_t sum = sum_of(vector_sum);
      for (; i < count; ++i) sum += dst[i];
      sums[r] = sum;
    }
  }
}

inline void unpack(unsigned char const* src, index_t rows, unsigned char* dst) {
  for (index_t i = 0; i < rows; ++i)
    for (int half = 0; half < 64; half += 32) {
      __m256i low, high;
      chain::load_nibbles(src + i * 64 + half, low, high);
      store_bytes(dst + i * 128 + half, low);
      store_bytes(dst + i * 128 + 64 + half, high);
    }
}

}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

namespace quern::kernel {
inline namespace QUERN_ABI {

inline kernel_set const& avx2_words_kernels() noexcept {
  using namespace avx2;
  static constexpr tile_kernel tiles[] = {
      {1, 1, &avx2::tile<words, 1, 1, 2>}, {2, 1, &avx2::tile<words, 2, 1, 2>}, {3, 1, &avx2::tile<words, 3, 1, 2>},
      {4, 1, &avx2::tile<words, 4, 1, 2>}, {5, 1, &avx2::tile<words, 5, 1, 2>}, {6, 1, &avx2::tile<words, 6, 1, 2>}};
  static constexpr tile_kernel nibble_tiles[] = {
      {1, 1, &avx2::nibble_tile<words, 1, 1, 2, 2, 1>}, {2, 1, &avx2::nibble_tile<words, 2, 1, 2, 2, 1>},
      {3, 1, &avx2::nibble_tile<words, 3, 1, 2, 1, 1>}, {4, 1, &avx2::nibble_tile<words, 4, 1, 2, 1, 1>}};
  static constexpr kernel_set set{.name = "avx2_words",
                                  .needs = isa::avx2,
                                  .form = lhs_form::words,
                                  .scales = true,
                                  .tiles = tiles,
                                  .tile_count = sizeof(tiles) / sizeof(tiles[0]),
                                  .nibble_tiles = nibble_tiles,
                                  .nibble_tile_count = sizeof(nibble_tiles) / sizeof(nibble_tiles[0]),
                                  .copy = &copy_words,
                                  .unpack = &avx2::unpack};
  return set;
}

inline kernel_set const& avx2_chain_kernels() noexcept {
  using namespace avx2;
  static constexpr tile_kernel tiles[] = {
      {1, 1, &avx2::tile<chain, 1, 1, 2, 4>}, {2, 1, &avx2::tile<chain, 2, 1, 2>}, {3, 1, &avx2::tile<chain, 3, 1, 2>},
      {4, 1, &avx2::tile<chain, 4, 1, 2>},    {5, 1, &avx2::tile<chain, 5, 1, 2>}, {6, 1, &avx2::tile<chain, 6, 1, 2>}};
  static constexpr tile_kernel nibble_tiles[] = {
      {1, 1, &avx2::nibble_tile<chain, 1, 1, 2, 2, 1>}, {2, 1, &avx2::nibble_tile<chain, 2, 1, 2, 2, 1>},
      {3, 1, &avx2::nibble_tile<chain, 3, 1, 2, 1, 1>}, {4, 1, &avx2::nibble_tile<chain, 4, 1, 2, 1, 1>}};
  static constexpr kernel_set set{.name = "avx2_chain",
                                  .needs = isa::avx2,
                                  .form = lhs_form::bytes,
                                  .needs_proof = true,
                                  .scales = true,
                                  .tiles = tiles,
                                  .tile_count = sizeof(tiles) / sizeof(tiles[0]),
                                  .nibble_tiles = nibble_tiles,
                                  .nibble_tile_count = sizeof(nibble_tiles) / sizeof(nibble_tiles[0]),
                                  .copy = &copy_bytes,
                                  .unpack = &avx2::unpack};
  return set;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
#endif
