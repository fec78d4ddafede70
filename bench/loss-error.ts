import { referenceLoss } from "../lib/loss/reference.js";
import { benchLogits } from "./bench-logits.js";
import type { BenchRows } from "./bench-rows.js";

/** Largest errors on some rows, against float64. */
export interface LossError {
  /** Of the gradient by the logits, in units of the row's weight. */
  gradient: number;
  /** Of the log-probabilities, in nats. */
  logprobs: number;
}

/**
 * Compares what was computed on the rows `at` of `benchLogits` with the float64 reference.
 *
 * @param gradient of those rows, [at.length, V]; `logprobs` of those rows. Either may be missing; its error is then NaN.
 */
export function lossError(
  V: number,
  rows: BenchRows,
  at: readonly number[],
  computed: { gradient?: ArrayLike<number>; logprobs?: ArrayLike<number> },
): LossError {
  const all = benchLogits(Math.max(...at) + 1, V, "float32");
  const error: LossError = {
    gradient: computed.gradient ? 0 : Number.NaN,
    logprobs: computed.logprobs ? 0 : Number.NaN,
  };
  for (const [i, t] of at.entries()) {
    const row = Object.fromEntries(
      Object.entries(rows).map(([name, values]) => [name, values.subarray(t, t + 1)]),
    ) as unknown as BenchRows;
    const expected = referenceLoss({ logits: all.subarray(t * V, (t + 1) * V), vocabSize: V, rows: row });
    const weight = row.actionWeights[0] + row.observationWeights[0];
    if (computed.gradient)
      for (let j = 0; j < V; j++)
        error.gradient = largest(
          error.gradient,
          Math.abs(computed.gradient[i * V + j] - expected.gradient[j]) / (weight || 1),
        );
    if (computed.logprobs && weight !== 0)
      error.logprobs = largest(error.logprobs, Math.abs(computed.logprobs[i] - expected.logprobs[0]));
  }
  return error;
}

/** A NaN must not vanish in a comparison. */
function largest(a: number, b: number): number {
  return Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.max(a, b);
}
