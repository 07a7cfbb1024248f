// The words of a baseline through xsimd, which is the default where x86-64 is not.
#if __has_include(<xsimd/xsimd.hpp>)
#define QUERN_BASELINE QUERN_BASELINE_XSIMD
#define QUERN_TEST_BASELINE_ONLY "xsimd: "
#include "vocabulary.cpp"
#endif
