// arena.hpp — one block of memory for all intermediate tensors of a network, planned beforehand.
//
//     tensor_life const lives[] = {{.bytes = 27648, .first = 0, .last = 1}, {.bytes = 18432, .first = 1, .last = 2}, ...};
//     buffer<index_t> offsets(count);
//     arena_plan const plan = plan_arena(lives, count, offsets.data());        // plan.bytes: how much to supply
//
// Two tensors may share memory when no step needs both. No plan is smaller than the largest sum of tensors alive at one step, which
// the plan reports beside its size. Chains reach it: their tensors lie at the two ends of such an arena in turn. Where that does not
// fit, finding the smallest is NP-hard, and this is the usual greedy answer: largest tensor first, at the lowest offset where it
// collides with nothing that is placed already and alive at the same time. (For chains it is not enough: of 10, 1, 3 and 9 bytes the
// 1 would be placed last, above 10 and 9 + 3.)
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

namespace detail {
inline namespace QUERN_ABI {

constexpr index_t arena_padded(tensor_life const& life, index_t alignment) noexcept {
  return (life.bytes + alignment - 1) / alignment * alignment;
}
constexpr bool alive_together(tensor_life const& a, tensor_life const& b) noexcept { return a.first <= b.last && b.first <= a.last; }

/// In the order of their first steps, at the lower and the upper end of `bytes` in turn. False when a tensor fits at neither.
constexpr bool place_at_ends(tensor_life const* lives, index_t count, index_t* offsets, index_t bytes, index_t alignment) noexcept {
  for (index_t i = 0; i < count; ++i) offsets[i] = -1;
  bool upper = false;
  for (index_t placed = 0; placed < count; ++placed) {
    index_t next = -1;
    for (index_t i = 0; i < count; ++i)
      if (offsets[i] < 0 && (next < 0 || lives[i].first < lives[next].first)) next = i;
    index_t const size = arena_padded(lives[next], alignment);
    if (size == 0) {
      offsets[next] = 0;
      continue;
    }
    bool found = false;
    for (int end = 0; end < 2 && !found; ++end, upper = !upper) {
      index_t const at = upper ? bytes - size : 0;
      found = true;
      for (index_t j = 0; j < count; ++j)
        found = found && !(offsets[j] >= 0 && alive_together(lives[j], lives[next]) && offsets[j] < at + size &&
                           at < offsets[j] + arena_padded(lives[j], alignment));
      if (found) offsets[next] = at;
    }
    if (!found) return false;
  }
  return true;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Writes each tensor's offset to offsets[i] (a multiple of `alignment`) and returns the arena's size.
///
/// @shapes  lives, offsets: count. constexpr; does not allocate; O(count^3) at most.
/// @errors  argument: a negative size, a life that ends before it begins, an alignment that is no power of two.
constexpr arena_plan plan_arena(tensor_life const* lives, index_t count, index_t* offsets, index_t alignment = 64) {
  if (alignment < 1 || (alignment & (alignment - 1)) != 0)
    fail(errc::argument, "plan_arena: the alignment is ", alignment, "; it must be a power of two.");
  auto const padded = [&](index_t i) { return detail::arena_padded(lives[i], alignment); };
  arena_plan plan;
  for (index_t i = 0; i < count; ++i) {
    if (lives[i].bytes < 0 || lives[i].last < lives[i].first)
      fail(errc::argument, "plan_arena: tensor ", i, " has ", lives[i].bytes, " bytes and lives from step ", lives[i].first, " to ",
           lives[i].last, "; sizes must not be negative, and lives must not end before they begin.");
    index_t alive = 0;  // the sum over tensors alive at the first step of tensor i: the maximum is at such a step
    for (index_t j = 0; j < count; ++j)
      if (lives[j].first <= lives[i].first && lives[i].first <= lives[j].last) alive += padded(j);
    plan.lower_bound = alive > plan.lower_bound ? alive : plan.lower_bound;
  }
  if (detail::place_at_ends(lives, count, offsets, plan.lower_bound, alignment)) {
    plan.bytes = plan.lower_bound;
    return plan;
  }
  for (index_t i = 0; i < count; ++i) offsets[i] = -1;
  for (index_t placed = 0; placed < count; ++placed) {
    index_t next = -1;
    for (index_t i = 0; i < count; ++i)
      if (offsets[i] < 0 && (next < 0 || lives[i].bytes > lives[next].bytes)) next = i;
    index_t at = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (index_t j = 0; j < count; ++j) {
        if (offsets[j] >= 0 && detail::alive_together(lives[j], lives[next]) && offsets[j] < at + padded(next) && at < offsets[j] + padded(j)) {
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
