#include "support/catch.hpp"
#include "support/isas.hpp"

#include <vector>

namespace headers {
std::vector<unsigned char> battery(quern::isa cap);
}
namespace linked {
std::vector<unsigned char> battery(quern::isa cap);
}

TEST_CASE("quern::kernels gives the bits of the headers, on every instruction set", "[kernels_target]") {
  support::for_each_native_isa([](quern::isa i) {
    INFO(quern::name(i));
    auto const bits = headers::battery(i);
    REQUIRE(bits.size() > 10000);
    REQUIRE(linked::battery(i) == bits);
  });
}
