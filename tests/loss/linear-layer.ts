import { bfloat16ToFloat32 } from "../../lib/floats/bfloat16-to-float32.js";
import { float32ToBfloat16 } from "../../lib/floats/float32-to-bfloat16.js";
import type { LinearEchoLossInput } from "../../lib/loss/linear-echo-loss-input.js";
import { linearTokenLogprobs } from "../../lib/loss/linear-token-logprobs.js";
import type { LossOptions } from "../../lib/loss/loss-options.js";
import { referenceLoss } from "../../lib/loss/reference.js";
import { CounterRandom } from "../../lib/random/counter-random.js";
import { deriveSeed } from "../../lib/random/derive-seed.js";
import { sequenceBlock } from "./sequence-block.js";

export type Dtype = "float32" | "bfloat16";

/** T rows, a third without weight, of sequences; old log-probabilities near those of the layer. */
export function linearLayer(
  T: number,
  D: number,
  V: number,
  hiddenType: Dtype = "float32",
  weightType: Dtype = "float32",
) {
  const random = new CounterRandom(deriveSeed(3, "linear-head", T, D, V));
  const numbers = (count: number, size: number) =>
    Float32Array.from({ length: count }, () => (random.next() - 0.5) * size);
  const stored = (values: Float32Array, dtype: Dtype) =>
    dtype === "float32" ? values : float32ToBfloat16(values);
  const hidden = stored(numbers(T * D, 2), hiddenType);
  const weight = stored(numbers(V * D, 6 / Math.sqrt(D)), weightType);
  const { logits: _, vocabSize: __, ld: ___, ...rows } = sequenceBlock(7, T, V, V);
  const input = { ...rows, hidden, weight, hiddenSize: D };
  const now = linearTokenLogprobs(input);
  const near = (vector: Float32Array | undefined) =>
    vector && Float32Array.from(now, (logprob) => logprob + (random.next() - 0.5) * 0.6);
  return {
    ...input,
    oldLogprobs: near(rows.oldLogprobs),
    samplerLogprobs: near(rows.samplerLogprobs),
    referenceLogprobs: near(rows.referenceLogprobs),
  } satisfies LinearEchoLossInput;
}

export const widen = (values: Float32Array | Uint16Array) =>
  values instanceof Uint16Array ? bfloat16ToFloat32(values) : values;

/** The loss and both gradients in float64, from nothing but the definition. */
export function linearReference(input: ReturnType<typeof linearLayer>, options: LossOptions) {
  const { hiddenSize: D } = input;
  const hidden = widen(input.hidden);
  const weight = widen(input.weight);
  const T = input.targets.length;
  const V = weight.length / D;
  const logits = new Float64Array(T * V);
  for (let t = 0; t < T; t++)
    for (let v = 0; v < V; v++)
      for (let k = 0; k < D; k++) logits[t * V + v] += hidden[t * D + k] * weight[v * D + k];
  const { gradient, totals, logprobs } = referenceLoss({ logits, rows: input, vocabSize: V, options });
  const hiddenGradient = new Float64Array(T * D);
  const weightGradient = new Float64Array(V * D);
  for (let t = 0; t < T; t++)
    for (let v = 0; v < V; v++)
      for (let k = 0; k < D; k++) {
        hiddenGradient[t * D + k] += gradient[t * V + v] * weight[v * D + k];
        weightGradient[v * D + k] += gradient[t * V + v] * hidden[t * D + k];
      }
  return { totals, logprobs, hiddenGradient, weightGradient };
}

export const bytes = (array: Float32Array | Uint16Array) =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength);
