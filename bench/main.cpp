// main.cpp — quern_bench: runs the registered cases through Google Benchmark.
//
//     quern_bench --benchmark_filter='gemm/.*/1024x1024x1024' [--seconds=0.2] [Google Benchmark's own options]
//
// Names are exactly those of the cases (Google Benchmark would append /iterations:1/manual_time), so that scripts and other
// machines' results can be compared by name.
#include "peaks.hpp"
#include "support.hpp"

#include <quern/cpu/report.hpp>

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#if defined(__linux__)
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#ifndef QUERN_BENCH_FLAGS
#define QUERN_BENCH_FLAGS "unknown"
#endif

namespace quern::bench {
namespace {

#if defined(__linux__)
cpu_set_t const& started_on() {
  static cpu_set_t const set = [] {
    cpu_set_t s;
    CPU_ZERO(&s);
    sched_getaffinity(0, sizeof s, &s);
    return s;
  }();
  return set;
}
// One thread stays on the last processor it may use (the first one serves most interrupts); more get them all.
void pin(int threads) {
  cpu_set_t set = started_on();
  if (threads == 1) {
    int last = CPU_SETSIZE - 1;
    while (last > 0 && !CPU_ISSET(last, &set)) --last;
    CPU_ZERO(&set);
    CPU_SET(last, &set);
  }
  sched_setaffinity(0, sizeof set, &set);
}
#else
void pin(int) {}
#endif

struct outcome {
  double seconds = 0;
  check checked;
};

outcome run_here(bench_case const& c) {
  outcome o;
  pin(c.threads);
  body const call = c.prepare(o.checked);
  if (!o.checked.skipped) o.seconds = o.checked.seconds > 0 ? o.checked.seconds : best_seconds(call);
  return o;
}

outcome run_in_child(bench_case const& c) {
  outcome o;
#if defined(__linux__)
  int ends[2];
  if (pipe(ends) != 0) return o.checked.skip("no pipe"), o;
  std::fflush(nullptr);
  pid_t const child = fork();
  if (child == 0) {
    close(ends[0]);
    try {
      o = run_here(c);
    } catch (std::exception const& e) {
      o.checked.skip(e.what());
    }
    ssize_t const sent = write(ends[1], &o, sizeof o);
    _exit(sent == static_cast<ssize_t>(sizeof o) ? 0 : 1);
  }
  close(ends[1]);
  std::size_t got = 0;
  auto* const bytes = reinterpret_cast<char*>(&o);
  for (ssize_t n; child > 0 && got < sizeof o && (n = read(ends[0], bytes + got, sizeof o - got)) > 0;) got += static_cast<std::size_t>(n);
  close(ends[0]);
  int status = 0;
  if (child > 0) waitpid(child, &status, 0);
  if (got != sizeof o) o = outcome{}, o.checked.skip("the child process ended without a result");
#else
  o.checked.skip("needs fork()");
#endif
  return o;
}

void run_case(benchmark::State& state, bench_case const& c) {
  outcome o;
  try {
    o = c.own_process ? run_in_child(c) : run_here(c);
  } catch (std::exception const& e) {
    o.checked.skip(e.what());
  }
  if (o.checked.skipped) {
    state.SkipWithError(o.checked.note);
    return;
  }
  for (auto _ : state) state.SetIterationTime(o.seconds);
  double const gops = c.ops / o.seconds * 1e-9, gbps = c.bytes / o.seconds * 1e-9;
  if (c.ops > 0) state.counters["GOPS"] = gops;
  if (c.bytes > 0) state.counters["GB/s"] = gbps;
  double const peak = c.peak ? c.peak() : 0;
  if (peak > 0) {
    state.counters["peak"] = peak;
    state.counters["share"] = (c.ops > 0 ? gops : gbps) / peak;
  }
  if (c.reads > 0) state.counters["read_share"] = c.reads / o.seconds * 1e-9 / read_bandwidth(static_cast<std::size_t>(c.reads));
  if (o.checked.wrong >= 0) {
    state.counters["exact"] = o.checked.wrong == 0 ? 1 : 0;
    state.counters["wrong"] = o.checked.wrong;
    state.counters["max_diff"] = o.checked.max_diff;
  }
  if (o.checked.note[0] != '\0') state.SetLabel(o.checked.note);
}

/// Passes everything on to another reporter, under the plain names.
class plain_names : public benchmark::BenchmarkReporter {
 public:
  explicit plain_names(benchmark::BenchmarkReporter* to) : to_(to) {}
  bool ReportContext(Context const& context) override {
    to_->SetOutputStream(&GetOutputStream());
    to_->SetErrorStream(&GetErrorStream());
    return to_->ReportContext(context);
  }
  void ReportRuns(std::vector<Run> const& runs) override {
    std::vector<Run> plain = runs;
    for (Run& r : plain) r.run_name.iterations.clear(), r.run_name.time_type.clear();
    to_->ReportRuns(plain);
  }
  void Finalize() override { to_->Finalize(); }

 private:
  benchmark::BenchmarkReporter* to_;
};

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "unknown";
}

}  // namespace

int processors() {
#if defined(__linux__)
  return CPU_COUNT(&started_on());
#else
  return 1;
#endif
}

double& seconds_per_case() {
  static double seconds = 0.2;
  return seconds;
}

void add(bench_case c) {
  std::string const name = c.name;
  benchmark::RegisterBenchmark(name.c_str(), [c = std::move(c)](benchmark::State& s) { run_case(s, c); })
      ->Iterations(1)
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace quern::bench

int main(int argc, char** argv) {
  using namespace quern;
  bench::processors();  // remembers where the process may run before anything is pinned
  bool file = false, list = false;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--seconds=", 10) == 0) {
      bench::seconds_per_case() = std::atof(argv[i] + 10);
      continue;
    }
    if (std::strncmp(argv[i], "--benchmark_out=", 16) == 0) file = true;
    if (std::strncmp(argv[i], "--benchmark_list_tests", 22) == 0) list = true;
    argv[kept++] = argv[i];
  }
  argc = kept;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("cpu", bench::cpu_model());
  benchmark::AddCustomContext("isa", name(active_isa()));
  benchmark::AddCustomContext("compiler", "" __VERSION__);
  benchmark::AddCustomContext("flags", QUERN_BENCH_FLAGS);
  benchmark::AddCustomContext("time", "best of " + std::to_string(bench::seconds_per_case()) + " s of samples, pinned");

  benchmark::BenchmarkReporter* const display = benchmark::CreateDefaultDisplayReporter();
  bench::plain_names plain_display(display);
  benchmark::JSONReporter json;
  bench::plain_names plain_json(&json);
  if (list) {
    std::ostringstream names;
    plain_display.SetOutputStream(&names);
    benchmark::RunSpecifiedBenchmarks(&plain_display);
    std::string text = names.str();
    for (std::string const suffix : {"/iterations:1/manual_time"})
      for (std::size_t at; (at = text.find(suffix)) != std::string::npos;) text.erase(at, suffix.size());
    std::cout << text;
  } else {
    benchmark::RunSpecifiedBenchmarks(&plain_display, file ? &plain_json : nullptr);
  }
  benchmark::Shutdown();
  return 0;
}
