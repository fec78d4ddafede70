import type { TrainConfig } from "./train-config.js";

/** What a configuration implies, for a person to read before a run: sizes of a step, optimiser steps, hints. */
export function describeConfig(config: TrainConfig): string {
  const lines = config.sft ? describeImitation(config) : describePolicy(config);
  lines.push(
    config.eval.every > 0
      ? `evaluation every ${config.eval.every} steps on ${config.eval.tasks} ${config.eval.split} tasks`
      : "no evaluation",
  );
  lines.push(
    `a checkpoint every ${config.checkpointEvery} steps, the newest ${config.keepCheckpoints} kept, in ${config.out}`,
  );
  return lines.join("\n");
}

function describeImitation({ sft, steps }: TrainConfig): string[] {
  if (!sft) return [];
  const length = steps === undefined ? `${sft.epochs} epochs` : `${steps} steps`;
  return [
    `imitation of ${sft.data.join(", ")}: ${length} of ${sft.batchSequences} trajectories`,
    sft.observationWeight > 0
      ? `observations are learned with weight ${sft.observationWeight}`
      : "observations are not learned",
  ];
}

function describePolicy(config: TrainConfig): string[] {
  const { tasksPerStep, groupSize, minibatchSequences, lambda, lambdaSchedule } = config;
  const rollouts = tasksPerStep * groupSize;
  const minibatches = Math.ceil(rollouts / minibatchSequences) * config.epochsPerStep;
  const steps = config.steps ?? 0;
  const moves = lambdaSchedule.kind === "constant" ? "" : `, then ${lambdaSchedule.kind}`;
  const lines = [
    `${rollouts} rollouts per step (${tasksPerStep} tasks, groups of ${groupSize}), ${Math.min(rollouts, config.concurrency)} at once`,
    `${minibatches} optimiser steps per step, ${minibatches * steps} in all over ${steps} steps`,
    lambda === 0 && moves === "" ? "lambda 0: GRPO alone" : `lambda ${lambda}${moves}`,
  ];
  lines.push(...describeObjective(config));
  if (config.envOnly)
    lines.push(
      `observations alone: actions are not learned, rewards ${config.observationFilter.minCorrect ? "used by minCorrect only" : "not used"}`,
    );
  if (config.observationTargets !== "observations") lines.push(`targets: ${config.observationTargets}`);
  const filters = Object.entries(config.observationFilter).map(([key, share]) => `${key} ${share}`);
  if (filters.length > 0) lines.push(`observations of some rollouts only: ${filters.join(", ")}`);
  if (minibatches === 1 && rollouts > 64)
    lines.push("hint: one optimiser step per step is few for a small model; lower minibatchSequences");
  if (groupSize < 8)
    lines.push("hint: small groups are often all solved or all failed and teach nothing; 8 or more is usual");
  if (tasksPerStep < 4) lines.push("hint: few tasks per step make a noisy gradient");
  return lines;
}

function describeObjective(config: TrainConfig): string[] {
  const { surrogate, ratioLevel, dualClip, klCoefficient, klEstimator, entropyCoefficient } = config;
  const lines: string[] = [];
  if (surrogate === "cispo") lines.push("policy term: CISPO");
  if (ratioLevel === "sequence") lines.push("policy term: ratios of whole rollouts, one more forward pass");
  if (dualClip !== false) lines.push(`policy term: dual clip at ${dualClip}`);
  if (klCoefficient > 0)
    lines.push(
      `KL penalty ${klCoefficient} (${klEstimator}) to the weights at the start, one more forward pass`,
    );
  if (entropyCoefficient !== 0) lines.push(`entropy bonus ${entropyCoefficient}`);
  return lines;
}
