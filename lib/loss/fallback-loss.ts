import type { CheckedLossRows } from "./check-loss-rows.js";
import type { LossOptions } from "./loss-options.js";
import type { LossTotals } from "./loss-totals.js";
import { referenceLoss } from "./reference.js";

/** Arguments of `echoLoss` that have been checked. */
export interface FallbackLossInput {
  /** [T, ld] float32; the gradient takes its place. */
  logits: Float32Array;
  vocab: number;
  ld: number;
  rows: CheckedLossRows;
  options: LossOptions;
  /** [T] float32, written. */
  logprobs: Float32Array;
}

/** [T, V] of [T, ld], without a copy where they are the same. */
function dense({ logits, vocab, ld, rows }: FallbackLossInput): Float32Array {
  if (ld === vocab) return logits;
  const values = new Float32Array(rows.targets.length * vocab);
  for (let t = 0; t < rows.targets.length; t++)
    values.set(logits.subarray(t * ld, t * ld + vocab), t * vocab);
  return values;
}

/** What the addon's `echoLoss` does, by the float64 reference: gradient in place, rounded to float32 once. */
export function fallbackLoss(input: FallbackLossInput): LossTotals {
  const { logits, vocab, ld, rows, options, logprobs } = input;
  const { gradient, totals, ...result } = referenceLoss({
    logits: dense(input),
    rows: { ...rows, oldLogprobs: rows.oldLogprobs ?? undefined, onPolicy: rows.oldLogprobs === null },
    vocabSize: vocab,
    options,
  });
  logprobs.set(result.logprobs);
  for (let t = 0; t < rows.targets.length; t++) {
    logits.set(gradient.subarray(t * vocab, (t + 1) * vocab), t * ld);
    logits.fill(0, t * ld + vocab, (t + 1) * ld);
  }
  return totals;
}
