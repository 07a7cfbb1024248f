// guarded.hpp — memory whose first and last byte touch pages that may not be touched: reading or writing beyond stops the test.
#pragma once

#include <quern/core/integers.hpp>

#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace support {

/// `size` elements; `at_end` puts the last one against the page behind, else the first against the page before.
template <class T>
class guarded {
 public:
  explicit guarded(quern::index_t size, bool at_end = true) : size_(size) {
    auto const page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), bytes = static_cast<std::size_t>(size) * sizeof(T);
    inner_ = (bytes + page - 1) / page * page;
    total_ = inner_ + 2 * page;
    void* const p = mmap(nullptr, total_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<unsigned char*>(p);
    if (inner_ > 0 && mprotect(base_ + page, inner_, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    data_ = reinterpret_cast<T*>(base_ + page + (at_end ? inner_ - bytes : 0));
  }
  guarded(guarded const&) = delete;
  guarded& operator=(guarded const&) = delete;
  ~guarded() { munmap(base_, total_); }

  T* data() const { return data_; }
  quern::index_t size() const { return size_; }
  T& operator[](quern::index_t i) const { return data_[i]; }

 private:
  quern::index_t size_;
  std::size_t inner_ = 0, total_ = 0;
  unsigned char* base_ = nullptr;
  T* data_ = nullptr;
};

}  // namespace support
