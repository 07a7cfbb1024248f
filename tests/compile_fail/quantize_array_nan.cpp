// expect: constants must be finite
#include <quern/convert/constexpr_array.hpp>

#ifdef MISTAKE
constexpr float weights[] = {1.0f, __builtin_nanf("")};
#else
constexpr float weights[] = {1.0f, 2.0f};
#endif
constexpr auto q = quern::quantize_array<quern::symmetric<>>(weights);
