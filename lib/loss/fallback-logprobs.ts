import type { LogitsDtype } from "./check-logits.js";
import type { LossOptions } from "./loss-options.js";
import { referenceLoss } from "./reference.js";
import { widenLogits } from "./widen-logits.js";

/** What the addon's `tokenLogprobs` does, by the float64 reference, one row at a time. Logits are [T, ld]. */
export function fallbackLogprobs(
  block: { logits: Float32Array | Uint16Array; dtype: LogitsDtype; vocab: number; ld: number },
  targets: Int32Array,
  options: Pick<LossOptions, "temperature" | "logitSoftcap">,
  logprobs: Float32Array,
  entropies: Float32Array | null,
): void {
  const { vocab, ld } = block;
  for (const [t, target] of targets.entries()) {
    const row = referenceLoss({
      logits: widenLogits(block.logits.subarray(t * ld, t * ld + vocab), block.dtype),
      rows: {
        targets: [target],
        actionWeights: [target < 0 ? 0 : 1],
        observationWeights: [0],
        advantages: [0],
        onPolicy: true,
      },
      vocabSize: vocab,
      options: { ...options, entropy: entropies !== null },
    });
    logprobs[t] = row.logprobs[0];
    if (entropies !== null) entropies[t] = row.entropies[0];
  }
}
