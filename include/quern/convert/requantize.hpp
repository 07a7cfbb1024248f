// requantize.hpp — codes, or int32 accumulators, to codes of another scale.
#pragma once

#include "../scheme/params.hpp"
#include "../simd/rescale.hpp"
#include "quantize_kernels.hpp"

namespace quern::detail {

/// One rectangle, as the kernels of requantize_body.inl take it. Parameters and zero points have the number row * row_step, or that
/// of the column.
template <class P, class Src, class Dst>
struct requantize_task {
  Src const* src;
  Dst* dst;
  index_t rows, cols;
  index_t src_stride, dst_stride;  ///< from row to row
  typename P::parameters const* parameters;
  std::int32_t const *src_zeros, *dst_zeros;
  index_t row_step;  ///< 0 or 1
  std::int32_t q_min, q_max;
  bool in_place;   ///< dst is src: no element may be read again after it was written
  bool streaming;  ///< dst is written past the caches
};

/// Scales and zero points of one side (null: all 0): one of each, or `several`, one for each row or column.
struct ratio_side {
  float const* scales;
  std::int32_t const* zeros;
  bool several;
  zero_point_limits limits;  ///< what is valid
};
/// One rectangle whose parameters are no more than ratios of scales, which the kernel checks and divides itself. Element (i, j) has
/// number i of them, or with `columns` j % period.
template <class P, class Src, class Dst>
struct ratio_task {
  Src const* src;
  Dst* dst;
  index_t rows, cols;
  index_t src_stride, dst_stride;  ///< from row to row
  ratio_side from, to;
  bool columns;
  index_t period;
  std::int32_t q_min, q_max;
  bool streaming;  ///< dst is written past the caches
};

inline namespace QUERN_ABI {
/// The scale by which steps of the source become steps of the destination. Both are floats, their ratio is a double.
QUERN_INLINE constexpr double scale_ratio(float src, float dst) noexcept {
  return static_cast<double>(src) / static_cast<double>(dst);
}
}  // inline namespace QUERN_ABI

/// Scales that are converted at once.
inline constexpr index_t most_requantized = 1024;

}  // namespace quern::detail

#define QUERN_DETAIL_EACH_ISA "../convert/requantize_body.inl"
#define QUERN_DETAIL_DECLARED "../convert/requantize_declared.inl"
#include "../simd/each_isa.inl"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

template <class P, class Src, class Dst>
QUERN_INLINE std::int64_t requantize_rows(requantize_task<P, Src, Dst> const& t, isa cap) {
  QUERN_DETAIL_BEST((is_compiled_requantize<P, Src, Dst>), cap, requantize_rows(t))
}
template <class P, class Src, class Dst>
QUERN_INLINE std::int64_t requantize_columns(requantize_task<P, Src, Dst> const& t, isa cap) {
  QUERN_DETAIL_BEST((is_compiled_requantize<P, Src, Dst>), cap, requantize_columns(t))
}
template <class P, class Src, class Dst>
QUERN_INLINE std::int64_t requantize_rectangle(requantize_task<P, Src, Dst> const& t, bool columns, isa cap) {
  return columns ? requantize_columns(t, cap) : requantize_rows(t, cap);
}

/// Whether parameters are no more than the ratio of the scales, as a float.
template <class P>
inline constexpr bool is_float_ratio = false;
template <class R>
inline constexpr bool is_float_ratio<rescale::float_multiply<R>> = true;

template <class P, class Src, class Dst>
QUERN_INLINE std::int64_t requantize_ratios(ratio_task<P, Src, Dst> const& t, isa cap) {
  QUERN_DETAIL_BEST((is_compiled_requantize<P, Src, Dst>), cap, requantize_ratios(t))
}

/// After the params were checked, part by part. `*_single`: one scale for all on that side.
template <class P, class Src, class Dst>
struct part_requantizer {
  using parameters = typename P::parameters;

  /// Parameters and zero points. Raw memory, since parameters may have initializers, which would be run for all in each call.
  struct arrays {
    alignas(64) unsigned char memory[most_requantized * sizeof(parameters)];
    alignas(64) std::int32_t src_zeros[most_requantized], dst_zeros[most_requantized];
    QUERN_INLINE parameters* ratios() noexcept { return reinterpret_cast<parameters*>(memory); }
    QUERN_INLINE void set(index_t at, parameters ratio, std::int32_t src_zero, std::int32_t dst_zero) {
      ::new (static_cast<void*>(ratios() + at)) parameters(ratio);
      src_zeros[at] = src_zero, dst_zeros[at] = dst_zero;
    }
  };

  params_view p, q;
  bool p_single, q_single;
  std::int32_t q_min, q_max;
  bool in_place, large;
  isa cap;
  bool keeps_all;     ///< `whole` has the parameters of every scale
  part_shape kept{};  ///< the part whose parameters are in `part`
  std::int64_t saturated = 0;
  arrays whole, part;

  QUERN_INLINE part_requantizer(params_view p_, bool p_single_, params_view q_, bool q_single_, index_t count, index_t all,
                                std::int32_t q_min_, std::int32_t q_max_, bool in_place_, isa cap_)
      : p(p_), q(q_), p_single(p_single_), q_single(q_single_), q_min(q_min_), q_max(q_max_), in_place(in_place_),
        large(all >= streaming_bytes / static_cast<index_t>(sizeof(Dst))), cap(cap_), keeps_all(count <= most_requantized) {}
  /// Every scale is converted before anything is written: a policy may refuse one.
  QUERN_INLINE void convert_all(index_t count) {
    for (index_t i = 0; i < count; ++i) set(whole, keeps_all ? i : 0, i);
  }
  QUERN_INLINE void set(arrays& to, index_t at, index_t i) {
    index_t const a = p_single ? 0 : i, b = q_single ? 0 : i;
    to.set(at, P::from_real(scale_ratio(p.scale(a), q.scale(b))), p.zero_point(a), q.zero_point(b));
  }
  /// The same from `whole` where it is there.
  QUERN_INLINE void copy(arrays& to, index_t at, index_t i) {
    if (keeps_all)
      to.set(at, whole.ratios()[i], whole.src_zeros[i], whole.dst_zeros[i]);
    else
      set(to, at, i);
  }
  void operator()(Src const* src, Dst* dst, part_shape const& s) {
    if (s.col_scale != 0 && s.cols > most_requantized) {
      for (index_t j = 0; j < s.cols; j += most_requantized) {
        index_t const n = s.cols - j < most_requantized ? s.cols - j : most_requantized;
        (*this)(src + j, dst + j, part_shape{s.rows, n, s.src_stride, s.dst_stride, s.scale + j * s.col_scale, 0, s.col_scale, n});
      }
      return;
    }
    requantize_task<P, Src, Dst> t{src, dst, s.rows, s.cols, s.src_stride, s.dst_stride, nullptr, nullptr, nullptr, s.row_scale,
                                   q_min, q_max, in_place, large && s.rows * s.cols > most_columns};
    auto const use = [&](arrays& a, index_t first) {
      t.parameters = a.ratios() + first, t.src_zeros = a.src_zeros + first, t.dst_zeros = a.dst_zeros + first;
    };
    if (s.col_scale != 0) {
      // A vector of zero points is read as a whole.
      if (keeps_all && s.col_scale == 1 && s.period >= s.cols && s.scale + ((s.cols + 63) & ~index_t{63}) <= most_requantized) {
        use(whole, s.scale);
      } else {
        if (kept.scale != s.scale || kept.col_scale != s.col_scale || kept.period != s.period || kept.cols < s.cols)
          for (index_t j = 0, k = 0; j < s.cols; ++j) {
            if (j < s.period)
              copy(part, j, s.scale + k * s.col_scale);
            else
              part.set(j, part.ratios()[j - s.period], part.src_zeros[j - s.period], part.dst_zeros[j - s.period]);
            if (++k == s.period) k = 0;
          }
        kept = s;
        use(part, 0);
      }
      t.streaming = t.streaming && ((reinterpret_cast<std::uintptr_t>(dst) | static_cast<std::uintptr_t>(s.dst_stride)) & 63) == 0;
      saturated += requantize_rectangle(t, true, cap);
    } else if (keeps_all) {
      use(whole, s.scale);
      saturated += requantize_rectangle(t, false, cap);
    } else {
      use(part, 0);
      for (index_t i = 0; i < s.rows; i += t.rows) {
        t.rows = s.rows - i;
        if (s.row_scale != 0 && t.rows > most_requantized) t.rows = most_requantized;
        for (index_t k = 0; k < (s.row_scale == 0 ? 1 : t.rows); ++k) copy(part, k, s.scale + (i + k) * s.row_scale);
        t.row_step = s.row_scale == 0 ? 0 : 1;
        t.src = src + i * s.src_stride;
        t.dst = dst + i * s.dst_stride;
        saturated += requantize_rectangle(t, false, cap);
      }
      kept = {};
    }
  }
};

/// What the kernel of ratios has to know of a side's scheme.
struct side_facts {
  bool any_scale;  ///< whether every scale is valid that is positive and finite
  zero_point_limits limits;
};
template <class Scheme>
inline constexpr side_facts facts_of{any_scale_is_valid<Scheme>, zero_limits_of<Scheme>};

/// Every case, with every check. `q` belongs to dst; `check` looks at the params of both sides. (By value they would be copied to the stack
/// before every call of the kernel, in halves that are loaded whole.)
template <class P, class SrcGranularity, class DstGranularity, class Src, class Dst, class Check>
QUERN_NOINLINE conversion_counts requantize_any(Src const& src, params_view const& p, params_view const& q, Dst const& dst, std::int32_t q_min,
                                                std::int32_t q_max, isa cap, Check const& check) {
  using granularity_type = std::conditional_t<SrcGranularity::single, DstGranularity, SrcGranularity>;
  using part_type = part_requantizer<P, std::remove_const_t<element_t<Src>>, element_t<Dst>>;
  constexpr bool p_single = SrcGranularity::single, q_single = DstGranularity::single;
  auto const from = any_const(any_of(src));
  auto const to = any_of(dst);
  views_check const views = check_views("requantize", from, to);
  auto const grid = grid_over<granularity_type>(from, std::integral_constant<int, rank_of<Src>>{});
  check(p_single ? 1 : grid.count(), q_single ? 1 : grid.count());
  if (views == views_check::nothing_to_do) return {};
  part_type parts(p, p_single, q, q_single, grid.count(), elements(to), q_min, q_max, views == views_check::same_place, cap);
  parts.convert_all(grid.count());
  // The common cases: a line, or a rectangle.
  part_shape only{};
  if constexpr (granularity_type::single) {
    index_t const n = line_of(src, dst);
    if (n > 0) only = {1, n, n, n, 0, 0, 0, 1};
  } else {
    only = one_part_of<granularity_type>(src, dst);
  }
  if (only.rows > 0)
    parts(src.data, dst.data, only);
  else
    for_each_part(from, to, grid, parts);
  return {parts.saturated, 0};
}
/// The same; where parameters are ratios of scales, a line or a rectangle stays in registers.
template <class P, class SrcGranularity, class DstGranularity, class Src, class Dst, class Check>
QUERN_INLINE conversion_counts requantize_views(Src const& src, params_view const& p, params_view const& q, Dst const& dst,
                                                std::int32_t q_min, std::int32_t q_max, side_facts p_facts, side_facts q_facts, isa cap, Check const& check) {
  if constexpr (is_float_ratio<P> && sizeof(element_t<Dst>) == 1) {
    using granularity_type = std::conditional_t<SrcGranularity::single, DstGranularity, SrcGranularity>;
    constexpr bool p_several = !SrcGranularity::single, q_several = !DstGranularity::single;
    part_shape only{};
    if constexpr (granularity_type::single) {
      index_t const n = line_of(src, dst);
      if (n > 0) only = {1, n, n, n, 0, 0, 0, 1};
    } else {
      only = one_part_of<granularity_type>(src, dst);
    }
    bool const columns = only.col_scale != 0;
    index_t const count = columns ? only.period : only.rows;
    if (only.rows > 0 && p.count == (p_several ? count : 1) && q.count == (q_several ? count : 1) && p.scales != nullptr && q.scales != nullptr &&
        p_facts.any_scale && q_facts.any_scale) {
      bool const aligned = ((reinterpret_cast<std::uintptr_t>(dst.data) | static_cast<std::uintptr_t>(only.dst_stride)) & 63) == 0;
      std::int64_t const saturated = requantize_ratios(
          ratio_task<P, std::remove_const_t<element_t<Src>>, element_t<Dst>>{
              .src = src.data, .dst = dst.data, .rows = only.rows, .cols = only.cols, .src_stride = only.src_stride, .dst_stride = only.dst_stride,
              .from = {p.scales, p.zero_points, p_several, p_facts.limits}, .to = {q.scales, q.zero_points, q_several, q_facts.limits},
              .columns = columns, .period = only.period, .q_min = q_min, .q_max = q_max,
              .streaming = only.rows * only.cols >= streaming_bytes && (!columns || aligned)},
          cap);
      if (saturated >= 0) [[likely]]
        return {saturated, 0};
    }
  }
  return requantize_any<P, SrcGranularity, DstGranularity>(src, p, q, dst, q_min, q_max, cap, check);
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
QUERN_INLINE conversion_counts requantize(Src src, SrcParams const& src_params, DstParams const& dst_params, Dst dst,
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
  params_view const p = src_params.view(), q = dst_params.view();
  return detail::requantize_views<Rescale, src_granularity, dst_granularity>(
      src, p, q, dst, dst_scheme::q_min, dst_scheme::q_max, detail::facts_of<src_scheme>, detail::facts_of<dst_scheme>, options.max_isa,
      [&](index_t src_count, index_t dst_count) {
        check_params<src_scheme>(p, src_count, "requantize");
        check_params<dst_scheme>(q, dst_count, "requantize");
      });
}

/// int32 accumulators to codes: one scale of the accumulators for all, or as many as `Granularity` asks for; no zero point.
/// @errors  as above.
template <class Rescale = rescale::float_multiply<>, class Granularity = per_tensor, detail::code_view Src,
          quantization_params DstParams, detail::code_view Dst>
  requires std::is_same_v<std::remove_const_t<detail::element_t<Src>>, std::int32_t>
QUERN_INLINE conversion_counts requantize(Src acc, params_view acc_params, DstParams const& dst_params, Dst dst, convert_options const& options = {}) {
  require_rescale_policy<Rescale>();
  using dst_scheme = typename DstParams::scheme_type;
  using dst_granularity = typename dst_scheme::granularity;
  static_assert(detail::rank_of<Src> == detail::rank_of<Dst>, "quern::requantize: acc and dst must have the same number of axes.");
  static_assert(std::is_same_v<detail::element_t<Dst>, typename dst_scheme::storage>,
                "quern::requantize: dst must be a view of its scheme's storage type, not const.");
  static_assert(Granularity::single || dst_granularity::single || std::is_same_v<Granularity, dst_granularity>,
                "quern::requantize: two sides with several scales must have the same granularity.");
  params_view const q = dst_params.view();
  return detail::requantize_views<Rescale, Granularity, dst_granularity>(
      acc, acc_params, q, dst, dst_scheme::q_min, dst_scheme::q_max, {true, {0, 0}}, detail::facts_of<dst_scheme>, options.max_isa,
      [&](index_t acc_count, index_t dst_count) {
        detail::check_params(acc_params, acc_count, "requantize", {"an accumulator", granularity_name<Granularity>, 0, 0, 0, true});
        check_params<dst_scheme>(q, dst_count, "requantize");
      });
}

/// int32 to int32 of another scale, in place or not; no zero points. @errors  as above.
template <class Rescale = rescale::float_multiply<>, detail::code_view Src, detail::code_view Dst>
  requires(std::is_same_v<std::remove_const_t<detail::element_t<Src>>, std::int32_t> &&
           std::is_same_v<detail::element_t<Dst>, std::int32_t>)
conversion_counts requantize(Src acc, float src_scale, float dst_scale, Dst dst, convert_options const& options = {}) {
  require_rescale_policy<Rescale>();
  static_assert(detail::rank_of<Src> == detail::rank_of<Dst>, "quern::requantize: acc and dst must have the same number of axes.");
  params_view const p{&src_scale, nullptr, 1}, q{&dst_scale, nullptr, 1};
  return detail::requantize_views<Rescale, per_tensor, per_tensor>(acc, p, q, dst, s32::min, s32::max, {}, {}, options.max_isa, [&](index_t, index_t) {
    detail::scheme_facts const facts{"int32", "per_tensor", 0, 0, 0, true};
    detail::check_params(p, 1, "requantize", facts);
    detail::check_params(q, 1, "requantize", facts);
  });
}

}  // inline namespace QUERN_ABI
}  // namespace quern
