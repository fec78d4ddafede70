import type { RowDistribution } from "./row-distribution.js";
import { softcap } from "./softcap.js";
import { statisticsDistribution } from "./statistics-distribution.js";
import type { VocabStatistics } from "./vocab-statistics.js";

/** Where a block of logits stands in a vocabulary in shards. */
export interface VocabShard {
  /** First token of the block. */
  begin: number;
  /** Of all shards, merged. */
  statistics: VocabStatistics;
}

/** `rowDistribution` of row t of a shard, [V] its logits, from what all shards say of the row. */
export function shardDistribution(
  logits: ArrayLike<number>,
  target: number,
  t: number,
  shard: VocabShard,
  options: { temperature: number; logitSoftcap: number | false },
): RowDistribution {
  const { temperature, logitSoftcap } = options;
  const { max, sum, logprob, entropy, empty } = statisticsDistribution(shard.statistics, t);
  const place = target - shard.begin;
  return {
    logits,
    // The statistics are of float32 logits, under a softcap too.
    probabilities: Float64Array.from(
      logits,
      (x) => Math.exp((Math.fround(softcap(x, logitSoftcap)) - max) / temperature) / sum,
    ),
    target: place < logits.length ? place : -1,
    logprob,
    logprobAtOne: () => (temperature === 1 ? logprob : 0),
    entropy,
    empty,
  };
}
