// table.hpp — runs every convention on the same inputs and writes down, as Markdown, where they differ.
#pragma once

#include <quern/convention/identify.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace convention_table {

using quern::convention::affine;
using quern::convention::limits;

template <class... Args>
std::string format(char const* pattern, Args... args) {
  char text[256];
  std::snprintf(text, sizeof(text), pattern, args...);
  return text;
}
inline std::string text_of(float x) {
  if (x != x) return "NaN";
  if (x > 3e38f) return "inf";
  if (x < -3e38f) return "-inf";
  return format("%.9g", static_cast<double>(x));
}

/// What one convention gave for every probe of a kind, in the order of the probes.
struct column {
  char const* name = nullptr;
  std::string rounding, rescale, place, form;
  std::vector<std::optional<double>> results;
};

/// One input, in words, and the kind of operation that it is for.
struct probe {
  char const* kind;
  std::string input;
};

/// The probes. Ties, near-ties, both signs, non-finite values, degenerate ranges; scales that are powers of two, so that Vitis AI
/// takes part, and scales that are not.
struct battery {
  std::vector<probe> probes;
  std::vector<float> reals, real_scales;
  std::vector<std::int32_t> accumulators;
  std::vector<float> rescales;
  std::vector<quern::real_range> ranges;

  battery() {
    float const inf = quern::bits_of<float>(0x7f800000u), nan = quern::bits_of<float>(0x7fc00000u);
    for (float scale : {0.5f, 0.1f, 0.00214854861f})
      for (float steps : {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.25f, 126.5f, 127.5f, -127.5f, -128.5f, 1e12f, -1e12f}) {
        reals.push_back(steps * scale);
        real_scales.push_back(scale);
      }
    for (float x : {0.273939937f, nan, inf, -inf}) {
      reals.push_back(x);
      real_scales.push_back(0.00214854861f);
    }
    // 17: a scale with few bits; 12345679 * 0.1: beyond the 24 bits of a float; 0.25 and 0.75: double rounding; 2^30: shifts of 32.
    for (float scale : {0.5f, 0.25f, 0.125f, 0.0625f, 0.3f, 0.1f, 0.0431f, 0.75f, 0.0009765625f, 0.0123f})
      for (std::int32_t acc : {1, -1, 2, -2, 3, -3, 5, -5, 6, -6, 7, -7, 10, -10, 12, -12, 20, -20, 24, -24, 40, -40, 58, -58, 127, -127, 249, -249,
                               511, 512, -512, 1537, -1537, 8389, -8389}) {
        accumulators.push_back(acc);
        rescales.push_back(scale);
      }
    ranges = {{-1.0f, 1.0f}, {-1.0f, 3.0f}, {0.0f, 6.0f}, {-0.1f, 6.0f}, {-3.0f, 1.0f}, {0.0f, 0.0f}, {1.0f, 2.0f}, {-2.0f, -1.0f}, {-1e-6f, 2e-6f}, {-1.5f, 3.7f}};

    for (std::size_t i = 0; i < reals.size(); ++i)
      for (int zero : {0, 3}) probes.push_back({"quantize", "quantize<s8>(" + text_of(reals[i]) + ", scale " + text_of(real_scales[i]) + format(", zero point %d)", zero)});
    for (std::size_t i = 0; i < accumulators.size(); ++i)
      for (int zero : {0, 3}) probes.push_back({"accumulator", format("accumulator %d * ", accumulators[i]) + text_of(rescales[i]) + format(", zero point %d", zero)});
    for (auto const& r : ranges)
      for (char const* what : {"scale", "zero point"}) probes.push_back({"range", format("%s of u8 for [", what) + text_of(r.min) + ", " + text_of(r.max) + "]"});
    for (auto const& [a, b, zero] : pairs()) {
      probes.push_back({"add", format("%d + %d, scales 0.5 and 0.5 to 1, zero point %d", a, b, zero)});
      probes.push_back({"add", format("%d + %d, scales 0.1 and 0.1 to 0.2, zero point %d", a, b, zero)});
      probes.push_back({"mul", format("%d * %d, scales 0.5 and 0.5 to 0.5, zero point %d", a, b, zero)});
      probes.push_back({"average pool", format("sum %d of 2 codes, zero points %d", a + b, zero)});
    }
  }

  struct pair {
    int a, b, zero;
  };
  static std::vector<pair> pairs() {
    std::vector<pair> all;
    for (int zero : {0, 3})
      for (int a : {1, 2, -1, -2, 5, -7, 127, -128})
        for (int b : {0, 1, 2, -1, -3, 8}) all.push_back({a, b, zero});
    return all;
  }
};

/// The value, or nothing where the convention refuses the parameters.
template <class F>
std::optional<double> attempt(F&& f) {
  try {
    return static_cast<double>(f());
  } catch (quern::error const&) {
    return std::nullopt;
  }
}

template <class C>
column run(battery const& b) {
  column out;
  out.name = C::name;
  out.rounding = C::rounding::name;
  out.rescale = quern::detail::identified_rescale<C>::name;
  out.place = C::place == quern::convention::zero_point_place::after_rounding ? "after" : "before";
  out.form = C::form == quern::convention::scale_form::divide ? "x / scale" : "x * (1 / scale)";
  for (std::size_t i = 0; i < b.reals.size(); ++i)
    for (int zero : {0, 3})
      out.results.push_back(attempt([&] { return C::template quantize<quern::s8>(b.reals[i], affine{b.real_scales[i], zero}); }));
  for (std::size_t i = 0; i < b.accumulators.size(); ++i)
    for (int zero : {0, 3})
      out.results.push_back(attempt([&] { return C::template output_stage<quern::s8>(b.rescales[i], 1.0f, affine{1.0f, zero})(b.accumulators[i]); }));
  for (auto const& r : b.ranges) {
    out.results.push_back(attempt([&] { return C::template choose<quern::u8>(r).scale; }));
    out.results.push_back(attempt([&] { return C::template choose<quern::u8>(r).zero_point; }));
  }
  for (battery::pair const& codes : battery::pairs()) {
    int const x = codes.a, y = codes.b, zero = codes.zero;  // named: clang 14 lets no lambda capture a structured binding
    affine const half{0.5f, zero}, one{1.0f, zero}, tenth{0.1f, zero}, fifth{0.2f, zero};  // a tenth is no power of two: the order of float operations shows
    out.results.push_back(attempt([&] { return C::template add<quern::s8>(half, half, one, limits{})(x, y); }));
    out.results.push_back(attempt([&] { return C::template add<quern::s8>(tenth, tenth, fifth, limits{})(x, y); }));
    out.results.push_back(attempt([&] { return C::template mul<quern::s8>(half, half, half, limits{})(x, y); }));
    out.results.push_back(attempt([&] { return C::template average_pool<quern::s8>(one, one, limits{})(x + y, 2); }));
  }
  return out;
}

inline std::string value_of(std::optional<double> v) { return v ? format("%.9g", *v) : "refused"; }

inline std::string joined(std::vector<std::string> const& words) {
  std::string all;
  for (std::string const& w : words) all += (all.empty() ? "" : ", ") + w;
  return all;
}

/// The whole page.
inline std::string markdown() {
  battery const b;
  std::vector<column> columns;
  quern::for_each_type<quern::conventions>([&](auto tag) { columns.push_back(run<typename decltype(tag)::type>(b)); });
  auto const at = [&](column const& c, std::string const& input) {
    for (std::size_t i = 0; i < b.probes.size(); ++i)
      if (b.probes[i].input == input) return value_of(c.results[i]);
    return std::string("?");
  };

  std::string out =
      "# What differs between the frameworks\n\n"
      "Written by `examples/convention_table` from the types of `quern::convention`, by running them; a test keeps it true.\n\n"
      "## Which variant a name means\n\n"
      "Several systems are not the same on every CPU or in every build. A name says which kernels are meant, and quern gives their bits\n"
      "on every machine:\n\n"
      "| system | conventions |\n|---|---|\n"
      "| TensorFlow Lite | `tflite`: reference kernels and TFLite Micro, two roundings. `tflite_single`: built with TFLITE_SINGLE_ROUNDING. "
      "`tflite_ruy`: optimized convolutions and matrix products. `tflite_xnnpack`: the XNNPACK delegate |\n"
      "| CMSIS-NN | `cmsis_nn`: the default; `cmsis_nn_single`: CMSIS_NN_USE_SINGLE_ROUNDING |\n"
      "| PyTorch | `pytorch`: x86 without FBGEMM, the vector loops of CPUs with FMA (the last elements of a tensor, and older CPUs, may be "
      "one code apart in quantized::add). `pytorch_onednn`, `pytorch_fbgemm`, `pytorch_qnnpack` (PyTorch Mobile): those engines |\n"
      "| FBGEMM | `fbgemm`: the AVX2 loops; its scalar remainder treats NaN differently |\n"
      "| ONNX Runtime | `onnx_runtime`: x86-64 with FMA (AVX2 and later). `onnx_runtime_arm`: NEON, where addition and global pooling are "
      "fixed point. `onnx_runtime_portable`: the scalar fallback |\n"
      "| TVM | `tvm`: rounding UPWARD; `tvm_to_nearest`: TONEAREST |\n"
      "| Vitis AI | `vitis_ai`: the DPU, method 2; `vitis_ai_3` to `vitis_ai_8`: the other rounding methods |\n\n"
      "On x86 CPUs without VNNI, ONNX Runtime, FBGEMM and oneDNN add u8 * s8 products in 16 bits that saturate; the int32 sums here are exact.\n\n"
      "## Each by itself\n\n"
      "`zero point` is added after or before the rounding; NaN, inf and -inf are quantized to int8 with scale 0.00214854861, zero point 3\n"
      "(where a system leaves them open, this is what quern returns: the convention's header says so); `[-1, 1]` is quantized to uint8.\n\n"
      "| convention | rounding | zero point | quantize | accumulators | NaN | inf | -inf | scale and zero point of [-1, 1] | of [0, 0] |\n"
      "|---|---|---|---|---|---|---|---|---|---|\n";
  for (column const& c : columns) {
    std::string const tail = ", scale 0.00214854861, zero point 3)";
    out += std::string("| ") + c.name + " | " + c.rounding + " | " + c.place + " | " + c.form + " | " + c.rescale + " | " + at(c, "quantize<s8>(NaN" + tail) +
           " | " + at(c, "quantize<s8>(inf" + tail) + " | " + at(c, "quantize<s8>(-inf" + tail) + " | " + at(c, "scale of u8 for [-1, 1]") + ", " +
           at(c, "zero point of u8 for [-1, 1]") + " | " + at(c, "scale of u8 for [0, 0]") + ", " + at(c, "zero point of u8 for [0, 0]") + " |\n";
  }

  out +=
      "\n## Each pair\n\n"
      "Of every two conventions, the operations in which some probe gives different numbers, and the first such input. The probes are\n"
      "ties, near-ties, non-finite values and degenerate ranges; pairs that agree on all of them are listed at the end.\n\n"
      "| one | other | differ in | example | one gives | other gives |\n|---|---|---|---|---|---|\n";
  std::string same;
  for (std::size_t i = 0; i < columns.size(); ++i)
    for (std::size_t j = i + 1; j < columns.size(); ++j) {
      std::vector<std::string> kinds;
      std::size_t first = b.probes.size();
      for (std::size_t p = 0; p < b.probes.size(); ++p) {
        auto const& x = columns[i].results[p];
        auto const& y = columns[j].results[p];
        if (!x || !y || *x == *y) continue;
        if (first == b.probes.size()) first = p;
        if (std::find(kinds.begin(), kinds.end(), b.probes[p].kind) == kinds.end()) kinds.push_back(b.probes[p].kind);
      }
      if (first == b.probes.size())
        same += std::string("- ") + columns[i].name + " and " + columns[j].name + "\n";
      else
        out += std::string("| ") + columns[i].name + " | " + columns[j].name + " | " + joined(kinds) + " | " + b.probes[first].input + " | " +
               value_of(columns[i].results[first]) + " | " + value_of(columns[j].results[first]) + " |\n";
    }
  out += "\n## Pairs that agree on every probe\n\n" + (same.empty() ? std::string("None.\n") : same);
  return out;
}

}  // namespace convention_table
