import { groupAdvantages } from "../loss/advantages.js";
import type { TokenSequence } from "../loss/token-sequence.js";
import type { Trajectory } from "../rollout/trajectory.js";
import { trajectoryToSequence } from "../rollout/trajectory-to-sequence.js";

/** A rollout that counts in N, and what the loss sees of it. */
export interface ScoredRollout {
  trajectory: Trajectory;
  sequence: TokenSequence;
}

function scored(group: readonly Trajectory[]): (Trajectory & { reward: number })[] {
  return group.filter((each): each is Trajectory & { reward: number } => each.reward !== null);
}

/**
 * The rollouts of a step that count in N, by group, in the order of (task, rollout), each with its advantage within its group.
 * Rollouts excluded for infrastructure failures take no part, neither in a group's mean nor in N. With `envOnly` no reward is looked
 * at: every advantage is 0, and a rollout takes part also when nothing but its verifier failed.
 */
export function scoreGroups(
  groups: readonly (readonly Trajectory[])[],
  options: { normalize: "std" | "mean"; envOnly?: boolean },
): ScoredRollout[][] {
  return groups.map((group) => {
    if (options.envOnly)
      return group
        .filter(({ reward, stopReason }) => reward !== null || stopReason === "verifier_error")
        .map((trajectory) => ({ trajectory, sequence: trajectoryToSequence(trajectory, 0) }));
    const kept = scored(group);
    const advantages = groupAdvantages(
      kept.map((trajectory) => trajectory.reward),
      options,
    );
    return kept.map((trajectory, i) => ({
      trajectory,
      sequence: trajectoryToSequence(trajectory, advantages[i]),
    }));
  });
}
