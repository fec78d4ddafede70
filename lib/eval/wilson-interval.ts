import { ArgumentError } from "../errors/argument-error.js";

/** Two-sided 95 % quantile of the normal distribution. */
const Z = 1.959963984540054;

/**
 * Wilson's 95 % score interval of a success rate (Wilson, "Probable inference, the law of succession, and statistical inference",
 * 1927). Sound for rates at 0 and 1, where the textbook interval has no width. [0, 1] without trials.
 *
 * @throws ArgumentError ERR_OUT_OF_RANGE unless 0 <= successes <= trials, both integers.
 */
export function wilsonInterval(successes: number, trials: number): [low: number, high: number] {
  if (
    !Number.isSafeInteger(trials) ||
    !Number.isSafeInteger(successes) ||
    successes < 0 ||
    successes > trials
  )
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[wilsonInterval] counts do not fit: expected integers with 0 <= successes <= trials, got ${successes} of ${trials}. Count scored rollouts only.`,
    );
  if (trials === 0) return [0, 1];
  const rate = successes / trials;
  const z2 = Z * Z;
  const centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials);
  const half = (Z / (1 + z2 / trials)) * Math.sqrt((rate * (1 - rate)) / trials + z2 / (4 * trials * trials));
  // At the ends the exact bound is 0 or 1; rounding must not leave it a hair inside.
  return [
    successes === 0 ? 0 : Math.max(0, centre - half),
    successes === trials ? 1 : Math.min(1, centre + half),
  ];
}
