// amx_driver.hpp — gemm_driver.hpp's loops for tiles of AMX: 32 x 32 blocks, lhs where it lies, the epilogue of one block
// between the products of the next.
#pragma once

#include "gemm_problem.hpp"

#if QUERN_X86_64

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// Sizes of one task.
struct amx_blocks {
  k_blocks k;
  index_t tiles = 0;        ///< of 16 rows
  bool copied = false;      ///< all of lhs; else only a last, partial tile and the last k % 64
  index_t copy_bytes = 0, tail_bytes = 0, acc_bytes = 0, wide_bytes = 0, unpack_bytes = 0, sums_bytes = 0;

  index_t bytes() const noexcept { return copy_bytes + tail_bytes + acc_bytes + wide_bytes + unpack_bytes + sums_bytes; }

  static amx_blocks of(gemm_problem const& p, index_t rows) noexcept {
    amx_blocks b;
    b.k = k_blocks::of(p.k, p.segment, kernel::lhs_block);
    b.tiles = (rows + 15) / 16;
    // Rows whose distance is a multiple of 1 KB fall into 4 of L1's 64 sets; a copy pays where 8 panels and more use it.
    bool const aliased = p.plain_stride % 1024 == 0 && p.n >= 256 && rows > 16;
    b.copied = p.plain == nullptr || p.sums || p.segment > 0 || aliased;
    index_t const copied_tiles = b.copied ? b.tiles : 1;
    b.copy_bytes = b.k.count * copied_tiles * 16 * kernel::lhs_stride;
    b.tail_bytes = b.copied ? 0 : b.tiles * 1024;
    index_t const block_rows = b.k.count > 1 ? round_up(rows, 32) : 32;
    b.acc_bytes = block_rows * 32 * 4;
    b.wide_bytes = p.segment > 0 ? round_up(rows, 32) * 32 * p.wide_bytes : 0;
    b.unpack_bytes = p.nibbles ? 2 * (round_up(b.k.block, 8) / 4 + 16) * row_bytes : 0;
    b.sums_bytes = p.sums ? round_up(b.tiles * 16 * b.k.segments * 8, 64) : 0;
    return b;
  }
};

/// A finished block whose epilogue has not run yet; it runs a few rows at a time.
struct pending_block {
  gemm_problem const* p = nullptr;
  tile_result result{};
  void* wide = nullptr;
  index_t wide_ld = 0, segment = 0, done = 0;
  bool waiting = false, last_segment = false;

  void run(index_t rows) {
    if (!waiting) return;
    index_t const left = result.rows - done;
    tile_result t = result;
    t.rows = rows < left ? rows : left;
    t.row += done;
    t.acc += done * t.ld;
    if (t.sums != nullptr) t.sums += done;
    void* const to = wide == nullptr ? nullptr : static_cast<unsigned char*>(wide) + done * wide_ld * p->wide_bytes;
    if (to != nullptr) p->fold(p->context, t, segment, segment == 0, to, wide_ld);
    if (to == nullptr || last_segment) p->finish(p->context, t, to, wide_ld);
    done += t.rows;
    waiting = done < result.rows;
  }
  static void meanwhile(void* self, index_t step, index_t steps) {
    auto& b = *static_cast<pending_block*>(self);
    if (!b.waiting) return;
    index_t const left = b.result.rows - b.done, calls = steps - step;
    b.run(round_up((left + calls - 1) / calls, 4));  // epilogues store four rows at a time
  }
};

/// Rows that a task takes at a time: lhs is read once for every two panels, from L2 if it fits there.
inline index_t amx_rows(gemm_problem const& p, index_t rows) noexcept {
  index_t const fit = 2 * half_of_l2 / p.k / 32 * 32, wanted = fit < 64 ? 64 : fit;
  if (rows <= wanted) return rows;
  index_t const count = (rows + wanted - 1) / wanted;
  return round_up((rows + count - 1) / count, 32);
}

#if QUERN_DETAIL_KERNEL_BODIES
inline void run_amx_rows(gemm_problem const& p, kernel::kernel_set const& set, gemm_task const& task, unsigned char* memory) {
  auto const b = amx_blocks::of(p, task.rows);
  unsigned char* const copy = memory;
  unsigned char* const tails = copy + b.copy_bytes;
  auto* const acc = reinterpret_cast<std::int32_t*>(tails + b.tail_bytes);
  unsigned char* const wide = reinterpret_cast<unsigned char*>(acc) + b.acc_bytes;
  unsigned char* const unpacked = wide + b.wide_bytes;
  auto* const sums = reinterpret_cast<std::int64_t*>(unpacked + b.unpack_bytes);
  index_t const padded = b.tiles * 16, rows = task.rows;
  index_t const first_copied = b.copied ? 0 : rows / 16;  // tile
  index_t const copied_tiles = b.tiles - first_copied;
  index_t const copy_block = copied_tiles * 16 * kernel::lhs_stride;
  for (auto at = b.k.begin(); !b.k.done(at) && copied_tiles > 0; b.k.next(at)) {
    unsigned char* const to = copy + at.index * copy_block;
    index_t const row0 = first_copied * 16;
    for (index_t r = row0; r < rows; r += 32) {
      index_t const some = rows - r < 32 ? rows - r : 32;
      std::int32_t new_sums[32];
      p.read(p.lhs, set.copy, task.row + r, some, at.k0, at.count, round_up(at.count, 64), to + (r - row0) * kernel::lhs_stride,
             p.sums ? new_sums : nullptr);
      if (p.sums)
        for (index_t q = 0; q < some; ++q) {
          std::int64_t& sum = sums[at.segment * padded + r + q];
          sum = at.first ? new_sums[q] : sum + new_sums[q];
        }
    }
    for (index_t r = rows; r < padded; ++r) __builtin_memset(to + (r - row0) * kernel::lhs_stride, 0, static_cast<std::size_t>(round_up(at.count, 64)));
  }
  // The last k % 64 of the tiles that stay where they are.
  index_t const k_tail = p.k % 64;
  if (k_tail != 0)
    for (index_t r = 0; r < first_copied * 16; ++r) {
      unsigned char* const to = tails + r * 64;
      __builtin_memset(to, 0, 64);
      __builtin_memcpy(to, p.plain + (task.row + r) * p.plain_stride + p.k - k_tail, static_cast<std::size_t>(k_tail));
    }

  kernel::amx_int8::scope const tiles_are_ours;
  pending_block pending;
  pending.p = &p;
  for (index_t panel = task.panel; panel < task.panel + task.panels;) {
    index_t const panels = task.panel + task.panels - panel >= 2 ? 2 : 1;
    index_t const col = panel * 16, columns = p.n - col < panels * 16 ? p.n - col : panels * 16, ld = panels * 16;
    for (auto at = b.k.begin(); !b.k.done(at); b.k.next(at)) {
      unsigned char const* rhs = p.rhs + panel * p.panel_bytes + at.k0 / (p.nibbles ? 8 : 4) * row_bytes;
      index_t panel_bytes = p.panel_bytes;
      if (p.nibbles) {
        index_t const steps = (at.count + 7) / 8;
        panel_bytes = (2 * steps + 16) * row_bytes;
        for (index_t q = 0; q < panels; ++q) {
          set.unpack(rhs + q * p.panel_bytes, steps, unpacked + q * panel_bytes);
          __builtin_memset(unpacked + q * panel_bytes + 2 * steps * row_bytes, 0, tile_bytes);
        }
        rhs = unpacked;
      }
      for (index_t r = 0; r < rows; r += 32) {
        index_t const live = rows - r < 32 ? rows - r : 32;
        int const row_tiles = live > 16 ? 2 : 1;
        // One buffer does: a block stores behind its last step, when what was pending has been finished.
        std::int32_t* const tile_acc = b.k.count > 1 ? acc + r * ld : acc;
        bool const direct = p.direct != nullptr && columns == panels * 16 && live == row_tiles * 16 && b.k.count == 1;
        kernel::amx_job job;
        job.steps = (at.count + 63) / 64;
        for (int t = 0; t < row_tiles; ++t) {
          index_t const tile = r / 16 + t;
          if (tile >= first_copied) {
            job.lhs[t] = copy + at.index * copy_block + (tile - first_copied) * 16 * kernel::lhs_stride;
            job.lhs_stride[t] = kernel::lhs_stride;
          } else {
            job.lhs[t] = p.plain + (task.row + tile * 16) * p.plain_stride + at.k0;
            job.lhs_stride[t] = p.plain_stride;
          }
          job.lhs_last[t] = job.lhs[t] + (job.steps - 1) * 64;
          job.lhs_last_stride[t] = job.lhs_stride[t];
          if (tile < first_copied && at.count % 64 != 0) {
            job.lhs_last[t] = tails + tile * 1024;
            job.lhs_last_stride[t] = 64;
          }
        }
        job.rhs[0] = rhs;
        job.rhs[1] = rhs + panel_bytes;
        job.acc = direct ? p.direct + (task.row + r) * p.direct_ld + col : tile_acc;
        job.ld = direct ? p.direct_ld : ld;
        job.from_acc = !at.first;
        job.meanwhile = pending.waiting ? &pending_block::meanwhile : nullptr;
        job.context = &pending;
        kernel::amx_block(p.kind == 1, row_tiles, static_cast<int>(panels))(job);
        if (at.last && !direct) {
          pending.run(pending.result.rows);
          pending.result = {.acc = tile_acc,
                            .ld = ld,
                            .init = p.segment > 0 ? nullptr : p.init[1] + col,
                            .row = task.row + r,
                            .col = col,
                            .rows = live,
                            .cols = columns,
                            .sums = p.sums ? sums + at.segment * padded + r : nullptr,
                            .lhs_offset = 0};
          pending.wide = p.segment > 0 ? wide + r * 32 * p.wide_bytes : nullptr;
          pending.wide_ld = ld;
          pending.segment = at.segment;
          pending.last_segment = at.index == b.k.count - 1;
          pending.done = 0;
          pending.waiting = true;
        }
      }
    }
    panel += panels;
  }
  pending.run(pending.result.rows);
}

inline void run_amx_task(gemm_problem const& p, kernel::kernel_set const& set, gemm_task const& task, unsigned char* memory) {
  index_t const rows = amx_rows(p, task.rows);
  for (index_t r = 0; r < task.rows; r += rows)
    run_amx_rows(p, set, {task.row + r, task.rows - r < rows ? task.rows - r : rows, task.panel, task.panels}, memory);
}
#endif

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
#endif
