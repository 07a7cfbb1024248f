// nvfp4.hpp — NVIDIA's 4-bit blocks: 16 e2m1 values share an e4m3 scale, all blocks share one float.
//
//     tensor = max|x| / (6 * 448)        block = e4m3(max|x_block| / (6 * tensor))        code = e2m1(x / (block * tensor))
//
// @rounds  scales and codes to nearest even. A block scale of 0 becomes 1, others are kept within [2^-9, 448].
// @source  NVIDIA Model Optimizer, NVFP4QTensor; "four over six" (choosing 4 or 6 as a block's top level) as in its presets.
#pragma once

#include "../core/error.hpp"
#include "../core/views.hpp"
#include "minifloat.hpp"

QUERN_FP_BEGIN

namespace quern::codec {

inline constexpr index_t nvfp4_block = 16;

/// Which level a block's largest value becomes.
enum class nvfp4_top {
  six,            ///< always 6
  four_or_six     ///< whichever has the smaller squared error: 4 avoids the gap between 4 and 6
};

inline namespace QUERN_ABI {

/// The scale that all blocks share; 1 for a tensor of zeros. Non-finite values are left out.
constexpr float nvfp4_tensor_scale(vector_view<float const> x) noexcept {
  float largest = 0;
  for (index_t i = 0; i < x.size; ++i)
    if (is_finite(x[i]) && abs_of(x[i]) > largest) largest = abs_of(x[i]);
  return largest == 0 ? 1.0f : largest / (6.0f * 448.0f);
}

/// One e2m1 code: to nearest even; -0 becomes 0, NaN becomes 6, as the toolkit does.
constexpr std::uint8_t nvfp4_code(float v) noexcept {
  if (is_nan(v)) return 7;
  std::uint8_t const code = float4_e2m1::encode(v);
  return code == 8 ? std::uint8_t{0} : code;
}

namespace nvfp4_detail {
struct trial {
  float8_e4m3fn scale;
  double error;
};
constexpr trial try_block(vector_view<float const> block, float largest, float tensor_scale, float top) noexcept {
  float b = largest / (top * tensor_scale);
  b = b == 0 ? 1.0f : b < 0.001953125f ? 0.001953125f : b > 448.0f ? 448.0f : b;
  float8_e4m3fn const scale(b);
  float const step = static_cast<float>(scale) * tensor_scale;
  double error = 0;
  for (index_t i = 0; i < block.size; ++i) {
    double const e = static_cast<double>(rounded(float4_e2m1::decode(nvfp4_code(block[i] / step)) * step)) - block[i];
    error += rounded(e * e);
  }
  return {scale, error};
}
}  // namespace nvfp4_detail

/// Encodes up to 16 values, an element a byte, and returns the block's scale.
/// @errors capacity when codes is shorter than src; argument when src is longer than a block or tensor_scale is no scale.
constexpr float8_e4m3fn nvfp4_encode(vector_view<float const> src, float tensor_scale, vector_view<std::uint8_t> codes,
                                     nvfp4_top top = nvfp4_top::six) {
  if (src.size > nvfp4_block) fail(errc::argument, "nvfp4_encode: src has ", src.size, " values; a block has at most ", nvfp4_block, ".");
  if (codes.size < src.size) fail(errc::capacity, "nvfp4_encode: codes has ", codes.size, " bytes, src ", src.size, " values; each takes one.");
  if (!(tensor_scale > 0) || !is_finite(tensor_scale))
    fail(errc::scale, "nvfp4_encode: tensor_scale is ", static_cast<double>(tensor_scale), "; it must be finite and greater than zero.");
  float largest = 0;
  for (index_t i = 0; i < src.size; ++i)
    if (is_finite(src[i]) && abs_of(src[i]) > largest) largest = abs_of(src[i]);
  auto chosen = nvfp4_detail::try_block(src, largest, tensor_scale, 6.0f);
  if (top == nvfp4_top::four_or_six) {
    auto const other = nvfp4_detail::try_block(src, largest, tensor_scale, 4.0f);
    if (other.error < chosen.error) chosen = other;
  }
  float const step = static_cast<float>(chosen.scale) * tensor_scale;
  for (index_t i = 0; i < src.size; ++i) codes[i] = nvfp4_code(src[i] / step);
  return chosen.scale;
}

/// dst_i = e2m1(codes_i) * (scale * tensor_scale). @errors capacity.
constexpr void nvfp4_decode(float8_e4m3fn scale, float tensor_scale, vector_view<std::uint8_t const> codes, vector_view<float> dst) {
  if (dst.size < codes.size) fail(errc::capacity, "nvfp4_decode: dst has ", dst.size, " values, codes ", codes.size, "; it must have room for all.");
  float const step = static_cast<float>(scale) * tensor_scale;
  for (index_t i = 0; i < codes.size; ++i) dst[i] = float4_e2m1::decode(codes[i]) * step;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::codec

QUERN_FP_END
