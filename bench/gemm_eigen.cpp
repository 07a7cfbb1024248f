// gemm_eigen.cpp — the float product that int8 must beat, by Eigen. Compiled with -march=native, which is what its users do.
#ifdef QUERN_BENCH_EIGEN
#include "gemm_problem.hpp"

#include <Eigen/Core>

namespace quern::bench {
namespace {
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void register_gemm_eigen() {
  // Its kernels are the compiler's: the instruction set of this file, not of the CPU.
#if defined(__AVX512F__)
  isa const compiled = isa::avx512bw;
#elif defined(__AVX2__)
  isa const compiled = isa::avx2;
#elif defined(__aarch64__)
  isa const compiled = isa::neon;
#else
  isa const compiled = isa::sse41;
#endif
  for (shape s : gemm_shapes)
    add({.name = gemm_name("eigen", name(compiled), "f32f32-f32", s),
         .ops = ops(s),
         .peak = [=] { return peak_gops(compiled, instruction::fma); },
         .prepare = [=](check&) -> body {
           auto lhs = std::make_shared<matrix>(matrix::Random(s.m, s.k));
           auto rhs = std::make_shared<matrix>(matrix::Random(s.k, s.n));
           auto dst = std::make_shared<matrix>(s.m, s.n);
           return [=] { dst->noalias() = *lhs * *rhs; };
         }});
}
QUERN_BENCH_CASES(register_gemm_eigen);
}  // namespace
}  // namespace quern::bench
#endif
