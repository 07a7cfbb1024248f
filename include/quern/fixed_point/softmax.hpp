// softmax.hpp — TFLite's integer softmax of one row: int8 to int8 or int16 by fixed-point exp, int16 to int16 by tables.
//
// The destination's quantization is fixed: int8 1/256, -128; int16 1/32768 with zero point 0 (from int16) or -32768 (from int8).
// Source: tensorflow/lite/kernels/internal/reference/softmax.h, tensorflow/lite/micro/kernels/softmax_common.cc.
#pragma once

#include "../core/elementary.hpp"
#include "../core/views.hpp"
#include "../rescale/gemmlowp_double.hpp"
#include "interpolated_table.hpp"
#include "transcendental.hpp"

QUERN_FP_BEGIN

namespace quern::fixed_point {

/// int8 rows. Rescale: gemmlowp_double or tflite_single.
template <class Rescale = rescale::gemmlowp_double>
struct softmax8 {
  rescale::multiplier_shift input{};
  std::int32_t diff_min = 0;  ///< below it exp is 0

  /// beta * src_scale in Q5.26, capped at the largest multiplier of the build.
  QUERN_INLINE static constexpr softmax8 make(float src_scale, float beta) {
    double const cap = std::is_same_v<Rescale, rescale::gemmlowp_double> ? 2147483647.0 : 1073741823.0;
    double const scaled = static_cast<double>(beta) * static_cast<double>(src_scale) * 67108864.0;
    auto const m = rescale::quantize_multiplier(scaled < cap ? scaled : cap);
    return {m, -input_radius(31, 26, m.shift)};
  }
  /// @shapes  src, dst: n codes. Dst is std::int8_t or std::int16_t. @errors none.
  template <class Dst>
  QUERN_INLINE constexpr void operator()(std::int8_t const* src, Dst* dst, index_t n) const noexcept {
    row(src, dst, n, [this](std::int32_t diff) { return exponential(diff); }, [this](std::int32_t diff) { return summand(exponential(diff)); });
  }

  /// The same for many rows: there are only 256 differences from a row's largest code, and an exponential costs 30 ns.
  struct for_many_rows {
    std::int32_t exponentials[256] = {}, summands[256] = {};  ///< of -d
    template <class Dst>
    QUERN_INLINE constexpr void operator()(std::int8_t const* src, Dst* dst, index_t n) const noexcept {
      row(src, dst, n, [this](std::int32_t diff) { return exponentials[-diff]; }, [this](std::int32_t diff) { return summands[-diff]; });
    }
  };
  QUERN_INLINE constexpr for_many_rows prepared() const noexcept {
    for_many_rows p;
    for (std::int32_t d = 0; d < 256; ++d) p.exponentials[d] = exponential(-d), p.summands[d] = summand(p.exponentials[d]);
    return p;
  }

 private:
  QUERN_INLINE constexpr std::int32_t exponential(std::int32_t diff) const noexcept {
    return diff >= diff_min ? exp_on_negative(Rescale::apply(diff, input), 5) : 0;
  }
  QUERN_INLINE static constexpr std::int32_t summand(std::int32_t e) noexcept { return rescale::rounding_divide_by_pot(e, 12); }
  template <class Dst, class Exponential, class Summand>
  QUERN_INLINE static constexpr void row(std::int8_t const* src, Dst* dst, index_t n, Exponential const& exponential_of, Summand const& summand_of) noexcept {
    using namespace rescale;
    constexpr int bits = 8 * static_cast<int>(sizeof(Dst));
    constexpr std::int32_t low = code_of_t<Dst>::min, high = code_of_t<Dst>::max;
    std::int32_t largest = -128;
    for (index_t i = 0; i < n; ++i) largest = src[i] > largest ? src[i] : largest;
    std::uint64_t wide = 0;  // Q13.19: 8191 codes may be the largest, more count as 2^13
    for (index_t i = 0; i < n; ++i) wide += static_cast<std::uint32_t>(summand_of(src[i] - largest));
    auto const sum = static_cast<std::uint32_t>(wide < 0xffffffffu ? wide : 0xffffffffu);
    int const headroom = leading_zeros(sum), bits_over_unit = 12 - headroom;
    std::int32_t const scale = one_over_one_plus(static_cast<std::int32_t>((sum << (headroom & 31)) - (1u << 31)));  // 32: n is 0
    int const shift = bits_over_unit + 31 - bits > 31 ? 31 : bits_over_unit + 31 - bits;
    std::int64_t const half = std::int64_t{1} << shift >> 1;
    for (index_t i = 0; i < n; ++i) {
      // srdhm, without its one case that saturates, and rounding_divide_by_pot: shift is 15 or more, as the sum has the term of 0
      auto const product = static_cast<std::int32_t>((std::int64_t{scale} * exponential_of(src[i] - largest) + (1 << 30)) >> 31);
      std::int64_t const y = (std::int64_t{product} + half - (product < 0 ? 1 : 0)) >> shift;
      dst[i] = static_cast<Dst>(clamp<std::int64_t>(y + low, low, high));
    }
  }
};

/// int16 rows. The two tables cost 2 KB; make one object a program.
template <class Rescale = rescale::gemmlowp_double>
struct softmax16 {
  rescale::multiplier_shift input{};
  interpolated_table exponential{}, reciprocal{};

  QUERN_INLINE static constexpr softmax16 make(float src_scale, float beta) {
    return {Rescale::from_real(static_cast<double>(src_scale) * static_cast<double>(beta) / (10.0 / 65535.0)),
            interpolated_table::make(10.0f / 65535.0f, 32767, 2.0f / 65535.0f, 0,
                                     [](float x) { return static_cast<float>(exp_of(static_cast<double>(x))); }),
            interpolated_table::make(1.0f / 65535.0f, -32768, 2.0f / 65535.0f, 0, [](float x) { return 1.0f / (1.0f + x); })};
  }
  /// @shapes  src, dst: n codes; may be the same memory. @errors none.
  QUERN_INLINE constexpr void operator()(std::int16_t const* src, std::int16_t* dst, index_t n) const noexcept {
    std::int32_t largest = -32768;
    for (index_t i = 0; i < n; ++i) largest = src[i] > largest ? src[i] : largest;
    std::int32_t sum = 0;
    for (index_t i = 0; i < n; ++i) {
      std::int32_t const scaled = Rescale::apply(src[i] - largest, input);
      dst[i] = exponential(saturate<s16>(static_cast<std::int64_t>(scaled) + 32767));
      sum += dst[i];
    }
    int const headroom = rescale::leading_zeros(static_cast<std::uint32_t>(sum));
    std::int64_t const shifted = ((static_cast<std::int64_t>(sum) << (headroom - 1)) + (1 << 13)) >> 14;
    std::int32_t const r = reciprocal(saturate<s16>(shifted - ((1 << 15) + (1 << 16))));
    int const right = 31 - headroom;
    for (index_t i = 0; i < n; ++i)
      dst[i] = static_cast<std::int16_t>(clamp((dst[i] * r + (1 << (right - 1))) >> right, 0, 32767));
  }
};

}  // namespace quern::fixed_point

QUERN_FP_END
