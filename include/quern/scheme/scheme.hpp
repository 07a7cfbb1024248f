// scheme.hpp — what every quantization scheme is: a code, a granularity, and the codes it may use.
//
//     real = scale * (q - zero_point)        q_min <= q <= q_max
//
// A scheme is one file beside this one (symmetric, asymmetric, power_of_two) and one line in schemes.hpp. It says how a scale and
// a zero point follow from a range of real values; everything else (params, quantize, packing) reads only what is here.
#pragma once

#include "../core/math.hpp"
#include "granularity.hpp"

namespace quern {

/// All codes of the type: -128..127, 0..255.
struct full_range {
  static constexpr char const* name = "full_range";
  template <class Code>
  static constexpr std::int32_t q_min = Code::min;
};

/// Without the lowest code: -127..127, 1..255. Negation stays inside, and two s8 products fit an int16.
struct narrow_range {
  static constexpr char const* name = "narrow_range";
  template <class Code>
  static constexpr std::int32_t q_min = Code::min + 1;
};

template <class R>
concept code_range = std::same_as<R, full_range> || std::same_as<R, narrow_range>;

/// A closed interval of real values. `min > max` as default-constructed: no value was seen.
struct real_range {
  float min = bits_of<float>(0x7f800000u);
  float max = bits_of<float>(0xff800000u);

  QUERN_INLINE constexpr bool empty() const noexcept { return min > max; }
  QUERN_INLINE friend constexpr bool operator==(real_range const&, real_range const&) = default;
};

/// What one group of elements is quantized with.
struct scale_zero_point {
  float scale = 1.0f;
  std::int32_t zero_point = 0;
};

/// What choose_params does where the range alone does not say.
struct choose_options {
  /// No scale is smaller. 2^-126, the smallest normal number, keeps 1 / scale finite.
  float smallest_scale = bits_of<float>(0x00800000u);
  /// The scale of a range that holds only 0.0, or nothing.
  float scale_of_zero = 1.0f;
};

namespace detail {

template <class Code>
concept scheme_code = quantized_code<Code> && (code_of_t<Code>::bits <= 16);

/// The members that all schemes have in common, with the sentences for wrong arguments.
template <class Code, class Granularity, class Range>
struct scheme_base {
  static_assert(scheme_code<Code>,
                "quern: the first argument of a scheme is a code of 2 to 16 bits: s8, u8, s4, code<5, true>, std::int8_t, ...");
  static_assert(granularity<Granularity>,
                "quern: the second argument of a scheme is per_tensor, per_channel<Axis>, per_group<N> or per_row.");
  static_assert(code_range<Range>, "quern: the third argument of a scheme is full_range or narrow_range.");

  // After a wrong argument stand-ins follow, so that the sentence is not buried under its consequences.
  using code = typename std::conditional_t<scheme_code<Code>, code_of<std::remove_cv_t<Code>>, code_of<std::int8_t>>::type;
  using granularity = std::conditional_t<quern::granularity<Granularity>, Granularity, per_tensor>;
  using range = std::conditional_t<code_range<Range>, Range, full_range>;
  using storage = typename code::storage;
  static constexpr std::int32_t q_min = range::template q_min<code>;
  static constexpr std::int32_t q_max = code::max;
  static constexpr char const* scale_rule = "";  // what valid_scale wants, beyond finite and positive
  /// The zero point of the schemes that fix it: the middle of the type, 0 if signed and 2^(Bits-1) if not.
  static constexpr std::int32_t q_middle = code::is_signed ? 0 : (code::max + 1) / 2;
};

/// A range made fit for arithmetic in double: it includes 0.0, and its ends are within +-2^126, so that every code stands for a
/// finite float, the lowest of two bits (-2 where 1 is the range's end) included. Infinite ends are thereby clipped.
struct usable_range {
  double min, max;
  QUERN_INLINE constexpr explicit usable_range(real_range r) noexcept
      : min(r.min < 0 ? r.min : 0.0), max(r.max > 0 ? r.max : 0.0) {
    constexpr double limit = 8.507059173023462e37;  // 2^126
    if (r.empty()) min = max = 0;
    if (min < -limit) min = -limit;
    if (max > limit) max = limit;
  }
  QUERN_INLINE constexpr bool only_zero() const noexcept { return min == 0 && max == 0; }
};

/// The scale of a range around a fixed zero point: the smallest at which neither end is clipped.
template <class Scheme>
QUERN_INLINE constexpr double scale_around(usable_range r) noexcept {
  double const below = r.min / (Scheme::q_min - Scheme::q_middle);
  double const above = r.max / (Scheme::q_max - Scheme::q_middle);
  return below > above ? below : above;
}

}  // namespace detail

/// symmetric<...>, asymmetric<...>, power_of_two<...>, or a type of your own with the same members.
template <class S>
concept scheme = requires(real_range r, choose_options o) {
  requires detail::scheme_code<typename S::code>;
  requires granularity<typename S::granularity>;
  requires code_range<typename S::range>;
  typename S::storage;
  { S::name } -> std::convertible_to<char const*>;
  { S::q_min } -> std::convertible_to<std::int32_t>;
  { S::q_max } -> std::convertible_to<std::int32_t>;
  { S::fixed_zero_point } -> std::convertible_to<bool>;   // zero_point is always q_middle
  { S::valid_scale(1.0f) } -> std::same_as<bool>;         // beyond finite and positive ...
  { S::scale_rule } -> std::convertible_to<char const*>;  // ... and the rule in words
  { S::choose(r, o) } -> std::same_as<scale_zero_point>;
};

}  // namespace quern
