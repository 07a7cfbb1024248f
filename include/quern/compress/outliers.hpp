// outliers.hpp — LLM.int8(): the few input channels with huge activations stay in float, all others run in int8.
//
//     y = x_rest W_restᵀ (int8, a scale for each row of x and of W)  +  x_out W_outᵀ (float)
//
// @source  Dettmers et al. 2022, arXiv:2208.07339: a channel is an outlier when any |x| in it exceeds 6.
#pragma once

#include "../eigen/view.hpp"
#include "../ops/gemm.hpp"
#include "round_to_nearest.hpp"

#include <algorithm>
#include <vector>

QUERN_FP_BEGIN

namespace quern::compress {
inline namespace QUERN_ABI {

/// A linear layer split by input channel.
class split_linear {
 public:
  /// `activation_absmax`: the largest |x| of each channel over the calibration data. @errors shape; argument.
  split_linear(matrix_view<float const> w, vector_view<float const> activation_absmax, float threshold = 6.0f) : rows_(w.rows), cols_(w.cols) {
    check_weights("split_linear", w);
    if (activation_absmax.size != w.cols)
      fail(errc::shape, "split_linear: there are ", activation_absmax.size, " channels of activations, the weights have ", w.cols, " inputs; they must be equal.");
    if (!(threshold > 0)) fail(errc::argument, "split_linear: threshold is ", static_cast<double>(threshold), "; it must be positive.");
    // k beyond 131071 could overflow the int32 sums of int8 products
    if (w.cols > 131071) fail(errc::depth, "split_linear: the layer has ", w.cols, " inputs; int32 sums are exact up to 131071.");
    for (index_t j = 0; j < w.cols; ++j)
      if (!(activation_absmax[j] >= 0))
        fail(errc::argument, "split_linear: the largest activation of channel ", j, " is ", static_cast<double>(activation_absmax[j]), "; it must not be negative, nor NaN.");
    for (index_t j = 0; j < w.cols; ++j) (activation_absmax[j] > threshold ? outliers_ : rest_).push_back(j);
    buffer<float> kept(rows_ * static_cast<index_t>(rest_.size()));
    for (index_t i = 0; i < rows_; ++i) {
      for (std::size_t j = 0; j < rest_.size(); ++j) kept[i * static_cast<index_t>(rest_.size()) + static_cast<index_t>(j)] = w(i, rest_[j]);
      for (index_t j : outliers_) outlier_weights_.push_back(w(i, j));
    }
    auto const n = static_cast<index_t>(rest_.size());
    quantized_weights const q = round_to_nearest({kept.data(), rows_, n, n, 1}, {.bits = 8, .symmetric = true, .group = 0});
    if (n > 0 && rows_ > 0) packed_ = pack(matrix_view<std::int8_t const>{q.codes.data(), rows_, n, n, 1}.transposed());
    scales_ = q.scales;
  }
  /// The same with an Eigen matrix and vector.
  template <foreign W, foreign A>
  split_linear(W const& w, A const& activation_absmax, float threshold = 6.0f)
      : split_linear(matrix_view<float const>(foreign_view<W>::of(w)), vector_view<float const>(foreign_view<A>::of(activation_absmax)), threshold) {}

  std::vector<index_t> const& outliers() const noexcept { return outliers_; }
  /// Bytes of weights: one each, four in outlier channels, and the scales.
  index_t bytes() const noexcept { return rows_ * static_cast<index_t>(rest_.size()) + 4 * static_cast<index_t>(outlier_weights_.size()) + 4 * rows_; }

  /// y = x Wᵀ, samples in rows. Rows of x are quantized symmetrically to int8 as they come. A row with NaN or an infinity in a channel that
  /// runs in int8 gives NaN; one with nothing there above 1.5e-36 counts as 0 there. @errors shape.
  void run(matrix_view<float const> x, matrix_view<float> y, executor_ref executor = {}) const {
    if (x.cols != cols_ || y.rows != x.rows || y.cols != rows_)
      fail(errc::shape, "split_linear: x is ", x.rows, " x ", x.cols, ", y ", y.rows, " x ", y.cols, ", the layer has ", cols_, " inputs and ", rows_, " outputs.");
    auto const n = static_cast<index_t>(rest_.size());
    if (x.rows == 0 || rows_ == 0) return;
    // As many samples at a time as have a megabyte of codes and sums.
    index_t const at_once = std::min(x.rows, std::max<index_t>(16, (index_t{1} << 20) / (n + 4 * rows_)));
    buffer<std::int8_t> codes(at_once * n);
    buffer<std::int32_t> sums(at_once * rows_);
    buffer<float> scales(at_once);
    for (index_t first = 0; first < x.rows; first += at_once) {
      index_t const count = std::min(at_once, x.rows - first);
      executor(count, [&](index_t s) {
        float most = 0;
        bool finite = true;
        for (index_t j : rest_) {
          float const magnitude = abs_of(x(first + s, j));
          finite = finite && is_finite(magnitude);
          most = magnitude > most ? magnitude : most;
        }
        float const scale = scales[s] = !finite ? __builtin_nanf("") : most >= 127 * 1.1754944e-38f ? most / 127.0f : 1.0f;
        for (index_t j = 0; j < n && finite; ++j) codes[s * n + j] = static_cast<std::int8_t>(round_to::half_even::to_integral(x(first + s, rest_[static_cast<std::size_t>(j)]) / scale));
      });
      if (n > 0) gemm(matrix_view<std::int8_t const>{codes.data(), count, n, n, 1}, packed_, matrix_view<std::int32_t>{sums.data(), count, rows_, rows_, 1}, epilogue<>{}, {.executor = executor});
      executor(count, [&](index_t s) {
        for (index_t i = 0; i < rows_; ++i) {
          float sum = n > 0 ? static_cast<float>(sums[s * rows_ + i]) * scales_[i] * scales[s] : 0.0f;
          for (std::size_t j = 0; j < outliers_.size(); ++j)
            sum += rounded(x(first + s, outliers_[j]) * outlier_weights_[static_cast<std::size_t>(i) * outliers_.size() + j]);
          y(first + s, i) = sum;
        }
      });
    }
  }
  /// The same with Eigen matrices.
  template <foreign X, foreign Y>
  void run(X const& x, Y& y, executor_ref executor = {}) const {
    run(matrix_view<float const>(foreign_view<X>::of(x)), matrix_view<float>(foreign_view<Y>::of(y)), executor);
  }

 private:
  index_t rows_, cols_;
  std::vector<index_t> rest_, outliers_;
  packed_matrix<std::int8_t> packed_;
  buffer<float> scales_;
  std::vector<float> outlier_weights_;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::compress

QUERN_FP_END
