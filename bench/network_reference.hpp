// network_reference.hpp — TensorFlow Lite's int8 arithmetic in plain loops, for network.cpp to be compared with. Written from the
// published formulas; the loops stand in the order of TFLite Micro's portable kernels. Compiled with -O3 -march=native.
#pragma once

#include <cstdint>

namespace quern::bench::plain {

struct image {
  int h, w, c;
};
/// Everything of a convolution but its data. `multiplier` is 0 for a full convolution, else a depthwise one's.
struct conv {
  image in, out;
  int kernel_h, kernel_w, stride, pad_h, pad_w, multiplier;
  std::int32_t in_zero, out_zero, low, high;
  std::int8_t const* weights;
  std::int32_t const *bias, *multipliers, *shifts;
};
void run(conv const& c, std::int8_t const* x, std::int8_t* y);
void average_pool(image in, image out, int kernel_h, int kernel_w, int stride, std::int8_t const* x, std::int8_t* y);

}  // namespace quern::bench::plain
