// compress/...: Hadamard beside memcpy, GPTQ of a 4096 x 4096 layer.
#if defined(QUERN_BENCH_EIGEN)
#include "support.hpp"

#include <quern/compress/gptq.hpp>
#include <quern/compress/hadamard.hpp>
#include <quern/dispatch/thread_pool.hpp>

#include <cstring>
#include <memory>

namespace quern::bench {
namespace {

void cases() {
  for (index_t const n : {index_t{256}, index_t{1024}, index_t{4096}, index_t{65536}}) {
    int levels = 0;
    while ((index_t{1} << levels) < n) ++levels;
    // The aim is twice the time of a memcpy for each level; GB/s counts each level's reading and writing.
    double const bytes = static_cast<double>(n) * 8 * levels;
    auto const copy = [n] {
      std::vector<float> from(static_cast<std::size_t>(n), 1.0f), to(from.size());
      double const seconds = best_seconds([&] {
        std::memcpy(to.data(), from.data(), from.size() * 4);
        asm volatile("" : : "r"(to.data()) : "memory");
      });
      return static_cast<double>(n) * 8 / seconds / 1e9;
    };
    add({.name = "compress/hadamard/f32/" + std::to_string(n), .bytes = bytes, .peak = copy, .prepare = [n](check&) -> body {
           auto x = std::make_shared<buffer<float>>(n, 0.0f);
           (*x)[1] = 1;
           return [x] { compress::hadamard(view(*x)); };
         }});
  }
  for (index_t const k : {index_t{1024}, index_t{4096}})
    for (int const threads : {1, 2})
      add({.name = "compress/gptq/s4/group:128/" + std::to_string(k) + "x" + std::to_string(k) + "/threads:" + std::to_string(threads),
           .ops = 2.0 * static_cast<double>(k) * static_cast<double>(k) * static_cast<double>(k),   // feedback and rating: k³ / 2 each
           .prepare = [k, threads](check&) -> body {
             struct problem {
               buffer<float> w;
               compress::row_major_matrix h;
               thread_pool pool;
               problem(index_t k, int threads) : w(k * k), h(k, k), pool(threads) {}
             };
             auto p = std::make_shared<problem>(k, threads);
             std::mt19937 g(1);
             std::normal_distribution<float> d;
             for (auto& v : p->w) v = d(g);
             // inputs correlated like a moving average: a Hessian as ill-conditioned as those of activations
             for (index_t i = 0; i < k; ++i)
               for (index_t j = 0; j < k; ++j) p->h(i, j) = std::exp(-0.05f * static_cast<float>(i > j ? i - j : j - i));
             return [p, k] {
               auto const r = compress::gptq({p->w.data(), k, k, k, 1}, p->h, {.bits = 4, .symmetric = true, .group = 128}, {.executor = p->pool});
               asm volatile("" : : "r"(&r) : "memory");
             };
           },
           .threads = threads});
}
QUERN_BENCH_CASES(cases);

}  // namespace
}  // namespace quern::bench
#endif
