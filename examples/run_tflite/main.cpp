// run_tflite — runs an int8 or 16x8 TensorFlow Lite model with quern, bit for bit as TensorFlow Lite Micro does.
//
//     run_tflite MODEL INPUT... [--rounding double|single] [--isa NAME] [--threads N] [--repeat N] [--dump DIR] [--pixels raw|centred]
#include "files.hpp"
#include "network.hpp"

#include <quern/cpu/report.hpp>
#include <quern/dispatch/thread_pool.hpp>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

namespace {

using namespace run_tflite;

constexpr char const* usage =
    "usage: run_tflite MODEL INPUT... [--rounding double|single] [--isa NAME] [--threads N] [--repeat N] [--dump DIR] [--pixels raw|centred]\n"
    "\n"
    "  MODEL      a .tflite file: int8, or 16-bit activations with 8-bit weights\n"
    "  INPUT      one for each input of the model: .npy, .csv, .bmp, or the tensor's raw bytes\n"
    "  --rounding double: two roundings, as TensorFlow Lite Micro does (default); single: one, as ruy and single-rounding builds do\n"
    "  --isa      the best instruction set to use: baseline, sse41, avx2, avx_vnni, avx512bw, avx512_vnni, amx_int8, ...\n"
    "  --threads  number of threads (default 1)\n"
    "  --repeat   runs this often and prints the shortest time of each layer (default 20)\n"
    "  --dump     writes every tensor of the first run as DIR/<tensor index>.npy\n"
    "  --pixels   raw: BMP bytes as they are (default); centred: minus 128, which int8 models of natural pictures want\n";

struct arguments {
  std::string model, dump;
  std::vector<std::string> inputs;
  rounding round = rounding::twice;
  quern::isa cap = quern::isa::best;
  int threads = 1, repeat = 20;
  pixels pixel = pixels::raw;
};

arguments parse(int argc, char** argv) {
  arguments a;
  for (int i = 1; i < argc; ++i) {
    std::string const word = argv[i];
    if (word.rfind("--", 0) != 0) {
      (a.model.empty() ? a.model : a.inputs.emplace_back()) = word;
      continue;
    }
    if (word != "--rounding" && word != "--isa" && word != "--threads" && word != "--repeat" && word != "--dump" && word != "--pixels")
      throw failure("there is no option " + word + ".");
    if (i + 1 >= argc) throw failure(word + " needs a value.");
    std::string const value = argv[++i];
    auto const number = [&] {
      char* end = nullptr;
      long const n = std::strtol(value.c_str(), &end, 10);
      if (end == value.c_str() || *end != '\0' || n < 1 || n > 1000000) throw failure(word + " takes a number from 1 on, not " + value + ".");
      return static_cast<int>(n);
    };
    if (word == "--rounding") {
      if (value != "double" && value != "single") throw failure("--rounding takes double or single, not " + value + ".");
      a.round = value == "double" ? rounding::twice : rounding::once;
    } else if (word == "--isa") {
      auto const named = quern::isa_named(value.c_str());
      if (!named.found) throw failure("--isa: " + value + " is not the name of an instruction set.");
      a.cap = named.value;
    } else if (word == "--threads") {
      a.threads = number();
    } else if (word == "--repeat") {
      a.repeat = number();
    } else if (word == "--dump") {
      a.dump = value;
    } else {
      if (value != "raw" && value != "centred") throw failure("--pixels takes raw or centred, not " + value + ".");
      a.pixel = value == "raw" ? pixels::raw : pixels::centred;
    }
  }
  if (a.model.empty()) throw failure("no model was given.");
  return a;
}

std::string shape_text(quern::shape const& s) {
  std::string t;
  for (int d = 0; d < s.rank; ++d) t += (d > 0 ? "x" : "") + std::to_string(s[d]);
  return t.empty() ? "scalar" : t;
}

double element_value(tensor const& t, unsigned char const* p, quern::index_t i) {
  switch (t.type) {
    case element::f32: { float v; std::memcpy(&v, p + 4 * i, 4); return static_cast<double>(v); }
    case element::i8: return static_cast<std::int8_t>(p[i]);
    case element::i16: { std::int16_t v; std::memcpy(&v, p + 2 * i, 2); return v; }
    case element::i32: { std::int32_t v; std::memcpy(&v, p + 4 * i, 4); return v; }
    case element::i64: { std::int64_t v; std::memcpy(&v, p + 8 * i, 8); return static_cast<double>(v); }
    default: return p[i];
  }
}

int run(arguments const& a) {
  auto const bytes = read_file(a.model);
  std::unique_ptr<quern::thread_pool> pool;
  quern::gemm_options options{.max_isa = a.cap};
  if (a.threads > 1) {
    pool = std::make_unique<quern::thread_pool>(a.threads);
    options.executor = *pool;
  }
  network net(read_model(bytes.data(), bytes.size()), a.round, options);
  model const& m = net.file();
  if (a.inputs.size() != m.inputs.size())
    throw failure("the model has " + std::to_string(m.inputs.size()) + " inputs, " + std::to_string(a.inputs.size()) + " files were given.");
  // Inputs share the arena with later tensors, so each run copies them in anew.
  std::vector<std::vector<unsigned char>> inputs;
  for (std::size_t i = 0; i < a.inputs.size(); ++i) {
    auto const& t = m.tensors[m.inputs[i]];
    inputs.emplace_back(static_cast<std::size_t>(t.bytes()));
    read_input(a.inputs[i], t, a.pixel, inputs.back().data());
  }
  if (!a.dump.empty()) {
    std::filesystem::create_directories(a.dump);
    for (std::size_t i = 0; i < m.tensors.size(); ++i)
      if (m.tensors[i].constant) write_npy(a.dump + "/" + std::to_string(i) + ".npy", m.tensors[i], m.tensors[i].data.data());
  }
  std::vector<double> best(net.layers().size(), 1e30);
  double best_total = 1e30;
  std::vector<std::vector<unsigned char>> results;
  for (int repeat = 0; repeat < a.repeat; ++repeat) {
    bool const dump = repeat == 0 && !a.dump.empty();
    net.reset();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      std::memcpy(net.data(m.inputs[i]), inputs[i].data(), inputs[i].size());
      if (dump) write_npy(a.dump + "/" + std::to_string(m.inputs[i]) + ".npy", m.tensors[m.inputs[i]], inputs[i].data());
    }
    double total = 0;
    for (std::size_t l = 0; l < net.layers().size(); ++l) {
      auto const start = std::chrono::steady_clock::now();
      net.layers()[l].run();
      double const us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
      best[l] = us < best[l] ? us : best[l];
      total += us;
      if (dump)
        for (int const t : net.layers()[l].outputs) write_npy(a.dump + "/" + std::to_string(t) + ".npy", m.tensors[t], net.data(t));
    }
    best_total = total < best_total ? total : best_total;
    if (repeat == 0)
      for (int const t : m.outputs) results.emplace_back(net.data(t), net.data(t) + m.tensors[t].bytes());
  }

  std::printf("%s%s%s\n%d layers, %lld bytes of arena, %s rounding, %s, %d thread%s, best of %d runs\n\n", a.model.c_str(), m.description.empty() ? "" : ": ",
              m.description.c_str(), static_cast<int>(net.layers().size()), static_cast<long long>(net.arena_bytes()),
              a.round == rounding::twice ? "double" : "single", quern::name(quern::active_isa(a.cap)), a.threads, a.threads > 1 ? "s" : "", a.repeat);
  std::printf("%3s  %-19s %-16s %-16s %-22s %10s %8s\n", "#", "operator", "input", "output", "kernel", "us", "GOPS");
  double operations = 0, sum = 0;
  for (std::size_t l = 0; l < net.layers().size(); ++l) {
    auto const& layer = net.layers()[l];
    std::printf("%3d  %-19s %-16s %-16s %-22s %10.2f %8.2f\n", static_cast<int>(l), layer.op.c_str(),
                layer.inputs.empty() ? "" : shape_text(m.tensors[layer.inputs[0]].extents).c_str(), shape_text(m.tensors[layer.outputs[0]].extents).c_str(),
                layer.kernel.c_str(), best[l], best[l] > 0 ? layer.operations / best[l] / 1e3 : 0.0);
    operations += layer.operations;
    sum += best[l];
  }
  std::printf("     %-19s %-16s %-16s %-22s %10.2f %8.2f\n     best whole run: %.2f us\n", "all", "", "", "", sum, sum > 0 ? operations / sum / 1e3 : 0.0, best_total);
  for (std::size_t i = 0; i < m.outputs.size(); ++i) {
    auto const& t = m.tensors[m.outputs[i]];
    quern::index_t const n = t.extents.size();
    std::printf("\noutput %d (%s, tensor %d): %s %s\n", static_cast<int>(i), t.name.c_str(), m.outputs[i], shape_text(t.extents).c_str(), name(t.type));
    for (quern::index_t k = 0; k < n && k < 32; ++k) {
      double const q = element_value(t, results[i].data(), k);
      if (t.scales.empty())
        std::printf("  [%lld] %.9g\n", static_cast<long long>(k), q);
      else
        std::printf("  [%lld] %5.0f  = %.6f\n", static_cast<long long>(k), q, static_cast<double>(t.scale()) * (q - t.zero_point()));
    }
    if (n > 32) std::printf("  ... %lld more; --dump writes them all\n", static_cast<long long>(n - 32));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) return std::fputs(usage, stdout), 0;
  try {
    return run(parse(argc, argv));
  } catch (std::exception const& e) {
    std::fprintf(stderr, "run_tflite: %s\n", e.what());
    if (argc < 2) std::fputs(usage, stderr);
    return 1;
  }
}
