// minifloat.hpp — floats of 8, 6 and 4 bits: one definition, six formats, every code exact.
//
//     format        s/e/m   bias   largest   smallest   infinity   NaN                    used by
//     e4m3fn        1/4/3      7       448       2^-9   no         S.1111.111             OCP FP8, NVIDIA, ONNX
//     e5m2          1/5/2     15     57344      2^-16   yes        other S.11111          OCP FP8, gradients
//     e4m3fnuz      1/4/3      8       240      2^-10   no         0x80; no -0            AMD, Graphcore
//     e5m2fnuz      1/5/2     16     57344      2^-17   no         0x80; no -0            AMD, Graphcore
//     e3m2          1/3/2      3        28       2^-4   no         no                     OCP MXFP6
//     e2m3          1/2/3      1       7.5       2^-3   no         no                     OCP MXFP6
//     e2m1          1/2/1      1         6        0.5   no         no                     OCP MXFP4, NVFP4
//
// @rounds  to nearest even (`ties` has the vendors' choices), once, from the float; values that round beyond the largest saturate or become infinity / NaN.
// @source  OCP OFP8 1.0, OCP Microscaling Formats 1.0, ONNX float8/float4 notes. A NaN becomes -0 (code 0x8) in the formats without
//          one, as in ONNX's e2m1 cast.
#pragma once

#include "../core/elementary.hpp"
#include "../core/type_list.hpp"

namespace quern::codec {

/// What the top codes mean.
enum class specials {
  ieee,     ///< the top exponent holds infinity and NaN
  nan,      ///< only the very top code of either sign is NaN
  fnuz,     ///< finite, unsigned zero: the code of -0 is NaN
  none      ///< every code is a number
};

/// What becomes of a value beyond the largest, infinity included.
enum class overflow { saturate, to_special };

/// Where a value goes that lies half-way between two codes. The standards take the even code; microxcaling's default is away from zero;
/// ggml and Model Optimizer's MXFP4 take the smaller magnitude.
enum class ties { to_even, away, toward_zero };

/// A non-negative number of at most 2^22 to an integer.
QUERN_INLINE constexpr unsigned nearest_unit(float units, ties t) noexcept {
  if (t == ties::to_even) {
    float const magic = 12582912.0f;  // 1.5 * 2^23
    return static_cast<unsigned>(rounded(units + magic) - magic);
  }
  auto const below = static_cast<unsigned>(units);
  float const rest = units - static_cast<float>(below);  // exact
  return below + (rest > 0.5f || (rest == 0.5f && t == ties::away) ? 1u : 0u);
}

/// A float of 1 + Exponent + Mantissa bits in the low bits of a byte.
template <int Exponent, int Mantissa, int Bias, specials Specials>
struct minifloat {
  static constexpr int exponent_bits = Exponent, mantissa_bits = Mantissa, bias = Bias, total_bits = 1 + Exponent + Mantissa;
  static constexpr specials special_codes = Specials;
  static constexpr unsigned sign_mask = 1u << (Exponent + Mantissa), magnitude_mask = sign_mask - 1;
  /// The code of the largest number, and its exponent.
  static constexpr unsigned max_code = Specials == specials::ieee ? magnitude_mask - (1u << Mantissa)
                                       : Specials == specials::nan ? magnitude_mask - 1 : magnitude_mask;
  static constexpr int max_exponent = static_cast<int>(max_code >> Mantissa) - Bias;

  std::uint8_t bits = 0;

  minifloat() = default;
  QUERN_INLINE explicit constexpr minifloat(float x, overflow o = overflow::saturate) noexcept : bits(encode(x, o)) {}
  QUERN_INLINE static constexpr minifloat from_bits(unsigned b) noexcept {
    minifloat m;
    m.bits = static_cast<std::uint8_t>(b);
    return m;
  }
  QUERN_INLINE constexpr operator float() const noexcept { return decode(bits); }
  QUERN_INLINE static constexpr float max() noexcept { return decode(max_code); }

  /// Exact.
  QUERN_INLINE static constexpr float decode(unsigned code) noexcept {
    unsigned const magnitude = code & magnitude_mask;
    bool const negative = (code & sign_mask) != 0;
    if constexpr (Specials == specials::fnuz) {
      if (negative && magnitude == 0) return bits_of<float>(0x7fc00000u);
    }
    if (magnitude > max_code) {
      bool const infinite = Specials == specials::ieee && magnitude == max_code + 1;
      return bits_of<float>((infinite ? 0x7f800000u : 0x7fc00000u) | (negative ? 0x80000000u : 0u));
    }
    unsigned const e = magnitude >> Mantissa, m = magnitude & ((1u << Mantissa) - 1);
    int const power = (e == 0 ? 1 : static_cast<int>(e)) - Bias - Mantissa;
    float const value = static_cast<float>(e == 0 ? m : m + (1u << Mantissa)) * power_of_two(power);
    return negative ? -value : value;
  }

  QUERN_INLINE static constexpr std::uint8_t encode(float x, overflow o = overflow::saturate, ties t = ties::to_even) noexcept {
    std::uint32_t const b = bits_of<std::uint32_t>(x), a = b & 0x7fffffffu;
    unsigned const sign = (b >> 31) != 0 ? sign_mask : 0;
    if (a > 0x7f800000u) return static_cast<std::uint8_t>(not_a_number(sign));
    unsigned magnitude = 0;
    if (a == 0x7f800000u) {
      magnitude = max_code + 1;
    } else {
      int e = static_cast<int>(a >> 23) - 127;
      if (e < 1 - Bias) e = 1 - Bias;
      // |x| in units of the last place at exponent e: at most 2^(Mantissa + 1). The scaling is exact unless the result is below 2^-100,
      // which rounds to 0 either way.
      unsigned const q = nearest_unit(e - Mantissa > -127 ? bits_of<float>(a) * power_of_two(Mantissa - e) : 0.0f, t);
      magnitude = q == 0 ? 0 : (static_cast<unsigned>(e + Bias - 1) << Mantissa) + q;  // a carry moves into the exponent by itself
    }
    if (magnitude > max_code) {
      if (o == overflow::saturate || Specials == specials::none)
        magnitude = max_code;
      else if constexpr (Specials == specials::ieee)
        magnitude = max_code + 1;
      else
        return static_cast<std::uint8_t>(not_a_number(sign));
    }
    if (Specials == specials::fnuz && magnitude == 0) return 0;
    return static_cast<std::uint8_t>(sign | magnitude);
  }

 private:
  QUERN_INLINE static constexpr unsigned not_a_number(unsigned sign) noexcept {
    if constexpr (Specials == specials::fnuz || Specials == specials::none)
      return sign_mask;
    else
      return sign | magnitude_mask;
  }
  QUERN_INLINE static constexpr float power_of_two(int p) noexcept {  // -126 <= p <= 127
    return bits_of<float>(static_cast<std::uint32_t>(p + 127) << 23);
  }
};

using float8_e4m3fn = minifloat<4, 3, 7, specials::nan>;
using float8_e5m2 = minifloat<5, 2, 15, specials::ieee>;
using float8_e4m3fnuz = minifloat<4, 3, 8, specials::fnuz>;
using float8_e5m2fnuz = minifloat<5, 2, 16, specials::fnuz>;
using float6_e3m2 = minifloat<3, 2, 3, specials::none>;
using float6_e2m3 = minifloat<2, 3, 1, specials::none>;
using float4_e2m1 = minifloat<2, 1, 1, specials::none>;

using minifloats = type_list<float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz, float6_e3m2, float6_e2m3, float4_e2m1>;

/// How a positive number becomes a power of two.
enum class power_rounding { up, down, nearest };

/// A bare exponent: code c is 2^(c - 127), 0xff is NaN. The scale of MX blocks.
struct float8_e8m0 {
  std::uint8_t bits = 127;

  QUERN_INLINE static constexpr float8_e8m0 from_bits(unsigned b) noexcept { return {static_cast<std::uint8_t>(b)}; }
  QUERN_INLINE constexpr operator float() const noexcept {
    if (bits == 0xff) return bits_of<float>(0x7fc00000u);
    return bits == 0 ? bits_of<float>(0x00400000u) : bits_of<float>(static_cast<std::uint32_t>(bits) << 23);
  }
  /// Nearest counts in the mantissa: 1.5 and above goes up. With overflow::to_special what has no code becomes NaN, else the nearest
  /// code that there is. NaN and negative numbers become NaN. (ONNX Cast, attributes round_mode and saturate.)
  QUERN_INLINE static constexpr float8_e8m0 encode(float x, power_rounding r = power_rounding::up, overflow o = overflow::saturate) noexcept {
    std::uint32_t const b = bits_of<std::uint32_t>(x);
    if ((b & 0x7fffffffu) > 0x7f800000u || (b >> 31) != 0) return {0xff};
    if (b == 0) return o == overflow::saturate ? float8_e8m0{0} : float8_e8m0{0xff};
    if (b == 0x7f800000u) return o == overflow::saturate ? float8_e8m0{254} : float8_e8m0{0xff};
    auto const [fraction, exponent] = frexp_of(x);  // x = 2 fraction * 2^(exponent - 1), 1 <= 2 fraction < 2
    int code = exponent - 1 + 127;
    if ((r == power_rounding::up && fraction != 0.5f) || (r == power_rounding::nearest && fraction >= 0.75f)) ++code;
    if (code < 0 || code > 254) {
      if (o == overflow::to_special) return {0xff};
      code = code < 0 ? 0 : 254;
    }
    return {static_cast<std::uint8_t>(code)};
  }
};

}  // namespace quern::codec
