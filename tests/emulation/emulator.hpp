// emulator.hpp — AMX-INT8 and AVX-VNNI on CPUs without them, so that those kernels can be executed in every test run.
//
// A CPU raises #UD for an instruction that it does not know, Linux turns that into SIGILL, and the handler here decodes the
// VEX instruction at RIP, does what the architecture says on the registers in the signal frame (and on tiles of its own,
// one set a thread), and moves RIP behind it. What real hardware would refuse (a tile that is not configured, shapes that
// do not fit, reserved bits) stops the program with a sentence. About 2 us an instruction, 10 to 20 for a tile product.
//
// Covered: LDTILECFG, STTILECFG, TILERELEASE, TILEZERO, TILELOADD, TILELOADDT1, TILESTORED, TDPBSSD, TDPBSUD, TDPBUSD,
// TDPBUUD; VEX-encoded VPDPBUSD, VPDPBUSDS, VPDPWSSD, VPDPWSSDS on xmm and ymm. Anything else goes to the handler before.
// Source: Intel SDM volume 2 (the instructions' pages), volume 1 chapters 13 (XSAVE) and 18 (AMX).
#pragma once

#include <quern/cpu/detect.hpp>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#if QUERN_X86_64 && defined(__linux__)
#define QUERN_TESTS_CAN_EMULATE 1
#include <csignal>
#include <cstdlib>
#include <ucontext.h>
#include <unistd.h>
#else
#define QUERN_TESTS_CAN_EMULATE 0
#endif

namespace emulation {

/// Which instruction sets run through the emulator because the CPU lacks them.
struct emulated {
  bool amx_int8 = false;
  bool avx_vnni = false;
};

/// How many instructions were emulated since the program started; relaxed, for tests that ask "did that kernel really run?".
struct counts {
  unsigned long tile_products = 0;
  unsigned long tile_moves = 0;
  unsigned long vnni = 0;
};

#if QUERN_TESTS_CAN_EMULATE

namespace detail {

struct tile_state {
  bool configured = false;
  unsigned char config[64] = {};
  unsigned char tile[8][16][64] = {};

  int rows(int t) const { return config[48 + t]; }
  int colsb(int t) const { return config[16 + 2 * t] | config[17 + 2 * t] << 8; }
};

inline constinit thread_local tile_state tiles{};
inline counts executed{};
inline struct sigaction previous_action {};
inline bool installed = false;

[[noreturn]] inline void refuse(char const* sentence) {
  for (char const* s : {"emulator: ", sentence, "\n"}) {
    if (write(STDERR_FILENO, s, std::strlen(s)) < 0) break;
  }
  std::abort();
}
inline void require(bool holds, char const* sentence) {
  if (!holds) refuse(sentence);
}

// ---- decoding ----------------------------------------------------------------------------------------------------------

enum prefix : unsigned { none, p66, pF3, pF2 };

// A three-byte-VEX instruction of map 0F38, with its operands resolved.
struct instruction {
  unsigned opcode = 0, pp = 0, vvvv = 0, mod = 0, reg = 0, rm = 0;
  bool w = false, wide = false;  // VEX.W, VEX.L
  bool memory = false, has_sib = false;
  std::uint64_t address = 0;  // base + displacement, plus index * scale
  std::uint64_t base = 0;     // base + displacement
  std::uint64_t stride = 0;   // index * scale
  std::uint64_t next = 0;     // RIP behind it
};

inline std::uint64_t general_register(ucontext_t const& context, unsigned number) {
  static constexpr int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return static_cast<std::uint64_t>(context.uc_mcontext.gregs[order[number]]);
}

template <class T>
T read_code(unsigned char const*& at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  at += sizeof(T);
  return value;
}

inline bool decode(ucontext_t const& context, instruction& out) {
  auto const rip = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
  auto const* at = reinterpret_cast<unsigned char const*>(rip);
  if (*at++ != 0xc4) return false;
  unsigned const byte1 = *at++, byte2 = *at++;
  if ((byte1 & 0x1f) != 2) return false;  // map 0F38
  bool const r = !(byte1 & 0x80), x = !(byte1 & 0x40), b = !(byte1 & 0x20);
  out.w = (byte2 & 0x80) != 0;
  out.vvvv = ~(byte2 >> 3) & 15;
  out.wide = (byte2 & 4) != 0;
  out.pp = byte2 & 3;
  out.opcode = *at++;
  unsigned const modrm = *at++;
  out.mod = modrm >> 6;
  out.reg = ((modrm >> 3) & 7) | (r ? 8u : 0u);
  out.rm = (modrm & 7) | (b ? 8u : 0u);
  out.memory = out.mod != 3;
  if (out.memory) {
    bool rip_relative = false;
    if ((modrm & 7) == 4) {
      out.has_sib = true;
      unsigned const sib = *at++;
      unsigned const index = ((sib >> 3) & 7) | (x ? 8u : 0u);
      if (index != 4) out.stride = general_register(context, index) << (sib >> 6);
      if ((sib & 7) == 5 && out.mod == 0)
        out.base = static_cast<std::uint64_t>(std::int64_t{read_code<std::int32_t>(at)});
      else
        out.base = general_register(context, (sib & 7) | (b ? 8u : 0u));
    } else if ((modrm & 7) == 5 && out.mod == 0) {
      rip_relative = true;
      out.base = static_cast<std::uint64_t>(std::int64_t{read_code<std::int32_t>(at)});
    } else {
      out.base = general_register(context, out.rm);
    }
    if (out.mod == 1) out.base += static_cast<std::uint64_t>(std::int64_t{read_code<std::int8_t>(at)});
    if (out.mod == 2) out.base += static_cast<std::uint64_t>(std::int64_t{read_code<std::int32_t>(at)});
    if (rip_relative) out.base += reinterpret_cast<std::uint64_t>(at);
    out.address = out.base + out.stride;
  }
  out.next = reinterpret_cast<std::uint64_t>(at);
  return true;
}

// ---- the vector registers in the signal frame ---------------------------------------------------------------------------

// The frame holds the XSAVE area in its standard form: xmm at 160, the header at 512, the upper halves of ymm (component 2)
// and of zmm (component 6) where CPUID leaf 0xD says. A component whose bit in XSTATE_BV is clear is all zero, whatever the
// memory says, and has to be zeroed before its bit is set.
class vector_registers {
 public:
  explicit vector_registers(ucontext_t& context) : area_(reinterpret_cast<unsigned char*>(context.uc_mcontext.fpregs)) {
    std::uint32_t magic;
    std::memcpy(&magic, area_ + 464, 4);
    require(magic == 0x46505853u, "the signal frame holds no extended state (FP_XSTATE_MAGIC1)");
    std::memcpy(&frame_, area_ + 472, 8);
    require((frame_ & 4) != 0, "the signal frame holds no AVX state");
    ymm_ = component_offset(2);
    zmm_ = (frame_ & 0x40) != 0 ? component_offset(6) : 0;
  }

  void read(unsigned number, unsigned char (&value)[32]) const {
    std::memset(value, 0, 32);
    std::uint64_t const live = in_use();
    if (live & 2) std::memcpy(value, area_ + 160 + 16 * number, 16);
    if (live & 4) std::memcpy(value + 16, area_ + ymm_ + 16 * number, 16);
  }
  // A VEX instruction zeroes everything above what it writes.
  void write(unsigned number, unsigned char const (&value)[32]) {
    std::uint64_t live = in_use();
    if (!(live & 2)) std::memset(area_ + 160, 0, 256);
    if (!(live & 4)) std::memset(area_ + ymm_, 0, 256);
    std::memcpy(area_ + 160 + 16 * number, value, 16);
    std::memcpy(area_ + ymm_ + 16 * number, value + 16, 16);
    if (live & 0x40) std::memset(area_ + zmm_ + 32 * number, 0, 32);
    live |= 6;
    std::memcpy(area_ + 512, &live, 8);
  }

 private:
  std::uint64_t in_use() const {
    std::uint64_t bits;
    std::memcpy(&bits, area_ + 512, 8);
    return bits & frame_;
  }
  // Asked once: a hypervisor takes longer for CPUID than everything else here.
  static unsigned component_offset(unsigned component) {
    static std::atomic<unsigned> known[7] = {};
    unsigned offset = known[component].load(std::memory_order_relaxed);
    if (offset == 0) {
      unsigned a = 0, b = 0, c = 0, d = 0;
      __cpuid_count(0xd, component, a, b, c, d);
      known[component].store(offset = b, std::memory_order_relaxed);
    }
    return offset;
  }

  unsigned char* area_;
  std::uint64_t frame_ = 0;
  unsigned ymm_ = 0, zmm_ = 0;
};

// ---- AVX-VNNI ------------------------------------------------------------------------------------------------------------

inline std::int32_t saturate32(std::int64_t x) {
  return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : static_cast<std::int32_t>(x);
}

inline bool run_vnni(instruction const& i, ucontext_t& context) {
  if (i.pp != p66 || i.w || i.opcode < 0x50 || i.opcode > 0x53) return false;
  vector_registers registers(context);
  unsigned char acc[32], lhs[32], rhs[32] = {};
  int const bytes = i.wide ? 32 : 16;
  registers.read(i.reg, acc);
  registers.read(i.vvvv, lhs);
  if (i.memory)
    std::memcpy(rhs, reinterpret_cast<void const*>(i.address), static_cast<std::size_t>(bytes));
  else
    registers.read(i.rm, rhs);
  for (int lane = 0; lane < bytes; lane += 4) {
    std::int32_t before;
    std::memcpy(&before, acc + lane, 4);
    std::int64_t sum = before;
    if (i.opcode < 0x52) {  // vpdpbusd(s): unsigned lhs bytes, signed rhs bytes
      for (int k = lane; k < lane + 4; ++k) sum += std::int64_t{lhs[k]} * static_cast<std::int8_t>(rhs[k]);
    } else {
      for (int k = lane; k < lane + 4; k += 2) {
        std::int16_t a, b;
        std::memcpy(&a, lhs + k, 2);
        std::memcpy(&b, rhs + k, 2);
        sum += std::int64_t{a} * b;
      }
    }
    std::int32_t const after = (i.opcode & 1) ? saturate32(sum) : static_cast<std::int32_t>(static_cast<std::uint32_t>(sum));
    std::memcpy(acc + lane, &after, 4);
  }
  if (!i.wide) std::memset(acc + 16, 0, 16);
  registers.write(i.reg, acc);
  __atomic_fetch_add(&executed.vnni, 1, __ATOMIC_RELAXED);
  return true;
}

// ---- AMX -----------------------------------------------------------------------------------------------------------------

inline void load_config(unsigned char const* memory) {
  require(memory[0] <= 1, "ldtilecfg: the palette is neither 0 nor 1 (#GP)");
  for (int b = 2; b < 16; ++b) require(memory[b] == 0, "ldtilecfg: reserved bytes 2 to 15 are not zero (#GP)");
  for (int b = 32; b < 48; ++b) require(memory[b] == 0, "ldtilecfg: colsb of a tile above 7 is not zero (#GP)");
  for (int b = 56; b < 64; ++b) require(memory[b] == 0, "ldtilecfg: rows of a tile above 7 is not zero (#GP)");
  tile_state fresh{};
  if (memory[0] == 1) {
    fresh.configured = true;
    std::memcpy(fresh.config, memory, 64);
    require(memory[1] < 16, "ldtilecfg: start_row is above 15 (#GP)");
    for (int t = 0; t < 8; ++t) {
      require(fresh.rows(t) <= 16, "ldtilecfg: a tile has more than 16 rows (#GP)");
      require(fresh.colsb(t) <= 64, "ldtilecfg: a tile has rows of more than 64 bytes (#GP)");
      require((fresh.rows(t) == 0) == (fresh.colsb(t) == 0), "ldtilecfg: only one of rows and colsb is zero (#GP)");
    }
  }
  tiles = fresh;
}

inline int valid_tile(unsigned t) {
  require(tiles.configured, "a tile instruction before ldtilecfg or after tilerelease (#UD)");
  require(t < 8, "a tile above tmm7 (#UD)");
  require(tiles.rows(static_cast<int>(t)) != 0, "a tile that the configuration leaves out (#UD)");
  return static_cast<int>(t);
}

inline void zero_rows_from(int t, int row) {
  if (row < 16) std::memset(tiles.tile[t][row], 0, static_cast<std::size_t>(16 - row) * 64);
}

inline void load_tile(instruction const& i) {
  int const t = valid_tile(i.reg), rows = tiles.rows(t), bytes = tiles.colsb(t);
  for (int row = tiles.config[1]; row < rows; ++row) {
    std::memset(tiles.tile[t][row], 0, 64);
    std::memcpy(tiles.tile[t][row], reinterpret_cast<void const*>(i.base + static_cast<std::uint64_t>(row) * i.stride),
                static_cast<std::size_t>(bytes));
  }
  zero_rows_from(t, rows);
  tiles.config[1] = 0;
}

inline void store_tile(instruction const& i) {
  int const t = valid_tile(i.reg), rows = tiles.rows(t), bytes = tiles.colsb(t);
  for (int row = tiles.config[1]; row < rows; ++row)
    std::memcpy(reinterpret_cast<void*>(i.base + static_cast<std::uint64_t>(row) * i.stride), tiles.tile[t][row],
                static_cast<std::size_t>(bytes));
  tiles.config[1] = 0;
}

template <class Lhs, class Rhs>
void multiply_tiles(int dst, int lhs, int rhs) {
  int const rows = tiles.rows(dst), columns = tiles.colsb(dst) / 4, depth = tiles.colsb(lhs) / 4;
  for (int m = 0; m < rows; ++m) {
    std::uint32_t sum[16];
    std::memcpy(sum, tiles.tile[dst][m], 64);
    for (int k = 0; k < depth; ++k) {
      unsigned char const* const a = tiles.tile[lhs][m] + 4 * k;
      unsigned char const* b = tiles.tile[rhs][k];
      for (int n = 0; n < columns; ++n, b += 4)
        for (int j = 0; j < 4; ++j) sum[n] += static_cast<std::uint32_t>(static_cast<Lhs>(a[j]) * static_cast<Rhs>(b[j]));
    }
    std::memset(tiles.tile[dst][m], 0, 64);
    std::memcpy(tiles.tile[dst][m], sum, static_cast<std::size_t>(columns) * 4);
  }
  zero_rows_from(dst, rows);
}

inline void multiply(instruction const& i) {
  int const dst = valid_tile(i.reg), lhs = valid_tile(i.rm), rhs = valid_tile(i.vvvv);
  require(dst != lhs && dst != rhs && lhs != rhs, "tdpb: two of the three tiles are the same (#UD)");
  for (int t : {dst, lhs, rhs}) require(tiles.colsb(t) % 4 == 0, "tdpb: a tile's colsb is no multiple of 4 (#UD)");
  require(tiles.rows(dst) == tiles.rows(lhs), "tdpb: the destination's rows differ from the first source's (#UD)");
  require(tiles.colsb(lhs) / 4 == tiles.rows(rhs), "tdpb: the first source's colsb / 4 differs from the second's rows (#UD)");
  require(tiles.colsb(dst) == tiles.colsb(rhs), "tdpb: the destination's colsb differs from the second source's (#UD)");
  switch (i.pp) {
    case none: return multiply_tiles<std::uint8_t, std::uint8_t>(dst, lhs, rhs);
    case p66: return multiply_tiles<std::uint8_t, std::int8_t>(dst, lhs, rhs);
    case pF3: return multiply_tiles<std::int8_t, std::uint8_t>(dst, lhs, rhs);
    default: return multiply_tiles<std::int8_t, std::int8_t>(dst, lhs, rhs);
  }
}

inline bool run_amx(instruction const& i) {
  if (i.w || i.wide) return false;
  unsigned const rest = i.vvvv;  // 0 where the instruction has no third operand
  if (i.opcode == 0x49) {
    if (rest != 0) return false;
    if (i.memory && (i.reg & 7) == 0 && i.pp == none)
      load_config(reinterpret_cast<unsigned char const*>(i.address));
    else if (i.memory && (i.reg & 7) == 0 && i.pp == p66)
      std::memcpy(reinterpret_cast<void*>(i.address), tiles.config, 64);
    else if (!i.memory && i.reg == 0 && i.rm == 0 && i.pp == none)
      tiles = tile_state{};
    else if (!i.memory && i.rm == 0 && i.pp == pF2)
      zero_rows_from(valid_tile(i.reg), 0);
    else
      return false;
  } else if (i.opcode == 0x4b) {
    if (rest != 0 || !i.has_sib || i.pp == none) return false;
    i.pp == pF3 ? store_tile(i) : load_tile(i);
    __atomic_fetch_add(&executed.tile_moves, 1, __ATOMIC_RELAXED);
  } else if (i.opcode == 0x5e && !i.memory) {
    multiply(i);
    __atomic_fetch_add(&executed.tile_products, 1, __ATOMIC_RELAXED);
  } else {
    return false;
  }
  return true;
}

inline void on_illegal_instruction(int number, siginfo_t* info, void* raw) {
  auto& context = *static_cast<ucontext_t*>(raw);
  instruction i;
  if (decode(context, i) && (run_amx(i) || run_vnni(i, context))) {
    context.uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(i.next);
    return;
  }
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) return previous_action.sa_sigaction(number, info, raw);
  if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN)
    return previous_action.sa_handler(number);
  refuse("an instruction that neither this CPU nor the emulator knows");
}

}  // namespace detail

/// Whether the CPU has tiles and the system saves them. Where it then refuses a process the permission to use them, an instruction
/// that only touches the tile configuration may run natively and one that touches tiles not: neither ours nor the CPU's state is whole.
inline bool cpu_has_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || ((c >> 27) & 1) == 0) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || ((d >> 24) & 1) == 0) return false;
  return (quern::detail::read_xcr0() & 0x60000) != 0;
}

/// What the emulator adds to this machine: nothing that the CPU has, and nothing whose other parts (AVX2 for AVX-VNNI,
/// AVX-512 VNNI for AMX) it lacks.
inline emulated available() {
  unsigned const native = quern::detail::detect_isas(quern::isa::best);
  auto const has = [native](quern::isa i) { return (native & quern::detail::bit_of(i)) != 0; };
  return {.amx_int8 = has(quern::isa::avx512_vnni) && !has(quern::isa::amx_int8) && !cpu_has_tiles(),
          .avx_vnni = has(quern::isa::avx2) && !has(quern::isa::avx_vnni)};
}

/// Takes SIGILL over, without telling quern. Catch2 changes the handlers around each test case, so call it inside of one.
inline void take_signal() {
  if (detail::installed) return;
  struct sigaction action {};
  action.sa_sigaction = detail::on_illegal_instruction;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  sigaction(SIGILL, &action, &detail::previous_action);
  detail::installed = true;
}
inline void give_signal_back() {
  if (!detail::installed) return;
  sigaction(SIGILL, &detail::previous_action, nullptr);
  detail::installed = false;
}

inline counts executed() { return detail::executed; }

#else

inline emulated available() { return {}; }
inline void take_signal() {}
inline void give_signal_back() {}
inline counts executed() { return {}; }

#endif

/// Installs the emulator and makes quern believe that the emulated instruction sets are there; returns which they are.
inline emulated install() {
  emulated const which = available();
  take_signal();
  unsigned mask = quern::detail::supported_mask();
  if (which.amx_int8) mask |= quern::detail::bit_of(quern::isa::amx_int8);
  if (which.avx_vnni) mask |= quern::detail::bit_of(quern::isa::avx_vnni);
  __atomic_store_n(&quern::detail::supported_isas, mask, __ATOMIC_RELAXED);
  return which;
}

/// Undoes install(): the signal handler and quern's idea of the machine are as before.
inline void uninstall() {
  give_signal_back();
  __atomic_store_n(&quern::detail::supported_isas, 0u, __ATOMIC_RELAXED);  // asked anew at the next question
}

/// install() for the length of a scope; scopes nest.
struct scope {
  emulated const which = install();
  scope() { ++depth; }
  scope(scope const&) = delete;
  scope& operator=(scope const&) = delete;
  ~scope() {
    if (--depth == 0) uninstall();
  }

 private:
  static inline int depth = 0;
};

}  // namespace emulation
