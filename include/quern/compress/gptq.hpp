// gptq.hpp — rounding column after column, each one's error made good by the columns still to come.
//
// The layer's error is ½ tr(D H Dᵀ), D = W - Ŵ. With H = R Rᵀ, R upper triangular, a row's error is ½ Σ_i t_i²,
//
//     t_i = R_ii d_i + Σ_{j<i} d_j R_ji
//
// so that, column after column, the best target for column i is w_i + (1 / R_ii) Σ_{j<i} d_j R_ji, whatever happened before. That
// is GPTQ's update (the rows of the inverse's Cholesky factor are those of R^-1) without an inverse: half of the memory and a third
// of the factorization. It is Babai's nearest plane for the lattice that H spans.
//
// Rows do not influence each other. A row that ends up worse than plain rounding (possible: the choice is greedy and codes are
// clipped) takes plain rounding, so the result never is. With a diagonal H nothing is fed back: it equals plain rounding.
//
// @source  Frantar et al. 2022, GPTQ, arXiv:2210.17323. Groups take their scales from the weights as they are when the group begins;
//          with act_order from the original weights, since a group's members are then met in any order.
#pragma once

#include "../core/executor.hpp"
#include "hessian.hpp"
#include "round_to_nearest.hpp"

#include <Eigen/Cholesky>

#include <algorithm>
#include <numeric>
#include <vector>

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"  // vectors are indexed by index_t and int, whose values were checked
#endif

QUERN_FP_BEGIN

namespace quern::compress {

/// Called after each block of columns of each share of rows, from whichever thread did it; done of total.
struct progress_ref {
  void (*call)(void* context, index_t done, index_t total) = nullptr;
  void* context = nullptr;
};

struct gptq_options {
  double damping = 0.01;       ///< times the mean of the diagonal is added to it; raised tenfold as long as H is singular
  bool act_order = false;      ///< columns of large H_jj first; undone in the result
  float smallest_shrink = 1;   ///< below 1: how far a group's extremes may be clipped (weighed by H's diagonal), see round_options
  /// Take every scale and zero from here instead (refit_scales makes better ones than the range's; groups then keep theirs).
  quantized_weights const* scales = nullptr;
  index_t block = 128;         ///< columns between two updates by matrix product
  executor_ref executor = {};
  progress_ref progress = {};
};

struct gptq_result {
  quantized_weights weights;
  double error = 0;            ///< ½ tr(D H Dᵀ) with the damped H: what was minimized
  double rounded_error = 0;    ///< the same for round_to_nearest with the same clipping: never smaller
  double damping = 0;          ///< what it took to factor H
  index_t rows_rounded = 0;    ///< rows that kept plain rounding
  index_t dead_inputs = 0;     ///< inputs that were 0 in every sample: their weights are only rounded
};

namespace detail {
inline namespace QUERN_ABI {

/// Reorders rows and columns of the symmetric `h` so that new position p holds old order[p], in place.
inline void permute_symmetric(row_major_matrix& h, std::vector<index_t> const& order) {
  index_t const n = h.rows();
  std::vector<index_t> at(order.size()), where(order.size());  // what is at p now; where old index o is now
  std::iota(at.begin(), at.end(), index_t{0});
  std::iota(where.begin(), where.end(), index_t{0});
  for (index_t p = 0; p < n; ++p) {
    index_t const from = where[order[p]];
    if (from == p) continue;
    h.row(p).swap(h.row(from));
    h.col(p).swap(h.col(from));
    std::swap(at[p], at[from]);
    where[at[p]] = p;
    where[at[from]] = from;
  }
}

/// In place: the upper triangle of h becomes R with H + damping = R Rᵀ. Returns the damping used, as a share of the diagonal's mean.
inline double factor(row_major_matrix& h, double damping, index_t& dead) {
  index_t const n = h.rows();
  double mean = 0;
  dead = 0;
  for (index_t i = 0; i < n; ++i) mean += static_cast<double>(h(i, i)) / static_cast<double>(n);
  if (!(mean > 0) || !is_finite(mean))
    fail(errc::argument, "gptq: the mean of the Hessian's diagonal is ", mean, "; it must be finite and positive: is the calibration data all zero?");
  for (index_t i = 0; i < n; ++i)
    if (h(i, i) == 0) h(i, i) = static_cast<float>(mean), ++dead;
  // R is the reversed Cholesky factor of the reversed H: R Rᵀ = H with R upper.
  std::reverse(h.data(), h.data() + n * n);
  std::vector<float> diagonal(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) diagonal[i] = h(i, i);
  for (double d = damping;; d = d > 0 ? d * 10 : 1e-6) {
    for (index_t i = 0; i < n; ++i) h(i, i) = diagonal[i] + static_cast<float>(d * mean);
    Eigen::LLT<Eigen::Ref<row_major_matrix>> llt(h);  // in place, in the lower triangle
    bool good = llt.info() == Eigen::Success;
    for (index_t i = 0; i < n && good; ++i) good = is_finite(h(i, i)) && h(i, i) > 0;
    if (good) {
      std::reverse(h.data(), h.data() + n * n);
      return d;
    }
    if (d > 10) fail(errc::argument, "gptq: the Hessian cannot be factored, not even with damping ", d, "; is it symmetric and free of NaN?");
    for (index_t i = 0; i < n; ++i)  // the upper triangle is still what it was
      for (index_t j = 0; j < i; ++j) h(i, j) = h(j, i);
  }
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// The scales of least output error for the codes and zeros that there are: in each row, group after group, `sweeps` times,
///
///     scale += (d H cᵀ) / (c H cᵀ)          d = w - ŵ, c = codes - zeros of the group, 0 elsewhere
///
/// Exact after one sweep where a row is one group. Never raises the error; scales stay positive. With few bits it is worth a second run
/// of gptq with options.scales. @errors shape.
inline void refit_scales(matrix_view<float const> w, row_major_matrix const& h, quantized_weights& q, int sweeps = 2) {
  if (w.rows != q.rows || w.cols != q.cols || h.rows() != w.cols || h.cols() != w.cols)
    fail(errc::shape, "refit_scales: the weights are ", w.rows, " x ", w.cols, ", the quantized ones ", q.rows, " x ", q.cols, ", the Hessian ",
         static_cast<index_t>(h.rows()), " wide; they must fit.");
  Eigen::RowVectorXf d(w.cols);
  for (index_t i = 0; i < w.rows; ++i) {
    for (index_t j = 0; j < w.cols; ++j) d(j) = w(i, j) - q(i, j);
    for (int sweep = 0; sweep < sweeps; ++sweep)
      for (index_t g = 0; g < q.groups; ++g) {
        index_t const first = g * q.group, n = std::min(q.group, w.cols - first);
        Eigen::RowVectorXf c(n);
        for (index_t j = 0; j < n; ++j) c(j) = static_cast<float>(q.codes[i * q.cols + first + j]) - q.zeros[i * q.groups + g];
        Eigen::RowVectorXf const hc = c * h.middleRows(first, n);
        float const curvature = hc.segment(first, n).dot(c);
        if (!(curvature > 0)) continue;
        float& scale = q.scales[i * q.groups + g];
        float const better = scale + hc.dot(d) / curvature;
        if (!(better > 0) || !is_finite(better)) continue;
        d.segment(first, n) -= (better - scale) * c;
        scale = better;
      }
  }
}

/// Quantizes w (rows x cols) for inputs with second moments `h`. h is consumed: pass std::move, or a copy to keep it.
///
/// @cost   rows cols² / 2 multiply-adds for the feedback and as many for rating plain rounding, cols³ / 6 for the factor.
///         Memory beside w and h: one more rows x cols of floats, rows x cols bytes of codes.
/// @errors shape; argument for non-finite weights, a wrong grid, an all-zero or indefinite Hessian.
inline gptq_result gptq(matrix_view<float const> w, row_major_matrix h, weight_grid grid, gptq_options options = {}) {
  check_grid("gptq", grid);
  check_weights("gptq", w);
  index_t const rows = w.rows, cols = w.cols;
  if (h.rows() != cols || h.cols() != cols)
    fail(errc::shape, "gptq: the Hessian is ", static_cast<index_t>(h.rows()), " x ", static_cast<index_t>(h.cols()), ", the weights have ", cols, " inputs; they must be equal.");
  if (!(options.damping >= 0 && options.damping <= 10)) fail(errc::argument, "gptq: damping is ", options.damping, "; it must be 0 to 10.");
  if (options.block < 1) fail(errc::argument, "gptq: block is ", options.block, "; it must be at least 1.");
  gptq_result r;
  buffer<float> importance(options.smallest_shrink < 1 ? cols : 0);
  for (index_t j = 0; j < importance.size(); ++j) importance[j] = h(j, j);
  r.weights = round_to_nearest(w, grid, {.smallest_shrink = options.smallest_shrink, .importance = view(importance)});
  if (rows == 0 || cols == 0) return r;
  if (options.scales != nullptr) {
    quantized_weights const& from = *options.scales;
    if (from.rows != rows || from.cols != cols || from.group != r.weights.group)
      fail(errc::shape, "gptq: options.scales is ", from.rows, " x ", from.cols, " in groups of ", from.group, ", the weights are ", rows, " x ", cols,
           " in groups of ", r.weights.group, "; they must be equal.");
    r.weights.scales = from.scales;
    r.weights.zeros = from.zeros;
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < cols; ++j) r.weights.codes[i * cols + j] = code_of_weight(w(i, j), {from.scale(i, j), from.zero(i, j)}, grid);
  }

  std::vector<index_t> order(static_cast<std::size_t>(cols));
  std::iota(order.begin(), order.end(), index_t{0});
  if (options.act_order) {
    std::stable_sort(order.begin(), order.end(), [&](index_t a, index_t b) { return h(a, a) > h(b, b); });
    detail::permute_symmetric(h, order);
  }
  r.damping = detail::factor(h, options.damping, r.dead_inputs);

  quantized_weights& q = r.weights;
  index_t const share = std::max<index_t>(1, std::min<index_t>(256, (rows + 7) / 8)), shares = (rows + share - 1) / share;
  std::vector<double> errors(static_cast<std::size_t>(rows)), rounded_errors(static_cast<std::size_t>(rows));
  std::vector<char> kept(static_cast<std::size_t>(rows));
  index_t const blocks = (cols + options.block - 1) / options.block;
  index_t done = 0;
  auto const work = [&](index_t s) {
    index_t const first = s * share, n = std::min(share, rows - first);
    // D = W - Ŵ for columns already done, in the order of `order`; and what plain rounding makes of it.
    row_major_matrix d(n, cols), sums(n, options.block);
    for (index_t i = 0; i < n; ++i)
      for (index_t p = 0; p < cols; ++p) d(i, p) = w(first + i, order[p]) - q(first + i, order[p]);
    std::vector<double> plain(static_cast<std::size_t>(n));
    for (index_t b = 0; b < cols; b += options.block) {
      index_t const width = std::min(options.block, cols - b);
      auto target = sums.leftCols(width);
      target.noalias() = d.leftCols(b) * h.block(0, b, b, width);
      target.noalias() += d.middleCols(b, width) * h.block(b, b, width, width).triangularView<Eigen::Upper>();
      for (index_t i = 0; i < n; ++i) plain[i] += target.row(i).cast<double>().squaredNorm();
    }
    buffer<std::int8_t> codes(n * cols);
    buffer<float> scales(n * q.groups), zeros(n * q.groups);
    for (index_t i = 0; i < n * q.groups; ++i) scales[i] = q.scales[first * q.groups + i], zeros[i] = q.zeros[first * q.groups + i];
    std::vector<double> mine(static_cast<std::size_t>(n));
    buffer<float> current(q.group);
    for (index_t b = 0; b < cols; b += options.block) {
      index_t const width = std::min(options.block, cols - b);
      auto target = sums.leftCols(width);
      target.noalias() = d.leftCols(b) * h.block(0, b, b, width);
      for (index_t i = 0; i < n; ++i) {
        for (index_t c = 0; c < width; ++c) {
          index_t const p = b + c, column = order[p], g = column / q.group;
          float const diagonal = h(p, p);
          if (!options.act_order && options.scales == nullptr && p % q.group == 0 && p > 0) {
            // The group begins: its scale suits the weights with all feedback so far. Columns beyond this block lack the feedback of
            // the block's own columns; theirs is made up from d as far as it is known, as in the paper (whose blocks are groups).
            index_t const size = std::min(q.group, cols - p);
            for (index_t k = 0; k < size; ++k) {
              float feedback = 0;
              index_t const to = p + k;
              if (to < b + width) {
                feedback = sums(i, to - b);
              } else {
                feedback = d.row(i).head(p).dot(h.col(to).head(p));
              }
              current[k] = w(first + i, to) + feedback / h(to, to);
            }
            scale_and_zero const scale = best_group({current.data(), size, 1}, grid, options.smallest_shrink,
                                                importance.empty() ? vector_view<float const>{} : vector_view<float const>{importance.data() + p, size, 1});
            scales[i * q.groups + g] = scale.scale;
            zeros[i * q.groups + g] = scale.zero;
          }
          scale_and_zero const scale{scales[i * q.groups + g], zeros[i * q.groups + g]};
          float const original = w(first + i, column), wanted = original + target(i, c) / diagonal;
          std::int8_t const code = code_of_weight(wanted, scale, grid);
          codes[i * cols + column] = code;
          float const value = value_of(code, scale), error = original - value, t = diagonal * (wanted - value);
          mine[i] += static_cast<double>(t) * t;
          d(i, p) = error;
          for (index_t k = c + 1; k < width; ++k) target(i, k) += rounded(error * h(p, b + k));
        }
      }
      if (options.progress.call != nullptr)
        options.progress.call(options.progress.context, __atomic_add_fetch(&done, 1, __ATOMIC_RELAXED), blocks * shares);
    }
    for (index_t i = 0; i < n; ++i) {
      rounded_errors[first + i] = plain[i];
      errors[first + i] = std::min(mine[i], plain[i]);
      if (!(mine[i] < plain[i])) {
        kept[first + i] = 1;
        continue;
      }
      for (index_t j = 0; j < cols; ++j) q.codes[(first + i) * cols + j] = codes[i * cols + j];
      for (index_t g = 0; g < q.groups; ++g) {
        q.scales[(first + i) * q.groups + g] = scales[i * q.groups + g];
        q.zeros[(first + i) * q.groups + g] = zeros[i * q.groups + g];
      }
    }
  };
  options.executor(shares, work);
  for (index_t i = 0; i < rows; ++i) {
    r.error += 0.5 * errors[i];
    r.rounded_error += 0.5 * rounded_errors[i];
    r.rows_rounded += kept[i];
  }
  return r;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
