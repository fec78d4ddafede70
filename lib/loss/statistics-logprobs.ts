import type { VocabStatistics } from "./vocab-statistics.js";

/** log p of each row's target from the statistics of all shards, [T] float32; -Infinity on rows that were skipped. `native/loss/objective.h`. */
export function statisticsLogprobs({ max, sum, targetLogits, temperature }: VocabStatistics): Float32Array {
  return max.map((rest, t) => {
    const target = targetLogits[t];
    if (target >= rest) return -Math.log1p(sum[t] * Math.exp((rest - target) / temperature));
    if (sum[t] === 0 && target === -Infinity) return -Infinity;
    const a = (target - rest) / temperature;
    return a - Math.log(sum[t] + Math.exp(a));
  });
}
