// mixed_precision — how many bits for which layer: sensitivities measured, costs measured, the optimum for every budget computed.
//
// A small network is trained on a synthetic task; each layer alone is rounded to 2, 3, 4, 6 and 8 bits and the divergence of the
// outputs measured; the exact knapsack gives the Pareto front of size against divergence; some of its points are then run whole.
#include <quern/compress/latency.hpp>
#include <quern/compress/mixed_precision.hpp>
#include <quern/compress/round_to_nearest.hpp>
#include <quern/compress/sensitivity.hpp>

#include <Eigen/Core>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

using namespace quern;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

namespace {

constexpr int inputs = 16, classes = 8, seed = 7;
int const widths[] = {2, 3, 4, 6, 8};

struct network {
  std::vector<matrix> w;
  std::vector<Eigen::RowVectorXf> b;

  // Activations of every layer, the last one's are logits.
  std::vector<matrix> forward(matrix const& x) const {
    std::vector<matrix> a{x};
    for (std::size_t l = 0; l < w.size(); ++l) {
      matrix y = a.back() * w[l].transpose();
      y.rowwise() += b[l];
      a.push_back(l + 1 < w.size() ? matrix(y.cwiseMax(0.0f)) : y);
    }
    return a;
  }
  double accuracy(matrix const& x, std::vector<int> const& label) const {
    matrix const logits = forward(x).back();
    int right = 0;
    for (Eigen::Index i = 0; i < logits.rows(); ++i) {
      Eigen::Index best = 0;
      logits.row(i).maxCoeff(&best);
      right += best == label[static_cast<std::size_t>(i)];
    }
    return 100.0 * right / static_cast<double>(label.size());
  }
};

// Eight classes on intertwined spirals, lifted into 16 noisy dimensions.
void make_data(int n, unsigned s, matrix& x, std::vector<int>& label) {
  std::mt19937 g(s), fixed(99);
  std::normal_distribution<float> d;
  matrix lift(2, inputs);
  for (int i = 0; i < 2 * inputs; ++i) lift(i / inputs, i % inputs) = d(fixed);
  x.resize(n, inputs);
  label.resize(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    int const c = static_cast<int>(g() % classes);
    float const t = std::uniform_real_distribution<float>(0.2f, 1.0f)(g), angle = 2.5f * t + 6.2831853f * static_cast<float>(c) / classes;
    label[static_cast<std::size_t>(i)] = c;
    for (int j = 0; j < inputs; ++j) x(i, j) = t * (std::cos(angle) * lift(0, j) + std::sin(angle) * lift(1, j)) + 0.12f * d(g);
  }
}

network train(matrix const& x, std::vector<int> const& label) {
  network net;
  std::mt19937 g(seed);
  std::normal_distribution<float> d;
  int const sizes[] = {inputs, 64, 64, 32, classes};
  for (int l = 0; l < 4; ++l) {
    matrix w(sizes[l + 1], sizes[l]);
    for (Eigen::Index i = 0; i < w.size(); ++i) w.data()[i] = d(g) * std::sqrt(2.0f / static_cast<float>(sizes[l]));
    net.w.push_back(w);
    net.b.push_back(Eigen::RowVectorXf::Zero(sizes[l + 1]));
  }
  constexpr int batch = 64, epochs = 40;
  for (int e = 0; e < epochs; ++e) {
    float const rate = 0.05f * (1.0f - static_cast<float>(e) / epochs);
    for (Eigen::Index at = 0; at + batch <= x.rows(); at += batch) {
      auto const a = net.forward(x.middleRows(at, batch));
      matrix delta = a.back();
      for (Eigen::Index i = 0; i < batch; ++i) {
        delta.row(i) = (delta.row(i).array() - delta.row(i).maxCoeff()).exp();
        delta.row(i) /= delta.row(i).sum();
        delta(i, label[static_cast<std::size_t>(at + i)]) -= 1;
      }
      delta /= batch;
      for (std::size_t l = net.w.size(); l-- > 0;) {
        matrix const back = delta * net.w[l];
        net.w[l] -= rate * delta.transpose() * a[l];
        net.b[l] -= rate * delta.colwise().sum();
        if (l > 0) delta = back.cwiseProduct((a[l].array() > 0).cast<float>().matrix());
      }
    }
  }
  return net;
}

matrix rounded_weights(matrix const& w, int bits) {
  matrix q(w.rows(), w.cols());
  auto const codes = compress::round_to_nearest(matrix_view<float const>{w.data(), w.rows(), w.cols(), w.cols(), 1}, {.bits = bits, .symmetric = true, .group = 0},
                                                {.smallest_shrink = 0.5f});
  compress::dequantize(codes, matrix_view<float>{q.data(), q.rows(), q.cols(), q.cols(), 1});
  return q;
}
matrix_view<float const> seen(matrix const& m) { return {m.data(), m.rows(), m.cols(), m.cols(), 1}; }

}  // namespace

int main(int argc, char** argv) try {
  double budget = 0;
  for (int i = 1; i < argc; ++i) {
    char* end = nullptr;
    if (std::strcmp(argv[i], "--budget") == 0 && i + 1 < argc && (budget = std::strtod(argv[++i], &end)) > 0 && *end == '\0') continue;
    bool const help = std::strcmp(argv[i], "--help") == 0 || std::strcmp(argv[i], "-h") == 0;
    if (!help) std::fprintf(stderr, "mixed_precision: %s\n", end != nullptr ? "--budget takes a positive number of bytes" : std::strcmp(argv[i], "--budget") == 0 ? "--budget needs a value" : "the only option is --budget");
    std::fprintf(help ? stdout : stderr, "mixed_precision [--budget BYTES]\n\nTrains a network, measures each layer's sensitivity, prints the Pareto front of bytes "
                                         "against divergence;\nwith a budget also the optimal allocation within it.\n");
    return help ? 0 : 1;
  }
  matrix x, test_x;
  std::vector<int> label, test_label;
  make_data(6000, 1, x, label);
  make_data(2000, 2, test_x, test_label);
  std::printf("seed %d, training 16-64-64-32-8 on 6000 samples...\n", seed);
  network const net = train(x, label);
  double const float_accuracy = net.accuracy(test_x, test_label);
  // Sensitivities from 500 calibration samples; the test samples are only looked at in the last table.
  matrix const calibration = x.topRows(500);
  matrix const reference = net.forward(calibration).back();

  std::vector<int> const bits(std::begin(widths), std::end(widths));
  auto const loss = compress::sensitivity(4, bits, [&](int layer, int width) {
    network one = net;
    one.w[static_cast<std::size_t>(layer)] = rounded_weights(net.w[static_cast<std::size_t>(layer)], width);
    matrix const logits = one.forward(calibration).back();
    return compress::output_kl(seen(reference), seen(logits));
  });
  std::vector<std::vector<double>> cost(4);
  for (std::size_t l = 0; l < 4; ++l)
    for (int width : bits) cost[l].push_back(std::ceil(static_cast<double>(net.w[l].size()) * width / 8) + 4.0 * static_cast<double>(net.w[l].rows()));

  std::printf("\noutput divergence (nats) of one layer rounded alone\n  layer    weights");
  for (int width : bits) std::printf("   %d bits  ", width);
  for (std::size_t l = 0; l < 4; ++l) {
    std::printf("\n  %5zu %10d", l + 1, static_cast<int>(net.w[l].size()));
    for (double v : loss[l]) std::printf("  %9.2e", v);
  }
  auto const choices = compress::choices(bits, loss, cost);
  auto const front = compress::pareto_front(choices);
  auto const whole = [&](std::vector<int> const& choice) {
    network q = net;
    for (std::size_t l = 0; l < 4; ++l) q.w[l] = rounded_weights(net.w[l], bits[static_cast<std::size_t>(choice[l])]);
    return q;
  };
  double const interval = 196 * std::sqrt(float_accuracy / 100 * (1 - float_accuracy / 100) / 2000.0);
  std::printf("\n\nnanoseconds of a product of 64 images on this CPU (%s), weights of up to 4 bits and above", name(active_isa()));
  for (std::size_t l = 0; l < 4; ++l) {
    compress::layer_shape const shape{64, net.w[l].rows(), net.w[l].cols()};
    std::printf("\n  %5zu %10.0f %10.0f", l + 1, compress::measure_latency(shape, 4), compress::measure_latency(shape, 8));
  }
  std::printf("\n\nfloat: %.2f %% +- %.2f (95 %% of 2000 test samples)\n\nPareto front, %zu points; every few of them run\n"
              "   bytes   bits by layer   predicted   measured    test accuracy\n", float_accuracy, interval, front.size());
  std::size_t const step = front.size() > 16 ? front.size() / 16 : 1;
  for (std::size_t i = 0; i < front.size(); i += i + step < front.size() || i + 1 == front.size() ? step : front.size() - 1 - i) {
    network const q = whole(front[i].choice);
    matrix const logits = q.forward(calibration).back();
    std::printf("%8.0f   ", front[i].cost);
    for (int c : front[i].choice) std::printf(" %d ", bits[static_cast<std::size_t>(c)]);
    std::printf("    %9.2e   %9.2e   %6.2f %%\n", front[i].loss, compress::output_kl(seen(reference), seen(logits)), q.accuracy(test_x, test_label));
  }
  if (budget > 0) {
    auto const best = compress::allocate_bits(choices, budget);
    std::printf("\nbest within %.0f bytes: %.0f bytes, bits", budget, best.cost);
    for (int c : best.choice) std::printf(" %d", bits[static_cast<std::size_t>(c)]);
    std::printf(", test accuracy %.2f %%\n", whole(best.choice).accuracy(test_x, test_label));
  }
} catch (quern::error const& e) {
  std::fprintf(stderr, "mixed_precision: %s\n", e.what());
  return 1;
}
