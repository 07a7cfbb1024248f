// network.hpp — a model made ready to run: weights packed, multipliers computed, memory planned.
#pragma once

#include "model.hpp"

#include <quern/dispatch/gemm_options.hpp>

#include <functional>

namespace run_tflite {

enum class rounding { twice, once };  ///< gemmlowp's two roundings (TFLite Micro's default), or one

/// One operator, ready.
struct layer {
  std::string op, kernel;
  std::vector<int> inputs, outputs;    // tensors that are computed or fed; constants are inside of `run`
  double operations = 0;               // multiplications and additions
  std::function<void()> run;
};

class network {
 public:
  /// Prepares every operator. `run` must outlive the network. @throws failure naming the operator and what is not supported.
  network(model m, rounding r, quern::gemm_options run);
  network(network const&) = delete;

  model const& file() const { return model_; }
  std::vector<layer> const& layers() const { return layers_; }
  unsigned char* data(int tensor) { return data_[static_cast<std::size_t>(tensor)]; }
  quern::index_t arena_bytes() const { return arena_.size(); }
  /// Sets variables (an SVDF's memory) to real 0.
  void reset();

 private:
  model model_;
  std::vector<layer> layers_;
  std::vector<unsigned char*> data_;
  quern::buffer<unsigned char> arena_, variables_;
};

}  // namespace run_tflite
