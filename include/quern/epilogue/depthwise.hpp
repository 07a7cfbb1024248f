// depthwise.hpp — depthwise kernels with the common epilogues in their loop: 8-bit destinations, a scale a channel, no residual.
#pragma once

#include "../kernel/depthwise.hpp"
#include "bodies.hpp"

namespace quern {
namespace detail {

/// Some pixels of one output row, blocks of 16 channels of them.
struct depthwise_row {
  unsigned char const* from;      ///< as depthwise_taps_function's, the first block's
  index_t const* offset;
  index_t plane;
  int taps;
  unsigned char const* weights;
  std::int32_t const* init;
  index_t pixels, row, col;       ///< where they go: rows [row, row + pixels), columns from col of the context's destination
  index_t blocks, from_bytes, weight_bytes;  ///< blocks, and from one to the next
};
using depthwise_row_function = void (*)(void const* context, depthwise_row const&);

/// Rows [begin, end) of `channels` channels, 64 or fewer in steps of the function's, of a 3 x 3 convolution of one image. Pointers are
/// at the first of these channels; strides in bytes, as both sides have codes of one.
struct depthwise_image {
  unsigned char const* src;
  index_t h_stride, w_stride, h, w;
  void* dst;
  index_t dst_h_stride, dst_w_stride, out_w;
  index_t begin, end, stride_h, stride_w, top, left;
  unsigned char const* blank;     ///< 64 zero points
  unsigned char const* weights;   ///< three columns of depthwise3x3.inl's four vectors
  std::int8_t const* taps;        ///< nine, taps_step apart, for depthwise3x3_words.inl
  index_t taps_step, channels;
  std::int32_t const* init;
  index_t col;
  bool is_signed;
};
using depthwise_image_function = void (*)(void const* context, depthwise_image const&);
struct depthwise_image_kernel {
  depthwise_image_function run = nullptr;
  index_t channels = 64;          ///< that it takes at a time
  index_t most_stride = 1 << 20;  ///< along a row
};

}  // namespace detail
}  // namespace quern

#if QUERN_X86_64 && QUERN_DETAIL_KERNEL_BODIES
QUERN_FP_BEGIN

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX2)
namespace quern {
inline namespace QUERN_ABI {
namespace avx2 {
#include "depthwise.inl"
#include "depthwise3x3_words.inl"
}  // namespace avx2
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX_VNNI)
namespace quern {
inline namespace QUERN_ABI {
namespace avx_vnni {
using namespace avx2;
#include "depthwise.inl"
}  // namespace avx_vnni
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512bw {
#include "depthwise.inl"
#include "depthwise3x3_words.inl"
}  // namespace avx512bw
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512_VNNI)
namespace quern {
inline namespace QUERN_ABI {
namespace avx512_vnni {
using namespace avx512bw;
#include "depthwise.inl"
#include "depthwise3x3.inl"
}  // namespace avx512_vnni
}  // inline namespace QUERN_ABI
}  // namespace quern
QUERN_TARGET_END

QUERN_FP_END
#endif

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

/// The function for this epilogue on this instruction set; null where the epilogue is a pass of its own.
template <class Dst, class E>
depthwise_row_function depthwise_row_for(finish_context<Dst, E> const& c, isa i) noexcept;

/// The function for 3 x 3 convolutions of many channels at a time; null where there is none, or no row function.
template <class Dst, class E>
depthwise_image_kernel depthwise_image_for(finish_context<Dst, E> const& c, isa i) noexcept;

#if QUERN_DETAIL_KERNEL_BODIES
template <class Dst, class E>
depthwise_row_function depthwise_row_for([[maybe_unused]] finish_context<Dst, E> const& c, [[maybe_unused]] isa i) noexcept {
#if QUERN_X86_64
  using R = typename E::rescale_type;
  if constexpr (std::is_integral_v<Dst> && sizeof(Dst) == 1 && !E::residual_type::present && !has_functor<typename E::then_type> &&
                !std::is_same_v<R, no_rescale>) {
    if (c.dst.col_stride != 1) return nullptr;
    if constexpr (std::is_same_v<R, to_real>)
      if (!c.e->rescale.rows.single() || c.e->rescale.bias.size > 0) return nullptr;
    if (i >= isa::avx512_vnni && i <= isa::amx_int8) return &avx512_vnni::depthwise_row_of<kernel::avx512_vnni::depthwise_quads, Dst, E>;
    if (i == isa::avx512bw) return &avx512bw::depthwise_row_of<kernel::avx512bw::depthwise_words, Dst, E>;
    if (i == isa::avx_vnni) return &avx_vnni::depthwise_row_of<kernel::avx_vnni::depthwise_quads, Dst, E>;
    if (i == isa::avx2) return &avx2::depthwise_row_of<kernel::avx2::depthwise_words, Dst, E>;
  }
#endif
  return nullptr;
}

template <class Dst, class E>
depthwise_image_kernel depthwise_image_for([[maybe_unused]] finish_context<Dst, E> const& c, [[maybe_unused]] isa i) noexcept {
#if QUERN_X86_64
  if constexpr (std::is_integral_v<Dst> && sizeof(Dst) == 1 && !E::residual_type::present && !has_functor<typename E::then_type> &&
                !std::is_same_v<typename E::rescale_type, no_rescale>)
    if (depthwise_row_for(c, i) != nullptr) {
      if (i >= isa::avx512_vnni && i <= isa::amx_int8) return {&avx512_vnni::depthwise_block64<Dst, E>, 64};
      if (i == isa::avx512bw) return {&avx512bw::depthwise_pairs_of<kernel::avx512bw::depthwise_words, Dst, E>, 32, 2};
      if (i == isa::avx2) return {&avx2::depthwise_pairs_of<kernel::avx2::depthwise_words, Dst, E>, 16, 2};
    }
#endif
  return {};
}
#endif

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
