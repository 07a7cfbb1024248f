// adam8.hpp — Adam whose two moments take a byte each: a scale for each block of 256, codes from a tree of levels.
//
// The levels of the dynamic tree are spaced evenly within each decade from 1e-7 to 1, twice as many in each next decade: relative
// precision where values differ by orders of magnitude, as squared gradients do. Parameters stay float.
//
//     m ← β1 m + (1 - β1) g        v ← β2 v + (1 - β2) g²        p ← p - lr ( m̂ / (√v̂ + ε) + decay p )
//
// @source  Dettmers et al. 2021, 8-bit Optimizers via Block-wise Quantization, arXiv:2110.02861 (the map of bitsandbytes).
#pragma once

#include "../core/elementary.hpp"
#include "../eigen/view.hpp"
#include "codebook.hpp"

QUERN_FP_BEGIN

namespace quern::compress {

struct adam_options {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
};

inline namespace QUERN_ABI {

/// The 256 levels in [-1, 1] (signed) or [0, 1], ascending, 0 and 1 among them.
inline codebook dynamic_tree(bool is_signed) {
  std::vector<double> levels;
  int const decades = 7, spare = is_signed ? 0 : 1;
  for (int i = 0; i < decades; ++i) {
    // decade i holds 2^(i + spare) steps between 0.1 and 1 times 10^(i - 6); its levels are their middles
    int const items = 1 << (i + spare);
    double const power = pow_of(10.0, i - (decades - 1));
    for (int k = 0; k < items; ++k) {
      double const low = 0.1 + 0.9 * k / items, high = 0.1 + 0.9 * (k + 1) / items;
      double const level = power * 0.5 * (low + high);
      levels.push_back(level);
      if (is_signed) levels.push_back(-level);
    }
  }
  levels.push_back(0);
  levels.push_back(1);
  std::sort(levels.begin(), levels.end());
  codebook book;
  for (double l : levels) book.levels.push_back(static_cast<float>(l));
  return book;
}

/// `size` values as a byte each and a float for each 256.
class blockwise_bytes {
 public:
  static constexpr index_t block = 256;
  blockwise_bytes(index_t size, bool is_signed) : signed_(is_signed), book_(dynamic_tree(is_signed)), codes_(size), scales_((size + block - 1) / block) {
    for (auto& c : codes_) c = static_cast<std::uint8_t>(code_in(book_, 0.0f));
  }
  index_t size() const noexcept { return codes_.size(); }
  index_t bytes() const noexcept { return codes_.size() + 4 * scales_.size(); }
  /// Block b into x; returns how many values it has.
  index_t load(index_t b, float* x) const noexcept {
    index_t const first = b * block, n = std::min(block, size() - first);
    for (index_t i = 0; i < n; ++i) x[i] = book_.levels[codes_[first + i]] * scales_[b];
    return n;
  }
  void store(index_t b, float const* x) noexcept {
    index_t const first = b * block, n = std::min(block, size() - first);
    float most = 0;
    for (index_t i = 0; i < n; ++i) most = abs_of(x[i]) > most ? abs_of(x[i]) : most;
    scales_[b] = most;
    float const up = most < 0x1p-60f ? 0x1p64f : 1.0f;  // 1 / 2e-39 would be infinite
    float const inverse = most > 0 ? 1.0f / (most * up) : 0.0f;
    for (index_t i = 0; i < n; ++i) {
      auto code = static_cast<std::uint8_t>(code_in(book_, x[i] * up * inverse));
      // A second moment that is rounded to 0 would divide by epsilon: the step explodes. The least level only makes it shorter.
      if (!signed_ && code == 0 && x[i] > 0) code = 1;
      codes_[first + i] = code;
    }
  }

 private:
  bool signed_;
  codebook book_;
  buffer<std::uint8_t> codes_;
  buffer<float> scales_;
};

/// Adam with both moments in 8 bits: 2.03 bytes a parameter instead of 8.
class adam8 {
 public:
  /// @errors argument for a negative size or options outside of their ranges.
  explicit adam8(index_t size, adam_options options = {}) : options_(options), m_(check(size, options), true), v_(size, false) {}

  /// One step on `parameters` with `gradient`. A gradient with NaN, or whose square is beyond float, is refused before anything changes.
  /// @errors shape; argument.
  void step(vector_view<float> parameters, vector_view<float const> gradient) {
    if (parameters.size != m_.size() || gradient.size != m_.size())
      fail(errc::shape, "adam8::step: ", parameters.size, " parameters and ", gradient.size, " gradients, the optimizer was made for ", m_.size(), ".");
    for (index_t i = 0; i < gradient.size; ++i)
      if (!(abs_of(gradient[i]) <= 1.8446743e19f))
        fail(errc::argument, "adam8::step: gradient ", i, " is ", static_cast<double>(gradient[i]), "; magnitudes must be below 1.8e19, whose square a float holds: skip such steps, or scale the loss.");
    ++steps_;
    double const c1 = 1 - pow_of(options_.beta1, static_cast<double>(steps_)), c2 = 1 - pow_of(options_.beta2, static_cast<double>(steps_));
    float m[blockwise_bytes::block], v[blockwise_bytes::block];
    index_t const blocks = (m_.size() + blockwise_bytes::block - 1) / blockwise_bytes::block;
    for (index_t b = 0; b < blocks; ++b) {
      index_t const n = m_.load(b, m), first = b * blockwise_bytes::block;
      v_.load(b, v);
      for (index_t i = 0; i < n; ++i) {
        double const g = gradient[first + i];
        double const mean = rounded(options_.beta1 * m[i]) + rounded((1 - options_.beta1) * g);
        double const square = rounded(options_.beta2 * v[i]) + rounded((1 - options_.beta2) * g * g);
        m[i] = static_cast<float>(mean);
        v[i] = static_cast<float>(square);
        double const p = parameters[first + i];
        double const move = (mean / c1) / (sqrt_of(square / c2) + options_.epsilon) + rounded(options_.weight_decay * p);
        parameters[first + i] = static_cast<float>(p - rounded(options_.learning_rate * move));
      }
      m_.store(b, m);
      v_.store(b, v);
    }
  }
  /// The same with Eigen vectors, or matrices without gaps.
  template <foreign P, foreign G>
  void step(P& parameters, G const& gradient) {
    step(quern::detail::values_of("adam8::step", foreign_view<std::remove_const_t<P>>::of(parameters)), quern::detail::values_of("adam8::step", foreign_view<G>::of(gradient)));
  }
  std::int64_t steps() const noexcept { return steps_; }
  index_t state_bytes() const noexcept { return m_.bytes() + v_.bytes(); }

 private:
  static index_t check(index_t size, adam_options const& o) {
    if (size < 0) fail(errc::argument, "adam8: size is ", size, "; it must not be negative.");
    if (!(o.learning_rate > 0) || !(o.beta1 >= 0 && o.beta1 < 1) || !(o.beta2 >= 0 && o.beta2 < 1) || !(o.epsilon > 0) || !(o.weight_decay >= 0))
      fail(errc::argument, "adam8: learning_rate ", o.learning_rate, ", beta1 ", o.beta1, ", beta2 ", o.beta2, ", epsilon ", o.epsilon,
           "; rates must be positive and betas in [0, 1).");
    return size;
  }
  adam_options options_;
  blockwise_bytes m_, v_;
  std::int64_t steps_ = 0;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END
