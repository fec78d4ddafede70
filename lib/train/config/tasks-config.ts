import { z } from "zod";

/** Which tasks the policy practises on. */
export const tasksConfigSchema = z.strictObject({
  family: z
    .string()
    .min(1)
    .default("tinyterm")
    .describe(
      "Task family: tinyterm (all of its families in equal shares), one of them such as tinyterm/find, maze, or maze/<from>-<to> for grids of these sizes.",
    ),
  split: z.enum(["train", "val", "ood"]).default("train").describe("Split the tasks come from."),
  first: z.int().min(0).default(0).describe("Index of the first task of the range."),
  count: z
    .int()
    .positive()
    .optional()
    .describe("Number of tasks in the range. Default: all from `first` to the end of the split."),
  curriculumSteps: z
    .int()
    .min(0)
    .default(0)
    .describe(
      "Training steps over which the hardest difficulty allowed rises from 1 to 3 in equal parts; 0: every difficulty from the first step. For families that grade their tasks.",
    ),
});
