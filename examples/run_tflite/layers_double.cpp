#include "layers.hpp"

namespace run_tflite {
layer make_layer_double(model& m, std::vector<unsigned char*> const& data, gemm_options const& run, operation const& o) {
  return layer_maker<rescale::gemmlowp_double>(m, data, run).make(o);
}
}  // namespace run_tflite
