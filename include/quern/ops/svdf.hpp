// svdf.hpp — TFLite's SVDF: a recurrent layer of rank-one filters over a sliding memory, for keyword spotting.
//
//     memory[b, f] is shifted by one, and its newest entry = sat(rescale(sum over i of (src[b, i] - zx) * feature[f, i]))
//     dst[b, u] = clamp(rescale(bias[u] + sum over the `rank` filters f of unit u, t of memory[b, f, t] * time[f, t]) + zy)
//
// Source: tensorflow/lite/micro/kernels/svdf_common.cc.
#pragma once

#include "../core/saturate.hpp"
#include "../rescale/gemmlowp_double.hpp"

namespace quern {

template <class Rescale = rescale::gemmlowp_double>
struct svdf_layer {
  index_t batch = 1, inputs = 0, filters = 0, rank = 1, memory = 0;
  std::int32_t input_zero_point = 0, output_zero_point = 0, min = -128, max = 127;
  typename Rescale::parameters feature_rescale{}, time_rescale{};

  /// @shapes  src batch x inputs, feature filters x inputs, time filters x memory, bias filters / rank or null, state
  ///          batch x filters x memory (kept between calls), dst batch x (filters / rank). @types T: int8 or int16. @errors none.
  template <class T>
  QUERN_INLINE void operator()(std::int8_t const* src, std::int8_t const* feature, T const* time, std::int32_t const* bias, T* state,
                               std::int8_t* dst) const noexcept {
    index_t const all = batch * filters * memory;
    for (index_t i = 0; i + 1 < all; ++i) state[i] = state[i + 1];  // newest entries are overwritten below
    for (index_t b = 0; b < batch; ++b)
      for (index_t f = 0; f < filters; ++f) {
        std::int32_t sum = 0;
        for (index_t i = 0; i < inputs; ++i) sum += (src[b * inputs + i] - input_zero_point) * feature[f * inputs + i];
        state[(b * filters + f) * memory + memory - 1] = saturate<T>(Rescale::apply(sum, feature_rescale));
      }
    index_t const units = filters / rank;
    for (index_t b = 0; b < batch; ++b)
      for (index_t u = 0; u < units; ++u) {
        std::int32_t sum = bias != nullptr ? bias[u] : 0;
        for (index_t r = 0; r < rank; ++r) {
          index_t const f = u * rank + r;
          for (index_t t = 0; t < memory; ++t) sum += static_cast<std::int32_t>(state[(b * filters + f) * memory + t]) * time[f * memory + t];
        }
        dst[b * units + u] = static_cast<std::int8_t>(clamp(Rescale::apply(sum, time_rescale) + output_zero_point, min, max));
      }
  }
};

}  // namespace quern
