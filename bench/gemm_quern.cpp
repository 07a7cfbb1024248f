// gemm_quern.cpp — quern's products: every instruction set of the machine, int32 and fused int8 destinations, one and two threads.
#include "gemm_problem.hpp"

#include <quern/dispatch/thread_pool.hpp>
#include <quern/ops/gemm.hpp>

namespace quern::bench {
namespace {

/// Weights for which vpmaddubsw cannot saturate go by the name s7.
struct weights {
  char const* name;
  int min, max;
};

/// The peak of the instruction that a kernel for these operands must use.
double gemm_peak(isa i, bool narrow_weights) {
  if (best_instruction(i) == instruction::madd && narrow_weights) return peak_gops(i, instruction::maddubs);
  return peak_gops(i);
}

template <class Lhs, class Dst, class Rhs = std::int8_t>
body prepare(check& c, isa i, shape s, weights w, int threads) {
  auto p = std::make_shared<gemm_problem<Lhs>>(s, w.min, w.max);
  auto rhs = std::make_shared<packed_matrix<Rhs>>(pack<Rhs>(row_major(p->rhs.data(), s.k, s.n)));
  auto dst = std::make_shared<buffer<Dst>>(s.m * s.n);
  auto pool = std::make_shared<thread_pool>(threads);
  body const call = [=] {
    gemm_options options{.max_isa = i};
    if (threads > 1) options.executor = *pool;
    auto const lhs = row_major(p->lhs.data(), s.m, s.k);
    auto const out = row_major(dst->data(), s.m, s.n);
    if constexpr (sizeof(Dst) == 1)
      gemm(lhs, *rhs, out, epilogue<to_real>{.bias = view(p->bias), .rescale = {.cols = view(p->scale)}}, options);
    else
      gemm(lhs, *rhs, out, {}, options);
  };
  call();
  if constexpr (sizeof(Dst) == 1)
    p->template check_fused<Dst, float>(c, dst->data());
  else
    p->check_s32(c, dst->data());
  return call;
}

template <class Lhs>
void register_gemm_quern_of(char const* lhs_name, isa i, int threads, weights w) {
  for (shape s : gemm_shapes) {
    auto const peak = [=] { return threads * gemm_peak(i, w.max < 127); };
    std::string const types = std::string(lhs_name) + w.name;
    add({.name = gemm_name("quern", name(i), types + "-s32", s, threads), .ops = ops(s), .reads = weight_bytes(s), .peak = peak,
         .prepare = [=](check& c) { return prepare<Lhs, std::int32_t>(c, i, s, w, threads); }, .threads = threads});
    add({.name = gemm_name("quern", name(i), types + "-s8", s, threads), .ops = ops(s), .reads = weight_bytes(s), .peak = peak,
         .prepare = [=](check& c) { return prepare<Lhs, std::int8_t>(c, i, s, w, threads); }, .threads = threads});
  }
}

/// 4-bit weights, per channel: where the weights' bytes are what a product waits for, half of them should take half the time.
void register_gemm_int4(isa i) {
  for (shape s : gemm_shapes) {
    if (weight_bytes(s) == 0) continue;
    add({.name = gemm_name("quern", name(i), "u8s4-s8", s), .ops = ops(s), .reads = weight_bytes(s, 4), .peak = [=] { return gemm_peak(i, true); },
         .prepare = [=](check& c) { return prepare<std::uint8_t, std::int8_t, s4>(c, i, s, {"s4", -8, 7}, 1); }});
  }
}

void register_gemm_quern() {
  for (isa i : isas()) register_gemm_int4(i);
  for (isa i : isas())
    for (int threads = 1; threads <= std::min(2, processors()); ++threads)
      for (weights w : {weights{"s8", -127, 127}, weights{"s7", -64, 63}}) {
        // Only where there is no VNNI does it matter how large the weights are.
        if (w.max < 127 && best_instruction(i) != instruction::madd) continue;
        register_gemm_quern_of<std::uint8_t>("u8", i, threads, w);
        register_gemm_quern_of<std::int8_t>("s8", i, threads, w);
      }
}
QUERN_BENCH_CASES(register_gemm_quern);
}  // namespace
}  // namespace quern::bench
