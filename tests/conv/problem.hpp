// problem.hpp — a random convolution with its operands between guard pages, and what the reference makes of it.
#pragma once

#include <quern/ops/conv2d.hpp>
#include <quern/ops/depthwise.hpp>
#include <quern/reference/conv.hpp>

#include "support/guarded.hpp"

#include <cstdint>
#include <random>
#include <set>
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

/// A window along one dimension, before it is resolved.
struct axis_case {
  index_t in, kernel, stride, dilation, before, after;
};

/// Every window of 1 to 9 positions, kernels 1 to 5, strides and dilations 1 to 3 and, `given`, paddings 0 to 2 that has an output.
inline std::vector<axis_case> every_axis(padding_rule rule, bool spreading = false) {
  std::vector<axis_case> all;
  index_t const most = rule == padding_rule::given ? 2 : 0;
  for (index_t in = 1; in <= 9; ++in)
    for (index_t kernel = 1; kernel <= 5; ++kernel)
      for (index_t stride = 1; stride <= 3; ++stride)
        for (index_t dilation = 1; dilation <= 3; ++dilation)
          for (index_t before = 0; before <= most; ++before)
            for (index_t after = 0; after <= most; ++after) {
              index_t const reach = (kernel - 1) * dilation + 1;
              bool const there = spreading ? (in - 1) * stride + reach > before + after : in + before + after >= reach;
              if (there || rule != padding_rule::given) all.push_back({in, kernel, stride, dilation, before, after});
            }
  return all;
}

/// Calls f(n, vertical, horizontal, rule) so that every window is once the vertical and once the horizontal one: the axes of a
/// convolution do not know of each other, so that is every geometry. Beside them every pair of sizes, kernels, strides and
/// dilations has its turn, which is checked; `n` counts, for what else is to go round.
template <class F>
void every_geometry(bool spreading, F const& f) {
  std::set<std::pair<index_t, index_t>> sizes, kernels, strides, dilations;
  int n = 0;
  for (auto const rule : {padding_rule::given, padding_rule::same, padding_rule::same_lower}) {
    auto const all = every_axis(rule, spreading);
    std::set<std::size_t> horizontal;
    for (std::size_t i = 0; i < all.size(); ++i) {
      std::size_t const j = (i * 1009 + 7) % all.size();  // a prime that divides none of the counts: each comes once
      horizontal.insert(j);
      axis_case const &v = all[i], &h = all[j];
      sizes.insert({v.in, h.in}), kernels.insert({v.kernel, h.kernel}), strides.insert({v.stride, h.stride}), dilations.insert({v.dilation, h.dilation});
      f(n++, v, h, rule);
    }
    REQUIRE(horizontal.size() == all.size());
  }
  REQUIRE(sizes.size() == 81);
  REQUIRE(kernels.size() == 25);
  REQUIRE(strides.size() == 9);
  REQUIRE(dilations.size() == 9);
}

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
