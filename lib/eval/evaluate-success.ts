import type { Harness } from "../agent/harness.js";
import type { Policy } from "../policy/policy.js";
import type { RolloutLimits } from "../rollout/rollout-limits.js";
import { RolloutPool, type RolloutProgress } from "../rollout/rollout-pool.js";
import type { StopReason } from "../rollout/stop-reason.js";
import type { Trajectory } from "../rollout/trajectory.js";
import type { SandboxProvider } from "../sandbox/sandbox-provider.js";
import type { Task } from "../tasks/task.js";
import type { TaskFamily } from "../tasks/task-family.js";
import { firstTasks } from "./first-tasks.js";
import { passAtK } from "./pass-at-k.js";
import { wilsonInterval } from "./wilson-interval.js";

/** What to measure, and with what. */
export interface SuccessOptions {
  family: TaskFamily;
  split: Task["split"];
  /** The first so many tasks of the split. */
  tasks: number;
  /** Samples per task. Default 1. */
  samples?: number;
  policy: Policy;
  harness: Harness;
  sandboxes: SandboxProvider;
  /** Sampling temperature, > 0. */
  temperature: number;
  seed: number;
  /** Rollouts at once. Default 64. */
  concurrency?: number;
  limits?: RolloutLimits;
  signal?: AbortSignal;
  onProgress?(progress: RolloutProgress): void;
}

/** Successes among scored rollouts. */
export interface SuccessRate {
  scored: number;
  successes: number;
  /** successes / scored; absent when nothing was scored. */
  rate?: number;
  /** Wilson 95 % interval of the rate, as if samples were independent: with several samples per task it is too narrow. */
  interval: [low: number, high: number];
}

/** What `evaluateSuccess` found. A reward of 0.5 or more is a success. */
export interface SuccessReport extends SuccessRate {
  tasks: number;
  /** Samples per task. */
  samples: number;
  /** Rollouts that an infrastructure failure or a cancellation took out. */
  excluded: number;
  /** The same by the family a task belongs to, in the order in which they come. */
  byFamily: Record<string, SuccessRate>;
  /** passAtK[k - 1] is pass@k, the mean of the unbiased estimate over the tasks with at least k scored samples; undefined without any. */
  passAtK: (number | undefined)[];
  stopReasons: Partial<Record<StopReason, number>>;
  /** False when wall-clock time or a failure had a say. */
  exact: boolean;
  /** [tasks][samples]. */
  trajectories: Trajectory[][];
}

/**
 * Success of a policy on the first tasks of a split. The same seed draws the same random numbers for every policy, so that two
 * policies are compared on equal terms.
 *
 * @throws ArgumentError ERR_OUT_OF_RANGE when the split has fewer tasks, or a count or limit is unusable.
 */
export async function evaluateSuccess(options: SuccessOptions): Promise<SuccessReport> {
  const { family, policy, temperature, sandboxes, samples = 1 } = options;
  const tasks = firstTasks(family, options.split, options.tasks);
  const pool = new RolloutPool({ concurrency: options.concurrency ?? 64 });
  const trajectories = await pool.run({
    tasks,
    groupSize: samples,
    createEnvironment: (task) => family.createEnvironment(task, sandboxes),
    harness: options.harness,
    author: { kind: "policy", policy, temperature },
    seed: options.seed,
    step: 0,
    purpose: "evaluation",
    limits: options.limits,
    signal: options.signal,
    onProgress: options.onProgress,
  });
  return summarise(tasks, trajectories, samples);
}

function summarise(tasks: readonly Task[], trajectories: Trajectory[][], samples: number): SuccessReport {
  const counts = trajectories.map((group) => {
    const rewards = group.flatMap(({ reward }) => (reward === null ? [] : [reward]));
    return { scored: rewards.length, successes: rewards.filter((reward) => reward >= 0.5).length };
  });
  const whole = successRate(counts);
  const families = [...new Set(tasks.map(({ family }) => family))];
  const passes = Array.from({ length: samples }, (_, i) => {
    const usable = counts.filter((count) => count.scored > i);
    const total = usable.reduce((sum, count) => sum + passAtK(count.scored, count.successes, i + 1), 0);
    return usable.length === 0 ? undefined : total / usable.length;
  });
  const all = trajectories.flat();
  const stopReasons: SuccessReport["stopReasons"] = {};
  for (const { stopReason } of all) stopReasons[stopReason] = (stopReasons[stopReason] ?? 0) + 1;
  return {
    tasks: trajectories.length,
    samples,
    ...whole,
    excluded: all.length - whole.scored,
    byFamily: Object.fromEntries(
      families.map((family) => [
        family,
        successRate(counts.filter((_, index) => tasks[index].family === family)),
      ]),
    ),
    passAtK: passes,
    stopReasons,
    exact: all.every(({ exact }) => exact),
    trajectories,
  };
}

function successRate(counts: readonly { scored: number; successes: number }[]): SuccessRate {
  const scored = counts.reduce((sum, count) => sum + count.scored, 0);
  const successes = counts.reduce((sum, count) => sum + count.successes, 0);
  return {
    scored,
    successes,
    ...(scored === 0 ? {} : { rate: successes / scored }),
    interval: wilsonInterval(successes, scored),
  };
}
