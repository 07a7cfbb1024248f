// dequantize.hpp — codes back to real numbers.
#pragma once

#include "../core/packed_int.hpp"
#include "../cpu/detect.hpp"
#include "../scheme/params.hpp"
#include "../simd/simd.hpp"
#include "compiled.hpp"
#include "form.hpp"
#include "quantize_task.hpp"
#include "scale_pattern.hpp"
#include "walk.hpp"

#define QUERN_DETAIL_EACH_ISA "../convert/dequantize_body.inl"
#define QUERN_DETAIL_DECLARED "../convert/dequantize_declared.inl"
#include "../simd/each_isa.inl"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

template <class Src, class Dst>
QUERN_INLINE void dequantize_line(Src const* src, Dst* dst, index_t n, float scale, std::int32_t zero_point, isa cap) {
  QUERN_DETAIL_BEST((is_compiled_dequantize<Src, Dst>), cap, dequantize_line(src, dst, n, scale, zero_point))
}

template <class Src, class Dst>
QUERN_INLINE void dequantize_columns(Src const* src, Dst* dst, index_t n, float const* scales, std::int32_t const* zeros, isa cap) {
  QUERN_DETAIL_BEST((is_compiled_dequantize<Src, Dst>), cap, dequantize_columns(src, dst, n, scales, zeros))
}

/// After the params were checked: every shape.
template <class Granularity, class Src, class Dst, int Rank>
QUERN_NOINLINE void dequantize_any(any_view<Src const> const& from, any_view<Dst> const& to, params_view p,
                                   scale_grid<Rank> const& grid, isa cap) {
  scale_pattern pattern;
  for_each_line(from, to, grid, [&](Src const* src, Dst* dst, index_t n, index_t scale, index_t step, index_t period) {
    if (step == 0) return dequantize_line(src, dst, n, p.scale(scale), p.zero_point(scale), cap);
    pattern.fill(p, n, scale, step, period);
    dequantize_columns(src, dst, n, pattern.scales, pattern.zeros, cap);
  });
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
void dequantize(Src src, Params const& params, Dst dst, convert_options const& options = {}) {
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
        return detail::dequantize_line<src_type, dst_type>(src.data, dst.data, n, scale, zero_point, options.max_isa);
    }
  }
  detail::any_view<src_type const> const from = detail::any_const(detail::any_of(src));
  auto const to = detail::any_of(dst);
  detail::views_check const views = detail::check_views("dequantize", from, to);
  using granularity_type = typename scheme_type::granularity;
  auto const grid = detail::grid_over<granularity_type>(from, std::integral_constant<int, detail::rank_of<Src>>{});
  check_params<scheme_type>(p, grid.count(), "dequantize");
  if (views == detail::views_check::nothing_to_do) return;
  detail::dequantize_any<granularity_type>(from, to, p, grid, options.max_isa);
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
  detail::dequantize_any<Granularity>(from, to, params, grid, options.max_isa);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
