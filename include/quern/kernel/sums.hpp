// sums.hpp — sums of lines of codes in 32 bits, for reduce(): into one number, or into one a place; and of four weighted lines, for
// resize_bilinear(); and of products of codes, for depthwise_16x8().
//
// They wrap, as every order of additions does alike.
#pragma once

#include "../core/saturate.hpp"
#include "../cpu/isa.hpp"
#include "../simd/simd.hpp"

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
inline namespace QUERN_ABI {
namespace sse41 {
#include "sums_body.inl"
}  // namespace sse41
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {
#include "sums_body.inl"
}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512bw {
#include "sums_body.inl"
}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
#endif

namespace quern {
namespace detail {

/// The types that have vectors here.
template <class T>
inline constexpr bool has_vector_sums = std::is_same_v<T, std::int8_t> || std::is_same_v<T, std::uint8_t> || std::is_same_v<T, std::int16_t>;

inline namespace QUERN_ABI {

#if QUERN_X86_64
/// From SSE4.1 on. `places`: sums[i] += codes[i]; otherwise sums[0] += all of them.
template <class T>
void add_line_of_vectors(isa i, T const* codes, index_t n, bool places, std::int32_t* sums) noexcept;

#if QUERN_DETAIL_KERNELS_HERE
template <class T>
void add_line_of_vectors(isa i, T const* codes, index_t n, bool places, std::int32_t* sums) noexcept {
  if (places) {
    if (i >= isa::avx512bw) return avx512bw::add_codes(codes, sums, n);
    if (i >= isa::avx2) return avx2::add_codes(codes, sums, n);
    return sse41::add_codes(codes, sums, n);
  }
  std::int32_t const sum = i >= isa::avx512bw ? avx512bw::sum_line(codes, n) : i >= isa::avx2 ? avx2::sum_line(codes, n) : sse41::sum_line(codes, n);
  *sums = wrap32(std::int64_t{*sums} + sum);
}
#endif

/// Of four pixels of n >= 16 codes: dst[i] = (sum of weights[k] * from[k][i]) / 2^20, ties away. @range |sums| below 2^30.
template <class T>
void blend_line_of_vectors(isa i, T const* const (&from)[4], std::int32_t const (&weights)[4], T* dst, index_t n) noexcept;
#if QUERN_DETAIL_KERNELS_HERE
template <class T>
void blend_line_of_vectors(isa i, T const* const (&from)[4], std::int32_t const (&weights)[4], T* dst, index_t n) noexcept {
  if (i >= isa::avx512bw) return avx512bw::blend_line(from, weights, dst, n);
  if (i >= isa::avx2) return avx2::blend_line(from, weights, dst, n);
  sse41::blend_line(from, weights, dst, n);
}
#endif
#endif

/// A line of `n` codes, `step` apart, into sums `sum_step` apart (0: all into one).
template <class T>
void add_line(isa i, T const* codes, index_t step, index_t n, std::int32_t* sums, index_t sum_step) noexcept {
#if QUERN_X86_64
  if constexpr (has_vector_sums<T>)
    if (i >= isa::sse41 && n >= 16 && step == 1 && (sum_step == 0 || sum_step == 1)) return add_line_of_vectors(i, codes, n, sum_step == 1, sums);
#endif
  static_cast<void>(i);
  if (sum_step == 0) {
    std::uint32_t sum = static_cast<std::uint32_t>(*sums);
    for (index_t k = 0; k < n; ++k) sum += static_cast<std::uint32_t>(static_cast<std::int32_t>(codes[k * step]));
    *sums = static_cast<std::int32_t>(sum);
  } else {
    for (index_t k = 0; k < n; ++k)
      sums[k * sum_step] = static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[k * sum_step]) + static_cast<std::uint32_t>(static_cast<std::int32_t>(codes[k * step])));
  }
}

/// sums[i] += a[i] * b[i], modulo 2^32.
#if QUERN_DETAIL_KERNELS_HERE
QUERN_DETAIL_KERNEL_FUNCTION void add_product_line(isa i, std::int16_t const* a, std::int16_t const* b, std::int32_t* sums, index_t n) noexcept {
#if QUERN_X86_64
  if (i >= isa::avx512bw) return avx512bw::add_products(a, b, sums, n);
  if (i >= isa::avx2) return avx2::add_products(a, b, sums, n);
  if (i >= isa::sse41) return sse41::add_products(a, b, sums, n);
#endif
  static_cast<void>(i);
  for (index_t k = 0; k < n; ++k) sums[k] = wrap32(std::int64_t{sums[k]} + std::int64_t{a[k]} * b[k]);
}
#else
QUERN_DETAIL_KERNEL_FUNCTION void add_product_line(isa i, std::int16_t const* a, std::int16_t const* b, std::int32_t* sums, index_t n) noexcept;
#endif

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
