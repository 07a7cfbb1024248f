// observe_body.inl — the loops that read every observed value; included once per instruction set, in its namespace, with
// QUERN_DETAIL_OBSERVE_BYTES set to the width of its registers.
//
// Written on GCC's vector types, 16 floats a step in as many registers as they take. Element i adds to lane i mod 16 and the lanes
// are summed in one fixed order, so the bits are the same wherever it runs. Nothing depends on contraction: the product of two
// floats is exact in double.

constexpr int observe_lanes = QUERN_DETAIL_OBSERVE_BYTES / 4, observe_steps = 16 / observe_lanes;
typedef float observe_f32 __attribute__((vector_size(QUERN_DETAIL_OBSERVE_BYTES)));
typedef std::int32_t observe_i32 __attribute__((vector_size(QUERN_DETAIL_OBSERVE_BYTES)));
typedef float observe_f32_half __attribute__((vector_size(QUERN_DETAIL_OBSERVE_BYTES / 2)));
typedef std::int32_t observe_i32_half __attribute__((vector_size(QUERN_DETAIL_OBSERVE_BYTES / 2)));
typedef double observe_f64 __attribute__((vector_size(QUERN_DETAIL_OBSERVE_BYTES)));

/// wide = the doubles of half a register of floats.
QUERN_INLINE void observe_widen(float const* at, observe_f64& wide) {
  observe_f32_half half;
  __builtin_memcpy(&half, at, sizeof half);
#if QUERN_DETAIL_OBSERVE_BYTES == 64 && !defined(__clang__)
  asm("vcvtps2pd %1, %0" : "=v"(wide) : "vm"(half));  // GCC 12 puts two 256-bit conversions together: five instructions
#else
  wide = __builtin_convertvector(half, observe_f64);
#endif
}

/// What is known of the lanes of one register.
struct observe_register {
  observe_f32 least, most;
  observe_i32 largest;
  observe_f64 sum_low, sum_high, squares_low, squares_high;

  // GCC 12 does not survive initializers of vector members without optimization.
  QUERN_INLINE void start(float first) {
    least = most = first - observe_f32{};
    largest = observe_i32{};
    sum_low = sum_high = squares_low = squares_high = observe_f64{};
  }
  QUERN_INLINE void see(float const* at) {
    observe_f32 v;
    __builtin_memcpy(&v, at, sizeof v);
    observe_i32 const magnitude = (observe_i32)v & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
    least = v < least ? v : least;
    most = v > most ? v : most;
    observe_f64 low, high;
    observe_widen(at, low);
    observe_widen(at + observe_lanes / 2, high);
    sum_low += low;
    sum_high += high;
    squares_low += low * low;
    squares_high += high * high;
  }
  /// The lanes' values into out's, from lane `first` on; top: the largest magnitude's bits.
  QUERN_INLINE void finish(int first, quern::calibrate::detail::observed_lanes& out, std::int32_t& top) const {
    constexpr int half = observe_lanes / 2;
    __builtin_memcpy(out.sum + first, &sum_low, sizeof sum_low);
    __builtin_memcpy(out.sum + first + half, &sum_high, sizeof sum_high);
    __builtin_memcpy(out.squares + first, &squares_low, sizeof squares_low);
    __builtin_memcpy(out.squares + first + half, &squares_high, sizeof squares_high);
    float low[observe_lanes], high[observe_lanes];
    std::int32_t magnitude[observe_lanes];
    __builtin_memcpy(low, &least, sizeof low);
    __builtin_memcpy(high, &most, sizeof high);
    __builtin_memcpy(magnitude, &largest, sizeof magnitude);
    for (int l = 0; l < observe_lanes; ++l) {
      out.least = low[l] < out.least ? low[l] : out.least;
      out.most = high[l] > out.most ? high[l] : out.most;
      top = magnitude[l] > top ? magnitude[l] : top;
    }
  }
};

/// 16 lanes. Registers have names instead of being an array: GCC 12 unrolls loops over arrays of registers only after it has put the
/// array into memory.
struct observe_state {
  observe_register a, b, c, d;

  QUERN_INLINE explicit observe_state(float first) {
    a.start(first);
    b = c = d = a;
  }
  QUERN_INLINE void see(float const* at) {
    a.see(at);
    if constexpr (observe_steps > 1) b.see(at + observe_lanes);
    if constexpr (observe_steps > 2) c.see(at + 2 * observe_lanes), d.see(at + 3 * observe_lanes);
  }
  /// Returns the largest magnitude's bits.
  QUERN_INLINE std::int32_t finish(quern::calibrate::detail::observed_lanes& out) const {
    std::int32_t top = 0;
    a.finish(0, out, top);
    if constexpr (observe_steps > 1) b.finish(observe_lanes, out, top);
    if constexpr (observe_steps > 2) c.finish(2 * observe_lanes, out, top), d.finish(3 * observe_lanes, out, top);
    return top;
  }
};

/// Extremes and moments of n > 0 floats, n a multiple of 16. Returns the bits of the largest magnitude; `out` means nothing unless
/// those are of a finite number.
inline std::int32_t observe_finite(float const* data, index_t n, quern::calibrate::detail::observed_lanes& out) {
  observe_state state(data[0]);
  for (index_t i = 0; i < n; i += 16) state.see(data + i);
  return state.finish(out);
}

/// Extremes only: what the frameworks' histograms ask for. A NaN leaves least and most alone and shows in the magnitude.
struct observe_extent {
  observe_f32 least, most;
  observe_i32 largest;

  QUERN_INLINE explicit observe_extent(float first) {
    least = most = first - observe_f32{};
    largest = observe_i32{};
  }
  QUERN_INLINE void see(float const* at) {
#pragma GCC unroll 4
    for (int s = 0; s < observe_steps; ++s) {
      observe_f32 v;
      __builtin_memcpy(&v, at + s * observe_lanes, sizeof v);
      observe_i32 const magnitude = (observe_i32)v & 0x7fffffff;
      largest = magnitude > largest ? magnitude : largest;
      least = v < least ? v : least;
      most = v > most ? v : most;
    }
  }
  QUERN_INLINE quern::calibrate::detail::observed_extent finish() const {
    float low[observe_lanes], high[observe_lanes];
    std::int32_t magnitude[observe_lanes];
    __builtin_memcpy(low, &least, sizeof low);
    __builtin_memcpy(high, &most, sizeof high);
    __builtin_memcpy(magnitude, &largest, sizeof magnitude);
    quern::calibrate::detail::observed_extent out;
    for (int l = 0; l < observe_lanes; ++l) out.merge({low[l], high[l], magnitude[l]});
    return out;
  }
};

QUERN_INLINE void observe_count(std::uint16_t& counter, std::uint16_t change) {
#if QUERN_X86_64
  // One instruction. GCC would keep sums in registers, in case a later one meets the same counter: three times as many.
  asm("addw %1, %0" : "+m"(counter) : "r"(change));
#else
  counter = static_cast<std::uint16_t>(counter + change);
#endif
}

/// Adds `change` to the counters of 16 indices. A core has three address units, and an increment takes two of them: indices of 16 bits
/// are loaded two at a time (18 % faster).
template <class Index>
QUERN_INLINE void observe_count_16(std::uint16_t* counts, Index const* at, std::uint16_t change) {
  if constexpr (sizeof(Index) == 2 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
#pragma GCC unroll 8
    for (int l = 0; l < 16; l += 2) {
      std::uint32_t two;
      __builtin_memcpy(&two, at + l, sizeof two);
#if QUERN_X86_64
      asm("" : "+r"(two));  // or two loads again
#endif
      observe_count(counts[two & 0xffff], change);
      observe_count(counts[two >> 16], change);
    }
  } else {
#pragma GCC unroll 16
    for (int l = 0; l < 16; ++l) observe_count(counts[at[l]], change);
  }
}

/// Where the cells of a table are. Even and odd elements have a table each, so that equal neighbours do not wait for each other; zeros,
/// which may be half of all, count in 16 cells behind the tables, one a lane.
struct observe_tables {
  observe_i32 offset, zero_cells;

  QUERN_INLINE observe_tables(std::int32_t first, std::int32_t second, std::int32_t zeros) {
    std::int32_t offsets[observe_lanes], cells[observe_lanes];
    for (int l = 0; l < observe_lanes; ++l) offsets[l] = l % 2 != 0 ? second : first, cells[l] = zeros + l;
    __builtin_memcpy(&offset, offsets, sizeof offset);
    __builtin_memcpy(&zero_cells, cells, sizeof zero_cells);
  }
  /// The cells of one register's bins, stored: number `step` of 16 elements.
  template <class Index>
  QUERN_INLINE void store(observe_i32 const& bin, observe_i32 const& zero, int step, Index* to) const {
    typedef Index narrow __attribute__((vector_size(observe_lanes * sizeof(Index))));
    observe_i32 const cell = zero != 0 ? zero_cells + step * observe_lanes : bin + offset;
    narrow const stored = __builtin_convertvector(cell, narrow);
    __builtin_memcpy(to, &stored, sizeof stored);
  }
};

/// Bin of x: trunc(|x| * to_bins), mirrored for x < 0. Magnitudes beyond `limit` (bits of a float) count as if they were `limit`.
struct observe_bins {
  observe_tables tables;
  observe_i32 limit;
  observe_f32 scale;

  QUERN_INLINE observe_bins(float to_bins, std::int32_t limit_, std::int32_t half) : tables(half, 3 * half, 4 * half) {
    limit = limit_ - observe_i32{};
    scale = to_bins - observe_f32{};
  }
  template <class Index>
  QUERN_INLINE void find(float const* at, int step, Index* to) const {
    observe_f32 v;
    __builtin_memcpy(&v, at, sizeof v);
    observe_i32 const magnitude = (observe_i32)v & 0x7fffffff, kept = magnitude < limit ? magnitude : limit;
    tables.store(__builtin_convertvector((observe_f32)kept * scale, observe_i32) ^ ((observe_i32)v >> 31), magnitude == 0, step, to);
  }
};

/// torch.histc: min(trunc((x - low) * bins / (high - low)), bins - 1), or `bins` for x outside of [low, high] and NaN.
struct observe_histc {
  observe_tables tables;
  observe_f32 low, high, span, count, most;
  observe_i32 last;

  QUERN_INLINE observe_histc(float low_, float high_, std::int32_t bins, std::int32_t table) : tables(0, table, 2 * table) {
    low = low_ - observe_f32{};
    high = high_ - observe_f32{};
    span = high - low;
    count = static_cast<float>(bins) - observe_f32{};
    most = static_cast<float>(bins - 1) - observe_f32{};
    last = bins - 1 - observe_i32{};
  }
  template <class Index>
  QUERN_INLINE void find(float const* at, int step, Index* to) const {
    observe_f32 v;
    __builtin_memcpy(&v, at, sizeof v);
    // Clamped as a float: beyond 1.7e35 the product is infinite, beyond 3.4e38 the span, and neither is an integer.
    observe_f32 place = (v - low) * count / span;
    place = place < most ? place : most;
    observe_i32 bin = __builtin_convertvector(place, observe_i32);
    bin = v >= low ? bin : last + 1;
    bin = v <= high ? bin : last + 1;
    tables.store(bin, ((observe_i32)v & 0x7fffffff) == 0, step, to);
  }
};

/// trunc(|x| / width), at most `last`; magnitudes beyond `limit` (bits of a float) count as if they were `limit`. A division in double
/// takes 20 cycles for 16. |x| * (1 / width) in float is off by one at most while there are fewer than 2^16 bins, and the remainder, with
/// width in three parts of 8 bits whose products with the bin are exact, says when. It is exact too, and so is the answer: a quotient of
/// two floats that is not an integer is further from it than double rounds.
struct observe_magnitudes {
  observe_tables tables;
  observe_f32 width, high, middle, low, inverse;
  observe_i32 limit, last;

  QUERN_INLINE observe_magnitudes(float w, std::int32_t limit_, std::int32_t last_, std::int32_t table) : tables(0, table, 2 * table) {
    width = w - observe_f32{};
    inverse = 1 / w - observe_f32{};
    limit = limit_ - observe_i32{};
    last = last_ - observe_i32{};
    high = (observe_f32)((observe_i32)width & -65536);
    middle = (observe_f32)((observe_i32)(width - high) & -65536);
    low = width - high - middle;
  }
  template <class Index>
  QUERN_INLINE void find(float const* at, int step, Index* to) const {
    observe_f32 v;
    __builtin_memcpy(&v, at, sizeof v);
    observe_i32 magnitude = (observe_i32)v & 0x7fffffff;
    v = (observe_f32)(magnitude < limit ? magnitude : limit);
    observe_i32 bin = __builtin_convertvector(v * inverse, observe_i32);
    observe_f32 const whole = __builtin_convertvector(bin, observe_f32);
    observe_f32 const rest = v - whole * high - whole * middle - whole * low;
    bin = rest < 0.0f ? bin - 1 : bin;
    bin = rest >= width ? bin + 1 : bin;
    tables.store(bin < last ? bin : last, magnitude == 0, step, to);
  }
};

/// Adds `change` to the counter of every value; n a multiple of 64.
///
/// A core stores once a cycle, so one increment a cycle is the bound. So that none waits for its index, 64 indices are computed ahead,
/// between the increments of the 64 before: 12.7 GB/s from the cache on a CPU whose stores allow 14.1; indices that are used as soon as
/// they are known gave 8.
template <class Index, class State, class Cells>
QUERN_INLINE void observe_counted(float const* data, index_t n, std::uint16_t* counts, std::uint16_t change, State& state, Cells const& cells) {
  constexpr int ahead = 64;
  alignas(64) Index indices[2][ahead];
  Index *now = indices[0], *next = indices[1];
  for (int i = 0; i < ahead; i += 16) {
    state.see(data + i);
#pragma GCC unroll 4
    for (int s = 0; s < observe_steps; ++s) cells.find(data + i + s * observe_lanes, s, now + i + s * observe_lanes);
  }
  for (index_t j = ahead; j < n; j += ahead) {
    for (int i = 0; i < ahead; i += 16) {
      __builtin_prefetch(data + j + i + 768);
      state.see(data + j + i);
#pragma GCC unroll 4
      for (int s = 0; s < observe_steps; ++s) cells.find(data + j + i + s * observe_lanes, s, next + i + s * observe_lanes);
      observe_count_16(counts, now + i, change);
    }
    Index* const counted = now;
    now = next;
    next = counted;
  }
  for (int i = 0; i < ahead; i += 16) observe_count_16(counts, now + i, change);
}

/// observe_finite and the counters of `half` bins on either side: tables of 2 * half each, then 16 cells for zeros. The caller sees in the
/// result whether a magnitude was beyond `limit`, and takes everything back with change -1.
template <class Index>
inline std::int32_t observe_binned(float const* data, index_t n, float to_bins, std::int32_t limit, std::int32_t half, std::uint16_t* counts,
                                   std::uint16_t change, quern::calibrate::detail::observed_lanes& out) {
  observe_state state(data[0]);
  observe_counted<Index>(data, n, counts, change, state, observe_bins(to_bins, limit, half));
  return state.finish(out);
}
/// Tables of bins + 1 cells, rounded up to `table`, then 16 cells for zeros.
inline quern::calibrate::detail::observed_extent observe_histc_counted(float const* data, index_t n, float low, float high, std::int32_t bins,
                                                                       std::int32_t table, std::uint16_t* counts) {
  observe_extent state(data[0]);
  observe_counted<std::uint16_t>(data, n, counts, 1, state, observe_histc(low, high, bins, table));
  return state.finish();
}
/// Tables of last + 1 cells, rounded up to `table`, then 16 cells for zeros.
inline quern::calibrate::detail::observed_extent observe_absolute_counted(float const* data, index_t n, float width, std::int32_t limit,
                                                                          std::int32_t last, std::int32_t table, std::uint16_t* counts,
                                                                          std::uint16_t change) {
  observe_extent state(data[0]);
  observe_counted<std::uint16_t>(data, n, counts, change, state, observe_magnitudes(width, limit, last, table));
  return state.finish();
}

/// counts[i] += a[i] + b[i], which become 0; n a multiple of 8.
inline void observe_flush(std::uint64_t* counts, std::uint16_t* a, std::uint16_t* b, index_t n) {
  typedef std::uint16_t cells __attribute__((vector_size(16)));
  typedef std::uint32_t sums __attribute__((vector_size(32)));
  typedef std::uint64_t totals __attribute__((vector_size(64)));
  for (index_t i = 0; i < n; i += 8) {
    cells x, y;
    totals t;
    __builtin_memcpy(&x, a + i, sizeof x);
    __builtin_memcpy(&y, b + i, sizeof y);
    __builtin_memcpy(&t, counts + i, sizeof t);
    sums const both = __builtin_convertvector(x, sums) + __builtin_convertvector(y, sums);
    t += __builtin_convertvector(both, totals);
    __builtin_memcpy(counts + i, &t, sizeof t);
    cells const none = {};
    __builtin_memcpy(a + i, &none, sizeof none);
    __builtin_memcpy(b + i, &none, sizeof none);
  }
}

/// at[i] = min(trunc(|x| / width), last), n a multiple of 16, all finite; any width.
inline void observe_absolute(float const* data, index_t n, double width, std::uint32_t last, std::uint32_t* at) {
  for (index_t i = 0; i < n; i += observe_lanes / 2) {
    observe_f64 v;
    observe_widen(data + i, v);
    v = v < 0.0 ? -v : v;
    observe_i32_half const bin = __builtin_convertvector(v / width, observe_i32_half), top = static_cast<std::int32_t>(last) - observe_i32_half{};
    observe_i32_half const kept = bin < top ? bin : top;
    __builtin_memcpy(at + i, &kept, sizeof kept);
  }
}

/// The error of quantizing to kept = clamp(round(x / scale) + zero) and back, of float as dequantize gives it; sums by element index mod 16.
struct observe_error_register {
  observe_f64 errors_low, errors_high, squares_low, squares_high;
  observe_i32 clipped, largest;

  QUERN_INLINE void start() {
    errors_low = errors_high = squares_low = squares_high = observe_f64{};
    clipped = largest = observe_i32{};
  }
  QUERN_INLINE void see(float const* at, quern::calibrate::detail::observed_grid const& g) {
    constexpr float shift = 12582912.0f, most = 4194304.0f;  // 1.5 * 2^23: adding it rounds what is below 2^22 half to even
    observe_f32 v, step = g.scale - observe_f32{};
    __builtin_memcpy(&v, at, sizeof v);
    observe_i32 const magnitude = (observe_i32)v & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
    observe_f32 code = v / step;
    code = code < most ? code : most - observe_f32{};
    code = code > -most ? code : -most - observe_f32{};
    code = code + shift - shift + g.zero;
    observe_f32 kept = code > g.low ? code : g.low - observe_f32{};
    kept = kept < g.high ? kept : g.high - observe_f32{};
    clipped -= kept != code;
    observe_f32 back = (kept - g.zero) * step;
#if QUERN_X86_64
    asm("" : "+v"(back));  // rounded to float, whatever contraction would like
#else
    asm("" : "+m"(back));
#endif
    back -= v;
    observe_f32_half halves[2];
    __builtin_memcpy(halves, &back, sizeof back);
    observe_f64 const low = __builtin_convertvector(halves[0], observe_f64), high = __builtin_convertvector(halves[1], observe_f64);
    errors_low += low * low;
    errors_high += high * high;
    observe_f64 x;
    observe_widen(at, x);
    squares_low += x * x;
    observe_widen(at + observe_lanes / 2, x);
    squares_high += x * x;
  }
  QUERN_INLINE void finish(int first, quern::calibrate::detail::observed_error& out) const {
    constexpr int half = observe_lanes / 2;
    __builtin_memcpy(out.errors + first, &errors_low, sizeof errors_low);
    __builtin_memcpy(out.errors + first + half, &errors_high, sizeof errors_high);
    __builtin_memcpy(out.squares + first, &squares_low, sizeof squares_low);
    __builtin_memcpy(out.squares + first + half, &squares_high, sizeof squares_high);
    std::int32_t outside[observe_lanes], magnitude[observe_lanes];
    __builtin_memcpy(outside, &clipped, sizeof outside);
    __builtin_memcpy(magnitude, &largest, sizeof magnitude);
    for (int l = 0; l < observe_lanes; ++l) {
      out.clipped += outside[l];
      out.largest = magnitude[l] > out.largest ? magnitude[l] : out.largest;
    }
  }
};

/// n a multiple of 16; `out` fresh. It means nothing unless out.largest is of a finite number.
inline void observe_errors(float const* data, index_t n, quern::calibrate::detail::observed_grid const& g, quern::calibrate::detail::observed_error& out) {
  observe_error_register a, b, c, d;
  a.start();
  b = c = d = a;
  for (index_t i = 0; i < n; i += 16) {
    a.see(data + i, g);
    if constexpr (observe_steps > 1) b.see(data + i + observe_lanes, g);
    if constexpr (observe_steps > 2) c.see(data + i + 2 * observe_lanes, g), d.see(data + i + 3 * observe_lanes, g);
  }
  a.finish(0, out);
  if constexpr (observe_steps > 1) b.finish(observe_lanes, out);
  if constexpr (observe_steps > 2) c.finish(2 * observe_lanes, out), d.finish(3 * observe_lanes, out);
}
