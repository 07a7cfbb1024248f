// support.hpp — what every benchmark here shares: how a case is registered, timed and checked.
//
// A case is timed as the best of many samples on one pinned core after a warm-up, not as a mean: on a shared machine the
// mean measures the neighbours. Google Benchmark gets that time as one manual iteration, and gives the filter, the console
// table and the JSON. Rivals that keep global state (oneDNN fixes its instruction set at its first use) run in a child process.
#pragma once

#include <quern/core/buffer.hpp>
#include <quern/cpu/detect.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace quern::bench {

/// What comparing a result with the definition gave.
struct check {
  double wrong = -1;     ///< share of elements that differ; negative: not checked
  double max_diff = 0;   ///< the largest difference
  char note[160] = {};   ///< shown beside the figures: the kernel that ran, or why nothing did
  bool skipped = false;  ///< not available here; `note` says why
  double seconds = 0;    ///< of the fastest call, where another program has timed it; else the returned call is

  void say(std::string const& text) {
    std::size_t const n = std::min(text.size(), sizeof note - 1);
    std::copy_n(text.data(), n, note);
    note[n] = '\0';
  }
  void skip(std::string const& why) { say(why), skipped = true; }
  template <class T, class U>
  void compare(T const* got, U const* expected, index_t size) {
    index_t different = 0;
    for (index_t i = 0; i < size; ++i) {
      double const d = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
      if (!(d == 0)) ++different;
      if (!(d <= max_diff)) max_diff = d;
    }
    wrong = size > 0 ? static_cast<double>(different) / static_cast<double>(size) : 0;
  }
};

/// The call that is timed.
using body = std::function<void()>;

struct bench_case {
  std::string name;             ///< "gemm/quern/avx2/u8s8-s8/64x64x64/threads:1"
  double ops = 0;               ///< multiplications and additions of a call; counter GOPS
  double bytes = 0;             ///< bytes read and written; counter GB/s
  double reads = 0;             ///< bytes that must come from memory; counter read_share: of the bandwidth for that much
  std::function<double()> peak = {}; ///< what GOPS (or, without ops, GB/s) is compared with; counters peak and share
  std::function<body(check&)> prepare = {};  ///< runs only when the case does: makes operands, checks the result, returns the call
  int threads = 1;
  bool own_process = false;     ///< run in a forked child
};

/// Registers a case; call from a QUERN_BENCH_CASES function.
void add(bench_case c);

/// Runs its argument, a function that registers cases, before main.
struct at_start {
  explicit at_start(void (*function)()) { function(); }
};
#define QUERN_BENCH_CASES(function) static ::quern::bench::at_start const function##_at_start(function)

/// Seconds of samples a case is given: --seconds=X or 0.2.
double& seconds_per_case();

/// The best time of one call of `f`, in seconds.
template <class F>
double best_seconds(F&& f, double total = seconds_per_case()) {
  using clock = std::chrono::steady_clock;
  auto const time = [&](index_t calls) {
    auto const begin = clock::now();
    for (index_t i = 0; i < calls; ++i) f();
    return std::chrono::duration<double>(clock::now() - begin).count();
  };
  // Warm-up: page faults, caches, and the clock, which takes some milliseconds to settle under wide vectors.
  double const warm = std::min(0.03, total);
  double once = time(1), spent = once;
  while (spent < warm) {
    double const t = time(1);
    once = std::min(once, t), spent += t;
  }
  // A sample of 20 us is a thousand times the resolution of the clock.
  index_t const calls = std::max<index_t>(1, static_cast<index_t>(2e-5 / std::max(once, 1e-9)));
  double best = once;
  spent = 0;
  for (int samples = 0; samples < 5 || spent < total; ++samples) {
    double const t = time(calls);
    best = std::min(best, t / static_cast<double>(calls)), spent += t;
    if (samples >= 2 && spent > 10 * total) break;
  }
  return best;
}

/// Uniform integers in [lo, hi], the same for the same seed.
template <class T>
buffer<T> random_integers(index_t size, int lo, int hi, unsigned seed) {
  std::mt19937 generator(seed);
  buffer<T> values(size);
  auto const span = static_cast<unsigned>(hi - lo) + 1u;
  for (T& v : values) v = static_cast<T>(lo + static_cast<int>(generator() % span));
  return values;
}
/// Uniform reals in [lo, hi).
inline buffer<float> random_reals(index_t size, float lo, float hi, unsigned seed) {
  std::mt19937 generator(seed);
  buffer<float> values(size);
  for (float& v : values) v = lo + (hi - lo) * (static_cast<float>(generator() >> 8) * 0x1p-24f);
  return values;
}

/// What convention.cpp and convention_peers.cpp quantize to u8 with scale 1/32 and zero point 128: with 127.5 steps and more one value in 500.
inline std::string quantize_name(index_t n, bool saturating) {
  return std::string("quantize-f32-u8") + (saturating ? "-saturating/" : "/") + std::to_string(n);
}
inline buffer<float> quantize_reals(index_t n, bool saturating) {
  float const limit = saturating ? 4.0f : 3.9f;
  return random_reals(n, -limit, limit, 3);
}

/// The processors this process may run on, as it was started.
int processors();

/// Keeps the compiler from dropping what was computed into `p`.
inline void keep(void const* p) { asm volatile("" : : "g"(p) : "memory"); }

/// The instruction sets of this machine under the environment's cap, slowest first.
inline std::vector<isa> isas() {
  std::vector<isa> all;
  for (isa i : all_isas)
    if (supported(i)) all.push_back(i);
  return all;
}

}  // namespace quern::bench
