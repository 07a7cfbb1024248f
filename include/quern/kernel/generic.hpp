// generic.hpp — the tiles in plain C++, for every CPU; all other kernels give the same sums.
#pragma once

#include "kernel_set.hpp"

namespace quern::kernel {
inline namespace QUERN_ABI {
namespace generic {

template <int M, bool Nibbles>
inline void tile(tile_job const& job) {
  constexpr int k_a_step = Nibbles ? 8 : 4;
  for (index_t first = 0; first < job.count * M; first += M) {
    std::int32_t c[M][16];
    for (int r = 0; r < M; ++r)
      for (int j = 0; j < 16; ++j) c[r][j] = job.init[(first + r) * job.init_ld + j];
    for (index_t step = 0; step < job.steps; ++step)
      for (int r = 0; r < M; ++r) {
        std::int16_t a[k_a_step];
        __builtin_memcpy(a, job.lhs + (first + r) * job.lhs_stride + step * k_a_step * 2, sizeof(a));
        for (int j = 0; j < 16; ++j) {
          unsigned char const* const b = job.rhs + step * 64 + j * 4;
          std::int32_t sum = 0;
          for (int t = 0; t < 4; ++t)
            if constexpr (Nibbles)
              sum += a[t] * (b[t] & 15) + a[4 + t] * (b[t] >> 4);
            else
              sum += a[t] * static_cast<signed char>(b[t]);
          c[r][j] = static_cast<std::int32_t>(static_cast<std::uint32_t>(c[r][j]) + static_cast<std::uint32_t>(sum));
        }
      }
    for (int r = 0; r < M; ++r)
      for (int j = 0; j < 16; ++j) job.acc[(first + r) * job.ld + j] = c[r][j];
  }
}

inline void copy(lhs_rows const& from, index_t padded, unsigned char* to, std::int32_t* sums) {
  auto const* src = static_cast<unsigned char const*>(from.src);
  for (index_t r = 0; r < from.rows; ++r, src += from.stride, to += from.to_stride) {
    auto* const dst = reinterpret_cast<std::int16_t*>(to);
    std::int32_t sum = 0;
    for (index_t i = 0; i < from.count; ++i) sum += dst[i] = one_word(src, i, from.kind);
    for (index_t i = from.count; i < padded; ++i) dst[i] = 0;
    if (sums != nullptr) sums[r] = sum;
  }
}

inline void unpack(unsigned char const* src, index_t rows, unsigned char* dst) {
  for (index_t i = 0; i < rows; ++i)
    for (int j = 0; j < 64; ++j) {
      dst[i * 128 + j] = src[i * 64 + j] & 15;
      dst[i * 128 + 64 + j] = src[i * 64 + j] >> 4;
    }
}

}  // namespace generic

inline kernel_set const& generic_kernels() noexcept {
  static constexpr tile_kernel tiles[] = {{1, 1, &generic::tile<1, false>}, {4, 1, &generic::tile<4, false>}};
  static constexpr tile_kernel nibble_tiles[] = {{1, 1, &generic::tile<1, true>}};
  static constexpr kernel_set set{.name = "generic",
                                  .needs = isa::baseline,
                                  .form = lhs_form::words,
                                  .tiles = tiles,
                                  .tile_count = 2,
                                  .nibble_tiles = nibble_tiles,
                                  .nibble_tile_count = 1,
                                  .copy = &generic::copy,
                                  .unpack = &generic::unpack};
  return set;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
