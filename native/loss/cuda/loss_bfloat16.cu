#ifndef ECHO_TIER
#define ECHO_TIER cuda
#endif
#include <atomic>

#include "launch_loss.h"

namespace echo {
namespace cuda {

Status launch_loss_bfloat16(const RowPlan& plan, bool full, const LossRows& a, int64_t first, int64_t count, void* stream, CudaFailure* failure) {
  const cudaStream_t s = static_cast<cudaStream_t>(stream);
  return full ? launch_planned<Bfloat16, Bfloat16, true>(plan, a, first, count, s, failure)
              : launch_planned<Bfloat16, Bfloat16, false>(plan, a, first, count, s, failure);
}

int largest_cluster(int32_t device) {
  // 0: none found yet, perhaps only because the device is full. What was found stays: which threads add up which logits depends on it.
  static std::atomic<int> known[64];
  const bool kept = device >= 0 && device < 64;
  int cluster = kept ? known[device].load() : 0;
  if (cluster > 0) return cluster;
  cluster = most_cluster;
  while (cluster > 1 && active_clusters<Bfloat16, Bfloat16, 5>(cluster) == 0) cluster /= 2;
  if (kept && cluster > 1) known[device].store(cluster);
  return cluster;
}

}  // namespace cuda
}  // namespace echo
