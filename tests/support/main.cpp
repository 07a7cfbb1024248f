// main.cpp — main() of every test program, for Catch2 2.13 and 3.
#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include "isas.hpp"

int main(int argc, char* argv[]) {
  int const failures = Catch::Session().run(argc, argv);
  return failures != 0 ? failures : support::report_isas();
}
