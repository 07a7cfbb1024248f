// latency.hpp — what a layer costs on this CPU: measured with the kernels that will run it, for pareto_front and allocate_bits.
//
// Energy models and tables from other machines mislead: whether 4-bit weights are faster than 8-bit ones depends on the shape (they
// halve the memory traffic of small batches and cost unpacking in large ones) and on the instruction set that is there.
#pragma once

#include "../ops/gemm.hpp"

#include <chrono>

namespace quern::compress {

/// rows of activations, outputs, inputs.
struct layer_shape {
  index_t rows = 1, outputs = 1, inputs = 1;
};

struct latency_options {
  double seconds = 0.01;   ///< spent on each measurement
  isa max_isa = isa::best;
};

inline namespace QUERN_ABI {

/// Nanoseconds of one uint8 × int8 product of this shape, the best of many runs on the calling thread; weights of up to 4 bits are stored and
/// run as int4, wider ones as int8. @errors argument for widths outside of 2 to 8 or sizes that are not positive.
inline double measure_latency(layer_shape shape, int weight_bits, latency_options options = {}) {
  if (weight_bits < 2 || weight_bits > 8) fail(errc::argument, "measure_latency: weight_bits is ", weight_bits, "; it must be 2 to 8.");
  if (shape.rows < 1 || shape.outputs < 1 || shape.inputs < 1)
    fail(errc::argument, "measure_latency: the shape is ", shape.rows, " x ", shape.outputs, " x ", shape.inputs, "; sizes must be positive.");
  buffer<std::uint8_t> x(shape.rows * shape.inputs, std::uint8_t{3});
  buffer<std::int8_t> w(shape.inputs * shape.outputs, std::int8_t{1});
  buffer<std::int32_t> y(shape.rows * shape.outputs);
  matrix_view<std::int8_t const> const weights{w.data(), shape.inputs, shape.outputs, shape.outputs, 1};
  auto const time = [&](auto const& packed) {
    using clock = std::chrono::steady_clock;
    double best = 1e300, spent = 0;
    for (index_t calls = 1; spent < options.seconds;) {
      auto const begin = clock::now();
      for (index_t i = 0; i < calls; ++i)
        gemm(matrix_view<std::uint8_t const>{x.data(), shape.rows, shape.inputs, shape.inputs, 1}, packed,
             matrix_view<std::int32_t>{y.data(), shape.rows, shape.outputs, shape.outputs, 1}, {}, {.max_isa = options.max_isa});
      double const seconds = std::chrono::duration<double>(clock::now() - begin).count();
      spent += seconds;
      best = seconds / static_cast<double>(calls) < best ? seconds / static_cast<double>(calls) : best;
      if (seconds < 2e-5) calls *= 2;   // a thousand times the clock's resolution
    }
    return best * 1e9;
  };
  return weight_bits <= 4 ? time(pack<s4>(weights)) : time(pack(weights));
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress
