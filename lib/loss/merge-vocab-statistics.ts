import { ArgumentError } from "../errors/argument-error.js";
import { checkVocabStatistics } from "./check-vocab-statistics.js";
import type { VocabStatistics } from "./vocab-statistics.js";

const WHERE = "mergeVocabStatistics";

/**
 * The statistics of several shards as those of one: with M = max of the maxima and s = (m - M) / (temperature · ln 2) of a shard,
 *
 *     sum = Σ 2^s sum,     weighted = Σ 2^s (weighted + s · sum),     targetLogit = the one that is not -Infinity
 *
 * In float64, in the order given: ranks that merge the same parts in the same order get the same numbers. Associative but for rounding, so it
 * can also be the operator of a reduction.
 *
 * @throws ArgumentError ERR_INVALID_SHAPE when there are no parts or of different lengths, ERR_OUT_OF_RANGE when their temperatures differ,
 *   ERR_INVALID_TYPE when only some can tell the entropy.
 */
export function mergeVocabStatistics(parts: readonly VocabStatistics[]): VocabStatistics {
  const [first] = parts;
  if (first === undefined)
    throw new ArgumentError(
      "ERR_INVALID_SHAPE",
      `[${WHERE}] there is nothing to merge: expected at least 1 part, got none.`,
    );
  const T = first.max.length;
  for (const part of parts) {
    checkVocabStatistics(WHERE, part, T);
    if (part.temperature !== first.temperature)
      throw new ArgumentError(
        "ERR_OUT_OF_RANGE",
        `[${WHERE}] the parts are of different temperatures: expected ${first.temperature}, got ${part.temperature}.`,
      );
    if ((part.weighted === null) !== (first.weighted === null))
      throw new ArgumentError(
        "ERR_INVALID_TYPE",
        `[${WHERE}] only some parts can tell the entropy: expected \`entropy\` of all shards or of none.`,
      );
  }
  // The kernels' scale of exponents, which is float32.
  const scale = Math.fround(Math.fround(Math.LOG2E) / Math.fround(first.temperature));
  const max = first.max.slice();
  const sum = new Float64Array(T);
  const targetLogits = first.targetLogits.slice();
  const weighted = first.weighted === null ? null : new Float64Array(T);
  for (let t = 0; t < T; t++) {
    for (const part of parts) if (part.max[t] > max[t]) max[t] = part.max[t];
    for (const part of parts) {
      const shift = (part.max[t] - max[t]) * scale;
      const factor = 2 ** shift;
      sum[t] += factor * part.sum[t];
      if (weighted !== null && part.weighted !== null && factor > 0)
        weighted[t] += factor * (part.weighted[t] + shift * part.sum[t]);
      // A NaN is not -Infinity either, and must not be lost.
      if (part.targetLogits[t] !== -Infinity) targetLogits[t] = part.targetLogits[t];
    }
  }
  return { max, sum, targetLogits, weighted, temperature: first.temperature };
}
