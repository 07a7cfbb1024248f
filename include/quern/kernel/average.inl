// average.inl — windows of codes summed and averaged on vectors. Included once per instruction set, in its namespace; see average.hpp.

namespace inner {

/// scaled_average of a vector of sums.
template <class Rounding>
struct averager {
  i32s offset, lo, hi, zero;
  f32s multiplier, count, last;
  bool counts, divides, multiplies;

  QUERN_INLINE explicit averager(quern::detail::scaled_average const& a)
      : offset(broadcast(a.offset)), lo(broadcast(a.clamped.min - a.zero_point)), hi(broadcast(a.clamped.max - a.zero_point)), zero(broadcast(a.zero_point)),
        multiplier(broadcast(a.multiplier)), count(broadcast(a.count)), last(broadcast(a.divisor != 0 ? a.divisor : a.factor)), counts(a.count != 0),
        divides(a.divisor != 0), multiplies(a.factor != 0) {}
  QUERN_INLINE_BODY i32s operator()(i32s sum) const {
    f32s v = mul(to_f32(sub(sum, offset)), multiplier);
    if (counts) v = div(v, count);
    if (divides) v = div(v, last);
    if (multiplies) v = mul(v, last);
    return add(min(max(saturated(v, Rounding{}), lo), hi), zero);
  }
};
struct as_sums {
  QUERN_INLINE i32s operator()(i32s sum) const { return sum; }
};

/// Sums of real values in order, averaged: QLinearAveragePool.
struct real_averager {
  i32s src_zero, lo, hi;
  f32s src_scale, count, dst_scale, dst_zero;
  QUERN_INLINE explicit real_averager(quern::detail::real_average const& a)
      : src_zero(broadcast(a.src_zero_point)), lo(broadcast(a.clamped.min)), hi(broadcast(a.clamped.max)), src_scale(broadcast(a.src_scale)), count(broadcast(a.count)),
        dst_scale(broadcast(a.dst_scale)), dst_zero(broadcast(a.dst_zero_point)) {}
  QUERN_INLINE f32s real(i32s q) const { return mul(to_f32(sub(q, src_zero)), src_scale); }
  QUERN_INLINE i32s operator()(f32s sum) const {
    return min(max(saturated(add(div(div(sum, count), dst_scale), dst_zero), quern::round_to::half_even{}), lo), hi);
  }
};

}  // namespace inner

/// All channels of one window of NHWC pixels.
template <class Finish, class T, class Out>
QUERN_INLINE_BODY void window_of(Finish const& finish, T const* src, quern::detail::pixel_window const& w, index_t channels, Out* dst) {
  index_t c = 0;
  if constexpr (sizeof(T) == 1) {
    namespace row = inner::row;  // 16-bit words hold the sums of as many codes: half of the loads
    if (w.rows * w.cols <= quern::detail::most_word_taps<T>)
      for (; c + 4 * lanes <= channels; c += 4 * lanes) {
        static_assert(row::word_lanes == 2 * lanes);
        row::words low = row::every_word(0), high = low;
        for (index_t y = 0; y < w.rows; ++y)
          for (index_t x = 0; x < w.cols; ++x) {
            T const* const p = src + y * w.row_stride + x * w.col_stride + c;
            low = row::add_words(low, row::widen(p));
            high = row::add_words(high, row::widen(p + 2 * lanes));
          }
        alignas(64) std::int16_t sums[4 * lanes];
        row::store_bytes(sums, low);
        row::store_bytes(sums + 2 * lanes, high);
        for (int k = 0; k < 4; ++k) store(dst + c + k * lanes, finish(load(static_cast<std::int16_t const*>(sums) + k * lanes)));
      }
  }
  for (; c + 4 * lanes <= channels; c += 4 * lanes) {
    i32s sum[4] = {broadcast(std::int32_t{0}), broadcast(std::int32_t{0}), broadcast(std::int32_t{0}), broadcast(std::int32_t{0})};
    for (index_t y = 0; y < w.rows; ++y)
      for (index_t x = 0; x < w.cols; ++x) {
        T const* const p = src + y * w.row_stride + x * w.col_stride + c;
        for (int k = 0; k < 4; ++k) sum[k] = add(sum[k], load(p + k * lanes));
      }
    for (int k = 0; k < 4; ++k) store(dst + c + k * lanes, finish(sum[k]));
  }
  for (; c < channels; c += lanes) {
    index_t const live = channels - c < lanes ? channels - c : lanes;
    i32s sum = broadcast(std::int32_t{0});
    for (index_t y = 0; y < w.rows; ++y)
      for (index_t x = 0; x < w.cols; ++x) {
        T const* const p = src + y * w.row_stride + x * w.col_stride + c;
        sum = add(sum, live == lanes ? load(p) : load_first(p, live));
      }
    if (live == lanes)
      store(dst + c, finish(sum));
    else
      store_first(dst + c, finish(sum), live);
  }
}
/// `count` windows side by side.
template <class Rounding, class T>
QUERN_NOINLINE void average_windows(T const* src, quern::detail::pixel_window const& w, index_t channels, index_t count, index_t src_step,
                                    quern::detail::scaled_average const& a, T* dst, index_t dst_step) {
  inner::averager<Rounding> const finish(a);
  for (index_t p = 0; p < count; ++p) window_of(finish, src + p * src_step, w, channels, dst + p * dst_step);
}
template <class T>
QUERN_NOINLINE void sum_window(T const* src, quern::detail::pixel_window const& w, index_t channels, std::int32_t* dst) {
  window_of(inner::as_sums{}, src, w, channels, dst);
}

/// `count` windows, `step` codes apart (1: of all channels of one pixel, or of pixels of one channel).
template <class T>
QUERN_NOINLINE void real_average_line(T const* src, quern::detail::pixel_window const& w, index_t count, index_t step, quern::detail::real_average const& a, T* dst, index_t dst_step) {
  inner::real_averager const f(a);
  for (index_t c = 0; c < count; c += lanes) {
    index_t const live = count - c < lanes ? count - c : lanes;
    f32s sum = broadcast(0.0f);
    for (index_t y = 0; y < w.rows; ++y)
      for (index_t x = 0; x < w.cols; ++x) {
        T const* const p = src + y * w.row_stride + x * w.col_stride + c * step;
        i32s q;
        if (step == 1) {
          q = live == lanes ? load(p) : load_first(p, live);
        } else {
          std::int32_t each[lanes] = {};
          for (index_t k = 0; k < live; ++k) each[k] = p[k * step];
          q = load(static_cast<std::int32_t const*>(each));
        }
        sum = add(sum, f.real(q));
      }
    if (dst_step == 1) {
      store_first(dst + c, f(sum), live);
    } else {
      std::int32_t each[lanes];
      store(each, f(sum));
      for (index_t k = 0; k < live; ++k) dst[(c + k) * dst_step] = static_cast<T>(each[k]);
    }
  }
}
