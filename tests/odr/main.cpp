// main.cpp — runs the units that this CPU can run: each on what each has made. All hashes must agree.
#include "unit.hpp"

#include <cstdio>

#define QUERN_UNIT(name) extern unit const name;
#include "units.inc"
#undef QUERN_UNIT

int main() {
  unit const* const all[] = {
#define QUERN_UNIT(name) &name,
#include "units.inc"
#undef QUERN_UNIT
  };
  std::uint64_t first = 0;
  int ran = 0, different = 0;
  for (unit const* maker : all) {
    if (!maker->runs_here()) {
      std::printf("%-24s not on this CPU\n", maker->name);
      continue;
    }
    exchange const made = maker->make();
    for (unit const* user : all) {
      if (!user->runs_here()) continue;
      std::uint64_t const bits = user->use(made);
      if (ran++ == 0) first = bits;
      if (bits != first) {
        ++different;
        std::printf("DIFFERENT: made by %s, used by %s: %016llx instead of %016llx\n", maker->name, user->name,
                    static_cast<unsigned long long>(bits), static_cast<unsigned long long>(first));
      }
    }
    quern::error const* seen = nullptr;
    bool const refused = maker->refuses(seen);
    if (!refused || (seen != nullptr && __builtin_strcmp(seen->what(), "unit 1 of 2.5.") != 0)) {
      ++different;
      std::printf("DIFFERENT: the error of %s says '%s'\n", maker->name, seen != nullptr ? seen->what() : "nothing");
    }
    std::printf("%-24s ran\n", maker->name);
  }
  std::printf("%d runs, bits %016llx\n", ran, static_cast<unsigned long long>(first));
  return different != 0 || ran == 0 ? 1 : 0;
}
