#include "network.hpp"

#include <quern/compress/equalize.hpp>
#include <quern/eigen/view.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <unistd.h>

namespace digits {

std::vector<matrix> run(network const& net, Eigen::Ref<matrix const> const& x) {
  std::vector<matrix> outputs;
  for (std::size_t l = 0; l < net.size(); ++l) {
    matrix y;
    if (l == 0)
      y.noalias() = x * net[l].weights.transpose();
    else
      y.noalias() = outputs[l - 1] * net[l].weights.transpose();
    y.rowwise() += net[l].bias;
    if (l + 1 < net.size()) y = y.cwiseMax(0.0f);
    outputs.push_back(std::move(y));
  }
  return outputs;
}

std::vector<int> classes(Eigen::Ref<matrix const> const& outputs) {
  std::vector<int> c(static_cast<std::size_t>(outputs.rows()));
  for (Eigen::Index i = 0; i < outputs.rows(); ++i) {
    Eigen::Index best = 0;
    outputs.row(i).maxCoeff(&best);
    c[static_cast<std::size_t>(i)] = static_cast<int>(best);
  }
  return c;
}

int count_right(Eigen::Ref<matrix const> const& outputs, std::vector<int> const& labels) {
  auto const c = classes(outputs);
  return static_cast<int>(std::inner_product(c.begin(), c.end(), labels.begin(), 0, std::plus<>{}, std::equal_to<>{}));
}

namespace {
void optimize(network& net, dataset const& data, dataset const& test, schedule const& s, generator& random, weight_filter const* filter);
}

network train(dataset const& data, dataset const& test, int epochs, bool jittered, std::uint64_t seed) {
  generator random(seed);
  network net;
  std::vector<Eigen::Index> const sizes = {data.pixel_count(), 64, 64, 10};
  for (std::size_t l = 0; l + 1 < sizes.size(); ++l) {
    layer fresh{matrix(sizes[l + 1], sizes[l]), vector::Zero(sizes[l + 1])};
    float const spread = std::sqrt(2.0f / static_cast<float>(sizes[l]));
    for (Eigen::Index i = 0; i < fresh.weights.size(); ++i) fresh.weights.data()[i] = spread * random.normal();
    net.push_back(std::move(fresh));
  }
  optimize(net, data, test, {epochs, jittered, 0.003f, seed}, random, nullptr);
  return net;
}

void fine_tune(network& net, dataset const& data, dataset const& test, schedule const& s, weight_filter const& filter) {
  generator random(s.seed);
  optimize(net, data, test, s, random, &filter);
}

namespace {

network const& filtered_or(network const& net, weight_filter const* filter, network& filtered) {
  if (filter == nullptr) return net;
  (*filter)(net, filtered);
  return filtered;
}

void optimize(network& net, dataset const& data, dataset const& test, schedule const& s, generator& random, weight_filter const* filter) {
  network mean = net, square = net, gradient = net, filtered = net;
  for (std::size_t l = 0; l < net.size(); ++l)
    for (network* n : {&mean, &square}) (*n)[l].weights.setZero(), (*n)[l].bias.setZero();

  int const batch = 50;
  std::vector<int> order(static_cast<std::size_t>(data.size()));
  std::iota(order.begin(), order.end(), 0);
  matrix x(batch, data.pixel_count());
  std::vector<int> labels(batch);
  bool const terminal = isatty(1) != 0;
  auto const start = std::chrono::steady_clock::now();
  long step = 0;
  long const steps = static_cast<long>(s.epochs) * (data.size() / batch);
  for (int epoch = 1; epoch <= s.epochs; ++epoch) {
    for (int i = data.size() - 1; i > 0; --i) std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(random.below(i + 1))]);
    double loss = 0;
    for (int first = 0; first + batch <= data.size(); first += batch) {
      for (int i = 0; i < batch; ++i) {
        int const from = order[static_cast<std::size_t>(first + i)];
        labels[static_cast<std::size_t>(i)] = data.labels[static_cast<std::size_t>(from)];
        if (s.jittered)
          jitter(data.image(from), data.side, 0.7f, random, x.row(i).data());
        else
          std::copy_n(data.image(from), data.pixel_count(), x.row(i).data());
      }
      network const& used = filtered_or(net, filter, filtered);
      auto const outputs = run(used, x);
      matrix error = outputs.back();  // the gradient: softmax less the right answer
      for (int i = 0; i < batch; ++i) {
        auto row = error.row(i);
        row = (row.array() - row.maxCoeff()).exp().matrix();
        row /= row.sum();
        float& right = row(labels[static_cast<std::size_t>(i)]);
        loss -= std::log(std::max(right, 1e-20f));
        right -= 1;
      }
      error /= batch;
      for (std::size_t l = net.size(); l-- > 0;) {
        gradient[l].bias = error.colwise().sum();
        if (l == 0) {
          gradient[l].weights.noalias() = error.transpose() * x;
          break;
        }
        gradient[l].weights.noalias() = error.transpose() * outputs[l - 1];
        matrix back = error * used[l].weights;
        error = back.cwiseProduct((outputs[l - 1].array() > 0).cast<float>().matrix());
      }
      ++step;
      float const progress = static_cast<float>(step) / static_cast<float>(steps);
      float const rate = s.rate * 0.5f * (1 + std::cos(3.14159265f * progress));
      float const mean_bias = 1 - std::pow(0.9f, static_cast<float>(step)), square_bias = 1 - std::pow(0.99f, static_cast<float>(step));
      auto const adam = [&](auto& value, auto const& slope, auto& m, auto& v) {
        m = 0.9f * m + 0.1f * slope;
        v = 0.99f * v + 0.01f * slope.cwiseProduct(slope);
        value.array() -= rate * (m.array() / mean_bias) / ((v.array() / square_bias).sqrt() + 1e-6f);
      };
      for (std::size_t l = 0; l < net.size(); ++l) {
        adam(net[l].weights, gradient[l].weights, mean[l].weights, square[l].weights);
        adam(net[l].bias, gradient[l].bias, mean[l].bias, square[l].bias);
      }
    }
    double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (terminal || epoch == s.epochs)
      std::printf("%s%s  epoch %2d of %d   loss %.4f   test accuracy %6.2f %%   %.1f s%s", terminal ? "\r" : "", filter == nullptr ? "train" : "tune ", epoch, s.epochs,
                  loss / (data.size() / batch * batch), 100.0 * count_right(run(filtered_or(net, filter, filtered), images(test)).back(), test.labels) / test.size(), seconds,
                  epoch == s.epochs ? "\n" : "");
    std::fflush(stdout);
  }
}

}  // namespace

void tear_apart(network& net, float ratio, std::uint64_t seed) {
  generator random(seed);
  float const half = 0.5f * std::log(ratio);
  for (std::size_t l = 0; l + 1 < net.size(); ++l)
    for (Eigen::Index unit = 0; unit < net[l].weights.rows(); ++unit) {
      float const factor = std::exp(random.uniform(-half, half));
      net[l].weights.row(unit) *= factor;
      net[l].bias(unit) *= factor;
      net[l + 1].weights.col(unit) /= factor;
    }
}

void equalize(network& net) {
  std::vector<quern::compress::layer_view> layers;
  for (layer& l : net) layers.push_back({quern::view(l.weights), quern::view(l.bias)});
  quern::compress::equalize(layers);
}

}  // namespace digits
