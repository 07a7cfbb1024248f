// each_isa.inl — the file that QUERN_DETAIL_EACH_ISA names, once for every vocabulary of simd.hpp, in its namespace and target region.
// A path in it counts from this folder. QUERN_DETAIL_PACKED: whether the vocabulary has the words of packed blocks.
// A file that links quern::kernels sees the baseline's, and of the others what QUERN_DETAIL_DECLARED, if defined, declares.
QUERN_FP_BEGIN
namespace quern {
inline namespace QUERN_ABI {
namespace baseline {
#define QUERN_DETAIL_PACKED (QUERN_BASELINE == QUERN_BASELINE_SSE2)
#include QUERN_DETAIL_EACH_ISA
#undef QUERN_DETAIL_PACKED
}  // namespace baseline
}  // inline namespace QUERN_ABI
}  // namespace quern

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
#define QUERN_DETAIL_PACKED 1
QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
inline namespace QUERN_ABI {
namespace sse41 {
#include QUERN_DETAIL_EACH_ISA
}  // namespace sse41
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {
#include QUERN_DETAIL_EACH_ISA
}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512bw {
#include QUERN_DETAIL_EACH_ISA
}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
#undef QUERN_DETAIL_PACKED
#elif QUERN_X86_64 && defined(QUERN_DETAIL_DECLARED)
namespace quern {
inline namespace QUERN_ABI {
namespace sse41 {
#include QUERN_DETAIL_DECLARED
}  // namespace sse41
namespace avx2 {
#include QUERN_DETAIL_DECLARED
}  // namespace avx2
namespace avx512bw {
#include QUERN_DETAIL_DECLARED
}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern
#endif
QUERN_FP_END
#undef QUERN_DETAIL_DECLARED
#undef QUERN_DETAIL_EACH_ISA
