// convention_elementwise_body.inl — functors of convention/ on vectors. Included once per instruction set, in its namespace.
//
// Each is the functor's line of arithmetic with its own roundings; what is behind the rounding (zero point, limits, packing) is
// binary_loop's. NaN becomes INT_MIN and so the lowest code, as in the definitions.

namespace inner {

/// half_even(f32(a) * lhs + (f32(b) * rhs + fixed)), fused.
template <>
struct vector_function<quern::convention::detail::mlas_add<true>> {
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

/// (a - za) (b - zb), which 8-bit codes keep below 2^17.
struct code_product {
  i32s lhs_zero, rhs_zero;
  template <class F>
  QUERN_INLINE explicit code_product(F const& f) : lhs_zero(broadcast(f.lhs_zero_point)), rhs_zero(broadcast(f.rhs_zero_point)) {}
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return mul_low(sub(a, lhs_zero), sub(b, rhs_zero)); }
};
template <>
struct vector_function<quern::convention::detail::mlas_mul> {
  static constexpr bool known = true;
  using function = quern::convention::detail::mlas_mul;
  code_product product;
  f32s ratio, zero;
  QUERN_INLINE explicit vector_function(function const& f) : product(f), ratio(broadcast(f.ratio)), zero(broadcast(static_cast<float>(f.zero_point))) {}
  QUERN_INLINE static std::int32_t zero_point(function const&) { return 0; }  // it is inside of the rounding
  QUERN_INLINE static bool serves(function const&) { return true; }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return saturated(add(mul(to_f32(product(a, b)), ratio), zero), round_to::half_even{}); }
};
template <class Code>
struct vector_function<quern::convention::detail::pytorch_mul<Code>> {
  static constexpr bool known = true;
  using function = quern::convention::detail::pytorch_mul<Code>;
  code_product product;
  f32s multiplier;
  QUERN_INLINE explicit vector_function(function const& f) : product(f), multiplier(broadcast(f.multiplier)) {}
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return f.zero_point; }
  QUERN_INLINE static bool serves(function const&) { return true; }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return saturated(mul(to_f32(product(a, b)), multiplier), round_to::half_even{}); }
};

/// Scales so far apart that a quotient may leave 2^30 go by the definition: conventions differ in what becomes of it.
QUERN_INLINE bool near_scales(float lhs, float rhs, float dst) {
  double const most = 512.0 * (static_cast<double>(lhs) + static_cast<double>(rhs));
  return most < 1073741824.0 * static_cast<double>(dst) && 1.0f / dst < 1e38f;
}

template <class Code>
struct vector_function<quern::convention::detail::pytorch_add<quern::convention::pytorch, Code>> {
  static constexpr bool known = has_fma;
  using function = quern::convention::detail::pytorch_add<quern::convention::pytorch, Code>;
  f32s lhs, rhs, lhs_offset, rhs_offset, inverse;
  QUERN_INLINE explicit vector_function(function const& f)
      : lhs(broadcast(f.lhs.scale)), rhs(broadcast(f.rhs.scale)), lhs_offset(broadcast(offset(f.lhs))), rhs_offset(broadcast(offset(f.rhs))),
        inverse(broadcast(1.0f / f.dst.scale)) {}
  QUERN_INLINE static float offset(quern::convention::affine p) { return rounded(p.scale * static_cast<float>(-p.zero_point)); }
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return f.dst.zero_point; }
  QUERN_INLINE static bool serves(function const& f) { return near_scales(f.lhs.scale, f.rhs.scale, f.dst.scale); }
  template <class I>
  QUERN_INLINE_BODY I operator()(I a, I b) const {
    return to_i32(mul(add(fma(to_f32(a), lhs, lhs_offset), fma(to_f32(b), rhs, rhs_offset)), inverse));
  }
};

/// The standard's operators, in float: of ONNX and TensorRT.
template <class Convention>
inline constexpr bool is_standard = std::is_same_v<Convention, quern::convention::onnx> || std::is_same_v<Convention, quern::convention::tensorrt>;
struct standard_operands {
  i32s lhs_zero, rhs_zero;
  f32s lhs, rhs, dst;
  template <class F>
  QUERN_INLINE explicit standard_operands(F const& f)
      : lhs_zero(broadcast(f.lhs.zero_point)), rhs_zero(broadcast(f.rhs.zero_point)), lhs(broadcast(f.lhs.scale)), rhs(broadcast(f.rhs.scale)),
        dst(broadcast(f.dst.scale)) {}
  QUERN_INLINE f32s left(i32s a) const { return mul(to_f32(sub(a, lhs_zero)), lhs); }
  QUERN_INLINE f32s right(i32s b) const { return mul(to_f32(sub(b, rhs_zero)), rhs); }
  QUERN_INLINE i32s steps(f32s v) const { return saturated(div(v, dst), round_to::half_even{}); }
};
template <class Convention, class Code>
  requires is_standard<Convention>
struct vector_function<quern::convention::detail::float_add<Convention, Code>> {
  static constexpr bool known = true;
  using function = quern::convention::detail::float_add<Convention, Code>;
  standard_operands x;
  QUERN_INLINE explicit vector_function(function const& f) : x(f) {}
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return f.dst.zero_point; }
  QUERN_INLINE static bool serves(function const&) { return true; }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return x.steps(add(x.left(a), x.right(b))); }
};
template <class Convention, class Code>
  requires is_standard<Convention>
struct vector_function<quern::convention::detail::float_mul<Convention, Code>> {
  static constexpr bool known = true;
  using function = quern::convention::detail::float_mul<Convention, Code>;
  standard_operands x;
  QUERN_INLINE explicit vector_function(function const& f) : x(f) {}
  QUERN_INLINE static std::int32_t zero_point(function const& f) { return f.dst.zero_point; }
  QUERN_INLINE static bool serves(function const&) { return true; }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return x.steps(mul(x.left(a), x.right(b))); }
};

/// Two products, one shift: QNNPACK, XNNPACK, ONNX Runtime on Arm. Wraps as the definition does.
template <int Bits, bool TiesUp>
struct vector_function<quern::convention::detail::fixed_add<Bits, TiesUp>> {
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
template <class Rescale>
  requires rescale_policy<Rescale>
struct vector_function<quern::convention::detail::tvm_mul<Rescale>> {
  static constexpr bool known = true;
  using function = quern::convention::detail::tvm_mul<Rescale>;
  code_product product;
  tvm_operand<Rescale> result;
  QUERN_INLINE explicit vector_function(function const& f) : product(f), result(f.dst) {}
  QUERN_INLINE static std::int32_t zero_point(function const&) { return 0; }
  QUERN_INLINE static bool serves(function const&) { return true; }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return result(product(a, b)); }
};
template <class Rescale>
  requires rescale_policy<Rescale>
struct vector_function<quern::convention::detail::tvm_add<Rescale>> {
  static constexpr bool known = true;
  using function = quern::convention::detail::tvm_add<Rescale>;
  tvm_operand<Rescale> lhs, rhs;
  i32s zero;
  QUERN_INLINE explicit vector_function(function const& f) : lhs(f.lhs), rhs(f.rhs), zero(broadcast(f.zero_point)) {}
  QUERN_INLINE static std::int32_t zero_point(function const&) { return 0; }
  QUERN_INLINE static bool serves(function const& f) {
    auto const small = [](std::int32_t y) { return y > -(1 << 29) && y < 1 << 29; };
    return small(f.lhs(-128)) && small(f.lhs(255)) && small(f.rhs(-128)) && small(f.rhs(255));
  }
  QUERN_INLINE i32s operator()(i32s a, i32s b) const { return sub(add(lhs(a), rhs(b)), zero); }
};

}  // namespace inner
