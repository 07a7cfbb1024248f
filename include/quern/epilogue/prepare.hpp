// prepare.hpp — what an epilogue needs per column, gathered once a call into arrays without gaps.
//
// Kernels sum copied codes a' = a + offset (128 for s8 copied as u8) and stored codes b' = b - packed offset. With the zero points
// moved the same way (za' = za + offset, zb' = zb - packed offset)
//
//     sum (a - za)(b - zb) = sum a' b'  -  za' * sum_b'[j]  -  zb'[j] * (sum_a'[i] - k * za')
//
// The middle term and the bias, where lhs has one zero point, are what accumulators start from (init): they cost nothing. The last
// term vanishes for symmetric weights; else it needs the row sums that copying lhs gives.
#pragma once

#include "../pack/packed_matrix.hpp"
#include "scalar.hpp"

namespace quern {
namespace detail {

/// One call's columns. Arrays have n rounded up to 16 elements, zeros (scales: ones) behind n.
struct column_data {
  std::int32_t const* init[2] = {};             ///< by lhs_form
  std::int32_t const* sums = nullptr;           ///< of stored codes; groups below each other
  std::int32_t const* rhs_zero = nullptr;       ///< zb' by column, null where it is uniform
  std::int32_t uniform_rhs_zero = 0;            ///< zb'
  std::int32_t packed_offset = 0;
  bool lhs_zero_by_row = false;
  index_t k = 0, group = 0, columns = 0;        ///< columns: n rounded up to 16
  float const* scales = nullptr;                ///< to_real: cols, times rows where that is one number; is_one_product: its own
  bool scales_below_one = false;                ///< all of them
  float const* real_bias = nullptr;             ///< to_real: bias, null: none
  void const* parameters = nullptr;             ///< a policy's, one a column
  void const* rescalers = nullptr;              ///< the same as vectors of the instruction set
};

/// Policies that are to_real's arithmetic where every scale is below 1: f32(acc) * scale, half to even, nothing to saturate.
template <class R>
inline constexpr bool is_one_product = std::is_same_v<R, rescale::float_multiply<round_to::half_even>> || std::is_same_v<R, rescale::xnnpack_fp32>;

inline namespace QUERN_ABI {

/// Bytes that prepare_columns() needs.
template <class R>
constexpr index_t column_bytes(index_t n) noexcept {
  index_t const columns = (n + 15) / 16 * 16;
  index_t each = 3 * 4;  // two init, rhs_zero
  if constexpr (std::is_same_v<R, to_real>)
    each += 2 * 4;
  else if constexpr (!std::is_same_v<R, no_rescale>)
    each += static_cast<index_t>(sizeof(typename R::parameters));
  return columns * each;
}

/// Whether rhs has a zero point somewhere, so that the sums of lhs's rows count.
template <class Rhs, class R, class S, class T>
bool needs_row_sums(packed_matrix_view<Rhs> const& rhs, epilogue<R, S, T> const& e) noexcept {
  if constexpr (std::is_same_v<R, to_real>)
    if (e.rescale.group_zero_points.rows > 0) return true;
  for (index_t j = 0; j < (e.rhs_zero_point.single() ? 1 : rhs.n()); ++j)
    if (e.rhs_zero_point[j] != rhs.offset) return true;
  return false;
}

/// Fills `memory` (column_bytes, 64-byte aligned). `plain_init`: accumulators start from zero and everything is corrected later
/// (segments). `u8_offset`: what lhs_form::bytes adds to lhs codes. `forms`: bits of those lhs_forms whose init is wanted.
template <class Rhs, class R, class S, class T>
column_data prepare_columns(packed_matrix_view<Rhs> const& rhs, epilogue<R, S, T> const& e, bool plain_init, std::int32_t u8_offset,
                            unsigned char* memory, unsigned forms = 3) {
  column_data d;
  index_t const n = rhs.n(), columns = (n + 15) / 16 * 16, k = rhs.k();
  auto* at = memory;
  auto const take = [&](index_t size) {
    auto* const p = at;
    at += columns * size;
    return p;
  };
  d.sums = rhs.sums_;
  d.k = k;
  d.group = rhs.group();
  d.columns = columns;
  d.packed_offset = rhs.offset;
  d.lhs_zero_by_row = !e.lhs_zero_point.single();
  d.uniform_rhs_zero = (n > 0 ? e.rhs_zero_point[0] : 0) - rhs.offset;
  if (!e.rhs_zero_point.single()) {
    auto* const zeros = reinterpret_cast<std::int32_t*>(take(4));
    bool same = true;
    for (index_t j = 0; j < columns; ++j) {
      zeros[j] = j < n ? e.rhs_zero_point[j] - rhs.offset : 0;
      same &= j >= n || zeros[j] == zeros[0];
    }
    if (!same) d.rhs_zero = zeros;
  }
  for (int form = 0; form < 2; ++form) {
    if ((forms & 1 << form) == 0) continue;
    auto* const init = reinterpret_cast<std::int32_t*>(take(4));
    std::uint32_t const za = d.lhs_zero_by_row || plain_init
                                 ? 0u
                                 : static_cast<std::uint32_t>(e.lhs_zero_point.one + (form == 0 ? u8_offset : 0));
    if (plain_init) {
      for (index_t j = 0; j < columns; ++j) init[j] = 0;
    } else if (za == 0 && e.bias.size > 0 && e.bias.stride == 1) {
      __builtin_memcpy(init, e.bias.data, static_cast<std::size_t>(n) * 4);
      for (index_t j = n; j < columns; ++j) init[j] = 0;
    } else {
      index_t j = 0;
      if (e.bias.size == 0 || e.bias.stride == 1)
        for (; j + 4 <= n; j += 4) {
          four_bits sums, start{};
          __builtin_memcpy(&sums, rhs.sums_ + j, sizeof sums);
          if (e.bias.size > 0) __builtin_memcpy(&start, e.bias.data + j, sizeof start);
          start -= za * sums;
          __builtin_memcpy(init + j, &start, sizeof start);
        }
      for (; j < n; ++j)
        init[j] = static_cast<std::int32_t>((e.bias.size > 0 ? static_cast<std::uint32_t>(e.bias[j]) : 0u) - za * static_cast<std::uint32_t>(rhs.sums_[j]));
      for (; j < columns; ++j) init[j] = 0;
    }
    d.init[form] = init;
  }
  if constexpr (std::is_same_v<R, to_real>) {
    auto* const scales = reinterpret_cast<float*>(take(4));
    float const by_row = e.rescale.rows.single() ? e.rescale.rows.one : 1.0f;  // one has no effect
    if (e.rescale.cols.single() || e.rescale.cols.stride != 1)
      for (index_t j = 0; j < n; ++j) scales[j] = rounded(by_row * e.rescale.cols[j]);
    else if (by_row == 1.0f)
      __builtin_memcpy(scales, e.rescale.cols.each, static_cast<std::size_t>(n) * 4);
    else
      for (index_t j = 0; j < n; ++j) scales[j] = rounded(by_row * e.rescale.cols.each[j]);
    for (index_t j = n; j < columns; ++j) scales[j] = 1.0f;
    d.scales = scales;
    d.scales_below_one = all_below_one(scales, n);
    if (e.rescale.bias.size > 0) {
      auto* const bias = reinterpret_cast<float*>(take(4));
      for (index_t j = 0; j < columns; ++j) bias[j] = j < n ? e.rescale.bias[j] : 0.0f;
      d.real_bias = bias;
    }
  } else if constexpr (!std::is_same_v<R, no_rescale>) {
    using parameters = typename R::parameters;
    auto* const p = reinterpret_cast<parameters*>(take(static_cast<index_t>(sizeof(parameters))));
    for (index_t j = 0; j < columns; ++j) p[j] = e.rescale[n == 0 ? 0 : j < n ? j : n - 1];
    d.parameters = p;
    if constexpr (is_one_product<R>) {
      static_assert(sizeof(parameters) == sizeof(float));
      d.scales = &p->scale;
      d.scales_below_one = true;
      for (index_t j = 0; j < columns; ++j) d.scales_below_one &= __builtin_bit_cast(std::uint32_t, p[j].scale) < 0x3f800000u;
    }
  }
  return d;
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
