// expect: the second argument of a scheme is per_tensor, per_channel<Axis>, per_group<N> or per_row
#include <quern/scheme/choose_params.hpp>

#ifdef MISTAKE
quern::params<quern::asymmetric<quern::u8, quern::narrow_range>> p;
#else
quern::params<quern::asymmetric<quern::u8, quern::per_row>> p;
#endif
