// exact.hpp — an oracle for rounding and rescaling: exact rationals in 128-bit integers, and binary32 arithmetic done by hand.
//
// Written from the definitions and sharing no code with include/quern: floor division and comparison with a half, nothing else.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace exact {

__extension__ using big = __int128;

enum class tie { even, away, up, zero, even_positive };
enum class direction { down, up, zero };

inline big floor_div(big a, big b) {  // b > 0
  big q = a / b;
  if (a % b != 0 && a < 0) --q;
  return q;
}

/// num / den to the nearest integer, den > 0.
inline big nearest(big num, big den, tie t) {
  big const below = floor_div(num, den), twice = 2 * (num - below * den);
  if (twice < den) return below;
  if (twice > den) return below + 1;
  switch (t) {
    case tie::even: return below % 2 == 0 ? below : below + 1;
    case tie::away: return num < 0 ? below : below + 1;
    case tie::up: return below + 1;
    case tie::zero: return num < 0 ? below + 1 : below;
    case tie::even_positive: return num < 0 ? below + 1 : (below % 2 == 0 ? below : below + 1);
  }
  throw std::logic_error("tie");
}

inline big directed(big num, big den, direction d) {
  big const below = floor_div(num, den);
  if (below * den == num) return below;
  if (d == direction::down) return below;
  if (d == direction::up) return below + 1;
  return num < 0 ? below + 1 : below;
}

inline big pow2(int e) {
  if (e < 0 || e > 125) throw std::logic_error("pow2");
  return big{1} << e;
}

inline std::int64_t wrapped32(big v) {
  big m = v % (big{1} << 32);
  if (m < 0) m += big{1} << 32;
  if (m >= (big{1} << 31)) m -= big{1} << 32;
  return static_cast<std::int64_t>(m);
}

inline big saturated(big v, int bits) {
  big const hi = (big{1} << (bits - 1)) - 1, lo = -hi - 1;
  return v < lo ? lo : v > hi ? hi : v;
}

/// numerator * 2^exponent, any sign of exponent.
struct dyadic {
  big numerator = 0;
  int exponent = 0;
};

template <class F>
dyadic value_of(F x) {
  if constexpr (sizeof(F) == 4) {
    std::uint32_t b;
    std::memcpy(&b, &x, 4);
    int const e = static_cast<int>((b >> 23) & 0xff);
    big m = b & 0x7fffff;
    if (e != 0) m += 1 << 23;
    return {b >> 31 ? -m : m, (e == 0 ? 1 : e) - 150};
  } else {
    std::uint64_t b;
    std::memcpy(&b, &x, 8);
    int const e = static_cast<int>((b >> 52) & 0x7ff);
    big m = static_cast<big>(b & 0xfffffffffffffull);
    if (e != 0) m += big{1} << 52;
    return {b >> 63 ? -m : m, (e == 0 ? 1 : e) - 1075};
  }
}

inline dyadic times(dyadic a, dyadic b) { return {a.numerator * b.numerator, a.exponent + b.exponent}; }

/// To the nearest integer; values too small for 128 bits are told apart from 0 by sign only.
inline big nearest(dyadic v, tie t) {
  if (v.numerator == 0) return 0;
  if (v.exponent >= 0) {
    if (v.exponent > 60) throw std::logic_error("nearest: too large");
    return v.numerator * pow2(v.exponent);
  }
  if (-v.exponent > 120) return 0;  // |numerator| < 2^96 in every use: below one half
  return nearest(v.numerator, pow2(-v.exponent), t);
}

/// Rounded to `bits` significant bits, ties to even: binary32 for 24 (exponent range not limited), binary64 for 53.
inline dyadic to_precision(dyadic v, int bits) {
  big m = v.numerator < 0 ? -v.numerator : v.numerator;
  int drop = 0;
  while ((m >> drop) >= pow2(bits)) ++drop;
  if (drop == 0) return v;
  big const kept = nearest(v.numerator, pow2(drop), tie::even);
  return {kept, v.exponent + drop};
}

inline dyadic plus(dyadic a, dyadic b) {
  if (a.numerator == 0) return b;
  if (b.numerator == 0) return a;
  int const e = a.exponent < b.exponent ? a.exponent : b.exponent;
  if (a.exponent - e > 64 || b.exponent - e > 64) throw std::logic_error("plus: too far apart");
  return {a.numerator * pow2(a.exponent - e) + b.numerator * pow2(b.exponent - e), e};
}

/// a / b rounded to `bits` significant bits, ties to even; numerators below 2^54, b not 0.
inline dyadic divided(dyadic a, dyadic b, int bits) {
  if (a.numerator == 0) return {0, 0};
  big const n = a.numerator < 0 ? -a.numerator : a.numerator, d = b.numerator < 0 ? -b.numerator : b.numerator;
  int up = 0;
  while (((n << up) / d) < pow2(bits + 2)) ++up;  // two bits to spare, and one that tells whether anything is left
  big q = ((n << up) / d) * 2 + ((n << up) % d != 0);
  if ((a.numerator < 0) != (b.numerator < 0)) q = -q;
  return to_precision({q, a.exponent - b.exponent - up - 1}, bits);
}

/// As a float, which holds it: 24 bits, no subnormals among the uses.
inline float to_float(dyadic v) {
  float x = static_cast<float>(v.numerator < 0 ? -v.numerator : v.numerator);
  for (int e = v.exponent; e > 0; --e) x *= 2;
  for (int e = v.exponent; e < 0; ++e) x /= 2;
  return v.numerator < 0 ? -x : x;
}

}  // namespace exact
