// x86_avx_vnni.hpp — vpdpbusd on 256 bits, VEX-encoded: Alder Lake and later, Zen 5, Sierra Forest, Sapphire Rapids.
//
//     vpdpbusd ymm   1 uop, p01, latency 5: 64 multiply-adds a cycle
//
// 6 rows x 16 columns: 12 accumulators (more than the 10 that 2 ports x 5 cycles need), 2 of rhs, 1 of lhs: 15 of 16 registers, 12
// products and 8 loads take 6 cycles of p01 and 4 of the load ports.
#pragma once

#include "x86_avx2.hpp"

#if QUERN_X86_64
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX_VNNI)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx_vnni {

namespace simd = ::quern::avx2;
using vec = __m256i;
QUERN_INLINE vec zero() { return _mm256_setzero_si256(); }
QUERN_INLINE vec add(vec a, vec b) { return _mm256_add_epi32(a, b); }
QUERN_INLINE vec load(std::int32_t const* p) { return _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)); }
QUERN_INLINE void store(std::int32_t* p, vec x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }

struct dpbusd : avx2::chain {
  QUERN_INLINE static vec dot(vec c, vec a, vec b) { return _mm256_dpbusd_avx_epi32(c, a, b); }
};

#include "tile.inl"

}  // namespace avx_vnni
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

namespace quern::kernel {
inline namespace QUERN_ABI {

inline kernel_set const& avx_vnni_kernels() noexcept {
  using namespace avx_vnni;
  static constexpr tile_kernel tiles[] = {
      {1, 1, &avx_vnni::tile<dpbusd, 1, 1, 2, 4, 4>}, {2, 1, &avx_vnni::tile<dpbusd, 2, 1, 2, 4, 2>},
      {3, 1, &avx_vnni::tile<dpbusd, 3, 1, 2, 2, 2>}, {4, 1, &avx_vnni::tile<dpbusd, 4, 1, 2>},
      {5, 1, &avx_vnni::tile<dpbusd, 5, 1, 2>},       {6, 1, &avx_vnni::tile<dpbusd, 6, 1, 2>}};
  static constexpr tile_kernel nibble_tiles[] = {
      {1, 1, &avx_vnni::nibble_tile<dpbusd, 1, 1, 2, 4, 4>}, {2, 1, &avx_vnni::nibble_tile<dpbusd, 2, 1, 2, 2, 2>},
      {3, 1, &avx_vnni::nibble_tile<dpbusd, 3, 1, 2, 1, 1>}, {4, 1, &avx_vnni::nibble_tile<dpbusd, 4, 1, 2, 1, 1>}};
  static constexpr kernel_set set{.name = "avx_vnni",
                                  .needs = isa::avx_vnni,
                                  .form = lhs_form::bytes,
                                  .scales = true,
                                  .tiles = tiles,
                                  .tile_count = sizeof(tiles) / sizeof(tiles[0]),
                                  .nibble_tiles = nibble_tiles,
                                  .nibble_tile_count = sizeof(nibble_tiles) / sizeof(nibble_tiles[0]),
                                  .copy = &avx2::copy_bytes,
                                  .unpack = &avx2::unpack};
  return set;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
#endif
