// quantize.hpp — real numbers to codes.
#pragma once

#include "../core/packed_int.hpp"
#include "../scheme/params.hpp"
#include "quantize_kernels.hpp"
#include "walk.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// Rows of any stride: what is not contiguous goes through a buffer on the stack.
template <class Form, class Src, class Dst, class Rounding>
void quantize_strided(quantize_task<Src, Dst> t, index_t src_step, index_t dst_step, Rounding rounding, isa cap,
                   conversion_counts& counts) {
  if (t.rows > 1 && t.row_scale != 0 && t.col_scale != 0) {  // a scale for each element: row by row
    index_t const rows = t.rows;
    t.rows = 1;
    for (index_t i = 0; i < rows; ++i) {
      quantize_strided<Form>(t, src_step, dst_step, rounding, cap, counts);
      t.src += t.src_stride, t.dst += t.dst_stride, t.scales += t.row_scale;
      if (t.zero_points != nullptr) t.zero_points += t.row_scale;
      t.first_index += static_cast<std::uint64_t>(t.row_index);
    }
    return;
  }
  if (src_step == 1 && dst_step == 1) {
    index_t const fold = t.col_scale != 0 && t.src_stride == t.cols && t.dst_stride == t.cols && t.row_index == t.cols &&
                                 t.col_index == 1
                             ? rows_to_fold(t.rows, t.cols)
                             : 1;
    if (fold > 1) {
      index_t const rows = t.rows, whole = rows / fold;
      t.period = t.cols;
      t.cols *= fold, t.src_stride *= fold, t.dst_stride *= fold, t.row_index *= fold;
      t.rows = whole;
      counts += quantize_rectangle<Form>(t, rounding, cap);
      t.src += whole * t.src_stride, t.dst += whole * t.dst_stride;
      t.first_index += static_cast<std::uint64_t>(whole * t.row_index);
      t.rows = 1, t.cols = (rows - whole * fold) * t.period;
      if (t.cols > 0) counts += quantize_rectangle<Form>(t, rounding, cap);
      return;
    }
    counts += quantize_rectangle<Form>(t, rounding, cap);
    return;
  }
  constexpr index_t most = 1024;
  alignas(64) Src in[most];
  alignas(64) Dst out[most];
  for (index_t i = 0; i < t.rows; ++i)
    for (index_t j = 0; j < t.cols; j += most) {
      index_t const n = t.cols - j < most ? t.cols - j : most;
      Src const* const src = t.src + i * t.src_stride + j * src_step;
      Dst* const dst = t.dst + i * t.dst_stride + j * dst_step;
      quantize_task<Src, Dst> part = t;
      part.rows = 1, part.cols = n;
      part.src = src, part.dst = dst;
      index_t const scale = i * t.row_scale + j * t.col_scale;
      part.scales += scale;
      if (part.zero_points != nullptr) part.zero_points += scale;
      part.first_index += static_cast<std::uint64_t>(i * t.row_index + j * t.col_index);
      part.period = n;
      if (src_step != 1) {
        for (index_t k = 0; k < n; ++k) in[k] = src[k * src_step];
        part.src = in;
      }
      if (dst_step != 1) part.dst = out;
      part.in_place = part.in_place && src_step == 1 && dst_step == 1;
      counts += quantize_rectangle<Form>(part, rounding, cap);
      if (dst_step != 1)
        for (index_t k = 0; k < n; ++k) dst[k * dst_step] = out[k];
    }
}

template <class Form, class Src, class Dst, int Rank, class Rounding>
conversion_counts quantize_box(any_view<Src const> const& src, any_view<Dst> const& dst, params_view p, scale_grid<Rank> const& grid,
                               std::int32_t q_min, std::int32_t q_max, bool in_place, Rounding rounding, isa cap,
                               bool* far = nullptr) {
  conversion_counts counts;
  cut_groups(box_of(src, dst, grid), grid, 0, [&](walk_box box) {
    simplify(box);
    walk_axis const row = box.axis[box.rank - 2], col = box.axis[box.rank - 1];
    for_each_rectangle(box, [&](index_t s, index_t d, index_t scale, index_t index) {
      quantize_task<Src, Dst> const t{.src = src.data + s,
                                      .dst = dst.data + d,
                                      .rows = row.extent,
                                      .cols = col.extent,
                                      .src_stride = row.src,
                                      .dst_stride = row.dst,
                                      .scales = p.scales + scale,
                                      .zero_points = p.zero_points == nullptr ? nullptr : p.zero_points + scale,
                                      .row_scale = row.scale,
                                      .col_scale = col.scale,
                                      .period = col.extent,
                                      .q_min = q_min,
                                      .q_max = q_max,
                                      .in_place = in_place,
                                      .first_index = static_cast<std::uint64_t>(index),
                                      .row_index = row.index,
                                      .col_index = col.index,
                                      .far = far};
      quantize_strided<Form>(t, col.src, col.dst, rounding, cap, counts);
    });
  });
  return counts;
}

/// Every case, with every check.
template <class Form, class Scheme, class SrcType, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_any(Src src, params_view p, Dst dst, Rounding rounding, isa cap, bool* far) {
  any_view<SrcType const> const from = any_const(any_of(src));
  auto const to = any_of(dst);
  views_check const views = check_views("quantize", from, to);
  auto const grid = grid_over<typename Scheme::granularity>(from, std::integral_constant<int, rank_of<Src>>{});
  check_params<Scheme>(p, grid.count(), "quantize");
  if (views == views_check::nothing_to_do) return {};
  return quantize_box<Form>(from, to, p, grid, Scheme::q_min, Scheme::q_max, views == views_check::same_place, rounding, cap, far);
}

/// quantize(). `far`, if not null, becomes true where a value may be 2^15 steps away or more, or not finite.
template <class Rounding, class Form, class Src, class Params, class Dst>
QUERN_INLINE conversion_counts quantize_views(Src src, Params const& params, Dst dst, quantize_options<Rounding> const& options, bool* far) {
  require_rounding_mode<Rounding>();
  using scheme_type = typename Params::scheme_type;
  using src_type = std::remove_const_t<element_t<Src>>;
  using dst_type = element_t<Dst>;
  static_assert(rank_of<Src> == rank_of<Dst>, "quern::quantize: src and dst must have the same number of axes.");
  static_assert(std::is_same_v<dst_type, typename scheme_type::storage>,
                "quern::quantize: dst must be a view of the scheme's storage type (std::int8_t for s8 and s4, ...), not const.");
  constexpr std::int32_t q_min = scheme_type::q_min, q_max = scheme_type::q_max;
  if constexpr (scheme_type::granularity::single) {
    // The common case stays in registers: one line of memory, one scale, nothing wrong.
    params_view const p = params.view();
    index_t const n = line_of(src, dst);
    if (n > 0 && p.count == 1 && p.scales != nullptr) [[likely]] {
      float const scale = p.scale(0);
      std::int32_t const zero_point = p.zero_point(0);
      if (scale > 0.0f && is_finite(scale) && scheme_type::valid_scale(scale) && zero_point >= q_min && zero_point <= q_max &&
          (!scheme_type::fixed_zero_point || zero_point == scheme_type::q_middle)) [[likely]]
        return quantize_rectangle<Form>(
            quantize_task<src_type, dst_type>{.src = src.data, .dst = dst.data, .rows = 1, .cols = n, .src_stride = n,
                                                      .dst_stride = n, .scales = p.scales, .zero_points = p.zero_points,
                                                      .row_scale = 0, .col_scale = 0, .period = n, .q_min = q_min, .q_max = q_max,
                                                      .in_place = false, .first_index = 0, .row_index = n, .col_index = 1, .far = far},
            options.rounding, options.max_isa);
    }
  } else {
    params_view const p = params.view();
    part_shape const s = one_part_of<typename scheme_type::granularity>(src, dst);
    if (s.rows > 0) {
      // The kernel looks at scales and zero points itself, and finds a mistake before it writes anything; the sentence about it is made here.
      index_t const count = s.col_scale != 0 ? s.period : s.rows;
      bool const unchecked = kernel_may_check<scheme_type>(p, count);
      if (!unchecked) check_params<scheme_type>(p, count, "quantize");
      conversion_counts const counts = quantize_rectangle<Form>(
          quantize_task<src_type, dst_type>{.src = src.data, .dst = dst.data, .rows = s.rows, .cols = s.cols,
                                                    .src_stride = s.src_stride, .dst_stride = s.dst_stride, .scales = p.scales,
                                                    .zero_points = p.zero_points, .row_scale = s.row_scale, .col_scale = s.col_scale,
                                                    .period = s.period, .q_min = q_min, .q_max = q_max, .in_place = false,
                                                    .first_index = 0, .row_index = s.cols, .col_index = 1, .unchecked = unchecked,
                                                    .zero_limits = zero_limits_of<scheme_type>, .far = far},
          options.rounding, options.max_isa);
      if (counts.saturated < 0) [[unlikely]]
        check_params<scheme_type>(p, count, "quantize");
      return counts;
    }
  }
  return quantize_any<Form, scheme_type, src_type>(src, params.view(), dst, options.rounding, options.max_isa, far);
}

}  // inline namespace QUERN_ABI

}  // namespace detail

inline namespace QUERN_ABI {

/// Real numbers to codes.
///
///     q = within q_min .. q_max ( round(real / scale) + zero_point )                divide
///     q = within q_min .. q_max ( round(real * (1 / scale)) + zero_point )          reciprocal
///
/// @shapes  src and dst: vectors, matrices or NHWC tensors of the same extents and any strides; params as many as
///          grid_of<Scheme::granularity> has for them.
/// @units   src: those of scale; dst: steps.
/// @range   double in double, float, half and bfloat16 in float. NaN becomes q_min, infinities the end they point to.
/// @rounds  the quotient (or inverse and product) once each to float or double, then to an integer by `Rounding`.
/// @returns how many finite values were saturated, how many were not finite.
/// @errors  shape, null, overlap (unless dst is src, element for element), scale, zero_point. Nothing is written then.
/// @source  reference/quantize.hpp is the definition; ONNX QuantizeLinear, PyTorch quantize_per_tensor. Does not allocate.
template <class Rounding = round_to::half_even, conversion_form Form = divide, detail::real_view Src, quantization_params Params,
          detail::code_view Dst>
QUERN_INLINE conversion_counts quantize(Src src, Params const& params, Dst dst, quantize_options<Rounding> const& options = {}) {
  return detail::quantize_views<Rounding, Form>(src, params, dst, options, nullptr);
}

/// Real numbers to int32: biases. One scale for all, or one for each index of the axis that `Granularity` names.
/// @errors  as above.
template <class Rounding = round_to::half_even, conversion_form Form = divide, class Granularity = per_tensor, detail::real_view Src,
          detail::code_view Dst>
  requires std::is_same_v<detail::element_t<Dst>, std::int32_t>
conversion_counts quantize(Src src, params_view params, Dst dst, quantize_options<Rounding> const& options = {}) {
  require_rounding_mode<Rounding>();
  static_assert(detail::rank_of<Src> == detail::rank_of<Dst>, "quern::quantize: src and dst must have the same number of axes.");
  auto const from = detail::any_const(detail::any_of(src));
  auto const to = detail::any_of(dst);
  detail::views_check const views = detail::check_views("quantize", from, to);
  auto const grid = detail::grid_over<Granularity>(from, std::integral_constant<int, detail::rank_of<Src>>{});
  detail::check_params(params, grid.count(), "quantize", {"int32", granularity_name<Granularity>, s32::min, s32::max, 0, false});
  if (views == detail::views_check::nothing_to_do) return {};
  return detail::quantize_box<Form>(from, to, params, grid, s32::min, s32::max, views == detail::views_check::same_place,
                                    options.rounding, options.max_isa);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
