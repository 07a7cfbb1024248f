// What a user of quern writes first: the three consumer projects build and run this.
#include <quern/quern.hpp>

#include <cstdio>

int main() {
  auto const scale = quern::choose_params<quern::asymmetric<quern::u8>>({-1.0f, 3.0f});
  std::printf("quern %d.%d.%d: scale %.9g, zero point %d\n%s", QUERN_VERSION_MAJOR, QUERN_VERSION_MINOR, QUERN_VERSION_PATCH,
              static_cast<double>(scale.scale), static_cast<int>(scale.zero_point), quern::isa_report().c_str());
  return scale.zero_point == 64 ? 0 : 1;
}
