// tvm.hpp — Apache TVM's relay.qnn.op.requantize in fixed point.
//
//     p = (x * 2^max(shift, 0)) * multiplier in int64,   t = 31 + max(-shift, 0)
//     tvm_upward:      low32( floor( (p + 2^(t-1)) / 2^t ) )                      ties upward
//     tvm_to_nearest:  low32( floor( (p + 2^(t-1) - (p < 0)) / 2^t ) )            ties away from zero, one rounding only
//
// For a per-tensor power of two (multiplier == 2^30) the upward form emits 32-bit shifts instead, whose rounding addition can wrap;
// tvm_upward does so too, tvm_upward_per_axis never does. TVM does not flush small scales; where its shift count would leave int64
// (shift < -31) the exact result is 0, which is returned. Equal scales are short-cut before (convention/tvm.hpp).
// Sources: apache/tvm src/relay/qnn/utils.cc, src/target/intrin_rule.cc (q_multiply_shift).
#pragma once

#include "primitives.hpp"
#include "quantize_multiplier.hpp"

namespace quern::rescale {

struct tvm_upward_per_axis {
  static constexpr char const* name = "tvm_upward_per_axis";
  using parameters = multiplier_shift;  ///< shift <= 31

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale >= 0 && scale < 2147483647.5; }
  /// @errors scale: negative, NaN, or 2^31 and above.
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return quantize_multiplier_tvm(detail::checked_scale(name, scale, 2147483647.5));
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    if (p.shift < -31) return 0;
    int const t = 31 + (p.shift < 0 ? -p.shift : 0);
    return wrap32((product(x, p) + (std::int64_t{1} << (t - 1))) >> t);
  }
  /// The int64 product, modulo 2^64 as the generated code has it.
  QUERN_INLINE static constexpr std::int64_t product(std::int32_t x, parameters p) noexcept {
    auto const left = static_cast<std::uint64_t>(static_cast<std::int64_t>(x)) << (p.shift > 0 ? p.shift : 0);
    return static_cast<std::int64_t>(left * static_cast<std::uint64_t>(static_cast<std::int64_t>(p.multiplier)));
  }
};

struct tvm_upward {
  static constexpr char const* name = "tvm_upward";
  using parameters = multiplier_shift;  ///< shift <= 31

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale >= 0 && scale < 2147483647.5; }
  /// @errors scale: negative, NaN, or 2^31 and above.
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return quantize_multiplier_tvm(detail::checked_scale(name, scale, 2147483647.5));
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    int const right = 1 - p.shift;
    if (p.multiplier != (1 << 30) || right > 31) return tvm_upward_per_axis::apply(x, p);
    if (right <= 0) return wrapping_shift_left(x, -right);
    return wrap32(static_cast<std::int64_t>(x) + (std::int64_t{1} << (right - 1))) >> right;
  }
};

struct tvm_to_nearest {
  static constexpr char const* name = "tvm_to_nearest";
  using parameters = multiplier_shift;  ///< shift <= 31

  /// Whether from_real takes `scale`.
  QUERN_INLINE static constexpr bool accepts(double scale) noexcept { return scale >= 0 && scale < 2147483647.5; }
  /// @errors scale: negative, NaN, or 2^31 and above.
  QUERN_INLINE static constexpr parameters from_real(double scale) {
    return quantize_multiplier_tvm(detail::checked_scale(name, scale, 2147483647.5));
  }
  QUERN_INLINE static constexpr std::int32_t apply(std::int32_t x, parameters p) noexcept {
    if (p.shift < -31) return 0;
    std::int64_t const product = tvm_upward_per_axis::product(x, p);
    int const t = 31 + (p.shift < 0 ? -p.shift : 0);
    return wrap32((product + (std::int64_t{1} << (t - 1)) - (product < 0 ? 1 : 0)) >> t);
  }
};

}  // namespace quern::rescale
