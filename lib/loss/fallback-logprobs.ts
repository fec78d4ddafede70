import { referenceLoss } from "./reference.js";

/** What the addon's `tokenLogprobs` does, by the float64 reference, one row at a time. Logits are [T, ld] float32. */
export function fallbackLogprobs(
  logits: Float32Array,
  vocab: number,
  ld: number,
  targets: Int32Array,
  temperature: number,
  logprobs: Float32Array,
): void {
  for (const [t, target] of targets.entries()) {
    const row = referenceLoss({
      logits: logits.subarray(t * ld, t * ld + vocab),
      rows: {
        targets: [target],
        actionWeights: [0],
        observationWeights: [target < 0 ? 0 : 1],
        advantages: [0],
      },
      vocabSize: vocab,
      options: { temperature },
    });
    logprobs[t] = row.logprobs[0];
  }
}
