# QuernKernels.cmake — the target quern::kernels: the kernels compiled once instead of in every file that uses them
# (docs/decisions/0007-compiled-kernels.md). It is compiled by the project that links it, so that flags and instruction sets agree.
include_guard()

# quern_add_kernels(HEADERS SOURCES): HEADERS is the target of the headers, SOURCES the folder of the target's own files.
function(quern_add_kernels headers sources)
  add_library(quern_kernels STATIC EXCLUDE_FROM_ALL
    ${sources}/products.cpp ${sources}/quantize.cpp ${sources}/requantize.cpp ${sources}/epilogues.cpp)
  add_library(quern::kernels ALIAS quern_kernels)
  target_link_libraries(quern_kernels PUBLIC ${headers})
  target_compile_definitions(quern_kernels PRIVATE QUERN_COMPILED_KERNELS=2 INTERFACE QUERN_COMPILED_KERNELS=1)
  # A debug build of the program is no reason for slow kernels.
  target_compile_options(quern_kernels PRIVATE $<$<OR:$<CONFIG:Debug>,$<CONFIG:>>:-O2>)
endfunction()

# quern_add_untyped_kernels(HEADERS SOURCES): the target quern_untyped_kernels, for our own tests and examples. It holds the kernels that
# know no types; whoever links it compiles all templates over types itself, so that they are tested as headers alone have them.
function(quern_add_untyped_kernels headers sources)
  add_library(quern_untyped_kernels STATIC EXCLUDE_FROM_ALL ${sources}/products.cpp)
  target_link_libraries(quern_untyped_kernels PUBLIC ${headers})
  target_compile_definitions(quern_untyped_kernels PRIVATE QUERN_COMPILED_KERNELS=4 INTERFACE QUERN_COMPILED_KERNELS=3)
endfunction()
