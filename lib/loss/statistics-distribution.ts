import type { VocabStatistics } from "./vocab-statistics.js";

/** One row of a vocabulary in shards, as far as its shards' statistics tell it: p_j = exp((x_j - max) / temperature) / sum. */
export interface StatisticsDistribution {
  /** max x, the target's included. */
  max: number;
  /** Σ exp((x - max) / temperature), the target's included. */
  sum: number;
  /** log p of the target; -Infinity on an empty row. */
  logprob: number;
  /** -Σ p log p; 0 on an empty row, and where the statistics cannot tell. */
  entropy: number;
  /** Every logit is -Infinity, or the row was skipped. */
  empty: boolean;
}

/** What the merged statistics of all shards say of row t: `row_distribution` and `row_entropy` of native/loss/objective.h. */
export function statisticsDistribution(statistics: VocabStatistics, t: number): StatisticsDistribution {
  const { targetLogits, temperature, weighted } = statistics;
  const rest = statistics.max[t];
  const target = targetLogits[t];
  const max = Math.max(rest, target);
  const shift = Math.exp((rest - max) / temperature);
  const others = statistics.sum[t] * shift;
  const sum = others + Math.exp((target - max) / temperature);
  const empty = sum === 0;
  // log1p: a confident target's log p is as exact as the sum of the others.
  const logprob = empty
    ? -Infinity
    : (target - max) / temperature - (target >= rest ? Math.log1p(others) : Math.log(sum));
  let entropy = 0;
  if (weighted !== null && !empty) {
    const scale = shift / sum;
    if (others > 0) entropy -= scale * (Math.LN2 * weighted[t] + Math.log(scale) * statistics.sum[t]);
    if (logprob > -Infinity) entropy -= Math.exp(logprob) * logprob;
    if (Number.isNaN(logprob)) entropy = Number.NaN;
  }
  return { max, sum, logprob, entropy, empty };
}
