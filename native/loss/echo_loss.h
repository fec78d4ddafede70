// The contract of the fused loss: one call turns a [rows, vocab] block of logits into its gradient, in place, and returns the sums
// behind the reported metrics. Runs on the active tier; rows are spread over the thread pool; results do not depend on either
// the thread count or on which other rows are in the call.
//
// Per row with z = softcap(x) / temperature, p = softmax(z), lp = log p[target], r = exp(clamp(lp - old)):
//   loss      = wA * [ -surrogate(r, A) * rollout  +  klc * kl(lp - ref)  -  entc * H(p) ]  +  wO * -lp
//   G         = -dloss / dlp without the entropy
//   dz[j]     = grad_scale * ( G (p[j] - [j == target])  +  wA entc p[j] (log p[j] + H) )
//   dx[j]     = dz[j] / temperature * dsoftcap(x[j])
// A row with wA == 0 and wO == 0 is never read; its gradient is written as +0. objective.h has the formulas of a row.
#pragma once

#include <cstdint>

#include "../core/dtype.h"
#include "../core/status.h"
#include "vocab_statistics.h"

namespace echo {

struct EchoLossTotals {
  double policy_loss;       // sum of wA * -surrogate
  double observation_loss;
  double kl_loss;           // sum of wA * klc * kl
  double entropy_loss;      // sum of wA * -entc * H
  double surrogate_sum;     // of action rows, unweighted
  double kl_sum;
  double entropy_sum;
  double observation_nll_sum;
  double observation_nll_at_one_sum;
  double action_nll_sum;
  double ratio_sum;
  double ratio_max;
  int64_t action_tokens;
  int64_t observation_tokens;
  int64_t clipped_low;
  int64_t clipped_high;
  int64_t clipped_dual;
  int64_t nonfinite_rows;
};

enum class Surrogate : int32_t { clip = 0, cispo = 1 };

struct EchoLossArgs {
  void* logits;                      // [rows, ld] of `logits_type`; columns >= vocab are written as 0
  Dtype logits_type;
  Dtype gradient_type;               // logits_type; or bfloat16 for float32 logits: row i then begins at byte i * ld * 4, its second half is undefined
  int64_t rows;
  int64_t vocab;
  int64_t ld;                        // row stride in elements of logits_type, >= vocab
  const VocabShard* shard;           // null: the logits are of the whole vocabulary; else `vocab` counts those of the shard
  const int32_t* targets;            // [rows]
  const float* action_weights;       // [rows]
  const float* observation_weights;  // [rows]
  const float* advantages;           // [rows]
  const float* old_logprobs;         // [rows], or null: the ratio is exactly 1
  const float* log_ratios;           // [rows], or null; given: the log-ratio of the row, whatever its log-probability (GSPO)
  const float* rollout_weights;      // [rows], or null: 1
  const float* reference_logprobs;   // [rows], or null: no KL term
  float temperature;
  float logit_softcap;               // c > 0: x becomes c tanh(x / c); 0: off
  Surrogate surrogate;
  float epsilon_low;
  float epsilon_high;
  float dual_clip;                   // +inf: off
  float log_ratio_clamp;             // +inf: off
  int32_t kl_estimator;              // 1, 2 or 3 with reference_logprobs
  float kl_coefficient;
  float entropy_coefficient;
  float grad_scale;
  bool entropy;                      // H of action rows, also without a coefficient
  bool nll_at_one;                   // also -log p at temperature 1 on rows with an observation weight; at T = 1 always
  // Outputs; each of the row vectors may be null.
  float* logprobs;                   // [rows] at `temperature`; 0 on weightless rows
  float* nll_at_one_rows;            // [rows]
  float* entropies;                  // [rows]; 0 on rows where it was not computed
  EchoLossTotals* totals;            // overwritten, not accumulated
};

Status echo_loss(const EchoLossArgs& args);

}  // namespace echo
