// nf4.hpp — 4-bit NormalFloat: 16 levels at quantiles of the normal distribution, 0 and both ends of [-1, 1] among them.
//
//     x ≈ absmax(block) * level[code]           code = the nearest level, the lower one on ties
//
// The levels are quantiles of N(0, 1) at evenly spaced probabilities from 0.5 to 0.9677083 (8 steps up, 7 down), over the largest;
// tests/codec recomputes them.
//
// @source  Dettmers et al. 2023, QLoRA, arXiv:2305.14314, appendix E; bitsandbytes' table.
#pragma once

#include "../core/error.hpp"
#include "../core/math.hpp"
#include "../core/views.hpp"

QUERN_FP_BEGIN

namespace quern::codec {

inline constexpr float nf4_levels[16] = {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
                                         -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
                                         0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
                                         0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};

inline namespace QUERN_ABI {

/// The nearest level's code for x in [-1, 1]; beyond it the end's, NaN gives 0.0's.
constexpr std::uint8_t nf4_code(float x) noexcept {
  if (is_nan(x)) return 7;
  std::uint8_t code = 0;
  while (code < 15 && x > 0.5f * (nf4_levels[code] + nf4_levels[code + 1])) ++code;
  return code;
}

/// Encodes a block (64 values usually), a code a byte; returns its absmax, 0 for zeros. Non-finite values are left out of it.
/// @errors capacity when codes is shorter than src.
constexpr float nf4_encode(vector_view<float const> src, vector_view<std::uint8_t> codes) {
  if (codes.size < src.size) fail(errc::capacity, "nf4_encode: codes has ", codes.size, " bytes, src ", src.size, " values; each takes one.");
  float largest = 0;
  for (index_t i = 0; i < src.size; ++i)
    if (is_finite(src[i]) && abs_of(src[i]) > largest) largest = abs_of(src[i]);
  for (index_t i = 0; i < src.size; ++i) codes[i] = largest == 0 ? nf4_code(0) : nf4_code(src[i] / largest);
  return largest;
}

/// @errors capacity when dst is shorter than codes.
constexpr void nf4_decode(float absmax, vector_view<std::uint8_t const> codes, vector_view<float> dst) {
  if (dst.size < codes.size) fail(errc::capacity, "nf4_decode: dst has ", dst.size, " values, codes ", codes.size, "; it must have room for all.");
  for (index_t i = 0; i < codes.size; ++i) dst[i] = nf4_levels[codes[i] & 15] * absmax;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::codec

QUERN_FP_END
