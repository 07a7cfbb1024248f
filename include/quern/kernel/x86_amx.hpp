// x86_amx.hpp — AMX-INT8: tiles of 16 x 64 bytes, 16,384 multiply-adds an instruction.
//
//     tdpb[su][su]d   issues every 16 cycles: 1,024 multiply-adds a cycle      tileloadd   16 cache lines, 8 cycles from L1
//
// Two by two: 32 rows of lhs times 2 panels of rhs into four tiles of int32. A step of 64 k loads four tiles and multiplies four
// times: 64 lines in 64 cycles, which L1 gives and L2 does not. So the panels' block of k (at most 1,024: 32 KB) stays in L1 while
// all rows pass by, and lhs is read with tileloaddt1, which keeps it from pushing them out. Each tile of the next step is loaded
// right after the last product that needs its predecessor. lhs is taken where it lies; only its last rows and last k % 64 are
// copied to where zeros can follow them. Operand signs are the instruction's, so no code is shifted.
//
// TMUL leaves the vector ports idle: the epilogue of the block before runs a few rows at a time between the steps of this one.
// Measured by such a loop on Sapphire Rapids, k = 768: 72 % of the peak; 59 % with the epilogue behind each block.
//
// GCC 12's tile intrinsics name neither the memory that they read nor the 64 bytes of a configuration, so that it drops the stores
// before them; hence inline assembly. Loads carry no clobber of their own: whoever fills memory for them ends with a barrier.
#pragma once

#include "x86_avx512bw.hpp"

#if QUERN_X86_64

namespace quern::kernel {

/// One block: up to 32 rows x 2 panels over one block of k.
struct amx_job {
  unsigned char const* lhs[2];        ///< rows 0..15 and 16..31, 64 k a step
  index_t lhs_stride[2];
  unsigned char const* lhs_last[2];   ///< the last step's, which may lie elsewhere
  index_t lhs_last_stride[2];
  unsigned char const* rhs[2];        ///< 1 KB a step
  index_t steps;                      ///< at least 1
  std::int32_t* acc;                  ///< 32 x 32, or 16 x 32, ...
  index_t ld;
  bool from_acc;                      ///< go on from what acc holds; else from zero
  void (*meanwhile)(void* context, index_t step, index_t steps);  ///< work for the vector ports, once a step; may be null
  void* context;
};

}  // namespace quern::kernel

QUERN_TARGET_BEGIN(QUERN_TARGET_AMX_INT8)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace amx_int8 {

/// All eight tiles 16 rows x 64 bytes, for everything: tails are zeros in memory, never another configuration.
struct alignas(64) tile_config {
  unsigned char palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t columns[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
inline constexpr tile_config config{};

/// Makes our configuration the thread's, and puts back on exit whichever was there: another library's tiles stay usable. Asking
/// costs 5 ns, setting 50; nothing is set where ours is found.
class scope {
 public:
  scope() noexcept {
    asm volatile("sttilecfg %0" : "=m"(before_));
    changed_ = __builtin_memcmp(&before_, &config, sizeof(config)) != 0;
    if (changed_) asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
  }
  scope(scope const&) = delete;
  scope& operator=(scope const&) = delete;
  ~scope() {
    if (!changed_) return;
    if (before_.palette != 0)
      asm volatile("ldtilecfg %0" : : "m"(before_) : "memory");
    else
      asm volatile("tilerelease" : : : "memory");  // frees the state: cheaper context switches
  }

 private:
  tile_config before_;
  bool changed_;
};

#define QUERN_DETAIL_ZERO(t) asm volatile("tilezero %%tmm" #t : : :)
#define QUERN_DETAIL_LOAD(t, p, stride) asm volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(p), "r"(stride))
#define QUERN_DETAIL_LOAD_ONCE(t, p, stride) asm volatile("tileloaddt1 (%0,%1,1), %%tmm" #t : : "r"(p), "r"(stride))
#define QUERN_DETAIL_STORE(t, p, stride) asm volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(p), "r"(stride) : "memory")
#define QUERN_DETAIL_DOT(c, a, b)                                          \
  do {                                                                     \
    if constexpr (Signed)                                                  \
      asm volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c : : :);    \
    else                                                                   \
      asm volatile("tdpbusd %%tmm" #b ", %%tmm" #a ", %%tmm" #c : : :);    \
  } while (false)

/// R x C tiles: tmm0 (0,0), 1 (0,1), 2 (1,0), 3 (1,1); lhs in 4 and 5, rhs in 6 and 7.
template <bool Signed, int R, int C>
QUERN_NOINLINE inline void block(amx_job const& job) {
  asm volatile("" : : : "memory");
  index_t const ld = job.ld * 4;
  std::int32_t* const acc[2] = {job.acc, job.acc + 16 * job.ld};
  if (job.from_acc) {
    QUERN_DETAIL_LOAD(0, acc[0], ld);
    if constexpr (C == 2) QUERN_DETAIL_LOAD(1, acc[0] + 16, ld);
    if constexpr (R == 2) QUERN_DETAIL_LOAD(2, acc[1], ld);
    if constexpr (R == 2 && C == 2) QUERN_DETAIL_LOAD(3, acc[1] + 16, ld);
  } else {
    QUERN_DETAIL_ZERO(0);
    if constexpr (C == 2) QUERN_DETAIL_ZERO(1);
    if constexpr (R == 2) QUERN_DETAIL_ZERO(2);
    if constexpr (R == 2 && C == 2) QUERN_DETAIL_ZERO(3);
  }
  index_t const steps = job.steps;
  bool const one = steps == 1;
  unsigned char const* a0 = one ? job.lhs_last[0] : job.lhs[0];
  unsigned char const* a1 = one ? job.lhs_last[1] : job.lhs[1];
  index_t s0 = one ? job.lhs_last_stride[0] : job.lhs_stride[0], s1 = one ? job.lhs_last_stride[1] : job.lhs_stride[1];
  unsigned char const* b0 = job.rhs[0];
  unsigned char const* b1 = job.rhs[1];
  index_t const row = 64;
  QUERN_DETAIL_LOAD_ONCE(4, a0, s0);
  QUERN_DETAIL_LOAD(6, b0, row);
  if constexpr (C == 2) QUERN_DETAIL_LOAD(7, b1, row);
  if constexpr (R == 2) QUERN_DETAIL_LOAD_ONCE(5, a1, s1);
  for (index_t step = 1;; ++step) {
    bool const more = step < steps;
    if (step + 1 == steps) {
      a0 = job.lhs_last[0];
      s0 = job.lhs_last_stride[0];
      if constexpr (R == 2) {
        a1 = job.lhs_last[1];
        s1 = job.lhs_last_stride[1];
      }
    } else {
      a0 += 64;
      if constexpr (R == 2) a1 += 64;
    }
    b0 += 1024;
    if constexpr (C == 2) b1 += 1024;
    QUERN_DETAIL_DOT(0, 4, 6);
    if constexpr (C == 2) QUERN_DETAIL_DOT(1, 4, 7);
    if (more) QUERN_DETAIL_LOAD_ONCE(4, a0, s0);
    if constexpr (R == 2) QUERN_DETAIL_DOT(2, 5, 6);
    if (more) QUERN_DETAIL_LOAD(6, b0, row);
    if constexpr (R == 2 && C == 2) QUERN_DETAIL_DOT(3, 5, 7);
    if constexpr (C == 2)
      if (more) QUERN_DETAIL_LOAD(7, b1, row);
    if constexpr (R == 2)
      if (more) QUERN_DETAIL_LOAD_ONCE(5, a1, s1);
    if (job.meanwhile != nullptr) job.meanwhile(job.context, step - 1, steps);
    if (!more) break;
  }
  QUERN_DETAIL_STORE(0, acc[0], ld);
  if constexpr (C == 2) QUERN_DETAIL_STORE(1, acc[0] + 16, ld);
  if constexpr (R == 2) QUERN_DETAIL_STORE(2, acc[1], ld);
  if constexpr (R == 2 && C == 2) QUERN_DETAIL_STORE(3, acc[1] + 16, ld);
}

#undef QUERN_DETAIL_ZERO
#undef QUERN_DETAIL_LOAD
#undef QUERN_DETAIL_LOAD_ONCE
#undef QUERN_DETAIL_STORE
#undef QUERN_DETAIL_DOT

}  // namespace amx_int8
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

QUERN_TARGET_BEGIN(QUERN_TARGET_AVX512BW)
namespace quern::kernel {
inline namespace QUERN_ABI {
namespace amx_int8 {

/// Codes as they are, with their sums; vpsadbw adds s8 codes as code + 128.
inline void copy(lhs_rows const& from, index_t padded, unsigned char* to, std::int32_t* sums) {
  __m512i const flip = _mm512_set1_epi8(from.kind == 1 ? static_cast<char>(0x80) : 0), none = _mm512_setzero_si512();
  auto const* src = static_cast<unsigned char const*>(from.src);
  for (index_t r = 0; r < from.rows; ++r, src += from.stride, to += from.to_stride) {
    __m512i sum = none;
    index_t i = 0;
    for (; i < from.count; i += 64) {
      __mmask64 const live = from.count - i >= 64 ? ~0ull : ~0ull >> (64 - (from.count - i));
      __m512i const x = _mm512_maskz_loadu_epi8(live, src + i);
      _mm512_storeu_si512(to + i, x);
      sum = _mm512_add_epi64(sum, _mm512_sad_epu8(_mm512_maskz_mov_epi8(live, _mm512_xor_si512(x, flip)), none));
    }
    for (; i < padded; i += 64) _mm512_storeu_si512(to + i, none);
    if (sums != nullptr) sums[r] = avx512bw::sum_of(sum) - (from.kind == 1 ? 128 * static_cast<std::int32_t>(from.count) : 0);
  }
}

}  // namespace amx_int8
}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
QUERN_TARGET_END

namespace quern::kernel {
inline namespace QUERN_ABI {

/// By sign of lhs, tiles of rows - 1, panels - 1.
using amx_function = void (*)(amx_job const&);
inline amx_function amx_block(bool is_signed, int row_tiles, int panels) noexcept {
  using namespace amx_int8;
  static constexpr amx_function all[2][2][2] = {
      {{&block<false, 1, 1>, &block<false, 1, 2>}, {&block<false, 2, 1>, &block<false, 2, 2>}},
      {{&block<true, 1, 1>, &block<true, 1, 2>}, {&block<true, 2, 1>, &block<true, 2, 2>}}};
  return all[is_signed ? 1 : 0][row_tiles - 1][panels - 1];
}

inline kernel_set const& amx_int8_kernels() noexcept {
  static constexpr kernel_set set{.name = "amx_int8",
                                  .needs = isa::amx_int8,
                                  .form = lhs_form::bytes,
                                  .tiled = true,
                                  .copy = &amx_int8::copy,
                                  .unpack = &avx512bw::unpack};
  return set;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::kernel
#endif
