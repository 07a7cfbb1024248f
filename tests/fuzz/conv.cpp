// conv.cpp — one convolution out of any bytes: its kind, geometry, types, zero points, memory and epilogue; all instruction sets must
// agree with the definition, bit for bit, or refuse alike before anything is written.
//
// As a test it runs a fixed sequence of generated inputs. As a fuzz target (clang++ -fsanitize=fuzzer,address -DQUERN_LIBFUZZER)
// libFuzzer chooses the bytes:
//
//     clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address -DQUERN_LIBFUZZER -Iinclude -Itests tests/fuzz/conv.cpp -o fuzz_conv && ./fuzz_conv
#include "quern/ops/conv2d.hpp"
#include "quern/ops/depthwise.hpp"
#include "quern/reference/conv.hpp"
#include "support/isas.hpp"

#include "choices.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#ifndef QUERN_LIBFUZZER
#include "support/catch.hpp"
#endif

namespace {

using namespace quern;
using namespace fuzz;

enum class kind { plain, transposed, depthwise };

struct problem {
  kind what;
  index_t batch, inputs, outputs;  // channels a group
  extent in, kernel;
  conv_options options;
};

/// Small in everything but, now and then, one of width and channels: whole tiles and whole blocks of channels.
problem draw(choices& c, bool can_be_depthwise) {
  problem p;
  unsigned const what = c.byte() % 4;
  p.what = what == 3 ? kind::transposed : what == 2 && can_be_depthwise ? kind::depthwise : kind::plain;
  p.batch = 1 + c.upto(1);
  bool const wide = c.byte() % 3 == 0, deep = c.byte() % 3 == 0;
  p.in = {1 + c.upto(8), 1 + c.upto(wide ? 70 : 8), p.what == kind::plain && c.byte() % 4 == 0 ? 1 + c.upto(3) : 1};
  p.inputs = 1 + c.upto(deep ? 40 : 5);
  p.outputs = 1 + c.upto(deep || wide ? 40 : 5);
  p.kernel = {1 + c.upto(4), 1 + c.upto(4), p.in.d > 1 ? 1 + c.upto(1) : 1};
  auto& o = p.options;
  o.stride = {1 + c.upto(2), 1 + c.upto(2), p.in.d > 1 ? 1 + c.upto(1) : 1};
  o.dilation = {1 + c.upto(2), 1 + c.upto(2), 1};
  o.groups = p.what != kind::depthwise && c.byte() % 4 == 0 ? 1 + c.upto(2) : 1;
  switch (c.byte() % 4) {
    case 0: o.padding = same; break;
    case 1: o.padding = same_lower; break;
    case 2: o.padding = pad(c.upto(4), c.upto(4), c.upto(4), c.upto(4)); break;
    default: break;
  }
  if (p.what == kind::depthwise) {
    if (c.coin()) p.kernel = {3, 3, 1}, o.dilation = {};
    if (deep) p.inputs = 16 * (1 + c.upto(8));
    p.outputs = p.inputs * (1 + c.upto(2));
  }
  return p;
}

[[noreturn]] void disagree(char const* what, isa i, problem const& p, std::size_t at) {
  auto const& o = p.options;
  std::fprintf(stderr, "%s on %s at %zu: kind %d, %td x %td x %td x %td x %td (%td groups) to %td, kernel %td x %td x %td, stride %td %td %td, dilation %td %td, padding %d %td %td %td %td\n",
               what, name(i), at, static_cast<int>(p.what), p.batch, p.in.d, p.in.h, p.in.w, p.inputs, o.groups, p.outputs, p.kernel.d, p.kernel.h, p.kernel.w, o.stride.d,
               o.stride.h, o.stride.w, o.dilation.h, o.dilation.w, static_cast<int>(o.padding.rule), o.padding.top, o.padding.bottom, o.padding.left, o.padding.right);
  std::abort();
}

template <class Src, class Weight, class Dst, class Rescale>
void one_convolution(choices& c) {
  using stored = typename code_of_t<Weight>::storage;
  constexpr bool bytes = code_of_t<Weight>::bits == 8, raw = std::is_same_v<Rescale, no_rescale>, real = std::is_same_v<Rescale, to_real>;
  problem const p = draw(c, bytes);
  auto const& o = p.options;
  bool const depthwise = p.what == kind::depthwise;
  index_t const ci = p.inputs * o.groups, co = p.outputs * (depthwise ? 1 : o.groups), taps = p.kernel.d * p.kernel.h * p.kernel.w;
  index_t const src_gap = c.byte() % 3, dst_gap = c.byte() % 3, row_gap = c.byte() % 2;
  filter_shape const filter{co, p.kernel, p.inputs};
  window win{};
  try {
    win = p.what == kind::transposed ? detail::spreading_window(p.in, filter, o, {0, 0, 0}) : sliding_window("fuzz", p.in, p.kernel, o.stride, o.dilation, o.padding);
  } catch (error const&) {
    return;  // refused: tests/errors has the sentences
  }

  auto const volume = [](auto* data, index_t n, extent e, index_t channels, index_t gap, index_t more) {
    index_t const w = channels + gap, h = e.w * w + more, d = e.h * h, all = e.d * d;
    return volume_view<std::remove_pointer_t<decltype(data)>>(data, n, e.d, e.h, e.w, channels, all, d, h, w, 1);
  };
  auto const elements = [](auto const& v) { return static_cast<std::size_t>(v.n * v.n_stride + 1); };
  extent const out{win.h.out, win.w.out, win.d.out};
  std::vector<Src> x(elements(volume(static_cast<Src*>(nullptr), p.batch, p.in, ci, src_gap, row_gap)));
  std::vector<Dst> want(elements(volume(static_cast<Dst*>(nullptr), p.batch, out, co, dst_gap, row_gap)), Dst(7)), got;
  std::vector<stored> w(static_cast<std::size_t>(co * taps * (depthwise ? 1 : p.inputs)));
  fill(x, c, code_of_t<Src>::min, code_of_t<Src>::max);
  fill(w, c, code_of_t<Weight>::min, code_of_t<Weight>::max);
  auto const src = volume(static_cast<Src const*>(x.data()), p.batch, p.in, ci, src_gap, row_gap);

  auto const channels = static_cast<std::size_t>(co);
  std::vector<std::int32_t> bias(channels), weight_zeros(channels);
  std::vector<float> scales(channels);
  fill(weight_zeros, c, code_of_t<Weight>::min, code_of_t<Weight>::max);
  bool const each_scale = c.coin(), asymmetric = p.what != kind::transposed && c.byte() % 3 == 0, each_zero = c.coin();
  float const common = c.scale();
  for (auto& b : bias) b = c.word() / 65536;
  for (auto& s : scales) s = each_scale ? c.scale() : common;
  epilogue<Rescale> e;
  e.lhs_zero_point = code_of_t<Src>::min + static_cast<std::int32_t>(c.upto(255));
  // A transposed convolution's definition has symmetric weights; 0 is a code of all types.
  if (asymmetric && each_zero)
    e.rhs_zero_point = view(static_cast<std::int32_t const*>(weight_zeros.data()), co);
  else
    e.rhs_zero_point = asymmetric ? weight_zeros[0] : 0;
  e.bias = view(static_cast<std::int32_t const*>(bias.data()), co);
  using d = code_of_t<Dst>;
  e.dst_zero_point = raw ? 0 : d::min + static_cast<std::int32_t>(c.upto(255));
  std::int32_t const low = c.coin() && !raw ? e.dst_zero_point : d::min, high = d::max;
  e.min = low;
  e.max = high;
  auto const rescales = [&] {
    if constexpr (raw || real) {
      return 0;
    } else {
      std::vector<typename Rescale::parameters> all;
      for (float const s : scales) all.push_back(Rescale::from_real(static_cast<double>(s < 0.9f ? s : 0.9f)));
      return all;
    }
  }();
  if constexpr (real) e.rescale.cols = view(static_cast<float const*>(scales.data()), co);
  if constexpr (!raw && !real) e.rescale = view(rescales.data(), co);

  auto const dst_of = [&](Dst* data) { return volume(data, p.batch, out, co, dst_gap, row_gap); };
  auto const to = dst_of(want.data());
  auto const output = [&](index_t b, index_t z, index_t y, index_t xx, index_t channel, std::int64_t acc) {
    auto const at = static_cast<std::size_t>(channel);
    auto const sum = wrap32(acc + bias[at]);
    if constexpr (real) {
      float volatile const product = static_cast<float>(sum) * scales[at];
      double const steps = __builtin_rint(static_cast<double>(product)) + e.dst_zero_point;
      to(b, z, y, xx, channel) = static_cast<Dst>(steps < low ? low : steps > high ? high : steps);
    } else {
      std::int64_t value = sum;
      if constexpr (!raw) value = Rescale::apply(sum, rescales[at]);
      to(b, z, y, xx, channel) = static_cast<Dst>(clamp<std::int64_t>(value + e.dst_zero_point, low, high));
    }
  };
  auto const definition_weights = depthwise ? reference::hwo(static_cast<stored const*>(w.data()), p.kernel.h, p.kernel.w, co)
                                            : reference::ohwi(static_cast<stored const*>(w.data()), co, p.kernel.h, p.kernel.w, p.inputs, p.kernel.d);
  if (p.what == kind::transposed)
    reference::convolve_transposed<Src, stored>(src, definition_weights, win, o.groups, e.lhs_zero_point[0], output);
  else
    reference::convolve<Src, stored>(src, definition_weights, win, depthwise ? ci : o.groups, e.lhs_zero_point[0], [&](index_t j) { return e.rhs_zero_point[j]; }, output);

  auto const image = [](auto v) { return tensor_view<std::remove_pointer_t<decltype(v.data)>>{v.data, v.n, v.h, v.w, v.c, v.n_stride, v.h_stride, v.w_stride, v.c_stride}; };
  bool const own_memory = c.coin();
  buffer<unsigned char> memory;
  auto const run = [&](auto const& workspace, auto const& call, isa cap) {
    got.assign(want.size(), Dst(7));
    gemm_options options{.max_isa = cap};
    if (own_memory) {
      index_t const needed = workspace(options);
      if (memory.size() < needed) memory = buffer<unsigned char>(needed);
      options.workspace = {memory.data(), needed};
    }
    call(options);
    for (std::size_t i = 0; i < got.size(); ++i)
      if (got[i] != want[i]) disagree(Rescale::name, cap, p, i);
  };
  auto const on_all = [&](auto const& workspace, auto const& call) {
#ifdef QUERN_LIBFUZZER
    for (isa i : all_isas)
      if (supported(i)) run(workspace, call, i);
#else
    support::for_each_native_isa([&](isa i) { run(workspace, call, i); });
#endif
  };
  if (depthwise) {
    if constexpr (bytes) {
      auto const packed = pack_depthwise(nhwc(static_cast<stored const*>(w.data()), 1, p.kernel.h, p.kernel.w, co), o);
      on_all([&](gemm_options const& options) { return depthwise_workspace(image(src), packed, image(dst_of(got.data())), e, options); },
             [&](gemm_options const& options) { depthwise_conv2d(image(src), packed, image(dst_of(got.data())), e, options); });
    }
  } else if (p.what == kind::transposed) {
    auto const packed = pack_transposed_conv<Weight>(nhwc(static_cast<stored const*>(w.data()), co, p.kernel.h, p.kernel.w, p.inputs), o);
    on_all([&](gemm_options const& options) { return transposed_conv_workspace(image(src), packed, image(dst_of(got.data())), e, options); },
           [&](gemm_options const& options) { transposed_conv2d(image(src), packed, image(dst_of(got.data())), e, options); });
  } else {
    auto const packed = pack_conv<Weight>(volume_view<stored const>(w.data(), co, p.kernel.d, p.kernel.h, p.kernel.w, p.inputs), o);
    on_all([&](gemm_options const& options) { return conv_workspace(src, packed, dst_of(got.data()), e, options); },
           [&](gemm_options const& options) { conv3d(src, packed, dst_of(got.data()), e, options); });
  }
}

void any_convolution(choices c) {
  switch (c.byte() % 6) {
    case 0: return one_convolution<std::uint8_t, std::int8_t, std::int32_t, no_rescale>(c);
    case 1: return one_convolution<std::int8_t, std::int8_t, std::int8_t, rescale::gemmlowp_double>(c);
    case 2: return one_convolution<std::uint8_t, std::int8_t, std::uint8_t, to_real>(c);
    case 3: return one_convolution<std::int8_t, s4, std::int8_t, rescale::tflite_single>(c);
    case 4: return one_convolution<std::uint8_t, std::uint8_t, std::int8_t, to_real>(c);
    default: return one_convolution<std::int8_t, std::int8_t, std::int32_t, no_rescale>(c);
  }
}

}  // namespace

#ifdef QUERN_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(unsigned char const* data, std::size_t size) {
  any_convolution({data, size});
  return 0;
}
#else
TEST_CASE("every kernel agrees with the definition on generated convolutions", "[conv][fuzz]") {
  generated(20261122, 220, 600, any_convolution);
  SUCCEED();  // disagreement aborts with the case
}
TEST_CASE("every kernel agrees with the definition on generated convolutions, at length", "[conv][fuzz][.exhaustive]") {
  generated(20261123, 220, 200000, any_convolution);
  SUCCEED();
}
#endif
