// rounding.inl — rounding modes on vectors, from nearest_even, round_down, round_up and truncate. Included once per instruction
// set, in its namespace.
//
// to_integral(v, mode) equals Mode::to_integral in every lane (the sign of a zero excepted), NaN and infinities included;
// to_i32(v, mode) is the same as an int32, for |v| <= 2^31 - 128.

template <class V>
QUERN_INLINE V to_integral(V v, round_to::half_even) {
  return nearest_even(v);
}
template <class V>
QUERN_INLINE V to_integral(V v, round_to::floor) {
  return round_down(v);
}
template <class V>
QUERN_INLINE V to_integral(V v, round_to::ceil) {
  return round_up(v);
}
template <class V>
QUERN_INLINE V to_integral(V v, round_to::toward_zero) {
  return truncate(v);
}

namespace inner {
QUERN_INLINE f32s constant_like(f32s, double x) { return broadcast(static_cast<float>(x)); }
QUERN_INLINE f64s constant_like(f64s, double x) { return broadcast(x); }
float scalar_of(f32s);
double scalar_of(f64s);
/// |v - trunc(v)|, exact; NaN for NaN and infinities.
template <class V>
QUERN_INLINE V fraction_of(V v, V t) {
  return abs(sub(v, t));
}
template <class V>
QUERN_INLINE V away_if(mask m, V v, V t) {
  return select(m, add(t, copysign(constant_like(v, 1.0), v)), t);
}
template <class V>
QUERN_INLINE mask is_negative(V v) {
  return less(v, constant_like(v, 0.0));
}
}  // namespace inner

namespace inner {
/// The largest number below 1/2: added away from zero and truncated it rounds ties away, where 1/2 itself would carry its own
/// predecessor up to 1.
QUERN_INLINE f32s almost_half(f32s) { return broadcast(0x1.fffffep-2f); }
QUERN_INLINE f64s almost_half(f64s) { return broadcast(0x1.fffffffffffffp-2); }
template <class V>
QUERN_INLINE V half_added(V v) {
  return add(v, copysign(almost_half(v), v));
}
}  // namespace inner

template <class V>
QUERN_INLINE V to_integral(V v, round_to::half_away) {
  return truncate(inner::half_added(v));
}
template <class V>
QUERN_INLINE V to_integral(V v, round_to::half_toward_zero) {
  V const t = truncate(v);
  return inner::away_if(less(inner::constant_like(v, 0.5), inner::fraction_of(v, t)), v, t);
}
template <class V>
QUERN_INLINE V to_integral(V v, round_to::half_up) {
  V const t = truncate(v), f = inner::fraction_of(v, t), half = inner::constant_like(v, 0.5);
  mask const tie_up = mask_and(equal(f, half), mask_not(inner::is_negative(v)));
  return inner::away_if(mask_or(less(half, f), tie_up), v, t);
}
template <class V>
QUERN_INLINE V to_integral(V v, round_to::half_even_positive) {
  V const t = truncate(v), f = inner::fraction_of(v, t), half = inner::constant_like(v, 0.5);
  // A negative tie goes up, that is to t; everything else is half_even.
  return select(mask_and(equal(f, half), inner::is_negative(v)), t, nearest_even(v));
}
/// A mode of the user's: lane by lane.
template <class V, class Mode>
QUERN_INLINE V to_integral(V v, Mode) {
  using scalar = decltype(inner::scalar_of(v));
  scalar x[lanes];
  store(static_cast<scalar*>(x), v);
  for (scalar& e : x) e = Mode::to_integral(e);
  return load(static_cast<scalar const*>(x));
}

template <class V, class Mode>
QUERN_INLINE i32s to_i32(V v, Mode mode) {
  if constexpr (std::is_same_v<Mode, round_to::half_even>)
    return to_i32(v);
  else if constexpr (std::is_same_v<Mode, round_to::half_away>)
    return truncate_to_i32(inner::half_added(v));
  else if constexpr (std::is_same_v<Mode, round_to::toward_zero>)
    return truncate_to_i32(v);
  else
    return to_i32(to_integral(v, mode));
}
