// packed.hpp — quantize to and dequantize from codes that share a byte: s4, u4, s2, u2.
//
// The elements lie in row-major order, the first in the lowest bits (core/packed_int.hpp). A piece of a row at a time passes
// through a buffer of bytes in the first cache.
#pragma once

#include "dequantize.hpp"
#include "quantize.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

inline constexpr index_t piece_size = most_columns;

template <class T>
QUERN_INLINE constexpr matrix_view<T> as_matrix(vector_view<T> v) noexcept {
  return {v.data, 1, v.size, v.size * v.stride, v.stride};
}
template <class T>
QUERN_INLINE constexpr matrix_view<T> as_matrix(matrix_view<T> m) noexcept {
  return m;
}

/// Writes n values at element `at`; bits above the last one in its byte become 0.
template <class Code, class T>
void put_codes(T const* values, index_t n, packed_view<Code> dst, index_t at) noexcept {
  constexpr index_t per_byte = packed_view<Code>::per_byte;
  constexpr unsigned mask = (1u << packed_view<Code>::bits) - 1u;
  index_t i = 0;
  for (; i < n && (at + i) % per_byte != 0; ++i) dst.set(at + i, values[i]);
  for (; i < n; i += per_byte) {
    unsigned byte = 0;
    for (index_t e = 0; e < per_byte && i + e < n; ++e)
      byte |= (static_cast<unsigned>(values[i + e]) & mask) << (packed_view<Code>::bits * e);
    dst.data[(at + i) / per_byte] = static_cast<std::uint8_t>(byte);
  }
}

template <class View, class Packed>
void check_packed(char const* who, char const* real_name, char const* packed_name, View const& real_side, Packed const& packed) {
  auto const v = any_of(real_side);
  for (int a = 0; a < v.rank; ++a)
    if (v.extent[a] < 0) fail(errc::shape, who, ": axis ", a, " of ", real_name, " has ", v.extent[a], " elements; an extent must not be negative.");
  index_t const n = elements(v);
  if (packed.size < n)
    fail(errc::capacity, who, ": ", packed_name, " holds ", packed.size, " elements, ", real_name, " has ", n, "; it must have as many.");
  if (n == 0) return;
  if (v.data == nullptr) fail_null(who, real_name, n);
  if (packed.data == nullptr) fail_null(who, packed_name, n);
  byte_span const s = span_of(v);
  auto const first = reinterpret_cast<std::uintptr_t>(packed.data);
  auto const last = first + static_cast<std::uintptr_t>(packed_bytes<typename Packed::code_type>(n)) - 1;
  if (s.first <= last && first <= s.last) fail_overlap(who, false);
}

}  // inline namespace QUERN_ABI

template <class V>
concept flat_real_view = real_view<V> && rank_of<V> <= 2;
}  // namespace detail

inline namespace QUERN_ABI {

/// Real numbers to packed codes, in row-major order. As quantize; bits of the last byte that hold no element become 0.
/// @shapes  src: a vector or matrix of any stride; dst: at least as many elements.
/// @errors  capacity, shape, null, overlap, scale, zero_point. Nothing is written then.
template <class Rounding = round_to::half_even, conversion_form Form = divide, detail::flat_real_view Src, quantization_params Params,
          sub_byte_code Code>
conversion_counts quantize(Src src, Params const& params, packed_view<Code> dst, quantize_options<Rounding> const& options = {}) {
  require_rounding_mode<Rounding>();
  using scheme_type = typename Params::scheme_type;
  using storage = typename scheme_type::storage;
  using real_type = std::remove_const_t<detail::element_t<Src>>;
  static_assert(std::is_same_v<code_of_t<Code>, typename scheme_type::code>,
                "quern::quantize: the code of dst must be that of the scheme (packed_view<s4> for symmetric<s4>, ...).");
  detail::check_packed("quantize", "src", "dst", src, dst);
  auto const m = detail::as_matrix(src);
  auto const grid = detail::grid_over<typename scheme_type::granularity>(detail::any_of(src), std::integral_constant<int, detail::rank_of<Src>>{});
  params_view const p = params.view();
  check_params<scheme_type>(p, grid.count(), "quantize");
  conversion_counts counts;
  alignas(64) real_type in[detail::piece_size];
  alignas(64) storage out[detail::piece_size];
  alignas(64) float scales[detail::piece_size];
  alignas(64) std::int32_t zeros[detail::piece_size];
  for (index_t i = 0; i < m.rows; ++i)
    for (index_t j = 0; j < m.cols; j += detail::piece_size) {
      index_t const n = m.cols - j < detail::piece_size ? m.cols - j : detail::piece_size, at = i * m.cols + j;
      for (index_t k = 0; k < n; ++k) {
        in[k] = m(i, j + k);
        index_t g;
        if constexpr (detail::rank_of<Src> == 1)
          g = grid.at(j + k);
        else
          g = grid.at(i, j + k);
        scales[k] = p.scale(g);
        zeros[k] = p.zero_point(g);
      }
      detail::quantize_task<real_type, storage> const t{.src = in,
                                                        .dst = out,
                                                        .rows = 1,
                                                        .cols = n,
                                                        .src_stride = n,
                                                        .dst_stride = n,
                                                        .scales = scales,
                                                        .zero_points = zeros,
                                                        .row_scale = 0,
                                                        .col_scale = 1,
                                                        .period = n,
                                                        .q_min = scheme_type::q_min,
                                                        .q_max = scheme_type::q_max,
                                                        .in_place = false,
                                                        .first_index = static_cast<std::uint64_t>(at),
                                                        .row_index = 0,
                                                        .col_index = 1};
      counts += detail::quantize_rectangle<Form>(t, options.rounding, options.max_isa);
      detail::put_codes(out, n, dst, at);
    }
  return counts;
}

/// Packed codes to real numbers, in row-major order. As dequantize.
/// @shapes  src: at least as many elements as dst, a vector or matrix of any stride.
/// @errors  capacity, shape, null, overlap, scale, zero_point. Nothing is written then.
template <sub_byte_code Code, class Byte, quantization_params Params, detail::flat_real_view Dst>
void dequantize(packed_view<Code, Byte> src, Params const& params, Dst dst, convert_options const& options = {}) {
  using scheme_type = typename Params::scheme_type;
  using storage = typename scheme_type::storage;
  using real_type = detail::element_t<Dst>;
  static_assert(std::is_same_v<code_of_t<Code>, typename scheme_type::code>,
                "quern::dequantize: the code of src must be that of the scheme (packed_view<s4> for symmetric<s4>, ...).");
  detail::check_packed("dequantize", "dst", "src", dst, src);
  auto const m = detail::as_matrix(dst);
  auto const grid = detail::grid_over<typename scheme_type::granularity>(detail::any_of(dst), std::integral_constant<int, detail::rank_of<Dst>>{});
  params_view const p = params.view();
  check_params<scheme_type>(p, grid.count(), "dequantize");
  alignas(64) storage in[detail::piece_size];
  alignas(64) real_type out[detail::piece_size];
  alignas(64) float scales[detail::piece_size];
  alignas(64) std::int32_t zeros[detail::piece_size];
  for (index_t i = 0; i < m.rows; ++i)
    for (index_t j = 0; j < m.cols; j += detail::piece_size) {
      index_t const n = m.cols - j < detail::piece_size ? m.cols - j : detail::piece_size;
      for (index_t k = 0; k < n; ++k) {
        in[k] = src.get(i * m.cols + j + k);
        index_t g;
        if constexpr (detail::rank_of<Dst> == 1)
          g = grid.at(j + k);
        else
          g = grid.at(i, j + k);
        scales[k] = p.scale(g);
        zeros[k] = p.zero_point(g);
      }
      real_type* const to = m.col_stride == 1 ? &m(i, j) : static_cast<real_type*>(out);
      detail::dequantize_rectangle(detail::dequantize_task<storage, real_type>{.src = in, .dst = to, .rows = 1, .cols = n, .src_stride = n,
                                                                               .dst_stride = n, .scales = scales, .zeros = zeros,
                                                                               .row_scale = 0, .in_place = false, .streaming = false},
                                   true, options.max_isa);
      if (to == out)
        for (index_t k = 0; k < n; ++k) m(i, j + k) = out[k];
    }
}

}  // inline namespace QUERN_ABI
}  // namespace quern
