// options.hpp — how an observer reads a batch: on which instruction set, on whose threads. What it then knows depends on neither.
#pragma once

#include "../core/executor.hpp"
#include "../core/views.hpp"
#include "../cpu/detect.hpp"

namespace quern::calibrate {

///     h.observe(view(x), {.executor = pool});
struct observe_options {
  isa max_isa = isa::best;    ///< use this instruction set at most
  executor_ref executor{};    ///< serial unless given
};

namespace detail {

/// `units` pieces of work in up to as many shares as there are threads, of at least `least` units and a multiple of `align` each.
struct work_shares {
  index_t units, each, count;

  QUERN_INLINE work_shares(executor_ref const& executor, index_t units_, index_t least, index_t align = 1) noexcept : units(units_) {
    index_t const threads = executor.is_serial() ? 1 : executor.threads > 0 ? executor.threads : 16;
    least = least < 1 ? 1 : least;
    each = (units + threads - 1) / threads;
    each = each < least ? least : each;
    each = (each + align - 1) / align * align;
    count = each > 0 ? (units + each - 1) / each : 0;
  }
  QUERN_INLINE index_t first(index_t share) const noexcept { return share * each; }
  QUERN_INLINE index_t size(index_t share) const noexcept { return units - share * each < each ? units - share * each : each; }
};

/// The least number of values that are worth a thread: 20 microseconds of counting.
inline constexpr index_t values_a_share = 65536;

}  // namespace detail
}  // namespace quern::calibrate
