// report.hpp — a quantized tensor in one line.
//
//     auto const r = metric::report(row_major(w, 64, 256), params, row_major(q, 64, 256));
//     puts(metric::text(r).c_str());
//
//     64 x 256 symmetric<s8, per_channel<0>, full_range>: range -0.412 to 0.397, scale 0.00211 to 0.00325, clipped 0.000 %, SQNR 43.9 dB (limit 48.2 dB)
//
// The limit is the rate-distortion bound of a Gaussian source, 6.0206 dB for each bit that is stored, the scales' and zero points'
// bits included: no quantizer of any kind gets beyond it on Gaussian data. (A uniform distribution reaches it, a sine exceeds it
// by 1.76 dB, data that lies on the grid has no noise at all.)
#pragma once

#include "../scheme/params.hpp"
#include "compare.hpp"

#include <cstdio>

QUERN_FP_BEGIN

namespace quern::metric {

/// What report() found.
struct quantization_report {
  char const* scheme = "";
  index_t rows = 0, cols = 0;
  real_range range;              ///< of the finite originals
  float scale_min = 0, scale_max = 0;
  std::int64_t clipped = 0;      ///< originals beyond the codes by more than half a step, infinities included
  comparison error;              ///< originals against dequantized codes
  double limit_db = 0;           ///< 6.0206 dB a stored bit

  QUERN_INLINE constexpr double clipped_share() const noexcept {
    return error.values > 0 ? static_cast<double>(clipped) / static_cast<double>(error.values) : 0;
  }
};

/// A line of text, without allocation.
struct report_line {
  char characters[320] = {};
  QUERN_INLINE char const* c_str() const noexcept { return characters; }
};

inline namespace QUERN_ABI {

/// The rate-distortion limit of codes of `levels` values with `side_bits` bits of scales and zero points for each value, in dB.
constexpr double limit_db(std::int32_t levels, double side_bits = 0) noexcept {
  return 20 * log10_of(static_cast<double>(levels)) + 20 * 0.30102999566398119521 * side_bits;
}

/// Compares codes with the reals that they stand for.
///
/// @shapes  original and codes rows x cols, any strides; params as grid_of<Scheme::granularity>(rows, cols) wants them.
/// @errors  shape, null, scale, zero_point.
template <class T, quantization_params Params, class Code>
quantization_report report(matrix_view<T> original, Params const& params, matrix_view<Code> codes) {
  using S = typename Params::scheme_type;
  detail::require_real<T>();
  static_assert(std::is_same_v<std::remove_const_t<Code>, typename S::storage>,
                "quern::metric::report: codes must be of the scheme's storage type (one code an element).");
  if (original.rows != codes.rows || original.cols != codes.cols)
    fail(errc::shape, "report: original is ", original.rows, " x ", original.cols, ", codes are ", codes.rows, " x ", codes.cols,
         "; they must agree.");
  if (!original.empty() && (original.data == nullptr || codes.data == nullptr))
    fail(errc::null, "report: ", original.data == nullptr ? "original is" : "codes are", " null, but not empty.");
  auto const grid = grid_of<typename S::granularity>(original.rows, original.cols);
  params_view const p = params.view();
  check_params<S>(p, grid.count(), "report");

  quantization_report r;
  r.scheme = scheme_name<S>;
  r.rows = original.rows;
  r.cols = original.cols;
  for (index_t g = 0; g < p.count; ++g) {
    if (g == 0 || p.scale(g) < r.scale_min) r.scale_min = p.scale(g);
    if (g == 0 || p.scale(g) > r.scale_max) r.scale_max = p.scale(g);
  }
  for (index_t i = 0; i < r.rows; ++i)
    for (index_t j = 0; j < r.cols; ++j) {
      auto const x = static_cast<float>(original(i, j));
      if (is_nan(x)) continue;
      index_t const g = grid.at(i, j);
      double const steps = static_cast<double>(x) / static_cast<double>(p.scale(g)) + p.zero_point(g);
      r.clipped += steps < S::q_min - 0.5 || steps > S::q_max + 0.5;
      if (is_inf(x)) continue;
      if (x < r.range.min) r.range.min = x;
      if (x > r.range.max) r.range.max = x;
    }
  r.error = detail::compare_tree(0, r.rows, [&](index_t i) {
    return detail::compare_line(
        r.cols, [&](index_t j) { return static_cast<double>(original(i, j)); },
        [&](index_t j) {
          index_t const g = grid.at(i, j);
          return static_cast<double>(p.scale(g) * static_cast<float>(static_cast<std::int32_t>(codes(i, j)) - p.zero_point(g)));
        });
  });
  double const elements = static_cast<double>(r.rows) * static_cast<double>(r.cols);
  double const stored = 32.0 + (p.zero_points != nullptr && !S::fixed_zero_point ? S::code::bits : 0);
  r.limit_db = limit_db(S::q_max - S::q_min + 1, elements > 0 ? static_cast<double>(p.count) * stored / elements : 0);
  return r;
}
/// The same for a vector, as a matrix of one row.
template <class T, quantization_params Params, class Code>
quantization_report report(vector_view<T> original, Params const& params, vector_view<Code> codes) {
  return report(matrix_view<T>{original.data, 1, original.size, 0, original.stride}, params,
                matrix_view<Code>{codes.data, 1, codes.size, 0, codes.stride});
}

/// The line shown at the top of this file.
inline report_line text(quantization_report const& r) {
  report_line line;
  char range[64] = "nothing finite", scale[64], left_out[64] = "", sqnr[32] = "no error";
  if (!r.range.empty())
    std::snprintf(range, sizeof range, "range %.3g to %.3g", static_cast<double>(r.range.min), static_cast<double>(r.range.max));
  if (r.scale_min == r.scale_max)
    std::snprintf(scale, sizeof scale, "scale %.3g", static_cast<double>(r.scale_min));
  else
    std::snprintf(scale, sizeof scale, "scale %.3g to %.3g", static_cast<double>(r.scale_min), static_cast<double>(r.scale_max));
  if (r.error.noise > 0) std::snprintf(sqnr, sizeof sqnr, "SQNR %.1f dB", r.error.sqnr_db());
  if (r.error.non_finite > 0)
    std::snprintf(left_out, sizeof left_out, ", %lld NaN or infinite", static_cast<long long>(r.error.non_finite));
  std::snprintf(line.characters, sizeof line.characters, "%lld x %lld %s: %s, %s, clipped %.3f %%, %s (limit %.1f dB)%s",
                static_cast<long long>(r.rows), static_cast<long long>(r.cols), r.scheme, range, scale, 100 * r.clipped_share(),
                sqnr, r.limit_db, left_out);
  return line;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::metric

QUERN_FP_END
