// gemm_problem.hpp — a product as the loops see it: bytes, integers and functions.
#pragma once

#include "../epilogue/tile_result.hpp"
#include "gemm_plan.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// Where lhs comes from: codes [k0, k0 + count) of rows [row, row + rows) into dst, lhs_stride apart, zeros up to `padded`, by
/// `copy`; `sums` as copy has it.
using lhs_reader = void (*)(void const* context, kernel::copy_function copy, index_t row, index_t rows, index_t k0, index_t count,
                            index_t padded, unsigned char* dst, std::int32_t* sums);

struct gemm_problem {
  index_t m = 0, n = 0, k = 0;
  int kind = 0;                             ///< 0 u8, 1 s8, 2 s16
  lhs_reader read = nullptr;
  void const* lhs = nullptr;
  unsigned char const* plain = nullptr;     ///< lhs itself, when its rows have no gaps: tiles may then read it where it lies
  index_t plain_stride = 0;                 ///< bytes
  unsigned char const* rhs = nullptr;       ///< panels
  index_t panel_bytes = 0;
  bool nibbles = false;
  std::uint16_t const* pairs = nullptr;
  std::int32_t lhs_max = 255;               ///< largest copied code as far as known: for proofs
  std::int32_t const* init[2] = {};         ///< by lhs_form: n rounded up to 16 int32 that accumulators start from
  bool sums = false;                        ///< whether row sums are needed
  std::int32_t* direct = nullptr;           ///< an int32 destination that takes the accumulators as they are
  index_t direct_ld = 0;
  bool scaled = false;                      ///< tiles apply the whole epilogue: `scaling`, with the scales of all columns
  kernel::tile_scaling scaling{};
  float const* scales = nullptr;
  unsigned char* scaled_dst = nullptr;
  index_t segment = 0;                      ///< k that may be summed in int32 before `fold`; 0: all of it
  index_t wide_bytes = 0;                   ///< an element of what `fold` sums into: float or int64
  fold_function fold = nullptr;
  finish_function finish = nullptr;
  void const* context = nullptr;
};

/// One task: some rows, some panels.
struct gemm_task {
  index_t row, rows, panel, panels;
};

/// k, cut into segments and these into blocks.
struct k_blocks {
  index_t k = 0, whole = 0, block = 0;   ///< all of it, a segment, a block
  index_t count = 1, segments = 1;       ///< blocks and segments

  /// Blocks of at most `most` codes. Divisions take up to 90 cycles each before Ice Lake, hence the short way for short k.
  static k_blocks of(index_t k, index_t segment, index_t most) noexcept {
    k_blocks b{.k = k, .whole = segment > 0 && segment < k ? segment : k};
    if (b.whole <= most) {
      b.block = b.whole;
    } else {
      index_t const pieces = (b.whole + most - 1) / most;
      b.block = round_up((b.whole + pieces - 1) / pieces, 64);
    }
    if (b.block < k) {
      b.segments = (k + b.whole - 1) / b.whole;
      index_t const last = k - (b.segments - 1) * b.whole;  // the last segment may be shorter
      b.count = (b.segments - 1) * ((b.whole + b.block - 1) / b.block) + (last + b.block - 1) / b.block;
    }
    return b;
  }

  /// One block, and where it stands.
  struct at {
    index_t index, k0, count, segment, segment_end;
    bool first, last;  ///< of its segment
  };
  at begin() const noexcept {
    index_t const first = block < k ? block : k;
    return {0, 0, first, 0, whole, true, first >= whole};
  }
  void next(at& a) const noexcept {
    ++a.index;
    a.k0 += a.count;
    a.first = a.last;
    if (a.last) {
      ++a.segment;
      a.segment_end = a.segment_end + whole < k ? a.segment_end + whole : k;
    }
    index_t const left = a.segment_end - a.k0;
    a.count = left < block ? left : block;
    a.last = a.count == left;
  }
  bool done(at const& a) const noexcept { return a.index >= count; }
};

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
