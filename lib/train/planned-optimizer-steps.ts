import type { TrainConfig } from "./config/train-config.js";

/** Optimiser steps of a whole run when no rollout is excluded: what a learning-rate schedule falls over. */
export function plannedOptimizerSteps(config: TrainConfig, steps: number): number {
  if (config.algorithm === "sft") return steps;
  const perEpoch = Math.ceil((config.tasksPerStep * config.groupSize) / config.minibatchSequences);
  return steps * config.epochsPerStep * perEpoch;
}
