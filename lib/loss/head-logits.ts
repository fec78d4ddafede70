import { bfloat16ToFloat32 } from "../floats/bfloat16-to-float32.js";
import type { NativeHead } from "../native/native-linear-loss.js";

/** The layer and its input as float32, and the logits of some rows, [T, V]; the others stay 0. Sums are float64, rounded to float32 once. */
export function headLogits(
  head: NativeHead,
  rows: number,
  wanted: (row: number) => boolean,
): { hidden: Float32Array; weight: Float32Array; logits: Float32Array } {
  const { vocab, width } = head;
  const widen = (values: Float32Array | Uint16Array): Float32Array =>
    values instanceof Uint16Array ? bfloat16ToFloat32(values) : values;
  const hidden = widen(head.hidden);
  const weight = widen(head.weight);
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
