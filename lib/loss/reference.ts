import type { LossOptions } from "./loss-options.js";
import type { LossTotals } from "./loss-totals.js";

/** `LossRows` in any precision. */
export interface ReferenceRows {
  targets: ArrayLike<number>;
  actionWeights: ArrayLike<number>;
  observationWeights: ArrayLike<number>;
  advantages: ArrayLike<number>;
  oldLogprobs?: ArrayLike<number>;
  onPolicy?: boolean;
}

export interface ReferenceInput {
  /** [T, V]; left unchanged. */
  logits: ArrayLike<number>;
  rows: ReferenceRows;
  vocabSize: number;
  options?: LossOptions;
}

export interface ReferenceResult {
  /** policyLoss + observationLoss. */
  loss: number;
  /** d loss / d logits times `gradScale`, [T, V]. */
  gradient: Float64Array;
  /** log p of each target at the temperature, [T]; 0 on rows without weight. */
  logprobs: Float64Array;
  totals: LossTotals;
}

interface Distribution {
  logprob: number;
  probabilities: number[];
}

function softmax(logits: readonly number[], target: number, temperature: number): Distribution {
  const z = logits.map((logit) => logit / temperature);
  const max = z.reduce((a, b) => Math.max(a, b), -Infinity);
  const exponentials = z.map((value) => Math.exp(value - max));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return {
    logprob: z[target] - max - Math.log(sum),
    probabilities: exponentials.map((value) => value / sum),
  };
}

/**
 * The objective as it is written down, row by row in float64, as slow as that is: what every fast path must equal. Shares no code with them.
 *
 *     z = x / T,  lp = log softmax(z)[target],  ρ = exp(clamp(lp - old)),  ρ = 1 on-policy
 *     loss   = wA · -min(ρ A, clip(ρ, 1 - epsilonLow, 1 + epsilonHigh) A)  +  wO · -lp
 *     dx_j   = gradScale · G / T · (p_j - [j = target]),  G = wA · ρ A · [ρ A is the smaller, log ratio not clamped] + wO
 *
 * Rows without weight are not read. A row of nothing but -Infinity has no distribution: it counts in `nonfiniteRows` and contributes
 * 0. A row with NaN or +Infinity has a NaN gradient. A target at -Infinity costs +Infinity as an observation, with a finite gradient.
 */
export function referenceLoss(input: ReferenceInput): ReferenceResult {
  const { logits, rows, vocabSize, options = {} } = input;
  const { temperature = 1, epsilonLow = 0.2, epsilonHigh = 0.2, gradScale = 1, nllAtOne = false } = options;
  const clamp = options.logRatioClamp === false ? Infinity : (options.logRatioClamp ?? 20);
  const T = rows.targets.length;
  const gradient = new Float64Array(T * vocabSize);
  const logprobs = new Float64Array(T);
  const totals: LossTotals = {
    policyLoss: 0,
    observationLoss: 0,
    actionTokens: 0,
    observationTokens: 0,
    observationNllSum: 0,
    actionNllSum: 0,
    ratioSum: 0,
    ratioMax: 0,
    clippedLow: 0,
    clippedHigh: 0,
    nonfiniteRows: 0,
  };
  let nllAtOneSum = 0;

  for (let t = 0; t < T; t++) {
    const actionWeight = rows.actionWeights[t];
    const observationWeight = rows.observationWeights[t];
    if (actionWeight === 0 && observationWeight === 0) continue;
    const target = rows.targets[t];
    const row = Array.from({ length: vocabSize }, (_, j) => logits[t * vocabSize + j]);
    if (actionWeight !== 0) totals.actionTokens++;
    if (observationWeight !== 0) totals.observationTokens++;
    if (row.every((logit) => logit === -Infinity)) {
      totals.nonfiniteRows++;
      logprobs[t] = -Infinity;
      continue;
    }

    const { logprob, probabilities } = softmax(row, target, temperature);
    logprobs[t] = logprob;
    if (!Number.isFinite(logprob)) totals.nonfiniteRows++;
    let negativeSlope = 0; // G = -d loss / d logprob

    if (actionWeight !== 0) {
      const advantage = rows.advantages[t];
      let ratio = 1;
      let clamped = false;
      if (!rows.onPolicy && rows.oldLogprobs) {
        const logRatio = logprob - rows.oldLogprobs[t];
        clamped = Math.abs(logRatio) > clamp;
        ratio = Math.exp(Math.min(Math.max(logRatio, -clamp), clamp));
      }
      const bounded = Math.min(Math.max(ratio, 1 - epsilonLow), 1 + epsilonHigh);
      // A ratio may be infinite when the clamp is off, and 0 · Infinity is no loss.
      const free = advantage === 0 ? 0 : ratio * advantage;
      const clipped = advantage === 0 ? 0 : bounded * advantage;
      totals.policyLoss += actionWeight * -Math.min(free, clipped);
      if (clipped < free) {
        if (ratio < 1) totals.clippedLow++;
        else totals.clippedHigh++;
      } else if (!clamped) negativeSlope += actionWeight * free;
      totals.actionNllSum -= logprob;
      totals.ratioSum += ratio;
      if (ratio > totals.ratioMax) totals.ratioMax = ratio;
    }
    if (observationWeight !== 0) {
      totals.observationLoss += observationWeight * -logprob;
      totals.observationNllSum -= logprob;
      nllAtOneSum -= temperature === 1 ? logprob : nllAtOne ? softmax(row, target, 1).logprob : 0;
      negativeSlope += observationWeight;
    }
    for (let j = 0; j < vocabSize; j++)
      gradient[t * vocabSize + j] =
        ((gradScale * negativeSlope) / temperature) * (probabilities[j] - (j === target ? 1 : 0));
  }
  if (temperature === 1 || nllAtOne) totals.observationNllAtOneSum = nllAtOneSum;
  return { loss: totals.policyLoss + totals.observationLoss, gradient, logprobs, totals };
}
