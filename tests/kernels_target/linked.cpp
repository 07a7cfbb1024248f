// The battery against quern::kernels.
#define QUERN_BATTERY linked
#include "battery.hpp"

static_assert(QUERN_COMPILED_KERNELS == 1);
#if defined(_IMMINTRIN_H_INCLUDED) || defined(__IMMINTRIN_H)
#error "A kernel brings its intrinsics into files that link quern::kernels: its bodies belong between #if QUERN_DETAIL_KERNEL_BODIES."
#endif
