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
    // What the next row of the output will read and this one did not: the CPU does not look as far ahead by itself.
    for (index_t y = rows; g.rows_ahead > 0 && (!Average || taps < most_blocked_taps) && y < rows + g.rows_ahead; ++y)
      for (index_t ahead = 0; ahead < g.stride * g.col_stride; ahead += 64) _mm_prefetch(reinterpret_cast<char const*>(from + y * g.row_stride) + ahead, _MM_HINT_T1);
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
