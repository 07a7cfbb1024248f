// observe.hpp — picks the instruction set for the loops of observe_body.inl.
#pragma once

#include "../core/buffer.hpp"
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

/// What the frameworks' histograms ask of a block.
struct observed_extent {
  float least = __builtin_inff(), most = -__builtin_inff();  ///< NaN left out, infinities not
  std::int32_t largest = 0;                                  ///< the bits of the largest magnitude; of what is not finite 0x7f800000 or more

  QUERN_INLINE void see(float x) noexcept {
    auto const magnitude = bits_of<std::int32_t>(x) & 0x7fffffff;
    merge({x, x, magnitude});
  }
  QUERN_INLINE void merge(observed_extent const& other) noexcept {
    least = other.least < least ? other.least : least;
    most = other.most > most ? other.most : most;
    largest = other.largest > largest ? other.largest : largest;
  }
};

/// Codes as floats, and what using them costs.
struct observed_grid {
  float scale, zero, low, high;
};
struct observed_error {
  double errors[16] = {}, squares[16] = {};
  std::int64_t clipped = 0;
  std::int32_t largest = 0;
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
  using binned_loop = std::int32_t (*)(float const*, index_t, float, std::int32_t, std::int32_t, std::uint16_t*, std::uint16_t, observed_lanes&);
  std::int32_t (*finite)(float const*, index_t, observed_lanes&);
  binned_loop binned, binned_wide;  ///< indices of 16 bits; of 32
  observed_extent (*histc)(float const*, index_t, float, float, std::int32_t, std::int32_t, std::uint16_t*);
  observed_extent (*absolute)(float const*, index_t, float, std::int32_t, std::int32_t, std::int32_t, std::uint16_t*, std::uint16_t);
  void (*absolute_any)(float const*, index_t, double, std::uint32_t, std::uint32_t*);
  void (*flush)(std::uint64_t*, std::uint16_t*, std::uint16_t*, index_t);
  void (*errors)(float const*, index_t, observed_grid const&, observed_error&);
};

inline observe_kernels observe_kernels_for(isa max_isa) noexcept {
#if QUERN_X86_64
  unsigned const allowed = allowed_isas(max_isa);
  if (allowed & quern::detail::bit_of(isa::avx512bw)) {
    using namespace observe_avx512bw;
    return {observe_finite, observe_binned<std::uint16_t>, observe_binned<std::uint32_t>, observe_histc_counted, observe_absolute_counted,
            observe_absolute, observe_flush, observe_errors};
  }
  if (allowed & quern::detail::bit_of(isa::avx2)) {
    using namespace observe_avx2;
    return {observe_finite, observe_binned<std::uint16_t>, observe_binned<std::uint32_t>, observe_histc_counted, observe_absolute_counted,
            observe_absolute, observe_flush, observe_errors};
  }
#endif
  (void)max_isa;
  using namespace observe_baseline;
  return {observe_finite, observe_binned<std::uint16_t>, observe_binned<std::uint32_t>, observe_histc_counted, observe_absolute_counted,
          observe_absolute, observe_flush, observe_errors};
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

inline constexpr index_t observed_block = 8192;

/// use(values, n) for all values of a batch in order, as floats, at most 8192 at a time.
template <class T, class Use>
void for_each_block(vector_view<T> batch, Use&& use) {
  auto const size_at = [&](index_t i) { return batch.size - i < observed_block ? batch.size - i : observed_block; };
  if constexpr (std::is_same_v<std::remove_const_t<T>, float>) {
    if (batch.contiguous()) {
      for (index_t i = 0; i < batch.size; i += observed_block) use(static_cast<float const*>(batch.data + i), size_at(i));
      return;
    }
  }
  buffer<float> copy(batch.size < observed_block ? batch.size : observed_block);
  for (index_t i = 0; i < batch.size; i += observed_block) {
    index_t const n = size_at(i);
    for (index_t l = 0; l < n; ++l) copy[l] = static_cast<float>(batch[i + l]);
    use(static_cast<float const*>(copy.data()), n);
  }
}

/// Two tables of 16-bit counters, one for even and one for odd elements, and 16 cells for zeros: what observe_counted fills.
struct observe_tables_16 {
  index_t table, used = 0;  ///< used: values since the last flush, of which half may meet in one counter
  buffer<std::uint16_t> cells;

  explicit observe_tables_16(index_t bins) : table((bins + 7) & ~index_t{7}), cells(2 * table + 16) {}
  static constexpr bool fits(index_t bins) noexcept { return 2 * ((bins + 7) & ~index_t{7}) + 16 <= 65536; }
  /// To be called before up to observed_block values are counted. counts has `table` elements.
  void make_room(std::uint64_t* counts, observe_kernels const& kernels) {
    if (used > 2 * (65535 - observed_block)) flush(counts, kernels);
    used += observed_block;
  }
  void flush(std::uint64_t* counts, observe_kernels const& kernels) {
    kernels.flush(counts, cells.data(), cells.data() + table, table);
    used = 0;
  }
  /// How often zero was seen since the last call, which must come before the next 65,536 * 16 values.
  std::uint64_t take_zeros() noexcept {
    std::uint64_t zeros = 0;
    for (index_t l = 2 * table; l < cells.size(); ++l) zeros += cells[l], cells[l] = 0;
    return zeros;
  }
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail
