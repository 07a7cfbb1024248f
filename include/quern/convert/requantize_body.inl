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
  /// Of ratios, and zero points of the destination as they are.
  QUERN_INLINE_BODY block_rescales(float const* r, std::int32_t const* s, std::int32_t const* z, i32s lowest)
      : rescale{R(of_block<Each>(r, 0)), R(of_block<Each>(r, 1)), R(of_block<Each>(r, 2)), R(of_block<Each>(r, 3))},
        src_zero{of_block<Each>(s, 0), of_block<Each>(s, 1), of_block<Each>(s, 2), of_block<Each>(s, 3)},
        zero{sub(of_block<Each>(z, 0), lowest), sub(of_block<Each>(z, 1), lowest), sub(of_block<Each>(z, 2), lowest),
             sub(of_block<Each>(z, 3), lowest)} {}
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
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_row_plainly(Src const* src, Dst* dst, index_t n, typename P::parameters parameters, std::int32_t src_zero,
                                                   std::int32_t dst_zero, std::int32_t q_min, std::int32_t q_max) {
  rescaler<P> const rescale(parameters);
  std::int32_t src_zeros[lanes], dst_zeros[lanes];
  for (std::int32_t& e : src_zeros) e = src_zero;
  for (std::int32_t& e : dst_zeros) e = dst_zero;
  std::int64_t saturated = 0;
  requantize_plainly(src, dst, n, &rescale, static_cast<std::int32_t const*>(src_zeros), static_cast<std::int32_t const*>(dst_zeros), 0, q_min,
                     q_max, saturated);
  return saturated;
}
/// A row.
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_row(Src const* src, Dst* dst, index_t n, typename P::parameters parameters, std::int32_t src_zero,
                                           std::int32_t dst_zero, std::int32_t q_min, std::int32_t q_max, bool in_place, bool streaming) {
#if QUERN_DETAIL_PACKED
  if constexpr (sizeof(Dst) < 4) {
    quern::detail::code_span const span(q_min, q_max);
    if (n >= block && span.told_by_bits && !in_place) {
      std::int32_t const zero = dst_zero - q_min;
      rescaler<P> const rescale(parameters);
      block_rescales<rescaler<P>, false, false> const s(&rescale, &src_zero, &zero);
      block_rescales<rescaler<P>, false, true> const shifted(&rescale, &src_zero, &zero);
      bool const rare = streaming || span.narrow || src_zero != 0;
      bool again = false;
      std::int64_t saturated = 0;
      for (index_t done = 0; done < n;) {
        auto const [at, count, next, past_caches] = piece_of(dst, n, done, streaming, again);
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
            rescaler<P> const same(parameters);  // one whose address is not that of the fast loop's, and zero points likewise
            std::int32_t const same_src_zero = src_zero, same_zero = zero;
            std::int64_t const found = requantize_again<false>(src + at, dst + at, count, block, block, &same, &same_src_zero, &same_zero, q_min,
                                                               q_max, past_caches);
            again = found != 0;
            if (!overlaps) saturated += found;
          } else {
            (void)requantize_row_plainly<P>(src + at, dst + at, done - at, parameters, src_zero, dst_zero, q_min, q_max);
          }
          if (overlaps || sizeof(Dst) != 1)  // what the blocks overlap is not counted twice
            saturated += requantize_row_plainly<P>(src + done, dst + done, next - done, parameters, src_zero, dst_zero, q_min, q_max);
        }
        done = next;
      }
      return saturated;
    }
  }
#else
  static_cast<void>(in_place), static_cast<void>(streaming);
#endif
  return requantize_row_plainly<P>(src, dst, n, parameters, src_zero, dst_zero, q_min, q_max);
}
/// Row by row.
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_each_row(quern::detail::requantize_task<P, Src, Dst> const& t) {
  std::int64_t saturated = 0;
  for (index_t row = 0; row < t.rows; ++row) {
    index_t const number = row * t.row_step;
    saturated += requantize_row<P>(t.src + row * t.src_stride, t.dst + row * t.dst_stride, t.cols, t.parameters[number], t.src_zeros[number],
                                   t.dst_zeros[number], t.q_min, t.q_max, t.in_place, t.streaming);
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

namespace inner {

#if QUERN_DETAIL_PACKED
/// `lanes` ratios of scales from number i on, and zero points of one side; of fewer than that, `rest`, all.
template <class Task>
QUERN_INLINE_BODY f32s ratios_at(Task const& t, index_t i, index_t rest) {
  f32s const from = t.from.several ? load_up_to(t.from.scales + i, rest) : broadcast(*t.from.scales);
  return div(from, t.to.several ? load_up_to(t.to.scales + i, rest) : broadcast(*t.to.scales));
}
QUERN_INLINE_BODY i32s zeros_at(quern::detail::ratio_side const& side, index_t i, index_t rest) {
  if (side.zeros == nullptr) return broadcast(std::int32_t{0});
  return side.several ? load_up_to(side.zeros + i, rest) : broadcast(*side.zeros);
}
/// Whether `count` scales and zero points are valid. Their bits have the order of positive floats.
QUERN_INLINE_BODY int_range range_of_scales(quern::detail::ratio_side const& side, index_t count) {
  index_t const n = side.several ? count : 1;
  int_range all(as_i32(load_up_to(side.scales, n)));
  for (index_t j = lanes; j < n; j += lanes) all.add(as_i32(load(side.scales + (j + lanes <= n ? j : n - lanes))));
  return all;
}
QUERN_INLINE_BODY bool valid_side(quern::detail::ratio_side const& side, int_range const& scales, index_t count) {
  return scales.within(quern::detail::least_scale_bits, quern::detail::most_scale_bits) &&
         range_of_zeros(side.zeros, side.several ? count : 1).within(side.limits.min, side.limits.max);
}
/// And whether all ratios are normal floats, with a factor of two to spare.
template <class Task>
QUERN_INLINE_BODY bool valid_ratios(Task const& t, index_t count) {
  if (!t.from.several && !t.to.several) {
    float const from = *t.from.scales, to = *t.to.scales;
    std::int32_t const src_zero = t.from.zeros == nullptr ? 0 : *t.from.zeros, dst_zero = t.to.zeros == nullptr ? 0 : *t.to.zeros;
    return from > 0.0f && to > 0.0f && from <= 0x1p126f * to && to <= 0x1p124f * from && from < 0x1p127f && to < 0x1p127f &&
           t.from.limits.min <= src_zero && src_zero <= t.from.limits.max && t.to.limits.min <= dst_zero && dst_zero <= t.to.limits.max;
  }
  int_range const from = range_of_scales(t.from, count), to = range_of_scales(t.to, count);
  if (!valid_side(t.from, from, count) || !valid_side(t.to, to, count)) return false;
  f32s const least = div(as_f32(broadcast(reduce_min(from.least))), as_f32(broadcast(reduce_max(to.most))));
  f32s const most = div(as_f32(broadcast(reduce_max(from.most))), as_f32(broadcast(reduce_min(to.least))));
  return !any(mask_or(less(least, broadcast(0x1p-125f)), less(broadcast(0x1p127f), most)));
}

/// A row by itself.
template <class P, class Src, class Dst>
QUERN_INLINE_BODY std::int64_t requantize_ratio_row(quern::detail::ratio_task<P, Src, Dst> const& t, index_t row, bool streaming) {
  index_t const from = t.from.several ? row : 0, to = t.to.several ? row : 0;
  return requantize_row<P>(t.src + row * t.src_stride, t.dst + row * t.dst_stride, t.cols,
                           {static_cast<float>(quern::detail::scale_ratio(t.from.scales[from], t.to.scales[to]))},
                           t.from.zeros == nullptr ? 0 : t.from.zeros[from], t.to.zeros == nullptr ? 0 : t.to.zeros[to], t.q_min, t.q_max, false,
                           streaming);
}
/// Rows of n >= block elements, looked at together as pack_rows does. Only where Rare is set may a zero point of the source not be 0.
template <bool Rare, class P, class Src, class Dst>
QUERN_NOINLINE bool pack_ratio_rows(quern::detail::ratio_task<P, Src, Dst> const& t, index_t first, index_t rows, bool narrow, bool past_caches) {
  std::int32_t const q_min = t.q_min;
  i32s const lowest = broadcast(q_min);
  index_t const n = t.cols, last = n - block;
  alignas(64) float ratios[most_short_rows];
  alignas(64) std::int32_t src_zeros[most_short_rows], zeros[most_short_rows];
  Src const* src = t.src + first * t.src_stride;
  Dst* dst = t.dst + first * t.dst_stride;
  words seen = broadcast_word(0);
  for (index_t r = 0; r < rows; ++r, src += t.src_stride, dst += t.dst_stride) {
    if (r % lanes == 0) {
      store(ratios + r, ratios_at(t, first + r, rows - r));
      store(zeros + r, zeros_at(t.to, first + r, rows - r));
      store(src_zeros + r, zeros_at(t.from, first + r, rows - r));
    }
    block_rescales<rescaler<P>, false, Rare> const s(ratios + r, src_zeros + r, zeros + r, lowest);
    block_codes<Dst> const codes(zeros[r] - q_min, q_min);
    for (index_t j = 0; j < n; j += block) {
      index_t const at = j < last ? j : last;
      codes.template pack<false, Rare>(src + at, dst + at, s, narrow, past_caches && at == j, seen);
    }
  }
  return any_outside(seen, forbidden_bits(q_min, t.q_max, Rare && narrow));
}
template <class P, class Src, class Dst>
QUERN_INLINE_BODY std::int64_t requantize_ratio_rows(quern::detail::ratio_task<P, Src, Dst> const& t) {
  quern::detail::code_span const span(t.q_min, t.q_max);
  std::int64_t saturated = 0;
  if (t.rows == 1 || t.cols < block || t.cols >= most_piece || !span.told_by_bits) {
    for (index_t i = 0; i < t.rows; ++i) saturated += requantize_ratio_row(t, i, t.streaming);
    if (t.streaming) fence();
    return saturated;
  }
  bool const past_caches = t.streaming && ((reinterpret_cast<std::uintptr_t>(t.dst) | static_cast<std::uintptr_t>(t.dst_stride)) & 63) == 0;
  bool const rare = past_caches || span.narrow || !range_of_zeros(t.from.zeros, t.from.several ? t.rows : 1).within(0, 0);
  index_t const most = most_piece / t.cols;
  bool expects = false;
  for (index_t i = 0; i < t.rows; i += most) {
    index_t const rows = t.rows - i < most ? t.rows - i : most;
    if (!expects && !(rare ? pack_ratio_rows<true>(t, i, rows, span.narrow, past_caches) : pack_ratio_rows<false>(t, i, rows, false, false)))
        [[likely]]
      continue;
    std::int64_t found = 0;
    for (index_t r = 0; r < rows; ++r) found += requantize_ratio_row(t, i + r, false);
    expects = found != 0;
    saturated += found;
  }
  if (past_caches) fence();
  return saturated;
}

/// Zero points of a block of columns: their own, or the same everywhere.
struct column_zeros {
  std::int32_t const* own;
  alignas(64) std::int32_t same[block];
  QUERN_INLINE_BODY explicit column_zeros(quern::detail::ratio_side const& side) : own(side.several ? side.zeros : nullptr) {
    for (index_t k = 0; k < block; k += lanes) store(same + k, side.zeros == nullptr ? broadcast(std::int32_t{0}) : broadcast(*side.zeros));
  }
  QUERN_INLINE std::int32_t const* at(index_t j) const { return own == nullptr ? same : own + j; }
};
/// Columns whose ratios are kept.
inline constexpr index_t most_ratios = 4096;

/// Strips of a block of columns from `at` on, `count` of them; `divide`: the ratios of the next one are made behind each, up to `end`. Only where
/// Rare is set may columns differ in their zero points, or those of the source not be 0. Returns what pack_blocks does.
template <bool Rare, class P, class Src, class Dst>
QUERN_NOINLINE bool pack_ratio_columns(quern::detail::ratio_task<P, Src, Dst> const& t, index_t row, row_set const& rows, index_t at, index_t count,
                                       float* ratios, index_t end, column_zeros const& src_zeros, column_zeros const& zeros, bool narrow,
                                       bool past_caches) {
  std::int32_t const q_min = t.q_min;
  i32s const lowest = broadcast(q_min);
  index_t const src_stride = t.src_stride, dst_stride = t.dst_stride, src_step = rows.apart * src_stride, dst_step = rows.apart * dst_stride;
  Src const* src = t.src + row * src_stride + at;
  Dst* dst = t.dst + row * dst_stride + at;
  std::int32_t const *src_zero = src_zeros.same, *zero = zeros.same;
  block_codes<Dst> const same(block_rescales<rescaler<P>, true, false>(ratios, src_zero, zero, lowest), q_min);
  words seen = broadcast_word(0);
  for (index_t r = 0; r < rows.turns; ++r, src += src_stride, dst += dst_stride)
    for (index_t j = 0; j < count * block; j += block) {
      if constexpr (Rare) src_zero = src_zeros.at(at + j), zero = zeros.at(at + j);
      block_rescales<rescaler<P>, true, Rare> const s(ratios + j, src_zero, zero, lowest);
      if (at + j + block < end)
        for (index_t k = j + block; k < j + 2 * block; k += lanes) store(ratios + k, ratios_at(t, at + k, lanes));
      block_codes<Dst> const codes = Rare ? block_codes<Dst>(s, q_min) : same;
      Src const* from = src + j;
      Dst* to = dst + j;
      for (index_t k = 0; k < rows.together; ++k, from += src_step, to += dst_step)
        codes.template pack<false, Rare>(from, to, s, narrow, past_caches, seen);
    }
  return any_outside(seen, forbidden_bits(q_min, t.q_max, Rare && narrow));
}
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_strip_again(quern::detail::ratio_task<P, Src, Dst> const& t, index_t row, row_set const& rows, index_t at,
                                                   float const* ratios, std::int32_t const* src_zeros, std::int32_t const* zeros,
                                                   bool past_caches) {
  rescaler<P> const r[4] = {rescaler<P>(load(ratios)), rescaler<P>(load(ratios + lanes)), rescaler<P>(load(ratios + 2 * lanes)),
                            rescaler<P>(load(ratios + 3 * lanes))};
  std::int32_t moved[block];
  for (index_t k = 0; k < block; k += lanes) store(moved + k, sub(load(zeros + k), broadcast(t.q_min)));
  return requantize_again<true>(t.src + row * t.src_stride + at, t.dst + row * t.dst_stride + at, rows.together, rows.apart * t.src_stride, rows.apart * t.dst_stride, static_cast<rescaler<P> const*>(r),
                                src_zeros, static_cast<std::int32_t const*>(moved), t.q_min, t.q_max, past_caches);
}
/// Columns first .. first + n of some rows, n < block, lane by lane.
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_few_columns(quern::detail::ratio_task<P, Src, Dst> const& t, index_t row, row_set const& rows, index_t first,
                                                   index_t n) {
  rescaler<P> r[4] = {rescaler<P>(ratios_at(t, first, n)), rescaler<P>(ratios_at(t, first, n)), rescaler<P>(ratios_at(t, first, n)),
                      rescaler<P>(ratios_at(t, first, n))};
  std::int32_t src_zeros[block], dst_zeros[block];
  for (index_t k = 0; k < n; k += lanes) {
    r[k / lanes] = rescaler<P>(ratios_at(t, first + k, n - k));
    store(src_zeros + k, zeros_at(t.from, first + k, n - k));
    store(dst_zeros + k, zeros_at(t.to, first + k, n - k));
  }
  std::int64_t saturated = 0;
  for (index_t k = 0; k < rows.together * rows.turns; ++k) {
    index_t const i = row + k % rows.together * rows.apart + k / rows.together;
    requantize_plainly(t.src + i * t.src_stride + first, t.dst + i * t.dst_stride + first, n, static_cast<rescaler<P> const*>(r),
                       static_cast<std::int32_t const*>(src_zeros), static_cast<std::int32_t const*>(dst_zeros), 1, t.q_min, t.q_max, saturated);
  }
  return saturated;
}
/// Any columns whose codes are told by bits. A strip is rescaled by registers that some rows share.
template <class P, class Src, class Dst>
QUERN_INLINE_BODY std::int64_t requantize_ratio_columns(quern::detail::ratio_task<P, Src, Dst> const& t) {
  quern::detail::code_span const span(t.q_min, t.q_max);
  index_t const all = t.cols;
  bool const in_caches = quern::detail::rows_in_turn::in_caches(t.rows * all);
  bool const rare = t.streaming || span.narrow || (t.to.several && t.to.zeros != nullptr) ||
                    !range_of_zeros(t.from.zeros, t.from.several ? all : 1).within(0, 0);
  column_zeros const src_zeros(t.from), zeros(t.to);
  alignas(64) float ratios[most_ratios + block];
  std::int64_t saturated = 0;
  bool expects = false;
  for (index_t first = 0, n; first < all; first += n) {
    n = all - first < most_ratios ? all - first : most_ratios;
    index_t const whole = n & ~(block - 1), rest = n - whole, blocks = whole / block;
    // Beyond the caches all are kept; else the divider works behind the strip before.
    for (index_t k = 0; k < whole && (k < block || !in_caches); k += lanes) store(ratios + k, ratios_at(t, first + k, lanes));
    if (rest != 0 && all >= block)
      for (index_t k = 0; k < block; k += lanes) store(ratios + whole + k, ratios_at(t, first + n - block + k, lanes));
    // Rows of codes that are a multiple of 4 KiB apart meet in one set of the first cache, and none uses a line up at once.
    bool const meet = !in_caches && sizeof(Src) == 1 && (t.src_stride & 4095) == 0;
    quern::detail::rows_in_turn turn(t.rows, in_caches, t.streaming, meet ? 2 : 64);
    // What is done again at once if something saturates, as quantize_any_columns has it.
    index_t const elements = in_caches ? 4096 : 8192;
    index_t const most = static_cast<index_t>(static_cast<std::uint32_t>(elements - 1) / static_cast<std::uint32_t>(turn.together * block)) + 1;
    index_t const most_turns = in_caches ? 1 : (elements - 1) / (turn.together * n) + 1;
    for (index_t i = 0; i < t.rows; i = turn.next(i)) {
      turn.begin(i);
      for (index_t r = 0; r < turn.apart; r += most_turns) {
        row_set const rows{turn.together, turn.apart, turn.apart - r < most_turns ? turn.apart - r : most_turns};
        for (index_t b = 0, count; b < blocks + (rest != 0); b += count) {
          bool const is_rest = b == blocks;
          count = is_rest ? 1 : blocks - b < most ? blocks - b : most;
          index_t const at = is_rest ? first + n - block : first + b * block;
          if (is_rest && all < block) {
            saturated += requantize_few_columns(t, i + r, rows, first + whole, rest);
            continue;
          }
          index_t const end = in_caches && !is_rest && i == 0 ? first + whole : 0;
          bool const past_caches = t.streaming && !is_rest;
          bool outside = expects && end == 0;
          if (outside) {
          } else if (rare) {
            outside = pack_ratio_columns<true>(t, i + r, rows, at, count, ratios + b * block, end, src_zeros, zeros, span.narrow, past_caches);
          } else {
            outside = pack_ratio_columns<false>(t, i + r, rows, at, count, ratios + b * block, end, src_zeros, zeros, false, false);
          }
          if (!outside) [[likely]]
            continue;
          std::int64_t found = 0;
          for (index_t k = 0; k < rows.turns; ++k)
            for (index_t c = 0; c < count; ++c)
              found += requantize_strip_again(t, i + r + k, rows, at + c * block, ratios + (b + c) * block, src_zeros.at(at + c * block),
                                              zeros.at(at + c * block), past_caches);
          if (is_rest) found = requantize_few_columns(t, i + r, rows, first + whole, rest);  // what the block overlaps is not counted twice
          expects = found != 0;
          saturated += found;
        }
      }
    }
  }
  if (t.streaming) fence();
  return saturated;
}
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_folded(quern::detail::ratio_task<P, Src, Dst> t) {
  alignas(64) float scales[2][quern::detail::most_columns];
  alignas(64) std::int32_t zeros[2][quern::detail::most_columns];
  quern::detail::ratio_side* const sides[2] = {&t.from, &t.to};
  for (int k = 0; k < 2; ++k) {
    if (!sides[k]->several) continue;
    repeat(sides[k]->scales, scales[k], t.period, t.cols);
    sides[k]->scales = scales[k];
    if (sides[k]->zeros == nullptr) continue;
    repeat(sides[k]->zeros, zeros[k], t.period, t.cols);
    sides[k]->zeros = zeros[k];
  }
  t.period = t.cols;
  return requantize_ratio_columns(t);
}
#endif
}  // namespace inner

/// A rectangle whose parameters are ratios of scales, by row or by column. -1, and nothing is written, where a scale or a zero point is not valid
/// or the other functions have to do it.
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_ratios(quern::detail::ratio_task<P, Src, Dst> const& t) {
#if QUERN_DETAIL_PACKED
  if (!inner::valid_ratios(t, t.columns ? t.period : t.rows)) return -1;
  if (!t.columns) return inner::requantize_ratio_rows(t);
  if (!quern::detail::code_span(t.q_min, t.q_max).told_by_bits) return -1;
  if (t.period < t.cols) return t.cols <= quern::detail::most_columns ? inner::requantize_folded(t) : -1;
  return inner::requantize_ratio_columns(t);
#else
  static_cast<void>(t);
  return -1;
#endif
}
