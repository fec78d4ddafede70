import type { BenchRows } from "./bench-rows.js";

/** The loss as one writes it in TypeScript without any library: three loops over each row, float64 arithmetic, gradient in place. */
export function naiveLoss(logits: Float32Array, vocabSize: number, rows: BenchRows): number {
  let loss = 0;
  for (let t = 0; t < rows.targets.length; t++) {
    const start = t * vocabSize;
    const action = rows.actionWeights[t];
    const observation = rows.observationWeights[t];
    if (action === 0 && observation === 0) {
      logits.fill(0, start, start + vocabSize);
      continue;
    }
    let max = Number.NEGATIVE_INFINITY;
    for (let j = 0; j < vocabSize; j++) max = Math.max(max, logits[start + j]);
    let sum = 0;
    for (let j = 0; j < vocabSize; j++) sum += Math.exp(logits[start + j] - max);
    const target = start + rows.targets[t];
    const logprob = logits[target] - max - Math.log(sum);
    const ratio = Math.exp(logprob - rows.oldLogprobs[t]);
    const free = ratio * rows.advantages[t];
    const clipped = Math.min(Math.max(ratio, 0.8), 1.2) * rows.advantages[t];
    loss += -action * Math.min(free, clipped) - observation * logprob;
    const slope = observation + (free <= clipped ? action * free : 0);
    for (let j = 0; j < vocabSize; j++) logits[start + j] = (slope * Math.exp(logits[start + j] - max)) / sum;
    logits[target] -= slope;
  }
  return loss;
}
