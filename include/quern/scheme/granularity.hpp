// granularity.hpp — which elements share a scale, and where an element's scale is found.
//
//     per_tensor          one scale for everything
//     per_channel<Axis>   one for each index of that axis: <0> the rows of a matrix, <1> its columns, <3> NHWC channels
//     per_row             one for each vector along the last axis: the rows of a matrix, the pixels of an NHWC tensor
//     per_group<N, Axis>  each line along Axis (the last, unless said) is cut into groups of N; the last group may be short
//
// Scales lie row-major in the shape that remains when every group is shrunk to one element: a 4x10 matrix has 4x3 scales
// per_group<4> and 1x10 per_channel<1>. (ONNX's blocked quantization is per_group<N, Axis>.)
#pragma once

#include "../core/integers.hpp"

namespace quern {

namespace detail {
/// Axes count from the end when negative.
QUERN_INLINE constexpr int axis_of(int axis, int rank) noexcept { return axis < 0 ? axis + rank : axis; }
}  // namespace detail

/// One scale for the whole tensor.
struct per_tensor {
  static constexpr char const* name = "per_tensor";
  static constexpr bool single = true;
  static constexpr bool fits(int) noexcept { return true; }
  /// Elements along `axis` that share a scale; 0 means all of them.
  QUERN_INLINE static constexpr index_t block(int /*axis*/, int /*rank*/) noexcept { return 0; }
};

/// One scale for each index of `Axis`; negative axes count from the end.
template <int Axis>
struct per_channel {
  static_assert(Axis >= -4 && Axis <= 3,
                "quern::per_channel<Axis>: Axis must be 0 to 3, or -4 to -1 to count from the last axis.");
  static constexpr char const* name = "per_channel";
  static constexpr bool single = false;
  static constexpr int axis = Axis;
  static constexpr bool fits(int rank) noexcept { return detail::axis_of(Axis, rank) >= 0 && detail::axis_of(Axis, rank) < rank; }
  QUERN_INLINE static constexpr index_t block(int a, int rank) noexcept { return a == detail::axis_of(Axis, rank) ? 1 : 0; }
};

/// One scale for each vector along the last axis: what dynamic (per-token) quantization of activations uses.
struct per_row {
  static constexpr char const* name = "per_row";
  static constexpr bool single = false;
  static constexpr bool fits(int) noexcept { return true; }
  QUERN_INLINE static constexpr index_t block(int a, int rank) noexcept { return a == rank - 1 ? 0 : 1; }
};

/// One scale for each `Size` neighbours along `Axis`, by default the last.
template <index_t Size, int Axis = -1>
struct per_group {
  static_assert(Size > 0, "quern::per_group<Size>: a group must hold at least one element.");
  static_assert(Axis >= -4 && Axis <= 3,
                "quern::per_group<Size, Axis>: Axis must be 0 to 3, or -4 to -1 to count from the last axis.");
  static constexpr char const* name = "per_group";
  static constexpr bool single = false;
  static constexpr index_t size = Size;
  static constexpr int axis = Axis;
  static constexpr bool fits(int rank) noexcept { return detail::axis_of(Axis, rank) >= 0 && detail::axis_of(Axis, rank) < rank; }
  QUERN_INLINE static constexpr index_t block(int a, int rank) noexcept { return a == detail::axis_of(Axis, rank) ? Size : 1; }
};

/// Where scales lie: `fits(rank)` and, for each axis, how many neighbours share one.
template <class G>
concept granularity = requires(int axis, int rank) {
  { G::name } -> std::convertible_to<char const*>;
  { G::single } -> std::convertible_to<bool>;
  { G::fits(rank) } -> std::same_as<bool>;
  { G::block(axis, rank) } -> std::same_as<index_t>;
};

/// The scales of a tensor of `Rank` axes: how many there are and which one an element uses.
///
///     at(i, j, ...) = (i / block[0] * steps[1] + j / block[1]) * steps[2] + ...        steps = ceil(extent / block)
template <int Rank>
struct scale_grid {
  index_t block[Rank] = {};
  index_t steps[Rank] = {};

  QUERN_INLINE constexpr index_t count() const noexcept {
    index_t n = 1;
    for (index_t s : steps) n *= s;
    return n;
  }
  template <class... Index>
    requires(sizeof...(Index) == Rank)
  QUERN_INLINE constexpr index_t at(Index... index) const noexcept {
    index_t const i[] = {static_cast<index_t>(index)...};
    index_t at = 0;
    for (int a = 0; a < Rank; ++a) at = at * steps[a] + i[a] / block[a];
    return at;
  }
};

inline namespace QUERN_ABI {

/// The grid of `Granularity` over a tensor of these extents: grid_of<per_row>(rows, cols).
template <granularity Granularity, class... Extent>
QUERN_INLINE constexpr scale_grid<static_cast<int>(sizeof...(Extent))> grid_of(Extent... extent) noexcept {
  constexpr int rank = static_cast<int>(sizeof...(Extent));
  static_assert(Granularity::fits(rank), "quern: this per_channel or per_group names an axis that the tensor does not have.");
  scale_grid<rank> grid;
  index_t const size[] = {static_cast<index_t>(extent)...};
  for (int a = 0; a < rank; ++a) {
    index_t const n = size[a] > 0 ? size[a] : 0;
    index_t const block = Granularity::block(a, rank);
    grid.block[a] = block != 0 ? block : n != 0 ? n : 1;
    grid.steps[a] = block != 0 ? (n + block - 1) / block : 1;  // one scale along a shared axis, even where it is empty
  }
  return grid;
}

}  // inline namespace QUERN_ABI
}  // namespace quern
