// rescale.inl — rescale policies on vectors. Included once per instruction set, in its namespace; see rescale.hpp.
//
//     rescaler<P> r(parameters)          one scale for all lanes
//     rescaler<P> r(parameters*, n)      one a lane, the first n <= lanes
//     i32s y = r(x)                      P::apply in every lane

using namespace vector_rescale;

namespace inner {

/// Parameters, one a lane, after `f`.
template <class P, class F>
QUERN_INLINE i32s gather(typename P::parameters const* p, index_t n, F f) {
  std::int32_t all[lanes] = {};
  for (index_t i = 0; i < n; ++i) all[i] = f(p[i]);
  return load(static_cast<std::int32_t const*>(all));
}

/// ((x * multiplier) * 2^left + 2^(right - 1) - (nearest and negative)) / 2^right, modulo 2^64 before the shift to the right.
template <class P>
struct single_rounding {
  i32s multiplier;
  wides left, right, half;

  QUERN_INLINE explicit single_rounding(typename P::parameters p) {
    single_form const f = single_form_of(P{}, p);
    set(broadcast(f.multiplier), broadcast(f.left), broadcast(f.right));
  }
  QUERN_INLINE single_rounding(typename P::parameters const* p, index_t n) {
    std::int32_t m[lanes] = {}, l[lanes] = {}, r[lanes];
    for (int i = 0; i < lanes; ++i) r[i] = 1;
    for (index_t i = 0; i < n; ++i) {
      single_form const f = single_form_of(P{}, p[i]);
      m[i] = f.multiplier, l[i] = f.left, r[i] = f.right;
    }
    set(load(static_cast<std::int32_t const*>(m)), load(static_cast<std::int32_t const*>(l)),
        load(static_cast<std::int32_t const*>(r)));
  }
  QUERN_INLINE i32s operator()(i32s x) const {
    wides p = mul_wide(x, multiplier);
    if constexpr (shifts_left(P{})) p = shift_left(p, left);
    wides sum = add(p, half);
    if constexpr (ties_away(P{})) sum = add(sum, sign_of(p));
    return low_halves(shift_right(sum, right));
  }

 private:
  QUERN_INLINE void set(i32s m, i32s l, i32s r) {
    multiplier = m;
    left = zero_extend(l);
    right = zero_extend(r);
    half = shift_left(broadcast_wide(1), zero_extend(sub(r, broadcast(1))));
  }
};

/// Ties away from zero, 0 <= e <= 31.
QUERN_INLINE i32s rounding_divide_by_pot(i32s x, i32s e) {
  i32s const one = broadcast(1), ones = sub(shift_left(one, e), one);
  i32s const rest = bit_and(x, ones);
  i32s const threshold = sub(shift_right_logical(ones, one), shift_right(x, broadcast(31)));
  return add(shift_right(x, e), select(less(threshold, rest), one, broadcast(0)));
}

/// The high half of twice the product, ties upward; then a rounding shift, ties away. multiplier is not INT_MIN.
template <class P>
struct double_rounding {
  i32s multiplier, left, right;

  QUERN_INLINE explicit double_rounding(typename P::parameters p)
      : multiplier(broadcast(p.multiplier)), left(broadcast(left_shift(P{}, p))), right(broadcast(right_shift(P{}, p))) {}
  QUERN_INLINE double_rounding(typename P::parameters const* p, index_t n) {
    std::int32_t m[lanes] = {}, l[lanes] = {}, r[lanes] = {};
    for (index_t i = 0; i < n; ++i) m[i] = p[i].multiplier, l[i] = left_shift(P{}, p[i]), r[i] = right_shift(P{}, p[i]);
    multiplier = load(static_cast<std::int32_t const*>(m));
    left = load(static_cast<std::int32_t const*>(l));
    right = load(static_cast<std::int32_t const*>(r));
  }
  QUERN_INLINE i32s operator()(i32s x) const {
    wides const p = add(mul_wide(shift_left(x, left), multiplier), broadcast_wide(std::int64_t{1} << 30));
    return rounding_divide_by_pot(high_halves(add(p, p)), right);
  }
};

/// An integral value as int32, saturated.
template <class V>
QUERN_INLINE i32s saturated(V v) {
  return select(less_equal(constant_like(v, 2147483648.0), v), broadcast(std::int32_t{2147483647}), to_i32(v));
}

template <class Rounding>
struct float_product {
  f32s scale;
  template <class Parameters>
  QUERN_INLINE explicit float_product(Parameters p) : scale(broadcast(p.scale)) {}
  template <class Parameters>
  QUERN_INLINE float_product(Parameters const* p, index_t n) {
    float all[lanes] = {};
    for (index_t i = 0; i < n; ++i) all[i] = p[i].scale;
    scale = load(static_cast<float const*>(all));
  }
  QUERN_INLINE i32s operator()(i32s x) const { return saturated(to_integral(mul(to_f32(x), scale), Rounding{})); }
};

template <class Rounding>
struct double_product {
  f64s scale;
  template <class Parameters>
  QUERN_INLINE explicit double_product(Parameters p) : scale(broadcast(p.scale)) {}
  template <class Parameters>
  QUERN_INLINE double_product(Parameters const* p, index_t n) {
    double all[lanes] = {};
    for (index_t i = 0; i < n; ++i) all[i] = p[i].scale;
    scale = load(static_cast<double const*>(all));
  }
  QUERN_INLINE i32s operator()(i32s x) const { return saturated(to_integral(mul(to_f64(x), scale), Rounding{})); }
};

/// Any other policy, lane by lane.
template <class P>
struct lanewise_rescale {
  typename P::parameters each[lanes];
  QUERN_INLINE explicit lanewise_rescale(typename P::parameters p) {
    for (auto& e : each) e = p;
  }
  QUERN_INLINE lanewise_rescale(typename P::parameters const* p, index_t n) {
    for (index_t i = 0; i < lanes; ++i) each[i] = p[i < n ? i : 0];
  }
  QUERN_INLINE i32s operator()(i32s x) const {
    std::int32_t all[lanes];
    store(static_cast<std::int32_t*>(all), x);
    for (int i = 0; i < lanes; ++i) all[i] = P::apply(all[i], each[i]);
    return load(static_cast<std::int32_t const*>(all));
  }
};

template <class P>
struct rescaler_of {
  using type = lanewise_rescale<P>;
};
template <class P>
  requires single_rounding_policy<P>
struct rescaler_of<P> {
  using type = single_rounding<P>;
};
template <class P>
  requires double_rounding_policy<P>
struct rescaler_of<P> {
  using type = double_rounding<P>;
};
template <class R>
struct rescaler_of<rescale::float_multiply<R>> {
  using type = float_product<R>;
};
template <class R>
struct rescaler_of<rescale::double_multiply<R>> {
  using type = double_product<R>;
};
template <>
struct rescaler_of<rescale::xnnpack_fp32> {
  using type = float_product<round_to::half_even>;
};
}  // namespace inner

template <class P>
using rescaler = typename inner::rescaler_of<P>::type;
