// lstm.hpp — the integer LSTM layer of CMSIS-NN and TensorFlow Lite Micro, int8 or int16 codes, int8 weights.
//
//     fixed_point::lstm_params<std::int8_t> p{.inputs = 22, .units = 11, .forget = {w, u, bias, {m, shift}, {m, shift}}, ...};
//     auto const layer = pack_lstm<convention::cmsis_nn>(p);
//     lstm(nd(x, make_shape(batch, steps, 22)), layer, nd(y, make_shape(batch, steps, 11)));
//
// The formulas are fixed_point/lstm.hpp's. The four gates' products with the input are one gemm over all steps, those with the previous
// output one a step. Time-major data is the same call on transposed views. Definition: reference/lstm.hpp.
#pragma once

#include "../convention/tflite.hpp"
#include "../core/buffer.hpp"
#include "../core/shape.hpp"
#include "../fixed_point/lstm.hpp"
#include "../kernel/dot16.hpp"
#include "gemm.hpp"

namespace quern {

namespace detail {
template <class C>
struct lstm_arithmetic {
  static_assert(std::is_same_v<C, convention::cmsis_nn> || std::is_same_v<C, convention::tflite>,
                "quern::pack_lstm: the LSTM is that of convention::cmsis_nn, or of convention::tflite (TensorFlow Lite Micro).");
  static constexpr bool joined = std::is_same_v<C, convention::cmsis_nn>;
  using wide = std::conditional_t<joined, rescale::cmsis_nn_s64, rescale::tflite_s64>;
  using unit = fixed_point::lstm_unit<typename C::rescaling, wide, joined>;
};
}  // namespace detail

/// An LSTM's weights, packed once. `params` holds its numbers; the pointers in it are not looked at again.
template <class T, class C>
struct packed_lstm {
  using convention_type = C;
  fixed_point::lstm_params<T> params{};
  buffer<typename fixed_point::lstm_gate<T>::bias_type> bias{};              ///< gates x units, gates in the order forget, input, cell, output
  buffer<rescale::multiplier_shift> input_rescale{}, hidden_rescale{};      ///< gates x units
  packed_matrix<std::int8_t> input{}, hidden{};                             ///< of int8 codes: inputs, units x 4 units
  buffer<std::int16_t> wide_input{}, wide_hidden{};                         ///< of int16 codes: 4 units x inputs, units, rounded up to 32
};

/// What an LSTM remembers between calls, batch x units each; null: nothing, it begins at 0.0 and forgets.
template <class T>
struct lstm_state {
  T* hidden = nullptr;
  std::int16_t* cell = nullptr;
};

inline namespace QUERN_ABI {

/// @errors shape (no inputs or units), null, argument (cell_scale_power beyond -15 .. 0, shift beyond -31 .. 7 for int16), zero_point.
template <class C, class T>
packed_lstm<T, C> pack_lstm(fixed_point::lstm_params<T> const& p) {
  static_assert(std::is_same_v<T, std::int8_t> || std::is_same_v<T, std::int16_t>, "quern::pack_lstm: codes are std::int8_t or std::int16_t.");
  static_cast<void>(detail::lstm_arithmetic<C>{});
  if (p.inputs < 1 || p.units < 1) fail(errc::shape, "pack_lstm: there are ", p.inputs, " inputs and ", p.units, " units; there must be at least one of each.");
  if (p.cell_scale_power < -15 || p.cell_scale_power > 0) fail(errc::argument, "pack_lstm: cell_scale_power is ", p.cell_scale_power, "; it must be -15 to 0.");
  for (std::int32_t const zero : {p.src_zero_point, p.dst_zero_point})
    if (sizeof(T) == 2 ? zero != 0 : zero < -128 || zero > 127)
      fail(errc::zero_point, "pack_lstm: a zero point is ", zero, "; it must be ", sizeof(T) == 2 ? "0 for int16." : "-128 to 127.");
  packed_lstm<T, C> r;
  r.params = p;
  index_t const columns = 4 * p.units;
  std::int32_t const most = sizeof(T) == 2 ? 7 : 30;
  fixed_point::lstm_gate<T> const* const gates[] = {&p.forget, &p.input, &p.cell, &p.output};
  r.bias = buffer<typename fixed_point::lstm_gate<T>::bias_type>(columns);
  r.input_rescale = buffer<rescale::multiplier_shift>(columns);
  r.hidden_rescale = buffer<rescale::multiplier_shift>(columns);
  buffer<std::int8_t> input(columns * p.inputs), hidden(columns * p.units);
  for (index_t g = 0; g < 4; ++g) {
    auto const& gate = *gates[g];
    if (gate.input == nullptr || gate.hidden == nullptr) fail(errc::null, "pack_lstm: the weights of gate ", g, " are null.");
    for (std::int32_t const shift : {gate.input_rescale.shift, gate.hidden_rescale.shift})
      if (shift < -31 || shift > most) fail(errc::argument, "pack_lstm: a shift of gate ", g, " is ", shift, "; it must be -31 to ", most, ".");
    for (index_t u = 0; u < p.units; ++u) {
      index_t const column = g * p.units + u;
      r.bias[column] = gate.bias != nullptr ? gate.bias[u] : 0;
      r.input_rescale[column] = gate.input_rescale;
      r.hidden_rescale[column] = gate.hidden_rescale;
      __builtin_memcpy(input.data() + column * p.inputs, gate.input + u * p.inputs, static_cast<std::size_t>(p.inputs));
      __builtin_memcpy(hidden.data() + column * p.units, gate.hidden + u * p.units, static_cast<std::size_t>(p.units));
    }
  }
  for (std::int32_t const shift : {p.forget_to_cell.shift, p.input_to_cell.shift, p.output_to_dst.shift})
    if (shift < -31 || shift > 0) fail(errc::argument, "pack_lstm: a shift behind the gates is ", shift, "; it must be -31 to 0.");
  if constexpr (sizeof(T) == 1) {
    r.input = pack(row_major(static_cast<std::int8_t const*>(input.data()), columns, p.inputs).transposed());
    r.hidden = pack(row_major(static_cast<std::int8_t const*>(hidden.data()), columns, p.units).transposed());
  } else {
    auto const widened = [&](buffer<std::int8_t> const& from, index_t depth) {
      index_t const padded = detail::round_up(depth, 32);
      buffer<std::int16_t> rows(columns * padded);
      for (index_t c = 0; c < columns; ++c)
        for (index_t i = 0; i < depth; ++i) rows[c * padded + i] = from[c * depth + i];
      return rows;
    };
    r.wide_input = widened(input, p.inputs);
    r.wide_hidden = widened(hidden, p.units);
  }
  return r;
}

/// Runs the layer over all steps.
///
/// @shapes  src batch x steps x inputs, dst batch x steps x units, the innermost without gaps; state, when given, batch x units, updated.
/// @rounds  as fixed_point/lstm.hpp says. @errors shape, null, depth.
template <class T, class C>
void lstm(non_deduced<nd_view<T const>> src, packed_lstm<T, C> const& layer, nd_view<T> dst, lstm_state<T> state = {}, gemm_options const& options = {}) {
  using unit_type = typename detail::lstm_arithmetic<C>::unit;
  auto const& p = layer.params;
  index_t const batch = src.extents.dim[0], steps = src.extents.dim[1], columns = 4 * p.units;
  if (src.extents.rank != 3 || dst.extents.rank != 3 || dst.extents.dim[0] != batch || dst.extents.dim[1] != steps || src.extents.dim[2] != p.inputs || dst.extents.dim[2] != p.units)
    fail(errc::shape, "lstm: src must be batch x steps x ", p.inputs, " and dst batch x steps x ", p.units, ".");
  if ((src.stride[2] != 1 && p.inputs > 1) || (dst.stride[2] != 1 && p.units > 1)) fail(errc::shape, "lstm: the innermost dimension of src and dst must be without gaps.");
  if (layer.bias.empty()) fail(errc::null, "lstm: the layer is empty; pack_lstm makes it.");
  if ((state.hidden == nullptr) != (state.cell == nullptr)) fail(errc::null, "lstm: state.", state.cell == nullptr ? "cell" : "hidden", " is null, the other is not.");
  if (batch == 0 || steps == 0) return;
  if (src.data == nullptr || dst.data == nullptr) fail(errc::null, "lstm: ", src.data == nullptr ? "src" : "dst", " is null.");
  buffer<T> own_hidden(state.hidden == nullptr ? batch * p.units : 0, static_cast<T>(p.dst_zero_point));
  buffer<std::int16_t> own_cell(state.cell == nullptr ? batch * p.units : 0), of_input(batch * steps * columns);
  buffer<std::int32_t> of_hidden(batch * columns);
  T* const hidden = state.hidden == nullptr ? own_hidden.data() : state.hidden;
  std::int16_t* const cell = state.cell == nullptr ? own_cell.data() : state.cell;
  auto const unit = unit_type::make(p);
  auto const at = [](auto const& v, index_t b, index_t t) { return v.data + b * v.stride[0] + t * v.stride[1]; };

  // Products with the input, all steps of a batch at once; row b * steps + t of of_input.
  [[maybe_unused]] isa const chosen = active_isa(options.max_isa);
  [[maybe_unused]] auto const wide_product = [&](T const* x, index_t depth, buffer<std::int16_t> const& rows, auto const& each) {
    index_t const padded = detail::round_up(depth, 32);
    buffer<std::int16_t> codes(padded);
    __builtin_memcpy(codes.data(), x, static_cast<std::size_t>(depth) * sizeof(T));
    for (index_t c = 0; c < columns; ++c) each(c, detail::dot16(chosen, codes.data(), rows.data() + c * padded, padded));
  };
  if constexpr (sizeof(T) == 1) {
    epilogue<typename C::rescaling> e{};
    e.lhs_zero_point = p.src_zero_point;
    e.bias = {layer.bias.data(), columns, 1};
    e.rescale = vector_view<rescale::multiplier_shift const>{layer.input_rescale.data(), columns, 1};
    for (index_t b = 0; b < batch; ++b)
      gemm(matrix_view<T const>{at(src, b, 0), steps, p.inputs, src.stride[1], 1}, layer.input, row_major(of_input.data() + b * steps * columns, steps, columns), e, options);
  } else {
    options.executor(batch * steps, [&](index_t row) {
      std::int16_t* const to = of_input.data() + row * columns;
      wide_product(at(src, row / steps, row % steps), p.inputs, layer.wide_input, [&](index_t c, std::int64_t acc) {
        acc = static_cast<std::int64_t>(static_cast<std::uint64_t>(acc) + static_cast<std::uint64_t>(layer.bias[c]));
        to[c] = static_cast<std::int16_t>(clamp(unit_type::rescaled(acc, layer.input_rescale[c]), -32768, 32767));
      });
    });
  }

  for (index_t t = 0; t < steps; ++t) {
    if constexpr (sizeof(T) == 1) {
      epilogue<typename C::rescaling> e{};
      e.lhs_zero_point = p.dst_zero_point;
      e.rescale = vector_view<rescale::multiplier_shift const>{layer.hidden_rescale.data(), columns, 1};
      gemm(row_major(static_cast<T const*>(hidden), batch, p.units), layer.hidden, row_major(of_hidden.data(), batch, columns), e, options);
    } else {
      for (index_t b = 0; b < batch; ++b)
        wide_product(hidden + b * p.units, p.units, layer.wide_hidden,
                     [&](index_t c, std::int64_t acc) { of_hidden[b * columns + c] = unit_type::rescaled(acc, layer.hidden_rescale[c]); });
    }
    for (index_t b = 0; b < batch; ++b) {
      std::int16_t const* const x = of_input.data() + (b * steps + t) * columns;
      std::int32_t const* const h = of_hidden.data() + b * columns;
      T* const y = at(dst, b, t);
      for (index_t u = 0; u < p.units; ++u) {
        auto const gate = [&](index_t g) { return unit_type::gate(x[g * p.units + u], h[g * p.units + u]); };
        y[u] = hidden[b * p.units + u] = unit.template operator()<T>(gate(0), gate(1), gate(2), gate(3), cell[b * p.units + u]);
      }
    }
  }
}

}  // inline namespace QUERN_ABI
}  // namespace quern
