import type { Harness } from "../agent/harness.js";
import type { Environment } from "../environments/environment.js";
import { deriveSeed } from "../random/derive-seed.js";
import type { Task } from "../tasks/task.js";
import type { RolloutActor } from "./rollout-actor.js";
import type { RolloutAuthor } from "./rollout-author.js";
import type { RolloutLimits } from "./rollout-limits.js";
import { runRollout } from "./run-rollout.js";
import type { Slots } from "./slots.js";
import type { Trajectory } from "./trajectory.js";

/** What the rollouts of a group share; see `RolloutBatch` for the fields in common. */
export interface GroupRequest {
  task: Task;
  taskIndex: number;
  groupSize: number;
  createEnvironment(task: Task): Environment | Promise<Environment>;
  harness: Harness;
  author: RolloutAuthor;
  /** Seed of the run and index of the step; rollout r draws with `deriveSeed(seed, purpose, step, taskIndex, r)`. */
  seed: number;
  step: number;
  /** Default `rollout`. Different purposes draw unrelated numbers from the same seed. */
  purpose?: string;
  limits?: RolloutLimits;
  signal?: AbortSignal;
  /** Bounds how many run at once. Default: the whole group. */
  slots?: Slots;
  onTrajectory?(trajectory: Trajectory): void;
  onCleanupFailure?(error: Error): void;
}

/**
 * Plays one task `groupSize` times, independently. The result is ordered by rollout, whatever finished first.
 *
 * @throws ArgumentError ERR_OUT_OF_RANGE when `limits` are unusable; whatever a callback throws, once all rollouts have ended.
 */
export async function runGroup(group: GroupRequest): Promise<Trajectory[]> {
  const rollouts = Array.from({ length: group.groupSize }, (_, rolloutIndex) => {
    const job = async (): Promise<Trajectory> => {
      const trajectory = await runRollout({ ...group, ...rolloutParts(group, rolloutIndex) });
      group.onTrajectory?.(trajectory);
      return trajectory;
    };
    return group.slots ? group.slots.run(job) : job();
  });
  const settled = await Promise.allSettled(rollouts);
  return settled.map((outcome) => {
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  });
}

function rolloutParts(group: GroupRequest, rolloutIndex: number) {
  const { author, task, taskIndex } = group;
  const seed = deriveSeed(group.seed, group.purpose ?? "rollout", group.step, taskIndex, rolloutIndex);
  const actor: RolloutActor =
    author.kind === "policy"
      ? { ...author, seed }
      : { kind: "script", agent: author.createAgent(task, seed) };
  return { rolloutIndex, actor, createEnvironment: () => group.createEnvironment(task) };
}
