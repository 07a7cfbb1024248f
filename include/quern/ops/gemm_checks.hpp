// gemm_checks.hpp — everything that can be wrong with a product, told before anything is written.
#pragma once

#include "../dispatch/gemm_options.hpp"
#include "../epilogue/scalar.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

template <class Dst>
inline constexpr bool gemm_destination = std::is_same_v<Dst, std::int32_t> || std::is_same_v<Dst, std::int8_t> ||
                                         std::is_same_v<Dst, std::uint8_t> || std::is_same_v<Dst, std::int16_t> ||
                                         std::is_same_v<Dst, float> || std::is_same_v<Dst, bfloat16>;
template <class Lhs>
inline constexpr bool gemm_activation =
    std::is_same_v<Lhs, std::int8_t> || std::is_same_v<Lhs, std::uint8_t> || std::is_same_v<Lhs, std::int16_t>;

template <class Lhs, class Dst, class Epilogue>
consteval void require_gemm_types() {
  static_assert(gemm_activation<Lhs>, "quern::gemm: lhs must hold std::int8_t, std::uint8_t or std::int16_t.");
  static_assert(gemm_destination<Dst>, "quern::gemm: dst must hold std::int32_t, std::int8_t, std::uint8_t, std::int16_t, float or bfloat16.");
  static_assert(is_epilogue<Epilogue>, "quern::gemm: the fourth argument must be a quern::epilogue<...>.");
  if constexpr (is_epilogue<Epilogue>) {
    using rescale = typename Epilogue::rescale_type;
    using residual = typename Epilogue::residual_type;
    static_assert(std::is_same_v<rescale, to_real> || std::is_integral_v<Dst>,
                  "quern::gemm: a float or bfloat16 destination needs epilogue<to_real>.");
    if constexpr (residual::present)
      static_assert(std::is_same_v<typename residual::rescale_type, rescale>,
                    "quern::gemm: the residual must have the rescale of its epilogue.");
  }
}

QUERN_INLINE bool misses(index_t size, index_t wanted) noexcept { return size != 0 && size != wanted; }

template <class T>
void check_each(char const* op, char const* what, one_or_each<T> const& v, index_t wanted, char const* of) {
  if (v.single()) return;
  if (v.size != wanted) fail(errc::shape, op, ": ", what, " has ", v.size, " elements, dst ", wanted, " ", of, "; there must be one for each, or one value.");
  if (v.each == nullptr) fail(errc::null, op, ": ", what, " is null, but has ", v.size, " elements.");
}
template <class T>
void check_list(char const* op, char const* what, vector_view<T> v, index_t wanted) {
  if (v.size == 0) return;
  if (v.size != wanted) fail(errc::shape, op, ": ", what, " has ", v.size, " elements, dst ", wanted, " columns; there must be one for each.");
  if (v.data == nullptr) fail(errc::null, op, ": ", what, " is null, but has ", v.size, " elements.");
}

/// `what`: the operation and the name, up to "is".
template <class... Words>
QUERN_INLINE void check_scale(float s, Words const&... what) {
  if (!(s > 0) || !is_finite(s)) fail(errc::scale, what..., " is ", static_cast<double>(s), "; a scale must be positive and finite.");
}
template <class T>
void check_scales(char const* op, char const* what, one_or_each<float> const& v, T count) {
  if (!v.single() && v.stride == 1 && all_positive_finite(v.each, count)) return;
  for (index_t i = 0; i < (v.single() && count > 0 ? 1 : count); ++i)  // an empty list is right where there is nothing to scale
    check_scale(v[i], op, ": ", what, "[", i, "]");
}

/// Whether a policy rescales int64 sums; others take them modulo 2^32.
template <class R>
inline constexpr bool rescales_int64 = true;
template <rescale_policy R>
inline constexpr bool rescales_int64<R> = wide_rescale_policy<R>;

/// Refuses a depth at which an accumulator could leave int32: first by the types and zero points, then by the weights at hand.
template <class Rhs, class E>
void check_depth(lhs_codes lhs, packed_matrix_view<Rhs> const& rhs, E const& e, gemm_options const& options, index_t m) {
  using b = code_of_t<Rhs>;
  if (options.lhs_range.min <= options.lhs_range.max) lhs = options.lhs_range;
  index_t const depth = rhs.group() > 0 && rhs.group() < rhs.k() ? rhs.group() : rhs.k();
  std::int32_t lo = e.lhs_zero_point[0], hi = lo, rlo = e.rhs_zero_point[0], rhi = rlo;
  if (!e.lhs_zero_point.single())
    for (index_t i = 1; i < m; ++i) {
      lo = e.lhs_zero_point[i] < lo ? e.lhs_zero_point[i] : lo;
      hi = e.lhs_zero_point[i] > hi ? e.lhs_zero_point[i] : hi;
    }
  if (!e.rhs_zero_point.single())
    for (index_t j = 1; j < rhs.n(); ++j) {
      rlo = e.rhs_zero_point[j] < rlo ? e.rhs_zero_point[j] : rlo;
      rhi = e.rhs_zero_point[j] > rhi ? e.rhs_zero_point[j] : rhi;
    }
  if constexpr (std::is_same_v<typename E::rescale_type, to_real>)
    if (e.rescale.group_zero_points.rows != 0) rlo = b::min, rhi = b::max;
  auto const larger = [](std::int64_t x, std::int64_t y) { return x > y ? x : y; };
  std::int64_t const a_max = larger(std::int64_t{lhs.max} - lo, std::int64_t{hi} - lhs.min);
  std::int64_t const b_max = larger(std::int64_t{b::max} - rlo, std::int64_t{rhi} - b::min);
  if (depth <= 2147483647 / larger(1, a_max * b_max)) return;
  bool proved = rhs.group() == 0 && rlo == rhi;
  if (proved) proved = prove(rhs, lhs, lo, rlo).fits_int32 && (lo == hi || prove(rhs, lhs, hi, rlo).fits_int32);
  if (!proved)
    fail(errc::depth, "gemm: k is ", depth, ", but int32 accumulators are exact for these types and zero points only up to ",
         2147483647 / larger(1, a_max * b_max), ", and the weights do not prove more; split k, or ",
         !options.wide ? "set gemm_options.wide." : "rescale by a policy for int64: tflite_s64, cmsis_nn_s64, float_multiply or power_of_two.");
}

/// Whether lhs_range, where it is given, is of codes of `Lhs`, which `name` holds.
template <class Lhs>
void check_lhs_range(char const* op, char const* name, gemm_options const& options) {
  using a = code_of_t<Lhs>;
  if (options.lhs_range.min <= options.lhs_range.max && (options.lhs_range.min < a::min || options.lhs_range.max > a::max))
    fail(errc::argument, op, ": lhs_range is [", options.lhs_range.min, ", ", options.lhs_range.max, "]; ", name, " holds ", a::min, " to ", a::max, ".");
}

/// What can be wrong with the stages of an m x n destination; weights in groups apart.
template <class Lhs, class Rhs, class Dst, class R, class S, class T>
void check_epilogue(char const* op, epilogue<R, S, T> const& e, index_t m, index_t n) {
  check_each(op, "epilogue.lhs_zero_point", e.lhs_zero_point, m, "rows");
  check_each(op, "epilogue.rhs_zero_point", e.rhs_zero_point, n, "columns");
  check_list(op, "epilogue.bias", e.bias, n);
  using a = code_of_t<Lhs>;
  using b = code_of_t<Rhs>;
  for (index_t i = 0; i < (e.lhs_zero_point.single() ? 1 : m); ++i)
    if (e.lhs_zero_point[i] < a::min || e.lhs_zero_point[i] > a::max)
      fail(errc::zero_point, op, ": lhs_zero_point[", i, "] is ", e.lhs_zero_point[i], "; lhs holds ", a::min, " to ", a::max, ".");
  for (index_t j = 0; j < (e.rhs_zero_point.single() ? 1 : n); ++j)
    if (e.rhs_zero_point[j] < b::min || e.rhs_zero_point[j] > b::max)
      fail(errc::zero_point, op, ": rhs_zero_point[", j, "] is ", e.rhs_zero_point[j], "; rhs holds ", b::min, " to ", b::max, ".");
  if constexpr (std::is_integral_v<Dst>) {
    using d = code_of_t<Dst>;
    if (e.dst_zero_point < d::min || e.dst_zero_point > d::max)
      fail(errc::zero_point, op, ": dst_zero_point is ", e.dst_zero_point, "; dst holds ", d::min, " to ", d::max, ".");
    auto const limits = integer_limits<Dst>::of(e.min, e.max);
    if (!(e.min.value <= e.max.value) || limits.min > limits.max || e.min.value > d::max || e.max.value < d::min)
      fail(errc::argument, op, ": the clamp is [", e.min.value, ", ", e.max.value, "]; it must hold a value of dst.");
  } else if (!(e.min.value <= e.max.value)) {
    fail(errc::argument, op, ": the clamp is [", e.min.value, ", ", e.max.value, "]; min must not be above max.");
  }
  if constexpr (std::is_same_v<R, to_real>) {
    check_each(op, "epilogue.rescale.cols", e.rescale.cols, n, "columns");
    check_each(op, "epilogue.rescale.rows", e.rescale.rows, m, "rows");
    check_list(op, "epilogue.rescale.bias", e.rescale.bias, n);
    check_scales(op, "epilogue.rescale.cols", e.rescale.cols, n);
    check_scales(op, "epilogue.rescale.rows", e.rescale.rows, m);
  } else if constexpr (!std::is_same_v<R, no_rescale>) {
    check_each(op, "epilogue.rescale", e.rescale, n, "columns");
  }
  if constexpr (S::present) {
    auto const& f = e.residual.from;
    if (f.rows != m || f.cols != n) fail(errc::shape, op, ": epilogue.residual is ", f.rows, " x ", f.cols, ", dst ", m, " x ", n, "; they must be equal.");
    if (!f.empty() && f.data == nullptr) fail(errc::null, op, ": epilogue.residual is null, but ", m, " x ", n, ".");
    if constexpr (std::is_integral_v<typename S::type>) {
      using r = code_of_t<typename S::type>;
      if (e.residual.zero_point < r::min || e.residual.zero_point > r::max)
        fail(errc::zero_point, op, ": epilogue.residual.zero_point is ", e.residual.zero_point, "; it holds ", r::min, " to ", r::max, ".");
    }
    if constexpr (std::is_same_v<R, to_real>)
      if (!is_finite(e.residual.rescale) || e.residual.rescale == 0)
        fail(errc::scale, op, ": epilogue.residual.rescale is ", static_cast<double>(e.residual.rescale), "; it must be finite and not 0.");
  }
  if (e.accumulate && (!std::is_same_v<Dst, std::int32_t> || !std::is_same_v<R, no_rescale> || e.dst_zero_point != 0))
    fail(errc::argument, op, ": epilogue.accumulate is for an int32 dst without rescale and zero point.");
}

/// Everything that can be wrong with a call, before anything is written.
template <class Lhs, class Rhs, class Dst, class R, class S, class T>
void check_gemm(matrix_view<Lhs const> lhs, packed_matrix_view<Rhs> const& rhs, matrix_view<Dst> dst,
                epilogue<R, S, T> const& e, gemm_options const& options) {
  index_t const m = lhs.rows, k = lhs.cols, n = rhs.n();
  if (rhs.blob == nullptr) fail(errc::null, "gemm: rhs is an empty packed matrix; pack the weights first.");
  if (m < 0 || k < 0) fail(errc::shape, "gemm: lhs is ", m, " x ", k, "; sizes must not be negative.");
  if (k != rhs.k()) fail(errc::shape, "gemm: lhs has ", k, " columns, the packed rhs ", rhs.k(), " rows; they must be equal.");
  if (dst.rows != m || dst.cols != n)
    fail(errc::shape, "gemm: dst is ", dst.rows, " x ", dst.cols, ", lhs has ", m, " rows and rhs ", n, " columns; dst must be ", m, " x ", n, ".");
  if (!lhs.empty() && lhs.data == nullptr) fail(errc::null, "gemm: lhs is null, but ", m, " x ", k, ".");
  if (!dst.empty() && dst.data == nullptr) fail(errc::null, "gemm: dst is null, but ", m, " x ", n, ".");
  if (may_overlap(lhs, dst)) fail(errc::overlap, "gemm: dst overlaps lhs; rows are written while others are still read.");
  check_epilogue<Lhs, Rhs, Dst>("gemm", e, m, n);
  if constexpr (S::present) {
    auto const& f = e.residual.from;
    bool const is_dst = static_cast<void const*>(f.data) == static_cast<void const*>(dst.data) && sizeof(*f.data) == sizeof(Dst) &&
                        f.row_stride == dst.row_stride && f.col_stride == dst.col_stride;
    if (!is_dst && may_overlap(f, dst)) fail(errc::overlap, "gemm: dst overlaps epilogue.residual; it may be the same, element for element, or apart.");
  }
  using a = code_of_t<Lhs>;
  using b [[maybe_unused]] = code_of_t<Rhs>;
  bool grouped = false;
  if constexpr (std::is_same_v<R, to_real>) {
    grouped = rhs.group() > 0;
    auto const& g = e.rescale.groups;
    if (grouped) {
      if (g.rows != rhs.groups() || g.cols != n)
        fail(errc::shape, "gemm: epilogue.rescale.groups is ", g.rows, " x ", g.cols, "; rhs has ", rhs.groups(), " groups and ", n, " columns.");
      if (!g.empty() && g.data == nullptr) fail(errc::null, "gemm: epilogue.rescale.groups is null.");
      auto const& z = e.rescale.group_zero_points;
      if (z.rows != 0 && (z.rows != g.rows || z.cols != n))
        fail(errc::shape, "gemm: epilogue.rescale.group_zero_points is ", z.rows, " x ", z.cols, "; it must be ", g.rows, " x ", n, ".");
      if (!z.empty() && z.data == nullptr) fail(errc::null, "gemm: epilogue.rescale.group_zero_points is null.");
      for (index_t r = 0; r < g.rows; ++r)
        for (index_t j = 0; j < n; ++j) {
          check_scale(g(r, j), "gemm: epilogue.rescale.groups(", r, ", ", j, ")");
          if (z.rows != 0 && (z(r, j) < b::min || z(r, j) > b::max))
            fail(errc::zero_point, "gemm: group_zero_points(", r, ", ", j, ") is ", z(r, j), "; rhs holds ", b::min, " to ", b::max, ".");
        }
      if (e.bias.size != 0) fail(errc::argument, "gemm: epilogue.bias has no scale with weights in groups; use epilogue.rescale.bias.");
      if (options.wide) fail(errc::argument, "gemm: gemm_options.wide is not for weights in groups, whose accumulators are short.");
    } else if (g.rows != 0) {
      fail(errc::shape, "gemm: epilogue.rescale.groups is ", g.rows, " x ", g.cols, ", but rhs was packed without groups.");
    }
  }
  if (rhs.group() > 0 && !grouped)
    fail(errc::argument, "gemm: rhs was packed in groups of ", rhs.group(), ", whose scales only epilogue<to_real> can apply.");
  check_lhs_range<Lhs>("gemm", "lhs", options);
  if (options.workspace.data != nullptr && reinterpret_cast<std::uintptr_t>(options.workspace.data) % 64 != 0)
    fail(errc::argument, "gemm: workspace starts ", reinterpret_cast<std::uintptr_t>(options.workspace.data) % 64,
         " bytes behind a 64-byte boundary; it must start on one.");
  if ((!options.wide || !rescales_int64<R>) && k > 0 && n > 0 && m > 0) check_depth(lhs_codes{a::min, a::max}, rhs, e, options, m);
}

}  // inline namespace QUERN_ABI
}  // namespace detail

}  // namespace quern
