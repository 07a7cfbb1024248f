// conv_problem.hpp — the convolutions that every library runs, and the exact answers.
//
// NHWC activations over their whole type, padded by half of the kernel with zeros (zero point 0: oneDNN has no other without a
// cost), OHWI weights -127..127, an int32 bias and a scale by channel. Weights are packed outside of the timing.
#pragma once

#include "peaks.hpp"
#include "support.hpp"

#include <cmath>
#include <memory>

namespace quern::bench {

/// An image of h x w x in by a k x k kernel; depthwise: one input channel an output.
struct conv_shape {
  index_t k, in, out, h, w, stride;
  bool depthwise = false;

  constexpr index_t pad() const { return k / 2; }
  constexpr index_t out_h() const { return (h + 2 * pad() - k) / stride + 1; }
  constexpr index_t out_w() const { return (w + 2 * pad() - k) / stride + 1; }
  constexpr index_t inputs() const { return depthwise ? 1 : in; }  // of one output
  constexpr index_t taps() const { return k * k * inputs(); }
};
inline double ops(conv_shape const& s) { return 2.0 * static_cast<double>(s.out_h() * s.out_w() * s.out * s.taps()); }

inline constexpr conv_shape conv_shapes[] = {{3, 64, 64, 56, 56, 1},          {3, 256, 256, 14, 14, 1},       {1, 256, 64, 56, 56, 1},
                                             {1, 1024, 256, 14, 14, 1},       {7, 3, 64, 224, 224, 2},        {3, 32, 32, 112, 112, 1, true},
                                             {3, 512, 512, 14, 14, 1, true}, {3, 128, 128, 56, 56, 2, true}};

/// "conv/quern/avx2/u8s8-s8/3x3_64-64_56x56/threads:1", dw/... for depthwise ones.
inline std::string conv_name(std::string const& library, std::string const& isa_name, std::string const& types, conv_shape const& s,
                             int threads = 1) {
  auto const by = [](index_t a, index_t b) { return std::to_string(a) + "x" + std::to_string(b); };
  return (s.depthwise ? "dw/" : "conv/") + library + "/" + isa_name + "/" + types + "/" + by(s.k, s.k) + "_" + std::to_string(s.in) + "-" +
         std::to_string(s.out) + "_" + by(s.h, s.w) + (s.stride > 1 ? "_s" + std::to_string(s.stride) : "") + "/threads:" +
         std::to_string(threads);
}

/// Operands, and the exact answer for some output rows: the first, the last and some between.
template <class Src>
struct conv_problem {
  conv_shape s;
  buffer<Src> src;
  buffer<std::int8_t> weights;  // OHWI
  buffer<std::int32_t> bias;
  buffer<float> scale;
  std::vector<index_t> rows;
  std::vector<std::int32_t> acc;  // rows.size() x out_w x out

  explicit conv_problem(conv_shape const& shape)
      : s(shape),
        src(random_integers<Src>(s.h * s.w * s.in, std::is_signed_v<Src> ? -128 : 0, std::is_signed_v<Src> ? 127 : 255, 1)),
        weights(random_integers<std::int8_t>(s.out * s.taps(), -127, 127, 2)),
        bias(random_integers<std::int32_t>(s.out, -20000, 20000, 3)),
        scale(s.out) {
    // As in gemm_problem: three times the typical |acc| becomes 127.
    for (index_t j = 0; j < s.out; ++j)
      scale[j] = static_cast<float>(127.0 / (3 * 5400 * std::sqrt(static_cast<double>(s.taps()))) * (0.75 + 0.5 * static_cast<double>(j % 97) / 97));
    index_t const few = std::min<index_t>(s.out_h(), 5);
    for (index_t r = 0; r < few; ++r) rows.push_back(r * (s.out_h() - 1) / (few - 1));
    for (index_t const y : rows)
      for (index_t x = 0; x < s.out_w(); ++x)
        for (index_t o = 0; o < s.out; ++o) acc.push_back(sum(y, x, o));
  }

  std::int32_t sum(index_t y, index_t x, index_t o) const {
    std::int32_t total = 0;
    for (index_t ky = 0; ky < s.k; ++ky)
      for (index_t kx = 0; kx < s.k; ++kx) {
        index_t const sy = y * s.stride - s.pad() + ky, sx = x * s.stride - s.pad() + kx;
        if (sy < 0 || sy >= s.h || sx < 0 || sx >= s.w) continue;
        Src const* const a = src.data() + (sy * s.w + sx) * s.in + (s.depthwise ? o : 0);
        std::int8_t const* const b = weights.data() + (o * s.k * s.k + ky * s.k + kx) * s.inputs();
        for (index_t i = 0; i < s.inputs(); ++i) total += a[i] * b[i];
      }
    return total;
  }

  void check_s32(check& c, std::int32_t const* dst) const {
    std::vector<std::int32_t> got;
    index_t const row = s.out_w() * s.out;
    for (index_t y : rows) got.insert(got.end(), dst + y * row, dst + (y + 1) * row);
    c.compare(got.data(), acc.data(), static_cast<index_t>(acc.size()));
  }
  /// As gemm_problem's: Real is double for the rivals, float for what epilogue<to_real> promises.
  template <class Real = double>
  void check_fused(check& c, std::int8_t const* dst) const {
    std::vector<std::int8_t> got, expected;
    index_t const row = s.out_w() * s.out;
    std::size_t i = 0;
    for (index_t y : rows)
      for (index_t at = 0; at < row; ++at, ++i) {
        index_t const o = at % s.out;
        Real const real = static_cast<Real>(acc[i] + bias[o]) * static_cast<Real>(scale[o]);
        expected.push_back(static_cast<std::int8_t>(std::min(std::max(std::nearbyint(static_cast<double>(real)), -128.0), 127.0)));
        got.push_back(dst[y * row + at]);
      }
    c.compare(got.data(), expected.data(), static_cast<index_t>(got.size()));
  }
};

}  // namespace quern::bench
