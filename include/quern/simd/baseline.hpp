// baseline.hpp — the vector vocabulary of whatever the translation unit was compiled for; vocabulary.md says what each word means.
// QUERN_BASELINE (config/baseline.hpp) says which of three: SSE2 (x86_sse2.hpp), xsimd, or plain C++; the last two are here.
//
// The registers, arithmetic, comparisons and rounding are xsimd's; what its versions 8 and 14 spell differently (casts,
// conversions between widths) goes through small arrays, which compilers keep in registers. Where there is no xsimd, or it does
// not know the CPU, `batch` is an array of 16 bytes with the same members. There is no fma() and no packing here: bodies ask
// has_fma and has_pack.
#pragma once

#include "../config/baseline.hpp"

#if QUERN_BASELINE == QUERN_BASELINE_SSE2
#include "x86_sse2.hpp"
#else

#include "../core/integers.hpp"
#include "../core/reals.hpp"
#include "../core/saturate.hpp"
#include "../cpu/isa.hpp"
#include "../round/modes.hpp"

#if QUERN_BASELINE == QUERN_BASELINE_XSIMD
#include <xsimd/xsimd.hpp>
#if !defined(XSIMD_NO_SUPPORTED_ARCHITECTURE)
#define QUERN_DETAIL_XSIMD 1
#endif
#endif

QUERN_FP_BEGIN
namespace quern {
inline namespace QUERN_ABI {
namespace baseline {

#if defined(QUERN_DETAIL_XSIMD)
template <class T>
using batch = xsimd::batch<T>;
template <class T>
using flags = xsimd::batch_bool<T>;
template <class T>
inline constexpr int size_of = static_cast<int>(batch<T>::size);
#else
template <class T>
inline constexpr int size_of = 16 / static_cast<int>(sizeof(T));
template <class T>
struct flags {
  bool v[size_of<T>];
};
/// What this header uses of xsimd::batch.
template <class T>
struct batch {
  T v[size_of<T>];

  batch() = default;
  QUERN_INLINE explicit batch(T x) {
    for (T& e : v) e = x;
  }
  QUERN_INLINE static batch load_unaligned(T const* p) {
    batch r;
    for (int i = 0; i < size_of<T>; ++i) r.v[i] = p[i];
    return r;
  }
  QUERN_INLINE void store_unaligned(T* p) const {
    for (int i = 0; i < size_of<T>; ++i) p[i] = v[i];
  }
#define QUERN_DETAIL_EACH(result, op)                          \
  QUERN_INLINE friend result operator op(batch a, batch b) {   \
    result r;                                                  \
    for (int i = 0; i < size_of<T>; ++i) r.v[i] = static_cast<std::remove_reference_t<decltype(r.v[0])>>(a.v[i] op b.v[i]); \
    return r;                                                  \
  }
  QUERN_DETAIL_EACH(batch, +)
  QUERN_DETAIL_EACH(batch, -)
  QUERN_DETAIL_EACH(batch, *)
  QUERN_DETAIL_EACH(batch, /)
  QUERN_DETAIL_EACH(flags<T>, <)
  QUERN_DETAIL_EACH(flags<T>, <=)
  QUERN_DETAIL_EACH(flags<T>, ==)
  QUERN_DETAIL_EACH(flags<T>, !=)
#undef QUERN_DETAIL_EACH
};
#endif

inline constexpr int lanes = size_of<float>;
inline constexpr bool has_fma = false;
inline constexpr bool has_pack = false;
inline constexpr bool has_wide_arithmetic_shift = true;
static_assert(size_of<std::int32_t> == lanes && 2 * size_of<double> == lanes);

struct f32s {
  batch<float> v;
};
struct i32s {
  batch<std::int32_t> v;
};
struct f64s {
  batch<double> lo, hi;
};
/// A bit a lane.
struct mask {
  unsigned v;
};
struct wides {
  std::int64_t v[lanes];
};

// ---- broadcast, load, store ----------------------------------------------------------------------------------------------

QUERN_INLINE f32s broadcast(float x) { return {batch<float>(x)}; }
QUERN_INLINE f64s broadcast(double x) { return {batch<double>(x), batch<double>(x)}; }
QUERN_INLINE i32s broadcast(std::int32_t x) { return {batch<std::int32_t>(x)}; }
QUERN_INLINE mask first_lanes(index_t n) { return {static_cast<unsigned>((std::uint64_t{1} << n) - 1)}; }

QUERN_INLINE f32s load(float const* p) { return {batch<float>::load_unaligned(p)}; }
QUERN_INLINE f64s load(double const* p) {
  return {batch<double>::load_unaligned(p), batch<double>::load_unaligned(p + lanes / 2)};
}
QUERN_INLINE i32s load(std::int32_t const* p) { return {batch<std::int32_t>::load_unaligned(p)}; }
template <class T>
  requires(std::same_as<T, half> || std::same_as<T, bfloat16>)
QUERN_INLINE f32s load(T const* p) {
  float all[lanes];
  for (int i = 0; i < lanes; ++i) all[i] = p[i];
  return load(static_cast<float const*>(all));
}
template <class T>
  requires(quantized_storage<T> && sizeof(T) < 4)
QUERN_INLINE i32s load(T const* p) {
  std::int32_t all[lanes];
  for (int i = 0; i < lanes; ++i) all[i] = p[i];
  return load(static_cast<std::int32_t const*>(all));
}
template <class T>
QUERN_INLINE auto load_first(T const* p, index_t n) {
  T all[lanes] = {};
  for (index_t i = 0; i < n; ++i) all[i] = p[i];
  return load(static_cast<T const*>(all));
}

QUERN_INLINE void store(float* p, f32s x) { x.v.store_unaligned(p); }
QUERN_INLINE void store(double* p, f64s x) {
  x.lo.store_unaligned(p);
  x.hi.store_unaligned(p + lanes / 2);
}
QUERN_INLINE void store(std::int32_t* p, i32s x) { x.v.store_unaligned(p); }
template <class T>
  requires(std::same_as<T, half> || std::same_as<T, bfloat16>)
QUERN_INLINE void store(T* p, f32s x) {
  float all[lanes];
  store(static_cast<float*>(all), x);
  for (int i = 0; i < lanes; ++i) p[i] = T(all[i]);
}
template <class T>
  requires(quantized_storage<T> && sizeof(T) < 4)
QUERN_INLINE void store(T* p, i32s x) {
  using c = code_of_t<T>;
  std::int32_t all[lanes];
  store(static_cast<std::int32_t*>(all), x);
  for (int i = 0; i < lanes; ++i) p[i] = static_cast<T>(all[i] < c::min ? c::min : all[i] > c::max ? c::max : all[i]);
}
template <class T, class V>
QUERN_INLINE void store_first(T* p, V x, index_t n) {
  T all[lanes];
  store(static_cast<T*>(all), x);
  for (index_t i = 0; i < n; ++i) p[i] = all[i];
}

QUERN_INLINE void stream(float* p, f32s x) { store(p, x); }
QUERN_INLINE void fence() {}
QUERN_INLINE void prefetch(void const* p) { __builtin_prefetch(p); }

// ---- real arithmetic -----------------------------------------------------------------------------------------------------

namespace inner {
#if defined(QUERN_DETAIL_XSIMD)
/// A product that nothing fuses with an addition.
template <class T>
QUERN_INLINE batch<T> product(batch<T> a, batch<T> b) {
  batch<T> r = a * b;
#if QUERN_X86_64
  asm("" : "+x"(r.data));
#elif QUERN_AARCH64
  asm("" : "+w"(r.data));
#else
  T all[size_of<T>];
  r.store_unaligned(all);
  asm("" : : "r"(&all[0]) : "memory");
  r = batch<T>::load_unaligned(all);
#endif
  return r;
}
template <class T>
QUERN_INLINE unsigned bits(flags<T> m) {
  T all[size_of<T>];
  xsimd::select(m, batch<T>(T{1}), batch<T>(T{0})).store_unaligned(all);
  unsigned r = 0;
  for (int i = 0; i < size_of<T>; ++i) r |= (all[i] != 0 ? 1u : 0u) << i;
  return r;
}
using xsimd::abs;
using xsimd::ceil;
using xsimd::floor;
using xsimd::nearbyint;
using xsimd::select;
using xsimd::trunc;
#else
template <class T>
QUERN_INLINE batch<T> product(batch<T> a, batch<T> b) {
  for (int i = 0; i < size_of<T>; ++i) a.v[i] = rounded(a.v[i] * b.v[i]);
  return a;
}
template <class T>
QUERN_INLINE unsigned bits(flags<T> m) {
  unsigned r = 0;
  for (int i = 0; i < size_of<T>; ++i) r |= (m.v[i] ? 1u : 0u) << i;
  return r;
}
template <class T>
QUERN_INLINE batch<T> select(flags<T> m, batch<T> yes, batch<T> no) {
  for (int i = 0; i < size_of<T>; ++i) yes.v[i] = m.v[i] ? yes.v[i] : no.v[i];
  return yes;
}
#define QUERN_DETAIL_LANES(name, call)    \
  template <class T>                      \
  QUERN_INLINE batch<T> name(batch<T> a) { \
    for (T& x : a.v) x = call(x);         \
    return a;                             \
  }
QUERN_DETAIL_LANES(abs, abs_of)
QUERN_DETAIL_LANES(floor, floor_of)
QUERN_DETAIL_LANES(ceil, ceil_of)
QUERN_DETAIL_LANES(trunc, trunc_of)
QUERN_DETAIL_LANES(nearbyint, round_to::half_even::to_integral)
#undef QUERN_DETAIL_LANES
#endif

/// f of the lanes of one or two vectors of int32.
template <class F>
QUERN_INLINE i32s each(i32s a, F f) {
  std::int32_t x[lanes];
  store(static_cast<std::int32_t*>(x), a);
  for (std::int32_t& e : x) e = f(e);
  return load(static_cast<std::int32_t const*>(x));
}
template <class F>
QUERN_INLINE i32s each(i32s a, i32s b, F f) {
  std::int32_t x[lanes], y[lanes];
  store(static_cast<std::int32_t*>(x), a);
  store(static_cast<std::int32_t*>(y), b);
  for (int i = 0; i < lanes; ++i) x[i] = f(x[i], y[i]);
  return load(static_cast<std::int32_t const*>(x));
}
template <class T, class F>
QUERN_INLINE T fold(T const* x, F f) {
  T r = x[0];
  for (int i = 1; i < lanes; ++i) r = f(r, x[i]);
  return r;
}
}  // namespace inner

QUERN_INLINE f32s add(f32s a, f32s b) { return {a.v + b.v}; }
QUERN_INLINE f32s sub(f32s a, f32s b) { return {a.v - b.v}; }
QUERN_INLINE f32s mul(f32s a, f32s b) { return {inner::product(a.v, b.v)}; }
#if QUERN_AARCH64
// xsimd 8's float division on Arm multiplies by an estimated reciprocal, off by an ulp: 7.6 / 0.1 came out below its tie. The
// compiler makes a vector division, fdiv, of this loop.
QUERN_INLINE f32s div(f32s a, f32s b) {
  float x[lanes], y[lanes];
  store(static_cast<float*>(x), a);
  store(static_cast<float*>(y), b);
  for (int i = 0; i < lanes; ++i) x[i] /= y[i];
  return load(static_cast<float const*>(x));
}
#else
QUERN_INLINE f32s div(f32s a, f32s b) { return {a.v / b.v}; }
#endif
QUERN_INLINE f32s min(f32s a, f32s b) { return {inner::select(a.v < b.v, a.v, b.v)}; }
QUERN_INLINE f32s max(f32s a, f32s b) { return {inner::select(b.v < a.v, a.v, b.v)}; }
QUERN_INLINE f32s abs(f32s a) { return {inner::abs(a.v)}; }
QUERN_INLINE mask less(f32s a, f32s b) { return {inner::bits<float>(a.v < b.v)}; }
QUERN_INLINE mask less_equal(f32s a, f32s b) { return {inner::bits<float>(a.v <= b.v)}; }
QUERN_INLINE mask equal(f32s a, f32s b) { return {inner::bits<float>(a.v == b.v)}; }
QUERN_INLINE mask is_nan(f32s a) { return {inner::bits<float>(a.v != a.v)}; }
QUERN_INLINE f32s select(mask m, f32s yes, f32s no) {
  float a[lanes], b[lanes];
  store(static_cast<float*>(a), yes);
  store(static_cast<float*>(b), no);
  for (int i = 0; i < lanes; ++i) a[i] = (m.v >> i) & 1 ? a[i] : b[i];
  return load(static_cast<float const*>(a));
}
QUERN_INLINE f32s copysign(f32s magnitude, f32s sign) {
  float a[lanes], b[lanes];
  store(static_cast<float*>(a), magnitude);
  store(static_cast<float*>(b), sign);
  for (int i = 0; i < lanes; ++i) a[i] = sign_bit(b[i]) ? -abs_of(a[i]) : abs_of(a[i]);
  return load(static_cast<float const*>(a));
}
QUERN_INLINE f32s nearest_even(f32s a) { return {inner::nearbyint(a.v)}; }
QUERN_INLINE f32s round_down(f32s a) { return {inner::floor(a.v)}; }
QUERN_INLINE f32s round_up(f32s a) { return {inner::ceil(a.v)}; }
QUERN_INLINE f32s truncate(f32s a) { return {inner::trunc(a.v)}; }

QUERN_INLINE f64s add(f64s a, f64s b) { return {a.lo + b.lo, a.hi + b.hi}; }
QUERN_INLINE f64s sub(f64s a, f64s b) { return {a.lo - b.lo, a.hi - b.hi}; }
QUERN_INLINE f64s mul(f64s a, f64s b) { return {inner::product(a.lo, b.lo), inner::product(a.hi, b.hi)}; }
QUERN_INLINE f64s div(f64s a, f64s b) { return {a.lo / b.lo, a.hi / b.hi}; }
QUERN_INLINE f64s min(f64s a, f64s b) {
  return {inner::select(a.lo < b.lo, a.lo, b.lo), inner::select(a.hi < b.hi, a.hi, b.hi)};
}
QUERN_INLINE f64s max(f64s a, f64s b) {
  return {inner::select(b.lo < a.lo, a.lo, b.lo), inner::select(b.hi < a.hi, a.hi, b.hi)};
}
QUERN_INLINE f64s abs(f64s a) { return {inner::abs(a.lo), inner::abs(a.hi)}; }
namespace inner {
QUERN_INLINE mask joined(flags<double> lo, flags<double> hi) { return {bits<double>(lo) | bits<double>(hi) << (lanes / 2)}; }
}  // namespace inner
QUERN_INLINE mask less(f64s a, f64s b) { return inner::joined(a.lo < b.lo, a.hi < b.hi); }
QUERN_INLINE mask less_equal(f64s a, f64s b) { return inner::joined(a.lo <= b.lo, a.hi <= b.hi); }
QUERN_INLINE mask equal(f64s a, f64s b) { return inner::joined(a.lo == b.lo, a.hi == b.hi); }
QUERN_INLINE mask is_nan(f64s a) { return inner::joined(a.lo != a.lo, a.hi != a.hi); }
QUERN_INLINE f64s select(mask m, f64s yes, f64s no) {
  double a[lanes], b[lanes];
  store(static_cast<double*>(a), yes);
  store(static_cast<double*>(b), no);
  for (int i = 0; i < lanes; ++i) a[i] = (m.v >> i) & 1 ? a[i] : b[i];
  return load(static_cast<double const*>(a));
}
QUERN_INLINE f64s copysign(f64s magnitude, f64s sign) {
  double a[lanes], b[lanes];
  store(static_cast<double*>(a), magnitude);
  store(static_cast<double*>(b), sign);
  for (int i = 0; i < lanes; ++i) a[i] = sign_bit(b[i]) ? -abs_of(a[i]) : abs_of(a[i]);
  return load(static_cast<double const*>(a));
}
QUERN_INLINE f64s nearest_even(f64s a) { return {inner::nearbyint(a.lo), inner::nearbyint(a.hi)}; }
QUERN_INLINE f64s round_down(f64s a) { return {inner::floor(a.lo), inner::floor(a.hi)}; }
QUERN_INLINE f64s round_up(f64s a) { return {inner::ceil(a.lo), inner::ceil(a.hi)}; }
QUERN_INLINE f64s truncate(f64s a) { return {inner::trunc(a.lo), inner::trunc(a.hi)}; }

namespace inner {
/// An integral value as int32; what does not fit, NaN included, becomes INT_MIN, as on x86.
template <class F>
QUERN_INLINE std::int32_t int32_of(F x) {
  return x >= F{-2147483648.0} && x < F{2147483648.0} ? static_cast<std::int32_t>(x) : -2147483647 - 1;
}
}  // namespace inner
QUERN_INLINE i32s to_i32(f32s a) {
  float x[lanes];
  std::int32_t r[lanes];
  store(static_cast<float*>(x), nearest_even(a));
  for (int i = 0; i < lanes; ++i) r[i] = inner::int32_of(x[i]);
  return load(static_cast<std::int32_t const*>(r));
}
QUERN_INLINE i32s to_i32(f64s a) {
  double x[lanes];
  std::int32_t r[lanes];
  store(static_cast<double*>(x), nearest_even(a));
  for (int i = 0; i < lanes; ++i) r[i] = inner::int32_of(x[i]);
  return load(static_cast<std::int32_t const*>(r));
}
#define QUERN_DETAIL_CONVERT(name, To, Result, From, Source)          \
  QUERN_INLINE Result name(Source a) {                                \
    From x[lanes];                                                    \
    To r[lanes];                                                      \
    store(static_cast<From*>(x), a);                                  \
    for (int i = 0; i < lanes; ++i) r[i] = static_cast<To>(x[i]);     \
    return load(static_cast<To const*>(r));                           \
  }
QUERN_DETAIL_CONVERT(to_f32, float, f32s, std::int32_t, i32s)
QUERN_DETAIL_CONVERT(to_f32, float, f32s, double, f64s)
QUERN_DETAIL_CONVERT(to_f64, double, f64s, std::int32_t, i32s)
QUERN_DETAIL_CONVERT(to_f64, double, f64s, float, f32s)
#undef QUERN_DETAIL_CONVERT

#define QUERN_DETAIL_REDUCE(name, T, V, expression)                   \
  QUERN_INLINE T name(V a) {                                          \
    T x[lanes];                                                       \
    store(static_cast<T*>(x), a);                                     \
    return inner::fold(x, [](T p, T q) -> T { return expression; });  \
  }
QUERN_DETAIL_REDUCE(reduce_min, float, f32s, p < q ? p : q)
QUERN_DETAIL_REDUCE(reduce_max, float, f32s, q < p ? p : q)
QUERN_DETAIL_REDUCE(reduce_min, std::int32_t, i32s, p < q ? p : q)
QUERN_DETAIL_REDUCE(reduce_max, std::int32_t, i32s, q < p ? p : q)
QUERN_DETAIL_REDUCE(reduce_add, std::int32_t, i32s,
                    static_cast<std::int32_t>(static_cast<std::uint32_t>(p) + static_cast<std::uint32_t>(q)))
#undef QUERN_DETAIL_REDUCE

// ---- integers ------------------------------------------------------------------------------------------------------------

#define QUERN_DETAIL_EACH2(name, expression)                                                          \
  QUERN_INLINE i32s name(i32s a, i32s b) {                                                            \
    return inner::each(a, b, [](std::int32_t x, std::int32_t y) -> std::int32_t {                     \
      [[maybe_unused]] auto const ux = static_cast<std::uint32_t>(x), uy = static_cast<std::uint32_t>(y); \
      return static_cast<std::int32_t>(expression);                                                   \
    });                                                                                               \
  }
QUERN_DETAIL_EACH2(add, ux + uy)
QUERN_DETAIL_EACH2(sub, ux - uy)
QUERN_DETAIL_EACH2(mul_low, ux* uy)
QUERN_DETAIL_EACH2(mul_words, static_cast<std::int16_t>(x) * static_cast<std::int16_t>(y))
QUERN_DETAIL_EACH2(min, x < y ? x : y)
QUERN_DETAIL_EACH2(max, y < x ? x : y)
QUERN_DETAIL_EACH2(bit_and, ux& uy)
QUERN_DETAIL_EACH2(bit_or, ux | uy)
QUERN_DETAIL_EACH2(bit_xor, ux ^ uy)
QUERN_DETAIL_EACH2(shift_left, uy > 31 ? 0 : ux << uy)
QUERN_DETAIL_EACH2(shift_right, x >> (uy > 31 ? 31 : uy))
QUERN_DETAIL_EACH2(shift_right_logical, uy > 31 ? 0 : ux >> uy)
QUERN_DETAIL_EACH2(copysign, y < 0 ? 0u - ux : ux)
#undef QUERN_DETAIL_EACH2
QUERN_INLINE i32s shift_right(i32s a, int s) { return shift_right(a, broadcast(std::int32_t{s})); }
QUERN_INLINE i32s abs(i32s a) {
  return inner::each(a, [](std::int32_t x) {
    return static_cast<std::int32_t>(x < 0 ? 0u - static_cast<std::uint32_t>(x) : static_cast<std::uint32_t>(x));
  });
}
QUERN_INLINE i32s or3(i32s a, i32s b, i32s c) { return bit_or(bit_or(a, b), c); }
namespace inner {
template <class F>
QUERN_INLINE mask test(i32s a, i32s b, F f) {
  std::int32_t x[lanes], y[lanes];
  store(static_cast<std::int32_t*>(x), a);
  store(static_cast<std::int32_t*>(y), b);
  unsigned r = 0;
  for (int i = 0; i < lanes; ++i) r |= (f(x[i], y[i]) ? 1u : 0u) << i;
  return {r};
}
}  // namespace inner
QUERN_INLINE mask less(i32s a, i32s b) {
  return inner::test(a, b, [](std::int32_t x, std::int32_t y) { return x < y; });
}
QUERN_INLINE mask equal(i32s a, i32s b) {
  return inner::test(a, b, [](std::int32_t x, std::int32_t y) { return x == y; });
}
QUERN_INLINE i32s select(mask m, i32s yes, i32s no) {
  std::int32_t a[lanes], b[lanes];
  store(static_cast<std::int32_t*>(a), yes);
  store(static_cast<std::int32_t*>(b), no);
  for (int i = 0; i < lanes; ++i) a[i] = (m.v >> i) & 1 ? a[i] : b[i];
  return load(static_cast<std::int32_t const*>(a));
}
QUERN_INLINE i32s as_i32(f32s a) {
  float x[lanes];
  std::int32_t r[lanes];
  store(static_cast<float*>(x), a);
  __builtin_memcpy(r, x, sizeof r);
  return load(static_cast<std::int32_t const*>(r));
}
QUERN_INLINE f32s as_f32(i32s a) {
  std::int32_t x[lanes];
  float r[lanes];
  store(static_cast<std::int32_t*>(x), a);
  __builtin_memcpy(r, x, sizeof r);
  return load(static_cast<float const*>(r));
}

QUERN_INLINE mask mask_and(mask a, mask b) { return {a.v & b.v}; }
QUERN_INLINE mask mask_or(mask a, mask b) { return {a.v | b.v}; }
QUERN_INLINE mask mask_not(mask a) { return {~a.v & first_lanes(lanes).v}; }
QUERN_INLINE unsigned lane_bits(mask a) { return a.v; }
QUERN_INLINE bool any(mask a) { return a.v != 0; }

// ---- 64-bit products for fixed-point rescaling ------------------------------------------------------------------------------

QUERN_INLINE wides mul_wide(i32s a, i32s b) {
  std::int32_t x[lanes], y[lanes];
  store(static_cast<std::int32_t*>(x), a);
  store(static_cast<std::int32_t*>(y), b);
  wides r;
  for (int i = 0; i < lanes; ++i) r.v[i] = static_cast<std::int64_t>(x[i]) * y[i];
  return r;
}
QUERN_INLINE wides mul_wide_unsigned(i32s a, i32s b) {
  std::int32_t x[lanes], y[lanes];
  store(static_cast<std::int32_t*>(x), a);
  store(static_cast<std::int32_t*>(y), b);
  wides r;
  for (int i = 0; i < lanes; ++i)
    r.v[i] = static_cast<std::int64_t>(std::uint64_t{static_cast<std::uint32_t>(x[i])} * static_cast<std::uint32_t>(y[i]));
  return r;
}
QUERN_INLINE wides broadcast_wide(std::int64_t x) {
  wides r;
  for (std::int64_t& e : r.v) e = x;
  return r;
}
QUERN_INLINE wides zero_extend(i32s a) {
  std::int32_t x[lanes];
  store(static_cast<std::int32_t*>(x), a);
  wides r;
  for (int i = 0; i < lanes; ++i) r.v[i] = static_cast<std::uint32_t>(x[i]);
  return r;
}
#define QUERN_DETAIL_WIDE(name, expression)                                                   \
  QUERN_INLINE wides name(wides a, wides b) {                                                 \
    for (int i = 0; i < lanes; ++i) {                                                         \
      [[maybe_unused]] auto const x = static_cast<std::uint64_t>(a.v[i]), y = static_cast<std::uint64_t>(b.v[i]); \
      a.v[i] = static_cast<std::int64_t>(expression);                                         \
    }                                                                                         \
    return a;                                                                                 \
  }
QUERN_DETAIL_WIDE(add, x + y)
QUERN_DETAIL_WIDE(sub, x - y)
QUERN_DETAIL_WIDE(shift_left, y > 63 ? 0 : x << y)
QUERN_DETAIL_WIDE(shift_right_logical, y > 63 ? 0 : x >> y)
QUERN_DETAIL_WIDE(bit_and, x& y)
QUERN_DETAIL_WIDE(shift_right, a.v[i] >> (y > 63 ? 63 : y))
#undef QUERN_DETAIL_WIDE
QUERN_INLINE wides sign_of(wides a) {
  for (std::int64_t& x : a.v) x = x < 0 ? -1 : 0;
  return a;
}
QUERN_INLINE i32s low_halves(wides a) {
  std::int32_t r[lanes];
  for (int i = 0; i < lanes; ++i) r[i] = static_cast<std::int32_t>(static_cast<std::uint64_t>(a.v[i]));
  return load(static_cast<std::int32_t const*>(r));
}
QUERN_INLINE i32s high_halves_of_double(wides a) {
  std::int32_t r[lanes];
  for (int i = 0; i < lanes; ++i) r[i] = static_cast<std::int32_t>(a.v[i] >> 31);
  return load(static_cast<std::int32_t const*>(r));
}

QUERN_INLINE i32s truncate_to_i32(f32s a) { return to_i32(truncate(a)); }
QUERN_INLINE i32s truncate_to_i32(f64s a) { return to_i32(truncate(a)); }

#include "rounding.inl"

}  // namespace baseline
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_FP_END
#endif
