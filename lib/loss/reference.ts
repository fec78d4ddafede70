import type { LossOptions } from "./loss-options.js";
import type { LossTotals } from "./loss-totals.js";

/** `LossRows` in any precision. */
export interface ReferenceRows {
  targets: ArrayLike<number>;
  actionWeights: ArrayLike<number>;
  observationWeights: ArrayLike<number>;
  advantages: ArrayLike<number>;
  oldLogprobs?: ArrayLike<number>;
  samplerLogprobs?: ArrayLike<number>;
  referenceLogprobs?: ArrayLike<number>;
  onPolicy?: boolean;
  /** Boundaries of the sequences, [n + 1]; for options of whole sequences. Default: one sequence. */
  cuSeqLens?: ArrayLike<number>;
}

export interface ReferenceInput {
  /** [T, V]; left unchanged. */
  logits: ArrayLike<number>;
  rows: ReferenceRows;
  vocabSize: number;
  options?: LossOptions;
}

export interface ReferenceResult {
  /** policyLoss + observationLoss + klLoss + entropyLoss. */
  loss: number;
  /** d loss / d logits times `gradScale`, [T, V]. */
  gradient: Float64Array;
  /** log p of each target at the temperature, [T]; 0 on rows without weight. */
  logprobs: Float64Array;
  /** Entropy of each action row in nats, [T]; 0 elsewhere, and everywhere unless the options ask for it. */
  entropies: Float64Array;
  totals: LossTotals;
}

interface Distribution {
  logprob: number;
  probabilities: number[];
  /** -Σ p log p. */
  entropy: number;
}

function softmax(logits: readonly number[], target: number, temperature: number): Distribution {
  const z = logits.map((logit) => logit / temperature);
  const max = z.reduce((a, b) => Math.max(a, b), -Infinity);
  const exponentials = z.map((value) => Math.exp(value - max));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  const probabilities = exponentials.map((value) => value / sum);
  const entropy = probabilities.reduce(
    (total, p, j) => (p === 0 ? total : total - p * (z[j] - max - Math.log(sum))),
    0,
  );
  return { logprob: z[target] - max - Math.log(sum), probabilities, entropy };
}

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
function sequenceTerms(rows: ReferenceRows, logprobs: Float64Array): { ratio: number[]; behind: number[] } {
  const T = logprobs.length;
  const ends = rows.cuSeqLens ?? [0, T];
  const ratio = new Array<number>(T).fill(0);
  const behind = new Array<number>(T).fill(0);
  for (let i = 0; i + 1 < ends.length; i++) {
    const actions: number[] = [];
    for (let t = ends[i]; t < ends[i + 1]; t++) if (rows.actionWeights[t] !== 0) actions.push(t);
    const sum = (value: (t: number) => number): number => actions.reduce((total, t) => total + value(t), 0);
    const old = (t: number): number => rows.oldLogprobs?.[t] ?? logprobs[t];
    for (const t of actions) {
      ratio[t] = sum((k) => logprobs[k] - old(k)) / actions.length;
      behind[t] = sum((k) => old(k) - (rows.samplerLogprobs?.[k] ?? 0));
    }
  }
  return { ratio, behind };
}

/**
 * The objective as it is written down (docs/objective.md), row by row in float64, as slow as that is: what every fast path must equal. Shares
 * no code with them. Its arguments are not checked.
 *
 *     z = softcap(x) / T,  lp = log softmax(z)[target],  ρ = exp(clamp(lp - old)),  ρ = 1 on-policy
 *     loss   = wA · (-surrogate · w + β · KL - c · H)  +  wO · -lp
 *     dx_j   = gradScale / T · softcap'(x_j) · ( G · (p_j - [j = target]) + wA · c · p_j · (log p_j + H) ),   G = -∂loss/∂lp without the entropy
 *
 * Rows without weight are not read. A row of nothing but -Infinity has no distribution: it counts in `nonfiniteRows` and contributes
 * 0. A row with NaN or +Infinity has a NaN gradient. A target at -Infinity costs +Infinity as an observation, with a finite gradient.
 */
export function referenceLoss(input: ReferenceInput): ReferenceResult {
  const { logits, rows, vocabSize, options = {} } = input;
  const { temperature = 1, epsilonLow = 0.2, epsilonHigh = 0.2, gradScale = 1, nllAtOne = false } = options;
  const { klCoefficient = 0, entropyCoefficient = 0, dualClip = false, logitSoftcap = false } = options;
  const { rolloutCorrection: correction, ratioLevel, surrogate: kind = "clip" } = options;
  const clamp = options.logRatioClamp === false ? Infinity : (options.logRatioClamp ?? 20);
  const withEntropy = options.entropy === true || entropyCoefficient !== 0;
  const T = rows.targets.length;
  const gradient = new Float64Array(T * vocabSize);
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

  const raw = (t: number): number[] => Array.from({ length: vocabSize }, (_, j) => logits[t * vocabSize + j]);
  const cap = (x: number): number =>
    logitSoftcap === false || !Number.isFinite(x) ? x : logitSoftcap * Math.tanh(x / logitSoftcap);
  const weighted = (t: number): boolean => rows.actionWeights[t] !== 0 || rows.observationWeights[t] !== 0;
  const distributions = Array.from({ length: T }, (_, t) =>
    weighted(t) ? softmax(raw(t).map(cap), rows.targets[t], temperature) : undefined,
  );
  for (let t = 0; t < T; t++) logprobs[t] = distributions[t]?.logprob ?? 0;
  const sequences = sequenceTerms(rows, logprobs);

  for (let t = 0; t < T; t++) {
    const distribution = distributions[t];
    if (distribution === undefined) continue;
    const actionWeight = rows.actionWeights[t];
    const observationWeight = rows.observationWeights[t];
    const target = rows.targets[t];
    const row = raw(t);
    if (actionWeight !== 0) totals.actionTokens++;
    if (observationWeight !== 0) totals.observationTokens++;
    if (row.every((logit) => logit === -Infinity)) {
      totals.nonfiniteRows++;
      logprobs[t] = -Infinity;
      continue;
    }
    const { entropy, logprob, probabilities } = distribution;
    if (!Number.isFinite(logprob)) totals.nonfiniteRows++;
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
      nllAtOneSum -= temperature === 1 ? logprob : nllAtOne ? softmax(row.map(cap), target, 1).logprob : 0;
      negativeSlope += observationWeight;
    }
    for (let j = 0; j < vocabSize; j++) {
      const p = probabilities[j];
      let slope = negativeSlope * (p - (j === target ? 1 : 0));
      if (entropyCoefficient !== 0 && p !== 0)
        slope += actionWeight * entropyCoefficient * p * (Math.log(p) + entropy);
      const x = logits[t * vocabSize + j];
      const capSlope =
        logitSoftcap === false || !Number.isFinite(x) ? 1 : 1 - Math.tanh(x / logitSoftcap) ** 2;
      gradient[t * vocabSize + j] = ((gradScale * slope) / temperature) * capSlope;
    }
  }
  if (temperature === 1 || nllAtOne) totals.observationNllAtOneSum = nllAtOneSum;
  if (rows.referenceLogprobs) totals.klSum = klSum;
  if (withEntropy) totals.entropySum = entropySum;
  const { entropyLoss, klLoss, observationLoss, policyLoss } = totals;
  return { loss: policyLoss + observationLoss + klLoss + entropyLoss, gradient, logprobs, entropies, totals };
}
