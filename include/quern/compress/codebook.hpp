// codebook.hpp — levels anywhere: the optimal ones for a density (Lloyd-Max) or for data (k-means, solved exactly).
//
// One-dimensional k-means needs no iteration from a lucky start: with the values sorted, clusters are intervals, and the best cut
// into k of them follows from the best cuts into k - 1. Divide and conquer makes that O(k n log n).
//
// @source  Lloyd 1957/1982, Max 1960; dynamic program: Wang, Song 2011, "Ckmeans.1d.dp".
#pragma once

#include "../calibrate/exact_grid.hpp"
#include "quantized_weights.hpp"

#include <algorithm>
#include <vector>

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"  // vectors are indexed by index_t and int, whose values were checked
#endif

QUERN_FP_BEGIN

namespace quern::compress {

/// Levels in ascending order.
struct codebook {
  std::vector<float> levels;
  double mse = 0;    ///< mean squared error on what it was made for
};

namespace detail {
inline namespace QUERN_ABI {
/// A double and what it was rounded by: 106 bits. Prefix sums of squares need them, since one value of 10^6 leaves nothing of a cluster
/// 10^-3 wide in 53.
struct two_doubles {
  double high = 0, low = 0;
};
inline two_doubles sum_of(double a, double b) noexcept {
  double const s = a + b, other = s - a;
  return {s, (a - (s - other)) + (b - other)};
}
inline two_doubles sum_of(two_doubles a, two_doubles b) noexcept {
  two_doubles const s = sum_of(a.high, b.high);
  return sum_of(s.high, s.low + (a.low + b.low));
}
inline two_doubles product_of(double a, double b) noexcept {  // Dekker's
  double const ta = rounded(134217729.0 * a), tb = rounded(134217729.0 * b);
  double const ah = ta - (ta - a), al = a - ah, bh = tb - (tb - b), bl = b - bh, p = rounded(a * b);
  return {p, ((rounded(ah * bh) - p) + rounded(ah * bl) + rounded(al * bh)) + rounded(al * bl)};
}
/// Weighted sorted points: prefix sums give the cost of any interval in O(1).
struct prefix_sums {
  std::vector<double> w;
  std::vector<two_doubles> x, xx;
  static two_doubles difference(two_doubles a, two_doubles b) noexcept { return sum_of(a, {-b.high, -b.low}); }
  double mean(index_t from, index_t to) const noexcept { return difference(x[to], x[from]).high / (w[to] - w[from]); }
  double cost(index_t from, index_t to) const noexcept {  // points [from, to)
    if (from >= to) return 0;
    double const n = w[to] - w[from], moment = x[to].high - x[from].high;
    double const quick = (xx[to].high - xx[from].high) - rounded(moment * moment / n);
    if (quick > 0x1p-26 * xx[to].high) return quick;  // 24 of its bits are right
    return careful_cost(from, to, n);
  }
  double careful_cost(index_t from, index_t to, double n) const noexcept {
    two_doubles const s = difference(x[to], x[from]), q = difference(xx[to], xx[from]), square = product_of(s.high, s.high);
    double const share = square.high / n;
    two_doubles const back = product_of(share, n);
    double const rest = ((square.high - back.high) - back.low + square.low + 2 * s.high * s.low) / n;
    two_doubles const c = difference(q, {share, rest});
    return c.high > 0 ? c.high : 0;
  }
};
inline void best_cuts(prefix_sums const& p, std::vector<double> const& before, std::vector<double>& now, std::vector<int>& cut,
                      index_t from, index_t to, index_t cut_from, index_t cut_to) {
  if (from > to) return;
  index_t const middle = (from + to) / 2;
  double least = __builtin_inf();
  index_t best = cut_from;
  for (index_t c = cut_from; c <= std::min(middle - 1, cut_to); ++c) {  // no cluster is empty
    double const e = before[c] + p.cost(c, middle);
    if (e < least) least = e, best = c;
  }
  now[middle] = least;
  cut[middle] = static_cast<int>(best);
  best_cuts(p, before, now, cut, from, middle - 1, cut_from, best);
  best_cuts(p, before, now, cut, middle + 1, to, best, cut_to);
}
}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// The nearest level, the lower one on ties.
inline index_t code_in(codebook const& book, float x) noexcept {
  index_t low = 0, high = static_cast<index_t>(book.levels.size()) - 1;
  while (low < high) {  // the first midpoint that is not below x
    index_t const middle = (low + high) / 2;
    if (x > 0.5 * (static_cast<double>(book.levels[middle]) + book.levels[middle + 1]))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// The k levels of least squared error for these values: the global optimum. Fewer when there are fewer distinct values.
/// @cost   sorting, then k n log2 n. @errors argument for no value, non-finite ones, or k outside of 1 to 65,536.
inline codebook k_means(vector_view<float const> x, int k) {
  if (k < 1 || k > 65536) fail(errc::argument, "k_means: k is ", k, "; it must be 1 to 65536.");
  if (x.size <= 0) fail(errc::argument, "k_means: there are no values.");
  std::vector<float> sorted(static_cast<std::size_t>(x.size));
  for (index_t i = 0; i < x.size; ++i) {
    if (!is_finite(x[i])) fail(errc::argument, "k_means: value ", i, " is ", static_cast<double>(x[i]), "; all of them must be finite.");
    sorted[i] = x[i];
  }
  std::sort(sorted.begin(), sorted.end());
  detail::prefix_sums p;
  std::vector<float> distinct;
  p.w = {0.0};
  p.x = p.xx = {detail::two_doubles{}};
  for (float v : sorted) {
    double const d = static_cast<double>(v);  // its square is exact
    if (distinct.empty() || v != distinct.back()) {
      distinct.push_back(v);
      p.w.push_back(p.w.back()), p.x.push_back(p.x.back()), p.xx.push_back(p.xx.back());
    }
    p.w.back() += 1, p.x.back() = detail::sum_of(p.x.back(), {d, 0}), p.xx.back() = detail::sum_of(p.xx.back(), {rounded(d * d), 0});
  }
  index_t const n = static_cast<index_t>(distinct.size());
  index_t const clusters = std::min<index_t>(k, n);
  std::vector<double> before(static_cast<std::size_t>(n) + 1), now(before.size());
  std::vector<std::vector<int>> cuts(static_cast<std::size_t>(clusters), std::vector<int>(before.size()));
  for (index_t i = 0; i <= n; ++i) before[i] = p.cost(0, i);
  for (index_t c = 1; c < clusters; ++c) {
    now = before;
    detail::best_cuts(p, before, now, cuts[c], c + 1, n, c, n - 1);
    std::swap(before, now);
  }
  codebook book;
  book.mse = before[n] / static_cast<double>(x.size);
  index_t end = n;
  for (index_t c = clusters; c-- > 0;) {
    index_t const from = c > 0 ? cuts[c][end] : 0;
    book.levels.push_back(static_cast<float>(p.mean(from, end)));
    end = from;
  }
  std::reverse(book.levels.begin(), book.levels.end());
  return book;
}

/// The k levels of least squared error for a density: Lloyd's conditions (levels are centroids, thresholds are midpoints), from
/// Panter and Dite's start (point density f^(1/3)), until 50 rounds change the error by less than 1e-7 of itself, at most 20,000.
/// @errors error within 0.002 dB of the optimum up to 256 levels.
template <class D>
  requires calibrate::distribution<D> && requires(D const& d, double x) { d.density(x); }
codebook lloyd_max(D const& d, int k) {
  if (k < 1 || k > 4096) fail(errc::argument, "lloyd_max: k is ", k, "; it must be 1 to 4096.");
  std::vector<double> level(static_cast<std::size_t>(k)), threshold(static_cast<std::size_t>(k) + 1);
  double const reach = d.reach();
  constexpr int fine = 8192;
  double total = 0;
  std::vector<double> cumulative(fine + 1);
  for (int i = 0; i < fine; ++i) {
    double const x = reach * (2.0 * (i + 0.5) / fine - 1);
    double const f = d.density(x);
    cumulative[static_cast<std::size_t>(i) + 1] = total += f > 0 ? exp_of(log_of(f) / 3) : 0;
  }
  for (int i = 0, at = 0; i < k; ++i) {
    double const want = total * (i + 0.5) / k;
    while (at < fine && cumulative[static_cast<std::size_t>(at) + 1] < want) ++at;
    level[i] = reach * (2.0 * (at + 0.5) / fine - 1);
  }
  double error = __builtin_inf();
  // Lloyd's iteration converges like diffusion; over-relaxation by 1.8 is stable and needs a tenth of the rounds.
  for (int round = 0; round < 20000; ++round) {
    threshold[0] = -__builtin_inf();
    threshold[k] = __builtin_inf();
    for (int i = 1; i < k; ++i) threshold[i] = 0.5 * (level[i - 1] + level[i]);
    double captured = 0;
    double above = 1.0, moment = d.mean();
    for (int i = 0; i < k; ++i) {
      double const s = i + 1 < k ? d.survival(threshold[i + 1]) : 0, m = i + 1 < k ? d.tail_moment(threshold[i + 1]) : 0;
      double const mass = above - s, first = moment - m;
      if (mass > 1e-300) {
        double const centroid = first / mass;
        captured += 2 * level[i] * first - rounded(level[i] * level[i] * mass);
        level[i] += (round % 50 < 45 ? 1.8 : 1.0) * (centroid - level[i]);
      }
      above = s, moment = m;
    }
    for (int i = 1; i < k; ++i)
      if (!(level[i] > level[i - 1])) level[i] = level[i - 1] + 1e-9;  // an overshoot must not swap neighbours
    double const now = d.second_moment() - captured;
    if (round % 50 == 49) {
      if (abs_of(error - now) < 1e-7 * now) break;
      error = now;
    }
  }
  codebook book;
  for (double l : level) book.levels.push_back(static_cast<float>(l));
  book.mse = error;
  return book;
}

/// Weights as codes into one codebook each row (8 bits of code at most). @errors argument for more than 256 levels.
struct codebook_weights {
  index_t rows = 0, cols = 0;
  std::vector<codebook> books;          ///< one a row
  buffer<std::uint8_t> codes;           ///< rows x cols
  float operator()(index_t i, index_t j) const noexcept { return books[i].levels[codes[i * cols + j]]; }
};
inline codebook_weights quantize_with_codebooks(matrix_view<float const> w, int levels) {
  if (levels < 1 || levels > 256) fail(errc::argument, "quantize_with_codebooks: levels is ", levels, "; it must be 1 to 256.");
  check_weights("quantize_with_codebooks", w);
  codebook_weights q{w.rows, w.cols, {}, buffer<std::uint8_t>(w.rows * w.cols)};
  for (index_t i = 0; i < w.rows; ++i) {
    q.books.push_back(w.cols > 0 ? k_means(w.row(i), levels) : codebook{});
    for (index_t j = 0; j < w.cols; ++j) q.codes[i * w.cols + j] = static_cast<std::uint8_t>(code_in(q.books.back(), w(i, j)));
  }
  return q;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
