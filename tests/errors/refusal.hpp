// refusal.hpp — a call that must be refused: its code, and words of its sentence.
#pragma once

#include <quern/core/error.hpp>

#include "support/catch.hpp"

#include <functional>
#include <string>
#include <vector>

template <class Call>
void refuses(quern::errc code, char const* words, Call&& call) {
  try {
    call();
  } catch (quern::error const& e) {
    INFO("expected: " << words << "\nsaid: " << e.what());
    CHECK(e.code() == code);
    CHECK(std::string(e.what()).find(words) != std::string::npos);
    return;
  }
  FAIL("not refused: " << words);
}

/// A table of them. std::function keeps the compiler from expanding dozens of calls into one test case.
struct refused {
  quern::errc code;
  char const* words;
  std::function<void()> call;
};
inline void refuse_all(std::vector<refused> const& all) {
  for (refused const& r : all) refuses(r.code, r.words, r.call);
}
