// simd.hpp — the vector vocabulary of every instruction set that has one on this architecture: see vocabulary.md.
#pragma once

#include "baseline.hpp"
#include "x86_avx2.hpp"
#include "x86_avx512.hpp"
#include "x86_sse41.hpp"
