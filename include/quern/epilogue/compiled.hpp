// compiled.hpp — the epilogues that the target quern::kernels holds. In files that link it all others run on plain vectors: the same
// bits, more slowly; the products themselves are compiled in any case.
#pragma once

#include "../core/reals.hpp"
#include "../core/type_list.hpp"
#include "../rescale/rescales.hpp"
#include "epilogue.hpp"

namespace quern::detail {

using compiled_epilogue_rescales =
    type_list<rescale::gemmlowp_double, rescale::tflite_single, rescale::cmsis_nn, rescale::float_multiply<>>;
using compiled_epilogue_codes = type_list<std::int8_t, std::uint8_t>;
using compiled_epilogue_reals = type_list<std::int8_t, std::uint8_t, std::int16_t, float, bfloat16>;  // destinations of to_real

template <class Dst, class E>
inline constexpr bool is_compiled_epilogue = false;
template <>
inline constexpr bool is_compiled_epilogue<std::int32_t, epilogue<>> = true;
template <class Dst>
inline constexpr bool is_compiled_epilogue<Dst, epilogue<to_real>> = is_listed<Dst, compiled_epilogue_reals>;
template <class Dst, class R>
  requires is_listed<R, compiled_epilogue_rescales>
inline constexpr bool is_compiled_epilogue<Dst, epilogue<R>> = is_listed<Dst, compiled_epilogue_codes>;

using compiled_depthwise_rescales = type_list<to_real, rescale::gemmlowp_double, rescale::tflite_single>;
template <class Dst, class E>
inline constexpr bool is_compiled_depthwise = is_compiled_epilogue<Dst, E> && is_listed<Dst, compiled_epilogue_codes> &&
                                              is_listed<typename E::rescale_type, compiled_depthwise_rescales>;

}  // namespace quern::detail
