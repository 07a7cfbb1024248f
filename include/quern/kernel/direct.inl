// direct.inl — the loop of every direct tile (conv_direct.hpp). Included once per instruction set, in its namespace, inside its
// target region, behind tile.inl, whose `Dot`, `start` and `finish` it uses.

/// One step of four k: rows First to Last of M, four of them reached from each pointer, V vectors of columns.
template <class Dot, int M, int V, int First = 0, int Last = M>
QUERN_INLINE_BODY void direct_step(vec (&c)[1][M][V], unsigned char const* const (&p)[(M + 3) / 4], index_t at, index_t row, index_t row3,
                              unsigned char const* b, index_t panel_bytes, int pass) {
  constexpr int vectors = 16 / Dot::columns;
  typename Dot::rhs_type bs[V];
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) {
    int const column = pass * V + v;
    bs[v] = Dot::load_rhs(b + column / vectors * panel_bytes + column % vectors * (Dot::columns * 4));
  }
#pragma GCC unroll 16
  for (int r = First; r < Last; ++r) {
    auto const x = Dot::load_lhs(p[r / 4] + at + (r % 4 == 0 ? 0 : r % 4 == 1 ? row : r % 4 == 2 ? 2 * row : row3));
    add_products<Dot>(c[0][r], x, bs);
  }
}

/// M positions x N panels, V vectors of columns at a time.
template <class Dot, int M, int N, int V>
inline void direct(kernel::tile_job const& job, index_t const* offsets, index_t runs) {
  constexpr int passes = N * (16 / Dot::columns) / V, pointers = (M + 3) / 4;
  index_t const row = job.lhs_stride, row3 = 3 * row, panel_bytes = job.panel_bytes;
  for (int pass = 0; pass < passes; ++pass) {
    unsigned char const* b = job.rhs;
    vec c[1][M][V];
    start<Dot>(c, pass, job, job.init);
    for (index_t run = 0; run < runs; ++run) {
      unsigned char const* p[pointers];
#pragma GCC unroll 4
      for (int i = 0; i < pointers; ++i) p[i] = job.lhs + offsets[run] + 4 * i * row;
      index_t left = job.steps;
      for (; left >= 2; left -= 2) {
        direct_step<Dot>(c, p, 0, row, row3, b, panel_bytes, pass);
        direct_step<Dot>(c, p, Dot::lhs_bytes, row, row3, b + 64, panel_bytes, pass);
#pragma GCC unroll 4
        for (int i = 0; i < pointers; ++i) p[i] += 2 * Dot::lhs_bytes;
        b += 128;
      }
      if (left != 0) {
        direct_step<Dot>(c, p, 0, row, row3, b, panel_bytes, pass);
        b += 64;
      }
    }
    finish<Dot>(c, pass, job, tile_place::of(job));
  }
}

/// The same where the first row's first taps and the last row's last ones lie in the padding: those products are left out, 1 in 21 of
/// a line of 14 positions with 3 taps.
template <class Dot, int M, int N, int V>
inline void direct_edges(kernel::tile_job const& job, index_t const* offsets, index_t runs, kernel::direct_edge const& edge) {
  constexpr int passes = N * (16 / Dot::columns) / V, pointers = (M + 3) / 4;
  index_t const row = job.lhs_stride, row3 = 3 * row, panel_bytes = job.panel_bytes;
  for (int pass = 0; pass < passes; ++pass) {
    unsigned char const* b = job.rhs;
    vec c[1][M][V];
    start<Dot>(c, pass, job, job.init);
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      int const column = (pass * V + v) * Dot::columns;
      c[0][0][v] = add(c[0][0][v], load(edge.first_init + column));
      c[0][M - 1][v] = add(c[0][M - 1][v], load(edge.last_init + column));
    }
    for (index_t run = 0; run < runs; ++run) {
      unsigned char const* p[pointers];
#pragma GCC unroll 4
      for (int i = 0; i < pointers; ++i) p[i] = job.lhs + offsets[run] + 4 * i * row;
      auto const next = [&] {
#pragma GCC unroll 4
        for (int i = 0; i < pointers; ++i) p[i] += Dot::lhs_bytes;
        b += 64;
      };
      for (index_t left = edge.first_steps; left > 0; --left, next()) direct_step<Dot, M, V, 1, M>(c, p, 0, row, row3, b, panel_bytes, pass);
      for (index_t left = job.steps - edge.first_steps - edge.last_steps; left > 0; --left, next())
        direct_step<Dot, M, V>(c, p, 0, row, row3, b, panel_bytes, pass);
      for (index_t left = edge.last_steps; left > 0; --left, next()) direct_step<Dot, M, V, 0, M - 1>(c, p, 0, row, row3, b, panel_bytes, pass);
    }
    finish<Dot>(c, pass, job, tile_place::of(job));
  }
}
