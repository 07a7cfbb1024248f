// The words of a baseline in plain C++, which is the default where neither x86-64 nor xsimd is.
#define QUERN_BASELINE QUERN_BASELINE_PLAIN
#define QUERN_TEST_BASELINE_ONLY "plain: "
#include "vocabulary.cpp"
