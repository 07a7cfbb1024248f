// operations.hpp — the operations of quern, called with Eigen objects.
//
//     MatrixXf w = ...;
//     auto const p = choose_params<symmetric<s8>>(calibrate::range_of(w).range);
//     auto const codes = quantized(w, p);                 // Eigen::Matrix<std::int8_t, ...> of the same shape and order
//     auto const packed = pack(codes);
//     gemm(x, packed, y, epilogue<to_real>{...});         // x, y: Matrix, Map, Ref, Block, or quern views
//     conv2d<convention::tflite>(images, filters, out, {.src = ..., .dst = ...});   // Tensor, TensorMap: include tensor.hpp too
//
// Every function of quern that takes views takes Eigen objects of any storage order in their place. Nothing is copied; the rules,
// results and errors are those of the function of the same name. What lies in a struct (a bias in layer_params, the codes of a
// vector_set) is a view: view(m). compress/eigen.hpp has the functions of compress/.
//
// Where an operation broadcasts, a row vector is repeated over rows and a column vector over columns, as their shapes in Eigen say.
// An expression (2 * x) has no memory: .eval() it.
#pragma once

#include "../calibrate/calibrators.hpp"
#include "../calibrate/min_max.hpp"
#include "../calibrate/moving_average.hpp"
#include "../calibrate/recommend.hpp"
#include "../codec/mx.hpp"
#include "../codec/nf4.hpp"
#include "../codec/nvfp4.hpp"
#include "../convert/convert.hpp"
#include "../metric/compare.hpp"
#include "../metric/report.hpp"
#include "../ops/batch_matmul.hpp"
#include "../ops/conv16x8.hpp"
#include "../ops/conv2d.hpp"
#include "../ops/convention.hpp"
#include "../ops/depthwise.hpp"
#include "../ops/elementwise.hpp"
#include "../ops/gemm.hpp"
#include "../ops/gemm_batch.hpp"
#include "../ops/linear.hpp"
#include "../ops/lstm.hpp"
#include "../ops/onnx.hpp"
#include "../ops/pool.hpp"
#include "../ops/pytorch.hpp"
#include "../ops/rearrange.hpp"
#include "../ops/reduce.hpp"
#include "../ops/resize.hpp"
#include "../ops/table.hpp"
#include "../ops/tflite.hpp"
#include "../ops/tvm.hpp"
#include "../ops/vector.hpp"
#include "../ops/vector_encode.hpp"
#include "../ops/vector_search.hpp"
#include "../train/batch_norm.hpp"
#include "../train/fake_quantize.hpp"
#include "../train/gradients.hpp"
#include "../train/noise.hpp"
#include "forward.hpp"

namespace quern {

namespace detail {

/// Whether an operand is a list of elements rather than a matrix.
template <class A>
inline constexpr bool is_list = [] {
  using object = std::remove_cvref_t<A>;
  if constexpr (eigen_dense<A>)
    return static_cast<bool>(object::IsVectorAtCompileTime);
  else
    return rank_of<object> != 2;
}();

/// What an argument in braces is for gemm and convolutions: with a convention the layer's parameters, else an epilogue.
template <class... E>
struct stage_of {
  using type = epilogue<>;
};
template <convention_policy C, class... E>
struct stage_of<C, E...> {
  using type = layer_params;
};
/// linear()'s fifth: options after a linear with real results, the codes of the results after one with codes.
template <class Params>
struct last_of_linear {
  using type = gemm_options;
};
template <>
struct last_of_linear<scale_zero_point> {
  using type = scale_zero_point;
};

inline namespace QUERN_ABI {

/// An operand of a conversion, whose two operands must have the same number of axes.
template <bool List, class A>
auto operand(A& a) {
  if constexpr (!foreign<A>) {
    return a;  // a view already
  } else if constexpr (eigen_dense<A> && !List) {
    require_memory<A>();
    return as_matrix(a);
  } else {
    return foreign_view<std::remove_cvref_t<A>>::of(a);
  }
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

template <class Rounding = round_to::half_even, conversion_form Form = divide, class Src, class Params, class Dst>
  requires(foreign<Src> || foreign<Dst>)
conversion_counts quantize(Src const& src, Params const& params, Dst&& dst, quantize_options<Rounding> const& options = {}) {
  constexpr bool lists = detail::is_list<Src> && detail::is_list<Dst>;
  return quern::quantize<Rounding, Form>(detail::operand<lists>(src), params, detail::operand<lists>(dst), options);
}

/// The codes of `src`, of the same shape and storage order.
template <class Rounding = round_to::half_even, conversion_form Form = divide, eigen_dense Src, quantization_params Params>
auto quantized(Src const& src, Params const& params, quantize_options<Rounding> const& options = {}) {
  using code = typename Params::scheme_type::storage;
  using plain = typename Src::PlainObject;
  Eigen::Matrix<code, plain::RowsAtCompileTime, plain::ColsAtCompileTime, plain::Options> codes(src.rows(), src.cols());
  quern::quantize<Rounding, Form>(src, params, codes, options);
  return codes;
}

template <class Scheme = asymmetric<u8>, class Rounding = round_to::half_even, conversion_form Form = divide, class Src, class Dst>
  requires(foreign<Src> || foreign<Dst>)
dynamic_result<Scheme> dynamic_quantize(Src const& src, Dst&& dst, quantize_options<Rounding> const& options = {},
                                        choose_options choose = {}) {
  constexpr bool lists = detail::is_list<Src> && detail::is_list<Dst>;
  return quern::dynamic_quantize<Scheme, Rounding, Form>(detail::operand<lists>(src), detail::operand<lists>(dst), options, choose);
}

template <class Src, class Params, class Dst>
  requires(foreign<Src> || foreign<Dst>)
void dequantize(Src const& src, Params const& params, Dst&& dst, convert_options const& options = {}) {
  constexpr bool lists = detail::is_list<Src> && detail::is_list<Dst>;
  quern::dequantize(detail::operand<lists>(src), params, detail::operand<lists>(dst), options);
}

/// The reals of `codes`, of the same shape and storage order.
template <real T = float, eigen_dense Src, quantization_params Params>
auto dequantized(Src const& codes, Params const& params, convert_options const& options = {}) {
  using plain = typename Src::PlainObject;
  Eigen::Matrix<T, plain::RowsAtCompileTime, plain::ColsAtCompileTime, plain::Options> reals(codes.rows(), codes.cols());
  quern::dequantize(codes, params, reals, options);
  return reals;
}

template <class Rescale = rescale::float_multiply<>, class Src, class SrcParams, class DstParams, class Dst>
  requires(foreign<Src> || foreign<Dst>)
conversion_counts requantize(Src const& src, SrcParams const& src_params, DstParams const& dst_params, Dst&& dst,
                             convert_options const& options = {}) {
  constexpr bool lists = detail::is_list<Src> && detail::is_list<Dst>;
  return quern::requantize<Rescale>(detail::operand<lists>(src), src_params, dst_params, detail::operand<lists>(dst), options);
}

// core: several codes a byte
QUERN_EIGEN_FORWARD(quern, pack_codes, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, unpack_codes, 2, typed, typed)

// matrix products
QUERN_EIGEN_FORWARD(quern, pack, 1, typed)
QUERN_EIGEN_FORWARD(quern, pack, 2, typed, pack_options)
QUERN_EIGEN_FORWARD(quern, pack_into, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, pack_into, 4, typed, typed, typed, pack_options)
QUERN_EIGEN_FORWARD(quern, gemm, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, gemm, 4, typed, typed, typed, typename detail::stage_of<E...>::type)
QUERN_EIGEN_FORWARD(quern, gemm, 5, typed, typed, typed, typename detail::stage_of<E...>::type, gemm_options)
QUERN_EIGEN_FORWARD(quern, gemm_plan, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, gemm_workspace, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, gemm_plan, 4, typed, typed, typed, epilogue<>)
QUERN_EIGEN_FORWARD(quern, gemm_workspace, 4, typed, typed, typed, epilogue<>)
QUERN_EIGEN_FORWARD(quern, batch_matmul, 6, typed, convention::affine, typed, convention::affine, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern, quantize_linear_weights, 1, typed)
QUERN_EIGEN_FORWARD(quern, quantize_linear_weights, 2, typed, vector_view<float const>)
QUERN_EIGEN_FORWARD(quern, quantize_linear_weights, 3, typed, vector_view<float const>, linear_weight_options)
QUERN_EIGEN_FORWARD(quern, linear, 4, typed, scale_zero_point, typed, typed)
QUERN_EIGEN_FORWARD(quern, linear, 5, typed, scale_zero_point, typed, typed, typename detail::last_of_linear<std::remove_cvref_t<A2>>::type)
QUERN_EIGEN_FORWARD(quern, linear, 6, typed, scale_zero_point, typed, typed, scale_zero_point, gemm_options)
QUERN_EIGEN_FORWARD(quern, dynamic_linear, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, dynamic_linear, 4, typed, typed, typed, dynamic_linear_options)

// convolutions: tensors are NHWC, filters O x H x W x I
QUERN_EIGEN_FORWARD(quern, pack_conv, 1, typed)
QUERN_EIGEN_FORWARD(quern, pack_conv, 2, typed, conv_options)
QUERN_EIGEN_FORWARD(quern, pack_transposed_conv, 1, typed)
QUERN_EIGEN_FORWARD(quern, pack_transposed_conv, 2, typed, conv_options)
QUERN_EIGEN_FORWARD(quern, pack_depthwise, 1, typed)
QUERN_EIGEN_FORWARD(quern, pack_depthwise, 2, typed, conv_options)
QUERN_EIGEN_FORWARD(quern, pack_conv16, 1, typed)
QUERN_EIGEN_FORWARD(quern, pack_conv16, 2, typed, conv_options)
QUERN_EIGEN_FORWARD(quern, pack_depthwise16, 1, typed)
QUERN_EIGEN_FORWARD(quern, pack_depthwise16, 2, typed, conv_options)
QUERN_EIGEN_FORWARD(quern, conv2d, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, conv2d, 4, typed, typed, typed, typename detail::stage_of<E...>::type)
QUERN_EIGEN_FORWARD(quern, conv2d, 5, typed, typed, typed, typename detail::stage_of<E...>::type, gemm_options)
QUERN_EIGEN_FORWARD(quern, conv3d, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, conv3d, 4, typed, typed, typed, typename detail::stage_of<E...>::type)
QUERN_EIGEN_FORWARD(quern, conv3d, 5, typed, typed, typed, typename detail::stage_of<E...>::type, gemm_options)
QUERN_EIGEN_FORWARD(quern, transposed_conv2d, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, transposed_conv2d, 4, typed, typed, typed, typename detail::stage_of<E...>::type)
QUERN_EIGEN_FORWARD(quern, transposed_conv2d, 5, typed, typed, typed, typename detail::stage_of<E...>::type, gemm_options)
QUERN_EIGEN_FORWARD(quern, depthwise_conv2d, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, depthwise_conv2d, 4, typed, typed, typed, typename detail::stage_of<E...>::type)
QUERN_EIGEN_FORWARD(quern, depthwise_conv2d, 5, typed, typed, typed, typename detail::stage_of<E...>::type, gemm_options)
QUERN_EIGEN_FORWARD(quern, conv_workspace, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, conv_workspace, 4, typed, typed, typed, epilogue<>)
QUERN_EIGEN_FORWARD(quern, transposed_conv_workspace, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, transposed_conv_workspace, 4, typed, typed, typed, epilogue<>)
QUERN_EIGEN_FORWARD(quern, depthwise_workspace, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, depthwise_workspace, 4, typed, typed, typed, epilogue<>)
QUERN_EIGEN_FORWARD(quern, conv2d_16x8, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, conv2d_16x8, 5, typed, typed, typed, typed, gemm_options)
QUERN_EIGEN_FORWARD(quern, depthwise_16x8, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, depthwise_16x8, 5, typed, typed, typed, typed, gemm_options)
QUERN_EIGEN_FORWARD(quern, transposed_conv2d_16x8, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, transposed_conv2d_16x8, 5, typed, typed, typed, typed, gemm_options)
QUERN_EIGEN_FORWARD(quern, to_nhwc, 2, typed, typed)

// layers
QUERN_EIGEN_FORWARD(quern, quantize_as, 3, typed, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern, dequantize_as, 3, typed, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern, add, 6, typed, convention::affine, typed, convention::affine, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern, mul, 6, typed, convention::affine, typed, convention::affine, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern, average_pool2d, 3, typed, pool_options, typed)
QUERN_EIGEN_FORWARD(quern, average_pool2d, 5, typed, convention::affine, pool_options, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern, max_pool2d, 3, typed, pool_options, typed)
QUERN_EIGEN_FORWARD(quern, global_average_pool, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, global_average_pool, 4, typed, convention::affine, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern, global_max_pool, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, unary, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, binary, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, apply, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, reduce, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, by_rows, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, copy, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, fill, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, pad_tensor, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, place, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, space_to_depth, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, depth_to_space, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, lstm, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, resize_nearest, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, resize_nearest, 3, typed, typed, resize_options)
QUERN_EIGEN_FORWARD(quern, resize_bilinear, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, resize_bilinear, 3, typed, typed, resize_options)

// vectors and their search
QUERN_EIGEN_FORWARD(quern, dot, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, dot, 3, typed, typed, vector_options)
QUERN_EIGEN_FORWARD(quern, squared_l2, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, squared_l2, 3, typed, typed, vector_options)
QUERN_EIGEN_FORWARD(quern, cosine, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, cosine, 3, typed, typed, vector_options)
QUERN_EIGEN_FORWARD(quern, dot_each, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, dot_each, 4, typed, typed, typed, vector_options)
QUERN_EIGEN_FORWARD(quern, squared_l2_each, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, squared_l2_each, 4, typed, typed, typed, vector_options)
QUERN_EIGEN_FORWARD(quern, encoding_of, 1, typed)
QUERN_EIGEN_FORWARD(quern, encode, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern, encode, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, score, 5, typed, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, scores, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, scores, 5, typed, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, search, 5, typed, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern, search, 6, typed, typed, typed, typed, typed, vector_options)

}  // inline namespace QUERN_ABI

// The systems' operators under their own names.
namespace onnx {
inline namespace QUERN_ABI {
QUERN_EIGEN_FORWARD(quern::onnx, quantize_linear, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::onnx, quantize_linear, 5, typed, typed, typed, typed, quantize_attributes)
QUERN_EIGEN_FORWARD(quern::onnx, dequantize_linear, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::onnx, dequantize_linear, 5, typed, typed, typed, typed, quantize_attributes)
QUERN_EIGEN_FORWARD(quern::onnx, dynamic_quantize_linear, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::onnx, cast, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::onnx, matmul_integer, 5, typed, one_or_each<std::int32_t>, typed, one_or_each<std::int32_t>, typed)
QUERN_EIGEN_FORWARD(quern::onnx, qlinear_matmul, 6, typed, operand, typed, operand, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::onnx, conv_integer, 5, typed, typed, typed, one_or_each<std::int32_t>, typed)
QUERN_EIGEN_FORWARD(quern::onnx, conv_integer, 6, typed, typed, typed, one_or_each<std::int32_t>, typed, conv_attributes)
QUERN_EIGEN_FORWARD(quern::onnx, qlinear_conv, 7, typed, convention::affine, typed, operand, convention::affine, vector_view<std::int32_t const>, typed)
QUERN_EIGEN_FORWARD(quern::onnx, qlinear_conv, 8, typed, convention::affine, typed, operand, convention::affine, vector_view<std::int32_t const>, typed, conv_attributes)
}  // inline namespace QUERN_ABI

namespace com_microsoft {
inline namespace QUERN_ABI {
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, qgemm, 6, typed, convention::affine, typed, operand, vector_view<std::int32_t const>, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, qgemm, 7, typed, convention::affine, typed, operand, vector_view<std::int32_t const>, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, qlinear_add, 6, typed, convention::affine, typed, convention::affine, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, qlinear_mul, 6, typed, convention::affine, typed, convention::affine, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, qlinear_sigmoid, 4, typed, convention::affine, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, qlinear_leaky_relu, 5, typed, convention::affine, typed, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, qlinear_softmax, 4, typed, convention::affine, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, qlinear_global_average_pool, 4, typed, convention::affine, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, qlinear_average_pool, 5, typed, convention::affine, pool_options, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, dynamic_quantize_matmul, 5, typed, typed, operand, vector_view<float const>, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, matmul_integer_to_float, 6, typed, convention::affine, typed, operand, vector_view<float const>, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, matmul_nbits, 4, typed, typed, vector_view<float const>, typed)
QUERN_EIGEN_FORWARD(quern::onnx::com_microsoft, matmul_nbits_int8, 4, typed, typed, vector_view<float const>, typed)
}  // inline namespace QUERN_ABI
}  // namespace com_microsoft
}  // namespace onnx

namespace pytorch {
inline namespace QUERN_ABI {
QUERN_EIGEN_FORWARD(quern::pytorch, quantize_per_tensor, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::pytorch, quantize_per_channel, 5, typed, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::pytorch, dequantize, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::pytorch, fake_quantize_per_tensor_affine, 6, typed, typed, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::pytorch, fake_quantize_per_channel_affine, 7, typed, typed, typed, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::pytorch, fake_quantize_backward, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::pytorch, fake_quantize_learnable_backward, 8, typed, typed, typed, typed, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::pytorch, add, 6, typed, convention::affine, typed, convention::affine, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern::pytorch, mul, 6, typed, convention::affine, typed, convention::affine, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern::pytorch, quantize_bias, 3, typed, typed, weight_qparams)
QUERN_EIGEN_FORWARD(quern::pytorch, linear, 7, typed, convention::affine, typed, weight_qparams, vector_view<float const>, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern::pytorch, conv1d, 7, typed, convention::affine, typed, weight_qparams, vector_view<float const>, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern::pytorch, conv2d, 7, typed, convention::affine, typed, weight_qparams, vector_view<float const>, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern::pytorch, conv3d, 7, typed, convention::affine, typed, weight_qparams, vector_view<float const>, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern::pytorch, conv1d, 8, typed, convention::affine, typed, weight_qparams, vector_view<float const>, typed, convention::affine, conv_options)
QUERN_EIGEN_FORWARD(quern::pytorch, conv2d, 8, typed, convention::affine, typed, weight_qparams, vector_view<float const>, typed, convention::affine, conv_options)
QUERN_EIGEN_FORWARD(quern::pytorch, conv3d, 8, typed, convention::affine, typed, weight_qparams, vector_view<float const>, typed, convention::affine, conv_options)
}  // inline namespace QUERN_ABI
}  // namespace pytorch

namespace tflite {
inline namespace QUERN_ABI {
QUERN_EIGEN_FORWARD(quern::tflite, quantize, 3, typed, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::tflite, quantize, 4, typed, onnx::operand, typed, typed)
QUERN_EIGEN_FORWARD(quern::tflite, dequantize, 3, typed, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::tflite, dequantize, 4, typed, onnx::operand, typed, typed)
QUERN_EIGEN_FORWARD(quern::tflite, requantize, 4, typed, convention::affine, typed, convention::affine)
}  // inline namespace QUERN_ABI
}  // namespace tflite

namespace tvm {
inline namespace QUERN_ABI {
QUERN_EIGEN_FORWARD(quern::tvm, quantize, 3, typed, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::tvm, quantize, 4, typed, onnx::operand, typed, typed)
QUERN_EIGEN_FORWARD(quern::tvm, dequantize, 3, typed, convention::affine, typed)
QUERN_EIGEN_FORWARD(quern::tvm, dequantize, 4, typed, onnx::operand, typed, typed)
QUERN_EIGEN_FORWARD(quern::tvm, requantize, 4, typed, convention::affine, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern::tvm, requantize, 5, typed, onnx::operand, typed, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern::tvm, add, 6, typed, convention::affine, typed, convention::affine, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern::tvm, mul, 6, typed, convention::affine, typed, convention::affine, typed, convention::affine)
QUERN_EIGEN_FORWARD(quern::tvm, dense, 5, typed, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::tvm, conv2d, 5, typed, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::tvm, conv2d, 6, typed, typed, typed, typed, typed, conv_options)
}  // inline namespace QUERN_ABI
}  // namespace tvm

namespace codec {
inline namespace QUERN_ABI {
QUERN_EIGEN_FORWARD(quern::codec, mx_scale_of, 1, typed)
QUERN_EIGEN_FORWARD(quern::codec, mx_encode, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::codec, mx_decode, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::codec, nf4_encode, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::codec, nf4_decode, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::codec, nvfp4_tensor_scale, 1, typed)
QUERN_EIGEN_FORWARD(quern::codec, nvfp4_encode, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::codec, nvfp4_decode, 4, typed, typed, typed, typed)
}  // inline namespace QUERN_ABI
}  // namespace codec

// Observers take Eigen objects by themselves: seen.observe(w).
namespace calibrate {
inline namespace QUERN_ABI {
QUERN_EIGEN_FORWARD(quern::calibrate, range_of, 1, typed)
QUERN_EIGEN_FORWARD(quern::calibrate, extremes, 1, typed)
QUERN_EIGEN_FORWARD(quern::calibrate, measure, 3, typed, typed, scale_zero_point)
QUERN_EIGEN_FORWARD(quern::calibrate, recommend, 1, typed)
QUERN_EIGEN_FORWARD(quern::calibrate, recommend, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::calibrate, recommend, 3, typed, typed, typed)
}  // inline namespace QUERN_ABI
}  // namespace calibrate

namespace metric {
inline namespace QUERN_ABI {

template <class X, class Y>
  requires(foreign<X> || foreign<Y>)
comparison compare(X const& x, Y const& y) {
  constexpr bool lists = quern::detail::is_list<X> && quern::detail::is_list<Y>;
  return compare(quern::detail::operand<lists>(x), quern::detail::operand<lists>(y));
}
template <class X, quantization_params Params, class Codes>
  requires(foreign<X> || foreign<Codes>)
quantization_report report(X const& original, Params const& params, Codes const& codes) {
  constexpr bool lists = quern::detail::is_list<X> && quern::detail::is_list<Codes>;
  return report(quern::detail::operand<lists>(original), params, quern::detail::operand<lists>(codes));
}
QUERN_EIGEN_FORWARD(quern::metric, mse, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::metric, sqnr_db, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::metric, cosine, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::metric, max_error, 2, typed, typed)

}  // inline namespace QUERN_ABI
}  // namespace metric

namespace train {
inline namespace QUERN_ABI {
QUERN_EIGEN_FORWARD(quern::train, fold_batch_norm, 3, typed, typed, batch_norm)
QUERN_EIGEN_FORWARD(quern::train, fold_for_training, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, fold_for_training, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, update_running, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, fake_quantize, 3, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, straight_through, 2, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, clipped, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, lsq, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, power_of_two_threshold, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, pact, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, learned_range, 4, typed, real_range, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, inject_noise, 4, typed, typed, typed, typed)
QUERN_EIGEN_FORWARD(quern::train, quantize_some, 5, typed, typed, typed, typed, typed)
}  // inline namespace QUERN_ABI
}  // namespace train

}  // namespace quern
