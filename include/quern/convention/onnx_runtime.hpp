// onnx_runtime.hpp — ONNX Runtime's CPU kernels (MLAS), where they differ from the standard or go beyond it.
//
//     QuantizeLinear   round(clamp(x / scale, lo - zp, hi - zp)) + zp: the standard's integers; NaN gives the lowest code
//     QLinearAdd       the zero point *inside* of the rounding:   half_even(fixed + b * rb + a * ra),  ra = Sa/Sc, rb = Sb/Sc
//     QLinearMul       the zero point inside:                     half_even((a-za)(b-zb) * ratio + zc)
//     QLinearAveragePool   inside too, of a float average;   global average pooling, MatMul, Conv: after the rounding
//
// ONNX Runtime is not the same on every CPU; the type says which kernels are meant, and results do not depend on ours:
//
//     onnx_runtime            x86-64 with FMA (AVX2 and later): addition and sigmoid with fused multiply-adds
//     onnx_runtime_arm        NEON: QLinearAdd and global pooling in 22- and 24-bit fixed point, ties away from zero
//     onnx_runtime_portable   the scalar fallback (other machines): QLinearAdd from dequantized differences
//
// On x86 without VNNI its u8 x s8 products saturate at 16 bits (pmaddubsw); the contract here is the exact int32 sum.
// Sources: microsoft/onnxruntime onnxruntime/core/mlas/lib/{quantize,qladd,qlmul,qlgavgpool,q4_dq,logistic}.cpp,
// onnxruntime/contrib_ops/cpu/quantization/*.cc, onnxruntime/python/tools/quantization/quant_utils.py.
#pragma once

#include "../core/elementary.hpp"
#include "fixed_add.hpp"
#include "onnx.hpp"
#include "tflite.hpp"

QUERN_FP_BEGIN

namespace quern::convention {

namespace detail {
inline namespace QUERN_ABI {

/// v within the limits minus zp as floats, rounded half to even, plus zp; NaN gives the lowest code. The same integers as rounding
/// first, for every v: both limits are integers.
QUERN_INLINE constexpr std::int32_t mlas_requantize(float v, std::int32_t zero_point, limits l) noexcept {
  return rounded_code<round_to::half_even>(v, zero_point, l, l.min);
}

}  // inline namespace QUERN_ABI

/// MLAS's logistic: a rational function of degree 9/10 in 13 coefficients, within +-18. `Fused`: FMA3 kernels; else SSE2's.
template <bool Fused>
struct mlas_logistic {
  QUERN_INLINE constexpr float operator()(float x) const noexcept {
    constexpr float alpha[] = {4.37031012579801e-11f, 1.15627324459942e-07f, 6.08574864600143e-05f, 8.51377133304701e-03f, 2.48287947061529e-01f};
    constexpr float beta[] = {6.10247389755681e-13f, 5.76102136993427e-09f, 6.29106785017040e-06f,
                              1.70198817374094e-03f, 1.16817656904453e-01f, 9.93151921023180e-01f};
    if (is_nan(x)) return x;
    float const v = clamp(x, -18.0f, 18.0f), v2 = rounded(v * v);
    auto const step = [v2](float p, float c) {
      if constexpr (Fused)
        return fused(p, v2, c);
      else
        return rounded(p * v2) + c;
    };
    float p = alpha[0], q = beta[0];
    for (int i = 1; i < 5; ++i) p = step(p, alpha[i]);
    for (int i = 1; i < 6; ++i) q = step(q, beta[i]);
    return clamp(rounded(p * v) / q + 0.5f, 0.0f, 1.0f);
  }
};

/// QLinearAdd of x86: fixed = zc - (ra za + rb zb), then b's and a's shares, fused on CPUs with FMA (`Fused`); the order and the
/// fusing were determined by running it (1.30, 980,000 sums without a difference). Unfused ones differ about once in 2000 near ties.
template <bool Fused>
struct mlas_add {
  float lhs_ratio = 0, rhs_ratio = 0, fixed = 0;
  limits clamped{};

  QUERN_INLINE static constexpr mlas_add make(affine a, affine b, affine y, limits l) noexcept {
    float const ra = a.scale / y.scale, rb = b.scale / y.scale;
    float const zb = rounded(rb * static_cast<float>(b.zero_point));
    return {ra, rb, static_cast<float>(y.zero_point) - madd(ra, static_cast<float>(a.zero_point), zb), l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    float const second = madd(static_cast<float>(b), rhs_ratio, fixed);
    return mlas_requantize(madd(static_cast<float>(a), lhs_ratio, second), 0, clamped);
  }

 private:
  QUERN_INLINE static constexpr float madd(float x, float y, float z) noexcept {
    if constexpr (Fused)
      return fused(x, y, z);
    else
      return rounded(x * y) + z;
  }
};

struct mlas_add_portable {
  affine lhs{}, rhs{}, dst{};
  limits clamped{};

  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    float const x = rounded(lhs.scale * static_cast<float>(a - lhs.zero_point)), y = rounded(rhs.scale * static_cast<float>(b - rhs.zero_point));
    float const lo = static_cast<float>(clamped.min - dst.zero_point), hi = static_cast<float>(clamped.max - dst.zero_point);
    float const v = clamp((x + y) / dst.scale, lo, hi);
    return mlas_requantize(v + static_cast<float>(dst.zero_point), 0, clamped);
  }
};

/// QLinearMul.
struct mlas_mul {
  std::int32_t lhs_zero_point = 0, rhs_zero_point = 0;
  float ratio = 0;
  std::int32_t zero_point = 0;
  limits clamped{};

  QUERN_INLINE static constexpr mlas_mul make(affine a, affine b, affine y, limits l) noexcept {
    return {a.zero_point, b.zero_point, rounded(a.scale * b.scale) / y.scale, y.zero_point, l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    float const product = static_cast<float>(static_cast<std::int64_t>(a - lhs_zero_point) * (b - rhs_zero_point));
    return mlas_requantize(rounded(product * ratio) + static_cast<float>(zero_point), 0, clamped);
  }
};

/// QLinearGlobalAveragePool of x86: the scale of the sum, zero point after the rounding. n is fixed by the shape, so make it so.
struct mlas_global_average {
  float src_scale = 0, dst_scale = 0;
  std::int32_t src_zero_point = 0, zero_point = 0;
  limits clamped{};

  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t sum, std::int32_t n) const noexcept {
    float const scale = src_scale / rounded(dst_scale * static_cast<float>(n));
    auto const centred = wrap32(static_cast<std::int64_t>(sum) - static_cast<std::int64_t>(n) * src_zero_point);
    return mlas_requantize(rounded(static_cast<float>(centred) * scale), zero_point, clamped);
  }
};

/// The same of NEON: the scale as a 24-bit integer and a shift of 16 to 55, the magnitude rounded, ties away from zero. Scales below 2^-32,
/// which ONNX Runtime refuses, give 0; those of 2^24 and more the ends.
struct mlas_global_average_fixed {
  float src_scale = 0, dst_scale = 0;
  std::int32_t src_zero_point = 0, zero_point = 0;
  limits clamped{};

  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t sum, std::int32_t n) const noexcept {
    auto const m = rescale::mantissa_shift::of(src_scale / rounded(dst_scale * static_cast<float>(n)));
    auto const centred = wrap32(static_cast<std::int64_t>(sum) - static_cast<std::int64_t>(n) * src_zero_point);
    std::int64_t const product = static_cast<std::int64_t>(centred) * m.mantissa;  // 55 bits
    std::int64_t const v = m.shift < 0 ? product * 128 : round_to::half_away::shift_right(product, m.shift < 62 ? m.shift : 62);
    return static_cast<std::int32_t>(clamp<std::int64_t>(v + zero_point, clamped.min, clamped.max));
  }
};

/// QLinearSoftmax: a table of exp for the distance from the row's maximum, float sums in order, one division an element.
template <class Code>
struct mlas_softmax {
  float exponential[256] = {};  ///< of x - 255, scaled up as far as the sum of a row stays finite
  float inverse_scale = 0;      ///< floor(1 / y_scale)
  std::int32_t zero_point = 0;

  /// `length`: elements of a row. The table depends on it.
  QUERN_INLINE static constexpr mlas_softmax make(float src_scale, affine y, index_t length) noexcept {
    mlas_softmax s;
    // The logarithm is a float's there; its last bit decides ties.
    double const room = static_cast<double>(static_cast<float>(log_of(static_cast<double>(3.40282346638528859812e38f / static_cast<float>(length))))) - 5;
    double const shift = (room > 0 ? room : 0.0) / static_cast<double>(src_scale);
    for (int i = 0; i < 256; ++i) s.exponential[i] = static_cast<float>(exp_of((static_cast<double>(i) - 255 + shift) * static_cast<double>(src_scale)));
    s.inverse_scale = floor_of(1.0f / y.scale);
    s.zero_point = y.zero_point;
    return s;
  }
  /// Saturates above. Short rows overflow to infinity when y_scale is fine; converted as x86 does, that is 0 + zero_point for u8 and,
  /// with a negative zero_point, the highest code for s8. (Releases before 1.20 or so compared s8 with 255, and wrapped.)
  template <class T>
  QUERN_INLINE constexpr void operator()(T const* src, T* dst, index_t n) const noexcept {
    static_assert(std::same_as<code_of_t<T>, code_of_t<Code>>, "quern: QLinearSoftmax keeps the type of its input.");
    std::int32_t largest = code_of_t<Code>::min;
    for (index_t i = 0; i < n; ++i) largest = src[i] > largest ? src[i] : largest;
    float sum = 0;
    for (index_t i = 0; i < n; ++i) sum += exponential[255 - largest + src[i]];
    if (sum == 0) return;
    constexpr bool is_signed = code_of_t<Code>::is_signed;
    for (index_t i = 0; i < n; ++i) {
      float const v = round_to::half_even::to_integral(rounded(exponential[255 - largest + src[i]] * inverse_scale) / sum);
      std::int64_t const q = v < 2147483648.0f ? static_cast<std::int64_t>(v) : is_signed ? -2147483648ll : 0;
      std::int32_t const code = wrap32(q + zero_point);
      dst[i] = static_cast<T>(code > code_of_t<Code>::max ? code_of_t<Code>::max : code);
    }
  }
};

/// QLinearAveragePool of one window: sum and count of dequantized values, in the order of the window's rows.
struct mlas_average {
  affine dst{};
  limits clamped{};
  QUERN_INLINE constexpr std::int32_t operator()(float sum, std::int32_t n) const noexcept {
    float const v = sum / static_cast<float>(n) / dst.scale + static_cast<float>(dst.zero_point);
    return rounded_code<round_to::half_even>(v, 0, clamped, clamped.min);
  }
};

}  // namespace detail

/// x86-64 with FMA.
struct onnx_runtime : onnx {
  static constexpr char const* name = "onnx_runtime";

  /// DynamicQuantizeLinear; an all-zero tensor takes scale 1.
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    return choose_dynamic<Code>(r, 1.0f);
  }
  /// compute_scale_zp of onnxruntime.quantization (offline tools): the ends in float32, the rest in double, and the zero point
  /// from the scale before that is stored as float. Symmetric: zero point half_even((qmin + qmax) / 2).
  QUERN_INLINE static constexpr scale_zero_point compute_scale_zp(real_range r, std::int32_t qmin, std::int32_t qmax, bool symmetric,
                                                                  float min_real_range = 0) noexcept {
    float min = r.min < 0 ? r.min : 0.0f, max = r.max > 0 ? r.max : 0.0f;
    if (min_real_range > 0 && max < min + min_real_range) max = min + min_real_range;
    if (symmetric) {
      float const largest = -min > max ? -min : max;
      min = -largest;
      max = largest;
    }
    double const scale = static_cast<double>(max - min) / static_cast<double>(qmax - qmin);
    if (scale < 1.1754943508222875e-38) return {1.0f, 0};  // the smallest normal float
    double const z = symmetric ? (qmin + qmax) / 2.0 : qmin - static_cast<double>(min) / scale;
    return {static_cast<float>(scale), static_cast<std::int32_t>(rounding::to_integral(z))};
  }

  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::mlas_add<true>::make(a, b, y, l);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mul(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::mlas_mul::make(a, b, y, l);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine x, affine y, limits l = limits_of<Code>) noexcept {
    return detail::mlas_global_average{x.scale, y.scale, x.zero_point, y.zero_point, l};
  }
  /// QLinearSoftmax of rows of `length`.
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto softmax(float src_scale, affine y, index_t length) noexcept {
    return detail::mlas_softmax<Code>::make(src_scale, y, length);
  }

  /// A unary function through a table, as QLinearSigmoid and QLinearLeakyRelu do: quantize(f(scale * (q - zero_point))).
  template <quantized_code Code, class F>
  QUERN_INLINE static constexpr code_table<Code> table(affine x, affine y, F const& f) noexcept {
    static_assert(code_of_t<Code>::bits == 8, "quern: a table has 256 entries, for 8-bit codes.");
    code_table<Code> t;
    for (std::int32_t q = code_of_t<Code>::min; q <= code_of_t<Code>::max; ++q)
      t.value[static_cast<std::uint8_t>(q)] = quantize<Code>(f(rounded(x.scale * static_cast<float>(q - x.zero_point))), y);
    return t;
  }
  template <quantized_code Code, bool Fused = true>
  QUERN_INLINE static constexpr code_table<Code> sigmoid(affine x, affine y) noexcept {
    return table<Code>(x, y, detail::mlas_logistic<Fused>{});
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr code_table<Code> leaky_relu(affine x, affine y, float alpha) noexcept {
    return table<Code>(x, y, [alpha](float v) { return v >= 0 ? v : rounded(alpha * v); });
  }

  /// QGemm's scale: f32(alpha * a * b), then over y.
  QUERN_INLINE static constexpr float gemm_scale(float alpha, float a, float b) noexcept { return rounded(rounded(alpha * a) * b); }
};

struct onnx_runtime_arm : onnx_runtime {
  static constexpr char const* name = "onnx_runtime_arm";

  /// @errors scale when the larger ratio is not in [2^-14, 2^8).
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) {
    return detail::fixed_add<22, false>::make(a, b, y, l);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine x, affine y, limits l = limits_of<Code>) noexcept {
    return detail::mlas_global_average_fixed{x.scale, y.scale, x.zero_point, y.zero_point, l};
  }
};

struct onnx_runtime_portable : onnx_runtime {
  static constexpr char const* name = "onnx_runtime_portable";

  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) noexcept {
    return detail::mlas_add_portable{a, b, y, l};
  }
};

// ---- 4-bit weights of MatMulNBits ------------------------------------------------------------------------------------

/// The scale and zero point of one block of 2-, 4- or 8-bit weights (MLAS q4_dq), as float; storage rounds the scale to its type.
///
///     symmetric:   m = of min and max the one of larger magnitude (min on a tie);  scale = -m / 2^(Bits-1),  zero point 2^(Bits-1)
///     asymmetric:  scale = (max - min) / (2^Bits - 1) over the range extended to 0;  zero point round(-min / scale), ties away
///     code = clamp(round(x / scale + zero_point), 0, 2^Bits - 1), ties away, with the reciprocal of the scale
template <int Bits>
struct weight_block {
  static constexpr std::int32_t highest = (1 << Bits) - 1, middle = 1 << (Bits - 1);
  float scale = 0;
  std::int32_t zero_point = middle;

  QUERN_INLINE static constexpr weight_block symmetric(float min, float max) noexcept {
    float const m = abs_of(max) > abs_of(min) ? max : min;
    return {m / -static_cast<float>(middle), middle};
  }
  QUERN_INLINE static constexpr weight_block asymmetric(float min, float max) noexcept {
    min = min < 0 ? min : 0.0f;
    max = max > 0 ? max : 0.0f;
    float const scale = (max - min) / static_cast<float>(highest);
    if (scale == 0) return {0, 0};
    float const z = round_to::half_away::to_integral(0.0f - min / scale);
    return {scale, static_cast<std::int32_t>(clamp(z, 0.0f, static_cast<float>(highest)))};
  }
  QUERN_INLINE constexpr std::uint8_t quantize(float x) const noexcept {
    float const inverse = scale != 0 ? 1.0f / scale : 0.0f;
    float const v = round_to::half_away::to_integral(rounded(x * inverse) + static_cast<float>(zero_point));
    return static_cast<std::uint8_t>(clamp(v, 0.0f, static_cast<float>(highest)));
  }
  QUERN_INLINE constexpr float dequantize(std::int32_t q) const noexcept { return static_cast<float>(q - zero_point) * scale; }
};

}  // namespace quern::convention

QUERN_FP_END
