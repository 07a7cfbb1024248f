// convention.cpp — what a framework's arithmetic costs: the same product and the same quantization in every convention.
//
//     convention/<name>/<isa>/gemm-u8s8-u8/<m>x<n>x<k>/threads:1              scales one a column
//     convention/rescale_<name>/<isa>/gemm-u8s8-u8/<m>x<n>x<k>/threads:1      the arithmetics of rescale/rescales.hpp by themselves
//     convention/<name>/<isa>/quantize-f32-u8/<elements>/threads:1             no value saturates
//     convention/<name>/<isa>/quantize-f32-u8-saturating/<elements>/threads:1  one in 500 does
//
// "peak" of a product is that of epilogue<to_real>, measured beside it ("float"), so that "share" is what the arithmetic leaves of its
// speed. Every result is compared with the convention's definition of one element in the same place.
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

constexpr index_t sizes[] = {256, 512};
std::string size_name(index_t n) { return "gemm-u8s8-u8/" + std::to_string(n) + "x" + std::to_string(n) + "x" + std::to_string(n); }
double ops_of(index_t n) { return 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n); }

body float_product(isa i, index_t n) {
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
}
std::function<double()> float_gops(isa i, index_t n) {
  return [=] { return ops_of(n) / best_seconds(float_product(i, n)) * 1e-9; };
}

/// One arithmetic with parameters one a column.
template <class P>
void register_rescale(isa i) {
  for (index_t n : sizes)
    add({.name = convention_name((std::string("rescale_") + P::name).c_str(), i, size_name(n)),
         .ops = ops_of(n),
         .peak = float_gops(i, n),
         .prepare = [=](check& c) -> body {
           auto p = std::make_shared<product>(n);
           auto each = std::make_shared<buffer<typename P::parameters>>(n);
           for (index_t j = 0; j < n; ++j) (*each)[j] = P::from_real(static_cast<double>(p->scales[j]) * 0.0625);
           gemm_options const o{.max_isa = i};
           auto const run = [=] {
             epilogue<P> e{};
             e.lhs_zero_point = 128;
             e.rescale = vector_view<typename P::parameters const>{each->data(), n, 1};
             e.dst_zero_point = 100;
             gemm(p->lhs(), p->packed, p->dst(), e, o);
             keep(p->y.data());
           };
           run();
           buffer<std::int32_t> acc(n * n);
           buffer<std::uint8_t> expected(n * n);
           gemm(p->lhs(), p->packed, row_major(acc.data(), n, n), epilogue<>{.lhs_zero_point = 128}, o);
           for (index_t r = 0; r < n * n; ++r)
             expected[r] = static_cast<std::uint8_t>(std::clamp<std::int64_t>(std::int64_t{P::apply(acc[r], (*each)[r % n])} + 100, 0, 255));
           c.compare(p->y.data(), expected.data(), n * n);
           return run;
         }});
}

template <class C>
void register_convention(isa i) {
  for (index_t n : sizes) {
    add({.name = convention_name(C::name, i, size_name(n)),
         .ops = ops_of(n),
         .peak = float_gops(i, n),
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
  for (index_t n : {1 << 12, 1 << 16, 1 << 20})
    for (bool saturating : {false, true})
      add({.name = convention_name(C::name, i, quantize_name(n, saturating)),
           .bytes = 5.0 * static_cast<double>(n),
           .prepare = [=](check& c) -> body {
             auto x = std::make_shared<buffer<float>>(quantize_reals(n, saturating));
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
    for (index_t n : sizes)
      add({.name = convention_name("float", i, size_name(n)), .ops = ops_of(n), .prepare = [=](check&) { return float_product(i, n); }});
    for_each_type<rescales>([i](auto tag) { register_rescale<typename decltype(tag)::type>(i); });
    for_each_type<conventions>([i](auto tag) { register_convention<typename decltype(tag)::type>(i); });
  }
}
QUERN_BENCH_CASES(register_conventions);

}  // namespace
}  // namespace quern::bench
