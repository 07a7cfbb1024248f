// x86_avx512_vnni.hpp — vpdpbusd on 512 bits: 64 products and their sums into 16 int32 in one instruction.
//
//     vpdpbusd zmm   1 uop, p05, latency 5: 128 multiply-adds a cycle     vpbroadcastd zmm, m32   1 uop, load ports only
//
// 12 rows x 2 panels: 24 accumulators, 2 vectors of rhs, 1 of lhs; 14 loads and 24 products take 12 cycles of p05 and 7 of the two
// load ports, 3.4 uops a cycle. Measured at k = 512 out of L1: 97 % of the register-only peak with GCC 12 and clang 14 (8 x 3
// the same, 14 x 2 no better, 6 x 4 92 to 95 %). Three panels of 8 rows serve odd numbers of panels. A product of one to four rows
// reads rhs once from memory, two panels at a time: two streams for the prefetcher read 10 % more than one (Zen 4: 75 and 68 GB/s,
// eight no more than two).
// vpdpbusd wraps (vpdpbusds would not), so u8 = s8 + 128 is exact modulo 2^32.
#pragma once

#include "x86_avx512bw.hpp"

#if QUERN_X86_64
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512_VNNI)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx512_vnni {

namespace simd = ::quern::avx512bw;
using vec = __m512i;
QUERN_INLINE vec zero() { return _mm512_setzero_si512(); }
QUERN_INLINE vec add(vec a, vec b) { return _mm512_add_epi32(a, b); }
QUERN_INLINE vec load(std::int32_t const* p) { return _mm512_loadu_si512(p); }
QUERN_INLINE void store(std::int32_t* p, vec x) { _mm512_storeu_si512(p, x); }

struct dpbusd : avx512bw::chain {
  QUERN_INLINE static vec dot(vec c, vec a, vec b) { return _mm512_dpbusd_epi32(c, a, b); }
  /// The first `live` of 16, at most all and at least none.
  QUERN_INLINE static __mmask16 first(int live) { return static_cast<__mmask16>(live >= 16 ? 0xffff : live <= 0 ? 0 : (1 << live) - 1); }
  QUERN_INLINE static void store_first(std::int32_t* p, vec x, __mmask16 those) { _mm512_mask_storeu_epi32(p, those, x); }
  template <int Quarter>
  QUERN_INLINE static void store_first(unsigned char* p, simd::bytes const& x, __mmask16 those) {
    _mm_mask_storeu_epi8(p, those, _mm512_maskz_extracti32x4_epi32(0xf, x.v, Quarter));
  }
};

/// Products in the order in which they stand. clang 14 would do all of one vector of columns before those of the next, two steps at a
/// time, and run out of registers (12 x 2: 207 GOPS instead of 460; direct tiles of 14 x 2: 272).
#ifdef __clang__
struct dpbusd_in_order : dpbusd {
  QUERN_INLINE static vec dot(vec c, vec a, vec b) {
    vec x = _mm512_dpbusd_epi32(c, a, b);
    asm volatile("" : "+v"(x));
    return x;
  }
};
#else
using dpbusd_in_order = dpbusd;
#endif

/// s8 + 128. Zen 4 does the xor on ports that vpdpbusd leaves free, in 12 x 2 tiles at no cost (466 GOPS, 464 without); Intel would take
/// a third longer. As one instruction with its load, which clang 14 does not make of it: 354 GOPS, 410 where it loads first.
struct dpbusd_flipped : dpbusd_in_order {
#ifdef __clang__
  struct four_codes {
    unsigned char each[4];
  };
  QUERN_INLINE static vec load_lhs(unsigned char const* p) {
    vec x;
    asm("vpxord {%1%{1to16%}, %2, %0|%0, %2, %1%{1to16%}}" : "=v"(x) : "m"(*reinterpret_cast<four_codes const*>(p)), "v"(_mm512_set1_epi8(-128)));
    return x;
  }
#else
  QUERN_INLINE static vec load_lhs(unsigned char const* p) { return _mm512_xor_epi32(dpbusd::load_lhs(p), _mm512_set1_epi8(-128)); }
#endif
};

#include "tile.inl"

}  // namespace avx512_vnni
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

namespace quern::kernel {
inline namespace QUERN_ABI {

inline kernel_set const& avx512_vnni_kernels() noexcept {
  using namespace avx512_vnni;
  static constexpr tile_kernel tiles[] = {
      {1, 1, &tile<dpbusd, 1, 1, 1, 8, 8>},       {2, 1, &tile<dpbusd, 2, 1, 1, 8, 4>},
      {3, 1, &tile<dpbusd, 3, 1, 1, 4, 4>},       {4, 1, &tile<dpbusd, 4, 1, 1, 4, 4>},
      {6, 1, &tile<dpbusd, 6, 1, 1, 2, 2>},       {12, 1, &tile<dpbusd, 12, 1, 1>, &tile<dpbusd_flipped, 12, 1, 1>},
      {1, 2, &tile<dpbusd, 1, 2, 2, 4, 4>},       {2, 2, &tile<dpbusd, 2, 2, 2, 4, 4>},
      {3, 2, &tile<dpbusd, 3, 2, 2, 2, 2>},       {4, 2, &tile<dpbusd, 4, 2, 2, 2, 2>},
      {5, 2, &tile<dpbusd, 5, 2, 2>},             {6, 2, &tile<dpbusd, 6, 2, 2>},
      {7, 2, &tile<dpbusd, 7, 2, 2>},             {8, 2, &tile<dpbusd_in_order, 8, 2, 2>, &tile<dpbusd_flipped, 8, 2, 2>},
      {9, 2, &tile<dpbusd_in_order, 9, 2, 2>},    {10, 2, &tile<dpbusd_in_order, 10, 2, 2>},
      {11, 2, &tile<dpbusd_in_order, 11, 2, 2>},  {12, 2, &tile<dpbusd_in_order, 12, 2, 2>, &tile<dpbusd_flipped, 12, 2, 2>},
      {4, 3, &tile<dpbusd, 4, 3, 3>},             {8, 3, &tile<dpbusd_in_order, 8, 3, 3>, &tile<dpbusd_flipped, 8, 3, 3>},
  };
  static constexpr tile_kernel nibble_tiles[] = {
      {1, 1, &nibble_tile<dpbusd, 1, 1, 1, 4, 4>}, {2, 1, &nibble_tile<dpbusd, 2, 1, 1, 4, 4>},
      {3, 1, &nibble_tile<dpbusd, 3, 1, 1, 2, 2>}, {4, 1, &nibble_tile<dpbusd, 4, 1, 1, 2, 2>},
  };
  static constexpr tile_kernel nibble_pairs[] = {
      {1, 2, &nibble_tile<dpbusd, 1, 2, 2, 4, 2>}, {2, 2, &nibble_tile<dpbusd, 2, 2, 2, 2, 2>},
      {3, 2, &nibble_tile<dpbusd, 3, 2, 2, 2, 1>}, {4, 2, &nibble_tile<dpbusd, 4, 2, 2, 2, 1>},
  };
  static constexpr kernel_set set{.name = "avx512_vnni",
                                  .needs = isa::avx512_vnni,
                                  .form = lhs_form::bytes,
                                  .scales = true,
                                  .stores_first = true,
                                  .tiles = tiles,
                                  .tile_count = sizeof(tiles) / sizeof(tiles[0]),
                                  .nibble_tiles = nibble_tiles,
                                  .nibble_pairs = nibble_pairs,
                                  .nibble_tile_count = sizeof(nibble_tiles) / sizeof(nibble_tiles[0]),
                                  .copy = &avx512bw::copy_bytes,
                                  .unpack = &avx512bw::unpack};
  return set;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
#endif
