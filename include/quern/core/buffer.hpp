// buffer.hpp — an owning array that starts on a 64-byte boundary: a cache line, an AVX-512 register, a row of an AMX tile.
#pragma once

#include "views.hpp"

#include <new>

namespace quern {

/// `size()` value-initialized elements of a trivial type. Movable, copyable, constexpr (where alignment means nothing).
template <class T>
class buffer {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>,
                "quern::buffer holds plain numbers: T must be trivially copyable and destructible.");

 public:
  static constexpr std::size_t alignment = 64;

  QUERN_INLINE constexpr buffer() noexcept {}
  QUERN_INLINE constexpr explicit buffer(index_t size) : data_(allocate(size)), size_(size > 0 ? size : 0) {
    for (index_t i = 0; i < size_; ++i) data_[i] = T{};
  }
  QUERN_INLINE constexpr buffer(index_t size, T value) : data_(allocate(size)), size_(size > 0 ? size : 0) {
    for (index_t i = 0; i < size_; ++i) data_[i] = value;
  }
  // memcpy, not a loop: an aggregate's implicit copy constructor is weak, and a loop in it would be vectorized for its unit.
  QUERN_INLINE constexpr buffer(buffer const& other) : data_(allocate(other.size_)), size_(other.size_) {
    if (__builtin_is_constant_evaluated()) {
      for (index_t i = 0; i < size_; ++i) data_[i] = other.data_[i];
    } else if (size_ > 0) {
      __builtin_memcpy(data_, other.data_, static_cast<std::size_t>(size_) * sizeof(T));
    }
  }
  QUERN_INLINE constexpr buffer(buffer&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  QUERN_INLINE constexpr buffer& operator=(buffer other) noexcept {
    swap(other);
    return *this;
  }
  QUERN_INLINE constexpr ~buffer() { release(); }

  QUERN_INLINE constexpr void swap(buffer& other) noexcept {
    T* const d = data_;
    index_t const s = size_;
    data_ = other.data_;
    size_ = other.size_;
    other.data_ = d;
    other.size_ = s;
  }
  QUERN_INLINE constexpr T* data() noexcept { return data_; }
  QUERN_INLINE constexpr T const* data() const noexcept { return data_; }
  QUERN_INLINE constexpr index_t size() const noexcept { return size_; }
  QUERN_INLINE constexpr bool empty() const noexcept { return size_ == 0; }
  QUERN_INLINE constexpr T& operator[](index_t i) noexcept { return data_[i]; }
  QUERN_INLINE constexpr T const& operator[](index_t i) const noexcept { return data_[i]; }
  QUERN_INLINE constexpr T* begin() noexcept { return data_; }
  QUERN_INLINE constexpr T* end() noexcept { return data_ + size_; }
  QUERN_INLINE constexpr T const* begin() const noexcept { return data_; }
  QUERN_INLINE constexpr T const* end() const noexcept { return data_ + size_; }

 private:
  QUERN_INLINE static constexpr T* allocate(index_t size) {
    if (size <= 0) return nullptr;
    if (__builtin_is_constant_evaluated()) return new T[static_cast<std::size_t>(size)]();
    return static_cast<T*>(
        ::operator new(static_cast<std::size_t>(size) * sizeof(T), std::align_val_t{alignment}));
  }
  QUERN_INLINE constexpr void release() noexcept {
    if (data_ == nullptr) return;
    if (__builtin_is_constant_evaluated())
      delete[] data_;
    else
      ::operator delete(data_, std::align_val_t{alignment});
  }

  T* data_ = nullptr;
  index_t size_ = 0;
};

}  // namespace quern
