// vector_search.cpp — the ten nearest of 20,000 vectors: float, int8, int8 done wrong, int4; recall, speed, bytes.
//
//     build/examples/vector_search [vectors] [dimensions] [queries]
//
// Vectors are drawn from a mixture of Gaussians whose coordinates are unequally wide and not centred, as embeddings are. Truth is
// the exhaustive float search. Everything runs on one core; int8 results are the same bits on every machine (the hash says so).
#include <quern/ops/gemm.hpp>
#include <quern/ops/vector_search.hpp>
#include <quern/cpu/report.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace {

using namespace quern;
using float_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using result = std::vector<neighbour>;  // queries x best

constexpr index_t best = 10;

/// A counter-based generator: the same numbers on every machine.
struct noise {
  std::uint64_t state;
  std::uint64_t next() {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// Nearly normal: the sum of six 16-bit uniforms, of variance 1.
  float normal() {
    std::int64_t sum = 0;
    for (int i = 0; i < 2; ++i) {
      std::uint64_t const bits = next();
      sum += static_cast<std::int64_t>((bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff)) - 3 * 32768 + 1;
    }
    return static_cast<float>(sum) * (1.4142135f / 65536.0f);
  }
};

struct data {
  index_t vectors, dimensions, queries;
  float_matrix corpus, asked;
};

data make_data(index_t vectors, index_t dimensions, index_t queries) {
  noise random{2024};
  index_t const clusters = 100;
  std::vector<float> width(static_cast<std::size_t>(dimensions)), centre(static_cast<std::size_t>(clusters * dimensions));
  for (index_t d = 0; d < dimensions; ++d) width[static_cast<std::size_t>(d)] = 0.25f + 1.5f / static_cast<float>(1 + d % 16);
  for (index_t i = 0; i < clusters * dimensions; ++i)
    centre[static_cast<std::size_t>(i)] = 0.15f + 0.5f * random.normal() * width[static_cast<std::size_t>(i % dimensions)];
  data all{vectors, dimensions, queries, {vectors, dimensions}, {queries, dimensions}};
  auto const fill = [&](float_matrix& m) {
    for (index_t i = 0; i < m.rows(); ++i) {
      index_t const c = static_cast<index_t>(random.next() % static_cast<std::uint64_t>(clusters));
      for (index_t d = 0; d < dimensions; ++d)
        m(i, d) = centre[static_cast<std::size_t>(c * dimensions + d)] + 0.6f * random.normal() * width[static_cast<std::size_t>(d)];
    }
  };
  fill(all.corpus);
  fill(all.asked);
  // Cosine: only directions count, so both sides get length 1 and a dot product is the cosine.
  all.corpus.rowwise().normalize();
  all.asked.rowwise().normalize();
  return all;
}

/// The ten best of every query from a block of scores, row by row.
void select(float const* scores, index_t queries, index_t vectors, neighbour* out) {
  for (index_t q = 0; q < queries; ++q) {
    detail::best_list list{out + q * best, best, false};
    list.offer(scores + q * vectors, 0, vectors);
    list.finish();
  }
}

double seconds_of(std::function<void()> const& f) {
  using clock = std::chrono::steady_clock;
  double least = 1e30, total = 0;
  for (int i = 0; i < 3 || (total < 0.4 && i < 50); ++i) {
    auto const begin = clock::now();
    f();
    double const s = std::chrono::duration<double>(clock::now() - begin).count();
    least = std::min(least, s), total += s;
  }
  return least;
}

/// Codes and encodings of all rows of a matrix.
template <class Scheme>
struct encoded {
  using storage = typename Scheme::storage;
  buffer<storage> codes;
  std::vector<vector_encoding> encodings;
  index_t rows, cols;

  explicit encoded(float_matrix const& m) : codes(m.size()), rows(m.rows()), cols(m.cols()) {
    for (index_t r = 0; r < rows; ++r)
      encodings.push_back(encode<Scheme>(vector_view<float const>{m.data() + r * cols, cols, 1}, {codes.data() + r * cols, cols, 1}));
  }
  vector_set<storage> set() const { return {row_major(codes.data(), rows, cols), encodings.data()}; }
  /// The codes as if they were the numbers: what the cross terms are needed for.
  vector_set<storage> plain() const { return {row_major(codes.data(), rows, cols), nullptr}; }
};

/// Scores by one matrix product, 64 queries at a time: corpus packed as weights with a scale for each vector.
template <class Rhs>
void search_by_gemm(encoded<symmetric<s8>> const& asked, packed_matrix<Rhs> const& corpus, std::vector<float> const& scales,
                    std::vector<float>& scores, result& out) {
  index_t const vectors = corpus.n();
  for (index_t q = 0; q < asked.rows; q += 64) {
    index_t const count = std::min<index_t>(64, asked.rows - q);
    gemm(row_major(asked.codes.data() + q * asked.cols, count, asked.cols), corpus, row_major(scores.data(), count, vectors),
         epilogue<to_real>{.rescale = {.cols = view(scales)}});
    select(scores.data(), count, vectors, out.data() + q * best);
  }
}

/// The best of a few candidates by their float scores.
void rescore(data const& d, result const& candidates, index_t each, result& out) {
  for (index_t q = 0; q < d.queries; ++q) {
    detail::best_list list{out.data() + q * best, best, false};
    for (index_t c = 0; c < each; ++c) {
      index_t const i = candidates[static_cast<std::size_t>(q * each + c)].index;
      list.offer({i, d.corpus.row(i).dot(d.asked.row(q))});
    }
    list.finish();
  }
}

double recall(result const& found, result const& truth) {
  std::size_t hits = 0;
  for (std::size_t q = 0; q < truth.size(); q += best)
    for (std::size_t i = 0; i < best; ++i)
      for (std::size_t j = 0; j < best; ++j) hits += found[q + i].index == truth[q + j].index;
  return static_cast<double>(hits) / static_cast<double>(truth.size());
}

std::uint64_t hash(result const& r) {
  std::uint64_t h = 14695981039346656037u;
  for (neighbour const& n : r)
    for (std::uint64_t const word : {static_cast<std::uint64_t>(n.index), static_cast<std::uint64_t>(bits_of<std::uint32_t>(n.score))})
      h = (h ^ word) * 1099511628211u;
  return h;
}

}  // namespace

int main(int argc, char** argv) {
  index_t numbers[3] = {20000, 256, 512};
  bool const help = argc > 1 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0);
  bool understood = argc <= 4 && !help;
  for (int i = 1; i < argc && understood; ++i) {
    char* end = nullptr;
    numbers[i - 1] = std::strtol(argv[i], &end, 10);
    understood = *argv[i] != '\0' && *end == '\0' && numbers[i - 1] >= (i == 1 ? best : 1) && numbers[i - 1] <= 100000000;
    if (!understood) std::fprintf(stderr, "vector_search: '%s' is no number from %d to 100000000\n", argv[i], i == 1 ? 10 : 1);
  }
  index_t const vectors = numbers[0], dimensions = numbers[1], queries = numbers[2];
  if (understood && vectors * dimensions > index_t{1} << 31) {
    std::fprintf(stderr, "vector_search: %td vectors of %td dimensions are more than this example holds in memory (2^31 numbers)\n", vectors, dimensions);
    return 2;
  }
  if (!understood) {
    std::fprintf(help ? stdout : stderr, "usage: vector_search [vectors (20000)] [dimensions (256)] [queries (512)]\n\n"
                                         "Recall, speed and bytes of float, int8, int4 and rescored search for the ten nearest vectors.\n");
    return help ? 0 : 2;
  }
  data const d = make_data(vectors, dimensions, queries);
  std::printf("%td vectors of %td dimensions, %td queries, cosine, one core, %s\n\n", vectors, dimensions, queries, name(active_isa()));
  std::printf("  %-34s %12s %9s %9s %8s\n", "", "bytes/vector", "recall@10", "queries/s", "speed-up");

  auto const n = static_cast<std::size_t>(queries * best);
  std::vector<float> scores(static_cast<std::size_t>(64 * vectors));
  result truth(n), found(n);
  double float_seconds = 0;
  auto const report = [&](char const* what, double bytes, double seconds) {
    std::printf("  %-34s %12.0f %8.1f%% %9.0f %7.2fx\n", what, bytes, 100 * recall(found, truth), static_cast<double>(queries) / seconds,
                float_seconds / seconds);
  };

  // float: Eigen's matrix product, 64 queries at a time
  auto const float_search = [&] {
    for (index_t q = 0; q < queries; q += 64) {
      index_t const count = std::min<index_t>(64, queries - q);
      Eigen::Map<float_matrix> block(scores.data(), count, vectors);
      block.noalias() = d.asked.middleRows(q, count) * d.corpus.transpose();
      select(scores.data(), count, vectors, truth.data() + q * best);
    }
  };
  float_seconds = seconds_of(float_search);
  found = truth;
  report("float (Eigen product)", 4.0 * static_cast<double>(dimensions), float_seconds);

  encoded<symmetric<s8>> const s8_corpus(d.corpus), s8_asked(d.asked);
  encoded<asymmetric<u8>> const u8_corpus(d.corpus), u8_asked(d.asked);
  double const int8_bytes = static_cast<double>(dimensions + static_cast<index_t>(sizeof(vector_encoding)));

  auto const out = [&] { return row_major(found.data(), queries, best); };
  double seconds = seconds_of([&] { search(similarity::cosine, s8_asked.set(), s8_corpus.set(), best, out()); });
  report("int8 symmetric", int8_bytes, seconds);
  std::uint64_t const s8_hash = hash(found);
  seconds = seconds_of([&] { search(similarity::cosine, u8_asked.set(), u8_corpus.set(), best, out()); });
  report("uint8 affine", int8_bytes, seconds);
  std::uint64_t const u8_hash = hash(found);
  seconds = seconds_of([&] { search(similarity::cosine, u8_asked.plain(), u8_corpus.plain(), best, out()); });
  report("uint8 affine without cross terms", static_cast<double>(dimensions), seconds);

  index_t const candidates = std::min<index_t>(30, vectors);
  result many(static_cast<std::size_t>(queries * candidates));
  seconds = seconds_of([&] {
    search(similarity::cosine, s8_asked.set(), s8_corpus.set(), candidates, row_major(many.data(), queries, candidates));
    rescore(d, many, candidates, found);
  });
  report("int8 symmetric, best 30 rescored", int8_bytes + 4.0 * static_cast<double>(dimensions), seconds);

  std::vector<float> row(static_cast<std::size_t>(vectors));
  seconds = seconds_of([&] {
    for (index_t q = 0; q < queries; ++q) {
      quern::scores(similarity::cosine, vector_view<float const>{d.asked.data() + q * dimensions, dimensions, 1}, s8_corpus.set(), view(row));
      select(row.data(), 1, vectors, found.data() + q * best);
    }
  });
  report("float query, int8 corpus", int8_bytes, seconds);

  // By matrix product: the corpus is packed like the weights of a layer, with a scale for each vector.
  {
    std::vector<float> scales;
    for (vector_encoding const& e : s8_corpus.encodings) scales.push_back(1 / std::sqrt(static_cast<float>(e.norm)));
    auto const packed = pack(row_major(s8_corpus.codes.data(), vectors, dimensions).transposed());
    seconds = seconds_of([&] { search_by_gemm(s8_asked, packed, scales, scores, found); });
    report("int8 symmetric, by gemm", static_cast<double>(dimensions) + 4, seconds);
  }
  {
    buffer<std::int8_t> codes(vectors * dimensions);
    std::vector<float> scales;
    for (index_t v = 0; v < vectors; ++v) {
      float largest = 0;
      std::int32_t norm = 0;
      for (index_t i = 0; i < dimensions; ++i) largest = std::max(largest, std::abs(d.corpus(v, i)));
      for (index_t i = 0; i < dimensions; ++i) {
        auto const q = static_cast<std::int8_t>(round_to::half_even::to_integral(d.corpus(v, i) / largest * 7));
        codes[v * dimensions + i] = q;
        norm += q * q;
      }
      scales.push_back(1 / std::sqrt(static_cast<float>(norm)));
    }
    auto const packed = pack<s4>(row_major(codes.data(), vectors, dimensions).transposed());
    seconds = seconds_of([&] { search_by_gemm(s8_asked, packed, scales, scores, found); });
    report("int4 symmetric, by gemm", static_cast<double>(dimensions) / 2 + 4, seconds);
  }

  std::printf("\nresults of int8 symmetric %016llx, of uint8 affine %016llx: the same on every instruction set\n",
              static_cast<unsigned long long>(s8_hash), static_cast<unsigned long long>(u8_hash));
  std::printf("an int32 sum of products is exact up to %td dimensions (s8), %td (u8); quern adds blocks of %td in int64\n",
              max_dot_dimensions<std::int8_t, std::int8_t>, max_dot_dimensions<std::uint8_t, std::uint8_t>, detail::vector_block);
  return 0;
}
