#ifndef ECHO_TIER
#define ECHO_TIER cuda
#endif
#include "launch_loss.h"

namespace echo {
namespace cuda {

Status launch_loss_bfloat16(const RowPlan& plan, bool full, const LossRows& a, int64_t first, int64_t count, void* stream, CudaFailure* failure) {
  const cudaStream_t s = static_cast<cudaStream_t>(stream);
  return full ? launch_planned<Bfloat16, Bfloat16, true>(plan, a, first, count, s, failure)
              : launch_planned<Bfloat16, Bfloat16, false>(plan, a, first, count, s, failure);
}

int largest_cluster() {
  for (int cluster = most_cluster; cluster > 1; cluster /= 2)
    if (active_clusters<Bfloat16, Bfloat16, 5>(cluster) > 0) return cluster;
  return 1;
}

}  // namespace cuda
}  // namespace echo
