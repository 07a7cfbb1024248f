// requantize_body.inl — requantize on vectors. Included once per instruction set, in its namespace, after quantize_body.inl.

namespace inner {

/// The policy on one vector without its saturation to int32, where an overflow shows as INT_MIN anyway: what the fast loop
/// collects is then forbidden, and the chunk is done again.
template <class R>
QUERN_INLINE i32s rescaled_or_int_min(R const& r, i32s x) {
  return r(x);
}
template <class Rounding>
QUERN_INLINE i32s rescaled_or_int_min(float_product<Rounding> const& r, i32s x) {
  return to_i32(mul(to_f32(x), r.scale), Rounding{});
}

/// y + zero within q_min .. q_max; counts what was outside.
template <class Dst>
QUERN_INLINE_BODY i32s with_zero_point(i32s y, i32s zero, std::int32_t q_min, std::int32_t q_max, index_t valid, std::int64_t& saturated) {
  mask outside;
  i32s q;
  if constexpr (sizeof(Dst) < 4) {
    i32s const lo = sub(broadcast(q_min), zero), hi = sub(broadcast(q_max), zero);
    outside = mask_or(less(y, lo), less(hi, y));
    q = add(min(max(y, lo), hi), zero);
  } else {
    f64s const t = add(to_f64(y), to_f64(zero)), lo = broadcast(static_cast<double>(q_min)), hi = broadcast(static_cast<double>(q_max));
    outside = mask_or(less(t, lo), less(hi, t));
    q = to_i32(min(max(t, lo), hi));
  }
  saturated += __builtin_popcount(lane_bits(outside) & lane_bits(first_lanes(valid)));
  return q;
}

/// The definition, a vector at a time. Vector j / lanes is rescaled by rescalers[(j / lanes) * step].
template <class R, class Src, class Dst>
QUERN_NOINLINE void requantize_plainly(Src const* src, Dst* dst, index_t n, R const* rescalers, std::int32_t const* src_zeros,
                                       std::int32_t const* dst_zeros, index_t step, std::int32_t q_min, std::int32_t q_max,
                                       std::int64_t& saturated) {
  for (index_t j = 0; j < n; j += lanes) {
    index_t const rest = n - j < lanes ? n - j : lanes;
    i32s const x = rest == lanes ? load(src + j) : load_first(src + j, rest);
    i32s const y = rescalers[j / lanes * step](sub(x, load(src_zeros + j * step)));
    i32s const q = with_zero_point<Dst>(y, load(dst_zeros + j * step), q_min, q_max, rest, saturated);
    if (rest == lanes)
      store(dst + j, q);
    else
      store_first(dst + j, q, rest);
  }
}

#if QUERN_DETAIL_PACKED
/// What makes steps of a block of elements: one rescaler for all of them, or Each vector its own. `Shifted`: whether a zero point is
/// subtracted first.
template <class R, bool Each, bool Shifted>
struct block_rescales {
  static constexpr bool each = Each;
  template <class Src>
  static constexpr bool in_private_order = false;
  R rescale[4];
  i32s src_zero[4], zero[4];  ///< zero: dst_zero - q_min

  QUERN_INLINE_BODY block_rescales(R const* r, std::int32_t const* s, std::int32_t const* z)
      : rescale{r[0], r[Each ? 1 : 0], r[Each ? 2 : 0], r[Each ? 3 : 0]},
        src_zero{of_block<Each>(s, 0), of_block<Each>(s, 1), of_block<Each>(s, 2), of_block<Each>(s, 3)},
        zero{of_block<Each>(z, 0), of_block<Each>(z, 1), of_block<Each>(z, 2), of_block<Each>(z, 3)} {}
  template <class Src>
  QUERN_INLINE i32s shifted(Src const* src, int k) const {
    i32s const x = load(src + k * lanes);
    if constexpr (Shifted)
      return sub(x, src_zero[Each ? k : 0]);
    else
      return x;
  }
  template <class Src>
  QUERN_INLINE_BODY i32s steps(Src const* src, int k) const {
    return rescaled_or_int_min(rescale[Each ? k : 0], shifted(src, k));
  }
  template <class Src>
  QUERN_INLINE words step_words(Src const* src, int half) const {
    return pack_signed(steps(src, 2 * half), steps(src, 2 * half + 1));
  }
  template <class Src>
  QUERN_INLINE_BODY i32s bounded_steps(Src const* src, int k, mask&) const {
    return rescale[Each ? k : 0](shifted(src, k));
  }
  QUERN_INLINE i32s zero_of(int k) const { return zero[Each ? k : 0]; }
};

template <bool Each, class R, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_again(Src const* src, Dst* dst, index_t count, index_t src_step, index_t dst_step, R const* rescalers,
                                             std::int32_t const* src_zeros, std::int32_t const* zeros, std::int32_t q_min,
                                             std::int32_t q_max, bool past_caches) {
  counted_blocks const found = count_blocks(src, dst, count, src_step, dst_step, block_rescales<R, Each, true>(rescalers, src_zeros, zeros),
                                            q_min, q_max, past_caches);
  if (!found.far) [[likely]]
    return found.outside;
  return saturate_blocks(src, dst, count, src_step, dst_step, block_rescales<R, Each, true>(rescalers, src_zeros, zeros), q_min, q_max)
      .saturated;
}
#endif

}  // namespace inner

namespace inner {
/// Row by row.
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_each_row(quern::detail::requantize_task<P, Src, Dst> const& t) {
  std::int32_t const q_min = t.q_min, q_max = t.q_max;
  std::int64_t saturated = 0;
  for (index_t row = 0; row < t.rows; ++row) {
    index_t const number = row * t.row_step;
    Src const* const src = t.src + row * t.src_stride;
    Dst* const dst = t.dst + row * t.dst_stride;
    auto const plainly = [&](index_t first, index_t n) {
      rescaler<P> const rescale(t.parameters[number]);
      std::int32_t src_zeros[lanes], dst_zeros[lanes];
      for (std::int32_t& e : src_zeros) e = t.src_zeros[number];
      for (std::int32_t& e : dst_zeros) e = t.dst_zeros[number];
      requantize_plainly(src + first, dst + first, n, &rescale, static_cast<std::int32_t const*>(src_zeros),
                                static_cast<std::int32_t const*>(dst_zeros), 0, q_min, q_max, saturated);
    };
    index_t const n = t.cols;
    index_t done = 0;
#if QUERN_DETAIL_PACKED
    if constexpr (sizeof(Dst) < 4) {
      quern::detail::code_span const span(q_min, q_max);
      if (n >= block && span.told_by_bits && !t.in_place) {
        std::int32_t const zero = t.dst_zeros[number] - q_min;
        rescaler<P> const rescale(t.parameters[number]);
        block_rescales<rescaler<P>, false, false> const s(&rescale, t.src_zeros + number, &zero);
        block_rescales<rescaler<P>, false, true> const shifted(&rescale, t.src_zeros + number, &zero);
        bool const rare = t.streaming || span.narrow || t.src_zeros[number] != 0;
        bool again = false;
        while (done < n) {
          auto const [at, count, next, past_caches] = piece_of(dst, n, done, t.streaming, again);
          bool outside = again;
          if (again) {
          } else if (rare) {
            outside = pack_blocks<false, true>(src + at, dst + at, count, block, block, shifted, q_min, q_max, span.narrow, past_caches);
          } else {
            outside = pack_blocks<false, false>(src + at, dst + at, count, block, block, s, q_min, q_max, false, false);
          }
          if (outside) [[unlikely]] {
            bool const overlaps = next - done != count * block;
            if constexpr (sizeof(Dst) == 1) {
              rescaler<P> const same(t.parameters[number]);  // one whose address is not that of the fast loop's
              std::int64_t const found = requantize_again<false>(src + at, dst + at, count, block, block, &same, t.src_zeros + number,
                                                                        &zero, q_min, q_max, past_caches);
              again = found != 0;
              if (!overlaps) saturated += found;
            } else {
              std::int64_t const before = saturated;
              plainly(at, done - at);
              saturated = before;
            }
            if (overlaps || sizeof(Dst) != 1) plainly(done, next - done);  // what the blocks overlap is not counted twice
          }
          done = next;
        }
      }
    }
#endif
    if (done < n) plainly(done, n - done);
  }
#if QUERN_DETAIL_PACKED
  if (t.streaming) fence();
#endif
  return saturated;
}

#if QUERN_DETAIL_PACKED
/// Rows of n >= block elements, looked at together as pack_rows does. int32 has no zero point here.
template <class P, class Src, class Dst>
QUERN_NOINLINE bool pack_rescaled_rows(quern::detail::requantize_task<P, Src, Dst> const& t, index_t first, index_t rows) {
  std::int32_t const q_min = t.q_min;
  index_t const n = t.cols, last = n - block;
  Src const* src = t.src + first * t.src_stride;
  Dst* dst = t.dst + first * t.dst_stride;
  words seen = broadcast_word(0);
  for (index_t r = first; r < first + rows; ++r, src += t.src_stride, dst += t.dst_stride) {
    rescaler<P> const rescale(t.parameters[r]);
    std::int32_t const zero = t.dst_zeros[r] - q_min;
    block_rescales<rescaler<P>, false, !std::is_same_v<Src, std::int32_t>> const s(&rescale, t.src_zeros + r, &zero);
    block_codes<Dst> const codes(zero, q_min);
    for (index_t j = 0; j < n; j += block) {
      index_t const at = j < last ? j : last;
      codes.template pack<false, false>(src + at, dst + at, s, false, false, seen);
    }
  }
  return any_outside(seen, forbidden_bits(q_min, t.q_max, false));
}
#endif
}  // namespace inner

/// A rectangle with parameters and zero points for each row. Returns how many were saturated.
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_rows(quern::detail::requantize_task<P, Src, Dst> const& t) {
#if QUERN_DETAIL_PACKED
  if constexpr (sizeof(Dst) == 1) {
    quern::detail::code_span const span(t.q_min, t.q_max);
    constexpr index_t piece = inner::most_piece;
    if (t.rows > 1 && t.row_step == 1 && t.cols >= inner::block && t.cols < piece && span.told_by_bits && !span.narrow && !t.in_place &&
        !t.streaming && (!std::is_same_v<Src, std::int32_t> || inner::range_of_zeros(t.src_zeros, t.rows).within(0, 0))) {
      std::int64_t saturated = 0;
      index_t const together = piece / t.cols;
      for (index_t i = 0; i < t.rows; i += together) {
        index_t const rows = t.rows - i < together ? t.rows - i : together;
        if (!inner::pack_rescaled_rows(t, i, rows)) [[likely]]
          continue;
        auto part = t;
        part.src += i * t.src_stride, part.dst += i * t.dst_stride, part.rows = rows;
        part.parameters += i, part.src_zeros += i, part.dst_zeros += i;
        saturated += inner::requantize_each_row(part);
      }
      return saturated;
    }
  }
#endif
  return inner::requantize_each_row(t);
}

/// A rectangle of at most most_requantized columns, with parameters and zero points for each; these arrays go on for `lanes` elements.
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_columns(quern::detail::requantize_task<P, Src, Dst> const& t) {
  constexpr index_t most = quern::detail::most_requantized;
  std::int32_t const q_min = t.q_min, q_max = t.q_max;
  index_t const n = t.cols;
  alignas(64) unsigned char memory[(most / lanes) * sizeof(rescaler<P>)];
  auto* const rescalers = reinterpret_cast<rescaler<P>*>(memory);
  for (index_t j = 0; j < n; j += lanes)
    ::new (static_cast<void*>(rescalers + j / lanes)) rescaler<P>(t.parameters + j, n - j < lanes ? n - j : lanes);
  std::int64_t saturated = 0;
  [[maybe_unused]] index_t whole = 0;
#if QUERN_DETAIL_PACKED
  if constexpr (sizeof(Dst) < 4) {
    constexpr index_t block = inner::block;
    quern::detail::code_span const span(q_min, q_max);
    if (span.told_by_bits && !t.in_place) whole = n & ~(block - 1);
    alignas(64) std::int32_t zeros[most];
    std::int32_t shifts = 0;
    for (index_t j = 0; j < whole; ++j) shifts |= t.src_zeros[j];
    for (index_t j = 0; j < whole; j += lanes) store(zeros + j, sub(load(t.dst_zeros + j), broadcast(q_min)));
    bool const rare = t.streaming || span.narrow || shifts != 0;
    quern::detail::rows_in_turn turn(t.rows, quern::detail::rows_in_turn::in_caches(t.rows * n), t.streaming);
    for (index_t i = 0, r = 0; i < t.rows;) {
      turn.begin(i);
      index_t const rows = turn.together, src_step = turn.apart * t.src_stride, dst_step = turn.apart * t.dst_stride;
      for (index_t j = 0; j < whole; j += block) {
        Src const* const src = t.src + (i + r) * t.src_stride + j;
        Dst* const dst = t.dst + (i + r) * t.dst_stride + j;
        rescaler<P> const* const r_j = rescalers + j / lanes;
        bool outside;
        if (rare)
          outside = inner::pack_blocks<false, true>(src, dst, rows, src_step, dst_step,
                                                    inner::block_rescales<rescaler<P>, true, true>(r_j, t.src_zeros + j, zeros + j), q_min,
                                                    q_max, span.narrow, t.streaming);
        else
          outside = inner::pack_blocks<false, false>(src, dst, rows, src_step, dst_step,
                                                     inner::block_rescales<rescaler<P>, true, false>(r_j, t.src_zeros + j, zeros + j), q_min,
                                                     q_max, false, false);
        if (!outside) [[likely]]
          continue;
        if constexpr (sizeof(Dst) == 1)
          saturated += inner::requantize_again<true>(src, dst, rows, src_step, dst_step, r_j, t.src_zeros + j,
                                                     static_cast<std::int32_t const*>(zeros) + j, q_min, q_max, false);
        else
          for (index_t k = 0; k < rows; ++k)
            inner::requantize_plainly(src + k * src_step, dst + k * dst_step, block, r_j, t.src_zeros + j, t.dst_zeros + j, 1, q_min, q_max,
                                      saturated);
      }
      if (++r == turn.apart) i = turn.next(i), r = 0;
    }
    if (t.streaming) fence();
  }
#endif
  for (index_t i = 0; i < t.rows && whole < n; ++i)
    inner::requantize_plainly(t.src + i * t.src_stride + whole, t.dst + i * t.dst_stride + whole, n - whole,
                              static_cast<rescaler<P> const*>(rescalers) + whole / lanes, t.src_zeros + whole, t.dst_zeros + whole, 1,
                              q_min, q_max, saturated);
  return saturated;
}

/// ratios[i] = sources[i] / divisor for i < n, n >= 1, and up to `lanes` more than that of both zero points. The quotient of two floats is the same
/// whether it is rounded to double before or not: 53 >= 2 * 24. False where a scale is not valid, or a ratio not a normal float.
template <class P>
QUERN_NOINLINE bool divide_scales(P, float const* sources, float divisor, index_t n, float* ratios, std::int32_t* src_zeros, std::int32_t* dst_zeros,
                                  std::int32_t dst_zero) {
  f32s const by = broadcast(divisor);
  f32s least = div(inner::load_up_to(sources, n), by), most = least;
  for (index_t j = 0; j < n; j += lanes) {
    store(src_zeros + j, broadcast(std::int32_t{0}));
    store(dst_zeros + j, broadcast(dst_zero));
    index_t const at = j + lanes <= n ? j : n - lanes;
    if (at < 0) {
      store_first(ratios, least, n);
      break;
    }
    f32s const ratio = div(load(sources + at), by);
    store(ratios + at, ratio);
    least = min(ratio, least), most = max(ratio, most);
  }
  return inner::scale_bits_within(sources, n, quern::detail::least_scale_bits, quern::detail::most_scale_bits) &&
         !any(mask_or(less(least, broadcast(0x1p-126f)), less(broadcast(0x1.fffffep127f), most)));
}
