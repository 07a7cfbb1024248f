// network/person_detect/<library>/<isa>: Google's person detection (MobileNet v1 0.25, 96 x 96) by examples/run_tflite, beside TFLite's
// arithmetic in plain loops that were compiled with -O3 -march=native. Both must give the same bytes in every layer.
#ifdef QUERN_BENCH_MODELS_DIR
#include "network_reference.hpp"
#include "support.hpp"

#include "network.hpp"
#include "files.hpp"

#include <quern/rescale/gemmlowp_double.hpp>

#include <filesystem>
#include <memory>

namespace quern::bench {
namespace {

using run_tflite::element;
using run_tflite::model;
using run_tflite::op;

std::string const folder = QUERN_BENCH_MODELS_DIR;

model read(std::string const& name) {
  auto const file = run_tflite::read_file(folder + "/" + name);
  return run_tflite::read_model(file.data(), file.size());
}

/// The model's convolutions and pools in plain loops; the reshape and the softmax behind them take no time.
class plain_network {
 public:
  explicit plain_network(model m) : model_(std::move(m)) {
    for (auto const& t : model_.tensors) values_.emplace_back(t.bytes());
    for (auto const& o : model_.operations) add(o);
  }
  void run() {
    for (auto const& step : steps_) step();
  }
  std::int8_t* data(int tensor) { return values_[static_cast<std::size_t>(tensor)].data(); }
  model const& file() const { return model_; }
  std::vector<int> const& computed() const { return computed_; }

 private:
  static plain::image image_of(run_tflite::tensor const& t) { return {static_cast<int>(t.extents[1]), static_cast<int>(t.extents[2]), static_cast<int>(t.extents[3])}; }
  void add(run_tflite::operation const& o) {
    bool const depthwise = o.code == static_cast<int>(op::depthwise_conv);
    bool const pool = o.code == static_cast<int>(op::average_pool);
    if (!depthwise && !pool && o.code != static_cast<int>(op::conv)) return;
    auto const &x = model_.tensors[static_cast<std::size_t>(o.inputs[0])], &y = model_.tensors[static_cast<std::size_t>(o.outputs[0])];
    std::int8_t const* const from = data(o.inputs[0]);
    std::int8_t* const to = data(o.outputs[0]);
    computed_.push_back(o.outputs[0]);
    plain::image const in = image_of(x), out = image_of(y);
    if (pool) {
      steps_.push_back([=, k = o.o] { plain::average_pool(in, out, k.filter_h, k.filter_w, k.stride_h, from, to); });
      return;
    }
    auto const &w = model_.tensors[static_cast<std::size_t>(o.inputs[1])], &b = model_.tensors[static_cast<std::size_t>(o.inputs[2])];
    plain::conv c{in, out, static_cast<int>(w.extents[1]), static_cast<int>(w.extents[2]), o.o.stride_h, 0, 0, depthwise ? out.c / in.c : 0, x.zero_point(), y.zero_point(), -128, 127,
                  reinterpret_cast<std::int8_t const*>(w.data.data()), reinterpret_cast<std::int32_t const*>(b.data.data()), nullptr, nullptr};
    if (o.o.same_padding) {
      c.pad_h = std::max((out.h - 1) * c.stride + c.kernel_h - in.h, 0) / 2;
      c.pad_w = std::max((out.w - 1) * c.stride + c.kernel_w - in.w, 0) / 2;
    }
    auto const multipliers = std::make_shared<std::vector<std::int32_t>>(), shifts = std::make_shared<std::vector<std::int32_t>>();
    for (float const s : w.scales) {
      auto const m = rescale::gemmlowp_double::from_real(static_cast<double>(x.scale()) * static_cast<double>(s) / static_cast<double>(y.scale()));
      multipliers->push_back(m.multiplier), shifts->push_back(m.shift);
    }
    c.multipliers = multipliers->data(), c.shifts = shifts->data();
    steps_.push_back([=] { static_cast<void>(multipliers), static_cast<void>(shifts), plain::run(c, from, to); });
  }

  model model_;
  std::vector<int> computed_;
  std::vector<buffer<std::int8_t>> values_;
  std::vector<std::function<void()>> steps_;
};

void fill(model const& m, unsigned char* to) {
  run_tflite::read_input(folder + "/person.bmp", m.tensors[static_cast<std::size_t>(m.inputs[0])], run_tflite::pixels::raw, to);
}
std::shared_ptr<plain_network> plain_person() {
  auto const net = std::make_shared<plain_network>(read("person_detect.tflite"));
  fill(net->file(), reinterpret_cast<unsigned char*>(net->data(net->file().inputs[0])));
  net->run();
  return net;
}

void register_networks() {
  if (!std::filesystem::exists(folder + "/person_detect.tflite")) return;
  add({.name = "network/person_detect/plain_loops/native", .prepare = [](check&) -> body {
         auto const net = plain_person();
         return [net] { net->run(); };
       }});
  for (isa const i : isas())
    add({.name = std::string("network/person_detect/quern/") + name(i), .prepare = [=](check& c) -> body {
           auto const reference = plain_person();
           auto const net = std::make_shared<run_tflite::network>(read("person_detect.tflite"), run_tflite::rounding::twice, gemm_options{.max_isa = i});
           auto const& m = net->file();
           fill(m, net->data(m.inputs[0]));
           buffer<unsigned char> input(m.tensors[static_cast<std::size_t>(m.inputs[0])].bytes());
           std::copy_n(net->data(m.inputs[0]), input.size(), input.begin());
           std::size_t at = 0;
           index_t different = 0, compared = 0;
           for (auto const& l : net->layers()) {  // tensors share memory: each is compared before the next layer runs
             l.run();
             if (at == reference->computed().size()) continue;
             int const t = reference->computed()[at++];
             index_t const n = m.tensors[static_cast<std::size_t>(t)].bytes();
             for (index_t k = 0; k < n; ++k) different += static_cast<std::int8_t>(net->data(t)[k]) != reference->data(t)[k];
             compared += n;
           }
           c.wrong = static_cast<double>(different) / static_cast<double>(compared);
           auto const run = [net, input] {
             std::copy_n(input.begin(), input.size(), net->data(net->file().inputs[0]));
             for (auto const& l : net->layers()) l.run();
           };
           double const loops = best_seconds([&] { reference->run(); }, 0.1), ours = best_seconds(run, 0.1);
           c.say(std::to_string(ours * 1e3).substr(0, 5) + " ms, " + std::to_string(loops / ours).substr(0, 5) + " times as fast as the plain loops");
           return run;
         }});
}
QUERN_BENCH_CASES(register_networks);
}  // namespace
}  // namespace quern::bench
#endif
