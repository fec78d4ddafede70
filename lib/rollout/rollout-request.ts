import type { Harness } from "../agent/harness.js";
import type { Environment } from "../environments/environment.js";
import type { Task } from "../tasks/task.js";
import type { RolloutActor } from "./rollout-actor.js";
import type { RolloutLimits } from "./rollout-limits.js";

/** Everything one rollout needs. */
export interface RolloutRequest {
  task: Task;
  /** Index of the task within the step, and of the rollout within its group. */
  taskIndex: number;
  rolloutIndex: number;
  /** Makes the rollout's own environment; disposed of by the rollout. */
  createEnvironment(): Environment | Promise<Environment>;
  harness: Harness;
  actor: RolloutActor;
  limits?: RolloutLimits;
  /** Ends the rollout as `cancelled`. */
  signal?: AbortSignal;
  /** Told when the environment did not clean up in time or without an error: something may have been left behind. */
  onCleanupFailure?(error: Error): void;
}
