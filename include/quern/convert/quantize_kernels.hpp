// quantize_kernels.hpp — quantize_body.inl for each instruction set, and the choice among them.
#pragma once

#include "../cpu/detect.hpp"
#include "../simd/simd.hpp"
#include "exact_division.hpp"
#include "quantize_task.hpp"
#include "walk.hpp"

QUERN_FP_BEGIN
namespace quern {
inline namespace QUERN_ABI {
namespace baseline {
#define QUERN_DETAIL_PACKED (QUERN_BASELINE == QUERN_BASELINE_SSE2)
#include "quantize_body.inl"
#undef QUERN_DETAIL_PACKED
}  // namespace baseline
}  // inline namespace QUERN_ABI
}  // namespace quern

#if QUERN_X86_64
#define QUERN_DETAIL_PACKED 1
QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
inline namespace QUERN_ABI {
namespace sse41 {
#include "quantize_body.inl"
}  // namespace sse41
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {
#include "quantize_body.inl"
}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512bw {
#include "quantize_body.inl"
}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
#undef QUERN_DETAIL_PACKED
#endif
QUERN_FP_END

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

template <class Form, class Src, class Dst, class Rounding>
QUERN_INLINE conversion_counts quantize_line(Src const* src, Dst* dst, index_t n, float scale, std::int32_t zero_point,
                                             std::int32_t q_min, std::int32_t q_max, bool in_place, Rounding rounding, isa cap,
                                             std::uint64_t index = 0, index_t index_step = 1) {
#if QUERN_X86_64
  isa const best = active_isa(cap);
  if (best >= isa::avx512bw)
    return avx512bw::quantize_line<Form>(src, dst, n, scale, zero_point, q_min, q_max, in_place, rounding, index, index_step);
  if (best >= isa::avx2)
    return avx2::quantize_line<Form>(src, dst, n, scale, zero_point, q_min, q_max, in_place, rounding, index, index_step);
  if (best >= isa::sse41)
    return sse41::quantize_line<Form>(src, dst, n, scale, zero_point, q_min, q_max, in_place, rounding, index, index_step);
#endif
  (void)cap;
  return baseline::quantize_line<Form>(src, dst, n, scale, zero_point, q_min, q_max, in_place, rounding, index, index_step);
}

template <class Form, class Src, class Dst, class Rounding>
QUERN_INLINE conversion_counts quantize_columns(quantize_task<Src, Dst> const& t, Rounding rounding, isa cap) {
#if QUERN_X86_64
  isa const best = active_isa(cap);
  if (best >= isa::avx512bw) return avx512bw::quantize_columns<Form>(t, rounding);
  if (best >= isa::avx2) return avx2::quantize_columns<Form>(t, rounding);
  if (best >= isa::sse41) return sse41::quantize_columns<Form>(t, rounding);
#endif
  (void)cap;
  return baseline::quantize_columns<Form>(t, rounding);
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
