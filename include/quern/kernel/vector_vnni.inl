// vector_vnni.inl — vectors by vpdpbusd, which multiplies unsigned by signed bytes and wraps instead of saturating.
//
// Where both sides have the same sign, the corpus byte has its top bit flipped (c + 128 or c - 128), and what that adds is
// undone with the sum of the query, which is known before the first vector is read:
//
//     s8·s8:  sum q c = sum (c + 128) q - 128 sum q          u8·u8:  sum q c = sum q (c - 128) + 128 sum q
//
// Intermediate sums may leave int32; they wrap, and the final one is right because it fits.
//
// The squared distance is the square of a byte: d = |a - b| <= 255, and d^2 = d (d - 128) + 128 d.
//
// Vocabulary of the instruction set: step, bytes, load(p), load_last(p, left, whole), flip(x), dp(acc, unsigned, signed),
// zero, one, add32, sub32, times128, distance<Signed>(a, b), sum1, sum4, has_sum16 and sum16 where four queries make a tile.

/// What the corpus byte becomes.
template <bool QuerySigned, bool CorpusSigned>
QUERN_INLINE bytes as_operand(bytes c) {
  if constexpr (QuerySigned == CorpusSigned)
    return flip(c);
  else
    return c;
}
template <bool QuerySigned>
QUERN_INLINE bytes products(bytes acc, bytes q, bytes c) {
  if constexpr (QuerySigned)
    return dp(acc, c, q);
  else
    return dp(acc, q, c);
}
template <bool Signed>
QUERN_INLINE bytes sums(bytes acc, bytes q) {
  if constexpr (Signed)
    return dp(acc, one(), q);
  else
    return dp(acc, q, one());
}

template <bool Signed>
std::int32_t sum(std::uint8_t const* query, index_t n) {
  bytes acc = zero();
  index_t k = 0;
  for (; k + step <= n; k += step) acc = sums<Signed>(acc, load(query + k));
  if (k < n) acc = sums<Signed>(acc, load_last(query + k, n - k, n >= step));
  return sum1(acc);
}

template <bool QuerySigned, bool CorpusSigned>
std::int32_t correct(std::uint8_t const* query, index_t n) {
  if constexpr (QuerySigned != CorpusSigned)
    return 0;
  else  // within 2^31: 32,768 * 255 * 128 < 2^30.1
    return (QuerySigned ? -128 : 128) * sum<QuerySigned>(query, n);
}

template <bool QuerySigned, bool CorpusSigned>
std::int32_t pair_dot(std::uint8_t const* a, std::uint8_t const* b, index_t n) {
  constexpr bool flipped = QuerySigned == CorpusSigned;
  // Four chains of products hide the five cycles of vpdpbusd; the sum of the query rides along on as many.
  bytes acc[4] = {zero(), zero(), zero(), zero()}, own[4] = {zero(), zero(), zero(), zero()};
  index_t k = 0;
  for (; k + 4 * step <= n; k += 4 * step)
#pragma GCC unroll 8
    for (int u = 0; u < 4; ++u) {
      bytes const q = load(a + k + u * step);
      acc[u] = products<QuerySigned>(acc[u], q, as_operand<QuerySigned, CorpusSigned>(load(b + k + u * step)));
      if constexpr (flipped) own[u] = sums<QuerySigned>(own[u], q);
    }
  for (; k + step <= n; k += step) {
    bytes const q = load(a + k);
    acc[0] = products<QuerySigned>(acc[0], q, as_operand<QuerySigned, CorpusSigned>(load(b + k)));
    if constexpr (flipped) own[0] = sums<QuerySigned>(own[0], q);
  }
  if (k < n) {
    bytes const q = load_last(a + k, n - k, n >= step);
    acc[1] = products<QuerySigned>(acc[1], q, as_operand<QuerySigned, CorpusSigned>(load_last(b + k, n - k, n >= step)));
    if constexpr (flipped) own[1] = sums<QuerySigned>(own[1], q);
  }
  bytes all = add32(add32(acc[0], acc[1]), add32(acc[2], acc[3]));
  if constexpr (flipped) {
    bytes const extra = times128(add32(add32(own[0], own[1]), add32(own[2], own[3])));
    all = QuerySigned ? sub32(all, extra) : add32(all, extra);
  }
  return sum1(all);
}

template <int Q, bool QuerySigned, bool CorpusSigned>
QUERN_INLINE_BODY void block(std::uint8_t const* queries, index_t query_stride, std::uint8_t const* vectors, index_t stride, index_t n,
                        bytes (&acc)[Q][vector_rows]) {
#pragma GCC unroll 8
  for (int i = 0; i < Q; ++i)
#pragma GCC unroll 8
    for (int r = 0; r < vector_rows; ++r) acc[i][r] = zero();
  index_t k = 0;
  for (; k + step <= n; k += step) {
    bytes q[Q];
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i) q[i] = load(queries + i * query_stride + k);
#pragma GCC unroll 8
    for (int r = 0; r < vector_rows; ++r) {
      bytes const c = as_operand<QuerySigned, CorpusSigned>(load(vectors + r * stride + k));
#pragma GCC unroll 8
      for (int i = 0; i < Q; ++i) acc[i][r] = products<QuerySigned>(acc[i][r], q[i], c);
    }
  }
  if (k < n) {
    bool const whole = n >= step;
    bytes q[Q];
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i) q[i] = load_last(queries + i * query_stride + k, n - k, whole);
#pragma GCC unroll 8
    for (int r = 0; r < vector_rows; ++r) {
      bytes const c = as_operand<QuerySigned, CorpusSigned>(load_last(vectors + r * stride + k, n - k, whole));
#pragma GCC unroll 8
      for (int i = 0; i < Q; ++i) acc[i][r] = products<QuerySigned>(acc[i][r], q[i], c);
    }
  }
}

template <bool QuerySigned, bool CorpusSigned>
void rows_dot(std::uint8_t const* query, std::uint8_t const* vectors, index_t stride, index_t n, std::int32_t correction,
              std::int32_t* out) {
  // Two steps at a time on eight chains: four alone would wait for their own results.
  bytes even[vector_rows], odd[vector_rows];
#pragma GCC unroll 8
  for (int r = 0; r < vector_rows; ++r) even[r] = odd[r] = zero();
  index_t k = 0;
  for (; k + 2 * step <= n; k += 2 * step) {
    bytes const q0 = load(query + k), q1 = load(query + k + step);
#pragma GCC unroll 8
    for (int r = 0; r < vector_rows; ++r) {
      std::uint8_t const* const c = vectors + r * stride + k;
      even[r] = products<QuerySigned>(even[r], q0, as_operand<QuerySigned, CorpusSigned>(load(c)));
      odd[r] = products<QuerySigned>(odd[r], q1, as_operand<QuerySigned, CorpusSigned>(load(c + step)));
    }
  }
  for (bool const whole = n >= step; k < n; k += step) {
    bool const full = k + step <= n;
    bytes const q = full ? load(query + k) : load_last(query + k, n - k, whole);
#pragma GCC unroll 8
    for (int r = 0; r < vector_rows; ++r) {
      std::uint8_t const* const c = vectors + r * stride + k;
      even[r] = products<QuerySigned>(even[r], q, as_operand<QuerySigned, CorpusSigned>(full ? load(c) : load_last(c, n - k, whole)));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < vector_rows; ++r) even[r] = add32(even[r], odd[r]);
  sum4(even[0], even[1], even[2], even[3], out);
#pragma GCC unroll 8
  for (int r = 0; r < vector_rows; ++r)
    out[r] = static_cast<std::int32_t>(static_cast<std::uint32_t>(out[r]) + static_cast<std::uint32_t>(correction));
}

template <int Q>
QUERN_INLINE_BODY void finish_tile(bytes (&acc)[Q][vector_rows], std::int32_t const* corrections, std::int32_t* out, index_t out_stride) {
  if constexpr (has_sum16) {
    sum16(acc, corrections, out, out_stride);
  } else {
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i) {
      std::int32_t* const o = out + i * out_stride;
      sum4(acc[i][0], acc[i][1], acc[i][2], acc[i][3], o);
      for (int r = 0; r < vector_rows; ++r)
        o[r] = static_cast<std::int32_t>(static_cast<std::uint32_t>(o[r]) + static_cast<std::uint32_t>(corrections[i]));
    }
  }
}

template <bool QuerySigned, bool CorpusSigned>
void tile_dot(std::uint8_t const* queries, index_t query_stride, std::uint8_t const* vectors, index_t stride, index_t n,
              std::int32_t const* corrections, std::int32_t* out, index_t out_stride) {
  bytes acc[tile_queries][vector_rows];
  block<tile_queries, QuerySigned, CorpusSigned>(queries, query_stride, vectors, stride, n, acc);
  finish_tile(acc, corrections, out, out_stride);
}

/// Squared distances of one query and C vectors; `whole`: a register's worth of bytes lies before the end.
template <bool Signed, int C>
QUERN_INLINE_BODY void block_l2(std::uint8_t const* query, std::uint8_t const* vectors, index_t stride, index_t n, bool whole,
                           bytes (&acc)[C], bytes (&plain)[C]) {
#pragma GCC unroll 8
  for (int r = 0; r < C; ++r) acc[r] = plain[r] = zero();
  index_t k = 0;
  for (; k + step <= n; k += step) {
    bytes const q = load(query + k);
#pragma GCC unroll 8
    for (int r = 0; r < C; ++r) {
      bytes const d = distance<Signed>(q, load(vectors + r * stride + k));
      acc[r] = dp(acc[r], d, flip(d));
      plain[r] = dp(plain[r], d, one());
    }
  }
  if (k < n) {
    bytes const q = load_last(query + k, n - k, whole);
#pragma GCC unroll 8
    for (int r = 0; r < C; ++r) {
      bytes const d = distance<Signed>(q, load_last(vectors + r * stride + k, n - k, whole));
      acc[r] = dp(acc[r], d, flip(d));
      plain[r] = dp(plain[r], d, one());
    }
  }
}
QUERN_INLINE std::int32_t square(std::int32_t product, std::int32_t plain) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(product) + 128u * static_cast<std::uint32_t>(plain));
}

template <bool Signed>
std::int32_t pair_l2(std::uint8_t const* a, std::uint8_t const* b, index_t n) {
  bytes acc[2] = {zero(), zero()}, plain[2] = {zero(), zero()};
  index_t k = 0;
  for (; k + 2 * step <= n; k += 2 * step)
#pragma GCC unroll 2
    for (int u = 0; u < 2; ++u) {
      bytes const d = distance<Signed>(load(a + k + u * step), load(b + k + u * step));
      acc[u] = dp(acc[u], d, flip(d));
      plain[u] = dp(plain[u], d, one());
    }
  bytes rest[1], plain_rest[1];
  block_l2<Signed>(a + k, b + k, 0, n - k, n >= step, rest, plain_rest);
  return square(sum1(add32(add32(acc[0], acc[1]), rest[0])), sum1(add32(add32(plain[0], plain[1]), plain_rest[0])));
}
template <bool Signed>
void rows_l2(std::uint8_t const* query, std::uint8_t const* vectors, index_t stride, index_t n, std::int32_t, std::int32_t* out) {
  bytes acc[vector_rows], plain[vector_rows];
  std::int32_t extra[vector_rows];
  block_l2<Signed>(query, vectors, stride, n, n >= step, acc, plain);
  sum4(acc[0], acc[1], acc[2], acc[3], out);
  sum4(plain[0], plain[1], plain[2], plain[3], extra);
  for (int r = 0; r < vector_rows; ++r) out[r] = square(out[r], extra[r]);
}
template <bool Signed>
void tile_l2(std::uint8_t const* queries, index_t query_stride, std::uint8_t const* vectors, index_t stride, index_t n,
             std::int32_t const*, std::int32_t* out, index_t out_stride) {
  for (int i = 0; i < tile_queries; ++i)
    rows_l2<Signed>(queries + i * query_stride, vectors, stride, n, 0, out + i * out_stride);
}
inline std::int32_t correct_l2(std::uint8_t const*, index_t) { return 0; }

template <vector_op Op, bool Q, bool C>
inline constexpr vector_kernels kernels = {target, tile_queries, pair_dot<Q, C>, rows_dot<Q, C>, tile_dot<Q, C>, correct<Q, C>, sum<Q>};
template <bool Q, bool C>
inline constexpr vector_kernels kernels<vector_op::squared_l2, Q, C> = {target,     tile_queries, pair_l2<Q>, rows_l2<Q>,
                                                                        tile_l2<Q>, correct_l2,   sum<Q>};
