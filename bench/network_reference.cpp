#include "network_reference.hpp"

#include <algorithm>

namespace quern::bench::plain {
namespace {

/// The high half of twice the product, ties upward; then a division by 2^right, ties away from zero.
inline std::int32_t rescale(std::int32_t x, std::int32_t multiplier, std::int32_t shift) {
  int const left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
  std::int64_t const product = static_cast<std::int64_t>(x * (1 << left)) * multiplier;
  std::int64_t const nudge = product >= 0 ? 1 << 30 : 1 - (1 << 30);
  auto const high = static_cast<std::int32_t>((product + nudge) / (std::int64_t{1} << 31));
  std::int32_t const mask = static_cast<std::int32_t>((std::int64_t{1} << right) - 1), rest = high & mask;
  return (high >> right) + (rest > (mask >> 1) + (high < 0 ? 1 : 0) ? 1 : 0);
}

}  // namespace

void run(conv const& c, std::int8_t const* x, std::int8_t* y) {
  bool const depthwise = c.multiplier != 0;
  int const depth = depthwise ? 1 : c.in.c;
  for (int oy = 0; oy < c.out.h; ++oy)
    for (int ox = 0; ox < c.out.w; ++ox)
      for (int o = 0; o < c.out.c; ++o) {
        std::int32_t acc = 0;
        for (int ky = 0; ky < c.kernel_h; ++ky)
          for (int kx = 0; kx < c.kernel_w; ++kx) {
            int const iy = oy * c.stride - c.pad_h + ky, ix = ox * c.stride - c.pad_w + kx;
            if (iy < 0 || iy >= c.in.h || ix < 0 || ix >= c.in.w) continue;
            std::int8_t const* const pixel = x + (iy * c.in.w + ix) * c.in.c + (depthwise ? o / c.multiplier : 0);
            std::int8_t const* const tap = depthwise ? c.weights + (ky * c.kernel_w + kx) * c.out.c + o : c.weights + ((o * c.kernel_h + ky) * c.kernel_w + kx) * depth;
            for (int i = 0; i < depth; ++i) acc += tap[i] * (pixel[i] - c.in_zero);
          }
        std::int32_t const v = rescale(acc + c.bias[o], c.multipliers[o], c.shifts[o]) + c.out_zero;
        y[(oy * c.out.w + ox) * c.out.c + o] = static_cast<std::int8_t>(std::min(std::max(v, c.low), c.high));
      }
}

void average_pool(image in, image out, int kernel_h, int kernel_w, int stride, std::int8_t const* x, std::int8_t* y) {
  for (int oy = 0; oy < out.h; ++oy)
    for (int ox = 0; ox < out.w; ++ox)
      for (int c = 0; c < in.c; ++c) {
        std::int32_t acc = 0, n = 0;
        for (int iy = oy * stride; iy < std::min(oy * stride + kernel_h, in.h); ++iy)
          for (int ix = ox * stride; ix < std::min(ox * stride + kernel_w, in.w); ++ix) acc += x[(iy * in.w + ix) * in.c + c], ++n;
        y[(oy * out.w + ox) * in.c + c] = static_cast<std::int8_t>(acc > 0 ? (acc + n / 2) / n : (acc - n / 2) / n);
      }
}

}  // namespace quern::bench::plain
