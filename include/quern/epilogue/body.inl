// body.inl — epilogue/scalar.hpp's stages, `lanes` columns at a time. Included once per instruction set, in its namespace.
//
// Columns are the outer loop, since what belongs to a column (scale, bias, rescaler) then stays in registers while the rows of the
// tile pass by. A tile has at most 12 rows or so and has just been written: all of it is in L1.

/// What belongs to `lanes` columns: t's from q on.
template <class E>
struct column {
  using R = typename E::rescale_type;
  struct nothing {};
  template <class P>
  struct stage_of {
    using type = rescaler<P>;
  };
  using stage = typename std::conditional_t<std::is_same_v<R, to_real> || std::is_same_v<R, no_rescale>,
                                            std::type_identity<nothing>, stage_of<R>>::type;
  index_t q, j;
  i32s init;
  f32s scale, bias;
  stage rescaled;

  QUERN_INLINE static stage stage_at([[maybe_unused]] quern::detail::column_data const& d, [[maybe_unused]] index_t j) {
    if constexpr (std::is_same_v<stage, nothing>)
      return {};
    else
      return static_cast<stage const*>(d.rescalers)[j / lanes];
  }
  QUERN_INLINE_BODY column(quern::detail::column_data const& d, quern::detail::tile_result const& t, index_t at)
      : q(at), j(t.col + at), init(t.init != nullptr ? load(t.init + at) : broadcast(std::int32_t{0})), rescaled(stage_at(d, j)) {
    if constexpr (std::is_same_v<R, to_real>) {
      scale = load(d.scales + j);
      bias = d.real_bias != nullptr ? load(d.real_bias + j) : broadcast(0.0f);
    }
  }
};

/// What a tile needs before it is stored: whatever the epilogue has, or only its scales by column (policies: rescalers), or these and
/// what AMX's accumulators did not start from. Asking every row which of the rare stages there are takes longer than the common ones.
inline constexpr int everything = 0, scales_and_init = 1, scales = 2;

/// The rare stages.
struct tile_stages {
  bool corrections, row_scales;
};

/// An accumulator on its way: f32s with to_real, else i32s; not yet clamped. `acc` is where row r of the tile has its accumulators,
/// in c's columns.
template <int Has, class Dst, class E>
QUERN_INLINE_BODY auto staged(quern::detail::finish_context<Dst, E> const& x, quern::detail::tile_result const& t, column<E> const& c,
                         tile_stages stages, std::int32_t const* acc, index_t r, [[maybe_unused]] void const* wide,
                         [[maybe_unused]] index_t wide_ld, [[maybe_unused]] index_t live) {
  using R = typename E::rescale_type;
  using S = typename E::residual_type;
  using T = typename E::then_type;
  constexpr bool real = std::is_same_v<R, to_real>;
  auto const& d = x.columns;
  E const& e = *x.e;
  index_t const i = t.row + r;
  i32s value{};
  if (Has != everything || wide == nullptr) {
    value = load(acc);
    if (Has != scales) value = add(value, c.init);
    if (Has == everything && stages.corrections) {
      std::int32_t const lhs_zero = e.lhs_zero_point[i] + t.lhs_offset;
      if (d.lhs_zero_by_row) value = sub(value, mul_low(broadcast(lhs_zero), load(d.sums + c.j)));
      if (t.sums != nullptr) {
        i32s const row = broadcast(wrap32(t.sums[r] - static_cast<std::int64_t>(d.k) * lhs_zero));
        value = sub(value, mul_low(row, d.rhs_zero != nullptr ? load(d.rhs_zero + c.j) : broadcast(d.uniform_rhs_zero)));
      }
    }
  }
  if constexpr (real) {
    f32s scaled = Has == everything && wide != nullptr ? load(static_cast<float const*>(wide) + r * wide_ld + c.q) : to_f32(value);
    scaled = mul(scaled, Has == everything && stages.row_scales ? mul(broadcast(e.rescale.rows[i]), c.scale) : c.scale);
    if (Has == everything && d.real_bias != nullptr) scaled = add(scaled, c.bias);
    if constexpr (S::present) {
      auto const* const from = e.residual.from.data + i * e.residual.from.row_stride + c.j;
      f32s other{};
      if constexpr (std::is_integral_v<typename S::type>)
        other = to_f32(sub(live == lanes ? load(from) : load_first(from, live), broadcast(e.residual.zero_point)));
      else
        other = live == lanes ? load(from) : load_first(from, live);
      scaled = add(scaled, mul(other, broadcast(e.residual.rescale)));
    }
    if constexpr (quern::detail::has_functor<T>) {
      float each[lanes];
      store(static_cast<float*>(each), scaled);
      for (index_t y = 0; y < live; ++y) each[y] = e.then(each[y], i, c.j + y);
      scaled = load(static_cast<float const*>(each));
    }
    return scaled;
  } else {
    if constexpr (!std::is_same_v<R, no_rescale>) value = c.rescaled(value);
    if constexpr (S::present) {
      auto const* const from = e.residual.from.data + i * e.residual.from.row_stride + c.j;
      i32s other = sub(live == lanes ? load(from) : load_first(from, live), broadcast(e.residual.zero_point));
      if constexpr (!std::is_same_v<R, no_rescale>) other = rescaler<R>(e.residual.rescale)(other);
      if constexpr (sizeof(Dst) < 4) {
        i32s const least = broadcast(-quern::detail::residual_limit), most = broadcast(quern::detail::residual_limit - 1);
        value = add(min(max(value, least), most), min(max(other, least), most));
      } else {
        value = add(value, other);
      }
    }
    if constexpr (quern::detail::has_functor<T>) {
      std::int32_t each[lanes];
      store(static_cast<std::int32_t*>(each), value);
      for (index_t y = 0; y < live; ++y) each[y] = e.then(each[y], i, c.j + y);
      value = load(static_cast<std::int32_t const*>(each));
    }
    return value;
  }
}

#if QUERN_DETAIL_PACKED
/// Four rows of 8-bit codes at a time: four vectors become the `lanes` columns of four rows in one register. Saturating to words,
/// adding the zero point to words and saturating to bytes before clamping gives what clamping first would: each step is monotonic and
/// leaves alone what lies within 8 bits. A float needs one bound before: above int32 the conversion gives INT_MIN, as it does below
/// and for NaN, where that is right.
template <int Has, class Dst, class E>
QUERN_INLINE_BODY void finish_bytes(quern::detail::finish_context<Dst, E> const& x, quern::detail::tile_result const& t, column<E> const& c,
                               tile_stages stages, void const* wide, index_t wide_ld) {
  constexpr int offset = std::is_signed_v<Dst> ? 0 : 128;  // bytes are compared as signed
  std::int32_t const zero_point = x.e->dst_zero_point;
  words const shift = broadcast_word(static_cast<std::int16_t>(zero_point - offset));
  bytes const lo = broadcast_byte(static_cast<std::int8_t>(x.min - offset)), hi = broadcast_byte(static_cast<std::int8_t>(x.max - offset));
  [[maybe_unused]] f32s const most = broadcast(static_cast<float>(x.max - zero_point));
  std::int32_t const* acc = t.acc + c.q;
  Dst* to = x.dst.data + t.row * x.dst.row_stride + c.j;
  index_t const ld = t.ld, stride = x.dst.row_stride;
  for (index_t r = 0; r < t.rows; r += 4) {
    // A last group of less than four rows repeats its last.
    index_t const left = t.rows - r, r1 = left > 1 ? 1 : 0, r2 = left > 2 ? 2 : r1, r3 = left > 3 ? 3 : r2;
    i32s v0, v1, v2, v3;
    if constexpr (std::is_same_v<typename E::rescale_type, to_real>) {
      v0 = to_i32(min(most, staged<Has, Dst>(x, t, c, stages, acc, r, wide, wide_ld, lanes)));
      v1 = to_i32(min(most, staged<Has, Dst>(x, t, c, stages, acc + r1 * ld, r + r1, wide, wide_ld, lanes)));
      v2 = to_i32(min(most, staged<Has, Dst>(x, t, c, stages, acc + r2 * ld, r + r2, wide, wide_ld, lanes)));
      v3 = to_i32(min(most, staged<Has, Dst>(x, t, c, stages, acc + r3 * ld, r + r3, wide, wide_ld, lanes)));
    } else {
      v0 = staged<Has, Dst>(x, t, c, stages, acc, r, wide, wide_ld, lanes);
      v1 = staged<Has, Dst>(x, t, c, stages, acc + r1 * ld, r + r1, wide, wide_ld, lanes);
      v2 = staged<Has, Dst>(x, t, c, stages, acc + r2 * ld, r + r2, wide, wide_ld, lanes);
      v3 = staged<Has, Dst>(x, t, c, stages, acc + r3 * ld, r + r3, wide, wide_ld, lanes);
    }
    bytes out = pack_signed(adds(pack_signed(v0, v1), shift), adds(pack_signed(v2, v3), shift));
    out = min_signed(max_signed(out, lo), hi);
    if constexpr (offset != 0) out = bit_xor(out, broadcast_byte(std::int8_t{-128}));
    store_quarter<0>(to, out);
    store_quarter<1>(to + r1 * stride, out);
    store_quarter<2>(to + r2 * stride, out);
    store_quarter<3>(to + r3 * stride, out);
    acc += 4 * ld;
    to += 4 * stride;
  }
}
#endif

#if QUERN_DETAIL_PACKED
/// Two vectors of columns of two rows.
template <bool Init, class Dst, class F>
QUERN_INLINE void finish_two_rows(std::int32_t const* acc, std::int32_t const* below, F const& f0, F const& f1, [[maybe_unused]] i32s i0,
                                  [[maybe_unused]] i32s i1, words shift, bool clamped, bytes lo, bytes hi, Dst* to, Dst* to_below) {
  i32s v00 = load(acc), v01 = load(acc + lanes), v10 = load(below), v11 = load(below + lanes);
  if constexpr (Init) v00 = add(v00, i0), v01 = add(v01, i1), v10 = add(v10, i0), v11 = add(v11, i1);
  words const w0 = adds(words_in_half_steps(f0, v00, f1, v01), shift), w1 = adds(words_in_half_steps(f0, v10, f1, v11), shift);
  bytes out;
  if constexpr (std::is_signed_v<Dst>) {
    out = pack_signed(w0, w1);
    if (clamped) out = min_signed(max_signed(out, lo), hi);
  } else {
    out = pack_unsigned(w0, w1);
    if (clamped) {
      bytes const sign = broadcast_byte(std::int8_t{-128});
      out = bit_xor(min_signed(max_signed(bit_xor(out, sign), lo), hi), sign);
    }
  }
  store_half<0>(to, out);
  store_half<1>(to_below, out);
}

/// Columns whose rescaler knows half steps (simd/rescale.inl), in pairs, two rows at a time, where there are no rare stages; on AMX
/// with what accumulators did not start from. Returns how many columns it finished: the rest is finish_tile's.
template <bool Init, class Dst, class E>
QUERN_INLINE index_t finish_half_steps(quern::detail::finish_context<Dst, E> const& x, quern::detail::tile_result const& t) {
  using stage = typename column<E>::stage;
  constexpr int offset = std::is_signed_v<Dst> ? 0 : 128;  // bytes are compared as signed
  words const shift = broadcast_word(static_cast<std::int16_t>(x.e->dst_zero_point));
  bool const clamped = x.min != code_of_t<Dst>::min || x.max != code_of_t<Dst>::max;
  bytes const lo = broadcast_byte(static_cast<std::int8_t>(x.min - offset)), hi = broadcast_byte(static_cast<std::int8_t>(x.max - offset));
  auto const* pair = static_cast<stage const*>(x.columns.rescalers) + t.col / lanes;
  index_t const ld = t.ld, stride = x.dst.row_stride, rows = t.rows;
  Dst* column_to = x.dst.data + t.row * stride + t.col;
  index_t q = 0;
  for (; q + 2 * lanes <= t.cols && pair[0].in_half_steps && pair[1].in_half_steps; q += 2 * lanes, pair += 2, column_to += 2 * lanes) {
    auto const f0 = pair[0].half_steps(), f1 = pair[1].half_steps();
    i32s const i0 = Init ? load(t.init + q) : i32s{}, i1 = Init ? load(t.init + q + lanes) : i32s{};
    std::int32_t const* acc = t.acc + q;
    Dst* to = column_to;
    for (index_t r = rows; r > 1; r -= 2, acc += 2 * ld, to += 2 * stride)
      finish_two_rows<Init>(acc, acc + ld, f0, f1, i0, i1, shift, clamped, lo, hi, to, to + stride);
    if (rows % 2 != 0) finish_two_rows<Init>(acc, acc, f0, f1, i0, i1, shift, clamped, lo, hi, to, to);
  }
  return q;
}
#endif

/// Real destinations of to_real whose only rare stage is a zero point or scale by row, as dynamic quantization has them: whole pairs
/// of vectors of columns. Adding -0.0 and multiplying by 1 change nothing. Returns how many columns it finished.
template <bool ByRow, class Dst, class E>
QUERN_INLINE index_t finish_reals(quern::detail::finish_context<Dst, E> const& x, quern::detail::tile_result const& t) {
  auto const& d = x.columns;
  auto const& zeros = x.e->lhs_zero_point;
  auto const& row_scales = x.e->rescale.rows;
  float const one = 1.0f;
  std::int32_t const* const zero = zeros.single() ? &zeros.one : zeros.each + t.row * zeros.stride;
  float const* const row_scale = row_scales.single() ? &one : row_scales.each + t.row * row_scales.stride;
  index_t const zero_step = zeros.single() ? 0 : zeros.stride, scale_step = row_scales.single() ? 0 : row_scales.stride;
  f32s const lo = broadcast(static_cast<float>(x.e->min.value)), hi = broadcast(static_cast<float>(x.e->max.value));
  index_t const ld = t.ld, stride = x.dst.row_stride, rows = t.rows;
  index_t q = 0;
  for (; q + 2 * lanes <= t.cols; q += 2 * lanes) {
    index_t const j = t.col + q;
    f32s const s0 = load(d.scales + j), s1 = load(d.scales + j + lanes);
    f32s const b0 = d.real_bias != nullptr ? load(d.real_bias + j) : broadcast(-0.0f), b1 = d.real_bias != nullptr ? load(d.real_bias + j + lanes) : broadcast(-0.0f);
    i32s const i0 = t.init != nullptr ? load(t.init + q) : broadcast(std::int32_t{0}), i1 = t.init != nullptr ? load(t.init + q + lanes) : broadcast(std::int32_t{0});
    [[maybe_unused]] i32s const c0 = load(d.sums + j), c1 = load(d.sums + j + lanes);
    std::int32_t const* acc = t.acc + q;
    Dst* to = x.dst.data + t.row * stride + j;
    for (index_t r = 0; r < rows; ++r, acc += ld, to += stride) {
      i32s v0 = add(load(acc), i0), v1 = add(load(acc + lanes), i1);
      if constexpr (ByRow) {
        i32s const z = broadcast(zero[r * zero_step] + t.lhs_offset);
        v0 = sub(v0, mul_low(z, c0)), v1 = sub(v1, mul_low(z, c1));
      }
      f32s const s = broadcast(row_scale[r * scale_step]);
      store(to, min(max(add(mul(to_f32(v0), mul(s, s0)), b0), lo), hi));
      store(to + lanes, min(max(add(mul(to_f32(v1), mul(s, s1)), b1), lo), hi));
    }
  }
  return q;
}

/// From accumulators to the destination. dst and residual have columns without gaps.
template <class Dst, class E>
inline void finish_tile(void const* context, quern::detail::tile_result const& t, void const* wide, index_t wide_ld) {
  using R = typename E::rescale_type;
  constexpr bool real = std::is_same_v<R, to_real>;
  constexpr bool narrow = std::is_integral_v<Dst> && sizeof(Dst) < 4;
  auto const& x = *static_cast<quern::detail::finish_context<Dst, E> const*>(context);
  auto const& d = x.columns;
  E const& e = *x.e;
  tile_stages stages{(d.lhs_zero_by_row || t.sums != nullptr) && wide == nullptr, false};
  if constexpr (real) stages.row_scales = !e.rescale.rows.single();
  [[maybe_unused]] bool const common = !stages.corrections && !stages.row_scales && wide == nullptr && d.real_bias == nullptr;
  index_t done = 0;
#if QUERN_DETAIL_PACKED
  if constexpr (sizeof(Dst) == 1 && rescales_in_half_steps<typename column<E>::stage> && !E::residual_type::present &&
                !quern::detail::has_functor<typename E::then_type>) {
    if (common) {
      if constexpr (lanes == 16)  // AMX's epilogues
        done = t.init != nullptr ? finish_half_steps<true>(x, t) : finish_half_steps<false>(x, t);
      else
        done = t.init != nullptr ? 0 : finish_half_steps<false>(x, t);
      if (done == t.cols) return;
    }
  }
#endif
  if constexpr (real && !std::is_integral_v<Dst> && lanes > 4 && !E::residual_type::present && !quern::detail::has_functor<typename E::then_type>) {
    if (wide == nullptr && t.sums == nullptr) done = d.lhs_zero_by_row ? finish_reals<true>(x, t) : finish_reals<false>(x, t);
    if (done == t.cols) return;
  }
  i32s const zero_point = broadcast(e.dst_zero_point);
  i32s lo = zero_point, hi = zero_point;
  f32s lo_real{}, hi_real{};
  if constexpr (real && std::is_integral_v<Dst>) {
    lo_real = broadcast(static_cast<float>(x.min - e.dst_zero_point));
    hi_real = broadcast(static_cast<float>(x.max - e.dst_zero_point));
  } else if constexpr (real) {
    lo_real = broadcast(static_cast<float>(e.min.value));
    hi_real = broadcast(static_cast<float>(e.max.value));
  } else if constexpr (narrow) {
    lo = broadcast(x.min - e.dst_zero_point);
    hi = broadcast(x.max - e.dst_zero_point);
  }
  for (index_t q = done; q < t.cols; q += lanes) {
    index_t const live = t.cols - q < lanes ? t.cols - q : lanes;
    column<E> const c(d, t, q);
#if QUERN_DETAIL_PACKED
    if constexpr (narrow && sizeof(Dst) == 1 && !quern::detail::has_functor<typename E::then_type>) {
      if (live == lanes) {
        if (common && t.init == nullptr) {
          finish_bytes<scales, Dst>(x, t, c, stages, wide, wide_ld);
          continue;
        }
        if constexpr (lanes == 16)
          if (common) {
            finish_bytes<scales_and_init, Dst>(x, t, c, stages, wide, wide_ld);
            continue;
          }
        finish_bytes<everything, Dst>(x, t, c, stages, wide, wide_ld);
        continue;
      }
    }
#endif
    for (index_t r = 0; r < t.rows; ++r) {
      Dst* const to = x.dst.data + (t.row + r) * x.dst.row_stride + c.j;
      i32s codes{};
      if constexpr (real) {
        // NaN becomes lo_real.
        f32s const value = min(max(staged<everything, Dst>(x, t, c, stages, t.acc + r * t.ld + q, r, wide, wide_ld, live), lo_real), hi_real);
        if constexpr (std::is_integral_v<Dst>) {
          codes = add(to_i32(value), zero_point);
        } else {
          if (live == lanes)
            store(to, value);
          else
            store_first(to, value, live);
          continue;
        }
      } else {
        codes = staged<everything, Dst>(x, t, c, stages, t.acc + r * t.ld + q, r, wide, wide_ld, live);
        if constexpr (narrow)
          codes = add(min(max(codes, lo), hi), zero_point);
        else if (e.accumulate)
          codes = add(codes, live == lanes ? load(to) : load_first(to, live));
      }
      if constexpr (std::is_integral_v<Dst>) {
        if (live == lanes)
          store(to, codes);
        else
          store_first(to, codes, live);
      }
    }
  }
}

/// Weights in groups: adds one group's accumulators, corrected and scaled, to the float sums.
template <class Dst, class E>
inline void fold_group_tile(void const* context, quern::detail::tile_result const& t, index_t segment, bool first, void* wide,
                            index_t wide_ld) {
  auto const& c = *static_cast<quern::detail::finish_context<Dst, E> const*>(context);
  auto const& d = c.columns;
  auto const& group_scales = c.e->rescale.groups;
  auto const& zeros = c.e->rescale.group_zero_points;
  index_t const k0 = segment * d.group, k = d.k - k0 < d.group ? d.k - k0 : d.group;
  for (index_t q = 0; q < t.cols; q += lanes) {
    index_t const j = t.col + q, live = t.cols - q < lanes ? t.cols - q : lanes;
    f32s const scale = load_first(&group_scales(segment, j), live);
    i32s const sums = load(d.sums + segment * d.columns + j);
    i32s rhs_zero = d.rhs_zero != nullptr ? load(d.rhs_zero + j) : broadcast(d.uniform_rhs_zero);
    if (zeros.rows > 0) rhs_zero = sub(load_first(&zeros(segment, j), live), broadcast(d.packed_offset));
    for (index_t r = 0; r < t.rows; ++r) {
      std::int32_t const lhs_zero = c.e->lhs_zero_point[t.row + r] + t.lhs_offset;
      i32s value = load(t.acc + r * t.ld + q);
      if (lhs_zero != 0) value = sub(value, mul_low(broadcast(lhs_zero), sums));
      if (t.sums != nullptr)
        value = sub(value, mul_low(broadcast(wrap32(t.sums[r] - static_cast<std::int64_t>(k) * lhs_zero)), rhs_zero));
      float* const sum = static_cast<float*>(wide) + r * wide_ld + q;
      f32s const scaled = mul(to_f32(value), scale);
      store(sum, first ? scaled : add(load(static_cast<float const*>(sum)), scaled));
    }
  }
}

/// A policy's parameters, one a column, as vectors.
template <class R>
inline void prepare_rescalers(void const* parameters, index_t n, index_t columns, unsigned char* memory) {
  auto const* const p = static_cast<typename R::parameters const*>(parameters);
  for (index_t j = 0; j < columns; j += lanes)
    ::new (static_cast<void*>(memory + j / lanes * static_cast<index_t>(sizeof(rescaler<R>)))) rescaler<R>(p + j, lanes);
  (void)n;
}
