// vector.cpp — int8 vectors: a pair in L1, one query against vectors in L2 and beyond, and the ten best of many for many queries.
//
//     vector/<library>/<isa>/<types>-<operation>/<vectors>x<dimensions>/threads:<t>
//
// GB/s counts what is read: both vectors of a pair, the corpus otherwise. Beside quern: the loop that people write, and float.
#include "peaks.hpp"
#include "support.hpp"

#include <quern/ops/vector_search.hpp>

#include <memory>

namespace quern::bench {

// vector_loop.cpp, compiled with -O3 -march=native.
std::int32_t loop_dot(std::int8_t const* a, std::int8_t const* b, index_t n);
std::int32_t loop_squared_l2(std::int8_t const* a, std::int8_t const* b, index_t n);
float loop_dot(float const* a, float const* b, index_t n);
extern char const* const loop_isa;

namespace {

template <class T>
std::shared_ptr<buffer<T>> codes(index_t size, unsigned seed) {
  return std::make_shared<buffer<T>>(random_integers<T>(size, std::is_signed_v<T> ? -128 : 0, std::is_signed_v<T> ? 127 : 255, seed));
}

std::string vector_name(std::string const& library, std::string const& isa_name, std::string const& what, index_t rows, index_t n) {
  return "vector/" + library + "/" + isa_name + "/" + what + "/" + std::to_string(rows) + "x" + std::to_string(n) + "/threads:1";
}

double bandwidth(double bytes) { return read_bandwidth(static_cast<std::size_t>(bytes)); }

template <class A, class B>
void register_pair(isa i, char const* types, bool l2) {
  for (index_t n : {128, 768, 1536}) {
    double const bytes = 2.0 * static_cast<double>(n);
    add({.name = vector_name("quern", name(i), std::string(types) + (l2 ? "-squared_l2" : "-dot"), 1, n),
         .bytes = bytes,
         .peak = [=] { return bandwidth(16384); },
         .prepare = [=](check& c) -> body {
           auto a = codes<A>(n, 1);
           auto b = codes<B>(n, 2);
           std::int64_t got = 0, expected = 0;
           for (index_t k = 0; k < n; ++k) expected += l2 ? ((*a)[k] - (*b)[k]) * ((*a)[k] - (*b)[k]) : (*a)[k] * (*b)[k];
           vector_options const o{.max_isa = i};
           if constexpr (std::is_same_v<A, B>)
             if (l2) {
               got = squared_l2(view(*a), view(*b), o);
               c.compare(&got, &expected, 1);
               return [=] {
                 std::int64_t const d = squared_l2(view(*a), view(*b), o);
                 keep(&d);
               };
             }
           got = dot(view(*a), view(*b), o);
           c.compare(&got, &expected, 1);
           return [=] {
             std::int64_t const d = dot(view(*a), view(*b), o);
             keep(&d);
           };
         }});
  }
}

constexpr index_t corpora[] = {256, 10000};  // of 768 dimensions: in L2, and 7.7 MB
constexpr index_t dimensions = 768, queries = 64, best = 10;

void register_many(isa i) {
  for (index_t rows : corpora) {
    double const bytes = static_cast<double>(rows * dimensions);
    auto const each = [=](char const* what, bool l2) {
      add({.name = vector_name("quern", name(i), what, rows, dimensions),
           .bytes = bytes,
           .peak = [=] { return bandwidth(bytes); },
           .prepare = [=](check&) -> body {
             auto q = codes<std::int8_t>(dimensions, 1), c = codes<std::int8_t>(rows * dimensions, 2);
             auto out = std::make_shared<buffer<std::int32_t>>(rows);
             return [=] {
               auto const m = row_major(c->data(), rows, dimensions);
               if (l2)
                 squared_l2_each(view(*q), m, view(*out), {.max_isa = i});
               else
                 dot_each(view(*q), m, view(*out), {.max_isa = i});
             };
           }});
    };
    each("s8s8-dot_each", false);
    each("s8s8-squared_l2_each", true);
    add({.name = vector_name("quern", name(i), "f32s8-scores", rows, dimensions),
         .bytes = bytes,
         .peak = [=] { return bandwidth(bytes); },
         .prepare = [=](check&) -> body {
           auto q = std::make_shared<buffer<float>>(random_reals(dimensions, -1, 1, 1));
           auto c = codes<std::int8_t>(rows * dimensions, 2);
           auto out = std::make_shared<buffer<float>>(rows);
           return [=] {
             vector_set<std::int8_t> const set{row_major(static_cast<std::int8_t const*>(c->data()), rows, dimensions)};
             scores(similarity::dot, vector_view<float const>(view(*q)), set, view(*out), {.max_isa = i});
           };
         }});
  }
  index_t const rows = corpora[1];
  for (similarity s : {similarity::dot, similarity::cosine})
    add({.name = vector_name("quern", name(i), std::string("s8s8-search_") + (s == similarity::dot ? "dot" : "cosine") + "_64x10", rows, dimensions),
         .ops = 2.0 * static_cast<double>(queries * rows * dimensions),
         .peak = [=] { return peak_gops(i); },
         .prepare = [=](check&) -> body {
           auto q = codes<std::int8_t>(queries * dimensions, 1), c = codes<std::int8_t>(rows * dimensions, 2);
           auto encodings = std::make_shared<std::vector<vector_encoding>>();
           for (index_t r = 0; r < rows; ++r) encodings->push_back(encoding_of(vector_view<std::int8_t const>{c->data() + r * dimensions, dimensions, 1}));
           auto out = std::make_shared<buffer<neighbour>>(queries * best);
           return [=] {
             vector_set<std::int8_t> const query_set{row_major(static_cast<std::int8_t const*>(q->data()), queries, dimensions)};
             vector_set<std::int8_t> const set{row_major(static_cast<std::int8_t const*>(c->data()), rows, dimensions), encodings->data()};
             search(s, query_set, set, best, row_major(out->data(), queries, best), {.max_isa = i});
           };
         }});
}

void register_loops() {
  for (index_t n : {128, 768, 1536}) {
    using pair_function = std::int32_t (*)(std::int8_t const*, std::int8_t const*, index_t);
    auto const pair = [=](char const* what, pair_function function) {
      add({.name = vector_name("loop", loop_isa, what, 1, n),
           .bytes = 2.0 * static_cast<double>(n),
           .peak = [=] { return bandwidth(16384); },
           .prepare = [=](check&) -> body {
             auto a = codes<std::int8_t>(n, 1), b = codes<std::int8_t>(n, 2);
             return [=] {
               auto const d = function(a->data(), b->data(), n);
               keep(&d);
             };
           }});
    };
    pair("s8s8-dot", loop_dot);
    pair("s8s8-squared_l2", loop_squared_l2);
  }
  for (index_t rows : corpora) {
    double const bytes = static_cast<double>(rows * dimensions);
    add({.name = vector_name("loop", loop_isa, "s8s8-dot_each", rows, dimensions),
         .bytes = bytes,
         .peak = [=] { return bandwidth(bytes); },
         .prepare = [=](check&) -> body {
           auto q = codes<std::int8_t>(dimensions, 1), c = codes<std::int8_t>(rows * dimensions, 2);
           auto out = std::make_shared<buffer<std::int32_t>>(rows);
           return [=] {
             for (index_t r = 0; r < rows; ++r) (*out)[r] = loop_dot(q->data(), c->data() + r * dimensions, dimensions);
           };
         }});
    add({.name = vector_name("loop", loop_isa, "f32f32-dot_each", rows, dimensions),
         .bytes = 4 * bytes,
         .peak = [=] { return bandwidth(4 * bytes); },
         .prepare = [=](check&) -> body {
           auto q = std::make_shared<buffer<float>>(random_reals(dimensions, -1, 1, 1));
           auto c = std::make_shared<buffer<float>>(random_reals(rows * dimensions, -1, 1, 2));
           auto out = std::make_shared<buffer<float>>(rows);
           return [=] {
             for (index_t r = 0; r < rows; ++r) (*out)[r] = loop_dot(q->data(), c->data() + r * dimensions, dimensions);
           };
         }});
  }
}

void register_vector() {
  for (isa i : isas()) {
    if (i == isa::amx_int8) continue;  // tiles are of no use to vectors
    register_pair<std::int8_t, std::int8_t>(i, "s8s8", false);
    register_pair<std::uint8_t, std::uint8_t>(i, "u8u8", false);
    register_pair<std::uint8_t, std::int8_t>(i, "u8s8", false);
    register_pair<std::int8_t, std::int8_t>(i, "s8s8", true);
    register_many(i);
  }
  register_loops();
}
QUERN_BENCH_CASES(register_vector);
}  // namespace
}  // namespace quern::bench
