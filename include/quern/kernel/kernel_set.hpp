// kernel_set.hpp — what an instruction set brings to a product: tiles, a way to copy lhs, a way to unpack 4-bit weights.
//
//                 16 columns   16 columns  (panels, pack/layout.hpp)
//     lhs block  +------------+------------+
//     M rows of  |            |            |     acc[r, c] = init[r, c] + sum over steps of four k of lhs * rhs
//     1,024      |   one tile: M x 16 N    |
//     bytes      +------------+------------+
//
// lhs is copied in blocks of rows: signs are made what the instruction wants (s8 + 128 for one that takes u8), odd strides and tails
// of k vanish, and row sums fall off. It costs one load and one store for 64 bytes that are then used n / 16 times or more. Where
// nothing of that is needed and n is small, tiles read lhs where it lies.
//
// A tile computes nothing but integers: zero points, scales and rounding are the epilogue's. All tiles give the same sums.
#pragma once

#include "../cpu/isa.hpp"
#include "../core/integers.hpp"

namespace quern::kernel {

/// Bytes of one row of a copied block of lhs. The stride is an odd number of cache lines, so that no two rows of a tile fall into
/// the same set of L1.
inline constexpr index_t lhs_block = 1024, lhs_stride = lhs_block + 64;

/// No tile reads lhs in larger pieces: a row of a multiple of this many bytes is read no further than it goes.
inline constexpr index_t lhs_round = 32;

/// How lhs is copied.
enum class lhs_form : unsigned char {
  bytes,  ///< u8: s8 codes as code + 128
  words   ///< s16: the codes themselves
};

/// The commonest epilogue, which tiles apply while accumulators are in registers: an 8-bit destination, one scale a column, nothing
/// else. dst = clamp(half_even(f32(acc) * scale) + zero_point); epilogue/body.inl says why saturating first is the same. Every scale is
/// below one, so that no product leaves int32.
struct tile_scaling {
  bool clamped = false;    ///< lo and hi are not int8's own, or flip is not 0
  std::int16_t shift = 0;  ///< the zero point; like lo and hi less 128 for u8
  std::int8_t lo = 0, hi = 0;
  std::int8_t flip = 0;    ///< what makes these signed codes those of dst: 0, or -128 for u8
  index_t stride = 0;      ///< bytes from row to row of dst
};

/// `count` tiles below each other, or beside each other: acc[r * ld + c] = init[r * init_ld + c] + sum; r < count * M, c < 16 N. `steps` rows of 64 bytes of rhs (4 k each; 8 k when
/// packed by nibbles). lhs has zeros behind its last k, or anything in memory that may be read while rhs has zeros there, up to
/// `lhs_round` bytes.
struct tile_job {
  unsigned char const* lhs = nullptr;
  index_t lhs_stride = 0;
  unsigned char const* rhs = nullptr;
  index_t panel_bytes = 0, steps = 0, count = 1;
  std::int32_t const* init = nullptr;
  index_t init_ld = 0;
  std::int32_t* acc = nullptr;
  index_t ld = 0;
  tile_scaling const* scaling = nullptr;  ///< unless null, these two take the result instead of acc
  float const* scales = nullptr;          ///< of the tile's columns
  unsigned char* dst = nullptr;
  unsigned char const* ahead = nullptr;   ///< rhs that comes later, panel_bytes a tile: the first `ahead_tiles` tiles fetch it into L2
  index_t ahead_tiles = 0;
  int live = 0;                           ///< columns that the destination has, of sets that store the first of a row; 0: all
  bool across = false;                    ///< tiles are beside each other; of sets that scale
  bool fetches_acc = false;               ///< acc is somewhere in memory: fetched into L2 before the products
};

using tile_function = void (*)(tile_job const& job);

struct tile_kernel {
  int rows = 0, panels = 0;
  tile_function run = nullptr;
  tile_function flipped = nullptr;  ///< null, or the same with lhs as s8, made code + 128 on the way into registers
};

/// Rows of codes to copy: `rows` rows of `count` codes, `stride` bytes apart. `kind`: 0 u8, 1 s8, 2 s16 (words only).
struct lhs_rows {
  void const* src;
  index_t stride, rows, count;
  int kind;
  index_t to_stride = lhs_stride;  ///< of the copy
};

/// Copies rows to dst (to_stride apart), zeros behind each up to `padded` codes. `sums`, unless null, gets the sum of each copied
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
  bool scales = false;       ///< tiles heed tile_job::scaling
  bool stores_first = false;  ///< and tile_job::live
  bool tiled = false;        ///< AMX: blocks of x86_amx.hpp instead of tiles, codes copied as they are
  tile_kernel const* tiles = nullptr;    ///< by panels, then rows, ascending
  int tile_count = 0;
  tile_kernel const* nibble_tiles = nullptr;  ///< one panel, 1..nibble_tile_count rows, rhs by nibbles
  tile_kernel const* nibble_pairs = nullptr;  ///< null, or the same with two panels
  int nibble_tile_count = 0;
  copy_function copy = nullptr;
  unpack_function unpack = nullptr;
};

}  // namespace quern::kernel
