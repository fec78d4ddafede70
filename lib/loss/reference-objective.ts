import type { LossOptions } from "./loss-options.js";
import type { LossTotals } from "./loss-totals.js";
import type { ReferenceRows } from "./reference-rows.js";
import type { RowDistribution } from "./row-distribution.js";

/** d = log p - log p_ref: the estimate and its derivative by log p. */
function klEstimate(d: number, estimator: LossOptions["klEstimator"]): { kl: number; slope: number } {
  if (estimator === "k1") return { kl: d, slope: 1 };
  if (estimator === "k2") return { kl: (d * d) / 2, slope: d };
  return { kl: Math.exp(-d) - 1 + d, slope: 1 - Math.exp(-d) };
}

function boundTo(limit: number, value: number): number {
  return Math.min(Math.max(value, -limit), limit);
}

/** What belongs to a whole sequence: its rows' log-ratio and its importance weight. */
function sequenceTerms(
  rows: ReferenceRows,
  logprobs: ArrayLike<number>,
): { ratio: number[]; behind: number[] } {
  const T = rows.targets.length;
  const ends = rows.cuSeqLens ?? [0, T];
  const ratio = new Array<number>(T).fill(0);
  const behind = new Array<number>(T).fill(0);
  for (let i = 0; i + 1 < ends.length; i++) {
    const actions: number[] = [];
    for (let t = ends[i]; t < ends[i + 1]; t++) if (rows.actionWeights[t] !== 0) actions.push(t);
    const sum = (value: (t: number) => number): number => actions.reduce((total, t) => total + value(t), 0);
    const old = (t: number): number => rows.oldLogprobs?.[t] ?? logprobs[t];
    const mean = sum((k) => logprobs[k] - old(k)) / actions.length;
    const drift = sum((k) => old(k) - (rows.samplerLogprobs?.[k] ?? 0));
    for (const t of actions) {
      ratio[t] = mean;
      behind[t] = drift;
    }
  }
  return { ratio, behind };
}

/** The objective under way: rows are added one by one, in ascending order, and none that has no weight. */
export interface ReferenceObjective {
  /** The next row, t. @returns d loss / d logits of the row times `gradScale`, [V] of `row.logits`. */
  add(t: number, row: RowDistribution): Float64Array;
  /** log p of each target at the temperature, [T]; 0 on rows that were not added. */
  logprobs: Float64Array;
  /** Entropy of each action row in nats, [T]; 0 elsewhere, and everywhere unless the options ask for it. */
  entropies: Float64Array;
  /** Sums over the rows that were added. */
  totals(): LossTotals;
}

/**
 * What `referenceLoss` does with the distribution of each row. No row but those that are added need be in memory.
 *
 * @param now log p of each action row, [T]; called only when an option of whole sequences needs all of them before the first row.
 */
export function referenceObjective(
  rows: ReferenceRows,
  options: LossOptions,
  now: () => ArrayLike<number>,
): ReferenceObjective {
  const { temperature = 1, epsilonLow = 0.2, epsilonHigh = 0.2, gradScale = 1, nllAtOne = false } = options;
  const { klCoefficient = 0, entropyCoefficient = 0, dualClip = false, logitSoftcap = false } = options;
  const { rolloutCorrection: correction, ratioLevel, surrogate: kind = "clip" } = options;
  const clamp = options.logRatioClamp === false ? Infinity : (options.logRatioClamp ?? 20);
  const withEntropy = options.entropy === true || entropyCoefficient !== 0;
  const T = rows.targets.length;
  const logprobs = new Float64Array(T);
  const entropies = new Float64Array(T);
  const totals: LossTotals = {
    policyLoss: 0,
    observationLoss: 0,
    klLoss: 0,
    entropyLoss: 0,
    actionTokens: 0,
    observationTokens: 0,
    observationNllSum: 0,
    actionNllSum: 0,
    surrogateSum: 0,
    ratioSum: 0,
    ratioMax: 0,
    clippedLow: 0,
    clippedHigh: 0,
    clippedDual: 0,
    nonfiniteRows: 0,
  };
  let nllAtOneSum = 0;
  let klSum = 0;
  let entropySum = 0;

  const needed =
    (ratioLevel === "sequence" && !rows.onPolicy) || (correction?.level === "sequence" && !rows.oldLogprobs);
  const sequences = sequenceTerms(rows, needed ? now() : logprobs);

  const add = (t: number, row: RowDistribution): Float64Array => {
    const { entropy, logits, logprob, probabilities, target } = row;
    const gradient = new Float64Array(logits.length);
    const actionWeight = rows.actionWeights[t];
    const observationWeight = rows.observationWeights[t];
    logprobs[t] = logprob;
    if (actionWeight !== 0) totals.actionTokens++;
    if (observationWeight !== 0) totals.observationTokens++;
    if (!Number.isFinite(logprob)) totals.nonfiniteRows++;
    if (row.empty) return gradient;
    let negativeSlope = 0; // G = -d loss / d logprob

    if (actionWeight !== 0) {
      const advantage = rows.advantages[t];
      let ratio = 1;
      let clamped = false;
      if (!rows.onPolicy && rows.oldLogprobs) {
        const logRatio = ratioLevel === "sequence" ? sequences.ratio[t] : logprob - rows.oldLogprobs[t];
        clamped = Math.abs(logRatio) > clamp;
        ratio = Math.exp(boundTo(clamp, logRatio));
      }
      let factor = 1;
      if (correction) {
        const own = (rows.oldLogprobs?.[t] ?? 0) - (rows.samplerLogprobs?.[t] ?? 0);
        factor = Math.exp(boundTo(80, correction.level === "sequence" ? sequences.behind[t] : own));
        if (correction.mode === "truncate") factor = Math.min(factor, correction.cap);
        else if (factor > correction.cap || factor < (correction.floor ?? 0)) factor = 0;
      }
      const bounded = Math.min(Math.max(ratio, 1 - epsilonLow), 1 + epsilonHigh);
      // A ratio may be infinite when the clamp is off, and 0 · Infinity is no loss.
      const idle = advantage === 0 || factor === 0;
      let surrogate = 0;
      if (kind === "cispo") {
        surrogate = idle ? 0 : bounded * advantage * factor * logprob;
        if (!idle && ratio < 1 - epsilonLow) totals.clippedLow++;
        if (!idle && ratio > 1 + epsilonHigh) totals.clippedHigh++;
        negativeSlope += idle ? 0 : actionWeight * bounded * advantage * factor;
      } else {
        const free = idle ? 0 : ratio * advantage;
        const clipped = idle ? 0 : bounded * advantage;
        surrogate = Math.min(free, clipped);
        if (!idle && dualClip !== false && advantage < 0 && surrogate < dualClip * advantage) {
          surrogate = dualClip * advantage;
          totals.clippedDual++;
        } else if (clipped < free) {
          if (ratio < 1) totals.clippedLow++;
          else totals.clippedHigh++;
        } else if (!clamped) negativeSlope += actionWeight * free * factor;
        surrogate *= factor;
      }
      totals.policyLoss += actionWeight * -surrogate;
      totals.surrogateSum += surrogate;
      if (rows.referenceLogprobs) {
        const d = logprob - rows.referenceLogprobs[t];
        const { kl, slope } = klEstimate(boundTo(clamp, d), options.klEstimator);
        klSum += kl;
        totals.klLoss += actionWeight * klCoefficient * kl;
        if (Math.abs(d) <= clamp) negativeSlope -= actionWeight * klCoefficient * slope;
      }
      if (withEntropy) {
        entropySum += entropy;
        entropies[t] = entropy;
        totals.entropyLoss -= actionWeight * entropyCoefficient * entropy;
      }
      totals.actionNllSum -= logprob;
      totals.ratioSum += ratio;
      if (ratio > totals.ratioMax) totals.ratioMax = ratio;
    }
    if (observationWeight !== 0) {
      totals.observationLoss += observationWeight * -logprob;
      totals.observationNllSum -= logprob;
      nllAtOneSum -= row.logprobAtOne();
      negativeSlope += observationWeight;
    }
    for (let j = 0; j < gradient.length; j++) {
      const p = probabilities[j];
      let slope = negativeSlope * (p - (j === target ? 1 : 0));
      if (entropyCoefficient !== 0 && p !== 0)
        slope += actionWeight * entropyCoefficient * p * (Math.log(p) + entropy);
      const capSlope = logitSoftcap === false ? 1 : 1 - Math.tanh(logits[j] / logitSoftcap) ** 2;
      gradient[j] = ((gradScale * slope) / temperature) * capSlope;
    }
    return gradient;
  };
  const all = (): LossTotals => {
    const sums = { ...totals };
    if (temperature === 1 || nllAtOne) sums.observationNllAtOneSum = nllAtOneSum;
    if (rows.referenceLogprobs) sums.klSum = klSum;
    if (withEntropy) sums.entropySum = entropySum;
    return sums;
  };
  return { add, logprobs, entropies, totals: all };
}
