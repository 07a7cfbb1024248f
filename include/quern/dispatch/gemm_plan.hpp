// gemm_plan.hpp — which kernels a product gets, in which blocks, and why.
//
//     for each block of rows             copied once, all of k; sized for half of L2, so that rhs streams past it few times
//       for each group of panels         1 to 3 panels of 16 columns
//         for each block of k            1,024 bytes of lhs: its part of rhs and a tile's part of lhs stay in L1
//           for each tile of rows        accumulators in registers, then in a scratch of L1, then the epilogue
//
// std::puts(gemm_plan<std::uint8_t, std::int8_t>(128, 768, 3072).why) prints the reason.
#pragma once

#include "../kernel/kernels.hpp"
#include "gemm_options.hpp"

namespace quern {

/// What gemm_plan() says.
struct gemm_plan_info {
  char const* kernel = "";       ///< name of the kernel set
  char const* fallback = "";     ///< for panels whose weights do not prove the kernel exact; empty: not needed
  isa instruction_set = isa::baseline;
  char const* why = "";
  index_t tile_rows = 0;         ///< rows of the largest tile it uses
  index_t tile_columns = 0;
  index_t row_block = 0;         ///< rows that are copied at a time
  index_t k_block = 0;           ///< k that a tile sums before it moves on
  index_t tasks = 1;             ///< for the executor
  index_t workspace = 0;         ///< bytes
};

namespace detail {
inline namespace QUERN_ABI {

inline constexpr index_t half_of_l2 = 512 * 1024;

/// What a product of so few rows waits for is rhs; its tiles have one or two panels, two streams to read.
inline constexpr index_t few_rows = 4;

/// The sets for one product: `first` where it is exact, `second` (may be null) elsewhere.
struct kernel_choice {
  kernel::kernel_set const* first = nullptr;
  kernel::kernel_set const* second = nullptr;
  char const* why = "";
};

#if QUERN_DETAIL_KERNEL_BODIES
/// kind: 0 u8, 1 s8, 2 s16. Whether some / all panels are proven matters only where a set needs a proof.
inline kernel_choice choose_kernels(unsigned allowed, int kind, bool some_proven, bool all_proven) noexcept {
  kernel_choice choice;
  isa top = isa::baseline;
  for (auto const get : kernel::all_kernels) {
    kernel::kernel_set const& set = get();
    if ((allowed & bit_of(set.needs)) == 0 || (kind == 2 && set.form == kernel::lhs_form::bytes)) continue;
    if (choice.first != nullptr) {
      if (set.needs == top) choice.second = &set;
      break;
    }
    if (set.needs_proof && !some_proven) continue;
    choice.first = &set;
    top = set.needs;
    if (!set.needs_proof) {
      choice.why = kind == 2 ? "int16 activations: the best kernel that multiplies words" : "the best instruction set that is allowed";
      return choice;
    }
    if (all_proven) {
      choice.why = "the weights prove that vpmaddubsw cannot saturate";
      return choice;
    }
    choice.why = "some panels prove that vpmaddubsw cannot saturate, the others are widened";
  }
  return choice;
}
#endif

/// The tile for `rows` rows (as many as are left) and exactly `panels` panels: the smallest that holds them, or the largest.
/// More than one but less than two of the largest are halved, so that the last tile is not nearly empty.
inline kernel::tile_kernel const& choose_tile(kernel::kernel_set const& set, index_t panels, index_t rows) noexcept {
  kernel::tile_kernel const* tile = set.tiles + set.tile_count - 1;
  while (tile->panels != panels) --tile;
  if (rows > tile->rows && rows < 2 * tile->rows) rows = (rows + 1) / 2;
  while (tile != set.tiles && tile[-1].panels == panels && tile[-1].rows >= rows) --tile;
  return *tile;
}

/// How many panels to take of `left`, for `rows` rows.
inline index_t choose_panels(kernel::kernel_set const& set, index_t left, index_t rows) noexcept {
  int const most = set.tiles[set.tile_count - 1].panels;
  if (most < 2 || left == 1) return 1;
  return rows > few_rows && left % 2 != 0 && most >= 3 ? 3 : 2;
}

inline constexpr index_t max_tile_rows = 12;

inline index_t largest_tile_rows(kernel::kernel_set const& set) noexcept {
  index_t rows = 1;
  for (int i = 0; i < set.tile_count; ++i) rows = set.tiles[i].rows > rows ? set.tiles[i].rows : rows;
  return rows;
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
