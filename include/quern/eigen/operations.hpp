// operations.hpp — the operations of quern, called with Eigen objects.
//
//     MatrixXf w = ...;
//     auto const p = choose_params<symmetric<s8>>(calibrate::range_of(w).range);
//     auto const codes = quantized(w, p);                 // Eigen::Matrix<std::int8_t, ...> of the same shape and order
//     auto const packed = pack(codes);
//     gemm(x, packed, y, epilogue<to_real>{...});         // x, y: Matrix, Map, Ref, Block, or quern views
//
// Nothing is copied; the rules, results and errors are those of the operation of the same name. Whatever is not here takes view(m).
#pragma once

#include "../calibrate/min_max.hpp"
#include "../convert/dequantize.hpp"
#include "../convert/dynamic_quantize.hpp"
#include "../convert/quantize.hpp"
#include "../convert/requantize.hpp"
#include "../metric/report.hpp"
#include "../ops/gemm.hpp"
#include "../ops/linear.hpp"
#include "view.hpp"

namespace quern {

namespace detail {
/// Whether two operands are both vectors at compile time; otherwise both are seen as matrices.
template <class A, class B>
inline constexpr bool both_vectors = [] {
  if constexpr (eigen_dense<A> && eigen_dense<B>)
    return static_cast<bool>(std::remove_cvref_t<A>::IsVectorAtCompileTime) && static_cast<bool>(std::remove_cvref_t<B>::IsVectorAtCompileTime);
  else if constexpr (eigen_dense<A>)
    return rank_of<std::remove_cvref_t<B>> == 1;
  else
    return rank_of<std::remove_cvref_t<A>> == 1;
}();

inline namespace QUERN_ABI {

template <bool Vector = false, class A>
auto operand(A& a) {
  if constexpr (!eigen_dense<A>)
    return a;  // a view already
  else if constexpr (Vector)
    return vector_view<std::remove_pointer_t<decltype(a.data())>>{a.data(), a.size(), a.innerStride()};
  else
    return as_matrix(a);
}
template <class A>
consteval void require_operand() {
  if constexpr (eigen_dense<A>) require_memory<A>();
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

template <class Rounding = round_to::half_even, conversion_form Form = divide, class Src, quantization_params Params, class Dst>
  requires(eigen_dense<Src> || eigen_dense<Dst>)
conversion_counts quantize(Src const& src, Params const& params, Dst&& dst, quantize_options<Rounding> const& options = {}) {
  detail::require_operand<Src>();
  detail::require_operand<Dst>();
  constexpr bool vectors = detail::both_vectors<Src, Dst>;
  return quern::quantize<Rounding, Form>(detail::operand<vectors>(src), params, detail::operand<vectors>(dst), options);
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
  requires(eigen_dense<Src> || eigen_dense<Dst>)
dynamic_result<Scheme> dynamic_quantize(Src const& src, Dst&& dst, quantize_options<Rounding> const& options = {},
                                        choose_options choose = {}) {
  detail::require_operand<Src>();
  detail::require_operand<Dst>();
  constexpr bool vectors = detail::both_vectors<Src, Dst>;
  return quern::dynamic_quantize<Scheme, Rounding, Form>(detail::operand<vectors>(src), detail::operand<vectors>(dst), options, choose);
}

template <class Src, quantization_params Params, class Dst>
  requires(eigen_dense<Src> || eigen_dense<Dst>)
void dequantize(Src const& src, Params const& params, Dst&& dst, convert_options const& options = {}) {
  detail::require_operand<Src>();
  detail::require_operand<Dst>();
  constexpr bool vectors = detail::both_vectors<Src, Dst>;
  quern::dequantize(detail::operand<vectors>(src), params, detail::operand<vectors>(dst), options);
}

/// The reals of `codes`, of the same shape and storage order.
template <real T = float, eigen_dense Src, quantization_params Params>
auto dequantized(Src const& codes, Params const& params, convert_options const& options = {}) {
  using plain = typename Src::PlainObject;
  Eigen::Matrix<T, plain::RowsAtCompileTime, plain::ColsAtCompileTime, plain::Options> reals(codes.rows(), codes.cols());
  quern::dequantize(codes, params, reals, options);
  return reals;
}

template <class Rescale = rescale::float_multiply<>, class Src, quantization_params SrcParams, quantization_params DstParams, class Dst>
  requires(eigen_dense<Src> || eigen_dense<Dst>)
conversion_counts requantize(Src const& src, SrcParams const& src_params, DstParams const& dst_params, Dst&& dst,
                             convert_options const& options = {}) {
  detail::require_operand<Src>();
  detail::require_operand<Dst>();
  constexpr bool vectors = detail::both_vectors<Src, Dst>;
  return quern::requantize<Rescale>(detail::operand<vectors>(src), src_params, dst_params, detail::operand<vectors>(dst), options);
}

/// Weights, k x n; `pack<s4>(codes)` for 4-bit ones. Weights stored output by output: pack(w.transpose()).
template <class Rhs = void, eigen_dense M>
auto pack(M const& rhs, pack_options options = {}) {
  detail::require_memory<M>();
  return quern::pack<Rhs>(as_matrix(rhs), options);
}

/// Any of lhs, dst and an unpacked rhs may be an Eigen object.
template <class Lhs, class Rhs, class Dst, class Epilogue = epilogue<>>
  requires(eigen_dense<Lhs> || eigen_dense<Rhs> || eigen_dense<Dst>)
void gemm(Lhs const& lhs, Rhs const& rhs, Dst&& dst, Epilogue const& e = {}, gemm_options const& options = {}) {
  detail::require_operand<Lhs>();
  detail::require_operand<Rhs>();
  detail::require_operand<Dst>();
  if constexpr (eigen_dense<Rhs>)
    quern::gemm(detail::operand(lhs), as_matrix(rhs), detail::operand(dst), e, options);
  else
    quern::gemm(detail::operand(lhs), rhs, detail::operand(dst), e, options);
}

/// Weights, k x n, for linear and dynamic_linear. Stored output by output: quantize_linear_weights(w.transpose()).
template <class Rhs = std::int8_t, eigen_dense M>
linear_weights<Rhs> quantize_linear_weights(M const& w, vector_view<float const> bias = {}, linear_weight_options options = {}) {
  detail::require_memory<M>();
  return quern::quantize_linear_weights<Rhs>(as_matrix(w), bias, options);
}

template <class X, class Params, class Rhs, class Y, class... Rest>
  requires(eigen_dense<X> || eigen_dense<Y>)
auto linear(X const& x, Params const& x_params, linear_weights<Rhs> const& w, Y&& y, Rest const&... rest) {
  detail::require_operand<X>();
  detail::require_operand<Y>();
  return quern::linear(detail::operand(x), x_params, w, detail::operand(y), rest...);
}

template <class X, class Rhs, class Y>
  requires(eigen_dense<X> || eigen_dense<Y>)
void dynamic_linear(X const& x, linear_weights<Rhs> const& w, Y&& y, dynamic_linear_options const& options = {}) {
  detail::require_operand<X>();
  detail::require_operand<Y>();
  quern::dynamic_linear(detail::operand(x), w, detail::operand(y), options);
}

}  // inline namespace QUERN_ABI

namespace calibrate {
inline namespace QUERN_ABI {
template <eigen_dense M>
observed_range range_of(M const& m, isa max_isa = isa::best) {
  quern::detail::require_memory<M>();
  return range_of(quern::view(m), max_isa);
}
}  // inline namespace QUERN_ABI
}  // namespace calibrate

namespace metric {
inline namespace QUERN_ABI {
template <eigen_dense X, eigen_dense Y>
comparison compare(X const& x, Y const& y) {
  quern::detail::require_memory<X>();
  quern::detail::require_memory<Y>();
  constexpr bool vectors = quern::detail::both_vectors<X, Y>;
  return compare(quern::detail::operand<vectors>(x), quern::detail::operand<vectors>(y));
}
template <eigen_dense X, quantization_params Params, eigen_dense Codes>
quantization_report report(X const& original, Params const& params, Codes const& codes) {
  quern::detail::require_memory<X>();
  quern::detail::require_memory<Codes>();
  constexpr bool vectors = quern::detail::both_vectors<X, Codes>;
  return report(quern::detail::operand<vectors>(original), params, quern::detail::operand<vectors>(codes));
}
}  // inline namespace QUERN_ABI
}  // namespace metric

}  // namespace quern
