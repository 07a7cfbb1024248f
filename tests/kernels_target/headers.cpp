// The battery from the headers alone.
#define QUERN_BATTERY headers
#include "battery.hpp"

static_assert(QUERN_COMPILED_KERNELS == 0);
