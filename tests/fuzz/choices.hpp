// choices.hpp — a fuzz target's parameters and operands out of any bytes.
#pragma once

#include "quern/core/integers.hpp"
#include "quern/core/math.hpp"

#include <cstdint>
#include <vector>

namespace fuzz {

using namespace quern;

/// Choices out of bytes; zeros when they run out.
struct choices {
  unsigned char const* data;
  std::size_t size, at = 0;

  unsigned byte() { return at < size ? data[at++] : 0; }
  index_t upto(unsigned limit) { return static_cast<index_t>((byte() | byte() << 8) % (limit + 1)); }
  bool coin() { return byte() & 1; }
  std::int32_t word() {
    std::uint32_t w = 0;
    for (int i = 0; i < 4; ++i) w |= static_cast<std::uint32_t>(byte()) << (8 * i);
    return static_cast<std::int32_t>(w);
  }
  /// Positive, between 2^-20 and 2^4.
  float scale() { return ldexp_of(static_cast<float>(1 + upto(65534)), -static_cast<int>(byte() % 25) - 12); }
};

/// Operand values: extremes, one-hot, or noise grown from a seed, so that few bytes fill large matrices.
template <class T>
void fill(std::vector<T>& v, choices& c, std::int32_t lo, std::int32_t hi) {
  unsigned const kind = c.byte() % 5;
  auto state = static_cast<std::uint32_t>(c.word()) | 1u;
  for (std::size_t i = 0; i < v.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    std::uint32_t const r = state >> 16;
    std::int32_t x = 0;
    switch (kind) {
      case 0: x = lo; break;
      case 1: x = hi; break;
      case 2: x = r & 1 ? lo : hi; break;
      case 3: x = i == state % v.size() ? lo : 0; break;
      default: x = lo + static_cast<std::int32_t>(r % static_cast<std::uint32_t>(hi - lo + 1));
    }
    v[i] = static_cast<T>(x < lo ? lo : x > hi ? hi : x);
  }
}

}  // namespace fuzz
