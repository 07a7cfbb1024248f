// kernels.hpp — where the kernels are compiled: in every file that uses them, or once, in the target quern::kernels.
//
//     QUERN_COMPILED_KERNELS   0, the default   every file compiles the kernels it uses
//                              1                files declare them and link quern::kernels, which defines this macro
//                              2                the files of quern::kernels itself
//                              3, 4             as 1 and 2, but only of the kernels that know no types (tiles, gathers, taps, int8
//                                               vectors, pools, lookups): all templates over types stay with the files that name
//                                               them. Our own tests and examples are built so: a third less to compile
//
// Results are the same bits. docs/decisions/0007-compiled-kernels.md says what the target holds.
#pragma once

#if !defined(QUERN_COMPILED_KERNELS)
#define QUERN_COMPILED_KERNELS 0
#endif
#if QUERN_COMPILED_KERNELS < 0 || QUERN_COMPILED_KERNELS > 4
#error "QUERN_COMPILED_KERNELS is for the CMake target quern::kernels to define: link it, or leave the macro alone."
#endif

/// Whether this file compiles bodies of kernels, and of those that know no types.
#define QUERN_DETAIL_KERNEL_BODIES (QUERN_COMPILED_KERNELS != 1)
#define QUERN_DETAIL_KERNELS_HERE (QUERN_COMPILED_KERNELS != 1 && QUERN_COMPILED_KERNELS != 3)

/// A function that files which link the kernels only declare: the compiled target must hold it even where it does not call it.
#if QUERN_COMPILED_KERNELS == 2 || QUERN_COMPILED_KERNELS == 4
#define QUERN_DETAIL_KERNEL_FUNCTION [[gnu::used]] inline
#elif QUERN_COMPILED_KERNELS == 1 || QUERN_COMPILED_KERNELS == 3
#define QUERN_DETAIL_KERNEL_FUNCTION
#else
#define QUERN_DETAIL_KERNEL_FUNCTION inline
#endif
