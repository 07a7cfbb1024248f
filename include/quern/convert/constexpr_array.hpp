// constexpr_array.hpp — float weights in a header become integers in .rodata, at compile time.
//
//     constexpr float weights[3][4] = {{...}, {...}, {...}};
//     static constexpr auto q = quern::quantize_array<quern::symmetric<quern::s8, quern::per_channel<0>>>(weights);
//     // q.codes: int8, q.params: the three scales. No float of `weights` reaches the object file.
//
// The codes are those of quantize() in the division form, the scales those of min_max and choose_params: tests compare them. A NaN
// or an infinity among the weights does not compile. clang evaluates about a million steps unless told otherwise, enough for some
// 10,000 weights (-fconstexpr-steps=...); GCC 33 million (-fconstexpr-ops-limit=...).
#pragma once

#include "../core/packed_int.hpp"
#include "../core/reals.hpp"
#include "../round/modes.hpp"
#include "../scheme/choose_params.hpp"

#include <array>

QUERN_FP_BEGIN

namespace quern {

/// Rows x Cols codes and what they mean.
template <scheme Scheme, index_t Rows, index_t Cols>
struct quantized_array {
  using scheme_type = Scheme;
  using storage = typename Scheme::storage;
  static constexpr index_t rows = Rows, cols = Cols;
  static constexpr index_t scale_count = grid_of<typename Scheme::granularity>(Rows, Cols).count();

  storage codes[Rows * Cols] = {};
  std::conditional_t<Scheme::granularity::single, quern::params<Scheme>, static_params<Scheme, scale_count>> params{};

  /// Of the temporary that quantize_array returns a view would dangle: keep the array first.
  QUERN_INLINE constexpr matrix_view<storage const> view() const& noexcept { return {codes, Rows, Cols, Cols, 1}; }
  matrix_view<storage const> view() const&& = delete;
};

/// Codes of 2 or 4 bits, several a byte (core/packed_int.hpp).
template <sub_byte_code Code, index_t Size>
struct packed_array {
  std::uint8_t bytes[packed_bytes<Code>(Size)] = {};

  QUERN_INLINE constexpr packed_view<Code, std::uint8_t const> view() const& noexcept { return {bytes, Size}; }
  packed_view<Code, std::uint8_t const> view() const&& = delete;
};

namespace detail {
inline namespace QUERN_ABI {

/// within q_min..q_max( round(x / scale) + zero_point ), for finite x.
template <class Scheme, class Rounding, class Real>
constexpr typename Scheme::storage constant_code(Real x, float scale, std::int32_t zero_point) {
  Real const steps = rounded(x / Real{scale});
  constexpr Real far = 1048576;  // beyond every code and zero point
  auto const q = static_cast<std::int32_t>(Rounding::to_integral(steps < -far ? -far : steps > far ? far : steps)) + zero_point;
  return static_cast<typename Scheme::storage>(clamp(q, std::int32_t{Scheme::q_min}, std::int32_t{Scheme::q_max}));
}

template <class Scheme, index_t Rows, index_t Cols, class Rounding, class Params, class At>
constexpr auto quantize_constants(Params const& params, At const& at) {
  constexpr auto grid = grid_of<typename Scheme::granularity>(Rows, Cols);
  Params const own = params;  // GCC 12 cannot compare the addresses in a temporary with null in a constant expression
  params_view const p = own.view();
  check_params<Scheme>(p, grid.count(), "quantize_array");
  quantized_array<Scheme, Rows, Cols> q;
  for (index_t i = 0; i < Rows; ++i)
    for (index_t j = 0; j < Cols; ++j) {
      index_t const g = grid.at(i, j);
      if (!is_finite(static_cast<float>(at(i, j))))
        fail(errc::argument, "quantize_array: element (", i, ", ", j, ") is NaN or infinite; constants must be finite.");
      q.codes[i * Cols + j] = constant_code<Scheme, Rounding>(at(i, j), p.scale(g), p.zero_point(g));
    }
  for (index_t g = 0; g < grid.count(); ++g) {
    if constexpr (Scheme::granularity::single)
      q.params = {p.scale(g), p.zero_point(g)};
    else
      q.params.set(g, {p.scale(g), p.zero_point(g)});
  }
  return q;
}

template <class Scheme, index_t Rows, index_t Cols, class Rounding, class At>
constexpr auto quantize_constants(choose_options options, At const& at) {
  constexpr auto grid = grid_of<typename Scheme::granularity>(Rows, Cols);
  real_range ranges[static_cast<std::size_t>(grid.count())] = {};
  for (index_t i = 0; i < Rows; ++i)
    for (index_t j = 0; j < Cols; ++j) {
      auto const x = static_cast<float>(at(i, j));  // as calibrate::min_max has it
      real_range& r = ranges[grid.at(i, j)];
      if (x < r.min) r.min = x;
      if (x > r.max) r.max = x;
    }
  return quantize_constants<Scheme, Rows, Cols, Rounding>(choose_params<Scheme>(ranges, options), at);
}

template <class Scheme, class Argument>
inline constexpr bool is_choice = std::is_same_v<Argument, choose_options> || quantization_params<Argument>;

template <class Scheme, class Rounding, class Choice>
constexpr void require_array_arguments() {
  static_assert(rounding_mode<Rounding>, "quern::quantize_array: Rounding must be a mode of quern::round_to without a counter: all but stochastic.");
  static_assert(scheme<Scheme>, "quern::quantize_array<Scheme>: Scheme must be symmetric<...>, asymmetric<...> or power_of_two<...>.");
  static_assert(is_choice<Scheme, Choice>,
                "quern::quantize_array: the second argument is params of the scheme, or choose_options to have them chosen.");
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Codes and params of a matrix of constants: `float const (&)[Rows][Cols]`, or std::array of std::array; double, half and bfloat16 too.
///
///     q = within q_min..q_max( round(x / scale) + zero_point )
///
/// `choice` is choose_options (params are chosen from the minimum and maximum of each group) or the params to take.
/// @rounds  the quotient of doubles to double, of others to float; then as the Rounding says, half to even by default.
/// @errors  argument for NaN and infinities (beyond float's range too); shape, scale, zero_point for params. In a constant expression: does not compile.
template <class Scheme, class Rounding = round_to::half_even, real T, std::size_t Rows, std::size_t Cols, class Choice = choose_options>
constexpr auto quantize_array(T const (&x)[Rows][Cols], Choice const& choice = {}) {
  detail::require_array_arguments<Scheme, Rounding, Choice>();
  return detail::quantize_constants<Scheme, static_cast<index_t>(Rows), static_cast<index_t>(Cols), Rounding>(
      choice, [&x](index_t i, index_t j) { return static_cast<arithmetic_of<T>>(x[i][j]); });
}
template <class Scheme, class Rounding = round_to::half_even, real T, std::size_t Rows, std::size_t Cols, class Choice = choose_options>
constexpr auto quantize_array(std::array<std::array<T, Cols>, Rows> const& x, Choice const& choice = {}) {
  detail::require_array_arguments<Scheme, Rounding, Choice>();
  return detail::quantize_constants<Scheme, static_cast<index_t>(Rows), static_cast<index_t>(Cols), Rounding>(
      choice, [&x](index_t i, index_t j) { return static_cast<arithmetic_of<T>>(x[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)]); });
}

/// The same for a vector of constants, which is a matrix of one row.
template <class Scheme, class Rounding = round_to::half_even, real T, std::size_t Size, class Choice = choose_options>
constexpr auto quantize_array(T const (&x)[Size], Choice const& choice = {}) {
  detail::require_array_arguments<Scheme, Rounding, Choice>();
  return detail::quantize_constants<Scheme, 1, static_cast<index_t>(Size), Rounding>(
      choice, [&x](index_t, index_t j) { return static_cast<arithmetic_of<T>>(x[j]); });
}
template <class Scheme, class Rounding = round_to::half_even, real T, std::size_t Size, class Choice = choose_options>
constexpr auto quantize_array(std::array<T, Size> const& x, Choice const& choice = {}) {
  detail::require_array_arguments<Scheme, Rounding, Choice>();
  return detail::quantize_constants<Scheme, 1, static_cast<index_t>(Size), Rounding>(
      choice, [&x](index_t, index_t j) { return static_cast<arithmetic_of<T>>(x[static_cast<std::size_t>(j)]); });
}

/// The real numbers that the codes of a quantized_array stand for, as dequantize has them: `static constexpr auto y = dequantize_array(q);`
template <real T = float, scheme Scheme, index_t Rows, index_t Cols>
constexpr std::array<T, static_cast<std::size_t>(Rows * Cols)> dequantize_array(quantized_array<Scheme, Rows, Cols> const& q) {
  constexpr auto grid = grid_of<typename Scheme::granularity>(Rows, Cols);
  auto const kept = q.params;  // GCC 12, as above
  params_view const p = kept.view();
  std::array<T, static_cast<std::size_t>(Rows * Cols)> y{};
  for (index_t i = 0; i < Rows; ++i)
    for (index_t j = 0; j < Cols; ++j) {
      index_t const g = grid.at(i, j);
      y[static_cast<std::size_t>(i * Cols + j)] =
          static_cast<T>(rounded(arithmetic_of<T>{p.scale(g)} * static_cast<arithmetic_of<T>>(q.codes[i * Cols + j] - p.zero_point(g))));
    }
  return y;
}

/// The codes of a 2- or 4-bit array, four or two a byte.
template <scheme Scheme, index_t Rows, index_t Cols>
  requires sub_byte_code<typename Scheme::code>
constexpr auto pack_array(quantized_array<Scheme, Rows, Cols> const& q) {
  packed_array<typename Scheme::code, Rows * Cols> packed;
  pack_codes<typename Scheme::code>(vector_view<typename Scheme::storage const>{q.codes, Rows * Cols, 1},
                                    packed_view<typename Scheme::code>{packed.bytes, Rows * Cols});
  return packed;
}

}  // inline namespace QUERN_ABI
}  // namespace quern

QUERN_FP_END
