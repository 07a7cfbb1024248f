// expect: quern promises the same bits everywhere, which -ffast-math (or one of its parts) takes away
// flags: -ffinite-math-only
#include <quern/config/compiler.hpp>
