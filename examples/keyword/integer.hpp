// integer.hpp — the same network in int8: calibrated, quantized, packed, and run in one block of memory planned beforehand.
#pragma once

#include "network.hpp"

#include <quern/convert/quantize.hpp>
#include <quern/fixed_point/elementwise.hpp>
#include <quern/fixed_point/softmax.hpp>
#include <quern/ops/arena.hpp>
#include <quern/ops/conv2d.hpp>
#include <quern/ops/depthwise.hpp>
#include <quern/scheme/choose_params.hpp>

namespace keyword {

using activation_params = quern::params<quern::asymmetric<quern::s8>>;

/// TFLite's arithmetic from the features to the scores: double-rounding multipliers, one weight scale a channel (or a tensor),
/// int32 biases, average pooling and a fixed-point softmax. No floating point after construction.
class integer_network {
 public:
  integer_network(network const& net, matrix const& calibration, int clips, bool per_channel);

  /// frames x bands features of the front end to `classes` scores of 1/256, -128 standing for 0. Does not allocate.
  void run(std::int16_t const* features, std::int8_t* scores, quern::isa max_isa = quern::isa::best);
  /// One layer, 0 to size() - 1, of what the layers before it left; `load` first.
  void load(std::int16_t const* features);
  void run_layer(std::size_t l, quern::isa max_isa = quern::isa::best);

  std::size_t size() const { return layers_.size(); }
  std::int8_t const* output(std::size_t l) const { return arena_.data() + offsets_[l + 1]; }
  activation_params params(std::size_t l) const { return layers_[l].out; }
  quern::index_t arena_bytes() const { return arena_.size(); }
  quern::index_t workspace_bytes() const { return workspace_.size(); }
  long weight_bytes() const { return weight_bytes_; }

 private:
  using multiplier = quern::rescale::gemmlowp_double;
  struct integer_layer {
    layer shape;  // without its weights
    quern::packed_conv<std::int8_t> conv;
    quern::packed_depthwise<std::int8_t> depthwise;
    std::vector<std::int32_t> bias;
    std::vector<multiplier::parameters> multipliers;
    activation_params in, out;
  };
  quern::epilogue<multiplier> epilogue_of(integer_layer const& l) const;

  std::vector<integer_layer> layers_;
  quern::fixed_point::requantize<> from_features_{};
  quern::fixed_point::softmax8<> softmax_{};
  std::vector<quern::index_t> offsets_;  // of the input and each layer's output
  quern::buffer<std::int8_t> arena_;
  quern::buffer<unsigned char> workspace_;
  long weight_bytes_ = 0;
};

}  // namespace keyword
