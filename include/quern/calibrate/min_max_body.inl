// min_max_body.inl — the loops of min_max.hpp; included once per instruction set, in its namespace, with
// QUERN_DETAIL_MIN_MAX_BYTES set to the width of its registers.
//
// Three instructions a register: min, max, and x * 0 added up, which stays 0 until a NaN or an infinity comes by. Four registers
// are under way at once, because each of the three waits 4 cycles for the one before it. They have names instead of being an
// array: GCC 12 unrolls loops over arrays of registers only after it has put the array into memory.

typedef float min_max_f32 __attribute__((vector_size(QUERN_DETAIL_MIN_MAX_BYTES)));
constexpr index_t min_max_lanes = QUERN_DETAIL_MIN_MAX_BYTES / 4;

struct min_max_state {
  min_max_f32 least, most, finite;

  QUERN_INLINE void start(float const* lo, float const* hi) {
    __builtin_memcpy(&least, lo, sizeof least);
    __builtin_memcpy(&most, hi, sizeof most);
    finite = min_max_f32{};
  }
  QUERN_INLINE void see(float const* p) {
    min_max_f32 v;
    __builtin_memcpy(&v, p, sizeof v);
    least = v < least ? v : least;
    most = v > most ? v : most;
    finite += v * 0.0f;
  }
  QUERN_INLINE void merge(min_max_state const& other) {
    least = other.least < least ? other.least : least;
    most = other.most > most ? other.most : most;
    finite += other.finite;
  }
  /// Lane by lane would take 16 steps of 4 cycles each; quarters of the register first take 4.
  QUERN_INLINE void reduce(float& lo, float& hi, float& sum) const {
    typedef float quarter __attribute__((vector_size(16)));
    constexpr int parts = QUERN_DETAIL_MIN_MAX_BYTES / 16;
    alignas(64) float l[4 * parts], m[4 * parts], f[4 * parts];
    __builtin_memcpy(l, &least, sizeof least);
    __builtin_memcpy(m, &most, sizeof most);
    __builtin_memcpy(f, &finite, sizeof finite);
    quarter low, high, all;
    __builtin_memcpy(&low, l, sizeof low);
    __builtin_memcpy(&high, m, sizeof high);
    __builtin_memcpy(&all, f, sizeof all);
    for (int k = 1; k < parts; ++k) {
      quarter a, b, c;
      __builtin_memcpy(&a, l + 4 * k, sizeof a);
      __builtin_memcpy(&b, m + 4 * k, sizeof b);
      __builtin_memcpy(&c, f + 4 * k, sizeof c);
      low = a < low ? a : low;
      high = b > high ? b : high;
      all += c;
    }
    auto const less = [](float x, float y) { return y < x ? y : x; };
    auto const more = [](float x, float y) { return y > x ? y : x; };
    lo = less(less(low[0], low[1]), less(low[2], low[3]));
    hi = more(more(high[0], high[1]), more(high[2], high[3]));
    sum = (all[0] + all[1]) + (all[2] + all[3]);
  }
  QUERN_INLINE void store(float* lo, float* hi) const {
    __builtin_memcpy(lo, &least, sizeof least);
    __builtin_memcpy(hi, &most, sizeof most);
  }
};

/// Least and greatest of n >= 1 floats. False when one of them is not finite; lo and hi then mean nothing.
inline bool extremes(float const* p, index_t n, float& lo, float& hi) {
  constexpr index_t lanes = min_max_lanes;
  float least = p[0], most = p[0], finite = 0;
  if (n < lanes) {
    for (index_t i = 0; i < n; ++i) {
      least = p[i] < least ? p[i] : least;
      most = p[i] > most ? p[i] : most;
      finite += p[i] * 0.0f;
    }
  } else {
    min_max_state a, b, c, d;
    a.start(p, p), b.start(p, p), c.start(p, p), d.start(p, p);
    index_t i = 0;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
      a.see(p + i);
      b.see(p + i + lanes);
      c.see(p + i + 2 * lanes);
      d.see(p + i + 3 * lanes);
    }
    // the last register overlaps the one before: twice seen is as good as once
    for (; i < n; i += lanes) a.see(p + (i + lanes <= n ? i : n - lanes));
    c.merge(d);
    a.merge(b);
    a.merge(c);
    a.reduce(least, most, finite);
  }
  lo = least;
  hi = most;
  return finite == 0;
}

/// Merges each column of rows x cols floats into lo[j] and hi[j]. False as above.
///
/// Eight rows at a time, so that an extreme is loaded and stored once for eight values: not adjacent ones, but one of each eighth of
/// the rows. Each of the eight is then read in the order in which it lies, a stream that the prefetchers follow, in pages of its own:
/// 23 GB/s from memory where one stream gets 20, and eight rows of a page 10.
inline bool column_extremes(float const* p, index_t rows, index_t cols, index_t row_stride, float* lo, float* hi) {
  constexpr index_t lanes = min_max_lanes;
  min_max_f32 finite = {};
  float all = 0;
  index_t const whole = cols >= lanes ? cols : 0, eighth = rows / 8 * row_stride;
  index_t i = 0;
  for (index_t q = 0; q < rows / 8 && whole > 0; ++q, i += 8) {
    float const* const a = p + q * row_stride;
    for (index_t j = 0; j < whole; j += lanes) {
      index_t const at = j + lanes <= whole ? j : whole - lanes;  // the last register overlaps the one before
      min_max_state even, odd;
      even.start(lo + at, hi + at);
      odd = even;
#pragma GCC unroll 4
      for (index_t r = 0; r < 8; r += 2) {
        even.see(a + r * eighth + at);
        odd.see(a + (r + 1) * eighth + at);
      }
      even.merge(odd);
      even.store(lo + at, hi + at);
      finite += even.finite;
    }
  }
  for (; i < rows && whole > 0; ++i)
    for (index_t j = 0; j < whole; j += lanes) {
      index_t const at = j + lanes <= whole ? j : whole - lanes;
      min_max_state a;
      a.start(lo + at, hi + at);
      a.see(p + i * row_stride + at);
      a.store(lo + at, hi + at);
      finite += a.finite;
    }
  for (index_t k = 0; k < lanes; ++k) all += finite[k];
  if (whole == 0)
    for (index_t r = 0; r < rows; ++r)
      for (index_t j = 0; j < cols; ++j) {
        float const v = p[r * row_stride + j];
        lo[j] = v < lo[j] ? v : lo[j];
        hi[j] = v > hi[j] ? v : hi[j];
        all += v * 0.0f;
      }
  return all == 0;
}
