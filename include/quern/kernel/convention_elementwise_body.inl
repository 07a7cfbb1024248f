// convention_elementwise_body.inl — functors of convention/ on vectors. Included once per instruction set, in its namespace.
//
// Each is the functor's line of arithmetic with its own roundings; what is behind the rounding (zero point, limits, packing) is
// binary_loop's. NaN becomes INT_MIN and so the lowest code, as in the definitions.

namespace inner {

/// half_even(f32(a) * lhs + (f32(b) * rhs + fixed)), fused.
template <int Bytes>
struct vector_function<quern::convention::detail::mlas_add<true>, Bytes> {
  static constexpr bool known = has_fma;
  using function = quern::convention::detail::mlas_add<true>;
  f32s lhs, rhs, fixed;
  QUERN_INLINE explicit vector_function(function const& f) : lhs(broadcast(f.lhs_ratio)), rhs(broadcast(f.rhs_ratio)), fixed(broadcast(f.fixed)) {}
  QUERN_INLINE static std::int32_t zero_point(function const&) { return 0; }
  QUERN_INLINE static bool serves(function const&) { return true; }
  template <class I>
  QUERN_INLINE_BODY I operator()(I a, I b) const {
    return saturated(fma(to_f32(a), lhs, fma(to_f32(b), rhs, fixed)), round_to::half_even{});
  }
};

/// (a - za) (b - zb) modulo 2^32, which 8-bit codes keep below 2^17; and as a float, of 16-bit codes through doubles, which hold it.
struct code_product {
  i32s lhs_zero, rhs_zero;
  template <class F>
  QUERN_INLINE explicit code_product(F const& f) : lhs_zero(broadcast(f.lhs_zero_point)), rhs_zero(broadcast(f.rhs_zero_point)) {}
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return mul_low(sub(a, lhs_zero), sub(b, rhs_zero)); }
  template <int Bytes>
  QUERN_INLINE f32s real(i32s a, i32s b) const {
    if constexpr (Bytes == 1)
      return to_f32((*this)(a, b));
    else
      return to_f32(mul(to_f64(sub(a, lhs_zero)), to_f64(sub(b, rhs_zero))));
  }
};
/// Beyond what two codes differ by.
template <int Bytes>
inline constexpr std::int32_t code_span = Bytes == 1 ? 256 : 65536;

template <int Bytes>
struct vector_function<quern::convention::detail::mlas_mul, Bytes> {
  static constexpr bool known = true;
  using function = quern::convention::detail::mlas_mul;
  code_product product;
  f32s ratio, zero;
  QUERN_INLINE explicit vector_function(function const& f) : product(f), ratio(broadcast(f.ratio)), zero(broadcast(static_cast<float>(f.zero_point))) {}
  QUERN_INLINE static std::int32_t zero_point(function const&) { return 0; }  // it is inside of the rounding
  QUERN_INLINE static bool serves(function const&) { return true; }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return saturated(add(mul(product.template real<Bytes>(a, b), ratio), zero), round_to::half_even{}); }
};
template <class Code, int Bytes>
struct vector_function<quern::convention::detail::pytorch_mul<Code>, Bytes> {
  static constexpr bool known = true;
  using function = quern::convention::detail::pytorch_mul<Code>;
  code_product product;
  f32s multiplier;
  QUERN_INLINE explicit vector_function(function const& f) : product(f), multiplier(broadcast(f.multiplier)) {}
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return f.zero_point; }
  QUERN_INLINE static bool serves(function const&) { return true; }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return saturated(mul(product.template real<Bytes>(a, b), multiplier), round_to::half_even{}); }
};

/// Scales so far apart that a quotient may leave 2^30 go by the definition: conventions differ in what becomes of it.
template <int Bytes>
QUERN_INLINE bool near_scales(float lhs, float rhs, float dst) {
  double const most = 2.0 * code_span<Bytes> * (static_cast<double>(lhs) + static_cast<double>(rhs));
  return most < 1073741824.0 * static_cast<double>(dst) && most < 1e38 && 1.0f / dst < 1e38f;
}
/// A product of reals instead of a sum.
template <int Bytes>
QUERN_INLINE bool near_product(float lhs, float rhs, float dst) {
  double const l = static_cast<double>(code_span<Bytes>) * static_cast<double>(lhs), r = static_cast<double>(code_span<Bytes>) * static_cast<double>(rhs);
  return l < 1e38 && r < 1e38 && l * r < 1073741824.0 * static_cast<double>(dst) && l * r < 1e38 && 1.0f / dst < 1e38f;
}

template <class Convention, class Code, int Bytes>
  requires(std::is_same_v<Convention, quern::convention::pytorch> || std::is_same_v<Convention, quern::convention::pytorch_fbgemm>)
struct vector_function<quern::convention::detail::pytorch_add<Convention, Code>, Bytes> {
  static constexpr bool known = has_fma;
  using function = quern::convention::detail::pytorch_add<Convention, Code>;
  f32s lhs, rhs, lhs_offset, rhs_offset, inverse;
  QUERN_INLINE explicit vector_function(function const& f)
      : lhs(broadcast(f.lhs.scale)), rhs(broadcast(f.rhs.scale)), lhs_offset(broadcast(offset(f.lhs))), rhs_offset(broadcast(offset(f.rhs))),
        inverse(broadcast(1.0f / f.dst.scale)) {}
  QUERN_INLINE static float offset(quern::convention::affine p) { return rounded(p.scale * static_cast<float>(-p.zero_point)); }
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return f.dst.zero_point; }
  QUERN_INLINE static bool serves(function const& f) { return near_scales<Bytes>(f.lhs.scale, f.rhs.scale, f.dst.scale); }
  template <class I>
  QUERN_INLINE_BODY I operator()(I a, I b) const {
    return to_i32(mul(add(fma(to_f32(a), lhs, lhs_offset), fma(to_f32(b), rhs, rhs_offset)), inverse));
  }
};

/// The operators of the standard, TensorRT, Model Optimizer and FBGEMM in float: they differ in whether they divide by the result's scale.
template <class Convention>
struct standard_operands {
  static constexpr bool divides = Convention::form == quern::convention::scale_form::divide;
  static constexpr bool narrow = std::is_same_v<Convention, quern::convention::model_optimizer>;  // no lowest code, zero point 0
  i32s lhs_zero, rhs_zero;
  f32s lhs, rhs, dst;
  template <class F>
  QUERN_INLINE explicit standard_operands(F const& f)
      : lhs_zero(broadcast(f.lhs.zero_point)), rhs_zero(broadcast(f.rhs.zero_point)), lhs(broadcast(f.lhs.scale)), rhs(broadcast(f.rhs.scale)),
        dst(broadcast(divides ? f.dst.scale : 1.0f / f.dst.scale)) {}
  QUERN_INLINE f32s left(i32s a) const { return mul(to_f32(sub(a, lhs_zero)), lhs); }
  QUERN_INLINE f32s right(i32s b) const { return mul(to_f32(sub(b, rhs_zero)), rhs); }
  QUERN_INLINE i32s steps(f32s v) const {
    if constexpr (divides)
      return saturated(div(v, dst), round_to::half_even{});
    else
      return to_i32(mul(v, dst));  // near
  }
  template <class F>
  QUERN_INLINE static std::int32_t zero_point(F const& f) { return narrow ? 0 : f.dst.zero_point; }
};
template <class Code, bool Narrow>
QUERN_INLINE quern::fixed_point::limits within_codes(quern::fixed_point::limits l) {
  if (Narrow && quern::code_of_t<Code>::is_signed && l.min == quern::code_of_t<Code>::min) ++l.min;
  return l;
}
template <class Convention, class Code, int Bytes>
  requires quern::detail::adds_in_float<Convention>
struct vector_function<quern::convention::detail::float_add<Convention, Code>, Bytes> {
  static constexpr bool known = true;
  using function = quern::convention::detail::float_add<Convention, Code>;
  standard_operands<Convention> x;
  QUERN_INLINE explicit vector_function(function const& f) : x(f) {}
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return standard_operands<Convention>::zero_point(f); }
  QUERN_INLINE static quern::fixed_point::limits limits_of(function const& f) { return within_codes<Code, standard_operands<Convention>::narrow>(f.clamped); }
  QUERN_INLINE static bool serves(function const& f) {
    return (standard_operands<Convention>::divides || near_scales<Bytes>(f.lhs.scale, f.rhs.scale, f.dst.scale)) && f.clamped.max > quern::code_of_t<Code>::min;
  }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return x.steps(add(x.left(a), x.right(b))); }
};
template <class Convention, class Code, int Bytes>
  requires quern::detail::adds_in_float<Convention>
struct vector_function<quern::convention::detail::float_mul<Convention, Code>, Bytes> {
  static constexpr bool known = true;
  using function = quern::convention::detail::float_mul<Convention, Code>;
  standard_operands<Convention> x;
  QUERN_INLINE explicit vector_function(function const& f) : x(f) {}
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return standard_operands<Convention>::zero_point(f); }
  QUERN_INLINE static quern::fixed_point::limits limits_of(function const& f) { return within_codes<Code, standard_operands<Convention>::narrow>(f.clamped); }
  QUERN_INLINE static bool serves(function const& f) {
    return (standard_operands<Convention>::divides || near_product<Bytes>(f.lhs.scale, f.rhs.scale, f.dst.scale)) && f.clamped.max > quern::code_of_t<Code>::min;
  }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return x.steps(mul(x.left(a), x.right(b))); }
};

/// ONNX Runtime's portable sum. Its clamp before the zero point is added changes nothing: rounding is monotonic.
template <int Bytes>
struct vector_function<quern::convention::detail::mlas_add_portable, Bytes> {
  static constexpr bool known = true;
  using function = quern::convention::detail::mlas_add_portable;
  i32s lhs_zero, rhs_zero;
  f32s lhs, rhs, dst, zero;
  QUERN_INLINE explicit vector_function(function const& f)
      : lhs_zero(broadcast(f.lhs.zero_point)), rhs_zero(broadcast(f.rhs.zero_point)), lhs(broadcast(f.lhs.scale)), rhs(broadcast(f.rhs.scale)),
        dst(broadcast(f.dst.scale)), zero(broadcast(static_cast<float>(f.dst.zero_point))) {}
  QUERN_INLINE static std::int32_t zero_point(function const&) { return 0; }  // it is inside of the rounding
  QUERN_INLINE static bool serves(function const&) { return true; }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const {
    f32s const sum = add(mul(to_f32(sub(a, lhs_zero)), lhs), mul(to_f32(sub(b, rhs_zero)), rhs));
    return saturated(add(div(sum, dst), zero), round_to::half_even{});
  }
};

/// Vitis AI: the sum at the finer operand's position, the product, and one rounding shift.
template <class Rounding, int Bytes>
  requires rescale_policy<rescale::power_of_two<Rounding>>
struct vector_function<quern::convention::detail::dpu_add<Rounding>, Bytes> {
  static constexpr bool known = true;
  using function = quern::convention::detail::dpu_add<Rounding>;
  using policy = rescale::power_of_two<Rounding>;
  i32s lhs_zero, rhs_zero, lhs, rhs;
  rescaler<policy> rescaled;
  QUERN_INLINE static int finer(function const& f) { return f.lhs_position > f.rhs_position ? f.lhs_position : f.rhs_position; }
  QUERN_INLINE explicit vector_function(function const& f)
      : lhs_zero(broadcast(f.lhs_zero_point)), rhs_zero(broadcast(f.rhs_zero_point)), lhs(broadcast(1 << (finer(f) - f.lhs_position))),
        rhs(broadcast(1 << (finer(f) - f.rhs_position))), rescaled(typename policy::parameters{finer(f) - f.position}) {}
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return f.zero_point; }
  /// Sums within 2^30; results of 2^24 steps and more saturate anyway.
  QUERN_INLINE static bool serves(function const& f) {
    int const apart = f.lhs_position - f.rhs_position, shift = finer(f) - f.position;
    return (apart < 0 ? -apart : apart) <= (Bytes == 1 ? 20 : 12) && shift >= -62 && shift <= 62;
  }
  QUERN_INLINE_BODY i32s operator()(i32s a, i32s b) const { return rescaled(add(mul_low(sub(a, lhs_zero), lhs), mul_low(sub(b, rhs_zero), rhs))); }
};
template <class Rounding>
  requires rescale_policy<rescale::power_of_two<Rounding>>
struct vector_function<quern::convention::detail::dpu_mul<Rounding>, 1> {
  static constexpr bool known = true;
  using function = quern::convention::detail::dpu_mul<Rounding>;
  using policy = rescale::power_of_two<Rounding>;
  code_product product;
  rescaler<policy> rescaled;
  QUERN_INLINE explicit vector_function(function const& f) : product(f), rescaled(typename policy::parameters{f.src_position - f.position}) {}
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return f.zero_point; }
  QUERN_INLINE static bool serves(function const& f) { return f.src_position - f.position >= -62 && f.src_position - f.position <= 62; }
  QUERN_INLINE_BODY i32s operator()(i32s a, i32s b) const { return rescaled(product(a, b)); }
};

/// Two products, one shift: QNNPACK, XNNPACK, ONNX Runtime on Arm. Wraps as the definition does.
template <int Bits, bool TiesUp, int Bytes>
struct vector_function<quern::convention::detail::fixed_add<Bits, TiesUp>, Bytes> {
  static constexpr bool known = true;
  using function = quern::convention::detail::fixed_add<Bits, TiesUp>;
  i32s lhs, rhs, bias, half, ones;
  shift_count shift;
  QUERN_INLINE explicit vector_function(function const& f)
      : lhs(broadcast(f.lhs_multiplier)), rhs(broadcast(f.rhs_multiplier)), bias(broadcast(f.bias)), half(broadcast(1 << (f.shift - 1))),
        ones(broadcast((1 << f.shift) - 1)), shift(count_of(f.shift)) {}
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return f.zero_point; }
  QUERN_INLINE static bool serves(function const& f) { return f.shift >= 1 && f.shift <= 30; }
  QUERN_INLINE_BODY i32s operator()(i32s a, i32s b) const {
    i32s const acc = add(add(bias, mul_low(a, lhs)), mul_low(b, rhs));
    if constexpr (TiesUp) return sra(add(acc, half), shift);
    // Ties away: up where what is shifted out is half or more, for a negative number more than half.
    i32s const rest = sub(bit_and(acc, ones), srl(acc, count_of(31)));
    return select(less(rest, half), sra(acc, shift), add(sra(acc, shift), broadcast(1)));
  }
};

/// TVM's product. Its sum adds two results, in 64 bits; where each stays within 2^29 that is no matter.
template <class Rescale>
struct tvm_operand {
  i32s src_zero, zero;
  rescaler<Rescale> rescaled;
  bool same;
  QUERN_INLINE explicit tvm_operand(quern::convention::detail::tvm_requantize<Rescale> const& f)
      : src_zero(broadcast(f.src_zero_point)), zero(broadcast(f.zero_point)), rescaled(f.rescale), same(f.same) {}
  QUERN_INLINE_BODY i32s operator()(i32s q) const {
    i32s const x = sub(q, src_zero);
    return add(same ? x : rescaled(x), zero);
  }
};
template <class Rescale, int Bytes>
  requires rescale_policy<Rescale>
struct vector_function<quern::convention::detail::tvm_mul<Rescale>, Bytes> {
  static constexpr bool known = true;
  using function = quern::convention::detail::tvm_mul<Rescale>;
  code_product product;
  tvm_operand<Rescale> result;
  QUERN_INLINE explicit vector_function(function const& f) : product(f), result(f.dst) {}
  QUERN_INLINE static std::int32_t zero_point(function const&) { return 0; }
  QUERN_INLINE static bool serves(function const&) { return true; }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return result(product(a, b)); }
};
template <class Rescale, int Bytes>
  requires rescale_policy<Rescale>
struct vector_function<quern::convention::detail::tvm_add<Rescale>, Bytes> {
  static constexpr bool known = true;
  using function = quern::convention::detail::tvm_add<Rescale>;
  tvm_operand<Rescale> lhs, rhs;
  i32s zero;
  QUERN_INLINE explicit vector_function(function const& f) : lhs(f.lhs), rhs(f.rhs), zero(broadcast(f.zero_point)) {}
  QUERN_INLINE static std::int32_t zero_point(function const&) { return 0; }
  QUERN_INLINE static bool serves(function const& f) {
    constexpr int most_shift = Bytes == 1 ? 20 : 12;  // codes' differences times 2^shift stay within 2^28
    auto const small = [](auto const& x) { return (x.same || x.rescale.shift <= most_shift) && x.zero_point > -(1 << 28) && x.zero_point < 1 << 28; };
    return small(f.lhs) && small(f.rhs);
  }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return sub(add(lhs(a), rhs(b)), zero); }
};

}  // namespace inner
