// main.cpp — prints docs/conventions.md: what differs between the frameworks, found by running their arithmetic.
//
//     convention_table > docs/conventions.md
#include "table.hpp"

int main() {
  std::fputs(convention_table::markdown().c_str(), stdout);
  return 0;
}
