// bodies.hpp — the epilogue's body for every instruction set, and which one a product gets.
#pragma once

#include "../simd/rescale.hpp"
#include "compiled.hpp"
#include "finish.hpp"

#include <new>

#define QUERN_DETAIL_EACH_ISA "../epilogue/body.inl"
#include "../simd/each_isa.inl"

QUERN_FP_BEGIN

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// The functions that serve one product.
struct epilogue_body {
  finish_function finish = nullptr;
  fold_function fold = nullptr;
  void (*prepare)(void const* parameters, index_t n, index_t columns, unsigned char* memory) = nullptr;  ///< null: nothing to
  index_t bytes = 0;  ///< that prepare fills
};

#define QUERN_DETAIL_BODY(isa_namespace)                                                                              \
  {                                                                                                                   \
    body.finish = &isa_namespace::finish_tile<Dst, E>;                                                                \
    if constexpr (std::is_same_v<R, to_real>)                                                                         \
      body.fold = &isa_namespace::fold_group_tile<Dst, E>;                                                            \
    else if constexpr (!std::is_same_v<R, no_rescale>) {                                                              \
      body.prepare = &isa_namespace::prepare_rescalers<R>;                                                            \
      body.bytes = columns / isa_namespace::lanes * static_cast<index_t>(sizeof(isa_namespace::rescaler<R>));         \
    }                                                                                                                 \
    return body;                                                                                                      \
  }

/// The vectors of `needs` for `columns` columns, a multiple of 16.
template <class Dst, class E>
epilogue_body vector_body(isa needs, index_t columns) noexcept;

#if QUERN_DETAIL_KERNEL_BODIES
template <class Dst, class E>
epilogue_body vector_body(isa needs, [[maybe_unused]] index_t columns) noexcept {
  using R = typename E::rescale_type;
  epilogue_body body;
#if QUERN_X86_64
  if (needs >= isa::avx512bw && needs <= isa::amx_int8) QUERN_DETAIL_BODY(avx512bw)
  if (needs == isa::avx2 || needs == isa::avx_vnni) QUERN_DETAIL_BODY(avx2)
  if (needs == isa::sse41) QUERN_DETAIL_BODY(sse41)
#endif
  (void)needs;
  QUERN_DETAIL_BODY(baseline)
}
#endif

/// The vectors of `needs`, or the scalar path where these do not serve: gaps between columns, and rare stages of int32.
template <class Dst, class E>
epilogue_body choose_body(finish_context<Dst, E> const& c, isa needs) noexcept {
  using R = typename E::rescale_type;
  [[maybe_unused]] E const& e = *c.e;
  epilogue_body body;
  body.finish = &finish_scalar<Dst, E, false>;
  bool vectors = c.dst.col_stride == 1;
  if constexpr (E::residual_type::present) vectors &= e.residual.from.col_stride == 1;
  if constexpr (std::is_same_v<R, to_real>) {
    body.fold = &fold_groups<Dst, E>;
    vectors &= e.rescale.groups.rows == 0 ||
               (e.rescale.groups.col_stride == 1 && (e.rescale.group_zero_points.rows == 0 || e.rescale.group_zero_points.col_stride == 1));
  }
  if constexpr (std::is_same_v<Dst, std::int32_t>) {
    if constexpr (std::is_same_v<R, to_real>)
      return body;  // int32 limits are no floats
    else
      vectors &= e.dst_zero_point == 0 && c.min == code_of_t<Dst>::min && c.max == code_of_t<Dst>::max;
  }
  if (!vectors) return body;
  [[maybe_unused]] index_t const columns = (c.dst.cols + 15) / 16 * 16;
  if constexpr (QUERN_DETAIL_KERNEL_BODIES || is_compiled_epilogue<Dst, E>)
    return vector_body<Dst, E>(needs, columns);
  else
    QUERN_DETAIL_BODY(baseline)
}
#undef QUERN_DETAIL_BODY

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern

QUERN_FP_END
