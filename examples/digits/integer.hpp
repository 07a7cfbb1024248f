// integer.hpp — the same network in integers: quantized, packed, run by quern's kernels, and checked against a simulation.
#pragma once

#include "network.hpp"

#include <quern/calibrate/histogram.hpp>
#include <quern/compress/quantized_weights.hpp>
#include <quern/ops/gemm.hpp>
#include <quern/scheme/choose_params.hpp>

namespace digits {

/// Activations are uint8 with one scale a layer; weights are signed and symmetric, without the lowest code.
struct precision {
  int weight_bits = 8;  ///< 2 to 8
  bool per_channel = true;
  /// Codes and scales that somebody else chose (GPTQ, training), a layer each; none: the range's, rounded to nearest.
  std::vector<quern::compress::quantized_weights> const* weights = nullptr;
  /// Range of the activations from their histogram; none: their extremes.
  quern::real_range (*observer)(quern::calibrate::histogram const&) = nullptr;
};

/// What one configuration achieves on the test images.
struct measurement {
  int right = 0;
  std::vector<double> sqnr_db;  ///< of each layer's output, against the float network
  double limit_db = 0;          ///< 6.02 dB for each bit of the coarser operand
  long weight_bytes = 0;        ///< codes and scales
  double nanoseconds = 0;       ///< an image
  double clipped = 0;           ///< share of activations that saturated
  bool identical = false;       ///< every code and every output of the kernels is that of the simulation, bit for bit
};

class integer_network {
 public:
  /// Scales of the activations come from the ranges that the float network shows on `calibration`.
  integer_network(network const& net, Eigen::Ref<matrix const> const& calibration, precision p);

  /// Integers from the first layer to the last, whose accumulators become real numbers.
  void run(Eigen::Ref<matrix const> const& x, Eigen::Ref<matrix> outputs) const;

  /// What each layer reads, as reals.
  std::vector<matrix> inputs(Eigen::Ref<matrix const> const& x) const;
  /// The weights that a layer's codes stand for.
  matrix weights(std::size_t layer) const;

  measurement measure(network const& net, Eigen::Ref<matrix const> const& x, std::vector<int> const& labels) const;

 private:
  using codes = Eigen::Matrix<std::uint8_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  struct integer_layer {
    Eigen::Matrix<std::int8_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> weights;  // output by output
    quern::packed_matrix<std::int8_t> bytes;                                               // above 4 bits
    quern::packed_matrix<quern::s4> nibbles;                                               // up to 4 bits
    std::vector<std::int32_t> bias;   // in steps of the accumulator
    std::vector<float> real_bias;     // of the last layer
    std::vector<float> weight_scales; // one, or one an output
    std::vector<float> scales;        // accumulator to output steps; of the last layer, to reals
    quern::params<quern::asymmetric<quern::u8>> in, out;
    int scale_count = 1;
  };

  codes quantized_input(Eigen::Ref<matrix const> const& x) const;
  template <class Dst, class Epilogue>
  static void multiply(integer_layer const& l, codes const& x, quern::matrix_view<Dst> dst, Epilogue const& e);
  codes hidden(integer_layer const& l, codes const& x) const;
  void last(integer_layer const& l, codes const& x, Eigen::Ref<matrix> outputs) const;

  precision precision_;
  std::vector<integer_layer> layers_;
};

/// Nanoseconds an image of the float network in Eigen, in the same batches as measure().
double time_float(network const& net, Eigen::Ref<matrix const> const& x);

}  // namespace digits
