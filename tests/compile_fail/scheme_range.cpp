// expect: the third argument of a scheme is full_range or narrow_range
#include <quern/scheme/choose_params.hpp>

#ifdef MISTAKE
quern::params<quern::power_of_two<quern::s8, quern::per_tensor, int>> p;
#else
quern::params<quern::power_of_two<quern::s8, quern::per_tensor, quern::narrow_range>> p;
#endif
