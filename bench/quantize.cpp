// quantize/..., dequantize/..., requantize/..., dynamic_quantize/...: GB/s read and written, beside a memcpy of the same bytes.
//
// 4096 elements live in the first cache, 1 Mi in the second or third, 16 Mi in memory. The peak of each case is the memcpy of as many
// bytes, measured in the same run. Every result is compared with reference/quantize.hpp before it is timed.
#include "peaks.hpp"
#include "support.hpp"

#include <quern/convert/convert.hpp>
#include <quern/reference/quantize.hpp>

#include <memory>

namespace quern::bench {
namespace {

double memcpy_gbs(double bytes) { return copy_bandwidth(static_cast<std::size_t>(bytes / 2)); }

template <class Scheme>
params<Scheme> params_for(index_t count) {
  std::int32_t const zero = Scheme::fixed_zero_point ? Scheme::q_middle : Scheme::q_middle + 3;
  if constexpr (Scheme::granularity::single) {
    return {0.93f, zero};
  } else {
    auto p = params<Scheme>::with_size(count);
    for (index_t i = 0; i < count; ++i) p.set(i, {0.93f + 0.01f * static_cast<float>(i % 5), zero});
    return p;
  }
}

/// `limit`: values are within -limit .. limit. From 127.5 scales (118.6) on some saturate: with 119 one in 600.
template <class Scheme, class Form, class Real = float>
void add_quantize(std::string const& what, isa which, index_t rows, index_t cols, float limit = 110.0f) {
  using code = typename Scheme::storage;
  index_t const n = rows * cols;
  double const bytes = static_cast<double>(sizeof(Real) + 1) * static_cast<double>(n);
  add({.name = "quantize/" + what + "/" + Form::name + "/" + name(which) + "/" + std::to_string(n),
       .bytes = bytes,
       .peak = [bytes] { return memcpy_gbs(bytes); },
       .prepare = [=](check& c) -> body {
         auto const reals = random_reals(n, -limit, limit, 1);
         auto const x = std::make_shared<buffer<Real>>(n);
         for (index_t i = 0; i < n; ++i) (*x)[i] = static_cast<Real>(reals[i]);
         auto const q = std::make_shared<buffer<code>>(n);
         auto const p = std::make_shared<params<Scheme>>(params_for<Scheme>(grid_of<typename Scheme::granularity>(rows, cols).count()));
         auto const run = [=] {
           quantize<round_to::half_even, Form>(row_major<Real const>(x->data(), rows, cols), *p, row_major(q->data(), rows, cols),
                                               {.max_isa = which});
           keep(q->data());
         };
         run();
         buffer<code> expected(n);
         reference::quantize<Scheme>(row_major<Real const>(x->data(), rows, cols), p->view(), row_major(expected.data(), rows, cols),
                                     std::is_same_v<Form, divide> ? reference::form::divide : reference::form::reciprocal);
         c.compare(q->data(), expected.data(), n);
         return run;
       }});
}

template <class Scheme>
void add_dequantize(std::string const& what, isa which, index_t rows, index_t cols) {
  using code = typename Scheme::storage;
  index_t const n = rows * cols;
  double const bytes = 5.0 * static_cast<double>(n);
  add({.name = "dequantize/" + what + "/" + name(which) + "/" + std::to_string(n),
       .bytes = bytes,
       .peak = [bytes] { return memcpy_gbs(bytes); },
       .prepare = [=](check& c) -> body {
         auto const q = std::make_shared<buffer<code>>(random_integers<code>(n, Scheme::q_min, Scheme::q_max, 2));
         auto const x = std::make_shared<buffer<float>>(n);
         auto const p = std::make_shared<params<Scheme>>(params_for<Scheme>(grid_of<typename Scheme::granularity>(rows, cols).count()));
         auto const run = [=] {
           dequantize(row_major<code const>(q->data(), rows, cols), *p, row_major(x->data(), rows, cols), {.max_isa = which});
           keep(x->data());
         };
         run();
         buffer<float> expected(n);
         reference::dequantize<Scheme, float>(row_major<code const>(q->data(), rows, cols), p->view(), row_major(expected.data(), rows, cols));
         c.compare(x->data(), expected.data(), n);
         return run;
       }});
}

template <class Policy>
void add_requantize(std::string const& what, isa which, index_t n) {
  using scheme_type = asymmetric<s8>;
  double const bytes = 5.0 * static_cast<double>(n);
  add({.name = "requantize/s32-s8/" + what + "/" + name(which) + "/" + std::to_string(n),
       .bytes = bytes,
       .peak = [bytes] { return memcpy_gbs(bytes); },
       .prepare = [=](check& c) -> body {
         auto const acc = std::make_shared<buffer<std::int32_t>>(random_integers<std::int32_t>(n, -90000, 90000, 3));
         auto const q = std::make_shared<buffer<std::int8_t>>(n);
         params<scheme_type> const to{.scale = 0.9f, .zero_point = 5};
         auto const scale = std::make_shared<float>(0.0011f);
         auto const run = [=] {
           requantize<Policy>(vector_view<std::int32_t const>{acc->data(), n}, params_view{scale.get(), nullptr, 1}, to, view(*q),
                              {.max_isa = which});
           keep(q->data());
         };
         run();
         buffer<std::int8_t> expected(n);
         reference::requantize<scheme_type, Policy>(matrix_view<std::int32_t const>{acc->data(), 1, n, n, 1}, 0,
                                                    Policy::from_real(static_cast<double>(*scale) / static_cast<double>(to.scale)), 5,
                                                    row_major(expected.data(), 1, n));
         c.compare(q->data(), expected.data(), n);
         return run;
       }});
}

void add_dynamic(isa which, index_t n) {
  double const bytes = 9.0 * static_cast<double>(n);  // x is read twice
  add({.name = std::string("dynamic_quantize/u8/") + name(which) + "/" + std::to_string(n),
       .bytes = bytes,
       .peak = [bytes] { return memcpy_gbs(bytes); },
       .prepare = [=](check& c) -> body {
         auto const x = std::make_shared<buffer<float>>(random_reals(n, -1.0f, 3.0f, 4));
         auto const q = std::make_shared<buffer<std::uint8_t>>(n);
         auto const run = [=] {
           dynamic_quantize(vector_view<float const>{x->data(), n}, view(*q), {.max_isa = which});
           keep(q->data());
         };
         run();
         float lo = 0, hi = 0;
         for (float v : *x) lo = v < lo ? v : lo, hi = v > hi ? v : hi;
         auto const p = choose_params<asymmetric<u8>>(real_range{lo, hi});
         buffer<std::uint8_t> expected(n);
         reference::quantize<asymmetric<u8>>(matrix_view<float const>{x->data(), 1, n, n, 1}, p.view(), row_major(expected.data(), 1, n));
         c.compare(q->data(), expected.data(), n);
         return run;
       }});
}

void cases() {
  for (isa which : isas()) {
    if (which == isa::avx_vnni || which == isa::avx512_vnni || which == isa::amx_int8) continue;  // the code of the one before
    for (index_t rows : {16, 4096, 65536}) {
      index_t const n = rows * 256;
      add_quantize<symmetric<s8>, reciprocal>("s8", which, 1, n);
      add_quantize<symmetric<s8>, divide>("s8", which, 1, n);
      add_quantize<asymmetric<u8>, reciprocal>("u8", which, 1, n);
      add_quantize<asymmetric<u8>, divide>("u8", which, 1, n);
      add_quantize<symmetric<s8>, reciprocal>("s8_saturating", which, 1, n, 119.0f);
      add_quantize<symmetric<s8>, divide>("s8_saturating", which, 1, n, 119.0f);
      add_quantize<symmetric<s8>, reciprocal, half>("f16-s8", which, 1, n);
      add_quantize<symmetric<s8>, divide, half>("f16-s8", which, 1, n);
      add_quantize<symmetric<s8>, reciprocal, bfloat16>("bf16-s8", which, 1, n);
      add_quantize<symmetric<s8>, divide, bfloat16>("bf16-s8", which, 1, n);
      add_quantize<symmetric<s8, per_channel<0>>, reciprocal>("s8_per_row", which, rows, 256);
      add_quantize<symmetric<s8, per_channel<0>>, divide>("s8_per_row", which, rows, 256);
      add_quantize<symmetric<s8, per_channel<1>>, reciprocal>("s8_per_column", which, rows, 256);
      add_quantize<symmetric<s8, per_channel<1>>, divide>("s8_per_column", which, rows, 256);
      add_quantize<symmetric<s8, per_group<64>>, divide>("s8_per_group64", which, rows, 256);
      add_dequantize<symmetric<s8>>("s8", which, 1, n);
      add_dequantize<asymmetric<u8>>("u8", which, 1, n);
      add_dequantize<symmetric<s8, per_channel<1>>>("s8_per_column", which, rows, 256);
      add_requantize<rescale::float_multiply<>>("float", which, n);
      add_requantize<rescale::gemmlowp_double>("gemmlowp_double", which, n);
      add_dynamic(which, n);
    }
  }
}
QUERN_BENCH_CASES(cases);

}  // namespace
}  // namespace quern::bench
