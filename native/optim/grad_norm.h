// Euclidean norm over many tensors of either dtype: float64 partial sums over fixed blocks, added in fixed order, whatever the thread count.
#pragma once

#include <cstdint>

#include "../core/status.h"

namespace echo {

struct GradTensor {
  const float* grad;
  int64_t size;
  const uint16_t* bfloat16_grad = nullptr;  // read instead of grad, when not null
};

// NaN or infinity when an entry is.
Status grad_norm(const GradTensor* tensors, int64_t count, double* norm);

}  // namespace echo
