#include "network.hpp"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <unistd.h>

namespace keyword {
namespace {

/// Calls f(output pixel, input pixel, tap) for every tap inside of the image, for one clip.
template <class F>
void for_each_tap(layer const& l, F const& f) {
  for (int y = 0; y < l.out_h; ++y)
    for (int x = 0; x < l.out_w; ++x)
      for (int ky = 0; ky < l.kernel_h; ++ky)
        for (int kx = 0; kx < l.kernel_w; ++kx) {
          int const sy = y * l.stride - l.pad_top() + ky, sx = x * l.stride - l.pad_left() + kx;
          if (sy >= 0 && sy < l.in_h && sx >= 0 && sx < l.in_w) f(y * l.out_w + x, sy * l.in_w + sx, ky * l.kernel_w + kx);
        }
}

/// The input pixels under each output pixel, side by side.
matrix patches(layer const& l, matrix const& x, int clips) {
  int const in = l.in_h * l.in_w, out = l.out_h * l.out_w;
  matrix p = matrix::Zero(clips * out, l.kernel_h * l.kernel_w * l.in_c);
  for (int b = 0; b < clips; ++b)
    for_each_tap(l, [&](int o, int i, int tap) { p.row(b * out + o).segment(tap * l.in_c, l.in_c) = x.row(b * in + i); });
  return p;
}

matrix forward(layer const& l, matrix const& x, int clips) {
  int const in = l.in_h * l.in_w, out = l.out_h * l.out_w;
  matrix y(clips * out, l.out_c);
  switch (l.what) {
    case kind::conv: y.noalias() = patches(l, x, clips) * l.weights.transpose(); break;
    case kind::pointwise:
    case kind::dense: y.noalias() = x * l.weights.transpose(); break;
    case kind::depthwise:
      y.setZero();
      for (int b = 0; b < clips; ++b)
        for_each_tap(l, [&](int o, int i, int tap) { y.row(b * out + o).array() += x.row(b * in + i).array() * l.weights.row(tap).array(); });
      break;
    case kind::average:
      for (int b = 0; b < clips; ++b) y.row(b) = x.middleRows(b * in, in).colwise().mean();
      return y;
  }
  y.rowwise() += l.bias;
  if (l.relu) y = y.cwiseMax(0.0f);
  return y;
}

/// From the gradient of a layer's output (already zero where ReLU was) to those of its weights, bias and input.
matrix backward(layer const& l, matrix const& x, matrix const& error, int clips, layer& gradient) {
  int const in = l.in_h * l.in_w, out = l.out_h * l.out_w;
  matrix back;
  if (l.what != kind::average) gradient.bias = error.colwise().sum();
  switch (l.what) {
    case kind::conv: gradient.weights.noalias() = error.transpose() * patches(l, x, clips); break;  // the first layer: nobody asks for more
    case kind::pointwise:
    case kind::dense:
      gradient.weights.noalias() = error.transpose() * x;
      back.noalias() = error * l.weights;
      break;
    case kind::depthwise:
      gradient.weights.setZero();
      back = matrix::Zero(x.rows(), x.cols());
      for (int b = 0; b < clips; ++b)
        for_each_tap(l, [&](int o, int i, int tap) {
          gradient.weights.row(tap).array() += error.row(b * out + o).array() * x.row(b * in + i).array();
          back.row(b * in + i).array() += error.row(b * out + o).array() * l.weights.row(tap).array();
        });
      break;
    case kind::average:
      back.resize(x.rows(), x.cols());
      for (int b = 0; b < clips; ++b) back.middleRows(b * in, in).rowwise() = error.row(b) / static_cast<float>(in);
      break;
  }
  return back;
}

}  // namespace

double layer::operations() const {
  double const taps = what == kind::average ? in_h * in_w * 0.5 : what == kind::depthwise ? kernel_h * kernel_w : kernel_h * kernel_w * in_c;
  return 2 * taps * out_h * out_w * out_c;
}

char const* layer::name() const {
  constexpr char const* names[] = {"conv", "depthwise", "pointwise", "average", "dense"};
  return names[static_cast<int>(what)];
}

network make_network(generator& random) {
  network net;
  int h = frames, w = bands, c = 1;
  auto const add = [&](kind what, int kernel_h, int kernel_w, int stride, int outputs) {
    layer l{what, kernel_h, kernel_w, stride, h, w, c, (h + stride - 1) / stride, (w + stride - 1) / stride, outputs, {}, {}, what != kind::dense};
    if (what == kind::average) l.out_h = l.out_w = 1;
    if (what != kind::average) {
      bool const depthwise = what == kind::depthwise;
      int const fan_in = kernel_h * kernel_w * (depthwise ? 1 : c);
      l.weights = depthwise ? matrix(kernel_h * kernel_w, c) : matrix(outputs, fan_in);
      for (Eigen::Index i = 0; i < l.weights.size(); ++i) l.weights.data()[i] = std::sqrt(2.0f / static_cast<float>(fan_in)) * random.normal();
      l.bias = vector::Zero(outputs);
    }
    h = l.out_h, w = l.out_w, c = outputs;
    net.push_back(std::move(l));
  };
  add(kind::conv, 5, 3, 2, 16);
  add(kind::depthwise, 3, 3, 1, 16);
  add(kind::pointwise, 1, 1, 1, 32);
  add(kind::depthwise, 3, 3, 2, 32);
  add(kind::pointwise, 1, 1, 1, 32);
  add(kind::depthwise, 3, 3, 1, 32);
  add(kind::pointwise, 1, 1, 1, 64);
  add(kind::average, 1, 1, 1, 64);
  add(kind::dense, 1, 1, 1, classes);
  return net;
}

std::vector<matrix> run(network const& net, matrix const& x, int clips) {
  std::vector<matrix> outputs;
  for (layer const& l : net) outputs.push_back(forward(l, outputs.empty() ? x : outputs.back(), clips));
  return outputs;
}

matrix input(dataset const& d, int first, int count) {
  // 256 log2(energy), about 2,000 to 9,000, to about -2 to 2.
  matrix x(count * features, 1);
  for (Eigen::Index i = 0; i < x.rows(); ++i) x(i, 0) = (static_cast<float>(d.clip(first)[i]) - 5632.0f) / 2048.0f;
  return x;
}

void train(network& net, dataset const& data, int epochs, generator& random) {
  network mean = net, square = net, gradient = net;
  for (std::size_t l = 0; l < net.size(); ++l)
    for (network* n : {&mean, &square}) (*n)[l].weights.setZero(), (*n)[l].bias.setZero();
  int const batch = 25, steps = epochs * (data.size() / batch);
  std::vector<int> order(static_cast<std::size_t>(data.size()));
  std::iota(order.begin(), order.end(), 0);
  bool const terminal = isatty(1) != 0;
  auto const start = std::chrono::steady_clock::now();
  matrix x(batch * features, 1);
  int step = 0;
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    for (int i = data.size() - 1; i > 0; --i) std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(random.below(i + 1))]);
    double loss = 0;
    int seen = 0, right = 0;
    for (int first = 0; first + batch <= data.size(); first += batch) {
      for (int b = 0; b < batch; ++b) x.middleRows(b * features, features) = input(data, order[static_cast<std::size_t>(first + b)], 1);
      auto const outputs = run(net, x, batch);
      matrix error = outputs.back();  // the gradient: softmax less the right answer
      for (int b = 0; b < batch; ++b) {
        int const label = data.labels[static_cast<std::size_t>(order[static_cast<std::size_t>(first + b)])];
        Eigen::Index best = 0;
        error.row(b).maxCoeff(&best);
        right += best == label, ++seen;
        error.row(b) = (error.row(b).array() - error.row(b).maxCoeff()).exp().matrix();
        error.row(b) /= error.row(b).sum();
        loss -= std::log(std::max(error(b, label), 1e-20f));
        error(b, label) -= 1;
      }
      error /= batch;
      for (std::size_t l = net.size(); l-- > 0;) {
        if (net[l].relu && net[l].what != kind::average) error = error.cwiseProduct((outputs[l].array() > 0).cast<float>().matrix());
        error = backward(net[l], l == 0 ? x : outputs[l - 1], error, batch, gradient[l]);
      }
      ++step;
      float const rate = 0.004f * 0.5f * (1 + std::cos(3.14159265f * static_cast<float>(step) / static_cast<float>(steps)));
      float const mean_bias = 1 - std::pow(0.9f, static_cast<float>(step)), square_bias = 1 - std::pow(0.99f, static_cast<float>(step));
      auto const adam = [&](auto& value, auto const& slope, auto& m, auto& v) {
        m = 0.9f * m + 0.1f * slope;
        v = 0.99f * v + 0.01f * slope.cwiseProduct(slope);
        value.array() -= rate * (m.array() / mean_bias) / ((v.array() / square_bias).sqrt() + 1e-6f);
      };
      for (std::size_t l = 0; l < net.size(); ++l) {
        if (net[l].what == kind::average) continue;
        adam(net[l].weights, gradient[l].weights, mean[l].weights, square[l].weights);
        adam(net[l].bias, gradient[l].bias, mean[l].bias, square[l].bias);
      }
      bool const last = step == steps;
      if (last || (terminal && step % 5 == 0)) {
        std::printf("%strain  epoch %2d of %d   loss %.4f   training accuracy %6.2f %%   %.1f s%s", terminal ? "\r" : "", epoch, epochs, loss / seen, 100.0 * right / seen,
                    std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), last ? "\n" : "");
        std::fflush(stdout);
      }
    }
  }
}

}  // namespace keyword
