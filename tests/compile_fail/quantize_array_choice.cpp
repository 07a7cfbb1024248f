// expect: the second argument is params of the scheme, or choose_options to have them chosen
#include <quern/convert/constexpr_array.hpp>

#ifdef MISTAKE
constexpr auto q = quern::quantize_array<quern::symmetric<>>({1.0f, 2.0f}, 0.5f);
#else
constexpr auto q = quern::quantize_array<quern::symmetric<>>({1.0f, 2.0f}, quern::params<quern::symmetric<>>{.scale = 0.5f});
#endif
