import type { Harness } from "../agent/harness.js";
import type { Environment } from "../environments/environment.js";
import type { RolloutLimits } from "../rollout/rollout-limits.js";
import { RolloutPool, type RolloutProgress } from "../rollout/rollout-pool.js";
import type { Trajectory } from "../rollout/trajectory.js";
import type { SandboxProvider } from "../sandbox/sandbox-provider.js";
import type { Task } from "../tasks/task.js";
import type { TaskFamily } from "../tasks/task-family.js";
import { firstTasks } from "./first-tasks.js";

/** What to record. */
export interface RecordOptions {
  family: TaskFamily;
  split: Task["split"];
  /** The first so many tasks of the split. */
  tasks: number;
  /** Who plays: the family's expert, or its agent of random valid commands. */
  agent: "expert" | "random";
  harness: Harness;
  sandboxes: SandboxProvider;
  seed: number;
  /** Rollouts at once. Default 64. */
  concurrency?: number;
  limits?: RolloutLimits;
  signal?: AbortSignal;
  onProgress?(progress: RolloutProgress): void;
}

/** What `recordTrajectories` recorded. */
export interface Recording {
  /** The scored ones, in the order of their tasks. */
  trajectories: Trajectory[];
  /** Rollouts that an infrastructure failure or a cancellation took out. */
  excluded: Trajectory[];
  /** The least that any model can reach on these trajectories: irreducible nats of what the environment said. */
  floor: {
    nats: number;
    /** Observation tokens of `trajectories`. */
    tokens: number;
    /** nats / tokens, comparable with `observationNll`; absent without observation tokens. */
    nll?: number;
  };
}

/**
 * Trajectories of scripted agents, played through the real environment and harness: held-out text to measure `observationNll` on,
 * or demonstrations to imitate.
 *
 * @throws ArgumentError ERR_OUT_OF_RANGE when the split has fewer tasks, or a count or limit is unusable.
 */
export async function recordTrajectories(options: RecordOptions): Promise<Recording> {
  const { family, sandboxes } = options;
  const tasks = firstTasks(family, options.split, options.tasks);
  const heard = new Map<Task, string[]>();
  const pool = new RolloutPool({ concurrency: options.concurrency ?? 64 });
  const groups = await pool.run({
    tasks,
    groupSize: 1,
    createEnvironment: (task) => {
      const actions: string[] = [];
      heard.set(task, actions);
      return listenTo(family.createEnvironment(task, sandboxes), actions);
    },
    harness: options.harness,
    author: {
      kind: "script",
      createAgent: (task, seed) =>
        options.agent === "expert" ? family.createExpert(task) : family.createRandomAgent(task, seed),
    },
    seed: options.seed,
    step: 0,
    purpose: "recording",
    limits: options.limits,
    signal: options.signal,
    onProgress: options.onProgress,
  });
  const all = groups.flat();
  const trajectories = all.filter(({ reward }) => reward !== null);
  let nats = 0;
  let tokens = 0;
  for (const trajectory of trajectories) {
    const task = tasks[trajectory.task];
    const actions = heard.get(task) ?? [];
    // A last answer that did not fit is not in the record, so it has no share in the floor.
    const answered = trajectory.roles.endsWith("a") ? actions.slice(0, -1) : actions;
    nats += family.observationFloor(task, answered);
    tokens += trajectory.roles.split("o").length - 1;
  }
  return {
    trajectories,
    excluded: all.filter(({ reward }) => reward === null),
    floor: { nats, tokens, ...(tokens === 0 ? {} : { nll: nats / tokens }) },
  };
}

/** The same environment, noting the actions that reach it. */
function listenTo(environment: Environment, actions: string[]): Environment {
  return {
    reset: (signal) => environment.reset(signal),
    step: (actionText, signal) => {
      actions.push(actionText);
      return environment.step(actionText, signal);
    },
    score: (signal) => environment.score(signal),
    dispose: () => environment.dispose(),
  };
}
