import { z } from "zod";

/** Supervised fine-tuning on recorded trajectories: cross-entropy on what the recorded agent wrote. */
export const sftConfigSchema = z.strictObject({
  data: z
    .array(z.string().min(1))
    .min(1)
    .describe("JSONL files of trajectories. Every readable trajectory is used, whatever its reward."),
  epochs: z
    .int()
    .positive()
    .optional()
    .describe("Passes over the data, in place of `steps`: one step is one batch."),
  batchSequences: z.int().positive().default(32).describe("Trajectories per optimiser step."),
  observationWeight: z
    .number()
    .min(0)
    .default(0)
    .describe("Weight of the cross-entropy on observations beside that on actions; 0: actions only."),
});
