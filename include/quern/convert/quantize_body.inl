// quantize_body.inl — quantize on vectors. Included once per instruction set, in its namespace; see quantize_kernels.hpp.
//
// Four loops share the work. The plain one does what the definition says, lane by lane, and counts. The fast one does the least:
//
//     u = round(x / scale) + zero_point - q_min      in 16 (or 32) bits
//     dst = u + q_min                                where 0 <= u <= q_max - q_min
//
// and only collects the bits of all u. If a forbidden bit came up in a piece, the piece is done again by one that saturates and counts
// (for codes of 16 bits, by the plain one), and what follows goes there at once as long as it finds something. That one trusts words of
// 16 bits; what is beyond them, or not finite, sends the piece to the last loop, which bounds every step. So a value that saturates
// costs a fifth of the time, one that is far out or not finite more, none exactness. 64 elements take 15 instructions on the vector ports
// of AVX-512: multiply 4, convert 4, pack 2 + 1, add 2, collect 1, order 1; with counting 20.

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
/// Where `Form` may be done as scaled() does it for a code of `bits` <= 16 bits and every finite x. Reciprocals: of a normal scale, whose
/// inverse is finite. Two steps: S modulo 2^t is 0 or at least 8 away from it, and 2^-60 <= scale < 2^61, so that nothing over- or
/// underflows where |x / scale| is near a threshold. Only the order against 0 looks at smaller quotients; for scales up to 1 those do
/// not vanish. Told from the bits of the scales: their least, their greatest and their least distance of all are enough for all.
template <class Form, class Rounding>
struct fast_scales {
  static constexpr bool in_two_steps = std::is_same_v<Form, divide> && has_fma, always = std::is_same_v<Form, divide> && !has_fma;
  static constexpr std::int32_t least = always ? quern::detail::least_scale_bits : in_two_steps ? 0x21800000 : 0x00800000;  // 2^-60, normal
  static constexpr std::int32_t most = !in_two_steps                                   ? quern::detail::most_scale_bits
                                       : quern::detail::rounds_at_integers<Rounding> ? 0x3f800000    // 1
                                                                                       : 0x5dffffff;  // the last below 2^61
  /// |S modulo 2^t| - 1, unsigned, so that 0 is far away; in the upper bits of a word, less 2^31 to be compared as signed.
  QUERN_INLINE static i32s distance(i32s scale, int bits) {
    int const shift = bits <= 8 ? 16 : 24;
    return add(abs(shift_left(scale, broadcast(std::int32_t{shift}))), broadcast(0x7fffffff - ((1 << shift) - 1)));
  }
  QUERN_INLINE static std::int32_t least_distance(int bits) { return -0x7fffffff - 1 + 7 * (1 << (bits <= 8 ? 16 : 24)); }
  QUERN_INLINE_BODY static mask of(f32s scale, [[maybe_unused]] int bits) {
    i32s const b = as_i32(scale);
    mask const in_range = mask_and(less(broadcast(least - 1), b), less(b, broadcast(most + 1)));
    if constexpr (in_two_steps)
      return mask_and(in_range, less(broadcast(least_distance(bits) - 1), distance(b, bits)));
    else
      return in_range;
  }
  /// True only if all of n >= 1 are, for codes of 8 bits: three operations for `lanes` of them. The upper words tell the range, the lower ones
  /// whether one is within 8 of 0; 0 itself is, too, and left to a closer look.
  QUERN_INLINE_BODY static bool all_at_a_glance(float const* scales, index_t n) {
    words const move = as_words(broadcast(std::int32_t{0x8008}));  // -8 .. 7 become the least words
    words const first = as_words(as_i32(load_up_to(scales, n)));
    words low = add(first, move), high = first;
    index_t j = lanes;
    for (; j + 2 * lanes <= n; j += 2 * lanes) {
      words const s0 = as_words(as_i32(load(scales + j))), s1 = as_words(as_i32(load(scales + j + lanes)));
      low = min_signed(low, min_signed(add(s0, move), add(s1, move)));
      high = max_signed(high, max_signed(s0, s1));
    }
    for (; j < n; j += lanes) {
      words const s = as_words(as_i32(load(scales + (j + lanes <= n ? j : n - lanes))));
      low = min_signed(low, add(s, move));
      high = max_signed(high, s);
    }
    constexpr std::int32_t beyond = static_cast<std::int32_t>((static_cast<std::uint32_t>(most) + 1) & 0xffff0000u);
    mask const outside = mask_or(less(as_i32(low), broadcast(least)), less(broadcast(beyond - 1), as_i32(high)));
    return !any(mask_or(outside, less(shift_left(as_i32(low), broadcast(std::int32_t{16})), broadcast(-0x7fffffff - 1 + (16 << 16)))));
  }
  /// Whether all of n >= 1 are, and then they are also valid.
  QUERN_INLINE_BODY static bool all(float const* scales, index_t n, [[maybe_unused]] int bits) {
    bool near = false;
    if constexpr (in_two_steps) {
      if (bits <= 8 && all_at_a_glance(scales, n)) [[likely]]
        return true;
      i32s nearest = distance(as_i32(load_up_to(scales, n)), bits);
      for (index_t j = lanes; j < n; j += lanes) nearest = min(nearest, distance(as_i32(load(scales + (j + lanes <= n ? j : n - lanes))), bits));
      near = any(less(nearest, broadcast(least_distance(bits))));
    }
    return !near && scale_bits_within(scales, n, least, most);
  }
};

/// Vector k of a block: where Each has its own, those at p; else the first one in all lanes.
template <bool Each, class T>
QUERN_INLINE auto of_block(T const* p, int k) {
  if constexpr (Each)
    return load(p + k * lanes);
  else
    return broadcast(*p);
}

/// `lanes` scales, inverted. Two steps need no more than an inverse of which `low` says how far it is off: where there is an estimate one
/// step of Newton's method leaves (1 + 2^-4) 2^-24 of it (docs/division.md), and takes the multipliers two thirds as long as the divider.
/// A reciprocal has to be correctly rounded: the same twice would be, but for one mantissa.
template <class Form, class V>
QUERN_INLINE V inverse_of(V scale) {
  if constexpr (std::is_same_v<Form, divide> && requires { inverse_estimate(scale); }) {
    V const y = inverse_estimate(scale);
    return fma(y, fma(sub(broadcast(0.0f), scale), y, broadcast(1.0f)), y);
  } else {
    return div(broadcast(1.0f), scale);
  }
}
template <class Form, class V>
QUERN_INLINE void invert(V scale, float* inverses, float* lows) {
  V const inverse = inverse_of<Form>(scale);
  store(inverses, inverse);
  if constexpr (std::is_same_v<Form, divide>) store(lows, low_part(scale, inverse));
}
/// Those of a block.
template <class Form>
QUERN_INLINE void invert_block(float const* scales, float* inverses, float* lows) {
  for (index_t k = 0; k < block; k += lanes) invert<Form>(load(scales + k), inverses + k, lows + k);
}

/// What makes steps of a block of elements: one scale for all of them, or Each its own. (Loops over the four vectors of a block are
/// written out wherever they are: GCC does not unroll them at -O2, and what is indexed would be kept in memory.)
template <class Form, class Rounding, bool Each>
struct block_scales {
  static constexpr bool each = Each;
  static constexpr int vectors = Each ? 4 : 1;
  template <class Src>
  static constexpr bool in_private_order = !Each && std::is_same_v<Src, bfloat16>;
  f32s inverse[vectors], low[vectors];
  i32s zero[vectors];  ///< zero_point - q_min

  QUERN_INLINE_BODY block_scales(float const* i, float const* l, std::int32_t const* z)
    requires Each
      : inverse{load(i), load(i + lanes), load(i + 2 * lanes), load(i + 3 * lanes)},
        low{load(l), load(l + lanes), load(l + 2 * lanes), load(l + 3 * lanes)},
        zero{load(z), load(z + lanes), load(z + 2 * lanes), load(z + 3 * lanes)} {}
  QUERN_INLINE_BODY block_scales(float const* i, float const* l, std::int32_t const* z)
    requires(!Each)
      : inverse{broadcast(*i)}, low{broadcast(*l)}, zero{broadcast(*z)} {}
  QUERN_INLINE_BODY block_scales(f32s i, f32s l, std::int32_t z)
    requires(!Each)
      : inverse{i}, low{l}, zero{broadcast(z)} {}
  /// With zero points as they are; null: all 0.
  QUERN_INLINE_BODY block_scales(float const* i, float const* l, std::int32_t const* z, index_t at, std::int32_t q_min)
    requires Each
      : inverse{load(i), load(i + lanes), load(i + 2 * lanes), load(i + 3 * lanes)},
        low{load(l), load(l + lanes), load(l + 2 * lanes), load(l + 3 * lanes)},
        zero{shift_of(z, at, q_min), shift_of(z, at + lanes, q_min), shift_of(z, at + 2 * lanes, q_min), shift_of(z, at + 3 * lanes, q_min)} {}
  /// Of the scales themselves.
  QUERN_INLINE_BODY block_scales(float const* scales, std::int32_t const* z, index_t at, std::int32_t q_min)
    requires Each
      : inverse{inverse_of<Form>(load(scales)), inverse_of<Form>(load(scales + lanes)), inverse_of<Form>(load(scales + 2 * lanes)),
                inverse_of<Form>(load(scales + 3 * lanes))},
        low{low_of(scales, inverse[0]), low_of(scales + lanes, inverse[1]), low_of(scales + 2 * lanes, inverse[2]),
            low_of(scales + 3 * lanes, inverse[3])},
        zero{shift_of(z, at, q_min), shift_of(z, at + lanes, q_min), shift_of(z, at + 2 * lanes, q_min), shift_of(z, at + 3 * lanes, q_min)} {}
  QUERN_INLINE static f32s low_of(float const* scales, f32s inverse) {
    return std::is_same_v<Form, divide> ? low_part(load(scales), inverse) : inverse;
  }
  QUERN_INLINE static i32s shift_of(std::int32_t const* z, index_t at, std::int32_t q_min) {
    return z == nullptr ? broadcast(-q_min) : sub(load(z + at), broadcast(q_min));
  }
  template <class Src>
  QUERN_INLINE_BODY i32s steps(Src const* src, int k) const {
    return to_i32(scaled<Form>(load(src + k * lanes), inverse[Each ? k : 0], low[Each ? k : 0]), Rounding{});
  }
  /// Half of a block, packed; in_private_order says in which order.
  template <class Src>
  QUERN_INLINE_BODY words step_words(Src const* src, int half) const {
    if constexpr (in_private_order<Src>) {
      f32s_pair const x = load_private(src + half * 2 * lanes);
      return pack_signed(to_i32(scaled<Form>(x.first, inverse[0], low[0]), Rounding{}), to_i32(scaled<Form>(x.second, inverse[0], low[0]), Rounding{}));
    } else {
      return pack_signed(steps(src, 2 * half), steps(src, 2 * half + 1));
    }
  }
  /// Of values that may be anything: what is far outside stays outside, on its side, and NaN goes below. Never more than 2^14 steps.
  template <class Src>
  QUERN_INLINE_BODY i32s bounded_steps(Src const* src, int k, mask& all_finite) const {
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

/// What a block of codes of a byte is packed with. `zero0`, `zero1`: zero_point - q_min of its two halves.
template <class Dst>
struct block_codes {
  words zero0, zero1, one;
  bytes lowest;
  template <class Scales>
  QUERN_INLINE_BODY block_codes(Scales const& s, std::int32_t q_min)
      : block_codes(pack_signed(s.zero_of(0), s.zero_of(1)), pack_signed(s.zero_of(2), s.zero_of(3)), q_min) {}
  QUERN_INLINE_BODY block_codes(std::int32_t zero, std::int32_t q_min)
      : block_codes(broadcast_word(static_cast<std::int16_t>(zero)), broadcast_word(static_cast<std::int16_t>(zero)), q_min) {}
  QUERN_INLINE_BODY block_codes(words first, words second, std::int32_t q_min)
      : zero0(first), zero1(second), one(broadcast_word(1)), lowest(broadcast_byte(static_cast<std::int8_t>(q_min))) {}

  template <bool Centered, bool Rare, class Src, class Scales>
  QUERN_INLINE_BODY void pack(Src const* src, Dst* dst, Scales const& s, bool narrow, bool past_caches, words& seen) const {
    words const w0 = s.step_words(src, 0), w1 = s.step_words(src, 1);
    // Wrapping will do (and has two ports, saturating one): what overflows has its top bit set, which is forbidden.
    words const u0 = add(w0, zero0), u1 = add(w1, zero1);
    seen = or3(seen, u0, u1);
    if (Rare && narrow) seen = or3(seen, add(u0, one), add(u1, one));
    bytes q;
    constexpr bool in_private_order = Scales::template in_private_order<Src>;
    if constexpr (Centered)
      q = in_private_order ? pack_signed_private(w0, w1) : pack_signed(w0, w1);
    else
      q = in_private_order ? pack_unsigned_private(u0, u1) : pack_unsigned(u0, u1);
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
QUERN_INLINE_BODY bool pack_blocks(Src const* src, Dst* dst, index_t count, index_t src_step, index_t dst_step, Scales const& s,
                              std::int32_t q_min, std::int32_t q_max, [[maybe_unused]] bool narrow, [[maybe_unused]] bool streaming) {
  std::int32_t const forbidden = forbidden_bits(q_min, q_max, Rare && narrow);
  if constexpr (sizeof(Dst) == 1) {
    words seen = broadcast_word(0);
    block_codes<Dst> const codes(s, q_min);
    for (index_t i = 0; i < count; ++i, src += src_step, dst += dst_step) {
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
/// its elements would be a third of it. The last block of a line ends with it. Scales are inverted `lanes` at a time, behind the lines
/// before. Zero points may be null.
inline constexpr index_t most_short_rows = 4096 / block;
template <class Form, class Rounding, bool Centered, bool Rare, class Src, class Dst>
QUERN_NOINLINE bool pack_rows(Src const* src, Dst* dst, index_t rows, index_t n, index_t src_stride, index_t dst_stride, float const* scales,
                            std::int32_t const* zero_points, std::int32_t q_min, std::int32_t q_max, bool narrow, bool streaming) {
  words seen = broadcast_word(0);
  index_t const last = n - block;
  alignas(64) float inverses[most_short_rows], lows[most_short_rows];
  alignas(64) std::int32_t zeros[most_short_rows];
  std::int32_t const centered = -q_min;
  for (index_t r = 0; r < rows; r += lanes) invert<Form>(load_up_to(scales + r, rows - r), inverses + r, lows + r);
  if constexpr (!Centered)
    for (index_t r = 0; r < rows; r += lanes)
      store(zeros + r, zero_points == nullptr ? broadcast(centered) : sub(load_up_to(zero_points + r, rows - r), broadcast(q_min)));
  block_codes<Dst> const centered_codes(centered, q_min);
  for (index_t r = 0; r < rows; ++r, src += src_stride, dst += dst_stride) {
    std::int32_t const* const zero = Centered ? &centered : zeros + r;
    block_scales<Form, Rounding, false> const s(inverses + r, std::is_same_v<Form, divide> ? lows + r : inverses + r, zero);
    block_codes<Dst> const codes = Centered ? centered_codes : block_codes<Dst>(*zero, q_min);
    for (index_t j = 0; j < n; j += block) {
      index_t const at = j < last ? j : last;
      codes.template pack<Centered, Rare>(src + at, dst + at, s, narrow, streaming && at == j, seen);
    }
  }
  return any_outside(seen, forbidden_bits(q_min, q_max, Rare && narrow));
}

/// Rows that share what a strip of columns is scaled by, while it is in registers: `together` of them, `apart` rows from one to the next; then
/// the same one row further down, `turns` times.
struct row_set {
  index_t together, apart, turns;
};
/// The scales of columns: inverses and what these leave out are `ready`, or are made from one strip to the next.
struct column_scales {
  float const* scales;
  float *inverses, *lows;
  bool ready;
};
/// Strips of a block of columns, with a scale for each column.
template <class Form, class Rounding, bool Centered, bool Rare, class Src, class Dst>
QUERN_NOINLINE bool pack_columns(Src const* src, Dst* dst, row_set const& rows, index_t n, index_t src_stride, index_t dst_stride, column_scales const& all,
                                 std::int32_t const* zeros, std::int32_t q_min, std::int32_t q_max, bool narrow, bool streaming) {
  float const* const scales = all.scales;
  float *const inverses = all.inverses, *const lows = std::is_same_v<Form, divide> ? all.lows : inverses;
  index_t const src_step = rows.apart * src_stride, dst_step = rows.apart * dst_stride;
  // With 16 registers what a strip is scaled by is read from memory anyway, and made a strip ahead.
  constexpr bool inverts_in_registers = lanes == 16;
  [[maybe_unused]] index_t inverted = n;
  if (!inverts_in_registers && !all.ready) invert_block<Form>(scales, inverses, lows), inverted = block;
  bool outside = false;
  words seen = broadcast_word(0);
  for (index_t r = 0; r < rows.turns; ++r, src += src_stride, dst += dst_stride)
    for (index_t j = 0; j < n; j += block) {
      using scales_type = block_scales<Form, Rounding, true>;
      std::int32_t const* const zero = Centered ? nullptr : zeros;
      scales_type const s = all.ready || !inverts_in_registers ? scales_type(inverses + j, lows + j, zero, j, q_min)
                                                               : scales_type(scales + j, zero, j, q_min);
      if (!inverts_in_registers && inverted < n) invert_block<Form>(scales + inverted, inverses + inverted, lows + inverted), inverted += block;
      if constexpr (sizeof(Dst) == 1) {
        block_codes<Dst> const codes(s, q_min);
        Src const* from = src + j;
        Dst* to = dst + j;
        for (index_t k = 0; k < rows.together; ++k, from += src_step, to += dst_step)
          codes.template pack<Centered, Rare>(from, to, s, narrow, streaming, seen);
      } else {
        outside |= pack_blocks<Centered, Rare>(src + j, dst + j, rows.together, src_step, dst_step, s, q_min, q_max, narrow, streaming);
      }
    }
  return outside || any_outside(seen, forbidden_bits(q_min, q_max, Rare && narrow));
}

/// pack_blocks for codes of a byte that may saturate: they do, and are counted.
struct counted_blocks {
  index_t outside;
  bool far;  ///< some value was 2^15 steps away or more, or not finite: the codes and the number may be wrong
};
template <class Src, class Dst, class Scales>
QUERN_INLINE_BODY counted_blocks count_blocks(Src const* src, Dst* dst, index_t count, index_t src_step, index_t dst_step, Scales const& s,
                                         std::int32_t q_min, std::int32_t q_max, bool past_caches) {
  block_codes<Dst> const codes(s, q_min);
  words const none = broadcast_word(0), last = broadcast_word(static_cast<std::int16_t>(q_max - q_min));
  bool const clamps = q_max - q_min != 255;
  word_count within = no_words();
  words lowest_word = none;  // conversion makes the lowest int32 of what is too large or NaN, packing the lowest word of that
  for (index_t i = 0; i < count; ++i, src += src_step, dst += dst_step) {
    words const w0 = s.step_words(src, 0), w1 = s.step_words(src, 1);
    lowest_word = min_signed(min_signed(lowest_word, w0), w1);
    words u0 = adds(w0, codes.zero0), u1 = adds(w1, codes.zero1);
    count_within(within, u0, u1, last);
    if (clamps) u0 = min_signed(max_signed(u0, none), last), u1 = min_signed(max_signed(u1, none), last);
    bytes q = Scales::template in_private_order<Src> ? pack_unsigned_private(u0, u1) : pack_unsigned(u0, u1);
    if (std::is_signed_v<Dst> || clamps) q = add(q, codes.lowest);  // narrow unsigned codes are 1 to 255
    if (past_caches)
      stream(dst, q);
    else
      store(static_cast<void*>(dst), q);
  }
  return {count * block - total(within), count_equal(lowest_word, broadcast_word(-32768)) != 0};
}
/// The same for values that may be anything: twice the instructions.
template <class Src, class Dst, class Scales>
QUERN_INLINE_BODY conversion_counts saturate_blocks(Src const* src, Dst* dst, index_t count, index_t src_step, index_t dst_step,
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
/// Both. With scales that are fetched here: those of the fast loop stay in registers only if nothing else sees them.
template <class Form, class Rounding, bool Each, class Src, class Dst>
QUERN_NOINLINE conversion_counts quantize_counted(Src const* src, Dst* dst, index_t count, index_t src_step, index_t dst_step,
                                                  float const* inverses, float const* lows, std::int32_t const* zeros, std::int32_t q_min,
                                                  std::int32_t q_max, bool past_caches, bool* far) {
  block_scales<Form, Rounding, Each> const s(inverses, lows, zeros);
  counted_blocks const found = count_blocks(src, dst, count, src_step, dst_step, s, q_min, q_max, past_caches);
  if (!found.far) [[likely]]
    return {found.outside, 0};
  if (far != nullptr) *far = true;
  return saturate_blocks(src, dst, count, src_step, dst_step, block_scales<Form, Rounding, Each>(inverses, lows, zeros), q_min, q_max);
}

/// Strips of columns that may saturate.
template <class Form, class Rounding, class Src, class Dst>
QUERN_NOINLINE conversion_counts count_columns(Src const* src, Dst* dst, row_set const& rows, index_t n, index_t src_stride, index_t dst_stride,
                                               float const* scales, std::int32_t const* zeros, std::int32_t q_min, std::int32_t q_max,
                                               bool past_caches, bool* far) {
  index_t outer = rows.together, inner = rows.turns, outer_step = rows.apart, inner_step = 1;
  if (inner == 1) inner = outer, inner_step = outer_step, outer = 1;
  conversion_counts counts;
  for (index_t j = 0; j < n; j += block)
    for (index_t k = 0; k < outer; ++k) {
      alignas(64) float inverses[block], lows[block];
      invert_block<Form>(scales + j, inverses, lows);
      float const *const inverse = inverses, *const low = std::is_same_v<Form, divide> ? lows : inverses;
      block_scales<Form, Rounding, true> const s(inverse, low, zeros, j, q_min);
      Src const* const from = src + k * outer_step * src_stride + j;
      Dst* const to = dst + k * outer_step * dst_stride + j;
      counted_blocks const found = count_blocks(from, to, inner, inner_step * src_stride, inner_step * dst_stride, s, q_min, q_max, past_caches);
      if (!found.far) [[likely]] {
        counts.saturated += found.outside;
        continue;
      }
      if (far != nullptr) *far = true;
      counts += saturate_blocks(from, to, inner, inner_step * src_stride, inner_step * dst_stride,
                                block_scales<Form, Rounding, true>(inverse, low, zeros, j, q_min), q_min, q_max);
    }
  return counts;
}

/// A line of n >= block elements goes in pieces of whole blocks: `count` of them at `at`, after which `next` elements are done. One
/// that ends with the line overlaps what is done; where the destination is written past the caches, the first one reaches its
/// first aligned element and is overlapped.
struct line_piece {
  index_t at, count, next;
  bool past_caches;
};
/// Elements of a piece: what has to be done again is in the first cache, and one value that saturates does not cost much. The first one
/// is small, to learn whether the line saturates; each piece costs 1 ns.
inline constexpr index_t first_piece = 1024, most_piece = 4096;
template <class Dst>
QUERN_INLINE_BODY line_piece piece_of(Dst const* dst, index_t n, index_t done, bool streaming, bool expects) {
  index_t const most = done == 0 && !expects ? first_piece : most_piece;
  index_t const count = (n - done < most ? n - done : most) / block;
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

namespace inner {

template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_row_plainly(quern::detail::quantize_task<Src, Dst> const& t, index_t row, index_t first, index_t n,
                                                      Rounding rounding) {
  using real = arithmetic_of<Src>;
  real const scale = static_cast<real>(t.scales[row * t.row_scale]);
  std::int32_t const zero = t.zero_points == nullptr ? 0 : t.zero_points[row * t.row_scale];
  real scales[lanes];
  std::int32_t zeros[lanes];
  for (real& e : scales) e = std::is_same_v<Form, divide> ? scale : real{1} / scale;
  for (std::int32_t& e : zeros) e = zero;
  conversion_counts counts;
  quantize_plainly<Form>(t.src + row * t.src_stride + first, t.dst + row * t.dst_stride + first, n, static_cast<real const*>(scales),
                         static_cast<std::int32_t const*>(zeros), 0, t.q_min, t.q_max, rounding,
                         t.first_index + static_cast<std::uint64_t>(row * t.row_index + first * t.col_index), t.col_index, counts);
  if (t.far != nullptr && counts != conversion_counts{}) *t.far = true;
  return counts;
}

#if QUERN_DETAIL_PACKED
/// A piece of a row that has something outside, or is expected to. `expects` is then whether it had.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_row_again(quern::detail::quantize_task<Src, Dst> const& t, index_t row, line_piece const& p,
                                                    index_t done, Rounding rounding, bool& expects) {
  if constexpr (sizeof(Dst) == 1) {
    f32s const scale = broadcast(t.scales[row * t.row_scale]), inverse = div(broadcast(1.0f), scale);
    float inverses[lanes], lows[lanes];
    store(static_cast<float*>(inverses), inverse);
    store(static_cast<float*>(lows), std::is_same_v<Form, divide> ? low_part(scale, inverse) : inverse);
    std::int32_t const zero = (t.zero_points == nullptr ? 0 : t.zero_points[row * t.row_scale]) - t.q_min;
    conversion_counts const found = quantize_counted<Form, Rounding, false>(
        t.src + row * t.src_stride + p.at, t.dst + row * t.dst_stride + p.at, p.count, block, block, static_cast<float const*>(inverses),
        static_cast<float const*>(lows), &zero, t.q_min, t.q_max, p.past_caches, t.far);
    expects = found != conversion_counts{};
    if (p.next - done == p.count * block) return found;
  } else {
    (void)expects;
    (void)quantize_row_plainly<Form>(t, row, p.at, done - p.at, rounding);
  }
  return quantize_row_plainly<Form>(t, row, done, p.next - done, rounding);  // what the blocks overlap is not counted twice
}

/// A row of n >= block elements.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_row(quern::detail::quantize_task<Src, Dst> const& t, index_t row, Rounding rounding, bool streaming,
                                              bool& expects) {
  std::int32_t const q_min = t.q_min, q_max = t.q_max;
  quern::detail::code_span const span(q_min, q_max);
  f32s const scale = broadcast(t.scales[row * t.row_scale]), inverse = div(broadcast(1.0f), scale);
  f32s const low = std::is_same_v<Form, divide> ? low_part(scale, inverse) : inverse;
  index_t const n = t.cols;
  if (any(mask_not(fast_scales<Form, Rounding>::of(scale, span.bits)))) [[unlikely]]
    return quantize_row_plainly<Form>(t, row, 0, n, rounding);
  std::int32_t const zero_point = t.zero_points == nullptr ? 0 : t.zero_points[row * t.row_scale];
  block_scales<Form, Rounding, false> const s(inverse, low, zero_point - q_min);
  Src const* const src = t.src + row * t.src_stride;
  Dst* const dst = t.dst + row * t.dst_stride;
  bool const rare = streaming || span.narrow, centered = std::is_same_v<Dst, std::int8_t> && zero_point == 0;
  conversion_counts counts;
  for (index_t done = 0; done < n;) {
    line_piece const p = piece_of(dst, n, done, streaming, expects);
    bool outside = expects;
    if (expects) {
    } else if (rare) {
      outside = pack_blocks<false, true>(src + p.at, dst + p.at, p.count, block, block, s, q_min, q_max, span.narrow, p.past_caches);
    } else if (centered) {
      outside = pack_blocks<sizeof(Dst) == 1, false>(src + p.at, dst + p.at, p.count, block, block, s, q_min, q_max, false, false);
    } else {
      outside = pack_blocks<false, false>(src + p.at, dst + p.at, p.count, block, block, s, q_min, q_max, false, false);
    }
    if (outside) [[unlikely]]
      counts += quantize_row_again<Form>(t, row, p, done, rounding, expects);
    done = p.next;
  }
  return counts;
}

/// Rows of some hundred elements, some of them together.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_short_rows(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding, bool streaming) {
  std::int32_t const q_min = t.q_min, q_max = t.q_max;
  quern::detail::code_span const span(q_min, q_max);
  bool const aligned = ((reinterpret_cast<std::uintptr_t>(t.dst) | static_cast<std::uintptr_t>(t.dst_stride)) & 63) == 0;
  bool const past_caches = streaming && aligned, rare = past_caches || span.narrow;
  index_t const n = t.cols, whole = n / block * block, together = most_piece / n < lanes ? lanes : most_piece / n;
  alignas(64) float copied[most_short_rows];
  alignas(64) std::int32_t copied_zeros[most_short_rows];
  bool expects = false;
  conversion_counts counts;
  for (index_t first_row = 0; first_row < t.rows; first_row += together) {
    index_t const rows = t.rows - first_row < together ? t.rows - first_row : together;
    float const* scales = t.scales + first_row * t.row_scale;
    std::int32_t const* zeros = t.zero_points == nullptr ? nullptr : t.zero_points + first_row * t.row_scale;
    if (t.row_scale != 1) {
      for (index_t r = 0; r < rows; ++r) {
        copied[r] = scales[r * t.row_scale];
        if (zeros != nullptr) copied_zeros[r] = zeros[r * t.row_scale];
      }
      scales = copied;
      if (zeros != nullptr) zeros = copied_zeros;
    }
    Src const* const src = t.src + first_row * t.src_stride;
    Dst* const dst = t.dst + first_row * t.dst_stride;
    if (!expects && fast_scales<Form, Rounding>::all(scales, rows, span.bits)) {
      bool outside;
      if (rare)
        outside = pack_rows<Form, Rounding, false, true>(src, dst, rows, n, t.src_stride, t.dst_stride, scales, zeros, q_min, q_max, span.narrow,
                                                         past_caches);
      else if (std::is_same_v<Dst, std::int8_t> && (zeros == nullptr || range_of_zeros(zeros, rows).within(0, 0)))
        outside = pack_rows<Form, Rounding, true, false>(src, dst, rows, n, t.src_stride, t.dst_stride, scales, zeros, q_min, q_max, false, false);
      else
        outside = pack_rows<Form, Rounding, false, false>(src, dst, rows, n, t.src_stride, t.dst_stride, scales, zeros, q_min, q_max, false, false);
      if (!outside) [[likely]]
        continue;
    }
    conversion_counts found;
    for (index_t r = 0; r < rows; ++r) {
      f32s const scale = broadcast(scales[r]), inverse = div(broadcast(1.0f), scale);
      bool const fast = !any(mask_not(fast_scales<Form, Rounding>::of(scale, span.bits)));
      if (fast) {
        float inverses[lanes], lows[lanes];
        store(static_cast<float*>(inverses), inverse);
        store(static_cast<float*>(lows), std::is_same_v<Form, divide> ? low_part(scale, inverse) : inverse);
        std::int32_t const zero = (zeros == nullptr ? 0 : zeros[r]) - q_min;
        found += quantize_counted<Form, Rounding, false>(src + r * t.src_stride, dst + r * t.dst_stride, whole / block, block, block,
                                                         static_cast<float const*>(inverses), static_cast<float const*>(lows), &zero, q_min,
                                                         q_max, past_caches, t.far);
      }
      index_t const done = fast ? whole : 0;
      if (done < n) found += quantize_row_plainly<Form>(t, first_row + r, done, n - done, rounding);
    }
    expects = found != conversion_counts{};
    counts += found;
  }
  return counts;
}
#endif

}  // namespace inner

namespace inner {
/// Any rows.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_any_rows(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding) {
  conversion_counts counts;
  if (t.unchecked && !valid_params(t.scales, t.zero_points, t.rows, t.zero_limits)) return {-1, 0};
#if QUERN_DETAIL_PACKED
  if constexpr (has_fast_loop<Form, Src, Dst, Rounding>) {
    if (t.cols >= block && quern::detail::code_span(t.q_min, t.q_max).told_by_bits && !t.in_place) {
      bool const streaming = t.rows * t.cols >= quern::detail::streaming_bytes / static_cast<index_t>(sizeof(Dst));
      if (sizeof(Dst) == 1 && t.rows > 1 && t.cols < most_piece) {
        if constexpr (sizeof(Dst) == 1) counts = quantize_short_rows<Form>(t, rounding, streaming);
      } else {
        bool expects = false;  // whether what came before had something outside: then the next has, too, as a rule
        for (index_t row = 0; row < t.rows; ++row) counts += quantize_row<Form>(t, row, rounding, streaming, expects);
      }
      if (streaming) fence();
      return counts;
    }
  }
#endif
  for (index_t row = 0; row < t.rows; ++row) counts += quantize_row_plainly<Form>(t, row, 0, t.cols, rounding);
  return counts;
}
}  // namespace inner

/// A rectangle with a scale for each row. Where t.unchecked is set and the scales or zero points are not valid nothing is written, and
/// saturated is -1.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_rows(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding) {
#if QUERN_DETAIL_PACKED
  if constexpr (inner::has_fast_loop<Form, Src, Dst, Rounding> && sizeof(Dst) == 1) {
    quern::detail::code_span const span(t.q_min, t.q_max);
    index_t const n = t.cols, rows = t.rows;
    if (t.unchecked && rows > 1 && n >= inner::block && rows * n <= inner::most_piece && !span.narrow &&
        inner::fast_scales<Form, Rounding>::all(t.scales, rows, span.bits)) {
      if (t.zero_points == nullptr && std::is_same_v<Dst, std::int8_t> && t.zero_limits.min <= 0 && 0 <= t.zero_limits.max) {
        if (!inner::pack_rows<Form, Rounding, true, false>(t.src, t.dst, rows, n, t.src_stride, t.dst_stride, t.scales, nullptr, t.q_min,
                                                           t.q_max, false, false)) [[likely]]
          return {};
      } else if (t.zero_points != nullptr && inner::range_of_zeros(t.zero_points, rows).within(t.zero_limits.min, t.zero_limits.max)) {
        if (!inner::pack_rows<Form, Rounding, false, false>(t.src, t.dst, rows, n, t.src_stride, t.dst_stride, t.scales, t.zero_points, t.q_min,
                                                            t.q_max, false, false)) [[likely]]
          return {};
      }
    }
  }
#endif
  return inner::quantize_any_rows<Form>(t, rounding);
}

namespace inner {
/// `n` numbers of which the first `period` repeat.
template <class T>
QUERN_INLINE_BODY void repeat(T const* p, T* to, index_t period, index_t n) {
  __builtin_memcpy(to, p, static_cast<std::size_t>(period) * sizeof(T));
  for (index_t done = period; done < n; done *= 2)
    __builtin_memcpy(to + done, to, static_cast<std::size_t>(n - done < done ? n - done : done) * sizeof(T));
}
/// Elements of the rows of a set, lane by lane.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_columns_plainly(quern::detail::quantize_task<Src, Dst> const& t, float const* scales,
                                                          std::int32_t const* zeros, index_t first_row, index_t rows, index_t rows_apart,
                                                          index_t first, index_t n, Rounding rounding) {
  using real = arithmetic_of<Src>;
  constexpr index_t most = 256;
  real some_scales[most + lanes];
  std::int32_t some_zeros[most + lanes];
  conversion_counts counts;
  for (index_t at = 0; at < n; at += most) {
    index_t const size = n - at < most ? n - at : most;
    for (index_t j = 0; j < size + lanes; ++j) {
      real const scale = j < size ? static_cast<real>(scales[at + j]) : real{1};
      some_scales[j] = std::is_same_v<Form, divide> ? scale : real{1} / scale;
      some_zeros[j] = j < size && zeros != nullptr ? zeros[at + j] : 0;
    }
    for (index_t k = 0; k < rows; ++k) {
      index_t const i = first_row + k * rows_apart, col = first + at;
      quantize_plainly<Form>(t.src + i * t.src_stride + col, t.dst + i * t.dst_stride + col, size, static_cast<real const*>(some_scales),
                             static_cast<std::int32_t const*>(some_zeros), 1, t.q_min, t.q_max, rounding,
                             t.first_index + static_cast<std::uint64_t>(i * t.row_index + col * t.col_index), t.col_index, counts);
    }
  }
  if (t.far != nullptr && counts != conversion_counts{}) *t.far = true;
  return counts;
}

#if QUERN_DETAIL_PACKED
/// Columns whose inverses are kept: as many as there are bits for blocks of them.
inline constexpr index_t most_inverses = 64 * block;
/// Columns first .. first + n of a task, n >= block.
template <class Form, class Src, class Dst, class Rounding>
struct column_quantizer {
  using task = quern::detail::quantize_task<Src, Dst>;
  task const& t;
  float const* scales;  ///< of these columns
  std::int32_t const* zeros;
  float *inverses, *lows;  ///< of whole blocks if they are `ready`, else room for those of a part; then for one block more
  bool ready;
  index_t first, n;
  std::uint64_t fast;  ///< bit b: block b of the columns may be scaled
  bool centered, streaming, expects;
  quern::detail::code_span span;

  QUERN_INLINE conversion_counts plainly(index_t row, row_set const& rows, index_t at, index_t size) const {
    conversion_counts counts;
    for (index_t r = 0; r < rows.turns; ++r)
      counts += quantize_columns_plainly<Form>(t, scales + at, zeros == nullptr ? nullptr : zeros + at, row + r, rows.together, rows.apart,
                                               first + at, size, rounding);
    return counts;
  }
  [[no_unique_address]] Rounding rounding;

  /// Whether anything may be outside of q_min .. q_max, and then these columns, whole blocks of them, hold anything.
  QUERN_INLINE_BODY bool packed(index_t row, row_set const& rows, index_t at, index_t size, bool is_rest) const {
    bool const past_caches = streaming && !is_rest;
    Src const* const src = t.src + row * t.src_stride + first + at;
    Dst* const dst = t.dst + row * t.dst_stride + first + at;
    std::int32_t const* const zero = zeros == nullptr ? nullptr : zeros + at;
    index_t const place = is_rest ? most_inverses : ready ? at : 0;
    column_scales const all{scales + at, inverses + place, lows + place, ready && !is_rest};
    if (past_caches || span.narrow)
      return pack_columns<Form, Rounding, false, true>(src, dst, rows, size, t.src_stride, t.dst_stride, all, zero, t.q_min, t.q_max, span.narrow,
                                                       past_caches);
    if (centered)
      return pack_columns<Form, Rounding, sizeof(Dst) == 1, false>(src, dst, rows, size, t.src_stride, t.dst_stride, all, zero, t.q_min, t.q_max,
                                                                   false, false);
    return pack_columns<Form, Rounding, false, false>(src, dst, rows, size, t.src_stride, t.dst_stride, all, zero, t.q_min, t.q_max, false, false);
  }
  QUERN_NOINLINE conversion_counts again(index_t row, row_set const& rows, index_t at, index_t size) {
    if constexpr (sizeof(Dst) == 1) {
      conversion_counts const found = count_columns<Form, Rounding>(
          t.src + row * t.src_stride + first + at, t.dst + row * t.dst_stride + first + at, rows, size, t.src_stride, t.dst_stride, scales + at,
          zeros == nullptr ? nullptr : zeros + at, t.q_min, t.q_max, streaming, t.far);
      expects = found != conversion_counts{};
      return found;
    } else {
      return plainly(row, rows, at, size);
    }
  }
  /// All columns of some rows, at most `most` blocks at once. Behind the last whole block comes one that ends with the last column.
  QUERN_INLINE_BODY conversion_counts operator()(index_t row, row_set const& rows, index_t most) {
    conversion_counts counts;
    index_t const whole = n / block, rest = n - whole * block;
    for (index_t b = 0, next; b < whole; b = next) {
      bool const is_fast = ((fast >> b) & 1) != 0;
      for (next = b + 1; next < whole && next < b + most && (((fast >> next) & 1) != 0) == is_fast;) ++next;
      index_t const at = b * block, size = (next - b) * block;
      if (!is_fast) [[unlikely]]
        counts += plainly(row, rows, at, size);
      else if (expects || packed(row, rows, at, size, false)) [[unlikely]]
        counts += again(row, rows, at, size);
    }
    if (rest != 0 && (((fast >> whole) & 1) == 0 || expects)) {
      counts += plainly(row, rows, n - rest, rest);
    } else if (rest != 0 && packed(row, rows, n - block, block, true)) {
      (void)plainly(row, rows, n - block, block - rest);  // what the last block overlaps is not counted twice
      counts += plainly(row, rows, n - rest, rest);
    }
    return counts;
  }
};
#endif
}  // namespace inner

namespace inner {
/// Any columns.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_any_columns(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding) {
  constexpr index_t most_columns = quern::detail::most_columns;
  index_t const rows = t.rows;
  conversion_counts counts;
  bool const in_order = t.col_scale == 1;
  if (t.unchecked && !valid_params(t.scales, t.zero_points, t.period, t.zero_limits)) return {-1, 0};
  alignas(64) float copied[most_columns];
  alignas(64) std::int32_t copied_zeros[most_columns];
#if QUERN_DETAIL_PACKED
  constexpr bool is_fast_type = has_fast_loop<Form, Src, Dst, Rounding>;
  quern::detail::code_span const span(t.q_min, t.q_max);
  bool const is_fast = is_fast_type && span.told_by_bits && !t.in_place;
  [[maybe_unused]] bool const all_fast = is_fast && in_order && fast_scales<Form, Rounding>::all(t.scales, t.period, span.bits);
  bool const large = rows * t.cols >= quern::detail::streaming_bytes / static_cast<index_t>(sizeof(Dst));
  bool const streaming = large && ((reinterpret_cast<std::uintptr_t>(t.dst) | static_cast<std::uintptr_t>(t.dst_stride) * sizeof(Dst)) & 63) == 0;
#endif
  for (index_t first = 0, n; first < t.cols; first += n) {
    n = t.cols - first;
    index_t const number = first == 0 ? 0 : first % t.period;
    float const* scales = t.scales + number;
    std::int32_t const* zeros = t.zero_points == nullptr ? nullptr : t.zero_points + number;  // null: all 0
    if (!in_order || number + n > t.period) {
      if (n > most_columns) n = most_columns;
      if (in_order && number == 0) {
        repeat(t.scales, static_cast<float*>(copied), t.period < n ? t.period : n, n);
        if (zeros != nullptr) repeat(t.zero_points, static_cast<std::int32_t*>(copied_zeros), t.period < n ? t.period : n, n);
      }
      for (index_t j = in_order && number == 0 ? n : 0, k = number; j < n; ++j) {
        copied[j] = t.scales[k * t.col_scale];
        if (zeros != nullptr) copied_zeros[j] = t.zero_points[k * t.col_scale];
        if (++k == t.period) k = 0;
      }
      scales = copied;
      if (zeros != nullptr) zeros = copied_zeros;
    }
#if QUERN_DETAIL_PACKED
    if constexpr (is_fast_type) {
      if (n > 64 * block) n = 64 * block;  // as many as there are bits
      bool const in_caches = quern::detail::rows_in_turn::in_caches(rows * n);
      if (!in_caches && !large && n > most_inverses) n = most_inverses;
      if (is_fast && n >= block) {
        std::uint64_t fast = ~std::uint64_t{0};
        if (!all_fast) {
          index_t const whole = n / block;
          for (index_t b = 0; b * block < n; ++b) {
            float const* const p = scales + (b < whole ? b * block : n - block);
            bool const all = fast_scales<Form, Rounding>::all(p, block, span.bits);
            if (!all) fast &= ~(std::uint64_t{1} << b);
          }
        }
        bool const centered = std::is_same_v<Dst, std::int8_t> && range_of_zeros(zeros, n).within(0, 0);
        alignas(64) float inverses[most_inverses + block], lows[most_inverses + block];
        bool const ready = !in_caches && n <= most_inverses;
        for (index_t j = 0; ready && j + block <= n; j += block) invert_block<Form>(scales + j, inverses + j, lows + j);
        column_quantizer<Form, Src, Dst, Rounding> quantize{t,     scales, zeros,    inverses,  lows,  ready, first,
                                                                   n,     fast,   centered, streaming, false, span,  rounding};
        quern::detail::rows_in_turn turn(rows, in_caches, large);
        index_t const elements = in_caches ? 4096 : 8192;  // that are done again at once
        // A division takes as long as 100 elements: on 32 bits less, and in the caches there is no second turn.
        index_t most_blocks = static_cast<index_t>(static_cast<std::uint32_t>(elements - 1) / static_cast<std::uint32_t>(turn.together * block)) + 1;
        if (most_blocks > most_inverses / block) most_blocks = most_inverses / block;
        index_t const most_turns = in_caches ? 1 : (elements - 1) / (turn.together * n) + 1;
        for (index_t i = 0; i < rows; i = turn.next(i)) {
          turn.begin(i);
          for (index_t r = 0; r < turn.apart; r += most_turns)
            counts += quantize(i + r, {turn.together, turn.apart, turn.apart - r < most_turns ? turn.apart - r : most_turns}, most_blocks);
        }
        continue;
      }
    }
#endif
    counts += quantize_columns_plainly<Form>(t, scales, zeros, 0, rows, 1, first, n, rounding);
  }
#if QUERN_DETAIL_PACKED
  if (streaming) fence();
#endif
  return counts;
}
}  // namespace inner

/// A rectangle with a scale for each column. Where t.unchecked is set and the scales or zero points are not valid nothing is written, and
/// saturated is -1.
template <class Form, class Src, class Dst, class Rounding>
QUERN_NOINLINE conversion_counts quantize_columns(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding) {
#if QUERN_DETAIL_PACKED
  // Some thousand elements take as long as the decisions that are not made here.
  if constexpr (inner::has_fast_loop<Form, Src, Dst, Rounding> && sizeof(Dst) == 1) {
    constexpr index_t most = 2 * inner::most_piece;
    quern::detail::code_span const span(t.q_min, t.q_max);
    index_t const n = t.cols, period = t.period;
    constexpr index_t most_here = 1024;
    if (t.unchecked && t.rows * n <= most && n % inner::block == 0 && n <= most_here && !span.narrow &&
        inner::fast_scales<Form, Rounding>::all(t.scales, period, span.bits)) {
      alignas(64) float inverses[most_here], lows[most_here];
      alignas(64) float repeated[most_here];
      inner::column_scales all{t.scales, inverses, lows, false};
      bool const centered = t.zero_points == nullptr ? std::is_same_v<Dst, std::int8_t> && t.zero_limits.min <= 0 && 0 <= t.zero_limits.max : false;
      if (centered) {
        if (period < n) {
          inner::repeat(t.scales, static_cast<float*>(repeated), period, n);
          all.scales = repeated;
        }
        if (!inner::pack_columns<Form, Rounding, true, false>(t.src, t.dst, {t.rows, 1, 1}, n, t.src_stride, t.dst_stride, all, nullptr, t.q_min,
                                                              t.q_max, false, false)) [[likely]]
          return {};
      } else if (t.zero_points != nullptr && period == n &&
                 inner::range_of_zeros(t.zero_points, period).within(t.zero_limits.min, t.zero_limits.max)) {
        if (!inner::pack_columns<Form, Rounding, false, false>(t.src, t.dst, {t.rows, 1, 1}, n, t.src_stride, t.dst_stride, all, t.zero_points,
                                                               t.q_min, t.q_max, false, false)) [[likely]]
          return {};
      }
    }
  }
#endif
  return inner::quantize_any_columns<Form>(t, rounding);
}
