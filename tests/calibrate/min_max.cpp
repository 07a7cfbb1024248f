#include <quern/calibrate/min_max.hpp>

#include "support/catch.hpp"
#include "support/isas.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace quern;
using calibrate::min_max;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

struct expected {
  std::vector<real_range> ranges;
  std::int64_t values = 0, nan = 0, infinite = 0;

  void see(index_t at, double value) {
    float const x = static_cast<float>(value);
    ++values;
    if (std::isnan(x)) ++nan;
    else if (std::isinf(x)) ++infinite;
    else {
      real_range& r = ranges[static_cast<std::size_t>(at)];
      r.min = std::min(r.min, x) + 0.0f;
      r.max = std::max(r.max, x) + 0.0f;
    }
  }
};

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

template <class G>
void require_same(expected const& want, min_max<G> const& got) {
  REQUIRE(got.size() == static_cast<index_t>(want.ranges.size()));
  bool same = true;
  for (index_t i = 0; i < got.size(); ++i) {
    auto const& w = want.ranges[static_cast<std::size_t>(i)];
    same = same && same_bits(w.min, got.range(i).min) && same_bits(w.max, got.range(i).max);
  }
  CHECK(same);
  CHECK(got.values() == want.values);
  CHECK(got.nan() == want.nan);
  CHECK(got.infinite() == want.infinite);
}

/// Mostly normal values, with the awkward ones sprinkled in.
template <class T>
std::vector<T> values(std::size_t n, unsigned seed, int awkward_in_1000) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  float const awkward[] = {not_a_number, inf, -inf, -not_a_number, 0.0f, -0.0f, FLT_MAX, -FLT_MAX, FLT_TRUE_MIN, -1e-40f};
  std::vector<T> v(n);
  for (auto& x : v) x = static_cast<T>(static_cast<int>(random() % 1000) < awkward_in_1000 ? awkward[random() % 10] : normal(random));
  return v;
}

template <class G, class T>
void check_matrix(matrix_view<T const> m, isa i) {
  auto const grid = grid_of<G>(m.rows, m.cols);
  expected want{std::vector<real_range>(static_cast<std::size_t>(grid.count()))};
  for (index_t r = 0; r < m.rows; ++r)
    for (index_t c = 0; c < m.cols; ++c) want.see(grid.at(r, c), static_cast<double>(m(r, c)));
  min_max<G> got;
  got.observe(m, i);
  require_same(want, got);
}

template <class G>
void check_tensor(tensor_view<float const> t, isa i) {
  auto const grid = grid_of<G>(t.n, t.h, t.w, t.c);
  expected want{std::vector<real_range>(static_cast<std::size_t>(grid.count()))};
  for (index_t b = 0; b < t.n; ++b)
    for (index_t y = 0; y < t.h; ++y)
      for (index_t x = 0; x < t.w; ++x)
        for (index_t c = 0; c < t.c; ++c) want.see(grid.at(b, y, x, c), t(b, y, x, c));
  min_max<G> got;
  got.observe(t, i);
  require_same(want, got);
}

using granularities = type_list<per_tensor, per_row, per_channel<0>, per_channel<1>, per_group<5>, per_group<32>, per_group<3, 0>>;

}  // namespace

TEST_CASE("min_max: every granularity, shape, stride and instruction set equals the obvious loop", "[calibrate][every]") {
  support::for_each_native_isa([](isa i) {
    for_each_type<granularities>([&](auto tag) {
      using G = typename decltype(tag)::type;
      INFO(granularity_name<G> << " " << name(i));
      for (auto [rows, cols] : {std::pair<index_t, index_t>{1, 1}, {1, 7}, {7, 1}, {3, 5}, {0, 4}, {4, 0}, {17, 33}, {33, 65}, {5, 600}, {40, 70}, {70, 31}, {600, 1}, {9, 2050}})
        for (int awkward : {0, 3, 400}) {
          auto const data = values<float>(static_cast<std::size_t>(2 * rows * cols + 3), 1, awkward);
          float const* const p = data.data();
          check_matrix<G, float>(row_major(p, rows, cols), i);
          check_matrix<G, float>(col_major(p, rows, cols), i);
          check_matrix<G, float>(row_major(p + 1, rows, cols, cols + 2 > 2 * cols ? cols : cols + 2), i);
          check_matrix<G, float>(matrix_view<float const>{p + 1, rows, cols, 2 * cols, 2}, i);
          if (rows > 0 && cols > 0)
            check_matrix<G, float>(matrix_view<float const>{p + rows * cols - 1, rows, cols, -cols, -1}, i);
        }
    });
  });
}

TEST_CASE("min_max: long lines, where one block of 4096 has a NaN and the others have none", "[calibrate]") {
  support::for_each_native_isa([](isa i) {
    for (std::size_t n : {4095u, 4096u, 4097u, 20000u})
      for (std::size_t bad : {0u, 5u, 4094u}) {
        auto data = values<float>(n, 7, 0);
        data[bad] = not_a_number;
        data[n / 2] = -inf;
        check_matrix<per_tensor, float>(row_major(data.data(), 1, static_cast<index_t>(n)), i);
      }
  });
}

TEST_CASE("min_max: columns of many rows, where one block has a NaN and the others have none", "[calibrate]") {
  support::for_each_native_isa([](isa i) {
    for (auto [rows, cols] : {std::pair<index_t, index_t>{1003, 70}, {70001, 1}, {30005, 3}, {513, 131}})
      for (std::size_t bad : {0u, 3u, 3001u, 70000u}) {
        auto data = values<float>(static_cast<std::size_t>(rows * cols + 200), 7, 0);
        if (bad > 0) data[bad] = not_a_number;
        check_matrix<per_channel<1>, float>(row_major(data.data(), rows, cols), i);
        if (bad == 3001) check_matrix<per_channel<1>, float>(row_major(data.data(), rows / 2, cols, 2 * cols), i);
      }
  });
}

TEST_CASE("min_max: NHWC and NCHW tensors", "[calibrate]") {
  support::for_each_native_isa([](isa i) {
    for_each_type<type_list<per_tensor, per_row, per_channel<0>, per_channel<1>, per_channel<2>, per_channel<3>, per_channel<-1>,
                            per_group<2>, per_group<2, 2>, per_group<2, 0>>>([&](auto tag) {
      using G = typename decltype(tag)::type;
      INFO(granularity_name<G> << " " << name(i));
      auto const data = values<float>(2 * 3 * 4 * 21, 3, 20);
      check_tensor<G>(nhwc(data.data(), 2, 3, 4, 21), i);
      check_tensor<G>(nhwc(data.data(), 2, 3, 28, 3), i);
      check_tensor<G>(nchw(data.data(), 2, 21, 3, 4), i);
      check_tensor<G>(tensor_view<float const>{data.data(), 2, 3, 3, 21, 252, 84, 21, 1}, i);  // a column cut off
      check_tensor<G>(nhwc(data.data(), 2, 0, 4, 21), i);
    });
  });
}

TEST_CASE("min_max: double, half and bfloat16", "[calibrate]") {
  auto const d = values<double>(9 * 600, 4, 5);
  auto const h = values<half>(9 * 600, 4, 5);
  auto const b = values<bfloat16>(9 * 600, 4, 5);
  for_each_type<granularities>([&](auto tag) {
    using G = typename decltype(tag)::type;
    check_matrix<G, double>(row_major(d.data(), 9, 600), isa::best);
    check_matrix<G, half>(row_major(h.data(), 9, 600), isa::best);
    check_matrix<G, bfloat16>(col_major(b.data(), 9, 600), isa::best);
  });
  double const beyond[] = {1e300, -1e-300, 2.0};
  auto const seen = calibrate::range_of(view(beyond));
  CHECK(seen.infinite == 1);
  CHECK(seen.range == real_range{0.0f, 2.0f});
}

TEST_CASE("min_max: batches in any order, streamed or merged, give the same bits", "[calibrate]") {
  auto const data = values<float>(64 * 100, 5, 10);
  min_max<per_channel<1>> whole, backwards, left, right;
  whole.observe(row_major(data.data(), 64, 100));
  for (index_t r = 63; r >= 0; --r) backwards.observe(row_major(data.data() + r * 100, 1, 100));
  left.observe(row_major(data.data(), 20, 100));
  right.observe(row_major(data.data() + 2000, 44, 100));
  right.merge(left);
  for (auto const* other : {&backwards, &right}) {
    for (index_t c = 0; c < 100; ++c) {
      CHECK(same_bits(whole.range(c).min, other->range(c).min));
      CHECK(same_bits(whole.range(c).max, other->range(c).max));
    }
    CHECK(other->values() == whole.values());
    CHECK(other->nan() == whole.nan());
    CHECK(other->infinite() == whole.infinite());
  }
  left.merge(min_max<per_channel<1>>{});
  CHECK(left.values() == 2000);
  left.reset();
  CHECK(left.size() == 0);
}

TEST_CASE("min_max: saved and loaded, it goes on as if nothing had happened; damage is refused", "[calibrate][save]") {
  auto const data = values<float>(40 * 9, 8, 20);
  min_max<per_channel<1>> whole, first;
  whole.observe(row_major(data.data(), 40, 9));
  first.observe(row_major(data.data(), 25, 9));
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(first.serialized_size()));
  first.save(view(bytes));
  auto const seen = view(std::as_const(bytes));
  auto second = min_max<per_channel<1>>::load(seen);
  second.observe(row_major(data.data() + 25 * 9, 15, 9));
  for (index_t c = 0; c < 9; ++c) {
    CHECK(same_bits(second.range(c).min, whole.range(c).min));
    CHECK(same_bits(second.range(c).max, whole.range(c).max));
  }
  CHECK(second.values() == whole.values());
  CHECK(second.nan() == whole.nan());
  CHECK(second.infinite() == whole.infinite());

  CHECK_THROWS_AS(min_max<per_row>::load(seen), error);
  for (index_t cut = 0; cut < seen.size; ++cut) CHECK_THROWS_AS(min_max<per_channel<1>>::load(seen.sub(0, cut)), error);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto damaged = bytes;
    damaged[i] ^= 0x10;
    CHECK_THROWS_AS(min_max<per_channel<1>>::load(view(std::as_const(damaged))), error);
  }
  std::vector<std::uint8_t> small(bytes.size() - 1);
  CHECK_THROWS_AS(first.save(view(small)), error);
}

TEST_CASE("min_max: zeros of either sign and nothing at all", "[calibrate]") {
  float const zeros[] = {-0.0f, 0.0f, -0.0f};
  auto const seen = calibrate::range_of(view(zeros));
  CHECK(same_bits(seen.range.min, 0.0f));
  CHECK(same_bits(seen.range.max, 0.0f));
  float const nothing[] = {not_a_number, inf};
  auto const none = calibrate::range_of(view(nothing));
  CHECK(none.range.empty());
  CHECK(none.nan == 1);
  CHECK(none.infinite == 1);
  CHECK(choose_params<symmetric<>>(none.range).scale == 1.0f);
  CHECK(calibrate::range_of(vector_view<float const>{}).values == 0);
}

TEST_CASE("min_max: other shapes, null and negative extents are refused", "[calibrate][errors]") {
  float const data[12] = {};
  min_max<per_channel<1>> seen;
  seen.observe(row_major(data, 3, 4));
  auto const refused = [](auto call) {
    try {
      call();
    } catch (error const& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(refused([&] { seen.observe(row_major(data, 4, 3)); }) ==
        "min_max: this batch or observer has 3 ranges, the ones before had 4; they must agree.");
  CHECK(refused([&] {
          min_max<per_channel<1>> other;
          other.observe(row_major(data, 1, 2));
          seen.merge(other);
        }).find("has 2 ranges") != std::string::npos);
  CHECK(refused([&] { seen.observe(matrix_view<float const>{nullptr, 3, 4, 4, 1}); }) == "min_max: src is null, but it is not empty.");
  CHECK(refused([&] { seen.observe(matrix_view<float const>{data, -3, 4, 4, 1}); }).find("negative") != std::string::npos);
  CHECK(seen.values() == 12);
}
