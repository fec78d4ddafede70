/** What one optimiser step consists of. */
export interface StepCounts {
  /** N. */
  sequences: number;
  /** All tokens, whatever their role. */
  tokens: number;
  /** Σ|A_i|. */
  actionTokens: number;
  /** Σ|O'_i|: target tokens, observations unless `observationTargets` says otherwise, without the dropped ones. */
  observationTokens: number;
  /** Target tokens that `observationWeight` or `maxObservationTokens` dropped. */
  droppedObservationTokens: number;
  /** Σ|W_i|. */
  warningTokens: number;
  /** Sequences with |A_i| = 0. */
  sequencesWithoutActions: number;
  /** Sequences with |O_i| = 0. */
  sequencesWithoutObservations: number;
  /** Action tokens with a weight and an advantage, and target tokens with a weight. */
  gradientTokens: number;
  /** gradientTokens / tokens. */
  gradientTokenShare: number;
}
