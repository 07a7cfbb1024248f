// gemm_driver.hpp — the loops around the tiles: blocks, threads, memory. Knows bytes and integers, no types.
//
// lhs comes through a function that copies one row's stretch of k into a block (kernel_set.hpp), so that a convolution can gather
// its pixels there; accumulators leave through a function that finishes one tile. Both are told apart by pointers, so this file is
// compiled once for all types.
#pragma once

#include "amx_driver.hpp"
#include "scratch.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// Tiles below each other that are finished by one call of an epilogue, which costs 20 cycles by itself and as many around it.
inline constexpr index_t epilogue_tiles = 3;

/// Tiles of AVX-512 need two vectors of rhs in 24 cycles, which L2 gives: k is one block up to this depth, two panels of which are an
/// eighth of L2, and accumulators stay in registers (197 x 768 x 3072: 3 % more than three blocks of 1,024).
inline constexpr index_t deep_block = 4096;

/// Blocks of one kernel set for a problem.
struct gemm_blocks {
  k_blocks k;
  index_t row_block = 0, tile_rows = 0;
  bool in_place = false;                      ///< whole tiles read lhs itself; what is copied is a last tile's few rows
  index_t copied = 0;                         ///< in place, s8: the last rows, which tiles that cannot turn signs may have
  index_t lhs_stride = kernel::lhs_stride;    ///< of copied rows
  index_t lhs_bytes = 0, acc_bytes = 0, wide_bytes = 0, unpack_bytes = 0, sums_bytes = 0;

  index_t padded_rows() const noexcept { return row_block + tile_rows; }  // the last tile may read more rows than there are
  /// Of each block of k.
  index_t copied_rows() const noexcept { return !in_place ? padded_rows() : copied > 0 ? copied + tile_rows : 0; }
  index_t bytes() const noexcept { return lhs_bytes + acc_bytes + wide_bytes + unpack_bytes + sums_bytes; }

  static gemm_blocks of(gemm_problem const& p, kernel::kernel_set const& set, index_t rows) noexcept {
    gemm_blocks b;
    index_t const code = set.form == kernel::lhs_form::words ? 2 : 1;
    b.tile_rows = rows <= few_rows ? few_rows : largest_tile_rows(set);
    b.row_block = rows;
    // Copying takes 1 % where n is 512; but rows at a multiple of 4 KB fall into one of L1's 64 sets.
    bool const flips = p.kind == 1 && rows > 2 * max_tile_rows && set.needs == isa::avx512_vnni && logic_ports_to_spare();
    b.in_place = p.plain != nullptr && (p.kind == 0 || flips) && code == 1 && !p.sums && p.segment == 0 && p.k % kernel::lhs_round == 0 &&
                 p.plain_stride % 4096 != 0;
    if (b.in_place && flips) b.copied = 2 * max_tile_rows;
    // One block for all of k where few rows stay in L2: rhs is one long stream, and a tile begins and ends only once.
    bool const whole_k = rows <= 24 && p.segment == 0 && rows * p.k * code <= half_of_l2 / 2;
    bool const deep = code == 1 && set.needs >= isa::avx512bw;
    // Words: 1,024 too, 16 KB of a panel (AVX2: 2 % more than half of it). What gathers a window copies a row of lhs_block at a time.
    index_t const most = p.plain == nullptr ? kernel::lhs_block / code : deep ? deep_block : kernel::lhs_block;
    b.k = k_blocks::of(p.k, p.segment, whole_k ? p.k : most);
    if (b.k.block * code > kernel::lhs_block) b.lhs_stride = (b.k.block * code / 128 * 2 + 3) * 64;  // an odd number of lines
    index_t const row_bytes_in_l2 = b.in_place ? p.k : b.k.count * b.lhs_stride;
    if (!whole_k && rows * row_bytes_in_l2 > half_of_l2) {
      index_t const fit = half_of_l2 / row_bytes_in_l2 / b.tile_rows * b.tile_rows;
      index_t const wanted = fit < 2 * b.tile_rows ? 2 * b.tile_rows : fit;
      // Blocks of equal size: 100 rows where 96 fit are 2 x 50.
      index_t const count = (rows + wanted - 1) / wanted;
      if (count > 1) b.row_block = round_up((rows + count - 1) / count, b.tile_rows);
    }
    index_t const padded = b.padded_rows();
    b.lhs_bytes = b.k.count * b.copied_rows() * b.lhs_stride + (b.in_place ? b.tile_rows * b.lhs_stride : 0);
    b.acc_bytes = (b.k.count > 1 ? padded : epilogue_tiles * b.tile_rows) * 48 * 4;
    b.wide_bytes = p.segment > 0 ? round_up(padded * 48 * p.wide_bytes, 64) : 0;
    b.unpack_bytes = p.nibbles ? 3 * (round_up(b.k.block, 8) / 4 + 16) * row_bytes : 0;
    b.sums_bytes = p.sums ? round_up(padded * b.k.segments * 8, 64) : 0;
    return b;
  }
};

/// The tiles that cover some rows, top to bottom: `count` of the first, then one of each of the rest.
struct row_plan {
  kernel::tile_kernel const* first = nullptr;
  index_t count = 0;
  kernel::tile_kernel const* rest[3] = {};

  static row_plan of(kernel::kernel_set const& set, index_t panels, index_t rows, index_t k) noexcept {
    row_plan plan;
    plan.first = &choose_tile(set, panels, rows);
    // Where k is short, equal tiles in one call are worth more than large ones.
    if (k <= 128 && rows % plan.first->rows != 0 && rows % 8 == 0 && plan.first->rows > 8) plan.first = &choose_tile(set, panels, 8);
    plan.count = rows / plan.first->rows;
    rows -= plan.count * plan.first->rows;
    // One and a bit of the largest is two smaller ones, so that the last is not nearly empty.
    if (rows > 0 && plan.count > 0) {
      rows += plan.first->rows;
      --plan.count;
    }
    for (int i = 0; rows > 0; ++i) {
      plan.rest[i] = &choose_tile(set, panels, rows);
      rows -= plan.rest[i]->rows;
    }
    return plan;
  }
};

#if QUERN_DETAIL_KERNEL_BODIES
/// `rows` rows of `bytes` < 192 bytes: a call of memcpy for each would take as long as the tile.
inline void copy_columns(void const* from, index_t from_stride, index_t rows, index_t bytes, void* to, index_t to_stride) noexcept {
  auto const* src = static_cast<unsigned char const*>(from);
  auto* dst = static_cast<unsigned char*>(to);
  for (; rows > 0; --rows, src += from_stride, dst += to_stride) {
    if (bytes >= 16) {
      for (index_t i = 0; i + 16 < bytes; i += 16) __builtin_memcpy(dst + i, src + i, 16);
      __builtin_memcpy(dst + bytes - 16, src + bytes - 16, 16);
    } else if (bytes >= 4) {
      for (index_t i = 0; i + 4 < bytes; i += 4) __builtin_memcpy(dst + i, src + i, 4);
      __builtin_memcpy(dst + bytes - 4, src + bytes - 4, 4);
    } else {
      for (index_t i = 0; i < bytes; ++i) dst[i] = src[i];
    }
  }
}

/// The loops. `memory` holds b.bytes().
inline void run_gemm_task(gemm_problem const& p, kernel::kernel_set const& set, gemm_blocks const& b, gemm_task const& task,
                          bool proven_only, bool unproven_only, unsigned char* memory) {
  bool const words = set.form == kernel::lhs_form::words;
  index_t const code = words ? 2 : 1;
  index_t const padded_rows = b.padded_rows(), block_bytes = b.copied_rows() * b.lhs_stride;
  unsigned char* const lhs = memory;
  auto* const acc = reinterpret_cast<std::int32_t*>(memory + b.lhs_bytes);
  unsigned char* const wide = memory + b.lhs_bytes + b.acc_bytes;
  unsigned char* const unpacked = wide + b.wide_bytes;
  auto* const sums = reinterpret_cast<std::int64_t*>(unpacked + b.unpack_bytes);
  std::int32_t const* const init = p.init[static_cast<int>(set.form)];
  bool const one_block = b.k.count == 1;
  auto const wanted = [&](index_t panel) {
    if (!proven_only && !unproven_only) return true;
    return (p.lhs_max * p.pairs[panel] <= 32767) == proven_only;
  };
  alignas(64) unsigned char codes[max_tile_rows * 48];
  kernel::tile_scaling to_scratch = p.scaling;
  to_scratch.stride = 48;
  row_plan plan;
  index_t planned_panels = 0, planned_rows = 0;
  kernel::tile_job job;
  for (index_t row0 = 0; row0 < task.rows; row0 += b.row_block) {
    index_t const rows = task.rows - row0 < b.row_block ? task.rows - row0 : b.row_block;
    // Rows beyond the last are not filled: what a tile makes of them goes nowhere.
    auto const copy_rows = [&](index_t first, index_t count, k_blocks::at const& at, unsigned char* to) {
      bool const plain = p.plain != nullptr;
      index_t const piece = plain ? at.count : kernel::lhs_block / code, together = plain || b.lhs_stride == kernel::lhs_stride ? 32 : 1;
      for (index_t r = 0; r < count; r += together) {
        index_t const some = count - r < together ? count - r : together;
        index_t k = 0;
        do {
          index_t const part = at.count - k < piece ? at.count - k : piece, padded = round_up(part * code, 64) / code;
          index_t const row = task.row + row0 + first + r;
          unsigned char* const dst = to + r * b.lhs_stride + k * code;
          std::int32_t new_sums[32];
          std::int32_t* const row_sums = p.sums ? new_sums : nullptr;
          if (plain)
            set.copy({p.plain + row * p.plain_stride + at.k0, p.plain_stride, some, part, p.kind, b.lhs_stride}, padded, dst, row_sums);
          else
            p.read(p.lhs, set.copy, row, some, at.k0 + k, part, padded, dst, row_sums);
          if (p.sums)
            for (index_t q = 0; q < some; ++q) {
              std::int64_t& sum = sums[at.segment * padded_rows + first + r + q];
              sum = at.first && k == 0 ? new_sums[q] : sum + new_sums[q];
            }
          k += piece;
        } while (k < at.count);
      }
    };
    index_t const first_copied = !b.in_place ? 0 : rows > b.copied ? rows - b.copied : 0;
    auto const copy_all = [&] {
      for (auto at = b.k.begin(); !b.k.done(at); b.k.next(at)) copy_rows(first_copied, rows - first_copied, at, lhs + at.index * block_bytes);
    };
    bool copied = !b.in_place;  // in place, only when a tile asks for it
    if (copied) copy_all();
    for (index_t panel = task.panel; panel < task.panel + task.panels;) {
      index_t run = task.panel + task.panels - panel;  // panels in a row that this kernel set is to do
      if (proven_only || unproven_only) {
        run = 0;
        while (panel + run < task.panel + task.panels && wanted(panel + run)) ++run;
        if (run == 0) {
          ++panel;
          continue;
        }
      }
      bool const by_nibbles = p.nibbles && rows <= set.nibble_tile_count;
      bool const nibble_pair = by_nibbles && set.nibble_pairs != nullptr && run > 1;
      index_t const panels = nibble_pair ? 2 : by_nibbles ? 1 : choose_panels(set, run, rows);
      if (!by_nibbles && (planned_panels != panels || planned_rows != rows)) {
        plan = row_plan::of(set, panels, rows, b.k.block);
        planned_panels = panels;
        planned_rows = rows;
      }
      index_t const col = panel * 16, columns = p.n - col < panels * 16 ? p.n - col : panels * 16;
      index_t const ld = panels * 16;
      bool const whole_columns = columns == panels * 16;
      index_t across = 1;
      job.live = whole_columns ? 0 : static_cast<int>(columns);
      for (auto at = b.k.begin(); !b.k.done(at); b.k.next(at)) {
        index_t const steps_of_rhs = p.nibbles ? (at.count + 7) / 8 : (at.count + 3) / 4;
        unsigned char const* rhs = p.rhs + panel * p.panel_bytes + at.k0 / (p.nibbles ? 8 : 4) * row_bytes;
        index_t panel_bytes = p.panel_bytes, steps = steps_of_rhs;
        if (p.nibbles && !by_nibbles) {
          panel_bytes = (2 * steps + 16) * row_bytes;
          for (index_t q = 0; q < panels; ++q) set.unpack(rhs + q * p.panel_bytes, steps, unpacked + q * panel_bytes);
          rhs = unpacked;
          steps *= 2;
        }
        bool const direct_block = p.direct != nullptr && at.last, scaled_block = p.scaled && set.scales && at.last;
        job.rhs = rhs;
        job.panel_bytes = panel_bytes;
        job.steps = steps;
        // What comes after these panels, for tiles to fetch while they compute.
        unsigned char const* next = nullptr;
        if (!p.nibbles && rows > few_rows) {
          if (at.index + 1 < b.k.count)
            next = rhs + at.count / 4 * row_bytes;
          else if (panel + 2 * panels <= task.panel + task.panels)
            next = p.rhs + (panel + panels) * p.panel_bytes;
        }
        for (index_t r = 0, i = 0; r < rows;) {
          kernel::tile_kernel const& t = by_nibbles         ? (nibble_pair ? set.nibble_pairs : set.nibble_tiles)[rows - 1]
                                         : i < plan.count ? *plan.first
                                                          : *plan.rest[i - plan.count];
          index_t const live = t.rows < rows - r ? t.rows : rows - r;
          bool const full = live == t.rows, direct = direct_block && full, scaled = scaled_block && full;
          // Tiles whose results need nothing else run together. Columns that dst does not have go no further than scratch.
          bool const final = (direct || scaled) && (whole_columns || set.stores_first);
          // One row of tiles whose results need nothing else: all of them in one call.
          if (final && whole_columns && one_block && live == rows && set.scales && panels <= 2 && (!p.nibbles || by_nibbles))
            across = (p.n / 16 - panel < run ? p.n / 16 - panel : run) / panels;
          bool const flipped = b.in_place && p.kind == 1 && t.flipped != nullptr;
          bool const read_in_place = b.in_place && full && (p.kind == 0 || flipped), copied_now = !read_in_place && r < first_copied;
          bool const finished_together = p.segment == 0 && !direct && !scaled;
          index_t const together = by_nibbles || copied_now ? 1 : final || !at.last ? plan.count : finished_together ? epilogue_tiles : 1;
          job.count = i >= plan.count ? 1 : together < plan.count - i ? together : plan.count - i;
          index_t const some = job.count == 1 ? live : job.count * t.rows, row = task.row + row0 + r;
          std::int32_t* const tile_acc = acc + (one_block ? 0 : r * ld);
          job.lhs_stride = b.lhs_stride;
          if (read_in_place) {
            job.lhs = p.plain + row * p.plain_stride + at.k0;
            job.lhs_stride = p.plain_stride;
          } else if (copied_now) {
            job.lhs = lhs + b.k.count * block_bytes;
            copy_rows(r, live, at, lhs + b.k.count * block_bytes);
          } else {
            if (!copied) copy_all();
            copied = true;
            job.lhs = lhs + at.index * block_bytes + (r - first_copied) * b.lhs_stride;
          }
          job.init = at.first ? init + col : tile_acc;
          job.init_ld = at.first ? 0 : ld;
          job.acc = direct && final ? p.direct + row * p.direct_ld + col : tile_acc;
          job.ld = direct && final ? p.direct_ld : ld;
          job.scaling = !scaled ? nullptr : final ? &p.scaling : &to_scratch;
          if (scaled) {
            job.scales = p.scales + col;
            job.dst = final ? p.scaled_dst + row * p.scaling.stride + col : codes;
          }
          job.ahead_tiles = next != nullptr && i < panels ? panels - i : 0;
          job.ahead = job.ahead_tiles > 0 ? next + i * panel_bytes : rhs;
          job.fetches_acc = direct && final && steps >= 64 && p.m * p.n * 4 > half_of_l2;
          job.across = across > 1;
          if (job.across) {
            job.count = across;
            job.ahead_tiles = next != nullptr ? across : 0;
          }
          (read_in_place && flipped ? t.flipped : t.run)(job);
          if (direct && !final)
            copy_columns(tile_acc, ld * 4, live, columns * 4, p.direct + row * p.direct_ld + col, p.direct_ld * 4);
          else if (scaled && !final)
            copy_columns(codes, to_scratch.stride, live, columns, p.scaled_dst + row * p.scaling.stride + col, p.scaling.stride);
          if (at.last && !direct && !scaled) {
            tile_result const result{.acc = tile_acc,
                                     .ld = ld,
                                     .init = nullptr,
                                     .row = row,
                                     .col = col,
                                     .rows = some,
                                     .cols = columns,
                                     .sums = p.sums ? sums + at.segment * padded_rows + r : nullptr,
                                     .lhs_offset = p.kind == 1 && !words ? 128 : 0};
            if (p.segment == 0) {
              p.finish(p.context, result, nullptr, 0);
            } else {
              void* const wide_tile = wide + r * ld * p.wide_bytes;
              p.fold(p.context, result, at.segment, at.segment == 0, wide_tile, ld);
              if (at.index == b.k.count - 1) p.finish(p.context, result, wide_tile, ld);
            }
          }
          r += some;
          i += job.count;
        }
      }
      panel += across * panels;
    }
  }
}
#endif

/// How a problem is cut for an executor.
struct gemm_tasks {
  index_t rows_each, panels_each, down, across;
  index_t count() const noexcept { return down * across; }
};

/// A product of three sizes, which a plan may be asked for beyond 2^63.
QUERN_INLINE constexpr double work_of(index_t m, index_t n, index_t k) noexcept {
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

/// Rows first, since a block of lhs is copied by everyone who needs it; columns too where there are few rows. Up to three
/// tasks a thread even out what the machine does besides, but not at the price of a thread that is done early: 512 rows are four
/// tasks of 128 for two threads, not five of 96 and one of 32.
inline gemm_tasks cut_gemm(gemm_problem const& p, executor_ref const& run, index_t tile_rows) noexcept {
  index_t const panels = (p.n + 15) / 16;
  if (run.is_serial() || work_of(p.m, panels, p.k) < 64 * 1024) return {p.m, panels, 1, 1};  // below some microseconds threads only cost
  index_t const wanted = 3 * (run.threads > 0 ? run.threads : 8);
  index_t down = p.m / (2 * tile_rows), across = 1;
  if (down >= wanted) {
    // Tiles of fewer rows cost little on the way, so that rows need not come in whole ones; AMX's tiles are 16 and 32.
    index_t const threads = wanted / 3, step = tile_rows % 16 == 0 ? 32 : 4;
    index_t best = 0, least = 0;
    for (index_t count = wanted; count >= threads; --count) {
      index_t const rows = round_up((p.m + count - 1) / count, step), tasks = (p.m + rows - 1) / rows;
      index_t const last = p.m - (tasks - 1) * rows, rounds = (tasks + threads - 1) / threads;
      index_t const longest = (rounds - 1) * rows + (tasks % threads == 1 || threads == 1 ? last : rows);
      // A task more or less is worth 2 %.
      if (best == 0 || longest * 50 < least * 49) best = rows, least = longest;
    }
    return {best, round_up(panels, 2), (p.m + best - 1) / best, 1};
  }
  if (down < 1) down = 1;
  across = (wanted + down - 1) / down;
  if (across > (panels + 1) / 2) across = (panels + 1) / 2;
  index_t const rows = round_up((p.m + down - 1) / down, tile_rows), columns = round_up((panels + across - 1) / across, 2);
  return {rows, columns, (p.m + rows - 1) / rows, (panels + columns - 1) / columns};
}

/// `proven`: 1 all panels, -1 none, 0 look.
QUERN_DETAIL_KERNEL_FUNCTION kernel_choice kernels_for(gemm_problem const& p, unsigned allowed, int proven = 0) noexcept;
#if QUERN_DETAIL_KERNELS_HERE
QUERN_DETAIL_KERNEL_FUNCTION kernel_choice kernels_for(gemm_problem const& p, unsigned allowed, int proven) noexcept {
#if QUERN_X86_64
  if ((allowed & bit_of(isa::amx_int8)) != 0 && p.kind != 2 && p.k > 0) {
    if (p.m > 16 && work_of(p.m, p.n, p.k) >= 64 * 1024 && (p.segment == 0 || p.segment >= 128))
      return {&kernel::amx_int8_kernels(), nullptr, "AMX: more than 16 rows, and work enough to configure tiles"};
  }
#endif
  index_t const panels = (p.n + 15) / 16;
  index_t count = 0;
  for (index_t i = 0; i < panels; ++i) count += proven > 0 || (proven == 0 && p.lhs_max * p.pairs[i] <= 32767);
  return choose_kernels(allowed, p.kind, count > 0, count == panels);
}
#endif

/// The blocks of a problem for the kernels it got; made once a call.
struct gemm_layout {
  gemm_blocks first, second;
#if QUERN_X86_64
  amx_blocks tiled;
#endif
  index_t task_bytes = 0;

  /// Once, where it is: copying it takes as long as two tiles of 32 x 100 x 37.
  void plan(gemm_problem const& p, kernel_choice const& kernels, gemm_tasks const& cut) noexcept {
#if QUERN_X86_64
    if (kernels.first->tiled) {
      tiled = amx_blocks::of(p, amx_rows(p, cut.rows_each));
      task_bytes = round_up(tiled.bytes(), 64);
      return;
    }
#endif
    first = gemm_blocks::of(p, *kernels.first, cut.rows_each);
    task_bytes = first.bytes();
    if (kernels.second != nullptr) {
      second = gemm_blocks::of(p, *kernels.second, cut.rows_each);
      task_bytes = second.bytes() > task_bytes ? second.bytes() : task_bytes;
    }
    task_bytes = round_up(task_bytes, 64);
  }
};

/// Runs a problem. `workspace`: cut.count() * layout.task_bytes, or null for the threads' own.
QUERN_DETAIL_KERNEL_FUNCTION void run_gemm(gemm_problem const& p, kernel_choice const& kernels, gemm_tasks const& cut,
                                           gemm_layout const& layout, executor_ref const& run, unsigned char* workspace);
#if QUERN_DETAIL_KERNELS_HERE
QUERN_DETAIL_KERNEL_FUNCTION void run_gemm(gemm_problem const& p, kernel_choice const& kernels, gemm_tasks const& cut,
                                           gemm_layout const& layout, executor_ref const& run, unsigned char* workspace) {
  index_t const panels = (p.n + 15) / 16;
  run(cut.count(), [&](index_t i) {
    index_t const down = cut.across == 1 ? i : i / cut.across, across = i - down * cut.across;
    gemm_task task{down * cut.rows_each, cut.rows_each, across * cut.panels_each, cut.panels_each};
    if (task.row + task.rows > p.m) task.rows = p.m - task.row;
    if (task.panel + task.panels > panels) task.panels = panels - task.panel;
    auto const both = [&](unsigned char* memory) {
#if QUERN_X86_64
      if (kernels.first->tiled) return run_amx_task(p, *kernels.first, task, memory);
#endif
      bool const mixed = kernels.second != nullptr;
      run_gemm_task(p, *kernels.first, layout.first, task, mixed, false, memory);
      if (mixed) run_gemm_task(p, *kernels.second, layout.second, task, false, true, memory);
    };
    if (workspace != nullptr) {
      both(workspace + i * layout.task_bytes);
    } else {
      scratch const memory(layout.task_bytes);
      both(memory.data());
    }
  });
}
#endif

/// A plan in words and numbers.
inline gemm_plan_info describe(gemm_problem const& p, kernel_choice const& kernels, gemm_tasks const& cut) noexcept {
  gemm_plan_info info;
  info.kernel = kernels.first->name;
  info.fallback = kernels.second == nullptr ? "" : kernels.second->name;
  info.instruction_set = kernels.first->needs;
  info.why = kernels.why;
  info.tasks = cut.count();
  if (kernels.first->tiled) {
#if QUERN_X86_64
    info.tile_rows = info.tile_columns = 32;
    info.row_block = amx_rows(p, cut.rows_each);
    info.k_block = amx_blocks::of(p, info.row_block).k.block;
#endif
  } else {
    auto const b = gemm_blocks::of(p, *kernels.first, cut.rows_each);
    info.row_block = b.row_block;
    info.k_block = b.k.block;
    index_t const panels = choose_panels(*kernels.first, (p.n + 15) / 16, b.row_block);
    info.tile_columns = 16 * panels;
    info.tile_rows = choose_tile(*kernels.first, panels, b.row_block).rows;
  }
  return info;
}

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
