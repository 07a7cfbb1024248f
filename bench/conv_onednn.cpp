// conv_onednn.cpp — oneDNN 2.x's direct convolution on NHWC, weights in the layout it asks for.
#ifdef QUERN_BENCH_ONEDNN
#include "conv_problem.hpp"
#include "onednn.hpp"

#include <unordered_map>

namespace quern::bench {
namespace {
using dnnl::memory;

template <class Src, bool Fused>
body prepare(check& c, onednn_isa cap, conv_shape s, int threads) {
  using tag = memory::format_tag;
  using type = memory::data_type;
  auto const engine = onednn_engine(cap, threads);
  auto p = std::make_shared<conv_problem<Src>>(s);
  auto dst = std::make_shared<buffer<std::int32_t>>(s.out_h() * s.out_w() * s.out);
  auto const source_type = std::is_signed_v<Src> ? type::s8 : type::u8, dst_type = Fused ? type::s8 : type::s32;
  memory::desc const x({1, s.in, s.h, s.w}, source_type, tag::nhwc), y({1, s.out, s.out_h(), s.out_w()}, dst_type, tag::nhwc);
  memory::dims const dims = s.depthwise ? memory::dims{s.out, 1, 1, s.k, s.k} : memory::dims{s.out, s.in, s.k, s.k};
  // OHWI of one input channel and one output a group is goihw without gaps.
  memory::desc const plain(dims, type::s8, s.depthwise ? tag::goihw : tag::ohwi), any(dims, type::s8, tag::any), bias({s.out}, type::s32, tag::a);
  memory::dims const stride{s.stride, s.stride}, pad{s.pad(), s.pad()};
  auto const kind = dnnl::prop_kind::forward_inference;
  auto const how = dnnl::algorithm::convolution_direct;
  auto const d = Fused ? dnnl::convolution_forward::desc(kind, how, x, any, bias, y, stride, pad, pad)
                       : dnnl::convolution_forward::desc(kind, how, x, any, y, stride, pad, pad);
  dnnl::primitive_attr attr;
  if (Fused) attr.set_output_scales(1 << 1, std::vector<float>(p->scale.begin(), p->scale.end()));
  dnnl::convolution_forward::primitive_desc const pd(d, attr, engine);
  c.say(pd.impl_info_str());
  dnnl::stream stream(engine);
  memory from(plain, engine, p->weights.data()), packed(pd.weights_desc(), engine);
  dnnl::reorder(from, packed).execute(stream, from, packed);
  stream.wait();
  std::unordered_map<int, memory> args{{DNNL_ARG_SRC, memory(x, engine, p->src.data())}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, memory(y, engine, dst->data())}};
  if (Fused) args[DNNL_ARG_BIAS] = memory(bias, engine, p->bias.data());
  body const call = [p, dst, stream, args, conv = dnnl::convolution_forward(pd)]() mutable {
    conv.execute(stream, args);
    stream.wait();
  };
  call();
  if constexpr (Fused)
    p->check_fused(c, reinterpret_cast<std::int8_t const*>(dst->data()));
  else
    p->check_s32(c, dst->data());
  return call;
}

void register_conv_onednn() {
  for (onednn_isa cap : onednn_isas) {
    if (!supported(cap.ours)) continue;
    for (int threads = 1; threads <= std::min(2, processors()); ++threads)
      for (conv_shape const& s : conv_shapes) {
        auto const add_case = [&](char const* types, body (*make)(check&, onednn_isa, conv_shape, int)) {
          add({.name = conv_name("onednn", name(cap.ours), types, s, threads),
               .ops = ops(s),
               .peak = [=] { return threads * onednn_peak(cap.ours); },
               .prepare = [=](check& c) { return make(c, cap, s, threads); },
               .threads = threads,
               .own_process = true});
        };
        add_case("u8s8-s32", prepare<std::uint8_t, false>);
        add_case("u8s8-s8", prepare<std::uint8_t, true>);
        add_case("s8s8-s8", prepare<std::int8_t, true>);
      }
  }
}
QUERN_BENCH_CASES(register_conv_onednn);
}  // namespace
}  // namespace quern::bench
#endif
