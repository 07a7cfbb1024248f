// requantize.hpp — codes, or int32 accumulators, to codes of another scale.
#pragma once

#include "../simd/rescale.hpp"
#include "quantize_kernels.hpp"
#include "scale_pattern.hpp"

#define QUERN_DETAIL_EACH_ISA "../convert/requantize_body.inl"
#define QUERN_DETAIL_DECLARED "../convert/requantize_declared.inl"
#include "../simd/each_isa.inl"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

template <class P, class Src, class Dst>
QUERN_INLINE std::int64_t requantize_line(Src const* src, Dst* dst, index_t n, typename P::parameters parameters, std::int32_t src_zero,
                                          std::int32_t dst_zero, std::int32_t q_min, std::int32_t q_max, bool in_place, isa cap) {
  QUERN_DETAIL_BEST((is_compiled_requantize<P, Src, Dst>), cap, requantize_line<P>(src, dst, n, parameters, src_zero, dst_zero, q_min, q_max, in_place))
}

template <class P, class Src, class Dst>
QUERN_INLINE std::int64_t requantize_columns(Src const* src, Dst* dst, index_t rows, index_t n, index_t src_stride, index_t dst_stride,
                                             typename P::parameters const* parameters, std::int32_t const* src_zeros,
                                             std::int32_t const* dst_zeros, std::int32_t q_min, std::int32_t q_max, bool in_place,
                                             isa cap) {
  QUERN_DETAIL_BEST((is_compiled_requantize<P, Src, Dst>), cap, requantize_columns<P>(src, dst, rows, n, src_stride, dst_stride, parameters, src_zeros, dst_zeros, q_min, q_max,
                    in_place))
}

/// The scale by which steps of the source become steps of the destination. Both are floats, their ratio is a double.
QUERN_INLINE constexpr double scale_ratio(float src, float dst) noexcept {
  return static_cast<double>(src) / static_cast<double>(dst);
}

/// After the params were checked: every shape. `*_single`: one scale for all on that side.
template <class P, class Src, class Dst, int Rank>
QUERN_NOINLINE std::int64_t requantize_any(any_view<Src const> const& from, any_view<Dst> const& to, params_view p, bool p_single,
                                           params_view q, bool q_single, scale_grid<Rank> const& grid, std::int32_t q_min,
                                           std::int32_t q_max, bool in_place, isa cap) {
  using parameters = typename P::parameters;
  // Every scale is converted before anything is written: a policy may refuse one.
  index_t const count = grid.count();
  for (index_t i = 0; i < count; ++i) (void)P::from_real(scale_ratio(p.scale(p_single ? 0 : i), q.scale(q_single ? 0 : i)));
  struct {
    parameters ratio[most_columns];
    alignas(64) std::int32_t src_zeros[most_columns], dst_zeros[most_columns];
    index_t filled = 0, first = -1, step = 0, period = 0;
  } pattern;
  std::int64_t saturated = 0;
  for_each_line(from, to, grid, [&](Src const* src, Dst* dst, index_t n, index_t scale, index_t step, index_t period) {
    auto const at = [&](index_t i) { return P::from_real(scale_ratio(p.scale(p_single ? 0 : i), q.scale(q_single ? 0 : i))); };
    auto const src_zero = [&](index_t i) { return p.zero_point(p_single ? 0 : i); };
    auto const dst_zero = [&](index_t i) { return q.zero_point(q_single ? 0 : i); };
    if (step == 0) {
      saturated += requantize_line<P>(src, dst, n, at(scale), src_zero(scale), dst_zero(scale), q_min, q_max, in_place, cap);
      return;
    }
    if (pattern.first != scale || pattern.step != step || pattern.period != period || n > pattern.filled) {
      pattern.first = scale, pattern.step = step, pattern.period = period, pattern.filled = n;
      for (index_t j = 0, k = 0; j < n; ++j) {
        if (j < period)
          pattern.ratio[j] = at(scale + k * step);
        else
          pattern.ratio[j] = pattern.ratio[j - period];
        pattern.src_zeros[j] = src_zero(scale + k * step);
        pattern.dst_zeros[j] = dst_zero(scale + k * step);
        if (++k == period) k = 0;
      }
    }
    saturated += requantize_columns<P>(src, dst, 1, n, n, n, pattern.ratio, pattern.src_zeros, pattern.dst_zeros, q_min, q_max, in_place,
                                       cap);
  });
  return saturated;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Codes of one scheme to codes of another.
///
///     q2 = within q_min .. q_max ( Rescale(q - zero_point) + zero_point2 )        Rescale by scale / scale2
///
/// @shapes  src and dst: vectors, matrices or NHWC tensors of the same extents and any strides. If both schemes have several
///          scales, their granularities must be the same.
/// @rounds  as the policy does; its real scale is the quotient of the two floats in double.
/// @returns how many values were saturated.
/// @errors  shape, null, overlap (unless dst is src, element for element: s8 to u8 in place), scale (also what the policy
///          refuses), zero_point. Nothing is written then.
/// @source  reference/quantize.hpp is the definition; TFLite's Quantize of integers. Does not allocate.
template <class Rescale = rescale::float_multiply<>, detail::code_view Src, quantization_params SrcParams,
          quantization_params DstParams, detail::code_view Dst>
conversion_counts requantize(Src src, SrcParams const& src_params, DstParams const& dst_params, Dst dst,
                             convert_options const& options = {}) {
  require_rescale_policy<Rescale>();
  using src_scheme = typename SrcParams::scheme_type;
  using dst_scheme = typename DstParams::scheme_type;
  using src_type = std::remove_const_t<detail::element_t<Src>>;
  using dst_type = detail::element_t<Dst>;
  static_assert(detail::rank_of<Src> == detail::rank_of<Dst>, "quern::requantize: src and dst must have the same number of axes.");
  static_assert(std::is_same_v<src_type, typename src_scheme::storage>,
                "quern::requantize: src must be a view of its scheme's storage type.");
  static_assert(std::is_same_v<dst_type, typename dst_scheme::storage>,
                "quern::requantize: dst must be a view of its scheme's storage type, not const.");
  using src_granularity = typename src_scheme::granularity;
  using dst_granularity = typename dst_scheme::granularity;
  static_assert(src_granularity::single || dst_granularity::single || std::is_same_v<src_granularity, dst_granularity>,
                "quern::requantize: two schemes with several scales must have the same granularity.");
  using granularity_type = std::conditional_t<src_granularity::single, dst_granularity, src_granularity>;
  auto const from = detail::any_const(detail::any_of(src));
  auto const to = detail::any_of(dst);
  detail::views_check const views = detail::check_views("requantize", from, to);
  auto const grid = detail::grid_over<granularity_type>(from, std::integral_constant<int, detail::rank_of<Src>>{});
  params_view const p = src_params.view(), q = dst_params.view();
  check_params<src_scheme>(p, src_granularity::single ? 1 : grid.count(), "requantize");
  check_params<dst_scheme>(q, dst_granularity::single ? 1 : grid.count(), "requantize");
  if (views == detail::views_check::nothing_to_do) return {};
  return {detail::requantize_any<Rescale>(from, to, p, src_granularity::single, q, dst_granularity::single, grid, dst_scheme::q_min,
                                          dst_scheme::q_max, views == detail::views_check::same_place, options.max_isa),
          0};
}

/// int32 accumulators to codes: one scale of the accumulators for all, or as many as `Granularity` asks for; no zero point.
/// @errors  as above.
template <class Rescale = rescale::float_multiply<>, class Granularity = per_tensor, detail::code_view Src,
          quantization_params DstParams, detail::code_view Dst>
  requires std::is_same_v<std::remove_const_t<detail::element_t<Src>>, std::int32_t>
conversion_counts requantize(Src acc, params_view acc_params, DstParams const& dst_params, Dst dst, convert_options const& options = {}) {
  require_rescale_policy<Rescale>();
  using dst_scheme = typename DstParams::scheme_type;
  using dst_granularity = typename dst_scheme::granularity;
  static_assert(detail::rank_of<Src> == detail::rank_of<Dst>, "quern::requantize: acc and dst must have the same number of axes.");
  static_assert(std::is_same_v<detail::element_t<Dst>, typename dst_scheme::storage>,
                "quern::requantize: dst must be a view of its scheme's storage type, not const.");
  static_assert(Granularity::single || dst_granularity::single || std::is_same_v<Granularity, dst_granularity>,
                "quern::requantize: two sides with several scales must have the same granularity.");
  using granularity_type = std::conditional_t<Granularity::single, dst_granularity, Granularity>;
  auto const from = detail::any_const(detail::any_of(acc));
  auto const to = detail::any_of(dst);
  detail::views_check const views = detail::check_views("requantize", from, to);
  auto const grid = detail::grid_over<granularity_type>(from, std::integral_constant<int, detail::rank_of<Src>>{});
  detail::check_params(acc_params, Granularity::single ? 1 : grid.count(), "requantize",
                       {"an accumulator", granularity_name<Granularity>, 0, 0, 0, true});
  params_view const q = dst_params.view();
  check_params<dst_scheme>(q, dst_granularity::single ? 1 : grid.count(), "requantize");
  if (views == detail::views_check::nothing_to_do) return {};
  return {detail::requantize_any<Rescale>(from, to, acc_params, Granularity::single, q, dst_granularity::single, grid,
                                          dst_scheme::q_min, dst_scheme::q_max, views == detail::views_check::same_place,
                                          options.max_isa),
          0};
}

/// int32 to int32 of another scale, in place or not; no zero points. @errors  as above.
template <class Rescale = rescale::float_multiply<>, detail::code_view Src, detail::code_view Dst>
  requires(std::is_same_v<std::remove_const_t<detail::element_t<Src>>, std::int32_t> &&
           std::is_same_v<detail::element_t<Dst>, std::int32_t>)
conversion_counts requantize(Src acc, float src_scale, float dst_scale, Dst dst, convert_options const& options = {}) {
  require_rescale_policy<Rescale>();
  static_assert(detail::rank_of<Src> == detail::rank_of<Dst>, "quern::requantize: acc and dst must have the same number of axes.");
  auto const from = detail::any_const(detail::any_of(acc));
  auto const to = detail::any_of(dst);
  detail::views_check const views = detail::check_views("requantize", from, to);
  params_view const p{&src_scale, nullptr, 1}, q{&dst_scale, nullptr, 1};
  detail::scheme_facts const facts{"int32", "per_tensor", 0, 0, 0, true};
  detail::check_params(p, 1, "requantize", facts);
  detail::check_params(q, 1, "requantize", facts);
  if (views == detail::views_check::nothing_to_do) return {};
  auto const grid = detail::grid_over<per_tensor>(from, std::integral_constant<int, detail::rank_of<Src>>{});
  return {detail::requantize_any<Rescale>(from, to, p, true, q, true, grid, s32::min, s32::max,
                                          views == detail::views_check::same_place, options.max_isa),
          0};
}

}  // inline namespace QUERN_ABI
}  // namespace quern
