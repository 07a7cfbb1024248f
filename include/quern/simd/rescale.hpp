// rescale.hpp — rescale policies on vectors, for requantize and the epilogues: rescaler<P> of every instruction set's namespace.
//
// Most policies are one of two forms: one rounding of the 64-bit product, or gemmlowp's two. A policy that is not listed, a user's
// for example, is applied lane by lane; the bits are those of P::apply in any case.
#pragma once

#include "../rescale/rescales.hpp"
#include "simd.hpp"

namespace quern {
inline namespace QUERN_ABI {
namespace vector_rescale {

/// One rounding of the 64-bit product, modulo 2^32: (((x + before) mod 2^32) * multiplier + half) / 2^right, rounded down.
/// 0 <= right <= 62; half is 0 or 2^(right - 1).
struct single_form {
  std::int32_t multiplier = 0;
  std::int32_t right = 1;
  std::int32_t before = 0;
  bool half = true;
};
QUERN_INLINE constexpr single_form single_form_of(rescale::tflite_single, rescale::multiplier_shift p) {
  return {p.multiplier, 31 - p.shift};
}
QUERN_INLINE constexpr single_form single_form_of(rescale::tflite_s64, rescale::tflite_s64::parameters p) {
  return {p.multiplier, 15 - p.shift};
}
QUERN_INLINE constexpr single_form single_form_of(rescale::cmsis_nn_s64, rescale::tflite_s64::parameters p) {
  return {p.multiplier, 14 - p.shift};  // twice the result
}
QUERN_INLINE constexpr single_form single_form_of(rescale::fbgemm_fixed, rescale::multiplier_shift p) {
  return p.shift < 1 || p.shift > 62 ? single_form{} : single_form{p.multiplier, p.shift};
}
QUERN_INLINE constexpr single_form single_form_of(rescale::xnnpack_rndnu, rescale::multiplier_shift p) {
  return {p.multiplier, p.shift};
}
QUERN_INLINE constexpr single_form single_form_of(rescale::qnnpack_precise, rescale::multiplier_shift p) {
  return {p.multiplier, p.shift};
}
/// A left shift of the product is so much less to the right: only bits 31 and up of it count, and 32 of them.
QUERN_INLINE constexpr single_form single_form_of(rescale::tvm_upward_per_axis, rescale::multiplier_shift p) {
  if (p.shift < -31) return {};
  return {p.multiplier, 31 - p.shift};
}
QUERN_INLINE constexpr single_form single_form_of(rescale::tvm_to_nearest, rescale::multiplier_shift p) {
  return single_form_of(rescale::tvm_upward_per_axis{}, p);
}
QUERN_INLINE constexpr single_form single_form_of(rescale::tvm_upward, rescale::multiplier_shift p) {
  single_form f = single_form_of(rescale::tvm_upward_per_axis{}, p);
  int const right = 1 - p.shift;
  if (p.multiplier == 1 << 30 && right > 0 && right <= 31) f.before = static_cast<std::int32_t>(1u << (right - 1)), f.half = false;
  return f;
}
template <class P>
concept single_rounding_policy = requires(typename P::parameters p) { single_form_of(P{}, p); };

template <class P>
consteval bool adds_before(P) {
  return std::is_same_v<P, rescale::tvm_upward>;
}
/// Ties go away from zero, by the sign of the product shifted to the left, modulo 2^64.
template <class P>
consteval bool ties_away(P) {
  return std::is_same_v<P, rescale::tvm_to_nearest>;
}
/// The same where no product leaves 2^63, so that the sign is x's.
template <class P>
consteval bool by_magnitude(P) {
  return std::is_same_v<P, rescale::qnnpack_precise>;
}
/// Rounds down to half steps first, and wraps there.
template <class P>
consteval bool by_half_steps(P) {
  return std::is_same_v<P, rescale::cmsis_nn_s64>;
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

/// Modes that shifting knows; every other one, a user's for example, is applied lane by lane.
template <class R>
concept shift_rounding = requires { []<class... M>(type_list<M...>) requires(std::is_same_v<R, M> || ...) {}(rounding_modes{}); };

}  // namespace vector_rescale

}  // inline namespace QUERN_ABI
}  // namespace quern

#define QUERN_DETAIL_EACH_ISA "rescale.inl"
#include "each_isa.inl"
