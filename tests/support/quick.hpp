// quick.hpp — which instances scripts/test compiles of tests that walk a list (QUERN_QUICK_TESTS): those whose kernels differ most.
// .ci/run compiles all of them, without optimization with g++ and with clang.
#pragma once

#include <quern/convention/conventions.hpp>
#include <quern/rescale/rescales.hpp>
#include <quern/round/modes.hpp>

namespace support {

#if QUERN_QUICK_TESTS
// Left out: what rounds and rescales as one of these does, or in another of the DPU's modes.
using conventions = quern::type_list<quern::convention::tflite, quern::convention::tflite_single, quern::convention::cmsis_nn, quern::convention::pytorch,
                                     quern::convention::pytorch_onednn, quern::convention::pytorch_qnnpack, quern::convention::xnnpack,
                                     quern::convention::onnx_runtime, quern::convention::tvm_to_nearest, quern::convention::model_optimizer,
                                     quern::convention::vitis_ai_5>;
using rescales = quern::type_list<quern::rescale::gemmlowp_double, quern::rescale::tflite_single, quern::rescale::cmsis_nn, quern::rescale::tvm_upward,
                                  quern::rescale::fbgemm_fixed, quern::rescale::qnnpack_precise, quern::rescale::xnnpack_rndnu,
                                  quern::rescale::float_multiply<>, quern::rescale::power_of_two<>>;
using rounding_modes = quern::type_list<quern::round_to::half_even, quern::round_to::half_away, quern::round_to::half_toward_zero, quern::round_to::floor>;
#else
using quern::conventions;
using quern::rescales;
using quern::rounding_modes;
#endif

}  // namespace support
