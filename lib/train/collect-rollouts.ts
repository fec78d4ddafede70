import { RolloutPool, type RolloutProgress } from "../rollout/rollout-pool.js";
import type { Trajectory } from "../rollout/trajectory.js";
import { chooseTasks } from "./choose-tasks.js";
import { rolloutLimits } from "./rollout-limits.js";
import type { TrainingRun } from "./training-run.js";

/** Plays the tasks of a step, each `groupSize` times, with the policy: [tasksPerStep][groupSize], ordered by (task, rollout). */
export async function collectRollouts(
  { config, parts }: Pick<TrainingRun, "config" | "parts">,
  step: number,
  hooks: { onRollout?(progress: RolloutProgress): void; onCleanupFailure?(error: Error): void },
): Promise<Trajectory[][]> {
  const { family, harness, policy, sandboxes } = parts;
  return await new RolloutPool({ concurrency: config.concurrency }).run({
    tasks: chooseTasks(family, config.tasks, { seed: config.seed, step, count: config.tasksPerStep }),
    groupSize: config.groupSize,
    createEnvironment: (task) => family.createEnvironment(task, sandboxes),
    harness,
    author: { kind: "policy", policy, temperature: config.temperature },
    seed: config.seed,
    step,
    limits: rolloutLimits(config),
    onProgress: hooks.onRollout,
    onCleanupFailure: hooks.onCleanupFailure,
  });
}
