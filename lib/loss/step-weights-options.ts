import type { TokenSequence } from "./token-sequence.js";

/** A maximal run of target tokens of one sequence: tokens start .. end - 1. */
export interface ObservationSegment {
  sequenceIndex: number;
  start: number;
  end: number;
}

/**
 * How one optimiser step is weighed. N = `sequences.length`, A_i the action tokens of sequence i, O_i its observation and warning
 * tokens, O'_i those of them that are targets. A token that opens a sequence has no row to predict it and counts nowhere.
 */
export interface StepWeightsOptions {
  /** Every scored sequence of the optimiser step: all of them count in N, also those without actions or observations. */
  sequences: readonly TokenSequence[];
  /** Weight λ of the observation term. 0 is GRPO, to the bit. Default 0.05. */
  lambda?: number;
  /**
   * Weight of an action token: `sequence` 1 / (N · |A_i|), `token` 1 / Σ|A_i|, `constant` 1 / (N · maxLength). Default `sequence`.
   */
  aggregation?: "sequence" | "token" | "constant";
  /** The constant of `aggregation: "constant"`; required there, refused elsewhere. */
  maxLength?: number;
  /**
   * Weight of a target token: `all` λ / (N · (|O_i| + ε)), `selected` λ / (N · (|O'_i| + ε)), `token` λ / (Σ|O'_i| + ε).
   * Default `all`.
   */
  observationDenominator?: "all" | "selected" | "token";
  /**
   * Which tokens are targets, O'_i: `observations`, `warnings`, or `all`, both. |O_i| counts both in any case, so that different targets
   * stay comparable. Default `observations`.
   */
  observationTargets?: "observations" | "all" | "warnings";
  /**
   * Only so many targets of each answer, its first ones, stay in O'_i; |O_i| keeps the others. An answer is a maximal run of observation
   * and warning tokens. A positive integer; default: no limit.
   */
  maxObservationTokens?: number;
  /** ε above; the released code uses 1e-3. Default 0. */
  observationEpsilon?: number;
  /** Every action token weighs 0: learning from observations alone, no verifier. Default false. */
  envOnly?: boolean;
  /** The sequences were sampled by the very weights that are about to learn, so every ratio is 1: `oldLogprobs` are not needed. Default false. */
  onPolicy?: boolean;
  /**
   * `imitation`: cross-entropy on the action tokens instead of the policy term (SFT): every advantage counts as 1 and every ratio as 1,
   * whose gradient is that of -log p. `LossTotals` stay separate by role: the action loss is `actionNllSum / actionTokens`, and
   * `policyLoss` is a constant without meaning. Advantages and old log-probabilities are not read. Default `policy`.
   */
  objective?: "policy" | "imitation";
  /**
   * Factor on the weights of one run of targets, finite and >= 0. Factor 0 drops it from O'_i but not from |O_i|, so that different
   * choices of targets stay comparable. Called once per segment. Default 1.
   */
  observationWeight?: (segment: ObservationSegment) => number;
}
