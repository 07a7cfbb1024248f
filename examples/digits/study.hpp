// study.hpp — what calibration, GPTQ, training and bit allocation make of the same network, and what can be proved about it.
#pragma once

#include "integer.hpp"

#include <string>

namespace digits {

/// Prints the tables; writes the Pareto front of bytes against accuracy to `front_path`. True when every integer run equals its simulation
/// and no certified answer differs from the float network's.
bool study(network const& net, dataset const& train, dataset const& calibration, dataset const& test, bool jittered, std::uint64_t seed,
           std::string const& front_path);

}  // namespace digits
