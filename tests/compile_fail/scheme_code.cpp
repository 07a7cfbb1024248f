// expect: the first argument of a scheme is a code of 2 to 16 bits
#include <quern/scheme/choose_params.hpp>

#ifdef MISTAKE
quern::params<quern::symmetric<quern::s32>> p;  // 32 bits are an accumulator's
#else
quern::params<quern::symmetric<quern::s8>> p;
#endif
