import type { RolloutCorrection } from "./rollout-correction.js";

/** Options of the objective that do not depend on the row. Formulas: docs/objective.md. */
export interface LossOptions {
  /** Sampling temperature; logits are divided by it, as the sampler did. Default 1. */
  temperature?: number;
  /** c: logits x become c · tanh(x / c) before anything else; infinite ones stay. `false`, the default: none. */
  logitSoftcap?: number | false;
  /**
   * The policy term of an action. `clip`: PPO's min(ρA, clip(ρ)A). `cispo`: clip(ρ)A · log p with the clipped ratio held constant, so that
   * every token keeps its gradient (MiniMax-M1). Default `clip`.
   */
  surrogate?: "clip" | "cispo";
  /** ρ of a token by itself, or of its whole sequence, exp(mean of log ρ over A_i) (GSPO); the latter needs `cuSeqLens`. Default `token`. */
  ratioLevel?: "token" | "sequence";
  /** Lower clip: ratios below 1 - epsilonLow. 1 with `cispo`: no lower bound. Default 0.2. */
  epsilonLow?: number;
  /** Upper clip: ratios above 1 + epsilonHigh. Default 0.2. */
  epsilonHigh?: number;
  /** c > 1: with a negative advantage the policy term is never worse than cA (Ye et al. 2020). `false`, the default: off. */
  dualClip?: number | false;
  /** |log ratio| is clamped to this, with zero gradient outside; `false` turns it off. Default 20. */
  logRatioClamp?: number | false;
  /** β of the KL penalty on action tokens, from `referenceLogprobs`. Default 0. */
  klCoefficient?: number;
  /** With d = log p - log p_ref: k1 = d, k2 = d²/2, k3 = exp(-d) - 1 + d. Default `k3`. */
  klEstimator?: "k1" | "k2" | "k3";
  /** Weight of the entropy bonus on action tokens. Default 0. */
  entropyCoefficient?: number;
  /** Also compute the entropy of action rows where there is no bonus. Default false. */
  entropy?: boolean;
  /** Factor on the policy term for samplers whose log-probabilities differ from the trainer's, from `samplerLogprobs`. Default: none. */
  rolloutCorrection?: RolloutCorrection;
  /** Also compute the negative log-likelihood at temperature 1 on weighted observation rows. Default false. */
  nllAtOne?: boolean;
  /** Factor on the gradient only, never on the reported losses. Default 1. */
  gradScale?: number;
}
