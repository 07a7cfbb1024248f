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
  unsigned char const* plain = nullptr;     ///< lhs itself, when its rows have no gaps: AMX then reads it where it lies
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

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
