// quantize_body.inl — quantize on vectors. Included once per instruction set, in its namespace; see quantize_kernels.hpp.
//
// Three loops share the work. The plain one does what the definition says, lane by lane, and counts. The fast one does the least:
//
//     u = round(x / scale) + zero_point - q_min      in 16 (or 32) bits
//     dst = u + q_min                                where 0 <= u <= q_max - q_min
//
// and only collects the bits of all u. If a forbidden bit came up in a piece, the piece is done again by one that bounds every step
// and counts (or, for codes of 16 bits, by the plain one). So a value that saturates or is not finite costs time, never exactness,
// and 64 elements take 15 instructions on the two vector ports of AVX-512: multiply 4, convert 4, pack 2 + 1, add 2, collect 1,
// order 1.

namespace inner {

QUERN_INLINE f32s real_of(f32s, i32s x) { return to_f32(x); }
QUERN_INLINE f64s real_of(f64s, i32s x) { return to_f64(x); }
/// What the limits are compared in: float holds every 16-bit code less a zero point, int32 needs double.
template <class Dst>
QUERN_INLINE f32s widened(f32s x)
  requires(sizeof(Dst) < 4)
{
  return x;
}
template <class Dst>
QUERN_INLINE f64s widened(f32s x)
  requires(sizeof(Dst) == 4)
{
  return to_f64(x);
}
template <class Dst>
QUERN_INLINE f64s widened(f64s x) {
  return x;
}

template <class V>
QUERN_INLINE mask finite_of(V x) {
  return less(abs(x), constant_like(x, __builtin_inf()));
}

/// h ^ h >> s.
QUERN_INLINE i32s fold(i32s h, int s) { return bit_xor(h, shift_right_logical(h, broadcast(std::int32_t{s}))); }
QUERN_INLINE i32s mix(i32s h) {
  h = mul_low(fold(h, 16), broadcast(static_cast<std::int32_t>(0x85ebca6bu)));
  h = mul_low(fold(h, 13), broadcast(static_cast<std::int32_t>(0xc2b2ae35u)));
  return fold(h, 16);
}
/// round_to::stochastic::to_integral with indices first, first + step, ...; lane by lane where they cross a multiple of 2^32.
template <class V>
QUERN_INLINE V to_integral_at(V v, round_to::stochastic r, std::uint64_t first, index_t step) {
  using scalar = decltype(scalar_of(v));
  std::uint64_t const last = first + static_cast<std::uint64_t>(step * (lanes - 1));
  if ((first >> 32) != (last >> 32)) {
    scalar x[lanes];
    store(static_cast<scalar*>(x), v);
    for (int i = 0; i < lanes; ++i) x[i] = r.to_integral(x[i], first + static_cast<std::uint64_t>(step * i));
    return load(static_cast<scalar const*>(x));
  }
  auto const low = [](std::uint64_t x) { return static_cast<std::int32_t>(static_cast<std::uint32_t>(x)); };
  std::int32_t count_up[lanes];
  for (int i = 0; i < lanes; ++i) count_up[i] = i;
  i32s const index = add(broadcast(low(first)), mul_low(load(static_cast<std::int32_t const*>(count_up)),
                                                        broadcast(low(static_cast<std::uint64_t>(step)))));
  i32s const draw = mix(bit_xor(
      add(mix(bit_xor(index, broadcast(low(r.seed)))), broadcast(low(std::uint64_t{0x9e3779b9u} * (first >> 32)))),
      broadcast(low((r.seed >> 32) ^ 0x5851f42du))));
  V const u = mul(real_of(v, shift_right_logical(draw, broadcast(std::int32_t{8}))), constant_like(v, 5.9604644775390625e-8));
  V const t = truncate(v);
  return away_if(less(u, fraction_of(v, t)), v, t);
}
template <class V, class Rounding>
QUERN_INLINE V to_integral_at(V v, Rounding mode, std::uint64_t, index_t) {
  return to_integral(v, mode);
}

/// The definition, a vector at a time. `scales` (or inverses) and `zeros` advance with the elements if `step` is 1; if it is 0
/// they hold `lanes` equal ones.
template <class Form, class Src, class Dst, class Rounding, class Real>
QUERN_NOINLINE void quantize_plainly(Src const* src, Dst* dst, index_t n, Real const* scales, std::int32_t const* zeros, index_t step,
                                     std::int32_t q_min, std::int32_t q_max, Rounding rounding, std::uint64_t index,
                                     index_t index_step, conversion_counts& counts) {
  for (index_t j = 0; j < n; j += lanes) {
    index_t const rest = n - j;
    auto const x = rest >= lanes ? load(src + j) : load_first(src + j, rest);
    auto const s = load(scales + j * step);
    i32s const zero = load(zeros + j * step);
    auto const v = std::is_same_v<Form, divide> ? div(x, s) : mul(x, s);
    auto const r = widened<Dst>(to_integral_at(v, rounding, index + static_cast<std::uint64_t>(j * index_step), index_step));
    auto const z = real_of(r, zero), lo = sub(constant_like(r, q_min), z), hi = sub(constant_like(r, q_max), z);
    mask const finite = finite_of(x);
    mask const outside = mask_or(less(r, lo), less(hi, r));
    unsigned const wrong = lane_bits(mask_and(finite, outside));  // behind the end too: zero point 0 may be no code
    counts.saturated += __builtin_popcount(rest >= lanes ? wrong : wrong & ((1u << rest) - 1));
    counts.non_finite += lanes - __builtin_popcount(lane_bits(finite));
    i32s const q = to_i32(add(min(max(r, lo), hi), z));  // max returns its second operand for NaN: q_min
    if (rest >= lanes)
      store(dst + j, q);
    else
      store_first(dst + j, q, rest);
  }
}

#if QUERN_DETAIL_PACKED  // from here on: what has_pack is needed for

inline constexpr index_t block = 4 * lanes;
inline constexpr index_t most_rows = 8;  // that go through a block of columns, whose scales stay in registers, before the next block

/// x * inverse, or x / scale: in two steps (exact_division.hpp) where there is an fma, else as it stands, with the scale in `low`.
template <class Form, class V>
QUERN_INLINE V scaled(V x, [[maybe_unused]] V inverse, [[maybe_unused]] V low) {
  if constexpr (!std::is_same_v<Form, divide>)
    return mul(x, inverse);
  else if constexpr (has_fma)
    return fma(x, inverse, mul(x, low));
  else
    return div(x, low);
}
/// What `inverse` leaves out of 1 / scale, to 2^-47 of it: the remainder 1 - scale * inverse is exact.
template <class V>
QUERN_INLINE V low_part(V scale, V inverse) {
  if constexpr (has_fma)
    return mul(fma(sub(broadcast(0.0f), scale), inverse, broadcast(1.0f)), inverse);
  else
    return scale;
}
/// Where `Form` may be done as scaled() does it for a code of `bits` <= 16 bits and every finite x: in two steps where S modulo 2^t is 0
/// or at least 8 away from it, and 2^-60 <= scale < 2^61, so that nothing over- or underflows where |x / scale| is near a threshold.
/// Only the order against 0 looks at smaller quotients; for scales up to 1 those do not vanish.
template <class Form, class Rounding>
QUERN_INLINE mask may_be_scaled(f32s scale, [[maybe_unused]] f32s inverse, [[maybe_unused]] int bits) {
  if constexpr (!std::is_same_v<Form, divide>) {
    return less(inverse, broadcast(__builtin_inff()));  // 0 times the infinite inverse of a tiny scale is NaN
  } else if constexpr (has_fma) {
    std::int32_t const modulus = bits <= 8 ? 1 << 16 : 1 << 8;
    std::int32_t const most = quern::detail::rounds_at_integers<Rounding> ? 0x3f800000 : 0x5dffffff;  // 1, or the last below 2^61
    i32s const b = as_i32(scale), rest = bit_and(b, broadcast(modulus - 1));
    mask const in_range = mask_and(less(broadcast(std::int32_t{0x217fffff}), b), less(b, broadcast(most + 1)));  // from 2^-60
    mask const away = mask_and(less(broadcast(std::int32_t{7}), rest), less(rest, broadcast(modulus - 7)));
    return mask_and(in_range, mask_or(equal(rest, broadcast(std::int32_t{0})), away));
  } else {
    return equal(scale, scale);
  }
}

/// Vector k of a block: where Each has its own, those at p; else the first one in all lanes.
template <bool Each, class T>
QUERN_INLINE auto of_block(T const* p, int k) {
  if constexpr (Each)
    return load(p + k * lanes);
  else
    return broadcast(*p);
}

/// What makes steps of a block of elements: one scale for all of them, or Each its own. (Loops over the four vectors of a block are
/// written out wherever they are: GCC does not unroll them at -O2, and what is indexed would be kept in memory.)
template <class Form, class Rounding, bool Each>
struct block_scales {
  static constexpr bool each = Each;
  f32s inverse[4], low[4];
  i32s zero[4];  ///< zero_point - q_min

  QUERN_INLINE block_scales(float const* i, float const* l, std::int32_t const* z)
      : inverse{of_block<Each>(i, 0), of_block<Each>(i, 1), of_block<Each>(i, 2), of_block<Each>(i, 3)},
        low{of_block<Each>(l, 0), of_block<Each>(l, 1), of_block<Each>(l, 2), of_block<Each>(l, 3)},
        zero{of_block<Each>(z, 0), of_block<Each>(z, 1), of_block<Each>(z, 2), of_block<Each>(z, 3)} {}
  template <class Src>
  QUERN_INLINE i32s steps(Src const* src, int k) const {
    return to_i32(scaled<Form>(load(src + k * lanes), inverse[Each ? k : 0], low[Each ? k : 0]), Rounding{});
  }
  /// Of values that may be anything: what is far outside stays outside, on its side, and NaN goes below. Never more than 2^14 steps.
  template <class Src>
  QUERN_INLINE i32s bounded_steps(Src const* src, int k, mask& all_finite) const {
    f32s x = load(src + k * lanes);
    all_finite = mask_and(all_finite, finite_of(x));
    f32s const most = broadcast(16384.0f);
    // Two steps make inf - inf of what overflows. Scales of theirs are within 2^+-61: 2^80 is beyond every code, and no product of
    // it overflows that is not as large as it should be.
    f32s const large = broadcast(0x1p80f);
    if constexpr (std::is_same_v<Form, divide> && has_fma) x = min(max(x, sub(broadcast(0.0f), large)), large);
    f32s const v = scaled<Form>(x, inverse[Each ? k : 0], low[Each ? k : 0]);
    return to_i32(min(max(v, sub(broadcast(0.0f), most)), most), Rounding{});
  }
  QUERN_INLINE i32s zero_of(int k) const { return zero[Each ? k : 0]; }
};

/// What a block of codes of a byte is packed with.
template <class Dst>
struct block_codes {
  words zero0, zero1, one;
  bytes lowest;
  template <class Scales>
  QUERN_INLINE block_codes(Scales const& s, std::int32_t q_min)
      : zero0(pack_signed(s.zero_of(0), s.zero_of(1))), zero1(pack_signed(s.zero_of(2), s.zero_of(3))), one(broadcast_word(1)),
        lowest(broadcast_byte(static_cast<std::int8_t>(q_min))) {}

  template <bool Centered, bool Rare, class Src, class Scales>
  QUERN_INLINE void pack(Src const* src, Dst* dst, Scales const& s, bool narrow, bool past_caches, words& seen) const {
    words const w0 = pack_signed(s.steps(src, 0), s.steps(src, 1));
    words const w1 = pack_signed(s.steps(src, 2), s.steps(src, 3));
    // Wrapping will do (and has two ports, saturating one): what overflows has its top bit set, which is forbidden.
    words const u0 = add(w0, zero0), u1 = add(w1, zero1);
    seen = or3(seen, u0, u1);
    if (Rare && narrow) seen = or3(seen, add(u0, one), add(u1, one));
    bytes q;
    if constexpr (Centered)
      q = pack_signed(w0, w1);
    else
      q = pack_unsigned(u0, u1);
    if constexpr (!Centered && std::is_signed_v<Dst>) q = add(q, lowest);
    if (!Centered && !std::is_signed_v<Dst> && Rare && narrow) q = add(q, lowest);  // 1 to 255
    if (Rare && past_caches)
      stream(dst, q);
    else
      store(static_cast<void*>(dst), q);
  }
};
/// The bits that no u inside of q_min .. q_max has, nor u + 1 where the range is narrow.
QUERN_INLINE std::int32_t forbidden_bits(std::int32_t q_min, std::int32_t q_max, bool narrow) { return ~((q_max - q_min) | (narrow ? 1 : 0)); }
QUERN_INLINE bool any_outside(words seen, std::int32_t forbidden) {
  return any_bit(seen, broadcast_word(static_cast<std::int16_t>(forbidden)));
}

/// `count` blocks, each `*_step` elements after the one before; returns whether anything may be outside of q_min .. q_max, and then
/// the destination holds anything. `Centered`: s8 and no zero point, which packing alone brings home. `narrow`: the range lacks
/// one code. Only where Rare is set are narrow and streaming looked at: a branch takes one of the two vector ports.
template <bool Centered, bool Rare, class Src, class Dst, class Scales>
QUERN_INLINE bool pack_blocks(Src const* src, Dst* dst, index_t count, index_t src_step, index_t dst_step, Scales const& s,
                              std::int32_t q_min, std::int32_t q_max, [[maybe_unused]] bool narrow, [[maybe_unused]] bool streaming) {
  std::int32_t const forbidden = forbidden_bits(q_min, q_max, Rare && narrow);
  if constexpr (sizeof(Dst) == 1) {
    words seen = broadcast_word(0);
    block_codes<Dst> const codes(s, q_min);
    for (index_t i = 0; i < count; ++i, src += src_step, dst += dst_step) {
      if constexpr (Scales::each)  // rows further down: the CPU foresees neighbours only
        for (index_t k = 0; k < block; k += 64 / static_cast<index_t>(sizeof(Src))) prefetch(src + most_rows * src_step + k);
      codes.template pack<Centered, Rare>(src, dst, s, narrow, streaming, seen);
    }
    return any_outside(seen, forbidden);
  } else {
    i32s seen = broadcast(std::int32_t{0});
    i32s const one = broadcast(std::int32_t{1});
    words const lowest = broadcast_word(static_cast<std::int16_t>(q_min));
    for (index_t i = 0; i < count; ++i, src += src_step, dst += dst_step) {
      i32s const u0 = add(s.steps(src, 0), s.zero_of(0)), u1 = add(s.steps(src, 1), s.zero_of(1));
      i32s const u2 = add(s.steps(src, 2), s.zero_of(2)), u3 = add(s.steps(src, 3), s.zero_of(3));
      seen = or3(or3(seen, u0, u1), u2, u3);
      if (Rare && narrow) seen = or3(or3(seen, add(u0, one), add(u1, one)), add(u2, one), add(u3, one));
      words q0 = pack_unsigned(u0, u1), q1 = pack_unsigned(u2, u3);
      if (std::is_signed_v<Dst> || (Rare && narrow)) q0 = add(q0, lowest), q1 = add(q1, lowest);
      if (Rare && streaming) {
        stream(dst, q0);
        stream(dst + 2 * lanes, q1);
      } else {
        store(static_cast<void*>(dst), q0);
        store(static_cast<void*>(dst + 2 * lanes), q1);
      }
    }
    return any(mask_not(equal(bit_and(seen, broadcast(forbidden)), broadcast(std::int32_t{0}))));
  }
}

/// `rows` lines of n >= block elements with a scale each, looked at together: what a line of some hundred elements costs besides
/// its elements would be a third of it. The last block of a line ends with it.
template <class Form, class Rounding, bool Centered, bool Rare, class Src, class Dst>
QUERN_INLINE bool pack_rows(Src const* src, Dst* dst, index_t rows, index_t n, index_t src_stride, index_t dst_stride, float const* inverses,
                            float const* lows, std::int32_t const* zeros, std::int32_t q_min, std::int32_t q_max, bool narrow,
                            bool streaming) {
  words seen = broadcast_word(0);
  // One loop over the blocks of all rows, whose end the CPU foresees: a loop for each row costs it 25 cycles a row.
  index_t const last = n - block;
  for (index_t r = 0, j = 0; r < rows;) {
    block_scales<Form, Rounding, false> const s(inverses + r, lows + r, zeros + r);
    block_codes<Dst> const codes(s, q_min);
    index_t const at = j < last ? j : last;
    codes.template pack<Centered, Rare>(src + at, dst + at, s, narrow, streaming && at == j, seen);
    j += block;
    bool const ends = j >= n;
    src += ends ? src_stride : 0;
    dst += ends ? dst_stride : 0;
    r += ends ? 1 : 0;
    j = ends ? 0 : j;
  }
  return any_outside(seen, forbidden_bits(q_min, q_max, Rare && narrow));
}

/// The same for codes of a byte and values that may be anything, which are counted: twice the instructions.
template <class Src, class Dst, class Scales>
QUERN_INLINE conversion_counts saturate_blocks(Src const* src, Dst* dst, index_t count, index_t src_step, index_t dst_step,
                                               Scales const& s, std::int32_t q_min, std::int32_t q_max) {
  words const zero0 = pack_signed(s.zero_of(0), s.zero_of(1)), zero1 = pack_signed(s.zero_of(2), s.zero_of(3));
  words const none = broadcast_word(0), last = broadcast_word(static_cast<std::int16_t>(q_max - q_min));
  bytes const lowest = broadcast_byte(static_cast<std::int8_t>(q_min));
  mask all_finite = equal(broadcast(std::int32_t{0}), broadcast(std::int32_t{0}));
  conversion_counts counts;
  Src const* from = src;
  for (index_t i = 0; i < count; ++i, from += src_step, dst += dst_step) {
    words const u0 = adds(pack_signed(s.bounded_steps(from, 0, all_finite), s.bounded_steps(from, 1, all_finite)), zero0);
    words const u1 = adds(pack_signed(s.bounded_steps(from, 2, all_finite), s.bounded_steps(from, 3, all_finite)), zero1);
    words const c0 = min_signed(max_signed(u0, none), last), c1 = min_signed(max_signed(u1, none), last);
    counts.saturated += block - count_equal(u0, c0) - count_equal(u1, c1);
    bytes const q = add(pack_unsigned(c0, c1), lowest);
    store(static_cast<void*>(dst), q);
  }
  if constexpr (!std::is_integral_v<Src>) {
    if (any(mask_not(all_finite))) [[unlikely]] {  // they are all outside
      for (index_t i = 0; i < count; ++i, src += src_step)
        for (int k = 0; k < 4; ++k) counts.non_finite += lanes - __builtin_popcount(lane_bits(finite_of(load(src + k * lanes))));
      counts.saturated -= counts.non_finite;
    }
  }
  return counts;
}
/// With scales that are fetched here: those of the fast loop stay in registers only if nothing else sees them.
template <class Form, class Rounding, bool Each, class Src, class Dst>
QUERN_NOINLINE conversion_counts quantize_again(Src const* src, Dst* dst, index_t count, index_t src_step, index_t dst_step,
                                                float const* inverses, float const* lows, std::int32_t const* zeros,
                                                std::int32_t q_min, std::int32_t q_max) {
  return saturate_blocks(src, dst, count, src_step, dst_step, block_scales<Form, Rounding, Each>(inverses, lows, zeros), q_min, q_max);
}

/// A line of n >= block elements goes in pieces of whole blocks: `count` of them at `at`, after which `next` elements are done. One
/// that ends with the line overlaps what is done; where the destination is written past the caches, the first one reaches its
/// first aligned element and is overlapped.
struct line_piece {
  index_t at, count, next;
  bool past_caches;
};
template <class Dst>
QUERN_INLINE line_piece piece_of(Dst const* dst, index_t n, index_t done, bool streaming) {
  constexpr index_t most = 64 * block;  // what has to be done again is in the first cache, and one value does not cost much
  index_t const count = n - done < most ? (n - done) / block : index_t{64};
  if (count == 0) return {n - block, 1, n, false};
  if (streaming && done == 0) {
    constexpr index_t aligned = 4 * lanes;  // bytes of a register
    index_t const skew = static_cast<index_t>(reinterpret_cast<std::uintptr_t>(dst) & (aligned - 1));
    if (skew != 0) return {0, 1, (aligned - skew) / static_cast<index_t>(sizeof(Dst)), false};
  }
  return {done, count, done + count * block, streaming};
}

/// Whether there is a fast loop, whatever the scale.
template <class Form, class Src, class Dst, class Rounding>
inline constexpr bool has_fast_loop =
    sizeof(Dst) < 4 && !std::is_same_v<Src, double> && rounding_mode<Rounding> &&
    (!std::is_same_v<Form, divide> || !has_fma || quern::detail::divides_in_two_steps<Rounding>);
#endif

}  // namespace inner

/// A rectangle with a scale for each row.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_rows(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding) {
  using real = arithmetic_of<Src>;
  constexpr bool divides = std::is_same_v<Form, divide>;
  std::int32_t const q_min = t.q_min, q_max = t.q_max;
  conversion_counts counts;
  auto const plainly = [&](index_t row, index_t first, index_t n) {
    real const scale = static_cast<real>(t.scales[row * t.row_scale]);
    real scales[lanes];
    std::int32_t zeros[lanes];
    for (real& e : scales) e = divides ? scale : real{1} / scale;
    for (std::int32_t& e : zeros) e = t.zero_points == nullptr ? 0 : t.zero_points[row * t.row_scale];
    inner::quantize_plainly<Form>(t.src + row * t.src_stride + first, t.dst + row * t.dst_stride + first, n,
                                  static_cast<real const*>(scales), static_cast<std::int32_t const*>(zeros), 0, q_min, q_max, rounding,
                                  t.first_index + static_cast<std::uint64_t>(row * t.row_index + first * t.col_index), t.col_index,
                                  counts);
  };
#if QUERN_DETAIL_PACKED
  if constexpr (inner::has_fast_loop<Form, Src, Dst, Rounding>) {
    constexpr index_t block = inner::block;
    quern::detail::code_span const span(q_min, q_max);
    index_t const n = t.cols;
    if (n >= block && span.told_by_bits && !t.in_place) {
      bool const streaming = t.rows * n >= quern::detail::streaming_bytes / static_cast<index_t>(sizeof(Dst));
      bool const rare = streaming || span.narrow;
      [[maybe_unused]] bool const aligned =
          !streaming || ((reinterpret_cast<std::uintptr_t>(t.dst) | static_cast<std::uintptr_t>(t.dst_stride)) & 63) == 0;
      bool again = false;  // whether what came before had something outside: then the next has, too, as a rule
      for (index_t first_row = 0; first_row < t.rows; first_row += lanes) {
        index_t const rows = t.rows - first_row < lanes ? t.rows - first_row : lanes;
        float inverses[lanes], lows[lanes];
        std::int32_t zeros[lanes];
        f32s scales = broadcast(t.scales[first_row * t.row_scale]);
        if (rows > 1 && t.row_scale == 1) {
          scales = rows == lanes ? load(t.scales + first_row)
                                 : select(first_lanes(rows), load_first(t.scales + first_row, rows), scales);
        } else if (rows > 1) {
          store(static_cast<float*>(inverses), scales);
          for (index_t r = 1; r < rows; ++r) inverses[r] = t.scales[(first_row + r) * t.row_scale];
          scales = load(static_cast<float const*>(inverses));
        }
        f32s const inverse = div(broadcast(1.0f), scales);
        store(static_cast<float*>(inverses), inverse);
        store(static_cast<float*>(lows), divides ? inner::low_part(scales, inverse) : inverse);
        unsigned const fast_rows = lane_bits(inner::may_be_scaled<Form, Rounding>(scales, inverse, span.bits));
        std::int32_t shifts = 0;  // whether any zero point is not 0
        for (index_t r = 0; r < rows; ++r) {
          std::int32_t const zero_point = t.zero_points == nullptr ? 0 : t.zero_points[(first_row + r) * t.row_scale];
          zeros[r] = zero_point - q_min;
          shifts |= zero_point;
        }
        bool const centered = std::is_same_v<Dst, std::int8_t> && shifts == 0;
        if constexpr (sizeof(Dst) == 1) {
          bool const together = rows > 1 && n < 64 * block && fast_rows == (2u << (rows - 1)) - 1u && aligned && !again;
          if (together) {
            Src const* const src = t.src + first_row * t.src_stride;
            Dst* const dst = t.dst + first_row * t.dst_stride;
            bool outside;
            if (rare)
              outside = inner::pack_rows<Form, Rounding, false, true>(src, dst, rows, n, t.src_stride, t.dst_stride, inverses, lows, zeros,
                                                                      q_min, q_max, span.narrow, streaming);
            else if (centered)
              outside = inner::pack_rows<Form, Rounding, sizeof(Dst) == 1, false>(src, dst, rows, n, t.src_stride, t.dst_stride, inverses,
                                                                                  lows, zeros, q_min, q_max, false, false);
            else
              outside = inner::pack_rows<Form, Rounding, false, false>(src, dst, rows, n, t.src_stride, t.dst_stride, inverses, lows, zeros,
                                                                       q_min, q_max, false, false);
            if (!outside) [[likely]]
              continue;
          }
          again = false;
        }
        for (index_t r = 0; r < rows; ++r) {
          index_t const row = first_row + r;
          if (((fast_rows >> r) & 1) == 0) [[unlikely]] {
            plainly(row, 0, n);
            continue;
          }
          Src const* const src = t.src + row * t.src_stride;
          Dst* const dst = t.dst + row * t.dst_stride;
          inner::block_scales<Form, Rounding, false> const s(inverses + r, lows + r, zeros + r);
          for (index_t done = 0; done < n;) {
            auto const [at, count, next, past_caches] = inner::piece_of(dst, n, done, streaming);
            bool outside = again;
            if (again) {
            } else if (rare) {
              outside = inner::pack_blocks<false, true>(src + at, dst + at, count, block, block, s, q_min, q_max, span.narrow,
                                                        past_caches);
            } else if (centered) {
              outside = inner::pack_blocks<sizeof(Dst) == 1, false>(src + at, dst + at, count, block, block, s, q_min, q_max, false, false);
            } else {
              outside = inner::pack_blocks<false, false>(src + at, dst + at, count, block, block, s, q_min, q_max, false, false);
            }
            if (outside) [[unlikely]] {
              if constexpr (sizeof(Dst) == 1) {
                conversion_counts const found = inner::quantize_again<Form, Rounding, false>(
                    src + at, dst + at, count, block, block, inverses + r, lows + r, zeros + r, q_min, q_max);
                again = found != conversion_counts{};
                if (next - done == count * block)
                  counts += found;
                else
                  plainly(row, done, next - done);  // what the blocks overlap is not counted twice
              } else {
                conversion_counts const before = counts;
                plainly(row, at, done - at);
                counts = before;
                plainly(row, done, next - done);
              }
            }
            done = next;
          }
        }
      }
      if (streaming) fence();
      return counts;
    }
  }
#endif
  for (index_t i = 0; i < t.rows; ++i) plainly(i, 0, t.cols);
  return counts;
}

/// A rectangle with a scale for each column.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_columns(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding) {
  using real = arithmetic_of<Src>;
  constexpr bool divides = std::is_same_v<Form, divide>;
  constexpr index_t most_columns = quern::detail::most_columns;
  std::int32_t const q_min = t.q_min, q_max = t.q_max;
  conversion_counts counts;
  alignas(64) float scales[most_columns + lanes];
  alignas(64) real plain_scales[most_columns + lanes];
  alignas(64) std::int32_t zeros[most_columns + lanes];
  for (index_t first = 0; first < t.cols; first += most_columns) {
    index_t const n = t.cols - first < most_columns ? t.cols - first : most_columns;
    index_t const number = first % t.period;
    if (t.col_scale == 1 && number + n <= t.period) {
      __builtin_memcpy(scales, t.scales + number, static_cast<std::size_t>(n) * 4);
      if (t.zero_points != nullptr)
        __builtin_memcpy(zeros, t.zero_points + number, static_cast<std::size_t>(n) * 4);
      else
        __builtin_memset(zeros, 0, static_cast<std::size_t>(n) * 4);
    } else {
      for (index_t j = 0, k = number; j < n; ++j) {
        scales[j] = t.scales[k * t.col_scale];
        zeros[j] = t.zero_points == nullptr ? 0 : t.zero_points[k * t.col_scale];
        if (++k == t.period) k = 0;
      }
    }
    for (index_t j = n; j < n + lanes; ++j) scales[j] = 1.0f, zeros[j] = 0;
    bool plain_ready = false;
    auto const plainly = [&](index_t i, index_t at, index_t size) {
      if (!plain_ready) {
        for (index_t j = 0; j < n + lanes; ++j)
          plain_scales[j] = divides ? static_cast<real>(scales[j]) : real{1} / static_cast<real>(scales[j]);
        plain_ready = true;
      }
      inner::quantize_plainly<Form>(t.src + i * t.src_stride + first + at, t.dst + i * t.dst_stride + first + at, size,
                                    static_cast<real const*>(plain_scales) + at, static_cast<std::int32_t const*>(zeros) + at, 1, q_min,
                                    q_max, rounding,
                                    t.first_index + static_cast<std::uint64_t>(i * t.row_index + (first + at) * t.col_index),
                                    t.col_index, counts);
    };
#if QUERN_DETAIL_PACKED
    if constexpr (inner::has_fast_loop<Form, Src, Dst, Rounding>) {
      constexpr index_t block = inner::block, most_rows = inner::most_rows;
      quern::detail::code_span const span(q_min, q_max);
      if (span.told_by_bits && !t.in_place && n >= block) {
        // Whole blocks, and for the rest one that ends with the last column.
        index_t const blocks = (n + block - 1) / block;
        alignas(64) float inverses[most_columns], lows[most_columns];
        alignas(64) std::int32_t dwords[most_columns];
        bool fast[most_columns / block];
        for (index_t b = 0; b < blocks; ++b) {
          index_t const at = b * block + block <= n ? b * block : n - block;
          mask all = equal(broadcast(std::int32_t{0}), broadcast(std::int32_t{0}));
          for (index_t k = 0; k < block; k += lanes) {
            f32s const scale = load(scales + at + k), inverse = div(broadcast(1.0f), scale);
            store(inverses + b * block + k, inverse);
            if constexpr (divides) store(lows + b * block + k, inner::low_part(scale, inverse));
            store(dwords + b * block + k, sub(load(zeros + at + k), broadcast(q_min)));
            all = mask_and(all, inner::may_be_scaled<Form, Rounding>(scale, inverse, span.bits));
          }
          fast[b] = !any(mask_not(all));
        }
        bool const streaming = t.rows * t.cols >= quern::detail::streaming_bytes / static_cast<index_t>(sizeof(Dst)) &&
                               ((reinterpret_cast<std::uintptr_t>(t.dst) | static_cast<std::uintptr_t>(t.dst_stride)) & 63) == 0;
        // Past the caches row by row: lines that are not neighbours are written at half of the speed.
        index_t const together = streaming ? 1 : most_rows;
        for (index_t i = 0; i < t.rows; i += together) {
          index_t const rows = t.rows - i < together ? t.rows - i : together;
          for (index_t b = 0; b < blocks; ++b) {
            bool const is_rest = b * block + block > n;
            index_t const at = is_rest ? n - block : b * block;
            Src const* const src = t.src + i * t.src_stride + first + at;
            Dst* const dst = t.dst + i * t.dst_stride + first + at;
            float const* const inverse = inverses + b * block;
            float const* const low = divides ? lows + b * block : inverse;
            inner::block_scales<Form, Rounding, true> const s(inverse, low, dwords + b * block);
            bool outside = !fast[b];
            if (!outside && (streaming || span.narrow))
              outside = inner::pack_blocks<false, true>(src, dst, rows, t.src_stride, t.dst_stride, s, q_min, q_max, span.narrow,
                                                        streaming && !is_rest);
            else if (!outside)
              outside = inner::pack_blocks<false, false>(src, dst, rows, t.src_stride, t.dst_stride, s, q_min, q_max, false, false);
            if (!outside) [[likely]]
              continue;
            if constexpr (sizeof(Dst) == 1) {
              if (fast[b]) {
                conversion_counts const found = inner::quantize_again<Form, Rounding, true>(
                    src, dst, rows, t.src_stride, t.dst_stride, inverse, low, dwords + b * block, q_min, q_max);
                if (!is_rest) {
                  counts += found;
                  continue;
                }
              }
            }
            // What the last block overlaps is not counted twice.
            index_t const from = is_rest ? b * block : at;
            for (index_t r = 0; r < rows; ++r) {
              if (is_rest && sizeof(Dst) > 1) {
                conversion_counts const before = counts;
                plainly(i + r, at, from - at);
                counts = before;
              }
              plainly(i + r, from, at + block - from);
            }
          }
        }
        if (streaming) fence();
        continue;
      }
    }
#endif
    for (index_t i = 0; i < t.rows; ++i) plainly(i, 0, n);
  }
  return counts;
}
