// params_kernels.hpp — params_body.inl for each instruction set: checking a scale for each channel must not cost more than using it.
#pragma once

#include "../scheme/params.hpp"
#include "../simd/simd.hpp"

namespace quern::detail {

/// What a kernel may find in scales and zero points before anything is written.
struct zero_point_limits {
  std::int32_t min = -0x7fffffff - 1, max = 0x7fffffff;
};
inline constexpr std::int32_t least_scale_bits = 1, most_scale_bits = 0x7f7fffff;  ///< of a scale that is positive and finite

/// Whether the scheme is known to want no more than that.
template <class Scheme>
inline constexpr bool any_scale_is_valid = false;
template <class C, class G, class R>
inline constexpr bool any_scale_is_valid<symmetric<C, G, R>> = true;
template <class C, class G, class R>
inline constexpr bool any_scale_is_valid<asymmetric<C, G, R>> = true;
template <class Scheme>
inline constexpr zero_point_limits zero_limits_of = Scheme::fixed_zero_point ? zero_point_limits{Scheme::q_middle, Scheme::q_middle}
                                                                             : zero_point_limits{Scheme::q_min, Scheme::q_max};
/// Whether a kernel may look at `count` scales and zero points instead of check_params: it finds every mistake that is left, and check_params has
/// the words for it.
template <class Scheme>
QUERN_INLINE constexpr bool kernel_may_check(params_view p, index_t count) noexcept {
  constexpr zero_point_limits limits = zero_limits_of<Scheme>;
  return any_scale_is_valid<Scheme> && p.count == count && p.scales != nullptr &&
         (p.zero_points != nullptr || (limits.min <= 0 && 0 <= limits.max));
}

}  // namespace quern::detail

#define QUERN_DETAIL_EACH_ISA "../convert/params_body.inl"
#include "../simd/each_isa.inl"
