// depthwise3x3_words.inl — 3 x 3 depthwise convolution from the image to codes, by vpmaddwd (AVX2, AVX-512 BW), stride 1 and 2 along a row.
//
// A column of the image is three codes a channel, and 16-bit products come in pairs: (row 0, row 1) of every column, and of row 2 two
// neighbouring columns. So nine taps are five products; a column is widened once and added to the three outputs that see it, whose
// sums wait in registers. Sums go to a line of int32 in L1, from where a second loop makes codes of them: in one loop 4 pixels
// are 110 vector results in a chain of 50 cycles, and Zen 4's registers hold less than two of those (17 cycles for 16 outputs).
//
// Words of 2 * lanes channels unpack within 128-bit lanes, so that `low` has channels 8 L .. 8 L + 3 of lane L, `high` the next four,
// and packing both to words puts them back in order.

template <class Dot>
struct two_vecs {
  typename Dot::vec low, high;
};
template <class Dot>
QUERN_INLINE two_vecs<Dot> paired(typename Dot::vec a, typename Dot::vec b) {
  return {Dot::unpack_low(a, b), Dot::unpack_high(a, b)};
}

/// Weights of the pairs: of columns 0, 1, 2; and of row 2 the two that finish an output and the one that begins the next.
template <class Dot>
struct pair_weights {
  two_vecs<Dot> column[3], last, first;
};

template <class Dot>
inline void load_pairs(pair_weights<Dot>& w, std::int8_t const* taps, index_t step, bool neighbours) {
  auto const at = [&](int row, int column) { return reinterpret_cast<unsigned char const*>(taps + (row * 3 + column) * step); };
#pragma GCC unroll 4
  for (int x = 0; x < 3; ++x) w.column[x] = paired<Dot>(Dot::template widened<true>(at(0, x)), Dot::template widened<true>(at(1, x)));
  auto const none = Dot::zero_words();
  // Of row 2 neighbours (x - 1, x). Stride 1: for the output that column x ends, its column 2; for the next one its columns 0 and 1.
  // Stride 2: for the output that x ends its columns 1 and 2; for the next, of which x is column 0, that.
  if (neighbours) {
    w.last = paired<Dot>(none, Dot::template widened<true>(at(2, 2)));
    w.first = paired<Dot>(Dot::template widened<true>(at(2, 0)), Dot::template widened<true>(at(2, 1)));
  } else {
    w.last = paired<Dot>(Dot::template widened<true>(at(2, 1)), Dot::template widened<true>(at(2, 2)));
    w.first = paired<Dot>(none, Dot::template widened<true>(at(2, 0)));
  }
}

/// A line of the image, three rows of it, from a column on.
template <class Dot, bool Signed>
struct image_columns {
  unsigned char const *row0, *row1, *row2;
  index_t step0, step1, step2;
  two_vecs<Dot> ab;         // of the column that was read last
  typename Dot::vec c;

  QUERN_INLINE void read() {
    ab = paired<Dot>(Dot::template widened<Signed>(row0), Dot::template widened<Signed>(row1));
    c = Dot::template widened<Signed>(row2);
    row0 += step0, row1 += step1, row2 += step2;
  }
};

/// acc[i] = sums of outputs 0 to out_w of a line, low before high.
template <class Dot, bool Signed, int Stride>
inline void pair_sums(quern::detail::depthwise_image const& s, unsigned char const* const (&rows)[3], index_t const (&steps)[3], pair_weights<Dot> const& w,
                      std::int32_t const* init, index_t first, index_t outputs, std::int32_t* acc) {
  using vec = typename Dot::vec;
  vec const start_low = load(init).v, start_high = load(init + lanes).v, blank = Dot::template widened<Signed>(s.blank);
  two_vecs<Dot> const blanks = paired<Dot>(blank, blank);
  index_t x = first * Stride - s.left, column = x < 0 ? 0 : x;
  image_columns<Dot, Signed> image{rows[0] + column * steps[0], rows[1] + column * steps[1], rows[2] + column * steps[2], steps[0], steps[1], steps[2], blanks, blank};
  auto const inside = [&](index_t at) { return static_cast<std::size_t>(at) < static_cast<std::size_t>(s.w); };
  vec c0 = blank;
  if constexpr (Stride == 1) {
    // Sums of the output that ends with this column, and of the one that has it in its middle.
    vec a_low = start_low, a_high = start_high, b_low = start_low, b_high = start_high;
    acc -= 4 * lanes;  // the first two columns end none
    index_t const end = x + outputs + 2, whole = end < s.w ? end : s.w;
    index_t i = 0;
    for (; x < end; ++x, ++i, acc += 2 * lanes) {
      two_vecs<Dot> ab = blanks;
      vec c = blank;
      if (inside(x)) {
        image.read();
        ab = image.ab, c = image.c;
      }
      two_vecs<Dot> const p = paired<Dot>(c0, c);
      a_low = Dot::add_product(Dot::add_product(a_low, ab.low, w.column[2].low), p.low, w.last.low);
      a_high = Dot::add_product(Dot::add_product(a_high, ab.high, w.column[2].high), p.high, w.last.high);
      if (i >= 2) {
        store(acc, i32s{a_low});
        store(acc + lanes, i32s{a_high});
      }
      a_low = Dot::add_product(Dot::add_product(b_low, ab.low, w.column[1].low), p.low, w.first.low);
      a_high = Dot::add_product(Dot::add_product(b_high, ab.high, w.column[1].high), p.high, w.first.high);
      b_low = Dot::add_product(start_low, ab.low, w.column[0].low);
      b_high = Dot::add_product(start_high, ab.high, w.column[0].high);
      c0 = c;
      if (i < 2 || x + 1 < 0 || x + 1 >= whole) continue;
      // Inside of the image, and every column ends an output.
      for (; x + 1 < whole; ++x, ++i) {
        acc += 2 * lanes;
        image.read();
        two_vecs<Dot> const q = paired<Dot>(c0, image.c);
        c0 = image.c;
        store(acc, i32s{Dot::add_product(Dot::add_product(a_low, image.ab.low, w.column[2].low), q.low, w.last.low)});
        store(acc + lanes, i32s{Dot::add_product(Dot::add_product(a_high, image.ab.high, w.column[2].high), q.high, w.last.high)});
        a_low = Dot::add_product(Dot::add_product(b_low, image.ab.low, w.column[1].low), q.low, w.first.low);
        a_high = Dot::add_product(Dot::add_product(b_high, image.ab.high, w.column[1].high), q.high, w.first.high);
        b_low = Dot::add_product(start_low, image.ab.low, w.column[0].low);
        b_high = Dot::add_product(start_high, image.ab.high, w.column[0].high);
      }
    }
  } else {
    if (inside(x)) image.read();
    two_vecs<Dot> p = paired<Dot>(c0, image.c);
    vec a_low = Dot::add_product(Dot::add_product(start_low, image.ab.low, w.column[0].low), p.low, w.first.low);
    vec a_high = Dot::add_product(Dot::add_product(start_high, image.ab.high, w.column[0].high), p.high, w.first.high);
    for (index_t i = 0; i < outputs; ++i, x += 2, acc += 2 * lanes) {
      if (inside(x + 1)) {
        image.read();
      } else {
        image.ab = blanks, image.c = blank;
      }
      c0 = image.c;
      a_low = Dot::add_product(a_low, image.ab.low, w.column[1].low);
      a_high = Dot::add_product(a_high, image.ab.high, w.column[1].high);
      if (inside(x + 2)) {
        image.read();
      } else {
        image.ab = blanks, image.c = blank;
      }
      p = paired<Dot>(c0, image.c);
      store(acc, i32s{Dot::add_product(Dot::add_product(a_low, image.ab.low, w.column[2].low), p.low, w.last.low)});
      store(acc + lanes, i32s{Dot::add_product(Dot::add_product(a_high, image.ab.high, w.column[2].high), p.high, w.last.high)});
      a_low = Dot::add_product(Dot::add_product(start_low, image.ab.low, w.column[0].low), p.low, w.first.low);
      a_high = Dot::add_product(Dot::add_product(start_high, image.ab.high, w.column[0].high), p.high, w.first.high);
    }
  }
}

template <class Dot, class Dst, class E>
inline void depthwise_pairs_of(void const* context, quern::detail::depthwise_image const& s) {
  auto const& x = *static_cast<quern::detail::finish_context<Dst, E> const*>(context);
  // A function of its own, called for each line: it is compiled once, whatever the epilogues.
  auto const sums = s.is_signed ? s.stride_w == 1 ? &pair_sums<Dot, true, 1> : &pair_sums<Dot, true, 2>
                                : s.stride_w == 1 ? &pair_sums<Dot, false, 1> : &pair_sums<Dot, false, 2>;
  using R = typename E::rescale_type;
  using stage = typename stage_of_row<R>::type;
  constexpr int offset = std::is_signed_v<Dst> ? 0 : 128, wide = 2 * lanes, most_parts = 64 / wide;
  constexpr index_t chunk = 64;  // outputs whose sums are kept
  auto const channel_of = [](int i) { return i / wide * wide + i % lanes / 4 * 8 + i % wide / lanes * 4 + i % 4; };
  std::int32_t const zero_point = x.e->dst_zero_point;
  int const channels = static_cast<int>(s.channels);
  alignas(64) std::int32_t start[64];
  alignas(64) float scale[64];
  for (int i = 0; i < channels; ++i) {
    start[i] = s.init[channel_of(i)];
    if constexpr (std::is_same_v<R, to_real>) scale[i] = x.columns.scales[s.col + channel_of(i)];
  }
  auto const parameters = [&] {
    if constexpr (std::is_same_v<R, to_real>) {
      return 0;
    } else {
      struct { typename R::parameters each[64]; } mine;
      for (int i = 0; i < channels; ++i) mine.each[i] = static_cast<typename R::parameters const*>(x.columns.parameters)[s.col + channel_of(i)];
      return mine;
    }
  }();
  auto const stage_of = [&]([[maybe_unused]] int i) -> stage {
    if constexpr (std::is_same_v<R, to_real>)
      return {};
    else
      return stage(static_cast<typename R::parameters const*>(parameters.each + i), index_t{lanes});
  };
  f32s const most = broadcast(static_cast<float>(x.max - zero_point));
  words const shift = broadcast_word(static_cast<std::int16_t>(zero_point - offset));
  bytes const lo = broadcast_byte(static_cast<std::int8_t>(x.min - offset)), hi = broadcast_byte(static_cast<std::int8_t>(x.max - offset));
  bytes const flip = broadcast_byte(static_cast<std::int8_t>(-offset));
  pair_weights<Dot> weights[most_parts];
  for (int i = 0; i < channels; i += wide) load_pairs<Dot>(weights[i / wide], s.taps + i, s.taps_step, s.stride_w == 1);
  alignas(64) std::int32_t acc[chunk * wide];
  for (index_t y = s.begin; y < s.end; ++y) {
    unsigned char* const line = reinterpret_cast<unsigned char*>(s.dst) + y * s.dst_h_stride;
    for (int part = 0; part < channels; part += wide) {
      unsigned char const* rows[3];
      index_t steps[3];
      for (index_t r = 0; r < 3; ++r) {
        index_t const at = y * s.stride_h - s.top + r;
        bool const there = at >= 0 && at < s.h;
        rows[r] = there ? s.src + at * s.h_stride + part : s.blank;
        steps[r] = there ? s.w_stride : index_t{0};
      }
      stage const stage_low = stage_of(part), stage_high = stage_of(part + lanes);
      f32s scale_low = most, scale_high = most;
      if constexpr (std::is_same_v<R, to_real>) scale_low = load(static_cast<float const*>(scale) + part), scale_high = load(static_cast<float const*>(scale) + part + lanes);
      for (index_t first = 0; first < s.out_w; first += chunk) {
        index_t const outputs = s.out_w - first < chunk ? s.out_w - first : chunk;
        sums(s, rows, steps, weights[part / wide], start + part, first, outputs, acc);
        unsigned char* to = line + first * s.dst_w_stride + part;
        auto const finished = [&](std::int32_t const* from) {
          i32s a = load(from), b = load(from + lanes);
          if constexpr (std::is_same_v<R, to_real>) {
            // Above int32 the conversion gives INT_MIN, as it does below and for NaN, where that is right.
            a = to_i32(min(most, mul(to_f32(a), scale_low)));
            b = to_i32(min(most, mul(to_f32(b), scale_high)));
          } else {
            a = stage_low(a), b = stage_high(b);
          }
          return adds(pack_signed(a, b), shift);
        };
        for (index_t i = 0; i < outputs; i += 2) {
          index_t const second = i + 1 < outputs ? 1 : 0;  // a last one alone is written twice
          words const p = finished(acc + i * wide), q = finished(acc + (i + second) * wide);
          bytes codes = min_signed(max_signed(pack_signed_private(p, q), lo), hi);  // those of p, then those of q
          if constexpr (offset != 0) codes = bit_xor(codes, flip);
          store_half<0>(to, codes);
          store_half<1>(to + second * s.dst_w_stride, codes);
          to += 2 * s.dst_w_stride;
        }
      }
    }
  }
}
