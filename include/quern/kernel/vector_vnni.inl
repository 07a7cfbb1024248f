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
// zero, one, add32, distance<Signed>(a, b), sum1, sum4.

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
  // Four chains of products hide the five cycles of vpdpbusd; the sum of the query rides along on two more.
  bytes acc[4] = {zero(), zero(), zero(), zero()}, own[2] = {zero(), zero()};
  index_t k = 0;
  for (; k + 4 * step <= n; k += 4 * step)
    for (int u = 0; u < 4; ++u) {
      bytes const q = load(a + k + u * step);
      acc[u] = products<QuerySigned>(acc[u], q, as_operand<QuerySigned, CorpusSigned>(load(b + k + u * step)));
      if constexpr (flipped) own[u & 1] = sums<QuerySigned>(own[u & 1], q);
    }
  for (int u = 0; k < n; k += step, u = (u + 1) & 3) {
    bool const full = k + step <= n, whole = n >= step;
    bytes const q = full ? load(a + k) : load_last(a + k, n - k, whole);
    bytes const c = full ? load(b + k) : load_last(b + k, n - k, whole);
    acc[u] = products<QuerySigned>(acc[u], q, as_operand<QuerySigned, CorpusSigned>(c));
    if constexpr (flipped) own[u & 1] = sums<QuerySigned>(own[u & 1], q);
  }
  auto const raw = static_cast<std::uint32_t>(sum1(add32(add32(acc[0], acc[1]), add32(acc[2], acc[3]))));
  if constexpr (!flipped) return static_cast<std::int32_t>(raw);
  auto const extra = static_cast<std::uint32_t>(sum1(add32(own[0], own[1]))) * 128u;
  return static_cast<std::int32_t>(QuerySigned ? raw - extra : raw + extra);
}

template <int Q, bool QuerySigned, bool CorpusSigned>
QUERN_INLINE void block(std::uint8_t const* queries, index_t query_stride, std::uint8_t const* vectors, index_t stride, index_t n,
                        bytes (&acc)[Q][vector_rows]) {
  for (int i = 0; i < Q; ++i)
    for (int r = 0; r < vector_rows; ++r) acc[i][r] = zero();
  index_t k = 0;
  for (; k + step <= n; k += step) {
    bytes q[Q];
    for (int i = 0; i < Q; ++i) q[i] = load(queries + i * query_stride + k);
    for (int r = 0; r < vector_rows; ++r) {
      bytes const c = as_operand<QuerySigned, CorpusSigned>(load(vectors + r * stride + k));
      for (int i = 0; i < Q; ++i) acc[i][r] = products<QuerySigned>(acc[i][r], q[i], c);
    }
  }
  if (k < n) {
    bool const whole = n >= step;
    bytes q[Q];
    for (int i = 0; i < Q; ++i) q[i] = load_last(queries + i * query_stride + k, n - k, whole);
    for (int r = 0; r < vector_rows; ++r) {
      bytes const c = as_operand<QuerySigned, CorpusSigned>(load_last(vectors + r * stride + k, n - k, whole));
      for (int i = 0; i < Q; ++i) acc[i][r] = products<QuerySigned>(acc[i][r], q[i], c);
    }
  }
}

template <bool QuerySigned, bool CorpusSigned>
void rows_dot(std::uint8_t const* query, std::uint8_t const* vectors, index_t stride, index_t n, std::int32_t correction,
              std::int32_t* out) {
  // Two steps at a time on eight chains: four alone would wait for their own results.
  bytes even[vector_rows], odd[vector_rows];
  for (int r = 0; r < vector_rows; ++r) even[r] = odd[r] = zero();
  index_t k = 0;
  for (; k + 2 * step <= n; k += 2 * step) {
    bytes const q0 = load(query + k), q1 = load(query + k + step);
    for (int r = 0; r < vector_rows; ++r) {
      std::uint8_t const* const c = vectors + r * stride + k;
      even[r] = products<QuerySigned>(even[r], q0, as_operand<QuerySigned, CorpusSigned>(load(c)));
      odd[r] = products<QuerySigned>(odd[r], q1, as_operand<QuerySigned, CorpusSigned>(load(c + step)));
    }
  }
  for (bool const whole = n >= step; k < n; k += step) {
    bool const full = k + step <= n;
    bytes const q = full ? load(query + k) : load_last(query + k, n - k, whole);
    for (int r = 0; r < vector_rows; ++r) {
      std::uint8_t const* const c = vectors + r * stride + k;
      even[r] = products<QuerySigned>(even[r], q, as_operand<QuerySigned, CorpusSigned>(full ? load(c) : load_last(c, n - k, whole)));
    }
  }
  for (int r = 0; r < vector_rows; ++r) even[r] = add32(even[r], odd[r]);
  sum4(even[0], even[1], even[2], even[3], out);
  for (int r = 0; r < vector_rows; ++r)
    out[r] = static_cast<std::int32_t>(static_cast<std::uint32_t>(out[r]) + static_cast<std::uint32_t>(correction));
}

template <bool QuerySigned, bool CorpusSigned>
void tile_dot(std::uint8_t const* queries, index_t query_stride, std::uint8_t const* vectors, index_t stride, index_t n,
              std::int32_t const* corrections, std::int32_t* out, index_t out_stride) {
  bytes acc[tile_queries][vector_rows];
  block<tile_queries, QuerySigned, CorpusSigned>(queries, query_stride, vectors, stride, n, acc);
  for (int i = 0; i < tile_queries; ++i) {
    std::int32_t* const o = out + i * out_stride;
    sum4(acc[i][0], acc[i][1], acc[i][2], acc[i][3], o);
    for (int r = 0; r < vector_rows; ++r)
      o[r] = static_cast<std::int32_t>(static_cast<std::uint32_t>(o[r]) + static_cast<std::uint32_t>(corrections[i]));
  }
}

template <bool Signed>
std::int32_t pair_l2(std::uint8_t const* a, std::uint8_t const* b, index_t n) {
  bytes acc[2] = {zero(), zero()}, plain[2] = {zero(), zero()};
  index_t k = 0;
  for (int u = 0; k < n; k += step, u ^= 1) {
    bool const full = k + step <= n, whole = n >= step;
    bytes const x = full ? load(a + k) : load_last(a + k, n - k, whole);
    bytes const y = full ? load(b + k) : load_last(b + k, n - k, whole);
    bytes const d = distance<Signed>(x, y);
    acc[u] = dp(acc[u], d, flip(d));
    plain[u] = dp(plain[u], d, one());
  }
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(sum1(add32(acc[0], acc[1]))) +
                                   128u * static_cast<std::uint32_t>(sum1(add32(plain[0], plain[1]))));
}

template <bool Signed>
void rows_l2(std::uint8_t const* query, std::uint8_t const* vectors, index_t stride, index_t n, std::int32_t, std::int32_t* out) {
  for (int r = 0; r < vector_rows; ++r) out[r] = pair_l2<Signed>(query, vectors + r * stride, n);
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
