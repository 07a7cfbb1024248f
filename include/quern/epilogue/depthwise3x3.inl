// depthwise3x3.inl — 3 x 3 depthwise convolution of 64 channels, from the image to codes in registers (AVX-512 VNNI).
//
// Three rows of 64 codes unpack into four vectors of quads (row 0, 1, 2, none) without leaving their 128-bit lanes: lane L of vector q
// has channels 16 L + 4 q .. + 3. Weights, starts and scales lie in that order, and packing four vectors lane by lane puts the codes
// back in order. So nothing is shuffled into place and no line of interleaved pixels is written: 8 unpacks a column of the image.

struct column64 {
  __m512i q[4];
};

/// Column x of the three rows; zero points outside of the image.
QUERN_INLINE column64 load_column(unsigned char const* const (&rows)[3], index_t const (&steps)[3], index_t x, index_t width, __m512i flip, __m512i blank) {
  if (x < 0 || x >= width) return {{blank, blank, blank, blank}};
  __m512i const a = _mm512_xor_si512(_mm512_loadu_si512(rows[0] + x * steps[0]), flip);
  __m512i const b = _mm512_xor_si512(_mm512_loadu_si512(rows[1] + x * steps[1]), flip);
  __m512i const c = _mm512_xor_si512(_mm512_loadu_si512(rows[2] + x * steps[2]), flip);
  __m512i const ab0 = _mm512_unpacklo_epi8(a, b), ab1 = _mm512_unpackhi_epi8(a, b);
  __m512i const cc0 = _mm512_unpacklo_epi8(c, c), cc1 = _mm512_unpackhi_epi8(c, c);
  return {{_mm512_unpacklo_epi16(ab0, cc0), _mm512_unpackhi_epi16(ab0, cc0), _mm512_unpacklo_epi16(ab1, cc1), _mm512_unpackhi_epi16(ab1, cc1)}};
}

template <class Dst, class E>
inline void depthwise_block64(void const* context, quern::detail::depthwise_image const& s) {
  using R = typename E::rescale_type;
  using stage = typename stage_of_row<R>::type;
  constexpr int offset = std::is_signed_v<Dst> ? 0 : 128;
  auto const& x = *static_cast<quern::detail::finish_context<Dst, E> const*>(context);
  std::int32_t const zero_point = x.e->dst_zero_point;
  alignas(64) std::int32_t start[64];
  alignas(64) float scale[64];
  for (int i = 0; i < 64; ++i) {
    int const channel = i / 16 * 4 + i % 16 / 4 * 16 + i % 4;
    start[i] = s.init[channel];
    if constexpr (std::is_same_v<R, to_real>) scale[i] = x.columns.scales[s.col + channel];
  }
  auto const stage_of = [&]([[maybe_unused]] int q) -> stage {
    if constexpr (std::is_same_v<R, to_real>) {
      return {};
    } else {
      auto const* const all = static_cast<typename R::parameters const*>(x.columns.parameters) + s.col;
      typename R::parameters mine[16];
      for (int i = 0; i < 16; ++i) mine[i] = all[q * 4 + i / 4 * 16 + i % 4];
      return stage(static_cast<typename R::parameters const*>(mine), index_t{16});
    }
  };
  stage const stages[4] = {stage_of(0), stage_of(1), stage_of(2), stage_of(3)};
  [[maybe_unused]] f32s const most = broadcast(static_cast<float>(x.max - zero_point));
  words const shift = broadcast_word(static_cast<std::int16_t>(zero_point - offset));
  bytes const lo = broadcast_byte(static_cast<std::int8_t>(x.min - offset)), hi = broadcast_byte(static_cast<std::int8_t>(x.max - offset));
  __m512i const flip = _mm512_set1_epi8(s.is_signed ? static_cast<char>(0x80) : 0);
  __m512i const blank = _mm512_xor_si512(_mm512_loadu_si512(s.blank), flip);
  index_t const zero_steps = 0;
  for (index_t y = s.begin; y < s.end; ++y) {
    unsigned char const* rows[3];
    index_t steps[3];
    for (index_t r = 0; r < 3; ++r) {
      index_t const at = y * s.stride_h - s.top + r;
      bool const there = at >= 0 && at < s.h;
      rows[r] = there ? s.src + at * s.h_stride : s.blank;
      steps[r] = there ? s.w_stride : zero_steps;
    }
    auto* to = reinterpret_cast<unsigned char*>(s.dst) + y * s.dst_h_stride;
    index_t at = -s.left;
    column64 c0 = load_column(rows, steps, at, s.w, flip, blank), c1 = c0;
    if (s.stride_w == 1) c1 = load_column(rows, steps, at + 1, s.w, flip, blank);
    for (index_t p = 0; p < s.out_w; ++p, at += s.stride_w, to += s.dst_w_stride) {
      if (s.stride_w != 1) c1 = load_column(rows, steps, at + 1, s.w, flip, blank);
      column64 const c2 = load_column(rows, steps, at + 2, s.w, flip, blank);
      i32s v[4];
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) {
        __m512i acc = _mm512_load_si512(start + 16 * q);
        acc = _mm512_dpbusd_epi32(acc, c0.q[q], _mm512_loadu_si512(s.weights + q * 64));
        acc = _mm512_dpbusd_epi32(acc, c1.q[q], _mm512_loadu_si512(s.weights + 256 + q * 64));
        acc = _mm512_dpbusd_epi32(acc, c2.q[q], _mm512_loadu_si512(s.weights + 512 + q * 64));
        if constexpr (std::is_same_v<R, to_real>)
          v[q] = to_i32(min(most, mul(to_f32(i32s{acc}), load(static_cast<float const*>(scale) + 16 * q))));
        else
          v[q] = stages[q](i32s{acc});
      }
      __m512i const packed = _mm512_packs_epi16(adds(pack_signed(v[0], v[1]), shift).v, adds(pack_signed(v[2], v[3]), shift).v);
      bytes codes = min_signed(max_signed(bytes{packed}, lo), hi);
      if constexpr (offset != 0) codes = bit_xor(codes, broadcast_byte(std::int8_t{-128}));
      _mm512_storeu_si512(to, codes.v);
      if (s.stride_w == 1) {
        c0 = c1;
        c1 = c2;
      } else if (s.stride_w == 2) {
        c0 = c2;
      } else {
        c0 = load_column(rows, steps, at + s.stride_w, s.w, flip, blank);
      }
    }
  }
}
