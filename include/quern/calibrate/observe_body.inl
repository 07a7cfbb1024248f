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
  observe_i32 largest = {};
  observe_f64 sum_low = {}, sum_high = {}, squares_low = {}, squares_high = {};

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
    a.least = a.most = first - observe_f32{};
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

QUERN_INLINE void observe_count(std::uint16_t& counter, std::uint16_t change) {
#if QUERN_X86_64
  // One instruction. GCC would keep sums in registers, in case a later one meets the same counter: three times as many.
  asm("addw %1, %0" : "+m"(counter) : "r"(change));
#else
  counter = static_cast<std::uint16_t>(counter + change);
#endif
}

/// Turns floats into the cells that count them.
struct observe_cells {
  observe_i32 offset, zero_cells;
  std::int32_t limit;
  float to_bins;

  QUERN_INLINE observe_cells(std::int32_t half, std::int32_t limit_, float to_bins_) : limit(limit_), to_bins(to_bins_) {
    for (int l = 0; l < observe_lanes; ++l) {
      offset[l] = l % 2 != 0 ? 3 * half : half;
      zero_cells[l] = 4 * half + l;
    }
  }
  QUERN_INLINE void find(float const* at, std::uint32_t* to) const {
#pragma GCC unroll 4
    for (int s = 0; s < observe_steps; ++s) {
      observe_f32 v;
      __builtin_memcpy(&v, at + s * observe_lanes, sizeof v);
      observe_i32 const magnitude = (observe_i32)v & 0x7fffffff, kept = magnitude < limit ? magnitude : limit - observe_i32{};
      observe_i32 const bin = (__builtin_convertvector((observe_f32)kept * to_bins, observe_i32) ^ ((observe_i32)v >> 31)) + offset;
      observe_i32 const cell = magnitude == 0 ? zero_cells + s * observe_lanes : bin;
      __builtin_memcpy(to + s * observe_lanes, &cell, sizeof cell);
    }
  }
};

/// The same for n a multiple of 64, and adds `change` to the counter of every value: bin of x is trunc(|x| * to_bins), mirrored for
/// x < 0. Even and odd elements have a table of 2 * half bins each; zeros, which may be half of all, count in 16 cells behind the
/// tables, one a lane. Magnitudes beyond `limit` (bits of a float) count as if they were `limit`: the caller sees it in the result
/// and takes it back with change -1.
///
/// One increment a cycle is what a core can do. So that none waits for its index, 64 indices are computed ahead, between the
/// increments of the 64 before: 11 GB/s from the cache on a CPU that increments known indices at 12 GB/s; indices that went through
/// the stack 16 at a time gave 5.
inline std::int32_t observe_binned(float const* data, index_t n, float to_bins, std::int32_t limit, std::int32_t half, std::uint16_t* counts,
                                   std::uint16_t change, quern::calibrate::detail::observed_lanes& out) {
  constexpr int ahead = 64;
  observe_state state(data[0]);
  observe_cells const cells(half, limit, to_bins);
  alignas(64) std::uint32_t indices[2][ahead];
  for (int i = 0; i < ahead; i += 16) state.see(data + i), cells.find(data + i, indices[0] + i);
  int now = 0;
  for (index_t j = ahead; j < n; j += ahead, now ^= 1)
    for (int i = 0; i < ahead; i += 16) {
      __builtin_prefetch(data + j + i + 512);
      state.see(data + j + i);
      cells.find(data + j + i, indices[now ^ 1] + i);
      std::uint32_t const* const at = indices[now] + i;
#pragma GCC unroll 16
      for (int l = 0; l < 16; ++l) observe_count(counts[at[l]], change);
    }
  for (int i = 0; i < ahead; ++i) observe_count(counts[indices[now][i]], change);
  return state.finish(out);
}

/// at[i] = min(trunc(|x| / width), last), n a multiple of 16, all finite.
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

/// torch.histc: at[i] = min(trunc((x - low) * bins / (high - low)), bins - 1), or `bins` for x outside of [low, high]; n a multiple of 16.
inline void observe_histc(float const* data, index_t n, float low, float high, std::uint32_t bins, std::uint32_t* at) {
  observe_i32 const last = static_cast<std::int32_t>(bins) - 1 - observe_i32{}, outside = last + 1;
  for (index_t i = 0; i < n; i += observe_lanes) {
    observe_f32 v;
    __builtin_memcpy(&v, data + i, sizeof v);
    observe_i32 bin = __builtin_convertvector((v - low) * static_cast<float>(bins) / (high - low), observe_i32);
    bin = bin < last ? bin : last;
    bin = v >= low ? bin : outside;
    bin = v <= high ? bin : outside;
    __builtin_memcpy(at + i, &bin, sizeof bin);
  }
}
