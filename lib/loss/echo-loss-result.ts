import type { LossTotals } from "./loss-totals.js";

export interface EchoLossResult {
  /** The whole loss: policyLoss + observationLoss + klLoss + entropyLoss of `metrics`. */
  loss: number;
  metrics: LossTotals;
  /** log p(target) of each weighted row at `temperature`, [T] float32; 0 on rows without weight. */
  logprobs: Float32Array;
  /** The rows that `metrics.nonfiniteRows` counts. */
  nonfiniteRows: number[];
}

/** What `echoLoss` returns, from totals and log-probabilities [T]. */
export function echoLossResult(metrics: LossTotals, logprobs: Float32Array): EchoLossResult {
  const nonfiniteRows: number[] = [];
  if (metrics.nonfiniteRows > 0)
    for (const [row, logprob] of logprobs.entries()) if (!Number.isFinite(logprob)) nonfiniteRows.push(row);
  return {
    loss: metrics.policyLoss + metrics.observationLoss + metrics.klLoss + metrics.entropyLoss,
    metrics,
    logprobs,
    nonfiniteRows,
  };
}
