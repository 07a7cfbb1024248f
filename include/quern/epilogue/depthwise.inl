// depthwise.inl — a row of a depthwise convolution from interleaved pixels to codes. Included once per instruction set (depthwise.hpp).
//
// Four pixels at a time: their accumulators never leave the registers, and four vectors pack into one of bytes. As a pass of its own
// the epilogue took as long as the products: 3 vpdpbusd against a store, a load and 8 more instructions for 16 outputs.
// The arithmetic is finish_tile's, bit for bit.

/// What belongs to `lanes` channels of a row.
template <class Dot, int Taps>
struct channels_of_row {
  i32s start;
  f32s scale, most;               // to_real
  words shift;                    // zero point, as the signed bytes that are compared have it
  bytes lo, hi;
  typename Dot::weight w[Taps > 0 ? Taps : 1];
  index_t offset[Taps > 0 ? Taps : 1];  // of our own: a store to dst cannot change them
  index_t plane;
};

/// Pixels 0, p1, p2, p3 from `from`.
template <class Dot, int Taps, class Dst, class Stage>
QUERN_INLINE_BODY void four_pixels(quern::detail::depthwise_row const& s, channels_of_row<Dot, Taps> const& k, [[maybe_unused]] Stage const& rescaled, unsigned char const* weights, int v,
                              unsigned char const* from, index_t p1, index_t p2, index_t p3, unsigned char* to, index_t stride) {
  i32s c0 = k.start, c1 = k.start, c2 = k.start, c3 = k.start;
  if constexpr (Taps > 0) {
#pragma GCC unroll 16
    for (int t = 0; t < Taps; ++t) {
      unsigned char const* const at = from + k.offset[t];
      c0.v = Dot::dot(c0.v, at, k.plane, v, k.w[t]);
      c1.v = Dot::dot(c1.v, at + p1 * 64, k.plane, v, k.w[t]);
      c2.v = Dot::dot(c2.v, at + p2 * 64, k.plane, v, k.w[t]);
      c3.v = Dot::dot(c3.v, at + p3 * 64, k.plane, v, k.w[t]);
    }
  } else {
    for (int t = 0; t < s.taps; ++t) {
      unsigned char const* const at = from + s.offset[t];
      auto const w = Dot::load_weight(weights + t * Dot::weight_bytes, v);
      c0.v = Dot::dot(c0.v, at, k.plane, v, w);
      c1.v = Dot::dot(c1.v, at + p1 * 64, k.plane, v, w);
      c2.v = Dot::dot(c2.v, at + p2 * 64, k.plane, v, w);
      c3.v = Dot::dot(c3.v, at + p3 * 64, k.plane, v, w);
    }
  }
  if constexpr (std::is_same_v<Stage, no_rescale>) {
    // Above int32 the conversion gives INT_MIN, as it does below and for NaN, where that is right.
    c0 = to_i32(min(k.most, mul(to_f32(c0), k.scale)));
    c1 = to_i32(min(k.most, mul(to_f32(c1), k.scale)));
    c2 = to_i32(min(k.most, mul(to_f32(c2), k.scale)));
    c3 = to_i32(min(k.most, mul(to_f32(c3), k.scale)));
  } else {
    c0 = rescaled(c0), c1 = rescaled(c1), c2 = rescaled(c2), c3 = rescaled(c3);
  }
  // Saturating to words, adding the zero point to words and saturating to bytes before clamping gives what clamping first would.
  bytes codes = pack_signed(adds(pack_signed(c0, c1), k.shift), adds(pack_signed(c2, c3), k.shift));
  codes = min_signed(max_signed(codes, k.lo), k.hi);
  if constexpr (!std::is_signed_v<Dst>) codes = bit_xor(codes, broadcast_byte(std::int8_t{-128}));
  store_quarter<0>(to, codes);
  store_quarter<1>(to + p1 * stride, codes);
  store_quarter<2>(to + p2 * stride, codes);
  store_quarter<3>(to + p3 * stride, codes);
}

template <class R>
struct stage_of_row {
  using type = rescaler<R>;
  QUERN_INLINE static type at(void const* all, index_t i) { return static_cast<type const*>(all)[i]; }
};
template <>
struct stage_of_row<to_real> {
  using type = no_rescale;
  QUERN_INLINE static type at(void const*, index_t) { return {}; }
};

template <class Dot, int Taps, class Dst, class E>
inline void row_of_taps(quern::detail::finish_context<Dst, E> const& x, quern::detail::depthwise_row const& s) {
  using R = typename E::rescale_type;
  using stage = typename stage_of_row<R>::type;
  constexpr int offset = std::is_signed_v<Dst> ? 0 : 128;
  static_assert(Dot::columns == lanes);
  std::int32_t const zero_point = x.e->dst_zero_point;
  index_t const stride = x.dst.row_stride;
  channels_of_row<Dot, Taps> k{.start = broadcast(0),
                             .scale = broadcast(0.0f),
                             .most = broadcast(static_cast<float>(x.max - zero_point)),
                             .shift = broadcast_word(static_cast<std::int16_t>(zero_point - offset)),
                             .lo = broadcast_byte(static_cast<std::int8_t>(x.min - offset)),
                             .hi = broadcast_byte(static_cast<std::int8_t>(x.max - offset)),
                             .w = {},
                             .offset = {},
                             .plane = s.plane};
#pragma GCC unroll 16
  for (int t = 0; t < Taps; ++t) k.offset[t] = s.offset[t];
  unsigned char const* line = s.from;
  unsigned char const* weights = s.weights;
  auto* const dst = reinterpret_cast<unsigned char*>(x.dst.data + s.row * stride + s.col);
  for (index_t channel = 0; channel < 16 * s.blocks; channel += 16, line += s.from_bytes, weights += s.weight_bytes)
    for (int v = 0; v < 16 / lanes; ++v) {
      k.start = load(s.init + channel + v * lanes);
      if constexpr (std::is_same_v<R, to_real>) k.scale = load(x.columns.scales + s.col + channel + v * lanes);
      stage const rescaled = stage_of_row<R>::at(x.columns.rescalers, (s.col + channel) / lanes + v);
#pragma GCC unroll 16
      for (int t = 0; t < Taps; ++t) k.w[t] = Dot::load_weight(weights + t * Dot::weight_bytes, v);
      unsigned char* to = dst + channel + v * lanes;
      unsigned char const* from = line;
      index_t left = s.pixels;
      for (; left >= 4; left -= 4, from += 256, to += 4 * stride) four_pixels<Dot, Taps, Dst>(s, k, rescaled, weights, v, from, 1, 2, 3, to, stride);
      // The last ones: the missing repeat them.
      if (left > 0) four_pixels<Dot, Taps, Dst>(s, k, rescaled, weights, v, from, left > 1 ? 1 : 0, left > 2 ? 2 : left - 1, left - 1, to, stride);
    }
}

template <class Dot, class Dst, class E>
inline void depthwise_row_of(void const* context, quern::detail::depthwise_row const& s) {
  auto const& x = *static_cast<quern::detail::finish_context<Dst, E> const*>(context);
  if (s.taps == 3) return row_of_taps<Dot, 3>(x, s);
  row_of_taps<Dot, 0>(x, s);
}
