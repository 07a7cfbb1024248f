// expect: quern promises the same bits everywhere, which arithmetic wider than its types takes away
#ifdef MISTAKE
#undef __FLT_EVAL_METHOD__  // as with -mfpmath=387, which not every compiler has
#define __FLT_EVAL_METHOD__ 2
#endif
#include <quern/config/compiler.hpp>
