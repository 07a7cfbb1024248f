// keyword — spotting spoken-like words: sounds to integer log-mel features to a depthwise-separable CNN that runs in int8.
//
//     ./keyword [--quick] [--seed N]
//
// The network is trained in float (Eigen), calibrated, quantized, and run without floating point by quern's layers in TFLite's
// arithmetic, in one arena planned beforehand. --quick trains on a third of the sounds: for a first look, and for tests.
#include "integer.hpp"

#include <quern/cpu/report.hpp>
#include <quern/eigen/view.hpp>
#include <quern/metric/compare.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

using namespace keyword;

namespace {

using seconds = std::chrono::duration<double>;
double now() { return seconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// The shortest of several calls, in microseconds.
template <class F>
double microseconds(int calls, F&& f) {
  double best = 1e300;
  for (int i = 0; i < calls; ++i) {
    double const start = now();
    f();
    best = std::min(best, now() - start);
  }
  return best * 1e6;
}

struct interval {
  double low, high;
};
/// Wilson's, 95 %, in percent.
interval wilson(int right, int n) {
  double const z = 1.96, p = static_cast<double>(right) / n, d = 1 + z * z / n, half = z * std::sqrt(p * (1 - p) / n + z * z / (4.0 * n * n));
  return {100 * (p + z * z / (2.0 * n) - half) / d, 100 * (p + z * z / (2.0 * n) + half) / d};
}

int best_class(std::int8_t const* scores) { return static_cast<int>(std::max_element(scores, scores + classes) - scores); }

struct outcome {
  int right = 0, agree = 0;    // with the labels, with the float network
  std::uint64_t hash = 0;      // FNV-1a of all scores
};
outcome evaluate(integer_network& q, dataset const& test, std::vector<int> const& float_answers, quern::isa cap) {
  outcome o;
  o.hash = 1469598103934665603u;
  for (int i = 0; i < test.size(); ++i) {
    std::int8_t scores[classes];
    q.run(test.clip(i), scores, cap);
    for (std::int8_t const s : scores) o.hash = (o.hash ^ static_cast<std::uint8_t>(s)) * 1099511628211u;
    int const best = best_class(scores);
    o.right += best == test.labels[static_cast<std::size_t>(i)];
    o.agree += best == float_answers[static_cast<std::size_t>(i)];
  }
  return o;
}

int run_all(bool quick, std::uint64_t seed) {
  double const start = now();
  front_end const f;
  int const clips = quick ? 1000 : 3000, epochs = 10;
  std::printf("data   %d words of %.2f s at %d Hz, made up by this program: %d clips to train, %d to test, noise at -3 to 18 dB\n", classes,
              static_cast<double>(clip_samples) / sample_rate, sample_rate, clips, quick ? 300 : 1000);
  dataset const data = make_dataset(f, clips, seed), test = make_dataset(f, quick ? 300 : 1000, seed + 1);
  std::printf("seed   %llu\n", static_cast<unsigned long long>(seed));
  std::printf("isa    %s; Eigen uses %s; compiler %s; one thread\n", name(quern::active_isa()), Eigen::SimdInstructionSetsInUse(), __VERSION__);

  generator random(seed);
  network net = make_network(random);
  train(net, data, epochs, random);

  std::vector<int> answers;
  for (int i = 0; i < test.size(); ++i) {
    Eigen::Index best = 0;
    run(net, input(test, i, 1), 1).back().row(0).maxCoeff(&best);
    answers.push_back(static_cast<int>(best));
  }
  int right = 0;
  for (int i = 0; i < test.size(); ++i) right += answers[static_cast<std::size_t>(i)] == test.labels[static_cast<std::size_t>(i)];
  int const seen = std::min(200, data.size());
  matrix const calibration = input(data, 0, seen);
  integer_network channel(net, calibration, seen, true), tensor(net, calibration, seen, false);

  long float_bytes = 0;
  double operations = 0;
  for (layer const& l : net) float_bytes += 4 * static_cast<long>(l.weights.size() + l.bias.size()), operations += l.operations();
  std::int8_t scores[classes];
  matrix const one = input(test, 0, 1);
  double const float_us = microseconds(50, [&] { run(net, one, 1); });
  double const int_us = microseconds(300, [&] { channel.run(test.clip(0), scores); });

  std::printf("\n%-28s %9s %15s %11s %9s %12s %9s\n", "", "accuracy", "95 % interval", "as float", "weights", "us/decision", "vs float");
  auto const row = [&](char const* name, int right_ones, double agree, long bytes, double us) {
    interval const i = wilson(right_ones, test.size());
    std::printf("%-28s %7.2f %%   %5.2f - %6.2f %9.2f %% %9ld %12.1f %8.1fx\n", name, 100.0 * right_ones / test.size(), i.low, i.high, agree, bytes, us, float_us / us);
  };
  outcome const by_channel = evaluate(channel, test, answers, quern::isa::best), by_tensor = evaluate(tensor, test, answers, quern::isa::best);
  row("float32 (Eigen)", right, 100, float_bytes, float_us);
  row("int8, one scale a channel", by_channel.right, 100.0 * by_channel.agree / test.size(), channel.weight_bytes(), int_us);
  row("int8, one scale a tensor", by_tensor.right, 100.0 * by_tensor.agree / test.size(), tensor.weight_bytes(), microseconds(300, [&] { tensor.run(test.clip(0), scores); }));

  std::printf("\n%3s  %-10s %-14s %-14s %9s %9s %9s  %s\n", "#", "layer", "input", "output", "kops", "us", "GOPS", "SQNR, dB (8 bits: 49.9 at most)");
  auto const wanted = run(net, one, 1);
  channel.load(test.clip(0));
  for (std::size_t l = 0; l < net.size(); ++l) {
    channel.run_layer(l);
    quern::index_t const n = wanted[l].size();
    std::vector<float> real(static_cast<std::size_t>(n));
    auto const p = channel.params(l);
    for (quern::index_t i = 0; i < n; ++i) real[static_cast<std::size_t>(i)] = p.scale * static_cast<float>(channel.output(l)[i] - p.zero_point);
    double const db = quern::metric::sqnr_db(quern::row_major(wanted[l].data(), 1, n), quern::row_major<float const>(real.data(), 1, n));
    double const us = microseconds(300, [&] { channel.run_layer(l); });
    char in[32], out[32];
    std::snprintf(in, sizeof in, "%dx%dx%d", net[l].in_h, net[l].in_w, net[l].in_c);
    std::snprintf(out, sizeof out, "%dx%dx%d", net[l].out_h, net[l].out_w, net[l].out_c);
    std::printf("%3d  %-10s %-14s %-14s %9.1f %9.2f %9.2f %11.1f\n", static_cast<int>(l), net[l].name(), in, out, net[l].operations() / 1e3, us, net[l].operations() / us / 1e3, db);
  }

  // As a microphone would: a new frame every 20 ms, and a decision about the last 32 frames after each.
  std::vector<std::int16_t> stream;
  generator noise(seed + 2);
  for (int i = 0; i < 10; ++i) {
    auto const clip = synthesize(i % classes, noise);
    stream.insert(stream.end(), clip.begin(), clip.end());
  }
  std::vector<std::int16_t> history(features, 0);
  std::vector<double> latencies;
  double front = 0;
  for (std::size_t at = 0; at + window <= stream.size(); at += hop) {
    double const begin = now();
    std::memmove(history.data(), history.data() + bands, sizeof(std::int16_t) * (features - bands));
    f.frame(stream.data() + at, history.data() + (features - bands));
    double const heard = now();
    channel.run(history.data(), scores);
    latencies.push_back((now() - begin) * 1e6);
    front += heard - begin;
  }
  double sum = 0;
  for (double const l : latencies) sum += l;
  auto const count = static_cast<double>(latencies.size());
  std::sort(latencies.begin(), latencies.end());
  auto const quantile = [&](double q) { return latencies[static_cast<std::size_t>(q * (count - 1))]; };
  std::printf("\nstreaming  %d frames of %.0f ms: front end %.1f us + network %.1f us a frame; latency median %.1f us, 99 %% %.1f us, worst %.1f us\n",
              static_cast<int>(count), frame_seconds * 1e3, front / count * 1e6, sum / count - front / count * 1e6, quantile(0.5), quantile(0.99), latencies.back());
  std::printf("           real-time factor %.5f (a decision every frame): one core keeps up with %.0f microphones\n", sum / count * 1e-6 / frame_seconds,
              frame_seconds / (sum / count * 1e-6));
  std::printf("memory     weights %ld bytes, activations %lld bytes (one arena), workspace %lld bytes; nothing is allocated while it runs\n", channel.weight_bytes(),
              static_cast<long long>(channel.arena_bytes()), static_cast<long long>(channel.workspace_bytes()));

  std::string same;
  bool all_same = true;
  for (quern::isa const i : quern::all_isas) {
    if (!quern::supported(i)) continue;
    bool const equal = evaluate(channel, test, answers, i).hash == by_channel.hash;
    all_same = all_same && equal;
    same += std::string(" ") + name(i) + (equal ? "" : " (DIFFERENT)");
  }
  std::printf("bits       scores of all %d clips hash to %016llx on%s\n", test.size(), static_cast<unsigned long long>(by_channel.hash), same.c_str());
  std::printf("\nAccuracies within each other's intervals are no difference. \"as float\" counts equal answers, right or wrong. Eigen runs on the\n"
              "instructions that this file was compiled for, quern on the best that the CPU has. %.1f s in all.\n", now() - start);
  if (!all_same) std::fprintf(stderr, "keyword: instruction sets give different scores; this must not happen.\n");
  return all_same ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  bool quick = false;
  std::uint64_t seed = 7;
  auto const usage = [&](FILE* to, std::string const& problem) {
    if (!problem.empty()) std::fprintf(to, "%s: %s\n", argv[0], problem.c_str());
    std::fprintf(to, "usage: %s [--quick] [--seed N]\n", argv[0]);
    return problem.empty() ? 0 : 2;
  };
  for (int i = 1; i < argc; ++i) {
    std::string const flag = argv[i];
    if (flag == "--help" || flag == "-h") return usage(stdout, "");
    if (flag == "--quick") {
      quick = true;
    } else if (flag == "--seed") {
      if (i + 1 == argc) return usage(stderr, "--seed needs a value");
      char* end = nullptr;
      seed = std::strtoull(argv[++i], &end, 10);
      if (end == argv[i] || *end != '\0') return usage(stderr, std::string("--seed ") + argv[i] + " is no number");
    } else {
      return usage(stderr, flag + " is no option");
    }
  }
  try {
    return run_all(quick, seed);
  } catch (std::exception const& e) {
    std::fprintf(stderr, "keyword: %s\n", e.what());
    return 2;
  }
}
