import type { AdamWState } from "./adamw-state.js";
import type { AdamWStep } from "./adamw-step.js";

/** The numbers of AdamW that steps share. */
export interface AdamWSettings {
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
  /** Infinity: never clips. */
  maxGradNorm: number;
}

/** What AdamW does with its tensors, where they are. Arguments have been checked. */
export interface AdamWUpdater {
  readonly stepCount: number;
  readonly skippedSteps: number;
  step(learningRate: number): AdamWStep;
  reloadMasters(): void;
  state(): AdamWState;
  restore(state: AdamWState): void;
  dispose(): void;
}
