// compiled.hpp — the conversions that the target quern::kernels holds. In files that link it all others run on plain vectors: the
// same bits, more slowly.
#pragma once

#include "../core/reals.hpp"
#include "../core/type_list.hpp"
#include "../rescale/rescales.hpp"
#include "form.hpp"

namespace quern::detail {

using compiled_roundings = type_list<round_to::half_even, round_to::half_away>;
using compiled_forms = type_list<divide, reciprocal>;
using compiled_codes = type_list<std::int8_t, std::uint8_t>;
using compiled_wide_codes = type_list<std::int16_t>;  // from and to reals only
using compiled_reals = type_list<float>;
using compiled_rescales = type_list<rescale::float_multiply<>, rescale::gemmlowp_double, rescale::tflite_single>;

template <class Real, class Code>
inline constexpr bool is_compiled_pair =
    is_listed<Real, compiled_reals> && (is_listed<Code, compiled_codes> || is_listed<Code, compiled_wide_codes>);

template <class Src, class Dst, class Rounding>
inline constexpr bool is_compiled_quantize = is_compiled_pair<Src, Dst> && is_listed<Rounding, compiled_roundings>;
template <class Src, class Dst>
inline constexpr bool is_compiled_dequantize = is_compiled_pair<Dst, Src>;
template <class P, class Src, class Dst>
inline constexpr bool is_compiled_requantize =
    is_listed<P, compiled_rescales> && (is_listed<Src, compiled_codes> || std::is_same_v<Src, std::int32_t>) && is_listed<Dst, compiled_codes>;

}  // namespace quern::detail
