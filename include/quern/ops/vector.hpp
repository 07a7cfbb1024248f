// vector.hpp — int8 vectors for search: dot product, squared distance and cosine, exact and fast, for any number of dimensions.
//
//     std::int64_t s = dot(view(a), view(b));                       // codes: exact integers, −128·−128 and 100,000 dimensions included
//
//     auto e = encode<asymmetric<u8>>(view(x), view(codes));        // float → codes, and what comparing them takes
//     search(similarity::cosine, queries, corpus, 10, nearest);     // the ten best of each query, ties by index
//
// A vector x of floats is kept as codes q with x ≈ scale (q − zero_point). For two of them
//
//     x · y  ≈  scale_x scale_y ( Σ q r − z_y Σ q − z_x Σ r + n z_x z_y )
//
// Leaving the last three terms out makes opposite vectors parallel; their sums are part of the encoding, so nothing is summed
// twice. All integers here are exact; floats come from them by a stated sequence of roundings, the same on every instruction set.
#pragma once

#include "../calibrate/min_max.hpp"
#include "../core/saturate.hpp"
#include "../dispatch/executor.hpp"
#include "../kernel/vector_x86.hpp"
#include "../round/half_even.hpp"
#include "../scheme/choose_params.hpp"

QUERN_FP_BEGIN

namespace quern {

/// What is compared, and which way is better: a larger dot or cosine, a smaller distance.
enum class similarity : signed char { dot, squared_l2, cosine };

/// What comparing an encoded vector takes besides its codes.
struct vector_encoding {
  float scale = 1.0f;
  std::int32_t zero_point = 0;
  std::int64_t sum = 0;   ///< Σ q
  std::int64_t norm = 0;  ///< Σ (q − zero_point)²: the squared length in steps of scale
};

/// Encoded vectors, one a row. Without encodings the codes stand for themselves (scale 1, zero point 0).
template <class T>
struct vector_set {
  matrix_view<T const> codes;
  vector_encoding const* encodings = nullptr;  ///< codes.rows of them, or null

  QUERN_INLINE constexpr index_t size() const noexcept { return codes.rows; }
  QUERN_INLINE constexpr index_t dimensions() const noexcept { return codes.cols; }
};

/// A found vector: its row and its score. Where there are fewer vectors than asked for, index is -1.
struct neighbour {
  index_t index = -1;
  float score = 0;

  QUERN_INLINE friend constexpr bool operator==(neighbour const&, neighbour const&) = default;
};

struct vector_options {
  isa max_isa = isa::best;
  executor_ref executor{};  ///< *_each: over vectors, search: over queries
};

/// int8 and uint8 are what vectors are made of.
template <class T>
concept vector_code = std::same_as<std::remove_const_t<T>, std::int8_t> || std::same_as<std::remove_const_t<T>, std::uint8_t>;

/// Dimensions up to which an int32 holds every dot product: 131,071 for s8·s8, 65,793 for u8·s8, 33,025 for u8·u8.
template <vector_code A, vector_code B>
inline constexpr index_t max_dot_dimensions =
    std::is_signed_v<A> && std::is_signed_v<B> ? 131071 : std::is_signed_v<A> || std::is_signed_v<B> ? 65793 : 33025;
/// The same for squared distances, whose terms reach 255².
inline constexpr index_t max_l2_dimensions = 33025;

namespace detail {
inline namespace QUERN_ABI {

template <class T>
QUERN_INLINE std::uint8_t const* raw_bytes(T const* p) noexcept {
  return reinterpret_cast<std::uint8_t const*>(p);
}

template <class A>
void check_vector(char const* who, char const* what, vector_view<A> v) {
  if (v.size < 0) fail(errc::shape, who, ": ", what, " has ", v.size, " elements; the number must not be negative.");
  if (v.size > 0 && v.data == nullptr) fail(errc::null, who, ": ", what, " is null, but has ", v.size, " elements.");
}
template <class A, class B>
void check_pair(char const* who, vector_view<A> a, vector_view<B> b) {
  if (a.size != b.size) fail(errc::shape, who, ": a has ", a.size, " elements, b ", b.size, "; they must have as many.");
  check_vector(who, "a", a);
  check_vector(who, "b", b);
}
template <class B>
void check_set(char const* who, char const* what, matrix_view<B> m, index_t dimensions) {
  if (m.rows < 0 || m.cols < 0) fail(errc::shape, who, ": ", what, " is ", m.rows, " x ", m.cols, "; sizes must not be negative.");
  if (m.rows > 0 && m.cols != dimensions)
    fail(errc::shape, who, ": the query has ", dimensions, " dimensions, ", what, " ", m.cols, "; they must be equal.");
  if (!m.empty() && m.data == nullptr) fail(errc::null, who, ": ", what, " is null, but ", m.rows, " x ", m.cols, ".");
  if (m.rows > 0 && m.cols > 1 && m.col_stride != 1)
    fail(errc::shape, who, ": the elements of a row of ", what, " are ", m.col_stride, " apart; they must be adjacent (col_stride 1).");
}

template <vector_op Op, class A, class B>
std::int64_t pair_sum(vector_view<A> a, vector_view<B> b, isa cap) {
  std::int64_t sum = 0;
  if (a.contiguous() && b.contiguous()) {
    auto const kernels = choose_vector_kernels<Op, std::is_signed_v<A>, std::is_signed_v<B>>(cap);
    for (index_t k = 0; k < a.size; k += vector_block)
      sum += kernels.pair(raw_bytes(a.data) + k, raw_bytes(b.data) + k, a.size - k < vector_block ? a.size - k : vector_block);
  } else {
    for (index_t i = 0; i < a.size; ++i) {
      std::int64_t const x = a[i], y = b[i];
      sum += Op == vector_op::dot ? x * y : (x - y) * (x - y);
    }
  }
  return sum;
}

/// Sums of one query with the vectors [0, rows); Sum is int64, or int32 within the bound on the dimensions.
template <class Sum>
void row_sums(vector_kernels const& kernels, std::uint8_t const* query, index_t n, std::uint8_t const* vectors, index_t stride,
              index_t rows, Sum* out) {
  for (index_t r = 0; r < rows; ++r) out[r] = 0;
  for (index_t k = 0; k < n; k += vector_block) {
    index_t const size = n - k < vector_block ? n - k : vector_block;
    std::int32_t const correction = kernels.correct(query + k, size);
    index_t r = 0;
    for (; r + vector_rows <= rows; r += vector_rows) {
      std::int32_t sums[vector_rows];
      kernels.rows(query + k, vectors + r * stride + k, stride, size, correction, sums);
      for (int i = 0; i < vector_rows; ++i) out[r + i] = static_cast<Sum>(out[r + i] + sums[i]);
    }
    for (; r < rows; ++r) out[r] = static_cast<Sum>(out[r] + kernels.pair(query + k, vectors + r * stride + k, size));
  }
}

template <vector_op Op, class A, class B>
void each_sum(char const* who, vector_view<A> query, matrix_view<B> vectors, vector_view<std::int32_t> out, index_t most,
              vector_options const& options) {
  check_vector(who, "query", query);
  check_set(who, "vectors", vectors, query.size);
  if (!query.contiguous()) fail(errc::shape, who, ": the elements of the query are ", query.stride, " apart; they must be adjacent.");
  if (out.size != vectors.rows) fail(errc::shape, who, ": out has ", out.size, " elements, vectors ", vectors.rows, " rows; they must be equal.");
  check_vector(who, "out", out);
  if (query.size > most)
    fail(errc::depth, who, ": ", query.size, " dimensions, but int32 is exact for these types only up to ", most,
         "; compare pairs, whose sums are int64, or use scores().");
  auto const kernels = choose_vector_kernels<Op, std::is_signed_v<A>, std::is_signed_v<B>>(options.max_isa);
  constexpr index_t strip = 64;
  options.executor((vectors.rows + strip - 1) / strip, [&](index_t task) {
    index_t const first = task * strip, rows = vectors.rows - first < strip ? vectors.rows - first : strip;
    std::int32_t sums[strip];
    row_sums(kernels, raw_bytes(query.data), query.size, raw_bytes(vectors.data) + first * vectors.row_stride, vectors.row_stride,
             rows, sums);
    for (index_t r = 0; r < rows; ++r) out[first + r] = sums[r];
  });
}

/// Σ query[i] in double, in order: once a query.
inline double sum_of(vector_view<float const> x) noexcept {
  double s = 0;
  for (index_t i = 0; i < x.size; ++i) s += static_cast<double>(x[i]);
  return s;
}
inline double squared_length(vector_view<float const> x) noexcept {
  double s = 0;  // the square of a float is exact in double
  for (index_t i = 0; i < x.size; ++i) s += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return s;
}

QUERN_INLINE double sqrt_double(double x) noexcept {
#if QUERN_X86_64
  asm("sqrtsd %1, %0" : "=x"(x) : "x"(x));
  return x;
#else
  return __builtin_sqrt(x);
#endif
}

/// dot / sqrt(norm_a norm_b), 0 where a vector has no length.
QUERN_INLINE float cosine_of(double product, double norm_a, double norm_b) noexcept {
  return norm_a > 0 && norm_b > 0 ? static_cast<float>(product / sqrt_double(rounded(norm_a * norm_b))) : 0.0f;
}

/// The score of two encoded vectors of n dimensions whose codes have the dot product `raw`.
QUERN_INLINE float score_of(similarity s, std::int64_t raw, index_t n, vector_encoding const& a, vector_encoding const& b) noexcept {
  std::int64_t const product = raw - b.zero_point * a.sum - a.zero_point * b.sum +
                               static_cast<std::int64_t>(n) * a.zero_point * b.zero_point;
  double const sa = static_cast<double>(a.scale), sb = static_cast<double>(b.scale);
  switch (s) {
    case similarity::dot: return static_cast<float>(rounded(sa * sb) * static_cast<double>(product));
    case similarity::cosine:
      return cosine_of(static_cast<double>(product), static_cast<double>(a.norm), static_cast<double>(b.norm));
    case similarity::squared_l2: break;
  }
  if (a.scale == b.scale)  // exact but for the last product
    return static_cast<float>(rounded(sa * sa) * static_cast<double>(a.norm + b.norm - 2 * product));
  double const lengths = rounded(rounded(sa * sa) * static_cast<double>(a.norm)) + rounded(rounded(sb * sb) * static_cast<double>(b.norm));
  double const d = rounded(lengths) - rounded(2 * rounded(sa * sb) * static_cast<double>(product));
  return d > 0 ? static_cast<float>(d) : 0.0f;
}

/// Scores of one query with the vectors of a set, `strip` at a time: what search and scores have in common.
template <class A, class B>
struct code_scorer {
  similarity kind;
  vector_set<B> const& corpus;
  vector_kernels kernels;  // of dot products
  static constexpr index_t strip = 64;

  code_scorer(similarity s, vector_set<B> const& c, isa cap)
      : kind(s), corpus(c), kernels(choose_vector_kernels<vector_op::dot, std::is_signed_v<A>, std::is_signed_v<B>>(cap)) {}

  /// What a plain vector is worth; norms and sums are needed only where zero points and lengths are.
  vector_encoding plain(std::uint8_t const* codes, bool is_signed) const {
    vector_encoding e;
    if (kind != similarity::dot) e.norm = own_norm(codes, is_signed);
    return e;
  }
  std::int64_t own_norm(std::uint8_t const* codes, bool is_signed) const {
    index_t const n = corpus.dimensions();
    isa const cap = kernels.target;
    auto const v = vector_view<std::uint8_t const>{codes, n, 1};
    auto const w = vector_view<std::int8_t const>{reinterpret_cast<std::int8_t const*>(codes), n, 1};
    return is_signed ? pair_sum<vector_op::dot>(w, w, cap) : pair_sum<vector_op::dot>(v, v, cap);
  }

  void finish(std::int64_t const* sums, vector_encoding const& query, index_t first, index_t rows, float* out) const {
    for (index_t r = 0; r < rows; ++r)
      out[r] = score_of(kind, sums[r], corpus.dimensions(), query,
                        corpus.encodings != nullptr
                            ? corpus.encodings[first + r]
                            : plain(raw_bytes(corpus.codes.data) + (first + r) * corpus.codes.row_stride, std::is_signed_v<B>));
  }
  void one(std::uint8_t const* query, vector_encoding const& encoding, index_t first, index_t rows, float* out) const {
    std::int64_t sums[strip];
    row_sums(kernels, query, corpus.dimensions(), raw_bytes(corpus.codes.data) + first * corpus.codes.row_stride,
             corpus.codes.row_stride, rows, sums);
    finish(sums, encoding, first, rows, out);
  }
};

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

/// Σ a[i] b[i].
///
/// @shapes  two vectors of as many int8 or uint8 (in any combination), any stride.   @range  exact for every size.
/// @rounds  nowhere.   @errors  shape, null.
template <vector_code A, vector_code B>
std::int64_t dot(vector_view<A> a, vector_view<B> b, vector_options const& options = {}) {
  detail::check_pair("dot", a, b);
  return detail::pair_sum<detail::vector_op::dot>(vector_view<A const>(a), vector_view<B const>(b), options.max_isa);
}

/// Σ (a[i] − b[i])².   @shapes, range, rounds, errors  as dot; both of one type.
template <vector_code A, vector_code B>
  requires std::same_as<std::remove_const_t<A>, std::remove_const_t<B>>
std::int64_t squared_l2(vector_view<A> a, vector_view<B> b, vector_options const& options = {}) {
  detail::check_pair("squared_l2", a, b);
  return detail::pair_sum<detail::vector_op::squared_l2>(vector_view<A const>(a), vector_view<B const>(b), options.max_isa);
}

/// Σ a b / sqrt(Σ a² Σ b²); 0 where a vector is all zeros.
///
/// @rounds  the product of the sums, its root, the quotient and the float, half to even.   @errors  shape, null.
template <vector_code A, vector_code B>
float cosine(vector_view<A> a, vector_view<B> b, vector_options const& options = {}) {
  detail::check_pair("cosine", a, b);
  return detail::cosine_of(static_cast<double>(dot(a, b, options)), static_cast<double>(dot(a, a, options)),
                           static_cast<double>(dot(b, b, options)));
}

/// out[r] = Σ query[i] vectors(r, i).
///
/// @shapes  query n, vectors rows x n (rows may be apart, elements not), out rows.   @range  n <= max_dot_dimensions<A, B>.
/// @rounds  nowhere.   @errors  shape, null, depth.   Does not allocate.
template <vector_code A, vector_code B>
void dot_each(vector_view<A> query, matrix_view<B> vectors, vector_view<std::int32_t> out, vector_options const& options = {}) {
  detail::each_sum<detail::vector_op::dot>("dot_each", query, vectors, out,
                                           max_dot_dimensions<std::remove_const_t<A>, std::remove_const_t<B>>, options);
}

/// out[r] = Σ (query[i] − vectors(r, i))².   @range  n <= max_l2_dimensions.   Otherwise as dot_each.
template <vector_code A, vector_code B>
  requires std::same_as<std::remove_const_t<A>, std::remove_const_t<B>>
void squared_l2_each(vector_view<A> query, matrix_view<B> vectors, vector_view<std::int32_t> out, vector_options const& options = {}) {
  detail::each_sum<detail::vector_op::squared_l2>("squared_l2_each", query, vectors, out, max_l2_dimensions, options);
}

/// The encoding of codes that exist already, with this scale and zero point: computes sum and norm.   @errors  null, scale.
template <vector_code T>
vector_encoding encoding_of(vector_view<T> codes, float scale = 1.0f, std::int32_t zero_point = 0, vector_options const& options = {}) {
  detail::check_vector("encoding_of", "codes", codes);
  if (!(scale > 0) || !is_finite(scale))
    fail(errc::scale, "encoding_of: scale is ", static_cast<double>(scale), "; it must be finite and greater than zero.");
  std::int64_t sum = 0, squares = 0;
  if (codes.contiguous()) {
    auto const kernels = detail::choose_vector_kernels<detail::vector_op::dot, std::is_signed_v<T>, std::is_signed_v<T>>(options.max_isa);
    for (index_t k = 0; k < codes.size; k += detail::vector_block)
      sum += kernels.sum(detail::raw_bytes(codes.data) + k,
                         codes.size - k < detail::vector_block ? codes.size - k : detail::vector_block);
  } else {
    for (index_t i = 0; i < codes.size; ++i) sum += codes[i];
  }
  squares = dot(codes, codes, options);
  std::int64_t const z = zero_point;
  return {scale, zero_point, sum, squares - 2 * z * sum + static_cast<std::int64_t>(codes.size) * z * z};
}

/// Quantizes x with the given params and returns what comparing its codes takes.
///
///     codes[i] = saturate(round_half_even(x[i] / scale) + zero_point)                    NaN becomes zero_point
///
/// @errors  shape unless codes has as many elements as x; null, scale, zero_point.
template <scheme Scheme>
  requires(Scheme::granularity::single && vector_code<typename Scheme::storage>)
vector_encoding encode(vector_view<float const> x, params<Scheme> const& p, vector_view<typename Scheme::storage> codes,
                       vector_options const& options = {}) {
  detail::check_vector("encode", "x", x);
  if (codes.size != x.size) fail(errc::shape, "encode: x has ", x.size, " elements, codes ", codes.size, "; they must have as many.");
  detail::check_vector("encode", "codes", codes);
  check_params<Scheme>(p.view(), 1, "encode");
  for (index_t i = 0; i < x.size; ++i) {
    float const steps = x[i] / p.scale;
    float const low = static_cast<float>(Scheme::q_min - p.zero_point), high = static_cast<float>(Scheme::q_max - p.zero_point);
    float const q = is_nan(steps) ? 0.0f : round_to::half_even::to_integral(clamp(steps, low, high));
    codes[i] = static_cast<typename Scheme::storage>(static_cast<std::int32_t>(q) + p.zero_point);
  }
  return encoding_of(codes, p.scale, p.zero_point, options);
}

/// The same with the params of x's own range: its least and greatest finite elements.
template <class Scheme = symmetric<s8>>
  requires(Scheme::granularity::single && vector_code<typename Scheme::storage>)
vector_encoding encode(vector_view<float const> x, vector_view<typename Scheme::storage> codes, vector_options const& options = {}) {
  detail::check_vector("encode", "x", x);
  return encode(x, choose_params<Scheme>(calibrate::range_of(x, options.max_isa).range), codes, options);
}

/// The score of two encoded vectors.
///
/// @rounds  dot: scale_a scale_b (exact in double) times the exact integer, then to float. squared_l2: one such product where
///          the scales are equal, else the three terms in double, never below 0. cosine: as above; 0 for a vector of length 0.
/// @errors  shape, null.
template <vector_code A, vector_code B>
float score(similarity s, vector_view<A> a, vector_encoding const& ea, vector_view<B> b, vector_encoding const& eb,
            vector_options const& options = {}) {
  return detail::score_of(s, dot(a, b, options), a.size, ea, eb);
}

/// out[r] = score of the query and vector r of the corpus.
///
/// @shapes  query n adjacent codes; corpus.codes rows x n; out rows.   @range  every size.
/// @rounds  as score.   @errors  shape, null.   Does not allocate.
template <vector_code A, vector_code B>
void scores(similarity s, vector_view<A> query, vector_encoding const& encoding, vector_set<B> const& corpus,
            vector_view<float> out, vector_options const& options = {}) {
  detail::check_vector("scores", "query", query);
  detail::check_set("scores", "corpus", corpus.codes, query.size);
  if (!query.contiguous()) fail(errc::shape, "scores: the elements of the query are ", query.stride, " apart; they must be adjacent.");
  if (out.size != corpus.size()) fail(errc::shape, "scores: out has ", out.size, " elements, corpus ", corpus.size(), " vectors; they must be equal.");
  detail::check_vector("scores", "out", out);
  detail::code_scorer<std::remove_const_t<A>, B> const scorer(s, corpus, options.max_isa);
  constexpr index_t strip = decltype(scorer)::strip;
  options.executor((corpus.size() + strip - 1) / strip, [&](index_t task) {
    index_t const first = task * strip, rows = corpus.size() - first < strip ? corpus.size() - first : strip;
    float values[strip];
    scorer.one(detail::raw_bytes(query.data), encoding, first, rows, values);
    for (index_t r = 0; r < rows; ++r) out[first + r] = values[r];
  });
}

/// The same for a query that stays float, which costs more time and loses nothing on its side.
///
///     x · y ≈ scale (Σ x q − z Σ x)      |x − y|² ≈ |x|² − 2 x·y + scale² norm
///
/// @rounds  Σ x q in float in the order of kernel/vector_portable.hpp; the rest in double, then to float.
template <vector_code B>
void scores(similarity s, vector_view<float const> query, vector_set<B> const& corpus, vector_view<float> out,
            vector_options const& options = {}) {
  detail::check_vector("scores", "query", query);
  detail::check_set("scores", "corpus", corpus.codes, query.size);
  if (!query.contiguous()) fail(errc::shape, "scores: the elements of the query are ", query.stride, " apart; they must be adjacent.");
  if (out.size != corpus.size()) fail(errc::shape, "scores: out has ", out.size, " elements, corpus ", corpus.size(), " vectors; they must be equal.");
  detail::check_vector("scores", "out", out);
  auto const dots = detail::choose_float_dots<std::is_signed_v<B>>(options.max_isa);
  double const sum = detail::sum_of(query), length = detail::squared_length(query);
  constexpr index_t strip = 64;
  options.executor((corpus.size() + strip - 1) / strip, [&](index_t task) {
    index_t const first = task * strip, rows = corpus.size() - first < strip ? corpus.size() - first : strip;
    float values[strip];
    dots(query.data, detail::raw_bytes(corpus.codes.data) + first * corpus.codes.row_stride, corpus.codes.row_stride, rows,
         query.size, values);
    for (index_t r = 0; r < rows; ++r) {
      vector_encoding const e = corpus.encodings != nullptr ? corpus.encodings[first + r]
                                : s == similarity::dot      ? vector_encoding{}
                                                            : encoding_of(corpus.codes.row(first + r), 1.0f, 0, options);
      double const scale = static_cast<double>(e.scale);
      double const product = rounded(static_cast<double>(values[r]) - rounded(e.zero_point * sum));
      double const norm = rounded(rounded(scale * scale) * static_cast<double>(e.norm));
      if (s == similarity::dot) {
        out[first + r] = static_cast<float>(scale * product);
      } else if (s == similarity::cosine) {
        out[first + r] = detail::cosine_of(rounded(scale * product), length, norm);
      } else {
        double const d = rounded(length + norm) - rounded(2 * rounded(scale * product));
        out[first + r] = d > 0 ? static_cast<float>(d) : 0.0f;
      }
    }
  });
}

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

QUERN_FP_END
