// tvm.hpp — Apache TVM's relay.qnn dialect, in its two fixed-point roundings and its float form.
//
//     quantize     clip(half_away(x / scale) + f32(zero_point)), the zero point added as float after the rounding
//     requantize   fixed-point product of (q - z_in), UPWARD (tvm) or TONEAREST (tvm_to_nearest), + z_out; equal scales: no product
//     add          both operands requantized to the output first (two roundings), then a' + b' - z_out
//     mul          (a - za)(b - zb) requantized from f32(Sa Sb) to Sy
//
// TVM chooses no ranges of its own for qnn models: they come from the framework that was imported, so choose() is TFLite's. Average
// pooling of integers truncates (C division), as its operator library does. Sources: apache/tvm src/relay/qnn/op/*.cc,
// src/relay/qnn/utils.cc, src/target/intrin_rule.cc, include/tvm/topi/nn/pooling.h (history before Relay's removal).
#pragma once

#include "convention.hpp"
#include "tflite.hpp"

QUERN_FP_BEGIN

namespace quern::convention {

namespace detail {

/// relay.qnn.requantize in fixed point; `same` when the scales are equal.
template <class Rescale>
struct tvm_requantize {
  typename Rescale::parameters rescale{};
  bool same = false;
  std::int32_t src_zero_point = 0, zero_point = 0;
  limits clamped{};

  QUERN_INLINE static constexpr tvm_requantize make(affine x, affine y, limits l) {
    bool const same = x.scale == y.scale;
    return {same ? typename Rescale::parameters{} : Rescale::from_real(static_cast<double>(x.scale) / static_cast<double>(y.scale)), same,
            x.zero_point, y.zero_point, l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t q) const noexcept {
    std::int32_t const x = wrap32(static_cast<std::int64_t>(q) - src_zero_point);
    std::int32_t const v = wrap32(static_cast<std::int64_t>(same ? x : Rescale::apply(x, rescale)) + zero_point);
    return clamp(v, clamped.min, clamped.max);
  }
};

/// compute_dtype float32 or float64: the zero point inside of the rounding. UPWARD is floor(v + 0.5).
template <class F, class Rounding>
struct tvm_requantize_float {
  F multiplier = 1;
  std::int32_t src_zero_point = 0, zero_point = 0;
  limits clamped{};

  QUERN_INLINE static constexpr tvm_requantize_float make(affine x, affine y, limits l) noexcept {
    return {static_cast<F>(static_cast<double>(x.scale) / static_cast<double>(y.scale)), x.zero_point, y.zero_point, l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t q) const noexcept {
    F const x = static_cast<F>(wrap32(static_cast<std::int64_t>(q) - src_zero_point));
    F const v = rounded(multiplier * x) + static_cast<F>(zero_point);
    if constexpr (std::is_same_v<Rounding, round_to::half_up>)
      return rounded_code<round_to::floor>(v + F{0.5}, 0, clamped, clamped.min);
    else
      return rounded_code<Rounding>(v, 0, clamped, clamped.min);
  }
};

inline constexpr limits int32_limits = {-2147483647 - 1, 2147483647};

template <class Rescale>
struct tvm_add {
  tvm_requantize<Rescale> lhs{}, rhs{};
  std::int32_t zero_point = 0;
  limits clamped{};

  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    return static_cast<std::int32_t>(
        clamp<std::int64_t>(static_cast<std::int64_t>(lhs(a)) + rhs(b) - zero_point, clamped.min, clamped.max));
  }
};

template <class Rescale>
struct tvm_mul {
  std::int32_t lhs_zero_point = 0, rhs_zero_point = 0;
  tvm_requantize<Rescale> dst{};

  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    return dst(wrap32(static_cast<std::int64_t>(a - lhs_zero_point) * (b - rhs_zero_point)));
  }
};

struct truncated_average {
  limits clamped{};
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t sum, std::int32_t n) const noexcept {
    return clamp(sum / n, clamped.min, clamped.max);
  }
};

}  // namespace detail

/// `FloatRounding`: of compute_dtype float32 and float64.
template <class Rescale, class FloatRounding>
struct tvm_with {
  using rounding = round_to::half_away;
  using rescaling = Rescale;
  static constexpr nan_code nan = nan_code::lowest;  ///< undefined in TVM
  static constexpr zero_point_place place = zero_point_place::after_rounding;
  static constexpr scale_form form = scale_form::divide;

  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    return tflite::choose<Code>(r);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize(float x, affine p) noexcept {
    float const v = rounding::to_integral(x / p.scale) + static_cast<float>(p.zero_point);
    return static_cast<typename code_of_t<Code>::storage>(
        detail::rounded_code<round_to::toward_zero>(v, 0, limits_of<Code>, detail::code_of_nan<Code>(nan, p.zero_point)));
  }
  QUERN_INLINE static constexpr float dequantize(std::int32_t q, affine p) noexcept {
    return static_cast<float>(wrap32(static_cast<std::int64_t>(q) - p.zero_point)) * p.scale;
  }
  /// The accumulator's scale f32(Sx Sw), over Sy in double.
  QUERN_INLINE static constexpr double effective_scale(float src, float weight, float dst) noexcept {
    return static_cast<double>(rounded(src * weight)) / static_cast<double>(dst);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto output_stage(float src, float weight, affine y, limits l = limits_of<Code>) {
    return requantize<Code>({rounded(src * weight), 0}, y, l);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto requantize(affine x, affine y, limits l = limits_of<Code>) {
    return detail::tvm_requantize<Rescale>::make(x, y, l);
  }
  /// compute_dtype "float32" (F = float) and "float64".
  template <quantized_code Code, class F>
  QUERN_INLINE static constexpr auto requantize_float(affine x, affine y, limits l = limits_of<Code>) noexcept {
    return detail::tvm_requantize_float<F, FloatRounding>::make(x, y, l);
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) {
    return detail::tvm_add<Rescale>{requantize<Code>(a, y, detail::int32_limits), requantize<Code>(b, y, detail::int32_limits), y.zero_point, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mul(affine a, affine b, affine y, limits l = limits_of<Code>) {
    return detail::tvm_mul<Rescale>{a.zero_point, b.zero_point, requantize<Code>({rounded(a.scale * b.scale), 0}, y, l)};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine, affine, limits l = limits_of<Code>) noexcept {
    return detail::truncated_average{l};
  }
};

struct tvm : tvm_with<rescale::tvm_upward, round_to::half_up> {
  static constexpr char const* name = "tvm";
};
struct tvm_to_nearest : tvm_with<rescale::tvm_to_nearest, round_to::half_away> {
  static constexpr char const* name = "tvm_to_nearest";
};

}  // namespace quern::convention

QUERN_FP_END
