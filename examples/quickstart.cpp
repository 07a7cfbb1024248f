// quickstart — a matrix product in int8: quantize, pack, multiply, compare with float, print.
#include <quern/quern.hpp>

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

int main() {
  using namespace quern;
  index_t const m = 4, k = 512, n = 64;  // 4 activations of 512 values, 64 outputs
  std::vector<float> x(m * k), w(n * k), exact(m * n), y(m * n);
  std::mt19937 random(1);
  auto const normal = [&random] { return static_cast<float>(random() % 1000 + random() % 1000 + random() % 1000) / 500 - 3; };
  for (float& value : x) value = std::fmax(0.0f, normal());
  for (float& value : w) value = 0.1f * normal();

  // 1. scales and zero points: the activations share one, each output of the weights has its own
  calibrate::min_max<per_channel<0>> seen;
  seen.observe(row_major(w.data(), n, k));
  auto const w_params = choose_params<symmetric<s8, per_channel<0>>>(seen.ranges());
  auto const x_params = choose_params<asymmetric<u8>>(calibrate::range_of(view(x)).range);

  // 2. quantize; pack the weights once
  std::vector<std::int8_t> w_codes(w.size());
  std::vector<std::uint8_t> x_codes(x.size());
  quantize(row_major(w.data(), n, k), w_params, row_major(w_codes.data(), n, k));
  quantize(view(x), x_params, view(x_codes));
  auto const packed = pack(row_major(w_codes.data(), n, k).transposed());

  // 3. multiply in integers; the accumulators become real numbers on their way out
  epilogue<to_real> const e{.lhs_zero_point = x_params.zero_point, .rescale = {.cols = view(w_params.scales), .rows = x_params.scale}};
  gemm(row_major(x_codes.data(), m, k), packed, row_major(y.data(), m, n), e);

  // 4. compare
  for (index_t i = 0; i < m * n; ++i)
    for (index_t p = 0; p < k; ++p) exact[i] += x[i / n * k + p] * w[i % n * k + p];
  std::puts(metric::text(metric::report(row_major(w.data(), n, k), w_params, row_major(w_codes.data(), n, k))).c_str());
  std::printf("y[0] = %.4f, in float %.4f; product SQNR %.1f dB on %s\n", y[0], exact[0], metric::sqnr_db(view(exact), view(y)), name(active_isa()));
}
