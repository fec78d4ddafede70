import type { StopReason } from "./stop-reason.js";

/** The record of one rollout: ids are the record, text is a view. One JSON object per line in `trajectories/step-N.jsonl`. */
export interface Trajectory {
  schema: 1;
  taskId: string;
  /** Index of the task within the step, and of the rollout within its group. */
  task: number;
  rollout: number;
  policyVersion: number;
  /** Token ids, [L]. */
  ids: number[];
  /** One letter per token: c context, a action, o observation, w warning. */
  roles: string;
  /** log p of each action token at the sampling temperature, in order, [number of 'a']. */
  logprobs: number[];
  temperature: number;
  turns: number;
  /** Null when excluded. */
  reward: number | null;
  stopReason: StopReason;
  /** Present on infrastructure failures. */
  error?: { code: string; message: string };
  /** False when wall-clock time had a say in what happened. */
  exact: boolean;
  /** Number of actions the harness refused or could not parse. */
  warnings: number;
}
