// type_list.hpp — a list of types; every registry of quern is one.
#pragma once

#include "../config/abi.hpp"

#include <cstddef>
#include <type_traits>

namespace quern {

template <class... Ts>
struct type_list {
  static constexpr std::size_t size = sizeof...(Ts);
};

namespace detail {
template <class T>
struct type_tag {
  using type = T;
};
template <class... Ts, class F>
constexpr void for_each(type_list<Ts...>, F&& f) {
  (f(type_tag<Ts>{}), ...);
}
template <class T, class List>
inline constexpr bool is_listed = false;
template <class T, class... Ts>
inline constexpr bool is_listed<T, type_list<Ts...>> = (std::is_same_v<T, Ts> || ...);
}  // namespace detail

/// Calls `f` with a tag for each type of `List`; `typename decltype(tag)::type` is the type.
template <class List, class F>
constexpr void for_each_type(F&& f) {
  detail::for_each(List{}, static_cast<F&&>(f));
}

}  // namespace quern
