// rescales.hpp — the list of rescale arithmetics, and what one is.
//
// A rescale turns an int32 accumulator times a real scale into an int32, before the zero point is added and the result clamped. A
// new arithmetic is one file and one line here.
#pragma once

#include "../core/type_list.hpp"
#include "../round/modes.hpp"
#include "cmsis_nn.hpp"
#include "fbgemm_fixed.hpp"
#include "float_multiply.hpp"
#include "gemmlowp_double.hpp"
#include "onednn.hpp"
#include "power_of_two.hpp"
#include "qnnpack.hpp"
#include "tflite_s64.hpp"
#include "tflite_single.hpp"
#include "tvm.hpp"
#include "xnnpack_fp32.hpp"
#include "xnnpack_rndnu.hpp"

namespace quern {

using rescales =
    type_list<rescale::gemmlowp_double, rescale::tflite_single, rescale::tflite_s64, rescale::cmsis_nn, rescale::cmsis_nn_s64,
              rescale::tvm_upward, rescale::tvm_upward_per_axis, rescale::tvm_to_nearest, rescale::fbgemm_fixed, rescale::qnnpack,
              rescale::qnnpack_precise, rescale::xnnpack_fp32, rescale::xnnpack_rndnu, rescale::xnnpack_rndnu16,
              rescale::float_multiply<>, rescale::double_multiply<>, rescale::onednn, rescale::power_of_two<>>;

/// `P::parameters` from a real scale, and an int32 from an int32 and those parameters. Stateless, constexpr, total: every x and
/// every parameters that from_real returns give a result.
template <class P>
concept rescale_policy =
    std::is_trivially_copyable_v<typename P::parameters> && requires(std::int32_t x, typename P::parameters p) {
      { P::name } -> std::convertible_to<char const*>;
      { P::accepts(0.5) } -> std::same_as<bool>;
      { P::from_real(0.5) } -> std::same_as<typename P::parameters>;
      { P::apply(x, p) } -> std::same_as<std::int32_t>;
    };

/// A rescale that also takes int64 accumulators, of up to P::accumulator_bits bits.
template <class P>
concept wide_rescale_policy = rescale_policy<P> && requires(std::int64_t x, typename P::parameters p) {
  requires P::accumulator_bits > 32;
  { P::apply(x, p) } -> std::same_as<std::int32_t>;
};

/// Stops compilation with a sentence when P is no rescale policy.
template <class P>
consteval void require_rescale_policy() {
  static_assert(rescale_policy<P>,
                "quern: Rescale must be a policy of quern::rescale (gemmlowp_double, tflite_single, float_multiply<>, "
                "power_of_two<>, ...), or a type with the same name, parameters, accepts, from_real and apply.");
}

}  // namespace quern
