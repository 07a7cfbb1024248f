// observe.hpp — picks the instruction set for the loops of observe_body.inl.
#pragma once

#include "../core/math.hpp"
#include "../core/views.hpp"
#include "../cpu/detect.hpp"

namespace quern::calibrate::detail {

/// What one pass over a block of floats finds.
struct block_moments {
  float least = __builtin_inff(), most = -__builtin_inff();
  std::int64_t finite = 0;
  double sum = 0, squares = 0;
};

/// The same while it is under way: sums by element index mod 16.
struct observed_lanes {
  float least = __builtin_inff(), most = -__builtin_inff();
  double sum[16] = {}, squares[16] = {};

  /// Element i, which is finite.
  QUERN_INLINE void see(index_t i, float x) noexcept {
    least = x < least ? x : least;
    most = x > most ? x : most;
    sum[i % 16] += static_cast<double>(x);
    squares[i % 16] += static_cast<double>(x) * x;
  }
  /// Sums the lanes: always in this order.
  QUERN_INLINE void finish() noexcept {
    for (int half = 8; half >= 1; half /= 2)
      for (int l = 0; l < half; ++l) sum[l] += sum[l + half], squares[l] += squares[l + half];
    least += 0.0f;  // -0.0 becomes 0.0: which of two zeros came first must not show
    most += 0.0f;
  }
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

/// The loops of one instruction set.
struct observe_kernels {
  std::int32_t (*finite)(float const*, index_t, observed_lanes&);
  std::int32_t (*binned)(float const*, index_t, float, std::int32_t, std::int32_t, std::uint16_t*, std::uint16_t, observed_lanes&);
  void (*absolute)(float const*, index_t, double, std::uint32_t, std::uint32_t*);
  void (*histc)(float const*, index_t, float, float, std::uint32_t, std::uint32_t*);
};

inline observe_kernels observe_kernels_for(isa max_isa) noexcept {
#if QUERN_X86_64
  unsigned const allowed = allowed_isas(max_isa);
  if (allowed & quern::detail::bit_of(isa::avx512bw))
    return {observe_avx512bw::observe_finite, observe_avx512bw::observe_binned, observe_avx512bw::observe_absolute, observe_avx512bw::observe_histc};
  if (allowed & quern::detail::bit_of(isa::avx2))
    return {observe_avx2::observe_finite, observe_avx2::observe_binned, observe_avx2::observe_absolute, observe_avx2::observe_histc};
#endif
  (void)max_isa;
  return {observe_baseline::observe_finite, observe_baseline::observe_binned, observe_baseline::observe_absolute, observe_baseline::observe_histc};
}

/// Any n, any values; non-finite ones only take part in `n - finite`.
inline void observe_moments(float const* data, index_t n, block_moments& out, isa max_isa) {
  constexpr std::int32_t infinity = 0x7f800000;
  index_t const whole = n & ~index_t{15};
  observed_lanes lanes;
  bool const finite = whole > 0 && observe_kernels_for(max_isa).finite(data, whole, lanes) < infinity;
  if (!finite) lanes = {};
  out = {};
  out.finite = finite ? whole : 0;
  for (index_t i = out.finite; i < n; ++i) {
    if (!is_finite(data[i])) continue;
    lanes.see(i, data[i]);
    ++out.finite;
  }
  lanes.finish();
  out.least = lanes.least;
  out.most = lanes.most;
  out.sum = lanes.sum[0];
  out.squares = lanes.squares[0];
}

inline constexpr index_t observed_block = 512;

/// use(values, n) for all finite values of a batch, in order, at most 512 at a time; up to the next multiple of 16 may be read too.
/// `all_finite` spares looking for those that are not.
template <class T, class Use>
void for_each_finite_block(vector_view<T> batch, bool all_finite, Use&& use) {
  for (index_t i = 0; i < batch.size; i += observed_block) {
    index_t const n = batch.size - i < observed_block ? batch.size - i : observed_block;
    if constexpr (std::is_same_v<std::remove_const_t<T>, float>) {
      if (all_finite && batch.contiguous() && n == observed_block) {
        use(batch.data + i, n);
        continue;
      }
    }
    float values[observed_block] = {};
    index_t kept = 0;
    for (index_t l = 0; l < n; ++l) {
      values[kept] = static_cast<float>(batch[i + l]);
      kept += is_finite(values[kept]);
    }
    if (kept < n) values[kept] = 0;
    use(static_cast<float const*>(values), kept);
  }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail
