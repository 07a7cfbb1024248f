// modes.hpp — the list of rounding modes, and what a rounding mode is.
//
// A new mode is one file (a name and one sentence: when does the magnitude go up?) and one line here.
#pragma once

#include "../core/type_list.hpp"
#include "ceil.hpp"
#include "floor.hpp"
#include "half_away.hpp"
#include "half_even.hpp"
#include "half_even_positive.hpp"
#include "half_toward_zero.hpp"
#include "half_up.hpp"
#include "stochastic.hpp"
#include "toward_zero.hpp"

#include <concepts>

namespace quern {

/// Every stateless mode. round_to::stochastic, which needs an index for each element, is not among them.
using rounding_modes =
    type_list<round_to::half_even, round_to::half_away, round_to::half_up, round_to::half_toward_zero,
              round_to::half_even_positive, round_to::floor, round_to::ceil, round_to::toward_zero>;

/// A stateless rounding mode: real to integral, integer shifts and integer quotients, all rounded the same way.
template <class R>
concept rounding_mode = requires(float f, double d, std::int64_t i, int s) {
  { R::name } -> std::convertible_to<char const*>;
  { R::to_integral(f) } -> std::same_as<float>;
  { R::to_integral(d) } -> std::same_as<double>;
  { R::shift_right(i, s) } -> std::same_as<std::int64_t>;
  { R::divide(i, i) } -> std::same_as<std::int64_t>;
};

/// A rounding mode whose result depends on a counter too: round_to::stochastic.
template <class R>
concept counter_rounding_mode = requires(R const r, float f, std::uint64_t index) {
  { R::name } -> std::convertible_to<char const*>;
  { r.to_integral(f, index) } -> std::same_as<float>;
  { r.word(index) } -> std::same_as<std::uint32_t>;
};

/// Stops compilation with a sentence when R is no rounding mode.
template <class R>
consteval void require_rounding_mode() {
  static_assert(rounding_mode<R> || counter_rounding_mode<R>,
                "quern: Rounding must be a mode of quern::round_to (half_even, half_away, half_up, half_toward_zero, "
                "half_even_positive, floor, ceil, toward_zero, stochastic), or a type with the same static functions.");
}

}  // namespace quern
