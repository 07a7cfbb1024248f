#include "study.hpp"

#include "plot.hpp"

#include <quern/calibrate/calibrators.hpp>
#include <quern/compress/certificate.hpp>
#include <quern/compress/gptq.hpp>
#include <quern/compress/sensitivity.hpp>
#include <quern/eigen/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace digits {
namespace {

using quern::as_matrix;
using weights_of_layers = std::vector<quern::compress::quantized_weights>;

// A quarter of the extremes may be clipped away where that lowers the error: it is what few bits need.
constexpr float shrink = 0.3f;

weights_of_layers nearest(network const& net, int bits, float smallest_shrink) {
  weights_of_layers all;
  for (layer const& l : net)
    all.push_back(quern::compress::round_to_nearest(as_matrix(l.weights), {.bits = bits, .symmetric = true, .group = 0}, {.smallest_shrink = smallest_shrink}));
  return all;
}

/// Layer after layer, on the inputs that the layers already quantized produce: errors made early are known later.
weights_of_layers by_gptq(network const& net, Eigen::Ref<matrix const> const& calibration, int bits) {
  weights_of_layers all;
  network quantized = net;
  for (std::size_t l = 0; l < net.size(); ++l) {
    matrix const x = l == 0 ? matrix(calibration) : run(quantized, calibration)[l - 1];
    quern::compress::hessian h(x.cols());
    h.add(as_matrix(x));
    auto const moments = h.matrix();
    quern::compress::weight_grid const grid{.bits = bits, .symmetric = true, .group = 0};
    all.push_back(quern::compress::gptq(as_matrix(net[l].weights), moments, grid, {.act_order = true, .smallest_shrink = shrink}).weights);
    for (int round = 0; round < 3; ++round) {   // the best scales for these codes, the best codes for these scales
      quern::compress::refit_scales(as_matrix(net[l].weights), moments, all.back());
      auto const scales = all.back();
      all.back() = quern::compress::gptq(as_matrix(net[l].weights), moments, grid, {.act_order = true, .scales = &scales}).weights;
    }
    quern::compress::refit_scales(as_matrix(net[l].weights), moments, all.back());
    quern::compress::dequantize(all.back(), as_matrix(quantized[l].weights));
  }
  return all;
}

/// Scales move slowly while training; looking for the best ones every 25th step is enough.
weight_filter rounding_to(int bits) {
  return [bits, scales = weights_of_layers{}, step = 0](network const& from, network& used) mutable {
    if (step++ % 25 == 0) scales = nearest(from, bits, shrink);
    used = from;
    for (std::size_t l = 0; l < from.size(); ++l)
      for (Eigen::Index o = 0; o < from[l].weights.rows(); ++o) {
        quern::compress::scale_and_zero const s{scales[l].scales[o], 0};
        for (Eigen::Index j = 0; j < from[l].weights.cols(); ++j)
          used[l].weights(o, j) = quern::compress::value_of(quern::compress::code_of_weight(from[l].weights(o, j), s, scales[l].grid), s);
      }
  };
}

template <class Calibrator>
quern::real_range observed(quern::calibrate::histogram const& h) {
  return Calibrator{}.template range<quern::asymmetric<quern::u8>>(h);
}

struct reporter {
  network const& net;
  dataset const& test;
  bool identical = true;

  double row(char const* name, network const& weights, dataset const& calibration, precision p) {
    measurement const m = integer_network(weights, images(calibration), p).measure(net, images(test), test.labels);
    interval const i = binomial_interval(m.right, test.size());
    double const percent = 100.0 * m.right / test.size();
    std::printf("%-30s %7.2f %%   %5.2f - %6.2f   logits %5.1f dB   %7ld bytes   clipped %.3f %%   %s\n", name, percent, i.low, i.high, m.sqnr_db.back(),
                m.weight_bytes, 100 * m.clipped, m.identical ? "bit for bit" : "DIFFERENT");
    identical = identical && m.identical;
    return percent;
  }
};

/// Which answers cannot differ from the float network's, whatever the activations in between: proved sample by sample.
bool certify(network const& net, dataset const& calibration, dataset const& test, int bits) {
  integer_network const integers(net, images(calibration), {bits, true});
  int const samples = std::min(test.size(), 1000);
  matrix const x = images(test).topRows(samples);
  auto const read = integers.inputs(x);
  auto const wanted = classes(run(net, x).back());
  std::vector<matrix> w;
  for (std::size_t l = 0; l < net.size(); ++l) w.push_back(integers.weights(l));
  matrix outputs(samples, net.back().weights.rows());
  integers.run(x, outputs);
  int certified = 0, agree = 0, broken = 0;
  for (int s = 0; s < samples; ++s) {
    std::vector<double> delta(static_cast<std::size_t>(x.cols()));
    for (Eigen::Index j = 0; j < x.cols(); ++j) delta[static_cast<std::size_t>(j)] = std::fabs(static_cast<double>(x(s, j)) - read[0](s, j));
    for (std::size_t l = 0; l < net.size(); ++l) {
      vector const in = read[l].row(s);
      delta = quern::compress::linear_bound(as_matrix(net[l].weights), as_matrix(w[l]), quern::view(in), delta);
      vector before(w[l].rows());   // exact up to double, then once to float
      for (Eigen::Index o = 0; o < w[l].rows(); ++o) {
        double const y = in.cast<double>().dot(w[l].row(o).cast<double>()) + net[l].bias(o);
        before(o) = static_cast<float>(l + 1 < net.size() ? std::max(0.0, y) : y);
      }
      vector const after = l + 1 < net.size() ? vector(read[l + 1].row(s)) : vector(outputs.row(s));
      quern::compress::add_moved(delta, quern::view(before), quern::view(after));
    }
    vector const final_output = outputs.row(s);
    auto const v = quern::compress::certify_argmax(quern::view(final_output), delta);
    bool const same = v.argmax == wanted[static_cast<std::size_t>(s)];
    certified += v.cannot_flip, agree += same, broken += v.cannot_flip && !same;
  }
  std::printf("W%dA8: of %d answers %d are the float network's; %d are proved to be%s\n", bits, samples, agree, certified,
              broken > 0 ? "; SOME PROOFS ARE WRONG" : "");
  return broken == 0;
}

void write_front(std::string const& path, std::vector<double> const& bytes, std::vector<double> const& percent, std::vector<std::string> const& labels) {
  std::string svg;
  char text[320];
  auto const put = [&](char const* format, auto... values) {
    std::snprintf(text, sizeof text, format, values...);
    svg += text;
  };
  double const left = 64, top = 50, width = 600, height = 300, low = bytes.front(), high = bytes.back() > bytes.front() ? bytes.back() : bytes.front() + 1;
  auto const x_of = [&](double b) { return left + width * (b - low) / (high - low); };
  auto const y_of = [&](double p) { return top + height * (1 - p / 100); };
  put("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 420\" width=\"720\" height=\"420\" font-family=\"sans-serif\" font-size=\"13\">\n"
      "<rect width=\"720\" height=\"420\" fill=\"white\"/>\n<text x=\"%g\" y=\"28\" font-size=\"17\">The best allocation of bits for every size</text>\n", left);
  for (int p = 0; p <= 100; p += 20)
    put("<line x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\" stroke=\"#ddd\"/>\n<text x=\"%g\" y=\"%g\" text-anchor=\"end\">%d %%</text>\n", left, left + width, y_of(p), y_of(p),
        left - 8, y_of(p) + 4, p);
  double unit = 1;   // 1, 2 or 5 times a power of ten, so that there are at most 7 marks
  for (int k = 0; (high - low) / unit > 7; ++k) unit *= k % 3 == 1 ? 2.5 : 2;
  for (double b = std::ceil(low / unit) * unit; b <= high; b += unit)
    put("<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%.0f</text>\n", x_of(b), top + height + 20, b);
  put("<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">bytes of weights; each point has the least divergence for its size; hover for the bits of each layer</text>\n", left + width / 2, top + height + 44);
  svg += "<polyline fill=\"none\" stroke=\"#2166ac\" stroke-width=\"2\" points=\"";
  for (std::size_t i = 0; i < bytes.size(); ++i) put("%.1f,%.1f ", x_of(bytes[i]), y_of(percent[i]));
  svg += "\"/>\n";
  for (std::size_t i = 0; i < bytes.size(); ++i)
    put("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#2166ac\"><title>%s bits: %.0f bytes, %.2f %%</title></circle>\n", x_of(bytes[i]), y_of(percent[i]), labels[i].c_str(),
        bytes[i], percent[i]);
  svg += "</svg>\n";
  write_text(path, svg);
}

}  // namespace

bool study(network const& net, dataset const& train, dataset const& calibration, dataset const& test, bool jittered, std::uint64_t seed,
           std::string const& front_path) {
  reporter report{net, test};
  std::printf("\nranges of the activations by their histogram, W8A8\n");
  report.row("  extremes", net, calibration, {8, true, nullptr, observed<quern::calibrate::by_min_max>});
  report.row("  99.99th percentile", net, calibration, {8, true, nullptr, observed<quern::calibrate::by_percentile>});
  report.row("  entropy (NVIDIA's)", net, calibration, {8, true, nullptr, observed<quern::calibrate::by_entropy>});
  report.row("  L2 search (PyTorch's)", net, calibration, {8, true, nullptr, observed<quern::calibrate::by_l2_search>});
  report.row("  ACIQ, Laplace", net, calibration, {8, true, nullptr, observed<quern::calibrate::by_aciq_laplace>});
  report.row("  exact grid", net, calibration, {8, true, nullptr, observed<quern::calibrate::by_exact_grid>});

  std::printf("few bits: nearest code, GPTQ, quantization-aware training (2 and 3 bits are stored in 4)\n");
  for (int bits : {4, 3, 2}) {
    char name[40];
    weights_of_layers const plain = nearest(net, bits, 1.0f), compensated = by_gptq(net, images(calibration), bits);
    std::snprintf(name, sizeof name, "  W%dA8, nearest", bits);
    report.row(name, net, calibration, {bits, true, &plain});
    std::snprintf(name, sizeof name, "  W%dA8, GPTQ", bits);
    report.row(name, net, calibration, {bits, true, &compensated});
  }
  network tuned = net;
  int const epochs = std::clamp(80000 / train.size(), 3, 40);
  fine_tune(tuned, train, test, {.epochs = epochs, .jittered = jittered, .rate = 0.001f, .seed = seed + 2}, rounding_to(2));
  weights_of_layers const trained = nearest(tuned, 2, shrink);
  report.row("  W2A8, trained with rounding", tuned, calibration, {2, true, &trained});

  std::printf("bits by layer: divergence of the answers when one layer alone is rounded (nats)\n");
  std::vector<int> const widths = {2, 3, 4, 6, 8};
  matrix const some = images(calibration).topRows(std::min(calibration.size(), 500));
  matrix const reference = run(net, some).back();
  auto const rounded_layer = [&](network& n, std::size_t l, int bits) {
    quern::compress::dequantize(quern::compress::round_to_nearest(as_matrix(net[l].weights), {.bits = bits, .symmetric = true, .group = 0}, {.smallest_shrink = shrink}),
                                as_matrix(n[l].weights));
  };
  auto const loss = quern::compress::sensitivity(static_cast<int>(net.size()), widths, [&](int l, int bits) {
    network one = net;
    rounded_layer(one, static_cast<std::size_t>(l), bits);
    matrix const logits = run(one, some).back();
    return quern::compress::output_kl(as_matrix(reference), as_matrix(logits));
  });
  std::vector<std::vector<double>> cost(net.size());
  for (std::size_t l = 0; l < net.size(); ++l) {
    std::printf("  layer %zu, %6ld weights:", l + 1, static_cast<long>(net[l].weights.size()));
    for (std::size_t k = 0; k < widths.size(); ++k) {
      cost[l].push_back(std::ceil(static_cast<double>(net[l].weights.size()) * widths[k] / 8) + 4.0 * static_cast<double>(net[l].weights.rows()));
      std::printf("   %d bits %.1e", widths[k], loss[l][k]);
    }
    std::printf("\n");
  }
  auto const front = quern::compress::pareto_front(quern::compress::choices(widths, loss, cost));
  std::vector<double> bytes, percent;
  std::vector<std::string> labels;
  std::printf("Pareto front: %zu of %.0f allocations, as the float network with rounded weights\n", front.size(), std::pow(widths.size(), net.size()));
  std::size_t const step = std::max<std::size_t>(1, front.size() / 12);
  for (std::size_t i = 0; i < front.size(); ++i) {
    network n = net;
    labels.emplace_back();
    for (std::size_t l = 0; l < net.size(); ++l) {
      int const bits = widths[static_cast<std::size_t>(front[i].choice[l])];
      rounded_layer(n, l, bits);
      labels.back() += (l ? " " : "") + std::to_string(bits);
    }
    bytes.push_back(front[i].cost);
    percent.push_back(100.0 * count_right(run(n, images(test)).back(), test.labels) / test.size());
    if (i % step == 0 || i + 1 == front.size()) std::printf("  %7.0f bytes   bits %s   divergence %.1e   accuracy %6.2f\n", bytes.back(), labels.back().c_str(), front[i].loss, percent.back());
  }
  write_front(front_path, bytes, percent, labels);

  std::printf("certificates: bounds composed through all layers, for each image\n");
  bool const proofs = certify(net, calibration, test, 8);
  std::printf("%s shows the Pareto front.\n", front_path.c_str());
  return report.identical && proofs;
}

}  // namespace digits
