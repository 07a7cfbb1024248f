// vector_search.hpp — the k nearest of many int8 vectors, for one query or many.
//
//     search(similarity::cosine, queries, corpus, 10, nearest);     // ten for each query, best first, ties by index
//
// Exhaustive. Vectors are read in blocks that stay in the second-level cache while the queries of a task pass over them, four
// queries by four vectors at a time where there are that many.
#pragma once

#include "vector_encode.hpp"

namespace quern {

/// A found vector: its row and its score. Where there are fewer vectors than asked for, index is -1.
struct neighbour {
  index_t index = -1;
  float score = 0;

  QUERN_INLINE friend constexpr bool operator==(neighbour const&, neighbour const&) = default;
};

namespace detail {
inline namespace QUERN_ABI {

/// The k best so far as a heap with the worst on top, in the caller's memory; a smaller index wins a tie.
struct best_list {
  neighbour* items;
  index_t capacity;
  bool smaller_is_better;
  index_t size = 0;

  QUERN_INLINE bool better(neighbour a, neighbour b) const noexcept {
    if (a.score != b.score) return smaller_is_better ? a.score < b.score : a.score > b.score;
    return a.index < b.index;
  }
  QUERN_INLINE void sink(index_t at, index_t end) noexcept {
    neighbour const moving = items[at];
    for (index_t child; (child = 2 * at + 1) < end; at = child) {
      if (child + 1 < end && better(items[child], items[child + 1])) ++child;
      if (!better(moving, items[child])) break;
      items[at] = items[child];
    }
    items[at] = moving;
  }
  QUERN_INLINE void offer(neighbour n) noexcept {
    if (is_nan(n.score)) n.score = bits_of<float>(smaller_is_better ? 0x7f800000u : 0xff800000u);
    if (size < capacity) {
      index_t at = size++;
      for (; at > 0 && better(items[(at - 1) / 2], n); at = (at - 1) / 2) items[at] = items[(at - 1) / 2];
      items[at] = n;
    } else if (capacity > 0 && better(n, items[0])) {
      items[0] = n;
      sink(0, size);
    }
  }
  /// Best first; what is missing is {-1, 0}.
  QUERN_INLINE void finish() noexcept {
    for (index_t i = size; i < capacity; ++i) items[i] = neighbour{};
    for (index_t end = size - 1; end > 0; --end) {
      neighbour const worst = items[0];
      items[0] = items[end];
      items[end] = worst;
      sink(0, end);
    }
  }
};

inline void check_neighbours(matrix_view<neighbour> out, index_t queries, index_t k) {
  if (k < 0) fail(errc::argument, "search: k is ", k, "; it must not be negative.");
  if (out.rows != queries || out.cols != k)
    fail(errc::shape, "search: out is ", out.rows, " x ", out.cols, "; it must be queries x k, ", queries, " x ", k, ".");
  if (!out.empty() && out.data == nullptr) fail(errc::null, "search: out is null, but ", queries, " x ", k, ".");
  if (out.rows > 0 && out.cols > 1 && out.col_stride != 1)
    fail(errc::shape, "search: the elements of a row of out are ", out.col_stride, " apart; they must be adjacent.");
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// The k best vectors of the corpus for every query, best first; of equal scores the one with the smaller index.
///
/// out(i, j) is the j-th best of query i; where the corpus has fewer than k vectors, the rest is {-1, 0}. A NaN score, which
/// only a non-finite scale can make, counts as the worst.
///
/// @shapes  queries q x n, corpus rows x n, out q x k.   @rounds  as score: the result does not depend on the instruction
///          set or the executor.   @errors  shape, null, argument.   Does not allocate: out itself is the heap.
template <vector_code A, vector_code B>
void search(similarity s, vector_set<A> const& queries, vector_set<B> const& corpus, index_t k, matrix_view<neighbour> out,
            vector_options const& options = {}) {
  detail::check_set("search", "queries", queries.codes, queries.dimensions());
  detail::check_set("search", "corpus", corpus.codes, queries.dimensions());
  detail::check_neighbours(out, queries.size(), k);
  detail::code_scorer<A, B> const scorer(s, corpus, options.max_isa);
  index_t const n = queries.dimensions();
  constexpr index_t strip = decltype(scorer)::strip;
  // Vectors that stay in the second-level cache while the queries of a task pass over them.
  index_t const resident = clamp<index_t>((index_t{256} << 10) / (n > 0 ? n : 1), 1, index_t{1} << 20);
  index_t const block = (resident + strip - 1) / strip * strip;
  constexpr index_t per_task = 16;
  options.executor((queries.size() + per_task - 1) / per_task, [&](index_t task) {
    index_t const begin = task * per_task, end = queries.size() - begin < per_task ? queries.size() : begin + per_task;
    detail::best_list best[per_task];
    vector_encoding encodings[per_task];
    std::int32_t corrections[per_task];
    for (index_t i = begin; i < end; ++i) {
      std::uint8_t const* const q = detail::raw_bytes(queries.codes.data) + i * queries.codes.row_stride;
      best[i - begin] = {k > 0 ? &out(i, 0) : nullptr, k, s == similarity::squared_l2};
      encodings[i - begin] = queries.encodings != nullptr ? queries.encodings[i] : scorer.plain(q, std::is_signed_v<A>);
      corrections[i - begin] = n <= detail::vector_block ? scorer.kernels.correct(q, n) : 0;
    }
    for (index_t b = 0; b < corpus.size(); b += block) {
      index_t const block_end = corpus.size() - b < block ? corpus.size() : b + block;
      for (index_t i = begin; i < end;) {
        int const tile = scorer.kernels.queries;
        bool const tiled = end - i >= tile && n <= detail::vector_block;
        index_t const count = tiled ? tile : 1;
        for (index_t first = b; first < block_end; first += strip) {
          index_t const rows = block_end - first < strip ? block_end - first : strip;
          std::uint8_t const* const q = detail::raw_bytes(queries.codes.data) + i * queries.codes.row_stride;
          float values[strip];
          if (tiled && rows == strip) {
            std::int32_t sums[4 * strip];
            for (index_t r = 0; r < strip; r += detail::vector_rows)
              scorer.kernels.tile(q, queries.codes.row_stride,
                                  detail::raw_bytes(corpus.codes.data) + (first + r) * corpus.codes.row_stride,
                                  corpus.codes.row_stride, n, corrections + (i - begin), sums + r, strip);
            for (index_t t = 0; t < count; ++t) {
              std::int64_t wide[strip];
              for (index_t r = 0; r < strip; ++r) wide[r] = sums[t * strip + r];
              scorer.finish(wide, encodings[i + t - begin], first, strip, values);
              for (index_t r = 0; r < strip; ++r) best[i + t - begin].offer({first + r, values[r]});
            }
          } else {
            for (index_t t = 0; t < count; ++t) {
              scorer.one(q + t * queries.codes.row_stride, encodings[i + t - begin], first, rows, values);
              for (index_t r = 0; r < rows; ++r) best[i + t - begin].offer({first + r, values[r]});
            }
          }
        }
        i += count;
      }
    }
    for (index_t i = begin; i < end; ++i) best[i - begin].finish();
  });
}

}  // inline namespace QUERN_ABI
}  // namespace quern
