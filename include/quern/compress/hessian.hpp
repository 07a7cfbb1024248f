// hessian.hpp — the second moments of a layer's inputs, which weigh the errors of its weights.
//
//     H = 2/n Σ x xᵀ over n samples            ‖(W - Ŵ) X‖² / n = ½ tr((W - Ŵ) H (W - Ŵ)ᵀ)
#pragma once

#include "../core/error.hpp"
#include "../core/math.hpp"
#include "../core/views.hpp"
#include "../eigen/view.hpp"
#include "quantized_weights.hpp"

#include <Eigen/Core>

namespace quern::compress {

using row_major_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline namespace QUERN_ABI {

/// A copy of a view as an Eigen matrix.
inline row_major_matrix copy_of(matrix_view<float const> v) {
  row_major_matrix m(v.rows, v.cols);
  for (index_t i = 0; i < v.rows; ++i)
    for (index_t j = 0; j < v.cols; ++j) m(i, j) = v(i, j);
  return m;
}

/// Accumulates batches of inputs. k² floats; sums are float, in Eigen's order.
class hessian {
 public:
  /// @errors argument when inputs is not positive.
  explicit hessian(index_t inputs) {
    if (inputs <= 0) fail(errc::argument, "hessian: inputs is ", inputs, "; a layer has at least one.");
    sum_ = row_major_matrix::Zero(inputs, inputs);
  }
  /// Adds samples, one a row. @errors shape; argument when a value is not finite (the batch is then left out entirely).
  void add(matrix_view<float const> x) {
    if (x.cols != inputs())
      fail(errc::shape, "hessian: a sample has ", x.cols, " values, the layer ", inputs(), " inputs; they must be equal.");
    for (index_t i = 0; i < x.rows; ++i)
      for (index_t j = 0; j < x.cols; ++j)
        if (!is_finite(x(i, j)))
          fail(errc::argument, "hessian: value (", i, ", ", j, ") of the calibration data is ", static_cast<double>(x(i, j)), "; leave such samples out.");
    if (x.rows == 0) return;
    row_major_matrix const m = copy_of(x);
    sum_.selfadjointView<Eigen::Lower>().rankUpdate(m.transpose());
    samples_ += x.rows;
  }
  /// The same with an Eigen matrix.
  template <foreign X>
  void add(X const& x) {
    add(matrix_view<float const>(foreign_view<X>::of(x)));
  }
  /// Adds what another one has seen. @errors shape.
  void merge(hessian const& other) {
    if (other.inputs() != inputs())
      fail(errc::shape, "hessian: merging ", other.inputs(), " inputs into ", inputs(), "; they must be equal.");
    sum_ += other.sum_;
    samples_ += other.samples_;
  }
  index_t inputs() const noexcept { return sum_.rows(); }
  index_t samples() const noexcept { return samples_; }

  /// H, both triangles. @errors argument before the first sample.
  row_major_matrix matrix() const {
    hessian copy = *this;
    return static_cast<hessian&&>(copy).take();
  }
  /// H without a second k² floats: this object is empty afterwards.
  row_major_matrix take() && {
    if (samples_ == 0) fail(errc::argument, "hessian: no sample was added; the method needs calibration data.");
    row_major_matrix h;
    h.swap(sum_);
    h *= static_cast<float>(2.0 / static_cast<double>(samples_));
    for (index_t i = 0; i < h.rows(); ++i)
      for (index_t j = 0; j < i; ++j) h(j, i) = h(i, j);
    samples_ = 0;
    return h;
  }
  double diagonal(index_t j) const noexcept { return samples_ > 0 ? 2.0 * sum_(j, j) / static_cast<double>(samples_) : 0; }

 private:
  row_major_matrix sum_;
  index_t samples_ = 0;
};

/// ½ tr(D H Dᵀ), D = W - Ŵ: the mean squared change of the layer's outputs. In double.
inline double output_error(matrix_view<float const> w, quantized_weights const& q, row_major_matrix const& h) {
  if (w.rows != q.rows || w.cols != q.cols || h.rows() != w.cols)
    fail(errc::shape, "output_error: the weights are ", w.rows, " x ", w.cols, ", the quantized ones ", q.rows, " x ", q.cols,
         ", the Hessian ", static_cast<index_t>(h.rows()), " wide; they must fit.");
  using row = Eigen::Matrix<double, 1, Eigen::Dynamic>;
  double sum = 0;
  row d(w.cols);
  Eigen::MatrixXd const wide = h.cast<double>();
  for (index_t i = 0; i < w.rows; ++i) {
    for (index_t j = 0; j < w.cols; ++j) d(j) = static_cast<double>(w(i, j)) - q(i, j);
    sum += (d * wide).dot(d);
  }
  return 0.5 * sum;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress
