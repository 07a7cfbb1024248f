// dequantize_body.inl — dequantize on vectors. Included once per instruction set, in its namespace; see dequantize.hpp.

namespace inner {

/// (q - zero) * scale, one rounding each: the difference is exact in float for codes of 16 bits, in double for int32.
template <class Real, bool Shifted, class Src>
QUERN_INLINE auto real_value(Src const* src, [[maybe_unused]] i32s zero, f32s scale) {
  i32s const q = load(src);
  if constexpr (std::is_same_v<Real, double>) {
    f64s const d = sizeof(Src) == 4 ? sub(to_f64(q), to_f64(zero)) : to_f64(Shifted ? sub(q, zero) : q);
    return mul(d, to_f64(scale));
  } else if constexpr (sizeof(Src) == 4) {
    return mul(to_f32(sub(to_f64(q), to_f64(zero))), scale);
  } else {
    return mul(to_f32(Shifted ? sub(q, zero) : q), scale);
  }
}

/// One scale, or one for each element (Each); `Shifted` is false where every zero point is 0.
template <bool Each, bool Shifted, class Src, class Dst>
QUERN_INLINE void dequantize_loop(Src const* src, Dst* dst, index_t n, float const* scales, std::int32_t const* zeros, bool streaming) {
  f32s const one_scale = broadcast(scales[0]);
  i32s const one_zero = broadcast(zeros[0]);
  index_t j = 0;
  if constexpr (!Each && std::is_same_v<Dst, float>) {
    if (streaming && reinterpret_cast<std::uintptr_t>(dst) % (4 * lanes) == 0) {
      for (; j + lanes <= n; j += lanes) stream(dst + j, real_value<Dst, Shifted>(src + j, one_zero, one_scale));
      fence();
    }
  }
  for (; j + 4 * lanes <= n; j += 4 * lanes)
    for (int k = 0; k < 4 * lanes; k += lanes) {
      if constexpr (Each)
        store(dst + j + k, real_value<Dst, Shifted>(src + j + k, load(zeros + j + k), load(scales + j + k)));
      else
        store(dst + j + k, real_value<Dst, Shifted>(src + j + k, one_zero, one_scale));
    }
  for (; j < n; j += lanes) {
    index_t const rest = n - j < lanes ? n - j : lanes;
    Src in[lanes] = {};
    for (index_t k = 0; k < rest; ++k) in[k] = src[j + k];
    if constexpr (Each)
      store_first(dst + j, real_value<Dst, Shifted>(static_cast<Src const*>(in), load_first(zeros + j, rest), load_first(scales + j, rest)), rest);
    else
      store_first(dst + j, real_value<Dst, Shifted>(static_cast<Src const*>(in), one_zero, one_scale), rest);
  }
}

}  // namespace inner

template <class Src, class Dst>
QUERN_NOINLINE void dequantize_line(Src const* src, Dst* dst, index_t n, float scale, std::int32_t zero_point) {
  bool const streaming = n >= quern::detail::streaming_bytes / static_cast<index_t>(sizeof(Dst));
  if (zero_point == 0)
    inner::dequantize_loop<false, false>(src, dst, n, &scale, &zero_point, streaming);
  else
    inner::dequantize_loop<false, true>(src, dst, n, &scale, &zero_point, streaming);
}

template <class Src, class Dst>
QUERN_NOINLINE void dequantize_columns(Src const* src, Dst* dst, index_t n, float const* scales, std::int32_t const* zeros) {
  inner::dequantize_loop<true, true>(src, dst, n, scales, zeros, false);
}
