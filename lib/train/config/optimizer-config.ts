import { z } from "zod";

/** AdamW and its learning-rate schedule. Steps are optimiser steps, of which a training step takes several. */
export const optimizerConfigSchema = z.strictObject({
  learningRate: z.number().positive().default(3e-4).describe("Peak learning rate."),
  betas: z
    .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
    .default([0.9, 0.95])
    .describe("Decay rates of the first and second moment."),
  eps: z.number().positive().default(1e-8).describe("Added to the root of the second moment."),
  weightDecay: z.number().min(0).default(0.01).describe("Decoupled weight decay, on matrices only."),
  maxGradNorm: z
    .number()
    .positive()
    .nullable()
    .default(1)
    .describe("Global gradient norm above which gradients are scaled down; null: never."),
  schedule: z
    .enum(["constant", "linear", "cosine"])
    .default("constant")
    .describe("Learning rate after warm-up: constant, or falling to 0 at the last optimiser step."),
  warmupSteps: z.int().min(0).default(20).describe("Optimiser steps over which the rate rises from 0."),
});
