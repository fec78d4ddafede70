import { ConfigError } from "../errors/config-error.js";
import { AdamW } from "../optim/adamw.js";
import { learningRateAt } from "../optim/learning-rate-at.js";
import type { Schedule } from "../optim/schedule.js";
import { checkTaskRange } from "./choose-tasks.js";
import type { TrainConfig } from "./config/train-config.js";
import { expertTrajectories } from "./expert-trajectories.js";
import { inputDigests } from "./input-digests.js";
import { lambdaOf } from "./lambda-of.js";
import { plannedOptimizerSteps } from "./planned-optimizer-steps.js";
import { readImitationData } from "./read-imitation-data.js";
import type { TrainParts } from "./train-parts.js";
import type { TrainingRun } from "./training-run.js";

/** What of a run follows from configuration and parts alone, whether it starts or resumes. */
export type PreparedRun = Pick<
  TrainingRun,
  | "config"
  | "steps"
  | "parts"
  | "optimizer"
  | "learningRate"
  | "lambda"
  | "imitation"
  | "expertTrajectories"
  | "inputs"
  | "observationFloor"
>;

/** @throws ConfigError ERR_CONFIG when the splits do not hold the tasks asked for; DataError ERR_TRAJECTORY. */
export async function prepareRun(
  config: TrainConfig,
  parts: TrainParts,
  options: { onProblem(message: string): void },
): Promise<PreparedRun> {
  if (config.algorithm !== "sft") checkTaskRange(parts.family, config.tasks, config.tasksPerStep, "tasks");
  if (config.klCoefficient !== 0 && parts.openReference === undefined)
    throw new ConfigError(
      "ERR_CONFIG",
      `[config] "klCoefficient" needs weights to refer to: expected 0 with parts that have no openReference, got ${config.klCoefficient}. Add it where the parts are opened.`,
    );
  if (config.eval.every > 0) {
    const count = Math.max(config.eval.tasks, config.eval.expertTasks);
    checkTaskRange(parts.family, { split: config.eval.split, first: 0, count }, count, "eval");
  }
  const imitation = config.sft
    ? await readImitationData(config.sft.data, {
        seed: config.seed,
        batchSequences: config.sft.batchSequences,
        vocabSize: parts.model.vocabSize,
        onProblem: options.onProblem,
      })
    : undefined;
  const steps = config.steps ?? (imitation?.stepsPerEpoch ?? 0) * (config.sft?.epochs ?? 0);
  if (steps < 1)
    throw new ConfigError("ERR_CONFIG", '[config] "steps": expected a positive integer, got nothing.');
  const { betas, eps, learningRate, maxGradNorm, schedule, warmupSteps, weightDecay } = config.optimizer;
  const optimizer = new AdamW({
    parameters: parts.model.parameters(),
    learningRate,
    betas,
    eps,
    weightDecay,
    maxGradNorm: maxGradNorm ?? undefined,
  });
  const totalSteps = Math.max(warmupSteps, plannedOptimizerSteps(config, steps));
  const rate: Schedule =
    schedule === "constant"
      ? { kind: schedule, peak: learningRate, warmupSteps }
      : { kind: schedule, peak: learningRate, warmupSteps, totalSteps };
  const expert = await expertTrajectories(config, parts);
  return {
    config,
    steps,
    parts,
    optimizer,
    learningRate: (step) => learningRateAt(rate, step),
    lambda: lambdaOf(config),
    imitation,
    expertTrajectories: expert.trajectories,
    observationFloor: expert.floor,
    inputs: await inputDigests(config),
  };
}
