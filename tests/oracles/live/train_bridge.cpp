// train_bridge.cpp — training and calibration as C functions, for torch_train_oracle.py. Codes are u8 or s8.
#include <quern/calibrate/moving_average.hpp>
#include <quern/calibrate/torch_histogram.hpp>
#include <quern/convention/pytorch.hpp>
#include <quern/train/fake_quantize.hpp>
#include <quern/train/gradients.hpp>

using namespace quern;

namespace {
template <class F>
int with_scheme(char const* code, F f) {
  try {
    if (code[0] == 'u')
      f(asymmetric<u8>{});
    else
      f(asymmetric<s8>{});
  } catch (error const&) {
    return 1;
  }
  return 0;
}
}  // namespace

extern "C" {

struct scale_and_zero {
  float scale;
  std::int32_t zero_point;
};

/// torch.fake_quantize_per_tensor_affine, and its gradient.
int quern_train_fake_quantize(char const* code, float const* x, long n, scale_and_zero p, float const* dy, float* y, float* dx) {
  return with_scheme(code, [&](auto s) {
    params<decltype(s)> const q{p.scale, p.zero_point};
    train::fake_quantize<round_to::half_even, reciprocal>(view(x, n), q, view(y, n));
    train::clipped<reciprocal>(view(x, n), q, view(dy, n), view(dx, n));
  });
}
/// torch.fake_quantize_per_channel_affine, axis 0.
int quern_train_fake_quantize_channels(char const* code, float const* x, long rows, long cols, float const* scales, std::int32_t const* zero_points, float* y) {
  return with_scheme(code, [&](auto s) {
    auto p = params<with_granularity<decltype(s), per_channel<0>>>::with_size(rows);
    for (long i = 0; i < rows; ++i) p.set(i, {scales[i], zero_points[i]});
    train::fake_quantize<round_to::half_even, reciprocal>(row_major(x, rows, cols), p, row_major(y, rows, cols));
  });
}
/// torch._fake_quantize_learnable_per_tensor_affine's backward pass.
int quern_train_lsq(char const* code, float const* x, long n, scale_and_zero p, float const* dy, float factor, float* dx, float* parameters) {
  return with_scheme(code, [&](auto s) {
    auto const g = train::lsq<reciprocal>(view(x, n), params<decltype(s)>{p.scale, p.zero_point}, view(dy, n), view(dx, n), factor);
    parameters[0] = static_cast<float>(g.scale);
    parameters[1] = static_cast<float>(g.zero_point);
  });
}
/// MovingAverageMinMaxObserver and MinMaxObserver of each of `rows` series of `batches` x n values; ranges and parameters, for each row
/// 2 x {min, max, scale, zero_point}.
int quern_train_observers(float const* x, long rows, long batches, long n, float constant, float* out) {
  for (long row = 0; row < rows; ++row) {
    calibrate::moving_average average(constant);
    real_range all;
    for (long b = 0; b < batches; ++b) {
      auto const batch = view(x + (row * batches + b) * n, n);
      average.observe(batch);
      real_range const r = calibrate::extremes(batch);
      all = {r.min < all.min ? r.min : all.min, r.max > all.max ? r.max : all.max};
    }
    real_range const ranges[] = {average.range(), all};
    for (real_range const& r : ranges) {
      auto const p = convention::pytorch::calculate_qparams(r, 0, 255);
      *out++ = r.min;
      *out++ = r.max;
      *out++ = p.scale;
      *out++ = static_cast<float>(p.zero_point);
    }
  }
  return 0;
}
/// HistogramObserver: counts (2048), the bins' span, and the range that the search keeps.
int quern_train_histogram(float const* x, long batches, long n, float* counts, float* span, float* range) {
  calibrate::torch_histogram h;
  for (long b = 0; b < batches; ++b) h.observe(view(x + b * n, n));
  for (index_t i = 0; i < calibrate::torch_histogram::bins; ++i) counts[i] = h.bin(i);
  span[0] = h.span().min, span[1] = h.span().max;
  real_range const r = h.range();
  range[0] = r.min, range[1] = r.max;
  return 0;
}

}  // extern "C"
