// forward.hpp — how a function of quern that takes views is called with Eigen objects, written once for all functions.
//
//     QUERN_EIGEN_FORWARD(quern, max_pool2d, 3, typed, pool_options, typed)
//
// makes max_pool2d callable with three or more arguments of which at least one is an Eigen object. Each of these is passed as one of
// the views that it can be seen as, in the first of these ways in which quern has such a max_pool2d:
//
//     1. a vector as a vector_view, a matrix as a matrix_view, a tensor as the view of its rank
//     2. vectors as matrices, too
//     3. as something that is all of its views, and the Eigen object, so that each parameter takes what it wants
//
// Nothing is copied. The types are those of arguments in braces, {.size = {2, 2}}, which a template cannot see; an argument whose place
// says `typed` cannot be in braces. operations.hpp and compress/eigen.hpp have a line for each function and number of arguments;
// tests/structure/eigen.py finds functions that have none.
#pragma once

#include "view.hpp"

#include <utility>

namespace quern {

/// In the lines below: an argument that is never in braces. Braces make none of these, {} included.
struct typed {
  explicit typed(typed*, typed*) = delete;
};

}  // namespace quern

namespace quern::detail {

template <class... A>
inline constexpr bool any_foreign = (foreign<A> || ...);

inline namespace QUERN_ABI {

enum class seen { by_rank, as_matrix, in_every_way };

template <seen How, class A>
constexpr decltype(auto) as_argument(std::remove_reference_t<A>& a) noexcept {
  if constexpr (!foreign<A>) {
    return static_cast<A&&>(a);
  } else if constexpr (How == seen::in_every_way) {
    return foreign_view<std::remove_cvref_t<A>>::every(a);
  } else if constexpr (How == seen::as_matrix && eigen_dense<A>) {
    require_memory<A>();
    return quern::as_matrix(a);
  } else {
    return foreign_view<std::remove_cvref_t<A>>::of(a);
  }
}

template <seen How, class F, class... A>
inline constexpr bool takes = std::is_invocable_v<F const&, decltype(as_argument<How, A>(std::declval<std::remove_reference_t<A>&>()))...>;

/// The first way in which f(a...) works, and what it returns then. Without a member where there is none, or no Eigen object.
template <class F, class... A>
consteval seen first_way() {
  if constexpr (takes<seen::by_rank, F, A...>)
    return seen::by_rank;
  else if constexpr (takes<seen::as_matrix, F, A...>)
    return seen::as_matrix;
  else
    return seen::in_every_way;
}

}  // inline namespace QUERN_ABI

template <seen How, bool Works, class F, class... A>
struct call_as {};
template <seen How, class F, class... A>
struct call_as<How, true, F, A...> {
  static constexpr seen way = How;
  using type = std::invoke_result_t<F const&, decltype(as_argument<How, A>(std::declval<std::remove_reference_t<A>&>()))...>;
};

template <bool AnyForeign, class F, class... A>
struct call_with_views {};
template <class F, class... A>
struct call_with_views<true, F, A...> : call_as<first_way<F, A...>(), takes<first_way<F, A...>(), F, A...>, F, A...> {};

}  // namespace quern::detail

// A1 to A8: with what they are in braces, as parameters, as arguments, as types.
#define QUERN_EIGEN_TYPES_1(T1) class A1 = T1
#define QUERN_EIGEN_TYPES_2(T1, T2) QUERN_EIGEN_TYPES_1(T1), class A2 = T2
#define QUERN_EIGEN_TYPES_3(T1, T2, T3) QUERN_EIGEN_TYPES_2(T1, T2), class A3 = T3
#define QUERN_EIGEN_TYPES_4(T1, T2, T3, T4) QUERN_EIGEN_TYPES_3(T1, T2, T3), class A4 = T4
#define QUERN_EIGEN_TYPES_5(T1, T2, T3, T4, T5) QUERN_EIGEN_TYPES_4(T1, T2, T3, T4), class A5 = T5
#define QUERN_EIGEN_TYPES_6(T1, T2, T3, T4, T5, T6) QUERN_EIGEN_TYPES_5(T1, T2, T3, T4, T5), class A6 = T6
#define QUERN_EIGEN_TYPES_7(T1, T2, T3, T4, T5, T6, T7) QUERN_EIGEN_TYPES_6(T1, T2, T3, T4, T5, T6), class A7 = T7
#define QUERN_EIGEN_TYPES_8(T1, T2, T3, T4, T5, T6, T7, T8) QUERN_EIGEN_TYPES_7(T1, T2, T3, T4, T5, T6, T7), class A8 = T8
#define QUERN_EIGEN_PARAMETERS_1 A1&& a1
#define QUERN_EIGEN_PARAMETERS_2 QUERN_EIGEN_PARAMETERS_1, A2&& a2
#define QUERN_EIGEN_PARAMETERS_3 QUERN_EIGEN_PARAMETERS_2, A3&& a3
#define QUERN_EIGEN_PARAMETERS_4 QUERN_EIGEN_PARAMETERS_3, A4&& a4
#define QUERN_EIGEN_PARAMETERS_5 QUERN_EIGEN_PARAMETERS_4, A5&& a5
#define QUERN_EIGEN_PARAMETERS_6 QUERN_EIGEN_PARAMETERS_5, A6&& a6
#define QUERN_EIGEN_PARAMETERS_7 QUERN_EIGEN_PARAMETERS_6, A7&& a7
#define QUERN_EIGEN_PARAMETERS_8 QUERN_EIGEN_PARAMETERS_7, A8&& a8
#define QUERN_EIGEN_ARGUMENTS_1 ::quern::detail::as_argument<how, A1&&>(a1)
#define QUERN_EIGEN_ARGUMENTS_2 QUERN_EIGEN_ARGUMENTS_1, ::quern::detail::as_argument<how, A2&&>(a2)
#define QUERN_EIGEN_ARGUMENTS_3 QUERN_EIGEN_ARGUMENTS_2, ::quern::detail::as_argument<how, A3&&>(a3)
#define QUERN_EIGEN_ARGUMENTS_4 QUERN_EIGEN_ARGUMENTS_3, ::quern::detail::as_argument<how, A4&&>(a4)
#define QUERN_EIGEN_ARGUMENTS_5 QUERN_EIGEN_ARGUMENTS_4, ::quern::detail::as_argument<how, A5&&>(a5)
#define QUERN_EIGEN_ARGUMENTS_6 QUERN_EIGEN_ARGUMENTS_5, ::quern::detail::as_argument<how, A6&&>(a6)
#define QUERN_EIGEN_ARGUMENTS_7 QUERN_EIGEN_ARGUMENTS_6, ::quern::detail::as_argument<how, A7&&>(a7)
#define QUERN_EIGEN_ARGUMENTS_8 QUERN_EIGEN_ARGUMENTS_7, ::quern::detail::as_argument<how, A8&&>(a8)
#define QUERN_EIGEN_REFERENCES_1 A1&&
#define QUERN_EIGEN_REFERENCES_2 QUERN_EIGEN_REFERENCES_1, A2&&
#define QUERN_EIGEN_REFERENCES_3 QUERN_EIGEN_REFERENCES_2, A3&&
#define QUERN_EIGEN_REFERENCES_4 QUERN_EIGEN_REFERENCES_3, A4&&
#define QUERN_EIGEN_REFERENCES_5 QUERN_EIGEN_REFERENCES_4, A5&&
#define QUERN_EIGEN_REFERENCES_6 QUERN_EIGEN_REFERENCES_5, A6&&
#define QUERN_EIGEN_REFERENCES_7 QUERN_EIGEN_REFERENCES_6, A7&&
#define QUERN_EIGEN_REFERENCES_8 QUERN_EIGEN_REFERENCES_7, A8&&
#define QUERN_EIGEN_LIST_1 A1
#define QUERN_EIGEN_LIST_2 QUERN_EIGEN_LIST_1, A2
#define QUERN_EIGEN_LIST_3 QUERN_EIGEN_LIST_2, A3
#define QUERN_EIGEN_LIST_4 QUERN_EIGEN_LIST_3, A4
#define QUERN_EIGEN_LIST_5 QUERN_EIGEN_LIST_4, A5
#define QUERN_EIGEN_LIST_6 QUERN_EIGEN_LIST_5, A6
#define QUERN_EIGEN_LIST_7 QUERN_EIGEN_LIST_6, A7
#define QUERN_EIGEN_LIST_8 QUERN_EIGEN_LIST_7, A8

// E: template arguments that the caller writes, as in gemm<convention::tflite>(...); without any, functions that are no templates count.
// The function is declared before what calls the others of its name, so that the name is a template's there.
#define QUERN_EIGEN_FORWARD(scope, name, count, ...)                                                                                \
  namespace eigen_calls {                                                                                                           \
  template <class... E>                                                                                                             \
  struct name##_##count;                                                                                                            \
  }                                                                                                                                 \
  template <class... E, QUERN_EIGEN_TYPES_##count(__VA_ARGS__), class... Rest>                                                      \
  auto name(QUERN_EIGEN_PARAMETERS_##count, Rest&&... rest)                                                                         \
      -> typename ::quern::detail::call_with_views<::quern::detail::any_foreign<QUERN_EIGEN_LIST_##count, Rest...>,                 \
                                                   eigen_calls::name##_##count<E...>, QUERN_EIGEN_REFERENCES_##count, Rest&&...>::type { \
    constexpr auto how =                                                                                                            \
        ::quern::detail::first_way<eigen_calls::name##_##count<E...>, QUERN_EIGEN_REFERENCES_##count, Rest&&...>();                 \
    return eigen_calls::name##_##count<E...>{}(QUERN_EIGEN_ARGUMENTS_##count, ::quern::detail::as_argument<how, Rest&&>(rest)...);  \
  }                                                                                                                                 \
  namespace eigen_calls {                                                                                                           \
  template <class... E>                                                                                                             \
  struct name##_##count {                                                                                                           \
    template <class... V>                                                                                                           \
    auto operator()(V&&... v) const -> decltype(scope::name<E...>(static_cast<V&&>(v)...)) {                                        \
      return scope::name<E...>(static_cast<V&&>(v)...);                                                                             \
    }                                                                                                                               \
  };                                                                                                                                \
  template <>                                                                                                                       \
  struct name##_##count<> {                                                                                                         \
    template <class... V>                                                                                                           \
    auto operator()(V&&... v) const -> decltype(scope::name(static_cast<V&&>(v)...)) {                                              \
      return scope::name(static_cast<V&&>(v)...);                                                                                   \
    }                                                                                                                               \
  };                                                                                                                                \
  }
