#include "integer.hpp"

#include <quern/calibrate/min_max.hpp>
#include <quern/convert/quantize.hpp>
#include <quern/eigen/view.hpp>
#include <quern/metric/compare.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <utility>

namespace digits {
namespace {

constexpr Eigen::Index batch = 250;  // images at a time

using quern::as_matrix;

template <int Bits, class Granularity>
using weight_scheme = quern::symmetric<quern::code<Bits, true>, Granularity, quern::narrow_range>;

/// The scale at which the range just fits the codes of `bits` bits, for each range.
template <class Granularity, int... Bits>
std::vector<float> choose_scales(int bits, quern::vector_view<quern::real_range const> ranges, std::integer_sequence<int, Bits...>) {
  std::vector<float> scales;
  for (quern::index_t i = 0; i < ranges.size; ++i)
    ((bits == Bits + 2 ? scales.push_back(weight_scheme<Bits + 2, Granularity>::choose(ranges[i]).scale) : void()), ...);
  return scales;
}

/// Codes and scales of a weight matrix; one scale, or one for each row.
template <class Granularity, class Codes>
std::vector<float> quantize_weights(int bits, matrix const& w, Codes& codes) {
  quern::calibrate::min_max<Granularity> seen;
  seen.observe(as_matrix(w));
  auto const scales = choose_scales<Granularity>(bits, seen.ranges(), std::make_integer_sequence<int, 7>{});
  // With these scales no code leaves its bits, so that one instance of quantize, for 8, serves all of them.
  auto p = quern::params<weight_scheme<8, Granularity>>();
  if constexpr (Granularity::single) {
    p.scale = scales[0];
  } else {
    p = p.with_size(seen.size());
    std::copy(scales.begin(), scales.end(), p.scales.begin());
  }
  quern::quantize(as_matrix(w), p, as_matrix(codes));
  return scales;
}

/// The best of several passes over all images, by batches.
double nanoseconds_per_image(Eigen::Index images, std::function<void(Eigen::Index first, Eigen::Index count)> const& pass) {
  double best = 1e300;
  for (int repeat = 0; repeat < 7; ++repeat) {
    auto const start = std::chrono::steady_clock::now();
    for (Eigen::Index i = 0; i < images; i += batch) pass(i, std::min(batch, images - i));
    best = std::min(best, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count());
  }
  return best / static_cast<double>(images);
}

}  // namespace

integer_network::integer_network(network const& net, Eigen::Ref<matrix const> const& calibration, precision p) : precision_(p) {
  auto const activations = digits::run(net, calibration);
  auto const chosen = [&](quern::matrix_view<float const> values) {
    if (p.observer != nullptr) {
      quern::calibrate::histogram h;
      h.observe(values);
      return quern::choose_params<quern::asymmetric<quern::u8>>(p.observer(h));
    }
    return quern::choose_params<quern::asymmetric<quern::u8>>(quern::calibrate::range_of(values).range);
  };
  auto in = chosen(as_matrix(calibration));
  for (std::size_t l = 0; l < net.size(); ++l) {
    matrix const& w = net[l].weights;
    integer_layer q;
    q.weights.resize(w.rows(), w.cols());
    if (p.weights != nullptr) {
      auto const& given = (*p.weights)[l];
      std::copy(given.codes.begin(), given.codes.end(), q.weights.data());
      q.weight_scales.assign(given.scales.begin(), given.scales.end());
    } else {
      q.weight_scales = p.per_channel ? quantize_weights<quern::per_channel<0>>(p.weight_bits, w, q.weights)
                                      : quantize_weights<quern::per_tensor>(p.weight_bits, w, q.weights);
    }
    auto const& weight_scales = q.weight_scales;
    q.scale_count = static_cast<int>(weight_scales.size());
    quern::matrix_view<std::int8_t const> const rhs = quern::matrix_view<std::int8_t const>(as_matrix(q.weights)).transposed();
    if (p.weight_bits <= 4)
      q.nibbles = quern::pack<quern::s4>(rhs);
    else
      q.bytes = quern::pack(rhs);
    bool const is_last = l + 1 == net.size();
    q.in = in;
    q.out = chosen(as_matrix(activations[l]));
    for (Eigen::Index o = 0; o < w.rows(); ++o) {
      float const step = in.scale * weight_scales[p.per_channel ? static_cast<std::size_t>(o) : 0];  // of the accumulator
      q.scales.push_back(is_last ? step : step / q.out.scale);
      q.bias.push_back(static_cast<std::int32_t>(std::lround(std::clamp(net[l].bias(o) / step, -1e9f, 1e9f))));
      q.real_bias.push_back(net[l].bias(o));
    }
    in = q.out;
    layers_.push_back(std::move(q));
  }
}

integer_network::codes integer_network::quantized_input(Eigen::Ref<matrix const> const& x) const {
  codes q(x.rows(), x.cols());
  quern::quantize(as_matrix(x), layers_.front().in, as_matrix(q));
  return q;
}

template <class Dst, class Epilogue>
void integer_network::multiply(integer_layer const& l, codes const& x, quern::matrix_view<Dst> dst, Epilogue const& e) {
  if (l.nibbles.n() > 0)
    quern::gemm(as_matrix(x), l.nibbles, dst, e);
  else
    quern::gemm(as_matrix(x), l.bytes, dst, e);
}

integer_network::codes integer_network::hidden(integer_layer const& l, codes const& x) const {
  codes y(x.rows(), l.weights.rows());
  quern::epilogue<quern::to_real> const e{.lhs_zero_point = l.in.zero_point,
                                          .bias = quern::view(l.bias),
                                          .rescale = {.cols = quern::view(l.scales)},
                                          .dst_zero_point = l.out.zero_point,
                                          .min = l.out.zero_point};  // ReLU
  multiply(l, x, as_matrix(y), e);
  return y;
}

void integer_network::last(integer_layer const& l, codes const& x, Eigen::Ref<matrix> outputs) const {
  quern::epilogue<quern::to_real> const e{.lhs_zero_point = l.in.zero_point,
                                          .rescale = {.cols = quern::view(l.scales), .bias = quern::view(l.real_bias)}};
  multiply(l, x, as_matrix(outputs), e);
}

void integer_network::run(Eigen::Ref<matrix const> const& x, Eigen::Ref<matrix> outputs) const {
  codes q = quantized_input(x);
  for (std::size_t l = 0; l + 1 < layers_.size(); ++l) q = hidden(layers_[l], q);
  last(layers_.back(), q, outputs);
}

std::vector<matrix> integer_network::inputs(Eigen::Ref<matrix const> const& x) const {
  std::vector<matrix> reals;
  codes q = quantized_input(x);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    integer_layer const& layer = layers_[l];
    reals.push_back(((q.cast<float>().array() - static_cast<float>(layer.in.zero_point)) * layer.in.scale).matrix());
    if (l + 1 < layers_.size()) q = hidden(layer, q);
  }
  return reals;
}

matrix integer_network::weights(std::size_t layer) const {
  integer_layer const& l = layers_[layer];
  matrix w = l.weights.cast<float>();
  for (Eigen::Index o = 0; o < w.rows(); ++o) w.row(o) *= l.weight_scales[l.weight_scales.size() > 1 ? static_cast<std::size_t>(o) : 0];
  return w;
}

measurement integer_network::measure(network const& net, Eigen::Ref<matrix const> const& x, std::vector<int> const& labels) const {
  measurement m;
  m.limit_db = 6.0206 * std::min(precision_.weight_bits, 8);
  for (auto const& l : layers_)
    m.weight_bytes += (l.weights.size() * (precision_.weight_bits <= 4 ? 4 : 8) + 7) / 8 + 4 * l.scale_count;

  // The simulation: the definition in plain Eigen, every value a double that holds an integer exactly. Only what the specification
  // rounds to float is rounded to float.
  auto const wanted = digits::run(net, x);
  codes q = quantized_input(x);
  auto const input_steps = (x.array() / layers_.front().in.scale).rint() + static_cast<float>(layers_.front().in.zero_point);
  m.identical = (input_steps.cwiseMax(0.0f).cwiseMin(255.0f) == q.array().cast<float>()).all();
  double clipped = static_cast<double>((input_steps > 255.0f || input_steps < 0.0f).count()), activations = static_cast<double>(x.size());
  matrix outputs(x.rows(), layers_.back().weights.rows());
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    integer_layer const& layer = layers_[l];
    Eigen::MatrixXd const acc = (q.cast<double>().array() - layer.in.zero_point).matrix() * layer.weights.cast<double>().transpose();
    matrix simulated(acc.rows(), acc.cols());
    if (l + 1 < layers_.size()) {
      codes const y = hidden(layer, q);
      for (Eigen::Index i = 0; i < acc.rows(); ++i)
        for (Eigen::Index j = 0; j < acc.cols(); ++j) {
          auto const at = static_cast<std::size_t>(j);
          double const steps = std::nearbyint(static_cast<float>(acc(i, j) + layer.bias[at]) * layer.scales[at]) + layer.out.zero_point;
          clipped += steps > 255;
          double const code = std::clamp<double>(steps, layer.out.zero_point, 255);
          m.identical = m.identical && code == y(i, j);
          simulated(i, j) = layer.out.scale * static_cast<float>(code - layer.out.zero_point);
        }
      activations += static_cast<double>(acc.size());
      q = y;
    } else {
      last(layer, q, outputs);
      for (Eigen::Index i = 0; i < acc.rows(); ++i)
        for (Eigen::Index j = 0; j < acc.cols(); ++j) {
          auto const at = static_cast<std::size_t>(j);
          float const product = static_cast<float>(acc(i, j)) * layer.scales[at];
          simulated(i, j) = quern::rounded(product) + layer.real_bias[at];
        }
      m.identical = m.identical && std::memcmp(simulated.data(), outputs.data(), sizeof(float) * static_cast<std::size_t>(outputs.size())) == 0;
    }
    m.sqnr_db.push_back(quern::metric::sqnr_db(as_matrix(wanted[l]), as_matrix(simulated)));
  }
  m.clipped = clipped / activations;
  m.right = count_right(outputs, labels);
  m.nanoseconds = nanoseconds_per_image(x.rows(), [&](Eigen::Index first, Eigen::Index count) {
    run(x.middleRows(first, count), outputs.middleRows(first, count));
  });
  return m;
}

double time_float(network const& net, Eigen::Ref<matrix const> const& x) {
  return nanoseconds_per_image(x.rows(), [&](Eigen::Index first, Eigen::Index count) { run(net, x.middleRows(first, count)); });
}

}  // namespace digits
