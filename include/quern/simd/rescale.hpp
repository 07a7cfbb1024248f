// rescale.hpp — rescale policies on vectors, for requantize and the epilogues: rescaler<P> of every instruction set's namespace.
//
// Most policies are one of two forms: one rounding of the 64-bit product, or gemmlowp's two. A policy that is neither, a user's
// for example, is applied lane by lane; the bits are those of P::apply in any case.
#pragma once

#include "../rescale/rescales.hpp"
#include "simd.hpp"

namespace quern {
inline namespace QUERN_ABI {
namespace vector_rescale {

/// ((x * multiplier) * 2^left + 2^(right - 1)) / 2^right; 0 <= left <= 31, 1 <= right <= 62.
struct single_form {
  std::int32_t multiplier = 0;
  std::int32_t left = 0;
  std::int32_t right = 1;
};
QUERN_INLINE constexpr single_form single_form_of(rescale::tflite_single, rescale::multiplier_shift p) {
  return {p.multiplier, 0, 31 - p.shift};
}
QUERN_INLINE constexpr single_form single_form_of(rescale::tflite_s64, rescale::tflite_s64::parameters p) {
  return {p.multiplier, 0, 15 - p.shift};
}
QUERN_INLINE constexpr single_form single_form_of(rescale::fbgemm_fixed, rescale::multiplier_shift p) {
  return p.shift < 1 || p.shift > 62 ? single_form{} : single_form{p.multiplier, 0, p.shift};
}
QUERN_INLINE constexpr single_form single_form_of(rescale::xnnpack_rndnu, rescale::multiplier_shift p) {
  return {p.multiplier, 0, p.shift};
}
QUERN_INLINE constexpr single_form single_form_of(rescale::tvm_upward_per_axis, rescale::multiplier_shift p) {
  if (p.shift < -31) return {};
  return {p.multiplier, p.shift > 0 ? p.shift : 0, 31 + (p.shift < 0 ? -p.shift : 0)};
}
QUERN_INLINE constexpr single_form single_form_of(rescale::tvm_to_nearest, rescale::multiplier_shift p) {
  return single_form_of(rescale::tvm_upward_per_axis{}, p);
}
template <class P>
concept single_rounding_policy = requires(typename P::parameters p) { single_form_of(P{}, p); };

template <class P>
consteval bool shifts_left(P) {
  return std::is_same_v<P, rescale::tvm_upward_per_axis> || std::is_same_v<P, rescale::tvm_to_nearest>;
}
template <class P>
consteval bool ties_away(P) {
  return std::is_same_v<P, rescale::tvm_to_nearest>;
}

template <class P>
concept double_rounding_policy =
    std::is_same_v<P, rescale::gemmlowp_double> || std::is_same_v<P, rescale::cmsis_nn> || std::is_same_v<P, rescale::qnnpack>;
/// qnnpack's shift goes to the right, the others' to the left.
template <class P>
QUERN_INLINE constexpr std::int32_t left_shift(P, rescale::multiplier_shift p) {
  return std::is_same_v<P, rescale::qnnpack> || p.shift < 0 ? 0 : p.shift;
}
template <class P>
QUERN_INLINE constexpr std::int32_t right_shift(P, rescale::multiplier_shift p) {
  return std::is_same_v<P, rescale::qnnpack> ? p.shift : p.shift < 0 ? -p.shift : 0;
}

}  // namespace vector_rescale

}  // inline namespace QUERN_ABI
}  // namespace quern

#define QUERN_DETAIL_EACH_ISA "rescale.inl"
#include "each_isa.inl"
