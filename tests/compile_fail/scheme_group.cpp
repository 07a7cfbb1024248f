// expect: a group must hold at least one element
#include <quern/scheme/choose_params.hpp>

#ifdef MISTAKE
quern::params<quern::symmetric<quern::s4, quern::per_group<0>>> p;
#else
quern::params<quern::symmetric<quern::s4, quern::per_group<32>>> p;
#endif
