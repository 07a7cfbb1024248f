// gemm_onednn.cpp — oneDNN 2.x: the better of its matmul and its inner product, weights in the layout it asks for.
#ifdef QUERN_BENCH_ONEDNN
#include "gemm_problem.hpp"
#include "onednn.hpp"

#include <unordered_map>

namespace quern::bench {
namespace {
using dnnl::memory;
using arguments = std::unordered_map<int, memory>;

struct product {
  dnnl::primitive primitive;
  arguments args;
};

memory::desc desc(memory::dims dims, memory::data_type type, memory::format_tag tag) { return {dims, type, tag}; }

/// Weights as the primitive wants them, reordered from row-major k x n.
memory pack(dnnl::engine const& engine, dnnl::stream& stream, memory::desc const& from, void* data, memory::desc const& wanted) {
  memory plain(from, engine, data), packed(wanted, engine);
  dnnl::reorder(plain, packed).execute(stream, plain, packed);
  stream.wait();
  return packed;
}

struct operands {
  memory::data_type lhs_type, rhs_type, dst_type;
  void *lhs, *rhs, *dst, *bias;
  dnnl::primitive_attr attr;
};

product matmul(dnnl::engine const& engine, dnnl::stream& stream, shape s, operands const& o) {
  using tag = memory::format_tag;
  auto const a = desc({s.m, s.k}, o.lhs_type, tag::ab), c = desc({s.m, s.n}, o.dst_type, tag::ab);
  auto const any = desc({s.k, s.n}, o.rhs_type, tag::any), b = desc({s.k, s.n}, o.rhs_type, tag::ab);
  auto const bias = desc({1, s.n}, memory::data_type::s32, tag::ab);
  auto const d = o.bias ? dnnl::matmul::desc(a, any, bias, c) : dnnl::matmul::desc(a, any, c);
  dnnl::matmul::primitive_desc const pd(d, o.attr, engine);
  product p{dnnl::matmul(pd), {{DNNL_ARG_SRC, memory(a, engine, o.lhs)}, {DNNL_ARG_DST, memory(c, engine, o.dst)}}};
  p.args[DNNL_ARG_WEIGHTS] = pack(engine, stream, b, o.rhs, pd.weights_desc());
  if (o.bias) p.args[DNNL_ARG_BIAS] = memory(bias, engine, o.bias);
  return p;
}

product inner_product(dnnl::engine const& engine, dnnl::stream& stream, shape s, operands const& o) {
  using tag = memory::format_tag;
  auto const a = desc({s.m, s.k}, o.lhs_type, tag::ab), c = desc({s.m, s.n}, o.dst_type, tag::ab);
  auto const any = desc({s.n, s.k}, o.rhs_type, tag::any), b = desc({s.n, s.k}, o.rhs_type, tag::ba);
  auto const bias = desc({s.n}, memory::data_type::s32, tag::a);
  auto const kind = dnnl::prop_kind::forward_inference;
  auto const d = o.bias ? dnnl::inner_product_forward::desc(kind, a, any, bias, c)
                        : dnnl::inner_product_forward::desc(kind, a, any, c);
  dnnl::inner_product_forward::primitive_desc const pd(d, o.attr, engine);
  product p{dnnl::inner_product_forward(pd), {{DNNL_ARG_SRC, memory(a, engine, o.lhs)}, {DNNL_ARG_DST, memory(c, engine, o.dst)}}};
  p.args[DNNL_ARG_WEIGHTS] = pack(engine, stream, b, o.rhs, pd.weights_desc());
  if (o.bias) p.args[DNNL_ARG_BIAS] = memory(bias, engine, o.bias);
  return p;
}

body run(dnnl::stream stream, product const& p) {
  return [stream, p]() mutable {
    p.primitive.execute(stream, p.args);
    stream.wait();
  };
}

body better(check& c, dnnl::engine const& engine, shape s, operands const& o) {
  dnnl::stream stream(engine);
  body const first = run(stream, matmul(engine, stream, s, o)), second = run(stream, inner_product(engine, stream, s, o));
  bool const matmul_wins = best_seconds(first, 0.03) <= best_seconds(second, 0.03);
  c.say(matmul_wins ? "matmul" : "inner product");
  return matmul_wins ? first : second;
}

template <class Lhs, bool Fused>
body prepare(check& c, onednn_isa cap, shape s, int threads) {
  auto const engine = onednn_engine(cap, threads);
  auto p = std::make_shared<gemm_problem<Lhs>>(s);
  auto dst = std::make_shared<buffer<std::int32_t>>(s.m * s.n);
  operands o{std::is_signed_v<Lhs> ? memory::data_type::s8 : memory::data_type::u8, memory::data_type::s8,
             Fused ? memory::data_type::s8 : memory::data_type::s32, p->lhs.data(), p->rhs.data(), dst->data(),
             Fused ? p->bias.data() : nullptr, {}};
  if (Fused) o.attr.set_output_scales(1 << 1, std::vector<float>(p->scale.begin(), p->scale.end()));
  body const call = better(c, engine, s, o);
  call();
  if constexpr (Fused)
    p->check_fused(c, reinterpret_cast<std::int8_t const*>(dst->data()));
  else
    p->check_s32(c, dst->data());
  return [p, dst, call] { call(); };
}

body prepare_float(check& c, onednn_isa cap, shape s, int threads) {
  auto const engine = onednn_engine(cap, threads);
  auto lhs = std::make_shared<buffer<float>>(random_reals(s.m * s.k, -1, 1, 1));
  auto rhs = std::make_shared<buffer<float>>(random_reals(s.k * s.n, -1, 1, 2));
  auto dst = std::make_shared<buffer<float>>(s.m * s.n);
  auto const f32 = memory::data_type::f32;
  body const call = better(c, engine, s, {f32, f32, f32, lhs->data(), rhs->data(), dst->data(), nullptr, {}});
  return [lhs, rhs, dst, call] { call(); };
}

void register_gemm_onednn() {
  for (onednn_isa cap : onednn_isas) {
    if (!supported(cap.ours)) continue;
    auto const peak = [=] { return onednn_peak(cap.ours); };
    auto const float_peak = [=] { return peak_gops(cap.ours, instruction::fma); };
    for (int threads : {1, 2})
      for (shape s : gemm_shapes) {
        if (threads > processors()) continue;
        auto const add_case = [&](char const* types, auto const& peak_of, body (*make)(check&, onednn_isa, shape, int)) {
          add({.name = gemm_name("onednn", name(cap.ours), types, s, threads),
               .ops = ops(s),
               .reads = weight_bytes(s),
               .peak = [=] { return threads * peak_of(); },
               .prepare = [=](check& c) { return make(c, cap, s, threads); },
               .threads = threads,
               .own_process = true});
        };
        add_case("u8s8-s32", peak, prepare<std::uint8_t, false>);
        add_case("s8s8-s32", peak, prepare<std::int8_t, false>);
        add_case("u8s8-s8", peak, prepare<std::uint8_t, true>);
        add_case("s8s8-s8", peak, prepare<std::int8_t, true>);
        add_case("f32f32-f32", float_peak, prepare_float);
      }
  }
}
QUERN_BENCH_CASES(register_gemm_onednn);
}  // namespace
}  // namespace quern::bench
#endif
