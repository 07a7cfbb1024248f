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

/// Vector k of a block: where Each has its own, those at p; else the first one in all lanes.
template <bool Each, class T>
QUERN_INLINE auto one_or_each(T const* p, int k) {
  if constexpr (Each)
    return load(p + k * lanes);
  else
    return broadcast(*p);
}
template <bool Past, class Dst, class V>
QUERN_INLINE void put(Dst* dst, V value) {
  if constexpr (Past && std::is_same_v<Dst, float>)
    stream(dst, value);
  else
    store(dst, value);
}

/// `count` blocks of 4 * lanes elements, each `*_step` after the one before, with one scale or Each its own. `Shifted` is false where
/// every zero point is 0. `Past`: past the caches, to an aligned destination.
template <bool Each, bool Shifted, bool Past, class Src, class Dst>
QUERN_INLINE void dequantize_blocks(Src const* src, Dst* dst, index_t count, index_t src_step, index_t dst_step, float const* scales,
                                    std::int32_t const* zeros) {
  // Written out, as quantize_body.inl says.
  f32s const s0 = one_or_each<Each>(scales, 0), s1 = one_or_each<Each>(scales, 1), s2 = one_or_each<Each>(scales, 2),
             s3 = one_or_each<Each>(scales, 3);
  i32s const none = broadcast(std::int32_t{0});
  i32s const z0 = Shifted ? one_or_each<Each>(zeros, 0) : none, z1 = Shifted ? one_or_each<Each>(zeros, 1) : none,
             z2 = Shifted ? one_or_each<Each>(zeros, 2) : none, z3 = Shifted ? one_or_each<Each>(zeros, 3) : none;
  for (index_t i = 0; i < count; ++i, src += src_step, dst += dst_step) {
    put<Past>(dst, real_value<Dst, Shifted>(src, z0, s0));
    put<Past>(dst + lanes, real_value<Dst, Shifted>(src + lanes, z1, s1));
    put<Past>(dst + 2 * lanes, real_value<Dst, Shifted>(src + 2 * lanes, z2, s2));
    put<Past>(dst + 3 * lanes, real_value<Dst, Shifted>(src + 3 * lanes, z3, s3));
  }
}

/// Less than a block.
template <bool Each, class Src, class Dst>
QUERN_NOINLINE void dequantize_few(Src const* src, Dst* dst, index_t n, float const* scales, std::int32_t const* zeros) {
  for (index_t j = 0; j < n; j += lanes) {
    index_t const rest = n - j < lanes ? n - j : lanes;
    Src in[lanes] = {};
    for (index_t k = 0; k < rest; ++k) in[k] = src[j + k];
    f32s const scale = Each ? load_first(scales + j, rest) : broadcast(*scales);
    i32s const zero = zeros == nullptr ? broadcast(std::int32_t{0}) : Each ? load_first(zeros + j, rest) : broadcast(*zeros);
    store_first(dst + j, real_value<Dst, true>(static_cast<Src const*>(in), zero, scale), rest);
  }
}

}  // namespace inner

/// A rectangle with a scale for each row.
template <class Src, class Dst>
QUERN_NOINLINE void dequantize_rows(quern::detail::dequantize_task<Src, Dst> const& t) {
  constexpr index_t block = 4 * lanes;
  bool const streaming = t.streaming && std::is_same_v<Dst, float>;
  for (index_t i = 0; i < t.rows; ++i) {
    Src const* const src = t.src + i * t.src_stride;
    Dst* const dst = t.dst + i * t.dst_stride;
    float const scale = t.scales[i * t.row_scale];
    std::int32_t const zero = t.zeros == nullptr ? 0 : t.zeros[i * t.row_scale];
    index_t done = 0;
    if (streaming && t.cols >= block) {  // up to the first aligned element, in a block that the next one overwrites
      index_t const skew = static_cast<index_t>(reinterpret_cast<std::uintptr_t>(dst) & (4 * lanes - 1));
      if (skew != 0) {
        inner::dequantize_blocks<false, true, false>(src, dst, 1, block, block, &scale, &zero);
        done = lanes - skew / 4;
      }
    }
    index_t const count = (t.cols - done) / block;
    if (streaming)
      inner::dequantize_blocks<false, true, true>(src + done, dst + done, count, block, block, &scale, &zero);
    else if (zero != 0)
      inner::dequantize_blocks<false, true, false>(src + done, dst + done, count, block, block, &scale, &zero);
    else
      inner::dequantize_blocks<false, false, false>(src + done, dst + done, count, block, block, &scale, &zero);
    done += count * block;
    if (done < t.cols) {
      if (t.cols >= block && !t.in_place)  // the rest, in the last whole block
        inner::dequantize_blocks<false, true, false>(src + t.cols - block, dst + t.cols - block, 1, block, block, &scale, &zero);
      else
        inner::dequantize_few<false>(src + done, dst + done, t.cols - done, &scale, &zero);
    }
  }
  if (streaming) fence();
}

namespace inner {
/// Rows of `n` columns, whole blocks, one row after the other: the CPU foresees what lies side by side.
template <bool Shifted, bool Past, class Src, class Dst>
QUERN_NOINLINE void dequantize_whole_columns(Src const* src, Dst* dst, index_t rows, index_t n, index_t src_stride, index_t dst_stride,
                                             float const* scales, std::int32_t const* zeros) {
  constexpr index_t block = 4 * lanes;
  for (index_t i = 0; i < rows; ++i, src += src_stride, dst += dst_stride)
    for (index_t j = 0; j < n; j += block)
      dequantize_blocks<true, Shifted, Past>(src + j, dst + j, 1, block, block, scales + j, zeros + j);
}
}  // namespace inner

/// A rectangle with a scale and a zero point for each column.
template <class Src, class Dst>
QUERN_NOINLINE void dequantize_columns(quern::detail::dequantize_task<Src, Dst> const& t) {
  constexpr index_t block = 4 * lanes, most_rows = 8;
  index_t const whole = t.cols & ~(block - 1);
  bool const streaming =
      t.streaming && std::is_same_v<Dst, float> &&
      ((reinterpret_cast<std::uintptr_t>(t.dst) | static_cast<std::uintptr_t>(t.dst_stride * static_cast<index_t>(sizeof(Dst)))) & 63) == 0;
  i32s shifts = broadcast(std::int32_t{0});
  for (index_t j = 0; j < whole && t.zeros != nullptr; j += lanes) shifts = bit_or(shifts, load(t.zeros + j));
  bool const shifted = any(mask_not(equal(shifts, broadcast(std::int32_t{0}))));
  index_t const last = t.cols - block;
  for (index_t i = 0; i < t.rows; i += most_rows) {
    index_t const rows = t.rows - i < most_rows ? t.rows - i : most_rows;
    Src const* const src = t.src + i * t.src_stride;
    Dst* const dst = t.dst + i * t.dst_stride;
    if (streaming && shifted)
      inner::dequantize_whole_columns<true, true>(src, dst, rows, whole, t.src_stride, t.dst_stride, t.scales, t.zeros);
    else if (streaming)
      inner::dequantize_whole_columns<false, true>(src, dst, rows, whole, t.src_stride, t.dst_stride, t.scales, t.zeros);
    else if (shifted)
      inner::dequantize_whole_columns<true, false>(src, dst, rows, whole, t.src_stride, t.dst_stride, t.scales, t.zeros);
    else
      inner::dequantize_whole_columns<false, false>(src, dst, rows, whole, t.src_stride, t.dst_stride, t.scales, t.zeros);
    if (whole == t.cols) continue;
    if (last >= 0 && !t.in_place && t.zeros != nullptr)  // the rest, in the last whole block
      inner::dequantize_blocks<true, true, false>(src + last, dst + last, rows, t.src_stride, t.dst_stride, t.scales + last, t.zeros + last);
    else if (last >= 0 && !t.in_place)
      inner::dequantize_blocks<true, false, false>(src + last, dst + last, rows, t.src_stride, t.dst_stride, t.scales + last, nullptr);
    else
      for (index_t r = 0; r < rows; ++r)
        inner::dequantize_few<true>(src + r * t.src_stride + whole, dst + r * t.dst_stride + whole, t.cols - whole, t.scales + whole,
                                    t.zeros == nullptr ? nullptr : t.zeros + whole);
  }
  if (streaming) fence();
}
