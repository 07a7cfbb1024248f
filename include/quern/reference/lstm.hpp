// lstm.hpp — the definition of the integer LSTM, unit by unit. The arithmetic of a unit is fixed_point/lstm.hpp's.
#pragma once

#include "../core/shape.hpp"
#include "../fixed_point/lstm.hpp"

namespace quern::reference {
inline namespace QUERN_ABI {

/// src batch x steps x inputs, dst batch x steps x units; hidden and cell are batch x units, and are what the last step left afterwards.
template <class Unit, class T>
void lstm(nd_view<T const> src, fixed_point::lstm_params<T> const& p, nd_view<T> dst, T* hidden, std::int16_t* cell) {
  using bias_type = typename fixed_point::lstm_gate<T>::bias_type;
  auto const unit = Unit::make(p);
  index_t const steps = src.extents.dim[1];
  for (index_t b = 0; b < src.extents.dim[0]; ++b)
    for (index_t t = 0; t < steps; ++t) {
      for (index_t u = 0; u < p.units; ++u) {
        auto const gate = [&](fixed_point::lstm_gate<T> const& g) {
          bias_type x = g.bias != nullptr ? g.bias[u] : 0, h = 0;
          for (index_t i = 0; i < p.inputs; ++i)
            x += bias_type{src.data[b * src.stride[0] + t * src.stride[1] + i * src.stride[2]] - p.src_zero_point} * g.input[u * p.inputs + i];
          for (index_t i = 0; i < p.units; ++i) h += bias_type{hidden[b * p.units + i] - p.dst_zero_point} * g.hidden[u * p.units + i];
          return Unit::gate(static_cast<std::int16_t>(clamp(Unit::rescaled(x, g.input_rescale), -32768, 32767)), Unit::rescaled(h, g.hidden_rescale));
        };
        dst.data[b * dst.stride[0] + t * dst.stride[1] + u * dst.stride[2]] =
            unit.template operator()<T>(gate(p.forget), gate(p.input), gate(p.cell), gate(p.output), cell[b * p.units + u]);
      }
      for (index_t u = 0; u < p.units; ++u) hidden[b * p.units + u] = dst.data[b * dst.stride[0] + t * dst.stride[1] + u * dst.stride[2]];
    }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::reference
