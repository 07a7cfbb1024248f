// compare.hpp — how far one tensor is from another: MSE, SQNR, cosine, largest error.
//
//     mse = mean (x - y)^2      sqnr = 10 log10( sum x^2 / sum (x - y)^2 )      cosine = sum x y / sqrt(sum x^2 sum y^2)
//
// x is the original, y what became of it. One pass finds all of them. The sums are doubles in a fixed shape: 8 lanes over 1024
// values, then a binary tree over these blocks, matrices row by row. So the bits depend on the values alone, not on strides,
// instruction sets, compilers or -ffp-contract, and the rounding grows with log2 of the size, about 1e-15 relative.
#pragma once

#include "../core/elementary.hpp"
#include "../core/error.hpp"
#include "../core/reals.hpp"
#include "../core/views.hpp"

QUERN_FP_BEGIN

namespace quern::metric {

/// The sums that every metric follows from. Pairs of which one is NaN or infinite are counted and left out.
struct comparison {
  std::int64_t values = 0;      ///< pairs, the left-out ones included
  std::int64_t non_finite = 0;  ///< pairs left out
  double signal = 0;            ///< sum of x^2
  double other = 0;             ///< sum of y^2
  double noise = 0;             ///< sum of (x - y)^2
  double product = 0;           ///< sum of x y
  double max_error = 0;         ///< largest |x - y|

  /// 0 when there are no values.
  QUERN_INLINE constexpr double mse() const noexcept { return values > non_finite ? noise / static_cast<double>(values - non_finite) : 0; }
  /// In dB. +infinity without noise, -infinity for noise on a signal of zeros.
  QUERN_INLINE constexpr double sqnr_db() const noexcept {
    if (noise == 0) return bits_of<double>(std::uint64_t{0x7ff0000000000000u});
    return 10 * log10_of(signal / noise);
  }
  /// -1 to 1; two tensors of zeros are alike (1), one of them is like nothing else (0).
  QUERN_INLINE constexpr double cosine() const noexcept {
    if (signal == 0 || other == 0) return signal == other ? 1 : 0;
    double const c = product / (sqrt_of(signal) * sqrt_of(other));
    return c > 1 ? 1 : c < -1 ? -1 : c;
  }
  QUERN_INLINE constexpr comparison& operator+=(comparison const& more) noexcept {
    values += more.values;
    non_finite += more.non_finite;
    signal += more.signal;
    other += more.other;
    noise += more.noise;
    product += more.product;
    if (more.max_error > max_error) max_error = more.max_error;
    return *this;
  }
  friend constexpr bool operator==(comparison const&, comparison const&) = default;
};

}  // namespace quern::metric

namespace quern::metric::detail {
inline namespace QUERN_ABI {

inline constexpr index_t compare_block = 1024, compare_lanes = 8;

/// Up to compare_block pairs; x(i) and y(i) give doubles.
template <class X, class Y>
constexpr comparison compare_one_block(index_t first, index_t count, X const& x, Y const& y) {
  double signal[compare_lanes] = {}, other[compare_lanes] = {}, noise[compare_lanes] = {}, product[compare_lanes] = {};
  comparison c;
  c.values = count;
  for (index_t i = 0; i < count; ++i) {
    double const a = x(first + i), b = y(first + i), d = a - b;
    if (!is_finite(a) || !is_finite(b)) {
      ++c.non_finite;
      continue;
    }
    index_t const lane = i % compare_lanes;
    signal[lane] += rounded(a * a);
    other[lane] += rounded(b * b);
    noise[lane] += rounded(d * d);
    product[lane] += rounded(a * b);
    if (abs_of(d) > c.max_error) c.max_error = abs_of(d);
  }
  auto const total = [](double const (&v)[compare_lanes]) {
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
  };
  c.signal = total(signal);
  c.other = total(other);
  c.noise = total(noise);
  c.product = total(product);
  return c;
}

/// The tree: the left half of n leaves is the largest power of two below n.
template <class Leaf>
constexpr comparison compare_tree(index_t first, index_t leaves, Leaf const& leaf) {
  if (leaves <= 0) return {};
  if (leaves == 1) return leaf(first);
  index_t left = 1;
  while (left * 2 < leaves) left *= 2;
  comparison c = compare_tree(first, left, leaf);
  return c += compare_tree(first + left, leaves - left, leaf);
}

template <class X, class Y>
constexpr comparison compare_line(index_t n, X const& x, Y const& y) {
  return compare_tree(0, (n + compare_block - 1) / compare_block, [&](index_t block) {
    index_t const first = block * compare_block;
    return compare_one_block(first, n - first < compare_block ? n - first : compare_block, x, y);
  });
}

template <class T>
constexpr void require_real() {
  static_assert(real<std::remove_const_t<T>>,
                "quern::metric compares real tensors (float, double, half, bfloat16); dequantize codes first, or use report().");
}

}  // inline namespace QUERN_ABI
}  // namespace quern::metric::detail

namespace quern::metric {
inline namespace QUERN_ABI {

/// Compares y with the original x. @shapes equal. @errors shape; null.
template <class X, class Y>
constexpr comparison compare(vector_view<X> x, vector_view<Y> y) {
  detail::require_real<X>();
  detail::require_real<Y>();
  if (x.size != y.size) fail(errc::shape, "compare: x has ", x.size, " values, y has ", y.size, "; they must agree.");
  if (x.size > 0 && (x.data == nullptr || y.data == nullptr))
    fail(errc::null, "compare: ", x.data == nullptr ? "x" : "y", " is null, but ", x.size, " values are to be compared.");
  return detail::compare_line(
      x.size, [x](index_t i) { return static_cast<double>(x[i]); }, [y](index_t i) { return static_cast<double>(y[i]); });
}

/// The same for matrices of any strides. A matrix of one row is a vector; otherwise rows are summed one by one, then as a tree.
template <class X, class Y>
constexpr comparison compare(matrix_view<X> x, matrix_view<Y> y) {
  detail::require_real<X>();
  detail::require_real<Y>();
  if (x.rows != y.rows || x.cols != y.cols)
    fail(errc::shape, "compare: x is ", x.rows, " x ", x.cols, ", y is ", y.rows, " x ", y.cols, "; they must agree.");
  return detail::compare_tree(0, x.rows, [x, y](index_t i) { return compare(x.row(i), y.row(i)); });
}

/// Mean squared error.
template <class View, class Other>
  requires requires(View x, Other y) { compare(x, y); }
constexpr double mse(View x, Other y) {
  return compare(x, y).mse();
}
/// Signal to quantization noise in dB.
template <class View, class Other>
  requires requires(View x, Other y) { compare(x, y); }
constexpr double sqnr_db(View x, Other y) {
  return compare(x, y).sqnr_db();
}
/// Cosine of the angle between x and y.
template <class View, class Other>
  requires requires(View x, Other y) { compare(x, y); }
constexpr double cosine(View x, Other y) {
  return compare(x, y).cosine();
}
/// Largest |x - y|.
template <class View, class Other>
  requires requires(View x, Other y) { compare(x, y); }
constexpr double max_error(View x, Other y) {
  return compare(x, y).max_error;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::metric

QUERN_FP_END
