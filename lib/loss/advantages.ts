import { ArgumentError } from "../errors/argument-error.js";

/**
 * Group-relative advantages: (r - mean) / (std + 1e-6) with the unbiased standard deviation, in float64. A group without contrast
 * (all rewards equal, or fewer than two) has advantage exactly 0.
 *
 * @param rewards of the scored rollouts of one group, [G]; leave excluded rollouts out.
 * @param options.normalize `std` (default) or `mean`: only centred.
 * @throws ArgumentError ERR_NON_FINITE.
 */
export function groupAdvantages(
  rewards: readonly number[],
  options: { normalize?: "std" | "mean" } = {},
): number[] {
  for (const [index, reward] of rewards.entries())
    if (!Number.isFinite(reward))
      throw new ArgumentError(
        "ERR_NON_FINITE",
        `[groupAdvantages] rewards[${index}] is not finite: expected a number, got ${reward}. Leave unscored rollouts out of the group.`,
      );
  const { normalize = "std" } = options;
  if (normalize !== "std" && normalize !== "mean")
    throw new ArgumentError(
      "ERR_OUT_OF_RANGE",
      `[groupAdvantages] normalize is unknown: expected std or mean, got ${String(normalize)}. Correct it.`,
    );
  if (rewards.length < 2 || rewards.every((reward) => reward === rewards[0])) return rewards.map(() => 0);
  const mean = rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
  if (normalize === "mean") return rewards.map((reward) => reward - mean);
  const squares = rewards.reduce((sum, reward) => sum + (reward - mean) ** 2, 0);
  const std = Math.sqrt(squares / (rewards.length - 1));
  return rewards.map((reward) => (reward - mean) / (std + 1e-6));
}
