#ifndef ECHO_TIER
#define ECHO_TIER cuda
#endif
#include "launch_loss.h"

namespace echo {
namespace cuda {

Status launch_loss_narrowed(const RowPlan& plan, bool full, const LossRows& a, int64_t first, int64_t count, void* stream, CudaFailure* failure) {
  const cudaStream_t s = static_cast<cudaStream_t>(stream);
  return full ? launch_planned<Float32, Bfloat16, true>(plan, a, first, count, s, failure)
              : launch_planned<Float32, Bfloat16, false>(plan, a, first, count, s, failure);
}

}  // namespace cuda
}  // namespace echo
