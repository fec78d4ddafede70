import { ArgumentError } from "../errors/argument-error.js";
import { checkSequences } from "./check-sequences.js";
import type { RolloutCorrection } from "./rollout-correction.js";

/** exp of more is no ratio any more; less is 0 in float32. */
const LARGEST_LOG_RATIO = 80;

/**
 * The factor of each row's policy term, [T] float32; 1 on rows without an action weight.
 *
 *     w = exp(Σ (old - sampler)), over the row alone or over the action rows of its sequence;  truncate: min(w, cap);  mask: w if floor ≤ w ≤ cap, else 0
 *
 * (Yao et al. 2025, truncated importance sampling.)
 *
 * @throws ArgumentError ERR_INVALID_TYPE when log-probabilities or sequence boundaries are missing, ERR_OUT_OF_RANGE for cap, floor or
 *   boundaries, ERR_NON_FINITE for a log-probability of an action row.
 */
export function rolloutWeights(
  where: string,
  rows: {
    actionWeights: ArrayLike<number>;
    oldLogprobs?: ArrayLike<number> | null;
    samplerLogprobs?: ArrayLike<number>;
    cuSeqLens?: ArrayLike<number>;
  },
  correction: RolloutCorrection,
): Float32Array {
  const { actionWeights, oldLogprobs, samplerLogprobs } = rows;
  const { cap, floor = 0, level, mode } = correction;
  if (!oldLogprobs || !samplerLogprobs)
    throw new ArgumentError(
      "ERR_INVALID_TYPE",
      `[${where}] rolloutCorrection lacks its log-probabilities: expected oldLogprobs and samplerLogprobs [T], got ${oldLogprobs ? "no samplerLogprobs" : "no oldLogprobs"}. Compute oldLogprobs with tokenLogprobs before the first update.`,
    );
  const T = actionWeights.length;
  const weights = new Float32Array(T).fill(1);
  const boundaries = level === "sequence" ? checkSequences(where, rows.cuSeqLens, T) : undefined;
  const factor = (logRatio: number): number => {
    const w = Math.exp(Math.min(Math.max(logRatio, -LARGEST_LOG_RATIO), LARGEST_LOG_RATIO));
    if (mode === "truncate") return Math.min(w, cap);
    return w > cap || w < floor ? 0 : w;
  };
  const logRatio = (t: number): number => {
    const d = oldLogprobs[t] - samplerLogprobs[t];
    if (Number.isFinite(d)) return d;
    throw new ArgumentError(
      "ERR_NON_FINITE",
      `[${where}] oldLogprobs or samplerLogprobs are not finite at row ${t}: expected numbers, got ${oldLogprobs[t]} and ${samplerLogprobs[t]}.`,
    );
  };
  if (boundaries === undefined) {
    for (let t = 0; t < T; t++) if (actionWeights[t] !== 0) weights[t] = factor(logRatio(t));
    return weights;
  }
  for (let i = 0; i + 1 < boundaries.length; i++) {
    let sum = 0;
    for (let t = boundaries[i]; t < boundaries[i + 1]; t++) if (actionWeights[t] !== 0) sum += logRatio(t);
    for (let t = boundaries[i]; t < boundaries[i + 1]; t++)
      if (actionWeights[t] !== 0) weights[t] = factor(sum);
  }
  return weights;
}
