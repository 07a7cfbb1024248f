# QuernTargets.cmake — how the project's own programs are compiled.
include_guard()

# An executable under the project's own warnings.
function(quern_add_executable name)
  add_executable(${name} ${ARGN})
  quern_own_flags(${name})
endfunction()

function(quern_own_flags name)
  set_target_properties(${name} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(${name} PRIVATE -Wall -Wextra $<$<BOOL:${QUERN_WERROR}>:-Werror>)
endfunction()
