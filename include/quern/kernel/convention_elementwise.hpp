// convention_elementwise.hpp — the frameworks' sums and products of 8-bit codes on vectors, for binary().
//
// fixed_point's (TFLite, CMSIS-NN) are in elementwise.hpp. What is in neither list is applied element by element: Vitis AI's shifts,
// TVM's float requantization, FBGEMM's float sum, ONNX Runtime's scalar fallback.
#pragma once

#include "../convention/conventions.hpp"
#include "elementwise.hpp"

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES  // files that link quern::kernels go code by code
QUERN_FP_BEGIN
QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
inline namespace QUERN_ABI {
namespace sse41 {
#include "convention_elementwise_body.inl"
}  // namespace sse41
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {
#include "convention_elementwise_body.inl"
}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512bw {
#include "convention_elementwise_body.inl"
}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
QUERN_FP_END
#endif
