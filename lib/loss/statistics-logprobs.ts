import { statisticsDistribution } from "./statistics-distribution.js";
import type { VocabStatistics } from "./vocab-statistics.js";

/** log p of each row's target from the statistics of all shards, [T] float32; -Infinity on rows that were skipped. */
export function statisticsLogprobs(statistics: VocabStatistics): Float32Array {
  return statistics.max.map((_, t) => statisticsDistribution(statistics, t).logprob);
}
