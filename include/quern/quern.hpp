// quern.hpp — everything except quern/eigen/ and quern/compress/, which need Eigen.
//
// The rooms in the order of the data; each line is something that a program may also include alone. dispatch/thread_pool.hpp is
// left out, since <thread> and <condition_variable> take longer to compile than the kernels.
#pragma once

#include "core/buffer.hpp"
#include "core/elementary.hpp"
#include "core/error.hpp"
#include "core/geometry.hpp"
#include "core/packed_int.hpp"
#include "core/reals.hpp"
#include "core/saturate.hpp"
#include "core/shape.hpp"
#include "core/type_list.hpp"
#include "core/views.hpp"

#include "cpu/report.hpp"

#include "round/modes.hpp"
#include "round/stochastic.hpp"

#include "rescale/rescales.hpp"

#include "fixed_point/activation.hpp"
#include "fixed_point/elementwise.hpp"
#include "fixed_point/normalize.hpp"
#include "fixed_point/softmax.hpp"

#include "codec/gguf.hpp"
#include "codec/mx.hpp"
#include "codec/nf4.hpp"
#include "codec/nvfp4.hpp"

#include "scheme/choose_params.hpp"
#include "scheme/schemes.hpp"

#include "calibrate/absolute_histogram.hpp"
#include "calibrate/calibrators.hpp"
#include "calibrate/min_max.hpp"
#include "calibrate/moving_average.hpp"
#include "calibrate/observe.hpp"
#include "calibrate/per_channel.hpp"
#include "calibrate/recommend.hpp"
#include "calibrate/robust_min_max.hpp"
#include "calibrate/torch_histogram.hpp"

#include "convert/constexpr_array.hpp"
#include "convert/convert.hpp"


#include "convention/conventions.hpp"
#include "convention/identify.hpp"

#include "pack/packed_matrix.hpp"
#include "pack/proof.hpp"

#include "epilogue/epilogue.hpp"

#include "dispatch/executor.hpp"

#include "ops/arena.hpp"
#include "ops/batch_matmul.hpp"
#include "ops/cmsis_nn.hpp"
#include "ops/conv16x8.hpp"
#include "ops/conv2d.hpp"
#include "ops/convention.hpp"
#include "ops/depthwise.hpp"
#include "ops/elementwise.hpp"
#include "ops/gemm.hpp"
#include "ops/gemm_batch.hpp"
#include "ops/linear.hpp"
#include "ops/lstm.hpp"
#include "ops/onnx.hpp"
#include "ops/pool.hpp"
#include "ops/pytorch.hpp"
#include "ops/rearrange.hpp"
#include "ops/reduce.hpp"
#include "ops/resize.hpp"
#include "ops/shape.hpp"
#include "ops/svdf.hpp"
#include "ops/table.hpp"
#include "ops/tflite.hpp"
#include "ops/tvm.hpp"
#include "ops/vector.hpp"
#include "ops/vector_encode.hpp"
#include "ops/vector_search.hpp"

#include "metric/compare.hpp"
#include "metric/report.hpp"

#include "reference/conv.hpp"
#include "reference/gemm.hpp"
#include "reference/layers.hpp"
#include "reference/linear.hpp"
#include "reference/lstm.hpp"
#include "reference/quantize.hpp"
