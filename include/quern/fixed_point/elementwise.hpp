// elementwise.hpp — TFLite's integer add, sub, mul, requantize, leaky ReLU, PReLU and hard-swish, one element at a time.
//
// Each is plain data (multipliers, zero points, limits), made from real scales by make(), with a call operator that is its
// definition. `Rescale` is the fixed-point product: gemmlowp_double (TFLite Micro and the reference kernels), tflite_single
// (single-rounding builds) or cmsis_nn. Scales are the model's float32 values; ratios are taken in double or in float32 exactly
// where TFLite does. Sources: tensorflow/lite/kernels/internal/reference/{add,sub,mul,requantize,leaky_relu,prelu,hard_swish}.h,
// tensorflow/lite/micro/kernels/*_common.cc.
#pragma once

#include "../core/math.hpp"
#include "../rescale/gemmlowp_double.hpp"

QUERN_FP_BEGIN

namespace quern::fixed_point {

/// One tensor's parameters: real = scale * (q - zero_point).
struct affine {
  float scale = 1;
  std::int32_t zero_point = 0;
};
/// The limits of an activation, in codes of the destination.
struct limits {
  std::int32_t min = -128, max = 127;
};

/// clamp(y + zero_point). The sum has 64 bits: where scales differ absurdly a rescaled product may be any int32.
QUERN_INLINE constexpr std::int32_t placed(std::int32_t y, std::int32_t zero_point, limits l) noexcept {
  return static_cast<std::int32_t>(clamp<std::int64_t>(std::int64_t{y} + zero_point, l.min, l.max));
}

/// y = clamp(rescale(rescale((a - za) * 2^L) +- rescale((b - zb) * 2^L)) + zero_point)
///
/// with the three scales Sa/m, Sb/m and m/(2^L So), m = 2 max(Sa, Sb): each rounds on its own. L = 20 for int8, 15 for int16.
template <class Rescale = rescale::gemmlowp_double, bool Subtract = false>
struct add {
  using parameters = typename Rescale::parameters;
  std::int32_t lhs_zero_point = 0, rhs_zero_point = 0, zero_point = 0, left_shift = 20;
  parameters lhs{}, rhs{}, dst{};
  limits clamped{};

  /// `float_ratios`: the scale ratios in float32, as TFLite Micro computes them for SUB (everything else: double).
  QUERN_INLINE static constexpr add make(affine a, affine b, affine y, limits l, int left_shift, bool float_ratios = false) {
    add r{a.zero_point, b.zero_point, y.zero_point, left_shift, {}, {}, {}, l};
    float const larger = a.scale > b.scale ? a.scale : b.scale;
    if (float_ratios) {
      float const twice = 2 * larger;
      r.lhs = Rescale::from_real(static_cast<double>(a.scale / twice));
      r.rhs = Rescale::from_real(static_cast<double>(b.scale / twice));
      r.dst = Rescale::from_real(static_cast<double>(twice / rounded(static_cast<float>(1 << left_shift) * y.scale)));
    } else {
      double const twice = 2 * static_cast<double>(larger);
      r.lhs = Rescale::from_real(static_cast<double>(a.scale) / twice);
      r.rhs = Rescale::from_real(static_cast<double>(b.scale) / twice);
      r.dst = Rescale::from_real(twice / (static_cast<double>(1 << left_shift) * static_cast<double>(y.scale)));
    }
    return r;
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    std::int32_t const sa = Rescale::apply((a - lhs_zero_point) * (1 << left_shift), lhs);
    std::int32_t const sb = Rescale::apply((b - rhs_zero_point) * (1 << left_shift), rhs);
    std::int32_t const y = Rescale::apply(Subtract ? sa - sb : sa + sb, dst);
    return placed(y, zero_point, clamped);
  }
};
template <class Rescale = rescale::gemmlowp_double>
using sub = add<Rescale, true>;

/// y = clamp(rescale((a - za)(b - zb)) + zero_point), scale Sa Sb / So in double.
template <class Rescale = rescale::gemmlowp_double>
struct mul {
  std::int32_t lhs_zero_point = 0, rhs_zero_point = 0, zero_point = 0;
  typename Rescale::parameters dst{};
  limits clamped{};

  QUERN_INLINE static constexpr mul make(affine a, affine b, affine y, limits l) {
    return {a.zero_point, b.zero_point, y.zero_point,
            Rescale::from_real(static_cast<double>(a.scale) * static_cast<double>(b.scale) / static_cast<double>(y.scale)), l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    std::int32_t const y = Rescale::apply(wrap32(static_cast<std::int64_t>(a - lhs_zero_point) * (b - rhs_zero_point)), dst);
    return placed(y, zero_point, clamped);
  }
};

/// y = clamp(rescale(x - zx) + zero_point), scale Sx / So in double: concat, ReLU with other scales, QUANTIZE of integers.
template <class Rescale = rescale::gemmlowp_double>
struct requantize {
  std::int32_t src_zero_point = 0, zero_point = 0;
  typename Rescale::parameters dst{};
  limits clamped{};

  QUERN_INLINE static constexpr requantize make(affine x, affine y, limits l) {
    return {x.zero_point, y.zero_point, Rescale::from_real(static_cast<double>(x.scale) / static_cast<double>(y.scale)), l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t x) const noexcept {
    return placed(Rescale::apply(wrap32(std::int64_t{x} - src_zero_point), dst), zero_point, clamped);
  }
};

/// y = clamp(rescale(|x - zx|) + zero_point), scale Sx / So in double; equal scales rescale nothing. TFLite's ABS.
template <class Rescale = rescale::gemmlowp_double>
struct absolute {
  std::int32_t src_zero_point = 0, zero_point = 0;
  typename Rescale::parameters dst{};
  bool rescales = false;
  limits clamped{};

  QUERN_INLINE static constexpr absolute make(affine x, affine y, limits l) {
    return {x.zero_point, y.zero_point, Rescale::from_real(static_cast<double>(x.scale) / static_cast<double>(y.scale)), x.scale != y.scale, l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t x) const noexcept {
    std::int32_t const v = x < src_zero_point ? src_zero_point - x : x - src_zero_point;
    return placed(rescales ? Rescale::apply(v, dst) : v, zero_point, clamped);
  }
};

/// y = clamp(rescale(x - zx, x >= zx ? Sx/So : alpha Sx/So) + zero_point); both scales are float32 quotients. alpha may be negative.
template <class Rescale = rescale::gemmlowp_double>
struct leaky_relu {
  std::int32_t src_zero_point = 0, zero_point = 0;
  typename Rescale::parameters identity{}, slope{};
  bool negative_slope = false;
  limits clamped{};

  QUERN_INLINE static constexpr leaky_relu make(affine x, affine y, float alpha, limits l) {
    double const slope = static_cast<double>(rounded(x.scale * alpha) / y.scale);
    return {x.zero_point, y.zero_point, Rescale::from_real(static_cast<double>(x.scale / y.scale)),
            Rescale::from_real(abs_of(slope)), slope < 0, l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t q) const noexcept {
    std::int32_t const x = q - src_zero_point;
    std::int32_t const y = x >= 0 ? Rescale::apply(x, identity) : negative_slope ? -Rescale::apply(x, slope) : Rescale::apply(x, slope);
    return placed(y, zero_point, clamped);
  }
};

/// y = clamp((x >= 0 ? rescale(x, Sx/So) : rescale(x * alpha, Sx Sa / So)) + zero_point), x and alpha after their zero points.
template <class Rescale = rescale::gemmlowp_double>
struct prelu {
  std::int32_t src_zero_point = 0, alpha_zero_point = 0, zero_point = 0;
  typename Rescale::parameters identity{}, slope{};
  limits clamped{};

  QUERN_INLINE static constexpr prelu make(affine x, affine alpha, affine y, limits l) {
    return {x.zero_point, alpha.zero_point, y.zero_point, Rescale::from_real(static_cast<double>(x.scale / y.scale)),
            Rescale::from_real(static_cast<double>(rounded(x.scale * alpha.scale) / y.scale)), l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t q, std::int32_t a) const noexcept {
    std::int32_t const x = q - src_zero_point;
    std::int32_t const y = x >= 0 ? Rescale::apply(x, identity) : Rescale::apply(x * (a - alpha_zero_point), slope);
    return placed(y, zero_point, clamped);
  }
};

/// x * relu6(x + 3) / 6 in int16 arithmetic, with a last multiplication that truncates on purpose (it cancels a bias).
struct hard_swish {
  std::int32_t src_zero_point = 0, zero_point = 0;
  std::int16_t output_multiplier = 0, relu_multiplier = 0;
  std::int32_t output_shift = 0, relu_shift = 0;  ///< left shifts; output_shift <= 0
  limits clamped{};

  /// @errors scale when So is so small that output_shift would be positive (So < Sx / 128).
  QUERN_INLINE static constexpr hard_swish make(affine x, affine y, limits l) {
    float const fine = x.scale / 128.0f, relu_scale = 3.0f / 32768.0f;
    auto const out = rescale::quantize_multiplier(static_cast<double>(fine / y.scale));
    auto const relu = rescale::quantize_multiplier(static_cast<double>(fine / relu_scale));
    if (out.shift > 0) fail(errc::scale, "hard_swish: the destination's scale ", y.scale, " is below the source's over 128 (", fine, ").");
    return {x.zero_point, y.zero_point, rescale::reduced_multiplier(out.multiplier), rescale::reduced_multiplier(relu.multiplier),
            out.shift, relu.shift, l};
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t q) const noexcept {
    using namespace rescale;
    auto const fine = static_cast<std::int16_t>((q - src_zero_point) * 128);
    std::int16_t const scaled = srdhm(fine, output_multiplier);
    std::int16_t r = fine;
    if (relu_shift > 0) r = saturating_shift_left(r, relu_shift > 16 ? 15 : relu_shift - 1);
    r = srdhm(r, relu_multiplier);
    if (relu_shift > 0) r = saturating_shift_left(r, 1);
    if (relu_shift < 0) r = rounding_divide_by_pot(r, -relu_shift > 15 ? 15 : -relu_shift);
    std::int32_t const gate = (r + 32768) >> 1;  // [-1, 1] -> [0, 1]
    auto const product = static_cast<std::int16_t>(gate * scaled / 32768);
    return clamp(rounding_divide_by_pot(product, -output_shift > 15 ? 15 : -output_shift) + zero_point, clamped.min, clamped.max);
  }
};

/// The codes an activation clamps to: q(f) = zero_point + round(f / scale), ties away, within `type`. `high` < `low` means none.
QUERN_INLINE constexpr limits activation_limits(affine y, float low, float high, limits type) noexcept {
  auto const code = [&](float f) {
    float const v = f / y.scale, r = v < 0 ? -floor_of(rounded(-v) + 0.5f) : floor_of(rounded(v) + 0.5f);
    return y.zero_point + static_cast<std::int32_t>(clamp(r, -1073741824.0f, 1073741824.0f));  // 2^30, beyond every code
  };
  limits l = type;
  if (low > -3e38f && code(low) > l.min) l.min = code(low);
  if (high < 3e38f && code(high) < l.max) l.max = code(high);
  return l;
}

}  // namespace quern::fixed_point

QUERN_FP_END
