import { ArgumentError } from "../errors/argument-error.js";
import { checkSequences } from "./check-sequences.js";

/**
 * The log-ratio of each action row's sequence, [T] float32; 0 elsewhere (Zheng et al. 2025, GSPO):
 *
 *     log s_i = 1/|A_i| Σ_{t∈A_i} (log p(x_t) - log p_old(x_t)),    d log s_i / d log p(x_t) = 1/|A_i|
 *
 * The factor 1/|A_i| times the |A_i| equal terms of a sequence leaves each token the gradient of an ordinary ratio s_i, which holds only where
 * all its action rows have the same weight and advantage.
 *
 * @throws ArgumentError ERR_INVALID_TYPE or ERR_OUT_OF_RANGE for `cuSeqLens`, ERR_UNSUPPORTED when the action rows of a sequence differ in
 *   weight or advantage.
 */
export function sequenceLogRatios(
  where: string,
  rows: {
    actionWeights: ArrayLike<number>;
    advantages: ArrayLike<number>;
    logprobs: ArrayLike<number>;
    oldLogprobs: ArrayLike<number>;
    cuSeqLens?: ArrayLike<number>;
  },
): Float32Array {
  const { actionWeights, advantages, logprobs, oldLogprobs } = rows;
  const T = actionWeights.length;
  const boundaries = checkSequences(where, rows.cuSeqLens, T);
  const ratios = new Float32Array(T);
  for (let i = 0; i + 1 < boundaries.length; i++) {
    let sum = 0;
    let count = 0;
    let first = 0;
    for (let t = boundaries[i]; t < boundaries[i + 1]; t++) {
      if (actionWeights[t] === 0) continue;
      if (count === 0) first = t;
      for (const [name, values] of Object.entries({ actionWeights, advantages }))
        if (values[t] !== values[first])
          throw new ArgumentError(
            "ERR_UNSUPPORTED",
            `[${where}] ratioLevel "sequence" with unequal ${name} at row ${t}: expected ${values[first]} as on the other action rows of sequence ${i}, got ${values[t]}. Use ratioLevel "token".`,
          );
      sum += logprobs[t] - oldLogprobs[t];
      count++;
    }
    for (let t = boundaries[i]; t < boundaries[i + 1]; t++)
      if (actionWeights[t] !== 0) ratios[t] = sum / count;
  }
  return ratios;
}
