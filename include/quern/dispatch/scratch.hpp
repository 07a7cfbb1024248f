// scratch.hpp — memory for the length of a call: the caller's, or a block that the thread keeps for the next call.
#pragma once

#include "../core/error.hpp"

#include <new>

namespace quern {
namespace detail {

/// The blocks that a thread keeps between calls: a layer, the product in it and the product's task each want one at a time.
struct kept_blocks {
  static constexpr int count = 4;
  void* data[count] = {};
  index_t bytes[count] = {};

  QUERN_INLINE static void free(void* p) noexcept {
    if (p != nullptr) ::operator delete(p, std::align_val_t{64});
  }
  QUERN_INLINE ~kept_blocks() {
    for (void* p : data) free(p);
  }
};

inline namespace QUERN_ABI {

inline thread_local kept_blocks kept;

/// `bytes` on a 64-byte boundary, not initialized. Takes one of the thread's blocks out and puts it back, so that nested calls,
/// even those of an executor that runs other work while it waits, never share one.
class scratch {
 public:
  explicit scratch(index_t bytes) {
    kept_blocks& mine = kept;  // GCC asks for it by a call
    int best = -1;  // the smallest that suffices, else the largest
    for (int i = 0; i < kept_blocks::count; ++i) {
      if (mine.data[i] == nullptr) continue;
      if (best < 0 || (mine.bytes[best] < bytes ? mine.bytes[i] > mine.bytes[best]
                                                : mine.bytes[i] >= bytes && mine.bytes[i] < mine.bytes[best]))
        best = i;
    }
    if (best >= 0) {
      data_ = mine.data[best];
      bytes_ = mine.bytes[best];
      mine.data[best] = nullptr;
      mine.bytes[best] = 0;
    }
    if (bytes_ < bytes) {
      kept_blocks::free(data_);
      data_ = nullptr;
      bytes_ = (bytes + 4095) / 4096 * 4096;
      data_ = ::operator new(static_cast<std::size_t>(bytes_), std::align_val_t{64});
    }
  }
  scratch(scratch const&) = delete;
  scratch& operator=(scratch const&) = delete;
  ~scratch() {
    kept_blocks& mine = kept;
    for (int i = 0; i < kept_blocks::count && data_ != nullptr; ++i)
      if (mine.data[i] == nullptr) {
        mine.data[i] = data_;
        mine.bytes[i] = bytes_;
        data_ = nullptr;
      }
    kept_blocks::free(data_);
  }
  unsigned char* data() const noexcept { return static_cast<unsigned char*>(data_); }

 private:
  void* data_ = nullptr;
  index_t bytes_ = 0;
};

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
