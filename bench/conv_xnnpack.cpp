// conv_xnnpack.cpp — XNNPACK's s8 x s8 convolutions with per-channel scales. It has no s32 output.
#ifdef QUERN_BENCH_XNNPACK
#include "conv_problem.hpp"

#include <xnnpack.h>

namespace quern::bench {
namespace {

body prepare(check& c, conv_shape s) {
  if (xnn_initialize(nullptr) != xnn_status_success) return c.skip("xnn_initialize failed"), body{};
  auto p = std::make_shared<conv_problem<std::int8_t>>(s);
  index_t const slack = XNN_EXTRA_BYTES;  // it reads that far behind its operands
  auto src = std::make_shared<buffer<std::int8_t>>(p->src.size() + slack);
  std::copy(p->src.begin(), p->src.end(), src->begin());
  auto dst = std::make_shared<buffer<std::int8_t>>(s.out_h() * s.out_w() * s.out + slack);
  auto const pad = static_cast<std::uint32_t>(s.pad()), k = static_cast<std::uint32_t>(s.k), stride = static_cast<std::uint32_t>(s.stride);
  auto const in = static_cast<std::size_t>(s.in), out = static_cast<std::size_t>(s.out);
  xnn_operator_t made = nullptr;
  if (xnn_create_convolution2d_nhwc_qc8(pad, pad, pad, pad, k, k, stride, stride, 1, 1, s.depthwise ? static_cast<std::uint32_t>(in) : 1, s.depthwise ? 1 : in,
                                        s.depthwise ? 1 : out, in, out, 0, 1.0f, p->scale.data(), p->weights.data(), p->bias.data(), 0, 1.0f,
                                        -128, 127, 0, &made) != xnn_status_success)
    return c.skip("xnn_create_convolution2d_nhwc_qc8 failed"), body{};
  std::shared_ptr<xnn_operator> const op(made, xnn_delete_operator);
  if (xnn_setup_convolution2d_nhwc_qc8(made, 1, static_cast<std::size_t>(s.h), static_cast<std::size_t>(s.w), src->data(), dst->data(), nullptr) != xnn_status_success)
    return c.skip("xnn_setup_convolution2d_nhwc_qc8 failed"), body{};
  xnn_run_operator(made, nullptr);
  p->check_fused(c, dst->data());
  return [p, src, dst, op] { xnn_run_operator(op.get(), nullptr); };
}

void register_conv_xnnpack() {
  isa best = isa::sse41;  // it detects the CPU itself, and this version has nothing beyond vpmaddwd
  for (isa i : {isa::avx2, isa::avx512bw})
    if (supported(i)) best = i;
  for (conv_shape const& s : conv_shapes)
    add({.name = conv_name("xnnpack", name(best), "s8s8-s8", s),
         .ops = ops(s),
         .peak = [=] { return peak_gops(best, instruction::madd); },
         .prepare = [=](check& c) { return prepare(c, s); },
         .own_process = true});
}
QUERN_BENCH_CASES(register_conv_xnnpack);
}  // namespace
}  // namespace quern::bench
#endif
