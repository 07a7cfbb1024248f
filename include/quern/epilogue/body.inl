// body.inl — epilogue/scalar.hpp's stages, `lanes` columns at a time. Included once per instruction set, in its namespace.
//
// Columns are the outer loop, since what belongs to a column (scale, bias, rescaler) then stays in registers while the rows of the
// tile pass by. A tile has at most 12 rows or so and has just been written: all of it is in L1.

/// From accumulators to the destination. dst and residual have columns without gaps.
template <class Dst, class E>
inline void finish_tile(void const* context, quern::detail::tile_result const& t, void const* wide, index_t wide_ld) {
  using R = typename E::rescale_type;
  using S = typename E::residual_type;
  using T = typename E::then_type;
  constexpr bool real = std::is_same_v<R, to_real>;
  constexpr bool narrow = std::is_integral_v<Dst> && sizeof(Dst) < 4;
  auto const& c = *static_cast<quern::detail::finish_context<Dst, E> const*>(context);
  auto const& d = c.columns;
  E const& e = *c.e;
  bool const corrections = (d.lhs_zero_by_row || t.sums != nullptr) && wide == nullptr;
  bool row_scales = false;
  if constexpr (real) row_scales = !e.rescale.rows.single();
  i32s const zero_point = broadcast(e.dst_zero_point);
  i32s lo = zero_point, hi = zero_point;
  f32s lo_real{}, hi_real{};
  if constexpr (real && std::is_integral_v<Dst>) {
    lo_real = broadcast(static_cast<float>(c.min - e.dst_zero_point));
    hi_real = broadcast(static_cast<float>(c.max - e.dst_zero_point));
  } else if constexpr (real) {
    lo_real = broadcast(static_cast<float>(e.min.value));
    hi_real = broadcast(static_cast<float>(e.max.value));
  } else if constexpr (narrow) {
    lo = broadcast(c.min - e.dst_zero_point);
    hi = broadcast(c.max - e.dst_zero_point);
  }
  for (index_t q = 0; q < t.cols; q += lanes) {
    index_t const j = t.col + q, live = t.cols - q < lanes ? t.cols - q : lanes;
    i32s const init = t.init != nullptr ? load(t.init + q) : broadcast(std::int32_t{0});
    f32s scale{}, bias{};
    if constexpr (real) {
      scale = load(d.scales + j);
      if (d.real_bias != nullptr) bias = load(d.real_bias + j);
    }
    auto const rescaled = [&] {
      if constexpr (real || std::is_same_v<R, no_rescale>)
        return 0;
      else
        return static_cast<rescaler<R> const*>(d.rescalers)[j / lanes];
    }();
    for (index_t r = 0; r < t.rows; ++r) {
      index_t const i = t.row + r;
      Dst* const to = c.dst.data + i * c.dst.row_stride + j;
      f32s value_real{};
      i32s value{};
      if (wide == nullptr) {
        value = add(load(t.acc + r * t.ld + q), init);
        if (corrections) {
          std::int32_t const lhs_zero = e.lhs_zero_point[i] + t.lhs_offset;
          if (d.lhs_zero_by_row) value = sub(value, mul_low(broadcast(lhs_zero), load(d.sums + j)));
          if (t.sums != nullptr) {
            i32s const row = broadcast(wrap32(t.sums[r] - static_cast<std::int64_t>(d.k) * lhs_zero));
            value = sub(value, mul_low(row, d.rhs_zero != nullptr ? load(d.rhs_zero + j) : broadcast(d.uniform_rhs_zero)));
          }
        }
      }
      if constexpr (real) {
        value_real = wide != nullptr ? load(static_cast<float const*>(wide) + r * wide_ld + q) : to_f32(value);
        value_real = mul(value_real, row_scales ? mul(broadcast(e.rescale.rows[i]), scale) : scale);
        if (d.real_bias != nullptr) value_real = add(value_real, bias);
        if constexpr (S::present) {
          auto const* const from = e.residual.from.data + i * e.residual.from.row_stride + j;
          f32s residual{};
          if constexpr (std::is_integral_v<typename S::type>)
            residual = to_f32(sub(live == lanes ? load(from) : load_first(from, live), broadcast(e.residual.zero_point)));
          else
            residual = live == lanes ? load(from) : load_first(from, live);
          value_real = add(value_real, mul(residual, broadcast(e.residual.rescale)));
        }
        if constexpr (quern::detail::has_functor<T>) {
          float each[lanes];
          store(static_cast<float*>(each), value_real);
          for (index_t x = 0; x < live; ++x) each[x] = e.then(each[x], i, j + x);
          value_real = load(static_cast<float const*>(each));
        }
        value_real = min(max(value_real, lo_real), hi_real);  // NaN becomes lo_real
        if constexpr (std::is_integral_v<Dst>) value = add(to_i32(value_real), zero_point);
      } else {
        if constexpr (!std::is_same_v<R, no_rescale>) value = rescaled(value);
        if constexpr (S::present) {
          auto const* const from = e.residual.from.data + i * e.residual.from.row_stride + j;
          i32s residual = sub(live == lanes ? load(from) : load_first(from, live), broadcast(e.residual.zero_point));
          if constexpr (!std::is_same_v<R, no_rescale>) residual = rescaler<R>(e.residual.rescale)(residual);
          if constexpr (narrow) {
            i32s const least = broadcast(-quern::detail::residual_limit), most = broadcast(quern::detail::residual_limit - 1);
            value = add(min(max(value, least), most), min(max(residual, least), most));
          } else {
            value = add(value, residual);
          }
        }
        if constexpr (quern::detail::has_functor<T>) {
          std::int32_t each[lanes];
          store(static_cast<std::int32_t*>(each), value);
          for (index_t x = 0; x < live; ++x) each[x] = e.then(each[x], i, j + x);
          value = load(static_cast<std::int32_t const*>(each));
        }
        if constexpr (narrow)
          value = add(min(max(value, lo), hi), zero_point);
        else if (e.accumulate)
          value = add(value, live == lanes ? load(to) : load_first(to, live));
      }
      if constexpr (std::is_integral_v<Dst>) {
        if (live == lanes)
          store(to, value);
        else
          store_first(to, value, live);
      } else {
        if (live == lanes)
          store(to, value_real);
        else
          store_first(to, value_real, live);
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
  auto const& scales = c.e->rescale.groups;
  auto const& zeros = c.e->rescale.group_zero_points;
  index_t const k0 = segment * d.group, k = d.k - k0 < d.group ? d.k - k0 : d.group;
  for (index_t q = 0; q < t.cols; q += lanes) {
    index_t const j = t.col + q, live = t.cols - q < lanes ? t.cols - q : lanes;
    f32s const scale = load_first(&scales(segment, j), live);
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
