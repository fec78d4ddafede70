/**
 * Sums over the weighted rows of one `echoLoss` call, in float64 and fixed order. All fields but `ratioMax` add over micro-batches.
 */
export interface LossTotals {
  /** Σ actionWeight · (-surrogate): the policy term alone, importance correction included. */
  policyLoss: number;
  /** Σ observationWeight · (-log p): already scaled by λ. */
  observationLoss: number;
  /** Σ actionWeight · klCoefficient · KL estimate. The loss is the sum of this one and its three neighbours. */
  klLoss: number;
  /** Σ actionWeight · (-entropyCoefficient · entropy). */
  entropyLoss: number;
  /** Rows with an action weight. */
  actionTokens: number;
  /** Rows with an observation weight. */
  observationTokens: number;
  /** Σ -log p over observation rows at the call's temperature, in nats. */
  observationNllSum: number;
  /** The same at temperature 1; absent unless temperature is 1 or `nllAtOne` was set. */
  observationNllAtOneSum?: number;
  /** Σ -log p over action rows at the call's temperature, in nats. */
  actionNllSum: number;
  /** Σ surrogate over action rows, unweighted: minus the unscaled policy term. */
  surrogateSum: number;
  /** Σ KL estimate over action rows, in nats; absent without `referenceLogprobs`. */
  klSum?: number;
  /** Σ entropy over action rows, in nats, at the call's temperature; absent unless `entropy` or `entropyCoefficient` asked for it. */
  entropySum?: number;
  /** Σ ρ over action rows. */
  ratioSum: number;
  /** max ρ over action rows; 0 without any. Combines by max. */
  ratioMax: number;
  /** Action rows whose gradient the lower clip removed; with `cispo`, whose ratio it bounds. */
  clippedLow: number;
  /** The same of the upper clip. */
  clippedHigh: number;
  /** Action rows whose gradient the dual clip removed. */
  clippedDual: number;
  /** Rows with a non-finite log-probability. */
  nonfiniteRows: number;
}
