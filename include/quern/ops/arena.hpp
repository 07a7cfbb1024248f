// arena.hpp — one block of memory for all intermediate tensors of a network, planned beforehand.
//
//     tensor_life const lives[] = {{.bytes = 27648, .first = 0, .last = 1}, {.bytes = 18432, .first = 1, .last = 2}, ...};
//     buffer<index_t> offsets(count);
//     arena_plan const plan = plan_arena(lives, count, offsets.data());        // plan.bytes: how much to supply
//
// Two tensors may share memory when no step needs both. Finding the smallest arena is NP-hard; this is the usual greedy answer:
// largest tensor first, at the lowest offset where it collides with nothing that is placed already and alive at the same time.
// For chains it reaches the lower bound, the largest sum of tensors alive at one step, which the plan reports beside its size.
#pragma once

#include "../core/error.hpp"
#include "../core/integers.hpp"

namespace quern {

/// A tensor's size and the steps (layers) during which it must keep its contents, both inclusive: from the step that writes it to
/// the last that reads it. A network's input lives from step 0, its output to the last step.
struct tensor_life {
  index_t bytes = 0;
  index_t first = 0, last = 0;
};

struct arena_plan {
  index_t bytes = 0;       ///< what the caller supplies, 64-byte aligned
  index_t lower_bound = 0; ///< no plan needs less
};

inline namespace QUERN_ABI {

/// Writes each tensor's offset to offsets[i] (a multiple of `alignment`) and returns the arena's size.
///
/// @shapes  lives, offsets: count. constexpr; does not allocate; O(count^3) at most.
/// @errors  argument: a negative size, a life that ends before it begins, an alignment that is no power of two.
constexpr arena_plan plan_arena(tensor_life const* lives, index_t count, index_t* offsets, index_t alignment = 64) {
  if (alignment < 1 || (alignment & (alignment - 1)) != 0)
    fail(errc::argument, "plan_arena: the alignment is ", alignment, "; it must be a power of two.");
  auto const padded = [&](index_t i) { return (lives[i].bytes + alignment - 1) / alignment * alignment; };
  arena_plan plan;
  for (index_t i = 0; i < count; ++i) {
    if (lives[i].bytes < 0 || lives[i].last < lives[i].first)
      fail(errc::argument, "plan_arena: tensor ", i, " has ", lives[i].bytes, " bytes and lives from step ", lives[i].first, " to ",
           lives[i].last, "; sizes must not be negative, and lives must not end before they begin.");
    offsets[i] = -1;
    index_t alive = 0;  // the sum over tensors alive at the first step of tensor i: the maximum is at such a step
    for (index_t j = 0; j < count; ++j)
      if (lives[j].first <= lives[i].first && lives[i].first <= lives[j].last) alive += padded(j);
    plan.lower_bound = alive > plan.lower_bound ? alive : plan.lower_bound;
  }
  for (index_t placed = 0; placed < count; ++placed) {
    index_t next = -1;
    for (index_t i = 0; i < count; ++i)
      if (offsets[i] < 0 && (next < 0 || lives[i].bytes > lives[next].bytes)) next = i;
    index_t at = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (index_t j = 0; j < count; ++j) {
        bool const together = lives[j].first <= lives[next].last && lives[next].first <= lives[j].last;
        if (offsets[j] >= 0 && together && offsets[j] < at + padded(next) && at < offsets[j] + padded(j)) {
          at = offsets[j] + padded(j);
          moved = true;
        }
      }
    }
    offsets[next] = at;
    plan.bytes = at + padded(next) > plan.bytes ? at + padded(next) : plan.bytes;
  }
  return plan;
}

}  // inline namespace QUERN_ABI
}  // namespace quern
