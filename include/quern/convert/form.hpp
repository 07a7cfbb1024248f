// form.hpp — what quantize, dequantize and requantize have in common: the form of the division, options, results.
#pragma once

#include "../core/integers.hpp"
#include "../cpu/isa.hpp"
#include "../round/modes.hpp"

namespace quern {

/// x / scale, correctly rounded: ONNX, ONNX Runtime, TFLite, TensorRT.
struct divide {
  static constexpr char const* name = "divide";
};
/// x * (1 / scale), both operations rounded: PyTorch, FBGEMM, XNNPACK. Differs from `divide` by one step near some ties.
struct reciprocal {
  static constexpr char const* name = "reciprocal";
};
template <class F>
concept conversion_form = std::same_as<F, divide> || std::same_as<F, reciprocal>;

/// What happened to the values, besides being rounded. NaN becomes q_min, an infinity the end that it points to.
struct conversion_counts {
  std::int64_t saturated = 0;   ///< finite values beyond q_min .. q_max
  std::int64_t non_finite = 0;  ///< NaN and infinities

  QUERN_INLINE constexpr conversion_counts& operator+=(conversion_counts o) noexcept {
    saturated += o.saturated;
    non_finite += o.non_finite;
    return *this;
  }
  QUERN_INLINE friend constexpr bool operator==(conversion_counts const&, conversion_counts const&) = default;
};

/// Options of quantize. `rounding` holds the seed of round_to::stochastic; the other modes have no state.
template <class Rounding = round_to::half_even>
struct quantize_options {
  isa max_isa = isa::best;
  [[no_unique_address]] Rounding rounding = {};
};

/// Options of dequantize and requantize.
struct convert_options {
  isa max_isa = isa::best;
};

}  // namespace quern
