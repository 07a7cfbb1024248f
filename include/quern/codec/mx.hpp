// mx.hpp — OCP Microscaling blocks: 32 elements of 8, 6 or 4 bits share one power of two.
//
//     X = 2^(floor(log2 max|v|) - emax)        P_i = element(v_i / X), saturating        v_i ≈ X * P_i
//
// Because of the floor, a block whose largest value lies between the element's largest number and 2^(emax + 1) saturates there
// (7.9 in FP4 becomes 6). mx_scale::ceil is the rule that never does (NVIDIA's, at the price of a coarser step for some blocks).
//
//     OCP                        floor   to even            mx_encode<E>(x, codes)
//     microxcaling (default)     floor   away from zero     mx_encode<E>(x, codes, mx_scale::floor, ties::away)
//     Model Optimizer, MXFP8     ceil    to even            mx_encode<E>(x, codes, mx_scale::ceil)
//     Model Optimizer, MXFP4     floor   toward zero        mx_encode<float4_e2m1>(x, codes, mx_scale::floor, ties::toward_zero)
//     ggml, MXFP4                floor   toward zero        the same numbers; it writes 0 for what becomes -0
//
// @source  OCP Microscaling Formats (MX) 1.0, section 6.3; microsoft/microxcaling mx/{mx_ops,elemwise_ops}.py; NVIDIA Model Optimizer
//          modelopt/torch/quantization/qtensor; ggml-org/ggml src/ggml-quants.c.
#pragma once

#include "../core/error.hpp"
#include "../core/views.hpp"
#include "minifloat.hpp"

namespace quern::codec {

inline constexpr index_t mx_block = 32;

/// MXINT8's element: two's complement in steps of 2^-6. Code -128 is never made.
struct mx_int8 {
  static constexpr int max_exponent = 0;
  static constexpr int total_bits = 8;
  std::uint8_t bits = 0;
  QUERN_INLINE static constexpr float max() noexcept { return 127.0f / 64; }
  QUERN_INLINE static constexpr std::uint8_t encode(float x, overflow = overflow::saturate, ties t = ties::to_even) noexcept {
    if (is_nan(x)) return 0;
    int const q = abs_of(x) >= 2 ? 127 : static_cast<int>(nearest_unit(abs_of(x) * 64.0f, t)), magnitude = q > 127 ? 127 : q;
    return static_cast<std::uint8_t>(static_cast<std::int8_t>(x < 0 ? -magnitude : magnitude));
  }
  QUERN_INLINE static constexpr float decode(unsigned code) noexcept {
    return static_cast<float>(static_cast<std::int8_t>(code)) / 64.0f;
  }
};

using mx_elements = type_list<float8_e4m3fn, float8_e5m2, float6_e2m3, float6_e3m2, float4_e2m1, mx_int8>;

enum class mx_scale { floor, ceil };

inline namespace QUERN_ABI {

/// The shared scale of one block. 2^-127 for a block of zeros, NaN when a value is NaN or infinite.
template <class Element>
constexpr float8_e8m0 mx_scale_of(vector_view<float const> block, mx_scale rule = mx_scale::floor) noexcept {
  float largest = 0;
  for (index_t i = 0; i < block.size; ++i) {
    if (!is_finite(block[i])) return float8_e8m0::from_bits(0xff);
    largest = abs_of(block[i]) > largest ? abs_of(block[i]) : largest;
  }
  if (largest == 0) return float8_e8m0::from_bits(0);
  int e = 0;
  if (rule == mx_scale::floor) {
    e = frexp_of(largest).exponent - 1 - Element::max_exponent;
  } else {  // the least power of two with largest / 2^e <= Element::max()
    e = frexp_of(largest).exponent - frexp_of(Element::max()).exponent;
    if (ldexp_of(static_cast<double>(Element::max()), e) < largest) ++e;
  }
  e = e < -127 ? -127 : e > 127 ? 127 : e;
  return float8_e8m0::from_bits(static_cast<unsigned>(e + 127));
}

/// Encodes one block (up to 32 values), an element a byte, in its low bits. Elements of a NaN block are all 0.
/// @errors capacity when codes is shorter than src; argument when src is longer than a block.
template <class Element>
constexpr float8_e8m0 mx_encode(vector_view<float const> src, vector_view<std::uint8_t> codes, mx_scale rule = mx_scale::floor,
                                ties t = ties::to_even) {
  if (src.size > mx_block) fail(errc::argument, "mx_encode: src has ", src.size, " values; a block has at most ", mx_block, ".");
  if (codes.size < src.size) fail(errc::capacity, "mx_encode: codes has ", codes.size, " bytes, src ", src.size, " values; each takes one.");
  float8_e8m0 const scale = mx_scale_of<Element>(src, rule);
  int const e = static_cast<int>(scale.bits) - 127;
  for (index_t i = 0; i < src.size; ++i) codes[i] = scale.bits == 0xff ? std::uint8_t{0} : Element::encode(ldexp_of(src[i], -e), overflow::saturate, t);
  return scale;
}

/// dst_i = scale * element(codes_i). @errors capacity when dst is shorter than codes.
template <class Element>
constexpr void mx_decode(float8_e8m0 scale, vector_view<std::uint8_t const> codes, vector_view<float> dst) {
  if (dst.size < codes.size) fail(errc::capacity, "mx_decode: dst has ", dst.size, " values, codes ", codes.size, "; it must have room for all.");
  int const e = static_cast<int>(scale.bits) - 127;
  for (index_t i = 0; i < codes.size; ++i)
    dst[i] = scale.bits == 0xff ? static_cast<float>(scale) : ldexp_of(Element::decode(codes[i]), e);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::codec
