// depthwise.inl — the loops of a depthwise kernel. Included once per instruction set, in its namespace, inside its target region.
//
// `Dot` is the instruction: `columns` channels a vector, `weight_bytes` for sixteen channels of a group of four rows, and how a
// group adds to an accumulator. All loops over taps are unrolled where their number is known, so that the
// weights of 16 channels stay in registers while the pixels of a row pass by.

/// acc[x][0..15] = init + sum over taps t of activations at (x, offset[t]) * weights[t], for `pixels` consecutive x.
template <class Dot, int Taps>
inline void depthwise_taps(unsigned char const* from, index_t const* offset, index_t plane, int taps, unsigned char const* weights, std::int32_t const* init,
                           index_t pixels, std::int32_t* acc) {
  constexpr int vectors = 16 / Dot::columns;
  for (int v = 0; v < vectors; ++v) {
    auto const start = Dot::load_acc(init + v * Dot::columns);
    if constexpr (Taps > 0) {
      typename Dot::weight w[Taps];
#pragma GCC unroll 16
      for (int t = 0; t < Taps; ++t) w[t] = Dot::load_weight(weights + t * Dot::weight_bytes, v);
      for (index_t x = 0; x < pixels; ++x) {
        unsigned char const* const p = from + x * 64;
        auto c = start;
#pragma GCC unroll 16
        for (int t = 0; t < Taps; ++t) c = Dot::dot(c, p + offset[t], plane, v, w[t]);
        Dot::store_acc(acc + x * 16 + v * Dot::columns, c);
      }
    } else {
      for (index_t x = 0; x < pixels; ++x) {
        unsigned char const* const p = from + x * 64;
        auto c = start;
        for (int t = 0; t < taps; ++t) c = Dot::dot(c, p + offset[t], plane, v, Dot::load_weight(weights + t * Dot::weight_bytes, v));
        Dot::store_acc(acc + x * 16 + v * Dot::columns, c);
      }
    }
  }
}

template <class Dot>
inline void depthwise(unsigned char const* from, index_t const* offset, index_t plane, int taps, unsigned char const* weights, std::int32_t const* init,
                      index_t pixels, std::int32_t* acc) {
  switch (taps) {
    case 1: return depthwise_taps<Dot, 1>(from, offset, plane, taps, weights, init, pixels, acc);
    case 2: return depthwise_taps<Dot, 2>(from, offset, plane, taps, weights, init, pixels, acc);
    case 3: return depthwise_taps<Dot, 3>(from, offset, plane, taps, weights, init, pixels, acc);
    case 10: if constexpr (Dot::columns == 16) return depthwise_taps<Dot, 10>(from, offset, plane, taps, weights, init, pixels, acc); [[fallthrough]];
    default: return depthwise_taps<Dot, 0>(from, offset, plane, taps, weights, init, pixels, acc);
  }
}
