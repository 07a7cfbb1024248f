// The kernels of quern::kernels that are no templates, which are compiled because they are marked [[gnu::used]], and those of int8
// vectors, pools and elementwise operations.
#include <quern/dispatch/gemm_driver.hpp>
#include <quern/kernel/conv_direct.hpp>
#include <quern/kernel/conv_gather.hpp>
#include <quern/kernel/depthwise.hpp>
#include <quern/kernel/dot16.hpp>
#include <quern/kernel/elementwise.hpp>
#include <quern/kernel/pool.hpp>
#include <quern/kernel/sums.hpp>
#include <quern/kernel/table_lookup.hpp>
#include <quern/kernel/vector_x86.hpp>

#include "emit.hpp"

namespace quern::detail {
inline namespace QUERN_ABI {

#define QUERN_DETAIL_VECTORS(op)                                               \
  template vector_kernels const& choose_vector_kernels<op, false, false>(isa);        \
  template vector_kernels const& choose_vector_kernels<op, false, true>(isa);         \
  template vector_kernels const& choose_vector_kernels<op, true, false>(isa);         \
  template vector_kernels const& choose_vector_kernels<op, true, true>(isa);
QUERN_DETAIL_VECTORS(vector_op::dot)
QUERN_DETAIL_VECTORS(vector_op::squared_l2)
template float_dots_kernel choose_float_dots<false>(isa);
template float_dots_kernel choose_float_dots<true>(isa);

#if QUERN_X86_64
#define QUERN_DETAIL_POOLS(T)                                                                                            \
  template bool pool_row_of_vectors<false, T>(isa, pool_geometry const&, T const*, index_t, T*, T, T) noexcept;          \
  template bool pool_row_of_vectors<true, T>(isa, pool_geometry const&, T const*, index_t, T*, T, T) noexcept;
QUERN_DETAIL_POOLS(std::int8_t)
QUERN_DETAIL_POOLS(std::uint8_t)
template void add_line_of_vectors(isa, std::int8_t const*, index_t, bool, std::int32_t*) noexcept;
template void add_line_of_vectors(isa, std::uint8_t const*, index_t, bool, std::int32_t*) noexcept;
template void add_line_of_vectors(isa, std::int16_t const*, index_t, bool, std::int32_t*) noexcept;
template void blend_line_of_vectors(isa, std::int8_t const* const (&)[4], std::int32_t const (&)[4], std::int8_t*, index_t) noexcept;
template void blend_line_of_vectors(isa, std::uint8_t const* const (&)[4], std::int32_t const (&)[4], std::uint8_t*, index_t) noexcept;

#if QUERN_COMPILED_KERNELS == 2  // these name types
template <class Functions>
void emit_binaries() {
  for_each_type<compiled_binary_codes>([](auto code) {
    for_each_type<Functions>([](auto function) {
      using T = typename decltype(code)::type;
      using F = typename decltype(function)::type;
      if constexpr (has_binary_vectors<T, F>) emit(&binary_line_of_vectors<T, F>);
    });
  });
}
template void emit_binaries<compiled_binaries_of<rescale::gemmlowp_double>>();
template void emit_binaries<compiled_binaries_of<rescale::tflite_single>>();
#endif
#endif

}  // inline namespace QUERN_ABI
}  // namespace quern::detail
