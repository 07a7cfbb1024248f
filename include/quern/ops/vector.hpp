// vector.hpp — dot product, squared distance and cosine of int8 vectors: exact for any number of dimensions, and fast.
//
//     std::int64_t s = dot(view(a), view(b));        // −128·−128 and 100,000 dimensions included
//     squared_l2_each(view(q), vectors, view(out));  // one query against many, int32
//
// Codes are compared as the integers they are. What they stand for is vector_encode.hpp's matter, the best of many
// vector_search.hpp's.
#pragma once

#include "../core/error.hpp"
#include "../core/views.hpp"
#include "../core/executor.hpp"
#include "../kernel/vector_x86.hpp"

QUERN_FP_BEGIN

namespace quern {

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
std::int64_t strided_sum(A const* a, index_t a_stride, B const* b, index_t b_stride, index_t n) noexcept {
  std::int64_t sum = 0;
  for (index_t i = 0; i < n; ++i) {
    std::int64_t const x = a[i * a_stride], y = b[i * b_stride];
    sum += Op == vector_op::dot ? x * y : (x - y) * (x - y);
  }
  return sum;
}

/// Inlined down to the kernel's call: views handed over on the stack would take longer than 256 dimensions, since they are stored in
/// pieces and loaded whole.
template <vector_op Op, class A, class B>
QUERN_INLINE std::int64_t pair_sum(char const* who, vector_view<A> a, vector_view<B> b, isa cap) {
  if (a.size != b.size || a.size < 0 || (a.size > 0 && (a.data == nullptr || b.data == nullptr))) check_pair(who, a, b);
  if (!a.contiguous() || !b.contiguous()) return strided_sum<Op>(a.data, a.stride, b.data, b.stride, a.size);
  auto const pair = choose_vector_kernels<Op, std::is_signed_v<A>, std::is_signed_v<B>>(cap).pair;
  if (a.size <= vector_block) return pair(raw_bytes(a.data), raw_bytes(b.data), a.size);
  std::int64_t sum = 0;
  for (index_t k = 0; k < a.size; k += vector_block)
    sum += pair(raw_bytes(a.data) + k, raw_bytes(b.data) + k, a.size - k < vector_block ? a.size - k : vector_block);
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
  auto const& kernels = choose_vector_kernels<Op, std::is_signed_v<A>, std::is_signed_v<B>>(options.max_isa);
  constexpr index_t strip = 64;
  options.executor((vectors.rows + strip - 1) / strip, [&](index_t task) {
    index_t const first = task * strip, rows = vectors.rows - first < strip ? vectors.rows - first : strip;
    std::int32_t sums[strip];
    row_sums(kernels, raw_bytes(query.data), query.size, raw_bytes(vectors.data) + first * vectors.row_stride, vectors.row_stride,
             rows, sums);
    for (index_t r = 0; r < rows; ++r) out[first + r] = sums[r];
  });
}

QUERN_INLINE double sqrt_double(double x) noexcept {
#if QUERN_X86_64
  asm("sqrtsd %1, %0" : "=x"(x) : "x"(x));
  return x;
#else
  return __builtin_sqrt(x);
#endif
}

/// product / (length_a length_b), 0 where a vector has no length.
QUERN_INLINE float cosine_of(double product, double length_a, double length_b) noexcept {
  return length_a > 0 && length_b > 0 ? static_cast<float>(product / rounded(length_a * length_b)) : 0.0f;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Σ a[i] b[i].
///
/// @shapes  two vectors of as many int8 or uint8 (in any combination), any stride.   @range  exact for every size.
/// @rounds  nowhere.   @errors  shape, null.
template <vector_code A, vector_code B>
QUERN_INLINE std::int64_t dot(vector_view<A> a, vector_view<B> b, vector_options const& options = {}) {
  return detail::pair_sum<detail::vector_op::dot>("dot", vector_view<A const>(a), vector_view<B const>(b), options.max_isa);
}

/// Σ (a[i] − b[i])².   @shapes, range, rounds, errors  as dot; both of one type.
template <vector_code A, vector_code B>
  requires std::same_as<std::remove_const_t<A>, std::remove_const_t<B>>
QUERN_INLINE std::int64_t squared_l2(vector_view<A> a, vector_view<B> b, vector_options const& options = {}) {
  return detail::pair_sum<detail::vector_op::squared_l2>("squared_l2", vector_view<A const>(a), vector_view<B const>(b), options.max_isa);
}

/// Σ a b / (sqrt(Σ a²) sqrt(Σ b²)); 0 where a vector is all zeros.
///
/// @rounds  each root, their product, the quotient (in double) and the float, half to even.   @errors  shape, null.
template <vector_code A, vector_code B>
float cosine(vector_view<A> a, vector_view<B> b, vector_options const& options = {}) {
  detail::check_pair("cosine", a, b);
  auto const length = [](std::int64_t norm) { return detail::sqrt_double(static_cast<double>(norm)); };
  return detail::cosine_of(static_cast<double>(dot(a, b, options)), length(dot(a, a, options)), length(dot(b, b, options)));
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

}  // inline namespace QUERN_ABI
}  // namespace quern

QUERN_FP_END
