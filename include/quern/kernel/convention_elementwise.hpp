// convention_elementwise.hpp — the frameworks' sums and products of 8- and 16-bit codes on vectors, for binary().
//
// fixed_point's (TFLite, CMSIS-NN) are in elementwise.hpp. What is in neither list is applied element by element: TVM's float
// requantization, ONNX Runtime's sum without FMA, Vitis AI's products of 16-bit codes, which leave int32.
#pragma once

#include "../convention/conventions.hpp"
#include "elementwise.hpp"

namespace quern::detail {
/// Conventions whose sums, products and averages are float_add, float_mul and float_average, in the arithmetic that the kernels know.
template <class C>
inline constexpr bool adds_in_float = std::is_same_v<C, convention::onnx> || std::is_same_v<C, convention::tensorrt> ||
                                      std::is_same_v<C, convention::model_optimizer> || std::is_same_v<C, convention::fbgemm>;
}  // namespace quern::detail

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
