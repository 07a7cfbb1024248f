// lstm.hpp — the integer LSTM of CMSIS-NN and TensorFlow Lite Micro: its parameters, and what happens to one unit of one step.
//
//     gate(g)  = sat16( sat16(R(W_g x + b_g)) + R(U_g h) )                 x: input codes, h: the previous output; zero points subtracted
//     f, i, o  = sigmoid(gate) in steps of 2^-15, g = tanh(gate)           gates are Q3.12
//     cell     = clip( sat16(R(f * cell)) + R(i * g) )
//     output   = sat( R(o * tanh(cell * 2^cell_scale_power)) + zero_point )
//
// R rescales with a multiplier of its own in each place. int8 codes have int32 biases and accumulators, int16 codes int64 ones. The two
// systems differ in the addends marked R(...) alone: CMSIS-NN adds them as they are (`Joined`), TensorFlow Lite Micro saturates each
// to int16 before it adds. (TensorFlow Lite's own LSTM has gemmlowp's logistic in place of the table, and is not this one.)
// Source: ARM-software/CMSIS-NN arm_nn_lstm_step_s8, _s16; tensorflow/lite/micro/kernels/lstm_eval.h.
#pragma once

#include "../core/views.hpp"
#include "../rescale/cmsis_nn.hpp"
#include "activation.hpp"

namespace quern::fixed_point {

/// What one gate multiplies by; `bias` may be null. T: std::int8_t or std::int16_t, the codes of input and output.
template <class T>
struct lstm_gate {
  using bias_type = std::conditional_t<sizeof(T) == 1, std::int32_t, std::int64_t>;
  std::int8_t const* input = nullptr;   ///< units x inputs
  std::int8_t const* hidden = nullptr;  ///< units x units
  bias_type const* bias = nullptr;      ///< units
  rescale::multiplier_shift input_rescale{}, hidden_rescale{};
};

template <class T>
struct lstm_params {
  index_t inputs = 0, units = 0;
  lstm_gate<T> forget{}, input{}, cell{}, output{};
  std::int32_t src_zero_point = 0, dst_zero_point = 0;  ///< 0 for int16
  rescale::multiplier_shift forget_to_cell{}, input_to_cell{}, output_to_dst{};
  int cell_scale_power = -12;  ///< the cell's step is 2^cell_scale_power
  std::int32_t cell_clip = 0;  ///< the cell stays within -cell_clip .. cell_clip; 0: within int16
};

/// The arithmetic of one unit. Rescale: cmsis_nn or gemmlowp_double; Wide: that of 64-bit accumulators.
template <class Rescale, class Wide, bool Joined>
struct lstm_unit {
  static_assert(std::is_same_v<typename Rescale::parameters, rescale::multiplier_shift>, "quern: an LSTM rescales by multiplier and shift.");
  rescale::multiplier_shift forget_to_cell{}, input_to_cell{}, output_to_dst{};
  sigmoid16 squash{3, 0, sigmoid_kind::logistic}, gate_tanh{3, 0, sigmoid_kind::tanh}, cell_tanh{};
  std::int32_t zero_point = 0, cell_min = -32768, cell_max = 32767;

  template <class T>
  QUERN_INLINE static constexpr lstm_unit make(lstm_params<T> const& p) noexcept {
    lstm_unit u{p.forget_to_cell, p.input_to_cell, p.output_to_dst};
    int const shift = p.cell_scale_power + 12;
    u.cell_tanh = {shift < 0 ? 3 : 3 << shift, shift < 0 ? -shift : 0, sigmoid_kind::tanh};
    u.zero_point = p.dst_zero_point;
    if (p.cell_clip > 0 && p.cell_clip < 32768) u.cell_min = -p.cell_clip, u.cell_max = p.cell_clip;
    return u;
  }

  /// W x + b or U h as the gates add it up.
  QUERN_INLINE static constexpr std::int32_t rescaled(std::int32_t acc, rescale::multiplier_shift m) noexcept { return Rescale::apply(acc, m); }
  QUERN_INLINE static constexpr std::int32_t rescaled(std::int64_t acc, rescale::multiplier_shift m) noexcept { return Wide::apply(acc, Wide::from_multiplier(m)); }
  QUERN_INLINE static constexpr std::int16_t gate(std::int16_t of_input, std::int32_t of_hidden) noexcept { return joined(of_input, of_hidden, -32768, 32767); }

  /// The next cell state and output from the four gates before their activation.
  template <class T>
  QUERN_INLINE constexpr T operator()(std::int16_t forget, std::int16_t input, std::int16_t candidate, std::int16_t output, std::int16_t& cell) const noexcept {
    auto const kept = static_cast<std::int16_t>(clamp(Rescale::apply(squash(forget) * cell, forget_to_cell), -32768, 32767));
    cell = joined(kept, Rescale::apply(squash(input) * gate_tanh(candidate), input_to_cell), cell_min, cell_max);
    return static_cast<T>(clamp<std::int64_t>(std::int64_t{Rescale::apply(squash(output) * cell_tanh(cell), output_to_dst)} + zero_point, code_of_t<T>::min, code_of_t<T>::max));
  }

 private:
  QUERN_INLINE static constexpr std::int16_t joined(std::int16_t a, std::int32_t b, std::int32_t min, std::int32_t max) noexcept {
    if (!Joined) b = clamp(b, -32768, 32767);
    return static_cast<std::int16_t>(clamp<std::int64_t>(std::int64_t{a} + b, min, max));
  }
};

}  // namespace quern::fixed_point
