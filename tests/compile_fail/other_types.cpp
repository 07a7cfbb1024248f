// expect: quern::metric compares real tensors (float, double, half, bfloat16)
// expect: quern: Convention must be a type of quern::convention
// expect: quern: Rescale must be a policy of quern::rescale
// expect: quern::quantize_linear_weights: weights are symmetric; Rhs must be std::int8_t or s4.
// expect: quern::byte_table maps 8-bit codes to 8-bit codes.
// expect: one histogram makes one scale; use per_tensor schemes
#include <quern/calibrate/recommend.hpp>
#include <quern/convention/conventions.hpp>
#include <quern/metric/compare.hpp>
#include <quern/ops/linear.hpp>
#include <quern/ops/table.hpp>

using namespace quern;

double other(vector_view<std::int8_t const> q, vector_view<float const> x, matrix_view<float const> w, calibrate::histogram const& h) {
#ifdef MISTAKE
  require_convention<round_to::half_even>();
  require_rescale_policy<round_to::half_even>();
  quantize_linear_weights<std::uint8_t>(w);
  byte_table<std::int16_t, std::int8_t> table;
  calibrate::recommend<symmetric<s8, per_channel<0>>>(h);
  return metric::mse(q, q);
#else
  static_cast<void>(q), static_cast<void>(w), static_cast<void>(h);
  return metric::mse(x, x);
#endif
}
