// kernel_set.hpp — what an instruction set brings to a product: tiles, a way to copy lhs, a way to unpack 4-bit weights.
//
//                 16 columns   16 columns  (panels, pack/layout.hpp)
//     lhs block  +------------+------------+
//     M rows of  |            |            |     acc[r, c] = init[r, c] + sum over steps of four k of lhs * rhs
//     1,024      |   one tile: M x 16 N    |
//     bytes      +------------+------------+
//
// lhs is always copied: rows of at most `lhs_block` bytes at a fixed distance, so that a kernel reaches M of them from one pointer
// with constant offsets; signs are made what the instruction wants (s8 + 128 for one that takes u8), odd strides and tails of k
// vanish, and row sums fall off. It costs one load and one store for 64 bytes that are then used n / 16 times or more.
//
// A tile computes nothing but integers: zero points, scales and rounding are the epilogue's. All tiles give the same sums.
#pragma once

#include "../cpu/isa.hpp"
#include "../core/integers.hpp"

namespace quern::kernel {

/// Bytes of one row of a copied block of lhs. The stride is an odd number of cache lines, so that no two rows of a tile fall into
/// the same set of L1.
inline constexpr index_t lhs_block = 1024, lhs_stride = lhs_block + 64;

/// How lhs is copied.
enum class lhs_form : unsigned char {
  bytes,  ///< u8: s8 codes as code + 128
  words   ///< s16: the codes themselves
};

/// acc[r * ld + c] = init[r * init_ld + c] + sum; r < M, c < 16 N. `steps` rows of 64 bytes of rhs (4 k each; 8 k when packed by
/// nibbles). lhs has lhs_stride bytes a row and zeros behind its last k, up to an even number of steps.
using tile_function = void (*)(unsigned char const* lhs, unsigned char const* rhs, index_t panel_bytes, index_t steps,
                               std::int32_t const* init, index_t init_ld, std::int32_t* acc, index_t ld);

struct tile_kernel {
  int rows = 0, panels = 0;
  tile_function run = nullptr;
};

/// Rows of codes to copy: `rows` rows of `count` codes, `stride` bytes apart. `kind`: 0 u8, 1 s8, 2 s16 (words only).
struct lhs_rows {
  void const* src;
  index_t stride, rows, count;
  int kind;
};

/// Copies rows to dst (lhs_stride apart), zeros behind each up to `padded` codes. `sums`, unless null, gets the sum of each copied
/// row (of code + 128 where that is the form).
using copy_function = void (*)(lhs_rows const& from, index_t padded, unsigned char* dst, std::int32_t* sums);

/// Expands `rows` rows of nibbles into twice as many rows of bytes.
using unpack_function = void (*)(unsigned char const* src, index_t rows, unsigned char* dst);

inline namespace QUERN_ABI {
/// Code i of a row, widened.
QUERN_INLINE std::int16_t one_word(unsigned char const* row, index_t i, int kind) noexcept {
  if (kind == 2) {
    std::int16_t word = 0;
    __builtin_memcpy(&word, row + 2 * i, 2);
    return word;
  }
  return kind == 1 ? std::int16_t{static_cast<signed char>(row[i])} : std::int16_t{row[i]};
}
}  // inline namespace QUERN_ABI

struct kernel_set {
  char const* name = nullptr;
  isa needs = isa::baseline;
  lhs_form form = lhs_form::words;
  bool needs_proof = false;  ///< exact only while lhs_max * pairs[panel] <= 32767 (vpmaddubsw)
  bool tiled = false;        ///< AMX: blocks of x86_amx.hpp instead of tiles, codes copied as they are
  tile_kernel const* tiles = nullptr;    ///< by panels, then rows, ascending
  int tile_count = 0;
  tile_kernel const* nibble_tiles = nullptr;  ///< one panel, 1..nibble_tile_count rows, rhs by nibbles
  int nibble_tile_count = 0;
  copy_function copy = nullptr;
  unpack_function unpack = nullptr;
};

}  // namespace quern::kernel
