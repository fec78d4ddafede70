import { float32ToBfloat16 } from "../floats/float32-to-bfloat16.js";
import { actionTargets } from "./action-targets.js";
import { fallbackLinearLogprobs } from "./fallback-linear-logprobs.js";
import { type FallbackRows, fallbackObjective } from "./fallback-objective.js";
import { headChunks } from "./head-chunks.js";
import type { HostHead } from "./host-head.js";
import { isWeighted } from "./is-weighted.js";
import type { LossTotals } from "./loss-totals.js";
import { rowDistribution } from "./row-distribution.js";
import { weightRow } from "./weight-row.js";

/** Arguments of `linearEchoLoss` that have been checked. */
export interface FallbackLinearLossInput extends FallbackRows {
  head: HostHead;
  /** [T, D], written; may be the input of the layer. */
  hiddenGradient: Float32Array | Uint16Array;
  /** [V, D] float32, added to. */
  weightGradient: Float32Array | null;
}

/**
 * What the addon's `linearEchoLoss` does, by the float64 reference, in the same chunks of rows. Nothing that it writes or returns depends on the chunks:
 * the gradient of the weight is rounded to float32 after each row, as it is between two calls.
 * @throws ArgumentError as with the addon, before anything is written.
 */
export function fallbackLinearLoss(input: FallbackLinearLossInput): LossTotals {
  const { head, rows, options, hiddenGradient, weightGradient } = input;
  const { vocab, width } = head;
  const T = rows.targets.length;
  const objective = fallbackObjective(input, () => {
    const now = new Float64Array(T);
    fallbackLinearLogprobs(head, actionTargets(rows), options, now, null);
    return now;
  });
  for (const chunk of headChunks(head, T, (t) => isWeighted(rows, t))) {
    const parts = chunk.map((row) => ({ ...row, slopes: new Float64Array(width) }));
    for (const { t, logits } of parts)
      logits.set(objective.add(t, rowDistribution(logits, rows.targets[t], options)));
    for (let v = 0; v < vocab; v++) {
      const weights = weightRow(head, v);
      const sums = weightGradient?.subarray(v * width, (v + 1) * width);
      for (const { hidden, logits, slopes } of parts) {
        const gradient = logits[v];
        for (let k = 0; k < width; k++) slopes[k] += gradient * weights[k];
        if (sums !== undefined) for (let k = 0; k < width; k++) sums[k] += gradient * hidden[k];
      }
    }
    // After all that reads the input of these rows, whose memory it may be.
    for (const { t, slopes } of parts) {
      const row = Float32Array.from(slopes);
      const out = hiddenGradient.subarray(t * width, (t + 1) * width);
      if (out instanceof Uint16Array) float32ToBfloat16(row, out);
      else out.set(row);
    }
  }
  for (let t = 0; t < T; t++) if (!isWeighted(rows, t)) hiddenGradient.fill(0, t * width, (t + 1) * width);
  input.logprobs.set(objective.logprobs);
  input.entropies?.set(objective.entropies);
  return objective.totals();
}
