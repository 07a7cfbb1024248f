// tile.inl — the loop of every kernel but AMX's. Included once per instruction set, in its namespace, inside its target region.
//
// `Dot` is the instruction: columns of rhs in one vector, bytes of lhs in four k, how to load both, and the product. Accumulators
// are `vec`. Everything in the loops is a constant, so that all of c lives in registers; c[s] are S independent chains, which a
// tile of few rows needs to hide the latency of its one instruction (5 cycles x 2 ports = 10 chains).

/// What moves with the tiles of a job.
struct tile_place {
  unsigned char const* lhs;
  std::int32_t const* init;
  std::int32_t* acc;
  unsigned char* dst;
  float const* scales;

  unsigned char const* rhs;

  QUERN_INLINE static tile_place of(kernel::tile_job const& job) { return {job.lhs, job.init, job.acc, job.dst, job.scales, job.rhs}; }
  /// To the next of job.count tiles of so many rows and panels.
  QUERN_INLINE void next(kernel::tile_job const& job, int rows, int panels) {
    index_t const down = job.across ? 0 : rows, right = job.across ? 16 * panels : 0;
    lhs += down * job.lhs_stride;
    init += down * job.init_ld + right;
    rhs += right / 16 * job.panel_bytes;
    if (job.scaling == nullptr) {
      acc += down * job.ld + right;
    } else {
      dst += down * job.scaling->stride + right;
      scales += right;
    }
  }
};

/// Where one accumulator is one column they start from init; else from zero, and init is added when they are folded.
template <class Dot, int S, int M, int V>
QUERN_INLINE_BODY void start(vec (&c)[S][M][V], int pass, kernel::tile_job const& job, std::int32_t const* init) {
#pragma GCC unroll 16
  for (int r = 0; r < M; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      c[0][r][v] = Dot::partial_sums == 1 ? load(init + (pass * V + v) * Dot::columns) : zero();
#pragma GCC unroll 16
      for (int s = 1; s < S; ++s) c[s][r][v] = zero();
    }
    init += job.init_ld;
  }
}

/// Whether tiles can store the first columns of a row only. One pass a tile then.
template <class Dot>
inline constexpr bool stores_first = requires { Dot::first(1); };
/// Which columns of W vectors those are, asked for once a tile: after each store a compiler would look at job.live again.
template <class Dot, int W>
struct first_columns {
  decltype(Dot::first(1)) of[W];
  QUERN_INLINE explicit first_columns(int live) {
#pragma GCC unroll 4
    for (int w = 0; w < W; ++w) of[w] = Dot::first(live - w * 16);
  }
};
template <class Dot, int W>
  requires(!stores_first<Dot>)
struct first_columns<Dot, W> {
  QUERN_INLINE explicit first_columns(int) {}
};

/// Four vectors at a time become the `lanes` columns of up to four rows.
template <class Dot, int W, bool Masked, int M, int V>
QUERN_INLINE_BODY void store_scaled(vec (&x)[M][V], int column, kernel::tile_job const& job, tile_place const& at) {
  kernel::tile_scaling const& s = *job.scaling;
  index_t const stride = s.stride;
  simd::words const shift = simd::broadcast_word(s.shift);
  simd::f32s scale[W];
#pragma GCC unroll 4
  for (int w = 0; w < W; ++w) scale[w] = simd::load(at.scales + column + w * simd::lanes);
  unsigned char* dst = at.dst + column;
  [[maybe_unused]] first_columns<Dot, W> const those(job.live);
#pragma GCC unroll 16
  for (int g = 0; g < M * W; g += 4) {
    simd::i32s q[4];
    unsigned char* to[4];
#pragma GCC unroll 4
    for (int z = 0; z < 4; ++z) {
      int const i = g + z < M * W ? g + z : M * W - 1;
      q[z] = simd::to_i32(simd::mul(simd::to_f32(simd::i32s{x[i / W][i % W]}), scale[i % W]));
      if (g + z == i && i > 0 && i % W == 0) dst += stride;
      to[z] = dst + i % W * simd::lanes;
    }
    simd::bytes out = simd::pack_signed(simd::adds(simd::pack_signed(q[0], q[1]), shift), simd::adds(simd::pack_signed(q[2], q[3]), shift));
    if (s.clamped) {
      out = simd::min_signed(simd::max_signed(out, simd::broadcast_byte(s.lo)), simd::broadcast_byte(s.hi));
      out = simd::bit_xor(out, simd::broadcast_byte(s.flip));
    }
    if constexpr (Masked) {
      Dot::template store_first<0>(to[0], out, those.of[g % W]);
      if (g + 1 < M * W) Dot::template store_first<1>(to[1], out, those.of[(g + 1) % W]);
      if (g + 2 < M * W) Dot::template store_first<2>(to[2], out, those.of[(g + 2) % W]);
      if (g + 3 < M * W) Dot::template store_first<3>(to[3], out, those.of[(g + 3) % W]);
    } else if constexpr (W % 2 == 0) {
      simd::store_half<0>(to[0], out);
      if (g + 2 < M * W) simd::store_half<1>(to[2], out);
    } else {
      simd::store_quarter<0>(to[0], out);
      if (g + 1 < M * W) simd::store_quarter<1>(to[1], out);
      if (g + 2 < M * W) simd::store_quarter<2>(to[2], out);
      if (g + 3 < M * W) simd::store_quarter<3>(to[3], out);
    }
  }
}

template <class Dot, int S, int M, int V>
QUERN_INLINE_BODY void finish(vec (&c)[S][M][V], int pass, kernel::tile_job const& job, tile_place const& at) {
  constexpr int W = V / Dot::partial_sums;
  int const column = pass * W * simd::lanes;
  std::int32_t const* init = at.init + column;
#pragma GCC unroll 16
  for (int r = 0; r < M; ++r) {
#pragma GCC unroll 16
    for (int w = 0; w < W; ++w) {
      int const v = w * Dot::partial_sums;
#pragma GCC unroll 16
      for (int s = 1; s < S; ++s)
#pragma GCC unroll 4
        for (int f = 0; f < Dot::partial_sums; ++f) c[0][r][v + f] = add(c[0][r][v + f], c[s][r][v + f]);
      if constexpr (Dot::partial_sums == 2) c[0][r][w] = add(load(init + w * simd::lanes), Dot::folded(c[0][r][v], c[0][r][v + 1]));
    }
    init += job.init_ld;
  }
  if (job.scaling != nullptr) {
    if constexpr (stores_first<Dot>)
      if (job.live != 0) return store_scaled<Dot, W, true>(c[0], column, job, at);
    return store_scaled<Dot, W, false>(c[0], column, job, at);
  }
  std::int32_t* acc = at.acc + column;
  index_t const ld = job.ld;
  if constexpr (stores_first<Dot>)
    if (job.live != 0) {
      first_columns<Dot, W> const those(job.live);
#pragma GCC unroll 16
      for (int r = 0; r < M; ++r, acc += ld)
#pragma GCC unroll 16
        for (int w = 0; w < W; ++w) Dot::store_first(acc + w * simd::lanes, c[0][r][w], those.of[w]);
      return;
    }
#pragma GCC unroll 16
  for (int r = 0; r < M; ++r) {
#pragma GCC unroll 16
    for (int w = 0; w < W; ++w) store(acc + w * simd::lanes, c[0][r][w]);
    acc += ld;
  }
}

/// Where the rows of lhs are: three pointers and two distances reach twelve with x86's scaled addresses.
template <int M>
struct lhs_pointers {
  unsigned char const *a, *b, *c;
  index_t stride, three;

  QUERN_INLINE lhs_pointers(unsigned char const* p, index_t s) : a(p), b(M > 4 ? p + 4 * s : p), c(M > 8 ? p + 8 * s : p), stride(s), three(3 * s) {}
  QUERN_INLINE unsigned char const* row(int r) const {
    unsigned char const* const base = r < 4 ? a : r < 8 ? b : c;
    return r % 4 == 0 ? base : r % 4 == 1 ? base + stride : r % 4 == 2 ? base + 2 * stride : base + three;
  }
  QUERN_INLINE void advance(int bytes) {
    a += bytes, b += bytes, c += bytes;
#ifdef __clang__
    asm("" : "+r"(stride), "+r"(three));  // or it keeps twelve pointers, most of them on the stack
#endif
  }
};

/// Destination rows into L2: 24 stores that miss would hold up the next tile's loads (128 x 3072 x 768 to int32: 13 %). L1 has no
/// place for them where rows are a multiple of 4 KB apart.
template <int M>
QUERN_INLINE_BODY void fetch_rows(std::int32_t const* p, index_t ld, int columns) {
#pragma GCC unroll 16
  for (int r = 0; r < M; ++r, p += ld)
    for (int c = 0; c < columns; c += 16) __builtin_prefetch(p + c, 1, 2);
}

/// One row's products with V vectors of columns.
template <class Dot, int V>
QUERN_INLINE_BODY void add_products(vec (&c)[V], vec x, typename Dot::rhs_type const (&b)[V]) {
  if constexpr (requires { Dot::add_products(c, x, b); }) {
    Dot::add_products(c, x, b);
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) c[v] = Dot::dot(c[v], x, b[v]);
  }
}

/// M rows x N panels, V vectors of columns at a time, steps unrolled U times into S chains.
template <class Dot, int M, int N, int V, int U = 2, int S = 1>
inline void tile(kernel::tile_job const& job) {
  constexpr int vectors = 16 / Dot::columns, passes = N * vectors / V;
  static_assert(N * vectors % V == 0 && V % Dot::partial_sums == 0 && U % S == 0 && M <= 12 && U * 4 <= kernel::lhs_round);
  index_t const panel_bytes = job.panel_bytes;
  tile_place at = tile_place::of(job);
  for (index_t tiles = job.count; tiles > 0; --tiles) {
    for (int pass = 0; pass < passes; ++pass) {
      lhs_pointers<M> lhs(at.lhs, job.lhs_stride);
      unsigned char const* b = at.rhs;
      vec c[S][M][V];
      start<Dot>(c, pass, job, at.init);
      constexpr bool fetches = M > 4 && N > 1;  // few rows wait for rhs itself
      [[maybe_unused]] unsigned char const* ahead = b;
      [[maybe_unused]] index_t ahead_step = 0;
      if constexpr (fetches) {
        if (job.fetches_acc) fetch_rows<M>(at.acc + pass * (V / Dot::partial_sums) * simd::lanes, job.ld, V / Dot::partial_sums * simd::lanes);
        index_t const done = job.count - tiles;
        if (pass == 0 && done < job.ahead_tiles) ahead = job.ahead + done * (job.across ? N : 1) * panel_bytes, ahead_step = U * 64;
      }
      for (index_t left = job.steps; left > 0; left -= U) {
#pragma GCC unroll 16
        for (int u = 0; u < U; ++u) {
          if constexpr (fetches) __builtin_prefetch(ahead + u * 64, 0, 2);
          typename Dot::rhs_type bs[V];
#pragma GCC unroll 16
          for (int v = 0; v < V; ++v) {
            int const vector = pass * V + v;
            bs[v] = Dot::load_rhs(b + vector / vectors * panel_bytes + vector % vectors * (Dot::columns * 4) + u * 64);
          }
#pragma GCC unroll 16
          for (int r = 0; r < M; ++r) {
            auto const x = Dot::load_lhs(lhs.row(r) + u * Dot::lhs_bytes);
            add_products<Dot>(c[u % S][r], x, bs);
          }
        }
        lhs.advance(U * Dot::lhs_bytes);
        b += U * 64;
        ahead += ahead_step;
      }
      finish<Dot>(c, pass, job, at);
    }
    at.next(job, M, N);
  }
}

/// M rows x N panels of nibbles: each 64 bytes of rhs are eight k, the low nibbles the first four.
template <class Dot, int M, int N, int V, int U, int S>
inline void nibble_tile(kernel::tile_job const& job) {
  constexpr int vectors = 16 / Dot::columns, passes = N * vectors / V;
  static_assert(N * vectors % V == 0 && V % Dot::partial_sums == 0 && U % S == 0 && U * 8 <= kernel::lhs_round);
  tile_place at = tile_place::of(job);
  for (index_t tiles = job.count; tiles > 0; --tiles) {
    for (int pass = 0; pass < passes; ++pass) {
      lhs_pointers<M> lhs(at.lhs, job.lhs_stride);
      unsigned char const* b = at.rhs;
      vec c[S][M][V];
      start<Dot>(c, pass, job, at.init);
      for (index_t left = job.steps; left > 0; left -= U) {
#pragma GCC unroll 16
        for (int u = 0; u < U; ++u)
#pragma GCC unroll 16
          for (int v = 0; v < V; ++v) {
            typename Dot::rhs_type low, high;
            int const vector = pass * V + v;
            Dot::load_nibbles(b + vector / vectors * job.panel_bytes + vector % vectors * (Dot::columns * 4) + u * 64, low, high);
#pragma GCC unroll 16
            for (int r = 0; r < M; ++r) {
              unsigned char const* const x = lhs.row(r) + u * 2 * Dot::lhs_bytes;
              c[u % S][r][v] = Dot::dot(c[u % S][r][v], Dot::load_lhs(x), low);
              c[u % S][r][v] = Dot::dot(c[u % S][r][v], Dot::load_lhs(x + Dot::lhs_bytes), high);
            }
          }
        lhs.advance(U * 2 * Dot::lhs_bytes);
        b += U * 64;
      }
      finish<Dot>(c, pass, job, at);
    }
    at.next(job, M, N);
  }
}
