# Configures, builds and runs one consumer project: cmake -DKIND=... -DQUERN_SOURCE=... -DWORK=... -DCOMPILER=... -P run.cmake
# For find_package quern is installed first, into an empty prefix.
file(REMOVE_RECURSE ${WORK})
set(generator -G "${GENERATOR}" -DCMAKE_CXX_COMPILER=${COMPILER} "-DCMAKE_CXX_FLAGS=${FLAGS}")

if(KIND STREQUAL find_package)
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${QUERN_SOURCE} -B ${WORK}/quern ${generator} ${DEPENDENCIES}
    -DQUERN_BUILD_TESTS=OFF -DQUERN_BUILD_BENCH=OFF -DQUERN_BUILD_EXAMPLES=OFF COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_COMMAND} --install ${WORK}/quern --prefix ${WORK}/prefix OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endif()
execute_process(COMMAND ${CMAKE_COMMAND} -S ${QUERN_SOURCE}/tests/consumer/${KIND} -B ${WORK}/build ${generator} ${DEPENDENCIES}
  -DQUERN_SOURCE=${QUERN_SOURCE} -DCMAKE_PREFIX_PATH=${WORK}/prefix COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK}/build COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK}/build/consumer COMMAND_ERROR_IS_FATAL ANY)
