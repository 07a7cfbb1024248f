// table.hpp — any function of one 8-bit code as 256 entries, applied by byte shuffles; of one 16-bit code by interpolation.
//
//     auto const gelu = make_table<std::int8_t, std::int8_t>({.scale = 0.02f, .zero_point = 3}, {.scale = 0.01f, .zero_point = -9},
//                                                            [](double x) { return x * 0.5 * (1 + erf_of(x / sqrt_of(2.0))); });
//     apply(gelu, view(src), view(dst));
//
// The function is evaluated in double and rounded once, half away from zero, so every entry is the correctly rounded one as far as
// the callable is correct. `table_of` makes one from a function on codes instead (fixed_point/'s integer arithmetic).
#pragma once

#include "../core/elementary.hpp"
#include "../core/shape.hpp"
#include "../core/views.hpp"
#include "../cpu/detect.hpp"
#include "../fixed_point/elementwise.hpp"
#include "../fixed_point/interpolated_table.hpp"
#include "../kernel/table_lookup.hpp"

QUERN_FP_BEGIN

namespace quern {

/// y = value[byte of x]. Src, Dst: std::int8_t or std::uint8_t.
template <class Src, class Dst>
struct byte_table {
  static_assert(sizeof(Src) == 1 && sizeof(Dst) == 1, "quern::byte_table maps 8-bit codes to 8-bit codes.");
  alignas(64) Dst value[256] = {};
  QUERN_INLINE constexpr Dst operator()(Src x) const noexcept { return value[static_cast<std::uint8_t>(x)]; }
};

inline namespace QUERN_ABI {

/// From f(code) -> code, saturated to Dst.
template <class Src, class Dst, class F>
constexpr byte_table<Src, Dst> table_of(F const& f) {
  byte_table<Src, Dst> t;
  for (int i = 0; i < 256; ++i) t.value[i] = saturate<Dst>(f(static_cast<Src>(static_cast<std::uint8_t>(i))));
  return t;
}

/// From a real function f(double) -> double: y = sat(round(f(Sx (x - zx)) / Sy) + zy), ties away. NaN becomes zy.
template <class Src, class Dst, class F>
constexpr byte_table<Src, Dst> make_table(fixed_point::affine src, fixed_point::affine dst, F const& f) {
  return table_of<Src, Dst>([&](Src x) {
    double const y = f(static_cast<double>(src.scale) * (x - src.zero_point)) / static_cast<double>(dst.scale);
    if (!(y == y)) return dst.zero_point;
    return static_cast<std::int32_t>(round_to::half_away::to_integral(clamp(y, -1e6, 1e6))) + dst.zero_point;
  });
}

/// dst[i] = table(src[i]). dst may be src.
/// @errors shape when the sizes differ; null, overlap.
template <class Src, class Dst>
void apply(byte_table<Src, Dst> const& table, non_deduced<vector_view<Src const>> src, non_deduced<vector_view<Dst>> dst, isa max_isa = isa::best) {
  if (src.size != dst.size) fail(errc::shape, "apply: src has ", src.size, " elements, dst ", dst.size, "; they must be equal.");
  if (src.size > 0 && (src.data == nullptr || dst.data == nullptr)) fail(errc::null, "apply: ", src.data == nullptr ? "src" : "dst", " is null.");
  if (detail::overlaps_otherwise(src, dst)) fail(errc::overlap, "apply: dst overlaps src; it may be the same, element for element, or apart.");
  if (src.contiguous() && dst.contiguous())
    detail::look_up(active_isa(max_isa), reinterpret_cast<std::uint8_t const*>(table.value), reinterpret_cast<std::uint8_t const*>(src.data),
                    reinterpret_cast<std::uint8_t*>(dst.data), src.size);
  else
    for (index_t i = 0; i < src.size; ++i) dst[i] = table(src[i]);
}
/// dst[i] = table(src[i]) for int16 codes, by interpolation between 513 samples. dst may be src. @errors shape, null, overlap.
inline void apply(fixed_point::interpolated_table const& table, vector_view<std::int16_t const> src, vector_view<std::int16_t> dst) {
  if (src.size != dst.size) fail(errc::shape, "apply: src has ", src.size, " elements, dst ", dst.size, "; they must be equal.");
  if (src.size > 0 && (src.data == nullptr || dst.data == nullptr)) fail(errc::null, "apply: ", src.data == nullptr ? "src" : "dst", " is null.");
  if (detail::overlaps_otherwise(src, dst)) fail(errc::overlap, "apply: dst overlaps src; it may be the same, element for element, or apart.");
  for (index_t i = 0; i < src.size; ++i) dst[i] = table(src[i]);
}

/// Real functions for make_table, in quern's own double arithmetic: the same table on every machine.
namespace real_functions {
inline constexpr auto logistic = [](double x) { return 1.0 / (1.0 + exp_of(-x)); };
inline constexpr auto tanh = [](double x) {
  double const e = exp_of(-2.0 * abs_of(x)), t = (1.0 - e) / (1.0 + e);
  return x < 0 ? -t : t;
};
inline constexpr auto exp = [](double x) { return exp_of(x); };
inline constexpr auto rsqrt = [](double x) { return 1.0 / sqrt_of(x); };  ///< infinite at 0: saturates; NaN below: the zero point
inline constexpr auto gelu = [](double x) { return rounded(0.5 * x) * (1.0 + erf_of(x * 0.70710678118654752440)); };
inline constexpr auto gelu_tanh = [](double x) {
  return rounded(0.5 * x) * (1.0 + tanh(0.79788456080286535588 * (x + rounded(rounded(0.044715 * x) * rounded(x * x)))));
};
inline constexpr auto relu = [](double x) { return x > 0 ? x : 0.0; };
inline constexpr auto relu6 = [](double x) { return x < 0 ? 0.0 : x > 6 ? 6.0 : x; };
inline constexpr auto hard_swish = [](double x) { return x * relu6(x + 3) / 6; };
inline constexpr auto silu = [](double x) { return x * logistic(x); };
inline constexpr auto elu = [](double x) { return x < 0 ? exp_of(x) - 1 : x; };
}  // namespace real_functions

}  // inline namespace QUERN_ABI
}  // namespace quern

QUERN_FP_END
