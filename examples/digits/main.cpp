// digits — the main job, end to end: a float network is trained, calibrated, quantized, packed, and run by int8 kernels.
//
//     ./digits                                         digits that the program draws itself
//     ./digits --data train.csv [--test test.csv]      yours: pixels of a square image, then the label, in each line
//
// It then breaks the network on purpose (a rescaling that float does not notice and per-tensor int8 does not survive) and rescues
// it (cross-layer equalization), and writes accuracy against bits to digits.svg. A study follows: ranges by every kind of
// observer, GPTQ and training at few bits, the best bits for each layer (digits_bits.svg), and how many answers are proved to be float's.
#include "integer.hpp"
#include "plot.hpp"
#include "study.hpp"

#include <quern/cpu/report.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

using namespace digits;

namespace {

struct options {
  std::string data, test, plot = "digits.svg";
  std::uint64_t seed = 7;
};

int usage(char const* program, char const* problem) {
  if (problem[0] != '\0') std::fprintf(stderr, "%s: %s\n", program, problem);
  std::fprintf(problem[0] != '\0' ? stderr : stdout,
               "usage: %s [--data TRAIN.csv [--test TEST.csv]] [--plot FILE.svg] [--seed N]\n"
               "  each line of a CSV: side x side pixels (any square size, any range from 0), then the label 0..9\n",
               program);
  return problem[0] != '\0' ? 2 : 0;
}

/// A row of the table.
class table {
 public:
  explicit table(dataset const& test) : test_(test) {
    std::printf("\n%-30s %9s %15s  %-30s %9s %9s %8s %9s  %s\n", "", "accuracy", "95 % interval", "SQNR by layer, dB (limit)", "weights", "ns/image",
                "vs float", "clipped", "kernels = simulation");
  }
  void heading(char const* text) const { std::printf("%s\n", text); }
  void float_row(char const* name, network const& net) {
    int const right = count_right(run(net, images(test_)).back(), test_.labels);
    long bytes = 0;
    for (layer const& l : net) bytes += 4 * l.weights.size();
    float_nanoseconds_ = time_float(net, images(test_));
    begin(name, right);
    std::printf(" %-30s %9ld %9.0f %8s %9s  %s\n", "-", bytes, float_nanoseconds_, "1.0x", "-", "-");
  }
  void integer_row(char const* name, network const& net, dataset const& calibration, precision p) {
    measurement const m = integer_network(net, images(calibration), p).measure(net, images(test_), test_.labels);
    begin(name, m.right);
    std::string sqnr;
    char number[32];
    for (double db : m.sqnr_db) std::snprintf(number, sizeof number, "%5.1f ", std::fabs(db) < 0.05 ? 0.0 : db), sqnr += number;
    std::snprintf(number, sizeof number, " (%.1f)", m.limit_db);
    std::printf(" %-30s %9ld %9.0f %7.1fx %8.3f%%  %s\n", (sqnr + number).c_str(), m.weight_bytes, m.nanoseconds,
                float_nanoseconds_ / m.nanoseconds, 100 * m.clipped, m.identical ? "bit for bit" : "DIFFERENT");
    all_identical_ = all_identical_ && m.identical;
  }
  bool all_identical() const { return all_identical_; }

 private:
  void begin(char const* name, int right) const {
    interval const i = binomial_interval(right, test_.size());
    std::printf("%-30s %7.2f %%   %5.2f - %6.2f ", name, 100.0 * right / test_.size(), i.low, i.high);
  }

  dataset const& test_;
  double float_nanoseconds_ = 0;
  bool all_identical_ = true;
};

double accuracy(network const& net, dataset const& calibration, dataset const& test, precision p) {
  matrix outputs(test.size(), net.back().weights.rows());
  integer_network(net, images(calibration), p).run(images(test), outputs);
  return 100.0 * count_right(outputs, test.labels) / test.size();
}

int run_all(options const& o) {
  auto const start = std::chrono::steady_clock::now();
  dataset train_set, test_set;
  std::string source = "seven-segment digits drawn by this program";
  if (!o.data.empty()) {
    float brightest = 0;
    train_set = read_csv(o.data, brightest);
    source = o.data;
    if (o.test.empty()) {
      test_set = split_off(train_set, 5, o.seed);
      source += " (one in five held out for the test)";
    } else {
      test_set = read_csv(o.test, brightest);
      source += ", tested on " + o.test;
      if (test_set.side != train_set.side)
        throw std::runtime_error(o.test + ": images are " + std::to_string(test_set.side) + " pixels wide, those of " + o.data + " " + std::to_string(train_set.side));
    }
    if (train_set.size() < 100 || test_set.size() < 10) throw std::runtime_error(o.data + ": too few images; 100 to train and 10 to test are the least");
  } else {
    train_set = draw_digits(20000, o.seed);
    test_set = draw_digits(5000, o.seed + 1);
  }
  std::printf("data   %s: %d x %d pixels, %d to train, %d to test\n", source.c_str(), train_set.side, train_set.side, train_set.size(), test_set.size());
  std::printf("seed   %llu\n", static_cast<unsigned long long>(o.seed));
  std::printf("isa    %s; Eigen uses %s; compiler %s; one thread\n", name(quern::active_isa()), Eigen::SimdInstructionSetsInUse(), __VERSION__);

  // Drawn images are all different; those of a file are distorted anew every time, so that more epochs teach more.
  int const epochs = std::clamp((o.data.empty() ? 160000 : 400000) / train_set.size(), 4, 120);
  network const net = train(train_set, test_set, epochs, !o.data.empty(), o.seed);
  dataset calibration = train_set;
  if (calibration.size() > 2000) calibration = split_off(calibration, (calibration.size() + 1999) / 2000, o.seed);

  network torn = net;
  tear_apart(torn, 1e4f, o.seed);
  network rescued = torn;
  equalize(rescued);

  table t(test_set);
  t.float_row("float32 (Eigen)", net);
  t.integer_row("W8A8, one scale a tensor", net, calibration, {8, false});
  t.integer_row("W8A8, one scale a channel", net, calibration, {8, true});
  t.integer_row("W4A8, one scale a tensor", net, calibration, {4, false});
  t.integer_row("W4A8, one scale a channel", net, calibration, {4, true});
  t.heading("hidden units rescaled by 0.01 to 100, their readers by the inverse: the same function");
  t.float_row("  float32 (Eigen)", torn);
  t.integer_row("  W8A8, one scale a tensor", torn, calibration, {8, false});
  t.integer_row("  W8A8, one scale a channel", torn, calibration, {8, true});
  t.heading("the same, after cross-layer equalization");
  t.float_row("  float32 (Eigen)", rescued);
  t.integer_row("  W8A8, one scale a tensor", rescued, calibration, {8, false});
  t.integer_row("  W4A8, one scale a channel", rescued, calibration, {4, true});

  std::string const front = o.plot.substr(0, o.plot.rfind(".svg")) + "_bits.svg";
  bool const proved = study(net, train_set, calibration, test_set, !o.data.empty(), o.seed, front);

  std::vector<int> const bits = {2, 3, 4, 5, 6, 7, 8};
  std::vector<curve> curves = {{"per channel", "#1b7837", false, {}},
                               {"per tensor", "#2166ac", false, {}},
                               {"rescaled, per tensor", "#b2182b", false, {}},
                               {"rescaled, per channel", "#ef8a62", true, {}},
                               {"+ equalized, per tensor", "#762a83", true, {}}};
  for (int b : bits) {
    curves[0].percent.push_back(accuracy(net, calibration, test_set, {b, true}));
    curves[1].percent.push_back(accuracy(net, calibration, test_set, {b, false}));
    curves[2].percent.push_back(accuracy(torn, calibration, test_set, {b, false}));
    curves[3].percent.push_back(accuracy(torn, calibration, test_set, {b, true}));
    curves[4].percent.push_back(accuracy(rescued, calibration, test_set, {b, false}));
  }
  int const right = count_right(run(net, images(test_set)).back(), test_set.labels);
  write_plot(o.plot, "Accuracy of the integer network", bits, curves, 100.0 * right / test_set.size(), binomial_interval(right, test_set.size()), test_set.size());

  std::printf("\nAccuracies within each other's intervals are no difference. SQNR compares each layer's output with float; the limit is\n"
              "6.02 dB a bit of the coarser operand. Eigen runs on the instructions that this file was compiled for (-march=native gives it\n"
              "more), quern on the best that the CPU has. %s shows accuracy against bits. %.1f s in all.\n",
              o.plot.c_str(), std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  if (!t.all_identical() || !proved) std::fprintf(stderr, "digits: the kernels and the simulation, or a proof and the float network, differ; this must not happen.\n");
  return t.all_identical() && proved ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  for (int i = 1; i < argc; ++i) {
    std::string const flag = argv[i];
    if (flag == "--help" || flag == "-h") return usage(argv[0], "");
    if (flag != "--data" && flag != "--test" && flag != "--plot" && flag != "--seed") return usage(argv[0], (flag + " is no option").c_str());
    if (i + 1 == argc) return usage(argv[0], (flag + " needs a value").c_str());
    std::string const value = argv[++i];
    if (flag == "--data") o.data = value;
    if (flag == "--test") o.test = value;
    if (flag == "--plot") o.plot = value;
    if (flag == "--seed") {
      char* end = nullptr;
      o.seed = std::strtoull(value.c_str(), &end, 10);
      if (value.empty() || *end != '\0') return usage(argv[0], ("--seed " + value + " is no number").c_str());
    }
  }
  if (!o.test.empty() && o.data.empty()) return usage(argv[0], "--test needs --data");
  try {
    return run_all(o);
  } catch (std::exception const& e) {
    std::fprintf(stderr, "digits: %s\n", e.what());
    return 2;
  }
}
