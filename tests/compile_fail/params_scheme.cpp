// expect: Scheme must be symmetric<...>, asymmetric<...>, power_of_two<...>
#include <quern/scheme/choose_params.hpp>

#ifdef MISTAKE
quern::params<quern::s8> p;
#else
quern::params<quern::symmetric<>> p;
#endif
