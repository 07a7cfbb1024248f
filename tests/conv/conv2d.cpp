#include "support/catch.hpp"
#include "support/isas.hpp"

#include "problem.hpp"

#include <quern/dispatch/thread_pool.hpp>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>

using namespace conv_test;

namespace {
int allocations = 0;

void* counted_or_null(std::size_t bytes, std::size_t alignment) noexcept {
  ++allocations;
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment + (bytes == 0 ? alignment : 0));
}
void* counted(std::size_t bytes, std::size_t alignment) {
  void* const p = counted_or_null(bytes, alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
}  // namespace

// All that this program takes from the heap; arrays come through these as well.
void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) { return counted(bytes, static_cast<std::size_t>(alignment)); }
void* operator new(std::size_t bytes, std::nothrow_t const&) noexcept { return counted_or_null(bytes, alignof(std::max_align_t)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace {

/// Draws a geometry whose output is not empty.
geometry draw(numbers& random, bool transposed) {
  for (;;) {
    geometry g;
    g.batch = random(1, 2);
    g.h = random(1, 9), g.w = random(0, 2) == 0 ? random(10, 70) : random(1, 9);  // wide: whole tiles along a row
    g.options.groups = random(0, 3) == 0 ? random(2, 3) : 1;
    g.inputs = random(0, 4) == 0 ? random(15, 35) : random(1, 6);
    g.outputs = random(0, 4) == 0 ? random(15, 35) : random(1, 6);
    g.kernel = {random(1, 5), random(1, 5), 1};
    g.options.stride = {random(1, 3), random(1, 3), 1};
    g.options.dilation = {random(1, 3), random(1, 3), 1};
    switch (random(0, 3)) {
      case 0: g.options.padding = same; break;
      case 1: g.options.padding = same_lower; break;
      case 2: g.options.padding = pad(random(0, 2), random(0, 2), random(0, 2), random(0, 2)); break;
      default: break;
    }
    try {
      if (transposed)
        detail::spreading_window({g.h, g.w, 1}, {g.outputs, g.kernel, g.inputs}, g.options, {0, 0, 0});
      else
        sliding_window("draw", {g.h, g.w, 1}, g.kernel, g.options.stride, g.options.dilation, g.options.padding);
      return g;
    } catch (error const&) {
    }
  }
}

template <class Src, class Weight>
void compare(numbers& random, geometry const& g, bool transposed, int low, int high) {
  using stored = typename code_of_t<Weight>::storage;
  index_t const groups = g.options.groups, ci = g.inputs * groups, co = g.outputs * groups;
  bool const at_end = random(0, 1) == 0;
  support::guarded<Src> x(g.batch * g.h * g.w * ci, at_end);
  support::guarded<stored> w(co * g.kernel.h * g.kernel.w * g.inputs, at_end);
  random.fill(x.data(), x.size());
  random.fill(w.data(), w.size(), low, high);
  // Zero points at both ends, where the padding's contribution is largest.
  int const ends = random(0, 2);
  std::int32_t const zero = ends == 0 ? code_of_t<Src>::min : ends == 1 ? code_of_t<Src>::max : random(code_of_t<Src>::min, code_of_t<Src>::max);
  std::int32_t const weight_zero = std::is_same_v<stored, std::uint8_t> ? random(0, code_of_t<Weight>::max) : 0;
  window const win = transposed ? detail::spreading_window({g.h, g.w, 1}, {co, g.kernel, g.inputs}, g.options, {0, 0, 0})
                                : sliding_window("test", {g.h, g.w, 1}, g.kernel, g.options.stride, g.options.dilation, g.options.padding);
  auto const src = nhwc(static_cast<Src const*>(x.data()), g.batch, g.h, g.w, ci);
  auto const ohwi = nhwc(static_cast<stored const*>(w.data()), co, g.kernel.h, g.kernel.w, g.inputs);
  index_t const out = g.batch * win.h.out * win.w.out * co;
  output_stage const stage(random, co, g.kernel.h * g.kernel.w * g.inputs);

  std::vector<std::int32_t> acc(static_cast<std::size_t>(out));
  std::vector<std::int8_t> codes(acc.size());
  auto const acc_view = nhwc(acc.data(), g.batch, win.h.out, win.w.out, co);
  auto const code_view = nhwc(codes.data(), g.batch, win.h.out, win.w.out, co);
  auto const output = [&, slow = stage.slow()](index_t b, index_t, index_t y, index_t xx, index_t c, std::int64_t a) {
    acc_view(b, y, xx, c) = static_cast<std::int32_t>(a);
    code_view(b, y, xx, c) = static_cast<std::int8_t>(slow(a, c));
  };
  auto const filter = reference::ohwi(static_cast<stored const*>(w.data()), co, g.kernel.h, g.kernel.w, g.inputs);
  if (transposed)
    reference::convolve_transposed<Src, stored>(src, filter, win, groups, zero, output);
  else
    reference::convolve<Src, stored>(src, filter, win, groups, zero, [&](index_t) { return weight_zero; }, output);

  auto const packed = transposed ? pack_transposed_conv<Weight>(ohwi, g.options) : pack_conv<Weight>(ohwi, g.options);
  support::guarded<std::int32_t> y32(out, at_end);
  support::guarded<std::int8_t> y8(out, at_end);
  auto const dst32 = nhwc(y32.data(), g.batch, win.h.out, win.w.out, co);
  auto const dst8 = nhwc(y8.data(), g.batch, win.h.out, win.w.out, co);
  epilogue<> plain{.lhs_zero_point = zero, .rhs_zero_point = weight_zero};
  auto fused = stage.fast(zero);
  fused.rhs_zero_point = weight_zero;
  support::for_each_native_isa([&](isa i) {
    for (index_t k = 0; k < out; ++k) y32[k] = 77, y8[k] = 77;
    if (transposed) {
      transposed_conv2d(src, packed, dst32, plain);
      transposed_conv2d(src, packed, dst8, fused);
    } else {
      conv2d(src, packed, dst32, plain);
      conv2d(src, packed, dst8, fused);
    }
    INFO(name(i) << ": " << g.h << "x" << g.w << "x" << g.inputs << " -> " << g.outputs << ", groups " << groups << ", kernel " << g.kernel.h << "x" << g.kernel.w
                 << ", stride " << g.options.stride.h << "," << g.options.stride.w << ", dilation " << g.options.dilation.h << "," << g.options.dilation.w
                 << ", padding rule " << static_cast<int>(g.options.padding.rule) << ", zero point " << zero << (transposed ? ", transposed" : ""));
    REQUIRE(std::equal(acc.begin(), acc.end(), y32.data()));
    REQUIRE(std::equal(codes.begin(), codes.end(), y8.data()));
  });
}

void sweep(unsigned seed, int cases) {
  numbers random(seed);
  for (int n = 0; n < cases; ++n) {
    bool const transposed = n % 4 == 3;
    auto const g = draw(random, transposed);
    switch (n % 3) {
      case 0: compare<std::int8_t, std::int8_t>(random, g, transposed, -128, 127); break;
      case 1: compare<std::uint8_t, std::int8_t>(random, g, transposed, -128, 127); break;
      default: compare<std::int8_t, s4>(random, g, transposed, -8, 7); break;
    }
    if (n % 5 == 0 && !transposed) compare<std::uint8_t, std::uint8_t>(random, g, false, 0, 255);
    if (n % 5 == 1 && !transposed) compare<std::uint8_t, u4>(random, g, false, 0, 15);
  }
}

}  // namespace

TEST_CASE("convolutions equal their definition on every instruction set", "[conv]") { sweep(11, 250); }
TEST_CASE("convolutions equal their definition, at length", "[conv][.exhaustive]") { sweep(12, 20000); }

TEST_CASE("every small geometry, and every pair of channel counts up to two panels and one", "[conv]") {
  numbers random(3);
  std::set<std::pair<index_t, index_t>> channels;
  every_geometry(false, [&](int n, axis_case const& v, axis_case const& h, padding_rule rule) {
    geometry g{.h = v.in, .w = h.in, .inputs = 1 + n % 33, .outputs = 1 + n / 33 % 33, .kernel = {v.kernel, h.kernel, 1}};
    channels.insert({g.inputs, g.outputs});
    g.options = {.stride = {v.stride, h.stride, 1}, .dilation = {v.dilation, h.dilation, 1}, .padding = {rule, v.before, v.after, h.before, h.after}};
    if (n % 23 == 0) g.options.groups = 2 + n % 2;
    if (n % 29 == 0) g.batch = 2;
    switch (n % 4) {
      case 0: return compare<std::int8_t, std::int8_t>(random, g, false, -128, 127);
      case 1: return compare<std::uint8_t, std::int8_t>(random, g, false, -128, 127);
      case 2: return compare<std::int8_t, s4>(random, g, false, -8, 7);
      default: return n % 8 == 3 ? compare<std::uint8_t, std::uint8_t>(random, g, false, 0, 255) : compare<std::uint8_t, u4>(random, g, false, 0, 15);
    }
  });
  REQUIRE(channels.size() == 33 * 33);
}

TEST_CASE("products left out in the padding", "[conv]") {
  numbers random(8);
  // Whole tiles at one or both ends of a line, borders of 1 to 4, kernels that reach over the image, planes of a volume.
  for (index_t const width : {7, 12, 14, 24, 28})
    for (auto const& [kernel, border] : {std::pair<index_t, index_t>{3, 1}, {3, 2}, {5, 2}, {5, 4}, {7, 3}})
      for (index_t stride = 1; stride <= 2; ++stride) {
        index_t const w = (width - 1) * stride + kernel - 2 * border;
        if (w < 1) continue;
        geometry g{.h = random(1, 6), .w = w, .inputs = random(1, 4) * 4, .outputs = random(0, 1) == 0 ? 32 : random(17, 49), .kernel = {kernel, kernel, 1}};
        if (g.h + 2 * border < kernel) g.h = kernel;
        g.options = {.stride = {random(1, 2), stride, 1}, .dilation = {random(1, 2), 1, 1}, .padding = pad(border + 2, border + 1, border, border), .groups = random(1, 2)};
        if (g.h + 2 * border + 3 < (kernel - 1) * g.options.dilation.h + 1) g.options.dilation.h = 1;
        compare<std::int8_t, std::int8_t>(random, g, false, -128, 127);
        compare<std::uint8_t, std::int8_t>(random, g, false, -128, 127);
      }
  std::vector<std::int8_t> x(2 * 3 * 5 * 14 * 8), w(32 * 3 * 3 * 8);
  random.fill(x.data(), static_cast<index_t>(x.size()));
  random.fill(w.data(), static_cast<index_t>(w.size()));
  volume_view<std::int8_t const> const src(x.data(), 2, 3, 5, 14, 8);
  conv_options const o{.padding = pad(1, 1, 1, 1)};
  window const win = sliding_window("test", {5, 14, 3}, {3, 3, 1}, {}, {}, o.padding);
  std::vector<std::int32_t> expected(static_cast<std::size_t>(2 * win.positions() * 32)), y(expected.size());
  volume_view<std::int32_t> const e(expected.data(), 2, 3, 5, 14, 32), dst(y.data(), 2, 3, 5, 14, 32);
  reference::convolve<std::int8_t, std::int8_t>(src, reference::ohwi(static_cast<std::int8_t const*>(w.data()), 32, 3, 3, 8), win, 1, 11, reference::no_zero_point{},
                                                [&](index_t b, index_t z, index_t yy, index_t xx, index_t c, std::int64_t a) { e(b, z, yy, xx, c) = static_cast<std::int32_t>(a); });
  support::for_each_native_isa([&](isa i) {
    INFO(name(i));
    conv3d(src, pack_conv(volume_view<std::int8_t const>(w.data(), 32, 1, 3, 3, 8), o), dst, epilogue<>{.lhs_zero_point = 11});
    REQUIRE(y == expected);
  });
}

TEST_CASE("every small geometry of a transposed convolution", "[conv]") {
  numbers random(4);
  every_geometry(true, [&](int n, axis_case const& v, axis_case const& h, padding_rule rule) {
    geometry g{.h = v.in, .w = h.in, .inputs = 1 + n % 5, .outputs = 1 + n / 5 % 3, .kernel = {v.kernel, h.kernel, 1}};
    g.options = {.stride = {v.stride, h.stride, 1}, .dilation = {v.dilation, h.dilation, 1}, .padding = {rule, v.before, v.after, h.before, h.after}};
    if (n % 23 == 0) g.options.groups = 2;
    if (n % 2 == 0)
      compare<std::int8_t, std::int8_t>(random, g, true, -128, 127);
    else
      compare<std::uint8_t, std::int8_t>(random, g, true, -128, 127);
  });
}

TEST_CASE("every small geometry with all channel counts", "[conv][.exhaustive]") {
  numbers random(6);
  every_geometry(false, [&](int, axis_case const& v, axis_case const& h, padding_rule rule) {
    for (index_t c = 1; c <= 33; ++c) {
      geometry g{.h = v.in, .w = h.in, .inputs = c, .outputs = random(1, 33), .kernel = {v.kernel, h.kernel, 1}};
      g.options = {.stride = {v.stride, h.stride, 1}, .dilation = {v.dilation, h.dilation, 1}, .padding = {rule, v.before, v.after, h.before, h.after}};
      compare<std::int8_t, std::int8_t>(random, g, false, -128, 127);
    }
  });
}

TEST_CASE("the emulated instruction sets convolve alike", "[conv]") {
  numbers random(5);
  for (int n = 0; n < 7; ++n) {
    auto g = draw(random, false);
    // Large enough for AMX: whole windows of one and of several blocks of k, and three channels.
    if (n == 4) g = {.h = 8, .w = 9, .inputs = 64, .outputs = 33, .kernel = {3, 3, 1}, .options = {.padding = same}};
    if (n == 5) g = {.h = 8, .w = 8, .inputs = 140, .outputs = 16, .kernel = {3, 3, 1}, .options = {.padding = pad(1, 0, 0, 1)}};
    if (n == 6) g = {.h = 20, .w = 22, .inputs = 3, .outputs = 40, .kernel = {7, 7, 1}, .options = {.stride = {2, 2}, .padding = same}};
    std::vector<std::int8_t> x(static_cast<std::size_t>(g.batch * g.h * g.w * g.inputs * g.options.groups)), w(static_cast<std::size_t>(g.outputs * g.options.groups * g.kernel.h * g.kernel.w * g.inputs));
    random.fill(x.data(), static_cast<index_t>(x.size()));
    random.fill(w.data(), static_cast<index_t>(w.size()));
    auto const src = nhwc(static_cast<std::int8_t const*>(x.data()), g.batch, g.h, g.w, g.inputs * g.options.groups);
    auto const packed = pack_conv(nhwc(w.data(), g.outputs * g.options.groups, g.kernel.h, g.kernel.w, g.inputs), g.options);
    shape const s = output_shape(make_shape(g.batch, g.h, g.w, g.inputs * g.options.groups), ohwi_shape(g.outputs * g.options.groups, g.kernel.h, g.kernel.w, g.inputs), g.options);
    std::vector<std::int32_t> first;
    support::for_each_isa([&](isa i) {
      std::vector<std::int32_t> y(static_cast<std::size_t>(s.size()));
      conv2d(src, packed, nhwc(y.data(), s[0], s[1], s[2], s[3]), epilogue<>{.lhs_zero_point = 9});
      if (first.empty()) first = y;
      INFO(name(i));
      REQUIRE(y == first);
    });
  }
}

TEST_CASE("a volume is convolved like its definition, and an image of height 1 is a signal", "[conv]") {
  numbers random(21);
  std::vector<std::int8_t> x(2 * 4 * 5 * 6 * 3), w(7 * 2 * 3 * 2 * 3);
  random.fill(x.data(), static_cast<index_t>(x.size()));
  random.fill(w.data(), static_cast<index_t>(w.size()));
  volume_view<std::int8_t const> const src(x.data(), 2, 4, 5, 6, 3);
  volume_view<std::int8_t const> const weights(w.data(), 7, 2, 3, 2, 3);
  for (auto const& p : {valid, same, pad(1, 0, 1, 1, 1, 2)})
    for (index_t s = 1; s <= 2; ++s) {
      conv_options const o{.stride = {s, s, s}, .dilation = {1, 2, 1}, .padding = p};
      window const win = sliding_window("test", {5, 6, 4}, {3, 2, 2}, o.stride, o.dilation, o.padding);
      std::vector<std::int32_t> expected(static_cast<std::size_t>(2 * win.positions() * 7)), y(expected.size());
      volume_view<std::int32_t> const e(expected.data(), 2, win.d.out, win.h.out, win.w.out, 7), dst(y.data(), 2, win.d.out, win.h.out, win.w.out, 7);
      reference::convolve<std::int8_t, std::int8_t>(src, reference::ohwi(static_cast<std::int8_t const*>(w.data()), 7, 3, 2, 3, 2), win, 1, -4, reference::no_zero_point{},
                                                    [&](index_t b, index_t z, index_t yy, index_t xx, index_t c, std::int64_t a) { e(b, z, yy, xx, c) = static_cast<std::int32_t>(a); });
      conv3d(src, pack_conv(weights, o), dst, epilogue<>{.lhs_zero_point = -4});
      REQUIRE(y == expected);
    }
  // A signal of 12 samples, 2 channels; kernel 3.
  std::vector<std::int32_t> y(10 * 4);
  conv2d(nhwc(static_cast<std::int8_t const*>(x.data()), 1, 1, 12, 2), pack_conv(nhwc(w.data(), 4, 1, 3, 2)), nhwc(y.data(), 1, 1, 10, 4));
  std::int32_t by_hand = 0;
  for (int k = 0; k < 6; ++k) by_hand += x[static_cast<std::size_t>(2 * 5 + k)] * w[static_cast<std::size_t>(6 * 3 + k)];
  REQUIRE(y[5 * 4 + 3] == by_hand);
}

TEST_CASE("padding contributes exactly the zero point", "[conv]") {
  // An image of zero points convolves to the bias everywhere, corners included, whatever the weights.
  for (int zero : {-128, -1, 0, 127}) {
    std::vector<std::int8_t> x(5 * 5 * 3, static_cast<std::int8_t>(zero)), w(4 * 3 * 3 * 3, std::int8_t{-128});
    std::vector<std::int32_t> bias{1, -2, 3, -4}, y(5 * 5 * 4);
    conv2d(nhwc(static_cast<std::int8_t const*>(x.data()), 1, 5, 5, 3), pack_conv(nhwc(w.data(), 4, 3, 3, 3), {.padding = same}), nhwc(y.data(), 1, 5, 5, 4),
           epilogue<>{.lhs_zero_point = zero, .bias = view(bias.data(), 4)});
    for (std::size_t i = 0; i < y.size(); ++i) REQUIRE(y[i] == bias[i % 4]);
  }
}

TEST_CASE("rows with gaps, residuals and functors land where they belong", "[conv]") {
  numbers random(33);
  index_t const h = 6, w = 7, ci = 5, co = 18;
  std::vector<std::int8_t> x(static_cast<std::size_t>(h * (w + 2) * (ci + 3))), k(static_cast<std::size_t>(co * 9 * ci)), y(static_cast<std::size_t>(h * (w + 1) * (co + 4)), 99);
  std::vector<std::int8_t> r(static_cast<std::size_t>(h * w * co));
  random.fill(x.data(), static_cast<index_t>(x.size()));
  random.fill(k.data(), static_cast<index_t>(k.size()));
  random.fill(r.data(), static_cast<index_t>(r.size()));
  tensor_view<std::int8_t const> const src{x.data(), 1, h, w, ci, h * (w + 2) * (ci + 3), (w + 2) * (ci + 3), ci + 3, 1};
  tensor_view<std::int8_t> const dst{y.data(), 1, h, w, co, h * (w + 1) * (co + 4), (w + 1) * (co + 4), co + 4, 1};
  output_stage const stage(random, co, 9 * ci);
  using add_one = decltype([](std::int32_t v, index_t row, index_t column) { return v + static_cast<std::int32_t>(row % 3) - static_cast<std::int32_t>(column % 2); });
  epilogue<rescale::gemmlowp_double, residual<std::int8_t, rescale::gemmlowp_double>, add_one> e{};
  auto const base = stage.fast(3);
  e.lhs_zero_point = base.lhs_zero_point, e.bias = base.bias, e.rescale = base.rescale, e.dst_zero_point = -7, e.min = -120, e.max = 110;
  e.residual = {.from = row_major(r.data(), h * w, co), .zero_point = 2, .rescale = rescale::quantize_multiplier(0.75)};
  window const win = sliding_window("test", {h, w, 1}, {3, 3, 1}, {1, 1, 1}, {1, 1, 1}, same);
  auto const packed = pack_conv(nhwc(k.data(), co, 3, 3, ci), {.padding = same});
  support::for_each_native_isa([&](isa i) {
    std::fill(y.begin(), y.end(), std::int8_t{99});
    conv2d(src, packed, dst, e);
    INFO(name(i));
    reference::convolve<std::int8_t, std::int8_t>(src, reference::ohwi(static_cast<std::int8_t const*>(k.data()), co, 3, 3, ci), win, 1, 3, reference::no_zero_point{},
                                                  [&](index_t, index_t, index_t yy, index_t xx, index_t c, std::int64_t a) {
                                                    index_t const row = yy * w + xx;
                                                    std::int32_t v = rescale::gemmlowp_double::apply(static_cast<std::int32_t>(a + stage.bias[static_cast<std::size_t>(c)]), stage.multipliers[static_cast<std::size_t>(c)]);
                                                    v += rescale::gemmlowp_double::apply(r[static_cast<std::size_t>(row * co + c)] - 2, e.residual.rescale);
                                                    v += static_cast<std::int32_t>(row % 3) - static_cast<std::int32_t>(c % 2);
                                                    REQUIRE(dst(0, yy, xx, c) == clamp(v - 7, -120, 110));
                                                  });
    for (index_t yy = 0; yy < h; ++yy)  // the gaps are as they were
      for (index_t xx = 0; xx < w; ++xx)
        for (index_t c = co; c < co + 4; ++c) REQUIRE(dst.data[yy * dst.h_stride + xx * dst.w_stride + c] == 99);
  });
}

TEST_CASE("a residual may be the destination itself, and nothing else of it", "[conv]") {
  numbers random(37);
  index_t const n = 2, h = 7, w = 20, c = 18, size = 4 * n * h * w * c;
  std::vector<std::int8_t> x(static_cast<std::size_t>(n * h * w * c)), k(static_cast<std::size_t>(c * 9 * c)), r(static_cast<std::size_t>(size) + 1), apart(r.size()), same_elements(r.size());
  random.fill(x.data(), static_cast<index_t>(x.size()));
  random.fill(k.data(), static_cast<index_t>(k.size()));
  random.fill(r.data(), static_cast<index_t>(r.size()));
  auto const src = nhwc(static_cast<std::int8_t const*>(x.data()), n, h, w, c);
  auto const filter = nhwc(static_cast<std::int8_t const*>(k.data()), c, 3, 3, c);
  auto const packed = pack_conv(filter, {.padding = same});
  auto const spread = pack_transposed_conv(filter, {.stride = {2, 2}, .padding = same});
  auto const each = pack_depthwise(nhwc(static_cast<std::int8_t const*>(k.data()), 1, 3, 3, c), {.padding = same});
  epilogue<rescale::gemmlowp_double, residual<std::int8_t, rescale::gemmlowp_double>> e{};
  e.rescale = rescale::quantize_multiplier(0.001);
  for (int kind = 0; kind < 3; ++kind) {
    index_t const positions = n * h * w * (kind == 2 ? 4 : 1);
    auto const run = [&](std::int8_t const* from, std::int8_t* to, isa i) {
      e.residual = {.from = row_major(from, positions, c), .zero_point = 2, .rescale = rescale::quantize_multiplier(0.75)};
      if (kind == 0) conv2d(src, packed, nhwc(to, n, h, w, c), e, {.max_isa = i});
      if (kind == 1) depthwise_conv2d(src, each, nhwc(to, n, h, w, c), e, {.max_isa = i});
      if (kind == 2) transposed_conv2d(src, spread, nhwc(to, n, 2 * h, 2 * w, c), e, {.max_isa = i});
    };
    support::for_each_native_isa([&](isa i) {
      INFO(name(i) << ", " << kind);
      apart = same_elements = r;
      run(r.data(), apart.data(), i);
      run(same_elements.data(), same_elements.data(), i);
      CHECK(apart == same_elements);
    });
    same_elements = r;
    for (int back = 0; back < 2; ++back)
      try {
        run(same_elements.data() + back, same_elements.data() + 1 - back, isa::best);
        FAIL("not refused");
      } catch (error const& refused) {
        CHECK(refused.code() == errc::overlap);
        CHECK(std::string(refused.what()).find("dst overlaps epilogue.residual") != std::string::npos);
      }
    CHECK(same_elements == r);
  }
}

TEST_CASE("with a workspace of the size asked for the same codes come out", "[conv]") {
  numbers random(41);
  std::vector<std::int8_t> x(8 * 8 * 16), w(24 * 3 * 3 * 16), y(8 * 8 * 24), again(y.size());
  random.fill(x.data(), static_cast<index_t>(x.size()));
  random.fill(w.data(), static_cast<index_t>(w.size()));
  auto const src = nhwc(static_cast<std::int8_t const*>(x.data()), 1, 8, 8, 16);
  auto const filter = nhwc(static_cast<std::int8_t const*>(w.data()), 24, 3, 3, 16);
  conv_options const o{.padding = same};
  output_stage const stage(random, 24, 144);
  auto const e = stage.fast(-3);
  buffer<unsigned char> memory(packed_conv_size<std::int8_t>(ohwi_shape(24, 3, 3, 16), o));
  auto const packed = pack_conv(filter, o, {memory.data(), memory.size()});
  conv2d(src, packed, nhwc(y.data(), 1, 8, 8, 24), e);
  auto const dst = nhwc(again.data(), 1, 8, 8, 24);
  index_t const bytes = conv_workspace(src, packed, dst, e);
  buffer<unsigned char> workspace(bytes);
  conv2d(src, packed, dst, e, {.workspace = {workspace.data(), bytes}});
  REQUIRE(y == again);
  // Threads, each with its band of rows and its panels.
  thread_pool pool(3);
  support::for_each_native_isa([&](isa i) {
    std::fill(again.begin(), again.end(), std::int8_t{99});
    conv2d(src, packed, dst, e, {.executor = pool});
    INFO(name(i));
    REQUIRE(y == again);
    std::fill(again.begin(), again.end(), std::int8_t{99});
    index_t const shared = conv_workspace(src, packed, dst, e, {.executor = pool});
    support::guarded<unsigned char> memory((shared + 63) / 64 * 64);
    conv2d(src, packed, dst, e, {.executor = pool, .workspace = {memory.data(), shared}});
    REQUIRE(y == again);
  });
  REQUIRE_THROWS_AS(conv2d(src, packed, dst, e, {.workspace = {workspace.data(), bytes - 64}}), error);
  REQUIRE_THROWS_AS(conv2d(src, packed, dst, e, {.workspace = {workspace.data() + 1, bytes}}), error);
  // Transposed: all phases in turn, and nothing is written by the first when the last does not fit.
  auto const spread = pack_transposed_conv(filter, {.stride = {2, 2}, .padding = same});
  std::vector<std::int8_t> large(16 * 16 * 24), same_large(large.size(), std::int8_t{55});
  transposed_conv2d(src, spread, nhwc(large.data(), 1, 16, 16, 24), e);
  auto const to = nhwc(same_large.data(), 1, 16, 16, 24);
  index_t const needed = transposed_conv_workspace(src, spread, to, e);
  buffer<unsigned char> own(needed);
  REQUIRE_THROWS_AS(transposed_conv2d(src, spread, to, e, {.workspace = {own.data(), needed - 1}}), error);
  for (auto v : same_large) REQUIRE(v == 55);
  transposed_conv2d(src, spread, to, e, {.workspace = {own.data(), needed}});
  REQUIRE(large == same_large);
}

TEST_CASE("with the caller's workspace nothing is allocated", "[conv]") {
  std::string who;
  int calls = 0, before_any = 0;
  // On a thread of its own, which has kept no memory from earlier calls.
  std::thread([&] {
    numbers random(43);
    std::vector<std::int8_t> x(2 * 9 * 9 * 40), w(40 * 5 * 5 * 40), y(2 * 18 * 18 * 40);
    random.fill(x.data(), static_cast<index_t>(x.size()), -7, 7);
    random.fill(w.data(), static_cast<index_t>(w.size()), -7, 7);
    output_stage const stage(random, 40, 100);
    buffer<unsigned char> memory(1 << 22);
    auto const quiet = [&](char const* what, isa i, index_t bytes, auto&& run) {
      int const before = allocations;
      run(gemm_options{.max_isa = i, .workspace = {memory.data(), bytes}});
      ++calls;
      if (allocations != before) who += std::string(" ") + what + " on " + name(i);
    };
    auto const src = nhwc(static_cast<std::int8_t const*>(x.data()), 2, 9, 9, 40);
    auto const unsigned_src = nhwc(reinterpret_cast<std::uint8_t const*>(x.data()), 2, 9, 9, 40);
    auto const filter = [&](index_t k, index_t inputs) { return nhwc(static_cast<std::int8_t const*>(w.data()), 40, k, k, inputs); };
    auto const fused = stage.fast(3);
    epilogue<> const asymmetric{.lhs_zero_point = 3, .rhs_zero_point = 5};
    auto const to = [&](index_t h) { return nhwc(y.data(), 2, h, h, 40); };
    for (isa i : all_isas) {
      if (!supported(i)) continue;
      gemm_options const o{.max_isa = i};
      auto const conv = [&](char const* what, auto const& from, auto const& packed, index_t h, auto const& e) {
        quiet(what, i, conv_workspace(from, packed, to(h), e, o), [&](gemm_options const& with) { conv2d(from, packed, to(h), e, with); });
      };
      conv("1x1", src, pack_conv(filter(1, 40)), 9, fused);
      conv("3x3", src, pack_conv(filter(3, 40), {.padding = same}), 9, fused);
      conv("3x3, stride 2", unsigned_src, pack_conv(filter(3, 40), {.stride = {2, 2}, .padding = same}), 5, fused);
      conv("5x5, dilated", src, pack_conv(filter(5, 40), {.dilation = {2, 2}, .padding = same}), 9, fused);
      conv("4 groups", src, pack_conv(filter(3, 10), {.padding = same, .groups = 4}), 9, fused);
      conv("int4", src, pack_conv<s4>(filter(3, 40), {.padding = same}), 9, fused);
      conv("asymmetric weights", src, pack_conv(filter(3, 40), {.padding = same}), 9, asymmetric);
      auto const spread = pack_transposed_conv(filter(3, 40), {.stride = {2, 2}, .padding = same});
      quiet("transposed", i, transposed_conv_workspace(src, spread, to(18), fused, o), [&](gemm_options const& with) { transposed_conv2d(src, spread, to(18), fused, with); });
      auto const depthwise = [&](char const* what, auto const& from, auto const& packed, index_t h, auto const& e) {
        quiet(what, i, depthwise_workspace(from, packed, to(h), e, o), [&](gemm_options const& with) { depthwise_conv2d(from, packed, to(h), e, with); });
      };
      auto const taps = nhwc(static_cast<std::int8_t const*>(w.data()), 1, 3, 3, 40);
      depthwise("depthwise", src, pack_depthwise(taps, {.padding = same}), 9, fused);
      depthwise("depthwise, stride 2", src, pack_depthwise(taps, {.stride = {2, 2}, .padding = same}), 5, fused);
      depthwise("depthwise, asymmetric", src, pack_depthwise(taps, {.padding = same}), 9, asymmetric);
      auto const ten = nhwc(static_cast<std::int8_t const*>(x.data()), 2, 9, 9, 10);
      depthwise("depthwise, 4 outputs a channel", ten, pack_depthwise(taps, {.padding = same}), 9, fused);
    }
    int const before = allocations;  // the counter does count
    conv2d(src, pack_conv(filter(1, 40)), to(9), fused);
    before_any = allocations - before;
  }).join();
  REQUIRE(calls > 0);
  REQUIRE(who == "");
  REQUIRE(before_any > 1);
}

TEST_CASE("mistakes are told before anything is written", "[conv]") {
  std::vector<std::int8_t> x(6 * 6 * 4), w(8 * 3 * 3 * 4), y(6 * 6 * 8, 55);
  auto const src = nhwc(static_cast<std::int8_t const*>(x.data()), 1, 6, 6, 4);
  auto const dst = nhwc(y.data(), 1, 6, 6, 8);
  auto const filter = nhwc(static_cast<std::int8_t const*>(w.data()), 8, 3, 3, 4);
  auto const code_of = [](auto&& f) {
    try {
      f();
    } catch (error const& e) {
      return e.code();
    }
    throw std::runtime_error("nothing was refused");
  };
  auto const packed = pack_conv(filter, {.padding = same});
  CHECK(code_of([&] { conv2d(src, packed, nhwc(y.data(), 1, 5, 6, 8)); }) == errc::shape);
  CHECK(code_of([&] { conv2d(nhwc(static_cast<std::int8_t const*>(x.data()), 1, 6, 6, 3), packed, dst); }) == errc::shape);
  CHECK(code_of([&] { conv2d(tensor_view<std::int8_t const>{nullptr, 1, 6, 6, 4, 144, 24, 4, 1}, packed, dst); }) == errc::null);
  CHECK(code_of([&] { conv2d(src, packed_conv<std::int8_t>{}, dst); }) == errc::null);
  CHECK(code_of([&] { conv2d(src, pack_transposed_conv(filter, {.padding = same}), dst); }) == errc::argument);
  CHECK(code_of([&] { transposed_conv2d(src, packed, dst); }) == errc::argument);
  CHECK(code_of([&] { conv2d(src, pack_conv(nhwc(static_cast<std::int8_t const*>(w.data()), 2, 7, 3, 4)), nhwc(y.data(), 1, 1, 4, 2)); }) == errc::shape);
  CHECK(code_of([&] { pack_conv(filter, {.groups = 3}); }) == errc::shape);
  CHECK(code_of([&] { pack_conv(filter, {.groups = 0}); }) == errc::argument);
  CHECK(code_of([&] { pack_conv(filter, {.stride = {0, 1}}); }) == errc::argument);
  CHECK(code_of([&] { pack_conv(nhwc(static_cast<std::int8_t const*>(w.data()), 0, 3, 3, 4)); }) == errc::shape);
  CHECK(code_of([&] { conv2d(nchw(static_cast<std::int8_t const*>(x.data()), 1, 4, 6, 6), packed, dst); }) == errc::shape);
  CHECK(code_of([&] { conv2d(src, packed, nhwc(x.data(), 1, 6, 6, 8)); }) == errc::overlap);
  // Upside down: the first row is the last in memory, and what lies before `data` counts.
  auto upside_down = src;
  upside_down.data += (upside_down.h - 1) * upside_down.h_stride, upside_down.h_stride = -upside_down.h_stride;
  CHECK(code_of([&] { conv2d(upside_down, packed, nhwc(x.data(), 1, 6, 6, 8)); }) == errc::overlap);
  std::vector<std::int32_t> bias(7);
  CHECK(code_of([&] { conv2d(src, packed, dst, epilogue<>{.bias = view(bias.data(), 7)}); }) == errc::shape);
  // One product deeper than int32 holds: a policy of 32 bits would take the sum modulo 2^32, one of 64 takes it as it is.
  constexpr index_t deep = 131072;
  std::vector<std::int8_t> const lowest(deep, -128);
  auto const line = nhwc(lowest.data(), 1, 1, 1, deep);
  auto const one = pack_conv(line);
  auto const pixel = nhwc(y.data(), 1, 1, 1, 1);
  epilogue<rescale::gemmlowp_double> const short_sums{.rescale = rescale::gemmlowp_double::from_real(0.0)};
  CHECK(code_of([&] { conv2d(line, one, pixel, short_sums); }) == errc::depth);
  CHECK(code_of([&] { conv2d(line, one, pixel, short_sums, {.wide = true}); }) == errc::depth);
  REQUIRE(y[0] == 55);
  conv2d(line, one, pixel, epilogue<rescale::tflite_s64>{.rescale = rescale::tflite_s64::from_real(1.0 / (1 << 25))}, {.wide = true});
  CHECK(int{y[0]} == 64);  // 131,072 * 2^14 / 2^25
  y[0] = 55;
  // A later group's mistake, and a later phase's, before the first is written.
  float scales[8] = {1, 1, 1, 1, 1, 1, 1, 0};
  epilogue<to_real> const zero_scale{.rescale = {.cols = view(scales)}};
  auto const halves = pack_conv(nhwc(static_cast<std::int8_t const*>(w.data()), 8, 3, 3, 2), {.padding = same, .groups = 2});
  CHECK(code_of([&] { conv2d(src, halves, dst, zero_scale); }) == errc::scale);
  std::vector<std::int8_t> large(12 * 12 * 8, 55);
  auto const spread = pack_transposed_conv(filter, {.stride = {2, 2}, .padding = same});
  CHECK(code_of([&] { transposed_conv2d(src, spread, nhwc(large.data(), 1, 12, 12, 8), zero_scale); }) == errc::scale);
  for (auto v : large) REQUIRE(v == 55);
  for (auto v : y) REQUIRE(v == 55);
}

TEST_CASE("NCHW comes in through to_nhwc", "[conv]") {
  std::vector<std::int8_t> x{1, 2, 3, 4, 5, 6, 7, 8}, y(8);
  to_nhwc<std::int8_t>(nchw(static_cast<std::int8_t const*>(x.data()), 1, 2, 2, 2), nhwc(y.data(), 1, 2, 2, 2));
  REQUIRE(y == std::vector<std::int8_t>{1, 5, 2, 6, 3, 7, 4, 8});
}
