// calibrate/...: how fast observers read, beside a plain sum of the same memory.
#include "support.hpp"

#include <quern/calibrate/moving_average.hpp>
#include <quern/calibrate/recommend.hpp>
#include <quern/train/fake_quantize.hpp>

#include <memory>

namespace quern::bench {
namespace {

std::shared_ptr<std::vector<float>> normal(index_t n) {
  auto x = std::make_shared<std::vector<float>>(static_cast<std::size_t>(n));
  std::mt19937 g(1);
  std::normal_distribution<float> d;
  for (index_t i = 0; i < n; ++i) (*x)[static_cast<std::size_t>(i)] = i < 65536 ? d(g) : (*x)[static_cast<std::size_t>(i % 65536)];
  return x;
}

// What reading costs: 16 independent sums, as wide as the compiler makes them.
double read_bandwidth(index_t n) {
  auto const x = normal(n);
  float keep = 0;
  double const seconds = best_seconds([&] {
    float sum[64] = {};
    for (index_t i = 0; i < n; i += 64)
      for (int l = 0; l < 64; ++l) sum[l] += (*x)[static_cast<std::size_t>(i + l)];
    asm volatile("" : : "r"(sum) : "memory");
    keep += sum[0];
  });
  asm volatile("" : "+m"(keep));
  return static_cast<double>(n) * 4 / seconds / 1e9;
}

void cases() {
  for (index_t const n : {index_t{1} << 12, index_t{1} << 20, index_t{1} << 24}) {
    std::string const size = "/" + std::to_string(n);
    auto const peak = [n] { return read_bandwidth(n); };
    add({.name = "calibrate/extremes" + size, .bytes = static_cast<double>(n) * 4, .peak = peak, .prepare = [n](check&) -> body {
           auto x = normal(n);
           return [x, n] {
             real_range const r = calibrate::extremes(vector_view<float const>{x->data(), n, 1});
             asm volatile("" : : "r"(&r) : "memory");
           };
         }});
    add({.name = "calibrate/histogram" + size, .bytes = static_cast<double>(n) * 4, .peak = peak, .prepare = [n](check& c) -> body {
           auto x = normal(n);
           auto h = std::make_shared<calibrate::histogram>();
           h->observe(vector_view<float const>{x->data(), n, 1});
           std::vector<std::int64_t> got, want(4096);
           for (index_t i = -2048; i < 2048; ++i) got.push_back(static_cast<std::int64_t>(h->bin(i)));
           for (float v : *x) {
             auto const b = static_cast<index_t>(abs_of(v) / static_cast<float>(h->width()));
             ++want[static_cast<std::size_t>(2048 + (v < 0 ? -1 - b : b))];
           }
           c.compare(got.data(), want.data(), 4096);
           return [x, h, n] { h->observe(vector_view<float const>{x->data(), n, 1}); };
         }});
  }
  for (index_t const n : {index_t{1} << 12, index_t{1} << 20})
    add({.name = "calibrate/fake_quantize/s8/" + std::to_string(n), .bytes = static_cast<double>(n) * 8, .prepare = [n](check& c) -> body {
           auto x = normal(n);
           auto y = std::make_shared<std::vector<float>>(x->size());
           params<symmetric<>> const p{.scale = 0.03f};
           std::vector<std::int8_t> codes(x->size());
           std::vector<float> want(x->size());
           quantize(vector_view<float const>(view(*x)), p, view(codes));
           dequantize(vector_view<std::int8_t const>(view(codes)), p, view(want));
           auto const run = [x, y, p] { train::fake_quantize(vector_view<float const>(view(*x)), p, view(*y)); };
           run();
           c.compare(y->data(), want.data(), n);
           return run;
         }});
  add({.name = "calibrate/recommend/s8/1048576", .prepare = [](check&) -> body {
         auto x = normal(index_t{1} << 20);
         return [x] {
           auto const r = calibrate::recommend<symmetric<>>(vector_view<float const>(view(*x)));
           asm volatile("" : : "r"(&r) : "memory");
         };
       }});
}
QUERN_BENCH_CASES(cases);

}  // namespace
}  // namespace quern::bench
