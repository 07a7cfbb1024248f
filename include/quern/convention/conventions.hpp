// conventions.hpp — the list of conventions. A new one is one file and one line here; tests, docs and identify() walk it.
#pragma once

#include "../core/type_list.hpp"
#include "fbgemm.hpp"
#include "onnx.hpp"
#include "onnx_runtime.hpp"
#include "pytorch.hpp"
#include "tensorrt.hpp"
#include "tflite.hpp"
#include "tvm.hpp"
#include "vitis_ai.hpp"
#include "xnnpack.hpp"

namespace quern {

using conventions =
    type_list<convention::tflite, convention::tflite_single, convention::tflite_ruy, convention::tflite_xnnpack, convention::gemmlowp,
              convention::cmsis_nn, convention::cmsis_nn_single, convention::pytorch, convention::pytorch_onednn,
              convention::pytorch_fbgemm, convention::pytorch_qnnpack, convention::fbgemm, convention::xnnpack, convention::onnx,
              convention::onnx_runtime, convention::onnx_runtime_arm, convention::onnx_runtime_portable, convention::tvm,
              convention::tvm_to_nearest, convention::tensorrt, convention::model_optimizer, convention::vitis_ai,
              convention::vitis_ai_3, convention::vitis_ai_4, convention::vitis_ai_5, convention::vitis_ai_6, convention::vitis_ai_7,
              convention::vitis_ai_8>;

}  // namespace quern
