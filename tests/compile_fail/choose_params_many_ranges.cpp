// expect: per_tensor has one scale; pass one range
#include <quern/scheme/choose_params.hpp>

#ifdef MISTAKE
quern::real_range ranges[2];
auto p = quern::choose_params<quern::symmetric<>>(quern::view(ranges));
#else
quern::real_range ranges[2];
auto p = quern::choose_params<quern::symmetric<quern::s8, quern::per_row>>(quern::view(ranges));
#endif
