// vector_search.hpp — the k nearest of many int8 vectors, for one query or many.
//
//     search(similarity::cosine, queries, corpus, 10, nearest);     // ten for each query, best first, ties by index
//
// Exhaustive. A strip of vectors stays in the first-level cache while the queries of a task, which stay in the second, pass over
// it, four queries by four vectors at a time.
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
  /// Scores of vectors behind all that were offered before: an equal score never displaces one, so most need one comparison.
  QUERN_INLINE void offer(float const* values, index_t first, index_t count) noexcept {
    for (index_t r = 0; r < count; ++r)
      if (size < capacity || (capacity > 0 && (smaller_is_better ? values[r] < items[0].score : values[r] > items[0].score)))
        offer({first + r, values[r]});
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

/// Offers the scores of a query with a strip, those of four vectors at a time that may be among the best. rows is a multiple of four.
template <similarity S, bool ZeroPoints>
void offer_scores(best_list& best, score_terms const& query, score_strip const& strip, std::int32_t const* raw, float* values, index_t first) noexcept {
  if (best.capacity == 0) return;
  score_bound const bound = score_bound::of<S>(query, false);
  for (index_t r = 0; r < strip.rows; r += 4) {
    float const worst = best.size == best.capacity ? best.items[0].score : bits_of<float>(0x7fc00000u);
    if (is_finite(worst) && !may_be_better<S, ZeroPoints>(bound, strip, raw, r, worst)) continue;
    scores_of<S>(query, strip, raw, values, r, r + 4);
    best.offer(values + r, first + r, 4);
  }
}
template <similarity S>
void offer_scores(best_list& best, score_terms const& query, score_strip const& strip, bool zero_points, std::int32_t const* raw, float* values,
                  index_t first) noexcept {
  (zero_points || query.zero_point != 0 ? &offer_scores<S, true> : &offer_scores<S, false>)(best, query, strip, raw, values, first);
}

/// What search() does for its similarity.
struct offers {
  bool (*bound)(score_strip& strip) noexcept;
  void (*offer)(best_list& best, score_terms const& query, score_strip const& strip, bool zero_points, std::int32_t const* raw, float* values,
                index_t first) noexcept;
  template <similarity S>
  static offers of() noexcept {
    return {&bound_strip<S>, &offer_scores<S>};
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
  auto const& kernels = detail::choose_vector_kernels<detail::vector_op::dot, std::is_signed_v<A>, std::is_signed_v<B>>(options.max_isa);
  auto const offers = s == similarity::dot      ? detail::offers::of<similarity::dot>()
                      : s == similarity::cosine ? detail::offers::of<similarity::cosine>()
                                                : detail::offers::of<similarity::squared_l2>();
  index_t const n = queries.dimensions();
  constexpr index_t most_queries = 64, most_rows = detail::score_strip::most;
  // 16 KiB of vectors are half of the smallest first-level cache; queries are shared out evenly when there are threads.
  index_t const strip = clamp<index_t>((index_t{16} << 10) / (n > 0 ? n : 1) & -4, 4, most_rows);
  index_t const threads = options.executor.threads > 0 ? options.executor.threads : 16;
  index_t const per_task = clamp<index_t>(((queries.size() + threads - 1) / threads + 3) & -4, 4, most_queries);
  options.executor((queries.size() + per_task - 1) / per_task, [&](index_t task) {
    index_t const begin = task * per_task, count = queries.size() - begin < per_task ? queries.size() - begin : per_task;
    std::uint8_t const* const query = detail::raw_bytes(queries.codes.data) + begin * queries.codes.row_stride;
    detail::best_list best[most_queries];
    detail::score_terms terms[most_queries];
    detail::score_strip vectors;
    std::int32_t corrections[most_queries], tile[4 * most_rows];
    std::int64_t sums[most_rows] = {};
    float values[most_rows];
    bool const short_enough = n <= detail::vector_block;
    for (index_t i = 0; i < count; ++i) {
      terms[i] = detail::score_strip::terms_of(s, queries, begin + i, corpus.encodings != nullptr, kernels.target);
      best[i] = {k > 0 ? &out(begin + i, 0) : nullptr, k, s == similarity::squared_l2};
      corrections[i] = short_enough ? kernels.correct(query + i * queries.codes.row_stride, n) : 0;
    }
    for (index_t first = 0; first < corpus.size(); first += strip) {
      index_t const rows = corpus.size() - first < strip ? corpus.size() - first : strip;
      std::uint8_t const* const codes = detail::raw_bytes(corpus.codes.data) + first * corpus.codes.row_stride;
      vectors.fill(s, corpus, first, rows, queries.encodings != nullptr, kernels.target);
      bool const zero_points = offers.bound(vectors);
      index_t i = 0;
      for (; short_enough && rows % detail::vector_rows == 0 && i + kernels.queries <= count; i += kernels.queries) {
        for (index_t r = 0; r < rows; r += detail::vector_rows)
          kernels.tile(query + i * queries.codes.row_stride, queries.codes.row_stride, codes + r * corpus.codes.row_stride,
                       corpus.codes.row_stride, n, corrections + i, tile + r, most_rows);
        for (int t = 0; t < kernels.queries; ++t) offers.offer(best[i + t], terms[i + t], vectors, zero_points, tile + t * most_rows, values, first);
      }
      for (; i < count; ++i) {
        detail::row_sums(kernels, query + i * queries.codes.row_stride, n, codes, corpus.codes.row_stride, rows, sums);
        detail::scores_of(s, terms[i], vectors, sums, values);
        best[i].offer(values, first, rows);
      }
    }
    for (index_t i = 0; i < count; ++i) best[i].finish();
  });
}

}  // inline namespace QUERN_ABI
}  // namespace quern
