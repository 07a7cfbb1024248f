// problem.hpp — a random convolution with its operands between guard pages, and what the reference makes of it.
#pragma once

#include <quern/ops/conv2d.hpp>
#include <quern/ops/depthwise.hpp>
#include <quern/reference/conv.hpp>

#include "support/guarded.hpp"

#include <cstdint>
#include <random>
#include <vector>

namespace conv_test {

using namespace quern;

struct numbers {
  std::mt19937 engine;
  explicit numbers(unsigned seed) : engine(seed) {}
  int operator()(int low, int high) { return low + static_cast<int>(engine() % static_cast<unsigned>(high - low + 1)); }
  /// Codes of T: random, or one of its two limits throughout, where sums are largest.
  template <class T>
  void fill(T* p, index_t n, int low = code_of_t<T>::min, int high = code_of_t<T>::max) {
    int const kind = (*this)(0, 5);
    for (index_t i = 0; i < n; ++i) p[i] = static_cast<T>(kind == 0 ? low : kind == 1 ? high : kind == 2 ? (i % 2 != 0 ? low : high) : (*this)(low, high));
  }
};

/// Geometry of one case.
struct geometry {
  index_t batch = 1, h = 1, w = 1, inputs = 1, outputs = 1;  // channels a group
  extent kernel{};
  conv_options options{};
};

/// A requantization that spreads the codes over int8 whatever the depth.
struct output_stage {
  std::vector<std::int32_t> bias;
  std::vector<rescale::multiplier_shift> multipliers;
  output_stage(numbers& random, index_t channels, index_t depth) {
    for (index_t c = 0; c < channels; ++c) {
      bias.push_back(random(-20000, 20000));
      multipliers.push_back(rescale::quantize_multiplier(random(1, 1000) * 2e-5 / static_cast<double>(depth > 0 ? depth : 1)));
    }
  }
  epilogue<rescale::gemmlowp_double> fast(std::int32_t zero_point) const {
    epilogue<rescale::gemmlowp_double> e{};
    e.lhs_zero_point = zero_point;
    e.bias = view(bias.data(), static_cast<index_t>(bias.size()));
    e.rescale = view(multipliers.data(), static_cast<index_t>(multipliers.size()));
    e.dst_zero_point = -7;
    e.min = -120;
    e.max = 110;
    return e;
  }
  reference::requantized<rescale::gemmlowp_double> slow() const { return {bias.data(), multipliers.data(), 1, -7, -120, 110}; }
};

}  // namespace conv_test
