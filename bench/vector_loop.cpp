// vector_loop.cpp — the loops that people write, vectorized by the compiler: -O3 -march=native. No library is included here, so
// that nothing compiled for this CPU can be linked elsewhere.
#include <cstddef>
#include <cstdint>

namespace quern::bench {

std::int32_t loop_dot(std::int8_t const* a, std::int8_t const* b, std::ptrdiff_t n) {
  std::int32_t sum = 0;
  for (std::ptrdiff_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}
std::int32_t loop_squared_l2(std::int8_t const* a, std::int8_t const* b, std::ptrdiff_t n) {
  std::int32_t sum = 0;
  for (std::ptrdiff_t i = 0; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}
float loop_dot(float const* a, float const* b, std::ptrdiff_t n) {
  // Sixteen sums by hand: without them no compiler may vectorize a float sum.
  float sum[16] = {};
  std::ptrdiff_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; ++j) sum[j] += a[i + j] * b[i + j];
  for (; i < n; ++i) sum[0] += a[i] * b[i];
  float total = 0;
  for (float s : sum) total += s;
  return total;
}

extern char const* const loop_isa;
char const* const loop_isa =
#if defined(__AVX512VNNI__)
    "avx512_vnni";
#elif defined(__AVX512BW__)
    "avx512bw";
#elif defined(__AVX2__)
    "avx2";
#elif defined(__aarch64__)
    "neon";
#else
    "sse41";
#endif

}  // namespace quern::bench
