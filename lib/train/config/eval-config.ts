import { z } from "zod";

/** Measurements on held-out tasks, taken with the same tasks and seeds every time. */
export const evalConfigSchema = z.strictObject({
  every: z
    .int()
    .min(0)
    .default(0)
    .describe("Evaluate after every so many steps, before the first and after the last; 0: never."),
  tasks: z
    .int()
    .min(0)
    .default(64)
    .describe("Held-out tasks (the first of the split) for the success rate; 0: not measured."),
  split: z.enum(["train", "val", "ood"]).default("val").describe("Split of the held-out tasks."),
  samples: z.int().positive().default(1).describe("Rollouts per held-out task."),
  temperature: z.number().positive().default(1).describe("Sampling temperature of evaluation rollouts."),
  expertTasks: z
    .int()
    .min(0)
    .default(0)
    .describe(
      "Number of held-out tasks the family's scripted expert solves once, at the start; the observation negative log-likelihood is measured on these trajectories. 0: not measured.",
    ),
  expertTrajectories: z
    .string()
    .min(1)
    .optional()
    .describe("JSONL of trajectories to measure the observation negative log-likelihood on instead."),
});
