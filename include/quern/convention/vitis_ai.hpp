// vitis_ai.hpp — AMD/Xilinx Vitis AI: powers of two for the DPU, with each of its seven roundings.
//
//     scale = 2^-pos;   q = clamp(round(x * 2^pos) + zero_point);   accumulators: round(acc / 2^(pos_in + pos_w - pos_out))
//
//     method   2 half_up (the DPU)   3 half_away   4 floor   5 half_even_positive   6 half_toward_zero   7 ceil   8 half_even
//
// `pos` is called fix position there. NaN gives the lowest code (undefined there). Sums and products of codes are exact in int64
// before their one rounding shift. Sources: Xilinx/Vitis-AI src/vai_quantizer/vai_q_pytorch/include/cpu/nndct_fix_kernels_cpu.h,
// vai_q_onnx/vai_q_onnx/quant_utils.py, vai_q_pytorch/pytorch_binding/pytorch_nndct/nn/modules/{fix_ops,avg_pool}.py.
#pragma once

#include "../core/elementary.hpp"
#include "../core/views.hpp"
#include "convention.hpp"

QUERN_FP_BEGIN

namespace quern::convention {

/// x ~ factor * 2^-shift in place of 1 / n, as the DPU's average pooling has it.
struct dpu_reciprocal {
  std::int32_t factor = 1, shift = 0;

  /// Square kernels of 3, 5, 6, 7, 14 (and 3x6) have constants of their own; others the best n / 2^k within log2(128 area) bits.
  QUERN_INLINE static constexpr dpu_reciprocal of(index_t h, index_t w) noexcept {
    if (h == 3 && w == 3) return {7, 6};
    if (h == 5 && w == 5) return {10, 8};
    if (h == 6 && w == 6) return {7, 8};
    if ((h == 3 && w == 6) || (h == 6 && w == 3)) return {14, 8};  // 36 * 7/256 of the mean, over 18
    if (h == 7 && w == 7) return {21, 10};
    if (h == 14 && w == 14) return {21, 12};
    std::int64_t const area = h * w;
    dpu_reciprocal best{0, 0};
    double difference = 1.0;
    for (int k = 0; (std::int64_t{1} << k) < area * 128; ++k) {  // k below ceil(log2(128 area))
      double const power = static_cast<double>(std::int64_t{1} << k);
      double const factor = round_to::half_even::to_integral(power / static_cast<double>(area));  // Python's round()
      double const d = abs_of(factor / power - 1.0 / static_cast<double>(area));
      if (d < difference) {
        best = {static_cast<std::int32_t>(factor), k};
        difference = d;
      }
    }
    return best;
  }
};

namespace detail {

/// An exact int64 value at position `from` to a code at position `to`.
template <class Rounding>
QUERN_INLINE constexpr std::int32_t at_position(std::int64_t v, int from, int to, std::int32_t zero_point, limits l) noexcept {
  int const shift = from - to;
  std::int64_t r = 0;
  if (shift >= 0)
    r = Rounding::shift_right(v, shift < 62 ? shift : 62);
  else
    r = clamp<std::int64_t>(v, -(std::int64_t{1} << 24), std::int64_t{1} << 24) * (std::int64_t{1} << (-shift < 36 ? -shift : 36));
  return static_cast<std::int32_t>(clamp<std::int64_t>(r + zero_point, l.min, l.max));
}

template <class Rounding>
struct dpu_add {
  int lhs_position = 0, rhs_position = 0, position = 0;
  std::int32_t lhs_zero_point = 0, rhs_zero_point = 0, zero_point = 0;
  limits clamped{};

  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    int const finer = lhs_position > rhs_position ? lhs_position : rhs_position;
    std::int64_t const sum = static_cast<std::int64_t>(a - lhs_zero_point) * (std::int64_t{1} << (finer - lhs_position)) +
                             static_cast<std::int64_t>(b - rhs_zero_point) * (std::int64_t{1} << (finer - rhs_position));
    return at_position<Rounding>(sum, finer, position, zero_point, clamped);
  }
};

template <class Rounding>
struct dpu_mul {
  int src_position = 0, position = 0;  ///< src: the sum of both operands'
  std::int32_t lhs_zero_point = 0, rhs_zero_point = 0, zero_point = 0;
  limits clamped{};

  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept {
    return at_position<Rounding>(static_cast<std::int64_t>(a - lhs_zero_point) * (b - rhs_zero_point), src_position, position, zero_point, clamped);
  }
};

template <class Rounding>
struct dpu_average {
  int src_position = 0, position = 0;
  std::int32_t src_zero_point = 0, zero_point = 0;
  limits clamped{};

  /// A window of n = side * side elements; 18 counts as 3 x 6, other n as 1 x n.
  QUERN_INLINE static constexpr dpu_reciprocal reciprocal(std::int32_t n) noexcept {
    index_t side = 1;
    while (side * side < n) ++side;
    return n == 18 ? dpu_reciprocal::of(3, 6) : side * side == n ? dpu_reciprocal::of(side, side) : dpu_reciprocal::of(1, n);
  }
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t sum, std::int32_t n) const noexcept {
    auto const r = reciprocal(n);
    std::int64_t const centred = static_cast<std::int64_t>(sum) - static_cast<std::int64_t>(n) * src_zero_point;
    return at_position<Rounding>(centred * r.factor, src_position + r.shift, position, zero_point, clamped);
  }
};

}  // namespace detail

template <class Rounding>
struct vitis_ai_with {
  using rounding = Rounding;
  using rescaling = rescale::power_of_two<Rounding>;
  static constexpr nan_code nan = nan_code::lowest;
  static constexpr zero_point_place place = zero_point_place::after_rounding;
  static constexpr scale_form form = scale_form::divide;  ///< by a power of two: both forms are the same

  /// "NonOverflow": the finest position at which neither end leaves the codes by more than half a step; all-zero data takes
  /// `of_zero` (127 in vai_q_onnx, 18 in vai_q_pytorch). -128 to 127.
  QUERN_INLINE static constexpr int non_overflow_position(real_range r, int bits = 8, int of_zero = 127) noexcept {
    double const lowest = -ldexp_of(1.0, bits - 1), highest = -lowest - 1;
    double const below = r.min < 0 ? static_cast<double>(r.min) / (lowest - 0.5) : 0.0, above = r.max > 0 ? static_cast<double>(r.max) / (highest + 0.5) : 0.0;
    double const scale = below > above ? below : above;
    if (scale == 0) return of_zero;
    // floor(log2(1 / scale)): the quotient is rounded first, as there
    int const pos = frexp_of(1.0 / scale).exponent - 1;
    return clamp(pos, -128, 127);
  }
  /// "DiffS" / MinMSE: of `count` positions from `first` on, the one with the least sum of squared errors; the first wins ties.
  template <class T>
  QUERN_INLINE static constexpr int min_mse_position(vector_view<T const> x, int first, int bits = 8, int count = 5) noexcept {
    limits const l = {-(1 << (bits - 1)), (1 << (bits - 1)) - 1};
    int best = first;
    double least = 0;
    for (int pos = first; pos < first + count; ++pos) {
      double sum = 0;
      for (index_t i = 0; i < x.size; ++i) {
        double const v = static_cast<double>(static_cast<float>(x[i]));
        double const q = detail::rounded_code<Rounding>(ldexp_of(v, pos), 0, l, l.min), error = ldexp_of(q, -pos) - v;
        sum += rounded(error * error);
      }
      if (pos == first || sum < least) {
        best = pos;
        least = sum;
      }
    }
    return best;
  }
  /// vai_q_onnx's rounding of a float scale to the nearest power of two; it may clip by up to a factor of sqrt(2).
  QUERN_INLINE static constexpr int nearest_position(double scale) noexcept {
    return static_cast<int>(round_to::half_even::to_integral(-log2_of(scale)));
  }
  /// vai_q_onnx's power-of-two scale and zero point of a range extended to hold 0: the nearest position to (max - min) / (qmax - qmin),
  /// zero point half_even(qmin - min * 2^pos), within the codes; symmetric: of the larger end on both sides, zero point 0.
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose_nearest(real_range r, bool symmetric) noexcept {
    double min = r.min < 0 ? static_cast<double>(r.min) : 0.0, max = r.max > 0 ? static_cast<double>(r.max) : 0.0;
    if (symmetric) {
      max = -min > max ? -min : max;
      min = -max;
    }
    constexpr limits l = limits_of<Code>;
    if (min == max) return {1.0f, symmetric ? 0 : l.min};
    int const pos = clamp(nearest_position((max - min) / (l.max - l.min)), -126, 126);
    double const z = round_to::half_even::to_integral(l.min - ldexp_of(min, pos));
    return {ldexp_of(1.0f, -pos), symmetric ? 0 : static_cast<std::int32_t>(clamp(z, static_cast<double>(l.min), static_cast<double>(l.max)))};
  }
  QUERN_INLINE static constexpr int position_of(float scale) {
    return rescaling::from_real(static_cast<double>(scale)).shift;
  }

  /// NonOverflow; zero point 0, the middle for unsigned codes.
  template <quantized_code Code>
  QUERN_INLINE static constexpr scale_zero_point choose(real_range r) noexcept {
    constexpr int bits = code_of_t<Code>::bits;
    return {ldexp_of(1.0f, -non_overflow_position(r, bits)), code_of_t<Code>::is_signed ? 0 : 1 << (bits - 1)};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr typename code_of_t<Code>::storage quantize(float x, affine p) noexcept {
    return static_cast<typename code_of_t<Code>::storage>(detail::rounded_code<Rounding>(
        x / p.scale, p.zero_point, limits_of<Code>, detail::code_of_nan<Code>(nan, p.zero_point)));
  }
  QUERN_INLINE static constexpr float dequantize(std::int32_t q, affine p) noexcept {
    return static_cast<float>(wrap32(static_cast<std::int64_t>(q) - p.zero_point)) * p.scale;
  }
  QUERN_INLINE static constexpr double effective_scale(float src, float weight, float dst) noexcept {
    return static_cast<double>(src) * static_cast<double>(weight) / static_cast<double>(dst);
  }
  /// @errors scale when a scale is no power of two.
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto output_stage(float src, float weight, affine y, limits l = limits_of<Code>) {
    return detail::rescale_stage<rescaling>{rescaling::from_real(effective_scale(src, weight, y.scale)), y.zero_point, l};
  }
  /// @errors scale as above, and when the operands' are more than 2^40 apart: the sum must fit 64 bits.
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto add(affine a, affine b, affine y, limits l = limits_of<Code>) {
    int const apart = position_of(a.scale) - position_of(b.scale);
    if (apart > 40 || apart < -40)
      fail(errc::scale, "add: the operands' scales are 2^", apart < 0 ? -apart : apart, " apart; it must not be more than 2^40.");
    return detail::dpu_add<Rounding>{position_of(a.scale), position_of(b.scale), position_of(y.scale), a.zero_point, b.zero_point, y.zero_point, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto mul(affine a, affine b, affine y, limits l = limits_of<Code>) {
    return detail::dpu_mul<Rounding>{position_of(a.scale) + position_of(b.scale), position_of(y.scale), a.zero_point, b.zero_point, y.zero_point, l};
  }
  template <quantized_code Code>
  QUERN_INLINE static constexpr auto average_pool(affine x, affine y, limits l = limits_of<Code>) {
    return detail::dpu_average<Rounding>{position_of(x.scale), position_of(y.scale), x.zero_point, y.zero_point, l};
  }
};

/// The DPU: method 2.
struct vitis_ai : vitis_ai_with<round_to::half_up> {
  static constexpr char const* name = "vitis_ai";
};
struct vitis_ai_3 : vitis_ai_with<round_to::half_away> {
  static constexpr char const* name = "vitis_ai_3";
};
struct vitis_ai_4 : vitis_ai_with<round_to::floor> {
  static constexpr char const* name = "vitis_ai_4";
};
struct vitis_ai_5 : vitis_ai_with<round_to::half_even_positive> {
  static constexpr char const* name = "vitis_ai_5";
};
struct vitis_ai_6 : vitis_ai_with<round_to::half_toward_zero> {
  static constexpr char const* name = "vitis_ai_6";
};
struct vitis_ai_7 : vitis_ai_with<round_to::ceil> {
  static constexpr char const* name = "vitis_ai_7";
};
struct vitis_ai_8 : vitis_ai_with<round_to::half_even> {
  static constexpr char const* name = "vitis_ai_8";
};

}  // namespace quern::convention

QUERN_FP_END
