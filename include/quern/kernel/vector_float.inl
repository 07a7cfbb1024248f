// vector_float.inl — a float query against int8 vectors, in the order of additions that vector_portable.hpp defines.
//
// Included once per instruction set behind: lanes (floats in a register), float_rows
// (vectors at a time: eight registers of sums hide the latency of an addition), floats, load(p), codes<Signed>(p): `lanes` bytes as
// floats, zero, muladd(acc, a, b): round(round(a * b) + acc), fold(registers): the sum of 32 lanes in halves.

template <bool Signed, int R>
QUERN_INLINE_BODY void float_block(float const* query, std::uint8_t const* vectors, index_t stride, index_t n, float* out) {
  constexpr int registers = float_lanes / lanes;
  floats acc[R][registers];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int i = 0; i < registers; ++i) acc[r][i] = zero_float();
  index_t k = 0;
  for (; k + float_lanes <= n; k += float_lanes)
#pragma GCC unroll 8
    for (int i = 0; i < registers; ++i) {
      floats const q = load(query + k + i * lanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[r][i] = muladd(acc[r][i], q, codes<Signed>(vectors + r * stride + k + i * lanes));
    }
  if (k < n) {
    float q[float_lanes] = {};
    for (index_t i = 0; k + i < n; ++i) q[i] = query[k + i];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      std::uint8_t c[float_lanes] = {};
      for (index_t i = 0; k + i < n; ++i) c[i] = vectors[r * stride + k + i];
#pragma GCC unroll 8
      for (int i = 0; i < registers; ++i) acc[r][i] = muladd(acc[r][i], load(q + i * lanes), codes<Signed>(c + i * lanes));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) out[r] = fold(acc[r]);
}

template <bool Signed>
void float_dots(float const* query, std::uint8_t const* vectors, index_t stride, index_t rows, index_t n, float* out) {
  index_t r = 0;
  for (; r + float_rows <= rows; r += float_rows) float_block<Signed, float_rows>(query, vectors + r * stride, stride, n, out + r);
  for (; r < rows; ++r) float_block<Signed, 1>(query, vectors + r * stride, stride, n, out + r);
}
