/**
 * Sums over the weighted rows of one `echoLoss` call, in float64 and fixed order. All fields but `ratioMax` add over micro-batches.
 */
export interface LossTotals {
  /** Σ actionWeight · (-min(ρA, clip(ρ)A)). */
  policyLoss: number;
  /** Σ observationWeight · (-log p): already scaled by λ. */
  observationLoss: number;
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
  /** Σ ρ over action rows. */
  ratioSum: number;
  /** max ρ over action rows; 0 without any. Combines by max. */
  ratioMax: number;
  /** Action rows whose gradient the lower clip removed. */
  clippedLow: number;
  /** Action rows whose gradient the upper clip removed. */
  clippedHigh: number;
  /** Rows with a non-finite log-probability. */
  nonfiniteRows: number;
}
