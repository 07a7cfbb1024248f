// layer/<name>/<library>/<isa>/<types>/<shape>: the layers around the convolutions, in GB/s read and written.
//
// The peak of each case is a memcpy of as many bytes, measured in the same run. Tensors of 24 Mi codes and 96 images are out of cache, 64 Ki in
// it. Every result of ours is compared with the definition before it is timed; XNNPACK rounds differently (docs/conventions.md),
// so `wrong` is the share of its codes that are not TFLite's, and `max_diff` must be 1.
#include "peaks.hpp"
#include "support.hpp"

#include <quern/ops/elementwise.hpp>
#include <quern/ops/pool.hpp>
#include <quern/ops/table.hpp>
#include <quern/reference/layers.hpp>

#include <cstring>
#include <memory>

#ifdef QUERN_BENCH_XNNPACK
#include <xnnpack.h>
#endif

namespace quern::bench {
namespace {

using codes = std::shared_ptr<buffer<std::int8_t>>;
constexpr index_t slack = 128;  // XNNPACK reads behind its operands

codes random_codes(index_t n, unsigned seed) { return std::make_shared<buffer<std::int8_t>>(random_integers<std::int8_t>(n + slack, -128, 127, seed)); }
codes empty_codes(index_t n) { return std::make_shared<buffer<std::int8_t>>(n + slack); }
double memcpy_gbs(double bytes) { return copy_bandwidth(static_cast<std::size_t>(bytes / 2)); }

constexpr index_t lengths[] = {index_t{1} << 16, index_t{3} << 23};
// Scales as a calibration gives them. Those of the second sum are in a ratio of small integers, where many sums are ties.
constexpr fixed_point::affine lhs_params{0.0472f, -3}, rhs_params{0.0391f, 7}, sum_params{0.0673f, -11}, product_params{0.0149f, 2};
constexpr fixed_point::affine tie_params[] = {{0.1f, 3}, {0.17f, -4}, {0.2f, 5}};

template <class F>
void add_binary(std::string const& what, isa which, index_t n, F const& f) {
  double const bytes = 3.0 * static_cast<double>(n);
  add({.name = "layer/" + what + "/quern/" + name(which) + "/s8s8-s8/" + std::to_string(n),
       .bytes = bytes,
       .peak = [=] { return memcpy_gbs(bytes); },
       .prepare = [=](check& c) -> body {
         auto const a = random_codes(n, 1), b = random_codes(n, 2), y = empty_codes(n);
         shape const s = make_shape(n);
         auto const run = [=] {
           binary(nd<std::int8_t const>(a->data(), s), nd<std::int8_t const>(b->data(), s), nd(y->data(), s), f, which);
           keep(y->data());
         };
         run();
         buffer<std::int8_t> expected(n);
         for (index_t i = 0; i < n; ++i) expected[i] = static_cast<std::int8_t>(f((*a)[i], (*b)[i]));
         c.compare(y->data(), expected.data(), n);
         return run;
       }});
}

void add_table(isa which, index_t n) {
  double const bytes = 2.0 * static_cast<double>(n);
  add({.name = std::string("layer/table/quern/") + name(which) + "/s8-s8/" + std::to_string(n),
       .bytes = bytes,
       .peak = [=] { return memcpy_gbs(bytes); },
       .prepare = [=](check& c) -> body {
         auto const table = std::make_shared<byte_table<std::int8_t, std::int8_t>>(make_table<std::int8_t, std::int8_t>(lhs_params, {1.0f / 256, -128}, real_functions::logistic));
         auto const x = random_codes(n, 1), y = empty_codes(n);
         auto const run = [=] {
           apply(*table, vector_view<std::int8_t const>{x->data(), n}, vector_view<std::int8_t>{y->data(), n}, which);
           keep(y->data());
         };
         run();
         buffer<std::int8_t> expected(n);
         for (index_t i = 0; i < n; ++i) expected[i] = (*table)((*x)[i]);
         c.compare(y->data(), expected.data(), n);
         return run;
       }});
}

struct pool_case {
  char const* name;
  bool average;
  index_t n, size, c, kernel, stride;  // square images
};
constexpr pool_case pools[] = {{"max_pool", false, 1, 112, 64, 2, 2},  {"max_pool", false, 96, 112, 64, 2, 2},   {"max_pool", false, 96, 112, 64, 3, 2},
                               {"average_pool", true, 1, 112, 64, 2, 2}, {"average_pool", true, 96, 112, 64, 2, 2}, {"average_pool", true, 96, 112, 64, 3, 2},
                               {"global_average_pool", true, 1, 7, 1280, 7, 7}, {"global_average_pool", true, 1536, 7, 1280, 7, 7}};
index_t pooled(pool_case const& p) { return (p.size - p.kernel) / p.stride + 1; }
double pool_bytes(pool_case const& p) { return static_cast<double>(p.n * p.c * (p.size * p.size + pooled(p) * pooled(p))); }
std::string pool_shape(pool_case const& p) {
  return std::to_string(p.kernel) + "x" + std::to_string(p.kernel) + "_s" + std::to_string(p.stride) + "_" + std::to_string(p.n) + "x" + std::to_string(p.size) + "x" + std::to_string(p.size) + "x" + std::to_string(p.c);
}

void add_pool(pool_case const& p, isa which) {
  add({.name = std::string("layer/") + p.name + "/quern/" + name(which) + "/s8-s8/" + pool_shape(p),
       .bytes = pool_bytes(p),
       .peak = [=] { return memcpy_gbs(pool_bytes(p)); },
       .prepare = [=](check& c) -> body {
         index_t const out = pooled(p), n = p.n * out * out * p.c;
         auto const x = random_codes(p.n * p.size * p.size * p.c, 1), y = empty_codes(n);
         auto const src = nhwc<std::int8_t const>(x->data(), p.n, p.size, p.size, p.c);
         pool_options const o{.size = {p.kernel, p.kernel, 1}, .stride = {p.stride, p.stride, 1}};
         auto const run = [=] {
           static_cast<void>(x);  // owns what src shows
           auto const dst = nhwc(y->data(), p.n, out, out, p.c);
           if (p.average)
             average_pool2d(src, o, dst, {-128, 127}, which);
           else
             max_pool2d(src, o, dst, {-128, 127}, which);
           keep(y->data());
         };
         run();
         buffer<std::int8_t> expected(n);
         window const w = sliding_window("bench", {p.size, p.size, 1}, o.size, o.stride, {}, o.padding);
         if (p.average)
           reference::average_pool(src, w, nhwc(expected.data(), p.n, out, out, p.c));
         else
           reference::max_pool(src, w, nhwc(expected.data(), p.n, out, out, p.c));
         c.compare(y->data(), expected.data(), n);
         return run;
       }});
}

void add_memcpy(index_t n) {
  add({.name = "layer/copy/memcpy/-/s8-s8/" + std::to_string(n),
       .bytes = 2.0 * static_cast<double>(n),
       .peak = [=] { return memcpy_gbs(2.0 * static_cast<double>(n)); },
       .prepare = [=](check&) -> body {
         auto const x = random_codes(n, 1), y = empty_codes(n);
         return [=] {
           std::memcpy(y->data(), x->data(), static_cast<std::size_t>(n));
           keep(y->data());
         };
       }});
}

void register_layers() {
  for (index_t const n : lengths) {
    add_memcpy(n);
    for (isa const i : isas()) {
      add_binary("add", i, n, fixed_point::add<>::make(lhs_params, rhs_params, sum_params, {}, 20));
      add_binary("add_with_ties", i, n, fixed_point::add<>::make(tie_params[0], tie_params[1], tie_params[2], {}, 20));
      add_binary("mul", i, n, fixed_point::mul<>::make(lhs_params, rhs_params, product_params, {}));
      add_table(i, n);
    }
  }
  for (pool_case const& p : pools)
    for (isa const i : isas()) add_pool(p, i);
}
QUERN_BENCH_CASES(register_layers);

#ifdef QUERN_BENCH_XNNPACK
using xnn_operator = std::shared_ptr<std::remove_pointer_t<xnn_operator_t>>;

void add_xnnpack(std::string const& what, std::string const& rest, double bytes, std::function<body(check&)> prepare) {
  add({.name = "layer/" + what + "/xnnpack/best/" + rest,
       .bytes = bytes,
       .peak = [=] { return memcpy_gbs(bytes); },
       .prepare = [=](check& c) -> body {
         if (xnn_initialize(nullptr) != xnn_status_success) return c.skip("xnn_initialize failed"), body{};
         return prepare(c);
       },
       .own_process = true});
}
body refuse(check& c, char const* call) { return c.skip(std::string(call) + " failed"), body{}; }
body timed(check& c, xnn_operator const& op, codes const& y, std::vector<codes> const& kept, std::vector<std::int8_t> const& expected) {
  xnn_run_operator(op.get(), nullptr);
  c.compare(y->data(), expected.data(), static_cast<index_t>(expected.size()));
  return [op, kept] { xnn_run_operator(op.get(), nullptr); };
}

template <class F, class Make, class Setup>
void add_xnnpack_binary(std::string const& what, index_t n, F const& f, fixed_point::affine y_params, Make make, Setup setup) {
  add_xnnpack(what, "s8s8-s8/" + std::to_string(n), 3.0 * static_cast<double>(n), [=](check& c) -> body {
    auto const a = random_codes(n, 1), b = random_codes(n, 2), y = empty_codes(n);
    xnn_operator_t made = nullptr;
    auto const zero = [](fixed_point::affine p) { return static_cast<std::int8_t>(p.zero_point); };
    if (make(zero(lhs_params), lhs_params.scale, zero(rhs_params), rhs_params.scale, zero(y_params), y_params.scale, -128, 127, 0, &made) != xnn_status_success)
      return refuse(c, "xnn_create");
    xnn_operator const op(made, xnn_delete_operator);
    auto const size = static_cast<std::size_t>(n);
    if (setup(made, 1, &size, 1, &size, a->data(), b->data(), y->data(), nullptr) != xnn_status_success) return refuse(c, "xnn_setup");
    std::vector<std::int8_t> expected;
    for (index_t i = 0; i < n; ++i) expected.push_back(static_cast<std::int8_t>(f((*a)[i], (*b)[i])));
    return timed(c, op, y, {a, b, y}, expected);
  });
}

void register_layers_xnnpack() {
  for (index_t const n : lengths) {
    add_xnnpack_binary("add", n, fixed_point::add<>::make(lhs_params, rhs_params, sum_params, {}, 20), sum_params, xnn_create_add_nd_qs8, xnn_setup_add_nd_qs8);
    add_xnnpack_binary("mul", n, fixed_point::mul<>::make(lhs_params, rhs_params, product_params, {}), product_params, xnn_create_multiply_nd_qs8, xnn_setup_multiply_nd_qs8);
    add_xnnpack("table", "s8-s8/" + std::to_string(n), 2.0 * static_cast<double>(n), [=](check& c) -> body {
      auto const x = random_codes(n, 1), y = empty_codes(n);
      xnn_operator_t made = nullptr;
      if (xnn_create_sigmoid_nc_qs8(1, 1, 1, static_cast<std::int8_t>(lhs_params.zero_point), lhs_params.scale, -128, 1.0f / 256, -128, 127, 0, &made) != xnn_status_success)
        return refuse(c, "xnn_create_sigmoid_nc_qs8");
      xnn_operator const op(made, xnn_delete_operator);
      if (xnn_setup_sigmoid_nc_qs8(made, static_cast<std::size_t>(n), x->data(), y->data(), nullptr) != xnn_status_success) return refuse(c, "xnn_setup_sigmoid_nc_qs8");
      auto const table = make_table<std::int8_t, std::int8_t>(lhs_params, {1.0f / 256, -128}, real_functions::logistic);
      std::vector<std::int8_t> expected;
      for (index_t i = 0; i < n; ++i) expected.push_back(table((*x)[i]));
      return timed(c, op, y, {x, y}, expected);
    });
  }
  for (pool_case const& p : pools) {
    bool const global = p.kernel == p.size;
    if (p.average && !global) continue;  // it has uint8 only there
    add_xnnpack(p.name, "s8-s8/" + pool_shape(p), pool_bytes(p), [=](check& c) -> body {
      index_t const out = pooled(p), n = p.n * out * out * p.c;
      auto const x = random_codes(p.n * p.size * p.size * p.c, 1), y = empty_codes(n);
      auto const kernel = static_cast<std::uint32_t>(p.kernel), stride = static_cast<std::uint32_t>(p.stride);
      auto const channels = static_cast<std::size_t>(p.c), batch = static_cast<std::size_t>(p.n), size = static_cast<std::size_t>(p.size);
      xnn_operator_t made = nullptr;
      if ((global ? xnn_create_global_average_pooling_nwc_qs8(channels, channels, channels, 0, 1.0f, 0, 1.0f, -128, 127, 0, &made)
                  : xnn_create_max_pooling2d_nhwc_s8(0, 0, 0, 0, kernel, kernel, stride, stride, 1, 1, channels, channels, channels, -128, 127, 0, &made)) != xnn_status_success)
        return refuse(c, "xnn_create");
      xnn_operator const op(made, xnn_delete_operator);
      if ((global ? xnn_setup_global_average_pooling_nwc_qs8(made, batch, size * size, x->data(), y->data(), nullptr)
                  : xnn_setup_max_pooling2d_nhwc_s8(made, batch, size, size, x->data(), y->data(), nullptr)) != xnn_status_success)
        return refuse(c, "xnn_setup");
      std::vector<std::int8_t> expected(static_cast<std::size_t>(n));
      auto const src = nhwc<std::int8_t const>(x->data(), p.n, p.size, p.size, p.c);
      window const w = sliding_window("bench", {p.size, p.size, 1}, {p.kernel, p.kernel, 1}, {p.stride, p.stride, 1}, {}, valid);
      if (global)
        reference::average_pool(src, w, nhwc(expected.data(), p.n, out, out, p.c));
      else
        reference::max_pool(src, w, nhwc(expected.data(), p.n, out, out, p.c));
      return timed(c, op, y, {x, y}, expected);
    });
  }
}
QUERN_BENCH_CASES(register_layers_xnnpack);
#endif
}  // namespace
}  // namespace quern::bench
