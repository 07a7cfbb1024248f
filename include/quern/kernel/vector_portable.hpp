// vector_portable.hpp — the kernels of ops/vector.hpp: what they compute, in plain C++.
//
// A kernel compares q vectors of the query side with c of the corpus side, n bytes each, and writes int32. Within
// vector_block elements every sum fits: 32,768 * 255^2 = 2,130,739,200 < 2^31. Elements of a vector are adjacent; the vectors
// of a side are `stride` bytes apart. Bytes are passed as std::uint8_t whatever their sign, which is a template argument.
//
// The bodies for x86 are vector_madd.inl and vector_vnni.inl; all of them return the same integers as this one.
#pragma once

#include "../core/integers.hpp"
#include "../core/math.hpp"
#include "../cpu/isa.hpp"

QUERN_FP_BEGIN

namespace quern {
namespace detail {

/// What is summed: a * b, or (a - b)^2.
enum class vector_op : signed char { dot, squared_l2 };

/// Longer vectors are cut into blocks of this many elements, whose int32 sums are added in int64.
inline constexpr index_t vector_block = 32768;

/// Four corpus vectors at a time: what a reduction to four int32 in one register takes.
inline constexpr int vector_rows = 4;

/// The kernels of one instruction set, for one operation and one pair of types.
struct vector_kernels {
  isa target = isa::baseline;
  int queries = 1;  ///< query vectors of a tile
  /// Sum over n elements of two vectors.
  std::int32_t (*pair)(std::uint8_t const* a, std::uint8_t const* b, index_t n) = nullptr;
  /// out[r] for one query and vector_rows vectors. `correction` is what `correct` returned for the query.
  void (*rows)(std::uint8_t const* query, std::uint8_t const* vectors, index_t stride, index_t n, std::int32_t correction,
               std::int32_t* out) = nullptr;
  /// out[i * out_stride + r] for `queries` queries and vector_rows vectors.
  void (*tile)(std::uint8_t const* queries, index_t query_stride, std::uint8_t const* vectors, index_t stride, index_t n,
               std::int32_t const* corrections, std::int32_t* out, index_t out_stride) = nullptr;
  /// What rows and tile must be given for a query; 0 where they need nothing.
  std::int32_t (*correct)(std::uint8_t const* query, index_t n) = nullptr;
  /// Sum of the elements of a query, exact up to vector_block of them.
  std::int32_t (*sum)(std::uint8_t const* query, index_t n) = nullptr;
};

inline namespace QUERN_ABI {
namespace vectors_portable {

template <bool Signed>
QUERN_INLINE std::int32_t element(std::uint8_t x) noexcept {
  if constexpr (Signed)
    return static_cast<std::int8_t>(x);
  else
    return x;
}

template <vector_op Op, bool QuerySigned, bool CorpusSigned>
std::int32_t pair(std::uint8_t const* a, std::uint8_t const* b, index_t n) {
  std::int32_t sum = 0;
  for (index_t i = 0; i < n; ++i) {
    std::int32_t const x = element<QuerySigned>(a[i]), y = element<CorpusSigned>(b[i]);
    sum += Op == vector_op::dot ? x * y : (x - y) * (x - y);
  }
  return sum;
}

template <vector_op Op, bool QuerySigned, bool CorpusSigned>
void rows(std::uint8_t const* query, std::uint8_t const* vectors, index_t stride, index_t n, std::int32_t, std::int32_t* out) {
  for (int r = 0; r < vector_rows; ++r) out[r] = pair<Op, QuerySigned, CorpusSigned>(query, vectors + r * stride, n);
}

template <vector_op Op, bool QuerySigned, bool CorpusSigned>
void tile(std::uint8_t const* queries, index_t, std::uint8_t const* vectors, index_t stride, index_t n, std::int32_t const*,
          std::int32_t* out, index_t) {
  rows<Op, QuerySigned, CorpusSigned>(queries, vectors, stride, n, 0, out);
}

inline std::int32_t correct(std::uint8_t const*, index_t) { return 0; }

template <bool Signed>
std::int32_t sum(std::uint8_t const* query, index_t n) {
  std::int32_t s = 0;
  for (index_t i = 0; i < n; ++i) s += element<Signed>(query[i]);
  return s;
}

template <vector_op Op, bool Q, bool C>
inline constexpr vector_kernels kernels = {isa::baseline, 1, pair<Op, Q, C>, rows<Op, Q, C>, tile<Op, Q, C>, correct, sum<Q>};

/// Sum of query[i] * code[i] in float, in an order that every instruction set can keep: 32 partial sums, element i going to
/// sum i mod 32 as round(round(query[i] * code[i]) + sum), zeros up to a multiple of 32, then folded in halves: 16, 8, 4, 2, 1.
inline constexpr int float_lanes = 32;

template <bool Signed>
void float_dots(float const* query, std::uint8_t const* vectors, index_t stride, index_t rows, index_t n, float* out) {
  for (index_t r = 0; r < rows; ++r) {
    float sum[float_lanes] = {};
    index_t const padded = (n + float_lanes - 1) / float_lanes * float_lanes;
    for (index_t i = 0; i < padded; ++i) {
      float const product = i < n ? query[i] * static_cast<float>(element<Signed>(vectors[r * stride + i])) : 0.0f;
      sum[i % float_lanes] = rounded(product) + sum[i % float_lanes];
    }
    for (int half = float_lanes / 2; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) sum[i] += sum[i + half];
    out[r] = sum[0];
  }
}

}  // namespace vectors_portable

using vectors_portable::float_lanes;
/// A float query against `rows` vectors.
using float_dots_kernel = void (*)(float const* query, std::uint8_t const* vectors, index_t stride, index_t rows, index_t n, float* out);

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern

QUERN_FP_END
