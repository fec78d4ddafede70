import { headChunks } from "./head-chunks.js";
import type { HostHead } from "./host-head.js";
import type { LossOptions } from "./loss-options.js";
import { rowDistribution } from "./row-distribution.js";

/** What the addon's `linearTokenLogprobs` does, by the float64 reference, in the same chunks of rows. */
export function fallbackLinearLogprobs(
  head: HostHead,
  targets: Int32Array,
  options: Pick<LossOptions, "temperature" | "logitSoftcap">,
  logprobs: Float32Array | Float64Array,
  entropies: Float32Array | null,
): void {
  logprobs.fill(0);
  entropies?.fill(0);
  for (const chunk of headChunks(head, targets.length, (t) => targets[t] >= 0))
    for (const { t, logits } of chunk) {
      const { logprob, entropy } = rowDistribution(logits, targets[t], options);
      logprobs[t] = logprob;
      if (entropies !== null) entropies[t] = entropy;
    }
}
