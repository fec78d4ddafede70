// The log-ratio of whole sequences (GSPO), from log-probabilities that only exist once the call runs.
#pragma once

#include <cstdint>

namespace echo {

struct SequenceLogRatiosArgs {
  int64_t sequences;
  const int32_t* cu_seq_lens;   // [sequences + 1], from 0, ascending, to the number of rows
  const float* action_weights;  // [rows]
  const float* logprobs;        // [rows]
  const float* old_logprobs;    // [rows]
  float* log_ratios;            // [rows]; 0 on rows without an action weight
};

// Each action row of a sequence gets the mean of log p - old log p over them, in float64 and row order: lib/loss/sequence-log-ratios.ts, bit for bit.
void sequence_log_ratios(const SequenceLogRatiosArgs& args);

}  // namespace echo
