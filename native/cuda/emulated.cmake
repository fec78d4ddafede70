# libecho_grpo_cuda_emulated.so: the sources of libecho_grpo_cuda.so by the C++ compiler, on the emulated CUDA runtime of the tests. Included by
# CMakeLists.txt.
echo_list(units cuda units)
echo_list(flags cuda emulatedFlags)
add_library(echo_grpo_cuda_emulated SHARED EXCLUDE_FROM_ALL ${units})
set_source_files_properties(${units} PROPERTIES LANGUAGE CXX)
target_compile_options(echo_grpo_cuda_emulated PRIVATE ${flags} -x c++)
target_include_directories(echo_grpo_cuda_emulated BEFORE PRIVATE ${CMAKE_SOURCE_DIR}/tests/native/cuda_shim/include)
target_link_options(echo_grpo_cuda_emulated PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/native/cuda/exports.map,-Bsymbolic)
target_link_libraries(echo_grpo_cuda_emulated PRIVATE Threads::Threads ${CMAKE_DL_LIBS})

# What stands in for cuBLASLt there: ECHO_GRPO_CUBLASLT has to name it.
add_library(fake_cublaslt SHARED EXCLUDE_FROM_ALL tests/native/cuda_shim/fake_cublaslt.cc)
target_compile_options(fake_cublaslt PRIVATE -fvisibility=hidden)
target_include_directories(fake_cublaslt BEFORE PRIVATE ${CMAKE_SOURCE_DIR}/tests/native/cuda_shim/include)
