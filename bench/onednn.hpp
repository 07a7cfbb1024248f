// onednn.hpp — what the oneDNN cases share. oneDNN fixes its instruction set at its first use, hence a process for each case.
#pragma once

#include "peaks.hpp"
#include "support.hpp"

#include <oneapi/dnnl/dnnl.hpp>

#include <dlfcn.h>

namespace quern::bench {

/// quern's name of an instruction set and oneDNN's.
struct onednn_isa {
  isa ours;
  dnnl::cpu_isa theirs;
};
inline constexpr onednn_isa onednn_isas[] = {{isa::sse41, dnnl::cpu_isa::sse41},
                                             {isa::avx2, dnnl::cpu_isa::avx2},
                                             {isa::avx_vnni, dnnl::cpu_isa::avx2_vnni},
                                             {isa::avx512bw, dnnl::cpu_isa::avx512_core},
                                             {isa::avx512_vnni, dnnl::cpu_isa::avx512_core_vnni},
                                             {isa::amx_int8, dnnl::cpu_isa::avx512_core_amx}};

/// An engine under that cap. Call in a child process, before anything else of oneDNN.
inline dnnl::engine onednn_engine(onednn_isa cap, int threads) {
  dnnl::set_max_cpu_isa(cap.theirs);
  // libdnnl brings OpenMP along; its thread count is asked for by name, since nothing else here needs OpenMP.
  if (auto const set = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"))) set(threads);
  return dnnl::engine(dnnl::engine::kind::cpu, 0);
}

/// The peak that oneDNN's int8 code can reach: below VNNI it uses the (saturating) vpmaddubsw chain.
inline double onednn_peak(isa i) {
  return i >= isa::avx512_vnni || i == isa::avx_vnni ? peak_gops(i) : peak_gops(i, instruction::maddubs);
}

}  // namespace quern::bench
