import type { Trajectory } from "../../lib/rollout/trajectory.js";

/** A small sound trajectory of a policy, with changes. */
export function makeTrajectory(changes: Partial<Trajectory> = {}): Trajectory {
  return {
    schema: 2,
    taskId: "echo/train/1",
    task: 0,
    rollout: 0,
    author: "policy",
    policyVersion: 3,
    ids: [5, 6, 7, 8, 9],
    roles: "caaow",
    logprobs: [-0.25, -1.5],
    temperature: 0.8,
    turns: 1,
    reward: 1,
    stopReason: "submitted",
    exact: true,
    warnings: 0,
    refusals: 0,
    formatWarnings: 0,
    ...changes,
  };
}
