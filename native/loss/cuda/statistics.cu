#ifndef ECHO_TIER
#define ECHO_TIER cuda
#endif
#include "../../cuda/runtime.h"
#include "loss_kernels.h"
#include "streaming_rows.h"

namespace echo {
namespace cuda {
namespace {

template <typename In, bool full>
Status launch_planned(const RowPlan& plan, const StatisticsRows& a, int64_t first, int64_t count, cudaStream_t stream, CudaFailure* failure) {
  const int64_t rows = plan.lanes == 0 ? 1 : plan.threads / plan.lanes;
  const Grid grid = {(count + rows - 1) / rows, plan.threads};
  StatisticsRows part = a;
  part.rows = first + count;
  if (plan.lanes == 8) return launch(statistics_rows<In, 8, full>, grid, stream, failure, part, first);
  if (plan.lanes == 32) return launch(statistics_rows<In, 32, full>, grid, stream, failure, part, first);
  return launch(statistics_rows<In, 0, full>, grid, stream, failure, part, first);
}

template <typename In>
Status launch_type(const RowPlan& plan, bool full, const StatisticsRows& a, int64_t first, int64_t count, cudaStream_t stream, CudaFailure* failure) {
  return full ? launch_planned<In, true>(plan, a, first, count, stream, failure) : launch_planned<In, false>(plan, a, first, count, stream, failure);
}

}  // namespace

Status launch_statistics(const RowPlan& plan, Dtype type, bool full, const StatisticsRows& a, int64_t first, int64_t count, void* stream,
                         CudaFailure* failure) {
  const cudaStream_t s = static_cast<cudaStream_t>(stream);
  if (type == Dtype::bfloat16) return launch_type<Bfloat16>(plan, full, a, first, count, s, failure);
  if (type == Dtype::float16) return launch_type<Float16>(plan, full, a, first, count, s, failure);
  return launch_type<Float32>(plan, full, a, first, count, s, failure);
}

}  // namespace cuda
}  // namespace echo
