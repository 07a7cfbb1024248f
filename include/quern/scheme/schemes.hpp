// schemes.hpp — the list of schemes, their names, and exchanging one of their choices.
#pragma once

#include "../core/type_list.hpp"
#include "asymmetric.hpp"
#include "power_of_two.hpp"
#include "symmetric.hpp"

namespace quern {

/// One of each kind; the rebinding aliases below give all combinations.
using schemes = type_list<symmetric<>, asymmetric<>, power_of_two<>>;
using code_ranges = type_list<full_range, narrow_range>;

/// The same scheme with another code, granularity or range of codes.
template <scheme S, class Code>
using with_code = typename S::template rebind<Code, typename S::granularity, typename S::range>;
template <scheme S, class Granularity>
using with_granularity = typename S::template rebind<typename S::code, Granularity, typename S::range>;
template <scheme S, class Range>
using with_range = typename S::template rebind<typename S::code, typename S::granularity, Range>;

namespace detail {
struct short_text {
  char text[96] = {};
  int size = 0;

  QUERN_INLINE constexpr short_text& operator<<(char const* s) noexcept {
    while (*s != '\0') text[size++] = *s++;
    return *this;
  }
  QUERN_INLINE constexpr short_text& operator<<(long long value) noexcept {
    if (value < 0) {
      text[size++] = '-';
      value = -value;
    }
    long long power = 1;
    while (value / power >= 10) power *= 10;
    for (; power != 0; power /= 10) text[size++] = static_cast<char>('0' + value / power % 10);
    return *this;
  }
};

template <class Code>
constexpr short_text spelled_code() noexcept {
  short_text t;
  t << (Code::is_signed ? "s" : "u") << static_cast<long long>(Code::bits);
  return t;
}
template <class G>
constexpr short_text spelled_granularity() noexcept {
  short_text t;
  t << G::name;
  if constexpr (requires { G::size; }) t << "<" << static_cast<long long>(G::size);
  if constexpr (requires { G::axis; }) {
    if constexpr (!requires { G::size; })
      t << "<" << static_cast<long long>(G::axis);
    else if constexpr (G::axis != -1)
      t << ", " << static_cast<long long>(G::axis);
    t << ">";
  }
  return t;
}
template <class S>
constexpr short_text spelled_scheme() noexcept {
  short_text t;
  t << S::name << "<" << spelled_code<typename S::code>().text << ", "
    << spelled_granularity<typename S::granularity>().text << ", " << S::range::name << ">";
  return t;
}
template <class Code>
inline constexpr short_text code_text = spelled_code<Code>();
template <class G>
inline constexpr short_text granularity_text = spelled_granularity<G>();
template <class S>
inline constexpr short_text scheme_text = spelled_scheme<S>();
}  // namespace detail

/// "s8", "u4", ...
template <quantized_code Code>
inline constexpr char const* code_name = detail::code_text<code_of_t<Code>>.text;
/// "per_channel<0>", "per_group<32>", ...
template <granularity G>
inline constexpr char const* granularity_name = detail::granularity_text<G>.text;
/// "asymmetric<u8, per_channel<0>, full_range>".
template <scheme S>
inline constexpr char const* scheme_name = detail::scheme_text<S>.text;

}  // namespace quern
