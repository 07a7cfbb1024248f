// conv_gather.hpp — copies the taps of one output position into a kernel's block of lhs.
//
// Inside of the image a window is a grid of runs of codes: a row of taps each where the channels of neighbouring pixels touch, a
// pixel each otherwise. They are copied back to back, with the sign flip or widening that the kernel's form wants (kernel_set.hpp),
// and 64 zero bytes behind the last (lhs_stride leaves room for them).
//
//     72 bytes of 3 x 3 x 8, three runs of 24:    3 masked loads, 3 stores (AVX-512)
#pragma once

#include "kernel_set.hpp"

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
#include <immintrin.h>
#endif

namespace quern::kernel {

/// Rows of `across` runs of `length` codes.
struct run_grid {
  index_t length = 0, across = 1;
  index_t step = 0, row_step = 0;  ///< from run to run, from row to row
};

/// Codes [first, first + count) of the runs that begin at `src`. `kind`: 0 u8, 1 s8.
using gather_function = void (*)(unsigned char const* src, run_grid const& runs, index_t first, index_t count, int kind, unsigned char* dst);

/// Where a gather is.
struct run_walk {
  unsigned char const* at;
  unsigned char const* row;
  index_t column, within;

  QUERN_INLINE run_walk(unsigned char const* src, run_grid const& g, index_t first) noexcept : at(src), row(src), column(0), within(first) {
    if (first >= g.length) {
      index_t const r = first / g.length;
      within = first % g.length;
      column = r % g.across;
      row += r / g.across * g.row_step;
      at = row + column * g.step;
    }
  }
  QUERN_INLINE void next(run_grid const& g) noexcept {
    at += g.step;
    if (++column == g.across) {
      column = 0;
      at = row += g.row_step;
    }
  }
};

}  // namespace quern::kernel

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx2 {

inline void gather_bytes(unsigned char const* src, run_grid const& runs, index_t first, index_t count, int kind, unsigned char* dst) {
  __m256i const flip = _mm256_set1_epi8(kind == 1 ? static_cast<char>(0x80) : 0);
  __m128i const half_flip = _mm256_castsi256_si128(flip);
  run_walk walk(src, runs, first);
  for (index_t at = walk.within; count > 0; at = 0, walk.next(runs)) {
    index_t const n = runs.length - at < count ? runs.length - at : count;
    unsigned char const* const from = walk.at + at;
    index_t i = 0;
    for (; i + 32 <= n; i += 32)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + i),
                          _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<__m256i const*>(from + i)), flip));
    if (n - i >= 16) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i), _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<__m128i const*>(from + i)), half_flip));
      i += 16;
    }
    if (i < n && n >= 16) {  // the last 16 once more, overlapping
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + n - 16), _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<__m128i const*>(from + n - 16)), half_flip));
    } else if (i < n) {
      if (n >= 8) {
        __m128i const a = _mm_xor_si128(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(from)), half_flip);
        __m128i const b = _mm_xor_si128(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(from + n - 8)), half_flip);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(dst), a);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(dst + n - 8), b);
      } else {
        for (; i < n; ++i) dst[i] = static_cast<unsigned char>(from[i] ^ (kind == 1 ? 0x80 : 0));
      }
    }
    dst += n;
    count -= n;
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), _mm256_setzero_si256());
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + 32), _mm256_setzero_si256());
}

inline void gather_words(unsigned char const* src, run_grid const& runs, index_t first, index_t count, int kind, unsigned char* to) {
  auto* dst = reinterpret_cast<std::int16_t*>(to);
  run_walk walk(src, runs, first);
  for (index_t at = walk.within; count > 0; at = 0, walk.next(runs)) {
    index_t const n = runs.length - at < count ? runs.length - at : count;
    unsigned char const* const from = walk.at + at;
    index_t i = 0;
    for (; i + 16 <= n; i += 16) {
      __m128i const x = _mm_loadu_si128(reinterpret_cast<__m128i const*>(from + i));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + i), kind == 1 ? _mm256_cvtepi8_epi16(x) : _mm256_cvtepu8_epi16(x));
    }
    if (i < n && n >= 16) {
      __m128i const x = _mm_loadu_si128(reinterpret_cast<__m128i const*>(from + n - 16));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + n - 16), kind == 1 ? _mm256_cvtepi8_epi16(x) : _mm256_cvtepu8_epi16(x));
      i = n;
    }
    for (; i < n; ++i) dst[i] = kind == 1 ? static_cast<std::int16_t>(static_cast<signed char>(from[i])) : static_cast<std::int16_t>(from[i]);
    dst += n;
    count -= n;
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), _mm256_setzero_si256());
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + 16), _mm256_setzero_si256());
}

}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace avx512bw {

inline void gather_bytes(unsigned char const* src, run_grid const& runs, index_t first, index_t count, int kind, unsigned char* dst) {
  __m512i const flip = _mm512_set1_epi8(kind == 1 ? static_cast<char>(0x80) : 0);
  run_walk walk(src, runs, first);
  for (index_t at = walk.within; count > 0; at = 0, walk.next(runs)) {
    index_t const n = runs.length - at < count ? runs.length - at : count;
    unsigned char const* const from = walk.at + at;
    index_t i = 0;
    for (; i + 64 <= n; i += 64) _mm512_storeu_si512(dst + i, _mm512_xor_si512(_mm512_loadu_si512(from + i), flip));
    if (i < n) _mm512_storeu_si512(dst + i, _mm512_xor_si512(_mm512_maskz_loadu_epi8(~0ull >> (64 - (n - i)), from + i), flip));
    dst += n;
    count -= n;
  }
  _mm512_storeu_si512(dst, _mm512_setzero_si512());
}

inline void gather_words(unsigned char const* src, run_grid const& runs, index_t first, index_t count, int kind, unsigned char* to) {
  auto* dst = reinterpret_cast<std::int16_t*>(to);
  run_walk walk(src, runs, first);
  for (index_t at = walk.within; count > 0; at = 0, walk.next(runs)) {
    index_t const n = runs.length - at < count ? runs.length - at : count;
    for (index_t i = 0; i < n; i += 32) {
      __mmask32 const live = n - i >= 32 ? ~0u : ~0u >> (32 - (n - i));
      __m256i const x = _mm256_maskz_loadu_epi8(live, walk.at + at + i);
      _mm512_mask_storeu_epi16(dst + i, live, kind == 1 ? _mm512_cvtepi8_epi16(x) : _mm512_cvtepu8_epi16(x));
    }
    dst += n;
    count -= n;
  }
  _mm512_storeu_si512(dst, _mm512_setzero_si512());
}

}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

#endif

namespace quern::kernel {
inline namespace QUERN_ABI {

/// The gather that belongs to a kernel set's copy, or null: then its copy is called for each run. AMX takes codes as they are: kind 0.
#if QUERN_DETAIL_KERNELS_HERE
QUERN_DETAIL_KERNEL_FUNCTION gather_function gather_for(kernel_set const* set) noexcept {
#if QUERN_X86_64
  if (set == nullptr) return nullptr;
  bool const wide = set->needs >= isa::avx512bw && set->needs <= isa::amx_int8, narrow = set->needs == isa::avx2 || set->needs == isa::avx_vnni;
  if (wide) return set->form == lhs_form::words ? &avx512bw::gather_words : &avx512bw::gather_bytes;
  if (narrow) return set->form == lhs_form::words ? &avx2::gather_words : &avx2::gather_bytes;
#endif
  static_cast<void>(set);
  return nullptr;
}
#else
QUERN_DETAIL_KERNEL_FUNCTION gather_function gather_for(kernel_set const* set) noexcept;
#endif

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
