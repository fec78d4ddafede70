// The loss on the logits of a linear head, with the gradients of its input and its weights.
#pragma once

#include <cstdint>

#include "linear_head.h"

namespace echo {

struct LinearLossArgs {
  HeadWeight weight;
  const void* hidden;       // [rows, width]; rows without weight are not read
  void* hidden_gradient;    // the same shape and type; 0 on rows without weight. May be `hidden` itself
  Dtype hidden_type;        // float32 or bfloat16
  float* weight_gradient;   // [vocab, width], added to; or null
  int64_t rows;
  int64_t chunk_rows;       // logits in memory at once
  EchoLossArgs loss;        // options and row vectors of `rows` rows; outputs [rows] as there
};

// Sums of rows in chunks of chunk_rows: the totals may differ in the last bit with its value, nothing else does.
Status linear_echo_loss(const LinearLossArgs& args);

struct LinearLogprobsArgs {
  HeadWeight weight;
  const void* hidden;
  Dtype hidden_type;
  int64_t rows;
  int64_t chunk_rows;
  const int32_t* targets;   // [rows]; a negative one skips its row
  float temperature;
  float logit_softcap;
  float* logprobs;          // [rows]
  float* entropies;         // [rows], or null
};

Status linear_token_logprobs(const LinearLogprobsArgs& args);

}  // namespace echo
