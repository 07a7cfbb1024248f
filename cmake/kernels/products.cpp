// The kernels of quern::kernels that are no templates, and those of int8 vectors: compiled because they are marked [[gnu::used]].
#include <quern/dispatch/gemm_driver.hpp>
#include <quern/kernel/conv_gather.hpp>
#include <quern/kernel/depthwise.hpp>
#include <quern/kernel/dot16.hpp>
#include <quern/kernel/table_lookup.hpp>
#include <quern/kernel/vector_x86.hpp>

namespace quern::detail {
inline namespace QUERN_ABI {

#define QUERN_DETAIL_VECTORS(op)                                               \
  template vector_kernels choose_vector_kernels<op, false, false>(isa);        \
  template vector_kernels choose_vector_kernels<op, false, true>(isa);         \
  template vector_kernels choose_vector_kernels<op, true, false>(isa);         \
  template vector_kernels choose_vector_kernels<op, true, true>(isa);
QUERN_DETAIL_VECTORS(vector_op::dot)
QUERN_DETAIL_VECTORS(vector_op::squared_l2)
template float_dots_kernel choose_float_dots<false>(isa);
template float_dots_kernel choose_float_dots<true>(isa);

}  // inline namespace QUERN_ABI
}  // namespace quern::detail
