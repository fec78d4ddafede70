// Log-probabilities of given tokens, one read of the logits, nothing written but the result.
#pragma once

#include <cstdint>

#include "../core/dtype.h"
#include "../core/status.h"

namespace echo {

struct TokenLogprobsArgs {
  const void* logits;      // [rows, ld]
  int64_t rows;
  int64_t vocab;
  int64_t ld;
  const int32_t* targets;  // [rows]; a negative target skips the row (logprob 0)
  float temperature;
  float* logprobs;         // [rows]
  Dtype logits_type = Dtype::float32;
  float logit_softcap = 0; // as in echo_loss
  float* entropies = nullptr;  // [rows], or null
};

// Bitwise equal, row by row, to the log-probabilities echo_loss reports on the same tier.
Status token_logprobs(const TokenLogprobsArgs& args);

}  // namespace echo
