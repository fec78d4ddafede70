import { isWeighted } from "./is-weighted.js";
import type { LossOptions } from "./loss-options.js";
import type { LossTotals } from "./loss-totals.js";
import { referenceObjective } from "./reference-objective.js";
import type { ReferenceRows } from "./reference-rows.js";
import { type RowDistribution, rowDistribution } from "./row-distribution.js";

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
  const T = rows.targets.length;
  const gradient = new Float64Array(T * vocabSize);
  const distribution = (t: number): RowDistribution => {
    const row = Array.from({ length: vocabSize }, (_, j) => logits[t * vocabSize + j]);
    return rowDistribution(row, rows.targets[t], options);
  };
  const objective = referenceObjective(rows, options, () =>
    Array.from({ length: T }, (_, t) => (rows.actionWeights[t] === 0 ? 0 : distribution(t).logprob)),
  );
  for (let t = 0; t < T; t++)
    if (isWeighted(rows, t)) gradient.set(objective.add(t, distribution(t)), t * vocabSize);
  const { logprobs, entropies } = objective;
  const totals = objective.totals();
  const { entropyLoss, klLoss, observationLoss, policyLoss } = totals;
  return { loss: policyLoss + observationLoss + klLoss + entropyLoss, gradient, logprobs, entropies, totals };
}
