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

/// Rows of 32 to 63 elements (groups of 32 are rows) are whole blocks of AVX2, and none of AVX-512.
template <class Form, class Src, class Dst, class Rounding>
QUERN_INLINE conversion_counts quantize_rows(quantize_task<Src, Dst> const& t, Rounding rounding, isa cap) {
  if (t.rows > 1 && t.cols < 64 && t.cols >= 32 && cap > isa::avx2) cap = isa::avx2;
  QUERN_DETAIL_BEST((is_compiled_quantize<Src, Dst, Rounding>), cap, quantize_rows<Form>(t, rounding))
}
template <class Form, class Src, class Dst, class Rounding>
QUERN_INLINE conversion_counts quantize_columns(quantize_task<Src, Dst> const& t, Rounding rounding, isa cap) {
  QUERN_DETAIL_BEST((is_compiled_quantize<Src, Dst, Rounding>), cap, quantize_columns<Form>(t, rounding))
}
/// Rows with one scale each, or columns.
template <class Form, class Src, class Dst, class Rounding>
QUERN_INLINE conversion_counts quantize_rectangle(quantize_task<Src, Dst> const& t, Rounding rounding, isa cap) {
  return t.col_scale != 0 ? quantize_columns<Form>(t, rounding, cap) : quantize_rows<Form>(t, rounding, cap);
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
