// packed_matrix.hpp — weights packed once, used by every product: owning, non-owning, in memory of yours, saved and loaded.
//
//     auto w = pack(row_major(weights, k, n));             packed_matrix<std::int8_t>, owns its bytes
//     gemm(lhs, w, dst, epilogue);
//
//     index_t bytes = packed_size<std::int8_t>(k, n);      or: memory of yours, nothing is allocated
//     auto v = pack_into(memory, bytes, row_major(weights, k, n));
//
//     write(file, w.bytes(), w.size());                    saving is writing the bytes, on any machine
//     auto v = load_packed<std::int8_t>(mapped, size);     loading is looking at them; damage is an error
//
// The source may be row-major, column-major (a weight matrix stored output by output, n x k, is `row_major(w, n, k).transposed()`)
// or strided. Packed objects are immutable: any number of threads may use one. The layout is pack/layout.hpp's.
#pragma once

#include "../core/buffer.hpp"
#include "../core/packed_int.hpp"
#include "layout.hpp"

namespace quern {

/// Codes that weights may have: s8, u8, s4, u4 (or std::int8_t, std::uint8_t).
template <class T>
concept packable_code = quantized_code<T> && (code_of_t<T>::bits == 8 || code_of_t<T>::bits == 4);

struct pack_options {
  /// Number of k that share a scale, 0 when a whole column does. A multiple of 4, of 8 for 4-bit codes.
  index_t group = 0;
};

/// Packed weights that lie somewhere else. Plain data; copy it freely.
template <class Rhs>
struct packed_matrix_view {
  static_assert(packable_code<Rhs>, "quern: packed weights are std::int8_t, std::uint8_t, s4 or u4.");
  using code_type = code_of_t<Rhs>;

  unsigned char const* blob = nullptr;
  index_t k_ = 0, n_ = 0, group_ = 0, rows_ = 0;  // rows of 64 bytes a panel
  std::int32_t const* sums_ = nullptr;
  std::int32_t const* positives_ = nullptr;
  std::uint16_t const* pairs_ = nullptr;
  unsigned char const* data_ = nullptr;

  QUERN_INLINE index_t k() const noexcept { return k_; }
  QUERN_INLINE index_t n() const noexcept { return n_; }
  QUERN_INLINE index_t group() const noexcept { return group_; }
  QUERN_INLINE index_t groups() const noexcept { return group_ == 0 ? 1 : k_ > 0 ? (k_ - 1) / group_ + 1 : 0; }
  /// The blob, header first: what to save.
  QUERN_INLINE unsigned char const* bytes() const noexcept { return blob; }
  QUERN_INLINE index_t size() const noexcept {
    return blob == nullptr ? 0 : reinterpret_cast<packed_header const*>(blob)->bytes;
  }
  /// What stored codes are below the caller's: 128 for u8, -8 for s4, 0 otherwise.
  static constexpr std::int32_t offset = code_type::bits == 8 ? (code_type::is_signed ? 0 : 128) : (code_type::is_signed ? -8 : 0);
  /// Element (k, j) as it was packed.
  QUERN_INLINE std::int32_t operator()(index_t k, index_t j) const noexcept {
    unsigned char const* const panel = data_ + (j / 16) * rows_ * 64;
    if constexpr (code_type::bits == 8)
      return static_cast<std::int32_t>(static_cast<std::int8_t>(panel[(k / 4) * 64 + (j % 16) * 4 + k % 4])) + offset;
    else
      return static_cast<std::int32_t>((panel[(k / 8) * 64 + (j % 16) * 4 + k % 4] >> (k % 8 / 4 * 4)) & 15) + offset;
  }
};

/// Packed weights that own their bytes; is a view of itself.
template <class Rhs>
class packed_matrix : public packed_matrix_view<Rhs> {
  using view_type = packed_matrix_view<Rhs>;

 public:
  QUERN_INLINE packed_matrix() noexcept {}
  /// Takes `memory`, which holds the blob that `v` looks at.
  QUERN_INLINE packed_matrix(buffer<unsigned char>&& memory, view_type v) noexcept
      : view_type(v), memory_(static_cast<buffer<unsigned char>&&>(memory)) {}
  QUERN_INLINE packed_matrix(packed_matrix const& other) : view_type(other), memory_(other.memory_) { rebase(other.blob); }
  QUERN_INLINE packed_matrix(packed_matrix&& other) noexcept
      : view_type(other), memory_(static_cast<buffer<unsigned char>&&>(other.memory_)) {
    static_cast<view_type&>(other) = {};
  }
  QUERN_INLINE packed_matrix& operator=(packed_matrix other) noexcept {
    static_cast<view_type&>(*this) = other;
    memory_.swap(other.memory_);
    static_cast<view_type&>(other) = {};
    return *this;
  }

 private:
  QUERN_INLINE void rebase(unsigned char const* old) noexcept {
    if (old == nullptr) return;
    unsigned char const* const now = memory_.data();
    this->blob = now;
    this->data_ = now + (this->data_ - old);
    this->sums_ = reinterpret_cast<std::int32_t const*>(now + (reinterpret_cast<unsigned char const*>(this->sums_) - old));
    this->positives_ =
        reinterpret_cast<std::int32_t const*>(now + (reinterpret_cast<unsigned char const*>(this->positives_) - old));
    this->pairs_ = reinterpret_cast<std::uint16_t const*>(now + (reinterpret_cast<unsigned char const*>(this->pairs_) - old));
  }

  buffer<unsigned char> memory_;
};

namespace detail {
inline namespace QUERN_ABI {

/// A view of a blob whose header is known to be right.
template <class Rhs>
packed_matrix_view<Rhs> view_of_blob(unsigned char const* blob) noexcept {
  auto const& h = *reinterpret_cast<packed_header const*>(blob);
  packed_matrix_view<Rhs> v;
  v.blob = blob;
  v.k_ = h.k;
  v.n_ = h.n;
  v.group_ = h.group;
  v.rows_ = packed_shape::of(h.k, h.n, h.group, code_of_t<Rhs>::bits).rows;
  v.sums_ = reinterpret_cast<std::int32_t const*>(blob + h.sums_at);
  v.positives_ = reinterpret_cast<std::int32_t const*>(blob + h.positives_at);
  v.pairs_ = reinterpret_cast<std::uint16_t const*>(blob + h.pairs_at);
  v.data_ = blob + h.data_at;
  return v;
}

inline void check_packed_shape(char const* who, index_t k, index_t n, index_t group, int bits) {
  if (k < 0 || n < 0) fail(errc::shape, who, ": rhs is ", k, " x ", n, "; sizes must not be negative.");
  if (k > max_packed_k) fail(errc::depth, who, ": rhs has ", k, " rows; packed weights hold at most ", max_packed_k, ".");
  if (n > (index_t{1} << 40) / (k + 64)) fail(errc::shape, who, ": rhs is ", k, " x ", n, "; packed weights hold at most 2^40 elements.");
  index_t const step = bits == 4 ? 8 : 4;
  if (group < 0 || group % step != 0)
    fail(errc::argument, who, ": pack_options.group is ", group, "; it must be a multiple of ", step, ", or 0 for no groups.");
}

/// One panel: sixteen columns from column `first`, interleaved, with their sums. `at(k, j)` is the stored code.
template <class At>
QUERN_INLINE void pack_panel(At const& at, packed_shape const& s, int bits, index_t first, unsigned char* blob,
                             index_t& positive_max, index_t& negative_max) {
  index_t const panel = first / panel_columns, columns = s.panels * panel_columns;
  auto* const sums = reinterpret_cast<std::int32_t*>(blob + s.sums_at) + first;
  auto* const positives = reinterpret_cast<std::int32_t*>(blob + s.positives_at) + first;
  unsigned char* const data = blob + s.data_at + panel * s.rows * row_bytes;
  index_t const used = s.n - first < panel_columns ? s.n - first : panel_columns;
  int pair = 0;
  for (index_t c = 0; c < panel_columns; ++c) {
    positives[c] = 0;
    for (index_t g = 0; g < s.groups; ++g) sums[g * columns + c] = 0;
  }
  __builtin_memset(data, 0, static_cast<std::size_t>(s.rows * row_bytes));
  for (index_t c = 0; c < used; ++c) {
    std::int32_t total = 0, positive = 0, group_sum = 0;
    int before = 0;
    index_t g = 0, next = s.group > 0 ? s.group : s.k + 1;
    for (index_t k = 0; k < s.k; ++k) {
      if (k == next) {
        sums[g++ * columns + c] = group_sum;
        group_sum = 0;
        next += s.group;
      }
      int const code = at(k, first + c);
      total += code;
      group_sum += code;
      positive += code > 0 ? code : 0;
      if (k % 2 != 0) {
        int const up = (before > 0 ? before : 0) + (code > 0 ? code : 0), down = -(before < 0 ? before : 0) - (code < 0 ? code : 0);
        int const larger = up > down ? up : down;
        pair = larger > pair ? larger : pair;
      } else if (k + 1 == s.k) {
        int const magnitude = code < 0 ? -code : code;
        pair = magnitude > pair ? magnitude : pair;
      }
      before = code;
      if (bits == 8)
        data[(k / 4) * row_bytes + c * 4 + k % 4] = static_cast<unsigned char>(code);
      else
        data[(k / 8) * row_bytes + c * 4 + k % 4] |= static_cast<unsigned char>(code << (k % 8 / 4 * 4));
    }
    if (s.k > 0) sums[g * columns + c] = group_sum;
    positives[c] = positive;
    if (positive > positive_max) positive_max = positive;
    if (positive - total > negative_max) negative_max = positive - total;
  }
  reinterpret_cast<std::uint16_t*>(blob + s.pairs_at)[panel] = static_cast<std::uint16_t>(pair);
}

/// Fills a blob: header, sums, bounds, data.
template <class Rhs, class At>
void pack_blob(At const& at, packed_shape const& s, unsigned char* blob) {
  using c = code_of_t<Rhs>;
  packed_header h{};
  __builtin_memcpy(h.magic, packed_magic, sizeof(h.magic));
  h.version = 1;
  h.header_bytes = sizeof(h);
  h.code_bits = c::bits;
  h.code_signed = c::is_signed;
  h.layout = 0x0410;
  h.k = s.k;
  h.n = s.n;
  h.group = s.group;
  h.bytes = s.bytes;
  h.sums_at = s.sums_at;
  h.positives_at = s.positives_at;
  h.pairs_at = s.pairs_at;
  h.data_at = s.data_at;
  index_t positive_max = 0, negative_max = 0;
  for (index_t first = 0; first < s.n; first += panel_columns)
    pack_panel(at, s, c::bits, first, blob, positive_max, negative_max);
  index_t const pairs_end = s.pairs_at + s.panels * 2;
  __builtin_memset(blob + pairs_end, 0, static_cast<std::size_t>(s.data_at - pairs_end));
  __builtin_memset(blob + s.bytes - tile_bytes, 0, tile_bytes);
  h.positive_max = positive_max;
  h.negative_max = negative_max;
  __builtin_memcpy(blob, &h, sizeof(h));
  std::uint64_t const sum = packed_checksum(blob, s.bytes);
  __builtin_memcpy(blob + offsetof(packed_header, checksum), &sum, sizeof(sum));
}

template <class Rhs, class T>
void check_pack_source(char const* who, matrix_view<T> rhs, pack_options options) {
  using c = code_of_t<Rhs>;
  check_packed_shape(who, rhs.rows, rhs.cols, options.group, c::bits);
  if (!rhs.empty() && rhs.data == nullptr)
    fail(errc::null, who, ": rhs is null, but ", rhs.rows, " x ", rhs.cols, " elements are to be packed.");
  if constexpr (c::bits == 4)
    for (index_t k = 0; k < rhs.rows; ++k)
      for (index_t j = 0; j < rhs.cols; ++j)
        if (rhs(k, j) < c::min || rhs(k, j) > c::max)
          fail(errc::argument, who, ": rhs(", k, ", ", j, ") is ", static_cast<int>(rhs(k, j)), "; a ",
               c::is_signed ? "signed" : "unsigned", " 4-bit weight is ", c::min, " to ", c::max, ".");
}

template <class Rhs, class T>
packed_matrix_view<Rhs> pack_checked(unsigned char* blob, matrix_view<T> rhs, packed_shape const& s) {
  std::int32_t const offset = packed_matrix_view<Rhs>::offset;
  pack_blob<Rhs>([&](index_t k, index_t j) { return static_cast<int>(rhs(k, j)) - offset; }, s, blob);
  return view_of_blob<Rhs>(blob);
}

template <class Rhs, class T>
using packed_code = std::conditional_t<std::is_void_v<Rhs>, std::remove_const_t<T>, Rhs>;

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Bytes that k x n weights take when packed. @errors shape, depth (k above 16,000,000), argument (group).
template <class Rhs>
index_t packed_size(index_t k, index_t n, pack_options options = {}) {
  detail::check_packed_shape("packed_size", k, n, options.group, code_of_t<Rhs>::bits);
  return detail::packed_shape::of(k, n, options.group, code_of_t<Rhs>::bits).bytes;
}

/// Packs rhs (k x n, any strides) into memory of its own. `pack<s4>(...)` takes one 4-bit code an element.
///
/// @errors  shape, null, depth (k above 16,000,000), argument (group; an element that is no 4-bit code).
template <class Rhs = void, class T>
packed_matrix<detail::packed_code<Rhs, T>> pack(matrix_view<T> rhs, pack_options options = {}) {
  using code = detail::packed_code<Rhs, T>;
  detail::check_pack_source<code>("pack", rhs, options);
  auto const s = detail::packed_shape::of(rhs.rows, rhs.cols, options.group, code_of_t<code>::bits);
  buffer<unsigned char> memory(s.bytes);
  auto const v = detail::pack_checked<code>(memory.data(), rhs, s);
  return {static_cast<buffer<unsigned char>&&>(memory), v};
}

/// Packs rhs into `memory`, which must start on a 64-byte boundary and outlive the view.
///
/// @errors  as pack; capacity when `bytes` is below packed_size; argument when memory is not aligned.
template <class Rhs = void, class T>
packed_matrix_view<detail::packed_code<Rhs, T>> pack_into(void* memory, index_t bytes, matrix_view<T> rhs, pack_options options = {}) {
  using code = detail::packed_code<Rhs, T>;
  detail::check_pack_source<code>("pack_into", rhs, options);
  auto const s = detail::packed_shape::of(rhs.rows, rhs.cols, options.group, code_of_t<code>::bits);
  if (memory == nullptr) fail(errc::null, "pack_into: memory is null, but ", s.bytes, " bytes are needed.");
  if (bytes < s.bytes)
    fail(errc::capacity, "pack_into: memory has ", bytes, " bytes; ", rhs.rows, " x ", rhs.cols, " weights need ", s.bytes, " (packed_size).");
  if (reinterpret_cast<std::uintptr_t>(memory) % 64 != 0)
    fail(errc::argument, "pack_into: memory starts ", reinterpret_cast<std::uintptr_t>(memory) % 64,
         " bytes behind a 64-byte boundary; it must start on one.");
  return detail::pack_checked<code>(static_cast<unsigned char*>(memory), rhs, s);
}

/// Looks at saved weights, 64-byte aligned and kept alive by the caller, after checking every byte of them.
///
/// @errors  format when they are damaged, cut off, of another version or of another code; null; argument (alignment).
template <class Rhs>
packed_matrix_view<Rhs> load_packed(void const* memory, index_t bytes) {
  using c = code_of_t<Rhs>;
  auto const* const blob = static_cast<unsigned char const*>(memory);
  if (blob == nullptr) fail(errc::null, "load_packed: memory is null.");
  if (reinterpret_cast<std::uintptr_t>(blob) % 64 != 0)
    fail(errc::argument, "load_packed: memory starts ", reinterpret_cast<std::uintptr_t>(blob) % 64,
         " bytes behind a 64-byte boundary; it must start on one (load_packed_copy takes any).");
  packed_header h{};
  if (bytes < static_cast<index_t>(sizeof(h)))
    fail(errc::format, "load_packed: ", bytes, " bytes are too few for packed weights, whose header alone has ", sizeof(h), ".");
  __builtin_memcpy(&h, blob, sizeof(h));
  if (__builtin_memcmp(h.magic, detail::packed_magic, sizeof(h.magic)) != 0)
    fail(errc::format, "load_packed: these bytes are not quern's packed weights: they do not begin with \"quern\\0pk\".");
  if (h.version != 1 || h.layout != 0x0410 || h.header_bytes != sizeof(h))
    fail(errc::format, "load_packed: the weights have version ", h.version, " and layout ", h.layout, "; this quern reads version 1, layout 1040.");
  if (h.code_bits != c::bits || (h.code_signed != 0) != c::is_signed)
    fail(errc::format, "load_packed: the weights are ", h.code_signed != 0 ? "signed, " : "unsigned, ", static_cast<int>(h.code_bits),
         " bits; asked for are ", c::is_signed ? "signed, " : "unsigned, ", c::bits, " bits.");
  bool const sane = h.k >= 0 && h.k <= detail::max_packed_k && h.n >= 0 && h.n <= (index_t{1} << 40) / (h.k + 64) && h.group >= 0 &&
                    h.group % (c::bits == 4 ? 8 : 4) == 0;
  if (!sane) fail(errc::format, "load_packed: the header is damaged: it says ", h.k, " x ", h.n, " weights in groups of ", h.group, ".");
  auto const s = detail::packed_shape::of(h.k, h.n, h.group, c::bits);
  if (h.bytes != s.bytes || h.sums_at != s.sums_at || h.positives_at != s.positives_at || h.pairs_at != s.pairs_at || h.data_at != s.data_at)
    fail(errc::format, "load_packed: the header is damaged: its sizes do not fit ", h.k, " x ", h.n, " weights.");
  if (bytes < s.bytes)
    fail(errc::format, "load_packed: ", bytes, " bytes, but ", h.k, " x ", h.n, " packed weights have ", s.bytes, ": the end is missing.");
  if (h.checksum != detail::packed_checksum(blob, s.bytes))
    fail(errc::format, "load_packed: the weights are damaged: their checksum does not match.");
  return detail::view_of_blob<Rhs>(blob);
}

/// Copies saved weights, at any address, into memory of their own. @errors as load_packed.
template <class Rhs>
packed_matrix<Rhs> load_packed_copy(void const* memory, index_t bytes) {
  if (memory == nullptr) fail(errc::null, "load_packed_copy: memory is null.");
  buffer<unsigned char> copy(bytes);
  if (bytes > 0) __builtin_memcpy(copy.data(), memory, static_cast<std::size_t>(bytes));
  auto const v = load_packed<Rhs>(bytes > 0 ? copy.data() : memory, bytes);
  return {static_cast<buffer<unsigned char>&&>(copy), v};
}

}  // inline namespace QUERN_ABI
}  // namespace quern
