// network.hpp — the float network: training, running, and the two rescalings that leave its function alone.
#pragma once

#include "data.hpp"

#include <Eigen/Core>

#include <functional>

namespace digits {

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using vector = Eigen::Matrix<float, 1, Eigen::Dynamic>;

/// y = x W^T + b, W output by output; ReLU behind all but the last.
struct layer {
  matrix weights;
  vector bias;
};
using network = std::vector<layer>;

/// One row an image.
inline Eigen::Map<matrix const> images(dataset const& d) { return {d.pixels.data(), d.size(), d.pixel_count()}; }

/// What each layer puts out.
std::vector<matrix> run(network const& net, Eigen::Ref<matrix const> const& x);

/// The class of the largest output, for each row.
std::vector<int> classes(Eigen::Ref<matrix const> const& outputs);

/// Right answers.
int count_right(Eigen::Ref<matrix const> const& outputs, std::vector<int> const& labels);

/// Adam on the cross entropy, with a line of progress. `jittered` distorts every image anew in each epoch.
network train(dataset const& data, dataset const& test, int epochs, bool jittered, std::uint64_t seed);

/// How long, how fast, in what order.
struct schedule {
  int epochs = 1;
  bool jittered = false;
  float rate = 0.003f;
  std::uint64_t seed = 7;
};

/// Makes from the float weights those that the forward pass uses (rounded, say); gradients pass straight through to the float ones.
using weight_filter = std::function<void(network const& from, network& used)>;
void fine_tune(network& net, dataset const& data, dataset const& test, schedule const& s, weight_filter const& filter);

/// Multiplies each hidden unit by a factor from 1/sqrt(ratio) to sqrt(ratio) and divides the weights that read it by the same:
/// f(x) stays, because ReLU(a x) = a ReLU(x) for a > 0, but the ranges of the channels are torn apart.
void tear_apart(network& net, float ratio, std::uint64_t seed);

/// Cross-layer equalization by quern::compress: for each hidden unit, its incoming and its outgoing weights get the same range;
/// by powers of two, so that f(x) stays bit for bit.
void equalize(network& net);

}  // namespace digits
