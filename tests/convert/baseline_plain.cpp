// quantize, dequantize and requantize in plain C++, which is the baseline where neither x86-64 nor xsimd is, are the definition.
#define QUERN_BASELINE QUERN_BASELINE_PLAIN
#define QUERN_TEST_BASELINE "plain C++"
#include "baseline_xsimd.cpp"
