import type { ScriptedAgent } from "../agent/scripted-agent.js";
import type { Policy } from "../policy/policy.js";
import type { Task } from "../tasks/task.js";

/** Who writes the actions of a batch: one policy for all rollouts, or a program for each. */
export type RolloutAuthor =
  | {
      kind: "policy";
      policy: Policy;
      /** Sampling temperature, > 0. */
      temperature: number;
    }
  | {
      kind: "script";
      /** `seed` is the rollout's own, for agents that draw random numbers. */
      createAgent(task: Task, seed: bigint): ScriptedAgent;
    };
