// choose_params.hpp — from the range of the data to scales and zero points.
//
// The formula is the scheme's (symmetric, asymmetric, power_of_two). What holds for all of them:
//
//   · 0.0 is always a code: quantize(0.0) is the zero point, and dequantizes to 0.0.
//   · A range that does not hold 0.0 is extended to do so. [2, 3] is treated as [0, 3].
//   · A constant tensor c has the range [c, c], treated as [0, c] or [c, 0]; c itself is an end code.
//   · A range with nothing but 0.0, or with no value at all, takes options.scale_of_zero (1) and code 0 (or the middle).
//   · Ends beyond +-2^126, infinite ones included, are clipped to it: every code then dequantizes to a finite float.
//   · Scales below options.smallest_scale (2^-126) become it, so that 1 / scale is finite. Subnormal data loses its bits.
//   · NaN is never an end: observers count NaN apart (calibrate/). A NaN end passed by hand is refused.
//
// docs/decisions/0002-ranges.md says why.
#pragma once

#include "params.hpp"

namespace quern {

namespace detail {
inline namespace QUERN_ABI {

constexpr void check_range(real_range r, index_t i) {
  if (is_nan(r.min) || is_nan(r.max))
    fail(errc::argument, "choose_params: range ", i, " is from ", static_cast<double>(r.min), " to ",
         static_cast<double>(r.max), "; an end must not be NaN.");
  if (r.empty() && r != real_range{})
    fail(errc::argument, "choose_params: range ", i, " is from ", static_cast<double>(r.min), " to ",
         static_cast<double>(r.max), "; its minimum must not exceed its maximum (an empty one is real_range{}).");
}
constexpr void check_choose_option(float s, char const* name) {
  if (!(s > 0.0f) || !is_finite(s))
    fail(errc::argument, "choose_params: options.", name, " is ", static_cast<double>(s),
         "; it must be finite and greater than zero.");
}
constexpr void check_choose_options(choose_options const& o) {
  check_choose_option(o.smallest_scale, "smallest_scale");
  check_choose_option(o.scale_of_zero, "scale_of_zero");
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// The scale and zero point of one range.
///
///     choose_params<asymmetric<u8>>({-1, 3})      {scale 4/255, zero_point 64}
///
/// @errors  argument when an end is NaN, min > max, or an option is no scale.
template <class Scheme>
constexpr params<Scheme> choose_params(real_range range, choose_options options = {}) {
  static_assert(scheme<Scheme>, "quern::choose_params<Scheme>: Scheme must be symmetric<...>, asymmetric<...> or power_of_two<...>.");
  static_assert(Scheme::granularity::single,
                "quern::choose_params: one range makes one scale, for per_tensor; pass a vector_view of ranges, one for each scale.");
  detail::check_choose_options(options);
  detail::check_range(range, 0);
  scale_zero_point const chosen = Scheme::choose(range, options);
  return {chosen.scale, chosen.zero_point};
}

/// The scales and zero points of several ranges, in the order of grid_of<Scheme::granularity>. @errors  as above; null.
template <class Scheme, class Range>
  requires std::same_as<std::remove_cv_t<Range>, real_range>
constexpr params<Scheme> choose_params(vector_view<Range> ranges, choose_options options = {}) {
  static_assert(scheme<Scheme>, "quern::choose_params<Scheme>: Scheme must be symmetric<...>, asymmetric<...> or power_of_two<...>.");
  static_assert(!Scheme::granularity::single,
                "quern::choose_params: per_tensor has one scale; pass one range instead of a vector_view of them.");
  detail::check_choose_options(options);
  if (ranges.size > 0 && ranges.data == nullptr)
    fail(errc::null, "choose_params: ranges is null, but its size is ", ranges.size, ".");
  for (index_t i = 0; i < ranges.size; ++i) detail::check_range(ranges[i], i);
  auto chosen = params<Scheme>::with_size(ranges.size);
  for (index_t i = 0; i < ranges.size; ++i) chosen.set(i, Scheme::choose(ranges[i], options));
  return chosen;
}

/// The same for an array of ranges, without allocation: the result may be constexpr. @errors  as above.
template <class Scheme, std::size_t N>
constexpr static_params<Scheme, static_cast<index_t>(N)> choose_params(real_range const (&ranges)[N],
                                                                       choose_options options = {}) {
  static_assert(scheme<Scheme>, "quern::choose_params<Scheme>: Scheme must be symmetric<...>, asymmetric<...> or power_of_two<...>.");
  detail::check_choose_options(options);
  for (std::size_t i = 0; i < N; ++i) detail::check_range(ranges[i], static_cast<index_t>(i));
  static_params<Scheme, static_cast<index_t>(N)> chosen;
  for (std::size_t i = 0; i < N; ++i) chosen.set(static_cast<index_t>(i), Scheme::choose(ranges[i], options));
  return chosen;
}

}  // inline namespace QUERN_ABI
}  // namespace quern
