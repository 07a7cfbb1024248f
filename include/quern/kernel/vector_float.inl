// vector_float.inl — a float query against int8 vectors, in the order of additions that vector_portable.hpp defines.
//
// Included once per instruction set behind: lanes (floats in a register), floats, load(p), codes<Signed>(p): `lanes` bytes as
// floats, zero, muladd(acc, a, b): round(round(a * b) + acc), fold(registers): the sum of 32 lanes in halves.

template <bool Signed>
void float_dots(float const* query, std::uint8_t const* vectors, index_t stride, index_t rows, index_t n, float* out) {
  constexpr int registers = float_lanes / lanes;
  for (index_t r = 0; r < rows; ++r) {
    std::uint8_t const* const v = vectors + r * stride;
    floats acc[registers];
    for (int i = 0; i < registers; ++i) acc[i] = zero_float();
    index_t k = 0;
    for (; k + float_lanes <= n; k += float_lanes)
      for (int i = 0; i < registers; ++i) acc[i] = muladd(acc[i], load(query + k + i * lanes), codes<Signed>(v + k + i * lanes));
    if (k < n) {
      float q[float_lanes] = {};
      std::uint8_t c[float_lanes] = {};
      for (index_t i = 0; k + i < n; ++i) q[i] = query[k + i], c[i] = v[k + i];
      for (int i = 0; i < registers; ++i) acc[i] = muladd(acc[i], load(q + i * lanes), codes<Signed>(c + i * lanes));
    }
    out[r] = fold(acc);
  }
}
