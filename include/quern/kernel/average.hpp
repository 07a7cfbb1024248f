// average.hpp — averages of windows of codes in the conventions' float arithmetic, on vectors.
//
//     sum = the window's codes in int32;  v = f32(sum - offset) * multiplier [/ count] [/ divisor | * factor];  y = clamp(round(v) + zero_point)
//
// is what all conventions but TFLite's (kernel/pool.hpp) and NEON's come to, each with its own numbers and its own operations left out.
// 9 codes of 16 channels are 9 loads and 9 sums on AVX-512, the rest 8 instructions and a division or two.
#pragma once

#include "convention_elementwise.hpp"
#include "pool.hpp"
#include "sums.hpp"

namespace quern {
namespace detail {

struct scaled_average {
  std::int32_t offset = 0;
  float multiplier = 1, count = 0, divisor = 0, factor = 0;  ///< 0: left out
  std::int32_t zero_point = 0;
  fixed_point::limits clamped{};
};
struct real_average {
  float src_scale = 1, count = 1, dst_scale = 1, dst_zero_point = 0;
  std::int32_t src_zero_point = 0;
  fixed_point::limits clamped{};
};
/// rows x cols positions.
struct pixel_window {
  index_t rows, cols, row_stride, col_stride;
};

/// How a convention's average is a scaled_average. of(f, n, a) says whether it is for all sums of n codes of T.
template <class F>
struct average_form {
  static constexpr bool known = false;
};

inline namespace QUERN_ABI {

/// No value on the way leaves 2^30 steps, where conventions differ.
template <class T>
QUERN_INLINE bool stays_near(scaled_average const& a, std::int32_t n) noexcept {
  double const most = static_cast<double>(n) * (code_of_t<T>::max - code_of_t<T>::min), first = most * static_cast<double>(a.multiplier);
  double v = a.count != 0 ? first / static_cast<double>(a.count) : first;
  if (a.divisor != 0) v /= static_cast<double>(a.divisor);
  if (a.factor != 0) v *= static_cast<double>(a.factor);
  return most < 2147483648.0 && first < 1e38 && v < 1073741824.0;
}
/// n times the source's zero point, as the sums wrap.
QUERN_INLINE std::int32_t zero_of_sum(std::int32_t zero_point, std::int32_t n) noexcept { return wrap32(static_cast<std::int64_t>(zero_point) * n); }

}  // inline namespace QUERN_ABI

template <>
struct average_form<convention::detail::raw_average> {
  static constexpr bool known = true;
  using rounding = round_to::half_even;
  template <class T>
  QUERN_INLINE static bool of(convention::detail::raw_average const& f, std::int32_t n, scaled_average& a) noexcept {
    a = {.multiplier = 1.0f / static_cast<float>(n), .clamped = f.clamped};
    return stays_near<T>(a, n);
  }
};
template <>
struct average_form<convention::detail::centred_average> {
  static constexpr bool known = true;
  using rounding = round_to::half_even;
  template <class T>
  QUERN_INLINE static bool of(convention::detail::centred_average const& f, std::int32_t n, scaled_average& a) noexcept {
    a = {.offset = zero_of_sum(f.src_zero_point, n), .multiplier = f.ratio / static_cast<float>(n), .zero_point = f.zero_point, .clamped = f.clamped};
    return stays_near<T>(a, n);
  }
};
template <class F>
  requires(std::is_same_v<F, convention::detail::mlas_global_average> || std::is_same_v<F, convention::xnnpack::pool>)
struct average_form<F> {
  static constexpr bool known = true;
  using rounding = round_to::half_even;
  template <class T>
  QUERN_INLINE static bool of(F const& f, std::int32_t n, scaled_average& a) noexcept {
    a = {.offset = zero_of_sum(f.src_zero_point, n), .multiplier = f.src_scale / rounded(f.dst_scale * static_cast<float>(n)), .zero_point = f.zero_point, .clamped = f.clamped};
    return stays_near<T>(a, n);
  }
};
template <class C, class Code>
  requires adds_in_float<C>
struct average_form<convention::detail::float_average<C, Code>> {
  static constexpr bool known = true;
  using rounding = round_to::half_even;
  template <class T>
  QUERN_INLINE static bool of(convention::detail::float_average<C, Code> const& f, std::int32_t n, scaled_average& a) noexcept {
    a = {.offset = zero_of_sum(f.src.zero_point, n), .multiplier = f.src.scale, .count = static_cast<float>(n), .zero_point = f.dst.zero_point, .clamped = f.clamped};
    if constexpr (C::form == convention::scale_form::divide)
      a.divisor = f.dst.scale;
    else
      a.factor = 1.0f / f.dst.scale;
    if constexpr (std::is_same_v<C, convention::model_optimizer>) {  // narrow codes around 0
      a.zero_point = 0;
      if (code_of_t<Code>::is_signed && a.clamped.min == code_of_t<Code>::min) ++a.clamped.min;
      if (f.clamped.max <= code_of_t<Code>::min) return false;
    }
    return stays_near<T>(a, n) && a.factor < 1e38f;
  }
};
template <>
struct average_form<convention::detail::truncated_average> {
  static constexpr bool known = true;
  using rounding = round_to::toward_zero;
  /// A quotient below an integer is below it by 1 / n at least, which is more than a float's last place of it.
  template <class T>
  QUERN_INLINE static bool of(convention::detail::truncated_average const& f, std::int32_t n, scaled_average& a) noexcept {
    a = {.count = static_cast<float>(n), .clamped = f.clamped};
    return static_cast<double>(n) * (code_of_t<T>::max - code_of_t<T>::min) < 16777216.0;
  }
};
template <class Rounding>
struct average_form<convention::detail::dpu_average<Rounding>> {
  static constexpr bool known = true;
  using rounding = Rounding;
  /// The product with the reciprocal's integer is exact in a float, and the power of two with it.
  template <class T>
  QUERN_INLINE static bool of(convention::detail::dpu_average<Rounding> const& f, std::int32_t n, scaled_average& a) noexcept {
    auto const r = convention::detail::dpu_average<Rounding>::reciprocal(n);
    int const shift = f.src_position + r.shift - f.position;
    double const most = static_cast<double>(n) * (code_of_t<T>::max - code_of_t<T>::min);
    if (shift < -60 || shift > 60 || most * r.factor >= 16777216.0 || most >= 16777216.0) return false;
    a = {.offset = zero_of_sum(f.src_zero_point, n), .multiplier = ldexp_of(static_cast<float>(r.factor), -shift), .zero_point = f.zero_point, .clamped = f.clamped};
    return true;
  }
};

}  // namespace detail
}  // namespace quern

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES  // files that link quern::kernels go code by code
QUERN_FP_BEGIN
QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
inline namespace QUERN_ABI {
namespace sse41 {
namespace inner {
namespace row = quern::detail::pool_sse41;
}
#include "average.inl"
}  // namespace sse41
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {
namespace inner {
namespace row = quern::detail::pool_avx2;
}
#include "average.inl"
}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512bw {
namespace inner {
namespace row = quern::detail::pool_avx512bw;
}
#include "average.inl"
}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
QUERN_FP_END
#endif

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// Each returns whether there are vectors for it.
template <class Rounding, class T>
bool average_windows(isa i, T const* src, pixel_window const& w, index_t channels, index_t count, index_t src_step, scaled_average const& a, T* dst, index_t dst_step) noexcept {
#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
  if (i >= isa::avx512bw) return avx512bw::average_windows<Rounding>(src, w, channels, count, src_step, a, dst, dst_step), true;
  if (i >= isa::avx2) return avx2::average_windows<Rounding>(src, w, channels, count, src_step, a, dst, dst_step), true;
  if (i >= isa::sse41) return sse41::average_windows<Rounding>(src, w, channels, count, src_step, a, dst, dst_step), true;
#endif
  return static_cast<void>(i), static_cast<void>(src), static_cast<void>(w), static_cast<void>(channels), static_cast<void>(count), static_cast<void>(src_step), static_cast<void>(a),
         static_cast<void>(dst), static_cast<void>(dst_step), false;
}
template <class T>
bool real_average_line(isa i, T const* src, pixel_window const& w, index_t count, index_t step, real_average const& a, T* dst, index_t dst_step) noexcept {
#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
  if (i >= isa::avx512bw) return avx512bw::real_average_line(src, w, count, step, a, dst, dst_step), true;
  if (i >= isa::avx2) return avx2::real_average_line(src, w, count, step, a, dst, dst_step), true;
  if (i >= isa::sse41) return sse41::real_average_line(src, w, count, step, a, dst, dst_step), true;
#endif
  return static_cast<void>(i), static_cast<void>(src), static_cast<void>(w), static_cast<void>(count), static_cast<void>(step), static_cast<void>(a), static_cast<void>(dst),
         static_cast<void>(dst_step), false;
}
/// The sums of a window's codes, of all channels.
template <class T>
void sum_window(isa i, T const* src, pixel_window const& w, index_t channels, std::int32_t* sums) noexcept {
#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
  if (i >= isa::avx512bw) return avx512bw::sum_window(src, w, channels, sums);
  if (i >= isa::avx2) return avx2::sum_window(src, w, channels, sums);
  if (i >= isa::sse41) return sse41::sum_window(src, w, channels, sums);
#endif
  for (index_t c = 0; c < channels; ++c) sums[c] = 0;
  for (index_t y = 0; y < w.rows; ++y)
    for (index_t x = 0; x < w.cols; ++x) add_line(i, src + y * w.row_stride + x * w.col_stride, 1, channels, sums, 1);
}
}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
