// Log-probabilities of given tokens, one read of the logits, nothing written but the result.
#pragma once

#include <cstdint>

#include "../core/status.h"

namespace echo {

struct TokenLogprobsArgs {
  const float* logits;     // [rows, ld]
  int64_t rows;
  int64_t vocab;
  int64_t ld;
  const int32_t* targets;  // [rows]; a negative target skips the row (logprob 0)
  float temperature;
  float* logprobs;         // [rows]
};

// Bitwise equal, row by row, to the log-probabilities echo_loss reports on the same tier.
Status token_logprobs(const TokenLogprobsArgs& args);

}  // namespace echo
