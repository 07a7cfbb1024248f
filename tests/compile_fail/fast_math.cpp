// expect: quern promises the same bits everywhere, which -ffast-math
// flags: -ffast-math
#include <quern/config/compiler.hpp>
