// Observers: what they count, that order does not matter, that they survive being saved, and what they refuse.
#include "errors/refusal.hpp"
#include "support/catch.hpp"

#include <quern/calibrate/absolute_histogram.hpp>
#include <quern/calibrate/per_channel.hpp>
#include <quern/calibrate/recommend.hpp>
#include <quern/calibrate/robust_min_max.hpp>
#include <quern/calibrate/torch_histogram.hpp>
#include <quern/dispatch/thread_pool.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace quern;
using namespace quern::calibrate;

namespace {

std::vector<float> normal(std::size_t n, unsigned seed, float sigma = 1) {
  std::mt19937 g(seed);
  std::normal_distribution<float> d(0, sigma);
  std::vector<float> x(n);
  for (float& v : x) v = d(g);
  return x;
}
vector_view<float const> of(std::vector<float> const& x) { return {x.data(), static_cast<index_t>(x.size()), 1}; }

template <class O>
std::vector<std::uint8_t> saved(O const& o) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(o.serialized_size()));
  o.save(view(bytes));
  return bytes;
}
template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (error const& e) {
    return e.what();
  }
  return "";
}
}  // namespace

TEST_CASE("a histogram counts every value where its definition says", "[calibrate][histogram]") {
  std::vector<float> x = normal(5003, 1);
  x.insert(x.end(), {0.0f, -0.0f, 1.0f, -1.0f, 3.999f, -4.0f, 1e-40f, -1e-40f});
  for (isa cap : all_isas) {
    if (!supported(cap)) continue;
    histogram h;
    h.observe(of(x), cap);
    REQUIRE(h.count() == static_cast<std::int64_t>(x.size()));
    std::map<index_t, std::uint64_t> expected;
    double sum = 0, squares = 0;
    for (float v : x) {
      auto const b = static_cast<index_t>(std::trunc(std::fabs(v) / h.width()));
      ++expected[v < 0 ? -1 - b : b];
      sum += v, squares += double(v) * v;
    }
    for (index_t i = -2048; i < 2048; ++i) REQUIRE(h.bin(i) == (expected.count(i) ? expected[i] : 0));
    float const largest = *std::max_element(x.begin(), x.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); });
    CHECK(std::fabs(largest) < 2048 * h.width());
    CHECK(std::fabs(largest) >= 1024 * h.width());
    CHECK(h.range().min == *std::min_element(x.begin(), x.end()));
    CHECK(h.range().max == *std::max_element(x.begin(), x.end()));
    CHECK(h.zero_count() == 2);
    CHECK(h.mean() == Approx(sum / x.size()).margin(1e-12));
    CHECK(h.mean_square() == Approx(squares / x.size()).epsilon(1e-13));
  }
}

TEST_CASE("a histogram has the same bits in any order, split over threads, and on every instruction set", "[calibrate][histogram]") {
  std::vector<std::vector<float>> batches;
  for (unsigned b = 0; b < 12; ++b) batches.push_back(normal(100 + 700 * b, b, std::ldexp(1.0f, static_cast<int>(b * 5 % 12) - 6)));
  batches.push_back({1e30f, -1e-30f, 0.0f});
  batches.push_back({});
  batches.push_back(std::vector<float>(1000, 0.0f));
  histogram forward;
  for (auto const& b : batches) forward.observe(of(b));
  for (isa cap : all_isas) {
    if (!supported(cap)) continue;
    histogram backward;
    for (std::size_t i = batches.size(); i-- > 0;) backward.observe(of(batches[i]), cap);
    CHECK(backward == forward);
  }
  std::mt19937 g(7);
  for (int round = 0; round < 5; ++round) {
    histogram parts[3];
    std::shuffle(batches.begin(), batches.end(), g);
    for (std::size_t i = 0; i < batches.size(); ++i) parts[i % 3].observe(of(batches[i]));
    parts[2].merge(parts[0]);
    parts[2].merge(parts[1]);
    parts[2].merge(histogram());
    CHECK(parts[2] == forward);
    CHECK(saved(parts[2]) == saved(forward));
  }
}

TEST_CASE("a histogram keeps NaN, infinities and huge values apart, whichever lane they are in", "[calibrate][histogram]") {
  for (isa cap : all_isas) {
    if (!supported(cap)) continue;
    for (std::size_t bad = 0; bad < 600; bad += 37) {
      std::vector<float> x = normal(600, 3);
      std::vector<float> clean = x;
      x[bad] = bad % 2 ? NAN : -INFINITY;
      clean.erase(clean.begin() + static_cast<long>(bad));
      histogram a, b;
      a.observe(of(x), cap);
      b.observe(of(clean), isa::baseline);
      REQUIRE(a.count() == 599);
      REQUIRE(a.nan_count() + a.inf_count() == 1);
      REQUIRE(a.range() == b.range());
      for (index_t i = -2048; i < 2048; ++i) REQUIRE(a.bin(i) == b.bin(i));
    }
  }
  histogram h;
  float const limits[] = {3.4028235e38f, -3.4028235e38f, 1e-45f, -1e-45f};
  h.observe(view(limits));
  CHECK(h.count() == 4);
  CHECK(h.bin(0) == 1);
  CHECK(h.bin(-1) == 1);
  CHECK(h.mean() == 0);
  CHECK(std::isfinite(h.mean_square()));
}

TEST_CASE("a histogram's vector loop counts what its scalar one counts, while the range grows and among zeros, repetitions and NaN",
          "[calibrate][histogram]") {
  std::vector<float> x;
  for (unsigned b = 0; b < 7; ++b) {
    auto const part = normal(3000, b, std::ldexp(1.0f, static_cast<int>(b * b) - 20));
    x.insert(x.end(), part.begin(), part.end());
    x.insert(x.end(), 2500, b % 2 ? 0.0f : -0.0f);
    x.insert(x.end(), b == 3 ? 200000 : 2500, part[7]);  // more than a 16-bit counter holds
    if (b == 5) x[x.size() - 1000] = NAN;
  }
  histogram slow;  // batches too short for the vector loop
  for (std::size_t i = 0; i < x.size(); i += 50) slow.observe(of(x).sub(static_cast<index_t>(i), std::min<index_t>(50, static_cast<index_t>(x.size() - i))));
  for (isa cap : all_isas) {
    if (!supported(cap)) continue;
    histogram fast;
    fast.observe(of(x), cap);
    REQUIRE(fast.width() == slow.width());
    REQUIRE(fast.count() == slow.count());
    REQUIRE(fast.zero_count() == slow.zero_count());
    REQUIRE(fast.zero_count() >= 7 * 2500);
    REQUIRE(fast.nan_count() == 1);
    REQUIRE(fast.range() == slow.range());
    std::uint64_t total = 0;
    for (index_t i = -2048; i < 2048; ++i) {
      REQUIRE(fast.bin(i) == slow.bin(i));
      total += fast.bin(i);
    }
    REQUIRE(total == x.size() - 1);
  }
}

TEST_CASE("a histogram reads strided, half and double data, and matrices with gaps", "[calibrate][histogram]") {
  std::vector<float> x = normal(3000, 5);
  std::vector<double> d(x.begin(), x.end());
  std::vector<float> spread(6000);
  for (std::size_t i = 0; i < x.size(); ++i) spread[2 * i] = x[i];
  histogram a, b, c, e;
  a.observe(of(x));
  b.observe(vector_view<float const>{spread.data(), 3000, 2});
  c.observe(view(d));
  CHECK(a == b);
  CHECK(a == c);
  e.observe(matrix_view<float const>{spread.data(), 3, 1000, 2000, 2});
  CHECK(e.count() == 3000);
  CHECK(e.bin(100) == a.bin(100));
  std::vector<half> h(4096, half(0.5f));
  histogram f;
  f.observe(view(h));
  CHECK(f.range() == real_range{0.5f, 0.5f});
}

namespace {
/// Runs tasks last to first, and does not say how many at once.
struct backwards {
  void operator()(index_t tasks, task_ref task) const {
    while (tasks > 0) task(--tasks);
  }
};
template <class Observer, class Observe>
void same_on_threads(Observer const& fresh, Observe const& observe) {
  Observer one = fresh;
  observe(one, observe_options{});
  thread_pool two(2), three(3);
  backwards unknown;
  for (executor_ref const executor : {executor_ref(two), executor_ref(three), executor_ref(unknown)})
    for (isa cap : {isa::best, isa::baseline}) {
      Observer many = fresh;
      observe(many, observe_options{.max_isa = cap, .executor = executor});
      REQUIRE(saved(many) == saved(one));
    }
}
}  // namespace

TEST_CASE("observers know the same on any number of threads", "[calibrate][threads]") {
  std::vector<std::vector<float>> batches;
  for (unsigned b = 0; b < 4; ++b) {
    batches.push_back(normal(b == 3 ? 1000 : 300001 + 7777 * b, b + 1, b == 0 ? 1.0f : 0.3f * float(b * b)));
    std::mt19937 g(b);
    for (int i = 0; i < 300; ++i) batches.back()[g() % batches.back().size()] = i % 3 ? 0.0f : -0.0f;
  }
  auto const all = [&](auto& o, observe_options const& options) {
    for (auto const& b : batches) o.observe(of(b), options);
  };
  same_on_threads(moving_average(0.1f), all);
  same_on_threads(robust_min_max(), all);
  same_on_threads(torch_histogram(), all);
  same_on_threads(torch_histogram(torch_bins::exact), all);
  same_on_threads(absolute_histogram(), all);
  same_on_threads(histogram(), all);
  same_on_threads(min_max<>(), all);
  for (std::size_t i = 11; i < 300000; i += 40013) batches[1][i] = i % 2 ? NAN : -INFINITY;
  batches[2][250000] = 1e20f;
  same_on_threads(histogram(512), all);
  same_on_threads(min_max<>(), all);
  same_on_threads(torch_histogram(), all);
  auto const strided = [&](auto& o, observe_options const& options) {
    o.observe(vector_view<float const>{batches[0].data(), 150000, 2}, options);
    o.observe(vector_view<float const>{batches[1].data() + 300000, 300001, -1}, options);
  };
  same_on_threads(histogram(), strided);
  same_on_threads(min_max<per_group<1000>>(), [&](auto& o, observe_options const& options) { o.observe(of(batches[0]), options); });
  // matrices, whose rows may have gaps, and channels either way
  auto const matrices = [&](auto& o, observe_options const& options) {
    o.observe(matrix_view<float const>{batches[0].data(), 700, 400, 428, 1}, options);
    o.observe(matrix_view<float const>{batches[1].data(), 700, 400, 400, 1}, options);
    o.observe(matrix_view<float const>{batches[2].data(), 700, 400, 1, 700}, options);
  };
  same_on_threads(histogram(), matrices);
  same_on_threads(min_max<>(), matrices);
  same_on_threads(min_max<per_channel<0>>(), matrices);
  same_on_threads(min_max<per_channel<1>>(), matrices);
  same_on_threads(min_max<per_channel<1>>(), [&](auto& o, observe_options const& options) {
    o.observe(tensor_view<float const>{batches[0].data(), 2, 300, 100, 5, 150000, 500, 5, 1}, options);
    o.observe(tensor_view<float const>{batches[1].data(), 2, 300, 99, 5, 150000, 500, 5, 1}, options);
  });
  auto const hundred = [&](auto& o, observe_options const& options) { o.observe_columns(row_major<float const>(batches[0].data(), 3000, 100), options); };
  auto const few = [&](auto& o, observe_options const& options) {
    o.observe_columns(row_major<float const>(batches[1].data(), 9000, 33), options);
    o.observe_rows(row_major<float const>(batches[2].data(), 33, 9000), options);
    o.observe_channels(tensor_view<float const>{batches[0].data(), 2, 40, 30, 33, 80000, 1500, 40, 1}, options);
  };
  same_on_threads(per_channel_observer<histogram>(100), hundred);
  same_on_threads(per_channel_observer<histogram>(33), few);
  same_on_threads(per_channel_observer<torch_histogram>(33), few);
  same_on_threads(per_channel_observer<histogram>(1), [&](auto& o, observe_options const& options) { o.observe_rows(row_major<float const>(batches[0].data(), 1, 300000), options); });
}

TEST_CASE("sums are exact: order changes nothing, cancellation loses nothing", "[calibrate][exact_sum]") {
  std::vector<double> terms = {1e38, 1.0, -1e38, 1e-40, 3e-45, -1e-40, 5.0, 1e76, -1e76, -2.5};
  std::mt19937 g(1);
  for (int i = 0; i < 20; ++i) {
    std::shuffle(terms.begin(), terms.end(), g);
    exact_sum s;
    for (double t : terms) s.add(t);
    CHECK(s.value() == 3.5);
  }
  exact_sum negative;
  negative.add(-0.75);
  negative.add(0.5);
  CHECK(negative.value() == -0.25);
}

TEST_CASE("observers come back from bytes as they were, and damage is noticed", "[calibrate][serialize]") {
  histogram h(256);
  h.observe(of(normal(10000, 2)));
  auto bytes = saved(h);
  CHECK(histogram::load(vector_view<std::uint8_t const>(view(bytes))) == h);
  std::vector<std::uint8_t> cut(bytes.begin(), bytes.end() - 1);
  CHECK(refusal([&] { histogram::load(vector_view<std::uint8_t const>(view(cut))); }).find("cut off") != std::string::npos);
  for (std::size_t at = 0; at < bytes.size(); at += 97) {
    auto damaged = bytes;
    damaged[at] ^= 0x10;
    CHECK(refusal([&] { histogram::load(vector_view<std::uint8_t const>(view(damaged))); }) != "");
  }
  moving_average m(0.1f);
  m.observe(of(normal(100, 1)));
  m.observe(of(normal(100, 2)));
  auto mb = saved(m);
  CHECK(moving_average::load(vector_view<std::uint8_t const>(view(mb))).range() == m.range());
  CHECK(refusal([&] { histogram::load(vector_view<std::uint8_t const>(view(mb))); }).find("kind 2") != std::string::npos);
  robust_min_max r;
  for (unsigned i = 0; i < 40; ++i) r.observe(of(normal(50, i)));
  auto rb = saved(r);
  CHECK(robust_min_max::load(vector_view<std::uint8_t const>(view(rb))).range() == r.range());
  torch_histogram t;
  t.observe(of(normal(5000, 4, 3)));
  auto tb = saved(t);
  CHECK(torch_histogram::load(vector_view<std::uint8_t const>(view(tb))).range() == t.range());
  absolute_histogram a;
  a.observe(of(normal(5000, 4, 3)));
  a.observe(of(normal(5000, 5, 9)));
  auto ab = saved(a);
  auto const again = absolute_histogram::load(vector_view<std::uint8_t const>(view(ab)));
  CHECK(saved(again) == ab);
  CHECK(again.entropy_amax() == a.entropy_amax());
  for (std::size_t at = 0; at < ab.size(); at += 91) {
    auto damaged = ab;
    damaged[at] ^= 0x40;
    CHECK(refusal([&] { absolute_histogram::load(vector_view<std::uint8_t const>(view(damaged))); }) != "");
  }
  per_channel_observer<histogram> channels(5);
  auto const rows = normal(5 * 300, 6);
  channels.observe_rows(row_major<float const>(rows.data(), 5, 300));
  auto cb = saved(channels);
  auto const loaded = per_channel_observer<histogram>::load(vector_view<std::uint8_t const>(view(cb)));
  REQUIRE(loaded.size() == 5);
  for (index_t i = 0; i < 5; ++i) CHECK(loaded[i] == channels[i]);
  CHECK(refusal([&] { per_channel_observer<moving_average>::load(vector_view<std::uint8_t const>(view(cb))); }).find("kind 1") != std::string::npos);
  cb.resize(cb.size() - 1);
  CHECK(refusal([&] { per_channel_observer<histogram>::load(vector_view<std::uint8_t const>(view(cb))); }).find("cut off") != std::string::npos);
  std::vector<std::uint8_t> small(10);
  CHECK(refusal([&] { h.save(view(small)); }).find("serialized_size") != std::string::npos);
}

TEST_CASE("moving average follows PyTorch's recursion, robust aggregation drops odd batches", "[calibrate][observers]") {
  moving_average m;
  float const a[] = {-1.0f, 2.0f}, b[] = {-3.0f, 1.0f};
  m.observe(view(a));
  CHECK(m.range() == real_range{-1, 2});
  m.observe(view(b));
  CHECK(m.range() == real_range{-1.0f + 0.01f * (-3.0f + 1.0f), 2.0f + 0.01f * (1.0f - 2.0f)});
  float const nothing[] = {NAN};
  m.observe(view(nothing));
  CHECK(m.batches() == 2);

  robust_min_max r, s;
  for (int i = 0; i < 100; ++i) {
    float const batch[] = {-1.0f - 0.001f * i, i == 50 ? 1000.0f : 2.0f};
    (i % 2 ? r : s).observe(view(batch));
  }
  r.merge(s);
  CHECK(r.range(aggregate::mean, 0.02).max == 2.0f);
  CHECK(r.range(aggregate::median, 0).max == 2.0f);
  CHECK(r.range(aggregate::mean, 0).max == Approx(11.98));
  CHECK(r.range(aggregate::median, 0.01).min == Approx(-1.0495));
  CHECK(robust_min_max().range().empty());
}

TEST_CASE("percentiles leave out what they promise", "[calibrate][percentile]") {
  histogram h;
  auto const x = normal(100000, 9);
  h.observe(of(x));
  for (double percent : {90.0, 99.0, 99.9, 100.0}) {
    real_range const r = by_percentile{percent}.range<symmetric<>>(h);
    auto const outside = std::count_if(x.begin(), x.end(), [&](float v) { return v < r.min || v > r.max; });
    CHECK(outside <= static_cast<long>((100 - percent) / 100 * 100000 + 0.5));
    if (percent < 100) CHECK(outside > static_cast<long>((100 - percent) / 100 * 100000 * 0.9 - 20));
    real_range const both = by_percentile{percent}.range<asymmetric<>>(h);
    auto const below = std::count_if(x.begin(), x.end(), [&](float v) { return v < both.min; });
    CHECK(below <= static_cast<long>((100 - percent) / 200 * 100000 + 0.5));
  }
  CHECK(refusal([&] { by_percentile{101}.range<symmetric<>>(h); }).find("percent is 101") != std::string::npos);
}

namespace {
// The entropy search as the specification writes it, with none of our rearrangement.
entropy_result slow_entropy(std::vector<double> h, int bits, index_t start) {
  h[0] = h[1];
  index_t const nq = index_t{1} << (bits - 1);
  entropy_result best{0, 1e300};
  for (index_t i = start; i <= static_cast<index_t>(h.size()); ++i) {
    std::vector<double> p(h.begin(), h.begin() + i), q(static_cast<std::size_t>(i), 0.0);
    for (std::size_t j = static_cast<std::size_t>(i); j < h.size(); ++j) p.back() += h[j];
    std::vector<index_t> level(static_cast<std::size_t>(i));
    std::vector<double> mass(static_cast<std::size_t>(nq)), count(static_cast<std::size_t>(nq));
    for (index_t j = 0; j < i; ++j) {
      level[j] = std::min<index_t>(nq - 1, static_cast<index_t>(std::floor(static_cast<double>(j * nq) / static_cast<double>(i))));
      if (h[j] > 0) mass[level[j]] += h[j], count[level[j]] += 1;
    }
    double ps = 0, qs = 0, d = 0;
    for (index_t j = 0; j < i; ++j) {
      if (h[j] > 0) q[j] = mass[level[j]] / count[level[j]];
      ps += p[j], qs += q[j];
    }
    for (index_t j = 0; j < i; ++j)
      if (p[j] > 0) d += q[j] > 0 ? p[j] / ps * std::log((p[j] / ps) / (q[j] / qs)) : 1e300;
    if (d <= best.divergence) best = {i, d};
  }
  return best;
}
}  // namespace

TEST_CASE("the entropy search equals the specification's own loops", "[calibrate][entropy]") {
  for (unsigned seed = 0; seed < 4; ++seed) {
    absolute_histogram h(512);
    auto x = normal(20000, seed);
    if (seed >= 2)
      for (float& v : x) v = v * v * v;
    h.observe(of(x));
    std::vector<double> counts;
    for (index_t i = 0; i < h.size(); ++i) counts.push_back(static_cast<double>(h.bin(i)));
    std::vector<std::uint64_t> whole;
    for (double c : counts) whole.push_back(static_cast<std::uint64_t>(c));
    auto const want = slow_entropy(counts, 8, 128);
    auto const got = entropy_threshold(vector_view<std::uint64_t const>(view(whole)));
    CHECK(got.bins == want.bins);
    CHECK(got.divergence == Approx(want.divergence).margin(1e-12));
    CHECK(h.entropy_amax() == Approx(static_cast<double>(want.bins) * h.width()));
  }
  for (std::size_t n : {9u, 256u, 1023u}) {  // the weights of a filter: no distribution, nothing is clipped
    histogram small;
    small.observe(of(normal(n, static_cast<unsigned>(n))));
    CHECK(by_entropy{}.range<symmetric<>>(small) == small.range());
  }
  auto tails = normal(100000, 1);
  for (float& v : tails) v = v * v * v;
  histogram many;
  many.observe(of(tails));
  CHECK(by_entropy{}.range<symmetric<>>(many).max < many.range().max);
  std::vector<std::uint64_t> few(100, 1), none(300, 0);
  CHECK(refusal([&] { entropy_threshold(vector_view<std::uint64_t const>(view(few))); }).find("at least first_candidate") != std::string::npos);
  CHECK(refusal([&] { entropy_threshold(vector_view<std::uint64_t const>(view(none))); }).find("all counts are 0") != std::string::npos);
}

TEST_CASE("NVIDIA's collector keeps the first batch's width and grows", "[calibrate][absolute_histogram]") {
  absolute_histogram h(128);
  float const first[] = {1.0f, -0.5f}, second[] = {2.5f, 0.0f};
  h.observe(view(first));
  CHECK(h.size() == 128);
  h.observe(view(second));
  CHECK(h.width() == 1.0 / 128);
  CHECK(h.size() == 320);
  CHECK(h.bin(319) == 1);
  CHECK(h.bin(127) == 1);
  CHECK(h.bin(64) == 1);
  CHECK(h.percentile_amax(50) == 0.5);
  CHECK(h.mse_amax(8) > 2.4);
  absolute_histogram parts[2] = {absolute_histogram::spanning(1.0f, 128), absolute_histogram::spanning(1.0f, 128)};
  parts[0].observe(view(second));
  parts[1].observe(view(first));
  parts[1].merge(parts[0]);
  CHECK(saved(parts[1]) == saved(h));
  CHECK(refusal([&] { h.merge(absolute_histogram::spanning(2.0f, 128)); }).find("must be equal") != std::string::npos);
  CHECK(refusal([] { absolute_histogram::spanning(0); }).find("largest is 0") != std::string::npos);
  float const absurd[] = {1e30f};
  CHECK(refusal([&] { h.observe(view(absurd)); }).find("representative") != std::string::npos);
}

TEST_CASE("torch_histogram counts values whose distances leave float", "[calibrate][torch_histogram]") {
  for (float far : {2e35f, 2e38f}) {
    std::vector<float> x(300);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 3 == 0 ? far : i % 3 == 1 ? -far : 0.0f;
    for (isa i : {isa::baseline, isa::sse41, isa::avx2, isa::avx512bw, isa::best}) {
      calibrate::torch_histogram h, few;
      h.observe(view(x), i);
      few.observe(vector_view<float const>{x.data(), 30, 1}, i);
      float all = 0;
      for (index_t b = 0; b < calibrate::torch_histogram::bins; ++b) {
        all += h.bin(b);
        CHECK(h.bin(b) == 10 * few.bin(b));  // lines too short for vectors
      }
      CHECK(all == 300);
    }
  }
}

TEST_CASE("the frameworks' histograms count by their definitions, whatever the instruction set, type and stride", "[calibrate][torch_histogram]") {
  auto x = normal(4999, 3, 2.7f);
  std::vector<double> spread(2 * x.size());
  for (bool finite : {true, false}) {
    if (!finite) x[100] = NAN, x[4990] = -INFINITY;
    for (std::size_t i = 0; i < x.size(); ++i) spread[2 * i] = x[i];
    float low = 0, high = 0, largest = 0;
    for (float v : x)
      if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v), largest = std::max(largest, std::fabs(v));
    std::vector<float> exact(2048), truncated(2048);
    std::vector<std::uint64_t> absolute(2048);
    for (float v : x) {
      if (!std::isfinite(v)) continue;
      auto const bin = [&](float a, float b) { return std::min(2047l, static_cast<long>(rounded((v - a) * 2048) / (b - a))); };
      exact[static_cast<std::size_t>(bin(low, high))] += 1;
      float const a = std::trunc(low), b = std::trunc(high);
      if (v >= a && v <= b) truncated[static_cast<std::size_t>(bin(a, b))] += 1;
      ++absolute[static_cast<std::size_t>(std::min(2047l, static_cast<long>(std::fabs(static_cast<double>(v)) / (largest / 2048.0))))];
    }
    for (isa cap : all_isas) {
      if (!supported(cap)) continue;
      for (bool strided : {false, true}) {
        torch_histogram e(torch_bins::exact), t;
        absolute_histogram a;
        auto const see = [&](auto values) { e.observe(values, cap), t.observe(values, cap), a.observe(values, cap); };
        if (strided)
          see(vector_view<double const>{spread.data(), 4999, 2});
        else
          see(of(x));
        for (index_t i = 0; i < 2048; ++i) {
          REQUIRE(e.bin(i) == exact[static_cast<std::size_t>(i)]);
          REQUIRE(t.bin(i) == truncated[static_cast<std::size_t>(i)]);
          REQUIRE(a.bin(i) == absolute[static_cast<std::size_t>(i)]);
        }
      }
    }
  }
}

namespace {
// |x| / width at and beside integers, the only places where the quotient's rounding could show.
std::vector<float> near_edges(double width, long bins) {
  std::vector<float> x = {0.0f, -0.0f, 1e-45f};
  if (width > 1e-38) x.push_back(-1e-38f);
  for (long k = 1; k <= bins; k += 1 + k / 50) {
    auto const edge = static_cast<float>(static_cast<double>(k) * width);
    for (float v : {edge, std::nextafter(edge, 0.0f), std::nextafter(edge, 1e30f)})
      if (static_cast<double>(v) <= static_cast<double>(bins) * width) x.push_back(k % 2 ? v : -v);
  }
  return x;
}
}  // namespace

TEST_CASE("a batch within what was seen before is read once, and counts as if its range had been taken first", "[calibrate][absolute_histogram][torch_histogram]") {
  for (isa cap : all_isas) {
    if (!supported(cap)) continue;
    // 2048 and 128 bins of a float's width, one that no float holds, and more bins than 16-bit indices reach
    for (auto const& [largest, bins] : {std::pair{1.7f, 2048l}, {3.0e-30f, 128l}, {1.7f, 300l}, {0.9f, 40000l}, {2.9e38f, 512l}, {1e-44f, 128l}}) {
      CAPTURE(largest, bins);
      absolute_histogram h = absolute_histogram::spanning(largest, bins);
      auto x = near_edges(h.width(), bins);
      for (float v : normal(9000, 5, largest / 5)) x.push_back(std::clamp(v, -largest, largest));
      x.insert(x.end(), 500, 0.0f);
      std::vector<std::uint64_t> want(static_cast<std::size_t>(bins));
      for (bool finite : {true, false}) {
        if (!finite) x[777] = NAN, x[8500] = INFINITY;
        h.observe(of(x), cap);
        for (float v : x)
          if (std::isfinite(v)) ++want[static_cast<std::size_t>(std::min(bins - 1, static_cast<long>(std::fabs(static_cast<double>(v)) / h.width())))];
      }
      for (index_t i = 0; i < bins; ++i) REQUIRE(h.bin(i) == want[static_cast<std::size_t>(i)]);
      auto const before = saved(h);
      x[8999] = std::min(3.0e38f, largest * 1e30f);  // needs more bins than there may be: nothing of it is counted
      if (x[8999] > h.width() * 16777216 && bins < 40000) {
        CHECK(refusal([&] { h.observe(of(x), cap); }).find("representative") != std::string::npos);
        CHECK(saved(h) == before);
      }
    }
    for (torch_bins kind : {torch_bins::truncated, torch_bins::exact}) {
      auto const wide = normal(20000, 1, 3.0f), narrow = normal(10001, 2, 0.9f);
      auto broken = narrow;
      broken[5000] = NAN;
      std::vector<float> const zeros(1000, -0.0f);
      torch_histogram fast(kind), slow(kind);
      std::vector<float> want(2048);
      for (std::vector<float> const* batch : {&wide, &narrow, &wide, &std::as_const(broken), &zeros}) {
        fast.observe(of(*batch), cap);
        slow.observe(of(*batch), isa::baseline);
      }
      REQUIRE(saved(fast) == saved(slow));
      torch_histogram first(kind);
      first.observe(of(wide));
      float low = first.span().min, high = fast.span().max;
      if (kind == torch_bins::truncated) low = std::trunc(low), high = std::trunc(high);
      REQUIRE(fast.span() == first.span());  // no resampling: the counts are a sum
      for (std::vector<float> const* batch : {&wide, &narrow, &wide, &std::as_const(broken), &zeros})
        for (float v : *batch)
          if (v >= low && v <= high) want[static_cast<std::size_t>(std::min(2047l, static_cast<long>(rounded((v - low) * 2048) / (high - low))))] += 1;
      for (index_t i = 0; i < 2048; ++i) REQUIRE(fast.bin(i) == want[static_cast<std::size_t>(i)]);
    }
  }
}

TEST_CASE("a histogram of more bins than 16-bit indices reach counts the same", "[calibrate][histogram]") {
  auto const x = normal(20000, 8);
  for (isa cap : all_isas) {
    if (!supported(cap)) continue;
    for (index_t half : {8192, 16384, 65536}) {
      histogram h(half);
      h.observe(of(x), cap);
      std::map<index_t, std::uint64_t> want;
      for (float v : x) {
        auto const b = static_cast<index_t>(std::trunc(std::fabs(v) / h.width()));
        ++want[v < 0 ? -1 - b : b];
      }
      for (index_t i = -half; i < half; ++i) {
        auto const at = want.find(i);
        if (h.bin(i) != (at == want.end() ? 0 : at->second)) FAIL("bin " << i << " of " << half);
      }
    }
  }
}

TEST_CASE("columns are observed as if each were a batch of its own, whatever their number and length", "[calibrate][per_channel]") {
  auto const x = normal(8210 * 33 + 64, 4);
  for (auto const& [rows, cols, stride] : {std::tuple<index_t, index_t, index_t>{8210, 33, 33}, {15, 300, 300}, {16, 17, 40}, {33, 257, 257}, {5000, 1, 3}, {1, 5, 5}}) {
    CAPTURE(rows, cols, stride);
    matrix_view<float const> const m{x.data(), rows, cols, stride, 1};
    std::vector<double> wide(static_cast<std::size_t>(rows * cols));
    per_channel_observer<histogram> a(cols), b(cols);
    per_channel_observer<moving_average> ranges(cols);
    for (int batch = 0; batch < 2; ++batch) {
      a.observe_columns(m);
      ranges.observe_columns(m);
      for (index_t i = 0; i < rows; ++i)
        for (index_t j = 0; j < cols; ++j) wide[static_cast<std::size_t>(i * cols + j)] = m(i, j);
      b.observe_columns(row_major<double const>(wide.data(), rows, cols));
    }
    for (index_t j = 0; j < cols; ++j) {
      histogram one;
      for (int batch = 0; batch < 2; ++batch) one.observe(vector_view<float const>{x.data() + j, rows, stride});
      REQUIRE(a[j] == one);
      REQUIRE(b[j] == one);
      REQUIRE(ranges[j].range() == one.range());
    }
  }
}

TEST_CASE("the error of a recommendation is measured as its definition says, on every instruction set", "[calibrate][recommend]") {
  auto x = normal(20011, 6, 2);
  x[3] = NAN, x[9000] = -INFINITY, x[20000] = 3e38f, x[20001] = 0.5f, x[20002] = -1.5f;
  std::vector<double> spread(2 * x.size());
  for (std::size_t i = 0; i < x.size(); ++i) spread[2 * i] = x[i];
  for (auto const& [facts, q] : {std::pair{facts_of<symmetric<>>, scale_zero_point{0.0371f, 0}}, {facts_of<asymmetric<u4>>, scale_zero_point{1.0f, 3}}}) {
    double errors = 0, signal = 0, clipped = 0, count = 0;
    for (float v : x) {
      if (!std::isfinite(v)) continue;
      double const code = std::nearbyint(v / q.scale) + q.zero_point, kept = std::clamp(code, double(facts.q_min), double(facts.q_max));
      float const back = static_cast<float>(kept - q.zero_point) * q.scale, e = back - v;
      errors += double(e) * e, signal += double(v) * v, clipped += kept != code, count += 1;
    }
    measured_error const first = measure(of(x), facts, q, isa::baseline);
    CHECK(first.mse == Approx(errors / count).epsilon(1e-12));
    CHECK(first.signal == Approx(signal / count).epsilon(1e-12));
    CHECK(first.clip_share == clipped / count);
    for (isa cap : all_isas) {
      if (!supported(cap)) continue;
      for (auto const& m : {measure(of(x), facts, q, cap), measure(vector_view<double const>{spread.data(), 20011, 2}, facts, q, cap)}) {
        CHECK(m.mse == first.mse);
        CHECK(m.signal == first.signal);
        CHECK(m.clip_share == first.clip_share);
      }
    }
  }
}

TEST_CASE("what merges does not depend on order or threads", "[calibrate][merge]") {
  std::vector<std::vector<float>> batches;
  for (unsigned b = 0; b < 24; ++b) batches.push_back(normal(64 * 9 * (1 + b % 5), b, 0.1f + 0.1f * static_cast<float>(b * 7 % 24)));
  struct all_of_them {
    histogram h;
    robust_min_max r;
    absolute_histogram a = absolute_histogram::spanning(12.0f, 1024);
    per_channel_observer<histogram> c{9};
    per_channel_observer<robust_min_max> d{9};

    void observe(std::vector<float> const& x) {
      auto const columns = row_major<float const>(x.data(), static_cast<index_t>(x.size()) / 9, 9);
      h.observe(of(x)), r.observe(of(x)), a.observe(of(x)), c.observe_columns(columns), d.observe_columns(columns);
    }
    void merge(all_of_them const& o) { h.merge(o.h), r.merge(o.r), a.merge(o.a), c.merge(o.c), d.merge(o.d); }
    // robust_min_max keeps its batches in the order in which they came; what it answers is what counts
    bool operator==(all_of_them const& o) const {
      bool same = saved(h) == saved(o.h) && saved(a) == saved(o.a) && saved(c) == saved(o.c);
      for (aggregate how : {aggregate::mean, aggregate::median}) {
        same &= r.range(how) == o.r.range(how);
        for (index_t i = 0; i < 9; ++i) same &= d[i].range(how) == o.d[i].range(how);
      }
      return same;
    }
  };
  all_of_them forward, backward, shares[3];
  for (auto const& b : batches) forward.observe(b);
  for (std::size_t i = batches.size(); i-- > 0;) backward.observe(batches[i]);
  CHECK(forward == backward);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = t; i < batches.size(); i += 3) shares[t].observe(batches[i]);
    });
  for (auto& t : threads) t.join();
  shares[1].merge(shares[2]);
  shares[1].merge(shares[0]);
  CHECK(shares[1] == forward);
}

TEST_CASE("the exact grid on a histogram finds the theory's step, and nothing proposed is better", "[calibrate][exact_grid]") {
  auto const x = normal(400000, 11, 0.37f);
  histogram h;
  h.observe(of(x));
  auto const r = recommend<symmetric<s4>>(h, of(x));
  CHECK(std::string(r.best.name) == "exact_grid");
  CHECK(r.best.params.scale == Approx(0.37 * 0.33861).epsilon(0.01));
  CHECK(r.best.measured_sqnr == Approx(19.26).margin(0.05));
  CHECK(std::fabs(r.best.predicted_sqnr - r.best.measured_sqnr) < 0.05);
  for (int i = 0; i < r.count; ++i) {
    CHECK(r.all[i].predicted_sqnr <= r.all[1].predicted_sqnr + 1e-3);
    CHECK(std::fabs(r.all[i].predicted_sqnr - r.all[i].measured_sqnr) < 0.1);
    CHECK(r.all[i].measured_sqnr < 6.0206 * 4);
  }
  CHECK(r.count == static_cast<int>(calibrators::size));
  CHECK(r.concerns == concern::one_batch);

  std::vector<float> skewed(100000);
  for (std::size_t i = 0; i < skewed.size(); ++i) skewed[i] = std::exp(x[i] * 3) - 0.4f;
  auto const u = recommend<asymmetric<u4>>(of(skewed));
  CHECK(std::string(u.best.name) == "exact_grid");
  CHECK(u.best.measured_sqnr > u.all[0].measured_sqnr + 3);
  CHECK(any(u.concerns & concern::outliers));
}

TEST_CASE("unrepresentative data is reported, never a crash", "[calibrate][recommend]") {
  auto const concerns = [](std::vector<float> x) { return recommend<symmetric<>>(of(x)).concerns; };
  CHECK(any(concerns({}) & concern::empty));
  CHECK(any(concerns({NAN, NAN}) & concern::not_a_number));
  CHECK(any(concerns({NAN, NAN}) & concern::empty));
  CHECK(any(concerns({0, 0, -0.0f}) & concern::all_zero));
  CHECK(any(concerns({3, 3, 3}) & concern::constant));
  CHECK(any(concerns({1, INFINITY}) & concern::infinite));
  CHECK(any(concerns({1, 2}) & concern::few_values));
  std::vector<float> spike(5000, 0.01f);
  spike[77] = 100;
  CHECK(any(concerns(spike) & concern::outliers));
  std::vector<float> const constant(2000, 3.0f);
  auto const r = recommend<asymmetric<u8>>(of(constant));
  CHECK(r.best.params.scale * (255 - static_cast<float>(r.best.params.zero_point)) >= 2.99f);
  for (unsigned bit = 1; bit <= 128; bit *= 2) CHECK(std::string(text(static_cast<concern>(bit))).size() > 20);
  CHECK(refusal([] { by_mse{}.range<symmetric<>>(histogram()); }).find("no finite value") != std::string::npos);
  CHECK(refusal([] { histogram h(1000); }).find("power of two") != std::string::npos);
  CHECK(refusal([] { histogram h(256); h.merge(histogram(512)); }).find("must be equal") != std::string::npos);
  CHECK(refusal([] { histogram().observe(vector_view<float const>{nullptr, 3, 1}); }).find("null") != std::string::npos);
  CHECK(refusal([] { moving_average m(0); }).find("constant is 0") != std::string::npos);
}

TEST_CASE("calibrators propose finite ranges for whatever is finite", "[calibrate]") {
  std::vector<float> const far(100, 3.4e38f), both{3.4e38f, -3.4e38f, 1.0f}, tiny(50, 1e-45f), below(70, -3.4028235e38f);
  for (auto const* x : {&far, &both, &tiny, &below}) {
    histogram h;
    h.observe(of(*x));
    for_each_type<calibrators>([&](auto tag) {
      for (code_facts const& s : {facts_of<symmetric<s8>>, facts_of<asymmetric<u8>>, facts_of<asymmetric<s4>>}) {
        real_range const r = typename decltype(tag)::type{}.range(h, s);
        INFO(decltype(tag)::type::name << " " << r.min << " to " << r.max << " for " << (*x)[0]);
        CHECK((std::isfinite(r.min) && std::isfinite(r.max) && r.min <= r.max));
      }
    });
  }
}

TEST_CASE("PyTorch's histogram survives ranges that grow without measure", "[calibrate][torch_histogram]") {
  torch_histogram h(torch_bins::exact);
  for (float scale : {1e-30f, 1e-6f, 1.0f, 3.0f, 1e6f, 1e30f}) {
    auto const x = normal(2000, 5, scale);
    h.observe(of(x));
  }
  double total = 0;
  for (index_t i = 0; i < torch_histogram::bins; ++i) total += h.bin(i);
  CHECK(total == Approx(12000).epsilon(1e-3));
  CHECK(h.span().max >= 1e30f);
  CHECK(h.range().max <= h.span().max);
}

TEST_CASE("per-channel observers see their own channel", "[calibrate][per_channel]") {
  std::vector<float> m = {1, -20, 300, 2, -10, 400, 0.5f, -5, 100, 4, -1, 200};  // 4 x 3
  per_channel_observer<histogram> columns(3), rows(4), pixels(3);
  columns.observe_columns(row_major<float const>(m.data(), 4, 3));
  rows.observe_rows(row_major<float const>(m.data(), 4, 3));
  pixels.observe_channels(nhwc<float const>(m.data(), 1, 2, 2, 3));
  CHECK(columns[1].range() == real_range{-20, -1});
  CHECK(rows[0].range() == real_range{-20, 300});
  CHECK(pixels[2].range() == columns[2].range());
  auto copy = columns;
  copy.merge(pixels);
  CHECK(copy[0].count() == 8);
  auto const ranges = copy.ranges();
  auto const p = choose_params<symmetric<s8, per_channel<1>>>(view(ranges));
  CHECK(p.scales[2] == 400.0f / 127);
  CHECK(refusal([&] { rows.observe_rows(row_major<float const>(m.data(), 3, 4)); }).find("must be equal") != std::string::npos);
  // NCHW through NHWC indices is not contiguous: the same channels
  std::vector<float> planar(12);
  for (int c = 0; c < 3; ++c)
    for (int p2 = 0; p2 < 4; ++p2) planar[static_cast<std::size_t>(c * 4 + p2)] = m[static_cast<std::size_t>(p2 * 3 + c)];
  per_channel_observer<histogram> nchw_observer(3);
  nchw_observer.observe_channels(nchw<float const>(planar.data(), 1, 3, 2, 2));
  for (index_t c = 0; c < 3; ++c) CHECK(nchw_observer[c].range() == columns[c].range());
}

namespace {
// A saved observer with whatever inside: head and checksum are right.
std::vector<std::uint8_t> blob(calibrate::observer_kind kind, std::vector<std::uint64_t> const& words, std::vector<float> const& floats = {}) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(calibrate::detail::blob_frame) + 8 * words.size() + 4 * floats.size());
  calibrate::detail::byte_writer w(view(bytes), kind, static_cast<index_t>(bytes.size()));
  for (std::uint64_t v : words) w.u64(v);
  for (float v : floats) w.f32(v);
  w.finish();
  return bytes;
}
vector_view<std::uint8_t const> of(std::vector<std::uint8_t> const& bytes) { return {bytes.data(), static_cast<index_t>(bytes.size()), 1}; }
}  // namespace

TEST_CASE("observers: options, batches, merging", "[errors][calibrate]") {
  using namespace calibrate;
  float const nothing[] = {NAN}, some[] = {1.0f, -2.0f};
  vector_view<float const> const missing{nullptr, 3, 1}, values = view(some);
  histogram empty, h(256);
  absolute_histogram a(128);
  empty.observe(view(nothing));
  h.observe(values), a.observe(values);
  auto const before = h;
  std::uint64_t const counts[] = {1, 2, 3};
  double const zeros[] = {0.0, 0.0};
  per_channel_observer<histogram> channels(3);
  refuse_all({
      {errc::argument, "absolute_histogram: first_bins is 127; it must be 128 to 65536.", [] { absolute_histogram h(127); }},
      {errc::argument, "absolute_histogram: merging bins of width 3.125e-2 into bins of 1.5625e-2; they must be equal: begin all with spanning(), or use histogram.",
       [&] { a.merge(absolute_histogram::spanning(4.0f, 128)); }},
      {errc::argument, "by_lp: p is 2.5e-1; it must be 0.5 to 16.", [&] { by_lp{.p = 0.25}.range<symmetric<>>(h); }},
      {errc::argument, "by_lp: lowest is 0; it must be above 0 and at most 1.", [&] { by_lp{.lowest = 0}.range<symmetric<>>(h); }},
      {errc::argument, "by_exact_grid: the histogram holds no finite value (1 NaN, 0 infinite); observe some data first.",
       [&] { by_exact_grid{}.range<symmetric<>>(empty); }},
      {errc::argument, "empirical: the histogram holds no finite value; observe some data first.", [&] { empirical e(empty); }},
      {errc::argument, "entropy_threshold: bits is 13; it must be 2 to 12.", [&] { entropy_threshold(view(counts), {.bits = 13}); }},
      {errc::argument, "entropy_threshold: first_candidate is 0 and stride 1; both must be at least 1.", [&] { entropy_threshold(view(counts), {.first_candidate = 0}); }},
      {errc::argument, "entropy_threshold: there are 3 bins; at least first_candidate = 128 are needed.", [&] { entropy_threshold(view(counts)); }},
      {errc::argument, "l2_search: the 2 bins hold nothing; observe some data first.", [&] { l2_search(view(zeros), 1.0, 8); }},
      {errc::argument, "histogram: half_bins is 96; it must be a power of two from 64 to 65536.", [] { histogram h(96); }},
      {errc::null, "histogram: the batch is null, but has 3 values.", [&] { h.observe(missing); }},
      {errc::shape, "histogram: merging 4096 bins into 512; the numbers must be equal.", [&] { h.merge(histogram()); }},
      {errc::null, "extremes: the batch is null, but has 3 values.", [&] { moving_average m; m.observe(missing); }},
      {errc::null, "extremes: the batch is null, but has 3 values.", [&] { robust_min_max m; m.observe(missing); }},
      {errc::null, "min_max: src is null, but it is not empty.", [&] { torch_histogram t; t.observe(missing); }},
      {errc::null, "min_max: src is null, but it is not empty.", [&] { a.observe(missing); }},
      {errc::shape, "min_max: an extent is negative; extents must be 0 or more.", [&] { range_of(vector_view<float const>{some, -1, 1}); }},
      {errc::argument, "robust_min_max: outliers is 5e-1; it must be at least 0 and below 0.5.", [] { robust_min_max().range(aggregate::mean, 0.5); }},
      {errc::argument, "per_channel_observer: channels is -1; it must not be negative.", [] { per_channel_observer<histogram> o(-1); }},
      {errc::shape, "per_channel_observer: the batch has 2 columns, the observer 3; they must be equal.", [&] { channels.observe_columns(row_major(some, 1, 2)); }},
      {errc::shape, "per_channel_observer: the batch has 5 channels, the observer 3; they must be equal.", [&] { channels.merge(per_channel_observer<histogram>(5)); }},
  });
  CHECK(h == before);
  CHECK(channels[0].batches() == 0);
}

TEST_CASE("saved observers: memory, damage, contradictions", "[errors][calibrate]") {
  using namespace calibrate;
  histogram const h(64);
  moving_average const m;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(h.serialized_size())), spread(2 * bytes.size(), 0x55);
  h.save(view(bytes));
  auto const damaged = [&](std::size_t at) {
    auto copy = bytes;
    copy[at] ^= 1;
    return copy;
  };
  auto const foreign = damaged(1), newer = damaged(5), longer = damaged(8), broken = damaged(70);
  std::vector<std::uint64_t> contradiction(7 + 2 * exact_sum::limbs + 1 + 128);
  contradiction[0] = 64, contradiction[2] = 5;  // five values, but none in a bin
  std::uint64_t const names = 3, nan_bits = 0x7fc000007fc00000u;
  min_max<per_channel<1>> columns;
  float const some[] = {1.0f, -2.0f};
  columns.observe(row_major(some, 1, 2));
  std::vector<std::uint8_t> of_columns(static_cast<std::size_t>(columns.serialized_size()));
  columns.save(view(of_columns));
  min_max<> tensor;
  tensor.observe(view(some));
  std::vector<std::uint8_t> ranges(static_cast<std::size_t>(tensor.serialized_size()));
  tensor.save(view(ranges));
  auto const patched = [](std::vector<std::uint8_t> b, std::size_t at, std::uint32_t word) {
    for (std::size_t i = 0; i < 4; ++i) b[at + i] = static_cast<std::uint8_t>(word >> (8 * i));
    std::uint32_t const sum = calibrate::detail::fnv1a(b.data(), static_cast<index_t>(b.size()) - 4);
    for (std::size_t i = 0; i < 4; ++i) b[b.size() - 4 + i] = static_cast<std::uint8_t>(sum >> (8 * i));
    return b;
  };
  auto const load = [](auto tag, std::vector<std::uint8_t> const& b) { return [=] { decltype(tag)::type::load(of(b)); }; };
  using is_histogram = std::type_identity<histogram>;
  using is_channels = std::type_identity<per_channel_observer<histogram>>;
  refuse_all({
      {errc::capacity, "save: dst has 19 bytes, the observer takes 40; ask serialized_size() first.", [&] { m.save({spread.data(), 19, 1}); }},
      {errc::argument, "save: dst has stride 2; it must be 1.", [&] { h.save({spread.data(), static_cast<index_t>(bytes.size()), 2}); }},
      {errc::format, "load: src has 19 bytes; a saved observer has at least 20, contiguous.", [&] { histogram::load({bytes.data(), 19, 1}); }},
      {errc::format, "load: src does not begin with \"QOBS\"; it is no saved observer.", load(is_histogram{}, foreign)},
      {errc::format, "load: src holds an observer of kind 1; this one is kind 4.", load(std::type_identity<torch_histogram>{}, bytes)},
      {errc::format, "load: src is of version 0; this library reads version 1.", load(is_histogram{}, newer)},
      {errc::format, "it is cut off or too long.", load(is_histogram{}, longer)},
      {errc::format, "load: src's checksum is wrong; it was damaged.", load(is_histogram{}, broken)},
      {errc::format, "load: src ends early, at byte 16.", load(is_histogram{}, blob(observer_kind::histogram, {}))},
      {errc::format, "load: src says 65 bins a side, which does not fit its 28 bytes.", load(is_histogram{}, blob(observer_kind::histogram, {65}))},
      {errc::format, "load: src's counts, range and width contradict each other.", load(is_histogram{}, blob(observer_kind::histogram, contradiction))},
      {errc::format, "load: src's range is NaN.",
       load(std::type_identity<moving_average>{}, blob(observer_kind::moving_average, {}, {0.5f, NAN, 1.0f, 0.0f, 0.0f}))},
      {errc::format, "load: src says 3 batches, which does not fit its size.", load(std::type_identity<robust_min_max>{}, blob(observer_kind::robust_min_max, {3}))},
      {errc::format, "load: batch 0 of src is no range.", load(std::type_identity<robust_min_max>{}, blob(observer_kind::robust_min_max, {1}, {2.0f, 1.0f}))},
      {errc::format, "load: src has 28 bytes; this observer takes 8224.", load(std::type_identity<torch_histogram>{}, blob(observer_kind::torch_histogram, {names}))},
      {errc::format, "in all, which contradict each other or its size.", load(std::type_identity<absolute_histogram>{}, blob(observer_kind::absolute_histogram, {1, 2, 3}))},
      {errc::format, "load: src says 9 channels, which does not fit its 28 bytes.", load(is_channels{}, blob(observer_kind::per_channel, {9}))},
      {errc::format, "load: src ends early: 1000 bytes are announced, 24 are left.", load(is_channels{}, blob(observer_kind::per_channel, {1, 1000, 0, 0, 0}))},
      {errc::format, "load: src has 8 bytes behind its last channel.", load(is_channels{}, blob(observer_kind::per_channel, {0, nan_bits}))},
      {errc::format, "load: src holds a min_max of another granularity than", load(std::type_identity<min_max<>>{}, of_columns)},
      {errc::format, "load: src says that it holds 7 ranges, but has 8 bytes for them.", load(std::type_identity<min_max<>>{}, patched(ranges, 20, 7))},
      {errc::format, "load: a range of src is NaN.", load(std::type_identity<min_max<>>{}, patched(ranges, 52, 0x7fc00000))},
  });
  for (std::uint8_t b : spread) REQUIRE(b == 0x55);
}
