// convention_peers.cpp — PyTorch's and ONNX Runtime's own quantization of the buffers that convention.cpp quantizes.
//
//     convention/their_pytorch/<isa>/quantize-f32-u8[-saturating]/<elements>/threads:1       quantize_per_tensor, from python3-torch
//     convention/their_onnxruntime/<isa>/quantize-f32-u8[-saturating]/<elements>/threads:1   QuantizeLinear, from onnxruntime-node
//
// Both run in their own process, on the same processor, and are timed there (bench/peers); their codes are compared with the
// convention's. ONNX Runtime is looked for in NODE_PATH and where scripts/oracles installs it. The note tells what a call with one
// element takes, which the time includes.
#include "support.hpp"

#include <quern/convention/conventions.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace quern::bench {
namespace {

std::string quoted(std::string const& s) { return "'" + s + "'"; }

/// Runs `command FOLDER SCALE ZERO_POINT` on x; its codes are checked, its own seconds reported.
template <class C>
body peer(check& c, std::string const& command, index_t n, bool saturating) {
  convention::affine const p{0.03125f, 128};
  auto const x = quantize_reals(n, saturating);
  std::filesystem::path const folder = std::filesystem::temp_directory_path() / ("quern_bench_" + std::to_string(std::random_device{}()));
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "x", std::ios::binary).write(reinterpret_cast<char const*>(x.data()), static_cast<std::streamsize>(n * 4));
  double seconds = 0, one = 0;
  std::FILE* const out = popen((command + " " + quoted(folder.string()) + " 0.03125 128 2>/dev/null").c_str(), "r");
  bool const ran = out != nullptr && std::fscanf(out, "%lf %lf", &seconds, &one) == 2;
  if (out != nullptr) pclose(out);
  buffer<std::uint8_t> codes(n), expected(n);
  std::ifstream(folder / "y", std::ios::binary).read(reinterpret_cast<char*>(codes.data()), static_cast<std::streamsize>(n));
  std::filesystem::remove_all(folder);
  if (!ran) {
    c.skip("not installed");
    return {};
  }
  for (index_t i = 0; i < n; ++i) expected[i] = C::template quantize<u8>(x[i], p);
  c.compare(codes.data(), expected.data(), n);
  c.seconds = seconds;
  char note[64];
  std::snprintf(note, sizeof note, "a call with one element: %.1f us", one * 1e6);
  c.say(note);
  return {};
}

void register_peers() {
  std::filesystem::path const here = QUERN_BENCH_FOLDER;
  char const* const path = std::getenv("NODE_PATH");
  std::string const modules = path != nullptr ? path : (here.parent_path() / "build" / "oracles" / "node_modules").string();
  std::string const torch = "/usr/bin/python3 " + quoted((here / "peers" / "quantize_pytorch.py").string());
  std::string const ort = "NODE_PATH=" + quoted(modules) + " node " + quoted((here / "peers" / "quantize_onnxruntime.js").string());
  std::string const best = name(isas().back());
  for (index_t n : {1 << 12, 1 << 16, 1 << 20})
    for (bool saturating : {false, true}) {
      std::string const operation = "/" + best + "/" + quantize_name(n, saturating) + "/threads:1";
      double const bytes = 5.0 * static_cast<double>(n);
      add({.name = "convention/their_pytorch" + operation, .bytes = bytes,
           .prepare = [=](check& c) { return peer<convention::pytorch>(c, torch, n, saturating); }});
      add({.name = "convention/their_onnxruntime" + operation, .bytes = bytes,
           .prepare = [=](check& c) { return peer<convention::onnx_runtime>(c, ort, n, saturating); }});
    }
}
QUERN_BENCH_CASES(register_peers);

}  // namespace
}  // namespace quern::bench
