// A real int8 network, its weights brought back to float and quantized anew by every range calibrator: no decision may change.
//
//     requantized_person MODELS_FOLDER          (person_detect.tflite, person.bmp, no_person.bmp)
#include "network.hpp"

#include <quern/calibrate/calibrators.hpp>
#include <quern/compress/round_to_nearest.hpp>
#include <quern/convert/quantize.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

using namespace quern;

namespace {

using scheme_type = symmetric<s8, per_tensor, narrow_range>;
/// A channel's weights to codes; returns the scale.
using quantizer = std::function<float(vector_view<float const>, vector_view<std::int8_t>)>;

std::vector<unsigned char> read(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Weights with one scale a channel, and the biases, whose step is the product of input's and weight's.
void requantize(run_tflite::model& m, quantizer const& q, double& noise, double& signal) {
  for (auto const& o : m.operations) {
    if (o.code != static_cast<int>(run_tflite::op::conv) && o.code != static_cast<int>(run_tflite::op::depthwise_conv)) continue;
    run_tflite::tensor& w = m.tensors[static_cast<std::size_t>(o.inputs[1])];
    run_tflite::tensor& b = m.tensors[static_cast<std::size_t>(o.inputs[2])];
    auto const channels = static_cast<index_t>(w.scales.size());
    index_t const size = w.extents.size(), each = size / channels;
    auto* const codes = reinterpret_cast<std::int8_t*>(w.data.data());
    auto* const bias = reinterpret_cast<std::int32_t*>(b.data.data());
    for (index_t c = 0; c < channels; ++c) {
      index_t const first = w.axis == 0 ? c * each : c, step = w.axis == 0 ? 1 : channels;   // OHWI, or 1HWO
      std::vector<float> real(static_cast<std::size_t>(each));
      for (index_t i = 0; i < each; ++i) real[static_cast<std::size_t>(i)] = w.scales[static_cast<std::size_t>(c)] * static_cast<float>(codes[first + i * step]);
      float const scale = q(view(real), {codes + first, each, step});
      for (index_t i = 0; i < each; ++i) {
        double const e = static_cast<double>(scale) * codes[first + i * step] - real[static_cast<std::size_t>(i)];
        noise += e * e, signal += static_cast<double>(real[static_cast<std::size_t>(i)]) * real[static_cast<std::size_t>(i)];
      }
      bias[c] = static_cast<std::int32_t>(std::lround(static_cast<double>(bias[c]) * w.scales[static_cast<std::size_t>(c)] / scale));
      w.scales[static_cast<std::size_t>(c)] = scale;
    }
  }
}

/// Scores of "no person" and "person".
std::pair<int, int> scores(run_tflite::network& n, std::vector<unsigned char> const& bmp) {
  unsigned char* const input = n.data(n.file().inputs[0]);
  for (int y = 0; y < 96; ++y) std::memcpy(input + 96 * y, bmp.data() + 1078 + 96 * (95 - y), 96);   // bottom row first in the file
  for (auto const& l : n.layers()) l.run();
  auto const* const out = reinterpret_cast<signed char const*>(n.data(n.file().outputs[0]));
  return {out[0], out[1]};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::string const folder = std::string(argv[1]) + "/";
  auto const file = read(folder + "person_detect.tflite"), person = read(folder + "person.bmp"), nobody = read(folder + "no_person.bmp");
  if (file.empty() || person.size() < 10294 || nobody.size() < 10294) return std::printf("the model or its images are missing in %s\n", folder.c_str()), 2;
  int failures = 0;
  auto const check = [&](char const* name, quantizer const* q) {
    run_tflite::model m = run_tflite::read_model(file.data(), file.size());
    double noise = 0, signal = 0;
    if (q != nullptr) requantize(m, *q, noise, signal);
    run_tflite::network n(m, run_tflite::rounding::twice, {});
    auto const a = scores(n, person), b = scores(n, nobody);
    bool const right = a.second > a.first && b.first > b.second;
    bool const exact = q != nullptr || (a == std::pair{-113, 113} && b == std::pair{57, -57});
    failures += !right || !exact;
    std::printf("%-34s person.bmp %4d %4d   no_person.bmp %4d %4d   weights %5.1f dB   %s\n", name, a.first, a.second, b.first, b.second,
                noise > 0 ? 10 * std::log10(signal / noise) : 999.0, right && exact ? "as it should be" : "WRONG");
  };
  check("as it came", nullptr);
  for_each_type<calibrate::calibrators>([&](auto tag) {
    using calibrator = typename decltype(tag)::type;
    quantizer const q = [](vector_view<float const> real, vector_view<std::int8_t> codes) {
      calibrate::histogram h;
      h.observe(real);
      auto const chosen = scheme_type::choose(calibrator{}.template range<scheme_type>(h), {});
      quern::quantize(real, params<scheme_type>{chosen.scale}, codes);
      return chosen.scale;
    };
    check(calibrator::name, &q);
  });
  quantizer const nearest = [](vector_view<float const> real, vector_view<std::int8_t> codes) {
    auto const q = compress::round_to_nearest({real.data, 1, real.size, real.size, 1}, {.bits = 8, .symmetric = true, .group = 0}, {.smallest_shrink = 0.5f});
    for (index_t i = 0; i < real.size; ++i) codes[i] = q.codes[i];
    return q.scales[0];
  };
  check("round_to_nearest, clipped", &nearest);
  return failures == 0 ? 0 : 1;
}
