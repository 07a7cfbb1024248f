// gemm_xnnpack.cpp — XNNPACK: s8 x s8 with per-channel scales, as the 1x1 convolution that it is there. It has no s32 output.
#ifdef QUERN_BENCH_XNNPACK
#include "gemm_problem.hpp"

#include <xnnpack.h>

namespace quern::bench {
namespace {

body prepare(check& c, shape s) {
  if (xnn_initialize(nullptr) != xnn_status_success) return c.skip("xnn_initialize failed"), body{};
  auto p = std::make_shared<gemm_problem<std::int8_t>>(s);
  auto const m = static_cast<std::size_t>(s.m), n = static_cast<std::size_t>(s.n), k = static_cast<std::size_t>(s.k);
  std::size_t const slack = XNN_EXTRA_BYTES;  // it reads that far behind its operands
  auto lhs = std::make_shared<buffer<std::int8_t>>(static_cast<index_t>(m * k + slack));
  std::copy(p->lhs.begin(), p->lhs.end(), lhs->begin());
  auto dst = std::make_shared<buffer<std::int8_t>>(static_cast<index_t>(m * n + slack));
  std::vector<std::int8_t> kernel(n * k);
  for (std::size_t i = 0; i < k; ++i)
    for (std::size_t j = 0; j < n; ++j) kernel[j * k + i] = p->rhs[static_cast<index_t>(i * n + j)];
  xnn_operator_t made = nullptr;
  if (xnn_create_convolution2d_nhwc_qc8(0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, k, n, k, n, 0, 1.0f, p->scale.data(), kernel.data(),
                                        p->bias.data(), 0, 1.0f, -128, 127, 0, &made) != xnn_status_success)
    return c.skip("xnn_create_convolution2d_nhwc_qc8 failed"), body{};
  std::shared_ptr<xnn_operator> const op(made, xnn_delete_operator);
  if (xnn_setup_convolution2d_nhwc_qc8(made, 1, m, 1, lhs->data(), dst->data(), nullptr) != xnn_status_success)
    return c.skip("xnn_setup_convolution2d_nhwc_qc8 failed"), body{};
  xnn_run_operator(made, nullptr);
  p->check_fused(c, dst->data());
  return [p, lhs, dst, op] { xnn_run_operator(op.get(), nullptr); };
}

void register_gemm_xnnpack() {
  isa best = isa::sse41;  // it detects the CPU itself, and this version has nothing beyond vpmaddwd
  for (isa i : {isa::avx2, isa::avx512bw})
    if (supported(i)) best = i;
  for (shape s : gemm_shapes)
    add({.name = gemm_name("xnnpack", name(best), "s8s8-s8", s),
         .ops = ops(s),
         .reads = weight_bytes(s),
         .peak = [=] { return peak_gops(best, instruction::madd); },
         .prepare = [=](check& c) { return prepare(c, s); },
         .own_process = true});
}
QUERN_BENCH_CASES(register_gemm_xnnpack);
}  // namespace
}  // namespace quern::bench
#endif
