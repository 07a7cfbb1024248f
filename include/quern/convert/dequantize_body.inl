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

/// Rows of at least `lanes` elements with a scale each. The last vector of a row ends with it.
template <bool Shifted, class Src, class Dst>
QUERN_NOINLINE void dequantize_each_row(quern::detail::dequantize_task<Src, Dst> const& t) {
  constexpr index_t at_once = 4 * lanes;
  index_t const cols = t.cols;
  Src const* src = t.src;
  Dst* dst = t.dst;
  for (index_t i = 0; i < t.rows; ++i, src += t.src_stride, dst += t.dst_stride) {
    float const* const scale = t.scales + i * t.row_scale;
    std::int32_t const none = 0, *const zero = Shifted ? t.zeros + i * t.row_scale : &none;
    index_t const count = cols / at_once;
    dequantize_blocks<false, Shifted, false>(src, dst, count, at_once, at_once, scale, zero);
    for (index_t j = count * at_once; j < cols; j += lanes) {
      index_t const at = j + lanes <= cols ? j : cols - lanes;
      store(dst + at, real_value<Dst, Shifted>(src + at, broadcast(*zero), broadcast(*scale)));
    }
  }
}

}  // namespace inner

/// A rectangle with a scale for each row. Returns false, and has written nothing, where t.unchecked is set and the scales or zero points are
/// not valid.
template <class Src, class Dst>
QUERN_NOINLINE bool dequantize_rows(quern::detail::dequantize_task<Src, Dst> const& t) {
  if (t.unchecked && !inner::valid_params(t.scales, t.zeros, t.rows, t.zero_limits)) return false;
  if (t.rows > 1 && !t.streaming && !t.in_place && t.cols >= lanes) {
    if (t.zeros == nullptr)
      inner::dequantize_each_row<false>(t);
    else
      inner::dequantize_each_row<true>(t);
    return true;
  }
  constexpr index_t at_once = 4 * lanes;
  bool const streaming = t.streaming && std::is_same_v<Dst, float>;
  for (index_t i = 0; i < t.rows; ++i) {
    Src const* const src = t.src + i * t.src_stride;
    Dst* const dst = t.dst + i * t.dst_stride;
    float const scale = t.scales[i * t.row_scale];
    std::int32_t const zero = t.zeros == nullptr ? 0 : t.zeros[i * t.row_scale];
    index_t done = 0;
    if (streaming && t.cols >= at_once) {  // up to the first aligned element, in a block that the next one overwrites
      index_t const skew = static_cast<index_t>(reinterpret_cast<std::uintptr_t>(dst) & (4 * lanes - 1));
      if (skew != 0) {
        inner::dequantize_blocks<false, true, false>(src, dst, 1, at_once, at_once, &scale, &zero);
        done = lanes - skew / 4;
      }
    }
    index_t const count = (t.cols - done) / at_once;
    if (streaming)
      inner::dequantize_blocks<false, true, true>(src + done, dst + done, count, at_once, at_once, &scale, &zero);
    else if (zero != 0)
      inner::dequantize_blocks<false, true, false>(src + done, dst + done, count, at_once, at_once, &scale, &zero);
    else
      inner::dequantize_blocks<false, false, false>(src + done, dst + done, count, at_once, at_once, &scale, &zero);
    done += count * at_once;
    if (done < t.cols) {
      if (t.cols >= at_once && !t.in_place)  // the rest, in the last whole block
        inner::dequantize_blocks<false, true, false>(src + t.cols - at_once, dst + t.cols - at_once, 1, at_once, at_once, &scale, &zero);
      else
        inner::dequantize_few<false>(src + done, dst + done, t.cols - done, &scale, &zero);
    }
  }
  if (streaming) fence();
  return true;
}

namespace inner {
/// Rows of `n` columns, whole blocks. In the first cache all rows share what a block of columns is scaled by. Beyond it one row goes after the
/// other, since the CPU foresees what lies side by side; four together where the scales of a row alone would fill that cache.
template <bool Shifted, bool Past, class Src, class Dst>
QUERN_NOINLINE void dequantize_whole_columns(Src const* src, Dst* dst, index_t rows, index_t n, index_t src_stride, index_t dst_stride,
                                             float const* scales, std::int32_t const* zeros) {
  constexpr index_t at_once = 4 * lanes;
  if (!Past && (rows * n <= 8192 || n >= 2048)) {
    index_t const most = rows * n <= 8192 ? rows : 4;
    for (index_t i = 0, together; i < rows; i += together, src += together * src_stride, dst += together * dst_stride) {
      together = rows - i < most ? rows - i : most;
      for (index_t j = 0; j < n; j += at_once)
        dequantize_blocks<true, Shifted, false>(src + j, dst + j, together, src_stride, dst_stride, scales + j, zeros + j);
    }
    return;
  }
  for (index_t i = 0; i < rows; ++i, src += src_stride, dst += dst_stride)
    for (index_t j = 0; j < n; j += at_once)
      dequantize_blocks<true, Shifted, Past>(src + j, dst + j, 1, at_once, at_once, scales + j, zeros + j);
}
}  // namespace inner

/// A rectangle with a scale and a zero point for each column; returns what dequantize_rows does. Stores bound it, one of 64 bytes in two
/// cycles: what the other loads and operations are does not matter.
template <class Src, class Dst>
QUERN_NOINLINE bool dequantize_columns(quern::detail::dequantize_task<Src, Dst> const& t) {
  if (t.unchecked && !inner::valid_params(t.scales, t.zeros, t.cols, t.zero_limits)) return false;
  constexpr index_t at_once = 4 * lanes;
  index_t const whole = t.cols & ~(at_once - 1);
  bool const streaming =
      t.streaming && std::is_same_v<Dst, float> &&
      ((reinterpret_cast<std::uintptr_t>(t.dst) | static_cast<std::uintptr_t>(t.dst_stride * static_cast<index_t>(sizeof(Dst)))) & 63) == 0;
  bool const shifted = t.zeros != nullptr;
  index_t const last = t.cols - at_once;
  // Where a block is left over, it is done while its rows are in the caches.
  index_t const most_rows = whole == t.cols ? t.rows : 8;
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
    if (last >= 0 && !t.in_place && shifted)  // the rest, in the last whole block
      inner::dequantize_blocks<true, true, false>(src + last, dst + last, rows, t.src_stride, t.dst_stride, t.scales + last, t.zeros + last);
    else if (last >= 0 && !t.in_place)
      inner::dequantize_blocks<true, false, false>(src + last, dst + last, rows, t.src_stride, t.dst_stride, t.scales + last, nullptr);
    else
      for (index_t r = 0; r < rows; ++r)
        inner::dequantize_few<true>(src + r * t.src_stride + whole, dst + r * t.dst_stride + whole, t.cols - whole, t.scales + whole,
                                    shifted ? t.zeros + whole : nullptr);
  }
  if (streaming) fence();
  return true;
}
