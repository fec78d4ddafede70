// What a test asks of the emulated device only. On a real one, where tests/gpu/run.sh runs the same tests, these questions have no answer.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdlib>

#if defined(ECHO_CUDA_SHIM)
constexpr bool emulated = true;
inline size_t emulated_bytes() { return cuda_shim::memory.bytes; }
inline bool emulated_pinned() { return !cuda_shim::memory.pinned.empty(); }
inline long emulated_launches() { return cuda_shim::memory.launches; }
// Pieces of work that wait on a stream; null: the default one.
inline size_t emulated_work(cudaStream_t stream) { return cuda_shim::stream_of(stream).work.size(); }
#define CHECK_EMULATED(...) CHECK(__VA_ARGS__)
#else
constexpr bool emulated = false;
inline size_t emulated_bytes() { return 0; }
inline bool emulated_pinned() { return false; }
inline long emulated_launches() { return 0; }
inline size_t emulated_work(cudaStream_t) { return 0; }
#define CHECK_EMULATED(...) static_cast<void>(0)
#endif
