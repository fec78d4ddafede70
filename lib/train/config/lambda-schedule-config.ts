import { z } from "zod";

/** How lambda moves over the training steps. */
export const lambdaScheduleConfigSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("constant") }),
  z
    .strictObject({
      kind: z.literal("linear"),
      to: z.number().min(0).describe("Value reached."),
      steps: z.int().positive().describe("Training steps over which it moves from `lambda` to `to`."),
    })
    .describe("Straight line from `lambda` to `to`, then constant."),
  z
    .strictObject({
      kind: z.literal("step"),
      steps: z
        .array(z.int().positive())
        .min(1)
        .refine(
          (steps) => steps.every((step, i) => i === 0 || step > steps[i - 1]),
          "expected increasing step numbers",
        )
        .describe("Numbers of training steps done at which it changes."),
      values: z
        .array(z.number().min(0))
        .min(1)
        .describe("Value from each of them on; one per entry of `steps`."),
    })
    .refine(
      (schedule) => schedule.values.length === schedule.steps.length,
      "expected as many values as steps",
    )
    .describe("`lambda` at first, then jumps."),
]);
