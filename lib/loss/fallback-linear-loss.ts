import { float32ToBfloat16 } from "../floats/float32-to-bfloat16.js";
import { type FallbackLossInput, fallbackLoss } from "./fallback-loss.js";
import { headLogits } from "./head-logits.js";
import type { HostHead } from "./host-head.js";
import type { LossTotals } from "./loss-totals.js";

/** Arguments of `linearEchoLoss` that have been checked. */
export interface FallbackLinearLossInput
  extends Pick<FallbackLossInput, "where" | "rows" | "input" | "options" | "logprobs" | "entropies"> {
  head: HostHead;
  /** [T, D], written; may be the input of the layer. */
  hiddenGradient: Float32Array | Uint16Array;
  /** [V, D] float32, added to. */
  weightGradient: Float32Array | null;
}

/** What the addon's `linearEchoLoss` does, by the float64 reference, with all logits in memory. @throws ArgumentError as with the addon. */
export function fallbackLinearLoss(input: FallbackLinearLossInput): LossTotals {
  const { head, rows, hiddenGradient, weightGradient } = input;
  const { vocab, width } = head;
  const T = rows.targets.length;
  const weighted = (t: number): boolean => rows.actionWeights[t] !== 0 || rows.observationWeights[t] !== 0;
  const { hidden, weight, logits } = headLogits(head, T, weighted);
  const totals = fallbackLoss({
    ...input,
    logits,
    vocab,
    ld: vocab,
    dtype: "float32",
    gradientDtype: "float32",
  });
  const slopes = new Float32Array(T * width);
  for (let t = 0; t < T; t++) {
    if (!weighted(t)) continue;
    for (let k = 0; k < width; k++) {
      let sum = 0;
      for (let v = 0; v < vocab; v++) sum += logits[t * vocab + v] * weight[v * width + k];
      slopes[t * width + k] = sum;
    }
  }
  if (weightGradient !== null)
    for (let v = 0; v < vocab; v++)
      for (let k = 0; k < width; k++) {
        let sum = weightGradient[v * width + k];
        for (let t = 0; t < T; t++) if (weighted(t)) sum += logits[t * vocab + v] * hidden[t * width + k];
        weightGradient[v * width + k] = sum;
      }
  // Last: it may be the memory of `hidden`.
  if (hiddenGradient instanceof Uint16Array) float32ToBfloat16(slopes, hiddenGradient);
  else hiddenGradient.set(slopes);
  return totals;
}
