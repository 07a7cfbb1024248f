// batch_norm.hpp — batch normalization disappears into the layer before it; while training, with the correction that keeps it stable.
//
//     bn(y) = gain (y - mean) / sqrt(variance + epsilon) + shift,   y = W x + b
//     folded:  W' = (gain / σ) W        b' = (gain / σ) (b - mean) + shift        σ = sqrt(variance + epsilon)
//
// In training the batch's σ_B jitters, and with it the folded weights and their quantization error. So the weights are folded with the
// running σ_R, which moves slowly, and the output is corrected to what the batch's statistics would give:
//
//     y = (W_q x) * (σ_R / σ_B) + gain (b - mean_B) / σ_B + shift              W_q = fake_quantize((gain / σ_R) W)
//
// Later the statistics are frozen: σ_B := σ_R, mean_B := mean_R, the correction is 1 and the folded layer is exact.
//
// @source  Jacob et al. 2018, section 3.2; Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.2 (correction and freezing).
#pragma once

#include "../core/buffer.hpp"
#include "../core/error.hpp"
#include "../core/math.hpp"
#include "../core/views.hpp"

QUERN_FP_BEGIN

namespace quern::train {

/// One value an output channel each. An empty gain means 1, an empty shift 0.
struct batch_norm {
  vector_view<float const> mean, variance;
  vector_view<float const> gain = {}, shift = {};
  float epsilon = 1e-5f;
};

/// Per output channel: what multiplies W, what multiplies W_q x, what is added.
struct training_fold {
  buffer<float> weight_scale;   ///< gain / σ_R
  buffer<float> correction;     ///< σ_R / σ_B
  buffer<float> bias;           ///< gain (b - mean_B) / σ_B + shift
};

namespace detail {
inline namespace QUERN_ABI {
inline void check_norm(char const* who, batch_norm const& n, index_t channels) {
  if (n.mean.size != channels || n.variance.size != channels || (!n.gain.empty() && n.gain.size != channels) ||
      (!n.shift.empty() && n.shift.size != channels))
    fail(errc::shape, who, ": the normalization has ", n.mean.size, " means, ", n.variance.size, " variances, ", n.gain.size, " gains and ", n.shift.size,
         " shifts for ", channels, " channels; they must be equal (gain and shift may be empty).");
  for (index_t c = 0; c < channels; ++c)
    if (!(static_cast<double>(n.variance[c]) + n.epsilon > 0))
      fail(errc::argument, who, ": variance + epsilon of channel ", c, " is ", static_cast<double>(n.variance[c]) + n.epsilon, "; it must be positive.");
}
inline double deviation(batch_norm const& n, index_t c) noexcept { return sqrt_of(static_cast<double>(n.variance[c]) + n.epsilon); }
inline double gain(batch_norm const& n, index_t c) noexcept { return n.gain.empty() ? 1.0 : n.gain[c]; }
inline double shift(batch_norm const& n, index_t c) noexcept { return n.shift.empty() ? 0.0 : n.shift[c]; }
}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Folds in place: rows of `weights` are output channels (a convolution's filters flattened to rows). A layer without a bias passes zeros.
/// @rounds  each factor once, from double. @errors shape; argument when a variance is not positive.
inline void fold_batch_norm(matrix_view<float> weights, vector_view<float> bias, batch_norm const& norm) {
  if (bias.size != weights.rows) fail(errc::shape, "fold_batch_norm: there are ", bias.size, " biases for ", weights.rows, " outputs; they must be equal.");
  detail::check_norm("fold_batch_norm", norm, weights.rows);
  for (index_t c = 0; c < weights.rows; ++c) {
    double const factor = detail::gain(norm, c) / detail::deviation(norm, c);
    for (index_t j = 0; j < weights.cols; ++j) weights(c, j) = static_cast<float>(weights(c, j) * factor);
    bias[c] = static_cast<float>(rounded((static_cast<double>(bias[c]) - norm.mean[c]) * factor) + detail::shift(norm, c));
  }
}

/// What one training step needs, from the running and the batch's statistics (gain, shift and epsilon are the running one's).
/// An empty bias means 0. @errors shape; argument.
inline training_fold fold_for_training(batch_norm const& running, vector_view<float const> batch_mean, vector_view<float const> batch_variance,
                                       vector_view<float const> bias = {}) {
  index_t const channels = running.mean.size;
  batch_norm const batch{batch_mean, batch_variance, running.gain, running.shift, running.epsilon};
  detail::check_norm("fold_for_training", running, channels);
  detail::check_norm("fold_for_training", batch, channels);
  if (!bias.empty() && bias.size != channels) fail(errc::shape, "fold_for_training: there are ", bias.size, " biases for ", channels, " channels; they must be equal.");
  training_fold f{buffer<float>(channels), buffer<float>(channels), buffer<float>(channels)};
  for (index_t c = 0; c < channels; ++c) {
    double const slow = detail::deviation(running, c), now = detail::deviation(batch, c);
    f.weight_scale[c] = static_cast<float>(detail::gain(running, c) / slow);
    f.correction[c] = static_cast<float>(slow / now);
    double const b = bias.empty() ? 0.0 : bias[c];
    f.bias[c] = static_cast<float>(rounded(detail::gain(running, c) * (b - batch_mean[c]) / now) + detail::shift(running, c));
  }
  return f;
}

/// running += momentum (batch - running), PyTorch's momentum. @errors shape.
inline void update_running(vector_view<float> running, vector_view<float const> batch, float momentum = 0.1f) {
  if (running.size != batch.size) fail(errc::shape, "update_running: ", running.size, " running values, ", batch.size, " of the batch; they must be equal.");
  for (index_t c = 0; c < running.size; ++c) running[c] = running[c] + rounded(momentum * (batch[c] - running[c]));
}

}  // inline namespace QUERN_ABI
}  // namespace quern::train

QUERN_FP_END
