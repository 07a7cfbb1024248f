// convention.cpp — what a framework's arithmetic costs: the same product and the same quantization in every convention.
//
//     convention/<name>/<isa>/gemm-u8s8-u8/<m>x<n>x<k>/threads:1           scales one a column; "float" is epilogue<to_real>, the yardstick
//     convention/<name>/<isa>/quantize-f32-u8/<elements>/threads:1
//
// Every result is compared with the convention's definition of one element in the same place. PyTorch's and ONNX Runtime's own times on
// the same buffers: scripts/oracles prints them.
#include "support.hpp"

#include <quern/ops/convention.hpp>

#include <cmath>
#include <memory>

namespace quern::bench {
namespace {

std::string convention_name(char const* what, isa i, std::string const& operation) {
  return std::string("convention/") + what + "/" + name(i) + "/" + operation + "/threads:1";
}

struct product {
  index_t n;
  buffer<std::uint8_t> x, y;
  buffer<std::int8_t> w;
  buffer<float> scales;
  packed_matrix<std::int8_t> packed;

  explicit product(index_t size)
      : n(size), x(random_integers<std::uint8_t>(size * size, 0, 255, 1)), y(size * size), w(random_integers<std::int8_t>(size * size, -127, 127, 2)), scales(size),
        packed(pack(row_major(static_cast<std::int8_t const*>(w.data()), size, size))) {
    for (index_t j = 0; j < size; ++j) scales[j] = std::ldexp(1.0f, -static_cast<int>(j % 3) - 8);  // powers of two: every convention takes them
  }
  layer_params params() const { return {.src = {0.03125f, 128}, .weight_scale = view(scales), .bias = {}, .dst = {0.5f, 100}}; }
  matrix_view<std::uint8_t const> lhs() const { return row_major(static_cast<std::uint8_t const*>(x.data()), n, n); }
  matrix_view<std::uint8_t> dst() { return row_major(y.data(), n, n); }
};

template <class C>
void register_convention(isa i) {
  for (index_t n : {256, 512}) {
    std::string const size = std::to_string(n) + "x" + std::to_string(n) + "x" + std::to_string(n);
    add({.name = convention_name(C::name, i, "gemm-u8s8-u8/" + size),
         .ops = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n),
         .prepare = [=](check& c) -> body {
           auto p = std::make_shared<product>(n);
           layer_params const layer = p->params();
           auto const prepared = std::make_shared<prepared_layer<C>>(prepare_layer<C>(layer, n));
           gemm_options const o{.max_isa = i};
           gemm(p->lhs(), p->packed, p->dst(), *prepared, o);
           buffer<std::int32_t> acc(n * n);
           buffer<std::uint8_t> expected(n * n);
           gemm(p->lhs(), p->packed, row_major(acc.data(), n, n), epilogue<>{.lhs_zero_point = layer.src.zero_point}, o);
           for (index_t r = 0; r < n * n; ++r)
             expected[r] = static_cast<std::uint8_t>(C::template output_stage<u8>(layer.src.scale, p->scales[r % n], layer.dst)(acc[r]));
           c.compare(p->y.data(), expected.data(), n * n);
           return [=] {
             gemm(p->lhs(), p->packed, p->dst(), *prepared, o);
             keep(p->y.data());
           };
         }});
  }
  for (index_t n : {4096, 1 << 20})
    add({.name = convention_name(C::name, i, "quantize-f32-u8/" + std::to_string(n)),
         .bytes = 5.0 * static_cast<double>(n),
         .prepare = [=](check& c) -> body {
           auto x = std::make_shared<buffer<float>>(random_reals(n, -4.0f, 4.0f, 3));
           auto y = std::make_shared<buffer<std::uint8_t>>(n);
           convention::affine const p{0.03125f, std::is_same_v<C, convention::model_optimizer> ? 0 : 128};
           auto const run = [=] { quantize_as<C, u8>(vector_view<float const>{x->data(), n, 1}, p, view(*y), i); };
           run();
           buffer<std::uint8_t> expected(n);
           for (index_t k = 0; k < n; ++k) expected[k] = C::template quantize<u8>((*x)[k], p);
           c.compare(y->data(), expected.data(), n);
           return [=] {
             run();
             keep(y->data());
           };
         }});
}

void register_conventions() {
  for (isa i : isas()) {
    if (i == isa::baseline || i == isa::sse41) continue;  // the promise is made for AVX2 and up
    for (index_t n : {256, 512}) {
      std::string const size = std::to_string(n) + "x" + std::to_string(n) + "x" + std::to_string(n);
      add({.name = convention_name("float", i, "gemm-u8s8-u8/" + size),
           .ops = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n),
           .prepare = [=](check&) -> body {
             auto p = std::make_shared<product>(n);
             auto scales = std::make_shared<buffer<float>>(n);
             for (index_t j = 0; j < n; ++j) (*scales)[j] = p->scales[j] * 0.0625f;
             gemm_options const o{.max_isa = i};
             return [=] {
               epilogue<to_real> e{};
               e.lhs_zero_point = 128;
               e.rescale.cols = vector_view<float const>{scales->data(), n, 1};
               e.dst_zero_point = 100;
               gemm(p->lhs(), p->packed, p->dst(), e, o);
               keep(p->y.data());
             };
           }});
    }
    for_each_type<conventions>([i](auto tag) { register_convention<typename decltype(tag)::type>(i); });
  }
}
QUERN_BENCH_CASES(register_conventions);

}  // namespace
}  // namespace quern::bench
