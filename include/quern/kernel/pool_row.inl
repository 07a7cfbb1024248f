// pool_row.inl — one row of a pool's output. Included once per instruction set, in its namespace; see pool.hpp.

/// The clamped averages of `taps` codes that are summed in words, |sum| <= 32,640: with l = ceil(log2 taps) and the multiplier
/// ceil(2^(15 + l) / taps), (t * multiplier) / 2^(15 + l) is the quotient of every t below 2^15.
struct averages {
  words half, multiplier;
  __m128i shift;
  QUERN_INLINE explicit averages(index_t taps) {
    int l = 1;
    while ((index_t{1} << l) < taps) ++l;
    half = every_word(static_cast<int>(taps / 2));
    multiplier = every_word(static_cast<int>(((index_t{1} << (15 + l)) + taps - 1) / taps));
    shift = _mm_cvtsi32_si128(l - 1);
  }
  QUERN_INLINE words operator()(words sum) const { return with_sign_of(shift_words(high_product(add_words(magnitude(sum), half), multiplier), shift), sum); }
};

/// One block of channels of one pixel: word_lanes (average, Wide: twice as many) or 2 * word_lanes (maximum).
template <bool Average, bool Wide, class T>
QUERN_INLINE_BODY void pool_block(T const* src, index_t row_stride, index_t col_stride, index_t rows, index_t cols, averages const& a, byte_vector lo,
                             byte_vector hi, T* dst) {
  if constexpr (Average && Wide) {
    words sum = widen(src), next = widen(src + word_lanes);
    for (index_t y = 0; y < rows; ++y)
      for (index_t x = y == 0 ? 1 : 0; x < cols; ++x) {
        T const* const p = src + y * row_stride + x * col_stride;
        sum = add_words(sum, widen(p));
        next = add_words(next, widen(p + word_lanes));
      }
    store_narrow(dst, a(sum), lo, hi);
    store_narrow(dst + word_lanes, a(next), lo, hi);
  } else if constexpr (Average) {
    words sum = widen(src);
    for (index_t y = 0; y < rows; ++y)
      for (index_t x = y == 0 ? 1 : 0; x < cols; ++x) sum = add_words(sum, widen(src + y * row_stride + x * col_stride));
    store_narrow(dst, a(sum), lo, hi);
  } else {
    byte_vector most = load_bytes(src);
    for (index_t y = 0; y < rows; ++y)
      for (index_t x = y == 0 ? 1 : 0; x < cols; ++x) most = larger(T{}, most, load_bytes(src + y * row_stride + x * col_stride));
    store_bytes(dst, smaller(T{}, larger(T{}, most, lo), hi));
  }
}

// Blocks of channels of many pixels are many streams from memory; from as many taps on, pixels are read as they lie, and the sums
// wait in L1. (From a cache, sums in registers are a third faster.)
constexpr index_t most_blocked_taps = 16, most_channels = 1024;

/// Up to most_channels channels of one pixel.
template <class T>
QUERN_INLINE_BODY void average_in_order(T const* src, quern::detail::pool_geometry const& g, index_t rows, index_t cols, index_t channels, averages const& a,
                                   byte_vector lo, byte_vector hi, T* dst) {
  alignas(64) std::int16_t sums[most_channels];
  index_t const whole = channels / word_lanes * word_lanes;
  for (index_t c = 0; c < whole; c += word_lanes) store_bytes(sums + c, every_word(0));
  for (index_t y = 0; y < rows; ++y)
    for (index_t x = 0; x < cols; ++x) {
      T const* const p = src + y * g.row_stride + x * g.col_stride;
      for (index_t c = 0; c < whole; c += word_lanes) store_bytes(sums + c, add_words(load_bytes(sums + c), widen(p + c)));
    }
  for (index_t c = 0; c < whole; c += word_lanes) store_narrow(dst + c, a(load_bytes(sums + c)), lo, hi);
  // The pixel has word_lanes channels at least: the last block may reach back.
  if (whole < channels) pool_block<true, false>(src + channels - word_lanes, g.row_stride, g.col_stride, rows, cols, a, lo, hi, dst + channels - word_lanes);
}

/// The same for the largest codes.
template <class T>
QUERN_INLINE_BODY void largest_in_order(T const* src, quern::detail::pool_geometry const& g, index_t rows, index_t cols, index_t channels, byte_vector lo, byte_vector hi, T* dst) {
  constexpr index_t wide = 2 * word_lanes;
  alignas(64) T most[most_channels];
  index_t const whole = channels / wide * wide;
  for (index_t c = 0; c < whole; c += wide) store_bytes(most + c, lo);
  for (index_t y = 0; y < rows; ++y)
    for (index_t x = 0; x < cols; ++x) {
      T const* const p = src + y * g.row_stride + x * g.col_stride;
      for (index_t c = 0; c < whole; c += wide) store_bytes(most + c, larger(T{}, load_bytes(most + c), load_bytes(p + c)));
    }
  for (index_t c = 0; c < whole; c += wide) store_bytes(dst + c, smaller(T{}, load_bytes(most + c), hi));
  if (whole < channels) pool_block<false, true>(src + channels - wide, g.row_stride, g.col_stride, rows, cols, averages(1), lo, hi, dst + channels - wide);
}

/// What the next row of the output will read and this one did not, for the pixel at `from`: the CPU does not look as far ahead by itself.
template <class T>
QUERN_INLINE void fetch_rows_ahead(quern::detail::pool_geometry const& g, T const* from, index_t rows) {
  for (index_t y = rows; y < rows + g.rows_ahead; ++y)
    for (index_t ahead = 0; ahead < g.stride * g.col_stride; ahead += 64) _mm_prefetch(reinterpret_cast<char const*>(from + y * g.row_stride) + ahead, _MM_HINT_T1);
}

/// `count` pixels of 2 * word_lanes channels or more, from few taps, which lie at src + at[k]. `Taps`: their number, or 0 for `taps`.
/// Averages take two taps at a time: interleaved, and their products with 1 added up, they need no widening. A function of its own, so
/// that what does not change has registers.
template <bool Average, int Taps, class T>
QUERN_NOINLINE void pool_listed(quern::detail::pool_geometry const& g, T const* src, index_t rows, index_t count, index_t const* at, index_t taps, averages const& by, T min, T max, T* dst) {
  constexpr index_t block = 2 * word_lanes;
  index_t const n = Taps > 0 ? Taps : taps;
  byte_vector const lo = every_byte(min), hi = every_byte(max);
  averages const a = by;
  for (index_t x = 0; x < count; ++x, src += g.stride * g.col_stride, dst += g.dst_stride) {
    fetch_rows_ahead(g, src, rows);
    for (index_t c = 0; c < g.channels; c += block) {
      index_t const c0 = c + block <= g.channels ? c : g.channels - block;  // the last block overlaps the one before
      T const* const p = src + c0;
      if constexpr (Average) {
        byte_vector const first = load_bytes(p + at[0]), second = load_bytes(p + at[1]);
        words low = sum_pairs(T{}, interleave_low(first, second)), high = sum_pairs(T{}, interleave_high(first, second));
#pragma GCC unroll 4
        for (index_t k = 2; k + 2 <= n; k += 2) {
          byte_vector const v = load_bytes(p + at[k]), w = load_bytes(p + at[k + 1]);
          low = add_words(low, sum_pairs(T{}, interleave_low(v, w)));
          high = add_words(high, sum_pairs(T{}, interleave_high(v, w)));
        }
        if (n % 2 != 0) {
          byte_vector const v = load_bytes(p + at[n - 1]), none = every_byte(0);
          low = add_words(low, sum_pairs(T{}, interleave_low(v, none)));
          high = add_words(high, sum_pairs(T{}, interleave_high(v, none)));
        }
        store_bytes(dst + c0, smaller(T{}, larger(T{}, pack_words(T{}, a(low), a(high)), lo), hi));
      } else {
        byte_vector most = load_bytes(p + at[0]);
#pragma GCC unroll 8
        for (index_t k = 1; k < n; ++k) most = larger(T{}, most, load_bytes(p + at[k]));
        store_bytes(dst + c0, smaller(T{}, larger(T{}, most, lo), hi));
      }
    }
  }
}

template <bool Average, class T>
QUERN_NOINLINE void pool_row(quern::detail::pool_geometry const& g, T const* src, index_t rows, T* dst, T min, T max) noexcept {
  constexpr index_t step = Average ? word_lanes : 2 * word_lanes;
  byte_vector const lo = every_byte(min), hi = every_byte(max);
  index_t known = 0;
  averages a(1);
  for (index_t x = 0; x < g.out; ++x, dst += g.dst_stride) {
    index_t const at = x * g.stride - g.before, first = at < 0 ? -at : 0, last = at + g.kernel > g.in ? g.in - at : g.kernel;
    T const* const from = src + (at + first) * g.col_stride;
    index_t const cols = last - first, taps = rows * cols;
    if (g.channels < step || (Average && taps > quern::detail::most_word_taps<T>)) {
      quern::detail::pool_pixel<Average>(from, g.row_stride, g.col_stride, rows, cols, g.channels, min, max, dst);
      continue;
    }
    if (taps > 1 && taps < most_blocked_taps && g.channels >= 2 * word_lanes) {
      // With as many columns as this one: the rest of the windows that lie inside, or this one alone.
      index_t const inside = cols == g.kernel ? (g.in - g.kernel + g.before) / g.stride + 1 - x : 1, count = inside < g.out - x ? inside : g.out - x;
      index_t at_tap[most_blocked_taps];
      for (index_t k = 0; k < taps; ++k) at_tap[k] = k / cols * g.row_stride + k % cols * g.col_stride;
      if (Average && taps != known) a = averages(taps), known = taps;
      if (taps == 4)
        pool_listed<Average, 4>(g, from, rows, count, at_tap, taps, a, min, max, dst);
      else if (taps == 9)
        pool_listed<Average, 9>(g, from, rows, count, at_tap, taps, a, min, max, dst);
      else
        pool_listed<Average, 0>(g, from, rows, count, at_tap, taps, a, min, max, dst);
      x += count - 1;
      dst += (count - 1) * g.dst_stride;
      continue;
    }
    if (!Average && g.rows_ahead > 0 && taps >= most_blocked_taps) {
      for (index_t c = 0; c < g.channels; c += most_channels) {
        index_t const n = g.channels - c < most_channels ? g.channels - c : most_channels;
        largest_in_order(from + c, g, rows, cols, n, lo, hi, dst + c);
      }
      continue;
    }
    if (!Average || taps < most_blocked_taps) fetch_rows_ahead(g, from, rows);
    if (taps == 1 || !Average) {
      // One code is its own average.
      constexpr index_t wide = 2 * word_lanes;
      if (g.channels < wide) {
        quern::detail::pool_pixel<false>(from, g.row_stride, g.col_stride, rows, cols, g.channels, min, max, dst);
        continue;
      }
      for (index_t c = 0; c < g.channels; c += wide) {
        index_t const c0 = c + wide <= g.channels ? c : g.channels - wide;  // the last block overlaps the one before
        pool_block<false, true>(from + c0, g.row_stride, g.col_stride, rows, cols, a, lo, hi, dst + c0);
      }
      continue;
    }
    if (taps != known) a = averages(taps), known = taps;
    if (g.rows_ahead > 0 && taps >= most_blocked_taps) {
      for (index_t c = 0; c < g.channels; c += most_channels) {
        index_t const n = g.channels - c < most_channels ? g.channels - c : most_channels;
        average_in_order(from + c, g, rows, cols, n, a, lo, hi, dst + c);
      }
      continue;
    }
    index_t done = 0;
    for (; done + 2 * step <= g.channels; done += 2 * step)
      pool_block<true, true>(from + done, g.row_stride, g.col_stride, rows, cols, a, lo, hi, dst + done);
    for (index_t c = done; c < g.channels; c += step) {
      index_t const c0 = c + step <= g.channels ? c : g.channels - step;
      pool_block<true, false>(from + c0, g.row_stride, g.col_stride, rows, cols, a, lo, hi, dst + c0);
    }
  }
}
