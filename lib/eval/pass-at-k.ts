import { ArgumentError } from "../errors/argument-error.js";

/**
 * Unbiased estimate of the chance that at least one of `k` samples solves a task, from `samples` of which `successes` did:
 * 1 - C(samples - successes, k) / C(samples, k) (Chen et al., "Evaluating large language models trained on code", 2021, eq. 1).
 *
 * @throws ArgumentError ERR_OUT_OF_RANGE unless 0 <= successes <= samples and 1 <= k <= samples, all integers.
 */
export function passAtK(samples: number, successes: number, k: number): number {
  const sound =
    [samples, successes, k].every(Number.isSafeInteger) &&
    successes >= 0 &&
    successes <= samples &&
    k >= 1 &&
    k <= samples;
  if (!sound)
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[passAtK] counts do not fit: expected integers with 0 <= successes <= samples and 1 <= k <= samples, got samples ${samples}, successes ${successes}, k ${k}. Count scored samples only.`,
    );
  // C(samples - successes, k) / C(samples, k) as a product of k factors: the binomials themselves overflow.
  let allFail = 1;
  for (let i = 0; i < k; i++) allFail *= Math.max(0, samples - successes - i) / (samples - i);
  return 1 - allFail;
}
