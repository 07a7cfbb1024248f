// quantize_kernels.hpp — quantize_body.inl for each instruction set, and the choice among them.
#pragma once

#include "../cpu/detect.hpp"
#include "../simd/simd.hpp"
#include "exact_division.hpp"
#include "quantize_task.hpp"

QUERN_FP_BEGIN
namespace quern {
inline namespace QUERN_ABI {
namespace baseline {
#define QUERN_DETAIL_PACKED 0
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

/// A destination of this many bytes leaves the caches anyway: it is written past them, which saves reading it first.
inline constexpr index_t streaming_bytes = index_t{8} << 20;

template <class Form, class Src, class Dst, class Rounding>
QUERN_INLINE void quantize_rectangle(quantize_task<Src, Dst> const& t, Rounding rounding, isa cap, conversion_counts& counts) {
  bool const streaming = t.rows * t.cols >= streaming_bytes / static_cast<index_t>(sizeof(Dst)) && !t.in_place;
#if QUERN_X86_64
  isa const best = active_isa(cap);
  if (best >= isa::avx512bw) return avx512bw::quantize_rectangle<Form>(t, rounding, streaming, counts);
  if (best >= isa::avx2) return avx2::quantize_rectangle<Form>(t, rounding, streaming, counts);
  if (best >= isa::sse41) return sse41::quantize_rectangle<Form>(t, rounding, streaming, counts);
#endif
  (void)cap;
  baseline::quantize_rectangle<Form>(t, rounding, streaming, counts);
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
