// eigen.hpp — the functions of compress/ with Eigen objects in place of views.
//
//     gptq(weights, hessian, {.bits = 4, .group = 64})                      weights: Matrix, Map, Ref, Block of any storage order
//
// As eigen/operations.hpp has it for the rest of quern. Layers of equalize() are structs and hold views: view(m).
#pragma once

#include "../eigen/forward.hpp"
#include "accumulator.hpp"
#include "adaptive.hpp"
#include "adaround.hpp"
#include "awq.hpp"
#include "bias_correction.hpp"
#include "certificate.hpp"
#include "codebook.hpp"
#include "equalize.hpp"
#include "gptq.hpp"
#include "hadamard.hpp"
#include "hessian.hpp"
#include "hqq.hpp"
#include "quantized_weights.hpp"
#include "round_to_nearest.hpp"
#include "sensitivity.hpp"
#include "smooth.hpp"

namespace quern::compress {
inline namespace QUERN_ABI {
QUERN_EIGEN_FORWARD(quern::compress, project_to_accumulator, 4, typed, weight_grid, input_range, typed)
QUERN_EIGEN_FORWARD(quern::compress, choose_width, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, choose_width, 3, typed, typed, adaptive_options)
QUERN_EIGEN_FORWARD(quern::compress, adaround, 3, typed, typed, weight_grid)
QUERN_EIGEN_FORWARD(quern::compress, adaround, 4, typed, typed, weight_grid, adaround_options)
QUERN_EIGEN_FORWARD(quern::compress, awq, 4, typed, typed, typed, weight_grid)
QUERN_EIGEN_FORWARD(quern::compress, awq, 5, typed, typed, typed, weight_grid, awq_options)
QUERN_EIGEN_FORWARD(quern::compress, expected_inputs, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, column_means, 1, typed)
QUERN_EIGEN_FORWARD(quern::compress, correct_bias, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, linear_bound, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, conv_bound, 5, typed, typed, typed, typed, conv_shape)
QUERN_EIGEN_FORWARD(quern::compress, add_moved, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, worst_case_bound, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, hoeffding_bound, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, certify_argmax, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, k_means, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, quantize_with_codebooks, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, absorb_bias, 5, typed, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, refit_scales, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, gptq, 3, typed, typed, weight_grid)
QUERN_EIGEN_FORWARD(quern::compress, gptq, 4, typed, typed, weight_grid, gptq_options)
QUERN_EIGEN_FORWARD(quern::compress, hadamard, 1, typed)
QUERN_EIGEN_FORWARD(quern::compress, hadamard, 2, typed, hadamard_options)
QUERN_EIGEN_FORWARD(quern::compress, random_signs, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, rotate_rows, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, rotate_rows, 3, typed, typed, hadamard_options)
QUERN_EIGEN_FORWARD(quern::compress, rotate_rows_back, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, rotate_rows_back, 3, typed, typed, hadamard_options)
QUERN_EIGEN_FORWARD(quern::compress, copy_of, 1, typed)
QUERN_EIGEN_FORWARD(quern::compress, output_error, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, hqq, 2, typed, weight_grid)
QUERN_EIGEN_FORWARD(quern::compress, hqq, 3, typed, weight_grid, hqq_options)
QUERN_EIGEN_FORWARD(quern::compress, dequantize, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, squared_error, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, round_to_nearest, 2, typed, weight_grid)
QUERN_EIGEN_FORWARD(quern::compress, round_to_nearest, 3, typed, weight_grid, round_options)
QUERN_EIGEN_FORWARD(quern::compress, output_kl, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, smooth_scales, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, smooth_scales, 3, typed, typed, smooth_options)
QUERN_EIGEN_FORWARD(quern::compress, scale_columns, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, divide_rows, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::compress, choose_group, 2, typed, weight_grid)
QUERN_EIGEN_FORWARD(quern::compress, best_group, 4, typed, weight_grid, typed, typed)
}  // inline namespace QUERN_ABI
}  // namespace quern::compress
