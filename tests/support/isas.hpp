// isas.hpp — every instruction set that can be executed here, natively or through the emulator, and which of them were.
#pragma once

#include "../emulation/emulator.hpp"

#include <cstdio>
#include <string>

namespace support {

namespace detail {
inline unsigned exercised = 0;  // a bit an isa, over the whole test program
inline unsigned offered = 0;    // the same, of those that should have been

struct cap_scope {
  quern::isa const before;
  explicit cap_scope(quern::isa cap) : before(quern::set_max_isa(cap)) {}
  cap_scope(cap_scope const&) = delete;
  cap_scope& operator=(cap_scope const&) = delete;
  ~cap_scope() { quern::set_max_isa(before); }
};

inline bool in(unsigned mask, quern::isa i) { return (mask & quern::detail::bit_of(i)) != 0; }
}  // namespace detail

/// Calls f(isa) with the program capped to each instruction set that the CPU has, so that active_isa() is that one.
/// For sweeps too long for the emulator; everything else should use for_each_isa.
template <class F>
void for_each_native_isa(F&& f) {
  detail::offered |= quern::detail::supported_mask();
  for (quern::isa i : quern::all_isas) {
    if (!quern::supported(i)) continue;
    detail::cap_scope const cap(i);
    f(i);
    detail::exercised |= quern::detail::bit_of(i);
  }
}

/// The same, AMX and AVX-VNNI included where only the emulator has them.
template <class F>
void for_each_isa(F&& f) {
  emulation::scope const emulator;
  for_each_native_isa(f);
}

/// Whether the emulator stands in for the CPU.
inline bool is_emulated(quern::isa i) {
  emulation::emulated const which = emulation::available();
  return (i == quern::isa::amx_int8 && which.amx_int8) || (i == quern::isa::avx_vnni && which.avx_vnni);
}

/// The names of the instruction sets that should have been exercised and were not, "" when none: whatever the CPU has, and
/// what the emulator adds once a for_each_isa has run. REQUIRE(support::missed_isas() == "") at the end of a test.
inline std::string missed_isas() {
  unsigned const wanted = detail::offered | quern::detail::supported_mask();
  std::string names;
  for (quern::isa i : quern::all_isas)
    if (detail::in(wanted, i) && !detail::in(detail::exercised, i)) names += std::string(" ") + name(i);
  return names;
}

/// For main(): says which instruction sets were exercised, and fails a program that exercised some but not all.
inline int report_isas() {
  if (detail::offered == 0) return 0;
  std::string names, rest;
  for (quern::isa i : quern::all_isas) {
    bool const emulated = is_emulated(i);
    if (detail::in(detail::exercised, i))
      names += std::string(" ") + name(i) + (emulated ? " (emulated)" : "");
    else if (!quern::supported(i))
      rest += std::string(" ") + name(i) + (emulated ? " (emulation not asked for)" : "");
  }
  std::printf("instruction sets exercised:%s\n", names.c_str());
  if (!rest.empty()) std::printf("not on this machine:%s\n", rest.c_str());
  std::string const missed = missed_isas();
  if (!missed.empty()) std::printf("FAILED: never exercised:%s\n", missed.c_str());
  return missed.empty() ? 0 : 1;
}

}  // namespace support
