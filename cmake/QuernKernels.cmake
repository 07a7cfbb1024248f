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
