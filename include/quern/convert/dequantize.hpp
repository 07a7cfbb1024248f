// dequantize.hpp — codes back to real numbers.
#pragma once

#include "../core/packed_int.hpp"
#include "../cpu/detect.hpp"
#include "../scheme/params.hpp"
#include "../simd/simd.hpp"
#include "compiled.hpp"
#include "form.hpp"
#include "quantize_task.hpp"
#include "walk.hpp"

namespace quern::detail {

/// One rectangle, as the kernels of dequantize_body.inl take it: scales and zero points have the number row * row_scale, or that of
/// the column.
template <class Src, class Dst>
struct dequantize_task {
  Src const* src;
  Dst* dst;
  index_t rows, cols;
  index_t src_stride, dst_stride;  ///< from row to row
  float const* scales;
  std::int32_t const* zeros;  ///< null: all 0
  index_t row_scale;
  bool in_place;   ///< dst is src: no element may be read again after it was written
  bool streaming;  ///< dst is written past the caches
  bool unchecked = false;  ///< scales and zero points are looked at first: one of each for every row, or every column
  zero_point_limits zero_limits{};
};

}  // namespace quern::detail

#define QUERN_DETAIL_EACH_ISA "../convert/dequantize_body.inl"
#define QUERN_DETAIL_DECLARED "../convert/dequantize_declared.inl"
#include "../simd/each_isa.inl"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

template <class Src, class Dst>
QUERN_INLINE bool dequantize_rows(dequantize_task<Src, Dst> const& t, isa cap) {
  QUERN_DETAIL_BEST((is_compiled_dequantize<Src, Dst>), cap, dequantize_rows(t))
}
template <class Src, class Dst>
QUERN_INLINE bool dequantize_columns(dequantize_task<Src, Dst> const& t, isa cap) {
  QUERN_DETAIL_BEST((is_compiled_dequantize<Src, Dst>), cap, dequantize_columns(t))
}
template <class Src, class Dst>
QUERN_INLINE bool dequantize_rectangle(dequantize_task<Src, Dst> const& t, bool columns, isa cap) {
  return columns ? dequantize_columns(t, cap) : dequantize_rows(t, cap);
}

template <class Dst>
QUERN_INLINE constexpr bool leaves_caches(index_t elements) noexcept {
  return elements >= streaming_bytes / static_cast<index_t>(sizeof(Dst));
}

/// After the params were checked, part by part.
template <class Src, class Dst>
struct part_dequantizer {
  params_view p;
  isa cap;
  bool large, in_place;
  bool unchecked = false;
  zero_point_limits zero_limits{};
  part_shape kept{};  ///< the columns that the arrays hold the scales of
  alignas(64) float scales[most_columns];
  alignas(64) std::int32_t zeros[most_columns];

  QUERN_INLINE part_dequantizer(params_view p_, index_t all, bool in_place_, isa cap_)
      : p(p_), cap(cap_), large(leaves_caches<Dst>(all)), in_place(in_place_) {}
  /// False where `unchecked` is set and the params are wrong.
  QUERN_INLINE bool operator()(Src const* src, Dst* dst, part_shape const& s) {
    dequantize_task<Src, Dst> t{src, dst, s.rows, s.cols, s.src_stride, s.dst_stride, scales, p.zero_points == nullptr ? nullptr : zeros, 0,
                                in_place, large && s.rows * s.cols > most_columns, unchecked, zero_limits};
    if (s.col_scale == 0) {
      t.scales = p.scales + s.scale;
      t.zeros = p.zero_points == nullptr ? nullptr : p.zero_points + s.scale;
      t.row_scale = s.row_scale;
      return dequantize_rectangle(t, false, cap);
    }
    if (s.col_scale == 1 && s.period >= s.cols) {
      t.scales = p.scales + s.scale;
      t.zeros = p.zero_points == nullptr ? nullptr : p.zero_points + s.scale;
    } else if (kept.scale != s.scale || kept.col_scale != s.col_scale || kept.period != s.period || kept.cols < s.cols) {
      kept = s;
      for (index_t j = 0, k = 0; j < s.cols; ++j) {
        scales[j] = p.scale(s.scale + k * s.col_scale);
        if (p.zero_points != nullptr) zeros[j] = p.zero_point(s.scale + k * s.col_scale);
        if (++k == s.period) k = 0;
      }
    }
    return dequantize_rectangle(t, true, cap);
  }
};

template <class Src, class Dst, int Rank>
QUERN_NOINLINE void dequantize_any(any_view<Src const> const& from, any_view<Dst> const& to, params_view p,
                                   scale_grid<Rank> const& grid, bool in_place, isa cap) {
  part_dequantizer<Src, Dst> parts(p, elements(to), in_place, cap);
  for_each_part(from, to, grid, parts);
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Codes to real numbers.
///
///     real = (q - zero_point) * scale
///
/// @shapes  src and dst: vectors, matrices or NHWC tensors of the same extents and any strides; params as for quantize.
/// @range   every code, also those outside of q_min .. q_max.
/// @rounds  the product once, to float (to double for double); half and bfloat16 once more, to nearest even.
/// @errors  shape, null, overlap, scale, zero_point. Nothing is written then.
/// @source  reference/quantize.hpp is the definition; ONNX DequantizeLinear. Does not allocate.
template <detail::code_view Src, quantization_params Params, detail::real_view Dst>
QUERN_INLINE void dequantize(Src src, Params const& params, Dst dst, convert_options const& options = {}) {
  using scheme_type = typename Params::scheme_type;
  using src_type = std::remove_const_t<detail::element_t<Src>>;
  using dst_type = detail::element_t<Dst>;
  static_assert(detail::rank_of<Src> == detail::rank_of<Dst>, "quern::dequantize: src and dst must have the same number of axes.");
  static_assert(std::is_same_v<src_type, typename scheme_type::storage>,
                "quern::dequantize: src must be a view of the scheme's storage type (std::int8_t for s8 and s4, ...).");
  static_assert(!std::is_const_v<dst_type>, "quern::dequantize: dst must not be const.");
  constexpr std::int32_t q_min = scheme_type::q_min, q_max = scheme_type::q_max;
  params_view const p = params.view();
  if constexpr (scheme_type::granularity::single) {
    index_t const n = detail::line_of(src, dst);
    if (n > 0 && p.count == 1 && p.scales != nullptr) [[likely]] {
      float const scale = p.scale(0);
      std::int32_t const zero_point = p.zero_point(0);
      if (scale > 0.0f && is_finite(scale) && scheme_type::valid_scale(scale) && zero_point >= q_min && zero_point <= q_max &&
          (!scheme_type::fixed_zero_point || zero_point == scheme_type::q_middle)) [[likely]]
        return void(detail::dequantize_rectangle(
            detail::dequantize_task<src_type, dst_type>{.src = src.data, .dst = dst.data, .rows = 1, .cols = n, .src_stride = n,
                                                        .dst_stride = n, .scales = p.scales, .zeros = p.zero_points, .row_scale = 0,
                                                        .in_place = false, .streaming = detail::leaves_caches<dst_type>(n)},
            false, options.max_isa));
    }
  } else {
    detail::part_shape const s = detail::one_part_of<typename scheme_type::granularity>(src, dst);
    if (s.rows > 0) {
      index_t const count = s.col_scale != 0 ? s.period : s.rows;
      bool const unchecked = detail::kernel_may_check<scheme_type>(p, count);
      if (!unchecked) check_params<scheme_type>(p, count, "dequantize");
      if (s.col_scale == 0 || s.period == s.cols) [[likely]] {  // without that object's arrays
        index_t const n = s.rows * s.cols;
        if (!detail::dequantize_rectangle(
                detail::dequantize_task<src_type, dst_type>{.src = src.data, .dst = dst.data, .rows = s.rows, .cols = s.cols,
                                                            .src_stride = s.src_stride, .dst_stride = s.dst_stride, .scales = p.scales,
                                                            .zeros = p.zero_points, .row_scale = s.row_scale, .in_place = false,
                                                            .streaming = detail::leaves_caches<dst_type>(n) && n > detail::most_columns,
                                                            .unchecked = unchecked, .zero_limits = detail::zero_limits_of<scheme_type>},
                s.col_scale != 0, options.max_isa)) [[unlikely]]
          check_params<scheme_type>(p, count, "dequantize");
        return;
      }
      detail::part_dequantizer<src_type, dst_type> part(p, s.rows * s.cols, false, options.max_isa);
      part.unchecked = unchecked, part.zero_limits = detail::zero_limits_of<scheme_type>;
      if (!part(src.data, dst.data, s)) [[unlikely]]
        check_params<scheme_type>(p, count, "dequantize");
      return;
    }
  }
  detail::any_view<src_type const> const from = detail::any_const(detail::any_of(src));
  auto const to = detail::any_of(dst);
  detail::views_check const views = detail::check_views("dequantize", from, to);
  using granularity_type = typename scheme_type::granularity;
  auto const grid = detail::grid_over<granularity_type>(from, std::integral_constant<int, detail::rank_of<Src>>{});
  check_params<scheme_type>(p, grid.count(), "dequantize");
  if (views == detail::views_check::nothing_to_do) return;
  detail::dequantize_any(from, to, p, grid, views == detail::views_check::same_place, options.max_isa);
}

/// int32 accumulators to real numbers: real = acc * scale, acc rounded to float (exact for double) before the product.
/// One scale for all, or one for each index of the axis that `Granularity` names; zero points as params_view has them.
/// @errors  as above.
template <class Granularity = per_tensor, detail::code_view Src, detail::real_view Dst>
  requires std::is_same_v<std::remove_const_t<detail::element_t<Src>>, std::int32_t>
void dequantize(Src src, params_view params, Dst dst, convert_options const& options = {}) {
  using dst_type = detail::element_t<Dst>;
  static_assert(detail::rank_of<Src> == detail::rank_of<Dst>, "quern::dequantize: src and dst must have the same number of axes.");
  detail::any_view<std::int32_t const> const from = detail::any_const(detail::any_of(src));
  detail::any_view<dst_type> const to = detail::any_of(dst);
  detail::views_check const views = detail::check_views("dequantize", from, to);
  auto const grid = detail::grid_over<Granularity>(from, std::integral_constant<int, detail::rank_of<Src>>{});
  detail::check_params(params, grid.count(), "dequantize",
                       {"int32 values", granularity_name<Granularity>, s32::min, s32::max, 0, false});
  if (views == detail::views_check::nothing_to_do) return;
  detail::dequantize_any(from, to, params, grid, views == detail::views_check::same_place, options.max_isa);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
