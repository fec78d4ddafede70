import { z } from "zod";
import { evalConfigSchema } from "./eval-config.js";
import { lambdaScheduleConfigSchema } from "./lambda-schedule-config.js";
import { limitsConfigSchema } from "./limits-config.js";
import { modelConfigSchema } from "./model-config.js";
import { observationFilterConfigSchema } from "./observation-filter-config.js";
import { optimizerConfigSchema } from "./optimizer-config.js";
import { sftConfigSchema } from "./sft-config.js";
import { tasksConfigSchema } from "./tasks-config.js";

/**
 * The configuration of `echo-grpo train`. The descriptions are the manual; `schemas/config.schema.json` is made from them by
 * `npm run schema`. The defaults are the settings known to learn on TinyTerm.
 */
export const trainConfigSchema = z
  .strictObject({
    $schema: z.string().optional().describe("JSON schema of this file, for editors."),
    algorithm: z
      .enum(["sft", "grpo", "echo"])
      .describe(
        "sft: imitation of recorded trajectories. grpo: lambda is 0. echo: GRPO + lambda · observations.",
      ),
    out: z.string().min(1).describe("Run directory; must not exist or be empty."),
    seed: z.int().min(0).default(0).describe("Every random number of the run follows from it."),
    model: modelConfigSchema.describe("Where the weights come from."),
    tasks: tasksConfigSchema.prefault({}).describe("Which tasks the policy practises on."),
    steps: z.int().positive().optional().describe("Training steps. Required, except with `sft.epochs`."),
    tasksPerStep: z.int().positive().default(16).describe("Tasks sampled per step, without repetition."),
    groupSize: z.int().min(2).default(16).describe("Rollouts per task: the group that advantages compare."),
    minibatchSequences: z
      .int()
      .positive()
      .default(64)
      .describe("Rollouts per optimiser step; a training step takes tasksPerStep · groupSize / this many."),
    epochsPerStep: z.int().positive().default(1).describe("Passes over the rollouts of a step."),
    microBatchTokens: z
      .int()
      .positive()
      .default(8192)
      .describe("Most tokens of one forward and backward pass; bounds memory, changes nothing else."),
    temperature: z.number().positive().default(1).describe("Sampling temperature, also of the loss."),
    limits: limitsConfigSchema.prefault({}).describe("What ends a rollout."),
    concurrency: z.int().positive().default(64).describe("Rollouts in flight at once."),
    lambda: z.number().min(0).default(0.05).describe("Weight of the observation term; 0 with grpo."),
    lambdaSchedule: lambdaScheduleConfigSchema
      .default({ kind: "constant" })
      .describe("How lambda moves over the training steps."),
    observationDenominator: z
      .enum(["all", "selected", "token"])
      .default("all")
      .describe(
        "What the observation term of a rollout is divided by: its observation and warning tokens, its target tokens, or those of the whole optimiser step.",
      ),
    observationTargets: z
      .enum(["observations", "all", "warnings"])
      .default("observations")
      .describe(
        "Tokens the observation term predicts: what the terminal said, that and the harness's warnings, or the warnings alone.",
      ),
    maxObservationTokens: z
      .int()
      .positive()
      .optional()
      .describe("Only so many targets of each answer, its first ones. Default: all."),
    observationFilter: observationFilterConfigSchema
      .prefault({})
      .describe(
        "Rollouts whose observations are learned; the others keep their policy term and stay in N. Not with sft.",
      ),
    observationEpsilon: z.number().min(0).default(0).describe("Added to that denominator."),
    aggregation: z
      .enum(["sequence", "token", "constant"])
      .default("sequence")
      .describe(
        "Mean over tokens then rollouts, over all tokens of the optimiser step, or sum over `maxLength` tokens.",
      ),
    maxLength: z.int().positive().optional().describe("Divisor of the constant aggregation."),
    advantageNormalize: z
      .enum(["std", "mean"])
      .default("std")
      .describe("Advantage: (reward - mean) / (standard deviation + 1e-6), or reward - mean."),
    surrogate: z
      .enum(["clip", "cispo"])
      .default("clip")
      .describe("Policy term: PPO's clip, or CISPO, which holds the clipped ratio constant."),
    ratioLevel: z
      .enum(["token", "sequence"])
      .default("token")
      .describe(
        "Ratio of a token by itself, or of its whole rollout (GSPO); the latter takes another forward pass.",
      ),
    epsilonLow: z
      .number()
      .min(0)
      .max(1)
      .default(0.2)
      .describe("Lower clip: ratios below 1 - epsilonLow. 1 with cispo: no lower bound."),
    epsilonHigh: z.number().min(0).default(0.2).describe("Upper clip: ratios above 1 + epsilonHigh."),
    dualClip: z
      .union([z.literal(false), z.number().gt(1)])
      .default(false)
      .describe("With a negative advantage the policy term is never worse than this times it; false: off."),
    logRatioClamp: z
      .union([z.literal(false), z.number().positive()])
      .default(20)
      .describe("|log ratio| is clamped to this, with zero gradient outside; false: off."),
    klCoefficient: z
      .number()
      .min(0)
      .default(0)
      .describe(
        "KL penalty on actions, to the weights the run started from, which are then kept and take another forward pass; 0: none.",
      ),
    klEstimator: z
      .enum(["k1", "k2", "k3"])
      .default("k3")
      .describe("With d = log p - log p_ref: k1 = d, k2 = d²/2, k3 = exp(-d) - 1 + d."),
    entropyCoefficient: z.number().default(0).describe("Weight of an entropy bonus on actions."),
    envOnly: z
      .boolean()
      .default(false)
      .describe(
        "Train on observations alone: every action weighs 0, no reward is used (but by `observationFilter.minCorrect`) and a rollout whose verifier failed counts.",
      ),
    optimizer: optimizerConfigSchema.prefault({}).describe("AdamW and its schedule."),
    checkpointEvery: z
      .int()
      .positive()
      .default(20)
      .describe("Steps between checkpoints; the first and last step always have one."),
    keepCheckpoints: z.int().positive().default(2).describe("Newest checkpoints kept."),
    eval: evalConfigSchema.prefault({}).describe("Measurements on held-out tasks."),
    sft: sftConfigSchema.optional().describe("Settings of algorithm sft."),
    threads: z
      .int()
      .positive()
      .optional()
      .describe("Native threads. Default: ECHO_GRPO_THREADS, else the machine's cores."),
  })
  .superRefine((config, context) => {
    const issue = (path: string[], message: string): void => {
      context.addIssue({ code: "custom", path, message });
    };
    if (config.algorithm === "sft") {
      if (!config.sft) issue(["sft"], "expected an object with the key data, for algorithm sft");
      else if ((config.steps === undefined) === (config.sft.epochs === undefined))
        issue(["steps"], "expected exactly one of steps and sft.epochs");
      if (Object.keys(config.observationFilter).length > 0)
        issue(["observationFilter"], "expected no such key with algorithm sft: its data are learned whole");
    } else {
      if (config.sft) issue(["sft"], `expected no such key with algorithm ${config.algorithm}`);
      if (config.steps === undefined) issue(["steps"], "expected a positive integer, got nothing");
    }
    if (config.aggregation === "constant" && config.maxLength === undefined)
      issue(["maxLength"], "expected a positive integer with aggregation constant, got nothing");
    if (config.envOnly && config.algorithm !== "echo")
      issue(
        ["envOnly"],
        `expected false with algorithm ${config.algorithm}: nothing would be left to train on`,
      );
    if (config.surrogate === "cispo" && config.dualClip !== false)
      issue(["dualClip"], "expected false with surrogate cispo: there is no clip to bound");
    if (config.surrogate === "cispo" && config.ratioLevel === "sequence")
      issue(["ratioLevel"], "expected token with surrogate cispo, got sequence");
    for (const key of ["klCoefficient", "entropyCoefficient"] as const)
      if ((config.envOnly || config.algorithm === "sft") && config[key] !== 0)
        issue(
          [key],
          `expected 0 with ${config.envOnly ? "envOnly" : "algorithm sft"}, which has no policy term, got ${config[key]}`,
        );
    if (config.envOnly && config.lambda === 0)
      issue(["lambda"], "expected more than 0 with envOnly: nothing would be left to train on");
  });

/** A configuration with every default filled in. */
export type TrainConfig = z.output<typeof trainConfigSchema>;
