// vector_madd.inl — vectors by 16-bit multiply-add: both sides are widened from 8 to 16 bits, so that nothing can saturate.
//
// Included once per instruction set, inside its target region and namespace, behind this vocabulary:
//   step                       bytes that one register holds as 16-bit words
//   words                      the register
//   widen<Signed>(p)           step bytes at p;  widen_last<Signed>(p, left, whole): the last `left` of them, zeros elsewhere
//   zero, one, add32, sub16, madd     sum1(words) -> int32, sum4(words x 4, int32*), has_sum16, sum16
//
// Why not vpmaddubsw with one side split into nibbles: it needs fewer shuffles, but per 64 bytes as many instructions as this
// where 512-bit code has two ports, and the split costs more than it saves for a single pair.

template <vector_op Op>
QUERN_INLINE words accumulate(words acc, words q, words c) {
  if constexpr (Op == vector_op::dot) return add32(acc, madd(q, c));
  words const d = sub16(q, c);
  return add32(acc, madd(d, d));
}

/// Q queries against C vectors.
template <vector_op Op, bool QuerySigned, bool CorpusSigned, int Q, int C>
QUERN_INLINE_BODY void block(std::uint8_t const* queries, index_t query_stride, std::uint8_t const* vectors, index_t stride, index_t n,
                        words (&acc)[Q][C]) {
#pragma GCC unroll 8
  for (int i = 0; i < Q; ++i)
#pragma GCC unroll 8
    for (int r = 0; r < C; ++r) acc[i][r] = zero();
  index_t k = 0;
  for (; k + step <= n; k += step) {
    words q[Q];
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i) q[i] = widen<QuerySigned>(queries + i * query_stride + k);
#pragma GCC unroll 8
    for (int r = 0; r < C; ++r) {
      words const c = widen<CorpusSigned>(vectors + r * stride + k);
#pragma GCC unroll 8
      for (int i = 0; i < Q; ++i) acc[i][r] = accumulate<Op>(acc[i][r], q[i], c);
    }
  }
  if (k < n) {
    bool const whole = n >= step;
    words q[Q];
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i) q[i] = widen_last<QuerySigned>(queries + i * query_stride + k, n - k, whole);
#pragma GCC unroll 8
    for (int r = 0; r < C; ++r) {
      words const c = widen_last<CorpusSigned>(vectors + r * stride + k, n - k, whole);
#pragma GCC unroll 8
      for (int i = 0; i < Q; ++i) acc[i][r] = accumulate<Op>(acc[i][r], q[i], c);
    }
  }
}

template <vector_op Op, bool QuerySigned, bool CorpusSigned>
std::int32_t pair(std::uint8_t const* a, std::uint8_t const* b, index_t n) {
  // Two chains: a multiply-add takes five cycles, its operands two.
  words acc[2] = {zero(), zero()};
  index_t k = 0;
  for (; k + 2 * step <= n; k += 2 * step) {
    acc[0] = accumulate<Op>(acc[0], widen<QuerySigned>(a + k), widen<CorpusSigned>(b + k));
    acc[1] = accumulate<Op>(acc[1], widen<QuerySigned>(a + k + step), widen<CorpusSigned>(b + k + step));
  }
  for (; k < n; k += step) {
    if (k + step <= n)
      acc[0] = accumulate<Op>(acc[0], widen<QuerySigned>(a + k), widen<CorpusSigned>(b + k));
    else
      acc[1] = accumulate<Op>(acc[1], widen_last<QuerySigned>(a + k, n - k, n >= step),
                              widen_last<CorpusSigned>(b + k, n - k, n >= step));
  }
  return sum1(add32(acc[0], acc[1]));
}

template <vector_op Op, bool QuerySigned, bool CorpusSigned>
void rows(std::uint8_t const* query, std::uint8_t const* vectors, index_t stride, index_t n, std::int32_t, std::int32_t* out) {
  words acc[1][vector_rows];
  block<Op, QuerySigned, CorpusSigned>(query, 0, vectors, stride, n, acc);
  sum4(acc[0][0], acc[0][1], acc[0][2], acc[0][3], out);
}

template <int Q>
QUERN_INLINE_BODY void finish_tile(words (&acc)[Q][vector_rows], std::int32_t* out, index_t out_stride) {
  if constexpr (has_sum16) {
    constexpr std::int32_t nothing[4] = {};
    sum16(acc, nothing, out, out_stride);
  } else {
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i) sum4(acc[i][0], acc[i][1], acc[i][2], acc[i][3], out + i * out_stride);
  }
}

template <vector_op Op, bool QuerySigned, bool CorpusSigned>
void tile(std::uint8_t const* queries, index_t query_stride, std::uint8_t const* vectors, index_t stride, index_t n,
          std::int32_t const*, std::int32_t* out, index_t out_stride) {
  words acc[tile_queries][vector_rows];
  block<Op, QuerySigned, CorpusSigned>(queries, query_stride, vectors, stride, n, acc);
  finish_tile(acc, out, out_stride);
}

template <bool Signed>
std::int32_t sum(std::uint8_t const* query, index_t n) {
  words acc = zero();
  index_t k = 0;
  for (; k + step <= n; k += step) acc = add32(acc, madd(widen<Signed>(query + k), one()));
  if (k < n) acc = add32(acc, madd(widen_last<Signed>(query + k, n - k, n >= step), one()));
  return sum1(acc);
}

inline std::int32_t correct(std::uint8_t const*, index_t) { return 0; }

template <vector_op Op, bool Q, bool C>
inline constexpr vector_kernels kernels = {target, tile_queries, pair<Op, Q, C>, rows<Op, Q, C>, tile<Op, Q, C>, correct, sum<Q>};
