// conv_quern.cpp — quern's convolutions: every instruction set of the machine, int32 and fused int8 destinations, one and two threads.
#include "conv_problem.hpp"

#include <quern/dispatch/thread_pool.hpp>
#include <quern/ops/conv2d.hpp>
#include <quern/ops/depthwise.hpp>

namespace quern::bench {
namespace {

template <class Src>
auto packed_weights(conv_problem<Src> const& p) {
  conv_shape const& s = p.s;
  return pack_conv(nhwc(p.weights.data(), s.out, s.k, s.k, s.in),
                   {.stride = {s.stride, s.stride}, .padding = pad(s.pad(), s.pad(), s.pad(), s.pad())});
}
/// TFLite's order for depthwise weights: 1 x H x W x O.
template <class Src>
auto packed_depthwise_weights(conv_problem<Src> const& p) {
  conv_shape const& s = p.s;
  buffer<std::int8_t> hwo(s.out * s.taps());
  for (index_t o = 0; o < s.out; ++o)
    for (index_t t = 0; t < s.taps(); ++t) hwo[t * s.out + o] = p.weights[o * s.taps() + t];
  return pack_depthwise(nhwc(hwo.data(), 1, s.k, s.k, s.out), {.stride = {s.stride, s.stride}, .padding = pad(s.pad(), s.pad(), s.pad(), s.pad())});
}

template <class Src, class Dst, bool Depthwise>
body prepare(check& c, isa i, conv_shape s, int threads) {
  auto p = std::make_shared<conv_problem<Src>>(s);
  auto pool = std::make_shared<thread_pool>(threads);
  auto dst = std::make_shared<buffer<Dst>>(s.out_h() * s.out_w() * s.out);
  auto const make = [&] {
    if constexpr (Depthwise)
      return packed_depthwise_weights(*p);
    else
      return packed_weights(*p);
  };
  auto weights = std::make_shared<decltype(make())>(make());
  body const call = [=] {
    gemm_options options{.max_isa = i};
    if (threads > 1) options.executor = *pool;
    auto const src = nhwc(static_cast<Src const*>(p->src.data()), 1, s.h, s.w, s.in);
    auto const out = nhwc(dst->data(), 1, s.out_h(), s.out_w(), s.out);
    auto const run = [&](auto const& e) {
      if constexpr (Depthwise)
        depthwise_conv2d(src, *weights, out, e, options);
      else
        conv2d(src, *weights, out, e, options);
    };
    if constexpr (sizeof(Dst) == 1)
      run(epilogue<to_real>{.bias = view(p->bias), .rescale = {.cols = view(p->scale)}});
    else
      run(epilogue<>{});
  };
  call();
  if constexpr (sizeof(Dst) == 1)
    p->template check_fused<float>(c, dst->data());
  else
    p->check_s32(c, dst->data());
  return call;
}

template <class Src, class Dst>
void add_case(std::string const& types, isa i, conv_shape const& s, int threads) {
  add({.name = conv_name("quern", name(i), types, s, threads), .ops = ops(s), .peak = [=] { return threads * peak_gops(i); },
       .prepare = [=](check& c) { return s.depthwise ? prepare<Src, Dst, true>(c, i, s, threads) : prepare<Src, Dst, false>(c, i, s, threads); },
       .threads = threads});
}

void register_conv_quern() {
  for (isa i : isas())
    for (int threads = 1; threads <= std::min(2, processors()); ++threads)
      for (conv_shape const& s : conv_shapes) {
        add_case<std::uint8_t, std::int32_t>("u8s8-s32", i, s, threads);
        add_case<std::uint8_t, std::int8_t>("u8s8-s8", i, s, threads);
        add_case<std::int8_t, std::int8_t>("s8s8-s8", i, s, threads);
      }
}
QUERN_BENCH_CASES(register_conv_quern);
}  // namespace
}  // namespace quern::bench
