// kernels.hpp — the list of kernel sets, best first. A new one is one file and one line.
#pragma once

#include "kernel_set.hpp"

#if QUERN_DETAIL_KERNEL_BODIES
#include "generic.hpp"
#include "x86_amx.hpp"
#include "x86_avx2.hpp"
#include "x86_avx512_vnni.hpp"
#include "x86_avx512bw.hpp"
#include "x86_avx_vnni.hpp"
#include "x86_sse2.hpp"
#include "x86_sse41.hpp"

namespace quern::kernel {
inline namespace QUERN_ABI {

using kernel_set_function = kernel_set const& (*)() noexcept;

/// Every kernel set of this build, the preferred first; sets of one instruction set stand together, the one that needs a proof first.
inline constexpr kernel_set_function all_kernels[] = {
#if QUERN_X86_64
    &avx512_vnni_kernels, &avx512bw_chain_kernels, &avx512bw_words_kernels, &avx_vnni_kernels,
    &avx2_chain_kernels,  &avx2_words_kernels,     &sse41_kernels,
#endif
#if QUERN_BASELINE == QUERN_BASELINE_SSE2
    &sse2_kernels,
#else
    &generic_kernels,
#endif
};

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
#endif
