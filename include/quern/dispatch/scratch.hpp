// scratch.hpp — memory for the length of a call: the caller's, or a block that the thread keeps for the next call.
#pragma once

#include "../core/error.hpp"

#include <new>

namespace quern {
namespace detail {

/// The block that a thread keeps between calls.
struct kept_block {
  void* data = nullptr;
  index_t bytes = 0;
  QUERN_INLINE ~kept_block() {
    if (data != nullptr) ::operator delete(data, std::align_val_t{64});
  }
};

inline namespace QUERN_ABI {

inline thread_local kept_block kept;

/// `bytes` on a 64-byte boundary. Takes the thread's block and gives it back: a nested call, which may run in the middle of ours
/// where an executor steals work, finds none and brings its own. Not initialized.
class scratch {
 public:
  explicit scratch(index_t bytes) : data_(kept.data), bytes_(kept.bytes) {
    kept.data = nullptr;
    kept.bytes = 0;
    if (bytes_ < bytes) {
      free(data_);
      data_ = nullptr;
      bytes_ = (bytes + 4095) / 4096 * 4096;
      data_ = ::operator new(static_cast<std::size_t>(bytes_), std::align_val_t{64});
    }
  }
  scratch(scratch const&) = delete;
  scratch& operator=(scratch const&) = delete;
  ~scratch() {
    if (kept.bytes < bytes_) {  // keep the larger of the two
      void* const other = kept.data;
      kept.data = data_;
      kept.bytes = bytes_;
      data_ = other;
    }
    free(data_);
  }
  unsigned char* data() const noexcept { return static_cast<unsigned char*>(data_); }

 private:
  static void free(void* p) noexcept {
    if (p != nullptr) ::operator delete(p, std::align_val_t{64});
  }
  void* data_;
  index_t bytes_;
};

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
