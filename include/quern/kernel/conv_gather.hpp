// conv_gather.hpp — copies the taps of output positions into the rows of a matrix.
#pragma once

#include "../core/geometry.hpp"
#include "../cpu/isa.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// Row r of dst = the taps of the r-th output position from (z, y, x) on, row-major over the window's positions: for each tap
/// `channels` elements from `channel`, `fill` where it lies outside of the image. Rows follow each other without a gap.
template <class T>
void gather_rows(isa, volume_view<T const> const& src, window const& w, index_t b, index_t z, index_t y, index_t x, index_t rows,
                 index_t channel, index_t channels, T fill, T* dst) {
  T const* const image = src.data + b * src.n_stride + channel * src.c_stride;
  bool const line = src.c_stride == 1 && w.w.dilation == 1 && src.w_stride == channels;  // taps along the width touch each other
  auto const copy = [&](T const* from, index_t count) {
    if (src.c_stride == 1)
      __builtin_memcpy(dst, from, static_cast<std::size_t>(count) * sizeof(T));
    else
      for (index_t i = 0; i < count; ++i) dst[i] = from[i * src.c_stride];
    dst += count;
  };
  auto const blank = [&](index_t count) {
    for (index_t i = 0; i < count; ++i) dst[i] = fill;
    dst += count;
  };
  for (index_t r = 0; r < rows; ++r) {
    for (index_t kz = 0; kz < w.d.kernel; ++kz)
      for (index_t ky = 0; ky < w.h.kernel; ++ky) {
        index_t const sz = w.d.at(z, kz), sy = w.h.at(y, ky);
        if (sz < 0 || sz >= src.d || sy < 0 || sy >= src.h) {
          blank(w.w.kernel * channels);
          continue;
        }
        T const* const row = image + sz * src.d_stride + sy * src.h_stride;
        if (line) {
          index_t const first = w.w.at(x, 0), last = first + w.w.kernel;  // columns [first, last)
          index_t const from = first < 0 ? 0 : first > src.w ? src.w : first, to = last > src.w ? src.w : last < from ? from : last;
          index_t const before = (from < last ? from : last) - first;
          if (before > 0) blank(before * channels);
          if (to > from) copy(row + from * src.w_stride, (to - from) * channels);
          index_t const after = w.w.kernel - (before > 0 ? before : 0) - (to > from ? to - from : 0);
          if (after > 0) blank(after * channels);
        } else {
          for (index_t kx = 0; kx < w.w.kernel; ++kx) {
            index_t const sx = w.w.at(x, kx);
            if (sx < 0 || sx >= src.w)
              blank(channels);
            else
              copy(row + sx * src.w_stride, channels);
          }
        }
      }
    if (++x == w.w.out) {
      x = 0;
      if (++y == w.h.out) y = 0, ++z;
    }
  }
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
