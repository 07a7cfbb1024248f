#include "network.hpp"

#include <quern/core/error.hpp>
#include <quern/ops/arena.hpp>

#include <algorithm>

namespace run_tflite {

layer make_layer_double(model&, std::vector<unsigned char*> const&, quern::gemm_options const&, operation const&);
layer make_layer_single(model&, std::vector<unsigned char*> const&, quern::gemm_options const&, operation const&);

network::network(model m, rounding r, quern::gemm_options run) : model_(std::move(m)) {
  auto const count = static_cast<quern::index_t>(model_.tensors.size());
  auto const steps = static_cast<quern::index_t>(model_.operations.size());
  // A tensor lives from the step that writes it to the last one that reads it; inputs are there before the first step.
  std::vector<quern::tensor_life> lives(model_.tensors.size());
  std::vector<quern::index_t> offsets(model_.tensors.size(), 0);
  for (std::size_t i = 0; i < lives.size(); ++i) {
    auto const& t = model_.tensors[i];
    if (!t.constant && !t.variable) lives[i] = {t.bytes() + 64, steps, 0};  // 64: no tensor is empty, none ends where another begins
  }
  auto const seen = [&](int t, quern::index_t step) {
    if (t < 0 || lives[static_cast<std::size_t>(t)].bytes == 0) return;
    auto& life = lives[static_cast<std::size_t>(t)];
    life.first = std::min(life.first, step);
    life.last = std::max(life.last, step);
  };
  for (int const t : model_.inputs) seen(t, 0);
  for (quern::index_t s = 0; s < steps; ++s) {
    for (int const t : model_.operations[static_cast<std::size_t>(s)].inputs) seen(t, s);
    for (int const t : model_.operations[static_cast<std::size_t>(s)].outputs) seen(t, s);
  }
  for (int const t : model_.outputs) seen(t, steps);
  for (auto& life : lives)
    if (life.first > life.last) life = {};  // used nowhere
  auto const plan = quern::plan_arena(lives.data(), count, offsets.data());
  arena_ = quern::buffer<unsigned char>(plan.bytes);
  quern::index_t state = 0;
  for (std::size_t i = 0; i < lives.size(); ++i)
    if (model_.tensors[i].variable) offsets[i] = state, state += (model_.tensors[i].bytes() + 63) / 64 * 64;
  variables_ = quern::buffer<unsigned char>(state);
  for (std::size_t i = 0; i < lives.size(); ++i) {
    auto& t = model_.tensors[i];
    data_.push_back(t.constant ? t.data.data() : t.variable ? variables_.data() + offsets[i] : lives[i].bytes > 0 ? arena_.data() + offsets[i] : nullptr);
  }
  reset();
  for (std::size_t i = 0; i < model_.operations.size(); ++i) {
    auto const& o = model_.operations[i];
    try {
      layers_.push_back(r == rounding::twice ? make_layer_double(model_, data_, run, o) : make_layer_single(model_, data_, run, o));
    } catch (std::exception const& e) {
      throw failure("operator " + std::to_string(i) + ": " + e.what());
    }
  }
}

void network::reset() {
  for (std::size_t i = 0; i < model_.tensors.size(); ++i) {
    auto const& t = model_.tensors[i];
    if (!t.variable) continue;
    for (quern::index_t k = 0; k < t.extents.size(); ++k) {
      if (t.type == element::i8)
        reinterpret_cast<std::int8_t*>(data_[i])[k] = static_cast<std::int8_t>(t.zero_point());
      else if (t.type == element::i16)
        reinterpret_cast<std::int16_t*>(data_[i])[k] = static_cast<std::int16_t>(t.zero_point());
    }
  }
}

}  // namespace run_tflite
