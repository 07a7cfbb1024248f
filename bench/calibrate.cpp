// calibrate/...: how fast observers read, beside reading the same memory and no more (share); how long calibrators take to decide; and
// fake_quantize beside quantize and dequantize.
#include "peaks.hpp"
#include "support.hpp"

#include <quern/calibrate/absolute_histogram.hpp>
#include <quern/calibrate/per_channel.hpp>
#include <quern/calibrate/recommend.hpp>
#include <quern/calibrate/robust_min_max.hpp>
#include <quern/calibrate/torch_histogram.hpp>
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

double reading(index_t n) { return read_bandwidth(static_cast<std::size_t>(n) * 4); }
vector_view<float const> floats(std::vector<float> const& x) { return view(x); }
void use(void const* p) { asm volatile("" : : "r"(p) : "memory"); }

template <class Observer>
void reads(char const* name, index_t n) {
  add({.name = std::string("calibrate/") + name + "/" + std::to_string(n), .bytes = static_cast<double>(n) * 4, .peak = [n] { return reading(n); },
       .prepare = [n](check&) -> body {
         auto x = normal(n);
         auto o = std::make_shared<Observer>();
         return [x, o] {
           o->observe(floats(*x));
           use(o.get());
         };
       }});
}

void cases() {
  for (index_t const n : {index_t{1} << 12, index_t{1} << 20, index_t{1} << 24}) {
    // One after another: every observer that there is. Percentile, entropy, squared error, ACIQ and the exact grid decide on a finished
    // histogram (calibrate/decide); what they read is its share.
    reads<calibrate::min_max<>>("min_max", n);
    reads<calibrate::moving_average>("moving_average", n);
    reads<calibrate::torch_histogram>("torch_histogram", n);
    reads<calibrate::absolute_histogram>("absolute_histogram", n);
    add({.name = "calibrate/histogram/" + std::to_string(n), .bytes = static_cast<double>(n) * 4, .peak = [n] { return reading(n); },
         .prepare = [n](check& c) -> body {
           auto x = normal(n);
           auto h = std::make_shared<calibrate::histogram>();
           h->observe(floats(*x));
           std::vector<std::int64_t> got, want(4096);
           for (index_t i = -2048; i < 2048; ++i) got.push_back(static_cast<std::int64_t>(h->bin(i)));
           for (float v : *x) {
             auto const b = static_cast<index_t>(abs_of(v) / static_cast<float>(h->width()));
             ++want[static_cast<std::size_t>(2048 + (v < 0 ? -1 - b : b))];
           }
           c.compare(got.data(), want.data(), 4096);
           return [x, h] { h->observe(floats(*x)); };
         }});
    // channels in columns, 256 of them: as activations lie
    add({.name = "calibrate/min_max/per_channel/" + std::to_string(n), .bytes = static_cast<double>(n) * 4, .peak = [n] { return reading(n); },
         .prepare = [n](check&) -> body {
           auto x = normal(n);
           auto o = std::make_shared<calibrate::min_max<per_channel<1>>>();
           return [x, o, n] { o->observe(row_major<float const>(x->data(), n / 256, 256)); };
         }});
    if (n >= 1 << 20)
      add({.name = "calibrate/histogram/per_channel/" + std::to_string(n), .bytes = static_cast<double>(n) * 4, .peak = [n] { return reading(n); },
           .prepare = [n](check&) -> body {
             auto x = normal(n);
             auto o = std::make_shared<calibrate::per_channel_observer<calibrate::histogram>>(index_t{256});
             return [x, o, n] { o->observe_columns(row_major<float const>(x->data(), n / 256, 256)); };
           }});
  }
  for_each_type<calibrate::calibrators>([](auto tag) {
    using calibrator = typename decltype(tag)::type;
    add({.name = std::string("calibrate/decide/") + calibrator::name, .prepare = [](check&) -> body {
           auto h = std::make_shared<calibrate::histogram>();
           h->observe(floats(*normal(index_t{1} << 20)));
           return [h] {
             real_range const r = calibrator{}.template range<asymmetric<u8>>(*h);
             use(&r);
           };
         }});
  });
  // What fake_quantize is compared with: both conversions, one after the other. `clipped`: 6 % of the values are beyond the codes.
  for (index_t const n : {index_t{1} << 12, index_t{1} << 20, index_t{1} << 23})
    for (float const scale : {0.05f, 0.015f}) {
      params<symmetric<>> const p{.scale = scale};
      double const bytes = static_cast<double>(n) * 8;
      auto const both = [n, p, bytes] {
        auto x = normal(n);
        std::vector<std::int8_t> codes(x->size());
        std::vector<float> y(x->size());
        return bytes / 1e9 / best_seconds([&] {
          quantize(floats(*x), p, view(codes));
          dequantize(vector_view<std::int8_t const>(view(codes)), p, view(y));
        });
      };
      add({.name = std::string("calibrate/fake_quantize/s8") + (scale < 0.03f ? "/clipped/" : "/") + std::to_string(n), .bytes = bytes, .peak = both,
           .prepare = [n, p](check& c) -> body {
             auto x = normal(n);
             auto y = std::make_shared<std::vector<float>>(x->size());
             std::vector<std::int8_t> codes(x->size());
             std::vector<float> want(x->size());
             quantize(floats(*x), p, view(codes));
             dequantize(vector_view<std::int8_t const>(view(codes)), p, view(want));
             auto const run = [x, y, p] { train::fake_quantize(floats(*x), p, view(*y)); };
             run();
             c.compare(y->data(), want.data(), n);
             return run;
           }});
    }
  add({.name = "calibrate/recommend/s8/1048576", .prepare = [](check&) -> body {
         auto x = normal(index_t{1} << 20);
         return [x] {
           auto const r = calibrate::recommend<symmetric<>>(floats(*x));
           use(&r);
         };
       }});
}
QUERN_BENCH_CASES(cases);

}  // namespace
}  // namespace quern::bench
