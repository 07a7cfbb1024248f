// elementwise.hpp — functions of one or two codes over whole tensors, with broadcasting.
//
//     binary(nd(a, s), nd(b, make_shape(c)), nd(y, s), fixed_point::add<>::make(pa, pb, py, {-128, 127}, 20));
//     unary(nd(x, s), nd(y, s), fixed_point::leaky_relu<>::make(px, py, 0.3f, {-128, 127}));
//
// The functor is the arithmetic: fixed_point/ has TFLite's, a lambda on codes does as well. Of one 8-bit code it becomes a table
// of 256 entries, whatever it computes.
#pragma once

#include "../kernel/elementwise.hpp"
#include "table.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

template <class... Views>
void check_elementwise(char const* op, shape const& s, Views const&... views) {
  for (int d = 0; d < s.rank; ++d)
    if (s.dim[d] < 0) fail(errc::shape, op, ": dimension ", d, " of dst is ", s.dim[d], "; sizes must not be negative.");
  auto const check = [&](auto const& v) {
    if (s.size() > 0 && v.data == nullptr) fail(errc::null, op, ": an operand is null, but dst has ", s.size(), " elements.");
  };
  (check(views), ...);
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// dst[i] = f(src[i]). @shapes equal; dst may be src. @errors shape, null, overlap.
template <class From, class Dst, class F>
void unary(nd_view<From> from, nd_view<Dst> dst, F const& f, isa max_isa = isa::best) {
  using Src = std::remove_const_t<From>;
  nd_view<Src const> const src = from;
  if (!(src.extents == dst.extents)) fail(errc::shape, "unary: src has ", src.size(), " elements in rank ", src.extents.rank, ", dst ", dst.size(), " in rank ", dst.extents.rank, "; their shapes must be equal.");
  detail::check_elementwise("unary", dst.extents, src, dst);
  if (dst.size() == 0) return;
  if (detail::overlaps_otherwise(src, dst)) fail(errc::overlap, "unary: dst overlaps src; it may be the same, element for element, or apart.");
  auto const walk = detail::runs<2>::of(dst.extents, dst, src);
  if constexpr (sizeof(Src) == 1 && sizeof(Dst) == 1) {
    if (dst.size() >= 256) {
      auto const table = table_of<Src, Dst>(f);
      walk.for_each([&](index_t const* at) {
        apply(table, vector_view<Src const>{src.data + at[1], walk.length, walk.step[1]}, vector_view<Dst>{dst.data + at[0], walk.length, walk.step[0]}, max_isa);
      });
      return;
    }
  }
  walk.for_each([&](index_t const* at) {
    for (index_t i = 0; i < walk.length; ++i)
      dst.data[at[0] + i * walk.step[0]] = static_cast<Dst>(f(src.data[at[1] + i * walk.step[1]]));
  });
}

/// dst[i] = f(lhs[i], rhs[i]); lhs and rhs are broadcast to dst's shape. dst may be lhs or rhs. @errors shape, null, overlap.
template <class Lhs, class Rhs, class Dst, class F>
void binary(nd_view<Lhs> lhs, nd_view<Rhs> rhs, nd_view<Dst> dst, F const& f, isa max_isa = isa::best) {
  detail::check_elementwise("binary", dst.extents, lhs, rhs, dst);
  nd_view<std::remove_const_t<Lhs> const> const a = broadcast(lhs, dst.extents);
  nd_view<std::remove_const_t<Rhs> const> const b = broadcast(rhs, dst.extents);
  if (dst.size() == 0) return;
  if (detail::overlaps_otherwise(lhs, dst) || detail::overlaps_otherwise(rhs, dst))
    fail(errc::overlap, "binary: dst overlaps ", detail::overlaps_otherwise(lhs, dst) ? "lhs" : "rhs", "; it may be the same, element for element, or apart.");
  auto const walk = detail::runs<3>::of(dst.extents, dst, a, b);
  if constexpr (std::is_same_v<std::remove_const_t<Lhs>, Dst> && std::is_same_v<std::remove_const_t<Rhs>, Dst> && std::is_integral_v<Dst> && sizeof(Dst) <= 2) {
    // Lines whose operands are adjacent go to the kernel as they are; others are gathered, a broadcast one once a line.
    if (walk.step[0] == 1) {
      isa const i = active_isa(max_isa);
      walk.for_each([&](index_t const* at) {
        constexpr index_t most = 512;
        Dst gathered[2][most];
        Dst const* const from[2] = {a.data + at[1], b.data + at[2]};
        bool const whole = walk.step[1] == 1 && walk.step[2] == 1;
        index_t const piece = whole || walk.length < most ? walk.length : most;
        for (index_t done = 0; done < walk.length; done += piece) {
          index_t const n = walk.length - done < piece ? walk.length - done : piece;
          Dst const* operand[2];
          for (int o = 0; o < 2; ++o) {
            index_t const step = walk.step[o + 1];
            operand[o] = step == 1 ? from[o] + done : gathered[o];
            if (step != 1 && (step != 0 || done == 0))
              for (index_t k = 0; k < n; ++k) gathered[o][k] = from[o][(done + k) * step];
          }
          detail::binary_line(i, operand[0], operand[1], dst.data + at[0] + done, n, f);
        }
      });
      return;
    }
  }
  walk.for_each([&](index_t const* at) {
    for (index_t i = 0; i < walk.length; ++i)
      dst.data[at[0] + i * walk.step[0]] = static_cast<Dst>(f(a.data[at[1] + i * walk.step[1]], b.data[at[2] + i * walk.step[2]]));
  });
}

/// The larger, the smaller of two codes of the same parameters.
struct maximum {
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept { return a > b ? a : b; }
};
struct minimum {
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept { return a < b ? a : b; }
};
/// ReLU, ReLU6 and other clamps of codes whose parameters stay: limits from fixed_point::activation_limits.
struct clamped {
  fixed_point::limits to{};
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t x) const noexcept { return clamp(x, to.min, to.max); }
};

}  // inline namespace QUERN_ABI
}  // namespace quern
