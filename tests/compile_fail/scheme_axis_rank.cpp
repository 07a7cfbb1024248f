// expect: names an axis that the tensor does not have
#include <quern/scheme/choose_params.hpp>

#ifdef MISTAKE
auto grid = quern::grid_of<quern::per_channel<2>>(3, 4);
#else
auto grid = quern::grid_of<quern::per_channel<1>>(3, 4);
#endif
