// tile.inl — the loop of every kernel but AMX's. Included once per instruction set, in its namespace, inside its target region.
//
// `Dot` is the instruction: columns of rhs in one vector, bytes of lhs in four k, how to load both, and the product. Accumulators
// are `vec`. Everything in the loops is a constant, so that all of c lives in registers; c[s] are S independent chains, which a
// tile of few rows needs to hide the latency of its one instruction (5 cycles x 2 ports = 10 chains).

/// Where one accumulator is one column they start from init; else from zero, and init is added when they are folded.
template <class Dot, int S, int M, int V>
QUERN_INLINE void start(vec (&c)[S][M][V], int pass, std::int32_t const* init, index_t init_ld) {
#pragma GCC unroll 16
  for (int r = 0; r < M; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      c[0][r][v] = Dot::partial_sums == 1 ? load(init + r * init_ld + (pass * V + v) * Dot::columns) : zero();
#pragma GCC unroll 16
      for (int s = 1; s < S; ++s) c[s][r][v] = zero();
    }
}

template <class Dot, int S, int M, int V>
QUERN_INLINE void finish(vec (&c)[S][M][V], int pass, std::int32_t const* init, index_t init_ld, std::int32_t* acc, index_t ld) {
#pragma GCC unroll 16
  for (int r = 0; r < M; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; v += Dot::partial_sums) {
      int const column = (pass * V + v) * Dot::columns;
#pragma GCC unroll 16
      for (int s = 1; s < S; ++s)
#pragma GCC unroll 4
        for (int f = 0; f < Dot::partial_sums; ++f) c[0][r][v + f] = add(c[0][r][v + f], c[s][r][v + f]);
      if constexpr (Dot::partial_sums == 1)
        store(acc + r * ld + column, c[0][r][v]);
      else
        store(acc + r * ld + column, add(load(init + r * init_ld + column), Dot::folded(c[0][r][v], c[0][r][v + 1])));
    }
}

/// M rows x N panels, V vectors of columns at a time, steps unrolled U times into S chains.
template <class Dot, int M, int N, int V, int U = 2, int S = 1>
inline void tile(unsigned char const* lhs, unsigned char const* rhs, index_t panel_bytes, index_t steps,
                 std::int32_t const* init, index_t init_ld, std::int32_t* acc, index_t ld) {
  constexpr int vectors = 16 / Dot::columns, passes = N * vectors / V;
  static_assert(N * vectors % V == 0 && V % Dot::partial_sums == 0 && U % S == 0);
  for (int pass = 0; pass < passes; ++pass) {
    unsigned char const* a = lhs;
    unsigned char const* b = rhs;
    vec c[S][M][V];
    start<Dot>(c, pass, init, init_ld);
    for (index_t left = steps; left > 0; left -= U) {
#pragma GCC unroll 16
      for (int u = 0; u < U; ++u) {
        typename Dot::rhs_type bs[V];
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) {
          int const at = pass * V + v;
          bs[v] = Dot::load_rhs(b + at / vectors * panel_bytes + at % vectors * (Dot::columns * 4) + u * 64);
        }
#pragma GCC unroll 16
        for (int r = 0; r < M; ++r) {
          auto const x = Dot::load_lhs(a + r * kernel::lhs_stride + u * Dot::lhs_bytes);
#pragma GCC unroll 16
          for (int v = 0; v < V; ++v) c[u % S][r][v] = Dot::dot(c[u % S][r][v], x, bs[v]);
        }
      }
      a += U * Dot::lhs_bytes;
      b += U * 64;
    }
    finish<Dot>(c, pass, init, init_ld, acc, ld);
  }
}

/// M rows x one panel of nibbles: each 64 bytes of rhs are eight k, the low nibbles the first four.
template <class Dot, int M, int V, int U, int S>
inline void nibble_tile(unsigned char const* lhs, unsigned char const* rhs, index_t, index_t steps, std::int32_t const* init,
                        index_t init_ld, std::int32_t* acc, index_t ld) {
  constexpr int vectors = 16 / Dot::columns, passes = vectors / V;
  static_assert(vectors % V == 0 && V % Dot::partial_sums == 0 && U % S == 0);
  for (int pass = 0; pass < passes; ++pass) {
    unsigned char const* a = lhs;
    unsigned char const* b = rhs;
    vec c[S][M][V];
    start<Dot>(c, pass, init, init_ld);
    for (index_t left = steps; left > 0; left -= U) {
#pragma GCC unroll 16
      for (int u = 0; u < U; ++u)
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) {
          typename Dot::rhs_type low, high;
          Dot::load_nibbles(b + (pass * V + v) * (Dot::columns * 4) + u * 64, low, high);
#pragma GCC unroll 16
          for (int r = 0; r < M; ++r) {
            unsigned char const* const x = a + r * kernel::lhs_stride + u * 2 * Dot::lhs_bytes;
            c[u % S][r][v] = Dot::dot(c[u % S][r][v], Dot::load_lhs(x), low);
            c[u % S][r][v] = Dot::dot(c[u % S][r][v], Dot::load_lhs(x + Dot::lhs_bytes), high);
          }
        }
      a += U * 2 * Dot::lhs_bytes;
      b += U * 64;
    }
    finish<Dot>(c, pass, init, init_ld, acc, ld);
  }
}
