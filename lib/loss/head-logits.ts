import type { HostHead } from "./host-head.js";
import { widenLogits } from "./widen-logits.js";

/** The layer and its input as float32, and the logits of some rows, [T, V]; the others stay 0. Sums are float64, rounded to float32 once. */
export function headLogits(
  head: HostHead,
  rows: number,
  wanted: (row: number) => boolean,
): { hidden: Float32Array; weight: Float32Array; logits: Float32Array } {
  const { vocab, width } = head;
  const hidden = widenLogits(head.hidden, head.hiddenDtype);
  const weight = widenLogits(head.weight, head.weightDtype);
  const logits = new Float32Array(rows * vocab);
  for (let t = 0; t < rows; t++) {
    if (!wanted(t)) continue;
    for (let v = 0; v < vocab; v++) {
      let sum = 0;
      for (let k = 0; k < width; k++) sum += hidden[t * width + k] * weight[v * width + k];
      logits[t * vocab + v] = sum;
    }
  }
  return { hidden, weight, logits };
}
