// The fused head on a device: linear_loss.h with weight, hidden states and both gradients in device memory. The products are cuBLASLt's
// (Status::unsupported where there is none); `packed` of the weight is not used.
//
// Beside float32 weights everything is float32. Beside bfloat16 ones the products take bfloat16: float32 hidden states as an exact sum of three,
// and the gradient of the logits rounded to it.
#pragma once

#include "../cuda/api.h"

namespace echo {

// Both wait.
Status cuda_linear_echo_loss(const CudaCall& call, const LinearLossArgs& args, CudaFailure* failure);
Status cuda_linear_token_logprobs(const CudaCall& call, const LinearLogprobsArgs& args, CudaFailure* failure);

}  // namespace echo
