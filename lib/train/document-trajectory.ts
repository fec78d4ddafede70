import type { Trajectory } from "../rollout/trajectory.js";
import type { Document } from "../tasks/tinyterm/pretraining/document.js";

/** A pretraining document as a line of a trajectory file, which is what imitation reads. Nobody acted, so there are no turns. */
export function documentTrajectory({ id, ids, roles }: Document, index: number): Trajectory {
  return {
    schema: 2,
    taskId: id,
    task: index,
    rollout: 0,
    author: "script",
    policyVersion: 0,
    ids,
    roles,
    logprobs: [],
    temperature: 0,
    turns: 0,
    reward: 0,
    stopReason: "submitted",
    exact: true,
    warnings: 0,
    refusals: 0,
    formatWarnings: 0,
  };
}
