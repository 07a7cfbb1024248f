// epilogue.hpp — what happens to an accumulator on its way to the destination, as plain data.
//
// A product of integers is rarely wanted as it is. The stages between the int32 accumulator and the destination are fixed in
// their order and each may be left out; the epilogue says which there are and what they hold:
//
//     acc   = sum over k of (lhs[i,k] - lhs_zero_point[i]) * (rhs[k,j] - rhs_zero_point[j]) + bias[j]      modulo 2^32
//     value = acc                                                          no_rescale (the default)
//           | P::apply(acc, rescale[j])                                    a policy P of quern::rescale, integers only
//           | f32(acc) * f32(rows[i] * cols[j]) + bias[j]                  to_real: float, each operation rounded by itself
//     value = value + residual                                             R::apply(r - zero_point), or f32(r - zero_point) * scale
//     value = then(value, i, j)                                            a functor of yours
//     dst   = clamp(value + dst_zero_point, min, max)                      integers; to_real rounds half to even first
//           | clamp(value, min, max)                                       float, bfloat16
//
// An int8 layer with its bias, one scale a channel and a ReLU, in the arithmetic of ONNX Runtime and then of TFLite:
//
//     epilogue<to_real>{.lhs_zero_point = 3, .bias = view(bias), .rescale = {.cols = view(scales)}, .dst_zero_point = -5, .min = -5}
//     epilogue<rescale::gemmlowp_double>{.lhs_zero_point = 3, .bias = view(bias), .rescale = view(multipliers), .dst_zero_point = -5, .min = -5}
//
// Nothing here owns memory, and nothing is chosen by a macro. epilogue/scalar.hpp is these lines as code; the bodies of the
// instruction sets (epilogue/body.inl) equal it bit for bit.
#pragma once

#include "../core/views.hpp"
#include "../rescale/rescales.hpp"

namespace quern {

/// One value for all, or one for each row or column: assign a number or a vector_view.
template <class T>
struct one_or_each {
  T one{};
  T const* each = nullptr;  ///< null: `one` holds for all
  index_t size = 0;         ///< of `each`
  index_t stride = 1;

  one_or_each() = default;
  QUERN_INLINE constexpr one_or_each(T value) noexcept : one(value) {}
  QUERN_INLINE constexpr one_or_each(vector_view<T const> values) noexcept
      : each(values.data), size(values.size), stride(values.stride) {}
  QUERN_INLINE constexpr one_or_each(vector_view<T> values) noexcept : one_or_each(vector_view<T const>(values)) {}

  QUERN_INLINE constexpr bool single() const noexcept { return each == nullptr && size == 0; }
  QUERN_INLINE constexpr T operator[](index_t i) const noexcept { return each == nullptr ? one : each[i * stride]; }
};

/// A number of any type, exactly: int32 and float both fit a double. (A plain double member would make `.min = an_int` narrowing.)
struct limit {
  double value;

  template <class T>
    requires(std::is_arithmetic_v<T>)
  QUERN_INLINE constexpr limit(T x) noexcept : value(static_cast<double>(x)) {}
  QUERN_INLINE constexpr operator double() const noexcept { return value; }
};

/// Accumulators stay integers of step lhs.scale * rhs.scale.
struct no_rescale {
  static constexpr char const* name = "none";
};

/// Accumulators become real numbers: real = f32(acc) * f32(rows[i] * cols[j]) + bias[j]. For a float destination the scales are
/// lhs.scale and rhs.scale; for an integer one their product over dst.scale, and the bias is in steps of the destination.
struct to_real {
  static constexpr char const* name = "to_real";
};

/// What to_real needs.
struct real_scales {
  one_or_each<float> cols = 1.0f;     ///< one, or one a column of dst
  one_or_each<float> rows = 1.0f;     ///< one, or one a row of dst: activations quantized by row (token)
  vector_view<float const> bias{};    ///< none, or one a column, added after the scales
  /// Weights quantized in groups along k (pack_options.group): scale (g, j), one row a group. Then
  ///
  ///     f32(acc) above is the sum over g, in order, of f32(acc of group g) * groups(g, j), each operation rounded
  matrix_view<float const> groups{};
  /// Zero points (g, j) of those groups; epilogue.rhs_zero_point when there are none.
  matrix_view<std::int32_t const> group_zero_points{};
};

namespace detail {
template <class Rescale>
struct stage {
  static_assert(rescale_policy<Rescale>,
                "quern::epilogue<Rescale>: Rescale must be no_rescale, to_real or a policy of quern::rescale "
                "(rescale/rescales.hpp).");
  using parameters = one_or_each<typename Rescale::parameters>;
};
template <>
struct stage<no_rescale> {
  struct parameters {};
};
template <>
struct stage<to_real> {
  using parameters = real_scales;
};
template <class Rescale>
struct residual_stage {
  using parameters = typename Rescale::parameters;
};
template <>
struct residual_stage<no_rescale> {
  struct parameters {};
};
template <>
struct residual_stage<to_real> {
  using parameters = float;
};
}  // namespace detail

/// No second operand.
struct no_residual {
  static constexpr bool present = false;
};

/// A second operand of dst's shape, rescaled like the accumulators: T is its element type (int8, uint8, int16; float with to_real).
///
///     residual<std::int8_t, rescale::tflite_single>{.from = other, .zero_point = 4, .rescale = parameters}
///     residual<std::int8_t, to_real>{.from = other, .zero_point = 4, .rescale = other_scale / dst_scale}
template <class T, class Rescale>
struct residual {
  static constexpr bool present = true;
  using type = T;
  using rescale_type = Rescale;

  matrix_view<T const> from{};  ///< m x n, row-major; may be dst itself
  std::int32_t zero_point = 0;
  typename detail::residual_stage<Rescale>::parameters rescale{};
};

/// No functor.
struct no_functor {
  static constexpr bool present = false;
};

/// The stages. The formula is at the top of this file.
///
/// @shapes  bias, cols, rhs_zero_point: n; rows, lhs_zero_point: m; residual, dst: m x n.
/// @range   integer destinations of up to 16 bits saturate, exactly: no stage behind Rescale::apply wraps. An int32 destination
///          wraps in bias and residual, saturates in dst_zero_point.
/// @rounds  in Rescale, and once to the destination with to_real. NaN (from your functor or float bias) becomes min.
template <class Rescale = no_rescale, class Residual = no_residual, class Then = no_functor>
struct epilogue {
  using rescale_type = Rescale;
  using residual_type = Residual;
  using then_type = Then;

  one_or_each<std::int32_t> lhs_zero_point = 0;  ///< one, or one a row of lhs
  one_or_each<std::int32_t> rhs_zero_point = 0;  ///< one, or one a column of rhs
  vector_view<std::int32_t const> bias{};        ///< none, or one a column, in steps of the accumulator
  typename detail::stage<Rescale>::parameters rescale{};
  Residual residual{};
  Then then{};  ///< float(float, index_t row, index_t col) with to_real, else std::int32_t(std::int32_t, index_t, index_t)
  std::int32_t dst_zero_point = 0;
  limit min = -__builtin_huge_val();  ///< in codes of an integer dst, real for a float one; dst's own limits hold anyway
  limit max = __builtin_huge_val();
  bool accumulate = false;             ///< dst += value; int32 destinations without rescale, residual and clamp only
};

namespace detail {
template <class E>
inline constexpr bool is_epilogue = false;
template <class R, class S, class T>
inline constexpr bool is_epilogue<epilogue<R, S, T>> = true;
template <class T>
inline constexpr bool has_functor = !std::is_same_v<T, no_functor>;
}  // namespace detail

}  // namespace quern
