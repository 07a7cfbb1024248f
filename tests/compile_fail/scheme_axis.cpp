// expect: Axis must be 0 to 3, or -4 to -1 to count from the last axis
#include <quern/scheme/choose_params.hpp>

#ifdef MISTAKE
quern::params<quern::symmetric<quern::s8, quern::per_channel<4>>> p;
#else
quern::params<quern::symmetric<quern::s8, quern::per_channel<1>>> p;
#endif
