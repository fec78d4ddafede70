/** What one optimiser step consists of. */
export interface StepCounts {
  /** N. */
  sequences: number;
  /** All tokens, whatever their role. */
  tokens: number;
  /** Σ|A_i|. */
  actionTokens: number;
  /** Σ|O'_i|: observation tokens that are targets (factor of `observationWeight` not 0). */
  observationTokens: number;
  /** Observation tokens that `observationWeight` dropped. */
  droppedObservationTokens: number;
  /** Σ|W_i|. */
  warningTokens: number;
  /** Sequences with |A_i| = 0. */
  sequencesWithoutActions: number;
  /** Sequences with |O_i| = 0. */
  sequencesWithoutObservations: number;
  /** Action tokens with a weight and an advantage, and observation tokens with a weight. */
  gradientTokens: number;
  /** gradientTokens / tokens. */
  gradientTokenShare: number;
}
