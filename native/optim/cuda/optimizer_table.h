// What the optimiser keeps in device memory. Written by the host when it is made, then read by every step: tensor lists are no kernel
// arguments, so there is no limit to them.
#pragma once

#include <cstdint>

#include "wide_float.h"

namespace echo {
namespace cuda {

// An AdamWTensor and where its vector accesses begin.
struct OptimizerTensor {
  float* value;
  float* first_moment;
  float* second_moment;
  uint16_t* bfloat16_value;       // or null
  const float* grad;              // or null, of the two
  const uint16_t* bfloat16_grad;
  int64_t size;
  int32_t first_vector;  // element from which on all of its arrays allow vectors of 4; no_vectors if there is none
  int32_t first_grad_vector;  // from which on the gradient allows loads of 16 bytes
};

constexpr int32_t no_vectors = -1;

// Never crosses a tensor. Of a size that keeps vectors aligned.
struct OptimizerChunk {
  int64_t begin;  // element of the tensor
  int32_t tensor;
  int32_t size;
};

constexpr int32_t chunk_elements = 65536;

constexpr int32_t has_nan = 1;
constexpr int32_t has_infinity = 2;

// Sum of squares of a chunk.
struct alignas(16) ChunkSquares {
  WideFloat sum;
  int32_t not_finite;  // has_nan, has_infinity, both or 0
};

// What a step decides on the device. Read there by the update and, once it has been copied, by the host.
struct StepDecision {
  WideFloat norm;
  int32_t not_finite;
  float factor;  // what gradients are multiplied with
};

}  // namespace cuda
}  // namespace echo
