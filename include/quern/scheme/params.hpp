// params.hpp — the scales and zero points of a quantized tensor.
//
//     params<Scheme>             owns them: {scale, zero_point} for per_tensor, two buffers for the other granularities
//     static_params<Scheme, N>   N of them in the object itself: constant expressions, firmware, tables in .rodata
//     params_view                points at either, or at yours
//
// All three are plain data and may cross translation units built with different flags. check_params says what is wrong with one.
#pragma once

#include "../core/buffer.hpp"
#include "../core/error.hpp"
#include "schemes.hpp"

namespace quern {

/// `count` scales and as many zero points; no zero points means that all of them are 0.
struct params_view {
  float const* scales = nullptr;
  std::int32_t const* zero_points = nullptr;
  index_t count = 0;

  QUERN_INLINE constexpr float scale(index_t i) const noexcept { return scales[i]; }
  QUERN_INLINE constexpr std::int32_t zero_point(index_t i) const noexcept {
    return zero_points == nullptr ? 0 : zero_points[i];
  }
  QUERN_INLINE constexpr params_view sub(index_t first, index_t n) const noexcept {
    return {scales + first, zero_points == nullptr ? nullptr : zero_points + first, n};
  }
};

/// The scales and zero points of one tensor. Where there are several, grid_of<Scheme::granularity> says whose is whose.
/// `zero_points` may be empty when all of them are 0.
template <class Scheme>
struct params {
  static_assert(scheme<Scheme>, "quern::params<Scheme>: Scheme must be symmetric<...>, asymmetric<...>, power_of_two<...> "
                                "or a type that meets quern::scheme.");
  using scheme_type = Scheme;

  buffer<float> scales;
  buffer<std::int32_t> zero_points;

  /// `count` scales of 1 and, unless they are all 0 by the scheme, zero points in the middle of the codes.
  QUERN_INLINE static constexpr params with_size(index_t count) {
    params p{buffer<float>(count, 1.0f), {}};
    if (!Scheme::fixed_zero_point || Scheme::q_middle != 0)
      p.zero_points = buffer<std::int32_t>(count, std::int32_t{Scheme::q_middle});
    return p;
  }
  QUERN_INLINE constexpr void set(index_t i, scale_zero_point value) noexcept {
    scales[i] = value.scale;
    if (!zero_points.empty()) zero_points[i] = value.zero_point;
  }
  QUERN_INLINE constexpr index_t size() const noexcept { return scales.size(); }
  QUERN_INLINE constexpr params_view view() const noexcept {
    return {scales.data(), zero_points.empty() ? nullptr : zero_points.data(), scales.size()};
  }
};

/// One scale and one zero point: a literal, params<symmetric<>>{.scale = 0.5f}.
template <scheme Scheme>
  requires(Scheme::granularity::single)
struct params<Scheme> {
  using scheme_type = Scheme;

  float scale = 1.0f;
  std::int32_t zero_point = Scheme::q_middle;

  QUERN_INLINE static constexpr index_t size() noexcept { return 1; }
  QUERN_INLINE constexpr params_view view() const noexcept { return {&scale, &zero_point, 1}; }
  QUERN_INLINE friend constexpr bool operator==(params const&, params const&) = default;
};

/// N scales and zero points in the object itself.
template <class Scheme, index_t N>
struct static_params {
  static_assert(scheme<Scheme>, "quern::static_params<Scheme, N>: Scheme must be symmetric<...>, asymmetric<...>, "
                                "power_of_two<...> or a type that meets quern::scheme.");
  static_assert(N > 0, "quern::static_params<Scheme, N>: N must be at least 1.");
  static_assert(!Scheme::granularity::single || N == 1,
                "quern::static_params<Scheme, N>: a per_tensor scheme has one scale: N must be 1.");
  using scheme_type = Scheme;

  float scales[N] = {};
  std::int32_t zero_points[N] = {};

  QUERN_INLINE constexpr void set(index_t i, scale_zero_point value) noexcept {
    scales[i] = value.scale;
    zero_points[i] = value.zero_point;
  }
  QUERN_INLINE static constexpr index_t size() noexcept { return N; }
  QUERN_INLINE constexpr params_view view() const noexcept { return {scales, zero_points, N}; }
  QUERN_INLINE friend constexpr bool operator==(static_params const&, static_params const&) = default;
};

/// params<Scheme>, static_params<Scheme, N>, or a type of yours: `scheme_type` and `view()`.
template <class P>
concept quantization_params = requires(P const& p) {
  typename P::scheme_type;
  requires scheme<typename P::scheme_type>;
  { p.view() } -> std::same_as<params_view>;
};

namespace detail {
inline namespace QUERN_ABI {

/// What check_params says about a scheme; its sentences are compiled once, not once for each scheme.
struct scheme_facts {
  char const* name;
  char const* granularity;
  std::int32_t q_min, q_max, q_middle;
  bool fixed_zero_point;
};

[[noreturn]] QUERN_COLD inline void fail_scale(char const* who, index_t i, float scale, char const* rule) {
  fail(errc::scale, who, ": scale ", i, " is ", static_cast<double>(scale), "; ", rule);
}
/// Whether lo <= x <= hi for all of them. Four at a time: a scale for each channel should not cost more to check than to use.
QUERN_INLINE bool all_within(void const* data, index_t n, std::int32_t lo, std::int32_t hi) noexcept {
  using four = std::int32_t __attribute__((vector_size(16)));
  auto const* p = static_cast<std::int32_t const*>(data);
  four outside{};
  index_t i = 0;
  for (; i + 4 <= n; i += 4) {
    four x;
    __builtin_memcpy(&x, p + i, sizeof x);
    outside |= (x < lo) | (x > hi);
  }
  bool all = (outside[0] | outside[1] | outside[2] | outside[3]) == 0;
  for (; i < n; ++i) {
    std::int32_t x;
    __builtin_memcpy(&x, p + i, sizeof x);
    all = all && x >= lo && x <= hi;
  }
  return all;
}
constexpr void check_params_slowly(params_view p, index_t count, char const* who, scheme_facts const& scheme) {
  for (index_t i = 0; i < count; ++i)
    if (!(p.scale(i) > 0.0f) || !is_finite(p.scale(i)))
      fail_scale(who, i, p.scale(i), "a scale must be finite and greater than zero.");
  for (index_t i = 0; i < count; ++i) {
    std::int32_t const z = p.zero_point(i);
    if (scheme.fixed_zero_point && z != scheme.q_middle)
      fail(errc::zero_point, who, ": zero point ", i, " is ", z, "; in ", scheme.name, " it is always ", scheme.q_middle, ".");
    if (z < scheme.q_min || z > scheme.q_max)
      fail(errc::zero_point, who, ": zero point ", i, " is ", z, "; it must be a code of ", scheme.name, ", ", scheme.q_min,
           " to ", scheme.q_max, ".");
  }
}
constexpr void check_params(params_view p, index_t count, char const* who, scheme_facts const& scheme) {
  if (p.count != count)
    fail(errc::shape, who, ": params hold ", p.count, p.count == 1 ? " scale" : " scales", ", but ", scheme.granularity,
         " needs ", count, " for this shape.");
  if (count > 0 && p.scales == nullptr) fail(errc::null, who, ": params.scales is null, but ", count, " scales are needed.");
  if (!__builtin_is_constant_evaluated() && p.zero_points != nullptr) {
    // As integers, the floats that are positive and finite are 1 to 0x7f7fffff.
    std::int32_t const lo = scheme.fixed_zero_point ? scheme.q_middle : scheme.q_min, hi = scheme.fixed_zero_point ? lo : scheme.q_max;
    if (all_within(p.scales, count, 1, 0x7f7fffff) && all_within(p.zero_points, count, lo, hi)) [[likely]]
      return;
  } else if (!__builtin_is_constant_evaluated()) {
    bool const zero_is_right = scheme.fixed_zero_point ? scheme.q_middle == 0 : scheme.q_min <= 0 && scheme.q_max >= 0;
    if (zero_is_right && all_within(p.scales, count, 1, 0x7f7fffff)) [[likely]]
      return;
  }
  check_params_slowly(p, count, who, scheme);
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Refuses params that no operation may use; `who` begins the sentence ("quantize: ...").
///
/// @errors  shape when there are not `count` scales; null; scale unless every one is finite and positive (and a power of two
///          where the scheme says so); zero_point unless every one is within q_min..q_max, or is the one that the scheme fixes.
template <scheme Scheme>
constexpr void check_params(params_view p, index_t count, char const* who) {
  detail::check_params(p, count, who,
                       {scheme_name<Scheme>, granularity_name<typename Scheme::granularity>, Scheme::q_min,
                        Scheme::q_max, Scheme::q_middle, Scheme::fixed_zero_point});
  for (index_t i = 0; i < count; ++i)
    if (!Scheme::valid_scale(p.scale(i))) detail::fail_scale(who, i, p.scale(i), Scheme::scale_rule);
}

}  // inline namespace QUERN_ABI
}  // namespace quern
