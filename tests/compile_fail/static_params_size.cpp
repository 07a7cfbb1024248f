// expect: a per_tensor scheme has one scale: N must be 1
#include <quern/scheme/choose_params.hpp>

#ifdef MISTAKE
quern::static_params<quern::symmetric<>, 2> p;
#else
quern::static_params<quern::symmetric<>, 1> p;
#endif
