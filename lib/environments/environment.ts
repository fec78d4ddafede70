import type { Segment } from "../tokens/segment.js";
import type { EnvironmentStep } from "./environment-step.js";

/**
 * A world that answers. One instance serves one rollout. A method that rejects reports an infrastructure failure: the rollout is
 * excluded and counted, never scored 0. Whatever the agent does wrong is answered with text instead.
 */
export interface Environment {
  /** Builds the world; returns what the agent reads first. */
  reset(signal?: AbortSignal): Promise<Segment[]>;
  step(actionText: string, signal?: AbortSignal): Promise<EnvironmentStep>;
  /** Verifies once, after the last step: 1 solved, 0 not. */
  score(signal?: AbortSignal): Promise<number>;
  dispose(): Promise<void>;
}
