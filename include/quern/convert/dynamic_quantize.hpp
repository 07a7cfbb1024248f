// dynamic_quantize.hpp — the range of the data, scale and zero point from it, and the codes: in one call.
#pragma once

#include "../calibrate/min_max.hpp"
#include "quantize.hpp"

namespace quern {

/// What dynamic_quantize returns.
template <class Scheme>
struct dynamic_result {
  params<Scheme> quantized_with;
  conversion_counts counts;
};

namespace detail {
inline namespace QUERN_ABI {
/// Params from the range of the data itself.
template <class Scheme, class Src>
params<Scheme> choose_from_data(Src const& src, choose_options const& choose, isa max_isa) {
  using granularity_type = typename Scheme::granularity;
  if constexpr (granularity_type::single) {
    return choose_params<Scheme>(calibrate::range_of(src, max_isa).range, choose);
  } else {
    calibrate::min_max<granularity_type> seen;
    seen.observe(src, max_isa);
    return choose_params<Scheme>(seen.ranges(), choose);
  }
}
}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Quantizes with the range of the data itself.
///
///     range = min and max of the finite values;  params = choose_params<Scheme>(range);  dst = quantize(src, params)
///
/// @shapes  src and dst as in quantize; ranges are per tensor, row, channel or group, as the scheme says.
/// @returns the params, and quantize's counts (NaN and infinities do not widen the range; they are counted).
/// @errors  as quantize: shape, null, overlap; as choose_params. Nothing is written then.
/// @source  choose_params and quantize; frameworks with ranges of their own: convention/. Allocates the params of schemes with
///          several scales, and nothing per tensor.
template <class Scheme = asymmetric<u8>, class Rounding = round_to::half_even, conversion_form Form = divide, detail::real_view Src,
          detail::code_view Dst>
dynamic_result<Scheme> dynamic_quantize(Src src, Dst dst, quantize_options<Rounding> const& options = {},
                                        choose_options const& choose = {}) {
  // quantize would find these mistakes too, but only after the data was read.
  (void)detail::check_views("dynamic_quantize", detail::any_const(detail::any_of(src)), detail::any_of(dst));
  dynamic_result<Scheme> result;
  result.quantized_with = detail::choose_from_data<Scheme>(src, choose, options.max_isa);
  result.counts = quantize<Rounding, Form>(src, result.quantized_with, dst, options);
  return result;
}

}  // inline namespace QUERN_ABI
}  // namespace quern
