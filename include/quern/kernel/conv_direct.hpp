// conv_direct.hpp — tiles of a convolution that read the image where it lies.
//
// Output positions along a row of the image lie a fixed distance apart, and so do the codes that they read: the window is a few runs
// of codes (a row of taps each, or a tap each where dilated), the same for every position.
//
//     padded image   ......aaaaaaaaaaaa......       position x, run r:  lhs + offsets[r] + x * row
//                    ......bbbbbbbbbbbb......       a run is `steps` times four codes, which meet rows of 64 bytes of rhs
//
// Against gathering windows (conv_gather.hpp) every code is copied once, to flip its sign or to put padding beside it, instead of
// once a tap: at 3 x 3 x 64 to 64 channels gathering took 14 % of the time (Zen 4, AVX-512 VNNI), at 7 x 7 x 3 to 64 a third.
//
// 14 positions x 2 panels: 28 accumulators, 2 of rhs, 1 of lhs: 31 of 32 registers; and widths of 7 * 2^i are whole tiles.
#pragma once

#include "kernels.hpp"

namespace quern::kernel {

/// One tile_job whose k are `runs` runs of job.steps times four codes: acc[x * ld + c] = init[c] + sum over runs r, codes i of
/// lhs[offsets[r] + x * lhs_stride + i] * rhs; the stride and offsets in bytes.
using direct_function = void (*)(tile_job const& job, index_t const* offsets, index_t runs);

/// Products that a tile at the end of a line leaves out: of its first row the first steps of every run, of its last row the last ones.
/// What they would have added is in the vectors of columns.
struct direct_edge {
  index_t first_steps = 0, last_steps = 0;
  std::int32_t const *first_init = nullptr, *last_init = nullptr;
};
using direct_edge_function = void (*)(tile_job const& job, index_t const* offsets, index_t runs, direct_edge const& edge);

struct direct_tile {
  int rows = 0, panels = 0;
  direct_function run = nullptr;
  direct_edge_function edges = nullptr;  ///< null: it leaves nothing out
};

/// The tiles of an instruction set, ascending by panels, then rows; none where windows are gathered.
struct direct_tiles {
  direct_tile const* tiles = nullptr;
  int count = 0;

  /// The smallest tile of `rows` rows or more, else the largest; null where none has so many panels.
  QUERN_INLINE direct_tile const* find(index_t panels, index_t rows) const noexcept {
    direct_tile const* best = nullptr;
    for (int i = 0; i < count; ++i)
      if (tiles[i].panels == panels && (best == nullptr || best->rows < rows)) best = &tiles[i];
    return best;
  }
};

}  // namespace quern::kernel

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx2 {
#include "direct.inl"
}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX_VNNI)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx_vnni {
#include "direct.inl"
}  // namespace avx_vnni
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx512bw {
#include "direct.inl"
}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512_VNNI)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx512_vnni {
#include "direct.inl"
}  // namespace avx512_vnni
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

#endif

namespace quern::kernel {
inline namespace QUERN_ABI {

/// The direct tiles that go with a kernel set.
#if QUERN_DETAIL_KERNELS_HERE
QUERN_DETAIL_KERNEL_FUNCTION direct_tiles direct_for(kernel_set const& set) noexcept {
#if QUERN_X86_64
  if (set.needs == isa::avx512_vnni && set.form == lhs_form::bytes) {
    using namespace avx512_vnni;
    static constexpr direct_tile tiles[] = {
        {4, 1, &avx512_vnni::direct<dpbusd, 4, 1, 1>},   {8, 1, &avx512_vnni::direct<dpbusd, 8, 1, 1>},   {14, 1, &avx512_vnni::direct<dpbusd_in_order, 14, 1, 1>},
        {4, 2, &avx512_vnni::direct<dpbusd, 4, 2, 2>},   {6, 2, &avx512_vnni::direct<dpbusd, 6, 2, 2>},   {7, 2, &avx512_vnni::direct<dpbusd, 7, 2, 2>, &avx512_vnni::direct_edges<dpbusd, 7, 2, 2>},
        {8, 2, &avx512_vnni::direct<dpbusd, 8, 2, 2>},   {10, 2, &avx512_vnni::direct<dpbusd_in_order, 10, 2, 2>}, {12, 2, &avx512_vnni::direct<dpbusd_in_order, 12, 2, 2>, &avx512_vnni::direct_edges<dpbusd_in_order, 12, 2, 2>},
        {14, 2, &avx512_vnni::direct<dpbusd_in_order, 14, 2, 2>, &avx512_vnni::direct_edges<dpbusd_in_order, 14, 2, 2>}};
    return {tiles, sizeof(tiles) / sizeof(tiles[0])};
  }
  if (set.needs == isa::avx512bw && set.form == lhs_form::words) {
    using namespace avx512bw;
    static constexpr direct_tile tiles[] = {{4, 1, &avx512bw::direct<words, 4, 1, 2>},   {7, 1, &avx512bw::direct<words, 7, 1, 2>},
                                            {8, 1, &avx512bw::direct<words, 8, 1, 2>},   {10, 1, &avx512bw::direct<words, 10, 1, 2>},
                                            {12, 1, &avx512bw::direct<words, 12, 1, 2>}};
    return {tiles, sizeof(tiles) / sizeof(tiles[0])};
  }
  if (set.needs == isa::avx_vnni && set.form == lhs_form::bytes) {
    using namespace avx_vnni;
    static constexpr direct_tile tiles[] = {{3, 1, &avx_vnni::direct<dpbusd, 3, 1, 2>}, {4, 1, &avx_vnni::direct<dpbusd, 4, 1, 2>},
                                            {5, 1, &avx_vnni::direct<dpbusd, 5, 1, 2>}, {6, 1, &avx_vnni::direct<dpbusd, 6, 1, 2>}};
    return {tiles, sizeof(tiles) / sizeof(tiles[0])};
  }
  if (set.needs == isa::avx2 && set.form == lhs_form::words) {
    using namespace avx2;
    static constexpr direct_tile tiles[] = {{3, 1, &avx2::direct<words, 3, 1, 2>}, {4, 1, &avx2::direct<words, 4, 1, 2>},
                                            {5, 1, &avx2::direct<words, 5, 1, 2>}, {6, 1, &avx2::direct<words, 6, 1, 2>}};
    return {tiles, sizeof(tiles) / sizeof(tiles[0])};
  }
#endif
  static_cast<void>(set);
  return {};
}
#else
QUERN_DETAIL_KERNEL_FUNCTION direct_tiles direct_for(kernel_set const& set) noexcept;
#endif

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
