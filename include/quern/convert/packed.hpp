// packed.hpp — conversions to and from codes that share a byte: s4, u4, s2, u2.
//
// The elements lie in row-major order, the first in the lowest bits (core/packed_int.hpp). A piece of a row at a time passes
// through a buffer of bytes in the first cache.
#pragma once

#include "dequantize.hpp"
#include "dynamic_quantize.hpp"
#include "quantize.hpp"
#include "requantize.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

inline constexpr index_t piece_size = most_columns;

/// Calls f(first, stride, n, at, scale) for pieces of a view's lines, in row-major order: n neighbours along the last axis from `first`
/// on, the first of which is element `at`, and whose scales have the numbers scale(0) to scale(n - 1).
template <class T, int Rank, class F>
void for_each_piece(any_view<T> const& v, scale_grid<Rank> const& grid, F const& f) {
  constexpr int last = Rank - 1;
  index_t i[Rank] = {}, at = 0;
  for (int a = 0; a < Rank; ++a)
    if (v.extent[a] <= 0) return;
  for (;;) {
    index_t offset = 0, line = 0;
    for (int a = 0; a < last; ++a) {
      offset += i[a] * v.stride[a];
      line = line * grid.steps[a] + i[a] / grid.block[a];
    }
    line *= grid.steps[last];
    for (index_t j = 0; j < v.extent[last]; j += piece_size) {
      index_t const n = v.extent[last] - j < piece_size ? v.extent[last] - j : piece_size;
      f(v.data + offset + j * v.stride[last], v.stride[last], n, at + j, [&](index_t k) { return line + (j + k) / grid.block[last]; });
    }
    at += v.extent[last];
    int a = last - 1;
    for (; a >= 0; --a) {
      if (++i[a] < v.extent[a]) break;
      i[a] = 0;
    }
    if (a < 0) return;
  }
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

/// The side that is no packed one tells the shape; get(first, stride, n, at, codes) reads a piece, put writes one.
template <class Rescale, class SrcScheme, class DstScheme, class View, class Get, class Put>
conversion_counts requantize_packed(View plain, params_view p, params_view q, isa cap, Get const& get, Put const& put) {
  require_rescale_policy<Rescale>();
  using src_granularity = typename SrcScheme::granularity;
  using dst_granularity = typename DstScheme::granularity;
  static_assert(src_granularity::single || dst_granularity::single || std::is_same_v<src_granularity, dst_granularity>,
                "quern::requantize: two schemes with several scales must have the same granularity.");
  using granularity_type = std::conditional_t<src_granularity::single, dst_granularity, src_granularity>;
  using parameters = typename Rescale::parameters;
  constexpr bool p_single = src_granularity::single, q_single = dst_granularity::single;
  auto const v = any_of(plain);
  auto const grid = grid_over<granularity_type>(v, std::integral_constant<int, rank_of<View>>{});
  check_params<SrcScheme>(p, p_single ? 1 : grid.count(), "requantize");
  check_params<DstScheme>(q, q_single ? 1 : grid.count(), "requantize");
  auto const ratio_of = [&](index_t g) { return Rescale::from_real(scale_ratio(p.scale(p_single ? 0 : g), q.scale(q_single ? 0 : g))); };
  for (index_t g = 0; g < grid.count(); ++g) static_cast<void>(ratio_of(g));  // a policy may refuse one
  alignas(64) typename SrcScheme::storage in[piece_size];
  alignas(64) typename DstScheme::storage out[piece_size];
  alignas(64) unsigned char memory[piece_size * sizeof(parameters)];
  alignas(64) std::int32_t src_zeros[piece_size] = {}, dst_zeros[piece_size] = {};
  auto* const ratios = reinterpret_cast<parameters*>(memory);
  conversion_counts counts;
  for_each_piece(v, grid, [&](auto* first, index_t stride, index_t n, index_t at, auto const& scale) {
    get(first, stride, n, at, static_cast<typename SrcScheme::storage*>(in));
    for (index_t k = 0; k < n; ++k) {
      index_t const g = scale(k);
      ::new (static_cast<void*>(ratios + k)) parameters(k > 0 && scale(k - 1) == g ? ratios[k - 1] : ratio_of(g));
      src_zeros[k] = p.zero_point(p_single ? 0 : g), dst_zeros[k] = q.zero_point(q_single ? 0 : g);
    }
    requantize_task<Rescale, typename SrcScheme::storage, typename DstScheme::storage> const t{
        in, out, 1, n, n, n, ratios, src_zeros, dst_zeros, 0, DstScheme::q_min, DstScheme::q_max, false, false};
    counts.saturated += requantize_rectangle(t, true, cap);
    put(first, stride, n, at, static_cast<typename DstScheme::storage const*>(out));
  });
  return counts;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Real numbers to packed codes, in row-major order. As quantize; bits of the last byte that hold no element become 0.
/// @shapes  src: a vector, matrix or NHWC tensor of any stride; dst: at least as many elements.
/// @errors  capacity, shape, null, overlap, scale, zero_point. Nothing is written then.
template <class Rounding = round_to::half_even, conversion_form Form = divide, detail::real_view Src, quantization_params Params,
          sub_byte_code Code>
conversion_counts quantize(Src src, Params const& params, packed_view<Code> dst, quantize_options<Rounding> const& options = {}) {
  require_rounding_mode<Rounding>();
  using scheme_type = typename Params::scheme_type;
  using storage = typename scheme_type::storage;
  using real_type = std::remove_const_t<detail::element_t<Src>>;
  static_assert(std::is_same_v<code_of_t<Code>, typename scheme_type::code>,
                "quern::quantize: the code of dst must be that of the scheme (packed_view<s4> for symmetric<s4>, ...).");
  detail::check_packed("quantize", "src", "dst", src, dst);
  auto const from = detail::any_of(src);
  auto const grid = detail::grid_over<typename scheme_type::granularity>(from, std::integral_constant<int, detail::rank_of<Src>>{});
  params_view const p = params.view();
  check_params<scheme_type>(p, grid.count(), "quantize");
  conversion_counts counts;
  alignas(64) real_type in[detail::piece_size];
  alignas(64) storage out[detail::piece_size];
  alignas(64) float scales[detail::piece_size];
  alignas(64) std::int32_t zeros[detail::piece_size];
  detail::for_each_piece(from, grid, [&](auto const* first, index_t stride, index_t n, index_t at, auto const& scale) {
    for (index_t k = 0; k < n; ++k) {
      in[k] = first[k * stride];
      index_t const g = scale(k);
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
  });
  return counts;
}

/// Packed codes to real numbers, in row-major order. As dequantize.
/// @shapes  src: at least as many elements as dst, a vector, matrix or NHWC tensor of any stride.
/// @errors  capacity, shape, null, overlap, scale, zero_point. Nothing is written then.
template <sub_byte_code Code, class Byte, quantization_params Params, detail::real_view Dst>
void dequantize(packed_view<Code, Byte> src, Params const& params, Dst dst, convert_options const& options = {}) {
  using scheme_type = typename Params::scheme_type;
  using storage = typename scheme_type::storage;
  using real_type = detail::element_t<Dst>;
  static_assert(std::is_same_v<code_of_t<Code>, typename scheme_type::code>,
                "quern::dequantize: the code of src must be that of the scheme (packed_view<s4> for symmetric<s4>, ...).");
  detail::check_packed("dequantize", "dst", "src", dst, src);
  auto const to = detail::any_of(dst);
  auto const grid = detail::grid_over<typename scheme_type::granularity>(to, std::integral_constant<int, detail::rank_of<Dst>>{});
  params_view const p = params.view();
  check_params<scheme_type>(p, grid.count(), "dequantize");
  alignas(64) storage in[detail::piece_size];
  alignas(64) real_type out[detail::piece_size];
  alignas(64) float scales[detail::piece_size];
  alignas(64) std::int32_t zeros[detail::piece_size];
  detail::for_each_piece(to, grid, [&](real_type* first, index_t stride, index_t n, index_t at, auto const& scale) {
    for (index_t k = 0; k < n; ++k) {
      in[k] = src.get(at + k);
      index_t const g = scale(k);
      scales[k] = p.scale(g);
      zeros[k] = p.zero_point(g);
    }
    real_type* const y = stride == 1 ? first : static_cast<real_type*>(out);
    detail::dequantize_rectangle(detail::dequantize_task<storage, real_type>{.src = in, .dst = y, .rows = 1, .cols = n, .src_stride = n,
                                                                             .dst_stride = n, .scales = scales, .zeros = zeros,
                                                                             .row_scale = 0, .in_place = false, .streaming = false},
                                 true, options.max_isa);
    if (y == out)
      for (index_t k = 0; k < n; ++k) first[k * stride] = out[k];
  });
}

/// Packed codes of one scheme to codes of another, plain ones, or the other way round, in row-major order. As requantize of plain codes.
/// @shapes  the plain side: a vector, matrix or NHWC tensor of any stride; the packed one: at least as many elements.
/// @errors  capacity, shape, null, overlap, scale (also what the policy refuses), zero_point. Nothing is written then.
template <class Rescale = rescale::float_multiply<>, sub_byte_code Code, class Byte, quantization_params SrcParams, quantization_params DstParams,
          detail::code_view Dst>
conversion_counts requantize(packed_view<Code, Byte> src, SrcParams const& src_params, DstParams const& dst_params, Dst dst,
                             convert_options const& options = {}) {
  static_assert(std::is_same_v<code_of_t<Code>, typename SrcParams::scheme_type::code>,
                "quern::requantize: the code of src must be that of its scheme (packed_view<s4> for symmetric<s4>, ...).");
  static_assert(std::is_same_v<detail::element_t<Dst>, typename DstParams::scheme_type::storage>,
                "quern::requantize: dst must be a view of its scheme's storage type, not const.");
  detail::check_packed("requantize", "dst", "src", dst, src);
  return detail::requantize_packed<Rescale, typename SrcParams::scheme_type, typename DstParams::scheme_type>(
      dst, src_params.view(), dst_params.view(), options.max_isa,
      [&](auto*, index_t, index_t n, index_t at, auto* codes) {
        for (index_t k = 0; k < n; ++k) codes[k] = src.get(at + k);
      },
      [](auto* first, index_t stride, index_t n, index_t, auto const* codes) {
        for (index_t k = 0; k < n; ++k) first[k * stride] = codes[k];
      });
}
template <class Rescale = rescale::float_multiply<>, detail::code_view Src, quantization_params SrcParams, quantization_params DstParams,
          sub_byte_code Code>
conversion_counts requantize(Src src, SrcParams const& src_params, DstParams const& dst_params, packed_view<Code> dst,
                             convert_options const& options = {}) {
  static_assert(std::is_same_v<code_of_t<Code>, typename DstParams::scheme_type::code>,
                "quern::requantize: the code of dst must be that of its scheme (packed_view<s4> for symmetric<s4>, ...).");
  static_assert(std::is_same_v<std::remove_const_t<detail::element_t<Src>>, typename SrcParams::scheme_type::storage>,
                "quern::requantize: src must be a view of its scheme's storage type.");
  detail::check_packed("requantize", "src", "dst", src, dst);
  return detail::requantize_packed<Rescale, typename SrcParams::scheme_type, typename DstParams::scheme_type>(
      src, src_params.view(), dst_params.view(), options.max_isa,
      [](auto* first, index_t stride, index_t n, index_t, auto* codes) {
        for (index_t k = 0; k < n; ++k) codes[k] = first[k * stride];
      },
      [&](auto*, index_t, index_t n, index_t at, auto const* codes) { detail::put_codes(codes, n, dst, at); });
}

/// dynamic_quantize to packed codes. @errors  as quantize; as choose_params. Nothing is written then.
template <class Scheme, class Rounding = round_to::half_even, conversion_form Form = divide, detail::real_view Src, sub_byte_code Code>
dynamic_result<Scheme> dynamic_quantize(Src src, packed_view<Code> dst, quantize_options<Rounding> const& options = {}, choose_options const& choose = {}) {
  detail::check_packed("dynamic_quantize", "src", "dst", src, dst);
  dynamic_result<Scheme> result;
  result.quantized_with = detail::choose_from_data<Scheme>(src, choose, options.max_isa);
  result.counts = quantize<Rounding, Form>(src, result.quantized_with, dst, options);
  return result;
}

}  // inline namespace QUERN_ABI
}  // namespace quern
