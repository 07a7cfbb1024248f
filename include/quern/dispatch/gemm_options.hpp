// gemm_options.hpp — how a product is run: on which instruction set, on whose threads, in whose memory.
#pragma once

#include "../cpu/detect.hpp"
#include "../pack/proof.hpp"
#include "executor.hpp"

namespace quern {

/// Memory for intermediate results, 64-byte aligned; gemm_workspace() says how much.
struct workspace_view {
  void* data = nullptr;
  index_t bytes = 0;
};

struct gemm_options {
  isa max_isa = isa::best;       ///< use this instruction set at most
  executor_ref executor{};       ///< serial unless given
  workspace_view workspace{};    ///< none: a buffer that belongs to the thread, which grows when it must
  bool wide = false;             ///< int64 accumulators: any k; slower. Policies that rescale int32 only keep their bound
  lhs_codes lhs_range{0, -1};   ///< a promise: all of lhs lies within; lifts the bound on k. Empty: the range of its type
};

/// Refuses at compile time a depth at which int32 accumulators could overflow.
template <quantized_code Lhs, quantized_code Rhs, index_t K>
inline constexpr bool gemm_depth_check = [] {
  static_assert(K <= max_depth<Lhs, Rhs>(),
                "quern::gemm: K is beyond the depth up to which int32 accumulators are exact for these types "
                "(max_depth<Lhs, Rhs>()); prove() the weights at hand, or set gemm_options.wide.");
  return true;
}();

}  // namespace quern
