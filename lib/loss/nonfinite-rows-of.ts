import type { LossTotals } from "./loss-totals.js";

/** The rows that `nonfiniteRows` of the totals counts, from the log-probabilities of all rows. */
export function nonfiniteRowsOf({ nonfiniteRows }: LossTotals, logprobs: Float32Array): number[] {
  const rows: number[] = [];
  if (nonfiniteRows > 0)
    for (const [row, logprob] of logprobs.entries()) if (!Number.isFinite(logprob)) rows.push(row);
  return rows;
}
