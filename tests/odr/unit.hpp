// unit.hpp — what the differently compiled units of one program tell each other, in quern's plain data types.
#pragma once

#include <quern/quern.hpp>

#include <cstdint>

/// Crosses from unit to unit: views, owning params and packed weights made by one unit and used by the others.
struct exchange {
  quern::matrix_view<float const> activations;
  quern::params<quern::symmetric<quern::s8, quern::per_channel<1>>> weight_params;
  quern::packed_matrix<std::int8_t> weights;
};

/// One translation unit, compiled with flags of its own.
struct unit {
  char const* name;
  bool (*runs_here)();                               ///< whether this CPU has what the unit was compiled for
  exchange (*make)();                                ///< builds an exchange
  std::uint64_t (*use)(exchange const&);             ///< a hash of every bit that quern computes from it
  bool (*refuses)(quern::error const*& seen);        ///< throws and catches a quern::error
};
