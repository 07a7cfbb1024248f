// error.hpp — what happens when the caller made a mistake.
//
// A mistake that only shows at run time (a shape, a null pointer, a scale that is no scale) is reported before any output is
// written, as a quern::error whose sentence names the argument, the values and the rule. Built with -fno-exceptions, the
// handler is called instead; it must not return. Facts about the data (saturated values, NaN) are results, never errors.
#pragma once

#include "integers.hpp"

#if QUERN_EXCEPTIONS
#include <exception>
#else
#include <cstdio>
#endif

namespace quern {

/// The rule that was broken.
enum class errc {
  shape,        ///< sizes or strides that do not fit together
  null,         ///< a null pointer with a size that is not zero
  scale,        ///< a scale that is zero, negative, NaN or infinite
  zero_point,   ///< a zero point outside of its type
  depth,        ///< k beyond the bound up to which int32 accumulators are exact
  capacity,     ///< a destination or workspace that is too small
  overlap,      ///< buffers that overlap where they must not
  format,       ///< a packed blob or file that is damaged, foreign or of another version
  argument,     ///< any other value outside of its documented range
};

/// A caller's mistake. `what()` is a sentence; nothing was written.
class error
#if QUERN_EXCEPTIONS
    : public std::exception
#endif
{
 public:
  static constexpr int capacity = 512;

  QUERN_INLINE explicit error(errc code) noexcept : code_(code) {}
  QUERN_INLINE error(error const&) noexcept = default;
  QUERN_INLINE error& operator=(error const&) noexcept = default;
  [[nodiscard]] errc code() const noexcept { return code_; }
#if QUERN_EXCEPTIONS
  [[nodiscard]] char const* what() const noexcept override { return text_; }
#else
  [[nodiscard]] char const* what() const noexcept { return text_; }
#endif

  QUERN_INLINE void append(char const* s) noexcept {
    while (s != nullptr && *s != '\0' && size_ < capacity - 1) text_[size_++] = *s++;
    text_[size_] = '\0';
  }

 private:
  errc code_;
  int size_ = 0;
  char text_[capacity] = {};
};

/// Called with every error before it is thrown, or instead of throwing without exceptions. Must not return in the latter case.
using error_handler = void (*)(error const&);

namespace detail {
inline error_handler installed_error_handler = nullptr;  // constant-initialized

inline namespace QUERN_ABI {

inline void append_part(error& e, char const* s) noexcept { e.append(s); }
template <class T>
  requires std::integral<T>
void append_part(error& e, T value) noexcept {
  char digits[24] = {};
  int at = 23;
  bool const negative = value < 0;
  auto magnitude = negative ? std::uint64_t{0} - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  do {
    digits[--at] = static_cast<char>('0' + magnitude % 10);
    magnitude /= 10;
  } while (magnitude != 0);
  if (negative) digits[--at] = '-';
  e.append(digits + at);
}
QUERN_COLD inline void append_part(error& e, double value) noexcept {
  if (value != value) return e.append("NaN");
  if (value < 0) {
    e.append("-");
    value = -value;
  }
  if (value > 1.7976931348623157e308) return e.append("infinity");
  int exponent = 0;
  if (value != 0) {
    while (value >= 10) value /= 10, ++exponent;
    while (value < 1) value *= 10, --exponent;
  }
  if (exponent >= 0 && exponent < 6) {
    while (exponent > 0) value *= 10, --exponent;
  }
  auto scaled = static_cast<std::uint64_t>(value * 1e6 + 0.5);  // six decimals say enough in a message
  append_part(e, scaled / 1000000);
  std::uint64_t rest = scaled % 1000000;
  if (rest != 0) {
    char text[8] = {'.', 0, 0, 0, 0, 0, 0, 0};
    for (int i = 6; i >= 1; --i, rest /= 10) text[i] = static_cast<char>('0' + rest % 10);
    for (int i = 6; i >= 1 && text[i] == '0'; --i) text[i] = '\0';
    e.append(text);
  }
  if (exponent != 0) {
    e.append("e");
    append_part(e, exponent);
  }
}

[[noreturn]] QUERN_COLD inline void raise(error const& e) {
  if (installed_error_handler != nullptr) installed_error_handler(e);
#if QUERN_EXCEPTIONS
  throw e;
#else
  if (installed_error_handler == nullptr) std::fprintf(stderr, "%s\n", e.what());  // unbuffered: abort flushes nothing
  __builtin_abort();
#endif
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Installs `handler` for the whole program and returns the one before; null is the default (throw, or print and abort). A shared
/// library that hides its symbols (-fvisibility=hidden) has a handler of its own.
inline error_handler set_error_handler(error_handler handler) noexcept {
  error_handler const before = detail::installed_error_handler;
  detail::installed_error_handler = handler;
  return before;
}

/// Reports a caller's mistake; the sentence is the parts in a row: fail(errc::shape, "gemm: lhs has ", k, " columns, ...").
template <class... Parts>
[[noreturn]] QUERN_COLD void fail(errc code, Parts const&... parts) {
  error e(code);
  (detail::append_part(e, parts), ...);
  detail::raise(e);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
