// vector_encode.hpp — float vectors as int8 codes, and the scores of what the codes stand for.
//
//     auto e = encode<asymmetric<u8>>(view(x), view(codes));                // codes, scale, zero point, sum, norm
//     scores(similarity::cosine, view(codes), e, corpus, view(out));        // against many
//     scores(similarity::dot, view(x), corpus, view(out));                  // the query stays float
//
// A vector x is kept as codes q with x ≈ scale (q − zero_point). For two of them
//
//     x · y  ≈  scale_x scale_y ( Σ q r − z_y Σ q − z_x Σ r + n z_x z_y )
//
// Leaving the last three terms out makes opposite vectors parallel; their sums are part of the encoding, so nothing is summed
// twice. The integers are exact; floats come from them by a stated sequence of roundings, the same on every instruction set.
#pragma once

#include "../calibrate/min_max.hpp"
#include "../core/saturate.hpp"
#include "../round/half_even.hpp"
#include "../scheme/choose_params.hpp"
#include "vector.hpp"

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

namespace detail {
inline namespace QUERN_ABI {

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

/// Σ codes[i].
template <class T>
std::int64_t code_sum(vector_view<T> codes, isa cap) {
  std::int64_t sum = 0;
  if (codes.contiguous()) {
    auto const& kernels = choose_vector_kernels<vector_op::dot, std::is_signed_v<T>, std::is_signed_v<T>>(cap);
    for (index_t k = 0; k < codes.size; k += vector_block)
      sum += kernels.sum(raw_bytes(codes.data) + k, codes.size - k < vector_block ? codes.size - k : vector_block);
  } else {
    for (index_t i = 0; i < codes.size; ++i) sum += codes[i];
  }
  return sum;
}

/// What a score takes of a vector, as doubles: all are integers below 2^53, so sums and products of them are exact, fused or not.
struct score_terms {
  double scale, zero_point, sum;
  double shift;   // Σ q − n zero_point
  double norm;    // Σ (q − zero_point)²
  double length;  // its root

  QUERN_INLINE static score_terms of(vector_encoding const& e, index_t n) noexcept {
    auto const zero_point = static_cast<double>(e.zero_point), sum = static_cast<double>(e.sum), norm = static_cast<double>(e.norm);
    return {static_cast<double>(e.scale), zero_point, sum, sum - static_cast<double>(n) * zero_point, norm, sqrt_double(norm)};
  }
};

/// The same of up to `most` vectors, side by side, so that scores are computed two at a time on any CPU. Without that they take
/// longer than the dot products: GCC vectorizes no such loop at -O2.
struct score_strip {
  static constexpr index_t most = 64;
  alignas(16) double scale[most], zero_point[most], shift[most], norm[most], length[most];
  alignas(16) float gain[most], least[most], zero[most], moved[most];  ///< score_bound's
  index_t rows = 0;

  void set(index_t r, score_terms const& t) noexcept {
    scale[r] = t.scale, zero_point[r] = t.zero_point, shift[r] = t.shift, norm[r] = t.norm, length[r] = t.length;
  }
  /// The terms of vectors [first, first + count) of a set. Plain codes are worth what they are; their norms are computed on the
  /// spot where they matter, and their sums where the other side (`shifted`) may have zero points.
  template <class T>
  void fill(similarity s, vector_set<T> const& set_of, index_t first, index_t count, bool shifted, isa cap) {
    rows = count;
    for (index_t r = 0; r < count; ++r) set(r, terms_of(s, set_of, first + r, shifted, cap));
    if (count % 2 != 0) set(count, score_terms::of({}, 0));
  }
  template <class T>
  static score_terms terms_of(similarity s, vector_set<T> const& set, index_t i, bool shifted, isa cap) {
    vector_encoding e;
    if (set.encodings != nullptr) {
      e = set.encodings[i];
    } else {
      vector_view<T const> const codes{set.codes.data + i * set.codes.row_stride, set.codes.cols, 1};
      if (s != similarity::dot) e.norm = pair_sum<vector_op::dot>("search", codes, codes, cap);
      if (shifted) e.sum = code_sum(codes, cap);
    }
    return score_terms::of(e, set.dimensions());
  }
};

using two_doubles = double __attribute__((vector_size(16)));
using two_longs = long long __attribute__((vector_size(16)));
QUERN_INLINE two_doubles load_two(double const* p) noexcept {
  two_doubles v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
QUERN_INLINE two_doubles rounded_two(two_doubles x) noexcept {
#if QUERN_X86_64
  asm("" : "+x"(x));
  return x;
#else
  return two_doubles{rounded(x[0]), rounded(x[1])};
#endif
}

/// Scores of a query with a strip, out[r] from the dot product raw[r]; raw and out have room for an even number.
template <similarity S, class Sum>
void scores_of(score_terms const& query, score_strip const& strip, Sum const* raw, float* out, index_t begin, index_t end) noexcept {
  for (index_t r = begin; r < end; r += 2) {
    two_doubles const dots = {static_cast<double>(raw[r]), static_cast<double>(raw[r + 1])};
    two_doubles const product = dots - load_two(strip.zero_point + r) * query.sum - load_two(strip.shift + r) * query.zero_point;
    two_doubles const scale = load_two(strip.scale + r);
    two_doubles score = {};
    if constexpr (S == similarity::dot) {
      score = rounded_two(scale * query.scale) * product;
    } else if constexpr (S == similarity::cosine) {
      two_doubles const lengths = rounded_two(load_two(strip.length + r) * query.length);
      two_longs const some = lengths > 0.0;  // 0 where a vector has no length
      score = some ? product / lengths : two_doubles{};
    } else {
      two_doubles const norm = load_two(strip.norm + r);
      score = scale * scale * ((norm + query.norm) - 2.0 * product);  // exact but for the last product, where the scales are equal
      for (int j = 0; j < 2; ++j) {
        if (scale[j] == query.scale) continue;
        double const aa = query.scale * query.scale, ab = query.scale * scale[j], bb = scale[j] * scale[j];  // exact
        double const lengths = rounded(rounded(aa * query.norm) + rounded(bb * norm[j]));
        double const d = lengths - rounded(2 * ab * product[j]);
        score[j] = d > 0 ? d : 0.0;
      }
    }
    out[r] = static_cast<float>(score[0]);
    out[r + 1] = static_cast<float>(score[1]);
  }
}
template <class Sum>
void scores_of(similarity s, score_terms const& query, score_strip const& strip, Sum const* raw, float* out) noexcept {
  switch (s) {
    case similarity::dot: return scores_of<similarity::dot>(query, strip, raw, out, 0, strip.rows);
    case similarity::cosine: return scores_of<similarity::cosine>(query, strip, raw, out, 0, strip.rows);
    case similarity::squared_l2: return scores_of<similarity::squared_l2>(query, strip, raw, out, 0, strip.rows);
  }
}

using four_floats = float __attribute__((vector_size(16)));
using four_ints = std::int32_t __attribute__((vector_size(16)));

/// A score takes 8 to 50 cycles, and nearly all of them are worse than the k best so far. What float arithmetic says of four scores
/// in 5 to 8 cycles is enough to leave those out whose distance from the worst of the best is above its own error:
///
///     dot, cosine    term = most * gain[r] * gain    gain = scale; 1 / length           left out where <= worst - |worst| / 2^18
///     squared_l2     (least[r] + least) - term       term = most * gain[r] * gain,       left out where >= worst + |term| / 2^18
///                                                    gain[r] = 2 scale, gain = scale, least = scale^2 norm (1 - 2^-18)
///     most           raw; with zero points           product + (|raw| + |zero[r] sum| + |moved[r] zero|) / 2^20,
///                                                    product = raw - zero[r] sum - moved[r] zero
///
/// Each is three to six roundings of 2^-24 from what it stands for. Gains out of 2^+-40 are NaN, with which nothing is left out.
struct score_bound {
  static constexpr float slack = 0x1p-18f;
  float gain, least, zero, sum;

  QUERN_INLINE static float in_range(double x) noexcept { return x >= 0x1p-40 && x <= 0x1p40 ? static_cast<float>(x) : bits_of<float>(0x7fc00000u); }
  template <similarity S>
  QUERN_INLINE static score_bound of(score_terms const& t, bool of_strip) noexcept {
    float const zero = static_cast<float>(t.zero_point), sum = static_cast<float>(t.sum);
    if (S == similarity::cosine) return {in_range(1 / t.length), 0, zero, sum};
    if (S == similarity::dot) return {in_range(t.scale), 0, zero, sum};
    float const gain = in_range(t.scale);
    return {of_strip ? 2 * gain : gain, t.norm >= 0 ? gain * gain * static_cast<float>(t.norm) * (1 - slack) : bits_of<float>(0x7fc00000u), zero, sum};
  }
};

/// Fills in what bounds the scores of a strip; whether it has zero points.
template <similarity S>
bool bound_strip(score_strip& strip) noexcept {
  bool zero_points = false;
  for (index_t r = 0; r < strip.rows; ++r) {
    score_bound const b = score_bound::of<S>({strip.scale[r], strip.zero_point[r], 0, strip.shift[r], strip.norm[r], strip.length[r]}, true);
    strip.gain[r] = b.gain, strip.least[r] = b.least, strip.zero[r] = b.zero, strip.moved[r] = static_cast<float>(strip.shift[r]);
    zero_points |= strip.zero_point[r] != 0;
  }
  return zero_points;
}

QUERN_INLINE four_floats load_four(float const* p) noexcept {
  four_floats x;
  __builtin_memcpy(&x, p, 16);
  return x;
}
QUERN_INLINE four_floats magnitudes(four_floats x) noexcept { return (four_floats)((four_ints)x & 0x7fffffff); }

/// Whether one of the four vectors from r on may be better than `worst`, which is finite.
template <similarity S, bool ZeroPoints>
QUERN_INLINE bool may_be_better(score_bound const& query, score_strip const& strip, std::int32_t const* raw, index_t r, float worst) noexcept {
  four_ints sums;
  __builtin_memcpy(&sums, raw + r, 16);
  four_floats most = __builtin_convertvector(sums, four_floats);
  if constexpr (ZeroPoints) {
    four_floats const a = load_four(strip.zero + r) * query.sum, b = load_four(strip.moved + r) * query.zero;
    most = ((most - a) - b) + (magnitudes(most) + magnitudes(a) + magnitudes(b)) * 0x1p-20f;
  }
  four_floats const term = most * load_four(strip.gain + r) * query.gain;
  four_ints out;
  if constexpr (S == similarity::squared_l2) {
    four_floats const larger = term > 0 ? term * (1 + score_bound::slack) : term * (1 - score_bound::slack);
    out = (load_four(strip.least + r) + query.least) - larger >= worst;
  } else {
    out = term <= worst - (worst < 0 ? -worst : worst) * score_bound::slack;
  }
  long long halves[2];
  __builtin_memcpy(halves, &out, 16);
  return (halves[0] & halves[1]) != -1;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// The encoding of codes that exist already, with this scale and zero point: computes sum and norm.   @errors  null, scale.
template <vector_code T>
vector_encoding encoding_of(vector_view<T> codes, float scale = 1.0f, std::int32_t zero_point = 0, vector_options const& options = {}) {
  detail::check_vector("encoding_of", "codes", codes);
  if (!(scale > 0) || !is_finite(scale))
    fail(errc::scale, "encoding_of: scale is ", static_cast<double>(scale), "; it must be finite and greater than zero.");
  std::int64_t const sum = detail::code_sum(codes, options.max_isa), squares = dot(codes, codes, options);
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
///          the scales are equal, else the three terms in double, never below 0. cosine: as cosine() of codes.
/// @errors  shape, null.
template <vector_code A, vector_code B>
float score(similarity s, vector_view<A> a, vector_encoding const& ea, vector_view<B> b, vector_encoding const& eb,
            vector_options const& options = {}) {
  std::int64_t const raw[2] = {dot(a, b, options), 0};
  float out[2];
  detail::score_strip strip;
  strip.rows = 1;
  strip.set(0, detail::score_terms::of(eb, b.size));
  strip.set(1, detail::score_terms::of({}, 0));
  detail::scores_of(s, detail::score_terms::of(ea, a.size), strip, raw, out);
  return out[0];
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
  auto const& kernels = detail::choose_vector_kernels<detail::vector_op::dot, std::is_signed_v<A>, std::is_signed_v<B>>(options.max_isa);
  auto const terms = detail::score_terms::of(encoding, query.size);
  constexpr index_t strip = detail::score_strip::most;
  options.executor((corpus.size() + strip - 1) / strip, [&](index_t task) {
    index_t const first = task * strip, rows = corpus.size() - first < strip ? corpus.size() - first : strip;
    detail::score_strip vectors;
    std::int64_t sums[strip] = {};
    float values[strip];
    vectors.fill(s, corpus, first, rows, encoding.zero_point != 0, kernels.target);
    detail::row_sums(kernels, detail::raw_bytes(query.data), query.size,
                     detail::raw_bytes(corpus.codes.data) + first * corpus.codes.row_stride, corpus.codes.row_stride, rows, sums);
    detail::scores_of(s, terms, vectors, sums, values);
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
        out[first + r] = detail::cosine_of(rounded(scale * product), detail::sqrt_double(length), rounded(scale * detail::sqrt_double(static_cast<double>(e.norm))));
      } else {
        double const d = rounded(length + norm) - rounded(2 * rounded(scale * product));
        out[first + r] = d > 0 ? static_cast<float>(d) : 0.0f;
      }
    }
  });
}

}  // inline namespace QUERN_ABI
}  // namespace quern

QUERN_FP_END
