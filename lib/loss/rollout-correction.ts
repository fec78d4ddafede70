/**
 * Importance correction for a sampler that is not quite the policy that learns (another engine, lower precision): the policy term of a token is
 * multiplied with w = exp(log p_old - log p_sampler).
 */
export interface RolloutCorrection {
  /** w of a token by itself, or of its whole sequence, exp(sum over A_i). */
  level: "token" | "sequence";
  /** What happens to w above `cap`: it becomes `cap`, or 0. */
  mode: "truncate" | "mask";
  /** A number above 0. */
  cap: number;
  /** With `mask` only: w below this becomes 0 too. Default 0. */
  floor?: number;
}
