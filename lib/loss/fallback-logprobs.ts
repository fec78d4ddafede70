import type { LogitsDtype } from "./check-logits.js";
import type { LossOptions } from "./loss-options.js";
import { rowDistribution } from "./row-distribution.js";
import { widenLogits } from "./widen-logits.js";

/** What the addon's `tokenLogprobs` does, by the float64 reference, one row at a time. Logits are [T, ld]. */
export function fallbackLogprobs(
  block: { logits: Float32Array | Uint16Array; dtype: LogitsDtype; vocab: number; ld: number },
  targets: Int32Array,
  options: Pick<LossOptions, "temperature" | "logitSoftcap">,
  logprobs: Float32Array,
  entropies: Float32Array | null,
): void {
  const { dtype, ld, logits, vocab } = block;
  logprobs.fill(0);
  entropies?.fill(0);
  for (const [t, target] of targets.entries()) {
    if (target < 0) continue;
    const row = widenLogits(logits.subarray(t * ld, t * ld + vocab), dtype);
    const { logprob, entropy } = rowDistribution(row, target, options);
    logprobs[t] = logprob;
    if (entropies !== null) entropies[t] = entropy;
  }
}
