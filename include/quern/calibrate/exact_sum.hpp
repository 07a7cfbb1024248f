// exact_sum.hpp — a sum of doubles without any rounding, so that it does not depend on the order of its terms.
//
// Observers must give the same bits whichever batch came first and however many threads took part. Sums of doubles do not:
// (a + b) + c differs from a + (b + c). Here the sum is kept as one long integer, in units of 2^-352, and rounded when read.
#pragma once

#include "../core/math.hpp"

namespace quern::calibrate {

/// Adds doubles whose magnitude is 0 or between 2^-299 and 2^319; bits below 2^-352 are dropped. Sums and sums of squares of
/// floats are such numbers, for up to 2^60 of them. Not for NaN or infinity.
class exact_sum {
 public:
  static constexpr int limbs = 22;  // 32 bits of payload in each, limb 0 is 2^-352 and up

  QUERN_INLINE constexpr void add(double x) noexcept {
    if (x == 0) return;
    auto const [fraction, exponent] = frexp_of(x);
    auto const mantissa = static_cast<std::int64_t>(fraction * 9007199254740992.0);  // 53 bits, exact
    int const place = exponent - 53 + 32 * (limbs / 2);                               // of the mantissa's last bit
    if (place < 0) return;
    int const at = place / 32, shift = place % 32;
    __extension__ using int128 = __int128;
    int128 const wide = static_cast<int128>(mantissa) << shift;                       // below 2^85: three limbs
    limb_[at] += static_cast<std::int64_t>(wide & 0xffffffff);
    if (at + 1 < limbs) limb_[at + 1] += static_cast<std::int64_t>((wide >> 32) & 0xffffffff);
    if (at + 2 < limbs) limb_[at + 2] += static_cast<std::int64_t>(wide >> 64);
    carry();
  }
  QUERN_INLINE constexpr void add(exact_sum const& other) noexcept {
    for (int i = 0; i < limbs; ++i) limb_[i] += other.limb_[i];
    carry();
  }
  /// The sum, within half a unit in the last place of the double (one, next to the middle of two).
  QUERN_INLINE constexpr double value() const noexcept {
    double sum = 0;
    // The top limb is signed, the others are 0 .. 2^32 - 1: of a negative sum take the magnitude first, nothing cancels then.
    exact_sum magnitude = *this;
    bool const negative = limb_[limbs - 1] < 0;
    if (negative) {
      for (auto& l : magnitude.limb_) l = -l;
      magnitude.carry();
    }
    for (int i = 0; i < limbs; ++i)  // from the small end
      if (magnitude.limb_[i] != 0) sum += ldexp_of(static_cast<double>(magnitude.limb_[i]), 32 * (i - limbs / 2));
    return negative ? -sum : sum;
  }
  friend constexpr bool operator==(exact_sum const&, exact_sum const&) = default;

  QUERN_INLINE constexpr std::int64_t limb(int i) const noexcept { return limb_[i]; }
  QUERN_INLINE constexpr void set_limb(int i, std::int64_t v) noexcept { limb_[i] = v; }

 private:
  QUERN_INLINE constexpr void carry() noexcept {
    for (int i = 0; i + 1 < limbs; ++i) {
      limb_[i + 1] += limb_[i] >> 32;
      limb_[i] &= 0xffffffff;
    }
  }
  std::int64_t limb_[limbs] = {};
};

}  // namespace quern::calibrate
