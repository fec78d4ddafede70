import { checkFallbackDtype } from "./check-fallback-dtype.js";
import type { LossOptions } from "./loss-options.js";
import { referenceLoss } from "./reference.js";

/**
 * What the addon's `tokenLogprobs` does, by the float64 reference, one row at a time. Logits are [T, ld] float32.
 * @throws ArgumentError ERR_UNSUPPORTED for 16-bit logits.
 */
export function fallbackLogprobs(
  where: string,
  block: { logits: Float32Array | Uint16Array; vocab: number; ld: number },
  targets: Int32Array,
  options: Pick<LossOptions, "temperature" | "logitSoftcap">,
  logprobs: Float32Array,
  entropies: Float32Array | null,
): void {
  const { vocab, ld } = block;
  const logits = checkFallbackDtype(where, block);
  for (const [t, target] of targets.entries()) {
    const row = referenceLoss({
      logits: logits.subarray(t * ld, t * ld + vocab),
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
