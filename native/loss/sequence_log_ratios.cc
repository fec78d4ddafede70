#include "sequence_log_ratios.h"

namespace echo {

void sequence_log_ratios(const SequenceLogRatiosArgs& args) {
  for (int64_t i = 0; i < args.sequences; i++) {
    const int64_t begin = args.cu_seq_lens[i], end = args.cu_seq_lens[i + 1];
    double sum = 0;
    int64_t count = 0;
    for (int64_t t = begin; t < end; t++) {
      if (args.action_weights[t] == 0) continue;
      sum += static_cast<double>(args.logprobs[t]) - static_cast<double>(args.old_logprobs[t]);
      count++;
    }
    for (int64_t t = begin; t < end; t++)
      args.log_ratios[t] = args.action_weights[t] != 0 ? static_cast<float>(sum / static_cast<double>(count)) : 0.0f;
  }
}

}  // namespace echo
