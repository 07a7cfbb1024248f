// scalar.hpp — the stages of an epilogue as code, one element at a time.
//
// What epilogue/body.inl does sixteen elements at a time must equal this. The scalar form also serves destinations with gaps
// between their columns, int64 accumulators, and CPUs without a body of their own.
#pragma once

#include "../core/math.hpp"
#include "../core/reals.hpp"
#include "../core/saturate.hpp"
#include "../round/half_even.hpp"
#include "epilogue.hpp"

QUERN_FP_BEGIN

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// value + zero_point within [min, max] of an integer destination; a float is rounded half to even, NaN is min.
template <class Dst>
struct integer_limits {
  std::int32_t min, max;
  QUERN_INLINE static constexpr integer_limits of(double lo, double hi) noexcept {
    using c = code_of_t<Dst>;
    auto const whole = [](double x) {  // NaN does not get here: gemm refuses it
      return static_cast<std::int32_t>(clamp(x, static_cast<double>(c::min), static_cast<double>(c::max)));
    };
    return {whole(ceil_of(lo)), whole(floor_of(hi))};
  }
};

template <class Dst, class Value>
QUERN_INLINE constexpr Dst finish_integer(Value value, std::int32_t zero_point, std::int32_t min, std::int32_t max) noexcept {
  if constexpr (std::is_same_v<Value, float>) {
    // Clamped before it is rounded, so that no float leaves int32; both limits are integers, so the result is the same.
    double const lo = static_cast<double>(min) - zero_point, hi = static_cast<double>(max) - zero_point;
    double const v = static_cast<double>(value);
    std::int64_t const q = !(v > lo) ? min - static_cast<std::int64_t>(zero_point)
                           : v > hi  ? max - static_cast<std::int64_t>(zero_point)
                                     : static_cast<std::int64_t>(round_to::half_even::to_integral(v));
    return static_cast<Dst>(q + zero_point);
  } else {
    return static_cast<Dst>(clamp<std::int64_t>(static_cast<std::int64_t>(value) + zero_point, min, max));
  }
}

/// x within [min, max]; NaN becomes min.
QUERN_INLINE constexpr float finish_real(float x, float min, float max) noexcept {
  x = x > min ? x : min;
  return x < max ? x : max;
}

/// Four floats' bits; GCC 12 makes no vectors of plain loops at -O2, and a float a cycle is 4 % of a product of 32 x 100 x 37.
typedef std::uint32_t four_bits __attribute__((vector_size(16)));

/// Whether all of x[0..n) are positive and finite: bits from 1 to 0x7f7fffff, for which neither of these has its sign.
inline bool all_positive_finite(float const* x, index_t n) noexcept {
  four_bits wrong{}, b;
  index_t i = 0;
  for (; i + 4 <= n; i += 4) {
    __builtin_memcpy(&b, x + i, sizeof b);
    wrong |= (b - 1u) | (b + 0x800000u);
  }
  std::uint32_t any = wrong[0] | wrong[1] | wrong[2] | wrong[3];
  for (; i < n; ++i) any |= (__builtin_bit_cast(std::uint32_t, x[i]) - 1u) | (__builtin_bit_cast(std::uint32_t, x[i]) + 0x800000u);
  return any >> 31 == 0;
}

/// Whether all of x[0..n), none negative, are below one; NaN is not.
inline bool all_below_one(float const* x, index_t n) noexcept {
  four_bits below = ~four_bits{}, b;
  index_t i = 0;
  for (; i + 4 <= n; i += 4) {
    __builtin_memcpy(&b, x + i, sizeof b);
    below &= b - 0x3f800000u;
  }
  std::uint32_t all = below[0] & below[1] & below[2] & below[3];
  for (; i < n; ++i) all &= __builtin_bit_cast(std::uint32_t, x[i]) - 0x3f800000u;
  return all >> 31 != 0;
}

/// The bound that keeps the sum of two rescaled values inside of int32 without changing what a 16-bit destination gets.
inline constexpr std::int32_t residual_limit = 1 << 30;

/// Everything behind the sums of the accumulator. `acc` has its zero-point corrections and bias; for weights in groups `real` is
/// the sum of the scaled groups instead.
template <class Dst, class Acc, class R, class S, class T>
QUERN_INLINE constexpr void finish_one(epilogue<R, S, T> const& e, Acc acc, float real, index_t i, index_t j, Dst& dst) {
  if constexpr (std::is_same_v<R, to_real>) {
    float value = rounded(real * rounded(e.rescale.rows[i] * e.rescale.cols[j]));
    if (e.rescale.bias.size > 0) value = rounded(value + e.rescale.bias[j]);
    if constexpr (S::present) {
      float r = 0;
      if constexpr (std::is_integral_v<typename S::type>)
        r = static_cast<float>(static_cast<std::int32_t>(e.residual.from(i, j)) - e.residual.zero_point);
      else
        r = static_cast<float>(e.residual.from(i, j));
      value = rounded(value + rounded(r * e.residual.rescale));
    }
    if constexpr (has_functor<T>) value = e.then(value, i, j);
    if constexpr (quantized_storage<Dst>) {
      auto const limits = integer_limits<Dst>::of(e.min, e.max);
      dst = finish_integer<Dst>(value, e.dst_zero_point, limits.min, limits.max);
    } else {
      dst = static_cast<Dst>(finish_real(value, static_cast<float>(e.min.value), static_cast<float>(e.max.value)));
    }
  } else {
    std::int32_t value = 0;
    if constexpr (std::is_same_v<R, no_rescale>)
      value = wrap32(acc);
    else if constexpr (sizeof(Acc) == 8 && wide_rescale_policy<R>)
      value = R::apply(acc, e.rescale[j]);
    else
      value = R::apply(static_cast<std::int32_t>(acc), e.rescale[j]);
    if constexpr (S::present) {
      std::int32_t r = static_cast<std::int32_t>(e.residual.from(i, j)) - e.residual.zero_point;
      if constexpr (!std::is_same_v<R, no_rescale>) r = R::apply(r, e.residual.rescale);
      if constexpr (sizeof(Dst) < 4)
        value = clamp(value, -residual_limit, residual_limit - 1) + clamp(r, -residual_limit, residual_limit - 1);
      else
        value = wrap32(static_cast<std::int64_t>(value) + r);
    }
    if constexpr (has_functor<T>) value = e.then(value, i, j);
    auto const limits = integer_limits<Dst>::of(e.min, e.max);
    if constexpr (std::is_same_v<Dst, std::int32_t>)
      if (e.accumulate) value = wrap32(static_cast<std::int64_t>(dst) + value);
    dst = finish_integer<Dst>(value, e.dst_zero_point, limits.min, limits.max);
  }
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern

QUERN_FP_END
