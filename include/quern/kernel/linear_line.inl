// linear_line.inl — sums of int8 codes in linear form. Included once per instruction set, in its namespace, where `inner` has what
// elementwise.hpp says and multiply_add_to(sum, a, b), sum + a0 b0 + a1 b1 for pairs of words.

namespace inner {
/// linear_form of pairs (2^8 a, 2^8 b) of words. Low parts are taken from the high halves of products of words: a shift less.
struct linear_lanes {
  raw factor_high, factor_low, ones;
  i32s offset;
  shift_count shift;

  QUERN_INLINE static raw factors(std::int32_t lhs, std::int32_t rhs) {
    return raw_of(broadcast((lhs & 0xffff) | static_cast<std::int32_t>(static_cast<std::uint32_t>(rhs) << 16)));
  }
  QUERN_INLINE explicit linear_lanes(quern::detail::linear_form const& f)
      : factor_high(factors(f.lhs_high, f.rhs_high)), factor_low(factors(f.lhs_low, f.rhs_low)), ones(raw_of(broadcast(65537))),
        offset(broadcast(f.offset)), shift(count_of(f.shift)) {}
  QUERN_INLINE_BODY i32s operator()(raw pairs) const {
    return sra(multiply_add_to(multiply_add_to(offset, pairs, factor_high), high_words(pairs, factor_low), ones), shift);
  }
};
}  // namespace inner

/// A sum in linear form. Codes stand in the high bytes of 16-bit words, a and b side by side, so that one multiply-add makes
/// 2^8 (a A + b B); unpacking and packing are each other's inverse, also within 128-bit halves. dst is aligned to 64 bytes if n is
/// as long as streaming wants it. Returns how many codes whole registers hold.
QUERN_NOINLINE inline index_t linear_line(std::int8_t const* a, std::int8_t const* b, std::int8_t* dst, index_t n, quern::detail::linear_form const& f,
                                          quern::fixed_point::limits l) {
  using namespace inner;
  constexpr index_t at_once = 4 * lanes;
  inner::linear_lanes const form(f);  // not that of the instruction set below
  raw const none = raw_of(broadcast(0));
  bytes const lo = broadcast_byte(static_cast<std::int8_t>(l.min)), hi = broadcast_byte(static_cast<std::int8_t>(l.max));
  bool const streaming = n >= quern::detail::streaming_bytes;
  index_t i = 0;
  for (; i + at_once <= n; i += at_once) {
    raw const x = load_raw(a + i), z = load_raw(b + i);
    // Names, no array: GCC 12 keeps arrays of registers in memory at -O2, which halves the speed.
    raw const first = unpack_low(x, z), second = unpack_high(x, z);
    i32s const v0 = form(unpack_low(none, first)), v1 = form(unpack_high(none, first));
    i32s const v2 = form(unpack_low(none, second)), v3 = form(unpack_high(none, second));
    bytes const y = min_signed(max_signed(pack_in_halves(pack_signed(v0, v1), pack_signed(v2, v3)), lo), hi);
    if (streaming)
      stream(dst + i, y);
    else
      store(dst + i, y);
  }
  if (streaming) fence();
  return i;
}
