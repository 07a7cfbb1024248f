#include "integer.hpp"

#include <quern/calibrate/min_max.hpp>
#include <quern/eigen/view.hpp>
#include <quern/ops/pool.hpp>
#include <quern/ops/table.hpp>

#include <cmath>

namespace keyword {
namespace {

using quern::nhwc;
using codes = Eigen::Matrix<std::int8_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Codes and scales of weights: one scale for all, for each row (dense layers), or for each column (depthwise ones).
template <class Granularity>
std::vector<float> quantize_weights(matrix const& w, codes& q) {
  using scheme = quern::symmetric<quern::s8, Granularity, quern::narrow_range>;
  quern::calibrate::min_max<Granularity> seen;
  seen.observe(quern::as_matrix(w));
  quern::params<scheme> p;
  if constexpr (Granularity::single)
    p = quern::choose_params<scheme>(seen.ranges()[0]);
  else
    p = quern::choose_params<scheme>(seen.ranges());
  quern::quantize(quern::as_matrix(w), p, quern::as_matrix(q));
  if constexpr (Granularity::single)
    return {p.scale};
  else
    return {p.scales.begin(), p.scales.end()};
}

activation_params activations(matrix const& x) {
  return quern::choose_params<quern::asymmetric<quern::s8>>(quern::calibrate::range_of(quern::as_matrix(x)).range);
}

}  // namespace

integer_network::integer_network(network const& net, matrix const& calibration, int clips, bool per_channel) {
  auto const outputs = keyword::run(net, calibration, clips);
  activation_params in = activations(calibration);
  // The float network's input is (feature - 5632) / 2048, so that a feature is a code of scale 1/2048 and zero point 5632.
  from_features_ = quern::fixed_point::requantize<>::make({1.0f / 2048, 5632}, {in.scale, in.zero_point}, {-128, 127});
  for (std::size_t l = 0; l < net.size(); ++l) {
    integer_layer q;
    q.shape = net[l];
    q.in = in;
    q.out = net[l].what == kind::average ? in : activations(outputs[l]);  // a pool's codes keep their meaning
    if (net[l].what != kind::average) {
      bool const depthwise = net[l].what == kind::depthwise;
      codes w(net[l].weights.rows(), net[l].weights.cols());
      auto const scales = !per_channel ? quantize_weights<quern::per_tensor>(net[l].weights, w)
                          : depthwise  ? quantize_weights<quern::per_channel<1>>(net[l].weights, w)
                                       : quantize_weights<quern::per_channel<0>>(net[l].weights, w);
      for (int o = 0; o < net[l].out_c; ++o) {
        double const step = static_cast<double>(in.scale) * static_cast<double>(scales[scales.size() > 1 ? static_cast<std::size_t>(o) : 0]);
        q.bias.push_back(static_cast<std::int32_t>(std::lround(static_cast<double>(net[l].bias(o)) / step)));
        q.multipliers.push_back(multiplier::from_real(step / static_cast<double>(q.out.scale)));
      }
      quern::conv_options const o{.stride = {net[l].stride, net[l].stride, 1}, .padding = quern::same};
      if (depthwise)
        q.depthwise = quern::pack_depthwise(nhwc<std::int8_t const>(w.data(), 1, net[l].kernel_h, net[l].kernel_w, net[l].out_c), o);
      else
        q.conv = quern::pack_conv(nhwc<std::int8_t const>(w.data(), net[l].out_c, net[l].kernel_h, net[l].kernel_w, net[l].in_c), o);
      weight_bytes_ += static_cast<long>(w.size()) + 4 * static_cast<long>(q.bias.size() + scales.size());
    }
    q.shape.weights.resize(0, 0);
    in = q.out;
    layers_.push_back(std::move(q));
  }
  softmax_ = quern::fixed_point::softmax8<>::make(in.scale, 1);

  // A layer's output lives until the next one has read it.
  std::vector<quern::tensor_life> lives = {{features, 0, 0}};
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    auto const& s = layers_[l].shape;
    auto const step = static_cast<quern::index_t>(l);
    lives.push_back({quern::index_t{s.out_h} * s.out_w * s.out_c, step, step + 1});
  }
  offsets_.resize(lives.size());
  auto const plan = quern::plan_arena(lives.data(), static_cast<quern::index_t>(lives.size()), offsets_.data());
  arena_ = quern::buffer<std::int8_t>(plan.bytes);
  quern::index_t workspace = 0;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    auto const& s = layers_[l].shape;
    if (s.what == kind::average || s.what == kind::depthwise) continue;
    workspace = std::max(workspace, quern::conv_workspace(nhwc<std::int8_t const>(arena_.data() + offsets_[l], 1, s.in_h, s.in_w, s.in_c), layers_[l].conv,
                                                          nhwc(arena_.data() + offsets_[l + 1], 1, s.out_h, s.out_w, s.out_c), epilogue_of(layers_[l])));
  }
  workspace_ = quern::buffer<unsigned char>(workspace);
}

quern::epilogue<integer_network::multiplier> integer_network::epilogue_of(integer_layer const& l) const {
  quern::epilogue<multiplier> e{};
  e.lhs_zero_point = l.in.zero_point;
  e.bias = quern::view(l.bias);
  e.rescale = quern::view(l.multipliers);
  e.dst_zero_point = l.out.zero_point;
  e.min = l.shape.relu ? l.out.zero_point : -128;
  e.max = 127;
  return e;
}

void integer_network::load(std::int16_t const* from) {
  std::int8_t* const to = arena_.data() + offsets_[0];
  for (int i = 0; i < features; ++i) to[i] = static_cast<std::int8_t>(from_features_(from[i]));
}

void integer_network::run_layer(std::size_t l, quern::isa max_isa) {
  integer_layer const& q = layers_[l];
  layer const& s = q.shape;
  auto const src = nhwc<std::int8_t const>(arena_.data() + offsets_[l], 1, s.in_h, s.in_w, s.in_c);
  auto const dst = nhwc(arena_.data() + offsets_[l + 1], 1, s.out_h, s.out_w, s.out_c);
  quern::gemm_options options{.max_isa = max_isa};
  if (max_isa == quern::isa::best) options.workspace = {workspace_.data(), workspace_.size()};
  switch (s.what) {
    case kind::conv:
    case kind::pointwise:
    case kind::dense: quern::conv2d(src, q.conv, dst, epilogue_of(q), options); break;
    case kind::depthwise: quern::depthwise_conv2d(src, q.depthwise, dst, epilogue_of(q), {.max_isa = max_isa}); break;
    case kind::average: quern::global_average_pool(src, dst, {-128, 127}, max_isa); break;
  }
}

void integer_network::run(std::int16_t const* from, std::int8_t* scores, quern::isa max_isa) {
  load(from);
  for (std::size_t l = 0; l < layers_.size(); ++l) run_layer(l, max_isa);
  softmax_(output(layers_.size() - 1), scores, classes);
}

}  // namespace keyword
