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
QUERN_INLINE i32s with_zero_point(i32s y, i32s zero, std::int32_t q_min, std::int32_t q_max, index_t valid, std::int64_t& saturated) {
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
/// `shifted`: whether a zero point is subtracted first.
template <class R, bool Shifted>
struct one_rescale {
  R const& rescale;
  i32s src_zero;
  std::int32_t zero;
  template <class Src>
  QUERN_INLINE i32s steps(Src const* src, index_t j) const {
    i32s x = load(src + j);
    if constexpr (Shifted) x = sub(x, src_zero);
    return rescaled_or_int_min(rescale, x);
  }
  QUERN_INLINE words zero_words(index_t) const { return broadcast_word(static_cast<std::int16_t>(zero)); }
  QUERN_INLINE i32s zero_dwords(index_t) const { return broadcast(zero); }
};
template <class R>
struct many_rescales {
  R const* rescalers;
  std::int32_t const *src_zeros, *dwords;
  std::int16_t const* words_;
  template <class Src>
  QUERN_INLINE i32s steps(Src const* src, index_t j) const {
    return rescaled_or_int_min(rescalers[j / lanes], sub(load(src + j), load(src_zeros + j)));
  }
  QUERN_INLINE words zero_words(index_t j) const { return load_private(words_ + j); }
  QUERN_INLINE i32s zero_dwords(index_t j) const { return load(dwords + j); }
};
#endif

}  // namespace inner

/// n elements with one pair of scales. Returns how many were saturated.
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_line(Src const* src, Dst* dst, index_t n, typename P::parameters parameters,
                                            std::int32_t src_zero, std::int32_t dst_zero, std::int32_t q_min, std::int32_t q_max,
                                            [[maybe_unused]] bool in_place) {
  std::int64_t saturated = 0;
  index_t done = 0;
  rescaler<P> const rescale(parameters);
  auto const plainly = [&](index_t first, index_t size) {
    std::int32_t src_zeros[lanes], dst_zeros[lanes];
    for (std::int32_t& e : src_zeros) e = src_zero;
    for (std::int32_t& e : dst_zeros) e = dst_zero;
    inner::requantize_plainly(src + first, dst + first, size, &rescale, static_cast<std::int32_t const*>(src_zeros),
                              static_cast<std::int32_t const*>(dst_zeros), 0, q_min, q_max, saturated);
  };
#if QUERN_DETAIL_PACKED
  if constexpr (sizeof(Dst) < 4) {
    constexpr index_t block = 4 * lanes, chunk = 4096;
    quern::detail::code_span const span(q_min, q_max);
    if (n >= block && span.told_by_bits && !in_place) {
      bool const streaming = n >= quern::detail::streaming_bytes / static_cast<index_t>(sizeof(Dst)) &&
                             reinterpret_cast<std::uintptr_t>(dst) % 64 == 0;
      for (index_t size; (size = (n - done < chunk ? n - done : chunk) & ~(block - 1)) > 0; done += size) {
        bool outside;
        if (src_zero == 0 && !span.narrow && !streaming)
          outside = inner::pack_blocks<false, false>(src + done, dst + done, size,
                                                     inner::one_rescale<rescaler<P>, false>{rescale, {}, dst_zero - q_min}, q_min,
                                                     q_max, false, false);
        else
          outside = inner::pack_blocks<false, true>(
              src + done, dst + done, size,
              inner::one_rescale<rescaler<P>, true>{rescale, broadcast(src_zero), dst_zero - q_min}, q_min, q_max, span.narrow,
              streaming);
        if (outside) [[unlikely]]
          plainly(done, size);
      }
      if (streaming) fence();
    }
  }
#endif
  if (done < n) plainly(done, n - done);
  return saturated;
}

/// Rows of n <= most_columns elements, with parameters and zero points for each column.
template <class P, class Src, class Dst>
QUERN_NOINLINE std::int64_t requantize_columns(Src const* src, Dst* dst, index_t rows, index_t n, index_t src_stride, index_t dst_stride,
                                               typename P::parameters const* parameters, std::int32_t const* src_zeros,
                                               std::int32_t const* dst_zeros, std::int32_t q_min, std::int32_t q_max,
                                               [[maybe_unused]] bool in_place) {
  constexpr index_t most = quern::detail::most_columns;
  alignas(64) unsigned char memory[(most / lanes) * sizeof(rescaler<P>)];
  auto* const rescalers = reinterpret_cast<rescaler<P>*>(memory);
  for (index_t j = 0; j < n; j += lanes) ::new (static_cast<void*>(rescalers + j / lanes)) rescaler<P>(parameters + j, n - j < lanes ? n - j : lanes);
  std::int64_t saturated = 0;
  [[maybe_unused]] index_t whole = 0;
#if QUERN_DETAIL_PACKED
  constexpr index_t block = 4 * lanes;
  quern::detail::code_span const span(q_min, q_max);
  if constexpr (sizeof(Dst) < 4) {
    if (span.told_by_bits && !in_place) whole = n & ~(block - 1);
  }
  alignas(64) std::int32_t dwords[most];
  alignas(64) std::int16_t words_[most];
  for (index_t j = 0; j < whole; j += lanes) store(dwords + j, sub(load(dst_zeros + j), broadcast(q_min)));
  for (index_t j = 0; j < whole && sizeof(Dst) == 1; j += 2 * lanes)
    store_private(words_ + j, pack_signed(load(dwords + j), load(dwords + j + lanes)));
#endif
  for (index_t i = 0; i < rows; ++i) {
    Src const* const s = src + i * src_stride;
    Dst* const d = dst + i * dst_stride;
    index_t done = 0;
#if QUERN_DETAIL_PACKED
    if constexpr (sizeof(Dst) < 4) {
      if (whole > 0 && !inner::pack_blocks<false, true>(s, d, whole, inner::many_rescales<rescaler<P>>{rescalers, src_zeros, dwords, words_},
                                                        q_min, q_max, span.narrow, false))
        done = whole;
    }
#endif
    if (done < n)
      inner::requantize_plainly(s + done, d + done, n - done, static_cast<rescaler<P> const*>(rescalers) + done / lanes, src_zeros + done,
                                dst_zeros + done, 1, q_min, q_max, saturated);
  }
  return saturated;
}
