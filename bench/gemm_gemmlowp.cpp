// gemm_gemmlowp.cpp — gemmlowp: u8 x u8, exact. Compiled with -mavx2 -O3, since it picks its kernels when it is compiled.
#ifdef QUERN_BENCH_GEMMLOWP
#include "gemm_problem.hpp"

#define GEMMLOWP_ENABLE_AVX2  // its AVX2 kernel is off unless asked for
#include <public/gemmlowp.h>
#include <public/output_stages.h>

namespace quern::bench {
namespace {

#if defined(__AVX2__)
constexpr isa compiled = isa::avx2;
#else
constexpr isa compiled = isa::sse41;
#endif

// Weights are s8 + 128 as u8, minus a zero point of 128, column-major, which it packs fastest. gemmlowp packs both sides in every call.
template <bool Fused>
body prepare(check& c, shape s) {
  auto p = std::make_shared<gemm_problem<std::uint8_t>>(s);
  auto rhs = std::make_shared<buffer<std::uint8_t>>(s.k * s.n);
  for (index_t i = 0; i < s.k; ++i)
    for (index_t j = 0; j < s.n; ++j) (*rhs)[j * s.k + i] = static_cast<std::uint8_t>(p->rhs[i * s.n + j] + 128);
  auto dst = std::make_shared<buffer<std::int32_t>>(s.m * s.n);
  using gemmlowp::MapOrder;
  using gemmlowp::VectorMap;
  using gemmlowp::VectorShape;
  auto context = std::make_shared<gemmlowp::GemmContext>();
  context->set_max_num_threads(1);
  // Its per-channel stage does not compile for SIMD registers, so one scale serves all columns here.
  std::fill(p->scale.begin(), p->scale.end(), p->scale[0]);
  int shift = 0;  // scale = multiplier * 2^(shift - 31)
  auto const multiplier = static_cast<std::int32_t>(std::lrint(std::frexp(static_cast<double>(p->scale[0]), &shift) * 2147483648.0));
  body const call = [=] {
    gemmlowp::MatrixMap<std::uint8_t const, MapOrder::RowMajor> const a(p->lhs.data(), static_cast<int>(s.m), static_cast<int>(s.k));
    gemmlowp::MatrixMap<std::uint8_t const, MapOrder::ColMajor> const b(rhs->data(), static_cast<int>(s.k), static_cast<int>(s.n));
    int const n = static_cast<int>(s.n);
    if constexpr (Fused) {
      gemmlowp::MatrixMap<std::uint8_t, MapOrder::RowMajor> d(reinterpret_cast<std::uint8_t*>(dst->data()), static_cast<int>(s.m), n);
      gemmlowp::OutputStageBiasAddition<VectorMap<std::int32_t const, VectorShape::Row>> bias;
      bias.bias_vector = VectorMap<std::int32_t const, VectorShape::Row>(p->bias.data(), n);
      gemmlowp::OutputStageScaleInt32ByFixedPointAndExponent scale;
      scale.result_fixedpoint_multiplier = multiplier;
      scale.result_exponent = shift;
      scale.result_offset_after_shift = 128;
      gemmlowp::GemmWithOutputPipeline<std::uint8_t, std::uint8_t, gemmlowp::DefaultL8R8BitDepthParams>(
          context.get(), a, b, &d, 0, -128, std::make_tuple(bias, scale, gemmlowp::OutputStageSaturatingCastToUint8()));
    } else {
      gemmlowp::MatrixMap<std::int32_t, MapOrder::RowMajor> d(dst->data(), static_cast<int>(s.m), n);
      gemmlowp::GemmWithOutputPipeline<std::uint8_t, std::int32_t, gemmlowp::DefaultL8R8BitDepthParams>(
          context.get(), a, b, &d, 0, -128, std::make_tuple());
    }
  };
  call();
  if constexpr (Fused)
    p->check_fused(c, reinterpret_cast<std::uint8_t const*>(dst->data()));
  else
    p->check_s32(c, dst->data());
  return call;
}

void register_gemm_gemmlowp() {
  if (!supported(compiled)) return;
  for (shape s : gemm_shapes) {
    auto const peak = [] { return peak_gops(compiled, instruction::madd); };
    add({.name = gemm_name("gemmlowp", name(compiled), "u8u8-s32", s), .ops = ops(s), .peak = peak,
         .prepare = [=](check& c) { return prepare<false>(c, s); }});
    add({.name = gemm_name("gemmlowp", name(compiled), "u8u8-u8", s), .ops = ops(s), .peak = peak,
         .prepare = [=](check& c) { return prepare<true>(c, s); }});
  }
}
QUERN_BENCH_CASES(register_gemm_gemmlowp);
}  // namespace
}  // namespace quern::bench
#endif
