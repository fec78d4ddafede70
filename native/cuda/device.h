// The few names through which kernels reach the device, so that the same source also runs on fibers under g++ (tests/native/cuda_shim):
// shared memory and barriers are declared through macros, intrinsics have a name each.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)

#define ECHO_DEVICE __device__ __forceinline__ static
#define ECHO_GLOBAL(threads) __global__ void __launch_bounds__(threads)
#define ECHO_SHARED(type, name, count) __shared__ type name[count]
// Every barrier of a kernel has a number, by which the shim can leave it out.
#define ECHO_BARRIER(number) __syncthreads()
#define ECHO_UNROLL _Pragma("unroll")
#define ECHO_UNROLL_4 _Pragma("unroll 4")

namespace echo {
namespace cuda {

// 2^x to about 2 ulp; 0 for -inf.
ECHO_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

ECHO_DEVICE float shuffle_xor(float value, int lane_mask) { return __shfl_xor_sync(0xffffffffu, value, lane_mask); }

// A row is read twice: the first read should stay in the cache, the second one and the result should not.
ECHO_DEVICE float4 load_first(const float* p) { return *reinterpret_cast<const float4*>(p); }
ECHO_DEVICE float4 load_last(const float* p) { return __ldcs(reinterpret_cast<const float4*>(p)); }
ECHO_DEVICE void store_last(float* p, float4 v) { __stcs(reinterpret_cast<float4*>(p), v); }

}  // namespace cuda
}  // namespace echo

#elif !defined(ECHO_CUDA_SHIM)
#error "a kernel is compiled by nvcc, or by g++ after tests/native/cuda_shim/cuda_shim.h"
#endif
