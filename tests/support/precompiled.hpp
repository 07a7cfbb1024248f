// precompiled.hpp — foreign headers that almost every test reads: 3 seconds, once.
#pragma once

#include "catch.hpp"

#if __has_include(<xsimd/xsimd.hpp>)
#include <xsimd/xsimd.hpp>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif
