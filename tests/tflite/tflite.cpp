// tflite.cpp — examples/run_tflite on real models, on every instruction set, and on damaged files.
#include "support/catch.hpp"
#include "support/isas.hpp"

#include "files.hpp"
#include "network.hpp"

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

using namespace run_tflite;

namespace {

std::filesystem::path const models = std::string(QUERN_MODELS_DIR);

bool there() {
  bool const yes = !models.empty() && std::filesystem::exists(models / "person_detect.tflite");
  if (!yes) WARN("the models are not there; nothing was run");
  return yes;
}

/// Runs a model on its inputs; every tensor that a layer writes, one after the other, and the first output.
struct outcome {
  std::vector<unsigned char> everything, output;
};
outcome run(std::vector<unsigned char> const& file, std::vector<std::string> const& inputs, rounding r, quern::isa cap) {
  network net(read_model(file.data(), file.size()), r, {.max_isa = cap});
  auto const& m = net.file();
  REQUIRE(inputs.size() == m.inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) read_input(inputs[i], m.tensors[m.inputs[i]], pixels::raw, net.data(m.inputs[i]));
  outcome o;
  for (auto const& l : net.layers()) {
    l.run();
    for (int const t : l.outputs) o.everything.insert(o.everything.end(), net.data(t), net.data(t) + m.tensors[t].bytes());
  }
  o.output.assign(net.data(m.outputs[0]), net.data(m.outputs[0]) + m.tensors[m.outputs[0]].bytes());
  return o;
}

std::vector<int> codes(std::vector<unsigned char> const& bytes) {
  std::vector<int> c;
  for (unsigned char const b : bytes) c.push_back(static_cast<signed char>(b));
  return c;
}

/// Building and running either works or is refused with a sentence.
void survive(std::vector<unsigned char> const& file) {
  try {
    network net(read_model(file.data(), file.size()), rounding::twice, {});
    for (int const t : net.file().inputs) std::fill_n(net.data(t), net.file().tensors[t].bytes(), static_cast<unsigned char>(3));
    for (auto const& l : net.layers()) l.run();
  } catch (std::exception const& e) {
    REQUIRE(std::string(e.what()).size() > 10);
  }
}

}  // namespace

TEST_CASE("person detection gives TensorFlow Lite Micro's scores on every instruction set", "[tflite]") {
  if (!there()) return;
  auto const file = read_file((models / "person_detect.tflite").string());
  for (auto const r : {rounding::twice, rounding::once})
    for (bool const person : {true, false}) {
      std::vector<unsigned char> first;
      support::for_each_native_isa([&](quern::isa i) {
        INFO(name(i));
        auto const o = run(file, {(models / (person ? "person.bmp" : "no_person.bmp")).string()}, r, i);
        if (r == rounding::twice) REQUIRE(codes(o.output) == (person ? std::vector<int>{-113, 113} : std::vector<int>{57, -57}));
        if (first.empty()) first = o.everything;
        REQUIRE(o.everything == first);  // every tensor of every layer
      });
    }
}

TEST_CASE("the 16-bit speech layers give TensorFlow Lite's outputs on every instruction set", "[tflite]") {
  if (!there()) return;
  for (std::string const name : {"conv18", "conv6", "add0", "add16", "leaky_relu9", "leaky_relu11"}) {
    auto const folder = models / "seanet";
    auto const file = read_file((folder / (name + ".tflite")).string());
    std::vector<std::string> inputs;
    for (int i = 0; std::filesystem::exists(folder / (name + "_input" + std::to_string(i) + "_int16.csv")); ++i)
      inputs.push_back((folder / (name + "_input" + std::to_string(i) + "_int16.csv")).string());
    model const m = read_model(file.data(), file.size());
    std::vector<unsigned char> golden(static_cast<std::size_t>(m.tensors[m.outputs[0]].bytes()));
    read_input((folder / (name + "_golden_int16.csv")).string(), m.tensors[m.outputs[0]], pixels::raw, golden.data());
    support::for_each_native_isa([&](quern::isa i) {
      INFO(name << " on " << quern::name(i));
      REQUIRE(run(file, inputs, rounding::twice, i).output == golden);
    });
  }
}

TEST_CASE("a model that is cut off is refused", "[tflite]") {
  if (!there()) return;
  for (char const* const name : {"person_detect.tflite", "seanet/conv6.tflite"}) {
    auto const file = read_file((models / name).string());
    for (std::size_t size = 0; size < file.size(); size += 1 + size / 24) {
      INFO(name << " of " << size << " bytes");
      // On the heap, so that a sanitizer sees the first byte behind the end.
      std::vector<unsigned char> const cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
      survive(cut);
    }
    REQUIRE_THROWS_AS(read_model(file.data(), file.size() / 2), failure);
  }
}

TEST_CASE("damaged models are refused or run, nothing else", "[tflite]") {
  if (!there()) return;
  std::mt19937 random(5);
  for (char const* const name : {"seanet/conv6.tflite", "seanet/add0.tflite", "seanet/leaky_relu11.tflite"}) {
    auto const file = read_file((models / name).string());
    for (int n = 0; n < 400; ++n) {
      auto bad = file;
      for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips) {
        // Half of the flips go where the tables are, at the file's ends; weights hardly ever hurt.
        std::size_t const at = random() % 2 != 0 ? random() % bad.size() : random() % 2 != 0 ? random() % 256 : bad.size() - 1 - random() % std::min<std::size_t>(2000, bad.size());
        bad[at] = static_cast<unsigned char>(random());
      }
      survive(bad);
    }
  }
}

TEST_CASE("inputs that do not fit are refused", "[tflite]") {
  tensor t;
  t.extents = quern::make_shape(1, 2, 2, 1);
  t.type = element::i8;
  auto const folder = std::filesystem::temp_directory_path();
  auto const write = [&](char const* name, std::string const& bytes) {
    std::string const path = (folder / name).string();
    std::FILE* const f = std::fopen(path.c_str(), "wb");
    std::fwrite(bytes.data(), 1, bytes.size(), f);
    std::fclose(f);
    return path;
  };
  unsigned char to[4];
  read_input(write("quern_ok.csv", "1, -2\n3 ,127\n"), t, pixels::raw, to);
  CHECK(codes({to, to + 4}) == std::vector<int>{1, -2, 3, 127});
  for (auto const& [name, bytes] : {std::pair{"quern_a.csv", "1,2,3"}, {"quern_b.csv", "1,2,3,4,5"}, {"quern_c.csv", "1,2,3,128"}, {"quern_d.csv", "1,2,x,4"},
                                    {"quern_e.raw", "abc"}, {"quern_f.bmp", "BM"}, {"quern_g.npy", "\x93NUMPY\x01"}}) {
    INFO(name);
    CHECK_THROWS_AS(read_input(write(name, bytes), t, pixels::raw, to), failure);
  }
  write_npy((folder / "quern_h.npy").string(), t, to);
  unsigned char back[4] = {};
  read_input((folder / "quern_h.npy").string(), t, pixels::raw, back);
  CHECK(std::equal(to, to + 4, back));
}
