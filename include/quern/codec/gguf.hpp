// gguf.hpp — the blocks of GGUF files, byte for byte: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_K both ways; Q4_K, Q5_K, Q6_K to float.
//
//     Q8_0  32 values   x ≈ d q                  d f16                 34 bytes
//     Q4_0  32          x ≈ d (q - 8)            d f16                 18
//     Q4_1  32          x ≈ d q + m              d, m f16              20
//     Q5_0  32          x ≈ d (q - 16)           d f16, fifth bits     22
//     Q5_1  32          x ≈ d q + m              d, m f16, fifth bits  24
//     Q8_K  256         x ≈ d q                  d f32, sums of 16     292
//     Q4_K  256 = 8*32  x ≈ d s q - dmin t       6-bit s and t         144
//     Q5_K  256 = 8*32  the same with a fifth bit                      176
//     Q6_K  256 = 16*16 x ≈ d s (q - 32)         8-bit s               210
//
// Low nibbles hold the first half of what a run of bytes covers, high nibbles the second.
//
// @rounds  as ggml's reference C code: Q8_0 half away from zero, Q4_* and Q5_* floor(v + 1/2) of a non-negative v, Q8_K to even; codes
//          are computed with the float scale, the block stores it as f16.
// @source  ggml-org/ggml, src/ggml-quants.c, src/ggml-common.h. Little-endian.
#pragma once

#include "../core/reals.hpp"
#include "../core/type_list.hpp"
#include "../round/half_away.hpp"

QUERN_FP_BEGIN

namespace quern::codec {

struct block_q8_0 {
  static constexpr int size = 32;
  half d;
  std::int8_t q[32];
};
struct block_q4_0 {
  static constexpr int size = 32;
  half d;
  std::uint8_t q[16];
};
struct block_q4_1 {
  static constexpr int size = 32;
  half d, m;
  std::uint8_t q[16];
};
struct block_q5_0 {
  static constexpr int size = 32;
  half d;
  std::uint8_t high[4];
  std::uint8_t q[16];
};
struct block_q5_1 {
  static constexpr int size = 32;
  half d, m;
  std::uint8_t high[4];
  std::uint8_t q[16];
};
struct block_q8_k {
  static constexpr int size = 256;
  float d;
  std::int8_t q[256];
  std::int16_t sums[16];
};
struct block_q4_k {
  static constexpr int size = 256;
  half d, dmin;
  std::uint8_t scales[12];
  std::uint8_t q[128];
};
struct block_q5_k {
  static constexpr int size = 256;
  half d, dmin;
  std::uint8_t scales[12];
  std::uint8_t high[32];
  std::uint8_t q[128];
};
struct block_q6_k {
  static constexpr int size = 256;
  std::uint8_t low[128];
  std::uint8_t high[64];
  std::int8_t scales[16];
  half d;
};
static_assert(sizeof(block_q8_0) == 34 && sizeof(block_q4_0) == 18 && sizeof(block_q4_1) == 20 && sizeof(block_q5_0) == 22 &&
              sizeof(block_q5_1) == 24 && sizeof(block_q8_k) == 292 && sizeof(block_q4_k) == 144 && sizeof(block_q5_k) == 176 &&
              sizeof(block_q6_k) == 210, "the blocks lie in files as they lie in memory");

using gguf_blocks = type_list<block_q8_0, block_q4_0, block_q4_1, block_q5_0, block_q5_1, block_q8_k, block_q4_k, block_q5_k, block_q6_k>;

namespace gguf_detail {
inline namespace QUERN_ABI {

/// The value of largest magnitude, sign kept, the first one on ties.
constexpr float signed_max(float const* x, int n) noexcept {
  float largest = 0, found = 0;
  for (int i = 0; i < n; ++i)
    if (abs_of(x[i]) > largest) largest = abs_of(x[i]), found = x[i];
  return found;
}
constexpr float inverse(float d) noexcept { return d != 0 ? 1.0f / d : 0.0f; }
constexpr unsigned truncated(float v, unsigned top) noexcept {
  auto const q = static_cast<unsigned>(static_cast<int>(v));
  return q < top ? q : top;
}
struct low_high {
  float low, high;
};
constexpr low_high extremes(float const* x, int n) noexcept {
  low_high r{x[0], x[0]};
  for (int i = 1; i < n; ++i) r.low = x[i] < r.low ? x[i] : r.low, r.high = x[i] > r.high ? x[i] : r.high;
  return r;
}
/// The j-th of eight 6-bit scales and 6-bit minima in 12 bytes.
struct scale_min {
  int scale, min;
};
constexpr scale_min unpack_6_bit(std::uint8_t const* p, int j) noexcept {
  if (j < 4) return {p[j] & 63, p[j + 4] & 63};
  return {(p[j + 4] & 15) | ((p[j - 4] >> 6) << 4), (p[j + 4] >> 4) | ((p[j] >> 6) << 4)};
}

}  // inline namespace QUERN_ABI
}  // namespace gguf_detail

inline namespace QUERN_ABI {

// encode(x, block): x holds block.size finite values.

constexpr void encode(float const* x, block_q8_0& b) noexcept {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = abs_of(x[i]) > largest ? abs_of(x[i]) : largest;
  float const d = largest / 127.0f, id = gguf_detail::inverse(d);
  b.d = half(d);
  for (int i = 0; i < 32; ++i) b.q[i] = static_cast<std::int8_t>(round_to::half_away::to_integral(rounded(x[i] * id)));
}
constexpr void encode(float const* x, block_q4_0& b) noexcept {
  float const d = gguf_detail::signed_max(x, 32) / -8.0f, id = gguf_detail::inverse(d);
  b.d = half(d);
  for (int i = 0; i < 16; ++i) {
    unsigned const low = gguf_detail::truncated(rounded(x[i] * id) + 8.5f, 15), high = gguf_detail::truncated(rounded(x[i + 16] * id) + 8.5f, 15);
    b.q[i] = static_cast<std::uint8_t>(low | (high << 4));
  }
}
constexpr void encode(float const* x, block_q4_1& b) noexcept {
  auto const r = gguf_detail::extremes(x, 32);
  float const d = (r.high - r.low) / 15.0f, id = gguf_detail::inverse(d);
  b.d = half(d);
  b.m = half(r.low);
  for (int i = 0; i < 16; ++i) {
    unsigned const low = gguf_detail::truncated(rounded((x[i] - r.low) * id) + 0.5f, 15);
    unsigned const high = gguf_detail::truncated(rounded((x[i + 16] - r.low) * id) + 0.5f, 15);
    b.q[i] = static_cast<std::uint8_t>(low | (high << 4));
  }
}
constexpr void encode(float const* x, block_q5_0& b) noexcept {
  float const d = gguf_detail::signed_max(x, 32) / -16.0f, id = gguf_detail::inverse(d);
  b.d = half(d);
  std::uint32_t fifth = 0;
  for (int i = 0; i < 16; ++i) {
    unsigned const low = gguf_detail::truncated(rounded(x[i] * id) + 16.5f, 31), high = gguf_detail::truncated(rounded(x[i + 16] * id) + 16.5f, 31);
    b.q[i] = static_cast<std::uint8_t>((low & 15) | ((high & 15) << 4));
    fifth |= (low >> 4) << i | (high >> 4) << (i + 16);
  }
  for (int k = 0; k < 4; ++k) b.high[k] = static_cast<std::uint8_t>(fifth >> (8 * k));
}
constexpr void encode(float const* x, block_q5_1& b) noexcept {
  auto const r = gguf_detail::extremes(x, 32);
  float const d = (r.high - r.low) / 31.0f, id = gguf_detail::inverse(d);
  b.d = half(d);
  b.m = half(r.low);
  std::uint32_t fifth = 0;
  for (int i = 0; i < 16; ++i) {
    unsigned const low = gguf_detail::truncated(rounded((x[i] - r.low) * id) + 0.5f, 31);
    unsigned const high = gguf_detail::truncated(rounded((x[i + 16] - r.low) * id) + 0.5f, 31);
    b.q[i] = static_cast<std::uint8_t>((low & 15) | ((high & 15) << 4));
    fifth |= (low >> 4) << i | (high >> 4) << (i + 16);
  }
  for (int k = 0; k < 4; ++k) b.high[k] = static_cast<std::uint8_t>(fifth >> (8 * k));
}
constexpr void encode(float const* x, block_q8_k& b) noexcept {
  float const most = gguf_detail::signed_max(x, 256);
  float const inverse = most != 0 ? -127.0f / most : 0.0f;
  b.d = most != 0 ? 1.0f / inverse : 0.0f;
  for (int g = 0; g < 16; ++g) {
    int sum = 0;
    for (int i = 16 * g; i < 16 * g + 16; ++i) {
      float const magic = 12582912.0f;
      int const q = static_cast<int>(rounded(rounded(inverse * x[i]) + magic) - magic);
      b.q[i] = static_cast<std::int8_t>(q > 127 ? 127 : q);
      sum += b.q[i];
    }
    b.sums[g] = static_cast<std::int16_t>(sum);
  }
}

// decode(block, y): y has room for block.size values.

constexpr void decode(block_q8_0 const& b, float* y) noexcept {
  for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(b.q[i]) * static_cast<float>(b.d);
}
constexpr void decode(block_q4_0 const& b, float* y) noexcept {
  float const d = b.d;
  for (int i = 0; i < 16; ++i) y[i] = static_cast<float>((b.q[i] & 15) - 8) * d, y[i + 16] = static_cast<float>((b.q[i] >> 4) - 8) * d;
}
constexpr void decode(block_q4_1 const& b, float* y) noexcept {
  float const d = b.d, m = b.m;
  for (int i = 0; i < 16; ++i) {
    y[i] = rounded(static_cast<float>(b.q[i] & 15) * d) + m;
    y[i + 16] = rounded(static_cast<float>(b.q[i] >> 4) * d) + m;
  }
}
constexpr void decode(block_q5_0 const& b, float* y) noexcept {
  float const d = b.d;
  for (int i = 0; i < 32; ++i) {
    int const nibble = i < 16 ? b.q[i] & 15 : b.q[i - 16] >> 4;
    y[i] = static_cast<float>((nibble | (((b.high[i / 8] >> (i % 8)) & 1) << 4)) - 16) * d;
  }
}
constexpr void decode(block_q5_1 const& b, float* y) noexcept {
  float const d = b.d, m = b.m;
  for (int i = 0; i < 32; ++i) {
    int const nibble = i < 16 ? b.q[i] & 15 : b.q[i - 16] >> 4;
    y[i] = rounded(static_cast<float>(nibble | (((b.high[i / 8] >> (i % 8)) & 1) << 4)) * d) + m;
  }
}
constexpr void decode(block_q8_k const& b, float* y) noexcept {
  for (int i = 0; i < 256; ++i) y[i] = b.d * static_cast<float>(b.q[i]);
}
constexpr void decode(block_q4_k const& b, float* y) noexcept {
  float const d = b.d, dmin = b.dmin;
  for (int j = 0; j < 8; ++j) {
    auto const s = gguf_detail::unpack_6_bit(b.scales, j);
    float const scale = d * static_cast<float>(s.scale), offset = dmin * static_cast<float>(s.min);
    for (int l = 0; l < 32; ++l) {
      int const byte = b.q[32 * (j / 2) + l];
      y[32 * j + l] = rounded(scale * static_cast<float>(j % 2 ? byte >> 4 : byte & 15)) - offset;
    }
  }
}
constexpr void decode(block_q5_k const& b, float* y) noexcept {
  float const d = b.d, dmin = b.dmin;
  for (int j = 0; j < 8; ++j) {
    auto const s = gguf_detail::unpack_6_bit(b.scales, j);
    float const scale = d * static_cast<float>(s.scale), offset = dmin * static_cast<float>(s.min);
    for (int l = 0; l < 32; ++l) {
      int const byte = b.q[32 * (j / 2) + l];
      int const q = (j % 2 ? byte >> 4 : byte & 15) | (((b.high[l] >> j) & 1) << 4);
      y[32 * j + l] = rounded(scale * static_cast<float>(q)) - offset;
    }
  }
}
constexpr void decode(block_q6_k const& b, float* y) noexcept {
  float const d = b.d;
  for (int i = 0; i < 256; ++i) {
    int const part = i / 128, run = (i % 128) / 32, l = i % 32;  // run 0, 1: low nibbles of 64 bytes; 2, 3: their high nibbles
    int const byte = b.low[64 * part + 32 * (run % 2) + l];
    int const q = ((run < 2 ? byte & 15 : byte >> 4) | (((b.high[32 * part + l] >> (2 * run)) & 3) << 4)) - 32;
    y[i] = rounded(d * static_cast<float>(b.scales[8 * part + 2 * run + l / 16])) * static_cast<float>(q);
  }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::codec

QUERN_FP_END
