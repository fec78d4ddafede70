// The kernels' launchers, one unit for each pair of types, so that they compile side by side.
#pragma once

#include "../../cuda/api.h"
#include "device_row.h"
#include "row_plan.h"

namespace echo {
namespace cuda {

// Queues rows first .. first + count - 1 of `a`, at most a grid of them, on `stream` (a cudaStream_t).
using LaunchLoss = Status (*)(const RowPlan& plan, bool full, const LossRows& a, int64_t first, int64_t count, void* stream, CudaFailure* failure);
Status launch_loss_float32(const RowPlan&, bool full, const LossRows&, int64_t first, int64_t count, void* stream, CudaFailure*);
Status launch_loss_narrowed(const RowPlan&, bool full, const LossRows&, int64_t first, int64_t count, void* stream, CudaFailure*);
Status launch_loss_bfloat16(const RowPlan&, bool full, const LossRows&, int64_t first, int64_t count, void* stream, CudaFailure*);
Status launch_loss_float16(const RowPlan&, bool full, const LossRows&, int64_t first, int64_t count, void* stream, CudaFailure*);

// Largest cluster that the current device runs, of 1, 2, 4 and 8.
int largest_cluster();

Status launch_statistics(const RowPlan&, Dtype type, bool full, const StatisticsRows&, int64_t first, int64_t count, void* stream, CudaFailure*);

}  // namespace cuda
}  // namespace echo
