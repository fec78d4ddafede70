// Host side of CUDA calls: errors of the runtime as a Status with the runtime's words, kernel launches, stream-ordered temporaries.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>

#include "api.h"

namespace echo {
namespace cuda {

inline Status fail_with(CudaFailure* failure, Status status, int code, const char* name, const char* message) {
  failure->status = status;
  failure->code = code;
  std::snprintf(failure->name, sizeof failure->name, "%s", name);
  std::snprintf(failure->message, sizeof failure->message, "%s", message);
  return status;
}

inline Status fail_unless_ok(cudaError_t error, CudaFailure* failure) {
  if (error == cudaSuccess) return Status::ok;
  cudaGetLastError();  // or the next call would report it again
  if (error == cudaErrorMemoryAllocation)
    return fail_with(failure, Status::out_of_memory, error, cudaGetErrorName(error), cudaGetErrorString(error));
  return fail_with(failure, Status::cuda, error, cudaGetErrorName(error), cudaGetErrorString(error));
}

inline cudaStream_t stream_of(const CudaCall& call) { return static_cast<cudaStream_t>(call.stream); }

// Makes the call's device current for as long as it lives, then the one that was.
class OnDevice {
 public:
  OnDevice(int32_t device, CudaFailure* failure) : before_(0) {
    status_ = fail_unless_ok(cudaGetDevice(&before_), failure);
    if (status_ == Status::ok && before_ != device) status_ = fail_unless_ok(cudaSetDevice(device), failure);
    changed_ = status_ == Status::ok && before_ != device;
  }
  ~OnDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  Status status() const { return status_; }

 private:
  int before_;
  bool changed_ = false;
  Status status_;
};

// What a pool keeps of its device's memory when nothing of it is in use.
inline constexpr uint64_t kept_share = 16;

// Those of the devices that memory was taken from. Never destroyed: the driver may be gone by the time a process ends.
struct Pools {
  std::mutex mutex;
  std::map<int, cudaMemPool_t> by_device;
};
inline Pools& pools() {
  static Pools* const all = new Pools();
  return *all;
}

// Null where no memory was taken yet.
inline cudaMemPool_t known_pool(int device) {
  const std::lock_guard<std::mutex> lock(pools().mutex);
  const auto found = pools().by_device.find(device);
  return found == pools().by_device.end() ? nullptr : found->second;
}

// The pool of the current device, made when it is first asked for. Not the device's default pool, which belongs to others too and gives everything
// back to the system whenever something is waited for, as every call does: mapping it anew takes longer than the loss of a small batch.
inline Status memory_pool(cudaMemPool_t* out, CudaFailure* failure) {
  int device = 0;
  Status status = fail_unless_ok(cudaGetDevice(&device), failure);
  if (status != Status::ok) return status;
  const std::lock_guard<std::mutex> lock(pools().mutex);
  cudaMemPool_t& pool = pools().by_device[device];
  if (pool == nullptr) {
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device;
    size_t unused = 0, total = 0;
    status = fail_unless_ok(cudaMemGetInfo(&unused, &total), failure);
    if (status != Status::ok) return status;
    cudaMemPool_t made = nullptr;
    status = fail_unless_ok(cudaMemPoolCreate(&made, &properties), failure);
    if (status != Status::ok) return status;
    uint64_t kept = total / kept_share;
    status = fail_unless_ok(cudaMemPoolSetAttribute(made, cudaMemPoolAttrReleaseThreshold, &kept), failure);
    if (status != Status::ok) {
      cudaMemPoolDestroy(made);
      return status;
    }
    pool = made;
  }
  *out = pool;
  return Status::ok;
}

inline Status pool_bytes(cudaMemPool_t pool, cudaMemPoolAttr attribute, int64_t* out, CudaFailure* failure) {
  uint64_t bytes = 0;
  const Status status = fail_unless_ok(cudaMemPoolGetAttribute(pool, attribute, &bytes), failure);
  *out = static_cast<int64_t>(bytes);
  return status;
}

// Of the current device, in the order of the stream.
inline Status take_memory(void** out, int64_t bytes, cudaStream_t stream, CudaFailure* failure) {
  cudaMemPool_t pool = nullptr;
  Status status = memory_pool(&pool, failure);
  if (status != Status::ok) return status;
  status = fail_unless_ok(cudaMallocFromPoolAsync(out, static_cast<size_t>(bytes), pool, stream), failure);
  if (status != Status::out_of_memory) return status;
  // Memory that was given back on another stream is free when that gets there; and what the pool keeps may be in the wrong pieces.
  status = fail_unless_ok(cudaDeviceSynchronize(), failure);
  if (status == Status::ok) status = fail_unless_ok(cudaMemPoolTrimTo(pool, 0), failure);
  return status != Status::ok ? status : fail_unless_ok(cudaMallocFromPoolAsync(out, static_cast<size_t>(bytes), pool, stream), failure);
}

// Device memory for the length of a call: taken and given back in the order of the stream, so that nothing waits.
class Temporary {
 public:
  Temporary() = default;
  ~Temporary() {
    if (data_ != nullptr) cudaFreeAsync(data_, stream_);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  Status reserve(int64_t bytes, cudaStream_t stream, CudaFailure* failure) {
    if (data_ != nullptr) cudaFreeAsync(data_, stream_);
    data_ = nullptr;
    stream_ = stream;
    return take_memory(&data_, bytes > 0 ? bytes : 1, stream, failure);
  }
  template <typename T>
  T* as(int64_t byte_offset = 0) const {
    return reinterpret_cast<T*>(static_cast<char*>(data_) + byte_offset);
  }

 private:
  void* data_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

struct Grid {
  int64_t blocks;
  int threads;
  int cluster = 1;
};

// Largest grid of one dimension.
inline constexpr int64_t most_blocks = 2147483647;

template <typename... P, typename... A>
Status launch(void (*kernel)(P...), const Grid& grid, cudaStream_t stream, CudaFailure* failure, A... arguments) {
  if (grid.blocks <= 0) return Status::ok;
  cudaLaunchAttribute cluster;
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = static_cast<unsigned>(grid.cluster);
  cluster.val.clusterDim.y = 1;
  cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(grid.blocks));
  config.blockDim = dim3(static_cast<unsigned>(grid.threads));
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = grid.cluster > 1 ? 1 : 0;
  return fail_unless_ok(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...), failure);
}

}  // namespace cuda
}  // namespace echo
