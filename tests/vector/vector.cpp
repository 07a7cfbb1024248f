// int8 vectors as users call them: values, bounds, encodings, scores, the k nearest, and what is refused.
#include "support/catch.hpp"
#include "support/isas.hpp"

#include <quern/dispatch/thread_pool.hpp>
#include <quern/ops/vector_search.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

using namespace quern;

namespace {

template <class T>
std::vector<T> random_codes(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<T> codes(size);
  for (T& c : codes) c = static_cast<T>(random());
  return codes;
}
std::vector<float> random_floats(std::size_t size, float lo, float hi, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> x(size);
  for (float& v : x) v = lo + (hi - lo) * static_cast<float>(random() >> 8) * 0x1p-24f;
  return x;
}
template <class T>
vector_view<T const> part(std::vector<T> const& v, index_t first, index_t n) {
  return {v.data() + first, n, 1};
}

/// The sentence of the error that `f` makes.
template <class F>
std::string sentence(errc code, F&& f) {
  try {
    f();
  } catch (error const& e) {
    CHECK(e.code() == code);
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("vector: dot, squared_l2 and cosine of small vectors", "[vector]") {
  std::int8_t const a[] = {1, -2, 3, -128}, b[] = {-128, 5, 7, -128};
  CHECK(dot(view(a), view(b)) == -128 - 10 + 21 + 16384);
  CHECK(squared_l2(view(a), view(b)) == 129 * 129 + 49 + 16 + 0);
  std::uint8_t const c[] = {255, 0, 1, 255};
  CHECK(dot(view(a), view(c)) == 255 + 3 - 128 * 255);
  CHECK(dot(view(c), view(a)) == dot(view(a), view(c)));
  CHECK(cosine(view(a), view(a)) == 1.0f);
  std::int8_t const opposite[] = {-1, 2, -3, 127}, zeros[] = {0, 0, 0, 0};
  CHECK(cosine(view(a), view(opposite)) < -0.99f);
  CHECK(cosine(view(a), view(zeros)) == 0.0f);
  CHECK(dot(vector_view<std::int8_t const>{}, vector_view<std::int8_t const>{}) == 0);
}

TEST_CASE("vector: sums beyond int32 are exact", "[vector][bound]") {
  // 100,000 dimensions of 255·255 are 3 times what an int32 holds: the wrong sign in libraries that do not look.
  for (index_t n : {33025, 33026, 65793, 65794, 100000, 131071, 131072, 300001}) {
    std::vector<std::uint8_t> const u(static_cast<std::size_t>(n), 255), z(static_cast<std::size_t>(n), 0);
    std::vector<std::int8_t> const s(static_cast<std::size_t>(n), -128), p(static_cast<std::size_t>(n), 127);
    support::for_each_native_isa([&](isa) {
      CHECK(dot(view(u), view(u)) == 65025 * std::int64_t{n});
      CHECK(dot(view(s), view(s)) == 16384 * std::int64_t{n});
      CHECK(dot(view(u), view(s)) == -32640 * std::int64_t{n});
      CHECK(squared_l2(view(u), view(z)) == 65025 * std::int64_t{n});
      CHECK(squared_l2(view(s), view(p)) == 65025 * std::int64_t{n});
      CHECK(cosine(view(s), view(s)) == 1.0f);
    });
  }
}

TEST_CASE("vector: dot_each is exact up to its bound on the dimensions and refuses more", "[vector][bound]") {
  static_assert(max_dot_dimensions<std::int8_t, std::int8_t> == std::numeric_limits<std::int32_t>::max() / (128 * 128));
  static_assert(max_dot_dimensions<std::uint8_t, std::int8_t> == std::numeric_limits<std::int32_t>::max() / (255 * 128));
  static_assert(max_dot_dimensions<std::uint8_t, std::uint8_t> == std::numeric_limits<std::int32_t>::max() / (255 * 255));
  static_assert(max_l2_dimensions == std::numeric_limits<std::int32_t>::max() / (255 * 255));
  std::vector<std::int8_t> const s(131072, -128);
  std::vector<std::uint8_t> const u(65794, 255), z(65794, 0);
  support::for_each_native_isa([&](isa) {
    std::int32_t out[1] = {};
    dot_each(part(s, 0, 131071), row_major(s.data(), 1, 131071), view(out));
    CHECK(out[0] == 2147467264);
    dot_each(part(u, 0, 33025), row_major(u.data(), 1, 33025), view(out));
    CHECK(out[0] == 2147450625);
    dot_each(part(u, 0, 65793), row_major(s.data(), 1, 65793), view(out));
    CHECK(out[0] == -2147483520);
    squared_l2_each(part(u, 0, 33025), row_major(z.data(), 1, 33025), view(out));
    CHECK(out[0] == 2147450625);
  });
  std::int32_t out[1] = {77};
  CHECK(sentence(errc::depth, [&] { dot_each(part(u, 0, 33026), row_major(u.data(), 1, 33026), view(out)); }) ==
        "dot_each: 33026 dimensions, but int32 is exact for these types only up to 33025; compare pairs, whose sums are int64, or use scores().");
  CHECK(sentence(errc::depth, [&] { dot_each(view(s), row_major(s.data(), 1, 131072), view(out)); }).find("131071") != std::string::npos);
  CHECK(sentence(errc::depth, [&] { dot_each(view(u), row_major(s.data(), 1, 65794), view(out)); }).find("65793") != std::string::npos);
  CHECK(sentence(errc::depth, [&] { squared_l2_each(part(u, 0, 33026), row_major(z.data(), 1, 33026), view(out)); }).find("33025") != std::string::npos);
  CHECK(out[0] == 77);
}

TEST_CASE("vector: strided vectors and gaps between rows", "[vector]") {
  auto const a = random_codes<std::int8_t>(3 * 101, 1), b = random_codes<std::int8_t>(2 * 101, 2);
  vector_view<std::int8_t const> const third{a.data(), 101, 3}, backwards{b.data() + 2 * 100, 101, -2};
  std::int64_t expected = 0, distance = 0;
  for (index_t i = 0; i < 101; ++i) {
    expected += third[i] * backwards[i];
    distance += (third[i] - backwards[i]) * (third[i] - backwards[i]);
  }
  CHECK(dot(third, backwards) == expected);
  CHECK(squared_l2(third, backwards) == distance);
  auto const vectors = random_codes<std::int8_t>(9 * 50, 3);
  matrix_view<std::int8_t const> const gaps{vectors.data(), 9, 37, 50, 1}, upwards{vectors.data() + 8 * 50, 9, 37, -50, 1};
  std::int32_t down[9], up[9];
  dot_each(part(a, 0, 37), gaps, view(down));
  dot_each(part(a, 0, 37), upwards, view(up));
  for (index_t r = 0; r < 9; ++r) {
    CHECK(down[r] == dot(part(a, 0, 37), gaps.row(r)));
    CHECK(up[8 - r] == down[r]);
  }
}

TEST_CASE("vector: one against many equals the pairs, for every number of vectors and any executor", "[vector]") {
  thread_pool pool(3);
  index_t const n = 77;
  auto const query = random_codes<std::uint8_t>(static_cast<std::size_t>(n), 4);
  auto const vectors = random_codes<std::uint8_t>(static_cast<std::size_t>(200 * n), 5);
  support::for_each_native_isa([&](isa) {
    for (index_t rows : {0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 130, 200})
      for (bool threads : {false, true}) {
        vector_options options;
        if (threads) options.executor = pool;
        std::vector<std::int32_t> dots(static_cast<std::size_t>(rows)), distances(static_cast<std::size_t>(rows));
        auto const m = row_major(vectors.data(), rows, n);
        dot_each(view(query), m, view(dots), options);
        squared_l2_each(view(query), m, view(distances), options);
        for (index_t r = 0; r < rows; ++r) {
          REQUIRE(dots[static_cast<std::size_t>(r)] == dot(view(query), m.row(r)));
          REQUIRE(distances[static_cast<std::size_t>(r)] == squared_l2(view(query), m.row(r)));
        }
      }
  });
}

TEST_CASE("vector: encode quantizes with the range of the vector, and its sums are those of its codes", "[vector][encode]") {
  auto const x = random_floats(100, -1.0f, 3.0f, 6);
  std::vector<std::int8_t> s(100);
  std::vector<std::uint8_t> u(100);
  vector_encoding const es = encode(view(x), view(s));
  vector_encoding const eu = encode<asymmetric<u8>>(view(x), view(u));
  CHECK(es.zero_point == 0);
  CHECK(eu.zero_point > 0);
  std::int64_t sum_s = 0, norm_s = 0, sum_u = 0, norm_u = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    sum_s += s[i];
    norm_s += s[i] * s[i];
    sum_u += u[i];
    norm_u += (u[i] - eu.zero_point) * (u[i] - eu.zero_point);
    CHECK(std::abs(x[i] - es.scale * static_cast<float>(s[i])) <= es.scale * 0.5001f);
    CHECK(std::abs(x[i] - eu.scale * static_cast<float>(u[i] - eu.zero_point)) <= eu.scale * 1.0001f);
    CHECK(s[i] == static_cast<std::int8_t>(std::nearbyint(x[i] / es.scale)));
  }
  CHECK(es.sum == sum_s);
  CHECK(es.norm == norm_s);
  CHECK(eu.sum == sum_u);
  CHECK(eu.norm == norm_u);
}

TEST_CASE("vector: encode of NaN, infinities and nothing", "[vector][encode]") {
  float const inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  float const x[] = {1.0f, nan, -inf, inf, -2.0f, 0.0f};
  std::uint8_t codes[6];
  vector_encoding const e = encode<asymmetric<u8>>(vector_view<float const>(view(x)), view(codes));
  CHECK(codes[1] == e.zero_point);
  CHECK(codes[5] == e.zero_point);
  CHECK(codes[2] == 0);
  CHECK(codes[3] == 255);
  CHECK(codes[0] == 255);
  CHECK(codes[4] == 0);
  vector_encoding const none = encode<symmetric<s8>>(vector_view<float const>{}, vector_view<std::int8_t>{});
  CHECK(none.sum == 0);
  CHECK(none.norm == 0);
}

TEST_CASE("vector: scores of affine codes have their cross terms", "[vector][scores]") {
  // Opposite vectors far from the origin of their codes: without the cross terms both look alike.
  std::vector<float> x(64), y(64);
  for (std::size_t i = 0; i < 64; ++i) x[i] = (i % 2 ? 1.0f : -0.4f), y[i] = -x[i];
  std::vector<std::uint8_t> cx(64), cy(64);
  auto const ex = encode<asymmetric<u8>>(view(std::as_const(x)), view(cx)), ey = encode<asymmetric<u8>>(view(std::as_const(y)), view(cy));
  CHECK(cosine(view(cx), view(cy)) > -0.5f);  // the codes as plain numbers: far from opposite
  CHECK(score(similarity::cosine, view(cx), ex, view(cy), ey) < -0.999f);
  CHECK(score(similarity::dot, view(cx), ex, view(cx), ex) == Approx(32 * (1.0 + 0.16)).epsilon(0.01));
  CHECK(score(similarity::squared_l2, view(cx), ex, view(cy), ey) == Approx(4 * 32 * (1.0 + 0.16)).epsilon(0.01));
  CHECK(score(similarity::squared_l2, view(cx), ex, view(cx), ex) == 0.0f);
}

TEST_CASE("vector: scores equal what the decoded vectors give in double, and are the same bits everywhere", "[vector][scores]") {
  thread_pool pool(2);
  index_t const n = 67, rows = 133;
  auto const data = random_floats(static_cast<std::size_t>(rows * n), -2.0f, 5.0f, 8);
  auto const q = random_floats(static_cast<std::size_t>(n), -3.0f, 1.0f, 9);
  std::vector<std::uint8_t> codes(data.size()), query(q.size());
  std::vector<vector_encoding> encodings;
  for (index_t r = 0; r < rows; ++r)
    encodings.push_back(encode<asymmetric<u8>>(part(data, r * n, n), vector_view<std::uint8_t>{codes.data() + r * n, n, 1}));
  auto const eq = encode<asymmetric<u8>>(view(q), view(query));
  vector_set<std::uint8_t> const set{row_major(std::as_const(codes).data(), rows, n), encodings.data()};
  for (similarity s : {similarity::dot, similarity::squared_l2, similarity::cosine}) {
    std::vector<float> first(static_cast<std::size_t>(rows)), asymmetric_first(first.size());
    scores(s, view(query), eq, set, view(first), {.max_isa = isa::baseline});
    scores(s, vector_view<float const>(view(q)), set, view(asymmetric_first), {.max_isa = isa::baseline});
    for (index_t r = 0; r < rows; ++r) {
      double product = 0, nq = 0, nc = 0, mixed = 0, nx = 0;
      for (index_t i = 0; i < n; ++i) {
        auto const a = static_cast<double>(eq.scale) * (query[static_cast<std::size_t>(i)] - eq.zero_point);
        auto const& e = encodings[static_cast<std::size_t>(r)];
        auto const b = static_cast<double>(e.scale) * (codes[static_cast<std::size_t>(r * n + i)] - e.zero_point);
        auto const x = static_cast<double>(q[static_cast<std::size_t>(i)]);
        product += a * b, nq += a * a, nc += b * b, mixed += x * b, nx += x * x;
      }
      double const expected = s == similarity::dot ? product : s == similarity::squared_l2 ? nq + nc - 2 * product : product / std::sqrt(nq * nc);
      double const half = s == similarity::dot ? mixed : s == similarity::squared_l2 ? nx + nc - 2 * mixed : mixed / std::sqrt(nx * nc);
      CHECK(first[static_cast<std::size_t>(r)] == Approx(expected).epsilon(1e-6));
      CHECK(asymmetric_first[static_cast<std::size_t>(r)] == Approx(half).epsilon(1e-4));
      CHECK(score(s, view(query), eq, set.codes.row(r), encodings[static_cast<std::size_t>(r)]) == first[static_cast<std::size_t>(r)]);
    }
    support::for_each_native_isa([&](isa) {
      std::vector<float> again(first.size()), asymmetric_again(first.size());
      scores(s, view(query), eq, set, view(again), {.executor = pool});
      scores(s, vector_view<float const>(view(q)), set, view(asymmetric_again), {.executor = pool});
      CHECK(std::memcmp(again.data(), first.data(), first.size() * sizeof(float)) == 0);
      CHECK(std::memcmp(asymmetric_again.data(), asymmetric_first.data(), first.size() * sizeof(float)) == 0);
    });
  }
}

TEST_CASE("vector: codes without encodings score as the integers they are", "[vector][scores]") {
  auto const codes = random_codes<std::int8_t>(20 * 33, 10), query = random_codes<std::int8_t>(33, 11);
  vector_set<std::int8_t> const set{row_major(codes.data(), 20, 33)};
  std::vector<float> out(20), real(20);
  std::vector<float> const x(query.begin(), query.end());
  for (similarity s : {similarity::dot, similarity::squared_l2, similarity::cosine}) {
    scores(s, view(query), encoding_of(view(query)), set, view(out));
    scores(s, vector_view<float const>(view(x)), set, view(real));
    for (index_t r = 0; r < 20; ++r) {
      auto const row = set.codes.row(r);
      float const expected = s == similarity::dot          ? static_cast<float>(dot(view(query), row))
                             : s == similarity::squared_l2 ? static_cast<float>(squared_l2(view(query), row))
                                                           : cosine(view(query), row);
      CHECK(out[static_cast<std::size_t>(r)] == expected);
      CHECK(real[static_cast<std::size_t>(r)] == Approx(expected).epsilon(1e-5));
    }
  }
}

TEST_CASE("vector: search finds what sorting all scores finds, ties by index, on every instruction set and executor", "[vector][search]") {
  thread_pool pool(3);
  for (index_t n : {3, 64, 130}) {
    for (auto sizes : {std::pair<index_t, index_t>{1, 1}, {1, 200}, {5, 64}, {7, 500}, {19, 130}, {33, 700}}) {
      index_t const queries = sizes.first, rows = sizes.second;
      // Few different codes, so that there are many ties.
      auto q = random_codes<std::int8_t>(static_cast<std::size_t>(queries * n), 12), c = random_codes<std::int8_t>(static_cast<std::size_t>(rows * n), 13);
      for (auto& v : q) v = static_cast<std::int8_t>(v % (n == 3 ? 3 : 100));
      for (auto& v : c) v = static_cast<std::int8_t>(v % (n == 3 ? 3 : 100));
      vector_set<std::int8_t> const query_set{row_major(q.data(), queries, n)}, set{row_major(c.data(), rows, n)};
      for (similarity s : {similarity::dot, similarity::squared_l2, similarity::cosine}) {
        index_t const k = 10;
        std::vector<neighbour> expected;
        for (index_t i = 0; i < queries; ++i) {
          std::vector<float> all(static_cast<std::size_t>(rows));
          scores(s, query_set.codes.row(i), encoding_of(query_set.codes.row(i)), set, view(all));
          std::vector<neighbour> sorted;
          for (index_t r = 0; r < rows; ++r) sorted.push_back({r, all[static_cast<std::size_t>(r)]});
          std::stable_sort(sorted.begin(), sorted.end(), [&](neighbour a, neighbour b) {
            return s == similarity::squared_l2 ? a.score < b.score : a.score > b.score;
          });
          sorted.resize(static_cast<std::size_t>(k));  // {-1, 0} behind the last one
          expected.insert(expected.end(), sorted.begin(), sorted.end());
        }
        support::for_each_native_isa([&](isa i) {
          for (bool threads : {false, true}) {
            CAPTURE(name(i), n, queries, rows, static_cast<int>(s), threads);
            vector_options options;
            if (threads) options.executor = pool;
            std::vector<neighbour> found(static_cast<std::size_t>(queries * k), neighbour{99, 99});
            search(s, query_set, set, k, row_major(found.data(), queries, k), options);
            REQUIRE(found == expected);
          }
        });
      }
    }
  }
}

TEST_CASE("vector: search leaves out no score that a bound in float cannot tell from the best", "[vector][search]") {
  index_t const queries = 8, rows = 240, k = 3;
  float const scales[] = {1,      1.00000012f, 0.99999994f, 0x1p-40f, 0x1p40f, 0x1p-41f, 0x1.000002p40f, 1e30f,
                          1e-30f, 1e-45f,      3.4e38f,     0,        -1,      1e-3f,    std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()};
  std::mt19937 random(21);
  for (int kind = 0; kind < 4; ++kind) {
    // Near ties of 2^24 and more; all scales; norms that are not the codes' own; zero points here and there.
    index_t const n = kind == 0 ? 1536 : 20;
    std::vector<std::int8_t> q(static_cast<std::size_t>(queries * n)), c(static_cast<std::size_t>(rows * n));
    for (index_t i = 0; i < queries * n; ++i) q[static_cast<std::size_t>(i)] = static_cast<std::int8_t>(kind == 0 ? (i / n % 2 == 0 ? 127 : -127) : static_cast<int>(random() % 256) - 128);
    for (index_t i = 0; i < rows * n; ++i)
      c[static_cast<std::size_t>(i)] = static_cast<std::int8_t>(kind == 0 ? 127 - (i % n < 2 ? static_cast<int>(random() % 3) : 0) : static_cast<int>(random() % 256) - 128);
    std::vector<vector_encoding> eq, ec;
    auto const encode_all = [&](std::vector<std::int8_t> const& codes, std::vector<vector_encoding>& to) {
      for (index_t r = 0; r * n < static_cast<index_t>(codes.size()); ++r) {
        vector_encoding e = encoding_of(part(codes, r * n, n), 1.0f, kind == 3 && random() % 4 == 0 ? static_cast<std::int32_t>(random() % 9) - 4 : 0);
        e.scale = kind == 0 ? scales[random() % 3] : scales[random() % 16];
        if (kind == 2) e.norm = static_cast<std::int64_t>(random()) * (random() % 2 == 0 ? 1 : -1) >> random() % 32;
        to.push_back(e);
      }
    };
    encode_all(q, eq);
    encode_all(c, ec);
    vector_set<std::int8_t> const query_set{row_major(q.data(), queries, n), eq.data()}, set{row_major(c.data(), rows, n), ec.data()};
    for (similarity s : {similarity::dot, similarity::squared_l2, similarity::cosine}) {
      std::vector<neighbour> expected;
      for (index_t i = 0; i < queries; ++i) {
        std::vector<neighbour> sorted;
        for (index_t r = 0; r < rows; ++r) {
          float const x = score(s, query_set.codes.row(i), eq[static_cast<std::size_t>(i)], set.codes.row(r), ec[static_cast<std::size_t>(r)]);
          sorted.push_back({r, !std::isnan(x) ? x : std::numeric_limits<float>::infinity() * (s == similarity::squared_l2 ? 1.0f : -1.0f)});
        }
        std::stable_sort(sorted.begin(), sorted.end(), [&](neighbour a, neighbour b) { return s == similarity::squared_l2 ? a.score < b.score : a.score > b.score; });
        expected.insert(expected.end(), sorted.begin(), sorted.begin() + k);
      }
      support::for_each_native_isa([&](isa i) {
        CAPTURE(name(i), kind, static_cast<int>(s));
        std::vector<neighbour> found(static_cast<std::size_t>(queries * k));
        search(s, query_set, set, k, row_major(found.data(), queries, k), {.max_isa = i});
        REQUIRE(found == expected);
      });
    }
  }
}

TEST_CASE("vector: search with encodings, mixed types, vectors longer than a block, and k of 0 or more than there are", "[vector][search]") {
  index_t const n = 40000, rows = 9;
  auto const c = random_codes<std::uint8_t>(static_cast<std::size_t>(rows * n), 14);
  auto const q = random_codes<std::int8_t>(static_cast<std::size_t>(2 * n), 15);
  std::vector<vector_encoding> ec, eq;
  for (index_t r = 0; r < rows; ++r) ec.push_back(encoding_of(part(c, r * n, n), 0.5f + 0.1f * static_cast<float>(r), 100 + static_cast<std::int32_t>(r)));
  for (index_t r = 0; r < 2; ++r) eq.push_back(encoding_of(part(q, r * n, n), 0.25f, -3));
  vector_set<std::uint8_t> const set{row_major(c.data(), rows, n), ec.data()};
  vector_set<std::int8_t> const queries{row_major(q.data(), 2, n), eq.data()};
  std::vector<neighbour> found(2 * 12);
  search(similarity::squared_l2, queries, set, 12, row_major(found.data(), 2, 12));
  for (index_t i = 0; i < 2; ++i) {
    for (index_t j = 0; j < rows; ++j) {
      neighbour const f = found[static_cast<std::size_t>(i * 12 + j)];
      REQUIRE(f.index >= 0);
      CHECK(f.score == score(similarity::squared_l2, queries.codes.row(i), eq[static_cast<std::size_t>(i)], set.codes.row(f.index), ec[static_cast<std::size_t>(f.index)]));
      if (j > 0) CHECK(found[static_cast<std::size_t>(i * 12 + j - 1)].score <= f.score);
    }
    for (index_t j = rows; j < 12; ++j) CHECK(found[static_cast<std::size_t>(i * 12 + j)] == neighbour{});
  }
  search(similarity::dot, queries, set, 0, matrix_view<neighbour>{nullptr, 2, 0, 0, 1});
  search(similarity::dot, vector_set<std::int8_t>{{nullptr, 0, n, n, 1}}, set, 3, matrix_view<neighbour>{nullptr, 0, 3, 3, 1});
}

TEST_CASE("vector: a set with encodings against one without: plain codes have a sum too", "[vector][search]") {
  index_t const n = 37, rows = 5;
  auto const c = random_codes<std::int8_t>(static_cast<std::size_t>(rows * n), 17), q = random_codes<std::int8_t>(static_cast<std::size_t>(rows * n), 18);
  auto const both = [&](bool query_encoded) {
    std::vector<vector_encoding> e, plain;
    for (index_t r = 0; r < rows; ++r) {
      e.push_back(encoding_of(part(query_encoded ? q : c, r * n, n), 0.5f, 100 - static_cast<std::int32_t>(r)));
      plain.push_back(encoding_of(part(query_encoded ? c : q, r * n, n)));
    }
    vector_set<std::int8_t> const queries{row_major(q.data(), rows, n), query_encoded ? e.data() : nullptr};
    vector_set<std::int8_t> const set{row_major(c.data(), rows, n), query_encoded ? nullptr : e.data()};
    for (similarity s : {similarity::dot, similarity::squared_l2, similarity::cosine}) {
      std::vector<neighbour> found(rows * rows);
      search(s, queries, set, rows, row_major(found.data(), rows, rows));
      for (index_t i = 0; i < rows; ++i) {
        std::vector<float> all(rows);
        vector_encoding const eq = (query_encoded ? e : plain)[static_cast<std::size_t>(i)];
        scores(s, queries.codes.row(i), eq, set, view(all));
        for (index_t j = 0; j < rows; ++j) {
          neighbour const f = found[static_cast<std::size_t>(i * rows + j)];
          CHECK(f.score == score(s, queries.codes.row(i), eq, set.codes.row(f.index), (query_encoded ? plain : e)[static_cast<std::size_t>(f.index)]));
          CHECK(f.score == all[static_cast<std::size_t>(f.index)]);
        }
      }
    }
  };
  both(true);
  both(false);
}

TEST_CASE("vector: mistakes are named before anything is written", "[vector][errors]") {
  std::int8_t const a[4] = {}, b[5] = {};
  std::int32_t out[3] = {7, 7, 7};
  float real[3] = {7, 7, 7};
  vector_view<std::int8_t const> const null{nullptr, 4, 1};
  CHECK(sentence(errc::shape, [&] { dot(view(a), view(b)); }) == "dot: a has 4 elements, b 5; they must have as many.");
  CHECK(sentence(errc::shape, [&] { squared_l2(view(a), view(b)); }).find("squared_l2") == 0);
  CHECK(sentence(errc::shape, [&] { cosine(view(a), view(b)); }).find("cosine") == 0);
  CHECK(sentence(errc::null, [&] { dot(view(a), null); }) == "dot: b is null, but has 4 elements.");
  CHECK(sentence(errc::shape, [&] { dot_each(view(a), row_major(b, 1, 5), view(out)); }) ==
        "dot_each: the query has 4 dimensions, vectors 5; they must be equal.");
  CHECK(sentence(errc::shape, [&] { dot_each(view(a), row_major(a, 2, 2).transposed(), view(out)); }) != "no error");
  CHECK(sentence(errc::shape, [&] { dot_each(view(a), row_major(a, 1, 4), view(out)); }).find("out has 3 elements") != std::string::npos);
  CHECK(sentence(errc::shape, [&] { dot_each(vector_view<std::int8_t const>{b, 2, 2}, row_major(a, 2, 2), view(out)); }).find("adjacent") != std::string::npos);
  CHECK(sentence(errc::shape, [&] { dot_each(vector_view<std::int8_t const>{b, 2, 1}, col_major(a, 2, 2), vector_view<std::int32_t>{out, 2, 1}); }).find("col_stride") != std::string::npos);
  CHECK(sentence(errc::null, [&] { dot_each(view(a), matrix_view<std::int8_t const>{nullptr, 3, 4, 4, 1}, view(out)); }).find("vectors is null") != std::string::npos);
  float const x[4] = {};
  std::int8_t codes[4] = {9, 9, 9, 9};
  CHECK(sentence(errc::shape, [&] { encode(view(x), vector_view<std::int8_t>{codes, 3, 1}); }).find("codes 3") != std::string::npos);
  CHECK(sentence(errc::scale, [&] { encode(view(x), params<symmetric<s8>>{.scale = -1.0f}, view(codes)); }) != "no error");
  CHECK(sentence(errc::zero_point, [&] { encode(view(x), params<asymmetric<s8>>{.scale = 1.0f, .zero_point = 200}, view(codes)); }) != "no error");
  CHECK(sentence(errc::scale, [&] { encoding_of(view(a), 0.0f); }).find("encoding_of: scale is 0") == 0);
  vector_set<std::int8_t> const set{row_major(a, 2, 2)}, one{row_major(a, 1, 4)};
  CHECK(sentence(errc::shape, [&] { scores(similarity::dot, view(a), vector_encoding{}, set, view(real)); }).find("4 dimensions, corpus 2") != std::string::npos);
  CHECK(sentence(errc::shape, [&] { scores(similarity::dot, vector_view<float const>(view(x)), one, view(real)); }).find("out has 3") != std::string::npos);
  neighbour found[4];
  CHECK(sentence(errc::shape, [&] { search(similarity::dot, one, set, 2, row_major(found, 1, 2)); }).find("search") == 0);
  CHECK(sentence(errc::shape, [&] { search(similarity::dot, set, set, 2, row_major(found, 1, 2)); }) ==
        "search: out is 1 x 2; it must be queries x k, 2 x 2.");
  CHECK(sentence(errc::argument, [&] { search(similarity::dot, set, set, -1, row_major(found, 1, 2)); }).find("k is -1") != std::string::npos);
  for (std::int32_t o : out) CHECK(o == 7);
  for (float o : real) CHECK(o == 7);
  for (std::int8_t c : codes) CHECK(c == 9);
  for (neighbour f : found) CHECK(f == neighbour{});
}

TEST_CASE("vector: an executor that throws leaves through search", "[vector][errors]") {
  auto const throwing = [](index_t, auto const&) { throw std::runtime_error("no threads today"); };
  auto const codes = random_codes<std::int8_t>(64 * 40, 16);
  vector_set<std::int8_t> const set{row_major(codes.data(), 64, 40)};
  std::vector<neighbour> found(64 * 3);
  REQUIRE_THROWS_AS(search(similarity::dot, set, set, 3, row_major(found.data(), 64, 3), {.executor = throwing}), std::runtime_error);
}
