export type { RolloutActor } from "./rollout-actor.js";
export type { RolloutAuthor } from "./rollout-author.js";
export type { RolloutLimits } from "./rollout-limits.js";
export { type RolloutBatch, RolloutPool, type RolloutProgress } from "./rollout-pool.js";
export type { RolloutRequest } from "./rollout-request.js";
export { runRollout } from "./run-rollout.js";
export { Slots } from "./slots.js";
export type { StopReason } from "./stop-reason.js";
export type { Trajectory } from "./trajectory.js";
export {
  readTrajectories,
  type TrajectoryProblem,
  type TrajectoryReaderOptions,
} from "./trajectory-reader.js";
export { trajectorySchema } from "./trajectory-schema.js";
export { trajectoryToSequence } from "./trajectory-to-sequence.js";
export { TrajectoryWriter } from "./trajectory-writer.js";
