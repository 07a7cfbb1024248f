// elementwise.hpp — fixed_point's add, sub, mul and prelu over lines of codes, on vectors.
//
//     an int8 sum, 16 lanes of AVX-512: 2 loads, 8 instructions for the operand of the smaller scale, 2 for the other, 12 for the
//     second rescaling, 2 to pack; as definition 51 for each of three rescalings' 64-bit products
#pragma once

#include "../convert/quantize_task.hpp"
#include "../core/elementary.hpp"
#include "../cpu/detect.hpp"
#include "../fixed_point/elementwise.hpp"
#include "../simd/rescale.hpp"

QUERN_FP_BEGIN

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// A functor that may have a vector_function (elementwise_body.inl) on some instruction sets.
template <class F>
struct by_vectors {
  F function;
  QUERN_INLINE constexpr std::int32_t operator()(std::int32_t a, std::int32_t b) const noexcept { return function(a, b); }
};

/// An int8 sum as a linear function that rounds down:
///
///     y = (2^8 (a Ah + b Bh) + floor(2^8 a Al / 2^16) + floor(2^8 b Bl / 2^16) + C) >> shift
///
/// with Ah, Al, Bh, Bl of 16 bits. TFLite's sum rounds four times, twice with ties away from zero, so this is not the same function
/// by construction. But there are only 65,536 pairs of codes: who adds many afford to compare all of them first, and take the linear
/// form, which has a third of the instructions, only where it agrees with the definition on every one. It does for 199 of 200 random
/// scales and for two thirds of those in ratios of small integers, where many sums are ties that the definition's inner roundings
/// break either way; the others stay with the definition.
struct linear_form {
  std::int32_t lhs_high = 0, lhs_low = 0, rhs_high = 0, rhs_low = 0, offset = 0;
  int shift = -1;  ///< negative: there is no such form
};

/// Slopes a little steeper send ties away from zero, as the definition's last rounding does; its other roundings move boundaries
/// by some 2^-20, and a value that lies so near to one may need another constant. Slopes in units of 2^-23; an offset of 1 is what
/// the two floors lose on average. The order is that of their success.
struct linear_tuning {
  int slope, offset;
};
inline constexpr linear_tuning linear_tunings[] = {{4, 1}, {0, 1}, {8, 1}, {16, 1}, {2, 1}, {1, 1}, {4, 3}, {4, -1}};

/// `lhs` and `rhs`: real slopes of the codes.
constexpr linear_form linear_form_of(double lhs, double rhs, std::int32_t lhs_zero, std::int32_t rhs_zero, std::int32_t dst_zero, linear_tuning t) {
  double const steeper = 1 + t.slope / 8388608.0;
  double const l = lhs < 0 ? -lhs : lhs, r = rhs < 0 ? -rhs : rhs, largest = (l > r ? l : r) * steeper;
  double const most = 255 * (l + r) * steeper + 512;  // of the sum, which must stay within int32
  int shift = 23;
  double power = 8388608.0;
  for (; shift > 0 && (largest * power >= 8388479.0 || most * power >= 2147483000.0); --shift) power /= 2;
  if (shift == 0) return {};
  auto const nearest = [](double x) { return static_cast<std::int64_t>(x < 0 ? x - 0.5 : x + 0.5); };
  std::int64_t const a = nearest(lhs * steeper * power * 256), b = nearest(rhs * steeper * power * 256);
  std::int64_t const c = nearest((dst_zero + 0.5) * power - static_cast<double>(lhs_zero * a + rhs_zero * b) / 256) + t.offset;
  auto const high = [](std::int64_t x) { return static_cast<std::int32_t>((x + 32768) >> 16); };
  return {high(a), static_cast<std::int32_t>(a - high(a) * 65536), high(b), static_cast<std::int32_t>(b - high(b) * 65536), wrap32(c), shift};
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
QUERN_TARGET_BEGIN(QUERN_TARGET_SSE41)
namespace quern {
inline namespace QUERN_ABI {
namespace sse41 {
namespace inner {
struct shift_count {
  __m128i n;
};
QUERN_INLINE shift_count count_of(int n) { return {_mm_cvtsi32_si128(n)}; }
QUERN_INLINE i32s sra(i32s a, shift_count n) { return {_mm_sra_epi32(a.v, n.n)}; }
QUERN_INLINE i32s srl(i32s a, shift_count n) { return {_mm_srl_epi32(a.v, n.n)}; }
using raw = __m128i;
QUERN_INLINE raw load_raw(void const* p) { return _mm_loadu_si128(static_cast<__m128i const*>(p)); }
QUERN_INLINE raw raw_of(i32s a) { return a.v; }
QUERN_INLINE raw unpack_low(raw a, raw b) { return _mm_unpacklo_epi8(a, b); }
QUERN_INLINE raw unpack_high(raw a, raw b) { return _mm_unpackhi_epi8(a, b); }
QUERN_INLINE i32s multiply_add_to(i32s sum, raw a, raw b) { return {_mm_add_epi32(sum.v, _mm_madd_epi16(a, b))}; }
QUERN_INLINE raw high_words(raw a, raw b) { return _mm_mulhi_epi16(a, b); }
QUERN_INLINE bytes pack_in_halves(words a, words b) { return {_mm_packs_epi16(a.v, b.v)}; }
QUERN_INLINE void store_raw(void* p, raw a) { _mm_storeu_si128(static_cast<__m128i*>(p), a); }
QUERN_INLINE void stream_raw(void* p, raw a) { _mm_stream_si128(static_cast<__m128i*>(p), a); }
QUERN_INLINE raw raw_byte(int x) { return _mm_set1_epi8(static_cast<char>(x)); }
QUERN_INLINE raw raw_word(int x) { return _mm_set1_epi16(static_cast<short>(x)); }
QUERN_INLINE raw flip(raw a, raw bits) { return _mm_xor_si128(a, bits); }
QUERN_INLINE raw distance(raw a, raw b) { return _mm_sub_epi8(_mm_max_epu8(a, b), _mm_min_epu8(a, b)); }
QUERN_INLINE raw product_words(raw a, raw b) { return _mm_mullo_epi16(a, b); }
QUERN_INLINE raw product_high_words(raw a, raw b) { return _mm_mulhi_epu16(a, b); }
QUERN_INLINE raw add_words(raw a, raw b) { return _mm_add_epi16(a, b); }
QUERN_INLINE raw sum_at_most(raw a, raw b) { return _mm_adds_epu16(a, b); }
QUERN_INLINE raw difference_at_least_0(raw a, raw b) { return _mm_subs_epu16(a, b); }
QUERN_INLINE raw half_sum_up(raw a, raw b) { return _mm_avg_epu16(a, b); }
QUERN_INLINE raw srl_words(raw a, __m128i n) { return _mm_srl_epi16(a, n); }
QUERN_INLINE raw pack_bytes(raw a, raw b) { return _mm_packus_epi16(a, b); }
QUERN_INLINE raw between(raw a, raw lo, raw hi) { return _mm_min_epu8(_mm_max_epu8(a, lo), hi); }
/// zero + y, or zero - y where the signs of a - az and b - bz differ; 0 .. 255.
QUERN_INLINE raw moved(raw zero, raw y, raw a, raw az, raw b, raw bz) {
  raw const none = _mm_setzero_si128();
  raw const not_below = _mm_xor_si128(_mm_cmpeq_epi8(_mm_subs_epu8(az, a), none), _mm_cmpeq_epi8(_mm_subs_epu8(bz, b), none));
  return _mm_blendv_epi8(_mm_adds_epu8(zero, y), _mm_subs_epu8(zero, y), not_below);
}
}  // namespace inner
#include "elementwise_body.inl"
}  // namespace sse41
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {
namespace inner {
using shift_count = i32s;
QUERN_INLINE shift_count count_of(int n) { return broadcast(n); }
QUERN_INLINE i32s sra(i32s a, shift_count n) { return shift_right(a, n); }
QUERN_INLINE i32s srl(i32s a, shift_count n) { return shift_right_logical(a, n); }
using raw = __m256i;
QUERN_INLINE raw load_raw(void const* p) { return _mm256_loadu_si256(static_cast<__m256i const*>(p)); }
QUERN_INLINE raw raw_of(i32s a) { return a.v; }
QUERN_INLINE raw unpack_low(raw a, raw b) { return _mm256_unpacklo_epi8(a, b); }
QUERN_INLINE raw unpack_high(raw a, raw b) { return _mm256_unpackhi_epi8(a, b); }
QUERN_INLINE i32s multiply_add_to(i32s sum, raw a, raw b) { return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(a, b))}; }
QUERN_INLINE raw high_words(raw a, raw b) { return _mm256_mulhi_epi16(a, b); }
QUERN_INLINE bytes pack_in_halves(words a, words b) { return {_mm256_packs_epi16(a.v, b.v)}; }
QUERN_INLINE void store_raw(void* p, raw a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a); }
QUERN_INLINE void stream_raw(void* p, raw a) { _mm256_stream_si256(static_cast<__m256i*>(p), a); }
QUERN_INLINE raw raw_byte(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
QUERN_INLINE raw raw_word(int x) { return _mm256_set1_epi16(static_cast<short>(x)); }
QUERN_INLINE raw flip(raw a, raw bits) { return _mm256_xor_si256(a, bits); }
QUERN_INLINE raw distance(raw a, raw b) { return _mm256_sub_epi8(_mm256_max_epu8(a, b), _mm256_min_epu8(a, b)); }
QUERN_INLINE raw product_words(raw a, raw b) { return _mm256_mullo_epi16(a, b); }
QUERN_INLINE raw product_high_words(raw a, raw b) { return _mm256_mulhi_epu16(a, b); }
QUERN_INLINE raw add_words(raw a, raw b) { return _mm256_add_epi16(a, b); }
QUERN_INLINE raw sum_at_most(raw a, raw b) { return _mm256_adds_epu16(a, b); }
QUERN_INLINE raw difference_at_least_0(raw a, raw b) { return _mm256_subs_epu16(a, b); }
QUERN_INLINE raw half_sum_up(raw a, raw b) { return _mm256_avg_epu16(a, b); }
QUERN_INLINE raw srl_words(raw a, __m128i n) { return _mm256_srl_epi16(a, n); }
QUERN_INLINE raw pack_bytes(raw a, raw b) { return _mm256_packus_epi16(a, b); }
QUERN_INLINE raw between(raw a, raw lo, raw hi) { return _mm256_min_epu8(_mm256_max_epu8(a, lo), hi); }
/// zero + y, or zero - y where the signs of a - az and b - bz differ; 0 .. 255.
QUERN_INLINE raw moved(raw zero, raw y, raw a, raw az, raw b, raw bz) {
  raw const none = _mm256_setzero_si256();
  raw const not_below = _mm256_xor_si256(_mm256_cmpeq_epi8(_mm256_subs_epu8(az, a), none), _mm256_cmpeq_epi8(_mm256_subs_epu8(bz, b), none));
  return _mm256_blendv_epi8(_mm256_adds_epu8(zero, y), _mm256_subs_epu8(zero, y), not_below);
}
}  // namespace inner
#include "elementwise_body.inl"
}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512bw {
namespace inner {
using shift_count = i32s;
QUERN_INLINE shift_count count_of(int n) { return broadcast(n); }
QUERN_INLINE i32s sra(i32s a, shift_count n) { return shift_right(a, n); }
QUERN_INLINE i32s srl(i32s a, shift_count n) { return shift_right_logical(a, n); }
using raw = __m512i;
QUERN_INLINE raw load_raw(void const* p) { return _mm512_loadu_si512(p); }
QUERN_INLINE raw raw_of(i32s a) { return a.v; }
QUERN_INLINE raw unpack_low(raw a, raw b) { return _mm512_unpacklo_epi8(a, b); }
QUERN_INLINE raw unpack_high(raw a, raw b) { return _mm512_unpackhi_epi8(a, b); }
QUERN_INLINE i32s multiply_add_to(i32s sum, raw a, raw b) { return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(a, b))}; }
QUERN_INLINE raw high_words(raw a, raw b) { return _mm512_mulhi_epi16(a, b); }
QUERN_INLINE bytes pack_in_halves(words a, words b) { return {_mm512_packs_epi16(a.v, b.v)}; }
QUERN_INLINE void store_raw(void* p, raw a) { _mm512_storeu_si512(p, a); }
QUERN_INLINE void stream_raw(void* p, raw a) { _mm512_stream_si512(static_cast<__m512i*>(p), a); }
QUERN_INLINE raw raw_byte(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
QUERN_INLINE raw raw_word(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
QUERN_INLINE raw flip(raw a, raw bits) { return _mm512_xor_si512(a, bits); }
QUERN_INLINE raw distance(raw a, raw b) { return _mm512_sub_epi8(_mm512_max_epu8(a, b), _mm512_min_epu8(a, b)); }
QUERN_INLINE raw product_words(raw a, raw b) { return _mm512_mullo_epi16(a, b); }
QUERN_INLINE raw product_high_words(raw a, raw b) { return _mm512_mulhi_epu16(a, b); }
QUERN_INLINE raw add_words(raw a, raw b) { return _mm512_add_epi16(a, b); }
QUERN_INLINE raw sum_at_most(raw a, raw b) { return _mm512_adds_epu16(a, b); }
QUERN_INLINE raw difference_at_least_0(raw a, raw b) { return _mm512_subs_epu16(a, b); }
QUERN_INLINE raw half_sum_up(raw a, raw b) { return _mm512_avg_epu16(a, b); }
QUERN_INLINE raw srl_words(raw a, __m128i n) { return _mm512_srl_epi16(a, n); }
QUERN_INLINE raw pack_bytes(raw a, raw b) { return _mm512_packus_epi16(a, b); }
QUERN_INLINE raw between(raw a, raw lo, raw hi) { return _mm512_min_epu8(_mm512_max_epu8(a, lo), hi); }
/// zero + y, or zero - y where the signs of a - az and b - bz differ; 0 .. 255.
QUERN_INLINE raw moved(raw zero, raw y, raw a, raw az, raw b, raw bz) {
  return _mm512_mask_subs_epu8(_mm512_adds_epu8(zero, y), _kxor_mask64(_mm512_cmplt_epu8_mask(a, az), _mm512_cmplt_epu8_mask(b, bz)), zero, y);
}
}  // namespace inner
#include "elementwise_body.inl"
}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

// VNNI adds the products of words to a sum: 29 instructions for 64 int8 sums instead of 37.
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512_VNNI)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512_vnni {
using namespace avx512bw;
namespace inner {
using namespace avx512bw::inner;
QUERN_INLINE i32s multiply_add_to(i32s sum, raw a, raw b) { return {_mm512_dpwssd_epi32(sum.v, a, b)}; }
}  // namespace inner
#include "linear_line.inl"
}  // namespace avx512_vnni
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END
#endif

QUERN_FP_END

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// Whether f has a linear form, and the slopes.
template <class F>
struct linear_slopes {
  static constexpr bool known = false;
};
QUERN_INLINE constexpr double real_of(rescale::multiplier_shift p) noexcept { return ldexp_of(static_cast<double>(p.multiplier), p.shift - 31); }
template <class R, bool Subtract>
struct linear_slopes<fixed_point::add<R, Subtract>> {
  using sum = fixed_point::add<R, Subtract>;
  static constexpr bool known =
      std::is_same_v<R, rescale::gemmlowp_double> || std::is_same_v<R, rescale::cmsis_nn> || std::is_same_v<R, rescale::tflite_single>;
  QUERN_INLINE static constexpr double lhs(sum const& f) { return ldexp_of(real_of(f.lhs) * real_of(f.dst), f.left_shift); }
  QUERN_INLINE static constexpr double rhs(sum const& f) { return (Subtract ? -1 : 1) * ldexp_of(real_of(f.rhs) * real_of(f.dst), f.left_shift); }
};

/// What quern::kernels holds of binary_line; other functions and types are called code by code in files that link it.
using compiled_binary_codes = type_list<std::int8_t, std::uint8_t, std::int16_t>;
template <class R>
using compiled_binaries_of = type_list<fixed_point::add<R>, fixed_point::add<R, true>, fixed_point::mul<R>, fixed_point::prelu<R>>;
template <class T, class F>
inline constexpr bool is_compiled_binary =
    is_listed<T, compiled_binary_codes> &&
    (is_listed<F, compiled_binaries_of<rescale::gemmlowp_double>> || is_listed<F, compiled_binaries_of<rescale::tflite_single>>);

#if QUERN_X86_64
/// binary_line on vectors, for f that have them, from SSE4.1 on.
template <class T, class F>
void binary_line_of_vectors(isa i, T const* a, T const* b, T* dst, index_t n, F const& f) noexcept;
#endif

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
inline index_t linear_line(isa i, std::int8_t const* a, std::int8_t const* b, std::int8_t* dst, index_t n, linear_form const& f, fixed_point::limits l) noexcept {
  if (i >= isa::avx512_vnni) return avx512_vnni::linear_line(a, b, dst, n, f, l);
  if (i >= isa::avx512bw) return avx512bw::linear_line(a, b, dst, n, f, l);
  if (i >= isa::avx2) return avx2::linear_line(a, b, dst, n, f, l);
  return sse41::linear_line(a, b, dst, n, f, l);
}
template <class T, class F>
void exact_line(isa i, T const* a, T const* b, T* dst, index_t n, F const& f) noexcept {
  if (i >= isa::avx512bw) return avx512bw::binary_line(a, b, dst, n, f);
  if (i >= isa::avx2) return avx2::binary_line(a, b, dst, n, f);
  sse41::binary_line(a, b, dst, n, f);
}
/// The first tuning that agrees with f on all pairs of codes.
template <class F>
QUERN_NOINLINE linear_form proved_linear_form(isa i, F const& f) noexcept {
  alignas(64) std::int8_t lhs[256], rhs[256], expected[256], linear[256];
  for (int b = 0; b < 256; ++b) rhs[b] = static_cast<std::int8_t>(b - 128);
  for (linear_tuning const t : linear_tunings) {
    linear_form const form = linear_form_of(linear_slopes<F>::lhs(f), linear_slopes<F>::rhs(f), f.lhs_zero_point, f.rhs_zero_point, f.zero_point, t);
    bool agrees = form.shift >= 0;
    for (int a = -128; a < 128 && agrees; ++a) {
      __builtin_memset(lhs, a, 256);
      exact_line(i, lhs, rhs, expected, 256, f);
      linear_line(i, lhs, rhs, linear, 256, form, f.clamped);
      agrees = __builtin_memcmp(expected, linear, 256) == 0;
    }
    if (agrees) return form;
  }
  return {};
}
/// What this thread knows of a sum's form: `seen` counts the codes before a proof, which is not worth it for few.
template <class F>
struct kept_form {
  F sum{};
  index_t seen = 0;
  isa on = isa::baseline;
  bool tried = false;
  linear_form form{};
};
template <class F>
struct kept_forms {
  kept_form<F> each[8] = {};
  int next = 0;
};
template <class F>
inline thread_local constinit kept_forms<F> kept_linear_forms{};

/// A form for n more sums by f, if one is known or worth a search.
template <class F>
QUERN_NOINLINE linear_form known_linear_form(isa i, index_t n, F const& f) noexcept {
  static_assert(std::has_unique_object_representations_v<F>);
  auto& all = kept_linear_forms<F>;
  kept_form<F>* k = nullptr;
  for (auto& e : all.each)
    if (e.seen > 0 && e.on == i && __builtin_memcmp(&e.sum, &f, sizeof(F)) == 0) k = &e;
  if (k == nullptr) {
    k = &all.each[all.next];
    all.next = (all.next + 1) % 8;
    *k = {f, 0, i, false, {}};
  }
  k->seen += n;
  if (!k->tried && k->seen >= index_t{1} << 17) {  // the comparison takes as long as 80,000 sums or so
    k->tried = true;
    k->form = proved_linear_form(i, f);
  }
  return k->form;
}

template <class T, class F>
void binary_line_of_vectors(isa i, T const* a, T const* b, T* dst, index_t n, F const& f) noexcept {
  index_t done = 0;
  if constexpr (std::is_same_v<T, std::int8_t> && linear_slopes<F>::known) {
    if (n >= 256)
      if (linear_form const form = known_linear_form(i, n, f); form.shift >= 0) {
        if (n >= streaming_bytes) done = static_cast<index_t>(-reinterpret_cast<std::uintptr_t>(dst) % 64);
        exact_line(i, a, b, dst, done, f);
        done += linear_line(i, a + done, b + done, dst + done, n - done, form, f.clamped);
      }
  }
  exact_line(i, a + done, b + done, dst + done, n - done, f);
}
template <class T, class F>
inline constexpr bool has_binary_vectors = requires(T* p, F const& f) { avx2::binary_line(p, p, p, index_t{}, f); };
#else
template <class T, class F>
inline constexpr bool has_binary_vectors = QUERN_X86_64 && is_compiled_binary<T, F>;
#endif

/// dst[i] = f(a[i], b[i]) over n adjacent codes.
template <class T, class F>
void binary_line(isa i, T const* a, T const* b, T* dst, index_t n, F const& f) noexcept {
#if QUERN_X86_64
  if constexpr (has_binary_vectors<T, F>)
    if (i >= isa::sse41) return binary_line_of_vectors(i, a, b, dst, n, f);
#endif
  static_cast<void>(i);
  for (index_t k = 0; k < n; ++k) dst[k] = static_cast<T>(f(a[k], b[k]));
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
