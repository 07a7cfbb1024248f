// layout.hpp — k4n16, the one layout of packed weights, the same bytes on every machine.
//
// What is packing? A kernel wants the weights in the order in which it meets them. Every dot-product instruction takes four
// consecutive k of one column from one 32-bit lane, so four k of sixteen columns make a row of 64 bytes: one AVX-512 register,
// two AVX2 registers, one cache line, one row of an AMX tile. Rows of ascending k make a panel of sixteen columns, and panels
// follow each other:
//
//           columns 0..15                   columns 16..31
//       k   c0      c1          c15
//     0..3  b0b1b2b3b0b1b2b3 .. b0b1b2b3    ...                 panel p starts at data + p * panel_bytes
//     4..7  ...                                                 row r of it 64 * r behind
//
// 8-bit codes are stored signed: u8 weights as b - 128, so that every kernel meets s8 and the 128 goes into the zero point.
// 4-bit codes are stored unsigned (s4 as b + 8), eight k a row: the low nibbles hold k 0..3, the high ones k 4..7.
// k is padded with stored zeros to a multiple of 4 (8); columns are padded with zeros to a multiple of 16. One tile of zeros (1 KB)
// ends the data, so that a kernel which steps 64 k at a time may read beyond its panel.
//
// In front of the data lie, each on a 64-byte boundary: the header (128 bytes); int32 sums[groups][columns] of the stored codes,
// what zero-point corrections need; int32 positives[columns], the sum of the positive ones, which bounds the accumulator;
// uint16 pairs[panels], the largest |b0 + b1| of same-signed neighbours along k, which decides where vpmaddubsw is exact.
// All numbers are little-endian.
#pragma once

#include "../core/error.hpp"
#include "../core/views.hpp"

namespace quern {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "quern's packed weights are little-endian.");

/// The first 128 bytes of packed weights.
struct packed_header {
  char magic[8];                ///< "quern\0pk"
  std::uint32_t version;        ///< 1
  std::uint32_t header_bytes;   ///< 128
  std::uint8_t code_bits;       ///< 8 or 4
  std::uint8_t code_signed;     ///< 0 or 1
  std::uint16_t layout;         ///< 0x0410: k4n16
  std::uint32_t reserved;
  std::int64_t k, n;            ///< what was packed
  std::int64_t group;           ///< k a group of weights that share a scale; 0: no groups
  std::int64_t bytes;           ///< of everything, header included
  std::int64_t sums_at, positives_at, pairs_at, data_at;  ///< offsets from the header
  std::int64_t positive_max;    ///< largest positives[j]
  std::int64_t negative_max;    ///< largest positives[j] - sum over groups of sums[g][j]
  std::uint64_t checksum;       ///< of everything else
  std::uint64_t unused[2];
};
static_assert(sizeof(packed_header) == 128);

namespace detail {
inline namespace QUERN_ABI {

inline constexpr char packed_magic[8] = {'q', 'u', 'e', 'r', 'n', '\0', 'p', 'k'};
inline constexpr index_t panel_columns = 16, row_bytes = 64, tile_bytes = 1024;
inline constexpr index_t max_packed_k = 16'000'000;  // positives and sums of s8 codes stay within int32

constexpr index_t round_up(index_t x, index_t step) noexcept { return (x + step - 1) / step * step; }

/// Groups of `group` k, the last of which may be short. A group may be longer than k, however long.
constexpr index_t groups_of(index_t k, index_t group) noexcept { return group == 0 ? 1 : k > 0 ? (k - 1) / group + 1 : 0; }

/// Sizes and offsets that follow from the shape.
struct packed_shape {
  index_t k, n, group, groups, panels, rows;  // rows of 64 bytes a panel
  index_t sums_at, positives_at, pairs_at, data_at, bytes;

  constexpr static packed_shape of(index_t k, index_t n, index_t group, int bits) noexcept {
    packed_shape s{};
    s.k = k;
    s.n = n;
    s.group = group;
    s.groups = groups_of(k, group);
    s.panels = (n + panel_columns - 1) / panel_columns;
    index_t const k_a_row = bits == 4 ? 8 : 4;
    s.rows = (k + k_a_row - 1) / k_a_row;
    index_t const columns = s.panels * panel_columns;
    s.sums_at = static_cast<index_t>(sizeof(packed_header));
    s.positives_at = s.sums_at + s.groups * columns * 4;
    s.pairs_at = s.positives_at + columns * 4;
    s.data_at = round_up(s.pairs_at + s.panels * 2, 64);
    s.bytes = s.data_at + s.panels * s.rows * row_bytes + tile_bytes;
    return s;
  }
};

/// A 64-bit hash of `size` bytes: eight at a time, multiplied and folded (the constants are 2^64 over the golden ratio, and an odd
/// number without pattern). It finds damage, not forgery.
inline std::uint64_t checksum_of(unsigned char const* p, index_t size, std::uint64_t h = 0x9e3779b97f4a7c15u) noexcept {
  auto const mix = [](std::uint64_t a, std::uint64_t word) {
    a = (a ^ word) * 0xd6e8feb86659fd93u;
    return a ^ (a >> 32);
  };
  index_t i = 0;
  for (; i + 8 <= size; i += 8) {
    std::uint64_t word = 0;
    __builtin_memcpy(&word, p + i, 8);
    h = mix(h, word);
  }
  std::uint64_t last = static_cast<std::uint64_t>(size - i) << 56;
  for (int shift = 0; i < size && shift < 56; ++i, shift += 8) last |= static_cast<std::uint64_t>(p[i]) << shift;
  return mix(h, last);
}

/// The checksum of a blob, its own field taken as zero.
inline std::uint64_t packed_checksum(unsigned char const* blob, index_t bytes) noexcept {
  packed_header h{};
  __builtin_memcpy(&h, blob, sizeof(h));
  h.checksum = 0;
  std::uint64_t const head = checksum_of(reinterpret_cast<unsigned char const*>(&h), sizeof(h));
  return checksum_of(blob + sizeof(h), bytes - static_cast<index_t>(sizeof(h)), head);
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
