// The contract of the fused loss: one call turns a [rows, vocab] block of logits into its gradient, in place, and returns the sums
// behind the reported metrics. Runs on the active tier; rows are spread over the thread pool; results do not depend on either
// the thread count or on which other rows are in the call.
//
// Per row with z = x / temperature, p = softmax(z), lp = log p[target], r = exp(clamp(lp - old)):
//   loss      = wA * -min(r A, clip(r, 1 - eps_low, 1 + eps_high) A)  +  wO * -lp
//   G         = wA * r A * [not clipped]  +  wO                         (= -dloss / dlp)
//   dx[j]     = grad_scale * G / temperature * (p[j] - [j == target])
// A row with wA == 0 and wO == 0 is never read; its gradient is written as +0.
#pragma once

#include <cstdint>

#include "../core/status.h"

namespace echo {

struct EchoLossTotals {
  double policy_loss;
  double observation_loss;
  double observation_nll_sum;
  double observation_nll_at_one_sum;
  double action_nll_sum;
  double ratio_sum;
  double ratio_max;
  int64_t action_tokens;
  int64_t observation_tokens;
  int64_t clipped_low;
  int64_t clipped_high;
  int64_t nonfinite_rows;
};

struct EchoLossArgs {
  float* logits;                     // [rows, ld]; columns >= vocab are written as 0
  int64_t rows;
  int64_t vocab;
  int64_t ld;                        // row stride in elements, >= vocab
  const int32_t* targets;            // [rows]
  const float* action_weights;       // [rows]
  const float* observation_weights;  // [rows]
  const float* advantages;           // [rows]
  const float* old_logprobs;         // [rows], or null: the ratio is exactly 1
  float temperature;
  float epsilon_low;
  float epsilon_high;
  float log_ratio_clamp;             // +inf: off
  float grad_scale;
  bool nll_at_one;                   // also -log p at temperature 1 on rows with an observation weight; at T = 1 always
  // Outputs; each of the row vectors may be null.
  float* logprobs;                   // [rows] at `temperature`; 0 on weightless rows
  float* nll_at_one_rows;            // [rows]
  EchoLossTotals* totals;            // overwritten, not accumulated
};

Status echo_loss(const EchoLossArgs& args);

}  // namespace echo
