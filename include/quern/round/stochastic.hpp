// stochastic.hpp — up or down at random, so that the mean of the result is x: for gradients and quantization-aware training.
//
// The random number is a function of (seed, index) only, with no state to share: the same bits for the same seed and index on
// every instruction set, thread count and order of evaluation. Made of 32-bit multiplies, which every vector unit has:
//
//     mix(h):  h ^= h >> 16;  h *= 0x85ebca6b;  h ^= h >> 13;  h *= 0xc2b2ae35;  h ^= h >> 16        (a bijection)
//     word(seed, index) = mix( (mix(lo(index) ^ lo(seed)) + 0x9e3779b9 * hi(index)) ^ hi(seed) ^ 0x5851f42d )
//
// where lo and hi are the halves of a 64-bit number. For a fixed seed and hi(index) it is a bijection of lo(index): over 2^32
// consecutive indices each word comes exactly once. mix is the finalizer of MurmurHash3 (A. Appleby, public domain).
#pragma once

#include "../core/math.hpp"

namespace quern::round_to {

/// Rounds ±(n + f) to ±(n + 1) when f > u, u = (word >> 8) * 2^-24, and to ±n otherwise, so that the probability of going away
/// from zero is f rounded up to a multiple of 2^-24: exactly f for every float of magnitude 1 or more; at most 6e-8 above it
/// below 1. Integral values stay. Not cryptographic.
struct stochastic {
  static constexpr char const* name = "stochastic";
  std::uint64_t seed = 0;

  /// 32 random bits of the element with this index.
  QUERN_INLINE constexpr std::uint32_t word(std::uint64_t index) const noexcept {
    std::uint32_t const inner = mix(low(index) ^ low(seed)) + 0x9e3779b9u * high(index);
    return mix(inner ^ high(seed) ^ 0x5851f42du);
  }

  /// x rounded to one of its two integral neighbours. NaN and infinities pass through.
  template <class F>
  QUERN_INLINE constexpr F to_integral(F x, std::uint64_t index) const noexcept {
    F const t = trunc_of(x), f = abs_of(x - t);
    F const u = static_cast<F>(word(index) >> 8) * F{5.9604644775390625e-8f};  // 2^-24; 24 bits are exact in a float
    if (!(f > u)) return t;
    return sign_bit(x) ? t - F{1} : t + F{1};
  }

 private:
  QUERN_INLINE static constexpr std::uint32_t low(std::uint64_t x) noexcept { return static_cast<std::uint32_t>(x); }
  QUERN_INLINE static constexpr std::uint32_t high(std::uint64_t x) noexcept { return static_cast<std::uint32_t>(x >> 32); }
  QUERN_INLINE static constexpr std::uint32_t mix(std::uint32_t h) noexcept {
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    return h ^ (h >> 16);
  }
};

}  // namespace quern::round_to
