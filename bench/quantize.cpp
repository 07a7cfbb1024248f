// quantize/..., dequantize/..., requantize/..., dynamic_quantize/...: GB/s read and written, beside a memcpy of the same bytes.
//
// 4096 elements live in the first cache, 1 Mi in the second or third, 16 Mi in memory. The peak of each case is the memcpy of as many
// bytes, measured in the same run; of those with a scale for each row (of weights) or column (of activations) it is the case with one scale
// for all, measured in turn with it, so that `share` is 0.91 where they cost 10 % more. Every result is compared with
// reference/quantize.hpp before it is timed.
#include "peaks.hpp"
#include "support.hpp"

#include <quern/convert/convert.hpp>
#include <quern/reference/quantize.hpp>

#include <memory>
#include <utility>

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

/// GB/s of `one` while it and `other` are called in turn, 1 ms each.
double beside(body const& one, body const& other, double bytes) {
  double best = 1e9;
  for (int i = 0; i < 40; ++i) best = std::min(best, best_seconds(one, 1e-3)), (void)best_seconds(other, 1e-3);
  return bytes / best * 1e-9;
}

/// The call of a case, and that of the same with one scale for all.
struct in_turn {
  body one, itself;
};
/// What a case is compared with: the other call if there is one, else a memcpy.
std::function<double()> peak_of(std::shared_ptr<in_turn> const& calls, double bytes) {
  return [=] {
    if (!calls->one) return memcpy_gbs(bytes);
    double const gbs = beside(calls->one, calls->itself, bytes);
    *calls = {};  // and the memory they hold
    return gbs;
  };
}
template <class Scheme>
using with_one_scale = typename Scheme::template rebind<typename Scheme::code, per_tensor, typename Scheme::range>;
template <class Scheme>
std::string shape_name(index_t rows, index_t cols) {
  return Scheme::granularity::single ? std::to_string(rows * cols) : std::to_string(rows) + "x" + std::to_string(cols);
}

/// `limit`: values are within -limit .. limit. From 127.5 scales (118.6) on some saturate: with 119 one in 600.
template <class Scheme, class Form, class Real = float>
void add_quantize(std::string const& what, isa which, index_t rows, index_t cols, float limit = 110.0f) {
  using code = typename Scheme::storage;
  index_t const n = rows * cols;
  double const bytes = static_cast<double>(sizeof(Real) + 1) * static_cast<double>(n);
  auto const calls = std::make_shared<in_turn>();
  add({.name = "quantize/" + what + "/" + Form::name + "/" + name(which) + "/" + shape_name<Scheme>(rows, cols),
       .bytes = bytes,
       .peak = peak_of(calls, bytes),
       .prepare = [=](check& c) -> body {
         auto const reals = random_reals(n, -limit, limit, 1);
         auto const x = std::make_shared<buffer<Real>>(n);
         for (index_t i = 0; i < n; ++i) (*x)[i] = static_cast<Real>(reals[i]);
         auto const q = std::make_shared<buffer<code>>(n);
         auto const p = std::make_shared<params<Scheme>>(params_for<Scheme>(grid_of<typename Scheme::granularity>(rows, cols).count()));
         auto const with = [=](auto const& params) {
           quantize<round_to::half_even, Form>(row_major<Real const>(x->data(), rows, cols), params, row_major(q->data(), rows, cols),
                                               {.max_isa = which});
           keep(q->data());
         };
         auto const run = [=] { with(*p); };
         run();
         buffer<code> expected(n);
         reference::quantize<Scheme>(row_major<Real const>(x->data(), rows, cols), p->view(), row_major(expected.data(), rows, cols),
                                     std::is_same_v<Form, divide> ? reference::form::divide : reference::form::reciprocal);
         c.compare(q->data(), expected.data(), n);
         if constexpr (!Scheme::granularity::single)
           *calls = {[=, one = params_for<with_one_scale<Scheme>>(1)] { with(one); }, run};
         return run;
       }});
}

template <class Scheme>
void add_dequantize(std::string const& what, isa which, index_t rows, index_t cols) {
  using code = typename Scheme::storage;
  index_t const n = rows * cols;
  double const bytes = 5.0 * static_cast<double>(n);
  auto const calls = std::make_shared<in_turn>();
  add({.name = "dequantize/" + what + "/" + name(which) + "/" + shape_name<Scheme>(rows, cols),
       .bytes = bytes,
       .peak = peak_of(calls, bytes),
       .prepare = [=](check& c) -> body {
         auto const q = std::make_shared<buffer<code>>(random_integers<code>(n, Scheme::q_min, Scheme::q_max, 2));
         auto const x = std::make_shared<buffer<float>>(n);
         auto const p = std::make_shared<params<Scheme>>(params_for<Scheme>(grid_of<typename Scheme::granularity>(rows, cols).count()));
         auto const with = [=](auto const& params) {
           dequantize(row_major<code const>(q->data(), rows, cols), params, row_major(x->data(), rows, cols), {.max_isa = which});
           keep(x->data());
         };
         auto const run = [=] { with(*p); };
         run();
         buffer<float> expected(n);
         reference::dequantize<Scheme, float>(row_major<code const>(q->data(), rows, cols), p->view(), row_major(expected.data(), rows, cols));
         c.compare(x->data(), expected.data(), n);
         if constexpr (!Scheme::granularity::single)
           *calls = {[=, one = params_for<with_one_scale<Scheme>>(1)] { with(one); }, run};
         return run;
       }});
}

/// int32 of one scale, or of one for each row or column, to s8.
template <class Policy, class Granularity = per_tensor>
void add_requantize(std::string const& what, isa which, index_t rows, index_t cols) {
  using scheme_type = asymmetric<s8>;
  index_t const n = rows * cols;
  double const bytes = 5.0 * static_cast<double>(n);
  auto const calls = std::make_shared<in_turn>();
  add({.name = "requantize/s32-s8/" + what + "/" + name(which) + "/" + shape_name<asymmetric<s8, Granularity>>(rows, cols),
       .bytes = bytes,
       .peak = peak_of(calls, bytes),
       .prepare = [=](check& c) -> body {
         auto const acc = std::make_shared<buffer<std::int32_t>>(random_integers<std::int32_t>(n, -90000, 90000, 3));
         auto const q = std::make_shared<buffer<std::int8_t>>(n);
         params<scheme_type> const to{.scale = 0.9f, .zero_point = 5};
         auto const grid = grid_of<Granularity>(rows, cols);
         auto const scales = std::make_shared<buffer<float>>(grid.count());
         for (index_t i = 0; i < grid.count(); ++i) (*scales)[i] = 0.0011f - 0.00001f * static_cast<float>(i % 5);
         auto const with = [=]<class G>(G, index_t count) {
           requantize<Policy, G>(row_major<std::int32_t const>(acc->data(), rows, cols), params_view{scales->data(), nullptr, count}, to,
                                 row_major(q->data(), rows, cols), {.max_isa = which});
           keep(q->data());
         };
         auto const run = [=] { with(Granularity{}, scales->size()); };
         run();
         buffer<std::int8_t> expected(n);
         for (index_t i = 0; i < rows; ++i)
           for (index_t j = 0; j < cols; ++j) {
             index_t const at = grid.count() == 1 ? 0 : grid.steps[0] != 1 ? i : j;
             reference::requantize<scheme_type, Policy>(matrix_view<std::int32_t const>{acc->data() + i * cols + j, 1, 1, 1, 1}, 0,
                                                        Policy::from_real(static_cast<double>((*scales)[at]) / static_cast<double>(to.scale)), 5,
                                                        row_major(expected.data() + i * cols + j, 1, 1));
           }
         c.compare(q->data(), expected.data(), n);
         if constexpr (!Granularity::single) *calls = {[=] { with(per_tensor{}, 1); }, run};
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
      add_quantize<symmetric<s8, per_group<64>>, divide>("s8_per_group64", which, rows, 256);
      add_dequantize<symmetric<s8>>("s8", which, 1, n);
      add_dequantize<asymmetric<u8>>("u8", which, 1, n);
      add_requantize<rescale::float_multiply<>>("float", which, 1, n);
      add_requantize<rescale::gemmlowp_double>("gemmlowp_double", which, 1, n);
      add_dynamic(which, n);
    }
    for (auto const& [rows, cols] : {std::pair<index_t, index_t>{16, 256}, {64, 64}, {4096, 256}, {1024, 1024}, {65536, 256}, {4096, 4096}}) {
      add_quantize<symmetric<s8, per_channel<0>>, reciprocal>("s8_per_row", which, rows, cols);
      add_quantize<symmetric<s8, per_channel<0>>, divide>("s8_per_row", which, rows, cols);
      add_quantize<symmetric<s8, per_channel<1>>, reciprocal>("s8_per_column", which, rows, cols);
      add_quantize<symmetric<s8, per_channel<1>>, divide>("s8_per_column", which, rows, cols);
      add_dequantize<symmetric<s8, per_channel<0>>>("s8_per_row", which, rows, cols);
      add_dequantize<symmetric<s8, per_channel<1>>>("s8_per_column", which, rows, cols);
      add_requantize<rescale::float_multiply<>, per_channel<0>>("float_per_row", which, rows, cols);
      add_requantize<rescale::float_multiply<>, per_channel<1>>("float_per_column", which, rows, cols);
    }
  }
}
QUERN_BENCH_CASES(cases);

}  // namespace
}  // namespace quern::bench
