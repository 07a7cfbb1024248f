// expect: quern::code: Bits must be 2 to 16, or 32 and signed.
#include <quern/core/integers.hpp>

#ifdef MISTAKE
quern::code<17, true>::storage value = 0;
#else
quern::code<16, true>::storage value = 0;
#endif
