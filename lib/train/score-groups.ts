import { groupAdvantages } from "../loss/advantages.js";
import type { TokenSequence } from "../loss/token-sequence.js";
import type { Trajectory } from "../rollout/trajectory.js";
import { trajectoryToSequence } from "../rollout/trajectory-to-sequence.js";

/** A rollout that was scored: reward is a number. */
function scored(group: readonly Trajectory[]): (Trajectory & { reward: number })[] {
  return group.filter((each): each is Trajectory & { reward: number } => each.reward !== null);
}

/**
 * The sequences of a step, in the order of (task, rollout), each with its advantage within its group. Rollouts excluded for
 * infrastructure failures take no part, neither in a group's mean nor in N.
 */
export function scoreGroups(
  groups: readonly (readonly Trajectory[])[],
  options: { normalize: "std" | "mean" },
): TokenSequence[] {
  return groups.flatMap((group) => {
    const kept = scored(group);
    const advantages = groupAdvantages(
      kept.map((trajectory) => trajectory.reward),
      options,
    );
    return kept.map((trajectory, i) => trajectoryToSequence(trajectory, advantages[i]));
  });
}
