// expect: one range makes one scale, for per_tensor
#include <quern/scheme/choose_params.hpp>

#ifdef MISTAKE
auto p = quern::choose_params<quern::symmetric<quern::s8, quern::per_row>>({-1, 1});
#else
auto p = quern::choose_params<quern::symmetric<>>({-1, 1});
#endif
