// observe.hpp — picks the instruction set for the loops of observe_body.inl.
#pragma once

#include "../core/math.hpp"
#include "../core/views.hpp"
#include "../cpu/detect.hpp"

namespace quern::calibrate::detail {

/// What one pass over a block of floats finds.
struct block_moments {
  float least = __builtin_inff(), most = -__builtin_inff();
  std::int64_t finite = 0, zeros = 0;
  double sum = 0, squares = 0;
};

inline namespace QUERN_ABI {
namespace observe_baseline {
#define QUERN_DETAIL_OBSERVE_BYTES 16
#include "observe_body.inl"
#undef QUERN_DETAIL_OBSERVE_BYTES
}  // namespace observe_baseline
}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail

#if QUERN_X86_64
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern::calibrate::detail {
inline namespace QUERN_ABI {
namespace observe_avx2 {
#define QUERN_DETAIL_OBSERVE_BYTES 32
#include "observe_body.inl"
#undef QUERN_DETAIL_OBSERVE_BYTES
}  // namespace observe_avx2
}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern::calibrate::detail {
inline namespace QUERN_ABI {
namespace observe_avx512bw {
#define QUERN_DETAIL_OBSERVE_BYTES 64
#include "observe_body.inl"
#undef QUERN_DETAIL_OBSERVE_BYTES
}  // namespace observe_avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail
QUERN_TARGET_END
#endif

namespace quern::calibrate::detail {
inline namespace QUERN_ABI {

/// Any n, any values; non-finite ones only take part in `n - finite`.
inline void observe_moments(float const* data, index_t n, block_moments& out, isa max_isa) {
  index_t const whole = n & ~index_t{15};
  bool finite = true;
  block_moments m;
  if (whole > 0) {
#if QUERN_X86_64
    unsigned const allowed = allowed_isas(max_isa);
    if (allowed & quern::detail::bit_of(isa::avx512bw))
      finite = observe_avx512bw::observe_finite(data, whole, m);
    else if (allowed & quern::detail::bit_of(isa::avx2))
      finite = observe_avx2::observe_finite(data, whole, m);
    else
#endif
      finite = observe_baseline::observe_finite(data, whole, m);
  }
  (void)max_isa;
  if (!finite) m = {};
  double sum[16] = {}, squares[16] = {};
  for (index_t i = finite ? whole : 0; i < n; ++i) {
    float const x = data[i];
    if (!is_finite(x)) continue;
    ++m.finite;
    m.zeros += x == 0;
    m.least = x < m.least ? x : m.least;
    m.most = x > m.most ? x : m.most;
    sum[i % 16] += static_cast<double>(x);
    squares[i % 16] += static_cast<double>(x) * x;
  }
  for (int half = 8; half >= 1; half /= 2)
    for (int l = 0; l < half; ++l) sum[l] += sum[l + half], squares[l] += squares[l + half];
  m.least += 0.0f;  // -0.0 becomes 0.0: which of two zeros came first must not show
  m.most += 0.0f;
  m.sum += sum[0];
  m.squares += squares[0];
  out = m;
}

inline void observe_bins(float const* data, index_t n, float to_bins, std::int32_t half, std::uint16_t* counts, isa max_isa) {
#if QUERN_X86_64
  unsigned const allowed = allowed_isas(max_isa);
  if (allowed & quern::detail::bit_of(isa::avx512bw)) return observe_avx512bw::observe_bins(data, n, to_bins, half, counts);
  if (allowed & quern::detail::bit_of(isa::avx2)) return observe_avx2::observe_bins(data, n, to_bins, half, counts);
#endif
  (void)max_isa;
  observe_baseline::observe_bins(data, n, to_bins, half, counts);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail
