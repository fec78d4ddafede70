#include "adamw.h"

#include <cmath>

#include "../core/thread_pool.h"
#include "optim_kernels.h"
#include "tensor_blocks.h"

namespace echo {
namespace {

struct StepJob {
  const AdamWArgs* args;
  const TensorBlocks* blocks;
  const OptimKernels* kernels;
  AdamWFactors factors;
};

void run_step(void* context, int64_t begin, int64_t end, int) {
  const StepJob& job = *static_cast<StepJob*>(context);
  for (int64_t block = begin; block < end; block++) {
    const int64_t i = job.blocks->tensor(block);
    const int64_t at = job.blocks->offset(block, i);
    const AdamWTensor& t = job.args->tensors[i];
    AdamWFactors factors = job.factors;
    factors.decay = static_cast<float>(1.0 - job.args->learning_rate * t.weight_decay);
    const int64_t n = TensorBlocks::length(t.size, at);
    float* p = t.value + at;
    float* m = t.first_moment + at;
    float* v = t.second_moment + at;
    if (t.bfloat16_value == nullptr) job.kernels->adamw(factors, p, t.grad + at, m, v, n);
    else if (t.bfloat16_grad == nullptr) job.kernels->adamw_rounded(factors, p, t.bfloat16_value + at, t.grad + at, m, v, n);
    else job.kernels->adamw_bfloat16(factors, p, t.bfloat16_value + at, t.bfloat16_grad + at, m, v, n);
  }
}

}  // namespace

Status adamw_step(const AdamWArgs& args) {
  if (args.count < 0 || args.step < 1) return Status::invalid_argument;
  const TensorBlocks blocks(args.count, [&](int64_t i) { return args.tensors[i].size; });
  if (!blocks.allocated()) return Status::out_of_memory;
  StepJob job{&args, &blocks, &active_optim_kernels(), {}};
  const double step = static_cast<double>(args.step);
  // 1 - beta^step without cancellation while beta^step is near 1.
  const double correction1 = -std::expm1(step * std::log(args.beta1));
  const double correction2 = -std::expm1(step * std::log(args.beta2));
  job.factors.first_weight = static_cast<float>(1.0 - args.beta1);
  job.factors.beta2 = static_cast<float>(args.beta2);
  job.factors.second_weight = static_cast<float>(1.0 - args.beta2);
  job.factors.root_correction = static_cast<float>(std::sqrt(correction2));
  job.factors.eps = static_cast<float>(args.eps);
  job.factors.step_size = static_cast<float>(args.learning_rate / correction1);
  job.factors.grad_scale = static_cast<float>(args.grad_scale);
  parallel_for(blocks.count(), 4, run_step, &job);
  return Status::ok;
}

}  // namespace echo
