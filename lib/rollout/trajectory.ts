import type { StopReason } from "./stop-reason.js";

/** The record of one rollout: ids are the record, text is a view. One JSON object per line in `trajectories/step-N.jsonl`. */
export interface Trajectory {
  schema: 2;
  taskId: string;
  /** Index of the task within the step, and of the rollout within its group. */
  task: number;
  rollout: number;
  /** Who wrote the actions: a policy, or a program (which has neither log-probabilities nor a temperature). */
  author: "policy" | "script";
  /** 0 for a script. */
  policyVersion: number;
  /** Token ids, [L]. */
  ids: number[];
  /** One letter per token: c context, a action, o observation, w warning. */
  roles: string;
  /** log p of each action token at the sampling temperature, in order, [number of 'a']; empty for a script. */
  logprobs: number[];
  /** 0 for a script. */
  temperature: number;
  /** Actions written. */
  turns: number;
  /** Null when excluded. */
  reward: number | null;
  stopReason: StopReason;
  /** Present on infrastructure failures and where a batch deadline cancelled. */
  error?: { code: string; message: string };
  /** False when wall-clock time, an infrastructure failure or a cancellation had a say in what happened. */
  exact: boolean;
  /** Number of actions that were answered with a warning of any kind. */
  warnings: number;
  /** Number of actions that were not understood or not allowed: nothing was run. */
  refusals: number;
  /** Number of actions that were understood and run, but whose form was warned about. */
  formatWarnings: number;
}
