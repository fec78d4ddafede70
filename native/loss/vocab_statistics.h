// A vocabulary in shards: what each shard has to say of a row, which all shards need before any can write its part of the gradient.
#pragma once

#include <cstdint>

#include "../core/dtype.h"
#include "../core/status.h"

namespace echo {

// By row, [rows] each; of a shard, or of all. They combine by bringing every sum to the largest maximum (lib/loss/merge-vocab-statistics.ts).
struct VocabStatistics {
  float* max;            // largest logit but the target's, not below -FLT_MAX; never NaN
  double* sum;           // sum of exp((x_j - max) / temperature), without the target
  float* target_logits;  // -inf where the target is in another shard
  double* weighted;      // sum of a_j 2^a_j, a_j = (x_j - max) / temperature in base 2; null: no entropy is wanted
};

struct VocabStatisticsArgs {
  const void* logits;      // [rows, ld]
  Dtype logits_type;
  int64_t rows;
  int64_t vocab;           // of this shard
  int64_t ld;
  int64_t begin;           // first token of this shard
  const int32_t* targets;  // [rows], of the whole vocabulary; a negative one skips the row
  float temperature;
  float logit_softcap;
  VocabStatistics out;
};

Status vocab_statistics(const VocabStatisticsArgs& args);

// For echo_loss on one shard.
struct VocabShard {
  int64_t begin;            // first token of the shard
  int64_t total;            // size of the whole vocabulary
  VocabStatistics all;      // of all shards
};

}  // namespace echo
