// expect: quern::buffer holds plain numbers: T must be trivially copyable and destructible.
#include <quern/core/buffer.hpp>

struct handle {
  ~handle() {}
};
#ifdef MISTAKE
quern::buffer<handle> value;
#else
quern::buffer<float> value;
#endif
