// saturate.hpp — saturate to an integer type's limits, clamp to an activation's.
#pragma once

#include "integers.hpp"

namespace quern {
inline namespace QUERN_ABI {

/// min(max(x, lo), hi); requires lo <= hi.
template <class T>
QUERN_INLINE constexpr T clamp(T x, T lo, T hi) noexcept {
  return x < lo ? lo : hi < x ? hi : x;
}

/// The nearest value of `Code` (a code or a builtin integer) to the integer `x`.
template <quantized_code Code>
QUERN_INLINE constexpr typename code_of_t<Code>::storage saturate(std::int64_t x) noexcept {
  using c = code_of_t<Code>;
  return static_cast<typename c::storage>(clamp<std::int64_t>(x, c::min, c::max));
}

/// x modulo 2^32 as a signed number: what int32 hardware keeps.
QUERN_INLINE constexpr std::int32_t wrap32(std::int64_t x) noexcept {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(static_cast<std::uint64_t>(x)));
}

}  // inline namespace QUERN_ABI
}  // namespace quern
