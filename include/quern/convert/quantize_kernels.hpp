// quantize_kernels.hpp — quantize_body.inl for each instruction set, and the choice among them.
#pragma once

#include "../cpu/detect.hpp"
#include "../simd/simd.hpp"
#include "compiled.hpp"
#include "exact_division.hpp"
#include "quantize_task.hpp"
#include "walk.hpp"

#define QUERN_DETAIL_EACH_ISA "../convert/quantize_body.inl"
#define QUERN_DETAIL_DECLARED "../convert/quantize_declared.inl"
#include "../simd/each_isa.inl"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

template <class Form, class Src, class Dst, class Rounding>
QUERN_INLINE conversion_counts quantize_line(Src const* src, Dst* dst, index_t n, float scale, std::int32_t zero_point,
                                             std::int32_t q_min, std::int32_t q_max, bool in_place, Rounding rounding, isa cap,
                                             std::uint64_t index = 0, index_t index_step = 1) {
  QUERN_DETAIL_BEST((is_compiled_quantize<Src, Dst, Rounding>), cap, quantize_line<Form>(src, dst, n, scale, zero_point, q_min, q_max, in_place, rounding, index, index_step))
}

template <class Form, class Src, class Dst, class Rounding>
QUERN_INLINE conversion_counts quantize_columns(quantize_task<Src, Dst> const& t, Rounding rounding, isa cap) {
  QUERN_DETAIL_BEST((is_compiled_quantize<Src, Dst, Rounding>), cap, quantize_columns<Form>(t, rounding))
}

/// Rows with one scale each, or columns.
template <class Form, class Src, class Dst, class Rounding>
conversion_counts quantize_rectangle(quantize_task<Src, Dst> const& t, Rounding rounding, isa cap) {
  if (t.col_scale != 0) return quantize_columns<Form>(t, rounding, cap);
  conversion_counts counts;
  for (index_t i = 0; i < t.rows; ++i)
    counts += quantize_line<Form>(t.src + i * t.src_stride, t.dst + i * t.dst_stride, t.cols, t.scales[i * t.row_scale],
                                  t.zero_points == nullptr ? 0 : t.zero_points[i * t.row_scale], t.q_min, t.q_max, t.in_place,
                                  rounding, cap, t.first_index + static_cast<std::uint64_t>(i * t.row_index), t.col_index);
  return counts;
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
