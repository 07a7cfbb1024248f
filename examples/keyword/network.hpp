// network.hpp — a depthwise-separable CNN in float: running and training it.
#pragma once

#include "sounds.hpp"

#include <Eigen/Core>

#include <algorithm>

namespace keyword {

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using vector = Eigen::Matrix<float, 1, Eigen::Dynamic>;

enum class kind { conv, depthwise, pointwise, average, dense };

/// One layer. An activation is a matrix: one row a pixel of every clip of the batch, one column a channel. ReLU behind all that have
/// weights but the last.
struct layer {
  kind what;
  int kernel_h = 1, kernel_w = 1, stride = 1;
  int in_h = 0, in_w = 0, in_c = 0, out_h = 0, out_w = 0, out_c = 0;
  matrix weights;  // conv, pointwise, dense: outputs x (kernel_h, kernel_w, in_c); depthwise: (kernel_h, kernel_w) x channels
  vector bias;
  bool relu = true;

  int pad_top() const { return std::max((out_h - 1) * stride + kernel_h - in_h, 0) / 2; }
  int pad_left() const { return std::max((out_w - 1) * stride + kernel_w - in_w, 0) / 2; }
  double operations() const;  // multiplications and additions for a clip
  char const* name() const;
};
using network = std::vector<layer>;

network make_network(generator& random);

/// What each layer puts out, of `clips` clips whose features lie in x.
std::vector<matrix> run(network const& net, matrix const& x, int clips);

/// The features of some clips as the network's input.
matrix input(dataset const& d, int first, int count);

/// Adam on the cross entropy, with a line of progress.
void train(network& net, dataset const& data, int epochs, generator& random);

}  // namespace keyword
