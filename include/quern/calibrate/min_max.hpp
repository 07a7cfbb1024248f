// min_max.hpp — the range of the data: least and greatest finite value, per tensor or per group of elements.
//
// Any number of batches, in any order and from any number of threads (one observer each, then merge) give the same result, bit
// for bit, on every instruction set: minima and maxima do not depend on order, and a zero is always +0.0. NaN and infinities are
// not part of a range; they are counted.
#pragma once

#include "../core/foreign.hpp"
#include "../core/reals.hpp"
#include "../cpu/detect.hpp"
#include "../scheme/choose_params.hpp"
#include "bytes.hpp"
#include "options.hpp"

#include <initializer_list>

namespace quern::calibrate {

/// A range and what was seen on the way to it.
struct observed_range {
  real_range range;
  std::int64_t values = 0;    ///< all of them
  std::int64_t nan = 0;       ///< of these
  std::int64_t infinite = 0;  ///< of these; a double beyond float's range counts as one

  QUERN_INLINE constexpr void merge(observed_range const& other) noexcept {
    include(other.range.min, other.range.max);
    values += other.values;
    nan += other.nan;
    infinite += other.infinite;
  }
  /// Widens the range to [lo, hi]; an empty one (lo > hi) changes nothing.
  QUERN_INLINE constexpr void include(float lo, float hi) noexcept { include(range, lo, hi); }
  QUERN_INLINE static constexpr void include(real_range& range, float lo, float hi) noexcept {
    // + 0.0f turns -0.0 into 0.0: which of the two comes first must not show
    range.min = (lo < range.min ? lo : range.min) + 0.0f;
    range.max = (hi > range.max ? hi : range.max) + 0.0f;
  }
};

}  // namespace quern::calibrate

namespace quern::calibrate::detail {
inline namespace QUERN_ABI {
namespace min_max_baseline {
#define QUERN_DETAIL_MIN_MAX_BYTES 16
#include "min_max_body.inl"
#undef QUERN_DETAIL_MIN_MAX_BYTES
}  // namespace min_max_baseline
}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail

#if QUERN_X86_64
QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern::calibrate::detail {
inline namespace QUERN_ABI {
namespace min_max_avx2 {
#define QUERN_DETAIL_MIN_MAX_BYTES 32
#include "min_max_body.inl"
#undef QUERN_DETAIL_MIN_MAX_BYTES
}  // namespace min_max_avx2
}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern::calibrate::detail {
inline namespace QUERN_ABI {
namespace min_max_avx512bw {
#define QUERN_DETAIL_MIN_MAX_BYTES 64
#include "min_max_body.inl"
#undef QUERN_DETAIL_MIN_MAX_BYTES
}  // namespace min_max_avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail
QUERN_TARGET_END
#endif

namespace quern::calibrate::detail {
inline namespace QUERN_ABI {

/// The loops of one instruction set.
struct min_max_kernels {
  bool (*extremes)(float const*, index_t, float&, float&);
  bool (*column_extremes)(float const*, index_t, index_t, index_t, float*, float*);
};

inline min_max_kernels min_max_kernels_for(isa max_isa) noexcept {
#if QUERN_X86_64
  unsigned const allowed = allowed_isas(max_isa);
  if (allowed & quern::detail::bit_of(isa::avx512bw))
    return {min_max_avx512bw::extremes, min_max_avx512bw::column_extremes};
  if (allowed & quern::detail::bit_of(isa::avx2)) return {min_max_avx2::extremes, min_max_avx2::column_extremes};
#endif
  (void)max_isa;
  return {min_max_baseline::extremes, min_max_baseline::column_extremes};
}

/// One value, whatever it is. Counts it unless it is finite; then returns true.
QUERN_INLINE bool finite_or_counted(float x, observed_range& seen) noexcept {
  if (is_finite(x)) return true;
  is_nan(x) ? ++seen.nan : ++seen.infinite;
  return false;
}

/// n contiguous floats of which one share a range. 4096 at a time, so that one NaN does not make a second pass over all.
inline void observe_line(float const* p, index_t n, real_range& range, observed_range& seen, min_max_kernels const& kernels) {
  seen.values += n;
  for (index_t at = 0; at < n; at += 4096) {
    index_t const count = n - at < 4096 ? n - at : 4096;
    float lo, hi;
    if (!kernels.extremes(p + at, count, lo, hi)) {
      real_range finite;
      lo = finite.min, hi = finite.max;
      for (index_t i = at; i < at + count; ++i)
        if (finite_or_counted(p[i], seen)) {
          lo = p[i] < lo ? p[i] : lo;
          hi = p[i] > hi ? p[i] : hi;
        }
    }
    observed_range::include(range, lo, hi);
  }
}

/// Each column of rows x cols floats into its own range, ranges[j * range_stride].
inline void observe_columns(float const* p, index_t rows, index_t cols, index_t row_stride, real_range* ranges,
                            index_t range_stride, observed_range& seen, min_max_kernels const& kernels) {
  constexpr index_t strip = 2048, at_once = 32768;  // blocks of at most 128 KiB, in case one has to be read again
  if (row_stride == cols && cols < 32 && rows >= 64) {
    // Rows that fill no register: many of them are one, whose columns are merged.
    constexpr index_t most = 512;
    index_t const fold = most / cols, width = fold * cols, long_rows = rows / fold;
    if (long_rows > 0) {
      real_range folded[most];
      observe_columns(p, long_rows, width, width, folded, 1, seen, kernels);
      for (index_t k = 0; k < width; ++k) observed_range::include(ranges[k % cols * range_stride], folded[k].min, folded[k].max);
      p += long_rows * width;
      rows -= long_rows * fold;
    }
  }
  seen.values += rows * cols;
  for (index_t j = 0; j < cols; j += strip) {
    index_t const width = cols - j < strip ? cols - j : strip;
    index_t const rows_at_once = at_once / width;
    std::size_t const bytes = static_cast<std::size_t>(width) * sizeof(float);
    float lo[strip], hi[strip], kept_lo[strip], kept_hi[strip];
    for (index_t k = 0; k < width; ++k) lo[k] = real_range{}.min, hi[k] = real_range{}.max;
    for (index_t i = 0; i < rows; i += rows_at_once) {
      index_t const height = rows - i < rows_at_once ? rows - i : rows_at_once;
      __builtin_memcpy(kept_lo, lo, bytes);
      __builtin_memcpy(kept_hi, hi, bytes);
      float const* const block = p + i * row_stride + j;
      if (kernels.column_extremes(block, height, width, row_stride, lo, hi)) continue;
      __builtin_memcpy(lo, kept_lo, bytes);
      __builtin_memcpy(hi, kept_hi, bytes);
      for (index_t r = 0; r < height; ++r)
        for (index_t k = 0; k < width; ++k) {
          float const x = block[r * row_stride + k];
          if (!finite_or_counted(x, seen)) continue;
          lo[k] = x < lo[k] ? x : lo[k];
          hi[k] = x > hi[k] ? x : hi[k];
        }
    }
    for (index_t k = 0; k < width; ++k) observed_range::include(ranges[(j + k) * range_stride], lo[k], hi[k]);
  }
}

/// Where the ranges of a plane are: element (i, j) belongs to ranges[(i / row_block) * row_step + (j / col_block) * col_step].
struct plane_ranges {
  real_range* ranges;
  index_t row_block, row_step, col_block, col_step;
};

template <class T>
inline void observe_plane(matrix_view<T const> m, plane_ranges to, observed_range& seen, min_max_kernels const& kernels) {
  if (m.empty()) return;
  if (m.col_stride != 1 && m.row_stride == 1) {
    m = m.transposed();
    to = {to.ranges, to.col_block, to.col_step, to.row_block, to.row_step};
  }
  bool const direct = std::is_same_v<T, float> && m.col_stride == 1;
  real_range* line = to.ranges;
  for (index_t i = 0; i < m.rows; i += to.row_block, line += to.row_step) {
    index_t const rows = m.rows - i < to.row_block ? m.rows - i : to.row_block;
    if constexpr (std::is_same_v<T, float>) {
      if (direct && to.col_block == 1) {
        observe_columns(&m(i, 0), rows, m.cols, m.row_stride, line, to.col_step, seen, kernels);
        continue;
      }
      if (direct && to.col_block >= m.cols && (m.row_stride == m.cols || rows == 1)) {
        observe_line(&m(i, 0), rows * m.cols, *line, seen, kernels);
        continue;
      }
    }
    for (index_t r = i; r < i + rows; ++r) {
      real_range* at = line;
      index_t left = to.col_block;  // of the elements that share *at
      for (index_t j = 0, width; j < m.cols; j += width) {
        // A stretch of the row that shares one range, or, where every element has its own, that is converted together.
        width = to.col_block == 1 || m.cols - j < left ? m.cols - j : left;
        float const* values = nullptr;
        float converted[512];
        if constexpr (std::is_same_v<T, float>) {
          if (direct) values = &m(r, j);
        }
        if (values == nullptr) {
          width = width < 512 ? width : 512;
          for (index_t k = 0; k < width; ++k) converted[k] = static_cast<float>(m(r, j + k));
          values = converted;
        }
        if (to.col_block == 1) {
          observe_columns(values, 1, width, 0, at, to.col_step, seen, kernels);
          at += width * to.col_step;
        } else {
          observe_line(values, width, *at, seen, kernels);
          left -= width;
          if (left == 0) at += to.col_step, left = to.col_block;
        }
      }
    }
  }
}

/// The same, the rows (of a single row the columns) in shares.
template <class T>
inline void observe_plane(matrix_view<T const> m, plane_ranges to, observed_range& seen, observe_options const& options) {
  auto const kernels = min_max_kernels_for(options.max_isa);
  bool const flip = m.rows == 1 || (m.col_stride != 1 && m.row_stride == 1);
  if (flip) m = m.transposed(), to = {to.ranges, to.col_block, to.col_step, to.row_block, to.row_step};
  // Rows that share ranges go to ranges of their own, which are merged; others are kept together.
  bool const shared = to.row_block >= m.rows;
  work_shares const shares(options.executor, m.rows, m.cols > 0 ? values_a_share / m.cols : m.rows, shared ? 1 : to.row_block);
  auto const share_of = [&](index_t s) { return m.block(shares.first(s), 0, shares.size(s), m.cols); };
  auto const observe_share = [&](index_t s, plane_ranges ranges, observed_range& counts) {
    auto part = share_of(s);
    if (flip) part = part.transposed(), ranges = {ranges.ranges, ranges.col_block, ranges.col_step, ranges.row_block, ranges.row_step};
    observe_plane<T>(part, ranges, counts, kernels);
  };
  if (shares.count <= 1) return m.empty() ? void() : observe_share(0, to, seen);
  buffer<observed_range> counts(shares.count);
  index_t const own = shared ? ((m.cols + to.col_block - 1) / to.col_block - 1) * to.col_step + 1 : 0;
  buffer<real_range> ranges(own * shares.count);
  options.executor(shares.count, [&](index_t s) {
    plane_ranges mine = to;
    if (shared)
      mine.ranges = ranges.data() + s * own;
    else
      mine.ranges += shares.first(s) / to.row_block * to.row_step;
    observed_range here;
    observe_share(s, mine, here);
    counts[s] = here;
  });
  for (observed_range const& c : counts) seen.merge(c);
  for (index_t s = 0; s < shares.count; ++s)
    for (index_t k = 0; k < own; k += to.col_step > 0 ? to.col_step : 1) observed_range::include(to.ranges[k], ranges[s * own + k].min, ranges[s * own + k].max);
}

template <class... Extent>
inline void check_observed(void const* data, Extent... extent) {
  if (((extent < 0) || ...)) fail(errc::shape, "min_max: an extent is negative; extents must be 0 or more.");
  if (data == nullptr && ((extent != 0) && ...)) fail(errc::null, "min_max: src is null, but it is not empty.");
}

/// How many ranges a view has.
template <class Granularity, class T>
index_t range_count(vector_view<T> v) {
  check_observed(v.data, v.size);
  return grid_of<Granularity>(v.size).count();
}
template <class Granularity, class T>
index_t range_count(matrix_view<T> v) {
  check_observed(v.data, v.rows, v.cols);
  return grid_of<Granularity>(v.rows, v.cols).count();
}
template <class Granularity, class T>
index_t range_count(tensor_view<T> v) {
  check_observed(v.data, v.n, v.h, v.w, v.c);
  return grid_of<Granularity>(v.n, v.h, v.w, v.c).count();
}

/// Widens the ranges of a view, range_count of them, by its values.
template <class Granularity, class T>
void observe(vector_view<T> v, real_range* ranges, observed_range& seen, observe_options const& options) {
  auto const grid = grid_of<Granularity>(v.size);
  observe_plane<std::remove_const_t<T>>({v.data, 1, v.size, 0, v.stride}, {ranges, 1, 0, grid.block[0], 1}, seen, options);
}
template <class Granularity, class T>
void observe(matrix_view<T> v, real_range* ranges, observed_range& seen, observe_options const& options) {
  auto const grid = grid_of<Granularity>(v.rows, v.cols);
  observe_plane<std::remove_const_t<T>>(v, {ranges, grid.block[0], grid.steps[1], grid.block[1], 1}, seen, options);
}
template <class Granularity, class T>
void observe(tensor_view<T> v, real_range* ranges, observed_range& seen, observe_options const& options) {
  if (v.empty()) return;
  auto const grid = grid_of<Granularity>(v.n, v.h, v.w, v.c);
  // Pixels that follow each other evenly, and whose ranges do too, are the rows of one long matrix.
  bool const even = (v.h_stride == v.w * v.w_stride || v.h == 1) && (v.n_stride == v.h * v.w * v.w_stride || v.n == 1);
  constexpr index_t b0 = Granularity::block(0, 4), b1 = Granularity::block(1, 4), b2 = Granularity::block(2, 4);
  if (even && b0 == b1 && b1 == b2 && b0 <= 1) {
    index_t const pixels = v.n * v.h * v.w;
    observe_plane<std::remove_const_t<T>>({v.data, pixels, v.c, v.w_stride, v.c_stride},
                                          {ranges, b0 == 1 ? 1 : pixels, grid.steps[3], grid.block[3], 1}, seen, options);
    return;
  }
  for (index_t b = 0; b < v.n; ++b)
    for (index_t y = 0; y < v.h; ++y)
      observe_plane<std::remove_const_t<T>>({&v(b, y, 0, 0), v.w, v.c, v.w_stride, v.c_stride},
                                            {ranges + grid.at(b, y, 0, 0), grid.block[2], grid.steps[3], grid.block[3], 1},
                                            seen, options);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate::detail

namespace quern::calibrate {

/// The streaming observer. Ranges lie in the order of grid_of<Granularity>; the first batch fixes how many there are.
///
///     min_max<per_channel<1>> seen;
///     for (auto batch : batches) seen.observe(batch);
///     auto params = choose_params<asymmetric<u8, per_channel<1>>>(seen.ranges());
///
/// @shapes  vectors, matrices, NHWC tensors of float, double, half, bfloat16; any stride. All batches must give the same
///          number of ranges; per_tensor and per_channel leave the other extents free.
/// @range   ranges are of float; a double is rounded to nearest first.
/// @rounds  nowhere, but for double.
/// @errors  shape when a batch has another number of ranges than the first; null.
template <granularity Granularity = per_tensor>
class min_max {
 public:
  using granularity_type = Granularity;

  /// `src` is a vector_view, matrix_view or tensor_view.
  template <class View>
    requires(!foreign<View>)
  QUERN_INLINE void observe(View src, observe_options const& options) {
    reserve(detail::range_count<Granularity>(src));
    detail::observe<Granularity>(src, ranges_.data(), seen_, options);
  }
  template <class View>
    requires(!foreign<View>)
  QUERN_INLINE void observe(View src, isa max_isa = isa::best) {
    observe(src, observe_options{.max_isa = max_isa});
  }
  /// An object of another library: an Eigen vector, matrix or tensor.
  template <foreign Object>
  void observe(Object const& batch, observe_options const& options) {
    observe(foreign_view<Object>::of(batch), options);
  }
  template <foreign Object>
  void observe(Object const& batch, isa max_isa = isa::best) {
    observe(foreign_view<Object>::of(batch), observe_options{.max_isa = max_isa});
  }

  /// Afterwards this observer has seen what both have.
  QUERN_INLINE void merge(min_max const& other) {
    if (other.size() == 0) return;
    reserve(other.size());
    for (index_t i = 0; i < size(); ++i) observed_range::include(ranges_[i], other.ranges_[i].min, other.ranges_[i].max);
    seen_.merge(other.seen_);
  }
  QUERN_INLINE void reset() noexcept { *this = min_max{}; }

  /// How many ranges there are; 0 before the first batch.
  QUERN_INLINE index_t size() const noexcept { return ranges_.size(); }
  QUERN_INLINE real_range range(index_t i = 0) const noexcept { return i < size() ? ranges_[i] : real_range{}; }
  QUERN_INLINE vector_view<real_range const> ranges() const noexcept { return {ranges_.data(), ranges_.size(), 1}; }
  /// All values so far, those among them that are NaN, and those that are infinite.
  QUERN_INLINE std::int64_t values() const noexcept { return seen_.values; }
  QUERN_INLINE std::int64_t nan() const noexcept { return seen_.nan; }
  QUERN_INLINE std::int64_t infinite() const noexcept { return seen_.infinite; }

  /// Bytes that save() writes.
  QUERN_INLINE index_t serialized_size() const noexcept { return detail::blob_frame + 36 + 8 * size(); }
  /// The observer as bytes, the same on every machine. @errors capacity, null.
  QUERN_INLINE void save(vector_view<std::uint8_t> dst) const {
    detail::byte_writer w(dst, observer_kind::min_max, serialized_size());
    w.u32(granularity_id());
    for (std::int64_t n : {std::int64_t{size()}, seen_.values, seen_.nan, seen_.infinite}) w.u64(static_cast<std::uint64_t>(n));
    for (real_range const& r : ranges_) w.f32(r.min), w.f32(r.max);
    w.finish();
  }
  /// What save() wrote. @errors format when it is damaged, of another kind or of another granularity.
  QUERN_INLINE static min_max load(vector_view<std::uint8_t const> src) {
    detail::byte_reader r(src, observer_kind::min_max);
    if (r.u32() != granularity_id())
      fail(errc::format, "load: src holds a min_max of another granularity than ", granularity_name<Granularity>, ".");
    auto const count = static_cast<index_t>(r.u64());
    min_max m;
    m.seen_.values = static_cast<std::int64_t>(r.u64());
    m.seen_.nan = static_cast<std::int64_t>(r.u64());
    m.seen_.infinite = static_cast<std::int64_t>(r.u64());
    if (count < 0 || count > r.left() / 8 || r.left() != 8 * count)
      fail(errc::format, "load: src says that it holds ", count, " ranges, but has ", r.left(), " bytes for them.");
    m.ranges_ = buffer<real_range>(count);
    for (real_range& range : m.ranges_) {
      range.min = r.f32();
      range.max = r.f32();
      if (is_nan(range.min) || is_nan(range.max)) fail(errc::format, "load: a range of src is NaN.");
    }
    return m;
  }

 private:
  QUERN_INLINE static std::uint32_t granularity_id() noexcept {
    char const* const name = granularity_name<Granularity>;
    std::uint32_t h = 2166136261u;
    for (char const* c = name; *c != '\0'; ++c) h = (h ^ static_cast<std::uint8_t>(*c)) * 16777619u;
    return h;
  }
  QUERN_INLINE void reserve(index_t count) {
    if (size() == 0) {
      ranges_ = buffer<real_range>(count);
    } else if (count != size()) {
      fail(errc::shape, "min_max: this batch or observer has ", count, " ranges, the ones before had ", size(), "; they must agree.");
    }
  }
  buffer<real_range> ranges_;
  observed_range seen_;  // counts only
};

inline namespace QUERN_ABI {

/// The range of one tensor (vector_view, matrix_view, tensor_view) in one call, with its counts. Serially it does not allocate.
template <template <class> class View, class T>
observed_range range_of(View<T> src, observe_options const& options) {
  detail::range_count<per_tensor>(src);  // for its checks
  real_range range;
  observed_range seen;
  detail::observe<per_tensor>(src, &range, seen, options);
  seen.range = range;
  return seen;
}
template <template <class> class View, class T>
observed_range range_of(View<T> src, isa max_isa = isa::best) {
  return range_of(src, observe_options{.max_isa = max_isa});
}

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate
