// refusal.hpp — a call that must be refused: its code, and words of its sentence.
#pragma once

#include <quern/core/error.hpp>

#include "support/catch.hpp"

#include <string>

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
