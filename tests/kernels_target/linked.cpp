// The battery against quern::kernels.
#define QUERN_BATTERY linked
#include "battery.hpp"

static_assert(QUERN_COMPILED_KERNELS == 1);
