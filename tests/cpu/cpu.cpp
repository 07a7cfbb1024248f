// Which instruction set runs: names, caps of the program, of a call and of the environment, and what isa_report() says of them.
#include "support/catch.hpp"

#include <quern/convert/quantize.hpp>
#include <quern/cpu/report.hpp>
#include <quern/scheme/schemes.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

using namespace quern;

namespace {

// The best of `mask` that a cap leaves.
isa best_of(unsigned mask, isa cap) {
  isa best = isa::baseline;
  for (isa i : all_isas)
    if ((mask & detail::bit_of(i)) != 0 && i <= cap) best = i;
  return best;
}

std::string runs(isa i) { return std::string("quern runs ") + name(i) + "\n"; }
bool holds(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

// What a process reports that starts with QUERN_ISA=value (nullptr: without), whatever its program then asks for.
std::string report_under(char const* value, isa program_cap = isa::best) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  pid_t const child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    detail::supported_isas = 0;  // as before the first question
    if ((value != nullptr ? setenv("QUERN_ISA", value, 1) : unsetenv("QUERN_ISA")) != 0) _exit(2);
    set_max_isa(program_cap);
    report_text const text = isa_report();
    _exit(write(ends[1], text.c_str(), static_cast<std::size_t>(text.size)) == text.size ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char part[256];
  for (ssize_t got; (got = read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  return text;
}

}  // namespace

TEST_CASE("every instruction set has a name, and the name leads back to it", "[cpu]") {
  for (isa i : all_isas) {
    CHECK(isa_named(name(i)).found);
    CHECK(isa_named(name(i)).value == i);
  }
  CHECK(isa_named("best").value == isa::best);
  CHECK(isa_named("best").found);
  for (char const* other : {"", "avx", "avx22", "AVX2", " avx2"}) CHECK_FALSE(isa_named(other).found);
  CHECK_FALSE(isa_named(nullptr).found);
  CHECK(isa_named("nonsense").value == isa::best);
}

TEST_CASE("caps of the program and of a call: the lower one counts, clamped to what the CPU has", "[cpu]") {
  isa const before = set_max_isa(isa::best);
  unsigned const have = detail::supported_mask();
  CHECK(supported(isa::baseline));
  CHECK(active_isa() == best_of(have, isa::best));
  for (isa program : all_isas) {
    CHECK(set_max_isa(program) == isa::best);
    CHECK(max_isa() == program);
    for (isa call : all_isas) {
      isa const lower = call < program ? call : program;
      INFO("program " << name(program) << ", call " << name(call));
      CHECK(active_isa(call) == best_of(have, lower));
      CHECK((allowed_isas(call) & ~have) == 0);
      CHECK((allowed_isas(call) & detail::bit_of(isa::baseline)) != 0);
      CHECK(holds(isa_report(call).c_str(), runs(best_of(have, lower))));
    }
    CHECK(active_isa() == best_of(have, program));
    CHECK(set_max_isa(isa::best) == program);
  }
  set_max_isa(isa::avx512bw);
  if (supported(isa::avx512_vnni)) CHECK(holds(isa_report().c_str(), "avx512_vnni  ruled out by a cap in the program"));
  set_max_isa(before);
}

TEST_CASE("QUERN_ISA caps a process from its first question on, and isa_report says so", "[cpu]") {
  unsigned const hardware = detail::detect_isas(isa::best);
  std::string const free = report_under(nullptr);
  CHECK(holds(free, runs(best_of(hardware, isa::best))));
  CHECK_FALSE(holds(free, "ruled out"));
  CHECK(holds(free, "chosen"));
  for (isa i : all_isas) {
    std::string const text = report_under(name(i));
    INFO(text);
    CHECK(text.rfind(runs(best_of(hardware, i)), 0) == 0);
    for (isa above : all_isas)
      if (above > i && (hardware & detail::bit_of(above)) != 0)
        CHECK(holds(text, std::string("ruled out by QUERN_ISA=") + name(i)));
  }
  CHECK(holds(report_under("baseline", isa::avx2), runs(isa::baseline)));  // a program's cap does not lift it
  CHECK(holds(report_under("best"), runs(best_of(hardware, isa::best))));
  std::string const wrong = report_under("avx9");
  CHECK(holds(wrong, "QUERN_ISA=avx9 is not the name of an instruction set and is ignored"));
  CHECK(holds(wrong, runs(best_of(hardware, isa::best))));
}

TEST_CASE("a call's cap changes no bit", "[cpu]") {
  std::vector<float> x(1000);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i * 7919 % 4001) - 2000) / 16.0f;
  params<symmetric<s8>> const p{.scale = 0.93f};
  std::vector<std::int8_t> want(x.size()), got(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    float const steps = x[i] / p.scale, even = __builtin_nearbyintf(steps);
    want[i] = static_cast<std::int8_t>(even < -128 ? -128 : even > 127 ? 127 : even);
  }
  for (isa i : all_isas) {
    INFO(name(i));
    got.assign(got.size(), 99);
    quantize(view(x), p, view(got), {.max_isa = i});
    CHECK(got == want);
  }
}
