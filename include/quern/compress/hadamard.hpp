// hadamard.hpp — the fast Walsh-Hadamard transform: spreads outlier channels over all channels, at n log2 n additions.
//
//     H_1 = [1]          H_2n = [ H_n  H_n ; H_n  -H_n ]          H_n H_n = n I
//
// y = x Wᵀ = (x D H / √n) (W D H / √n)ᵀ for any diagonal D of signs: rotate the weights once, the activations as they come. Where n is
// no power of two, blocks of the largest power of two that divides it are transformed.
//
// Every level adds pairs in the same order on every instruction set, so the bits are the same. On integers it is exact.
// Say also what it does not do: rotation shares the pain of outliers among all channels, it does not abolish it, and without
// outliers it costs 0.1 dB.
//
// @source  Ashkboos et al. 2024, QuaRot, arXiv:2404.00456; signs as in QuIP#.
#pragma once

#include "../core/error.hpp"
#include "../core/math.hpp"
#include "../core/views.hpp"
#include "../cpu/detect.hpp"
#include "../round/stochastic.hpp"

namespace quern::compress::detail {
inline namespace QUERN_ABI {
namespace hadamard_baseline {
#define QUERN_DETAIL_HADAMARD_BYTES 16
#include "hadamard_body.inl"
#undef QUERN_DETAIL_HADAMARD_BYTES
}  // namespace hadamard_baseline
}  // inline namespace QUERN_ABI
}  // namespace quern::compress::detail

#if QUERN_X86_64
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern::compress::detail {
inline namespace QUERN_ABI {
namespace hadamard_avx2 {
#define QUERN_DETAIL_HADAMARD_BYTES 32
#include "hadamard_body.inl"
#undef QUERN_DETAIL_HADAMARD_BYTES
}  // namespace hadamard_avx2
}  // inline namespace QUERN_ABI
}  // namespace quern::compress::detail
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern::compress::detail {
inline namespace QUERN_ABI {
namespace hadamard_avx512bw {
#define QUERN_DETAIL_HADAMARD_BYTES 64
#include "hadamard_body.inl"
#undef QUERN_DETAIL_HADAMARD_BYTES
}  // namespace hadamard_avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern::compress::detail
QUERN_TARGET_END
#endif

namespace quern::compress {

struct hadamard_options {
  bool normalize = true;      ///< divide by √block: the transform is then its own inverse (floats only)
  isa max_isa = isa::best;
};

namespace detail {
inline namespace QUERN_ABI {
template <class T>
void hadamard_block(T* x, index_t n, T scale, isa max_isa) {
  if (n < 16) {
    for (index_t i = 0; i < n; ++i) x[i] *= scale;
    for (index_t h = 1; h < n; h *= 2)
      for (index_t base = 0; base < n; base += 2 * h)
        for (index_t i = base; i < base + h; ++i) {
          T const a = x[i], b = x[i + h];
          x[i] = a + b, x[i + h] = a - b;
        }
    return;
  }
#if QUERN_X86_64
  unsigned const allowed = allowed_isas(max_isa);
  if (allowed & quern::detail::bit_of(isa::avx512bw)) return hadamard_avx512bw::hadamard_transform(x, n, scale);
  if (allowed & quern::detail::bit_of(isa::avx2)) return hadamard_avx2::hadamard_transform(x, n, scale);
#endif
  (void)max_isa;
  hadamard_baseline::hadamard_transform(x, n, scale);
}
}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// The largest power of two that divides n: what one transform spans.
constexpr index_t hadamard_span(index_t n) noexcept { return n > 0 ? n & -n : 1; }

/// x ← H (x / √span) in place, block by block. @errors null; argument for a stride other than 1.
inline void hadamard(vector_view<float> x, hadamard_options options = {}) {
  if (x.size > 0 && x.data == nullptr) fail(errc::null, "hadamard: x is null, but has ", x.size, " values.");
  if (!x.contiguous()) fail(errc::argument, "hadamard: x has stride ", x.stride, "; it must be 1.");
  index_t const span = hadamard_span(x.size);
  float const scale = options.normalize ? static_cast<float>(1.0 / sqrt_of(static_cast<double>(span))) : 1.0f;
  for (index_t b = 0; b < x.size; b += span) detail::hadamard_block(x.data + b, span, scale, options.max_isa);
}

/// x ← H x in place, exactly; H H x = span x. @errors null; argument for a stride other than 1 or when a sum could leave int32.
inline void hadamard(vector_view<std::int32_t> x, hadamard_options options = {}) {
  if (x.size > 0 && x.data == nullptr) fail(errc::null, "hadamard: x is null, but has ", x.size, " values.");
  if (!x.contiguous()) fail(errc::argument, "hadamard: x has stride ", x.stride, "; it must be 1.");
  index_t const span = hadamard_span(x.size);
  for (index_t b = 0; b < x.size; b += span) {
    std::int64_t sum = 0;
    for (index_t i = b; i < b + span; ++i) sum += x.data[i] < 0 ? -static_cast<std::int64_t>(x.data[i]) : x.data[i];
    if (sum > 2147483647)
      fail(errc::argument, "hadamard: the magnitudes of values ", b, " to ", b + span - 1, " sum to ", sum, "; beyond 2147483647 a sum may overflow.");
  }
  for (index_t b = 0; b < x.size; b += span)
    detail::hadamard_block(reinterpret_cast<std::uint32_t*>(x.data + b), span, 1u, options.max_isa);
}

/// Multiplies x by n signs that depend on the seed alone; its own inverse.
inline void random_signs(vector_view<float> x, std::uint64_t seed) noexcept {
  round_to::stochastic const random{.seed = seed};
  for (index_t i = 0; i < x.size; ++i)
    if (random.word(static_cast<std::uint64_t>(i)) >> 31) x[i] = -x[i];
}

/// Every row of m: signs, then the transform. Weights (inputs in columns) and activations (samples in rows) alike: their product
/// stays what it was. @errors argument unless rows are contiguous.
inline void rotate_rows(matrix_view<float> m, std::uint64_t seed, hadamard_options options = {}) {
  if (!m.row_major()) fail(errc::argument, "rotate_rows: the matrix has column stride ", m.col_stride, "; its rows must be contiguous.");
  for (index_t i = 0; i < m.rows; ++i) {
    random_signs(m.row(i), seed);
    hadamard(m.row(i), options);
  }
}
/// The inverse of rotate_rows.
inline void rotate_rows_back(matrix_view<float> m, std::uint64_t seed, hadamard_options options = {}) {
  if (!m.row_major()) fail(errc::argument, "rotate_rows_back: the matrix has column stride ", m.col_stride, "; its rows must be contiguous.");
  for (index_t i = 0; i < m.rows; ++i) {
    hadamard(m.row(i), options);
    random_signs(m.row(i), seed);
  }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress
